"""Importances of features by permutation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop.tabular._training import Rows

_ORDERS = 3


def permutation_importances(
    score: Callable[[Rows], float], rows: Rows, columns: Sequence[Any]
) -> npt.NDArray[np.float64]:
    """Return by how much the score falls, on average, when the cells of one column change places; Breiman 2001."""
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(rows)) for _ in range(_ORDERS)]
    best = score(rows)
    found, begin = np.zeros(len(columns)), 0
    for place, column in enumerate(columns):
        end = begin + column.width
        if end > begin:
            losses = [best - score(_shuffled(rows, order, slice(begin, end))) for order in orders]
            found[place] = np.mean(losses)
        begin = end
    return found


def _shuffled(rows: Rows, order: npt.NDArray[np.int64], columns: slice) -> Rows:
    X = rows.X.copy()
    X[:, columns] = rows.X[order, columns]
    return replace(rows, X=X)
