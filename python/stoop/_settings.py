"""The settings of a Trainer: their checks, and those that can be changed while it lives."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from stoop._attributes import Guarded
from stoop._checks import BELOW_ONE, NOT_NEGATIVE, POSITIVE, real
from stoop._config import SPECS, bounds_of, plain
from stoop._errors import message, refuse_name, warn
from stoop.activations import Identity
from stoop.layers import Dropout, Layer
from stoop.layers._dense import Product
from stoop.losses import Loss
from stoop.optimizers import Optimizer
from stoop.schedules import as_learning_rate, python_rates

if TYPE_CHECKING:
    from stoop import _core
    from stoop._loop import FitLoop
    from stoop._processes import Processes
    from stoop.history import History
    from stoop.model import Model

_OF_FIT = (
    *("epochs", "batch_size", "shuffle", "verbose", "metrics", "class_weight", "sample_weight", "last_batch"),
    *("callbacks", "max_time", "resume", "validation_freq", "dry_run", "overfit_batches", "augment"),
)
_OF_OPTIMIZER = ("momentum", "nesterov", "beta1", "beta2", "eps", "weight_decay", "rho")


class Settings(Guarded):
    """The settings of a Trainer as attributes. Those that can be set hold from the next update on."""

    _settable: ClassVar[tuple[str, ...]] = ("learning_rate", "l1", "l2", "clip_norm", "clip_value")
    _hints: ClassVar[dict[str, str]] = {
        "lr": "set learning_rate",
        **dict.fromkeys(_OF_FIT, "give it to fit"),
        **dict.fromkeys(_OF_OPTIMIZER, "make a new Trainer with another optimizer"),
        "history": "fit returns it",
        "epoch": "it counts what was trained: make a new Trainer to start anew",
        "steps": "it counts what was trained: make a new Trainer to start anew",
    }
    _model: Model
    _loss: Loss
    _optimizer: Optimizer
    _config: dict[str, Any]
    _core: _core._Trainer[Any]
    _history: History
    _between: dict[str, Any]  # what was set since the last fit
    _loop: FitLoop | None
    _processes: Processes | None

    @property
    def model(self) -> Model:
        """The model that is trained."""
        return self._model

    @property
    def loss(self) -> Loss:
        """The loss, an object of `stoop.losses`."""
        return self._loss

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer, an object of `stoop.optimizers`, with the learning rate that holds now."""
        return self._optimizer

    @property
    def learning_rate(self) -> Any:
        """The learning rate, schedule or function of the optimizer; one that is set goes on counting updates.

        Raises
        ------
        ValueError, TypeError
            For one that an optimizer would refuse.
        """
        return self._optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        rate = as_learning_rate("Trainer", "learning_rate", value)
        optimizer = replace(self._optimizer, learning_rate=rate)  # type: ignore[type-var]
        self._core.set_learning_rate(json.dumps(plain(rate)), python_rates(rate))
        self._optimizer = optimizer
        self._note("learning_rate", repr(rate) if any(python_rates(rate)) else plain(rate))

    @property
    def l1(self) -> float:
        """Factor of ``sum(abs(weight))``, >= 0."""
        return float(self._config["l1"])

    @l1.setter
    def l1(self, value: float) -> None:
        self._set_penalties(l1=value, l2=self.l2)
        self._note("l1", self.l1)

    @property
    def l2(self) -> float:
        """Factor of ``sum(weight**2) / 2``, >= 0."""
        return float(self._config["l2"])

    @l2.setter
    def l2(self, value: float) -> None:
        self._set_penalties(l1=self.l1, l2=value)
        self._note("l2", self.l2)

    @property
    def clip_norm(self) -> float | None:
        """Largest L2 norm of the gradient, > 0, or None."""
        limit: float | None = self._config["clip_norm"]
        return limit

    @clip_norm.setter
    def clip_norm(self, value: float | None) -> None:
        self._set_clipping(clip_norm=value, clip_value=self.clip_value)
        self._note("clip_norm", self.clip_norm)

    @property
    def clip_value(self) -> float | None:
        """Largest element of the gradient, > 0, or None."""
        limit: float | None = self._config["clip_value"]
        return limit

    @clip_value.setter
    def clip_value(self, value: float | None) -> None:
        self._set_clipping(clip_norm=self.clip_norm, clip_value=value)
        self._note("clip_value", self.clip_value)

    @property
    def comm(self) -> Any:
        """The communicator as given, or None."""
        return None if self._processes is None else self._processes.given

    @property
    def shards(self) -> int | None:
        """Parts of an update with `comm`, or None."""
        return None if self._processes is None else self._processes.shards

    @property
    def accumulate(self) -> int:
        """Batches whose gradients make one update."""
        return int(self._config["accumulate"])

    @property
    def ema(self) -> float | None:
        """Decay of the moving average of the parameters, or None."""
        decay: float | None = self._config["ema"]
        return decay

    @property
    def max_norm(self) -> float | None:
        """Largest L2 norm of the incoming weights of a unit, or None."""
        limit: float | None = self._config["max_norm"]
        return limit

    @property
    def precision(self) -> str:
        """Precision of the arithmetic."""
        return str(self._config["precision"])

    @property
    def num_threads(self) -> int | None:
        """Threads as given, or None."""
        return int(self._config["num_threads"]) or None

    @property
    def seed(self) -> int:
        """Seed of the shuffling and of dropout."""
        return int(self._config["seed"])

    def set(self, **settings: Any) -> None:
        """Set several of `learning_rate`, `l1`, `l2`, `clip_norm` and `clip_value`, all of them or, on an error, none.

        They hold from the next update on, also within a fit, from a callback. The history of a fit keeps what was set
        in it, and since the fit before it, `History.changes`.

        Parameters
        ----------
        learning_rate : float or schedule, optional
        l1, l2 : float, optional
        clip_norm, clip_value : float or None, optional
            As for `Trainer`.

        Raises
        ------
        ValueError, TypeError
            For another name, or a value that `Trainer` would refuse.
        """
        for name in settings:
            if name not in self._settable:
                refuse_name("Trainer.set", "setting", name, self._settable)
        before = {name: getattr(self, name) for name in settings}
        noted, between = len(self._changes), dict(self._between)
        done: list[str] = []
        try:
            for name, value in settings.items():
                setattr(self, name, value)
                done.append(name)
        except (ValueError, TypeError):
            for name in done:
                setattr(self, name, before[name])
            del self._changes[noted:]
            self._between = between
            raise

    def _note(self, name: str, value: Any) -> None:
        """Keep a change in the history of the fit that runs, or of the next one."""
        if self._loop is not None and self._loop.is_running:
            self._changes.append({"epoch": self._core.epoch + 1, "step": self._core.steps, name: value})
        elif self._core.steps > 0:
            self._between[name] = value

    def _note_between(self, history: History) -> None:
        """Add what was set since the last fit to the history of the next one."""
        at = {"epoch": self._core.epoch + 1, "step": self._core.steps}
        history.changes.extend({**at, name: value} for name, value in self._between.items())

    @property
    def _changes(self) -> list[dict[str, Any]]:
        return self._history.changes

    def _set_penalties(self, l1: float, l2: float) -> None:
        new = checked_penalties(l1, l2)
        self._core.set_penalties(new["l1"], new["l2"])
        self._config.update(new)

    def _set_clipping(self, clip_norm: float | None, clip_value: float | None) -> None:
        norm, value = checked_limit("clip_norm", clip_norm), checked_limit("clip_value", clip_value)
        self._core.set_clipping(norm, value)
        self._config.update(clip_norm=norm, clip_value=value)


