"""Turns what a caller gives for an array into a NumPy array. Only this file looks at masks, tables and objects.

An ordinary array passes through untouched. A mask is refused, since the numbers under it are no measurements. A table
(pandas, polars, Arrow) is read column by column, and objects become numbers where all of them are numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from numbers import Integral, Real
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from stoop._errors import message

REAL_KINDS = "fiub"
_CONTAINERS = (list, tuple)
_CONVERSION_ERRORS = (TypeError, RuntimeError, BufferError, AttributeError, NotImplementedError)


def to_numpy(where: str, values: Any, name: str) -> npt.NDArray[Any]:
    """Return `values` as a plain array, itself where it is one; objects that all are real numbers become numbers.

    Text, dates and mixtures stay as NumPy sees them: `real_numbers` refuses those.

    Raises
    ------
    TypeError
        For a sparse matrix, and for what is no array (None, a generator, a dict).
    ValueError
        For an array with something masked, and for rows of different lengths.
    """
    if type(values) is np.ndarray and values.dtype.kind != "O":
        return values
    if is_table(values):
        array = _table_to_numpy(where, values, name)
    else:
        array = _to_plain(where, values, name)
        if array.ndim == 0 and array.dtype.kind == "O" and not _is_number(type(values)):
            _refuse_no_array(where, values, name)
    return _numbers_of(where, array, name, column_labels(values)) if array.dtype.kind == "O" else array


def real_numbers(where: str, values: Any, name: str) -> npt.NDArray[Any]:
    """Return `values` as `to_numpy` does, of floats, integers or booleans.

    Raises
    ------
    TypeError
        For strings, dates, complex numbers, and objects that are no numbers: the message names the column and what it
        holds.
    ValueError
        As `to_numpy`.
    """
    array = to_numpy(where, values, name)
    if array.dtype.kind not in REAL_KINDS:
        _refuse_kind(where, array, name, column_labels(values))
    return array


def side_by_side(where: str, X: Any, name: str) -> Any:
    """Return the columns of numbers, then those of codes, of a tuple ``(X, codes)``; anything else as it is.

    A single column of codes may be ``(n_samples,)``. Numbers of float32 stay float32 if it holds the codes.

    Raises
    ------
    TypeError, ValueError
        As `real_numbers`, and for parts of different lengths.
    """
    if not (type(X) is tuple and len(X) == 2 and _dimensions(X[0]) == 2 and _dimensions(X[1]) in (1, 2)):
        return X
    numbers, codes = (real_numbers(where, part, f"{name}[{index}]") for index, part in enumerate(X))
    if codes.ndim == 1:
        codes = codes[:, np.newaxis]
    if len(numbers) != len(codes):
        given = f"{name}[0] has {len(numbers)} rows and {name}[1] has {len(codes)}"
        raise ValueError(message(where, given, "expected one row per sample in both", "check how they were split"))
    with np.errstate(over="ignore"):
        narrow = codes.astype(np.float32)
    holds_codes = numbers.dtype == np.float32 and np.array_equal(narrow, codes, equal_nan=True)
    return np.hstack([numbers, narrow if holds_codes else codes])  # codes of another type would change the numbers


def _dimensions(part: Any) -> int:
    return 2 if is_table(part) else len(getattr(part, "shape", ()))


def refuse_masked(where: str, array: Any, name: str) -> None:
    """Refuse a masked array that has something masked, with ValueError."""
    if not isinstance(array, np.ma.MaskedArray):
        return
    mask = np.ma.getmaskarray(array)
    if mask.dtype.names is not None:  # one mask for each field
        mask = np.array([any(np.ravel(row.tolist())) for row in mask.ravel()]).reshape(mask.shape)
    count = int(np.count_nonzero(mask))
    if count:
        first = tuple(int(i) for i in np.argwhere(mask)[0])
        given = f"{name} is a masked array with {count} of {mask.size} values masked, the first at {first}"
        hint = f"replace them, {name}.filled(value), or take the rows without, {name}.compressed() for one axis"
        raise ValueError(message(where, given, "expected numbers without a mask", hint))


def is_table(values: Any) -> bool:
    """Return whether `values` is a data frame or an Arrow table, whose columns have a type each."""
    kind = type(values)
    return not isinstance(values, np.ndarray) and (
        (hasattr(kind, "iloc") and hasattr(kind, "columns"))  # pandas and what is like it
        or hasattr(kind, "get_columns")  # polars
        or (hasattr(kind, "column_names") and hasattr(kind, "column"))  # Arrow
    )


def column_labels(values: Any) -> list[Any] | None:
    """Return the names of the columns of a table, or of the one of a series; None where there are none."""
    if is_table(values):
        names = values.column_names if hasattr(type(values), "column_names") else values.columns
        return list(names)
    label = getattr(values, "name", None) if hasattr(type(values), "to_numpy") else None
    return None if label is None or label == "" else [label]


def _to_plain(where: str, values: Any, name: str) -> npt.NDArray[Any]:
    if _is_sparse(values):
        given = f"{name} is a sparse {type(values).__name__}"
        method = next(m for m in ("toarray", "todense", "to_dense") if hasattr(values, m))
        raise TypeError(message(where, given, "expected a dense array", f"use {name}.{method}()"))
    if isinstance(values, _CONTAINERS):
        _refuse_masked_items(where, values, name)
    try:
        if not hasattr(values, "__array__") and hasattr(values, "__dlpack__"):
            return np.from_dlpack(values)
        array: npt.NDArray[Any] = np.asanyarray(values)  # keeps the mask of what turns into a masked array
    except ValueError as error:
        given = f"{name} is a {type(values).__name__} that is no array ({error})"
        raise ValueError(message(where, given, "expected rows of equal length", f"check the rows of {name}")) from error
    except _CONVERSION_ERRORS as error:
        given = f"{name} is a {type(values).__name__} that NumPy cannot read ({error})"
        hint = f"convert {name} to a NumPy array first"
        raise TypeError(message(where, given, "expected an array in the memory of the CPU", hint)) from error
    refuse_masked(where, array, name)
    return np.asarray(array)


def _refuse_masked_items(where: str, values: Sequence[Any], name: str) -> None:
    """Refuse masked rows, which NumPy would stack without their masks, and masked elements, which would become NaN."""
    kinds = set(map(type, values))
    if kinds and all(issubclass(kind, _CONTAINERS) for kind in kinds):
        kinds |= set(map(type, chain.from_iterable(values)))
    if not any(issubclass(kind, np.ma.MaskedArray) for kind in kinds):
        return
    for index, row in enumerate(values):
        for item in (row, *row) if isinstance(row, _CONTAINERS) else (row,):
            refuse_masked(where, item, f"{name}[{index}]")


def _is_sparse(values: Any) -> bool:
    return hasattr(values, "nnz") and any(hasattr(values, method) for method in ("toarray", "todense", "to_dense"))


def _refuse_no_array(where: str, values: Any, name: str) -> NoReturn:
    given = f"{name} is None" if values is None else f"{name} is a {type(values).__name__}"
    hint = "give numbers in an array"
    if isinstance(values, Mapping):
        hint = f"put its columns together, np.column_stack(list({name}.values()))"
    elif isinstance(values, Iterable):
        hint = f"collect it first, np.array(list({name}))"
    raise TypeError(message(where, given, "expected an array or a list", hint))


# ---- tables ----


def _table_to_numpy(where: str, table: Any, name: str) -> npt.NDArray[Any]:
    """Return the columns side by side, as numbers where all of them are; otherwise as the table itself converts."""
    dtypes = list(getattr(table, "dtypes", ()))
    plain = all(isinstance(dtype, np.dtype) and dtype.kind in REAL_KINDS for dtype in dtypes)
    if plain and dtypes and len({dtype.kind == "b" for dtype in dtypes}) == 1:
        return np.asarray(table)  # without a copy where it is one block
    labels = column_labels(table)
    columns = [_numbers_of(where, column, name, labels, index) for index, column in enumerate(_columns_of(table))]
    if not columns or any(column.dtype.kind not in REAL_KINDS for column in columns):
        return _objects(columns, table)
    _refuse_missing(where, columns, table, name)
    out = np.empty((len(columns[0]), len(columns)), np.result_type(*(column.dtype for column in columns)))
    for index, column in enumerate(columns):
        out[:, index] = column
    return out


def _refuse_missing(where: str, columns: Sequence[npt.NDArray[Any]], table: Any, name: str) -> None:
    """Refuse NaN, which is what a missing value of a nullable column becomes, by the name of its column."""
    for index, column in enumerate(columns):
        missing = np.isnan(column) if column.dtype.kind == "f" else ()
        if np.any(missing):
            place = _place((int(np.argmax(missing)), index), 2, column_labels(table))
            given = f"{name} has no value (NaN) in {place.rstrip(',')}"
            raise ValueError(message(where, given, "expected a number in each row", _MISSING_HINT))


def _columns_of(table: Any) -> list[npt.NDArray[Any]]:
    if hasattr(type(table), "get_columns"):
        return [column.to_numpy() for column in table.get_columns()]
    if hasattr(type(table), "column_names"):
        return [np.asarray(table.column(index)) for index in range(len(table.column_names))]
    return [np.asarray(table.iloc[:, index].to_numpy()) for index in range(table.shape[1])]


def _objects(columns: Sequence[npt.NDArray[Any]], table: Any) -> npt.NDArray[Any]:
    kinds = {column.dtype for column in columns}
    if len(kinds) == 1 or not columns:
        return np.column_stack(columns) if columns else np.empty((table.shape[0], 0))
    out = np.empty((len(columns[0]), len(columns)), object)
    for index, column in enumerate(columns):
        out[:, index] = column
    return out


# ---- objects ----


def _numbers_of(
    where: str, array: npt.NDArray[Any], name: str, labels: list[Any] | None = None, column: int | None = None
) -> npt.NDArray[Any]:
    """Return an array of objects as numbers if all of them are real numbers, else as it is.

    An error names the place; `labels` are those of `column_labels`, and `column` says which of them the array is.
    Whether they are numbers is asked of their types, once for each type: the elements are passed over in C alone.
    """
    if array.dtype.kind != "O":
        return array
    types = set(map(type, array.ravel().tolist()))
    if not all(map(_is_number, types)):
        return array
    if not types:  # nothing in it: the checks of the shape say so
        return array.astype(np.float64)
    if all(issubclass(kind, bool | np.bool_) for kind in types):
        return array.astype(bool)
    try:
        if all(issubclass(kind, Integral | np.bool_) for kind in types):
            return _integers_of(array)
        return array.astype(np.float64)
    except (OverflowError, ValueError):
        beyond = (index for index in np.ndindex(array.shape) if _is_beyond_float(array[index]))
        found = next(beyond, (0,) * array.ndim)  # the first where another thread has put it right meanwhile
        place = found if column is None else (*found, column)
        at = _place(place, len(place), labels).rstrip(",")
        given = f"{name} holds an object that float64 cannot hold in {at} ({_words(array[found])})"
        raise ValueError(message(where, given, "expected finite numbers", f"check the largest of {name}")) from None


def _is_beyond_float(value: Any) -> bool:
    try:
        float(value)
    except (OverflowError, ValueError):
        return True
    return False


def _is_number(kind: type) -> bool:
    # decimal.Decimal is no Real, and an import of it would be a millisecond of every program's.
    return issubclass(kind, Real | np.bool_) or (kind.__module__, kind.__name__) == ("decimal", "Decimal")


def _integers_of(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    flat = array.ravel().tolist()
    low, high = min(flat), max(flat)
    if low >= -(2**63) and high < 2**63:
        return array.astype(np.int64)
    return array.astype(np.uint64 if low >= 0 and high < 2**64 else np.float64)


# ---- what is refused ----


def _refuse_kind(where: str, array: npt.NDArray[Any], name: str, labels: list[Any] | None) -> NoReturn:
    expected = "expected real numbers (floats, integers or booleans)"
    given, hint = f"{name} has dtype {array.dtype}", _KIND_HINTS.get(array.dtype.kind, "encode {0} as numbers first")
    if array.dtype.names is not None:
        hint = "use numpy.lib.recfunctions.structured_to_unstructured({0})"
    elif array.dtype.kind == "O":
        found, hint = _first_stranger(array)
        given += f": {_place(found, array.ndim, labels)} holds {_words(array[found])}"
    elif array.dtype.kind in "UST" and array.size:
        given += f": {_place((0,) * array.ndim, array.ndim, labels)} holds {_words(array.flat[0])}"
    elif labels is not None and array.ndim == len(labels) == 1:
        given = f"column {labels[0]!r} of {given}"
    raise TypeError(message(where, given, expected, hint.format(name)))


_KIND_HINTS = {
    "c": "take the real part, {0}.real",
    "U": "encode {0} as numbers first; text that holds numbers becomes some by {0}.astype(float)",
    "S": "encode {0} as numbers first; text that holds numbers becomes some by {0}.astype(float)",
    "T": "encode {0} as numbers first; text that holds numbers becomes some by {0}.astype(float)",
    "M": "encode the times as numbers first, for example ({0} - {0}.min()) / np.timedelta64(1, 's')",
    "m": "divide them by a unit, {0} / np.timedelta64(1, 's')",
    "V": "convert it first, {0}.astype('float32')",
}
_OBJECT_HINT = "encode that column as numbers first, for example one column for each value, or leave it out"
_MISSING_HINT = "fill it in, or leave out rows or columns with missing values"
_TEXT_NUMBER_HINT = "convert that column to numbers first, .astype(float)"


def _first_stranger(array: npt.NDArray[Any]) -> tuple[tuple[int, ...], str]:
    """Return where the first object that is no number is, and what to do about it."""
    flat = array.ravel().tolist()
    fine = {kind for kind in set(map(type, flat)) if _is_number(kind)}
    position = next(index for index, value in enumerate(flat) if type(value) not in fine)
    value, place = flat[position], np.unravel_index(position, array.shape)
    hint = _OBJECT_HINT
    if _is_missing(value):
        hint = _MISSING_HINT
    elif isinstance(value, str | bytes) and _reads_as_number(value):
        hint = _TEXT_NUMBER_HINT
    return tuple(int(index) for index in place), hint


def _is_missing(value: Any) -> bool:
    return value is None or type(value).__name__ in ("NAType", "NaTType", "Null", "NullType", "MaskedConstant")


def _reads_as_number(text: str | bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _words(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python writes no integers of thousands of digits
        text = "too long to be shown"
    short = text if len(text) <= 40 else f"{text[:37]}..."
    return f"no value ({short})" if _is_missing(value) else f"{type(value).__name__}, {short}"


def _place(index: tuple[int, ...], ndim: int, labels: list[Any] | None) -> str:
    if ndim != 2:
        where = f"row {index[0]}" if index else "it"
        return where if labels is None else f"column {labels[0]!r}, {where},"
    row, column = index
    label = f" ({labels[column]!r})" if labels is not None else ""
    return f"column {column}{label}, row {row},"
