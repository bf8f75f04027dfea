"""The network for a table: encoded columns, members on a shared trunk, a head for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop.layers import Columns, Dense, Dropout, Layer, MemberDense, Members

ENCODINGS = ("ple", "periodic", "none", "ple_linear")
ONE_HOT = 100  # codes, at most, of a column without a table: the first product is then two to three times as fast
MOST_INPUTS = 2**14  # numbers that the columns become, all together, before they get fewer each
_FEW_CODES = 9  # codes, at most, of such a column where there are too many of them
_COPIES = 5  # of a parameter in training: itself, its gradient, the two averages of AdamW, that of the best epoch
_ROWS = 128  # whose values are held at a time, at most, with their gradients


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
    most, one_hot = _limits(shape, X.shape[1], codes)
    bins: Any = bins_of(X, codes, most) if shape.encoding.startswith("ple") else shape.bins
    size = shape.embedding_dim
    layers: list[Layer] = [
        Columns(codes, encoding=shape.encoding, bins=bins or most, embedding_dim=size, one_hot=one_hot)
    ]
    if shape.members > 1:
        layers.append(Members(shape.members))
    for units in shape.hidden:
        layers.append(Dense(units, activation="relu"))
        if shape.dropout > 0.0:
            layers.append(Dropout(shape.dropout))
    return [*layers, MemberDense(outputs) if shape.members > 1 else Dense(outputs)]


def _limits(shape: Shape, columns: int, codes: Mapping[int, int]) -> tuple[int, int]:
    """Return the most bins of a column of numbers, and the most codes of a column without a table.

    The first product, and so memory and time, grows with what the columns become. Where that would be more than
    `MOST_INPUTS` numbers, columns of more than a few codes get a table; then each column of numbers has fewer bins, so
    that there are no more, but at least 2: where these are too many, numbers are scaled alone.
    """

    def width(one_hot: int) -> int:
        return sum(number if number <= one_hot else shape.embedding_dim for number in codes.values())

    numbers = columns - len(codes)
    has_layers = shape.encoding in ("periodic", "ple_linear")
    each = shape.embedding_dim if has_layers else 1
    one_hot = ONE_HOT if width(ONE_HOT) + numbers * each <= MOST_INPUTS else _FEW_CODES
    room = max(MOST_INPUTS - width(one_hot), 0) // max(numbers, 1)
    bins = min(shape.bins, room)
    return (bins if bins >= min(shape.bins, 2) else 0), one_hot


def memory_of(layers: Sequence[Any], columns: int, rows: int, itemsize: int) -> int:
    """Return about how many bytes the training of these layers takes, by the encoding and the product after it."""
    width: int = layers[0].output_width(columns)
    members: int = next((layer.k for layer in layers if isinstance(layer, Members)), 1)
    units: int = next(layer.units for layer in layers if isinstance(layer, Dense | MemberDense))
    parameters = width * (units + members)
    return itemsize * (_COPIES * parameters + 2 * min(rows, _ROWS) * members * width)


def bins_of(X: npt.NDArray[Any], codes: Mapping[int, int], most: int) -> list[int]:
    """Return the bins of each column of numbers: the fewest whose quantiles differ as often as those of `most` do."""
    if most == 0:
        return [0] * (X.shape[1] - len(codes))
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
