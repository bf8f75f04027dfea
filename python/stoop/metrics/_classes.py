"""The share of classes that are right, and the counts of those that are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._arrays import to_numpy
from stoop._checks import integer
from stoop._errors import message
from stoop.metrics._common import weight_of, weighted_mean

_MOST_CLASSES = 2**15  # 8 GB of counts
_TEXT_KINDS = "OUST"
_CLASSES = "expected class indices, one for each sample"


def accuracy(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
    """Return the share of equal entries of two ``(n_samples,)`` arrays, in [0, 1].

    Equals ``sklearn.metrics.accuracy_score``.

    Parameters
    ----------
    y_true, y_pred : array_like, (n_samples,)
        Classes: integers, booleans, whole floats, or names in both.
    sample_weight : array_like, (n_samples,), optional
        >= 0.

    Raises
    ------
    ValueError
        If the shapes differ, the arrays are empty, or one holds NaN, fractions such as probabilities, or a mask.
    TypeError
        If one holds names and the other numbers, or one holds what is no class (complex numbers, dates).
    """
    true, pred = _pair("accuracy", y_true, y_pred)
    named = [array.dtype.kind in _TEXT_KINDS for array in (true, pred)]
    if named[0] != named[1]:
        given = f"y_true has dtype {true.dtype}, y_pred {pred.dtype}"
        hint = "compare indices with indices, or names with names"
        raise TypeError(message("accuracy", given, "expected classes of one kind", hint))
    if not any(named):
        for array, name in ((true, "y_true"), (pred, "y_pred")):
            _check_indices("accuracy", array, name)
    return weighted_mean(true == pred, weight_of("accuracy", sample_weight, len(true)))


def confusion_matrix(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, n_classes: int | None = None
) -> npt.NDArray[np.int64]:
    """Return counts ``(n_classes, n_classes)``: row = true class, column = predicted class.

    Parameters
    ----------
    y_true, y_pred : array_like, (n_samples,)
        Class indices from 0: integers, booleans or whole floats.
    n_classes : int, optional
        >= 1. None: one more than the largest index.

    Raises
    ------
    ValueError
        If the shapes differ, the arrays are empty, an index is negative or too large, or one holds NaN, fractions or a
        mask.
    TypeError
        For class names and what else is no number, or `n_classes` of another kind.
    """
    where = "confusion_matrix"
    true, pred = _pair(where, y_true, y_pred)
    for array, name in ((true, "y_true"), (pred, "y_pred")):
        _check_indices(where, array, name)
    low, high = min(int(true.min()), int(pred.min())), max(int(true.max()), int(pred.max()))
    size = high + 1 if n_classes is None else integer(where, "n_classes", n_classes, 1)
    if low < 0 or high >= size or size > _MOST_CLASSES:
        given = f"class indices from {low} to {high}"
        expected = f"expected 0 <= class < {min(size, _MOST_CLASSES)}"
        raise ValueError(message(where, given, expected, "number the classes from 0 or raise n_classes"))
    flat = true.astype(np.int64) * size + pred.astype(np.int64)
    return np.bincount(flat, minlength=size * size).reshape(size, size)


def _pair(where: str, y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    true, pred = to_numpy(where, y_true, "y_true"), to_numpy(where, y_pred, "y_pred")
    if true.shape != pred.shape or true.ndim != 1 or true.size == 0:
        given, hint = f"shapes {true.shape} and {pred.shape}", "compare the arrays"
        for array, name in ((pred, "y_pred"), (true, "y_true")):
            if array.ndim == 2 and array.size:
                hint = f"use {name}.argmax(axis=1), or model.predict_classes(X)"
                if array.shape[1] == 1:
                    hint = f"use {name}.ravel(), as in model.predict(X).ravel()"
        raise ValueError(message(where, given, "expected two equal (n_samples,), not empty", hint))
    return true, pred


def _check_indices(where: str, array: npt.NDArray[Any], name: str) -> None:
    """Refuse what is no class index: text, dates, NaN, fractions."""
    kind = array.dtype.kind
    if kind not in "iubf":
        given, hint = f"{name} has dtype {array.dtype}", "give integers"
        if kind in _TEXT_KINDS:
            given += f", for example {array[0]!r}"
            hint = f"number the classes of both in one way, np.unique({name}, return_inverse=True)"
        raise TypeError(message(where, given, _CLASSES, hint))
    if kind != "f":
        return
    whole = np.isfinite(array) & (array == np.floor(array))
    if not whole.all():
        row = int(np.flatnonzero(~whole)[0])
        hint = "turn probabilities or outputs into classes first, as model.predict_classes(X) does"
        if np.isnan(array[row]):
            hint = "leave out the rows without a class"
        raise ValueError(message(where, f"{name} holds {array[row]} in row {row}", _CLASSES, hint))
