"""The part of a `stoop.Trainer` that tries out training on a copy: which learning rate fits, where the time goes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop import _core
from stoop._checks import POSITIVE, integer, real
from stoop._core import NonFiniteLossError
from stoop._errors import message
from stoop._measuring import Measuring
from stoop.inspection import LearningRateSearch, Profile, profile_of, search_of
from stoop.optimizers import FullBatchOptimizer

_MEMORY = 0.9  # of the running mean that notices divergence; some ten batches


class Inspecting(Measuring):
    """The methods of a `stoop.Trainer` that train a copy of it. The trainer and its model stay as they are."""

    def find_learning_rate(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        batch_size: int = 128,
        low: float = 1e-6,
        high: float = 1.0,
        steps: int = 200,
    ) -> LearningRateSearch:
        """Train a copy with a learning rate that grows from `low` to `high`, and suggest one.

        Smith 2017, section 3.3, with an exponential ramp, as fastai does it: the suggestion is the rate at which the
        smoothed loss falls fastest over the logarithm of the rate. It ends early when the loss has lost what it had
        gained and is four times the lowest, or is not finite. The trainer and its model are as before, to the bit.

        Parameters
        ----------
        X, y : array_like
            As in `fit`; a random order, again and again.
        batch_size : int, default 128
            Samples per update, >= 1; all of X where it has fewer.
        low, high : float, default 1e-6 and 1.0
            The first and the last rate, 0 < low < high.
        steps : int, default 200
            Updates, >= 10.

        Returns
        -------
        LearningRateSearch
            With `suggestion`, `rates`, `losses` and `plot`.

        Raises
        ------
        ValueError, TypeError
            For data that cannot be used, values outside their ranges, and for optimizers of the full batch, whose rate
            is the length of a step.
        NonFiniteLossError
            If the loss is not finite from the start.
        """
        where = "Trainer.find_learning_rate"
        batch_size = integer(where, "batch_size", batch_size, 1, hint="32 to 512 is usual")
        low, high = real(where, "low", low, POSITIVE), real(where, "high", high, POSITIVE)
        if low >= high:
            given = f"low is {low:g} and high {high:g}"
            raise ValueError(message(where, given, "expected low < high", "1e-6 and 1 are usual"))
        steps = integer(where, "steps", steps, 10, hint="100 to 500 is usual")
        self._refuse_full_batch(where)
        twin = copy.deepcopy(self)
        data = twin._batch(where, X, y, None, learn=True)
        if not twin._model.is_adapted:
            twin._model.adapt(data[0])
        rates = low * (high / low) ** (np.arange(steps) / (steps - 1))
        losses = np.array(list(_losses(twin, rates, data, batch_size)))
        return search_of(rates[: len(losses)], losses)

    def profile(self, X: npt.ArrayLike, y: npt.ArrayLike, batch_size: int = 128) -> Profile:
        """Measure how long each step takes that `fit` makes with a batch: gather, products, loss, gradients, updates.

        It trains a copy for about half a second, or three batches where these take longer, on as many threads as `fit`
        uses, with a learning rate so small that nothing changes. The trainer and its model are as before, to the bit.
        The peak of the machine is measured too, and takes some 30 ms.

        Parameters
        ----------
        X, y : array_like
            As in `fit`.
        batch_size : int, default 128
            Samples per update, >= 1; all of X where it has fewer.

        Returns
        -------
        Profile
            A row for each step, with microseconds, GFLOP/s, share of the peak and GB/s; ``print`` shows a table.

        Raises
        ------
        ValueError, TypeError
            For data that cannot be used, a `batch_size` below 1, and for optimizers of the full batch.
        NonFiniteLossError
            If the loss is not finite.
        """
        where = "Trainer.profile"
        batch_size = integer(where, "batch_size", batch_size, 1, hint="give that of the fit")
        self._refuse_full_batch(where)
        x, targets, _ = self._batch(where, X, y, None)
        found = self._core.profile(x, targets, batch_size)
        peak = _core.measure_fma_peak(self._dtype.name, found["threads"])
        return profile_of(found, peak, min(batch_size, len(x)))

    def _refuse_full_batch(self, where: str) -> None:
        needs_all = isinstance(self._optimizer, FullBatchOptimizer)
        if needs_all:
            given = f"the optimizer is {type(self._optimizer).__name__}"
            raise ValueError(message(where, given, "expected one of mini-batches", "make a Trainer with Adam or SGD"))


def _losses(
    twin: Inspecting, rates: npt.NDArray[np.float64], data: tuple[Any, ...], batch_size: int
) -> Iterator[float]:
    """Yield the loss of a batch for each rate, until training diverges."""
    x, targets, _ = data
    mean, best, first = 0.0, float("inf"), float("nan")
    for step, (rate, rows) in enumerate(zip(rates, _batches(len(x), batch_size, twin.seed))):
        twin.learning_rate = float(rate)
        try:
            loss = twin._core.step(x[rows], targets[rows])
        except NonFiniteLossError:
            if step == 0:
                raise
            return
        yield loss
        first = loss if step == 0 else first
        mean = _MEMORY * mean + (1.0 - _MEMORY) * loss
        now = mean / (1.0 - _MEMORY ** (step + 1))
        best = min(best, now)
        if now > best + max(3.0 * abs(best), first - best):
            return


def _batches(samples: int, batch_size: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the rows of one batch after another without end, all of one size."""
    rng = np.random.default_rng(seed)
    size = min(batch_size, samples)
    while True:
        order = rng.permutation(samples)
        for start in range(0, samples - size + 1, size):
            yield order[start : start + size]
