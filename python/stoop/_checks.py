"""Checks and conversions at the public boundary: shapes and dtypes here, values (NaN, class range) in the core.

What is used as it is need not come here: the core's `takes` tells so in a fraction of a microsecond, which counts in
``Trainer.step`` and ``Model.predict`` of small models.
"""

import math
import operator
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stoop._arrays import real_numbers, side_by_side, to_numpy
from stoop._errors import message, refuse_name

FloatArray = npt.NDArray[np.float32] | npt.NDArray[np.float64]
ClassArray = npt.NDArray[np.int32] | npt.NDArray[np.int64]

_MAX_THREADS = 1024  # kMostThreads of the core
_INT64 = 2**63 - 1
_INTEGER_KINDS = "iub"
_INPUT_DTYPES = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.uint8))


class Bounds(NamedTuple):
    """Where a finite number may lie, in the words of the core (cpp/src/spec/fields.hpp)."""

    low: float = -math.inf
    high: float = math.inf
    without_low: bool = False
    without_high: bool = False

    def hold(self, number: float) -> bool:
        """Whether `number` is finite and within."""
        above = number > self.low if self.without_low else number >= self.low
        below = number < self.high if self.without_high else number <= self.high
        return above and below and math.isfinite(number)

    def words(self, name: str) -> str:
        """Return "expected ..." for the number of that name."""
        if not (math.isinf(self.high) or self.without_low or self.without_high):
            return f"expected {self.low:g} to {self.high:g}"
        if not math.isinf(self.high):
            above, below = "<" if self.without_low else "<=", "<" if self.without_high else "<="
            return f"expected {self.low:g} {above} {name} {below} {self.high:g}"
        if math.isinf(self.low):
            return "expected a finite number"
        return f"expected a finite number{' above' if self.without_low else ', at least'} {self.low:g}"


ANY_NUMBER = Bounds()
NOT_NEGATIVE = Bounds(0.0)
POSITIVE = Bounds(0.0, without_low=True)
FRACTION = Bounds(0.0, 1.0)
BELOW_ONE = Bounds(0.0, 1.0, without_high=True)


def features(where: str, X: npt.ArrayLike, dtype: np.dtype[Any], columns: int, name: str = "X") -> Any:
    """Return X as a ``(n_samples, columns)`` array that the core reads: itself where it can be, else one of `dtype`.

    A copy of what the core reads keeps its own type if `dtype` holds all of its numbers.

    The core takes float32, float64 and uint8 whose rows do not overlap and are contiguous, and converts as it reads.

    Raises
    ------
    TypeError
        For strings, objects, complex numbers, dates.
    ValueError
        For the wrong rank, column count or an empty array.
    """
    array = real_numbers(where, side_by_side(where, X, name), name)
    if array.ndim != 2:
        hint = _shape_hint(name, array, columns)
        raise ValueError(message(where, _describe(name, array), f"expected 2 dimensions (n_samples, {columns})", hint))
    if array.shape[1] != columns:
        expected = f"expected {columns} columns, (n_samples, {columns})"
        raise ValueError(message(where, _describe(name, array), expected, f"check the columns of {name} and input_dim"))
    _check_not_empty(where, array, name)
    if _is_readable(array):
        return array
    keeps = array.dtype in _INPUT_DTYPES and np.can_cast(array.dtype, dtype)
    return _contiguous(array, array.dtype if keeps else dtype)


def _is_readable(array: npt.NDArray[Any]) -> bool:
    size, (rows, columns), (row, column) = array.itemsize, array.shape, array.strides
    contiguous = columns == 1 or column == size
    apart = rows == 1 or (row >= columns * size and row % size == 0)
    return array.dtype in _INPUT_DTYPES and contiguous and apart and bool(array.flags.aligned)


def class_targets(where: str, y: npt.ArrayLike, samples: int, name: str = "y") -> Any:
    """Return y as a contiguous ``(n_samples,)`` array of int32 or int64 class indices.

    Raises
    ------
    TypeError
        For a dtype that is not integer: floats are refused even when they are integral, since they are most
        often the targets of a regression.
    ValueError
        For the wrong rank or length. The core checks the range.
    """
    array = to_numpy(where, y, name)
    if array.dtype.kind not in _INTEGER_KINDS:
        _refuse_class_dtype(where, array, name)
    if array.ndim != 1:
        hint = f"use {name}.ravel()" if array.size == samples else f"for one-hot rows use {name}.argmax(axis=1)"
        expected = "expected 1 dimension, (n_samples,) class indices"
        raise ValueError(message(where, _describe(name, array), expected, hint))
    _check_length(where, array, samples, name)
    if array.dtype == np.uint64:
        _check_fits_int64(where, array, name)
    return _contiguous(array, np.dtype(np.int64) if array.dtype != np.int32 else array.dtype)


