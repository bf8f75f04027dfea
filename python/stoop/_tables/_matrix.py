"""Tables that are a matrix of real numbers: what is remembered of all columns at once, as of a frame one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._tables._codes import CodeColumn, IgnoredColumn
from stoop._tables._columns import NumberColumn, are_wide
from stoop._tables._kinds import too_large
from stoop._tables._messages import Problem
from stoop._tables._text import LARGEST, name_of


def columns_of(
    names: Sequence[str], matrix: npt.NDArray[Any], rows: Any
) -> list[CodeColumn | IgnoredColumn | NumberColumn]:
    """Return what is remembered of a matrix, (n_rows, n_columns), NaN where a number is missing.

    As `fit_codes`: constant columns and missing ones are told by `rows`, and by all rows whether float32 can hold a
    column.
    """
    low, high, missing = _limits(matrix[rows])
    found: list[CodeColumn | IgnoredColumn | NumberColumn] = []
    for name, least, most, misses, is_wide in zip(names, low, high, missing, are_wide(*_limits(matrix)[:2], matrix)):
        if least < most:
            found.append(NumberColumn(name, bool(misses), is_wide=bool(is_wide)))
        elif least > most or not misses:
            found.append(IgnoredColumn(name))
        else:
            found.append(CodeColumn(name, (name_of(float(least)),), has_missing=True))
    return found


def _limits(matrix: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Return the least and the largest number of each column, and whether some are missing; 1 and 0 for no number."""
    missing = np.isnan(matrix)
    low, high = np.where(missing, np.inf, matrix).min(axis=0), np.where(missing, -np.inf, matrix).max(axis=0)
    is_empty = low > high
    low[is_empty], high[is_empty] = 1.0, 0.0
    return low, high, missing.any(axis=0)


def problem_of(names: Sequence[str], matrix: npt.NDArray[Any]) -> Problem | None:
    """Return what is wrong with the first number, row by row, that is too large."""
    with np.errstate(invalid="ignore"):
        large = np.abs(matrix) > LARGEST
    if not large.any():
        return None
    row, column = np.argwhere(large)[0]
    return too_large(names[column], float(matrix[row, column]), int(row) + 1)


class Picker:
    """Takes the numbers of a matrix that columns without categories want, and marks the missing ones.

    Parameters
    ----------
    columns : sequence of NumberColumn or IgnoredColumn
        One for each column of the matrix.
    """

    def __init__(self, columns: Sequence[NumberColumn | IgnoredColumn]) -> None:
        numbers = [(place, column) for place, column in enumerate(columns) if isinstance(column, NumberColumn)]
        has_mark = np.array([column.has_missing for _, column in numbers], bool)
        self._values = np.array([place for place, _ in numbers], np.intp)
        self._marked = self._values[has_mark]
        self._places = np.arange(len(numbers)) + np.cumsum(has_mark) - has_mark  # of the values, in the result
        self._marks = self._places[has_mark] + 1
        self._dtype = np.dtype(np.float64 if any(column.is_wide for _, column in numbers) else np.float32)

    def __call__(self, matrix: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return what `TableEncoder.transform` does for a frame of these numbers."""
        out = np.empty((len(matrix), len(self._values) + len(self._marked)), self._dtype)
        out[:, self._places] = matrix[:, self._values]
        out[:, self._marks] = np.isnan(matrix[:, self._marked])
        return out
