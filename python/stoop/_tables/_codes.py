"""Columns for a network with embeddings: categories become codes, and a column that tells nothing is left out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from stoop._tables._columns import NumberColumn
from stoop._tables._messages import Problem
from stoop._tables._text import Floats, TextFormat, missing_in, names_of, numbers_of, places_of

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
        counts = _names(seen)[1].value_counts()
        if len(counts) > _FEW_CODES and len(seen) >= _MANY_ROWS:
            counts = counts[counts > 1] if (counts > 1).any() else counts.sort_index()[:1]
        return cls(str(column.name), tuple(sorted(counts.index)), bool(missing_in(seen).any()))

    @property
    def names(self) -> list[str]:
        """Names of the columns that it gives the matrix."""
        return [self.name]

    @property
    def codes(self) -> dict[int, int]:
        """How many codes it has, by place among its columns of the matrix."""
        return {0: max(len(self.categories), 1)}

    @cached_property
    def _known(self) -> Any:
        import pandas as pd

        return pd.Index(self.categories, dtype=object)

    def encode(self, column: Any, form: TextFormat, *, ignore: bool) -> tuple[Floats, Problem | None]:
        """Return the column of the matrix; every cell can be one."""
        del form, ignore
        inverse, names = _names(column, each=False)
        places = places_of(names, self.categories, self._known)
        unknown = float(self.codes[0])
        codes = np.append(np.where(places < 0, unknown, places), MISSING_CODE)  # the last is that of the place -1
        return codes[inverse][:, np.newaxis], None


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
    elif not missing.all() and names_of(seen).nunique() > 1:
        return CodeColumn.fit(column, rows)
    if missing.all() or not missing.any():
        return IgnoredColumn(str(column.name))
    return CodeColumn.fit(column, rows)  # one value, or none


def _names(column: Any, *, each: bool = True) -> tuple[Any, Any]:
    """Return the names of a column's cells, of each or of the different ones, with the place of each cell's among them.

    The place of a missing cell is -1.
    """
    import pandas as pd

    if column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) != "string":
        names = names_of(column)  # 1, 1.0 and True are equal, but have other names
        places, different = pd.factorize(names)
        names_by_place = pd.Series(different, dtype=object)
    else:
        places, different = pd.factorize(column)
        names_by_place = names_of(pd.Series(different))
    if not each:
        return places, names_by_place
    return places, names_by_place.iloc[places[places >= 0]]
