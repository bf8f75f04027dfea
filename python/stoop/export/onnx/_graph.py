"""An ONNX graph as it is made: nodes in order, arrays by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop.export.onnx._wire import Node

Array = npt.NDArray[Any]

_FEW = 64  # bytes of an array; many different ones may be given the same name
OPSET = 17  # the first with LayerNormalization
_AXES_ARE_INPUT = 18
_TENSOR_TYPES = {"float32": 1, "int64": 7, "float64": 11}  # of onnx.proto


class Graph:
    """Nodes and initializers, whose names begin with the place of their layer: ``"2.0.weight"``.

    The package onnx is not needed for it.

    Parameters
    ----------
    dtype : dtype
        Of the numbers, float32 or float64.
    opset : int
        From 18 on the axes of a sum are an input.
    """

    def __init__(self, dtype: np.dtype[Any], opset: int = OPSET) -> None:
        self.dtype = dtype
        self._opset = opset
        self.nodes: list[Node] = []
        self.arrays: dict[str, Array] = {}
        self._alike: dict[str, dict[Any, str]] = {}  # names by the name that was given and what is in the array
        self._prefix = ""

    @property
    def is_double(self) -> bool:
        """Whether the numbers are float64, for which runtimes lack some operators."""
        return self.dtype == np.float64

    @contextmanager
    def within(self, prefix: str) -> Iterator[None]:
        """Put `prefix` before the names that are given within."""
        outer, self._prefix = self._prefix, self._prefix + prefix
        yield
        self._prefix = outer

    def array(self, name: str, values: npt.ArrayLike, dtype: npt.DTypeLike | None = None) -> str:
        """Add an array and return its name; that of the model's numbers unless `dtype` says else.

        The same array under the same name is there once.
        """
        array: Array = np.asarray(values, self.dtype if dtype is None else dtype)
        full = self._prefix + name
        alike = self._alike.setdefault(full, {})
        key: Any = (array.dtype.str, array.shape, array.tobytes()) if array.nbytes <= _FEW else None
        if key is None:  # a layer has one or two of a name
            known = (place for place in alike if isinstance(place, int))
            key = next((place for place in known if _is_same(self.arrays[alike[place]], array)), len(alike))
        full = alike.setdefault(key, f"{full}_{1 + len(alike)}" if alike else full)
        self.arrays[full] = array
        return full

    def scalar(self, value: float) -> str:
        """Return the name of a number."""
        outer, self._prefix = self._prefix, ""
        name = self.array(f"number {value:.9g}", value)
        self._prefix = outer
        return name

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        name = f"{self._prefix}{operator}_{len(self.nodes)}"
        self.nodes.append(Node(operator, "", name, list(inputs), [name], attributes))
        return name

    def over_members(self, operator: str, x: str) -> str:
        """Add a mean or the like over the members; return (n, width)."""
        if self._opset < _AXES_ARE_INPUT:
            return self.node(operator, x, axes=[1], keepdims=0)
        return self.node(operator, x, self.array("axis", [1], np.int64), keepdims=0)

    def rename_last(self, name: str) -> None:
        """Give the last node's output another name."""
        self.nodes[-1].outputs[0] = name


def _is_same(a: Array, b: Array) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def tensor_type(dtype: npt.DTypeLike) -> int:
    """Return the number that ONNX has for a dtype."""
    return _TENSOR_TYPES[np.dtype(dtype).name]
