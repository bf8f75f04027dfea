"""Metrics of predicted classes: precision, recall and their harmonic mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from stoop._errors import message, refuse_name
from stoop.metrics._common import Array, Weight, labels, of_column, weight_of

_AVERAGES = ("binary", "macro")
Ratio = Callable[[float, float, float], float]  # of true positives, positives that are predicted, true ones


def precision(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    *,
    average: str | None = None,
) -> float:
    """Return the share of predicted positives that are positive: ``tp / (tp + fp)``.

    Equals ``sklearn.metrics.precision_score(average=...)``; Fawcett 2006, section 2.

    Parameters
    ----------
    y_true, y_pred : array_like, (n_samples,) or (n_samples, n_labels)
        Classes; or columns of 0 and 1 for labels that do not exclude each other.
    sample_weight : array_like, (n_samples,), optional
        >= 0.
    average : {"binary", "macro"}, optional
        "binary": of the class 1. "macro": the mean over the classes that occur in either array, or over the columns.
        None: "binary" if no class but 0 and 1 (or -1 and 1) occurs, else "macro".

    Returns
    -------
    float
        In [0, 1]; a class of which there is none counts 0.

    Raises
    ------
    ValueError, TypeError
        For arrays of different shapes, what is no class, and an average that does not fit.
    """
    return _measured("precision", precision_ratio, y_true, y_pred, sample_weight, average)


def recall(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    *,
    average: str | None = None,
) -> float:
    """Return the share of positives that are predicted as such: ``tp / (tp + fn)``.

    Equals ``sklearn.metrics.recall_score(average=...)``; Fawcett 2006, section 2.

    Parameters
    ----------
    y_true, y_pred, sample_weight : array_like
        As for `precision`.
    average : {"binary", "macro"}, optional
        As for `precision`.

    Returns
    -------
    float
        In [0, 1]; a class of which there is none counts 0.

    Raises
    ------
    ValueError, TypeError
        As `precision`.
    """
    return _measured("recall", recall_ratio, y_true, y_pred, sample_weight, average)


def f1(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    *,
    average: str | None = None,
) -> float:
    """Return the harmonic mean of precision and recall: ``2*tp / (2*tp + fp + fn)``.

    Equals ``sklearn.metrics.f1_score(average=...)``; Fawcett 2006, section 2.

    Parameters
    ----------
    y_true, y_pred, sample_weight : array_like
        As for `precision`.
    average : {"binary", "macro"}, optional
        As for `precision`.

    Returns
    -------
    float
        In [0, 1]; a class of which there is none counts 0.

    Raises
    ------
    ValueError, TypeError
        As `precision`.
    """
    return _measured("f1", f1_ratio, y_true, y_pred, sample_weight, average)


def precision_ratio(hits: float, predicted: float, true: float) -> float:  # noqa: ARG001
    """Return ``tp / (tp + fp)``, or 0."""
    return hits / predicted if predicted > 0 else 0.0


def recall_ratio(hits: float, predicted: float, true: float) -> float:  # noqa: ARG001
    """Return ``tp / (tp + fn)``, or 0."""
    return hits / true if true > 0 else 0.0


def f1_ratio(hits: float, predicted: float, true: float) -> float:
    """Return ``2*tp / (2*tp + fp + fn)``, or 0."""
    return 2 * hits / (predicted + true) if predicted + true > 0 else 0.0


def over_labels(ratio: Ratio, true: Array, pred: Array, weight: Weight) -> float:
    """Return the mean of a ratio over columns of bool."""
    each = (_ratio(ratio, true[:, j], pred[:, j], weight, j) for j in range(true.shape[1]))
    return float(np.mean(list(each)))


def over_classes(ratio: Ratio, true: Array, pred: Array, weight: Weight) -> float:
    """Return the mean of a ratio over the classes that occur in either array."""
    classes = np.unique(np.concatenate((true, pred)))
    return float(np.mean([_ratio(ratio, true == name, pred == name, weight) for name in classes]))


def _ratio(ratio: Ratio, true: Array, pred: Array, weight: Weight, column: int = 0) -> float:
    weights = np.ones(len(true)) if weight is None else of_column(weight, column)
    return ratio(float(weights[true & pred].sum()), float(weights[pred].sum()), float(weights[true].sum()))


def _measured(
    where: str,
    ratio: Ratio,
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None,
    average: str | None,
) -> float:
    true, pred = labels(where, y_true, "y_true"), labels(where, y_pred, "y_pred")
    if true.shape != pred.shape:
        given, hint = (
            f"shapes {true.shape} and {pred.shape}",
            "give predicted classes, as model.predict_classes(X) does",
        )
        raise ValueError(message(where, given, "expected two equal ones", hint))
    if (true.dtype.kind in "OUST") != (pred.dtype.kind in "OUST"):
        given = f"y_true has dtype {true.dtype}, y_pred {pred.dtype}"
        hint = "compare indices with indices, or names with names"
        raise TypeError(message(where, given, "expected classes of one kind", hint))
    if average is not None and average not in _AVERAGES:
        refuse_name(where, "average", str(average), _AVERAGES)
    weight = weight_of(where, sample_weight, len(true))
    kinds = [set(np.unique(array).tolist()) for array in (true, pred)]
    binary = true.ndim == 1 and any(kinds[0] | kinds[1] <= two for two in ({0, 1}, {-1, 1}))
    if true.ndim == 2 and not kinds[0] | kinds[1] <= {0, 1}:
        given = "y_true and y_pred have columns with other numbers than 0 and 1"
        raise ValueError(message(where, given, "expected labels", "give (n_samples,) classes, or columns of 0 and 1"))
    if average == "binary" and not binary:
        given = f"average='binary' with the classes {sorted(kinds[0] | kinds[1], key=str)[:5]}"
        raise ValueError(message(where, given, "expected 0 and 1", 'use average="macro"'))
    if true.ndim == 2:
        return over_labels(ratio, true == 1, pred == 1, weight)
    if binary and average != "macro":
        return _ratio(ratio, true == 1, pred == 1, weight)
    return over_classes(ratio, true, pred, weight)
