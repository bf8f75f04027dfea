"""How much a file may ask for while it is read: few bytes of it can stand for very many operations and large arrays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from typing import Any

MOST_STEPS = 100_000_000  # about as many additions of two numbers, which take less than half a second
_OF_A_CALL = 500  # steps that a function of NumPy takes for an array of any length


class TooMuchWorkError(Exception):
    """The file asks for more than it may; no function of the graph is to blame."""


class _Left:
    def __init__(self, array_bytes: int) -> None:
        self.steps, self.array_bytes = MOST_STEPS, array_bytes
        self.keys: dict[Any, int] = {}
        self.memory: dict[Any, Any] = {}


_OTHERS = count(1)  # keys where no file is read
_LEFT: ContextVar[_Left | None] = ContextVar("what is left", default=None)


@contextmanager
def limited(array_bytes: int) -> Iterator[None]:
    """Let what is read within take `MOST_STEPS` and so many bytes of arrays."""
    token = _LEFT.set(_Left(array_bytes))
    try:
        yield
    finally:
        _LEFT.reset(token)


def spend(elements: int, steps_of_each: int = 1) -> None:
    """Count a function of that many elements.

    Raises
    ------
    TooMuchWorkError
        If no more are left.
    """
    left = _LEFT.get()
    if left is None:
        return
    left.steps -= _OF_A_CALL + elements * steps_of_each
    if left.steps < 0:
        given = "functions of elements that are too many, or too hard to recognise"
        raise TooMuchWorkError(given)


def keep(array_bytes: int) -> None:
    """Count the bytes of an array that was made and is kept.

    Raises
    ------
    TooMuchWorkError
        If no more are left.
    """
    left = _LEFT.get()
    if left is None:
        return
    left.array_bytes -= array_bytes
    if left.array_bytes < 0:
        raise TooMuchWorkError("nodes that make arrays of several times its size")


def key_of(*parts: Any) -> int:
    """Return a small key for these parts, the same for equal ones of a file."""
    left = _LEFT.get()
    return next(_OTHERS) if left is None else left.keys.setdefault(parts, 1 + len(left.keys))


def memory() -> dict[Any, Any]:
    """Return what is known of a file by such keys."""
    left = _LEFT.get()
    return {} if left is None else left.memory
