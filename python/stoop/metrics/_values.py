"""Metrics of values: squared and absolute errors, the coefficient of determination."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stoop._errors import message
from stoop.metrics._common import Array, Weight, by_column, numbers, of_column, weight_of, weighted_mean


def mse(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
    """Return ``mean((y_pred - y_true)**2)``, over samples, then columns; by definition.

    Equals ``sklearn.metrics.mean_squared_error``.

    Parameters
    ----------
    y_true, y_pred : array_like, (n_samples,) or (n_samples, n_outputs)
        Finite numbers.
    sample_weight : array_like, (n_samples,), optional
        >= 0.

    Raises
    ------
    ValueError, TypeError
        For different shapes, NaN, or what is no number.
    """
    return mse_of(*_pair("mse", y_true, y_pred, sample_weight))


def rmse(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
    """Return the mean over the columns of ``sqrt(mean((y_pred - y_true)**2))``; by definition.

    Equals ``sklearn.metrics.root_mean_squared_error``.

    Parameters
    ----------
    y_true, y_pred, sample_weight : array_like
        As for `mse`.

    Raises
    ------
    ValueError, TypeError
        As `mse`.
    """
    return rmse_of(*_pair("rmse", y_true, y_pred, sample_weight))


def mae(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
    """Return ``mean(abs(y_pred - y_true))``, over samples, then columns; by definition.

    Equals ``sklearn.metrics.mean_absolute_error``.

    Parameters
    ----------
    y_true, y_pred, sample_weight : array_like
        As for `mse`.

    Raises
    ------
    ValueError, TypeError
        As `mse`.
    """
    return mae_of(*_pair("mae", y_true, y_pred, sample_weight))


def r2(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
    """Return ``1 - sum((y_pred - y_true)**2) / sum((y_true - mean(y_true))**2)``, the mean over the columns.

    Equals ``sklearn.metrics.r2_score``; Draper & Smith 1998, section 1.3.

    Parameters
    ----------
    y_true, y_pred, sample_weight : array_like
        As for `mse`.

    Returns
    -------
    float
        At most 1. Of a column that is constant 1 if it is met, else 0; NaN for a single sample.

    Raises
    ------
    ValueError, TypeError
        As `mse`.
    """
    return r2_of(*_pair("r2", y_true, y_pred, sample_weight))


def mse_of(true: Array, pred: Array, weight: Weight) -> float:
    """Return the mean squared error of float64 arrays of one shape."""
    return weighted_mean((pred - true) ** 2, weight)


def rmse_of(true: Array, pred: Array, weight: Weight) -> float:
    """Return the mean over the columns of the root of the mean squared error."""
    squares = by_column((pred - true) ** 2)
    of = (None if weight is None else of_column(weight, j) for j in range(squares.shape[1]))
    return float(np.mean([weighted_mean(squares[:, j], part) ** 0.5 for j, part in enumerate(of)]))


def mae_of(true: Array, pred: Array, weight: Weight) -> float:
    """Return the mean absolute error."""
    return weighted_mean(np.abs(pred - true), weight)


def r2_of(true: Array, pred: Array, weight: Weight) -> float:
    """Return the mean over the columns of the coefficient of determination."""
    true, pred = by_column(true), by_column(pred)
    of = (None if weight is None else of_column(weight, j) for j in range(true.shape[1]))
    return float(np.mean([_r2(true[:, j], pred[:, j], part) for j, part in enumerate(of)]))


def _r2(true: Array, pred: Array, weight: Weight) -> float:
    if weight is not None:
        used = weight > 0  # what weighs nothing may be NaN
        true, pred, weight = true[used], pred[used], weight[used]
    if len(true) < 2:
        return float("nan")
    weights = 1.0 if weight is None else weight
    error = float((weights * (true - pred) ** 2).sum())
    spread = float((weights * (true - np.average(true, weights=weight)) ** 2).sum())
    if spread == 0.0 or (true == true[0]).all():  # a weighted mean of equal numbers may differ by a rounding
        return 1.0 if error == 0.0 else 0.0
    return 1.0 - error / spread


def _pair(
    where: str, y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None
) -> tuple[Array, Array, Weight]:
    true, pred = (
        by_column(numbers(where, values, name)).astype(np.float64)
        for values, name in ((y_true, "y_true"), (y_pred, "y_pred"))
    )
    if true.shape != pred.shape:
        given = f"y_true has shape {true.shape} and y_pred {pred.shape}"
        raise ValueError(message(where, given, "expected two equal shapes", "compare the arrays"))
    return true, pred, weight_of(where, sample_weight, len(true))
