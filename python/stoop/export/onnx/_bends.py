"""Whether a function of elements is the layer that it looks like: compared also near its bends, and far out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from stoop.export.onnx._work import spend

Array = npt.NDArray[np.float64]
Function = Callable[[Array], Array]

_CLOSE = 2e-6  # constants in files are of float32
_NOISE = 1e-12  # up to which a number and a constant are the same
_EDGE = 40.0  # beyond it, exponentials of a file may overflow
_MOST_POINTS = 20_000
_MOST_LEVELS = 64
_HALVINGS = 50

_FAR = np.geomspace(64.0, 1e30, 114)
_NEAR = np.geomspace(1e-7, 0.1, 25)


def spread(points: Array) -> Array:
    """Return the points with others that are close to 0, and up to 1e30."""
    return np.unique(np.concatenate([points, _NEAR, -_NEAR, _FAR, -_FAR]))


def with_bends(points: Array, parts: Sequence[Function], constants: Sequence[float]) -> Array | None:
    """Return sorted points, more where a part crosses a constant of the graph, and those between all of them.

    A Clip, a Max, a Where and the like bend there. Parts come after what they are made of.

    Returns
    -------
    array or None
        None where there are too many, of them or of constants.
    """
    levels = np.unique([0.0, *(number for number in constants if np.isfinite(number))])
    if len(levels) > _MOST_LEVELS:
        return None
    for part in parts:
        points = np.unique(np.concatenate([points, _crossings(points, part, levels)]))
        if len(points) > _MOST_POINTS:
            return None
    return np.sort(np.concatenate([points, points[:-1] / 2 + points[1:] / 2]))


def _crossings(points: Array, part: Function, levels: Array) -> Array:
    """Return where a function crosses one of the levels between two points."""
    values = part(points)
    if values.shape != points.shape or values.dtype.kind != "f":
        return points[:0]
    spend(len(values) * len(levels), 4)
    over = values[:, None] - levels
    over[np.abs(over) <= _NOISE * (1.0 + np.abs(levels))] = 0.0
    left, which = np.nonzero(np.sign(over[:-1]) * np.sign(over[1:]) < 0.0)
    left, which = left[:_MOST_POINTS], which[:_MOST_POINTS]
    low, high, sign = points[left], points[left + 1], np.sign(over[left, which])
    for _ in range(_HALVINGS if len(left) else 0):
        middle = low / 2 + high / 2
        is_low = np.sign(part(middle) - levels[which]) == sign
        low, high = np.where(is_low, middle, low), np.where(is_low, high, middle)
    return np.concatenate([low, high])


def is_close(points: Array, values: Array, expected: Array) -> Array:
    """Return at which points two functions agree, as far as constants of float32 allow it."""
    size = np.abs(points)
    return np.asarray(
        np.abs(values - expected) <= _CLOSE * (1.0 + np.minimum(size, _EDGE) + np.abs(expected)) + 1e-9 * size
    )


def is_far(points: Array) -> Array:
    """Return which points a file of float32 may not reach, because an exponential overflows."""
    return np.asarray(np.abs(points) > _EDGE)
