"""The callback that each trial has: it keeps the best epoch, and ends what is worse than the median."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from stoop.callbacks._base import Callback
from stoop.history import History
from stoop.search._trial import Goal, Running

if TYPE_CHECKING:
    from stoop.trainer import Trainer

MEDIAN_STOP = "median_stopping"
_FEWEST = 5  # trials that a median is taken of


class Keeper(Callback):
    """Copies the parameters of the best epoch, where they may become the best of the search.

    Parameters
    ----------
    goal : Goal
    running : Running
        Gets the copy.
    history : History or None
        What the trial was trained for before.
    bar : callable
        Returns the best value of all trials that are complete, or None: what is worse need not be kept.
    medians : sequence of float or None
        By epoch, what a trial has to come up to.
    """

    runs_last = True  # other callbacks add columns

    def __init__(
        self,
        goal: Goal,
        running: Running,
        history: History | None,
        bar: Callable[[], float | None],
        medians: Sequence[float] | None,
    ) -> None:
        self._goal, self._running, self._bar, self._medians = goal, running, bar, medians
        self.best = goal.best_of(history)[0]
        self._epochs = 0 if history is None else len(history.epochs)
        self.began: float | None = None

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Note the time."""
        del trainer
        self.began = time.perf_counter()

    def on_epoch_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        """Keep the epoch, or stop."""
        goal = self._goal
        value = goal.monitor.value(trainer, logs)
        self._epochs += 1
        if value is not None and goal.monitor.is_better(value, self.best):
            self.best = value
            bar = self._bar()
            if bar is None or not goal.monitor.is_better(bar, value):
                self._running.kept.take(trainer)
                self._running.kept_value = value
        if self._medians is None or self._epochs > len(self._medians) or self.best is None:
            return
        if goal.monitor.is_better(self._medians[self._epochs - 1], self.best):
            trainer.stop(MEDIAN_STOP)


def running_medians(columns: Sequence[Sequence[float]]) -> list[float]:
    """Return the medians of the mean values up to each epoch, NaN where fewer than five trials came so far.

    Golovin et al. 2017, section 3.2.2.

    Parameters
    ----------
    columns : sequence of sequences
        The values of each trial by epoch.
    """
    longest = max((len(column) for column in columns), default=0)
    table = np.full((len(columns), longest), np.nan)
    for row, column in zip(table, columns):
        row[: len(column)] = column
    seen = np.cumsum(~np.isnan(table), axis=1)
    sums = np.cumsum(np.nan_to_num(table, nan=0.0, posinf=np.inf, neginf=-np.inf), axis=1)
    reached = np.arange(longest) < np.array([len(column) for column in columns], int).reshape(-1, 1)
    medians = []
    for epoch in range(longest):
        there = reached[:, epoch] & (seen[:, epoch] > 0)
        means = sums[there, epoch] / seen[there, epoch]
        medians.append(float(np.median(means)) if len(means) >= _FEWEST else float("nan"))
    return medians
