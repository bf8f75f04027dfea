"""How each activation is written in ONNX. Operators that runtimes lack for float64 are put together from others."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from stoop import activations
from stoop.activations import Activation
from stoop.export.onnx._graph import Graph, tensor_type

Emit = Callable[[Graph, Any, str], str]


def emit_activation(graph: Graph, layer: Activation, x: str) -> str:
    """Add the nodes of an activation; return the name of what they give."""
    return ACTIVATIONS[type(layer)](graph, layer, x)


def _leaky_relu(graph: Graph, layer: activations.LeakyReLU, x: str) -> str:
    if not graph.is_double:
        return graph.node("LeakyRelu", x, alpha=layer.negative_slope)
    below = graph.node("Mul", _negative_part(graph, x), graph.scalar(layer.negative_slope))
    return graph.node("Add", graph.node("Relu", x), below)


def _elu(graph: Graph, layer: activations.ELU, x: str) -> str:
    if not graph.is_double:
        return graph.node("Elu", x, alpha=layer.alpha)
    return _exponential_unit(graph, x, layer.alpha)


def _selu(graph: Graph, layer: activations.SELU, x: str) -> str:  # noqa: ARG001
    if not graph.is_double:
        return graph.node("Selu", x)
    unit = _exponential_unit(graph, x, 1.6732632423543772848)
    return graph.node("Mul", unit, graph.scalar(1.0507009873554804934))


def _gelu(graph: Graph, layer: activations.GELU, x: str) -> str:
    half = graph.node("Mul", x, graph.scalar(0.5))
    if layer.approximate == "tanh":
        cube = graph.node("Mul", graph.node("Mul", graph.node("Mul", x, x), x), graph.scalar(0.044715))
        inner = graph.node("Mul", graph.node("Add", x, cube), graph.scalar(math.sqrt(2.0 / math.pi)))
        curve = graph.node("Tanh", inner)
    else:
        curve = _erf(graph, graph.node("Mul", x, graph.scalar(math.sqrt(0.5))))
    return graph.node("Mul", half, graph.node("Add", curve, graph.scalar(1.0)))


def _hard_swish(graph: Graph, layer: activations.HardSwish, x: str) -> str:  # noqa: ARG001
    shifted = graph.node("Add", x, graph.scalar(3.0))
    part = graph.node("Clip", shifted, graph.scalar(0.0), graph.scalar(6.0))
    return graph.node("Mul", graph.node("Mul", x, part), graph.scalar(1.0 / 6.0))


def emit_softplus(graph: Graph, x: str) -> str:
    """Add ``log(1 + exp(x))``, of float64 as ``max(x, 0) + log(1 + exp(-abs(x)))``."""
    if not graph.is_double:
        return graph.node("Softplus", x)
    power = graph.node("Exp", graph.node("Neg", graph.node("Abs", x)))
    return graph.node("Add", graph.node("Relu", x), graph.node("Log", graph.node("Add", power, graph.scalar(1.0))))


def _erf(graph: Graph, x: str) -> str:
    """Add the error function, with the digits of float32: runtimes have no other."""
    if not graph.is_double:
        return graph.node("Erf", x)
    single = graph.node("Cast", x, to=tensor_type(np.float32))
    return graph.node("Cast", graph.node("Erf", single), to=tensor_type(graph.dtype))


def _negative_part(graph: Graph, x: str) -> str:
    return graph.node("Min", x, graph.scalar(0.0))


def _exponential_unit(graph: Graph, x: str, alpha: float) -> str:
    """Add ``max(x, 0) + alpha * (exp(min(x, 0)) - 1)``."""
    power = graph.node("Sub", graph.node("Exp", _negative_part(graph, x)), graph.scalar(1.0))
    return graph.node("Add", graph.node("Relu", x), graph.node("Mul", power, graph.scalar(alpha)))


ACTIVATIONS: dict[type[Activation], Emit] = {
    activations.Identity: lambda _, __, x: x,
    activations.ReLU: lambda graph, _, x: graph.node("Relu", x),
    activations.Tanh: lambda graph, _, x: graph.node("Tanh", x),
    activations.Sigmoid: lambda graph, _, x: graph.node("Sigmoid", x),
    activations.Softplus: lambda graph, _, x: emit_softplus(graph, x),
    activations.SiLU: lambda graph, _, x: graph.node("Mul", x, graph.node("Sigmoid", x)),
    activations.Mish: lambda graph, _, x: graph.node("Mul", x, graph.node("Tanh", emit_softplus(graph, x))),
    activations.ReLU6: lambda graph, _, x: graph.node("Clip", x, graph.scalar(0.0), graph.scalar(6.0)),
    activations.LeakyReLU: _leaky_relu,
    activations.ELU: _elu,
    activations.SELU: _selu,
    activations.GELU: _gelu,
    activations.HardSwish: _hard_swish,
}