def value_targets(
    where: str, y: npt.ArrayLike, dtype: np.dtype[Any], samples: int | None, columns: int, name: str = "y"
) -> Any:
    """Return y as a row-major ``(n_samples, columns)`` array of `dtype`; ``(n_samples,)`` will do for one column.

    None samples: any number, which the core checks.

    Raises
    ------
    TypeError
        For strings, objects, complex numbers, dates.
    ValueError
        For the wrong rank, length or column count.
    """
    array = real_numbers(where, y, name)
    if array.ndim == 1 and columns == 1:
        array = array.reshape(-1, 1)
    if array.ndim != 2 or array.shape[1] != columns:
        expected = f"expected (n_samples, {columns}), one column for each value that the loss compares"
        raise ValueError(
            message(where, _describe(name, array), expected, f"check {name} and the units of the last layer")
        )
    if samples is not None:
        _check_length(where, array, samples, name)
    return _contiguous(array, dtype)


def softmax_targets(where: str, y: npt.ArrayLike, dtype: np.dtype[Any], samples: int, columns: int) -> Any:
    """Return y as `class_targets` does, or rows of probabilities as `value_targets` does if it has two dimensions.

    Raises
    ------
    TypeError, ValueError
        As those two. The core checks that rows sum to 1.
    """
    array = to_numpy(where, y, "y")
    if array.ndim == 2 and array.shape[1] == columns:
        return value_targets(where, y if array.dtype.kind == "O" else array, dtype, samples, columns)
    return class_targets(where, array, samples)


