"""`to_onnx`: a model as an ONNX file, compared with onnxruntime before it is written."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from stoop import _core
from stoop._checks import file_path, flag
from stoop._class_names import names_to_text
from stoop._errors import message
from stoop._replacement import replace_file
from stoop.ensemble import Ensemble
from stoop.export.onnx._compare import compare
from stoop.export.onnx._endings import ending_of
from stoop.export.onnx._graph import OPSET, Graph, tensor_type
from stoop.export.onnx._models import LAYERS, MODELS, OWN_TEXTS, graph_of, layers_text, norms_folded
from stoop.model import Model

IR_VERSION = 8  # that of the release that brought this opset
_MOST_BYTES = 2**31 - 2**20  # a protobuf message has less than 2 GiB
_WHERE = "export.to_onnx"


def to_onnx(
    model: Model | Ensemble,
    path: str | os.PathLike[str],
    fold_batch_norm: bool = True,
    activation: str | None = None,
) -> None:
    """Write a model as an ONNX file that takes raw X and gives what `Model.predict` gives.

    The input ``X`` is (n, input_dim), n any number, of the model's dtype; columns of codes are among them, with NaN or
    -1 for a missing one. The output is (n, output_dim), ``outputs``, or with an activation ``probabilities``. Opset 17,
    the lowest with LayerNormalization, and IR version 8: onnxruntime 1.12 and later. Dropout is left out; members are
    put together as `predict` does. A float64 GELU has the digits of float32, because onnxruntime has no other Erf.

    Where onnxruntime is installed, random rows are predicted by it and compared, with missing values and unknown codes
    where the model takes them. ``metadata_props`` has ``stoop.version``, ``stoop.output`` (the meaning of the outputs),
    ``stoop.classes`` (JSON: names in the order of the outputs, and their dtype), ``stoop.layers`` (JSON: the layers,
    by which `from_onnx` makes the same again; of an ensemble a list), for an ensemble ``stoop.models`` (how many it
    has), and the texts of `Model.metadata`, of an ensemble those of its first model.

    Parameters
    ----------
    model : Model or Ensemble
        An ensemble gives the mean of its models' outputs, or with an activation the mean of their probabilities.
    path : path
        By convention ending in ``.onnx``. A failed export leaves an old file as it was.
    fold_batch_norm : bool, default True
        Whether a BatchNorm becomes part of the Dense before it, as by `Model.fold_batch_norm`. One that cannot stays.
    activation : {None, "softmax", "sigmoid", "identity", "auto"}, optional
        What follows the last layer. None and "identity": nothing. "auto": what `Model.output` says. The sigmoid of one
        output is the probability of the second of two classes, one column.

    Raises
    ------
    ImportError
        Without the package onnx; the extra ``stoop[onnx]`` brings it, and onnxruntime.
    OSError
        If the file cannot be written.
    ValueError, TypeError
        For a model without statistics (call `adapt`), one of 2 GiB or more, one with numbers that are not finite, an
        unknown activation, and for what is no model.
    ArithmeticError
        If onnxruntime differs by more than 1e-5 of the largest output; no file is written.
    """
    name = file_path(_WHERE, path)
    replace_file(name, onnx_model(model, fold_batch_norm, activation).SerializeToString(deterministic=True))


def onnx_model(model: Model | Ensemble, fold_batch_norm: bool, activation: str | None) -> Any:
    """Return what `to_onnx` writes, compared with onnxruntime where it is installed."""
    onnx = imported(_WHERE)
    fold_batch_norm = flag(_WHERE, "fold_batch_norm", fold_batch_norm)
    models = _checked_models(model)
    ending = ending_of(_WHERE, activation, model.output, model.output_dim)
    _check_finite(models)
    if fold_batch_norm:
        models = _folded(models)
    is_one = isinstance(model, Model)
    texts = _texts(model) | {LAYERS: layers_text(models, is_mean=not is_one)}
    texts |= {} if is_one else {MODELS: str(len(models))}
    graph = graph_of(models, ending, is_mean=not is_one)
    _check_attributes(graph)
    proto = _proto(onnx, graph, model, texts)
    onnx.checker.check_model(proto)
    compare(_WHERE, proto, model, ending)
    return proto


def imported(where: str) -> Any:
    """Return the package onnx.

    Raises
    ------
    ImportError
        If it is missing.
    """
    try:
        return import_module("onnx")
    except ImportError as error:
        given, hint = f"the package onnx cannot be imported ({error})", 'pip install "stoop[onnx]"'
        raise ImportError(message(where, given, "expected it for ONNX files", hint)) from error


def _checked_models(model: Any) -> list[Model]:
    if not isinstance(model, Model | Ensemble):
        given, hint = f"model is {model!r:.200}", "give trainer.model, or estimator.model_"
        raise TypeError(message(_WHERE, given, "expected a stoop.Model or stoop.Ensemble", hint))
    models = list(model) if isinstance(model, Ensemble) else [model]
    for each in models:
        if not each.is_adapted:
            given, hint = "the model has no statistics of X yet", "train it, or call model.adapt(X)"
            raise ValueError(message(_WHERE, given, "expected those of training rows", hint))
    size = sum(each.num_parameters for each in models) * model.dtype.itemsize
    if size > _MOST_BYTES:
        given, hint = f"the parameters are {size:,} bytes", "export a smaller model, or as float32"
        raise ValueError(message(_WHERE, given, "expected less than 2 GiB, the limit of an ONNX file", hint))
    return models


def _folded(models: Sequence[Model]) -> list[Model]:
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            return [norms_folded(each) for each in models]
    except ValueError as error:  # numbers that are not finite
        given = f"a BatchNorm makes the Dense before it have weights beyond {models[0].dtype.name}"
        raise ValueError(message(_WHERE, given, "expected finite ones", "give fold_batch_norm=False")) from error


def _check_finite(models: Sequence[Model]) -> None:
    for index, each in enumerate(models):
        for name, array in {**each.parameters(), **each.buffers()}.items():
            if not np.isfinite(array).all():
                place = f" of model {index}" if len(models) > 1 else ""
                given, hint = f"{name}{place} has NaN or an infinity", "export a model from before it went wrong"
                raise ValueError(message(_WHERE, given, "expected finite numbers", hint))


def _check_attributes(graph: Graph) -> None:
    """Refuse what is a number of a node, which is float32 also in a model of float64, and is infinite or 0 there."""
    for node in graph.nodes:
        for name, value in node.attributes.items():
            with np.errstate(over="ignore", under="ignore"):
                is_held = not isinstance(value, float) or value == 0.0 or 0.0 < abs(np.float32(value)) < np.inf
            if not is_held:
                given = f"the node {node.name} has {name}={value:g}, beyond float32"
                raise ValueError(
                    message(_WHERE, given, "expected a number that float32 holds", "change that of the layer")
                )


def _texts(model: Model | Ensemble) -> dict[str, str]:
    """Return what the metadata say beside the layers."""
    first = model[0] if isinstance(model, Ensemble) else model
    if taken := sorted(first.metadata.keys() & OWN_TEXTS):
        given, hint = f"the model has metadata under {taken[0]!r}", "take it out of model.metadata"
        raise ValueError(message(_WHERE, given, "expected other names: the file has a text of that name itself", hint))
    texts = {**first.metadata, "stoop.version": _core.build_info()["version"], "stoop.output": model.output or ""}
    if model.classes is not None:
        names, dtype = names_to_text(_WHERE, model.classes)
        texts["stoop.classes"] = json.dumps({"names": names, "dtype": dtype}, ensure_ascii=False)
    return texts


def _proto(onnx: Any, graph: Graph, model: Model | Ensemble, texts: dict[str, str]) -> Any:
    helper, kind = onnx.helper, tensor_type(model.dtype)
    body = helper.make_graph(
        [helper.make_node(n.operator, n.inputs, n.outputs, name=n.name, **n.attributes) for n in graph.nodes],
        "stoop",
        [helper.make_tensor_value_info("X", kind, ["n", model.input_dim])],
        [helper.make_tensor_value_info(graph.nodes[-1].outputs[0], kind, ["n", model.output_dim])],
        [onnx.numpy_helper.from_array(np.asarray(array, order="C"), name) for name, array in graph.arrays.items()],
    )
    proto = helper.make_model(
        body,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="stoop",
        producer_version=texts["stoop.version"],
    )
    helper.set_model_props(proto, texts)
    return proto
