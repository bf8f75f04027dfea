"""Callbacks of functions that others give: Lambda and OptunaPruning."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stoop._checks import integer
from stoop._errors import message
from stoop.callbacks._base import Callback, Monitor

if TYPE_CHECKING:
    from stoop.trainer import Trainer

_METHODS = ("on_fit_begin", "on_steps_end", "on_epoch_end", "on_fit_end")


class Lambda(Callback):
    """Calls functions, ``Lambda(on_epoch_end=lambda trainer, logs: print(logs))``.

    Parameters
    ----------
    on_fit_begin : callable ``(trainer)``, optional
    on_steps_end, on_epoch_end : callable ``(trainer, logs)``, optional
    on_fit_end : callable ``(trainer, reason)``, optional
        As the methods of `Callback` of these names.
    every_n_steps : int, optional
        After how many updates `on_steps_end` is called, >= 1; it is needed with it.

    Raises
    ------
    ValueError, TypeError
        For what cannot be called, and for `on_steps_end` without `every_n_steps`.
    """

    def __init__(
        self,
        *,
        on_fit_begin: Callable[[Trainer], object] | None = None,
        on_steps_end: Callable[[Trainer, dict[str, float]], object] | None = None,
        on_epoch_end: Callable[[Trainer, dict[str, float]], object] | None = None,
        on_fit_end: Callable[[Trainer, str], object] | None = None,
        every_n_steps: int | None = None,
    ) -> None:
        given_functions: tuple[Any, ...] = (on_fit_begin, on_steps_end, on_epoch_end, on_fit_end)
        for name, function in zip(_METHODS, given_functions):
            if function is None:
                continue
            if not callable(function):
                given = f"{name} is {function!r}"
                raise TypeError(message("Lambda", given, "expected a function", "give a function or a lambda"))
            setattr(self, name, function)
        if on_steps_end is not None and every_n_steps is None:
            given, hint = "on_steps_end is given without every_n_steps", "every_n_steps=100 calls it every 100 updates"
            raise ValueError(message("Lambda", given, "expected the number of updates between two calls", hint))
        if every_n_steps is not None:
            self.every_n_steps = integer("Lambda", "every_n_steps", every_n_steps, 1)


class OptunaPruning(Callback):
    """Reports a quantity to an Optuna trial after each epoch, and ends the fit with `optuna.TrialPruned` if it says so.

    Parameters
    ----------
    trial : optuna.trial.Trial
        The trial, as the objective function gets it.
    monitor : str, default "val_loss"
        A column of the history; its epoch, from 1, is the step of the report.

    Raises
    ------
    optuna.TrialPruned
        From `fit`, which Optuna takes as the end of the trial.
    ImportError
        If Optuna is not installed; the extra ``stoop[optuna]`` brings it.
    """

    def __init__(self, trial: Any, monitor: str = "val_loss") -> None:
        for name in ("report", "should_prune"):
            if not callable(getattr(trial, name, None)):
                given, hint = f"trial is {trial!r}", "give what Optuna gives the objective function"
                raise TypeError(message("OptunaPruning", given, "expected an optuna Trial", hint))
        self._trial = trial
        self._monitor = Monitor("OptunaPruning", monitor, "min")  # Optuna knows which direction is better

    def on_epoch_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        """Report the value, then ask."""
        value = self._monitor.value(trainer, logs)
        if value is None:
            return
        epoch = int(logs["epoch"])
        self._trial.report(value, step=epoch)
        if self._trial.should_prune():
            raise _pruned(f"epoch {epoch}: {self._monitor.name} is {value:g}")


def _pruned(text: str) -> Exception:
    try:
        import optuna
    except ImportError as error:
        hint = "install it with `pip install 'stoop[optuna]'`"
        raise ImportError(
            message("OptunaPruning", "optuna is missing", "expected it for its exception", hint)
        ) from error
    pruned: Exception = optuna.TrialPruned(text)
    return pruned
