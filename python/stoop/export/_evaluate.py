"""The values of all steps for rows of X, in NumPy: to calibrate integers by, and to test exports against."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop.activations import Activation
from stoop.export._encodings import Column, Embedding, Indicator, Ladder, LinearLadder, Number, Wave
from stoop.export._steps import (
    INPUT,
    Activate,
    Add,
    Affine,
    Array,
    Combine,
    Encode,
    Normalize,
    NormalizeRow,
    Scale,
    Step,
)
from stoop.layers import Dense
from stoop.model import Model


def evaluate(steps: Sequence[Step], X: npt.NDArray[Any]) -> list[Array]:
    """Return the value of each step, ``(n_samples, members, width)``."""
    values: list[Array] = []
    x = np.asarray(X, np.float64)[:, None, :]
    with np.errstate(over="ignore", invalid="ignore"):
        for step in steps:
            source = x if step.source == INPUT else values[step.source]
            other = None if not isinstance(step, Add) else x if step.other == INPUT else values[step.other]
            values.append(_value(step, source, other))
    return values


def activate(function: Activation, z: Array) -> Array:
    """Return an element-wise function of z, as the core computes it in float64."""
    model = Model([Dense(1, function, kernel_init="ones")], input_dim=1, dtype="float64")
    value: Array = model.predict(z.reshape(-1, 1)).reshape(z.shape)
    return value


def _value(step: Step, x: Array, other: Array | None) -> Array:
    if isinstance(step, Scale):
        value: Array = x * step.scale + (0.0 if step.bias is None else step.bias)
    elif isinstance(step, Affine):
        value = (x[..., None, :] @ step.weight)[..., 0, :] + step.bias
    elif isinstance(step, Activate):
        value = activate(step.function, x)
    elif isinstance(step, NormalizeRow):
        centred = x - x.mean(axis=2, keepdims=True)
        value = step.gamma * centred / np.sqrt((centred**2).mean(axis=2, keepdims=True) + step.eps) + step.beta
    elif isinstance(step, Add):
        assert other is not None
        value = x + other
    elif isinstance(step, Normalize):
        z = (x - step.shift) * step.scale
        value = clipped(z if step.missing is None else np.where(np.isnan(x), step.missing, z), step.clip)
    elif isinstance(step, Encode):
        z = np.where(np.isnan(x), step.missing, (x - step.shift) * step.scale)
        parts = [_encoded(column, x[:, 0, j], z[:, 0, j]) for j, column in enumerate(step.columns)]
        value = np.concatenate(parts, axis=1)[:, None, :]
    else:
        assert isinstance(step, Combine), step
        value = _combined(step.output, x)[:, None, :]
    return value


def clipped(z: Array, clip: float | None) -> Array:
    """Return ``z / sqrt(1 + (z / clip)**2)``."""
    if clip is None:
        return z
    within = np.clip(z, -clip * 2.0**40, clip * 2.0**40)
    value: Array = within / np.sqrt(1.0 + (within / clip) ** 2)
    return value


def _encoded(column: Column, x: Array, z: Array) -> Array:
    if isinstance(column, Number):
        return clipped(z, column.clip)[:, None]
    if isinstance(column, Wave):
        angles = 2.0 * pi * np.outer(clipped(z, column.clip), column.frequencies)
        waves = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
        return np.asarray(np.maximum(waves @ column.weight + column.bias, 0.0))
    if isinstance(column, Ladder):
        return _ladder(column, z)
    if isinstance(column, LinearLadder):
        number = np.outer(clipped(z, column.clip), column.linear)
        return np.asarray(number + _ladder(column, z) @ column.weight + column.bias)
    out: Array = np.zeros((len(x), column.width))
    rows = np.arange(len(x))
    known = len(column.table) - 2 if isinstance(column, Embedding) else column.width
    is_known = (x >= 0) & (x < known) & (x == np.floor(x))
    index = np.where(is_known, x, np.where(np.isnan(x) | (x == -1), known, known + 1)).astype(np.int64)
    if isinstance(column, Embedding):
        return column.table[index]
    assert isinstance(column, Indicator)
    out[rows[is_known], index[is_known]] = 1.0
    return out


def _ladder(column: Ladder | LinearLadder, z: Array) -> Array:
    out: Array = np.zeros((len(z), column.bins))
    if column.bins > 0:
        index = np.maximum(np.searchsorted(column.left, z, side="right") - 1, 0)
        out[np.arange(column.bins) < index[:, None]] = 1.0
        out[np.arange(len(z)), index] = (z - column.left[index]) * column.slope[index]
    return out


def _combined(output: str, x: Array) -> Array:
    if output == "identity":
        value: Array = x.mean(axis=1)
    elif output == "softmax":
        log_p = x - np.logaddexp.reduce(x, axis=2, keepdims=True)
        value = np.logaddexp.reduce(log_p, axis=1) - np.log(x.shape[1])
    else:
        value = np.logaddexp.reduce(-np.logaddexp(0.0, -x), axis=1) - np.logaddexp.reduce(-np.logaddexp(0.0, x), axis=1)
    return value
