"""What a `Columns` makes of each column of X, with the arrays that it needs: a part of the steps of exports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop.layers import Columns

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Column:
    """What a column of X becomes: `width` columns from `first` on."""

    first: int
    width: int


@dataclass(frozen=True, eq=False)
class Ladder(Column):
    """The piecewise-linear encoding: bin k begins at ``left[k]`` and has 1 / its width in ``slope[k]``."""

    left: Array  # (at most width bins,): the columns after them are 0
    slope: Array

    @property
    def bins(self) -> int:
        """The numbers of the encoding."""
        return self.width


@dataclass(frozen=True, eq=False)
class LinearLadder(Column):
    """``z * linear + e @ weight + bias``, e the `Ladder` of z; z alone is clipped or not."""

    left: Array  # (at most `bins`,)
    slope: Array
    linear: Array  # (width,)
    weight: Array  # (bins, width)
    bias: Array  # (width,)
    clip: float | None

    @property
    def bins(self) -> int:
        """The numbers of the encoding."""
        return len(self.weight)


@dataclass(frozen=True)
class Number(Column):
    """The scaled number itself, clipped or not."""

    clip: float | None


@dataclass(frozen=True, eq=False)
class Wave(Column):
    """``relu([cos(2 pi c z), sin(2 pi c z)] @ weight + bias)`` of the scaled number z, clipped before or not."""

    frequencies: Array  # (frequencies,)
    weight: Array  # (2 * frequencies, width)
    bias: Array  # (width,)
    clip: float | None


@dataclass(frozen=True)
class Indicator(Column):
    """1 at the place of the code, else 0; `width` is the number of known codes."""


@dataclass(frozen=True, eq=False)
class Embedding(Column):
    """The row of a table: the known codes, then missing (NaN or -1), then unknown."""

    table: Array  # (codes + 2, width)


def columns_of(layer: Columns, width: int, arrays: Mapping[str, Array]) -> tuple[Column, ...]:
    """Return what becomes of each of `width` columns of X, with the arrays of a model that begins with the layer."""
    return _Encoding(layer, arrays).columns(width)


class _Encoding:
    def __init__(self, layer: Columns, arrays: Mapping[str, Array]) -> None:
        self._layer, self._arrays = layer, arrays
        self._number, self._bin, self._row = 0, 0, 0  # so far

    def columns(self, width: int) -> tuple[Column, ...]:
        codes, columns, first = dict(self._layer.categories or ()), [], 0
        for index in range(width):
            known = codes.get(index)
            column = self._of_number(first) if known is None else self._of_codes(first, known)
            columns.append(column)
            first += column.width
        return tuple(columns)

    def _of_codes(self, first: int, known: int) -> Column:
        layer = self._layer
        if known <= layer.one_hot:
            return Indicator(first, known)
        rows = slice(self._row, self._row + known + 2)
        self._row += known + 2
        return Embedding(first, layer.embedding_dim, self._arrays["0.embedding"][rows])

    def _of_number(self, first: int) -> Column:
        layer, number = self._layer, self._number
        self._number += 1
        if layer.encoding == "periodic":
            waves = slice(number * 2 * layer.frequencies, (number + 1) * 2 * layer.frequencies)
            own = self._arrays["0.frequencies"][number], self._arrays["0.weight"][waves], self._arrays["0.bias"][number]
            return Wave(first, layer.embedding_dim, *own, layer.clip)
        bins = layer.bins if isinstance(layer.bins, int) else list(layer.bins)[number]
        is_linear = layer.encoding == "ple_linear"
        if layer.encoding == "none" or (bins == 0 and not is_linear):
            return Number(first, 1, layer.clip)
        of_bins = slice(self._bin, self._bin + bins)
        self._bin += bins
        none = np.zeros((0, layer.embedding_dim))
        left, slope = (self._arrays.get(f"0.{which}", none[:, 0])[of_bins] for which in ("bin_left", "bin_scale"))
        there = min(max(int(np.count_nonzero(slope)), 1), bins)
        if not is_linear:
            return Ladder(first, bins, left[:there], slope[:there])
        linear, bias = (self._arrays[f"0.{which}"][number] for which in ("linear", "bias"))
        weight = self._arrays.get("0.weight", none)[of_bins]
        return LinearLadder(first, layer.embedding_dim, left[:there], slope[:there], linear, weight, bias, layer.clip)
