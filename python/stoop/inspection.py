"""What a look at training finds: the losses over a range of learning rates, where the time of a step goes."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stoop._figures import TEXT, TRAIN, VALIDATION, finished, legend, new_figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WINDOWS = 25  # in the range: a smoothed loss takes in this part of the steps to either side
_DEVIATIONS = 6.0  # by which a fall must exceed that of chance: the range of some twenty means is four of them
_FEWEST = 10  # losses, below which a slope says nothing


@dataclass(frozen=True, eq=False)
class LearningRateSearch:
    """Losses while the learning rate grows, from `Trainer.find_learning_rate`.

    Attributes
    ----------
    suggestion : float or None
        The rate at which the smoothed loss falls fastest; None if it falls by no more than chance would have it.
    rates : ndarray, (n_steps,)
        The learning rate of each update that was made.
    losses : ndarray, (n_steps,)
        The loss of its batch before the update, regularisation included.
    smoothed : ndarray, (n_steps,)
        The mean of neighbouring losses, weighted by a bell.
    """

    suggestion: float | None
    rates: npt.NDArray[np.float64]
    losses: npt.NDArray[np.float64]
    smoothed: npt.NDArray[np.float64]

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw the losses over the learning rates, with the suggestion.

        Parameters
        ----------
        path : path, optional
            Where to write it as PNG (or PDF, SVG by the suffix).

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        figure = new_figure(5.6, 3.9, "Learning rate")
        axes = figure.add_subplot()
        axes.plot(self.rates, self.losses, color=TRAIN, linewidth=0.8, alpha=0.4, label="each batch")
        axes.plot(self.rates, self.smoothed, color=TRAIN, linewidth=1.8, label="smoothed")
        if self.suggestion is not None:
            axes.axvline(self.suggestion, color=VALIDATION, linestyle="--", label=f"suggestion {self.suggestion:.2g}")
        axes.set_xscale("log")
        style(axes, grid=True, title="loss", xlabel="learning rate (logarithmic)", ylabel="loss, mean of a batch")
        low, high = self.smoothed.min(), self.smoothed[0]
        margin = max(high - low, abs(high) * 0.1, 1e-12)
        axes.set_ylim(low - 0.3 * margin, high + margin)
        legend(axes)
        return finished(figure, path)

    def __repr__(self) -> str:
        suggestion = "None" if self.suggestion is None else f"{self.suggestion:.3g}"
        return f"LearningRateSearch(suggestion={suggestion}, {len(self.rates)} steps up to {self.rates[-1]:.3g})"


def search_of(rates: npt.NDArray[np.float64], losses: npt.NDArray[np.float64]) -> LearningRateSearch:
    """Return the search that made these losses at rates that grow exponentially."""
    smoothed = _smoothed(losses)
    lowest = int(smoothed.argmin())
    if len(losses) < _FEWEST or smoothed[: lowest + 1].max() - smoothed[lowest] <= _chance(losses, smoothed, lowest):
        return LearningRateSearch(None, rates, losses, smoothed)
    slopes = np.gradient(smoothed, np.log(rates))[: lowest + 1]
    return LearningRateSearch(float(rates[slopes.argmin()]), rates, losses, smoothed)


def _chance(losses: npt.NDArray[np.float64], smoothed: npt.NDArray[np.float64], lowest: int) -> float:
    """Return how much the smoothed loss may fall by the noise of the batches, or by rounding, alone."""
    noise = float(np.std((losses - smoothed)[: lowest + 1]))
    in_a_mean = 2.0 * math.sqrt(math.pi) * _width(losses)  # as many losses make one of the smoothed
    return max(_DEVIATIONS * noise / math.sqrt(in_a_mean), 1e-9 * float(np.abs(losses).max()))


def _width(losses: npt.NDArray[np.float64]) -> float:
    return max(len(losses) / _WINDOWS, 1.0)


def _smoothed(losses: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return a mean of losses on both sides of each step, which is not late as a mean of earlier ones is."""
    places = np.arange(len(losses))
    weights = np.exp(-0.5 * ((places[:, None] - places) / _width(losses)) ** 2)
    smoothed: npt.NDArray[np.float64] = weights @ losses / weights.sum(axis=1)
    return smoothed


