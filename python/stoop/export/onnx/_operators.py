"""What each ONNX operator means for an import: one function for each, by its name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stoop.export.onnx._elements import ELEMENTWISE, function_of, name_of, steps_of, takes
from stoop.export.onnx._forms import FORMS
from stoop.export.onnx._meanings import MEANINGS, Function, Known, Whole, constant, term_of
from stoop.export.onnx._terms import Array, Term, UnknownError, Value, affine, combined
from stoop.export.onnx._wire import Node
from stoop.export.onnx._work import keep, spend
from stoop.layers import BatchNorm, Dense, LayerNorm

# ---- operations on elements ----


def _elementwise(node: Node, inputs: list[Known]) -> Known:
    function = function_of(node)
    if node.operator == "Clip":
        inputs = _bounds(node, inputs)
    if not takes(node.operator, len(inputs)):
        raise UnknownError(f"{len(inputs)} inputs")
    for each in inputs:
        if isinstance(each, Whole):
            term_of(each)
    if all(isinstance(each, np.ndarray) for each in inputs):
        largest = max(each.size for each in inputs)
        if np.broadcast_shapes(*(each.shape for each in inputs)) not in {each.shape for each in inputs} or largest == 0:
            raise UnknownError("constants that would become larger")
        if node.operator in ("Div", "Reciprocal") and all(each.dtype.kind != "f" for each in inputs):
            raise UnknownError("a division of whole numbers")
        spend(largest * len(inputs), steps_of(node.operator))
        keep(8 * largest)
        return np.asarray(function(*inputs))
    if node.operator == "Where" and isinstance(inputs[0], IsNaN):
        return _missing(inputs)
    terms = [each for each in inputs if isinstance(each, Term)]
    if len({id(term.value) for term in terms}) != 1:
        return _of_two(node, inputs)
    vectors = [each for each in inputs if isinstance(each, np.ndarray) and each.size != 1]
    if vectors:
        return _of_vectors(node, inputs)
    operands = tuple(float(each.reshape(())) if isinstance(each, np.ndarray) else term_of(each) for each in inputs)
    name = name_of(node)
    if name is None:
        raise UnknownError("attributes that are no numbers")
    return combined(terms[0].value, function, operands, name, steps_of(node.operator))


def _bounds(node: Node, inputs: list[Known]) -> list[Known]:
    """Return X with both bounds, which may be left out, or stand in attributes."""
    limits = [node.attributes.get("min", -np.inf), node.attributes.get("max", np.inf)]
    given = [*inputs[1:], None, None]
    return [inputs[0], *(np.asarray(limit) if each is None else each for each, limit in zip(given, limits))]


def _of_two(node: Node, inputs: list[Known]) -> Term:
    """Return the sum of two values: a residual connection."""
    if node.operator != "Add":
        raise UnknownError("two values of the network")
    first, second = (term_of(each).made() for each in inputs)
    return Term(_residual(first, second))


def _of_vectors(node: Node, inputs: list[Known]) -> Term:
    """Return ``x * scale + shift`` of each column."""
    if len(inputs) != 2 or node.operator not in ("Add", "Sub", "Mul", "Div"):
        raise UnknownError("numbers that differ from column to column")
    is_first = isinstance(inputs[0], Term)
    value, vector = (inputs[0], inputs[1]) if is_first else (inputs[1], inputs[0])
    value, vector = term_of(value).made(), _flat(vector)
    if node.operator in ("Add", "Sub"):
        signs = (1.0, 1.0) if node.operator == "Add" else (1.0, -1.0) if is_first else (-1.0, 1.0)
        return Term(affine(value, signs[0], signs[1] * vector))
    if node.operator == "Div" and not is_first:
        raise UnknownError("a number divided by a value")
    return Term(affine(value, vector if node.operator == "Mul" else 1.0 / vector, 0.0))


def _missing(inputs: list[Known]) -> Term:
    """Return the scaled X, where another number stands for NaN."""
    is_nan, replacement, x = inputs
    value = term_of(x).made()
    if is_nan.value is not value or not (value.layer == "affine" or value.parent is None):
        raise UnknownError("another number for NaN than that of a scaled X")
    scaled = value if value.layer == "affine" else affine(value, 1.0, 0.0)
    return Term(Value(scaled, scaled.width, "missing", {"missing": _flat(np.atleast_1d(constant(replacement)))}))


@dataclass(frozen=True)
class IsNaN:
    """Where a value is NaN."""

    value: Value


def _flat(vector: Array) -> Array:
    keep(8 * vector.size)
    if vector.size != vector.shape[-1]:
        raise UnknownError(f"an array of shape {vector.shape}")
    return vector.reshape(-1).astype(np.float64)


# ---- layers ----


def _gemm(node: Node, inputs: list[Known]) -> Term:
    get = node.attributes.get
    if get("transA", 0):
        raise UnknownError("a transposed value")
    weight = constant(inputs[1])
    weight = weight.T if get("transB", 0) else weight
    if (alpha := get("alpha", 1.0)) != 1.0:
        keep(weight.nbytes)
        weight = weight * np.float32(alpha).astype(weight.dtype)
    out = _product(term_of(inputs[0]).made(), weight)
    if len(inputs) > 2 and inputs[2] is not None:
        bias = constant(inputs[2])
        spend(bias.size)
        bias = bias * get("beta", 1.0)
        out = affine(out, 1.0, bias.reshape(()) if bias.size == 1 else _flat(bias))
    return Term(out)


def _matmul(node: Node, inputs: list[Known]) -> Term:  # noqa: ARG001
    return Term(_product(term_of(inputs[0]).made(), constant(inputs[1])))


def _product(x: Value, weight: Array) -> Value:
    if weight.ndim != 2 or 0 in weight.shape or weight.dtype.kind != "f":
        raise UnknownError(f"a weight of shape {weight.shape} and {weight.dtype}")
    if x.width is not None and x.width != len(weight):
        raise UnknownError(f"a weight of {len(weight)} rows after {x.width} columns")
    return Value(x, weight.shape[1], Dense(weight.shape[1], use_bias=False), {"weight": weight})


def _batch_norm(node: Node, inputs: list[Known]) -> Term:
    if node.attributes.get("training_mode", 0) or len([name for name in node.outputs if name]) > 1:
        raise UnknownError("training")
    names = ("gamma", "beta", "running_mean", "running_var")
    x, arrays = term_of(inputs[0]).made(), {n: _flat(constant(a)) for n, a in zip(names, inputs[1:5], strict=True)}
    return Term(Value(x, len(arrays["gamma"]), BatchNorm(eps=_eps(node)), arrays))


def _layer_norm(node: Node, inputs: list[Known]) -> Term:
    if node.attributes.get("axis", -1) not in (-1, 1):
        raise UnknownError(f"axis {node.attributes['axis']}")
    x, gamma = term_of(inputs[0]).made(), _flat(constant(inputs[1]))
    beta = np.zeros_like(gamma) if len(inputs) < 3 or inputs[2] is None else _flat(constant(inputs[2]))
    return Term(Value(x, len(gamma), LayerNorm(eps=_eps(node)), {"gamma": gamma, "beta": beta}))


def _eps(node: Node) -> float:
    eps = float(f"{node.attributes.get('epsilon', 1e-5):.7g}")  # attributes are float32: 1e-5 is 9.99999975e-06 there
    if not 0.0 < eps < np.inf:
        raise UnknownError(f"epsilon {eps!r:.20}, where a norm of Stoop has a finite number above 0")
    return eps


def _scaler(node: Node, inputs: list[Known]) -> Term:
    value = term_of(inputs[0].x if isinstance(inputs[0], Whole) else inputs[0]).made()
    offset, scale = (np.array(node.attributes.get(name, [0.0])) for name in ("offset", "scale"))
    return Term(affine(affine(value, 1.0, -offset), scale, 0.0))


def _residual(first: Value, second: Value) -> Value:
    """Return first + second, one of which is made of what the other is made of as well."""
    start = _common(first, second)
    if start is None:
        raise UnknownError("two values that have nothing in common")
    for skip, branch in ((first, second), (second, first)):
        if skip is start:
            return Value(start, branch.width, "residual", branch=branch)
        if skip.parent is start and isinstance(skip.layer, Dense) and skip.width != start.width:
            return Value(start, branch.width, "residual", branch=branch, skip=skip.arrays["weight"])
    raise UnknownError("two values that differ by more than one linear layer from a common one")


def _common(first: Value, second: Value) -> Value | None:
    """Return the last value that both are made of."""
    a: Value | None = first
    b: Value | None = second
    steps = 0
    while a is not None and b is not None and a is not b:
        is_later = a.depth >= b.depth
        a, b = (a.parent, b) if is_later else (a, b.parent)
        steps += 1
    spend(steps, 20)
    return a if a is b else None


def _is_nan(node: Node, inputs: list[Known]) -> IsNaN:  # noqa: ARG001
    return IsNaN(term_of(inputs[0]).made())


OPERATORS: dict[str, Function] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Scaler": _scaler,
    "IsNaN": _is_nan,
}
OPERATORS |= MEANINGS | FORMS | dict.fromkeys(ELEMENTWISE, _elementwise)
