"""Tries out whether another learning rate would have done better: a curve alone cannot tell that."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stoop._diagnosis_figures import draw_rates
from stoop._fit_many import fit_many
from stoop.diagnose._layers import batch_size_of, fresh
from stoop.diagnose._units import some_rows
from stoop.layers import Dense
from stoop.model import Model
from stoop.optimizers import LBFGS, FullBatchOptimizer
from stoop.schedules import Schedule
from stoop.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[Any]

_LOWER, _HIGHER = (0.1, 0.01, 1e-3, 1e-4), (10.0, 100.0, 1e3, 1e4)
_HIGHEST, _LOWEST = 10.0, 1e-6  # beyond which no rate is tried as it is
_SEEDS = 3
_MOST_UPDATES, _FEWEST_UPDATES = 1000, 100
_WORK = 4e10  # floating-point operations, for all trials of a direction; about a second
_CLEAR_PART = 0.8  # of what fresh weights gain at the same rate: a fit that gained less does clearly worse
_SMALL_PART = 0.5  # of what another rate gains: the fit gained less

_SMALLEST_GAIN = 0.05  # of the loss that needs no inputs, from which on rates are compared
_SPOILT = 0.1  # of that loss, by which a fit that went wrong is above it
_MEASURED_ROWS, _CONSTANT_STEPS = 3000, 50  # for that loss


@dataclass(frozen=True)
class RateTrial:
    """Losses that short fits from fresh weights reach at several learning rates.

    Attributes
    ----------
    rate : float
        That of the fit: the largest in its history.
    rates, losses : list of float
        Each rate that was tried, and the median over three initialisations of the loss at its end.
    start, nothing, own, end : float
        The loss of fresh weights, the lower of it and of the best constant outputs, what short fits at the rate of the
        fit reach, and that of the model as it is.
    updates : int
        Of each short fit at rates of the side where the better one is.
    verdict : {"too high", "too low"} or None
    better : float or None
        The rate that does better.
    """

    rate: float
    rates: list[float]
    losses: list[float]
    start: float
    nothing: float
    own: float
    end: float
    updates: int
    verdict: str | None
    better: float | None

    @property
    def is_stuck(self) -> bool:
        """Whether short fits from fresh weights at the rate of the fit do clearly better than it has."""
        gained, scale = self.nothing - self.own, abs(self.nothing)
        worth = math.isfinite(self.own) and gained >= _SMALLEST_GAIN * scale
        spoilt = self.end > self.nothing + _SPOILT * scale and self.own < self.nothing
        return spoilt or (worth and self.end > self.nothing - _SMALL_PART * gained)

    @property
    def is_behind(self) -> bool:
        """Whether short fits from fresh weights at the rate of the fit gain a quarter more than it has."""
        gained = self.nothing - self.own
        worth = math.isfinite(self.own) and gained >= _SMALLEST_GAIN * abs(self.nothing)
        return worth and self.end > self.nothing - _CLEAR_PART * gained

    def words(self) -> str:
        """Return what was seen."""
        best = self.losses[self.rates.index(self.better)] if self.better is not None else math.nan
        end = f"{self.end:.4g}" if math.isfinite(self.end) else "not finite"
        used = f"With the rate {self.rate:.3g} the training loss is {end} (fresh weights: {self.start:.4g})"
        other = f"{self.updates} updates with {self.better:.3g} reach {best:.4g} (median of {_SEEDS} starts)"
        return f"{used}; from fresh weights, {other}."

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw the losses over the rates; PNG, PDF or SVG by the suffix."""
        return draw_rates(self.rates, self.losses, (self.rate, self.end), "Other learning rates", path)


def try_rates(trainer: Trainer, x: Array, targets: Array, *, damaged: bool = False) -> RateTrial | None:
    """Train fresh copies with lower and higher rates for a while, and compare with what the fit has reached.

    Copies are trained from three initialisations, and their median counts. The rate is too high where lower ones gain
    at least twice as much as the fit has and as copies at its own rate do in as many updates, and where the fit has
    become worse than no inputs at all and they do not. It is too low where higher ones gain that much in at most as
    many updates as the fit made. Gains are counted from the loss of the best outputs that are the same for all
    samples. A range test (Smith 2017) does the same within one run. None for optimizers of the full batch.

    `damaged`: units are dead or saturated. Then the copy with the weights that the fit began with counts, not the
    median, for what the rate of the fit does: that others escaped is luck.
    """
    if isinstance(trainer.optimizer, FullBatchOptimizer) or trainer._processes is not None:
        return None
    rate = _rate_of(trainer)
    trial = _Trial(trainer, x, targets, rate)
    end = trial.loss_of(trainer)
    repeated = trial.losses_at(1.0, trial.updates)
    own = float(np.median(repeated))
    found = {rate: own}
    verdict, better, counted = None, None, trial.updates
    made = min(trial.updates, trainer.steps or trial.updates)
    lower = [min(1.0, _HIGHEST / rate) * factor for factor in _LOWER]
    higher = [max(1.0, _LOWEST / rate) * factor for factor in _HIGHER]
    for direction, factors, updates in (("too high", lower, trial.updates), ("too low", higher, made)):
        control = own if updates == trial.updates else trial.loss_at(1.0, updates)
        control = max(control, repeated[0]) if damaged and direction == "too high" else control
        for factor in factors:
            loss = found[rate * factor] = trial.loss_at(factor, updates)
            spoilt = direction == "too high" and trial.is_spoilt(loss, control, end)
            if spoilt or trial.is_better(loss, control, end):
                verdict, counted = direction, updates
                better = rate * factor if better is None or loss < found[better] else better
            elif verdict is not None:
                break
        if verdict is not None:
            break
    rates = sorted(found)
    losses = [found[rate] for rate in rates]
    return RateTrial(rate, rates, losses, trial.start, trial.nothing, own, end, counted, verdict, better)


