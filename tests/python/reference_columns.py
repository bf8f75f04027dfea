"""An oracle for the Columns layer in plain NumPy, in float64: statistics of training rows, then the encoding of others.

It computes each column from its definition, while the package goes by bins and indices.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def edges_of(column: Array, bins: int) -> Array:
    """The quantiles of what is there, each once."""
    return np.unique(np.quantile(column[~np.isnan(column)], np.linspace(0, 1, bins + 1)))


def ladder(column: Array, edges: Array, bins: int) -> Array:
    """Gorishniy, Rubachev & Babenko 2022, eq. 1: e_t by the edges b_(t-1) and b_t."""
    out = np.zeros((len(column), bins))
    count = len(edges) - 1
    for t in range(count):
        e = (column - edges[t]) / (edges[t + 1] - edges[t])
        if t > 0:
            e = np.where(column < edges[t], 0.0, e)
        if t + 1 < count:
            e = np.where(column >= edges[t + 1], 1.0, e)
        out[:, t] = e
    return out


def scaled(train: Array, column: Array, kind: str, clip: float | None) -> Array:
    """(x - shift) / spread of the training column, then the smooth clip."""
    known = train[~np.isnan(train)]
    low, middle, high = np.percentile(known, [25, 50, 75])
    shift, spread = {
        "standard": (known.mean(), known.std()),
        "robust": (middle, high - low if high > low else np.ptp(known) / 2),
        "minmax": (known.min(), np.ptp(known)),
    }[kind]
    z = (column - shift) / (spread or 1.0)
    return z if clip is None else z / np.sqrt(1 + (z / clip) ** 2)


def periodic(z: Array, frequencies: Array, weight: Array, bias: Array) -> Array:
    """relu([cos(2 pi c z), sin(2 pi c z)] @ weight + bias), section 3.3 of the same."""
    angles = 2 * np.pi * np.outer(z, frequencies)
    return np.maximum(np.concatenate([np.cos(angles), np.sin(angles)], axis=1) @ weight + bias, 0)


def places_of(codes: Array, known: int) -> npt.NDArray[np.int64]:
    """The row of a table: known codes, then missing, then unknown."""
    missing = np.isnan(codes) | (codes == -1)
    whole = np.where(missing, 0, codes)
    inside = (whole >= 0) & (whole < known)
    return np.where(missing, known, np.where(inside, whole, known + 1)).astype(np.int64)


def encode(layer: Any, train: Array, X: Array, parameters: dict[str, Array]) -> Array:
    """What a model with this layer, adapted to `train`, makes of X before its next layer."""
    train, X = train.astype(np.float64), X.astype(np.float64)
    categories, parts, start, numbers = dict(layer.categories), [], 0, 0
    for c in range(X.shape[1]):
        if c in categories:
            known = categories[c]
            place = places_of(X[:, c], known)
            if known <= layer.one_hot:
                parts.append(np.eye(known + 2)[place][:, :known])
            else:
                parts.append(parameters["0.embedding"][start + place])
                start += known + 2
            continue
        column = np.where(np.isnan(X[:, c]), np.nanmean(train[:, c]), X[:, c])
        bins = layer.bins if isinstance(layer.bins, int) else layer.bins[numbers]
        z = scaled(train[:, c], column, layer.kind, layer.clip)
        if layer.encoding == "ple" and bins > 0:
            parts.append(ladder(column, edges_of(train[:, c], bins), bins))
        elif layer.encoding == "ple_linear":
            parts.append(np.outer(z, parameters["0.linear"][numbers]) + parameters["0.bias"][numbers])
            if bins > 0:
                before = numbers * bins if isinstance(layer.bins, int) else sum(layer.bins[:numbers])
                weight = parameters["0.weight"][before : before + bins]
                parts[-1] += ladder(column, edges_of(train[:, c], bins), bins) @ weight
        elif layer.encoding == "periodic":
            waves = 2 * layer.frequencies
            weight = parameters["0.weight"][numbers * waves : (numbers + 1) * waves]
            parts.append(periodic(z, parameters["0.frequencies"][numbers], weight, parameters["0.bias"][numbers]))
        else:
            parts.append(z[:, None])
        numbers += 1
    return np.concatenate(parts, axis=1)
