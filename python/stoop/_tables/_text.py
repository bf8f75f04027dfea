"""Text cells of a table as numbers, truth values and names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

# What stands for a missing value in a text file: as pandas.read_csv has it.
MISSING = ("", "#N/A", "#NA", "-NaN", "-nan", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null")
_FIRST_WITH_EXPONENT = 1e16  # a float that is written as 1e+16
LARGEST = 1e30  # of the numbers that are taken: their squares need not fit float32, but their spread must
_AS_NUMBERS = {"true": "1", "false": "0"}  # two spellings of the same
_TRUTH = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0}
_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([ T]\d{1,2}:\d{2}\S*)?|\d{1,2}[-/.]\d{1,2}[-/.](\d{2}|\d{4})( .*)?")
_SPAN = re.compile(r"-?\d+ days?\b.*")
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:([,.' \u00a0\u2019])\d{3})(?:\1\d{3})*(?:[,.]\d+)?")
_MIDNIGHT = re.compile(r"(\d{4}-\d\d-\d\d)[ T]00:00:00(\.0+)?")  # of a day, which is written without it where all are
_WHOLE = re.compile(r"-?(0|[1-9]\d*)(\.0+)?")
_CODE = re.compile(r"0\d+")
_UNIT = re.compile(r"[+-]?[$\u20ac\u00a3\u00a5]\s?[+-]?[\d.,]+|[+-]?[\d.,]+\s?[%$\u20ac\u00a3\u00a5]")
_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")


@dataclass(frozen=True)
class TextFormat:
    """How a text file is written. None: the separator is found in the first line."""

    separator: str | None = None
    decimal: str = "."
    thousands: str = ""
    missing: tuple[str, ...] = ()  # beside the usual ones
    encoding: str = "utf-8"

    def to_state(self) -> dict[str, Any]:
        """Return what a new file must be read with too."""
        return {"decimal": self.decimal, "thousands": self.thousands, "missing": list(self.missing)}


def is_text(column: Any) -> bool:
    """Return whether the cells of this pandas column are text, or any objects."""
    return getattr(column.dtype, "kind", "O") in "OUST"


def are_categories(column: Any) -> bool:
    """Return whether this pandas column is of a category type: of pandas, or a dictionary of Arrow."""
    return str(column.dtype) == "category" or str(column.dtype).startswith("dictionary<")


def are_booleans(column: Any) -> bool:
    """Return whether this pandas column is of truth values: bool, boolean, or bool[pyarrow]."""
    return getattr(column.dtype, "kind", "O") == "b"


def are_strings(column: Any) -> bool:
    """Return whether all cells of this pandas column of text or objects are str or missing."""
    import pandas as pd

    if isinstance(column.dtype, pd.StringDtype):
        return True
    return pd.api.types.infer_dtype(column, skipna=True) in ("string", "empty")


def missing_in(column: Any) -> Mask:
    """Return where this pandas column has no value."""
    return np.array(column.isna(), bool)


def numbers_of(column: Any, form: TextFormat) -> tuple[Floats, Mask]:
    """Return the cells as numbers, NaN for missing ones and for those that are none, and where these are."""
    import pandas as pd

    if not is_text(column) and not are_categories(column):
        return np.array(column.to_numpy(np.float64, na_value=np.nan)), np.zeros(len(column), bool)
    missing = missing_in(column)
    if few := _different(column):
        codes, texts = few
        texts = pd.Series([*texts, *([np.nan] if missing.any() else [])], dtype=object)  # as in the whole column
        values = _parsed(texts, form)[codes]  # -1 is the last, NaN
        return values, np.isnan(values) & ~missing
    values = _parsed(column.astype(object), form)
    return values, np.isnan(values) & ~missing


def _different(column: Any) -> tuple[npt.NDArray[np.intp], list[str]] | None:
    """Return which of its different texts each cell of a column of text has, if they are few; -1 for missing ones."""
    import pandas as pd

    if not isinstance(column.dtype, pd.StringDtype):
        return None
    codes, texts = pd.factorize(column.array)
    return None if 2 * len(texts) > len(column) else (codes, texts.tolist())


def _parsed(texts: Any, form: TextFormat) -> Floats:
    import pandas as pd

    if form.thousands or form.decimal != ".":
        texts = texts.map(lambda cell: _in_english(cell, form) if isinstance(cell, str) else cell)
    parsed: Floats = pd.to_numeric(texts, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return parsed


def _in_english(cell: str, form: TextFormat) -> str:
    if form.thousands:
        cell = cell.replace(form.thousands, "")
    if form.decimal == ".":
        return cell
    return cell if "." in cell else cell.replace(form.decimal, ".")  # "1.5" is no number where the comma is decimal


def truths_of(column: Any) -> tuple[Floats, Mask]:
    """Return the cells as 0 and 1, NaN for missing ones and for those that are neither, and where these are.

    True and false may be text, and may be written as 1 and 0.
    """
    missing = missing_in(column)
    if are_booleans(column):
        return np.array(column.to_numpy(np.float64, na_value=np.nan)), np.zeros(len(column), bool)
    names = names_of(column)
    different = {name: _TRUTH[plain_name(name)] for name in names.dropna().unique() if plain_name(name) in _TRUTH}
    numbers = names.map(different).to_numpy(np.float64, na_value=np.nan)
    return numbers, np.isnan(numbers) & ~missing


def names_of(column: Any) -> Any:
    """Return the cells as a pandas column of text, each by itself; missing ones stay missing."""
    if few := _different(column):
        return _taken(column, *few)
    objects = column.astype(object)
    return objects if are_strings(objects) else objects.where(column.isna(), objects.map(name_of, na_action="ignore"))


def names_to_learn(column: Any) -> Any:
    """Return `names_of` of a column to learn from: whole numbers have no decimal point where all names are such."""
    names = names_of(column)
    different = names.dropna().unique().tolist()
    plain = _plain_numbers(different)
    return names if plain == different else names.map(dict(zip(different, plain)), na_action="ignore")


def _taken(column: Any, codes: npt.NDArray[np.intp], texts: list[str]) -> Any:
    """Return the texts of a column as objects, of which those that are alike are one."""
    import pandas as pd

    cells = np.empty(len(texts) + 1, object)
    cells[:-1], cells[-1] = texts, column.dtype.na_value
    return pd.Series(cells[codes], index=column.index, name=column.name, dtype=object)


def places_of(names: Any, known: Sequence[str]) -> npt.NDArray[np.intp]:
    """Return where each of these names is among those that are known, -1 for others and missing ones.

    "1.0" is taken for "1" and "True" for "true", unless both are known: programs write the same cell in both ways. So
    they do with 1 and "true", see `other_names`.
    """
    import pandas as pd

    places: npt.NDArray[np.intp] = pd.Index(known, dtype=object).get_indexer(names.astype(object))
    other = np.flatnonzero((places < 0) & ~missing_in(names))
    if len(other):
        once = plain_places(known)
        others = other_names(once)
        places[other] = [place_of(name, once, others) for name in names.iloc[other]]
    return places


def place_of(name: str, plain: Mapping[str, int], others: Mapping[str, str]) -> int:
    """Return the place of a name by `plain_places` and `other_names`, -1 if it is none of them."""
    name = plain_name(name)
    return plain.get(name if name in plain else others.get(name, name), -1)


def other_names(plain: Iterable[str]) -> dict[str, str]:
    """Return which other names these have: 1 and 0 for true and false, and these two for 1 and 0 of whole numbers."""
    known = list(plain)
    if all(name in _AS_NUMBERS for name in known):
        return {number: truth for truth, number in _AS_NUMBERS.items()}
    return _AS_NUMBERS if all(map(is_whole, known)) else {}


def one_spelling(names: Sequence[str]) -> list[str]:
    """Return names to learn: "1" for "1.0" where all are whole numbers, "true" for 1 where some are truth values."""
    plain = [plain_name(name) for name in names]
    kinds = {name in _AS_NUMBERS for name in plain}
    if not all(name in _TRUTH for name in plain) or len(kinds) < 2:
        return _plain_numbers(names)
    truths = {number: truth for truth, number in _AS_NUMBERS.items()}
    return [truths.get(name, name) for name in plain]


def plain_places(known: Sequence[str]) -> dict[str, int]:
    """Return the places of names as they are written most plainly, but for those that are the same then."""
    plain = [plain_name(name) for name in known]
    counts = Counter(plain)
    return {name: place for place, name in enumerate(plain) if counts[name] == 1}


def _plain_numbers(names: Sequence[str]) -> list[str]:
    if any("." in name for name in names) and all(map(_WHOLE.fullmatch, names)):
        return [plain_name(name) for name in names]
    return list(names)


def plain_name(name: str) -> str:
    """Return the name as it is written most plainly."""
    if _WHOLE.fullmatch(name):
        return name.partition(".")[0]
    if midnight := _MIDNIGHT.fullmatch(name):
        return midnight[1]
    return name.lower() if name.lower() in _AS_NUMBERS else name


def name_of(cell: Any) -> str:
    """Return the name of a cell that is not missing."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, float | np.floating) and float(cell).is_integer() and abs(cell) < _FIRST_WITH_EXPONENT:
        return str(int(cell))
    return str(cell)


# ---- what text looks like ----


def is_whole(text: str) -> bool:
    """Return whether it is a whole number, such as 1, -20 or 3.0."""
    return _WHOLE.fullmatch(text) is not None


def is_date(text: str) -> bool:
    """Return whether it looks like 2026-11-30, 30.11.2026 or 11/30/26, with or without a time."""
    return _DATE.fullmatch(text) is not None


def is_date_or_span(text: str) -> bool:
    """Return whether it looks like a date, or like what pandas writes for a time from one to another."""
    return is_date(text) or _SPAN.fullmatch(text) is not None


def thousands_in(text: str) -> str | None:
    """Return the separator of thousands in a number such as 1,234,567.8, or None for other text."""
    found = _GROUPED.fullmatch(text)
    return found[1] if found else None


def has_decimal_comma(text: str) -> bool:
    """Return whether it is a number such as 1,5."""
    return _COMMA.fullmatch(text) is not None


def has_sign(text: str) -> bool:
    """Return whether it is a number with a percent sign or that of a currency."""
    return _UNIT.fullmatch(text) is not None


def is_code(text: str) -> bool:
    """Return whether it has digits that are no number, such as the postal code 01234."""
    return _CODE.fullmatch(text) is not None
