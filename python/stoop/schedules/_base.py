"""What all schedules have in common."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop import _core
from stoop._checks import integer, real
from stoop._config import Config
from stoop._errors import refuse_name

# The function, what t counts, and (steps, per) of each Warmup around it, the innermost first.
PythonRate = tuple[Callable[[int], float], str, list[tuple[int, str]]]

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

    def _python_rate(self) -> PythonRate | None:
        """Return the Python function in this schedule, with what is around it, or None where there is none."""
        return None

    def _rates(self, first: int, count: int) -> npt.NDArray[np.float64]:
        return _core.schedule_rates(json.dumps(self.to_config()), self._python_rate(), first, count)

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
    """Return the form of a schedule that the core reads, and anything else as it is."""
    return value.to_config() if isinstance(value, Schedule) else value
