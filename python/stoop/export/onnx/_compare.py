"""Compares an ONNX model with the one that it was made of, by onnxruntime on random rows."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._errors import message
from stoop.ensemble import Ensemble
from stoop.layers import Columns, Normalization
from stoop.model import Model

Array = npt.NDArray[Any]

_ROWS = 64
_MISSING = 0.1  # share of missing values and of unknown codes
_TOLERANCE = 1e-5  # of the largest output
_OWN_ROUNDING = 16.0  # times that of Stoop, where outputs nearly cancel


def compare(where: str, proto: Any, model: Model | Ensemble, ending: str) -> None:
    """Do nothing without onnxruntime.

    Raises
    ------
    ArithmeticError
        If the outputs differ by more than 1e-5 of the largest, and by more than rounding explains: 16 times what
        those of Stoop differ from the same model in float64.
    """
    try:
        runtime = import_module("onnxruntime")
    except ImportError:
        return
    rows = random_rows(model[0] if isinstance(model, Ensemble) else model)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = runtime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    got = session.run(None, {"X": rows})[0].astype(np.float64)
    expected = expected_outputs(model, rows, ending)
    largest = np.abs(expected).max()
    difference = np.abs(got - expected).max() if got.shape == expected.shape else np.inf
    if difference <= _TOLERANCE * largest:
        return
    rounding = np.abs(expected - expected_outputs(_in_float64(model), rows, ending)).max()
    if not difference <= _OWN_ROUNDING * rounding:
        given = f"onnxruntime {runtime.__version__} differs by {difference:.2g} where the largest is {largest:.2g}"
        expected_text = f"expected at most {_TOLERANCE:g} of it, and nothing is written"
        hint = 'try dtype "float64" if the model amplifies rounding, else report it'
        raise ArithmeticError(message(where, given, expected_text, hint))


def _in_float64(model: Model | Ensemble) -> Model | Ensemble:
    if isinstance(model, Ensemble):
        return Ensemble([_model_in_float64(each) for each in model])
    return _model_in_float64(model)


def _model_in_float64(model: Model) -> Model:
    scale, shift = model.input_scale, model.input_shift
    twin = Model(model.layers, model.input_dim, dtype="float64", input_scale=scale, input_shift=shift)
    twin.output = model.output
    twin.load_state_dict(model.state_dict())
    return twin


def expected_outputs(model: Model | Ensemble, rows: Array, ending: str) -> Array:
    """Return in float64 what the file should give for these rows."""
    if isinstance(model, Ensemble):
        return np.asarray(np.mean([_ended(each.astype(np.float64), ending) for each in model.predict(rows)], axis=0))
    return _ended(model.predict(rows).astype(np.float64), ending)


def _ended(outputs: Array, ending: str) -> Array:
    if ending == "sigmoid":
        return np.asarray(np.exp(-np.logaddexp(0.0, -outputs)))
    if ending == "softmax":
        powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))
    return outputs


def random_rows(model: Model, rows: int = _ROWS) -> Array:
    """Return rows of X like those of the training, with missing values and unknown codes where the model takes them."""
    random = np.random.default_rng(0)
    z = random.standard_normal((rows, model.input_dim))
    first = model.layers[0]
    if not isinstance(first, Columns | Normalization):
        return ((z - model.input_shift) / model.input_scale).astype(model.dtype)
    own = model.buffers()
    shift, scale = own["0.shift"].astype(np.float64), own["0.scale"].astype(np.float64)
    x = shift + np.divide(z, scale, out=np.zeros_like(z), where=scale != 0)
    codes = dict(first.categories or ()) if isinstance(first, Columns) else {}
    for column, count in codes.items():
        x[:, column] = random.integers(-1, count + 2, rows)
    if isinstance(first, Columns) or first.missing == "mean":
        x[random.random(x.shape) < _MISSING] = np.nan
    return x.astype(model.dtype)
