"""A model from a file of `to_onnx`, whose metadata tell the layers: the graph must be exactly what these make.

Whatever the text says, a model is returned only if writing it gives the nodes and the arrays of the file. So it
computes what the file computes, also for layers that are many nodes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from stoop.export.onnx._graph import Array, Graph
from stoop.export.onnx._models import LAYERS, MODELS, graph_of, without_initializers
from stoop.export.onnx._wire import File, Node
from stoop.layers import (
    BatchNorm,
    Columns,
    FeatureScale,
    Layer,
    LayerNorm,
    MemberDense,
    Members,
    Normalization,
    Residual,
    layer_from_config,
    output_members,
    output_width,
)
from stoop.layers._dense import Product
from stoop.model import Model

_LEAST_TEXT = 2**18  # characters that are read in any case; each layer takes some hundred bytes beside them
_FILE_OF_TEXT = 8  # bytes of the file for each character beyond
_LEAST_MODELS, _FILE_OF_MODEL = 1024, 2048  # likewise: a model of an ensemble takes some thousand bytes
_NO_TEXT = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


def restored(file: File, size: int) -> tuple[list[Model], str] | None:
    """Return the models of a file of so many bytes, one or those of an ensemble, and what follows them.

    That is "identity", "softmax" or "sigmoid", as `emit_ending` takes it.

    Returns
    -------
    tuple or None
        None if the file is not what its text says.
    """
    text = file.texts.get(LAYERS, "")
    if not 0 < len(text) <= max(_LEAST_TEXT, size // _FILE_OF_TEXT) or file.inputs != ["X"]:
        return None
    try:
        models = _models_of(json.loads(text), file, max(_LEAST_MODELS, size // _FILE_OF_MODEL))
    except _NO_TEXT:
        return None
    if models is None:
        return None
    endings = ("identity",) if file.outputs == ["outputs"] else ("softmax", "sigmoid")
    is_mean = MODELS in file.texts
    graphs = ((ending, graph_of(models, ending, is_mean=is_mean)) for ending in endings)
    return next(((models, ending) for ending, graph in graphs if _is_same(graph, file)), None)


def _models_of(kept: Any, file: File, most: int) -> list[Model] | None:
    if MODELS not in file.texts:
        one = _model_of(kept, file, "")
        return None if one is None else [one]
    if not isinstance(kept, list) or not 0 < len(kept) <= most or str(len(kept)) != file.texts[MODELS]:
        return None
    models = list[Model]()
    for place, each in enumerate(kept):
        model = _model_of(each, file, f"{place}/")
        if model is None or (models and model.dtype != models[0].dtype):
            return None
        models.append(model)
    return models


def _model_of(kept: Any, file: File, prefix: str) -> Model | None:
    """Return the model with the arrays of the file whose names begin so, or None where that lacks one."""
    layers = [layer_from_config(without_initializers(config)) for config in kept["layers"]]
    width = kept["input_dim"]
    # Before anything is allocated: no parameter is larger than what is there.
    if any(_size(file.arrays.get(prefix + name)) != size for name, size in _sizes(layers, width, 1, "")):
        return None
    scales = {name: kept[name] for name in ("input_scale", "input_shift")}
    model = Model(layers, width, dtype=kept["dtype"], output=file.texts.get("stoop.output") or None, **scales)
    state = model.state_dict()  # what is not in the file is as in a new model: biases of zeros
    for name, own in state.items():
        given = file.arrays.get(prefix + name)
        if name == "0.shift_rest" and given is not None:  # the digits below those are not written
            own[0] = given
        elif given is not None:
            state[name] = np.asarray(given).reshape(own.shape)
    if "0.bin_left" in state:
        state["0.bin_left"] = _with_ends(layers[0], width, state["0.bin_left"], state["0.bin_scale"])
    model.load_state_dict(state)
    return model


def _with_ends(layer: Any, width: int, left: Array, scale: Array) -> Array:
    """Return where bins begin: those that a column does not have, zeros in a file, after all numbers, as in `adapt`."""
    numbers = width - len(layer.categories)
    bins = [layer.bins] * numbers if isinstance(layer.bins, int) else layer.bins
    is_first = np.zeros(len(left), bool)
    is_first[[sum(bins[:column]) for column in range(numbers) if bins[column] > 0]] = True
    return np.where((scale == 0) & ~is_first, np.finfo(left.dtype).max, left)


def _size(array: Array | list[str] | None) -> int:
    return array.size if isinstance(array, np.ndarray) else -1


def _sizes(layers: Sequence[Layer], width: int, members: int, prefix: str) -> Iterator[tuple[str, int]]:
    """Yield the names and sizes of parameters, of which no other parameter of the layers is larger than one."""
    for index, layer in enumerate(layers):
        path = f"{prefix}{index}."
        if isinstance(layer, Columns):  # before its width, which takes a list of the columns
            yield from _sizes_of_columns(layer, width)
        after, count = output_width(layer, width), output_members(layer, members)
        if isinstance(layer, MemberDense) and layer.shared:
            yield f"{path}input_scale", count * width
            yield f"{path}output_scale", count * after
        if isinstance(layer, Product):
            has_own = isinstance(layer, MemberDense) and not layer.shared
            yield f"{path}weight", width * after * (count if has_own else 1)
        elif isinstance(layer, Residual):
            yield from _sizes(layer.layers, width, members, path)
            if after != width:
                yield f"{path}projection.weight", width * after
        elif isinstance(layer, BatchNorm | LayerNorm):
            yield f"{path}gamma", width
        elif isinstance(layer, FeatureScale | Members | Normalization):
            yield f"{path}scale", count * width if isinstance(layer, Members) else width
        width, members = after, count


def _sizes_of_columns(layer: Columns, width: int) -> Iterator[tuple[str, int]]:
    codes = dict(layer.categories or ())
    numbers = width - len(codes)
    in_tables = [count + 2 for count in codes.values() if count > layer.one_hot]
    if in_tables:
        yield "0.embedding", sum(in_tables) * layer.embedding_dim
    if numbers > 0:
        yield "0.scale", width
        bins = layer.bins * numbers if isinstance(layer.bins, int) else sum(layer.bins)
        if layer.encoding == "periodic":
            yield "0.frequencies", numbers * layer.frequencies
            yield "0.weight", numbers * 2 * layer.frequencies * layer.embedding_dim
            return
        if layer.encoding == "ple_linear":
            yield "0.linear", numbers * layer.embedding_dim
            if bins:
                yield "0.weight", bins * layer.embedding_dim
        if layer.encoding != "none" and bins:
            yield "0.bin_left", bins


def _is_same(graph: Graph, file: File) -> bool:
    if file.outputs != graph.nodes[-1].outputs or len(graph.nodes) != len(file.nodes):
        return False
    same_nodes = all(map(_is_same_node, graph.nodes, file.nodes))
    return same_nodes and all(_is_same_array(array, file.arrays.get(name)) for name, array in graph.arrays.items())


def _is_same_node(a: Node, b: Node) -> bool:
    mine, others = _rounded(a.attributes), _rounded(b.attributes)
    return (a.operator, a.domain, a.inputs, a.outputs, mine) == (b.operator, b.domain, b.inputs, b.outputs, others)


def _rounded(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes with the digits that a file has."""
    return {name: np.float32(value) if isinstance(value, float) else value for name, value in attributes.items()}


def _is_same_array(a: Array, b: Array | list[str] | None) -> bool:
    return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b)
