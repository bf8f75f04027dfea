"""The functions of ONNX operators that work on each element."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from stoop.export.onnx._wire import Node

Function = Callable[..., Any]

_ERF = np.vectorize(math.erf, [np.float64])

_PLAIN: dict[str, Function] = {
    "Relu": lambda x: np.maximum(x, 0.0),
    "Tanh": np.tanh,
    "Sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)),
    "Softplus": lambda x: np.logaddexp(0.0, x),
    "Exp": np.exp,
    "Log": np.log,
    "Sqrt": np.sqrt,
    "Abs": np.abs,
    "Neg": np.negative,
    "Erf": _ERF,
    "Mish": lambda x: x * np.tanh(np.logaddexp(0.0, x)),
    "HardSwish": lambda x: x * np.clip(x / 6.0 + 0.5, 0.0, 1.0),
    "Reciprocal": lambda x: 1.0 / x,
    "Not": np.logical_not,
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Max": lambda *parts: reduce(np.maximum, parts),
    "Min": lambda *parts: reduce(np.minimum, parts),
    "Clip": np.clip,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Where": np.where,
    "PRelu": lambda x, slope: np.where(x < 0.0, slope * x, x),
}


def _with_numbers(node: Node) -> Function:
    """Return the function of an operator that has numbers as attributes."""
    get = node.attributes.get
    alpha, beta, gamma = get("alpha"), get("beta", 0.5), get("gamma", 1.0507009873554804934)
    if node.operator == "LeakyRelu":
        slope = 0.01 if alpha is None else alpha
        return lambda x: np.where(x < 0.0, slope * x, x)
    if node.operator in ("Elu", "Selu"):
        default, factor = (1.0, 1.0) if node.operator == "Elu" else (1.6732632423543772848, gamma)
        limit = default if alpha is None else alpha
        return lambda x: factor * np.where(x < 0.0, limit * np.expm1(np.minimum(x, 0.0)), x)
    if node.operator == "HardSigmoid":
        slope = 0.2 if alpha is None else alpha
        return lambda x: np.clip(slope * x + beta, 0.0, 1.0)
    if node.operator == "Celu":
        limit = 1.0 if alpha is None else alpha
        return lambda x: np.where(x < 0.0, limit * np.expm1(np.minimum(x, 0.0) / limit), x)
    if get("approximate", "none") == "tanh":
        return lambda x: 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))
    return lambda x: 0.5 * x * (1.0 + _ERF(x * math.sqrt(0.5)))


_WITH_NUMBERS = ("LeakyRelu", "Elu", "Selu", "HardSigmoid", "Celu", "Gelu")
ELEMENTWISE = (*_PLAIN, *_WITH_NUMBERS)

_BY_ERF = ("Erf", "Gelu")
_SLOW = (
    "Tanh",
    "Sigmoid",
    "Softplus",
    "Exp",
    "Log",
    "Mish",
    "Pow",
    "Elu",
    "Selu",
    "Celu",
    "Where",
    "Clip",
    "HardSwish",
)

_OF_TWO = ("Add", "Sub", "Mul", "Div", "Pow", "PRelu", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
_OF_THREE = ("Clip", "Where")
_OF_ANY = ("Max", "Min")


def function_of(node: Node) -> Function:
    """Return the function of one of these operators."""
    plain = _PLAIN.get(node.operator)
    return _with_numbers(node) if plain is None else plain


def name_of(node: Node) -> str | None:
    """Return what tells the function from others, or None where an attribute is neither a number nor short."""
    attributes = sorted(node.attributes.items())
    if any(not isinstance(value, int | float | str) or len(f"{value}{name}") > 100 for name, value in attributes):
        return None
    return f"{node.operator} {attributes!r}"


def steps_of(operator: str) -> int:
    """Return about how many additions take the time of the function, for each element."""
    return 40 if operator in _BY_ERF else 10 if operator in _SLOW else 2


def takes(operator: str, count: int) -> bool:
    """Return whether so many inputs are right for the operator, those of Clip that are left out among them."""
    if operator in _OF_ANY:
        return count > 0
    return count == (2 if operator in _OF_TWO else 3 if operator in _OF_THREE else 1)
