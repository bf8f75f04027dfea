"""How one column becomes numbers: what is remembered of it, and the columns of the matrix that it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from stoop._tables._messages import Problem, count, first_of, quoted
from stoop._tables._text import (
    LARGEST,
    Floats,
    TextFormat,
    missing_in,
    names_of,
    names_to_learn,
    numbers_of,
    places_of,
    truths_of,
)

MOST_CATEGORIES = 255
_FEW_ROWS = 20  # from here on a text that differs in every row is a name, not a category
OTHER = "<other>"
_MISSING = "is missing"
_WIDE = 1e4  # times the range: float32 has seven digits
_SAMPLE = 1000  # rows whose numbers are counted


def are_wide(low: Any, high: Any, matrix: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return for each column whether float32 would lose what tells its numbers apart.

    Parameters
    ----------
    low, high : ndarray, (n_columns,)
        The least and the largest number.
    matrix : ndarray, (n_rows, n_columns)
        NaN where a number is missing. A single small number among large ones makes the range wide, so that different
        numbers are counted too.
    """
    spread = high - low
    loses: npt.NDArray[np.bool_] = (np.maximum(np.abs(low), np.abs(high)) > _WIDE * spread) & (spread > 0.0)
    sample = matrix[:: max(len(matrix) // _SAMPLE, 1)]
    if sample.dtype != np.float32:
        loses |= 2 * _different_numbers(sample.astype(np.float32)) < _different_numbers(sample)
    return loses


def _different_numbers(matrix: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Return how many different numbers each column has, less one; NaN, which is sorted last, does not count."""
    found: npt.NDArray[np.intp] = np.count_nonzero(np.diff(np.sort(matrix, axis=0), axis=0) > 0.0, axis=0)
    return found


@dataclass(frozen=True)
class NumberColumn:
    """Numbers, or truth values as 1 and 0; a missing one is NaN, with a mark beside it if training has seen some."""

    kind: ClassVar[str] = "number"
    name: str
    has_missing: bool
    is_boolean: bool = False
    is_wide: bool = False  # float32 would lose what tells its numbers apart

    @classmethod
    def fit(cls, column: Any, form: TextFormat, rows: Any, *, is_boolean: bool = False) -> NumberColumn:
        """Remember what kind of numbers it has, and whether some are missing in these rows."""
        values, missing = (truths_of(column) if is_boolean else numbers_of(column, form))[0], missing_in(column)
        known = values[~missing]
        is_wide = bool(are_wide(known.min(), known.max(), known[:, np.newaxis])[0])
        return cls(str(column.name), bool(missing[rows].any()), is_boolean, is_wide)

    @property
    def names(self) -> list[str]:
        """Names of the columns that it gives the matrix."""
        return [self.name, f"{self.name} {_MISSING}"] if self.has_missing else [self.name]

    @property
    def width(self) -> int:
        """How many columns it gives the matrix."""
        return 1 + self.has_missing

    @property
    def codes(self) -> dict[int, int]:
        """How many codes it has, by place among its columns of the matrix: the mark is one of two."""
        return {1: 2} if self.has_missing else {}

    def encode(self, column: Any, form: TextFormat, *, ignore: bool) -> tuple[Floats, Problem | None]:
        """Return the columns of the matrix, and what is wrong with the cells."""
        values, bad = truths_of(column) if self.is_boolean else numbers_of(column, form)
        if bad.any() and not self.is_boolean:  # true and false count as 1 and 0, written as text too
            truths, other = truths_of(column)
            values, bad = (values, bad) if other.any() else (truths, other)
        bad |= np.abs(values) > LARGEST
        problem = None
        if bad.any() and not ignore:
            cell, row = first_of(bad, column)
            expected = (
                "expected true or false, or 1 or 0" if self.is_boolean else "expected a finite number, as in training"
            )
            hint, option = "correct such cells", "take them for missing with --unknown ignore"
            given = f'has "{cell}" at row {row}'
            problem = Problem(self.name, given, expected, hint, option, "make them missing", can_go=False)
        values = np.where(bad, np.nan, values)
        if not self.has_missing:
            return values[:, np.newaxis], problem
        return np.stack([values, (missing_in(column) | bad).astype(np.float64)], axis=1), problem


@dataclass(frozen=True)
class CategoryColumn:
    """Text, a column of 0 and 1 for each category that training has seen; a missing one is a category of its own."""

    kind: ClassVar[str] = "category"
    name: str
    categories: tuple[str, ...]
    has_missing: bool
    has_other: bool = False  # the rare ones together

    @classmethod
    def fit(cls, column: Any, most: int | None, rows: Any) -> CategoryColumn | Problem:
        """Remember the categories of these rows; with `most` the rare ones beyond it become one."""
        missing, names = missing_in(column), names_to_learn(column)
        name, found = str(column.name), names.nunique()
        if most is None and found == (~missing).sum() >= _FEW_ROWS:
            return Problem(name, f"has another text in each of {count(found, 'row')}", "expected categories")
        if most is None and found > MOST_CATEGORIES:
            option = "join the rare ones with --max-categories 100"
            return Problem(name, f"has {found:,} categories", f"expected at most {MOST_CATEGORIES}", option=option)
        by_count = sorted(names.iloc[rows].value_counts().items(), key=lambda item: (-item[1], item[0]))
        kept = sorted(text for text, _ in (by_count if most is None else by_count[:most]))
        return cls(name, tuple(kept), bool(missing[rows].any()), len(kept) < len(by_count))

    @property
    def names(self) -> list[str]:
        """Names of the columns that it gives the matrix."""
        names = [f"{self.name}={category}" for category in self.categories]
        return names + [f"{self.name}={OTHER}"] * self.has_other + [f"{self.name} {_MISSING}"] * self.has_missing

    @property
    def width(self) -> int:
        """How many columns it gives the matrix: a long name with many categories would make very long `names`."""
        return len(self.categories) + self.has_other + self.has_missing

    def encode(self, column: Any, form: TextFormat, *, ignore: bool) -> tuple[Floats, Problem | None]:
        """Return the columns of the matrix, and what is wrong with the cells."""
        del form
        missing = missing_in(column)
        places = places_of(names_of(column), self.categories)
        unknown = (places < 0) & ~missing
        problem = None
        if self.has_other:
            places[unknown] = len(self.categories)
        elif unknown.any() and not ignore:
            cell, row = first_of(unknown, column)
            more = names_of(column[unknown]).nunique() - 1
            given = f'has the category "{cell}" at row {row}' + (f" and {more} more" if more else "")
            expected = f"expected one that training has seen: {quoted(self.categories)}"
            option, given = "take it for none of them with --unknown ignore", f"{given}, which training has not seen"
            problem = Problem(self.name, given, expected, "correct it", option, can_go=False)
        if self.has_missing:
            places[missing] = self.width - 1
        out = np.zeros((len(column), self.width))
        known = places >= 0
        out[np.flatnonzero(known), places[known]] = 1.0
        return out, problem

    def unseen(self, column: Any) -> list[str]:
        """Return the names of cells that are none of the categories."""
        names = names_of(column[~missing_in(column)])
        return sorted(set(names[places_of(names, self.categories) < 0]))
