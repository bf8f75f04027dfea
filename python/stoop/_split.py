"""Random splits of rows into a training, a development and a test part."""

from __future__ import annotations

import math
from typing import Any

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
    given = _arrays(_WHERE, X, y, more)
    sizes = {"test": test_size, "train": train_size}
    rows = _parts(_WHERE, len(given[0]), sizes, _chosen_seed(seed, random_state), y if stratify is True else stratify)
    return tuple(take(array, part) for array in given for part in (rows["train"], rows["test"]))


def train_dev_test_split(
    X: Any,
    y: Any,
    *more: Any,
    dev_size: float = 0.2,
    test_size: float = 0.2,
    train_size: float | None = None,
    seed: int = 0,
    stratify: Any = None,
) -> tuple[Any, ...]:
    """Split rows at random into a training, a development and a test part.

    The test part is the one that `train_test_split` takes with the same seed and test_size.

    Parameters
    ----------
    X : array_like or data frame, (n_samples, ...)
    y : array_like or data frame, (n_samples, ...)
    *more : array_like or data frame, (n_samples, ...)
        Split in the same way, sample weights for example.
    dev_size, test_size : float or int, default 0.2
        Share of all samples in (0, 1), rounded up to whole samples, or their number as an int. The development part,
        also called validation part, is for choices: when to stop, which model. The test part is for the last word.
    train_size : float or int, optional
        Share of the samples, rounded down, or their number. None: all that are in no other part.
    seed : int, default 0
        Of the permutation: the same seed, the same parts.
    stratify : array_like, (n_samples,) or (n_samples, n_columns), optional
        Keep the share of each of these classes (each different row) in all parts, to a sample. True stands for y.

    Returns
    -------
    X_train, X_dev, X_test, y_train, y_dev, y_test, ... : ndarray or data frame
        Copies; a pandas, polars or Arrow object stays what it is, everything else becomes an array. `split_indices`
        gives the numbers of the rows instead, for data that are larger than memory.

    Raises
    ------
    ValueError, TypeError
        If lengths differ, a part would be empty, something is masked, or with `stratify`: a class with fewer samples
        than there are parts, or a part with fewer samples than classes.
    """
    where = "train_dev_test_split"
    given = _arrays(where, X, y, more)
    sizes = {"test": test_size, "dev": dev_size, "train": train_size}
    rows = _parts(where, len(given[0]), sizes, checked_seed(where, seed), y if stratify is True else stratify)
    return tuple(take(array, rows[name]) for array in given for name in ("train", "dev", "test"))


def split_indices(
    n: Any,
    *,
    dev_size: float | None = None,
    test_size: float = 0.2,
    train_size: float | None = None,
    seed: int = 0,
    stratify: Any = None,
) -> tuple[npt.NDArray[np.int64], ...]:
    """Return the rows of a training and a test part, or of a training, a development and a test part.

    For data that are not to be copied, such as a memory map that is larger than memory:
    ``train, dev, test = split_indices(len(X), dev_size=0.01, test_size=0.01)``, then
    ``stoop.fit_many([trainer], X, y, rows=[train], validation_rows=[dev])``, ``trainer.step(X, y, rows=train[:64])``
    and ``model.predict(X[test])``. Nothing is read but `stratify`.

    Parameters
    ----------
    n : int or sized
        The number of rows, or what has that length.
    dev_size, test_size, train_size, seed
        As in `train_dev_test_split`. Without a dev_size there is no development part.
    stratify : array_like, (n,) or (n, n_columns), optional
        As there; the classes themselves.

    Returns
    -------
    train, test or train, dev, test : ndarray of int64
        The rows that `train_test_split` or `train_dev_test_split` takes with the same sizes and seed, in ascending
        order: a file is read fastest forwards, and `fit` shuffles them anyway.

    Raises
    ------
    ValueError, TypeError
        As in `train_dev_test_split`.
    """
    where = "split_indices"
    count = integer(where, "n", len(n) if hasattr(n, "__len__") else n, 1, hint="give len(X)")
    names = ("train", "test") if dev_size is None else ("train", "dev", "test")
    sizes = {"test": test_size, "dev": dev_size, "train": train_size}
    if stratify is True:
        given = "stratify is True and there is no y"
        raise TypeError(message(where, given, "expected classes, one per row", "give stratify=y"))
    rows = _parts(where, count, {name: sizes[name] for name in reversed(names)}, checked_seed(where, seed), stratify)
    return tuple(np.sort(rows[name]) for name in names)


