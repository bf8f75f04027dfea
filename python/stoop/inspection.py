"""What a look at training finds: the losses over a range of learning rates."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stoop._figures import TEXT, TRAIN, VALIDATION, finished, new_figure, style

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
        figure = new_figure(5.6, 3.7)
        axes = figure.add_subplot()
        axes.plot(self.rates, self.losses, color=TRAIN, linewidth=0.8, alpha=0.4, label="each batch")
        axes.plot(self.rates, self.smoothed, color=TRAIN, linewidth=1.8, label="smoothed")
        if self.suggestion is not None:
            axes.axvline(self.suggestion, color=VALIDATION, label=f"suggestion {self.suggestion:.2g}")
        style(axes, grid=True)
        axes.set_xscale("log")
        low, high = self.smoothed.min(), self.smoothed[0]
        margin = max(high - low, abs(high) * 0.1, 1e-12)
        axes.set_ylim(low - 0.3 * margin, high + margin)
        axes.set_xlabel("learning rate", color=TEXT)
        axes.set_title("loss", loc="left", fontsize=10, color=TEXT)
        axes.legend(frameon=False, fontsize=9, labelcolor=TEXT)
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
    """Return a mean that lags behind neither way, unlike one of the losses before alone."""
    places = np.arange(len(losses))
    weights = np.exp(-0.5 * ((places[:, None] - places) / _width(losses)) ** 2)
    smoothed: npt.NDArray[np.float64] = weights @ losses / weights.sum(axis=1)
    return smoothed
