"""What the cells of a column are: numbers, truth values or categories; or why the column cannot be used."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Iterable
from typing import Any

import numpy as np

from stoop._tables._messages import Problem, count, first_of
from stoop._tables._text import (
    LARGEST,
    Floats,
    Mask,
    TextFormat,
    are_booleans,
    are_categories,
    are_strings,
    has_decimal_comma,
    has_sign,
    is_code,
    is_date,
    is_date_or_span,
    is_text,
    missing_in,
    names_of,
    numbers_of,
    thousands_in,
    truths_of,
)

_FEW = 20  # different numbers beside text that may still be names of categories, such as 0, 1, 2, "3+"
_CELLS = (str, int, float, np.generic, decimal.Decimal, dt.date, dt.time)  # of a column of objects
_TIMES = (dt.date, dt.timedelta, np.datetime64, np.timedelta64)
_SAMPLE = 2000  # different texts that are looked at
_MOST = 0.9  # of the texts


def kind_of(column: Any, form: TextFormat) -> str | Problem:
    """Return "number", "boolean" or "category", or what keeps the column from being used."""
    name, missing = str(column.name), missing_in(column)
    if missing.all():
        return Problem(name, "has no values", "expected some")
    dtype = str(column.dtype)
    if are_booleans(column):
        return "boolean"
    if are_categories(column):
        return "category"
    if is_text(column):
        if _are_truths(column):
            return "boolean"
        return _kind_of_text(name, column, missing, form)
    if getattr(column.dtype, "kind", "O") in "iuf":
        return _too_large(column, numbers_of(column, form)[0]) or "number"
    if getattr(column.dtype, "kind", "O") in "Mm":
        return _dates(name, str(column[~missing].iloc[0]))
    return _other_cells(name, dtype)


def misfit(column: Any, categories: Iterable[str] = ()) -> Problem | None:
    """Return what keeps a column of later rows from being used, whatever its values: dates, and cells such as lists.

    They may be where training was told to take such cells for categories.
    """
    kind = getattr(column.dtype, "kind", "O")
    is_time = kind in "Mm"
    if kind == "c":
        return _other_cells(str(column.name), str(column.dtype))
    if not is_time and (column.dtype != object or are_strings(column)):
        return None
    name, cells = str(column.name), column[~missing_in(column)]
    if not len(cells):
        return None
    time = next((cell for cell in cells if is_time or isinstance(cell, _TIMES)), None)
    if time is not None:
        return None if any(map(is_date_or_span, categories)) else _dates(name, str(time))
    odd = [cell for cell in cells if not _is_cell(cell)]
    return _other_cells(name, type(odd[0]).__name__) if odd and str(odd[0]) not in categories else None


def _is_cell(cell: Any) -> bool:
    return isinstance(cell, _CELLS) and not isinstance(cell, np.complexfloating)


def _other_cells(name: str, kind: str) -> Problem:
    return Problem(name, f"has cells of type {kind}", "expected numbers, text or booleans")


def _are_truths(column: Any) -> bool:
    """Return whether all cells of a column of objects are True, False or missing."""
    import pandas as pd

    return bool(column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) == "boolean")


def _kind_of_text(name: str, column: Any, missing: Mask, form: TextFormat) -> str | Problem:
    cells = () if are_strings(column) else column[~missing]
    if odd := next((type(cell).__name__ for cell in cells if not _is_cell(cell)), None):
        return _other_cells(name, odd)
    values, bad = numbers_of(column, form)
    good = ~missing & ~bad
    if not bad.any():
        if any(isinstance(cell, str) and is_code(cell) for cell in column[good].unique()):
            return "category"
        return _too_large(column, values) or "number"
    if not truths_of(column)[1].any():
        return "boolean"
    different = names_of(column[bad]).drop_duplicates().head(_SAMPLE).tolist()
    cell, where = first_of(bad, column)
    first = str(cell)
    if sum(map(is_date, different)) >= _MOST * len(different):
        return _dates(name, first)
    if problem := _other_numbers(name, different, first, where):
        return problem
    if good.sum() > bad.sum() and len(np.unique(values[good])) > _FEW:
        given = f'has {count(int(good.sum()), "number")} and {count(int(bad.sum()), "text")}, "{first}" at row {where}'
        option = f"take them for missing with --missing {first!r}, "
        option += f"or make all of them categories with --category {name}"
        argument = "make them missing, or name the column in categorical"
        return Problem(name, given, "expected one of both", "correct the texts", option, argument)
    return "category"


def _too_large(column: Any, values: Floats) -> Problem | None:
    large = np.abs(values) > LARGEST
    if not large.any():
        return None
    return too_large(str(column.name), float(values[large][0]), first_of(large, column)[1])


def too_large(name: str, value: float, row: int) -> Problem:
    """Return what is wrong with a number beyond `LARGEST`; rows are counted from 1."""
    expected = f"expected numbers from {-LARGEST:g} to {LARGEST:g}"
    if np.isinf(value):
        option, argument = "take it for missing with --missing inf,-inf", "make it missing: NaN"
        return Problem(name, f"is infinite at row {row}", "expected finite numbers", "correct it", option, argument)
    return Problem(name, f"is {value:g} at row {row}", expected, "write them in another unit")


def _dates(name: str, first: str) -> Problem:
    hint = "put what matters of them into columns of numbers, such as year, month and weekday"
    return Problem(name, f"holds dates, such as {first}", "expected numbers or categories", hint)


def _other_numbers(name: str, texts: list[str], first: str, row: int) -> Problem | None:
    """Numbers that are written in another way."""
    if sum(map(has_sign, texts)) >= _MOST * len(texts):
        given = f'holds "{first}" at row {row}'
        return Problem(name, given, "expected numbers without a sign of a unit", "remove the signs")
    separators = [separator for separator in map(thousands_in, texts) if separator]
    comma = sum(map(has_decimal_comma, texts))
    if len(separators) + comma < _MOST * len(texts) and max(len(separators), comma) < _MOST * len(texts):
        return None
    given = f'holds "{first}" at row {row}'
    if len(separators) >= comma:
        option = f'give --thousands "{separators[0]}"'
        if comma:
            option += ', or if this is the decimal mark, --decimal ","'
        return Problem(name, given, "expected numbers without separators of thousands", "remove them", option)
    hint, option = "write the numbers with a point", 'give --decimal ","'
    return Problem(name, given, "expected a decimal point", hint, option)
