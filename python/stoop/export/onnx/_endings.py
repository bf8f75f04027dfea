"""What follows the last layer in ONNX: what members say together, and softmax or sigmoid."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from stoop._errors import message, refuse_name
from stoop.export.onnx._activations import emit_softplus
from stoop.export.onnx._graph import Graph

NAMES = ("softmax", "sigmoid", "identity", "auto")


def ending_of(where: str, activation: object, output: str | None, output_dim: int) -> str:
    """Return "softmax", "sigmoid" or "identity", what `activation` asks for.

    Raises
    ------
    ValueError, TypeError
        For an unknown name, a softmax of one column, and "auto" where the meaning of the outputs is not known.
    """
    if activation is None:
        return "identity"
    if not isinstance(activation, str):
        given, hint = f"activation is {activation!r}", 'for example "auto"'
        raise TypeError(message(where, given, f"expected None or one of {', '.join(NAMES)}", hint))
    if activation not in NAMES:
        refuse_name(where, "activation", activation, NAMES)
    ending = activation
    if activation == "auto":
        if output is None:
            given, hint = 'activation is "auto" and model.output is None', 'set model.output, or name it: "softmax"'
            raise ValueError(message(where, given, "expected outputs whose meaning is known", hint))
        ending = output
    if ending == "softmax" and output_dim == 1:
        hint = 'give "sigmoid", the probability of the second of two classes'
        raise ValueError(message(where, "a softmax of one output", "expected at least two", hint))
    return ending


def emit_together(graph: Graph, x: str, members: int, output: str) -> str:
    """Add what members say together, by the meaning of the outputs as in `Model.output`; (n, width)."""
    if output == "identity":
        return graph.over_members("ReduceMean", x)
    if output == "softmax":
        return _log_mean(graph, graph.node("LogSoftmax", x, axis=-1), members)
    logs = [_log_sigmoid(graph, x), _log_sigmoid(graph, graph.node("Neg", x))]
    return graph.node("Sub", *(_log_mean(graph, log, members) for log in logs))


def emit_ending(graph: Graph, x: str, ending: str) -> str:
    """Add softmax or sigmoid; the sigmoid of one output is the probability of the second of two classes."""
    if ending == "softmax":
        return graph.node("Softmax", x, axis=-1)
    return graph.node("Sigmoid", x) if ending == "sigmoid" else x


def emit_mean(graph: Graph, parts: Sequence[str]) -> str:
    """Add the mean of what the models of an ensemble say."""
    axis = graph.array("axis", [1], np.int64)
    each = [graph.node("Unsqueeze", part, axis) for part in parts]
    return graph.over_members("ReduceMean", graph.node("Concat", *each, axis=1))


def _log_mean(graph: Graph, logs: str, members: int) -> str:
    total = graph.over_members("ReduceLogSumExp", logs)
    return graph.node("Sub", total, graph.scalar(math.log(members)))


def _log_sigmoid(graph: Graph, x: str) -> str:
    return graph.node("Neg", emit_softplus(graph, graph.node("Neg", x)))
