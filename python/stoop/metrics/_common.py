"""What the metrics share: weights, means over columns, and checks of their arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._arrays import real_numbers, to_numpy
from stoop._checks import sample_weights
from stoop._errors import message

Array = npt.NDArray[Any]
Weight = npt.NDArray[np.float64] | None  # (n_samples,) or (n_samples, n_columns); None: all alike


def weighted_mean(values: Array, weight: Weight) -> float:
    """Return the mean over the rows, then over the columns; NaN where all weights of a column are 0."""
    if weight is None:
        return float(np.mean(values, dtype=np.float64))
    columns, weights = by_column(values), by_column(weight)
    return float(np.mean([_mean(columns[:, j], of_column(weights, j)) for j in range(columns.shape[1])]))


def _mean(values: Array, weight: Array) -> float:
    used = weight > 0  # what weighs nothing may be NaN
    total = float(weight[used].sum())
    return float((values[used] * weight[used]).sum() / total) if total > 0 else float("nan")


def by_column(array: Array) -> Array:
    """Return (n_samples,) as (n_samples, 1), and what has columns as it is."""
    return array.reshape(-1, 1) if array.ndim == 1 else array


def of_column(weights: Array, column: int) -> Array:
    """Return the weights of one column, from weights of the samples or of each column."""
    return by_column(weights)[:, column if by_column(weights).shape[1] > 1 else 0]


def weight_of(where: str, sample_weight: npt.ArrayLike | None, samples: int) -> Weight:
    """Return weights (n_samples,) as float64.

    Raises
    ------
    ValueError, TypeError
        For another shape, what is negative, NaN or infinite, and for weights that are all 0.
    """
    if sample_weight is None:
        return None
    weight: npt.NDArray[np.float64] = sample_weights(where, sample_weight, np.dtype(np.float64), samples)
    bad = np.flatnonzero(~((weight >= 0) & np.isfinite(weight)))
    if len(bad) or not weight.any():
        given = f"sample_weight is {weight[bad[0]]:g} at row {bad[0]}" if len(bad) else "sample_weight is 0 everywhere"
        hint = "a weight of 0 leaves a sample out"
        raise ValueError(message(where, given, "expected finite numbers >= 0, one of them above 0", hint))
    return weight


def numbers(where: str, values: npt.ArrayLike, name: str) -> Array:
    """Return finite numbers of one or two dimensions as float64, not empty; float32 is kept for its precision.

    Raises
    ------
    ValueError, TypeError
        For what is none.
    """
    array = real_numbers(where, values, name)
    if array.ndim not in (1, 2) or array.size == 0:
        given, hint = f"{name} has shape {array.shape}", "give a row for each sample"
        raise ValueError(message(where, given, "expected (n_samples,) or (n_samples, n_columns), not empty", hint))
    if array.dtype != np.float32:
        array = array.astype(np.float64)
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        given = f"{name} holds {array[tuple(bad[0])]} in row {bad[0][0]}"
        raise ValueError(message(where, given, "expected finite numbers", "leave such rows out"))
    return array


def labels(where: str, values: npt.ArrayLike, name: str) -> Array:
    """Return class labels of any one kind, (n_samples,), or columns of them, not empty.

    Raises
    ------
    ValueError, TypeError
        For what is none: NaN, dates, complex numbers, three dimensions.
    """
    array = to_numpy(where, values, name)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim not in (1, 2) or array.size == 0:
        given, hint = f"{name} has shape {array.shape}", "give a row for each sample"
        raise ValueError(message(where, given, "expected (n_samples,) classes, not empty", hint))
    kind = array.dtype.kind
    if kind not in "iubfOUST":
        raise TypeError(message(where, f"{name} has dtype {array.dtype}", "expected classes", "give integers"))
    if kind == "f" and not (np.isfinite(array) & (array == np.floor(array))).all():
        given, hint = f"{name} holds fractions or NaN", "turn probabilities or outputs into classes first"
        raise ValueError(message(where, given, "expected classes", hint))
    return array


def check_same_rows(where: str, first: Array, second: Array, names: tuple[str, str]) -> None:
    """Refuse two arrays of different lengths with ValueError."""
    if len(first) != len(second):
        given = f"{names[0]} has shape {first.shape} and {names[1]} {second.shape}"
        raise ValueError(message(where, given, "expected as many rows in both", "compare the arrays"))


def positives(where: str, true: Array) -> npt.NDArray[np.bool_]:
    """Return where the second of two classes is, by order; of a single class, where it is above 0.

    Raises
    ------
    ValueError
        For more than two classes.
    """
    classes = np.unique(true)
    if len(classes) > 2:
        given, hint = f"y_true holds {len(classes)} classes", "give a column of scores for each class"
        raise ValueError(message(where, given, "expected two, for one score a sample", hint))
    if len(classes) == 2:
        return np.asarray(true == classes[1])
    single = true.dtype.kind in "iubf" and classes[0] > 0
    return np.full(true.shape, single)


def class_indices(where: str, true: Array, columns: int) -> npt.NDArray[np.int64]:
    """Return the column of each label: itself where labels count from 0, its place by order otherwise.

    Raises
    ------
    ValueError
        For another number of classes than columns.
    """
    if true.dtype.kind in "iubf" and true.min() >= 0 and true.max() < columns:
        return true.astype(np.int64)
    classes, inverse = np.unique(true, return_inverse=True)
    if len(classes) != columns:
        given = f"y_true holds {len(classes)} classes and y_score has {columns} columns"
        hint = f"number the classes 0 to {columns - 1}"
        raise ValueError(message(where, given, "expected a column for each class", hint))
    return inverse.reshape(true.shape).astype(np.int64)


def check_distributions(where: str, rows: Array, name: str) -> None:
    """Refuse rows that are no probabilities of classes that exclude each other, with ValueError."""
    if (rows < 0).any() or (rows > 1).any() or (rows.ndim == 2 and (abs(rows.sum(axis=1) - 1) > 1e-3).any()):
        given = f"{name} has numbers that are no probabilities"
        expected = "expected numbers from 0 to 1" + (" that add up to 1 in each row" * (rows.ndim == 2))
        raise ValueError(message(where, given, expected, "use model.predict_proba(X)"))
