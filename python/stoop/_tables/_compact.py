"""A large table of text in little memory: the different texts of some cells, and which one each cell has."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._tables._text import MISSING

_CELLS_TOGETHER = 1 << 16  # each call of pandas takes as long as a thousand cells
_CODES = (np.int8, np.int16, np.int32)


class Marks:
    """The texts that stand for a missing value, in each column."""

    def __init__(self, more: Iterable[str], categories: Mapping[str, Collection[str]]) -> None:
        self.usual = frozenset((*MISSING, *more))
        self.categories = {name: texts for name, texts in categories.items() if not self.usual.isdisjoint(texts)}

    def of(self, name: str) -> frozenset[str]:
        return self.usual.difference(self.categories.get(name, ()))


class TextTable:
    """Columns of text, each of which becomes one of pandas when it is asked for.

    Of a pandas data frame it has what the readers of tables need: ``table[name]``, ``table[mask]``, ``columns``,
    ``drop``, ``rename`` and ``len``.

    Parameters
    ----------
    pandas : module
    parts : sequence of Part
        Some rows after others, of the same columns.
    places : mapping
        Names of the columns, with their places in the parts.
    kept : ndarray of int, optional
        Numbers of the rows that are left. None: all.
    """

    def __init__(
        self, pandas: Any, parts: Sequence[Part], places: Mapping[str, int], kept: npt.NDArray[np.int64] | None = None
    ) -> None:
        self._pandas, self._parts, self._places, self._kept = pandas, parts, dict(places), kept

    def __len__(self) -> int:
        return sum(part.rows for part in self._parts) if self._kept is None else len(self._kept)

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self._places)

    def __getitem__(self, key: str | npt.NDArray[np.bool_]) -> Any:
        """Return a column as a pandas series, or the rows where a mask is True; they keep their numbers."""
        if not isinstance(key, str):
            rows = np.arange(len(self)) if self._kept is None else self._kept
            return TextTable(self._pandas, self._parts, self._places, rows[key])
        pandas, place = self._pandas, self._places[key]
        parts = [pandas.Series(part.column(pandas, place)) for part in self._parts]
        series = parts[0] if len(parts) == 1 else pandas.concat(parts, ignore_index=True)
        series.name = key
        return series if self._kept is None else series.iloc[self._kept]

    def drop(self, *, columns: str | list[str]) -> TextTable:
        """Return the table without these columns."""
        gone = {columns} if isinstance(columns, str) else set(columns)
        places = {name: place for name, place in self._places.items() if name not in gone}
        return TextTable(self._pandas, self._parts, places, self._kept)

    def rename(self, *, columns: Mapping[str, str]) -> TextTable:
        """Return the table with other names of columns."""
        places = {columns.get(name, name): place for name, place in self._places.items()}
        return TextTable(self._pandas, self._parts, places, self._kept)


class Part:
    """Some rows of all columns of a data frame of text, stripped, and with missing ones for marks of these."""

    def __init__(self, pandas: Any, frame: Any, marks: Marks) -> None:
        self.rows = len(frame)
        self._together = _columns_together(self.rows)
        self._groups = [_Group(pandas, cells.array) for _, cells in stripped(pandas, frame, marks)]
        own = with_marks_of_their_own(frame, marks)
        self._own = {place: _Group(pandas, cells.array) for place, cells in own}

    def column(self, pandas: Any, place: int) -> Any:
        """Return the cells of a column, missing ones as pandas has them."""
        if place in self._own:
            return self._own[place].cells(pandas, slice(None))
        group, begin = self._groups[place // self._together], place % self._together * self.rows
        return group.cells(pandas, slice(begin, begin + self.rows))


class _Group:
    """Cells of some columns: as pandas has them, or codes where few are different."""

    def __init__(self, pandas: Any, cells: Any) -> None:
        codes, texts = pandas.factorize(cells)
        self._codes: npt.NDArray[Any] | None = None
        self._texts = cells
        if 2 * len(texts) <= len(cells):
            self._texts = texts
            self._codes = codes.astype(next(kind for kind in _CODES if len(texts) <= np.iinfo(kind).max))

    def cells(self, pandas: Any, which: slice) -> Any:
        if self._codes is None:
            return self._texts[which]
        return pandas.api.extensions.take(self._texts, self._codes[which].astype(np.intp), allow_fill=True)


def stripped(pandas: Any, frame: Any, marks: Marks) -> Iterator[tuple[Any, Any]]:
    """Yield some columns of text after others, and their cells below each other, without spaces around them.

    Columns are taken together as long as they have few cells; the usual marks stand for missing ones in all of them.
    """
    together, missing = _columns_together(len(frame)), list(marks.usual)
    for begin in range(0, frame.shape[1], together):
        part = frame.iloc[:, begin : begin + together]
        cells = pandas.Series(part.to_numpy().reshape(-1, order="F"), dtype=part.dtypes.iloc[0]).str.strip()
        yield part, cells.mask(cells.isin(missing))


def with_marks_of_their_own(frame: Any, marks: Marks) -> Iterator[tuple[int, Any]]:
    """Yield the places of columns that have some of the usual marks as categories, and their cells."""
    for place, name in enumerate(frame.columns):
        if name in marks.categories:
            cells = frame[name].str.strip()
            yield place, cells.mask(cells.isin(list(marks.of(name))))


def _columns_together(rows: int) -> int:
    return max(_CELLS_TOGETHER // max(rows, 1), 1)
