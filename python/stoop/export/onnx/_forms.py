"""What changes the form or the element type of a value in ONNX, and constants: a function for each, by its name."""

from __future__ import annotations

import numpy as np

from stoop.export.onnx._meanings import (
    Column,
    Ending,
    Function,
    Known,
    Labels,
    Whole,
    constant,
    labels_over,
    listed,
    term_of,
)
from stoop.export.onnx._terms import Array, Term, UnknownError
from stoop.export.onnx._wire import Node
from stoop.export.onnx._work import keep

_FLOATS = (1, 11)  # float32 and float64, of onnx.proto
_OF_LABELS = (*_FLOATS, 6, 7)


def _same(node: Node, inputs: list[Known]) -> Known:  # noqa: ARG001
    return inputs[0]


def _dropout(node: Node, inputs: list[Known]) -> Known:
    is_training = len(inputs) > 2 and inputs[2] is not None and bool(constant(inputs[2]).any())
    if is_training or not node.attributes.get("is_test", 1):
        raise UnknownError("training")
    return inputs[0]


def _cast(node: Node, inputs: list[Known]) -> Known:
    known, to = inputs[0], node.attributes.get("to", 0)
    if isinstance(known, np.ndarray) and known.dtype.kind in "fiub":
        kind = {1: np.float32, 6: np.int32, 7: np.int64, 11: np.float64}.get(to)
        if kind is None:
            raise UnknownError(f"the element type {to}")
        keep(8 * known.size)
        return known.astype(kind)
    if isinstance(known, Labels):
        if to not in _OF_LABELS:
            raise UnknownError("labels that become no numbers")
        return known
    if to in _FLOATS and not isinstance(known, list):
        return known.x if isinstance(known, Whole) else known
    if isinstance(known, Ending):
        raise UnknownError("probabilities that become no float32 or float64")
    return labels_over(term_of(known), to)


def _reshape(node: Node, inputs: list[Known]) -> Known:  # noqa: ARG001
    known, shape = inputs[0], listed(constant(inputs[1]))
    if isinstance(known, np.ndarray):
        return known.reshape(shape)
    is_one = isinstance(known, Column) or (isinstance(known, Labels) and known.rule != "over")
    if is_one or isinstance(known, list):  # one for each row, or names, in whatever form
        return known
    value, width = known.ending if isinstance(known, Labels) else known, None
    if isinstance(value, Ending):
        width = 2 if value.kind == "sigmoid" else value.outputs.width
    elif isinstance(value, Term | Whole):
        width = (value.x if isinstance(value, Whole) else value).value.width
    else:
        raise UnknownError("a form of what is no value of the network")
    if len(shape) != 2 or shape[0] not in (-1, 0) or shape[1] not in (-1, width) or shape == [-1, -1]:
        is_fixed = len(shape) == 2 and shape[0] > 0 and shape[1] in (-1, width)
        why = f": of {shape[0]} rows and no other number" if is_fixed else ""
        hint = "export it with a dynamic number of rows (dynamic_shapes of torch.onnx.export)" if is_fixed else ""
        columns = "" if width is None else f" of {width} columns"
        raise UnknownError(f"the shape {shape}{columns}{why}", hint=hint)
    return known


def _flatten(node: Node, inputs: list[Known]) -> Known:
    if node.attributes.get("axis", 1) != 1:
        raise UnknownError(f"axis {node.attributes['axis']}")
    return inputs[0] if isinstance(inputs[0], Whole) else term_of(inputs[0])


def _transpose(node: Node, inputs: list[Known]) -> Array:
    transposed: Array = constant(inputs[0]).transpose(node.attributes.get("perm") or None)
    return transposed


def _constant(node: Node, inputs: list[Known]) -> Array:  # noqa: ARG001
    for name, value in node.attributes.items():
        if name == "value" and isinstance(value, np.ndarray):
            return value
        if name in ("value_float", "value_floats"):
            return np.asarray(value, np.float32)
        if name in ("value_int", "value_ints"):
            return np.asarray(value, np.int64)
    raise UnknownError("a constant without numbers")


FORMS: dict[str, Function] = {
    "Identity": _same,
    "Dropout": _dropout,
    "Cast": _cast,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Constant": _constant,
}
