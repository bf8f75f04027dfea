"""The network for a table: encoded columns, members on a shared trunk, a head for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop.layers import Dense, Dropout, Layer, Normalization

ENCODINGS = ("ple", "periodic", "none")


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
    del X, codes  # until the layers for tables are there
    layers: list[Layer] = [Normalization("robust", clip=3.0, missing="mean")]
    for units in shape.hidden:
        layers.append(Dense(units, activation="relu"))
        if shape.dropout > 0.0:
            layers.append(Dropout(shape.dropout))
    return [*layers, Dense(outputs)]


def bins_of(X: npt.NDArray[Any], codes: Mapping[int, int], most: int) -> list[int]:
    """Return how many bins each column of numbers has: as many as its quantiles in `most` steps are different."""
    steps = np.linspace(0.0, 1.0, most + 1)
    found = []
    for place in range(X.shape[1]):
        if place not in codes:
            values = X[:, place].astype(np.float64)
            values = values[~np.isnan(values)]
            found.append(max(len(np.unique(np.quantile(values, steps))) - 1, 1))
    if found and max(found) < most:  # quantiles are in max(bins) steps
        found[int(np.argmax(found))] = most
    return found