def checked_penalties(l1: float, l2: float) -> dict[str, float]:
    """Return both by name, each a float >= 0."""
    given = {"l1": l1, "l2": l2}
    return {name: real("Trainer", name, value, NOT_NEGATIVE, hint="0 turns it off") for name, value in given.items()}


def checked_limit(name: str, value: float | None) -> float | None:
    """Return a float > 0, or None."""
    hint = "leave it out to set no limit"
    return None if value is None else real("Trainer", name, value, POSITIVE, hint=hint)


def checked_decay(ema: float | None) -> float | None:
    """Return a float in [0, 1), or None."""
    hint = "0.999 is usual, leave it out to keep no average"
    return None if ema is None else real("Trainer", "ema", ema, BELOW_ONE, hint=hint)


def checked_precision(precision: object) -> str:
    """Return a name; the core knows which there are."""
    if not isinstance(precision, str):
        given, expected = f"precision is {precision!r}", "expected a name"
        raise TypeError(message("Trainer", given, expected, 'give "float32" or "bfloat16"'))
    return precision


def warn_of_last_activation(layers: tuple[Layer, ...], loss: Loss) -> None:
    """Warn where the last layer bounds the outputs that a cross-entropy takes for logits."""
    spec = loss._spec
    if not (spec["takes_classes"] or spec["takes_labels"]):
        return
    last = next((layer for layer in reversed(layers) if not isinstance(layer, Dropout | Identity)), None)
    activation = last.activation if isinstance(last, Product) else last
    name = activation if isinstance(activation, str) else getattr(activation, "type_name", "")
    outputs = SPECS["activation"].get(name, {}).get("outputs")
    if outputs is None:
        return
    limits = bounds_of(outputs)
    given = f"the last layer is a {name}, which keeps the outputs within {limits.low:g} and {limits.high:g}"
    expected = f"expected plain outputs such as logits, of any sign and size, for {loss.type_name}"
    warn(message("Trainer", given, expected, "leave the activation out"))
