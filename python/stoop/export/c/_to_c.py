"""`to_c`: a trained model as one C header."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._checks import features, file_path
from stoop._errors import message, refuse_name
from stoop._replacement import replace_file
from stoop.ensemble import Ensemble
from stoop.export._steps import Activate, Folding, Step, arrays_of, steps_of
from stoop.export.c._body import body_of
from stoop.export.c._header import Body, header
from stoop.export.c._quantize import quantize
from stoop.export.c._text import identifier
from stoop.model import Model

_WHERE = "export.to_c"
_DTYPES = ("float32", "int8")


def to_c(
    model: Model,
    path: str | os.PathLike[str],
    name: str = "model",
    dtype: npt.DTypeLike = "float32",
    calibration: npt.ArrayLike | None = None,
) -> None:
    """Write a model as one header of C99, which computes the outputs of a row and needs nothing but the C library.

    The header has the weights as constants, allocates nothing, changes no global variable and can be used by any number
    of threads and interrupts at once. It compiles as C99 and as C++11, without warnings of ``-Wall -Wextra -pedantic
    -Wconversion``. Its functions, for a name of "model":

    - ``void model_predict(const float* x, float* out)`` writes the ``MODEL_OUTPUT_DIM`` outputs of `Model.predict` for
      the ``MODEL_INPUT_DIM`` numbers of a row.
    - ``void model_predict_with(const float* x, float* out, float* scratch)`` does so with ``MODEL_SCRATCH`` numbers of
      memory that the caller has, instead of ``MODEL_STACK_BYTES`` of the stack.
    - ``void model_predict_proba(const float* x, float* proba)``, of classes, writes the ``MODEL_PROBA_DIM``
      probabilities of `Model.predict_proba`.
    - ``int model_classify(const float* x)``, of classes, returns the index of `Model.predict_classes`, and
      ``model_classes[index]`` is its name where the model has names. Labels that do not exclude each other have
      ``void model_classify(const float* x, int* labels)``.

    Parameters
    ----------
    model : Model
        Trained, or at least adapted. A model of float64 is rounded to float32.
    path : path
        Of the header, by convention ending in ``.h``. It is replaced as a whole: a failed write leaves an old file as
        it was. The same model gives the same bytes.
    name : str, default "model"
        What all names in the header begin with: an identifier of C that is no keyword of C or C++. Headers that one
        program includes need different ones, in small letters too.
    dtype : {"float32", "int8"}, default "float32"
        "float32": outputs are those of `Model.predict` up to the order of sums. "int8": weights, and values between
        the first and the last product, are integers of 8 bits; x and the outputs are float.
    calibration : array_like, (n_samples, input_dim), optional
        Rows of X, some hundred of the training rows, whose values give the ranges of the integers. Needed by "int8",
        and refused by "float32".

    Raises
    ------
    OSError
        If the file cannot be written.
    ValueError, TypeError
        For a model that is not adapted, or whose numbers are not finite in float32; another name or dtype; calibration
        rows that `Model.predict` would not take, and missing ones; a layer that has no form in integers, or for which
        those of 32 bits do not suffice.
    """
    _check_model(model)
    target = file_path(_WHERE, path)
    name = identifier(_WHERE, name)
    dtype = _dtype(dtype)
    rows = _rows(model, dtype, calibration)
    steps = steps_of(model, Folding.COLUMNS if rows is None else Folding.UNIFORM)
    _check_finite(steps)
    if rows is not None:
        steps = quantize(steps, rows, _WHERE)
        _check_finite(steps)
    text = header(model, name, Body(*body_of(steps, name), dtype))
    replace_file(target, text.encode("ascii"))


def _rows(model: Model, dtype: str, calibration: npt.ArrayLike | None) -> npt.NDArray[Any] | None:
    """Return the rows to calibrate by, or None for float32."""
    if dtype == "float32" and calibration is not None:
        given = "calibration is given for float32"
        raise ValueError(message(_WHERE, given, "expected it for int8 alone", 'leave it out, or give dtype="int8"'))
    if dtype == "float32":
        return None
    if calibration is None:
        hint = "give some hundred of the training rows: calibration=X_train[:500]"
        raise ValueError(message(_WHERE, "calibration is missing", "expected rows of X for int8", hint))
    rows: npt.NDArray[Any] = features(_WHERE, calibration, model._copy_dtype, model.input_dim, "calibration")
    try:
        model.predict(rows)
    except ValueError as error:  # it refuses values that the model does not take
        text = str(error).partition("] ")[2].replace("X ", "calibration ", 1)
        raise ValueError(f"[{_WHERE}] {text}") from None
    return rows


def _dtype(dtype: Any) -> str:
    """Return the name of a dtype, given as name or as NumPy's."""
    if not isinstance(dtype, str):
        try:
            dtype = np.dtype(dtype).name
        except TypeError:
            given = f"dtype is {dtype!r:.80}"
            expected = f"expected one of {', '.join(_DTYPES)}"
            raise TypeError(message(_WHERE, given, expected, "use one of these names")) from None
    if dtype not in _DTYPES:
        refuse_name(_WHERE, "dtype", dtype, _DTYPES)
    return str(dtype)


def _check_model(model: Any) -> None:
    if isinstance(model, Ensemble):
        hint = "export each of its models under a name of its own, and average what they say"
        raise TypeError(message(_WHERE, "model is an Ensemble", "expected a stoop.Model", hint))
    if not isinstance(model, Model):
        hint = "give trainer.model of a Trainer"
        raise TypeError(message(_WHERE, f"model is a {type(model).__name__}", "expected a stoop.Model", hint))
    if not model.is_adapted:
        hint = "call model.adapt(X) with the training rows first, or fit"
        given = f"the {type(model.layers[0]).__name__} of the model has no statistics"
        raise ValueError(message(_WHERE, given, "expected those of its inputs", hint))


def _check_finite(steps: tuple[Step, ...]) -> None:
    for step in steps:
        with np.errstate(over="ignore"):
            bad = [array for array in arrays_of(step) if not np.isfinite(array.astype(np.float32)).all()]
        if bad:
            given = f"{step.layer} has numbers that are NaN, infinite or beyond float32"
            raise ValueError(message(_WHERE, given, "expected finite ones", "export a model from before it went wrong"))
        for name, number in _numbers_of(step):
            with np.errstate(over="ignore", under="ignore"):
                single = np.float32(number)
            if not np.isfinite(single) or (name == "eps" and single == 0.0):
                given = f"{step.layer} has {name}={number:g}, beyond float32"
                raise ValueError(message(_WHERE, given, "expected a number that float32 holds", f"change {name}"))


def _numbers_of(step: Step) -> Iterator[tuple[str, float]]:
    """Yield the single numbers of a step that stand in the header, with their names."""
    parts = [step, *getattr(step, "columns", ()), *([step.function] if isinstance(step, Activate) else ())]
    for part in parts:
        yield from ((name, value) for name, value in vars(part).items() if isinstance(value, float))
