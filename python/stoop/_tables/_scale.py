"""TargetScale: the mean and deviation of the values that a network learns."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stoop._tables._text import LARGEST

if TYPE_CHECKING:
    from stoop.model import Model

_WIDE, _LARGE = 1e4, 1e15  # deviations from zero; a deviation, whose square float32 holds
_FAR = 1e150  # the square of a larger value does not fit float64, and that of one below its reciprocal is 0


@dataclass(frozen=True)
class TargetScale:
    """Values are learnt with mean 0 and deviation 1; the last layer then gives them in their own unit. A deviation of 0
    is that of values which are all the same: the last layer gives their mean, whatever was learnt.

    Not where float32 would lose what tells them apart: the layer then gives them as they were learnt, and what uses the
    model brings them to their unit in float64. Several outputs have a mean and a deviation each.
    """

    mean: float | tuple[float, ...] = 0.0
    deviation: float | tuple[float, ...] = 1.0

    @classmethod
    def of_values(cls, y: Any, weights: Any = None) -> TargetScale:
        """Return that of float64 values, (n_rows,) or (n_rows, n_outputs)."""
        size = np.abs(y).max(axis=0)
        unit = np.where((size > _FAR) | ((size < 1.0 / _FAR) & (size > 0.0)), size, 1.0)
        y = y / unit
        mean = np.average(y, axis=0, weights=weights)
        deviation = unit * np.sqrt(np.average((y - mean) ** 2, axis=0, weights=weights))
        mean = unit * mean
        if y.ndim == 1:
            return cls(float(mean), float(deviation))
        return cls(tuple(mean.tolist()), tuple(deviation.tolist()))

    @classmethod
    def from_state(cls, state: Any) -> TargetScale:
        """Return the scale of `to_state`."""
        mean, deviation = (tuple(map(float, part)) if isinstance(part, list) else float(part) for part in state)
        return cls(mean, deviation)

    def to_state(self) -> list[Any]:
        """Return what JSON can hold."""
        return [list(part) if isinstance(part, tuple) else part for part in asdict(self).values()]

    def scaled(self, y: Any) -> Any:
        """Return targets for training."""
        if self == TargetScale():
            return y
        return (y - np.asarray(self.mean)) / self._divisor

    @property
    def _divisor(self) -> Any:
        return np.where(np.asarray(self.deviation) == 0.0, 1.0, self.deviation)

    @property
    def is_wide(self) -> bool:
        """Whether float32 cannot hold the values."""
        mean, deviation = np.abs(self.mean), np.asarray(self.deviation)
        with np.errstate(over="ignore"):
            is_near = (mean <= _WIDE * deviation) & (deviation > 1.0 / LARGEST) & (deviation < _LARGE)
        is_same = (deviation == 0.0) & (mean < LARGEST)
        return not bool((is_near | is_same).all())

    def values(self, outputs: Any) -> Any:
        """Return the outputs of a model that was saved in the unit of the target."""
        if not self.is_wide:
            return outputs
        return outputs.astype(np.float64) * np.asarray(self.deviation) + np.asarray(self.mean)

    def undo(self, model: Model) -> None:
        """Let the last layer give values in their own unit."""
        for weight, bias in self._last(model):
            weight *= self.deviation
            bias *= self.deviation
            bias += self.mean

    def redo(self, model: Model) -> None:
        """Let the last layer give values as they were learnt."""
        for weight, bias in self._last(model):
            weight /= self._divisor
            bias -= self.mean
            bias /= self._divisor

    def _last(self, model: Model) -> list[tuple[Any, Any]]:
        """Return weight and bias of the last layer, if that is to give values in their own unit."""
        if self == TargetScale() or self.is_wide:
            return []
        index, parameters = len(model.layers) - 1, model.parameters()
        return [(parameters[f"{index}.weight"], parameters[f"{index}.bias"])]
