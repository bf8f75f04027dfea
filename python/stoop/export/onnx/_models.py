"""Whole models as ONNX graphs, and the text that tells their layers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from stoop._fold import folded
from stoop.export._steps import Folding, steps_of
from stoop.export.onnx._endings import emit_ending, emit_mean
from stoop.export.onnx._graph import Graph
from stoop.export.onnx._nodes import emit_steps
from stoop.layers import layer_to_config
from stoop.model import Model

LAYERS, MODELS = "stoop.layers", "stoop.models"  # keys of the metadata: layers, and how many models an ensemble has
OWN_TEXTS = {LAYERS, MODELS, "stoop.classes", "stoop.output", "stoop.version"}


def graph_of(models: Sequence[Model], ending: str, *, is_mean: bool = False) -> Graph:
    """Return the graph of a model, or with `is_mean` that of the mean of models; the last node gives its output."""
    graph, ends = Graph(models[0].dtype), []
    for index, model in enumerate(models):
        with graph.within(f"{index}/" if is_mean else ""):
            ends.append(emit_ending(graph, emit_model(graph, model), ending))
    graph.node("Identity", emit_mean(graph, ends) if is_mean else ends[0])
    graph.rename_last("outputs" if ending == "identity" else "probabilities")
    return graph


def emit_model(graph: Graph, model: Model, x: str = "X") -> str:
    """Add what `Model.predict` computes of `x`; return the name of its outputs."""
    return emit_steps(graph, steps_of(model, Folding.NOTHING), x)


def norms_folded(model: Model) -> Model:
    """Return a model in which a BatchNorm is part of the Dense before it, where there is one."""
    layers, arrays = folded(model.layers, model.parameters(), model.buffers(), keeps_others=True)
    if tuple(layers) == model.layers:
        return model
    made = model._with_layers(layers, model.dtype)
    made.load_state_dict(arrays)
    return made


def layers_text(models: Sequence[Model], *, is_mean: bool) -> str:
    """Return as JSON what a model is made of, but for its arrays, or with `is_mean` a list of it for each model."""
    texts = [_kept(model) for model in models]
    return json.dumps(texts if is_mean else texts[0])


def _kept(model: Model) -> dict[str, Any]:
    return {
        "dtype": model.dtype.name,
        "input_dim": model.input_dim,
        "input_scale": model.input_scale,
        "input_shift": model.input_shift,
        "layers": [without_initializers(layer_to_config(layer)) for layer in model.layers],
    }


def without_initializers(config: dict[str, Any]) -> dict[str, Any]:
    """Return the form of a layer without what a trained network does not need, and what could take long to make."""
    kept = {name: value for name, value in config.items() if not name.endswith("_init")}
    if "layers" in kept:
        kept["layers"] = [without_initializers(inner) for inner in kept["layers"]]
    return kept
