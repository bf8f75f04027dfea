"""Random splits of rows into a training and a test part."""

from __future__ import annotations

import math
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from stoop._arrays import is_table, refuse_masked, to_numpy
from stoop._checks import Bounds, integer, real
from stoop._checks import seed as checked_seed
from stoop._errors import message

_WHERE = "train_test_split"
_NAMES = ("X", "y")  # of the first two arrays; the others are counted


class _Default(float):
    """A default that can be told from the same number when it is given."""

    __slots__ = ()


def train_test_split(
    X: Any,
    y: Any,
    *more: Any,
    test_size: float = _Default(0.25),
    train_size: float | None = None,
    seed: int | None = None,
    stratify: Any = None,
    random_state: int | None = None,
) -> tuple[Any, ...]:
    """Split rows at random into a training and a test part.

    Parameters
    ----------
    X : array_like or data frame, (n_samples, ...)
    y : array_like or data frame, (n_samples, ...)
    *more : array_like or data frame, (n_samples, ...)
        Split in the same way, sample weights for example. A number here is `test_size`, given third.
    test_size : float or int, default 0.25, or what `train_size` leaves
        Share of the samples in (0, 1), rounded up to whole samples, or their number as an int.
    train_size : float or int, optional
        Share of the samples, rounded down, or their number. None: all that are not in the test part.
    seed : int, default 0
        Of the permutation: the same seed, the same parts.
    stratify : array_like, (n_samples,) or (n_samples, n_columns), optional
        Keep the share of each of these classes (each different row) in both parts, to a sample. True stands for y.
    random_state : int, optional
        Another name of `seed`, as in scikit-learn; None here is 0 as well, so that a split can be repeated.

    Returns
    -------
    X_train, X_test, y_train, y_test, ... : ndarray or data frame
        Copies; a pandas, polars or Arrow object stays what it is, everything else becomes an array.

    Raises
    ------
    ValueError, TypeError
        If lengths differ, a part would be empty, something is masked, seed and random_state are both given, or with
        `stratify`: a class with one sample alone, or a part with fewer samples than classes.
    """
    more, test_size = _third_number(more, test_size)
    arrays = [rows_of(_WHERE, array, _name_of(index)) for index, array in enumerate((X, y, *more))]
    n = len(arrays[0])
    for index, array in enumerate(arrays):
        if len(array) != n:
            given = f"X has {n} rows, {_name_of(index)} {len(array)}"
            raise ValueError(message(_WHERE, given, "expected as many rows in each", "compare them"))
    n_train, n_test = _counts(n, test_size, train_size)
    order = np.random.default_rng(_chosen_seed(seed, random_state)).permutation(n)
    if stratify is not None and stratify is not False:
        order = _stratified(order, class_numbers(_WHERE, y if stratify is True else stratify, n), n_train, n_test)
    test, train = order[:n_test], order[n_test : n_test + n_train]
    return tuple(part for array in arrays for part in (take(array, train), take(array, test)))


def _third_number(more: tuple[Any, ...], test_size: Any) -> tuple[tuple[Any, ...], Any]:
    if more and np.ndim(more[0]) == 0 and isinstance(more[0], int | float | np.number):
        if not isinstance(test_size, _Default) or len(more) > 1:
            given = f"{len(more)} arguments after y that begin with a number"
            raise TypeError(message(_WHERE, given, "expected arrays, or test_size alone", "give numbers by name"))
        return (), more[0]
    return more, test_size


def _name_of(index: int) -> str:
    return _NAMES[index] if index < len(_NAMES) else f"array {index}"


def rows_of(where: str, values: Any, name: str) -> Any:
    """Return what can be indexed by rows: a pandas, polars or Arrow object as it is, else an array."""
    package = type(values).__module__.partition(".")[0]
    if is_table(values) or hasattr(type(values), "iloc") or package in ("polars", "pyarrow"):
        return values
    refuse_masked(where, values, name)
    if isinstance(values, np.ndarray) and values.dtype.kind == "O":
        return np.asarray(values)  # its elements stay what they are
    array = to_numpy(where, values, name)
    if array.ndim == 0:
        raise ValueError(message(where, f"{name} is a single value", "expected rows", f"check {name}"))
    return array


def take(array: Any, rows: npt.NDArray[np.int64]) -> Any:
    """Return these rows."""
    if hasattr(array, "iloc"):
        return array.iloc[rows]
    return array.take(rows) if type(array).__module__.startswith("pyarrow") else array[rows]


