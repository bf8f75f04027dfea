"""Errors with their uncertainty: a difference that chance explains is no fault."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

SURE = 1.645  # deviations of the normal distribution above which 5 % lie
_TWO_SIDED = 1.96


@dataclass(frozen=True)
class Level:
    """A mean error with the limits between which it lies, each missed with a probability of 5 %.

    Attributes
    ----------
    error, low, high : float
    samples : int or None
        None: the error is taken as exact.
    """

    error: float
    low: float
    high: float
    samples: int | None = None

    @classmethod
    def exact(cls, error: float) -> Level:
        """Return an error without uncertainty."""
        return cls(error, error, error)

    @classmethod
    def share(cls, error: float, samples: int) -> Level:
        """Return the share of samples that are wrong; its limits are those of Wilson 1927."""
        return cls(error, *wilson(error, samples, SURE), samples)

    @classmethod
    def mean(cls, errors: Array) -> Level:
        """Return the mean of numbers; its limits are those of the normal distribution, or Wilson's for 0 and 1."""
        error, n = float(errors.mean()), len(errors)
        if bool(np.isin(errors, (0.0, 1.0)).all()):
            return cls.share(error, n)
        half = SURE * float(errors.std()) / math.sqrt(max(n - 1, 1))
        return cls(error, max(error - half, 0.0), error + half, n)


def wilson(share: float, samples: int, deviations: float = _TWO_SIDED) -> tuple[float, float]:
    """Return the limits of a probability of which `share` of the samples was seen; Wilson 1927.

    They hold for shares of 0 and 1 and for few samples as well. By default 95 % lie between them.
    """
    if samples == 0:
        return 0.0, 1.0
    square = deviations**2 / samples
    center = (share + square / 2.0) / (1.0 + square)
    half = deviations * math.sqrt(share * (1.0 - share) / samples + square / (4.0 * samples)) / (1.0 + square)
    return max(center - half, 0.0), min(center + half, 1.0)


def surely_above(low: Level, high: Level) -> float:
    """Return by how much `high` is above `low` at least, with 95 % confidence; Newcombe 1998, method 10.

    It combines the limits of the two, as those of independent samples.
    """
    return high.error - low.error - math.hypot(high.error - high.low, low.high - low.error)
