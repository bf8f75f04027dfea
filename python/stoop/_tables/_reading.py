"""Reads CSV and Parquet files into pandas data frames. Cells of a CSV file stay text: their columns decide later."""

from __future__ import annotations

import csv
import gzip
import io
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from stoop._errors import message
from stoop._tables._messages import count, quoted, refuse
from stoop._tables._text import MISSING, TextFormat, is_text

_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_MARKUP = re.compile(rb"(?i)(\xef\xbb\xbf)?\s*(<(\?xml|!doctype|!--|html|\w+(\s[^>]*)?>\s*<)|[\[{]\s*([\[{\"\]}]|$))")
_CELLS_TOGETHER = 1 << 16
_PEEK = 1 << 16  # bytes that tell what kind of file it is


class _Marks:
    """The texts that stand for a missing value, in each column."""

    def __init__(self, more: Iterable[str], categories: Mapping[str, Collection[str]]) -> None:
        self.usual = frozenset((*MISSING, *more))
        self.categories = {name: texts for name, texts in categories.items() if not self.usual.isdisjoint(texts)}

    def of(self, name: str) -> frozenset[str]:
        return self.usual.difference(self.categories.get(name, ()))


def import_pandas() -> Any:
    """Return pandas; ImportError that names the extra where it is missing."""
    try:
        import pandas as pd
    except ImportError as error:
        given, expected = "pandas is not installed", "expected it to read tables"
        raise ImportError(message("tables", given, expected, 'pip install "stoop[tables]"')) from error
    return pd


