"""TableEncoder: the columns of a data frame as a matrix of numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from stoop._tables._codes import CodeColumn, IgnoredColumn, fit_codes
from stoop._tables._columns import CategoryColumn, NumberColumn
from stoop._tables._kinds import kind_of, misfit
from stoop._tables._messages import Problem, count, nearest, quoted, refuse, refuse_columns
from stoop._tables._text import TextFormat, missing_in

Column = NumberColumn | CategoryColumn | CodeColumn | IgnoredColumn
_KINDS: dict[str, type[Any]] = {
    column.kind: column for column in (NumberColumn, CategoryColumn, CodeColumn, IgnoredColumn)
}


class TableEncoder:
    """Remembers the columns of a data frame, and makes a matrix of others that have the same.

    Numbers stay what they are, for a `stoop.Normalization` to bring to one size; a missing one is NaN, with a column of
    0 and 1 beside it that says so if `fit` has seen some. Categories become a column of 0 and 1 each, and so do missing
    ones where `fit` has seen some. With `codes` a column of categories or truth values becomes one column of codes
    instead, for a `stoop.Columns`, and columns that are the same in all rows are left out.

    Parameters
    ----------
    form : TextFormat
        How numbers are written in cells of text.
    categories : iterable of str
        Columns that are categories even if their cells are numbers.
    max_categories : int, optional
        So many of the most frequent categories of a column are kept, and the others become one. None: more than 255
        are an error. Not with `codes`, which have no limit.
    codes : bool, default False
        Whether categories become codes; ones that training has not seen are then no error.
    joins_rare : bool, default True
        With `codes`: a category of a single row is none, where there are 100 rows and more than 9 categories.
    refuse : callable
        Raises the error for a list of `Problem`.

    Attributes
    ----------
    form : TextFormat
        As given.
    columns : tuple
        What is remembered of each, in the order of the data frame.
    refuse : callable
        As given; `from_state` leaves the words of the command line.
    """

    def __init__(
        self,
        form: TextFormat = TextFormat(),  # noqa: B008  frozen
        *,
        categories: Iterable[str] = (),
        max_categories: int | None = None,
        codes: bool = False,
        joins_rare: bool = True,
        refuse: Callable[[str, Sequence[Problem]], NoReturn] = refuse_columns,
    ) -> None:
        self.form = form
        self._makes_codes, self._joins_rare = codes, joins_rare
        self.refuse = refuse
        self._categories = frozenset(categories)
        self._most = max_categories
        self.columns: tuple[Column, ...] = ()

    def fit(self, frame: Any, where: str = "table", rows: Any = slice(None)) -> TableEncoder:
        """Remember the columns of a pandas data frame.

        Parameters
        ----------
        rows : slice or array of int, default all
            The rows to learn categories and missing values of; what kind of cells a column has is told by all.

        Raises
        ------
        ValueError
            For columns that cannot be used; the message has all of them.
        """
        found = [self._fit(frame[name], rows) for name in frame.columns]
        if problems := [column for column in found if isinstance(column, Problem)]:
            self.refuse(where, problems)
        self.columns = tuple(column for column in found if not isinstance(column, Problem))
        return self

    def _fit(self, column: Any, rows: Any) -> Column | Problem:
        is_empty = bool(missing_in(column).all())
        if self._makes_codes and is_empty:
            return IgnoredColumn(str(column.name))
        is_named = str(column.name) in self._categories and not is_empty
        kind = "category" if is_named else kind_of(column, self.form)
        if isinstance(kind, Problem):
            return kind
        if self._makes_codes:
            return fit_codes(column, self.form, kind, rows, joins_rare=self._joins_rare)
        if kind == "category":
            return CategoryColumn.fit(column, self._most, rows)
        return NumberColumn.fit(column, self.form, rows, is_boolean=kind == "boolean")

    @property
    def names(self) -> list[str]:
        """Names of the columns that it gives the matrix."""
        return [name for column in self.columns for name in column.names]

    @property
    def width(self) -> int:
        """How many columns it gives the matrix."""
        return sum(column.width for column in self.columns)

    @property
    def has_codes(self) -> bool:
        """Whether categories are codes, or columns were left out."""
        return any(isinstance(column, CodeColumn | IgnoredColumn) for column in self.columns)

    @property
    def codes(self) -> dict[int, int]:
        """Which columns of the matrix hold codes, with how many there are of each."""
        found, begin = {}, 0
        for column in self.columns:
            if not isinstance(column, CategoryColumn):
                found.update({begin + place: number for place, number in column.codes.items()})
            begin += column.width
        return found

    @property
    def are_numbers(self) -> npt.NDArray[np.bool_]:
        """Which columns of the matrix hold numbers, as against marks of 0 and 1."""
        flags = [(place == 0 and column.kind == "number") for column in self.columns for place in range(column.width)]
        return np.array(flags, bool)

    def transform(
        self, frame: Any, where: str = "table", *, known: Sequence[str] = (), ignore: bool = False
    ) -> npt.NDArray[Any]:
        """Return the matrix, (n_rows, len(names)), of a data frame with the columns in any order.

        It is float32, or float64 where a column holds numbers that float32 cannot tell apart.

        Parameters
        ----------
        known : sequence of str
            Columns that may be there too.
        ignore : bool, default False
            True: columns and categories that `fit` has not seen are left out of account.

        Raises
        ------
        ValueError
            For missing columns, and for other columns, categories or cells than `fit` has seen.
        """
        self._check_names(where, [str(name) for name in frame.columns], known, ignore)
        is_wide = any(isinstance(column, NumberColumn) and column.is_wide for column in self.columns)
        out = np.empty((len(frame), self.width), np.float64 if is_wide else np.float32)
        problems, begin = [], 0
        for column in self.columns:
            cells, end = frame[column.name], begin + column.width
            if (problem := _misfit(column, cells)) is None:
                out[:, begin:end], problem = column.encode(cells, self.form, ignore=ignore)
            begin = end
            if problem:
                problems.append(problem)
        if problems:
            self.refuse(where, problems)
        return out

    @property
    def categories(self) -> dict[str, tuple[str, ...]]:
        """The categories of each column that has some; "" is not among those of one that has missing cells too."""
        found = {c.name: c.categories for c in self.columns if isinstance(c, CodeColumn | CategoryColumn)}
        with_missing = {column.name for column in self.columns if column.has_missing}
        return {name: tuple(filter(None, texts)) if name in with_missing else texts for name, texts in found.items()}

    def newly_missing(self, frame: Any) -> list[str]:
        """Return the columns where values are missing that `fit` has seen in every row."""
        return [
            column.name for column in self.columns if not column.has_missing and missing_in(frame[column.name]).any()
        ]

    def unknown(self, frame: Any) -> list[str]:
        """Return the columns of codes with categories that `fit` has not seen, which are no error there."""
        return [c.name for c in self.columns if isinstance(c, CodeColumn) and c.unknown_in(frame[c.name])]

    def _check_names(self, where: str, names: list[str], known: Sequence[str], ignore: bool) -> None:
        own = [column.name for column in self.columns]
        taken, there = {*own, *known}, set(names)
        extra = [name for name in names if name not in taken]
        if absent := [name for name in own if name not in there]:
            near = nearest(absent[0], extra)
            hint = f'rename "{near}"?' if near else "the model needs all columns that it was trained with"
            refuse(where, f"{count(len(absent), 'column')} missing: {quoted(absent)}", f"expected {quoted(own)}", hint)
        if extra and not ignore:
            hint = "remove them, or leave them out of account with --unknown ignore"
            given = f"{count(len(extra), 'column')} that training has not seen: {quoted(extra)}"
            refuse(where, given, f"expected {quoted(own)}", hint)

    def to_state(self) -> dict[str, Any]:
        """Return all that is remembered, as JSON can hold it."""
        return {"text": self.form.to_state(), "columns": [_to_state(column) for column in self.columns]}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> TableEncoder:
        """Return the encoder of `to_state`."""
        text = state["text"]
        encoder = cls(TextFormat(**{**text, "missing": tuple(text["missing"])}))
        encoder.columns = tuple(_from_state(column) for column in state["columns"])
        return encoder


def _misfit(column: Column, cells: Any) -> Problem | None:
    if isinstance(column, IgnoredColumn):
        return None
    problem = misfit(cells, () if isinstance(column, NumberColumn) else column.categories)
    return problem and problem._replace(can_go=False)


def _to_state(column: Column) -> dict[str, Any]:
    fields = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(column).items()}
    return {"kind": column.kind, **fields}


def _from_state(state: dict[str, Any]) -> Column:
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in state.items()}
    kind: Any = fields.pop("kind")
    column: Column = _KINDS[kind](**fields)
    for name, value in fields.items():
        texts = {"name": (value,), "categories": value}.get(name)
        is_good = isinstance(value, bool) if texts is None else all(isinstance(text, str) for text in texts)
        if not is_good:
            raise TypeError(f"column {column.name!r} has the {name} {value!r}")
    return column
