"""Columns for a network with embeddings: categories become codes, and a column that tells nothing is left out."""

from __future__ import annotations

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
    names_in,
    names_of,
    numbers_of,
    plain_name,
    plain_places,
)

MISSING_CODE = -1.0
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
    def fit(cls, column: Any, rows: Any) -> CodeColumn:
        """Remember the categories of these rows, but not those of a single row where there are many."""
        seen = column.iloc[rows]
        places, names = _different(seen)
        counts = dict(zip(names, np.bincount(places[places >= 0], minlength=len(names)).tolist()))
        kept = sorted(counts)
        if len(kept) > _FEW_CODES and len(seen) >= _MANY_ROWS:
            kept = [name for name in kept if counts[name] > 1] or kept[:1]
        return cls(str(column.name), tuple(kept), bool((places < 0).any()))

    @property
    def names(self) -> list[str]:
        """Names of the columns that it gives the matrix."""
        return [self.name]

    @property
    def codes(self) -> dict[int, int]:
        """How many codes it has, by place among its columns of the matrix."""
        return {0: max(len(self.categories), 1)}

    @cached_property
    def _places(self) -> tuple[dict[str, int], dict[str, int]]:
        return {name: place for place, name in enumerate(self.categories)}, plain_places(self.categories)

    def encode(self, column: Any, form: TextFormat, *, ignore: bool) -> tuple[Floats, Problem | None]:
        """Return the column of the matrix; every cell can be one."""
        del form, ignore
        places, names = _different(column)
        known, plain = self._places
        unknown = self.codes[0]
        codes = [known[name] if name in known else plain.get(plain_name(name), unknown) for name in names]
        return np.array([*codes, MISSING_CODE])[places][:, np.newaxis], None  # the last is that of the place -1


@dataclass(frozen=True)
class IgnoredColumn:
    """A column that was the same, or missing, in all rows of the training: it gives the matrix nothing."""

    kind: ClassVar[str] = "ignored"
    name: str
    has_missing: ClassVar[bool] = True
    names: ClassVar[list[str]] = []
    codes: ClassVar[dict[int, int]] = {}

    def encode(self, column: Any, form: TextFormat, *, ignore: bool) -> tuple[Floats, Problem | None]:
        """Return no column."""
        del form, ignore
        return np.empty((len(column), 0)), None


def fit_codes(column: Any, form: TextFormat, kind: str, rows: Any) -> CodeColumn | IgnoredColumn | NumberColumn:
    """Remember a column that is of this kind: "number", "boolean" or "category"."""
    seen = column.iloc[rows]
    missing = missing_in(seen)
    if kind == "number" and not missing.all():
        values = numbers_of(seen, form)[0][~missing]
        if values.min() != values.max():
            return NumberColumn.fit(column, form, rows)
    elif not missing.all() and len(set(_different(seen)[1])) > 1:
        return CodeColumn.fit(column, rows)
    if missing.all() or not missing.any():
        return IgnoredColumn(str(column.name))
    return CodeColumn.fit(column, rows)  # one value, or none


def _different(column: Any) -> tuple[npt.NDArray[np.intp], list[str]]:
    """Return the place of each cell's name among the different names of a column, -1 for a missing one, and these."""
    import pandas as pd

    if column.dtype == object and not are_strings(column):
        column = names_of(column)  # 1, 1.0 and True are equal, but have other names
    places, cells = pd.factorize(column)
    return places, names_in(cells.tolist())
