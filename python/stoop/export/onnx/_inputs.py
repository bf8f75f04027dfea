"""How the first layer is written in ONNX: columns of X are normalised and encoded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from stoop.export.onnx._graph import Array, Graph, Value, tensor_type
from stoop.layers import Columns, Normalization

_FAR = 2.0**40  # times the clip: beyond it the clipped number is the clip, and squares could overflow


def emit_normalization(graph: Graph, layer: Normalization, own: Mapping[str, Array], x: Value) -> Value:
    """Add ``(x - shift) * scale``, what stands for NaN, and the smooth clip."""
    numbers = _scaled(graph, x.name, own, np.arange(x.width), has_missing=layer.missing == "mean")
    return Value(_clipped(graph, numbers, layer.clip), x.width)


def emit_columns(graph: Graph, layer: Columns, own: Mapping[str, Array], x: Value) -> Value:
    """Add the encodings, each for all columns that have it, and put their columns into the order of X."""
    plan = _Plan(layer, x.width)
    parts, places = [], []
    for kind, columns in plan.columns.items():
        if columns:
            parts.append(_ENCODINGS[kind](graph, layer, own, _Group(x.name, columns, plan)))
            places += [place for column in columns for place in plan.places[column]]
    whole = parts[0] if len(parts) == 1 else graph.node("Concat", *parts, axis=1)
    if places != sorted(places):
        whole = graph.node("Gather", whole, graph.array("order", np.argsort(places), np.int64), axis=1)
    return Value(whole, len(places))


class _Plan:
    """Which columns have which encoding, and where it stands in the encoded row."""

    def __init__(self, layer: Columns, width: int) -> None:
        self.codes = dict(layer.categories or ())
        numbers = [column for column in range(width) if column not in self.codes]
        self.number = {column: place for place, column in enumerate(numbers)}  # place among the numbers
        each = [layer.bins] * len(numbers) if isinstance(layer.bins, int) else list(layer.bins)
        self.bins = dict(zip(numbers, each)) if layer.encoding == "ple" else dict.fromkeys(numbers, 0)
        kinds: dict[str, list[int]] = {"ladder": [], "number": [], "periodic": [], "one_hot": [], "embedding": []}
        self.places: dict[int, range] = {}
        first = 0
        for column in range(width):
            if column in self.codes:
                is_small = self.codes[column] <= layer.one_hot
                kind, size = ("one_hot", self.codes[column]) if is_small else ("embedding", layer.embedding_dim)
            elif layer.encoding == "periodic":
                kind, size = "periodic", layer.embedding_dim
            else:
                kind, size = ("ladder", self.bins[column]) if self.bins[column] else ("number", 1)
            kinds[kind].append(column)
            self.places[column] = range(first, first + size)
            first += size
        self.columns = kinds


class _Group:
    """Columns of X with one encoding."""

    def __init__(self, x: str, columns: list[int], plan: _Plan) -> None:
        self.x, self.columns, self.plan = x, np.array(columns), plan

    def values(self, graph: Graph) -> str:
        """Add what takes these columns of X; (n, columns)."""
        return graph.node("Gather", self.x, graph.array("columns", self.columns, np.int64), axis=1)


def _number(graph: Graph, layer: Columns, own: Mapping[str, Array], group: _Group) -> str:
    numbers = _scaled(graph, group.values(graph), own, group.columns, has_missing=True)
    return _clipped(graph, numbers, layer.clip)


def _ladder(graph: Graph, layer: Columns, own: Mapping[str, Array], group: _Group) -> str:  # noqa: ARG001
    """Each bin is ``(z - left) * scale``, at least 0 but for the first of a column, at most 1 but for the last."""
    numbers = _scaled(graph, group.values(graph), own, group.columns, has_missing=True)
    counts = [group.plan.bins[column] for column in group.columns]
    of_bin = np.repeat(np.arange(len(counts)), counts)
    each = graph.node("Gather", numbers, graph.array("bin_columns", of_bin, np.int64), axis=1)
    left, scale = own["bin_left"], own["bin_scale"]
    low, high = np.zeros(len(left)), np.ones(len(left))
    begin = 0
    for count in counts:
        used = np.flatnonzero(scale[begin : begin + count])
        if len(used):
            low[begin], high[begin + used[-1]] = -np.inf, np.inf
        begin += count
    way = graph.node("Mul", graph.node("Sub", each, graph.array("bin_left", left)), graph.array("bin_scale", scale))
    return graph.node("Max", graph.node("Min", way, graph.array("bin_most", high)), graph.array("bin_least", low))


def _periodic(graph: Graph, layer: Columns, own: Mapping[str, Array], group: _Group) -> str:
    """``relu([cos, sin](2 pi c z) @ W + b)`` of each column; whole turns are taken away before, which is exact."""
    z = graph.node("Unsqueeze", _number(graph, layer, own, group), graph.array("axis", [2], np.int64))
    count, waves = own["frequencies"].shape
    turns = graph.node("Mul", z, graph.array("frequencies", own["frequencies"]))
    rest = graph.node("Sub", turns, graph.node("Round", turns))
    angle = graph.node("Mul", rest, graph.scalar(2.0 * np.pi))
    ahead = graph.node("Add", angle, graph.scalar(0.5 * np.pi))  # runtimes have no Cos of float64
    cosine = graph.node("Sin", ahead) if graph.is_double else graph.node("Cos", angle)
    both = graph.node("Concat", cosine, graph.node("Sin", angle), axis=2)
    by_column = graph.node("Transpose", both, perm=[1, 0, 2])
    weight = own["weight"].reshape(count, 2 * waves, layer.embedding_dim)
    product = graph.node("MatMul", by_column, graph.array("weight", weight))
    with_bias = graph.node("Add", product, graph.array("bias", own["bias"][:, None, :]))
    back = graph.node("Transpose", graph.node("Relu", with_bias), perm=[1, 0, 2])
    return graph.node("Reshape", back, graph.array("flat", [-1, count * layer.embedding_dim], np.int64))


def _one_hot(graph: Graph, layer: Columns, own: Mapping[str, Array], group: _Group) -> str:  # noqa: ARG001
    counts = [group.plan.codes[column] for column in group.columns]
    of_code = np.repeat(group.columns, counts)
    each = graph.node("Gather", group.x, graph.array("code_columns", of_code, np.int64), axis=1)
    codes = np.concatenate([np.arange(count) for count in counts])
    return graph.node("Cast", graph.node("Equal", each, graph.array("codes", codes)), to=tensor_type(graph.dtype))


def _embedding(graph: Graph, layer: Columns, own: Mapping[str, Array], group: _Group) -> str:
    """A row of the table for each column: a known code, then missing (NaN or -1), then unknown."""
    codes = group.values(graph)
    counts = np.array([group.plan.codes[column] for column in group.columns])
    missing = graph.node("Or", graph.node("IsNaN", codes), graph.node("Equal", codes, graph.scalar(-1.0)))
    inside = graph.node("And", _at_least(graph, codes, 0.0), _less(graph, codes, counts))
    known = graph.node("And", inside, graph.node("Equal", codes, graph.node("Floor", codes)))
    other = graph.node("Where", missing, graph.array("counts", counts), graph.array("unknown", counts + 1))
    row = graph.node("Cast", graph.node("Where", known, codes, other), to=tensor_type(np.dtype(np.int64)))
    starts = np.concatenate([[0], np.cumsum(counts + 2)[:-1]])
    rows = graph.node("Add", row, graph.array("starts", starts, np.int64))
    found = graph.node("Gather", graph.array("embedding", own["embedding"]), rows, axis=0)
    return graph.node("Reshape", found, graph.array("flat", [-1, len(counts) * layer.embedding_dim], np.int64))


_ENCODINGS: dict[str, Any] = {
    "ladder": _ladder,
    "number": _number,
    "periodic": _periodic,
    "one_hot": _one_hot,
    "embedding": _embedding,
}


def _scaled(graph: Graph, x: str, own: Mapping[str, Array], columns: Array, *, has_missing: bool) -> str:
    """Add ``(x - shift) * scale`` of these columns, and the number that stands for NaN."""
    shift, scale, rest = own["shift"][columns], own["scale"][columns], own["shift_rest"][0, columns]
    rest = np.where(np.abs(rest) <= np.abs(shift) * 2.0**-24, rest, 0)  # else it belongs to another shift
    z = graph.node("Sub", x, graph.array("shift", shift))
    if rest.any():
        z = graph.node("Sub", z, graph.array("shift_rest", rest))
    z = graph.node("Mul", z, graph.array("scale", scale))
    if has_missing:
        z = graph.node("Where", graph.node("IsNaN", z), graph.array("missing", own["missing"][columns]), z)
    return z


def _clipped(graph: Graph, z: str, clip: float | None) -> str:
    """Add ``z / sqrt(1 + (z / clip)**2)``."""
    if clip is None:
        return z
    within = graph.node("Clip", z, graph.scalar(-_FAR * clip), graph.scalar(_FAR * clip))
    ratio = graph.node("Mul", within, graph.scalar(1.0 / clip))
    root = graph.node("Sqrt", graph.node("Add", graph.node("Mul", ratio, ratio), graph.scalar(1.0)))
    return graph.node("Div", within, root)


def _at_least(graph: Graph, x: str, least: float) -> str:
    return graph.node("Not", graph.node("Less", x, graph.scalar(least)))


def _less(graph: Graph, codes: str, counts: Array) -> str:
    return graph.node("Less", codes, graph.array("counts", counts))
