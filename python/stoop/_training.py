"""The part of a Trainer that users do not call: what it is built from, copies, and how it reads its data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy.typing as npt

from stoop import _core
from stoop._checks import features, sample_weights
from stoop._errors import message
from stoop._labels import TargetReader
from stoop._loop import FitLoop
from stoop._processes import Processes
from stoop._settings import Settings
from stoop._weights import class_weights
from stoop.metrics._resolve import Metric
from stoop.schedules import python_rates

# These change nothing, so that labels of a model that was never trained may be taken for its classes to be.
_GUESSING = ("Trainer.loss_and_grad", "Trainer.hessian_vector_product", "Trainer.profile", "critical_point")


_NOT_COPIED = ("_core", "_targets", "_loop", "_processes")


class Training(Settings):
    """The base of `stoop.Trainer`."""

    _processes: Processes | None

    def _with_others(self, where: str) -> AbstractContextManager[None]:
        """Make a call that all processes of this training make; without others, do nothing."""
        return nullcontext() if self._processes is None else self._processes.call(where)

    @property
    def epoch(self) -> int:
        """Epochs completed, over all calls of `fit`."""
        return self._core.epoch

    @property
    def steps(self) -> int:
        """Updates made."""
        return self._core.steps

    def _build(self) -> None:
        make: Any = _core.TrainerFloat64 if self._model.dtype.itemsize == 8 else _core.TrainerFloat32
        config = {"loss": self._loss.to_config(), "optimizer": self._optimizer.to_config(), **self._config}
        rate = python_rates(self._optimizer.learning_rate)
        world = None if self._processes is None else self._processes.world
        self._core: _core._Trainer[Any] = make(self._model._core, json.dumps(config), rate, world)
        self._has_accuracy = self._loss._spec["has_accuracy"]
        self._targets = TargetReader(self._model, self._loss)
        self._dtype = self._model.dtype
        self._input_dim = self._model.input_dim
        self._loop: FitLoop | None = None

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in vars(self).items() if name not in _NOT_COPIED}
        return {**kept, "_state": self._core.state()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        carried = state["_state"]
        vars(self).update({"_rollback": True})  # which pickles of earlier versions do not have
        vars(self).update({"_processes": None})  # a copy trains without the others
        vars(self).update({"_between": {}})  # which those do not have either
        vars(self).update({name: value for name, value in state.items() if name != "_state"})
        self._build()
        self._core.set_state(**carried)

    def _critical_point(self, X: npt.ArrayLike, y: npt.ArrayLike, weight: Any, **options: Any) -> dict[str, Any]:
        """For `stoop.diagnose.critical_point`, which documents the options."""
        x, targets, weights = self._batch("critical_point", X, y, weight)
        return self._core.critical_point(x, targets, weights, **options)

    def _batch(
        self,
        where: str,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        weight: npt.ArrayLike | None,
        *,
        learn: bool = False,
        relative: bool = True,
    ) -> tuple[Any, ...]:
        """Return what the core takes; with `learn` the model gets the names of classes that y tells.

        Of weights only the ratios count, unless `relative` is False.
        """
        x: Any = X
        targets: Any = y
        if self._model._classes is not None or not self._core.takes(X, y):
            x = features(where, X, self._model._copy_dtype, self._input_dim)
            may_name = self._may_name() if learn else where in _GUESSING and self._model.output is None
            targets, names = self._targets.read(where, y, x.shape[0], may_name=may_name)
            if learn and names is not None:
                self._model.classes = names
        if weight is None:
            return x, targets, None
        columns = self._targets.weight_columns
        return x, targets, sample_weights(where, weight, self._dtype, x.shape[0], columns, relative=relative)

    def _may_name(self) -> bool:
        """Return whether y may give the names of classes: not if the outputs are classes of an earlier training."""
        if self.steps > 0:
            return False
        trained = self._model.output in ("softmax", "sigmoid") and not self._model._core.output_is_given
        return not trained

    def _validation(self, validation_data: Any) -> tuple[Any, ...]:
        X, y, weight = self._unpacked("Trainer.fit", validation_data)
        return self._batch("Trainer.fit, validation_data", X, y, weight)

    def _unpacked(self, where: str, validation_data: Any) -> tuple[Any, ...]:
        """Return X, y and weights, or None, of validation data."""
        return unpacked(where, validation_data, self._input_dim)

    def _class_weights(self, class_weight: Any, targets: Any, weights: Any, rows: Any = None) -> Any:
        if weights is not None and weights.ndim == 2:
            given = f"class_weight with sample_weight of shape {weights.shape}"
            hint = "multiply the weights by those of the classes"
            raise ValueError(message("Trainer.fit", given, "expected (n_samples,), one weight per sample", hint))
        classes = self._targets.indices(targets)
        names = self._model.classes
        known = self._targets.n_classes if names is None else names.tolist()
        return class_weights(class_weight, classes, known, weights, self._dtype, rows)

    @contextmanager
    def _names_kept(self) -> Iterator[None]:
        """Take back the names and the meaning that the outputs get inside, unless something was trained."""
        take_back = self._keep_names()
        try:
            yield
        except BaseException:
            take_back()
            raise

    def _keep_names(self) -> Callable[[], None]:
        """Return a function that takes back these names and this meaning, unless something was trained meanwhile."""
        model, steps = self._model, self.steps
        names, output = model.classes, model.output

        def take_back() -> None:
            if self.steps != steps:
                return
            if model.classes is not names:
                model.classes = names
            if not model._core.output_is_given:
                model.output = None
                model._set_output(output, given=False)

        return take_back

    def _history_keys(self, metrics: Sequence[Metric], *, validated: bool) -> list[str]:
        measured = ["loss", *("accuracy" for metric in metrics if not metric.needs_outputs)]
        if validated:
            measured += [f"val_{key}" for key in measured]
            measured += [f"val_{metric.name}" for metric in metrics if metric.needs_outputs]
        return [*measured, "learning_rate", "grad_norm", "samples_per_second"]


def unpacked(where: str, validation_data: Any, inputs: int) -> tuple[Any, ...]:
    """Return X, y and weights, or None, of validation data for a model with so many inputs.

    Raises
    ------
    ValueError, TypeError
        For what is no such tuple, or has y first.
    """
    try:
        X, y, *weight = validation_data
        (weight,) = weight or (None,)
    except (TypeError, ValueError):
        given = f"validation_data is a {type(validation_data).__name__}"
        expected = "expected a pair (X, y) or (X, y, sample_weight)"
        raise TypeError(message(where, given, expected, "give validation_data=(X, y)")) from None
    of_x, of_y = (tuple(getattr(array, "shape", ())) for array in (X, y))
    if len(of_x) == 1 and of_y[1:] == (inputs,):
        given, expected = f"validation_data has shapes {of_x} and {of_y}", "expected X first, then y"
        raise ValueError(message(where, given, expected, "give validation_data=(X, y)"))
    return X, y, weight
