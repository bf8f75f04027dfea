"""Rows that are repeated, as rows with a weight."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def different_rows(X: Array, y: Array, weights: Array | None) -> tuple[Array, Array]:
    """Return the number of each different row of X with y, in an order of their own, and the sums of their weights.

    Two tables come to the same rows and sums, to the last bit, if one repeats a row for which the other has a weight.
    Rows without weight are left out unless all are.
    """
    table = np.column_stack([X, y]).astype(np.float64) + 0.0  # -0.0 becomes 0.0
    bits = np.ascontiguousarray(table).view(f"V{8 * table.shape[1]}")[:, 0]
    _, first, place = np.unique(bits, return_index=True, return_inverse=True)
    sums = np.bincount(place, weights, len(first))
    some = sums > 0
    return (first[some], sums[some]) if some.any() else (first, sums)
