"""Steps whose values are integers of 8 bits: ``real = scale * (q - zero)``, q from -128 to 127.

Jacob et al. 2018, "Quantization and training of neural networks for efficient integer-arithmetic-only inference",
eq. 1. To multiply with a scale is to multiply with an integer and to shift to the right (eq. 5 and 6), rounded to the
nearest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop.export._steps import Array, Step

Integers = npt.NDArray[np.int64]

LOWEST, HIGHEST = -128, 127
_BITS = 20  # of the fraction of factors for single values
_SMALLEST = float(np.finfo(np.float32).tiny)  # of scales: 1 / scale is a float32 as well


@dataclass(frozen=True)
class Grid:
    """The numbers that an int8 stands for."""

    scale: float
    zero: int

    @classmethod
    def between(cls, low: float, high: float) -> Grid:
        """Return the grid of 256 numbers from `low` to `high`, one of which is 0; a grid is no finer than float32."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max((high - low) / (HIGHEST - LOWEST), _SMALLEST) if high > low else 1.0
        return cls(scale, int(np.clip(np.rint(LOWEST - low / scale), LOWEST, HIGHEST)))

    def nearest(self, values: Array) -> Integers:
        """Return the integers that stand for the nearest numbers."""
        return np.asarray(np.clip(np.rint(values / self.scale) + self.zero, LOWEST, HIGHEST), np.int64)

    def real(self, q: Any) -> Array:
        """Return the numbers that integers stand for."""
        return np.asarray(self.scale * (q - self.zero), np.float64)


@dataclass(frozen=True, eq=False)
class Quantize(Step):
    """Float to integer: the nearest."""

    grid: Grid


@dataclass(frozen=True, eq=False)
class Dequantize(Step):
    """Integer to float."""

    grid: Grid


@dataclass(frozen=True, eq=False)
class IntAffine(Step):
    """``clip(((q @ weight + bias) * multiplier + 2**(shift - 1) >> shift) + zero, -128, 127)``."""

    weight: Integers  # int8, (source width, width) or (members, source width, width)
    bias: Integers  # int32, (width,) or (members, width), with what the zero of the source adds
    multiplier: Integers  # int32, as the bias
    shift: Integers  # 1 to 62, as the bias
    zero: int


@dataclass(frozen=True, eq=False)
class LastAffine(Step):
    """``(q @ weight + bias) * scale``, in float."""

    weight: Integers  # as those of IntAffine
    bias: Integers
    scale: Array  # as the bias


@dataclass(frozen=True, eq=False)
class Lookup(Step):
    """``table[q + 128]``: any element-wise function."""

    table: Integers  # int8, (256,)


@dataclass(frozen=True, eq=False)
class IntScale(Step):
    """``clip(q * factor + bias >> shift, -128, 127)``; half of the last place is part of the bias."""

    factor: Integers  # int32, (width,) or (members, width)
    bias: Integers  # int32, as the factor
    shift: int


@dataclass(frozen=True, eq=False)
class IntAdd(Step):
    """``clip(q * factor + other * other_factor + bias >> shift, -128, 127)``."""

    other: int
    factor: int
    other_factor: int
    bias: int
    shift: int


def weights_of(weight: Array, bias: Array, source: Grid) -> tuple[Integers, Integers, Array]:
    """Return integers for a weight and a bias, and the scale of the sums, which each column has for itself.

    Weights are symmetric around 0, up to 127. A bias that is far larger than the products makes their scale coarser, so
    that it fits.
    """
    largest = np.abs(weight).max(axis=-2)
    scale = np.maximum(largest / HIGHEST, np.abs(bias) / (source.scale * 2.0**29))
    scale = np.where(scale > 0.0, scale, 1.0)
    scale = np.broadcast_to(scale, np.broadcast_shapes(scale.shape, bias.shape))
    whole = np.rint(weight / (scale[..., None, :] if weight.ndim == 3 else np.atleast_2d(scale)[:1])).astype(np.int64)
    of_bias = np.rint(bias / (scale * source.scale)).astype(np.int64) - source.zero * whole.sum(axis=-2)
    return whole, of_bias, scale * source.scale


def largest_sum(weight: Integers, bias: Integers) -> int:
    """Return what no sum of an affine step exceeds in size."""
    return int((np.abs(bias) + -LOWEST * np.abs(weight).sum(axis=-2)).max())


def multipliers(factor: Array) -> tuple[Integers, Integers]:
    """Return integers of 31 bits and shifts: ``factor = multiplier / 2**shift``, Jacob et al. 2018, eq. 5 and 6."""
    fraction, exponent = np.frexp(factor)
    multiplier = np.rint(fraction * 2.0**31).astype(np.int64)
    full = multiplier == 2**31  # a fraction that was rounded up to 1
    multiplier, shift = np.where(full, 2**30, multiplier), 31 - exponent.astype(np.int64) - full
    return np.where(shift > 62, 0, multiplier), np.clip(shift, 1, 62)


def whole_factors(factors: list[Array], bias: Array) -> tuple[list[Integers], Integers, int] | None:
    """Return integers and a shift for what single values are multiplied with and what is then added.

    None where they need more than 31 bits.
    """
    shift, largest = _BITS, float(np.max([np.abs(part).max() for part in [*factors, bias]]))
    while shift > 1 and largest * 2.0**shift >= 2.0**30:
        shift -= 1
    if not largest * 2.0**shift <= 2.0**31 - 2.0**shift:
        return None
    whole = [np.rint(factor * 2.0**shift).astype(np.int64) for factor in factors]
    return whole, np.rint(bias * 2.0**shift).astype(np.int64) + 2 ** (shift - 1), shift
