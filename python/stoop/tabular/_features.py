"""Features: the columns of a table as a matrix of numbers and codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from stoop._tables import CodeColumn, IgnoredColumn, NumberColumn, TableEncoder
from stoop._tables._matrix import Picker, columns_of, problem_of
from stoop._tables._messages import refuse_for_estimator
from stoop.tabular._input import Table


class Features:
    """Remembers the columns of a table, and makes a matrix of others.

    Parameters
    ----------
    encoder : TableEncoder
        What is remembered. Its `columns` are those of the table; `fit` makes one.
    """

    def __init__(self, encoder: TableEncoder) -> None:
        self.encoder = encoder
        encoder.refuse = refuse_for_estimator  # one of a file has the words of the command line
        plain = [column for column in encoder.columns if isinstance(column, NumberColumn | IgnoredColumn)]
        self._picker = Picker(plain) if len(plain) == len(encoder.columns) else None

    @classmethod
    def fit(
        cls, where: str, table: Table, categorical: Sequence[str], rows: Any, *, joins_rare: bool = True
    ) -> Features:
        """Learn the columns of a table; of these rows what is missing, and what categories there are.

        With `joins_rare` a category of a single row is not remembered, if there are many rows and categories.

        Raises
        ------
        ValueError
            For columns that cannot be used.
        """
        encoder = TableEncoder(categories=categorical, codes=True, joins_rare=joins_rare, refuse=refuse_for_estimator)
        if table.matrix is not None and not categorical:
            _check_size(where, table.names, table.matrix)
            encoder.columns = tuple(columns_of(table.names, table.matrix, rows))
        else:
            encoder.fit(table.frame, where, rows)
        if not encoder.width:  # a network needs an input: one that is always the same
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
        if table.matrix is None or self._picker is None:
            return self.encoder.transform(table.frame, where)
        _check_size(where, table.names, table.matrix)
        return self._picker(table.matrix)


def _check_size(where: str, names: Sequence[str], matrix: npt.NDArray[Any]) -> None:
    if problem := problem_of(names, matrix):
        refuse_for_estimator(where, [problem])
