"""Checks of bare arrays that an optimizer updates in place, and of their gradients."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._arrays import real_numbers, refuse_masked
from stoop._errors import message

Array = npt.NDArray[Any]

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class Extents:
    """Where parameters lie in memory. No two may share any: an update changes each element once, by one gradient.

    Raises
    ------
    ValueError
        For two that share memory.
    """

    def __init__(self, where: str, parameters: Sequence[Array]) -> None:
        spans = sorted((*_span(array), i) for i, array in enumerate(parameters) if array.size)
        for (_, end, i), (start, _, j) in pairwise(spans):
            if start < end:
                given = f"parameters {min(i, j)} and {max(i, j)} share memory"
                hint = "give each element once: the whole array, or parts that do not overlap"
                raise ValueError(message(where, given, "expected arrays that do not overlap", hint))
        self._starts = [start for start, _, _ in spans]
        self._spans = spans

    def apart(self, where: str, gradients: Sequence[Array]) -> list[Array]:
        """Return the gradients, a copy of one that lies exactly where its own parameter does.

        Raises
        ------
        ValueError
            For one that overlaps a parameter in any other way: the update would change it while it is read.
        """
        return [self._apart(where, i, gradient) for i, gradient in enumerate(gradients)]

    def _apart(self, where: str, position: int, gradient: Array) -> Array:
        start, end = _span(gradient)
        nearest = bisect_left(self._starts, end) - 1  # the last that begins before the gradient ends
        if not gradient.size or nearest < 0 or self._spans[nearest][1] <= start:
            return gradient
        if self._spans[nearest] == (start, end, position):
            return np.array(gradient)
        given = f"gradient {position} shares memory with parameter {self._spans[nearest][2]}"
        raise ValueError(message(where, given, "expected gradients of their own memory", "give a copy of the gradient"))


def _span(array: Array) -> tuple[int, int]:
    """Return the first address of a contiguous array and the one after its last byte."""
    start: int = array.__array_interface__["data"][0]
    return start, start + array.nbytes


def check_parameters(where: str, parameters: Any) -> list[Array]:
    """Return each as one row-major array that shares its memory.

    Raises
    ------
    TypeError, ValueError
        For anything but a list of arrays of one dtype, float32 or float64, that can be updated in place.
    """
    _check_list(where, "parameters", parameters)
    if not parameters:
        raise ValueError(message(where, "0 parameters", "expected at least one array", "give a list such as [w, b]"))
    dtype = getattr(parameters[0], "dtype", None)
    return [_check_parameter(where, i, array, dtype) for i, array in enumerate(parameters)]


def check_gradients(where: str, parameters: Sequence[Array], gradients: Any) -> list[Array]:
    """Return a gradient for each of the checked parameters, row-major and of its dtype.

    Raises
    ------
    TypeError, ValueError
        For another number of them, other shapes, or what is not real.
    """
    _check_list(where, "gradients", gradients)
    if len(parameters) != len(gradients):
        given = f"{len(parameters)} parameters and {len(gradients)} gradients"
        raise ValueError(message(where, given, "expected one gradient for each", "give them in the same order"))
    return [_check_gradient(where, i, own, grad) for i, (own, grad) in enumerate(zip(parameters, gradients))]


def _check_list(where: str, name: str, arrays: Any) -> None:
    if not isinstance(arrays, list | tuple):
        example = "[w, b]" if name == "parameters" else "[dw, db]"
        given = f"{name} is a {type(arrays).__name__}"
        raise TypeError(message(where, given, "expected a list of arrays", f"give a list such as {example}"))


def _check_parameter(where: str, position: int, array: Any, dtype: Any) -> Array:
    name = f"parameter {position}"
    if not isinstance(array, np.ndarray):
        given = f"{name} is a {type(array).__name__}, which cannot be changed in place"
        raise TypeError(message(where, given, "expected a NumPy array", "use np.array(value, dtype=float)"))
    refuse_masked(where, array, name)
    if array.dtype not in _FLOATS:
        given, hint = f"{name} has dtype {array.dtype}", "create it with dtype float32 or float64"
        raise TypeError(message(where, given, "expected float32 or float64", hint))
    if array.dtype != dtype:
        given = f"{name} has dtype {array.dtype} and parameter 0 {dtype}"
        raise TypeError(message(where, given, "expected one dtype for all", "use one optimizer for each dtype"))
    flags = array.flags
    if not flags.writeable:
        hint = "update a copy that is writable"
        raise ValueError(message(where, f"{name} is read-only", "expected an array that can be changed", hint))
    if not (flags.c_contiguous or flags.f_contiguous) or not flags.aligned:
        given = f"{name} is a strided view, strides {array.strides} for shape {array.shape}"
        hint = "copying it would leave your array as it is: update a contiguous array and assign it to the view"
        raise ValueError(message(where, given, "expected contiguous elements", hint))
    return array if flags.c_contiguous else array.T


def _check_gradient(where: str, position: int, parameter: Array, gradient: npt.ArrayLike) -> Array:
    array = real_numbers(where, gradient, f"gradient {position}")
    if array.shape != parameter.shape and not array.size == parameter.size == 1:
        given = f"gradient {position} has shape {array.shape} and its parameter {parameter.shape}"
        raise ValueError(message(where, given, "expected equal shapes", "check how the gradient was made"))
    if array.ndim == parameter.ndim and not parameter.flags.c_contiguous:
        array = array.T
    return np.require(array, parameter.dtype, ["C", "A"])
