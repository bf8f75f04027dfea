"""Reading and preparing data: IDX files, splits, standardisation."""

import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._checks import file_path, real, to_numpy
from stoop._checks import seed as checked_seed
from stoop._errors import message

_BLOCK_ELEMENTS = 1 << 17  # 1 MB of float64, about a second-level cache


def load_idx(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """Read an IDX file (the format of MNIST, LeCun et al. 1998), gzipped or not; the content decides, not the name.

    Returns
    -------
    ndarray
        Of the file's shape and element type (``(10000, 28, 28)`` uint8 for MNIST test images), in native byte order.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If its magic number, dimensions or length are wrong.
    """
    from stoop._idx import read_idx

    return read_idx(file_path("load_idx", path))


def train_test_split(
    X: npt.ArrayLike, y: npt.ArrayLike, test_size: float = 0.25, seed: int = 0, stratify: bool = False
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Split rows at random into a training and a test part.

    Parameters
    ----------
    X : array_like, (n_samples, ...)
    y : array_like, (n_samples, ...)
        ``(n_samples,)`` classes for `stratify`.
    test_size : float or int, default 0.25
        Share of the samples in (0, 1), rounded up to whole samples, or their number as an int.
    seed : int, default 0
        Of the permutation.
    stratify : bool, default False
        Keep the share of each class of y in both parts, to a sample.

    Returns
    -------
    X_train, X_test, y_train, y_test : ndarray
        Copies.

    Raises
    ------
    ValueError, TypeError
        If X and y differ in length, or a part would be empty.
    """
    inputs, targets = to_numpy("train_test_split", X, "X"), to_numpy("train_test_split", y, "y")
    if inputs.ndim == 0 or targets.ndim == 0 or len(inputs) != len(targets):
        given = f"X has shape {inputs.shape}, y {targets.shape}"
        raise ValueError(message("train_test_split", given, "expected as many rows in y as in X", "compare them"))
    n = len(inputs)
    n_test = _test_count(test_size, n)
    rng = np.random.default_rng(checked_seed("train_test_split", seed))
    order = rng.permutation(n)
    if stratify:
        order = _stratified(order, targets, n_test)
    test, train = order[:n_test], order[n_test:]
    return inputs[train], inputs[test], targets[train], targets[test]


def standardize(train: npt.ArrayLike, *others: npt.ArrayLike, eps: float = 1e-12) -> Any:
    """Shift and scale columns to mean 0 and standard deviation 1, with the statistics of the training rows alone.

    ``(x - mean(train)) / std(train)``, the biased deviation, computed in float64.

    Parameters
    ----------
    train : array_like, (n_samples, n_features)
    *others : array_like, (m, n_features)
        Scaled with the mean and deviation of `train`.
    eps : float, default 1e-12
        A column is constant if its deviation is at most ``eps * abs(mean)``; it is shifted but not scaled.

    Returns
    -------
    ndarray, or tuple of ndarray if there are `others`
        In the given order; float64 stays, everything else becomes float32.

    Raises
    ------
    ValueError, TypeError
        For arrays that are not 2-D, differ in columns, are empty or hold no real numbers.
    """
    arrays = [_columns(array, index) for index, array in enumerate((train, *others))]
    for index, array in enumerate(arrays):
        if array.shape[1] != arrays[0].shape[1]:
            given = f"array {index} has {array.shape[1]} columns"
            raise ValueError(message("standardize", given, f"expected {arrays[0].shape[1]}", "compare the arrays"))
    eps = real("standardize", "eps", eps, 0.0)
    mean = arrays[0].mean(axis=0, dtype=np.float64)
    squares = sum(((rows - mean) ** 2).sum(axis=0) for rows in _blocks(arrays[0]))
    std = np.sqrt(squares / len(arrays[0]))
    scale = np.where(std <= eps * np.abs(mean), 1.0, std)
    results = tuple(_scaled(array, mean, scale) for array in arrays)
    return results if others else results[0]


def _test_count(test_size: float, n: int) -> int:
    share = real("train_test_split", "test_size", test_size, 0.0, open_low=True)
    count = int(share) if isinstance(test_size, int | np.integer) else math.ceil(share * n)
    if not 0 < count < n or (share >= 1.0 and count != share):
        given = f"test_size={test_size} of {n} samples"
        expected = "expected a share in (0, 1) or an int that leaves samples in both parts"
        raise ValueError(message("train_test_split", given, expected, "change test_size"))
    return count


def _stratified(order: npt.NDArray[np.int64], y: npt.NDArray[Any], n_test: int) -> npt.NDArray[np.int64]:
    """Reorder so that the first `n_test` rows hold each class in proportion (largest remainders are rounded up)."""
    if y.ndim != 1:
        raise ValueError(
            message("train_test_split", f"y has shape {y.shape}", "expected (n_samples,) classes", "or stratify=False")
        )
    classes = np.unique(y, return_inverse=True)[1][order]
    quota = np.bincount(classes) * (n_test / len(y))
    take = np.floor(quota).astype(np.int64)
    take[np.argsort(take - quota, kind="stable")[: n_test - take.sum()]] += 1
    in_test = np.zeros(len(y), bool)
    for index, count in enumerate(take):
        in_test[np.flatnonzero(classes == index)[:count]] = True
    return np.concatenate([order[in_test], order[~in_test]])


def _columns(values: npt.ArrayLike, index: int) -> npt.NDArray[Any]:
    array = to_numpy("standardize", values, f"array {index}")
    if array.dtype.kind not in "fiub":
        given = f"array {index} has dtype {array.dtype}"
        raise TypeError(message("standardize", given, "expected real numbers", "convert it first"))
    if array.ndim != 2 or len(array) == 0:
        given = f"array {index} has shape {array.shape}"
        raise ValueError(message("standardize", given, "expected (n_samples, n_features), not empty", "reshape it"))
    return array


def _scaled(array: npt.NDArray[Any], mean: npt.NDArray[np.float64], scale: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    out = np.empty(array.shape, np.float64 if array.dtype == np.float64 else np.float32)
    for rows, target in zip(_blocks(array), _blocks(out)):
        target[...] = (rows - mean) / scale
    return out


def _blocks(array: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """Blocks of rows: the arithmetic is in float64, and a whole array of it could be many times what is given."""
    step = max(1, _BLOCK_ELEMENTS // max(1, array.shape[1]))
    return (array[begin : begin + step] for begin in range(0, len(array), step))
