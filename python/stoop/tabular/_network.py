"""The network for a table: encoded columns, members on a shared trunk, a head for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop.layers import Columns, Dense, Dropout, Layer, MemberDense, Members

ENCODINGS = ("ple", "periodic", "none")
ONE_HOT = 100  # codes, at most, of a column without a table: the first product is then two to three times as fast


@dataclass(frozen=True)
class Shape:
    """What the network is made of, as the arguments of the estimators say."""

    hidden: tuple[int, ...]
    members: int
    encoding: str
    bins: int
    embedding_dim: int
    dropout: float


def layers_for(shape: Shape, X: npt.NDArray[Any], codes: Mapping[int, int], outputs: int) -> list[Layer]:
    """Return the layers for training rows X, (n_rows, n_encoded), some of whose columns hold codes.

    TabM-mini of Gorishniy, Kotelnikov & Babenko 2025, after the encodings of Gorishniy, Rubachev & Babenko 2022.
    """
    bins: Any = bins_of(X, codes, shape.bins) if shape.encoding == "ple" else shape.bins
    size = shape.embedding_dim
    layers: list[Layer] = [
        Columns(codes, encoding=shape.encoding, bins=bins or shape.bins, embedding_dim=size, one_hot=ONE_HOT)
    ]
    if shape.members > 1:
        layers.append(Members(shape.members))
    for units in shape.hidden:
        layers.append(Dense(units, activation="relu"))
        if shape.dropout > 0.0:
            layers.append(Dropout(shape.dropout))
    return [*layers, MemberDense(outputs) if shape.members > 1 else Dense(outputs)]


def bins_of(X: npt.NDArray[Any], codes: Mapping[int, int], most: int) -> list[int]:
    """Return the bins of each column of numbers: the fewest whose quantiles differ as often as those of `most` do."""
    found = []
    for place in range(X.shape[1]):
        if place not in codes:
            values = np.sort(X[:, place].astype(np.float64))
            values = values[: len(values) - np.isnan(values).sum()]  # NaN is sorted to the end
            wanted = _different_bins(values, most)
            found.append(
                next((steps for steps in range(wanted, most) if _different_bins(values, steps) == wanted), most)
            )
    return found


def _different_bins(values: npt.NDArray[np.float64], steps: int) -> int:
    """Return how many bins `Columns` makes of sorted values with so many steps from quantile to quantile."""
    if steps == 0:
        return 0
    place = np.arange(steps + 1) / steps * (len(values) - 1)
    below, above = np.floor(place).astype(np.intp), np.ceil(place).astype(np.intp)
    part, step = place - below, values[above] - values[below]
    edges = np.where(part < 0.5, values[below] + step * part, values[above] - step * (1.0 - part))
    return int(np.count_nonzero(np.diff(edges) > 0.0))