def read_table(
    path: str | Path,
    form: TextFormat = TextFormat(),  # noqa: B008  frozen
    categories: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> Any:
    """Return the pandas data frame of a CSV file (gzipped or not) or a Parquet file.

    Text is stripped, and becomes missing where it is one of the usual marks or of `form`'s, but for those that are
    `categories` of its column. A first column without a name that holds different whole numbers, as data frames write
    their index, is left out; a named index is a column.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no table: empty, a header alone, another format or encoding, rows of other lengths, names twice.
    ImportError
        Without pandas, or pyarrow for Parquet.
    """
    pandas = import_pandas()
    path = Path(path)
    where = path.name
    try:
        with path.open("rb") as file:
            start = file.read(_PEEK)
    except OSError as error:
        kind = "a folder" if path.is_dir() else "not there" if isinstance(error, FileNotFoundError) else str(error)
        hint = "check the path"
        raise type(error)(message(where, f"the file {path} is {kind}", "expected a table to read", hint)) from None
    _refuse_other_formats(where, start)
    marks = _Marks(form.missing, categories)
    if start[:4] == b"PAR1":
        frame = _read_parquet(pandas, path, marks)
    else:
        frame = _read_text(pandas, path, start, form)
        frame = _stripped(pandas, frame, marks)
    frame.columns = [str(name).strip() for name in frame.columns]
    _check_names(where, list(frame.columns))
    if len(frame) == 0:
        given = f"a header of {count(frame.shape[1], 'column')} and no rows"
        refuse(where, given, "expected rows", "check how the file was written")
    return _without_index(frame)


def _refuse_other_formats(where: str, start: bytes) -> None:
    if not start.strip():
        refuse(where, "an empty file", "expected a header and rows", "check how it was written")
    if start[:4] == b"PK\x03\x04" or start[:8] == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":
        refuse(where, "an Excel file, or another archive", "expected CSV or Parquet", "save the sheet as CSV")
    if _MARKUP.match(start):
        refuse(where, "a JSON, HTML or XML file", "expected CSV or Parquet", "convert it, for example with pandas")


def _read_parquet(pandas: Any, path: Path, marks: _Marks) -> Any:
    try:
        frame = pandas.read_parquet(path)
    except ImportError as error:
        given, expected = "pyarrow is not installed", "expected it to read Parquet"
        raise ImportError(message("tables", given, expected, 'pip install "stoop[tables]"')) from error
    except ValueError as error:
        refuse(path.name, f"a damaged Parquet file ({error})", "expected a whole one", "write it again")
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()  # a named index is a column
    frame = frame.reset_index(drop=True)
    for place, dtype in enumerate(frame.dtypes):
        if not is_text(frame.iloc[:, place]):
            continue
        missing = marks.of(str(frame.columns[place]).strip())
        cells = frame.iloc[:, place].astype(object).map(partial(_known, missing), na_action="ignore")
        known = cells.dropna()
        if len(known) and known.map(lambda cell: isinstance(cell, bool)).all():
            dtype = "boolean"
        frame.isetitem(place, cells.astype(dtype if str(dtype) in ("boolean", "category") else object))
    return frame


def _known(missing: frozenset[str], cell: Any) -> Any:
    text = cell.strip() if isinstance(cell, str) else cell
    return None if isinstance(text, str) and text in missing else text


# ---- text ----


def _read_text(pandas: Any, path: Path, start: bytes, form: TextFormat) -> Any:
    where = path.name
    content = path.read_bytes()
    if start[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            refuse(where, f"a damaged gzip file ({error})", "expected a whole one", "write it again")
    text = _decoded(where, content, form.encoding)
    names, separator = _header(where, text, form)
    _check_names(where, names)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pandas.errors.ParserWarning)  # it would cut rows that are too long
            frame = pandas.read_csv(
                io.StringIO(text), sep=separator, dtype=str, keep_default_na=False, index_col=False, header=0,
                names=names, skip_blank_lines=True,
            )  # fmt: skip
    except (pandas.errors.ParserError, pandas.errors.ParserWarning) as error:
        given = _odd_row(text, separator, len(names)) or f"no table ({error})"
        if "inside string" in str(error):
            given = "a quote that is not closed"
        hint = f'put quotes round text that holds "{separator}", or check --separator'
        refuse(where, given, f"expected {len(names)} in each row, as in the header", hint)
    if (frame[names[-1]] == "").any() and (odd := _odd_row(text, separator, len(names))):
        hint = "write the separator for empty cells too"
        refuse(where, odd, f"expected {len(names)} in each row, as in the header", hint)
    return frame


def _stripped(pandas: Any, frame: Any, marks: _Marks) -> Any:
    """Return the frame of text without spaces around cells, and with missing ones for marks of these.

    Columns are taken together as long as they have few cells: each call takes as long as a thousand of these.
    """
    together = max(_CELLS_TOGETHER // max(len(frame), 1), 1)
    parts, missing = [], list(marks.usual)
    for begin in range(0, frame.shape[1], together):
        part = frame.iloc[:, begin : begin + together]
        cells = pandas.Series(part.to_numpy().reshape(-1, order="F"), dtype=part.dtypes.iloc[0]).str.strip()
        cells = cells.mask(cells.isin(missing))
        values = cells.to_numpy().reshape(part.shape, order="F")
        parts.append(pandas.DataFrame(values, columns=part.columns, index=part.index, dtype=cells.dtype))
    result = pandas.concat(parts, axis=1) if len(parts) > 1 else parts[0]
    for name in marks.categories.keys() & set(frame.columns):
        cells = frame[name].str.strip()
        result[name] = cells.mask(cells.isin(list(marks.of(name))))
    return result


def _decoded(where: str, content: bytes, encoding: str) -> str:
    try:
        text = content.decode("utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding)
    except LookupError:
        refuse(where, f"--encoding {encoding}", "expected a name that Python knows", "for example latin-1 or cp1252")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        given = f"line {line} is no text in {encoding}: it has the byte 0x{content[error.start]:02x}"
        refuse(where, given, f"expected {encoding}", "name its encoding, for example --encoding latin-1")
    if "\0" in text:
        refuse(where, "a file with zero bytes, which is no text", "expected CSV or Parquet", "check what it is")
    return text


def _header(where: str, text: str, form: TextFormat) -> tuple[list[str], str]:
    """Return the names in the first line, and the separator: the one that is given, or cuts it most often."""

    def names_by(separator: str) -> list[str]:
        try:
            cells = next((row for row in csv.reader(io.StringIO(text), delimiter=separator) if row), [])
        except csv.Error as error:
            refuse(where, f"a header that cannot be read ({error})", "expected names of columns", "check the quotes")
        return [cell.strip() for cell in cells]

    best = max(_SEPARATORS, key=lambda separator: len(names_by(separator)))
    if form.separator is None:
        return names_by(best), best
    names = names_by(form.separator)
    if len(names) == 1 and len(names_by(best)) > 1:
        given = f'one column, "{names[0]}"'
        hint = f"its cells seem to be cut by a {_SEPARATORS[best]}: leave --separator out"
        refuse(where, given, "expected at least two", hint)
    return names, form.separator


def _odd_row(text: str, separator: str, columns: int) -> str | None:
    """Return words for the first row that has more or fewer cells than the header."""
    try:
        reader = csv.reader(io.StringIO(text), delimiter=separator)
        for row in reader:
            if row and len(row) != columns:
                return f"line {reader.line_num} has {count(len(row), 'cell')}"
    except csv.Error:
        pass
    return None


def _check_names(where: str, names: list[str]) -> None:
    seen = Counter(names)
    if twice := [name for name, times in seen.items() if times > 1 and name]:
        refuse(
            where, f"columns with the same name: {quoted(twice)}", "expected names that differ", "rename one of them"
        )
    unnamed = [place for place, name in enumerate(names, 1) if not name]
    if unnamed and unnamed != [1]:
        given = f"column {unnamed[-1]} has no name"
        refuse(where, given, "expected a header with a name for each column", "name it in the first line")


def _without_index(frame: Any) -> Any:
    first = frame.columns[0]
    if first not in ("", "Unnamed: 0"):
        return frame
    cells = frame[first].astype(str)
    if cells.str.fullmatch(r"\d+").all() and cells.is_unique:
        return frame.drop(columns=first)
    return frame.rename(columns={"": "Unnamed: 0"})