def _rate_of(trainer: Trainer) -> float:
    """Return the largest learning rate of the newest fit, or the one that comes next."""
    used = [value for value in trainer.history.get("learning_rate", []) if math.isfinite(value) and value > 0.0]
    if used:
        return max(used)
    rate = trainer.optimizer.learning_rate
    if isinstance(rate, Schedule):
        rate = float(np.max(rate.values(max(trainer.steps, 1))))
    elif callable(rate):
        rate = float(rate(trainer.steps))
    return float(rate)


class _Trial:
    """Short fits from fresh weights."""

    def __init__(self, trainer: Trainer, x: Array, targets: Array, rate: float) -> None:
        self._trainer, self._x, self._targets, self._rate = trainer, x, targets, rate
        self._batch = batch_size_of(trainer, len(x))
        work = 6.0 * trainer.model.num_parameters * self._batch * _SEEDS * len(_LOWER)
        self.updates = max(min(_MOST_UPDATES, int(_WORK / work)), _FEWEST_UPDATES)
        self._some, self._some_targets = some_rows(x, _MEASURED_ROWS), some_rows(targets, _MEASURED_ROWS)
        starts = [fresh(trainer, self._some, seed) for seed in self._seeds()]
        self.start = float(np.median([self.loss_of(start) for start in starts]))
        # Fresh weights may be worse than no inputs at all, and to unlearn that is no progress.
        self.nothing = min(self.start, self._constant_loss())

    def _seeds(self) -> Iterator[int | None]:
        yield None
        yield from range(1001, 1000 + _SEEDS)

    def loss_at(self, factor: float, updates: int) -> float:
        """Return the median of `losses_at`."""
        return float(np.median(self.losses_at(factor, updates)))

    def losses_at(self, factor: float, updates: int) -> list[float]:
        """Return what so many updates reach at the rate times `factor`, first from the weights of the fit."""
        optimizer = replace(self._trainer.optimizer, learning_rate=self._rate * factor)  # type: ignore[type-var]
        twins = [fresh(self._trainer, self._some, seed, optimizer=optimizer) for seed in self._seeds()]
        per_epoch = -(-len(self._x) // self._batch)
        epochs, rows = max(round(updates / per_epoch), 1), None
        if per_epoch > updates:
            some = np.random.default_rng(0).permutation(len(self._x))[: updates * self._batch]
            rows = [some] * len(twins)
        histories = fit_many(twins, self._x, self._targets, epochs, self._batch, rows=rows, metrics=(), verbose=0)
        failed = [history.error is not None for history in histories]
        return [math.inf if bad else self.loss_of(twin) for bad, twin in zip(failed, twins)]

    def _constant_loss(self) -> float:
        """Return the loss of the best outputs that are the same for all samples, inf where it is not found."""
        model = Model([Dense(self._trainer.model.output_dim, kernel_init="zeros")], 1, dtype="float64")
        rows = self._some_targets
        x = np.zeros((len(rows), 1))
        trainer = Trainer(model, loss=self._trainer.loss, optimizer=LBFGS())
        try:
            trainer.fit(x, rows, epochs=_CONSTANT_STEPS, batch_size=len(rows), shuffle=False, verbose=0)
            return float(trainer.evaluate(x, rows)["loss"])
        except ValueError:
            return math.inf

    def loss_of(self, trainer: Trainer) -> float:
        """Return the loss of some samples, inf where it is not finite."""
        try:
            loss = float(trainer._core.evaluate(self._some, self._some_targets, None, False)["loss"])
        except ValueError:
            return math.inf
        return loss if math.isfinite(loss) else math.inf

    def is_better(self, loss: float, own: float, end: float) -> bool:
        """Return whether this loss gains at least twice as much as the fit and as copies at its rate."""
        gained = self.nothing - loss
        if not math.isfinite(loss) or gained < _SMALLEST_GAIN * abs(self.nothing):
            return False
        least = self.nothing - _SMALL_PART * gained  # what the fit should at least have come to
        return end > least and own > least

    def is_spoilt(self, loss: float, own: float, end: float) -> bool:
        """Return whether the fit has become worse than no inputs at all where this loss has not."""
        scale = abs(self.nothing)
        return min(end, own) > self.nothing + _SPOILT * scale and loss < self.nothing + _SMALLEST_GAIN * scale
