"""Ensemble: several models that are asked together, and what their outputs say as a whole."""

from __future__ import annotations  # the stub's _core._Ensemble does not exist at run time

import operator
import os
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, overload

import numpy as np
import numpy.typing as npt

from stoop import _core
from stoop._attributes import Guarded
from stoop._blas import register_blas
from stoop._checks import FloatArray, features, file_path
from stoop._errors import message
from stoop._outputs import labels_of, refuse_values
from stoop.model import Model

_CORES: dict[str, type[_core._Ensemble[Any]]] = {"float32": _core.EnsembleFloat32, "float64": _core.EnsembleFloat64}


class Ensemble(Guarded):
    """Models that are asked together: members of a deep ensemble, of folds, or of a bag.

    It holds the models themselves: one that is trained on changes the ensemble. ``ensemble[i]`` is a member,
    ``ensemble[1:3]`` an ensemble of some, ``len`` and iteration are those of a list. A copy and a pickle have models of
    their own. Several threads may predict at the same time.

    Parameters
    ----------
    models : iterable of Model
        At least one. Their layers may differ, but not `input_dim`, `output_dim`, `dtype`, `output` and `classes`.

    Raises
    ------
    ValueError, TypeError
        For no model, for what is no model, and for models that differ; the message names the member.
    """

    _hints: ClassVar[dict[str, str]] = {
        "models": "an ensemble keeps its members: make a new one",
        "output": "set it for each model, before the ensemble is made",
        "classes": "set them for each model, before the ensemble is made",
    }

    _models: tuple[Model, ...]
    _core: _core._Ensemble[Any]

    def __init__(self, models: Iterable[Model]) -> None:
        if isinstance(models, Model) or not isinstance(models, Iterable):
            given = f"models is {models!r}"
            raise TypeError(message("Ensemble", given, "expected a list of models", "give [model, ...]"))
        self._adopt(tuple(models))

    def _adopt(self, models: tuple[Any, ...]) -> None:
        for i, model in enumerate(models):
            if not isinstance(model, Model):
                given, hint = f"member {i} is {model!r}", "give trainer.model of a Trainer"
                raise TypeError(message("Ensemble", given, "expected a stoop.Model", hint))
            if model.dtype != models[0].dtype:
                given, hint = f"member {i} is of {model.dtype}", "make all models with one dtype"
                raise ValueError(message("Ensemble", given, f"expected {models[0].dtype}, as member 0", hint))
        self._models = models
        dtype = models[0].dtype.name if models else "float32"
        self._core = _CORES[dtype]([model._core for model in models])

    # ---- members ----

    def __len__(self) -> int:
        return len(self._models)

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models)

    @overload
    def __getitem__(self, index: int) -> Model: ...

    @overload
    def __getitem__(self, index: slice) -> Ensemble: ...

    def __getitem__(self, index: int | slice) -> Model | Ensemble:
        """Return a member, or the ensemble of a slice of them.

        Raises
        ------
        IndexError, TypeError
            For a number that no member has, and for what is neither a number nor a slice.
        ValueError
            For a slice without members.
        """
        if isinstance(index, slice):
            return Ensemble(self._models[index])
        try:
            return self._models[operator.index(index)]
        except IndexError:
            expected, hint = f"expected {-len(self)} to {len(self) - 1}", "len(ensemble) is the number of members"
            raise IndexError(message("Ensemble", f"there is no member {index}", expected, hint)) from None
        except TypeError:
            given, hint = f"the index is {index!r}", "for others make Ensemble([ensemble[i] for i in numbers])"
            raise TypeError(message("Ensemble", given, "expected a number or a slice", hint)) from None

    @property
    def input_dim(self) -> int:
        """Columns of the input."""
        return self._models[0].input_dim

    @property
    def output_dim(self) -> int:
        """Columns of the output of a member."""
        return self._models[0].output_dim

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self._models[0].dtype

    @property
    def output(self) -> str | None:
        """What the outputs mean, as `Model.output`."""
        return self._models[0].output

    @property
    def classes(self) -> npt.NDArray[Any] | None:
        """Names of the classes, as `Model.classes`."""
        return self._models[0].classes

    # ---- predictions ----

    def predict(self, X: npt.ArrayLike, out: FloatArray | None = None) -> FloatArray:
        """Return the outputs of every member, with the bits of its own `Model.predict`.

        X is read and converted once for all members that have the same `input_scale` and `input_shift`, or statistics.

        Parameters
        ----------
        X : array_like, (n_samples, input_dim)
            As in `Model.predict`.
        out : ndarray, (n_members, n_samples, output_dim), optional
            Gets the outputs and is returned, as in `Model.predict`; the rows must be contiguous.

        Returns
        -------
        ndarray, (n_members, n_samples, output_dim)

        Raises
        ------
        ValueError, TypeError
            As `Model.predict`.
        """
        x = self._rows("Ensemble.predict", X)
        if out is None:
            return self._core.predict(x)
        self._core.predict_into(x, out)
        return out

    __call__ = predict

    def predict_mean(self, X: npt.ArrayLike, *, return_std: bool = False) -> Any:
        """Return the mean of the members' outputs, for regression.

        Parameters
        ----------
        X : array_like, (n_samples, input_dim)
            As in `Model.predict`.
        return_std : bool, default False
            Return the standard deviation over the members as well, ``sqrt(mean((outputs - mean)**2))`` (ddof 0): how
            far they disagree, the epistemic part of the uncertainty.

        Returns
        -------
        mean : ndarray, (n_samples, output_dim)
        std : ndarray, (n_samples, output_dim)
            With `return_std`.

        Raises
        ------
        ValueError, TypeError
            As `Model.predict`.
        """
        mean, std = self._core.predict_mean(self._rows("Ensemble.predict_mean", X), bool(return_std))
        return (mean, std) if return_std else mean

    def predict_proba(self, X: npt.ArrayLike, *, return_std: bool = False) -> Any:
        """Return the mean of the members' probabilities; logits are never averaged.

        Parameters
        ----------
        X : array_like, (n_samples, input_dim)
            As in `Model.predict`.
        return_std : bool, default False
            Return the standard deviation of the probabilities over the members as well, as `predict_mean` does.

        Returns
        -------
        mean : ndarray, (n_samples, n_classes)
            With the columns of `Model.predict_proba`.
        std : ndarray, (n_samples, n_classes)
            With `return_std`.

        Raises
        ------
        ValueError, TypeError
            As `Model.predict`; for an output of "identity", whose values have no probabilities; and for members whose
            `output` or `classes` have been set apart.
        """
        mean, std = self._core.predict_proba(self._rows("Ensemble.predict_proba", X), bool(return_std))
        return (mean, std) if return_std else mean

    def predict_gaussian(self, X: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return mean and variance of the mixture of normal distributions that members of `losses.GaussianNLL` give.

        ``mean = mean(mean_i)`` and ``variance = mean(variance_i + mean_i**2) - mean**2``, over the members, computed as
        ``mean(variance_i + (mean_i - mean)**2)``; Lakshminarayanan, Pritzel & Blundell 2017, section 2.4. The first
        term is the noise that the members see in the data, the second how far they disagree.

        Parameters
        ----------
        X : array_like, (n_samples, input_dim)
            As in `Model.predict`.

        Returns
        -------
        mean, variance : ndarray, (n_samples, n_targets)

        Raises
        ------
        ValueError, TypeError
            As `Model.predict`; for an odd number of outputs, and for outputs of classes.
        """
        mean, variance = self._core.predict_gaussian(self._rows("Ensemble.predict_gaussian", X))
        assert variance is not None
        return mean, variance

    def predict_classes(self, X: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return class indices by the mean probabilities, in the shapes of `Model.predict_classes`.

        The class of the largest; of labels that do not exclude each other, and of a single output, whether the
        probability is above 1/2.

        Raises
        ------
        ValueError, TypeError
            As `predict_proba`.
        """
        return self._classes_of("Ensemble.predict_classes", X)

    def predict_labels(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return the name of each sample's class by the mean probabilities, as `Model.predict_labels`.

        Raises
        ------
        ValueError, TypeError
            As `predict_proba`, and for names of labels that do not exclude each other.
        """
        where = "Ensemble.predict_labels"
        return labels_of(where, self._classes_of(where, X), self.classes)

    def _classes_of(self, where: str, X: npt.ArrayLike) -> npt.NDArray[np.int64]:
        refuse_values(where, self.output, "predict_mean")
        mean, _ = self._core.predict_proba(self._rows(where, X), False)
        if self.output == "softmax" or (self.output is None and self.output_dim > 1):
            return np.asarray(mean.argmax(axis=1), np.int64)
        classes: npt.NDArray[np.int64] = (mean > 0.5).astype(np.int64)
        return classes[:, -1] if self.output_dim == 1 else classes  # the second of two classes

    def _rows(self, where: str, X: npt.ArrayLike) -> Any:
        return (
            X
            if self._core.takes(X)
            else features(where, X, max(model._copy_dtype for model in self._models), self.input_dim)
        )

    # ---- files and copies ----

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all members to one safetensors file, in the way of `Model.save`; `stoop.load_ensemble` reads it.

        Raises
        ------
        OSError
            If the file cannot be written.
        ValueError, TypeError
            For what is no path, and for members whose `output` or `classes` have been set apart.
        """
        self._core.save(file_path("Ensemble.save", path))

    def copy(self) -> Ensemble:
        """Return an ensemble of copies of the models."""
        return Ensemble([model.copy() for model in self._models])

    __copy__ = copy

    def __reduce__(self) -> tuple[Any, ...]:
        return Ensemble, (list(self._models),)

    def __repr__(self) -> str:
        first = repr(self._models[0])
        alike = all(model.layers == self._models[0].layers for model in self._models)
        return f"Ensemble({len(self)} members, {'each' if alike else 'the first'} {first})"


def load_ensemble(path: str | os.PathLike[str]) -> Ensemble:
    """Read an ensemble that `Ensemble.save`, or the C++ library, wrote.

    Raises
    ------
    OSError
        If the file cannot be read (FileNotFoundError, PermissionError, ...).
    CheckpointError
        If it is damaged or holds no ensemble.
    ValueError, TypeError
        For what is no path.
    """
    register_blas()
    return Ensemble(map(Model._from_core, _core.load_ensemble(file_path("load_ensemble", path))))
