"""Predictor: a copy of a model, prepared for predicting a few rows at a time."""

from __future__ import annotations  # the stub's _core._Predictor does not exist at run time

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from stoop import _core
from stoop._attributes import Guarded
from stoop._checks import FloatArray, features
from stoop._errors import message
from stoop.model import Model

_CORES: dict[str, type[_core._Predictor[Any]]] = {
    "float32": _core.PredictorFloat32,
    "float64": _core.PredictorFloat64,
}


class Predictor(Guarded):
    """A copy of a model that predicts up to 8 rows at a time with the least delay, for a service of single requests.

    It keeps the weights in the order in which the threads read them, and gives the bits of `Model.predict`. It takes
    twice the memory of the model, beside the model itself. Several threads may predict at the same time. It does not
    see later changes of the model: make a new one after training. A pickle holds the copy of the model, from which a
    predictor is made anew.

    Weights of 1 to 4 MB are tried in several places of the memory, and stay in the fastest: making a predictor of them
    takes some 20 ms, 50 at most, and 12 MB for that time. It counts on as many threads as `stoop.get_num_threads` says
    then.

    Parameters
    ----------
    model : Model
        Trained, or read from a file.

    Raises
    ------
    TypeError
        For what is no `Model`.
    MemoryError
        If there is not enough memory for the copies.
    """

    _hints: ClassVar[dict[str, str]] = {"model": "a predictor keeps a copy of its model: make a new one"}

    _core: _core._Predictor[Any]
    _dtype: np.dtype[Any]
    _copy_dtype: np.dtype[Any]  # of an X that has to be copied
    _input_dim: int
    _output_dim: int

    def __init__(self, model: Model) -> None:
        if not isinstance(model, Model):
            raise TypeError(message("Predictor", f"model is {model!r}", "expected a stoop.Model", "give trainer.model"))
        self._core = _CORES[model.dtype.name](model._core)
        self._dtype, self._copy_dtype = model.dtype, model._copy_dtype
        self._input_dim, self._output_dim = model.input_dim, model.output_dim

    @property
    def input_dim(self) -> int:
        """Columns of the input."""
        return self._input_dim

    @property
    def output_dim(self) -> int:
        """Columns of the output."""
        return self._output_dim

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self._dtype

    def predict(self, X: npt.ArrayLike, out: FloatArray | None = None) -> FloatArray:
        """Return the outputs of the last layer, in inference mode, as `Model.predict`.

        Parameters
        ----------
        X : array_like, (n_samples, input_dim)
            As in `Model.predict`. More than 8 rows take as long as there.
        out : ndarray, (n_samples, output_dim), optional
            Gets the outputs, so that nothing is allocated, and is returned. Of the model's dtype, with contiguous rows,
            and apart from X in memory.

        Returns
        -------
        ndarray, (n_samples, output_dim)
            Of the model's dtype, with the bits of `Model.predict`.

        Raises
        ------
        ValueError, TypeError
            For the wrong rank, dtype, column count, or an empty X, and for an `out` that does not fit.
        """
        x: Any = X if self._core.takes(X) else features("Predictor.predict", X, self._copy_dtype, self._input_dim)
        if out is None:
            return self._core.predict(x)
        self._core.predict_into(x, out)
        return out

    __call__ = predict

    def __reduce__(self) -> tuple[Any, ...]:
        return Predictor, (Model._from_core(self._core.model()),)

    def __repr__(self) -> str:
        return f"Predictor({self._input_dim} -> {self._output_dim}, {self._dtype})"
