"""One trial of a search, and what its figures are compared by."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from stoop._errors import message
from stoop.callbacks._base import Monitor
from stoop.callbacks._monitoring import Kept
from stoop.history import History
from stoop.trainer import Trainer

COMPLETE, PRUNED, FAILED, INTERRUPTED, WAITING = "complete", "pruned", "failed", "interrupted", "waiting"
_NOT_SCORES = ("learning_rate", "grad_norm", "samples_per_second")


class Goal:
    """The column of the history that a search makes small or large.

    Parameters
    ----------
    metric : str
        The column.
    mode : {"auto", "min", "max"}
        "auto" knows it from the name.
    """

    def __init__(self, metric: Any, mode: Any) -> None:
        if not isinstance(metric, str):
            given, hint = f"metric is {metric!r}", 'for example "val_loss"'
            raise TypeError(message("search.run", given, "expected the name of a column of the history", hint))
        self.monitor = Monitor("search.run", metric, mode)
        self.metric = self.monitor.name
        self.mode = "max" if self.monitor.larger else "min"

    def best_of(self, history: History | None, epochs: int | None = None) -> tuple[float | None, int | None]:
        """Return the best value of the first `epochs` epochs, and the number of the first that has it."""
        best: float | None = None
        place = None
        column = [] if history is None else history.get(self.metric, [])
        for row, value in enumerate(column[:epochs]):
            if self.monitor.is_better(value, best):
                best, place = value, row
        return best, None if place is None or history is None else history.epochs[place]

    def rank(self, value: float | None) -> float:
        """Return a number that is smaller for better values."""
        if value is None:
            return math.inf
        return -value if self.monitor.larger else value


@dataclass(eq=False)
class Trial:
    """One set of parameters, and what came of it."""

    number: int
    params: dict[str, Any]
    state: str = WAITING
    history: History | None = None
    seconds: float = 0.0
    error: str | None = None
    running: Running | None = None  # while it may be needed
    enqueued: bool = False  # with parameters that somebody chose

    def record(self, goal: Goal) -> dict[str, Any]:
        """Return what a user sees of it."""
        value, epoch = goal.best_of(self.history)
        history = self.history
        metrics = {}
        if history is not None and epoch is not None:
            row = history.epochs.index(epoch)
            metrics = {key: column[row] for key, column in history.items() if key not in _NOT_SCORES}
        return {
            "number": self.number,
            "params": self.params,
            "value": None if self.state == FAILED else value,
            "state": self.state,
            "epochs": 0 if history is None else len(history.epochs),
            "best_epoch": epoch,
            "seconds": self.seconds,
            "metrics": metrics,
            "error": self.error,
        }

    @property
    def epochs(self) -> int:
        """How many epochs it was trained for."""
        return 0 if self.history is None else len(self.history.epochs)

    def has_passed(self, epochs: int) -> bool:
        """Return whether it could go on after so many epochs, even if it has ended since."""
        if self.state == COMPLETE or self.epochs > epochs:
            return True
        return self.state == FAILED and self.epochs == epochs

    @property
    def ended_early(self) -> bool:
        """Whether it is not to be trained any further."""
        ended = self.history is not None and self.history.stop_reason != "epochs"
        return self.state in (FAILED, PRUNED) or (self.state == COMPLETE and ended)


@dataclass(eq=False)
class Running:
    """The part of a trial that takes memory."""

    trainer: Trainer
    kept: Kept
    callbacks: list[Any]
    augment: Any
    kept_value: float | None = None  # of the epoch that is kept


def ranked(trials: Iterable[Trial], goal: Goal, epochs: int | None = None) -> list[Trial]:
    """Return the trials from the best to the worst; of equal ones the first comes first."""
    return sorted(trials, key=lambda trial: (goal.rank(goal.best_of(trial.history, epochs)[0]), trial.number))


def best_of(trials: Iterable[Trial], goal: Goal) -> Trial | None:
    """Return the best of those that are complete; where none is, of those that were cut short."""
    known = list(trials)
    for states in ((COMPLETE,), (PRUNED, INTERRUPTED)):
        order = ranked((trial for trial in known if trial.state in states), goal)
        if order and goal.best_of(order[0].history)[0] is not None:
            return order[0]
    return None
