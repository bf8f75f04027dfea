"""The state that an optimizer keeps for bare arrays: one updater of the core per list of arrays."""

from __future__ import annotations

import json
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stoop import _core
from stoop._errors import message
from stoop.schedules import python_rate

if TYPE_CHECKING:
    from stoop.optimizers import Optimizer

_WHERE = "optimizer.step"
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))

Array = npt.NDArray[Any]
Key = tuple[str | tuple[int, int], ...]  # dtype, address and size of each array


class ArrayStates:
    """Updaters by the memory they update; forgotten when that memory is."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._config = json.dumps(optimizer.to_config())
        self._rate = python_rate(optimizer.learning_rate)
        self._updaters: dict[Key, tuple[_core._ParameterUpdater[Any], list[Any]]] = {}

    def step(self, parameters: Sequence[Array], gradients: Sequence[npt.ArrayLike]) -> None:
        """Check the arrays and update them; see ``Optimizer.step``."""
        checked = check_parameters(parameters)
        grads = check_gradients(parameters, gradients)
        key = (parameters[0].dtype.char, *((array.__array_interface__["data"][0], array.size) for array in checked))
        entry = self._updaters.get(key)
        if entry is None:
            entry = self._add(key, parameters)
        entry[0].step(checked, grads)

    def _add(self, key: Key, parameters: Sequence[Array]) -> tuple[_core._ParameterUpdater[Any], list[Any]]:
        double = parameters[0].dtype.itemsize == 8
        make: Any = _core.ParameterUpdaterFloat64 if double else _core.ParameterUpdaterFloat32
        updaters = self._updaters

        # Memory that is freed may be given to other arrays, which must not find this state.
        def forget(_: object) -> None:
            updaters.pop(key, None)

        updaters[key] = make(self._config, self._rate), [_hold(_owner(array), forget) for array in parameters]
        return updaters[key]


def _owner(array: Any) -> Any:
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array


def _hold(owner: Any, forget: Any) -> Any:
    try:
        return weakref.ref(owner, forget)
    except TypeError:
        return owner  # kept alive instead


def check_parameters(parameters: Any) -> list[Array]:
    """Return each as one row-major array that shares its memory.

    Raises
    ------
    TypeError, ValueError
        For anything but a list of arrays of one dtype, float32 or float64, that can be updated in place.
    """
    _check_list("parameters", parameters)
    if not parameters:
        raise ValueError(message(_WHERE, "0 parameters", "expected at least one array", "call step([w, b], [dw, db])"))
    dtype = getattr(parameters[0], "dtype", None)
    return [_check_parameter(i, array, dtype) for i, array in enumerate(parameters)]


def check_gradients(parameters: Sequence[Array], gradients: Any) -> list[Array]:
    """Return a gradient for each of the checked parameters, row-major and of its dtype.

    Raises
    ------
    TypeError, ValueError
        For another number of them, other shapes, or what is not real.
    """
    _check_list("gradients", gradients)
    if len(parameters) != len(gradients):
        given = f"{len(parameters)} parameters and {len(gradients)} gradients"
        raise ValueError(message(_WHERE, given, "expected one gradient for each", "give them in the same order"))
    return [_check_gradient(i, own, grad) for i, (own, grad) in enumerate(zip(parameters, gradients))]


def _check_list(name: str, arrays: Any) -> None:
    if not isinstance(arrays, list | tuple):
        given = f"{name} is a {type(arrays).__name__}"
        raise TypeError(message(_WHERE, given, "expected a list of arrays", "call step([w, b], [dw, db])"))


def _check_parameter(position: int, array: Any, dtype: Any) -> Array:
    name = f"parameter {position}"
    if not isinstance(array, np.ndarray):
        given = f"{name} is a {type(array).__name__}, which cannot be changed in place"
        raise TypeError(message(_WHERE, given, "expected a NumPy array", "use np.array(value, dtype=float)"))
    if array.dtype not in _FLOATS:
        given, hint = f"{name} has dtype {array.dtype}", "create it with dtype float32 or float64"
        raise TypeError(message(_WHERE, given, "expected float32 or float64", hint))
    if array.dtype != dtype:
        given = f"{name} has dtype {array.dtype} and parameter 0 {dtype}"
        raise TypeError(message(_WHERE, given, "expected one dtype for all", "use one optimizer for each dtype"))
    flags = array.flags
    if not flags.writeable:
        hint = "update a copy that is writable"
        raise ValueError(message(_WHERE, f"{name} is read-only", "expected an array that can be changed", hint))
    if not (flags.c_contiguous or flags.f_contiguous) or not flags.aligned:
        given = f"{name} is a strided view, strides {array.strides} for shape {array.shape}"
        hint = "copying it would leave your array as it is: update a contiguous array and assign it to the view"
        raise ValueError(message(_WHERE, given, "expected contiguous elements", hint))
    return array if flags.c_contiguous else array.T


def _check_gradient(position: int, parameter: Array, gradient: npt.ArrayLike) -> Array:
    array = np.asarray(gradient)
    if array.dtype.kind not in "fiu":
        given = f"gradient {position} has dtype {array.dtype}"
        raise TypeError(message(_WHERE, given, "expected real numbers", "convert it first"))
    if array.shape != parameter.shape and not array.size == parameter.size == 1:
        given = f"gradient {position} has shape {array.shape} and its parameter {parameter.shape}"
        raise ValueError(message(_WHERE, given, "expected equal shapes", "check how the gradient was made"))
    if array.ndim == parameter.ndim and not parameter.flags.c_contiguous:
        array = array.T
    return np.require(array, parameter.dtype, ["C", "A"])
