"""Reads CSV and Parquet files into pandas data frames. Cells of a CSV file stay text: their columns decide later."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from stoop._errors import message
from stoop._tables import _compact
from stoop._tables._compact import Marks
from stoop._tables._messages import count, quoted, refuse
from stoop._tables._text import TextFormat, is_text

_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_MARKUP = re.compile(rb"(?i)(\xef\xbb\xbf)?\s*(<(\?xml|!doctype|!--|html|\w+(\s[^>]*)?>\s*<)|[\[{]\s*([\[{\"\]}]|$))")
_CELLS_OF_PART, _ROWS_OF_PART = 1 << 18, 128  # that are read at once: so many cells, but not fewer rows
_FEW_CELLS = 1 << 18  # a table with fewer is a data frame
_PIECE = 1 << 20  # bytes that are decoded at once
_PEEK = 1 << 16  # bytes that tell what kind of file it is


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
    """Return the pandas data frame of a CSV file (gzipped or not) or a Parquet file; of a large CSV file a `TextTable`.

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
    marks = Marks(form.missing, categories)
    is_parquet = start[:4] == b"PAR1"
    frame = _read_parquet(pandas, path, marks) if is_parquet else _read_text(pandas, path, start, form, marks)
    if not isinstance(frame, _compact.TextTable):
        frame.columns = [str(name).strip() for name in frame.columns]
    _check_names(where, list(frame.columns))
    if len(frame) == 0:
        given = f"a header of {count(len(frame.columns), 'column')} and no rows"
        refuse(where, given, "expected rows", "check how the file was written")
    return _without_index(frame)


def _refuse_other_formats(where: str, start: bytes) -> None:
    if not start.strip():
        refuse(where, "an empty file", "expected a header and rows", "check how it was written")
    if start[:4] == b"PK\x03\x04" or start[:8] == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":
        refuse(where, "an Excel file, or another archive", "expected CSV or Parquet", "save the sheet as CSV")
    if _MARKUP.match(start):
        refuse(where, "a JSON, HTML or XML file", "expected CSV or Parquet", "convert it, for example with pandas")


def _read_parquet(pandas: Any, path: Path, marks: Marks) -> Any:
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