def _arrays(where: str, X: Any, y: Any, more: tuple[Any, ...]) -> list[Any]:
    arrays = [rows_of(where, array, _name_of(index)) for index, array in enumerate((X, y, *more))]
    n = len(arrays[0])
    for index, array in enumerate(arrays):
        if len(array) != n:
            given = f"X has {n} rows, {_name_of(index)} {len(array)}"
            raise ValueError(message(where, given, "expected as many rows in each", "compare them"))
    return arrays


def _parts(where: str, n: int, sizes: dict[str, Any], seed: int, stratify: Any) -> dict[str, npt.NDArray[np.int64]]:
    """Return the rows of each part; `sizes` are in the order in which the parts are drawn, train last."""
    counts = _counts(where, n, sizes)
    order = np.random.default_rng(seed).permutation(n)
    if stratify is not None and stratify is not False:
        return _stratified(where, order, class_numbers(where, stratify, n), counts)
    ends = np.cumsum(list(counts.values()))
    return dict(zip(counts, np.split(order[: ends[-1]], ends[:-1]), strict=True))


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


def _counts(where: str, n: int, sizes: dict[str, Any]) -> dict[str, int]:
    counts = {name: _count(where, name, size, n) for name, size in sizes.items() if size is not None}
    if "train" not in counts:
        counts["train"] = n - sum(counts.values())
    elif isinstance(sizes["test"], _Default):
        counts["test"] = n - (sum(counts.values()) - counts["test"])
    if min(counts.values()) < 1 or sum(counts.values()) > n:
        sizes_given = [f"{name}_size={size}" for name, size in sizes.items() if size is not None]
        given = " and ".join([", ".join(sizes_given[:-1]), sizes_given[-1]] if len(sizes_given) > 1 else sizes_given)
        expected = f"expected shares in (0, 1) or ints that leave samples in {_all(counts)} parts"
        raise ValueError(message(where, f"{given} of {n} samples", expected, "change test_size"))
    return counts


def _all(counts: dict[str, int]) -> str:
    return "both" if len(counts) == 2 else "all"


def _count(where: str, name: str, size: Any, n: int) -> int:
    name += "_size"
    if isinstance(size, int | np.integer) and not isinstance(size, bool):
        return integer(where, name, size, 1)
    share = real(where, name, size, Bounds(0.0, 1.0, without_low=True, without_high=True)) * n
    return math.floor(share) if name == "train_size" else math.ceil(share)


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
    where: str, order: npt.NDArray[np.int64], classes: npt.NDArray[np.int64], counts: dict[str, int]
) -> dict[str, npt.NDArray[np.int64]]:
    """Return the rows of each part, every class in proportion."""
    sizes = np.bincount(classes)
    if sizes.min() < len(counts):
        samples = f"{sizes.min()} sample{'s' * int(sizes.min() > 1)}"
        given = f"the least populated class has {samples}, too few for {_all(counts)} parts"
        expected = f"expected at least {len(counts)} samples of each class"
        raise ValueError(message(where, given, expected, "join rare classes, or leave stratify out"))
    for name, count in counts.items():
        if count < len(sizes):
            given = f"the {name} part has {count} samples for {len(sizes)} classes"
            hint = f"raise {name}_size, or leave stratify out"
            raise ValueError(message(where, given, "expected at least one for each class", hint))
    shuffled = classes[order]
    taken, parts = np.zeros_like(sizes), {name: np.zeros(len(order), bool) for name in counts}
    places = [np.flatnonzero(shuffled == index) for index in range(len(sizes))]
    for name, count in counts.items():
        wanted = np.minimum(_shares(sizes, count), sizes - taken)
        wanted += _shares(sizes - taken - wanted, count - int(wanted.sum()))
        for index, of_class in enumerate(places):
            parts[name][of_class[taken[index] : taken[index] + wanted[index]]] = True
        taken += wanted
    return {name: order[part] for name, part in parts.items()}


def _shares(sizes: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Return `count` in proportion to `sizes`; the largest remainders are rounded up."""
    quota = sizes * (count / max(int(sizes.sum()), 1))
    take: npt.NDArray[np.int64] = np.floor(quota).astype(np.int64)
    take[np.argsort(take - quota, kind="stable")[: count - int(take.sum())]] += 1
    return take
