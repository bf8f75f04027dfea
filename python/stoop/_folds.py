"""Which rows each model of `stoop.many` trains on, and which it is tried on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._arrays import to_numpy
from stoop._checks import integer
from stoop._errors import message, warn
from stoop._split import class_numbers

Rows = npt.NDArray[np.int64]


_HINT = "5 or 10 is usual"


def division(where: str, k: Any, stratify: Any, groups: Any) -> int | list[Any]:
    """Return the number of folds, or the folds that are given, before anything is built for them.

    Raises
    ------
    ValueError, TypeError
        For less than 2, and for two ways to divide the rows at once.
    """
    if isinstance(k, np.ndarray) and k.ndim == 0:
        k = k[()]
    if isinstance(k, str) or not isinstance(k, Iterable):
        if groups is not None and stratify:
            given, expected = "stratify=True and groups are both given", "expected one of them"
            raise ValueError(message(where, given, expected, "leave one out, or give k as the rows of the folds"))
        return integer(where, "k", k, 2, hint=_HINT)
    for name, is_given in (("groups", groups is not None), ("stratify", bool(stratify))):
        if is_given:
            given, hint = f"{name} is given with the rows of the folds", "leave it out, or give k as a number"
            raise ValueError(message(where, given, "expected one of them", hint))
    folds = list(k)
    if len(folds) < 2:
        raise ValueError(message(where, f"k has {len(folds)} folds", "expected at least 2", _HINT))
    return folds


def folds_of(
    where: str,
    k: int | list[Any],
    n: int,
    order: Rows,
    classes: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
) -> list[Rows]:
    """Return the rows of each fold, ascending: each row in one fold, and sizes that differ by one at most.

    Parameters
    ----------
    where : str
        For messages.
    k : int or list of array_like
        What `division` returned: how many folds, or their rows, each row in one of them at most.
    n : int
        Rows in all.
    order : ndarray, (n,)
        The permutation from which rows are dealt.
    classes : array_like, (n,), optional
        Every fold gets the share of each of these, to a row.
    groups : array_like, (n,), optional
        Rows of one group stay together, the largest first into the fold that has fewest rows.

    Raises
    ------
    ValueError, TypeError
        For more than n folds, or more than there are groups; for rows that are there twice.
    """
    if not isinstance(k, int):
        return _given(where, k, n)
    if k > n:
        raise ValueError(message(where, f"k is {k}", f"expected at most {n}, the rows of X", _HINT))
    if groups is not None:
        fold = _of_groups(where, k, class_numbers(where, groups, n, "groups")[order])
    elif classes is not None:
        fold = _of_classes(where, k, class_numbers(where, classes, n, "y")[order])
    else:
        fold = np.arange(n) * k // n
    of_row = np.empty(n, np.int64)
    of_row[order] = fold
    return [np.flatnonzero(of_row == i) for i in range(k)]


def _of_classes(where: str, k: int, classes: Rows) -> Rows:
    """Deal the rows of one class after the other, so that neither classes nor folds differ by more than one."""
    sizes = np.bincount(classes)
    if sizes.min() < k:
        given = f"the least populated class has {sizes.min()} rows for {k} folds"
        warn(message(where, given, "expected one for each fold", "take fewer folds, or stratify=False"))
    fold = np.empty(len(classes), np.int64)
    fold[np.argsort(classes, kind="stable")] = np.arange(len(classes)) % k
    return fold


def _of_groups(where: str, k: int, groups: Rows) -> Rows:
    sizes = np.bincount(groups)
    if len(sizes) < k:
        given = f"groups has {len(sizes)} groups for {k} folds"
        raise ValueError(message(where, given, "expected at least one for each fold", "take fewer folds"))
    first_seen = np.unique(groups, return_index=True)[1]  # in the order of the rows, which is shuffled
    filled = np.zeros(k, np.int64)
    fold_of_group = np.empty(len(sizes), np.int64)
    for group in sorted(range(len(sizes)), key=lambda g: (-sizes[g], first_seen[g])):
        fold_of_group[group] = filled.argmin()
        filled[fold_of_group[group]] += sizes[group]
    return fold_of_group[groups]


def _given(where: str, folds: list[Any], n: int) -> list[Rows]:
    out: list[Rows] = []
    seen = np.zeros(n, bool)
    for i, given in enumerate(folds):
        rows = to_numpy(where, given, f"k[{i}]")
        rows = np.flatnonzero(rows) if rows.dtype.kind == "b" and rows.shape == (n,) else rows
        if rows.ndim != 1 or not len(rows) or rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() >= n:
            given_text, hint = f"k[{i}] has dtype {rows.dtype} and shape {rows.shape}", "take them from a splitter"
            raise ValueError(message(where, given_text, f"expected rows from 0 to {n - 1}", hint))
        if seen[rows].any() or len(np.unique(rows)) < len(rows):
            again = rows[seen[rows]][0] if seen[rows].any() else rows[0]
            expected, hint = "expected each row at most once", "call it again for another division"
            raise ValueError(message(where, f"k[{i}] has rows that were there before, such as {again}", expected, hint))
        seen[rows] = True
        out.append(rows.astype(np.int64))
    return out


def others_of(rows: Rows, n: int) -> Rows:
    """Return all rows but these, ascending."""
    kept = np.ones(n, bool)
    kept[rows] = False
    return np.flatnonzero(kept)
