"""What a search is given, as texts that are the same in another process: a kept search goes on only with the same."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from stoop._split import rows_of

_BYTES = 1 << 24  # that are copied at once


def fingerprint(where: str, values: Any, name: str) -> str | None:
    """Return the shape and type of an array or table and a checksum of all its values, None for None."""
    if values is None:
        return None
    rows = rows_of(where, values, name)
    kind, sum_of_all, shape = "", 0, _shape(rows)
    for part in _parts(rows, shape):
        if part.dtype.kind == "O":
            data = "\0".join(f"{type(value).__name__} {value}" for value in part.ravel()).encode()
        else:
            data = part.tobytes()
        kind, sum_of_all = part.dtype.str, zlib.crc32(data, sum_of_all)
    return f"{'x'.join(map(str, shape))} {kind} {sum_of_all:08x}"


def width(where: str, values: Any, name: str) -> int:
    """Return how many numbers a row has."""
    return math.prod(_shape(rows_of(where, values, name))[1:])


def _shape(rows: Any) -> tuple[int, ...]:
    return tuple(getattr(rows, "shape", None) or (len(rows),))


def _parts(rows: Any, shape: tuple[int, ...]) -> Iterator[Any]:
    """Return all rows as arrays, some at a time."""
    count = max(_BYTES // max(8 * math.prod(shape[1:]), 1), 1)
    for start in range(0, shape[0], count):
        if hasattr(rows, "iloc"):
            part = rows.iloc[start : start + count]
        else:
            part = rows.slice(start, count) if hasattr(rows, "slice") else rows[start : start + count]
        yield np.asarray(part)


def plain_class_weight(where: str, given: Any) -> Any:
    """Return the weights of classes as texts."""
    if given is None or isinstance(given, str):
        return given
    if isinstance(given, Mapping):
        return {str(name): str(weight) for name, weight in given.items()}
    return fingerprint(where, given, "class_weight")


def plain_functions(given: Iterable[Any]) -> list[str]:
    """Return the names of metrics, or of an augmentation: what a function does cannot be compared."""
    return [each if isinstance(each, str) else getattr(each, "__qualname__", None) or _plain(each) for each in given]


def _plain(value: Any) -> str:
    text = repr(value)
    return type(value).__qualname__ if " at 0x" in text else text
