"""What all schedules have in common."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop import _core
from stoop._checks import integer, real
from stoop._config import Config
from stoop._errors import refuse_name

# For each schedule of a learning rate that holds no other, in order: its Python function and what t counts, or None.
PythonRates = list[tuple[Callable[[int], float], str] | None]

_PER = ("step", "epoch")


class Schedule(Config):
    """Base of all schedules. Use a subclass."""

    per: str

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

    def to_config(self) -> dict[str, Any]:
        """Return ``{"type": name, ...}``, the form that the core reads."""
        return {"type": self.type_name, **{name: plain(value) for name, value in vars(self).items()}}

    def _inner(self) -> Sequence[Any]:
        """Return the learning rates that this schedule holds, in the order of its configuration."""
        return ()

    def _python_rates(self) -> PythonRates:
        inner = self._inner()
        return [found for rate in inner for found in python_rates(rate)] if inner else [None]

    def _rates(self, first: int, count: int) -> npt.NDArray[np.float64]:
        return _core.schedule_rates(json.dumps(self.to_config()), self._python_rates(), first, count)

    def _check(self, rates: Iterable[str], counts: Iterable[str] = ()) -> None:
        where = type(self).__name__
        for name in rates:
            object.__setattr__(self, name, real(where, name, getattr(self, name), 0.0))
        for name in counts:
            object.__setattr__(self, name, integer(where, name, getattr(self, name), 1))
        if self.per not in _PER:
            refuse_name(where, "per", str(self.per), _PER)

    def _check_positive(self, *names: str) -> None:
        for name in names:
            value = real(type(self).__name__, name, getattr(self, name), 0.0, open_low=True)
            object.__setattr__(self, name, value)


def plain(value: Any) -> Any:
    """Return the form of a schedule, or of several, that the core reads, and anything else as it is."""
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    return value.to_config() if isinstance(value, Schedule) else value


def python_rates(learning_rate: Any) -> PythonRates:
    """Return the Python functions in a learning rate, in the places where its configuration has placeholders."""
    return learning_rate._python_rates() if isinstance(learning_rate, Schedule) else [None]
