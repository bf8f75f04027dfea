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
        """Return the mean of numbers with the limits of `limits_of`."""
        error, n = float(errors.mean()), len(errors)
        return cls(error, *limits_of(errors, SURE), n)


def limits_of(errors: Array, deviations: float = _TWO_SIDED) -> tuple[float, float]:
    """Return the limits of a mean: Student's, or Wilson's where all numbers are 0 or 1; one number alone has none."""
    mean, n = float(errors.mean()), len(errors)
    if bool(np.isin(errors, (0.0, 1.0)).all()):
        return wilson(mean, n, deviations)
    if n < 2:
        return 0.0, math.inf
    half = _student(deviations, n - 1) * float(errors.std()) / math.sqrt(n - 1)
    return max(mean - half, 0.0), mean + half


def _student(deviations: float, freedom: int) -> float:
    """Return the quantile of Student's distribution where that of the normal one is `deviations`.

    It is exact for one and two degrees of freedom, and within 1 % from three on (Abramowitz & Stegun 1964, 26.7.5).
    """
    inner = math.erf(deviations / math.sqrt(2.0))  # the probability between -deviations and deviations
    if freedom == 1:
        return math.tan(math.pi * inner / 2.0)
    if freedom == 2:
        return inner * math.sqrt(2.0 / (1.0 - inner**2))
    z, n = deviations, float(freedom)
    return (
        z
        + (z**3 + z) / (4.0 * n)
        + (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / (96.0 * n**2)
        + (3.0 * z**7 + 19.0 * z**5 + 17.0 * z**3 - 15.0 * z) / (384.0 * n**3)
    )


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
