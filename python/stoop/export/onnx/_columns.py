"""How the first layer is written in ONNX: columns of X are normalised and encoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stoop.export._encodings import Column, Embedding, Indicator, Ladder, LinearLadder, Number, Wave
from stoop.export._steps import Encode, Normalize, two_parts
from stoop.export.onnx._graph import Graph, tensor_type

_FAR = 2.0**40  # times the clip: beyond it the clipped number is the clip, and squares could overflow


def emit_normalization(graph: Graph, step: Normalize, x: str, members: int) -> str:  # noqa: ARG001
    """Add ``(x - shift) * scale``, what stands for NaN, and the smooth clip."""
    return _clipped(graph, _scaled(graph, step, x), step.clip)


def emit_columns(graph: Graph, step: Encode, x: str, members: int) -> str:  # noqa: ARG001
    """Add the encodings, each for all columns that have it, and put their columns into the order of X."""
    parts, places = [], list[int]()
    numbers = ""
    for kind, encode in _ENCODINGS.items():
        columns = {index: column for index, column in enumerate(step.columns) if isinstance(column, kind)}
        if not columns:
            continue
        if kind in _OF_NUMBERS:
            numbers = numbers or _scaled(graph, step, x)
            source = numbers
        else:
            source = x
        parts.append(encode(graph, list(columns.values()), _Columns(graph, source, list(columns))))
        places += [place for column in columns.values() for place in range(column.first, column.first + column.width)]
    whole = parts[0] if len(parts) == 1 else graph.node("Concat", *parts, axis=1)
    if places != sorted(places):
        whole = graph.node("Gather", whole, graph.array("order", np.argsort(places), np.int64), axis=1)
    return whole


class _Columns:
    """Columns of a value."""

    def __init__(self, graph: Graph, source: str, indices: list[int]) -> None:
        self._graph, self._source, self._indices = graph, source, indices

    def values(self, counts: Sequence[int] | None = None) -> str:
        """Add what takes these columns, each as often as `counts` says; else once."""
        indices = np.array(self._indices) if counts is None else np.repeat(self._indices, counts)
        return self._graph.node("Gather", self._source, self._graph.array("columns", indices, np.int64), axis=1)


def _ladder(graph: Graph, columns: Sequence[Ladder | LinearLadder], x: _Columns) -> str:
    """Each bin is ``(z - left) * scale``, at least 0 but for the first of a column, at most 1 but for the last."""
    counts = [column.bins for column in columns]
    left, scale, low = (np.zeros(sum(counts)) for _ in range(3))
    high = np.ones(sum(counts))
    begin = 0
    for column in columns:
        used = slice(begin, begin + len(column.left))
        left[used], scale[used] = column.left, column.slope
        if column.slope.any():
            low[begin], high[used.stop - 1] = -np.inf, np.inf
        begin += column.bins
    away = graph.node("Sub", x.values(counts), graph.array("bin_left", left))
    way = graph.node("Mul", away, graph.array("bin_scale", scale))
    return graph.node("Max", graph.node("Min", way, graph.array("bin_most", high)), graph.array("bin_least", low))


def _linear_ladder(graph: Graph, columns: Sequence[LinearLadder], x: _Columns) -> str:
    """``z * linear + e @ W + b`` of each column, as a product for each column of as many bins as one has at most."""
    z = graph.node("Unsqueeze", _clipped(graph, x.values(), columns[0].clip), graph.array("axis", [2], np.int64))
    whole = graph.node("Mul", z, graph.array("linear", np.stack([column.linear for column in columns])))
    whole = graph.node("Add", whole, graph.array("bias", np.stack([column.bias for column in columns])))
    counts = np.array([column.bins for column in columns])
    if counts.any():
        bin_of, rows = np.arange(counts.max()), np.cumsum(counts)[:, None] - counts[:, None]
        there = bin_of < counts[:, None]
        of_bins = graph.array("bins", np.where(there, rows + bin_of, 0).T, np.int64)
        ladder = graph.node("Gather", _ladder(graph, columns, x), of_bins, axis=1)  # (n, bins, columns)
        weight = graph.array("weight", np.concatenate([column.weight for column in columns]))
        if not there.all():  # a row of zeros for what is no bin
            weight = graph.node("Concat", weight, graph.array("no_bin", np.zeros((1, columns[0].width))), axis=0)
        rows_of = graph.array("rows", np.where(there, rows + bin_of, counts.sum()), np.int64)
        by_column = graph.node("Transpose", ladder, perm=[2, 0, 1])
        product = graph.node("MatMul", by_column, graph.node("Gather", weight, rows_of, axis=0))
        whole = graph.node("Add", whole, graph.node("Transpose", product, perm=[1, 0, 2]))
    return graph.node("Reshape", whole, graph.array("flat", [-1, sum(column.width for column in columns)], np.int64))


def _number(graph: Graph, columns: Sequence[Number], x: _Columns) -> str:
    return _clipped(graph, x.values(), columns[0].clip)


def _wave(graph: Graph, columns: Sequence[Wave], x: _Columns) -> str:
    """``relu([cos, sin](2 pi c z) @ W + b)`` of each column; whole turns are taken away before, which is exact."""
    numbers = _clipped(graph, x.values(), columns[0].clip)
    z = graph.node("Unsqueeze", numbers, graph.array("axis", [2], np.int64))
    turns = graph.node("Mul", z, graph.array("frequencies", np.stack([column.frequencies for column in columns])))
    rest = graph.node("Sub", turns, graph.node("Round", turns))
    angle = graph.node("Mul", rest, graph.scalar(2.0 * np.pi))
    ahead = graph.node("Add", angle, graph.scalar(0.5 * np.pi))  # runtimes have no Cos of float64
    cosine = graph.node("Sin", ahead) if graph.is_double else graph.node("Cos", angle)
    both = graph.node("Concat", cosine, graph.node("Sin", angle), axis=2)
    by_column = graph.node("Transpose", both, perm=[1, 0, 2])
    product = graph.node("MatMul", by_column, graph.array("weight", np.stack([column.weight for column in columns])))
    bias = graph.array("bias", np.stack([column.bias[None, :] for column in columns]))
    back = graph.node("Transpose", graph.node("Relu", graph.node("Add", product, bias)), perm=[1, 0, 2])
    return graph.node("Reshape", back, graph.array("flat", [-1, sum(column.width for column in columns)], np.int64))


def _indicator(graph: Graph, columns: Sequence[Indicator], x: _Columns) -> str:
    counts = [column.width for column in columns]
    codes = graph.array("codes", np.concatenate([np.arange(count) for count in counts]))
    return graph.node("Cast", graph.node("Equal", x.values(counts), codes), to=tensor_type(graph.dtype))


def _embedding(graph: Graph, columns: Sequence[Embedding], x: _Columns) -> str:
    """A row of the table for each column: a known code, then missing (NaN or -1), then unknown."""
    codes = x.values()
    counts = np.array([len(column.table) - 2 for column in columns])
    missing = graph.node("Or", graph.node("IsNaN", codes), graph.node("Equal", codes, graph.scalar(-1.0)))
    at_least = graph.node("Not", graph.node("Less", codes, graph.scalar(0.0)))
    inside = graph.node("And", at_least, graph.node("Less", codes, graph.array("counts", counts)))
    known = graph.node("And", inside, graph.node("Equal", codes, graph.node("Floor", codes)))
    other = graph.node("Where", missing, graph.array("counts", counts), graph.array("unknown", counts + 1))
    row = graph.node("Cast", graph.node("Where", known, codes, other), to=tensor_type(np.int64))
    starts = np.concatenate([[0], np.cumsum(counts + 2)[:-1]])
    rows = graph.node("Add", row, graph.array("starts", starts, np.int64))
    table = graph.array("embedding", np.concatenate([column.table for column in columns]))
    found = graph.node("Gather", table, rows, axis=0)
    return graph.node("Reshape", found, graph.array("flat", [-1, sum(column.width for column in columns)], np.int64))


_OF_NUMBERS = (Ladder, LinearLadder, Number, Wave)
_ENCODINGS: dict[type[Column], Any] = {
    Ladder: _ladder,
    LinearLadder: _linear_ladder,
    Number: _number,
    Wave: _wave,
    Indicator: _indicator,
    Embedding: _embedding,
}


def _scaled(graph: Graph, step: Normalize | Encode, x: str) -> str:
    """Add ``(x - shift) * scale``, and the number that stands for NaN."""
    shift, rest = two_parts(step.shift, graph.dtype)
    z = graph.node("Sub", x, graph.array("shift", shift))
    if rest.any():
        z = graph.node("Sub", z, graph.array("shift_rest", rest))
    z = graph.node("Mul", z, graph.array("scale", step.scale))
    if step.missing is not None:
        z = graph.node("Where", graph.node("IsNaN", z), graph.array("missing", step.missing), z)
    return z


def _clipped(graph: Graph, z: str, clip: float | None) -> str:
    """Add ``z / sqrt(1 + (z / clip)**2)``."""
    if clip is None:
        return z
    within = graph.node("Clip", z, graph.scalar(-_FAR * clip), graph.scalar(_FAR * clip))
    ratio = graph.node("Mul", within, graph.scalar(1.0 / clip))
    root = graph.node("Sqrt", graph.node("Add", graph.node("Mul", ratio, ratio), graph.scalar(1.0)))
    return graph.node("Div", within, root)
