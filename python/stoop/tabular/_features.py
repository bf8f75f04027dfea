"""Features: the columns of a table as a matrix of numbers and codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from stoop._errors import message
from stoop._tables import CodeColumn, IgnoredColumn, NumberColumn, TableEncoder
from stoop._tables._messages import Problem, count, refuse
from stoop._tables._text import LARGEST
from stoop.tabular._input import Table

_WIDE = 1e4  # times the range, as in NumberColumn
_HINT = "correct such cells, take them for missing, or leave the column out"


class Features:
    """Remembers the columns of a table, and makes a matrix of others.

    Parameters
    ----------
    encoder : TableEncoder
        What is remembered. Its `columns` are those of the table; `fit` makes one.
    """

    def __init__(self, encoder: TableEncoder) -> None:
        self.encoder = encoder
        kinds = (NumberColumn, IgnoredColumn)
        self._are_numbers = all(isinstance(column, kinds) for column in encoder.columns)
        columns = list(enumerate(encoder.columns))
        self._values = np.array([place for place, column in columns if isinstance(column, NumberColumn)], np.intp)
        has_mark = [column.has_missing for column in encoder.columns if isinstance(column, NumberColumn)]
        self._marked = self._values[has_mark]
        before = np.cumsum([0, *has_mark])[:-1] if has_mark else np.empty(0, np.intp)
        self._places = np.arange(len(self._values)) + before  # of the values, in the matrix
        wide = (isinstance(column, NumberColumn) and column.is_wide for column in encoder.columns)
        self._dtype = np.dtype(np.float64 if any(wide) else np.float32)

    @classmethod
    def fit(cls, where: str, table: Table, categorical: Sequence[str], rows: Any) -> Features:
        """Learn the columns of a table; of these rows what is missing, and what categories there are.

        Raises
        ------
        ValueError
            For columns that cannot be used.
        """
        encoder = TableEncoder(categories=categorical, codes=True, refuse=_refuse)
        if table.matrix is not None and not categorical:
            encoder.columns = _columns_of(where, table, rows)
        else:
            encoder.fit(table.frame, where, rows)
        if not encoder.names:  # a network needs an input: one that is always the same
            encoder.columns = (CodeColumn(table.names[0], (), has_missing=True), *encoder.columns[1:])
        return cls(encoder)

    @property
    def codes(self) -> dict[int, int]:
        """Which columns of the matrix hold codes, with the number of codes."""
        return self.encoder.codes

    def transform(self, where: str, table: Table) -> npt.NDArray[Any]:
        """Return the matrix, (n_rows, n_encoded): numbers (missing: NaN), marks of missing ones, and codes.

        Raises
        ------
        ValueError
            For cells that cannot be numbers.
        """
        if table.matrix is None or not self._are_numbers:
            return self.encoder.transform(table.frame, where)
        _check_size(where, table)
        out = np.empty((len(table), len(self._values) + len(self._marked)), self._dtype)
        out[:, self._places] = table.matrix[:, self._values]
        marks = np.setdiff1d(np.arange(out.shape[1]), self._places)
        out[:, marks] = np.isnan(table.matrix[:, self._marked])
        return out


def _columns_of(where: str, table: Table, rows: Any) -> tuple[NumberColumn | IgnoredColumn | CodeColumn, ...]:
    """Return what is remembered of a matrix, as TableEncoder.fit does for each column."""
    _check_size(where, table)
    assert table.matrix is not None
    seen = table.matrix[rows]
    missing = np.isnan(seen)
    low, high = np.where(missing, np.inf, seen).min(axis=0), np.where(missing, -np.inf, seen).max(axis=0)
    has_missing = missing.any(axis=0)
    with np.errstate(invalid="ignore"):
        spread = high - low
        wide = np.maximum(np.abs(low), np.abs(high)) > _WIDE * spread
    found: list[NumberColumn | IgnoredColumn | CodeColumn] = []
    for name, least, span, is_wide, misses in zip(table.names, low, spread, wide, has_missing):
        if span > 0.0:
            found.append(NumberColumn(name, bool(misses), is_wide=bool(is_wide)))
        elif span == 0.0 and misses:  # one value, or none
            value = str(int(least)) if float(least).is_integer() else str(float(least))
            found.append(CodeColumn(name, (value,), has_missing=True))
        else:
            found.append(IgnoredColumn(name))
    return tuple(found)


def _check_size(where: str, table: Table) -> None:
    assert table.matrix is not None
    with np.errstate(invalid="ignore"):
        large = np.abs(table.matrix) > LARGEST
    if not large.any():
        return
    row, column = np.argwhere(large)[0]
    given = f'column "{table.names[column]}" has {table.matrix[row, column]:g} at row {row + 1}'
    refuse(where, given, f"expected numbers from {-LARGEST:g} to {LARGEST:g}, or NaN for missing ones", _HINT)


def _refuse(where: str, problems: Sequence[Problem]) -> NoReturn:
    """Raise ValueError for columns that cannot be used; the hints of these problems are for the command line."""
    first = problems[0]
    more = f" ({count(len(problems) - 1, 'more column')} cannot be used either)" if len(problems) > 1 else ""
    hint = _HINT if "--" in first.hint or not first.hint else f"{first.hint}, or leave the column out"
    raise ValueError(message(where, f'column "{first.name}" {first.given}{more}', first.expected, hint))
