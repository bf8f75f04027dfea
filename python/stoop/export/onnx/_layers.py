"""How each layer is written in ONNX: one function for each class, which adds the nodes to a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from stoop._fold import arrays_by_layer
from stoop.activations import Activation, activation_from_config
from stoop.export.onnx._activations import ACTIVATIONS, emit_activation
from stoop.export.onnx._graph import Array, Graph, Value
from stoop.export.onnx._inputs import emit_columns, emit_normalization
from stoop.layers import (
    BatchNorm,
    Columns,
    Dense,
    Dropout,
    FeatureScale,
    Layer,
    LayerNorm,
    MemberDense,
    Members,
    Normalization,
    Residual,
    output_width,
)

Own = Mapping[str, Array]  # the arrays of a layer by their names in it
Emit = Callable[[Graph, Any, Own, Value], Value]


def emit_layers(graph: Graph, layers: Sequence[Layer], arrays: Own, x: Value) -> Value:
    """Add the nodes of layers in order; `arrays` are their parameters and buffers by name."""
    owned = arrays_by_layer(arrays)
    for index, layer in enumerate(layers):
        with graph.within(f"{index}."):
            x = LAYERS[type(layer)](graph, layer, owned.get(str(index), {}), x)
    return x


def _activation(graph: Graph, layer: Activation, own: Own, x: Value) -> Value:  # noqa: ARG001
    return Value(emit_activation(graph, layer, x.name), x.width, x.members)


def _dense(graph: Graph, layer: Dense, own: Own, x: Value) -> Value:
    weight, bias = graph.array("weight", own["weight"]), own.get("bias")
    if x.members == 0:  # one node, with or without a bias
        more = [] if bias is None else [graph.array("bias", bias)]
        return _activated(graph, layer, graph.node("Gemm", x.name, weight, *more), 0)
    product = graph.node("MatMul", x.name, weight)
    return _activated(graph, layer, _plus(graph, product, bias), x.members)


def _activated(graph: Graph, layer: Dense | MemberDense, name: str, members: int) -> Value:
    activation = layer.activation
    if isinstance(activation, str):
        activation = activation_from_config({"type": activation})
    return Value(name if activation is None else emit_activation(graph, activation, name), layer.units, members)


def _plus(graph: Graph, x: str, bias: Array | None) -> str:
    return x if bias is None else graph.node("Add", x, graph.array("bias", bias))


def _batch_norm(graph: Graph, layer: BatchNorm, own: Own, x: Value) -> Value:
    if x.members == 0:
        names = ("gamma", "beta", "running_mean", "running_var")
        arrays = [graph.array(name, own[name]) for name in names]
        return Value(graph.node("BatchNormalization", x.name, *arrays, epsilon=layer.eps), x.width)
    # The operator would take the members for the channels.
    scale = own["gamma"].astype(np.float64) / np.sqrt(own["running_var"].astype(np.float64) + layer.eps)
    shift = own["beta"] - own["running_mean"] * scale
    scaled = graph.node("Mul", x.name, graph.array("scale", scale))
    return Value(graph.node("Add", scaled, graph.array("shift", shift)), x.width, x.members)


def _layer_norm(graph: Graph, layer: LayerNorm, own: Own, x: Value) -> Value:
    gamma, beta = graph.array("gamma", own["gamma"]), graph.array("beta", own["beta"])
    name = graph.node("LayerNormalization", x.name, gamma, beta, axis=-1, epsilon=layer.eps)
    return Value(name, x.width, x.members)


def _dropout(graph: Graph, layer: Dropout, own: Own, x: Value) -> Value:  # noqa: ARG001
    return x


def _feature_scale(graph: Graph, layer: FeatureScale, own: Own, x: Value) -> Value:  # noqa: ARG001
    return Value(graph.node("Mul", x.name, graph.array("scale", own["scale"])), x.width, x.members)


def _members(graph: Graph, layer: Members, own: Own, x: Value) -> Value:
    each = _for_each(graph, x)
    scaled = graph.node("Mul", each, graph.array("scale", own["scale"]))
    return Value(_plus(graph, scaled, own.get("bias")), x.width, layer.k)


def _member_dense(graph: Graph, layer: MemberDense, own: Own, x: Value) -> Value:
    weight, bias = graph.array("weight", own["weight"]), own.get("bias")
    members = layer.members or x.members
    if layer.shared:
        scaled = graph.node("Mul", _for_each(graph, x), graph.array("input_scale", own["input_scale"]))
        product = graph.node("MatMul", scaled, weight)
        scaled = graph.node("Mul", product, graph.array("output_scale", own["output_scale"]))
        return _activated(graph, layer, _plus(graph, scaled, bias), members)
    by_member = graph.node("Transpose", x.name, perm=[1, 0, 2]) if x.members else x.name
    product = graph.node("Transpose", graph.node("MatMul", by_member, weight), perm=[1, 0, 2])
    return _activated(graph, layer, _plus(graph, product, bias), members)


def _for_each(graph: Graph, x: Value) -> str:
    """Return (n, 1, width) of a value without members."""
    return x.name if x.members else graph.node("Unsqueeze", x.name, graph.array("axis", [1], np.int64))


def _residual(graph: Graph, layer: Residual, own: Own, x: Value) -> Value:
    inner = emit_layers(graph, layer.layers, own, x)
    skip = x.name
    if output_width(layer, x.width) != x.width:
        skip = graph.node("MatMul", skip, graph.array("projection.weight", own["projection.weight"]))
    return Value(graph.node("Add", skip, inner.name), inner.width, inner.members)


LAYERS: dict[type[Layer], Emit] = {
    Dense: _dense,
    BatchNorm: _batch_norm,
    LayerNorm: _layer_norm,
    Dropout: _dropout,
    FeatureScale: _feature_scale,
    Members: _members,
    MemberDense: _member_dense,
    Residual: _residual,
    Normalization: emit_normalization,
    Columns: emit_columns,
}
LAYERS |= dict.fromkeys(ACTIVATIONS, _activation)
