"""How each step is written in ONNX: one function for each kind, which adds the nodes to a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stoop.export._steps import (
    INPUT,
    Activate,
    Add,
    Affine,
    BatchScale,
    Combine,
    Encode,
    Normalize,
    NormalizeRow,
    Scale,
    Step,
)
from stoop.export.onnx._activations import emit_activation
from stoop.export.onnx._columns import emit_columns, emit_normalization
from stoop.export.onnx._endings import emit_together
from stoop.export.onnx._graph import Array, Graph

Emit = Callable[[Graph, Any, str, int], str]


def emit_steps(graph: Graph, steps: Sequence[Step], x: str) -> str:
    """Add the nodes of steps, in which nothing is folded; return the name of what the last gives.

    A value is (n, width), or with several members (n, members, width).
    """
    names, members = {INPUT: x}, {INPUT: 1}
    for place, step in enumerate(steps):
        source, path = names[step.source], step.layer.path
        with graph.within(f"{path}." if path else ""):
            if isinstance(step, Add):
                name = graph.node("Add", source, names[step.other])
            else:
                name = _NODES[type(step)](graph, step, source, members[step.source])
        names[place], members[place] = name, step.members
    return names[len(steps) - 1]


def _affine(graph: Graph, step: Affine, x: str, members: int) -> str:
    weight, bias = (_of_one(array, step.members, 2) for array in (step.weight, step.bias))
    if step.members == 1:  # one node, with or without a bias
        more = [graph.array("bias", bias.reshape(-1))] if bias.any() else []
        return graph.node("Gemm", x, graph.array("weight", weight), *more)
    if weight.ndim == 2:
        product = graph.node("MatMul", x, graph.array("weight", weight))
    else:
        by_member = x if members == 1 else graph.node("Transpose", x, perm=[1, 0, 2])
        product = graph.node("MatMul", by_member, graph.array("weight", weight))
        product = graph.node("Transpose", product, perm=[1, 0, 2])
    return graph.node("Add", product, graph.array("bias", bias)) if bias.any() else product


def _scale(graph: Graph, step: Scale, x: str, members: int) -> str:
    if step.members > members:
        x = graph.node("Unsqueeze", x, graph.array("axis", [1], np.int64))
    if not step.layer.path:
        return _scale_of_input(graph, step, x)
    scaled = graph.node("Mul", x, graph.array(step.which, _of_one(step.scale, step.members, 1)))
    return scaled if step.bias is None else graph.node("Add", scaled, graph.array("bias", step.bias))


def _scale_of_input(graph: Graph, step: Scale, x: str) -> str:
    """Add ``X * input_scale + input_shift``, with a number for all columns."""
    assert step.bias is not None
    scale, shift = step.scale[0], step.bias[0]
    if scale != 1.0:
        x = graph.node("Mul", x, graph.array("input_scale", scale))
    return x if shift == 0.0 else graph.node("Add", x, graph.array("input_shift", shift))


def _batch_scale(graph: Graph, step: BatchScale, x: str, members: int) -> str:
    names = ("gamma", "beta", "running_mean", "running_var")
    arrays = [graph.array(name, array) for name, array in zip(names, step.statistics, strict=True)]
    # The operator takes the second axis for the columns.
    columns_second = x if members == 1 else graph.node("Transpose", x, perm=[0, 2, 1])
    normalized = graph.node("BatchNormalization", columns_second, *arrays, epsilon=step.eps)
    return normalized if members == 1 else graph.node("Transpose", normalized, perm=[0, 2, 1])


def _activate(graph: Graph, step: Activate, x: str, members: int) -> str:  # noqa: ARG001
    return emit_activation(graph, step.function, x)


def _normalize_row(graph: Graph, step: NormalizeRow, x: str, members: int) -> str:  # noqa: ARG001
    gamma, beta = graph.array("gamma", step.gamma), graph.array("beta", step.beta)
    return graph.node("LayerNormalization", x, gamma, beta, axis=-1, epsilon=step.eps)


def _combine(graph: Graph, step: Combine, x: str, members: int) -> str:
    return emit_together(graph, x, members, step.output)


def _of_one(array: Array, members: int, dims: int) -> Array:
    """Return the array without the axis of the members if there is one member."""
    return array.reshape(array.shape[-dims:]) if members == 1 and array.ndim > dims else array


_NODES: dict[type[Step], Emit] = {
    Affine: _affine,
    Scale: _scale,
    BatchScale: _batch_scale,
    Activate: _activate,
    NormalizeRow: _normalize_row,
    Combine: _combine,
    Normalize: emit_normalization,
    Encode: emit_columns,
}