@dataclass(frozen=True)
class ProfileRow:
    """A step of the plan that `Trainer.fit` walks for each batch.

    Attributes
    ----------
    name : str
        What it does, with the parameter and its size; what a product does as it writes its result comes after a +.
    microseconds : float
        For a batch, on the thread that calls `fit`; the other threads do their part meanwhile.
    gflops : float or None
        10**9 operations per second of a matrix product, by all threads; None for other steps.
    peak_share : float or None
        Of the peak of fused multiply-adds of as many threads, in the model's dtype.
    gb_per_s : float or None
        10**9 bytes that it reads and writes per second, from cache or memory; None for waiting.
    """

    name: str
    microseconds: float
    gflops: float | None
    peak_share: float | None
    gb_per_s: float | None


@dataclass(frozen=True)
class Profile:
    """Where the time of a batch of `Trainer.fit` goes, from `Trainer.profile`.

    Attributes
    ----------
    rows : list of ProfileRow
        The steps in the order of the plan; the last one is "waiting": for other threads, and between batches.
    microseconds : float
        Of a batch, measured apart, without a look at the clock between steps; the rows add up to it but for some
        percent. Both are of the fastest of several measurements, and `fit` takes longer where other programs run.
    batch_size, threads : int
        Of the batch.
    peak_gflops : float
        10**9 operations per second of fused multiply-adds on these threads.
    """

    rows: list[ProfileRow]
    microseconds: float
    batch_size: int
    threads: int
    peak_gflops: float

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw the time of each step as a bar, and its share of the peak beside it.

        Parameters
        ----------
        path : path, optional
            Where to write it as PNG (or PDF, SVG by the suffix).

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        figure = new_figure(8.0, 1.2 + 0.26 * len(self.rows), "Time of a step")
        axes = figure.add_subplot()
        places = range(len(self.rows))
        colors = [VALIDATION if row.gflops is None else TRAIN for row in self.rows]
        bars = axes.barh(places, [row.microseconds for row in self.rows], color=colors, height=0.7)
        shares = ["" if row.peak_share is None else f"{row.peak_share:.0%} of the peak" for row in self.rows]
        axes.bar_label(bars, shares, padding=3, fontsize=8, color=TEXT)
        style(axes, grid=True, title=self._summary(), xlabel="microseconds", ylabel="step of the plan")
        axes.set_yticks(places, [row.name for row in self.rows])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.25)
        return finished(figure, path)

    def _summary(self) -> str:
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        return f"{self.microseconds:,.1f} microseconds for a batch of {self.batch_size} on {threads}"

    def __str__(self) -> str:
        width = max(len(row.name) for row in self.rows)
        lines = [self._summary(), f"{'step':<{width}}  microseconds  GFLOP/s  of peak    GB/s"]
        for row in self.rows:
            gflops = "" if row.gflops is None else f"{row.gflops:,.1f}"
            share = "" if row.peak_share is None else f"{row.peak_share:.0%}"
            moved = "" if row.gb_per_s is None else f"{row.gb_per_s:,.1f}"
            line = f"{row.name:<{width}}  {row.microseconds:>12,.2f}  {gflops:>7}  {share:>7}  {moved:>6}"
            lines.append(line.rstrip())
        return "\n".join(lines)


def profile_of(found: dict[str, Any], peak: float, batch_size: int) -> Profile:
    """Return the profile of what the core found: steps (name, seconds, flops, bytes)."""
    rows = []
    for name, seconds, flops, moved in found["steps"]:
        timed = seconds > 0.0
        gflops = flops / seconds * 1e-9 if timed and flops else None
        share = None if gflops is None else gflops / peak
        rows.append(ProfileRow(name, seconds * 1e6, gflops, share, moved / seconds * 1e-9 if timed and moved else None))
    return Profile(rows, found["seconds"] * 1e6, batch_size, found["threads"], peak)