def row_indices(where: str, rows: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return `rows` as a contiguous array of int32 or int64. The core checks that they are rows.

    Raises
    ------
    TypeError
        For what is no integer: a mask of booleans, floats.
    ValueError
        For another rank.
    """
    array = to_numpy(where, rows, "rows")
    if array.dtype.kind not in "iu" and array.size:
        hint = "use np.flatnonzero(mask)" if array.dtype.kind == "b" else "use rows.astype(int)"
        raise TypeError(
            message(where, f"rows has dtype {array.dtype}", "expected integers, indices of rows of X", hint)
        )
    if array.ndim != 1:
        expected = "expected 1 dimension, one index for each sample of the batch"
        raise ValueError(message(where, _describe("rows", array), expected, "use rows.ravel()"))
    if array.dtype == np.uint64:  # what int64 does not hold stays beyond all rows
        array = np.minimum(array, _INT64)
    return _contiguous(array, np.dtype(np.int64) if array.dtype != np.int32 else array.dtype)


def check_rows(where: str, indices: npt.NDArray[Any], X: npt.NDArray[Any], y: npt.NDArray[Any]) -> None:
    """Check that X and y are of one length, of at least one dimension, and that the indices are rows; ValueError."""
    for name, array in (("X", X), ("y", y)):
        if array.ndim == 0:
            raise ValueError(message(where, _describe(name, array), "expected rows", "give an array with rows"))
    _check_length(where, y, len(X), "y")
    if not indices.size:
        raise ValueError(message(where, "rows is empty", "expected at least one row", "give the indices of a batch"))
    bad = np.flatnonzero((indices < 0) | (indices >= len(X)))
    if len(bad):
        given = f"rows has {indices[bad[0]]} at position {bad[0]}"
        raise ValueError(message(where, given, f"expected 0 to {len(X) - 1}, rows of X", "check how they were drawn"))


def sample_weights(
    where: str, weights: npt.ArrayLike, dtype: np.dtype[Any], samples: int, columns: int = 0, *, relative: bool = True
) -> Any:
    """Return weights as a contiguous ``(n_samples,)`` array of `dtype`, or ``(n_samples, columns)`` for the targets.

    Those of `dtype` are returned as they are, and the core checks that they are >= 0. Others are divided by a power of
    two before they are rounded, if they are `relative`: `dtype` then holds their ratios whatever their size. 0 columns:
    there are none for the targets.

    Raises
    ------
    TypeError
        For strings, objects, complex numbers, dates.
    ValueError
        For the wrong rank or length, and for what is negative, NaN or infinite.
    """
    array = real_numbers(where, weights, "sample_weight")
    if array.ndim != 1 and not (columns > 0 and array.ndim == 2 and array.shape[1] == columns):
        expected = f"expected ({samples},), one weight per row of X"
        if columns > 0:
            expected += f", or ({samples}, {columns}), one per target"
        elif array.ndim == 2 and array.shape[1] > 1:
            expected += ", since the loss compares whole rows"
        hint = "use sample_weight.ravel()" if array.size == samples else "give one weight per sample"
        raise ValueError(message(where, _describe("sample_weight", array), expected, hint))
    _check_length(where, array, samples, "sample_weight")
    if array.dtype == dtype:
        return _contiguous(array, dtype)
    wide = array.astype(np.result_type(array.dtype, np.float64))
    bad = np.argwhere(~((wide >= 0) & np.isfinite(wide)))
    if len(bad):
        place = f"row {bad[0][0]}" + (f", column {bad[0][1]}" if array.ndim == 2 else "")
        given = f"sample_weight is {wide[tuple(bad[0])]:g} at {place}"
        hint = f"a weight of 0 leaves a {'sample' if array.ndim == 1 else 'target'} out"
        raise ValueError(message(where, given, "expected a finite number >= 0", hint))
    return _contiguous(by_power_of_two(wide) if relative else wide, dtype)


def by_power_of_two(weights: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return `weights` divided by the power of two that brings the largest to between 1 and 2: no digit changes."""
    largest = weights.max()
    if not np.isfinite(largest):  # the core refuses it
        return weights
    scaled: npt.NDArray[Any] = np.ldexp(weights, 1 - np.frexp(largest)[1])
    return scaled


def check_finite(where: str, name: str, array: npt.NDArray[Any], hint: str) -> None:
    """Refuse an array that holds NaN or an infinity, with ValueError."""
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        index = tuple(int(i) for i in bad[0])
        given = f"{name} has {'NaN' if np.isnan(array[index]) else 'an infinity'} at {index}"
        raise ValueError(message(where, given, f"expected finite numbers within {array.dtype}", hint))


def flag(where: str, name: str, value: Any) -> bool:
    """Return `value` as a bool; TypeError for anything but True and False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(message(where, f"{name} is {value!r}", "expected True or False", "use one of them"))
    return bool(value)


def integer(where: str, name: str, value: Any, minimum: int, maximum: int = _INT64, *, hint: str = "") -> int:
    """Return `value` as an int in [minimum, maximum]; TypeError for a bool or a float, ValueError outside."""
    expected = f"expected at least {minimum}" if maximum == _INT64 else f"expected {minimum} to {maximum}"
    if isinstance(value, bool | np.bool_) or not hasattr(value, "__index__"):
        raise TypeError(message(where, f"{name} is {value!r}", expected, f"give {name} as an int"))
    number = operator.index(value)
    if not minimum <= number <= maximum:
        raise ValueError(message(where, f"{name} is {number}", expected, hint or f"change {name}"))
    return number


def seed(where: str, value: Any) -> int:
    """Return `value` as a seed, an int that fits 64 bits without a sign."""
    return integer(where, "seed", value, 0, 2**64 - 1)


def thread_count(where: str, name: str, value: Any) -> int:
    """Return `value` as a number of threads: a typing error must not start a million of them."""
    return integer(where, name, value, 1, _MAX_THREADS, hint="leave it out to let the work decide")


def file_path(where: str, path: str | os.PathLike[str]) -> str:
    """Return `path` as a str; TypeError if it is no path, ValueError if no file can have it."""
    expected = "expected a path as str or os.PathLike"
    try:
        text = os.fsdecode(path)
    except TypeError:
        given = f"path is a {type(path).__name__}"
        raise TypeError(message(where, given, expected, 'for example "model.safetensors"')) from None
    if "\0" in text:
        raise ValueError(message(where, f"path {text!r} holds a NUL character", expected, "remove it"))
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        given = f"path {text!r} holds a character that no file name can have"
        hint = "for a name that is no text give its bytes, or what os.fsdecode makes of them"
        raise ValueError(message(where, given, expected, hint)) from None
    return text


def is_complex(value: Any) -> bool:
    """Return whether it is a complex number or array of NumPy, of which float() would drop the imaginary part."""
    return getattr(getattr(value, "dtype", None), "kind", "") == "c"


def real(where: str, name: str, value: Any, bounds: Bounds = ANY_NUMBER, hint: str = "") -> float:
    """Return `value` as a finite float within `bounds`; TypeError if it is no number."""
    expected = bounds.words(name)
    if is_complex(value) or isinstance(value, str | bytes | bool | np.bool_):
        raise TypeError(message(where, f"{name} is {value!r:.200}", expected, f"give {name} as a float"))
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(message(where, f"{name} is {value!r}", expected, f"give {name} as a float")) from None
    except OverflowError:
        raise ValueError(message(where, f"{name} is beyond float64", expected, hint or f"change {name}")) from None
    if not bounds.hold(number):
        raise ValueError(message(where, f"{name} is {number:g}", expected, hint or f"change {name}"))
    return number


def _describe(name: str, array: npt.NDArray[Any]) -> str:
    return f"{name} has shape {array.shape}"


def _shape_hint(name: str, array: npt.NDArray[Any], columns: int) -> str:
    if array.ndim == 0:
        return "give an array with a row for each sample"
    if array.ndim == 1:
        many = columns == 1 and array.size > 1
        return f"use {name}.reshape(-1, 1), one column" if many else f"use {name}.reshape(1, -1) for one sample"
    return f"give each sample one row, {name}.reshape(len({name}), -1)"


def _refuse_class_dtype(where: str, array: npt.NDArray[Any], name: str) -> None:
    given = f"{name} has dtype {array.dtype}"
    if array.dtype.kind == "f" and np.isnan(array).any():
        given += f", and NaN at row {np.argwhere(np.isnan(array))[0][0]}"
        hint = "leave out the rows with a missing class (NaN), or give them a class of their own"
    elif array.dtype.kind == "f":
        whole = array.size > 0 and bool((array == np.floor(array)).all())
        hint = 'these look like values: give the Trainer loss="mse"'
        if whole:
            hint = f"use {name}.astype(int), or a regression loss such as mse if these are values"
    else:
        hint = f"number the classes with np.unique({name}, return_inverse=True)"
    expected = "expected integer class indices 0 .. n_outputs-1"
    raise TypeError(message(where, given, expected, hint))


def _check_fits_int64(where: str, array: npt.NDArray[Any], name: str) -> None:
    too_large = np.flatnonzero(array > np.iinfo(np.int64).max)
    if len(too_large):
        given = f"class {array[too_large[0]]} at row {too_large[0]}"
        expected = "expected class indices 0 .. n_outputs-1"
        raise ValueError(message(where, given, expected, f"check {name}, or renumber the classes"))


def _check_not_empty(where: str, array: npt.NDArray[Any], name: str) -> None:
    if array.shape[0] == 0:
        raise ValueError(
            message(where, f"{name} is empty", "expected at least one sample", f"check how {name} was made")
        )


def _check_length(where: str, array: npt.NDArray[Any], samples: int, name: str) -> None:
    if array.shape[0] != samples:
        expected = f"expected {samples} rows, one per row of X"
        raise ValueError(message(where, _describe(name, array), expected, f"give X and {name} of equal length"))


def _contiguous(array: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if array.dtype == dtype and array.flags.c_contiguous and array.flags.aligned:
        return array
    # A float64 value beyond float32 becomes infinite here; the core then refuses it with its row and column.
    with np.errstate(over="ignore"):
        return np.require(array, dtype=dtype, requirements=["C", "A"])


def like_parameters(where: str, name: str, values: Any, parameters: dict[str, FloatArray]) -> dict[str, Any]:
    """Return a row-major array for each parameter, of its shape and dtype; zero where `values` has none.

    Raises
    ------
    TypeError
        For anything but a mapping, or values that are not real numbers.
    ValueError
        For a name that is no parameter, or another shape.
    """
    if not isinstance(values, Mapping):
        given = f"{name} is a {type(values).__name__}"
        raise TypeError(message(where, given, "expected a mapping of names to arrays", "see model.parameters()"))
    for key in values:
        if key not in parameters:
            refuse_name(where, f"parameter in {name}", str(key), tuple(parameters))
    arrays = {}
    for key, parameter in parameters.items():
        array = real_numbers(where, values.get(key, np.zeros_like(parameter)), f"{name}[{key!r}]")
        if array.shape != parameter.shape:
            given, expected = _describe(f"{name}[{key!r}]", array), f"expected the shape {parameter.shape}"
            raise ValueError(message(where, given, expected, "give an array like the parameter"))
        arrays[key] = _contiguous(array, parameter.dtype)
    return arrays
