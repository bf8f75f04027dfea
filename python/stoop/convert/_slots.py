"""Layers that get weights of others, in order, and the arrays for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from stoop._arrays import real_numbers
from stoop._errors import message
from stoop.layers import Columns, Layer

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Slot:
    """A layer that has parameters, or the projection of a Residual, in the order in which it computes."""

    path: str  # what the names of its parameters begin with, "2.0."
    layer: Layer | None  # None: a projection
    width: int | None  # columns of its input, None as far as that of X is not known

    @property
    def name(self) -> str:
        kind = "projection" if self.layer is None else type(self.layer).__name__
        return f"{kind} of layer {self.path.rstrip('.')}"


@dataclass(frozen=True)
class Given:
    """An array with the name that it has where it comes from."""

    name: str
    array: Array


def tables_of(layer: Layer | None) -> list[int]:
    """Return the known codes of each embedding of a Columns layer."""
    if not isinstance(layer, Columns):
        return []
    return [codes for codes in dict(layer.categories or ()).values() if codes > layer.one_hot]


def joined(where: str, slot: Slot, codes: Sequence[int], tables: Sequence[Given]) -> Given:
    """Return the tables as one, each with two more rows of zeros where it has known codes alone."""
    parts = []
    for known, table in zip(codes, tables):
        if table.array.ndim != 2 or len(table.array) not in (known, known + 2):
            given = f"{table.name} has shape {table.array.shape} where the {slot.name} has {known} codes"
            refuse(where, given, f"expected {known} or {known + 2} rows", "compare the categories")
        parts.append(np.pad(table.array, ((0, known + 2 - len(table.array)), (0, 0))))
    return Given(", ".join(table.name for table in tables), np.concatenate(parts))


def as_array(where: str, name: str, value: Any) -> Array:
    """Return a tensor or an array as numbers; half precision becomes float32."""
    for step in ("detach", "cpu"):
        method: Callable[[], Any] | None = getattr(value, step, None)
        value = value if method is None else method()
    if "bfloat16" in str(getattr(value, "dtype", "")):  # NumPy has no such numbers
        value = value.float() if hasattr(value, "float") else value.astype(np.float32)
    return real_numbers(where, value, name)


def refuse(where: str, given: str, expected: str, hint: str) -> NoReturn:
    """Raise ValueError with these parts of a message."""
    raise ValueError(message(where, given, expected, hint))
