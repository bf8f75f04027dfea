"""The protocol of callbacks, and what those that watch a quantity have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stoop import _core
from stoop._errors import message, refuse_name
from stoop.metrics import is_larger_better

if TYPE_CHECKING:
    from stoop.trainer import Trainer

_MODES = ("auto", "min", "max")


class Callback:
    """Base of the objects that `Trainer.fit` calls while it trains. Every method is optional.

    All are called on the thread that called `fit`, between two updates. They may call the trainer, also to train,
    change its parameters, call `Trainer.set` and `Trainer.stop`. An exception keeps its traceback, ends the fit and
    leaves a usable model; the `on_fit_end` of every callback that began is called all the same.

    An object that is no subclass will do as well, if it has at least one of these methods.

    Attributes
    ----------
    every_n_steps : int or None
        After how many updates `on_steps_end` is called, counted from the start of the fit, >= 1; None: never.
    """

    every_n_steps: int | None = None

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Begin. Data and arguments are checked. In a fit that is resumed, `load_state_dict` came before."""

    def on_steps_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        """See ``{"epoch", "step", "loss", "learning_rate"}`` after every `every_n_steps` updates.

        ``epoch`` is the number of the running epoch, from 1, ``step`` that of all updates of the trainer, ``loss`` the
        mean since the last call, weighted by samples, and ``learning_rate`` that of the last update. With LBFGS and
        NewtonCG, whose update is an epoch, it is called after `on_epoch_end`.
        """

    def on_epoch_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        """See the newest row of the history by column, and ``"epoch"``, counted from 1.

        What is added to `logs` becomes a column of the history, and callbacks that come later see it. ``val_*`` is
        missing where `validation_freq` left the epoch out.
        """

    def on_fit_end(self, trainer: Trainer, reason: str) -> None:
        """End, on every way out once `on_fit_begin` is done: `reason` is what ``history.stop_reason`` becomes."""

    def state_dict(self) -> dict[str, Any]:
        """Return what goes into checkpoints: dicts, lists, text, numbers, None and arrays."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` returned, before `on_fit_begin` of a fit that is resumed."""


class Monitor:
    """Compares a column of the history from epoch to epoch.

    Parameters
    ----------
    where : str
        The callback, for messages.
    monitor : str
        A column of the history.
    mode : {"auto", "min", "max"}
        Whether smaller or larger values are better; "auto" knows it from the name.

    Raises
    ------
    ValueError, TypeError
        For another mode, or a column of which "auto" does not know it.
    """

    def __init__(self, where: str, monitor: Any, mode: str) -> None:
        if not isinstance(monitor, str):
            given = f"monitor is {monitor!r}"
            raise TypeError(message(where, given, "expected the name of a column", 'for example "val_loss"'))
        if mode not in _MODES:
            refuse_name(where, "mode", str(mode), _MODES)
        self._where, self.name = where, monitor
        self.larger = mode == "max" if mode != "auto" else is_larger_better(monitor, where)

    def value(self, trainer: Trainer, logs: Mapping[str, float]) -> float | None:
        """Return the value of this epoch, or None where it was not measured.

        Raises
        ------
        ValueError
            If the history has no such column.
        """
        if self.name in logs:
            return float(logs[self.name])
        if self.name in trainer.history:
            return None
        hint = "give validation_data" if self.name.startswith("val_") else "give it among metrics"
        given = f"monitor is {self.name!r}"
        raise ValueError(message(self._where, given, f"expected one of {', '.join(logs)}", hint))

    def is_better(self, value: float, best: float | None, margin: float = 0.0) -> bool:
        """Return whether `value` is better than `best` by more than `margin`. NaN never is, anything is than None."""
        if math.isnan(value):
            return False
        if best is None:
            return True
        return value > best + margin if self.larger else value < best - margin


def set_state(target: Any, state: Mapping[str, Any], names: tuple[str, ...]) -> None:
    """Set these attributes of `target` from `state`; CheckpointError where one is missing."""
    for name in names:
        if name not in state:
            where = type(target).__name__
            given = f"its state has no {name!r}"
            raise _core.CheckpointError(message(where, given, "expected what state_dict returned", "save it again"))
        setattr(target, name, state[name])
