"""Columns with mean 0 and deviation 1, by the statistics of the training rows alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._arrays import column_labels, real_numbers
from stoop._checks import NOT_NEGATIVE, flag, real
from stoop._errors import message

_WHERE = "standardize"
_BLOCK_ELEMENTS = 1 << 17  # 1 MB of float64, about a second-level cache
_LARGE_EXPONENT = 400  # the square of a number beyond 2**400, or below 2**-400, comes near the end of float64


class Statistics:
    """The numbers that `standardize` used: ``(x - mean) / std``. ``mean, std = used`` unpacks them.

    Attributes
    ----------
    mean : ndarray, (n_features,)
        Mean of each column of the training rows, float64.
    std : ndarray, (n_features,)
        Biased standard deviation, float64; 1 for the columns that are constant, which are shifted alone.
    constant : ndarray of bool, (n_features,)
        Which these are.
    """

    def __init__(
        self, mean: npt.NDArray[np.float64], std: npt.NDArray[np.float64], constant: npt.NDArray[np.bool_]
    ) -> None:
        self.mean = mean
        self.std = std
        self.constant = constant

    def __repr__(self) -> str:
        return f"Statistics({len(self.mean)} columns, {int(self.constant.sum())} of them constant)"

    def __iter__(self) -> Iterator[npt.NDArray[np.float64]]:
        return iter((self.mean, self.std))


def standardize(train: npt.ArrayLike, *others: npt.ArrayLike, eps: float = 1e-12, stats: bool = False) -> Any:
    """Shift and scale columns to mean 0 and standard deviation 1, with the statistics of the training rows alone.

    ``(x - mean(train)) / std(train)``, the biased deviation, computed in float64, also for numbers whose squares are
    beyond it.

    Parameters
    ----------
    train : array_like, (n_samples, n_features)
    *others : array_like, (m, n_features)
        Scaled with the mean and deviation of `train`.
    eps : float, default 1e-12
        A column is constant if its deviation is at most ``eps * abs(mean)``; it is shifted but not scaled. A warning
        names such columns where one of the `others` varies in them, since those values keep their size.
    stats : bool, default False
        Also return what was used, to scale later data in the same way.

    Returns
    -------
    ndarray, or tuple of ndarray if there are `others`
        In the given order; float64 stays, everything else becomes float32. With ``stats=True`` always a tuple, whose
        last entry is a `Statistics`: ``X_train, X_test, used = standardize(X_train, X_test, stats=True)``, then
        ``(X_new - used.mean) / used.std``.

    Raises
    ------
    ValueError, TypeError
        For arrays that are not 2-D, differ in columns, are empty, hold no real numbers, hold NaN, infinities or
        something masked, and for results beyond the type that is returned.
    """
    given = (train, *others)
    arrays = [_columns(array, index) for index, array in enumerate(given)]
    for index, array in enumerate(arrays):
        if array.shape[1] != arrays[0].shape[1]:
            what = f"array {index} has {array.shape[1]} columns"
            raise ValueError(message(_WHERE, what, f"expected {arrays[0].shape[1]}", "compare the arrays"))
        _check_values(array, index, column_labels(given[index]))
    used = _statistics(arrays[0], real(_WHERE, "eps", eps, NOT_NEGATIVE))
    with_stats = flag(_WHERE, "stats", stats)
    _warn_of_constants(arrays, used)
    results = tuple(_scaled(array, used, index) for index, array in enumerate(arrays))
    if with_stats:
        return (*results, used)
    return results if others else results[0]


def _columns(values: npt.ArrayLike, index: int) -> npt.NDArray[Any]:
    array = real_numbers(_WHERE, values, f"array {index}")
    if array.ndim != 2 or len(array) == 0:
        given = f"array {index} has shape {array.shape}"
        raise ValueError(message(_WHERE, given, "expected (n_samples, n_features), not empty", "reshape it"))
    return array


def _check_values(array: npt.NDArray[Any], index: int, labels: list[Any] | None) -> None:
    """Refuse what is not finite: one NaN would make its whole column NaN."""
    if array.dtype.kind != "f":
        return
    first = 0
    for rows in _blocks(array):
        finite = np.isfinite(rows)
        if not finite.all():
            row, column = (int(i) for i in np.argwhere(~finite)[0])
            label = "" if labels is None else f" ({labels[column]!r})"
            value = "NaN" if np.isnan(rows[row, column]) else "an infinity"
            given = f"array {index} holds {value} in row {first + row}, column {column}{label}"
            hint = "fill in missing values first, or leave out their rows"
            raise ValueError(message(_WHERE, given, "expected finite numbers", hint))
        first += len(rows)


def _statistics(train: npt.NDArray[Any], eps: float) -> Statistics:
    """Mean and deviation of the columns; those of very large or very small numbers are scaled by a power of two."""
    largest = np.maximum(np.abs(train.max(axis=0).astype(np.float64)), np.abs(train.min(axis=0).astype(np.float64)))
    exponent = np.frexp(largest)[1]
    extreme = np.abs(exponent) > _LARGE_EXPONENT
    if extreme.any():
        exponent = np.where(extreme, exponent, 0)
        mean, std = _moments(np.ldexp(train.astype(np.float64), -exponent))
        mean, std = np.ldexp(mean, exponent), np.ldexp(std, exponent)
    else:
        mean, std = _moments(train)
    constant = std <= eps * np.abs(mean)
    return Statistics(mean, np.where(constant, 1.0, std), constant)


def _moments(train: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    mean = train.mean(axis=0, dtype=np.float64)
    squares = sum(((rows - mean) ** 2).sum(axis=0) for rows in _blocks(train))
    return mean, np.sqrt(squares / len(train)).astype(np.float64, copy=False)


def _warn_of_constants(arrays: list[npt.NDArray[Any]], used: Statistics) -> None:
    places = np.flatnonzero(used.constant)
    for index, array in enumerate(arrays[1:] if len(places) else (), start=1):
        part = array[:, places]
        varying = places[(part != part[0]).any(axis=0) | (part[0] != arrays[0][0, places])]
        if len(varying):
            given = f"{len(varying)} columns of array {index} vary where the training rows are constant"
            expected = "expected the same columns to be constant, for they are shifted and not scaled"
            hint = f"look at column {varying[0]}, leave such columns out, or see stats=True for all that are constant"
            warnings.warn(message(_WHERE, given, expected, hint), stacklevel=3)
            return


def _scaled(array: npt.NDArray[Any], used: Statistics, index: int) -> npt.NDArray[Any]:
    out = np.empty(array.shape, np.float64 if array.dtype.kind == "f" and array.itemsize >= 8 else np.float32)
    with np.errstate(over="ignore"):
        for rows, target in zip(_blocks(array), _blocks(out)):
            target[...] = (rows - used.mean) / used.std
    if not np.isfinite(out.sum(dtype=np.float64)) and not np.isfinite(out).all():
        column = int(np.argwhere(~np.isfinite(out))[0][1])
        given = f"array {index} is beyond {out.dtype} in column {column} when it is scaled by {used.std[column]:g}"
        expected, hint = "expected columns like those of the training rows", "check that it has the units of array 0"
        if index == 0:
            given = f"array 0 is beyond {out.dtype} in column {column} when its mean is taken away"
            expected, hint = f"expected numbers closer together than {np.finfo(out.dtype).max:.2g}", "scale it first"
        raise ValueError(message(_WHERE, given, expected, hint))
    return out


def _blocks(array: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """Blocks of rows: the arithmetic is in float64, and a whole array of it could be many times what is given."""
    step = max(1, _BLOCK_ELEMENTS // max(1, array.shape[1]))
    return (array[begin : begin + step] for begin in range(0, len(array), step))