def _read_text(pandas: Any, path: Path, start: bytes, form: TextFormat, marks: Marks) -> Any:
    where = path.name
    content = path.read_bytes()
    if start[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            refuse(where, f"a damaged gzip file ({error})", "expected a whole one", "write it again")
    content = _in_utf8(where, content, form.encoding)
    names, separator = _header(where, content, form)
    _check_names(where, names)
    ends = list[bool]()  # whether a row may have too few cells
    try:
        table = _table_of(pandas, _parts(pandas, content, names, separator, ends), marks)
    except (pandas.errors.ParserError, pandas.errors.ParserWarning) as error:
        given = _odd_row(content, separator, len(names)) or f"no table ({error})"
        if "inside string" in str(error):
            given = "a quote that is not closed"
        hint = f'put quotes round text that holds "{separator}", or check --separator'
        refuse(where, given, f"expected {len(names)} in each row, as in the header", hint)
    if any(ends) and (odd := _odd_row(content, separator, len(names))):
        hint = "write the separator for empty cells too"
        refuse(where, odd, f"expected {len(names)} in each row, as in the header", hint)
    return table


def _table_of(pandas: Any, frames: Iterator[Any], marks: Marks) -> Any:
    """Return the rows of all these frames of text; a few cells as a data frame."""
    first = next(frames)
    second = next(frames, None)
    if second is None and first.size < _FEW_CELLS:
        return _stripped(pandas, first, marks)
    parts = [_compact.Part(pandas, frame, marks) for frame in (first, second) if frame is not None]
    places = {name: place for place, name in enumerate(first.columns)}
    del first, second
    parts += [_compact.Part(pandas, frame, marks) for frame in frames]
    return _compact.TextTable(pandas, parts, places)


def _parts(pandas: Any, content: bytes, names: list[str], separator: str, ends: list[bool]) -> Iterator[Any]:
    """Yield some rows after others as frames of text, and note of each whether a row may be too short."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", pandas.errors.ParserWarning)  # it would cut rows that are too long
        rows = max(_CELLS_OF_PART // len(names), _ROWS_OF_PART)
        frames = pandas.read_csv(
            io.BytesIO(content), sep=separator, dtype=str, keep_default_na=False, index_col=False, header=0,
            names=names, skip_blank_lines=True, encoding="utf-8", chunksize=rows,
        )  # fmt: skip
        is_empty = True
        for frame in frames:
            is_empty = False
            ends.append(bool((frame[names[-1]] == "").any()))
            yield frame
    if is_empty:
        yield pandas.DataFrame(columns=names)


def _stripped(pandas: Any, frame: Any, marks: Marks) -> Any:
    """Return the frame of text without spaces around cells, and with missing ones for marks of these."""
    parts = []
    for part, cells in _compact.stripped(pandas, frame, marks):
        values = cells.to_numpy().reshape(part.shape, order="F")
        parts.append(pandas.DataFrame(values, columns=part.columns, index=part.index, dtype=cells.dtype))
    result = pandas.concat(parts, axis=1) if len(parts) > 1 else parts[0]
    for place, cells in _compact.with_marks_of_their_own(frame, marks):
        result.isetitem(place, cells)
    return result


def _in_utf8(where: str, content: bytes, encoding: str) -> bytes:
    """Return the text in UTF-8, without a mark at its beginning; in another form it is never there as a whole."""
    is_utf8 = encoding.lower().replace("_", "-") in ("utf-8", "utf8")
    whole = list[bytes]()
    try:
        " ".encode(encoding)  # what is no encoding of text has decoders as well
        decoder = codecs.getincrementaldecoder("utf-8-sig" if is_utf8 else encoding)()
        for begin in range(0, len(content), _PIECE):
            text = decoder.decode(content[begin : begin + _PIECE], final=begin + _PIECE >= len(content))
            if "\0" in text:
                given = "a file with zero bytes, which is no text"
                refuse(where, given, "expected CSV or Parquet", "check what it is")
            whole.append(b"" if is_utf8 else text.encode())
    except LookupError:
        refuse(where, f"--encoding {encoding}", "expected a name that Python knows", "for example latin-1 or cp1252")
    except UnicodeEncodeError:  # half of a character, which some encodings can write
        refuse(where, f"text that is none in {encoding}", "expected whole characters", "check --encoding")
    except UnicodeDecodeError as error:
        place = _place_of_error(content, encoding, error)
        line = content.count(b"\n", 0, place) + 1
        given = f"line {line} is no text in {encoding}: it has the byte 0x{content[place]:02x}"
        refuse(where, given, f"expected {encoding}", "name its encoding, for example --encoding latin-1")
    return content.removeprefix(codecs.BOM_UTF8) if is_utf8 else b"".join(whole)


def _place_of_error(content: bytes, encoding: str, error: UnicodeDecodeError) -> int:
    """Return where the first bad byte is: the error of a part counts from the part."""
    try:
        content.decode(encoding)
    except UnicodeDecodeError as whole:
        return whole.start
    return error.start


def _header(where: str, content: bytes, form: TextFormat) -> tuple[list[str], str]:
    """Return the names in the first line, and the separator: the one that is given, or cuts it most often."""

    def names_by(separator: str) -> list[str]:
        try:
            cells = next((row for row in csv.reader(_lines(content), delimiter=separator) if row), [])
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


def _lines(content: bytes) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(content), "utf-8", newline="\n")


def _odd_row(content: bytes, separator: str, columns: int) -> str | None:
    """Return words for the first row that has more or fewer cells than the header."""
    try:
        reader = csv.reader(_lines(content), delimiter=separator)
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
