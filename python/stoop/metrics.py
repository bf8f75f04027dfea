"""Measures of a finished prediction, on NumPy arrays."""

import numpy as np
import numpy.typing as npt

from stoop._checks import to_numpy
from stoop._errors import message


def accuracy(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Return the share of equal entries of two ``(n_samples,)`` arrays, in [0, 1].

    Raises
    ------
    ValueError
        If the shapes differ or the arrays are empty.
    """
    true, pred = _pair("accuracy", y_true, y_pred)
    return float(np.mean(true == pred))


def confusion_matrix(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, n_classes: int | None = None
) -> npt.NDArray[np.int64]:
    """Return counts ``(n_classes, n_classes)``: row = true class, column = predicted class.

    Parameters
    ----------
    y_true, y_pred : array_like, (n_samples,)
        Class indices from 0.
    n_classes : int, optional
        None: one more than the largest index.

    Raises
    ------
    ValueError
        If the shapes differ, the arrays are empty, or an index is negative or too large.
    """
    true, pred = _pair("confusion_matrix", y_true, y_pred)
    size = int(max(true.max(), pred.max())) + 1 if n_classes is None else int(n_classes)
    low, high = min(true.min(), pred.min()), max(true.max(), pred.max())
    if low < 0 or high >= size:
        given = f"class indices from {low} to {high}"
        expected = f"expected 0 <= class < {size}"
        raise ValueError(message("confusion_matrix", given, expected, "number the classes from 0 or raise n_classes"))
    flat = true.astype(np.int64) * size + pred.astype(np.int64)
    return np.bincount(flat, minlength=size * size).reshape(size, size)


def _pair(
    where: str, y_true: npt.ArrayLike, y_pred: npt.ArrayLike
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    true, pred = to_numpy(where, y_true, "y_true"), to_numpy(where, y_pred, "y_pred")
    if true.shape != pred.shape or true.ndim != 1 or true.size == 0:
        given = f"shapes {true.shape} and {pred.shape}"
        column = any(array.ndim == 2 and array.shape[1] == 1 for array in (true, pred))
        hint = "use model.predict(X).ravel() or y.ravel(): a column" if column else "compare the arrays"
        raise ValueError(message(where, given, "expected two equal (n_samples,), not empty", hint))
    return true, pred
