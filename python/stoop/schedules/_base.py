"""What all schedules have in common."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop import _core
from stoop._checks import integer
from stoop._config import Config
from stoop._errors import message

# For each schedule of a learning rate that holds no other, in order: its Python function and what t counts, or None.
PythonRates = list[tuple[Callable[[int], float], str] | None]


class Schedule(Config, kind="schedule"):
    """Base of all schedules. Use a subclass."""

    per: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if self._spec["has_rules"]:
            _core.check_schedule(json.dumps(self.to_config()), self._python_rates())

    def __call__(self, t: int) -> float:
        """Return the rate at t = 0, 1, 2, ...

        Raises
        ------
        ValueError, TypeError
            If t is no integer >= 0.
        """
        return float(self._rates(integer(type(self).__name__, "t", t, 0), 1)[0])

    def values(self, n: int) -> npt.NDArray[np.float64]:
        """Return the rates at t = 0 .. n-1, ``(n,)`` float64, whatever t counts.

        Raises
        ------
        ValueError, TypeError
            If n is no integer >= 0.
        """
        return self._rates(0, integer("values", "n", n, 0, 2**40))

    def _inner(self) -> Sequence[Any]:
        """Return the learning rates that this schedule holds, in the order of its configuration."""
        return ()

    def _python_rates(self) -> PythonRates:
        inner = self._inner()
        return [found for rate in inner for found in python_rates(rate)] if inner else [None]

    def _rates(self, first: int, count: int) -> npt.NDArray[np.float64]:
        return _core.schedule_rates(json.dumps(self.to_config()), self._python_rates(), first, count)


def sequence(where: str, name: str, values: Any) -> list[Any]:
    """Return what is in a sequence.

    Raises
    ------
    TypeError
        If it is none.
    """
    try:
        return list(values)
    except TypeError:
        raise TypeError(message(where, f"{name} is {values!r}", "expected a sequence", "give a list")) from None


def python_rates(learning_rate: Any) -> PythonRates:
    """Return the Python functions in a learning rate, in the places where its configuration has placeholders."""
    return learning_rate._python_rates() if isinstance(learning_rate, Schedule) else [None]