def _chosen_seed(seed: Any, random_state: Any) -> int:
    if seed is not None and random_state is not None:
        given = f"seed is {seed!r} and random_state {random_state!r}"
        raise ValueError(message(_WHERE, given, "expected one of them: they mean the same", "leave one out"))
    return checked_seed(_WHERE, 0 if seed is None and random_state is None else random_state if seed is None else seed)


def _counts(n: int, test_size: Any, train_size: Any) -> tuple[int, int]:
    test = _count("test_size", test_size, n, math.ceil)
    train = n - test
    if train_size is not None:
        train = _count("train_size", train_size, n, math.floor)
        test = n - train if isinstance(test_size, _Default) else test
    if test < 1 or train < 1 or test + train > n:
        given = f"test_size={test_size}" if train_size is None else f"test_size={test_size} and train_size={train_size}"
        expected = "expected shares in (0, 1) or ints that leave samples in both parts"
        raise ValueError(message(_WHERE, f"{given} of {n} samples", expected, "change test_size"))
    return train, test


def _count(name: str, size: Any, n: int, rounded: Any) -> int:
    if isinstance(size, int | np.integer) and not isinstance(size, bool):
        return integer(_WHERE, name, size, 1)
    return int(rounded(real(_WHERE, name, size, Bounds(0.0, 1.0, without_low=True, without_high=True)) * n))


# ---- in proportion ----


def class_numbers(where: str, classes: Any, n: int, name: str = "stratify") -> npt.NDArray[np.int64]:
    """Return the number of the class of each sample, counted from 0 in the order of the sorted classes.

    Raises
    ------
    ValueError, TypeError
        For another number of samples, and for what cannot be sorted.
    """
    array = to_numpy(where, classes, name)
    if array.ndim not in (1, 2) or len(array) != n:
        given, expected = f"{name} has shape {array.shape}", f"expected ({n},) classes, one per row of X"
        raise ValueError(message(where, given, expected, "give one for each row"))
    try:
        axis = 0 if array.ndim == 2 and array.dtype.kind != "O" else None
        if array.ndim == 2 and axis is None:
            array = np.array([" ".join(map(repr, row)) for row in array.tolist()])
        return np.unique(array, axis=axis, return_inverse=True)[1].reshape(-1).astype(np.int64)
    except TypeError as error:
        given = f"{name} holds what cannot be put in order ({error})"
        hint = "give each missing value a class of its own, and one type to all"
        raise TypeError(message(where, given, "expected classes of one kind", hint)) from None


def _stratified(
    order: npt.NDArray[np.int64], classes: npt.NDArray[np.int64], n_train: int, n_test: int
) -> npt.NDArray[np.int64]:
    """Reorder: first the test part, then the training part, each with every class in proportion."""
    sizes = np.bincount(classes)
    if sizes.min() < 2:
        given = f"the least populated class has {sizes.min()} sample, too few for both parts"
        _refuse_class(given, "expected at least 2 samples of each class", "join rare classes, or leave stratify out")
    for name, count in (("test", n_test), ("train", n_train)):
        if count < len(sizes):
            given = f"the {name} part has {count} samples for {len(sizes)} classes"
            _refuse_class(given, "expected at least one for each class", f"raise {name}_size, or leave stratify out")
    shuffled = classes[order]
    to_test = _shares(sizes, n_test)
    to_train = np.minimum(_shares(sizes, n_train), sizes - to_test)
    to_train += _shares(sizes - to_test - to_train, n_train - int(to_train.sum()))
    test, train = np.zeros(len(order), bool), np.zeros(len(order), bool)
    for index in range(len(sizes)):
        places = np.flatnonzero(shuffled == index)
        test[places[: to_test[index]]] = True
        train[places[to_test[index] : to_test[index] + to_train[index]]] = True
    return np.concatenate([order[test], order[train]])


def _shares(sizes: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Return `count` in proportion to `sizes`; the largest remainders are rounded up."""
    quota = sizes * (count / max(int(sizes.sum()), 1))
    take: npt.NDArray[np.int64] = np.floor(quota).astype(np.int64)
    take[np.argsort(take - quota, kind="stable")[: count - int(take.sum())]] += 1
    return take


def _refuse_class(given: str, expected: str, hint: str) -> NoReturn:
    raise ValueError(message(_WHERE, given, expected, hint))
