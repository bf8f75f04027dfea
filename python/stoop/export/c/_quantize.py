"""From steps in float to steps in integers of 8 bits, by what the values are for the rows of a calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._errors import message
from stoop.export._evaluate import activate, evaluate
from stoop.export._steps import INPUT, NOWHERE, Activate, Add, Affine, Array, NormalizeRow, Scale, Step
from stoop.export.c._int_steps import (
    HIGHEST,
    LOWEST,
    Dequantize,
    Grid,
    IntAdd,
    IntAffine,
    Integers,
    IntScale,
    LastAffine,
    Lookup,
    Quantize,
    largest_sum,
    multipliers,
    weights_of,
    whole_factors,
)

_LARGEST = float(np.finfo(np.float32).max) / 2  # so that no range is beyond float32
_CLIPS = ("relu", "relu6")  # activations that clip: the ends of the grid of their values do so
# Where a function is flat: a wider grid of its input would only be coarser. The values differ by less than 1e-3 there.
_FLAT = {"tanh": (-4.0, 4.0), "sigmoid": (-8.0, 8.0), "elu": (-7.0, np.inf), "selu": (-7.0, np.inf)}
_FLAT |= {"silu": (-9.0, np.inf), "softplus": (-9.0, np.inf), "mish": (-9.0, np.inf)}
_FLAT |= {"gelu": (-4.0, np.inf), "hard_swish": (-3.0, np.inf)}


def quantize(steps: Sequence[Step], X: npt.NDArray[Any], where: str) -> tuple[Step, ...]:
    """Return steps that compute with integers from the first product to the last.

    Before and after them, and in a LayerNorm between them, they are in float.

    Raises
    ------
    ValueError
        For what may leave 32 bits: sums of a product, factors of a scale; and values beyond float32.
    """
    return _Quantizer(steps, X, where).run()


class _Quantizer:
    def __init__(self, steps: Sequence[Step], X: npt.NDArray[Any], where: str) -> None:
        self._steps, self._where = steps, where
        self._X, self._values = np.asarray(X, np.float64), evaluate(steps, X)
        products = [place for place, step in enumerate(steps) if isinstance(step, Affine)]
        self._first, self._last = products[0], products[-1]
        self._made: list[Step] = []
        self._floats, self._integers = {INPUT: INPUT}, dict[int, int]()  # new places of values, by their old ones
        self._grids: dict[int, Grid] = {}

    def run(self) -> tuple[Step, ...]:
        for place, step in enumerate(self._steps):
            if not self._first <= place <= self._last or isinstance(step, NormalizeRow):
                self._keep(place, step)
            elif isinstance(step, Affine):
                self._affine(place, step)
            elif isinstance(step, Activate) and not self._is_clip(place):
                self._lookup(place, step)
            elif isinstance(step, Scale):
                self._scale(place, step)
            elif isinstance(step, Add):
                self._add(place, step)
            else:
                assert place in self._integers, step  # a clip, which the product before has made
        return tuple(self._made)

    # ---- values ----

    def _grid(self, place: int) -> Grid:
        """Return the grid of a value, from its smallest number to its largest; it is chosen once."""
        if place not in self._grids:
            value = self._X if place == INPUT else self._values[place]
            low, high = float(value.min()), float(value.max())
            reader = self._steps[place + 1] if place + 1 < len(self._steps) else None
            if isinstance(reader, Activate) and reader.source == place and self._reads(place) == 1:
                flat = _FLAT.get(reader.function.type_name, (-np.inf, np.inf))
                low, high = max(low, flat[0]), min(high, flat[1])
            if not max(high, -low) <= _LARGEST:
                what = "calibration" if place == INPUT else f"{self._steps[place].layer}, for the calibration,"
                given = f"{what} reaches {max(high, -low):.3g}"
                raise ValueError(
                    message(self._where, given, "expected values below 1.7e38", "look at X and the weights")
                )
            self._grids[place] = Grid.between(low, high)
        return self._grids[place]

    def _reads(self, place: int) -> int:
        return sum((step.source == place) + (isinstance(step, Add) and step.other == place) for step in self._steps)

    def _shape(self, place: int) -> tuple[int, int]:
        return (1, self._X.shape[1]) if place == INPUT else (self._steps[place].members, self._steps[place].width)

    def _float(self, place: int) -> int:
        """Return where the value is in float."""
        if place not in self._floats:
            made = Dequantize(self._integers[place], *self._shape(place), NOWHERE, grid=self._grid(place))
            self._floats[place] = self._put(made)
        return self._floats[place]

    def _integer(self, place: int) -> int:
        """Return where the value is in integers."""
        if place not in self._integers:
            made = Quantize(self._floats[place], *self._shape(place), NOWHERE, grid=self._grid(place))
            self._integers[place] = self._put(made)
        return self._integers[place]

    def _put(self, step: Step) -> int:
        self._made.append(step)
        return len(self._made) - 1

    # ---- steps ----

    def _keep(self, place: int, step: Step) -> None:
        source = self._float(step.source)
        if isinstance(step, Add):
            step = replace(step, other=self._float(step.other))
        self._floats[place] = self._put(replace(step, source=source))

    def _is_clip(self, place: int) -> bool:
        """Return whether it is an activation that is nothing but a clip, of a product that nothing else reads."""
        step = self._steps[place] if place < len(self._steps) else None
        if not isinstance(step, Activate) or step.function.type_name not in _CLIPS:
            return False
        before = self._steps[step.source] if step.source != INPUT else None
        return isinstance(before, Affine) and step.source == place - 1 and self._reads(step.source) == 1

    def _affine(self, place: int, step: Affine) -> None:
        source, grid = self._integer(step.source), self._grid(step.source)
        weight, bias, scale = weights_of(step.weight, step.bias, grid)
        if largest_sum(weight, bias) >= 2**31:
            given = f"{step.layer} has {step.weight.shape[-2]:,} inputs, whose sum of products may leave 32 bits"
            hint = 'use dtype="float32", or a smaller layer'
            raise ValueError(message(self._where, given, "expected sums below 2^31", hint))
        common = (source, step.members, step.width, step.layer, weight, bias)
        if place == self._last:
            self._floats[place] = self._put(LastAffine(*common, scale=scale))
            return
        made = place + 1 if self._is_clip(place + 1) else place
        to = self._grid(made)
        multiplier, shift = multipliers(scale / to.scale)
        self._integers[made] = self._put(IntAffine(*common, multiplier, shift, to.zero))

    def _lookup(self, place: int, step: Activate) -> None:
        source, grid = self._integer(step.source), self._grid(step.source)
        values = activate(step.function, grid.real(np.arange(LOWEST, HIGHEST + 1)))
        table = self._grid(place).nearest(values)
        self._integers[place] = self._put(Lookup(source, step.members, step.width, step.layer, table))

    def _scale(self, place: int, step: Scale) -> None:
        source, grid, to = self._integer(step.source), self._grid(step.source), self._grid(place)
        factor = step.scale * (grid.scale / to.scale)
        bias = to.zero - factor * grid.zero + (0.0 if step.bias is None else step.bias / to.scale)
        (whole,), rest, shift = self._whole(step, [factor], np.asarray(bias, np.float64))
        self._integers[place] = self._put(IntScale(source, step.members, step.width, step.layer, whole, rest, shift))

    def _whole(self, step: Step, factors: list[Array], bias: Array) -> tuple[list[Integers], Integers, int]:
        found = whole_factors(factors, bias)
        if found is None:
            given = f"{step.layer} multiplies with factors that need more than 32 bits"
            hint = 'use dtype="float32", or rows of calibration for which all of its inputs differ'
            raise ValueError(message(self._where, given, "expected factors of about the size of the values", hint))
        return found

    def _add(self, place: int, step: Add) -> None:
        source, other, to = self._integer(step.source), self._integer(step.other), self._grid(place)
        grids = self._grid(step.source), self._grid(step.other)
        factors = [np.array(grid.scale / to.scale) for grid in grids]
        bias: Array = np.asarray(to.zero - sum(factor * grid.zero for factor, grid in zip(factors, grids)))
        (factor, of_other), rest, shift = self._whole(step, factors, bias)
        numbers = int(factor), int(of_other), int(rest), shift
        self._integers[place] = self._put(IntAdd(source, step.members, step.width, step.layer, other, *numbers))
