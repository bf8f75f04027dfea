"""Whether predictions are right as often as their probabilities say."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stoop._diagnosis_figures import draw_calibration
from stoop.diagnose._statistics import wilson

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BINS = 15  # as Guo et al. 2017


@dataclass(frozen=True)
class CalibrationBin:
    """Predictions of about one confidence: their mean confidence, the share that is right, its 95 % limits."""

    confidence: float
    right: float
    samples: int
    low: float
    high: float


@dataclass(frozen=True)
class Calibration:
    """How often predictions of each confidence are right; Guo et al. 2017, "On calibration of modern neural networks".

    Attributes
    ----------
    bins : list of CalibrationBin
        Of 15 equal parts of the confidence, those that hold samples.
    expected_error : float
        Mean over the samples of the distance between confidence and share of right predictions of their bin, eq. 3.
    overconfidence : float
        Mean confidence minus accuracy: above 0 the model promises too much.
    """

    bins: list[CalibrationBin]
    expected_error: float
    overconfidence: float

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw the curve and the number of samples in each bin; PNG, PDF or SVG by the suffix.

        Raises
        ------
        ImportError
            If matplotlib is not installed; the extra ``stoop[plot]`` brings it.
        """
        rows = [(b.confidence, b.right, b.samples, b.low, b.high) for b in self.bins]
        return draw_calibration(rows, self.expected_error, path)

    def __str__(self) -> str:
        kind = "overconfident" if self.overconfidence > 0.0 else "underconfident"
        by = f"{kind} by {abs(self.overconfidence):.1%} on average"
        by = by if abs(self.overconfidence) >= 0.0005 else "right on average"
        return f"Expected calibration error {self.expected_error:.1%}, {by}."


def calibration_of(confidence: npt.NDArray[Any], right: npt.NDArray[Any]) -> Calibration:
    """Return the calibration of predictions with these confidences, (n_samples,), and whether each was right."""
    confidence = np.nan_to_num(confidence, nan=1.0)  # of outputs that are not finite
    places = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    bins, error = [], 0.0
    for place in np.unique(places):
        own = places == place
        sure, hits, n = float(confidence[own].mean()), float(right[own].mean()), int(own.sum())
        bins.append(CalibrationBin(sure, hits, n, *wilson(hits, n)))
        error += n / len(places) * abs(sure - hits)
    return Calibration(bins, error, float(confidence.mean() - right.mean()))
