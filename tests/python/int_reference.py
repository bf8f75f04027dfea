"""Networks of integers in plain NumPy, with int64 throughout: what an exported header must compute, to the bit.

Rounding is that of a shift: to the nearest, halves upwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop.export import _evaluate
from stoop.export._steps import INPUT, Add, Step
from stoop.export.c import _int_steps as ints

Array = npt.NDArray[Any]


def predict(steps: Sequence[Step], X: Array) -> Array:
    """Return the outputs for float32 rows, (n_samples, width)."""
    values: list[Array] = []
    x = X.astype(np.float32)[:, None, :]
    for step in steps:
        read = [x if place == INPUT else values[place] for place in (step.source, getattr(step, "other", INPUT))]
        values.append(value_of(step, *read))
    return values[-1][:, 0]


def is_exact(steps: Sequence[Step]) -> bool:
    """Whether there is no step in float but for the first and the last."""
    kinds = (ints.Quantize, ints.IntAffine, ints.Lookup, ints.IntScale, ints.IntAdd)
    return isinstance(steps[-1], ints.LastAffine) and all(isinstance(step, kinds) for step in steps[:-1])


def value_of(step: Step, x: Array, other: Array) -> Array:
    if isinstance(step, ints.Quantize):
        low, high = np.float32(-128 - step.grid.zero), np.float32(127 - step.grid.zero)
        z = x.astype(np.float32) * np.float32(1.0 / step.grid.scale)
        return np.rint(np.clip(z, low, high)).astype(np.int64) + step.grid.zero
    if isinstance(step, ints.Dequantize):
        return (x - step.grid.zero).astype(np.float32) * np.float32(step.grid.scale)
    if isinstance(step, ints.IntAffine):
        sums = sums_of(step, x)
        rounded = np.floor_divide(sums * step.multiplier + (np.int64(1) << (step.shift - 1)), np.int64(1) << step.shift)
        return np.clip(rounded + step.zero, -128, 127)
    if isinstance(step, ints.LastAffine):
        return sums_of(step, x).astype(np.float32) * step.scale.astype(np.float32)
    if isinstance(step, ints.Lookup):
        return step.table[x + 128]
    if isinstance(step, ints.IntScale):
        return np.clip(np.floor_divide(x * step.factor + step.bias, 2**step.shift), -128, 127)
    if isinstance(step, ints.IntAdd):
        sums = x * step.factor + other * step.other_factor + step.bias
        return np.clip(np.floor_divide(sums, 2**step.shift), -128, 127)
    x, other = x.astype(np.float64), other.astype(np.float64)
    return _evaluate._value(step, x, other if isinstance(step, Add) else None)


def sums_of(step: Any, x: Array) -> Array:
    sums = (x[..., None, :] @ step.weight)[..., 0, :] + step.bias
    assert np.abs(sums).max() < 2**31
    assert np.abs(step.weight).max() <= 127
    return sums
