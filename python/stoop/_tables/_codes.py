"""Columns for a network with embeddings: categories become codes, and a column that tells nothing is left out."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from stoop._tables._columns import NumberColumn
from stoop._tables._messages import Problem
from stoop._tables._text import (
    Floats,
    TextFormat,
    are_strings,
    missing_in,
    name_of,
    names_of,
    numbers_of,
    one_spelling,
    other_names,
    place_of,
    plain_places,
)

MISSING_CODE = -1.0
_REAL = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")  # as str writes it
_DIGITS = re.compile(r"-?\d+")
_FEW_CODES = 9  # a column with more has its rare categories joined
_MANY_ROWS = 100  # with fewer, each category is kept


@dataclass(frozen=True)
class CodeColumn:
    """Categories as codes 0, 1, ...; a missing one is -1, and one that training has not seen is the number of codes."""

    kind: ClassVar[str] = "code"
    name: str
    categories: tuple[str, ...]
    has_missing: bool

    @classmethod
    def fit(cls, column: Any, rows: Any, *, joins_rare: bool = True) -> CodeColumn:
        """Remember the categories of these rows, with `joins_rare` not those of a single row where there are many."""
        seen = column.iloc[rows]
        places, names = _different(seen)
        counts = Counter[str]()
        for name, number in zip(one_spelling(names), np.bincount(places[places >= 0], minlength=len(names)).tolist()):
            counts[name] += number
        kept = sorted(counts)
        if joins_rare and len(kept) > _FEW_CODES and len(seen) >= _MANY_ROWS:
            kept = [name for name in kept if counts[name] > 1] or kept[:1]
        return cls(str(column.name), tuple(kept), bool((places < 0).any()))

    @property
    def names(self) -> list[str]:
        """Names of the columns that it gives the matrix."""
        return [self.name]

    @property
    def width(self) -> int:
        """How many columns it gives the matrix."""
        return 1

    @property
    def codes(self) -> dict[int, int]:
        """How many codes it has, by place among its columns of the matrix."""
        return {0: max(len(self.categories), 1)}

    @cached_property
    def _places(self) -> tuple[dict[str, int], dict[str, int]]:
        return {name: place for place, name in enumerate(self.categories)}, plain_places(self.categories)

    @cached_property
    def _other_names(self) -> dict[str, str]:
        return other_names(self._places[1])

    def _code_of(self, name: str) -> int:
        known, plain = self._places
        place = known.get(name, -1)
        if place < 0:
            place = place_of(name, plain, self._other_names)
        if place < 0 and _REAL.fullmatch(name):
            place = self._place_of_real(name)
        return self.codes[0] if place < 0 else place

    @cached_property
    def _by_single(self) -> dict[float, list[tuple[int, float]]]:
        """The places and values of the categories that are numbers, by their value in float32."""
        found: dict[float, list[tuple[int, float]]] = {}
        for place, name in enumerate(self.categories):
            if _REAL.fullmatch(name):
                found.setdefault(_single(float(name)), []).append((place, float(name)))
        return found

    def _place_of_real(self, name: str) -> int:
        """Return the place of a number, -1 for none: 0.1 in float32 is that in float64, whichever came first."""
        value, single = float(name), _single(float(name))
        near = self._by_single.get(single, [])
        if len(near) != 1:
            return -1
        place, known = near[0]
        is_whole = _DIGITS.fullmatch(name) is not None
        if value == known and is_whole != (_DIGITS.fullmatch(self.categories[place]) is not None):
            return place  # 1e+18 of a column of floats is 1000000000000000000 of one of integers
        if is_whole and int(name) != value:
            return -1
        short = float(str(np.float32(single)))  # 0.1 for 0.10000000149, which float32 has for it
        return place if value == single != short or value == short != known == single else -1

    def encode(self, column: Any, form: TextFormat, *, ignore: bool) -> tuple[Floats, Problem | None]:
        """Return the column of the matrix; every cell can be one."""
        del form, ignore
        places, codes = self._codes_of(column)
        return np.array([*codes, MISSING_CODE])[places][:, np.newaxis], None  # the last is that of the place -1

    def unknown_in(self, column: Any) -> bool:
        """Return whether cells are none of the categories, and not missing."""
        return self.codes[0] in self._codes_of(column)[1]

    def _codes_of(self, column: Any) -> tuple[npt.NDArray[np.intp], list[int]]:
        """Return the place of each cell among the different ones, -1 for a missing one, and the codes of these."""
        places, names = _different(column)
        return places, [self._code_of(name) for name in names]


@dataclass(frozen=True)
class IgnoredColumn:
    """A column that was the same, or missing, in all rows of the training: it gives the matrix nothing."""

    kind: ClassVar[str] = "ignored"
    name: str
    has_missing: ClassVar[bool] = True
    names: ClassVar[list[str]] = []
    width: ClassVar[int] = 0
    codes: ClassVar[dict[int, int]] = {}

    def encode(self, column: Any, form: TextFormat, *, ignore: bool) -> tuple[Floats, Problem | None]:
        """Return no column."""
        del form, ignore
        return np.empty((len(column), 0)), None


def fit_codes(
    column: Any, form: TextFormat, kind: str, rows: Any, *, joins_rare: bool = True
) -> CodeColumn | IgnoredColumn | NumberColumn:
    """Remember a column that is of this kind: "number", "boolean" or "category"."""
    seen = column.iloc[rows]
    missing = missing_in(seen)
    if kind == "number" and not missing.all():
        values = numbers_of(seen, form)[0][~missing]
        if values.min() != values.max():
            return NumberColumn.fit(column, form, rows)
    elif not missing.all() and len(set(one_spelling(_different(seen)[1]))) > 1:
        return CodeColumn.fit(column, rows, joins_rare=joins_rare)
    if missing.all() or not missing.any():
        return IgnoredColumn(str(column.name))
    return CodeColumn.fit(column, rows, joins_rare=joins_rare)  # one value, or none


def _single(value: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def _different(column: Any) -> tuple[npt.NDArray[np.intp], list[str]]:
    """Return the place of each cell's name among the different names of a column, -1 for a missing one, and these."""
    import pandas as pd

    if column.dtype == object and not are_strings(column):
        column = names_of(column)  # 1, 1.0 and True are equal, but have other names
    try:
        places, cells = pd.factorize(column)
    except (NotImplementedError, TypeError):  # cells that have no order or hash, such as lists
        places, cells = pd.factorize(names_of(column))
    return places, list(map(name_of, cells.tolist()))
