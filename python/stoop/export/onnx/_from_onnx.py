"""`from_onnx`: a model from an ONNX file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NoReturn

import numpy as np

from stoop import _core
from stoop._checks import file_path
from stoop._class_names import names_from_text
from stoop._errors import message
from stoop.ensemble import Ensemble
from stoop.export.onnx._assembly import assembled
from stoop.export.onnx._meanings import Known, Meaning, Whole, together
from stoop.export.onnx._models import LAYERS, MODELS, OWN_TEXTS
from stoop.export.onnx._operators import OPERATORS
from stoop.export.onnx._restore import restored
from stoop.export.onnx._terms import Term, UnknownError, Value
from stoop.export.onnx._wire import DamagedError, File, Node, read_file
from stoop.export.onnx._work import TooMuchWorkError, limited
from stoop.model import Model

_WHERE = "export.from_onnx"
_MOST_BYTES = 2**31  # of a protobuf message
_BYTES_OF_OBJECT = 200  # as it is read, and what the layer takes that is recognised by it
_MOST_SHOWN = 80  # characters of a name in a message
_WHOLE = {2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 12: "uint32", 13: "uint64"}
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")


def from_onnx(path: str | os.PathLike[str]) -> Model | Ensemble:
    """Return the network of an ONNX file, as PyTorch, scikit-learn (skl2onnx) and `to_onnx` write them.

    What is read: linear layers (Gemm, MatMul and Add), BatchNormalization, LayerNormalization, residual connections,
    every activation of Stoop in whatever operators, for a function of elements is recognised by its values, and what
    scales X (Scaler, or Sub and Mul), which becomes a `Normalization`. A function that is none of them, such as a clip
    at 100, is refused. Softmax, LogSoftmax or Sigmoid at the end becomes `Model.output`: `Model.predict` gives what
    comes before it, `Model.predict_proba` the probabilities, of a LogSoftmax as well, and of a single sigmoid those of
    both classes. Names of classes become `Model.classes`.

    A file of `to_onnx` tells its layers in its metadata. Where its nodes and arrays are exactly those of these layers,
    the model has them again, `Columns` and `Members` among them, with the arguments that they had but initialisers. A
    file of another, or one that was changed, is read as above. The file of an ensemble gives an ensemble of the same
    models, the first of which has the metadata; it is read in this way alone.

    A file may be damaged or hostile: reading takes at most ten times its size in memory, and 16 MB. Its arrays must
    have the length that their shape says, those in other files are refused, and so are more names and
    attributes than 50,000 and one for each 64 bytes of the file (1200 layers of a few units, and any number of wide
    ones), and functions of elements that would take long to recognise.

    Parameters
    ----------
    path : path

    Returns
    -------
    Model or Ensemble
        An ensemble if `to_onnx` was given one. float64 if a weight is, else float32.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError, TypeError
        For a file that is damaged, and for an operation that is no layer; the message names the node and its operator.
    """
    name = file_path(_WHERE, path)
    size = Path(name).stat().st_size
    if size >= _MOST_BYTES:
        _refuse(f"{name} has {size:,} bytes", "expected less than 2 GiB", "no ONNX file has more")
    content = Path(name).read_bytes()
    try:
        file = read_file(content)
    except DamagedError as error:
        _refuse(f"{name}: {error}", "expected an ONNX file that holds all of its arrays", "export it again")
    found = restored(file, len(content))
    if found is None and MODELS in file.texts:
        given = f"{name} gives the mean of {file.texts[MODELS]:.20} models, and {LAYERS} does not tell their layers"
        _refuse(given, "expected a file of to_onnx that was not changed", "export the ensemble again, or its models")
    models = [_recognised(name, file, len(content))] if found is None else _with_output(*found)
    if "stoop.classes" in file.texts:
        _name_classes(models, file.texts["stoop.classes"], 7 * len(content) + 2**20)
    models[0].metadata = {key: text for key, text in file.texts.items() if key not in OWN_TEXTS}
    return Ensemble(models) if MODELS in file.texts else models[0]


def _recognised(name: str, file: File, size: int) -> Model:
    """Return the model that computes what the nodes of the file compute, whoever wrote them."""
    room = 7 * size - _BYTES_OF_OBJECT * file.many  # of arrays that are made, beside the file and its many objects
    try:
        # What is not finite is refused with the parameters.
        with np.errstate(all="ignore"), limited(3 * room // 7 + 2**20):
            end = _end_of(file, _evaluated(file))
            model = _made(name, end.outputs, 4 * room // 7 + 2**20)
    except UnknownError as error:
        _refuse(f"{name} has {error}", "expected a stack of layers", _advice(file))
    except TooMuchWorkError as error:
        expected = "expected a network whose layers are recognised in a second"
        _refuse(f"{name} has {error}", expected, "export it with an operator for each activation")
    text = file.texts.get("stoop.output", "")
    output = end.kind or {"softmax": "softmax", "sigmoid": "sigmoid"}.get(text, "identity")
    if output == "softmax" and model.output_dim == 1:
        given = f"{name} has a softmax of one output, which is always 1"
        _refuse(given, "expected several outputs", "export what comes before")
    model.output = output
    if end.names is not None and len(end.names) < 2:
        _refuse(f"{name} has {len(end.names)} classes", "expected at least 2", "export a classifier of several classes")
    if end.names is not None and list(end.names) != list(range(len(end.names))):
        are_texts = all(isinstance(each, str) for each in end.names)
        try:
            model.classes = names_from_text(list(end.names), "str") if are_texts else np.array(end.names)
        except (ValueError, TypeError) as error:
            given = f"{name} has names of classes that no model takes ({error})"
            _refuse(given, "expected a different one for each class", "export it with other names")
    return model


def _made(name: str, outputs: Value, most_bytes: int) -> Model:
    """Return the model; what its layers say of numbers and arguments names the file."""
    try:
        return assembled(outputs, most_bytes)
    except UnknownError:
        raise
    except (ValueError, TypeError) as error:
        given = f"{name} has what no model takes ({error})"
        _refuse(given, "expected finite numbers that fit one another", "export it from a network that predicts")


def _with_output(models: list[Model], ending: str) -> list[Model]:
    """Return the models, whose `predict_proba` gives what comes after the ending."""
    for model in models:
        if ending not in ("identity", model.output):
            if model._core.members > 1:
                given = f"the file has a {ending} of what members say together for the output {model.output!r}"
                _refuse(given, "expected the same meaning of both", 'export it with activation="auto" or without')
            model.output = ending
    return models


def _refuse(given: str, expected: str, hint: str) -> NoReturn:
    raise ValueError(message(_WHERE, given, expected, hint))


def _advice(file: File) -> str:
    if LAYERS in file.texts:
        return "its nodes were changed after to_onnx wrote it: export it again"
    return "see the page on export for what is read"


def _evaluated(file: File) -> dict[str, Known]:
    """Return what each name of the graph stands for."""
    known: dict[str, Known] = dict(file.arrays)
    kinds = {name: kind for name, kind in zip(file.inputs, file.kinds, strict=True) if name not in file.arrays}
    inputs = [name for name in file.inputs if name not in file.arrays]
    if len(inputs) != 1:
        _refuse(f"the graph has {len(inputs)} inputs", "expected one, X", "export a network of one input")
    x, kind = Term(Value(None, None)), _WHOLE.get(kinds[inputs[0]])
    known[inputs[0]] = x if kind is None else Whole(x, kind)
    for node in file.nodes:
        label = f"the node {(node.name or (node.outputs or ['?'])[0])[:_MOST_SHOWN]!r} ({node.operator[:_MOST_SHOWN]})"
        try:
            result = _result(node, [known[name] if name else None for name in node.inputs])
        except UnknownError as error:
            hint = error.hint or _advice(file)
            _refuse(f"{error.node or label} has {error}", "expected a layer of Stoop", hint)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
            _refuse(f"{label} is not well-formed ({error!r:.100})", "expected what ONNX says of it", "export it again")
        if isinstance(result, Term) and not result.node:
            result.node = label
        if node.outputs:
            known[node.outputs[0]] = result
    return known


def _result(node: Node, inputs: list[Known]) -> Known:
    function = OPERATORS.get(node.operator) if node.domain in _DOMAINS else None
    if function is None:
        raise UnknownError("an operator that is not read")
    return function(node, inputs)


def _end_of(file: File, known: dict[str, Known]) -> Meaning:
    for name in file.outputs:
        if name not in known:
            _refuse(f"the output {name[:_MOST_SHOWN]!r} is made by no node", "expected one that is", "export it again")
    try:
        return together([known[name] for name in file.outputs])
    except UnknownError as error:
        given = f"{error.node or 'the graph'} has {error}"
        _refuse(given, "expected layers of Stoop", "export what comes before it, such as logits")


def _name_classes(models: list[Model], text: str, most_bytes: int) -> None:
    try:
        if _core.memory_of_values(text) + (len(models) - 1) * len(text) > most_bytes:  # each has names of its own
            raise ValueError  # noqa: TRY301  refused with what is no JSON
        kept = json.loads(text)
        for model in models:
            model.classes = names_from_text([str(name) for name in kept["names"]], str(kept["dtype"]))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        expected = 'expected JSON with "names", one for each output, and their "dtype"'
        _refuse(f"stoop.classes is {text!r:.80}", expected, "change or remove this text of the metadata")
