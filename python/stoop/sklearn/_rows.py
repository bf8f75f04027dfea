"""The rows of X that the core takes: dense ones as they lie, sparse ones in parts that become dense one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

Array = npt.NDArray[Any]

_PART_BYTES = 1 << 25  # of a sparse X that is dense at once


def prepared(X: Any, dtype: Any) -> Any:
    """Return X with contiguous rows; sparse if it is sparse and larger than a part."""
    if not sparse.issparse(X):
        return np.ascontiguousarray(X)
    if X.shape[0] * X.shape[1] * np.dtype(dtype).itemsize <= _PART_BYTES:
        return np.ascontiguousarray(X.toarray())
    return X.tocsr()


def dense(X: Any, rows: Any = slice(None)) -> Array:
    """Return these rows as an array."""
    part: Array = X[rows].toarray() if sparse.issparse(X) else X[rows]
    return np.ascontiguousarray(part)


def is_in_parts(X: Any) -> bool:
    """Return whether X is to be taken in parts."""
    return bool(sparse.issparse(X))


def part_rows(X: Any, dtype: Any, batch: int = 1) -> int:
    """Return how many rows become dense at once: whole batches."""
    batches = _PART_BYTES // max(1, batch * X.shape[1] * np.dtype(dtype).itemsize)
    return batch * max(1, int(batches))


def parts(samples: int, rows: int, *, least: int = 1) -> Iterator[slice]:
    """Yield parts of so many rows; a last one with fewer than `least` joins the one before."""
    start = 0
    while start < samples:
        stop = min(start + rows, samples)
        stop = samples if samples - stop < least else stop
        yield slice(start, stop)
        start = stop
