"""What the values of a parameter may be, and on which scale they are drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from stoop._checks import Bounds, integer, real
from stoop._errors import message

_BELOW_ONE = Bounds(-math.inf, 1.0, without_high=True)


@dataclass(frozen=True, repr=False)
class Parameter:
    """Base of the parameters of a space.

    Each has a coordinate in [0, 1] that is even on its own scale: a draw is `value` of a uniform number.
    """

    is_continuous: ClassVar[bool] = True
    scale: ClassVar[str] = "linear"

    def value(self, coordinate: float) -> Any:
        """Return the value at a coordinate in [0, 1]."""
        raise NotImplementedError

    def coordinate(self, value: Any) -> float:
        """Return the coordinate of a value, in the middle of those that give it."""
        raise NotImplementedError

    def grid(self, points: int) -> list[Any]:
        """Return `points` values from end to end, fewer where there are no more; one point is in the middle."""
        places = np.linspace(0.0, 1.0, points) if points > 1 else np.array([0.5])
        return [self.value(float(place)) for place in places]

    def count(self) -> float:
        """Return how many values there are."""
        return math.inf


@dataclass(frozen=True, repr=False)
class _Interval(Parameter):
    low: float
    high: float

    def value(self, coordinate: float) -> float:
        if coordinate in (0.0, 1.0):  # the ends of a grid are those that were given
            return self.high if coordinate else self.low
        start, stop = self._to_scale(self.low), self._to_scale(self.high)
        return min(max(self._from_scale(start + coordinate * (stop - start)), self.low), self.high)

    def coordinate(self, value: float) -> float:
        start, stop = self._to_scale(self.low), self._to_scale(self.high)
        return (self._to_scale(value) - start) / (stop - start)

    def _to_scale(self, value: float) -> float:
        return value

    def _from_scale(self, place: float) -> float:
        return place


class Uniform(_Interval):
    """See `uniform`."""

    def __repr__(self) -> str:
        return f"uniform({self.low!r}, {self.high!r})"


class LogUniform(_Interval):
    """See `log_uniform`."""

    scale = "log"

    def _to_scale(self, value: float) -> float:
        return math.log(value)

    def _from_scale(self, place: float) -> float:
        return math.exp(place)

    def __repr__(self) -> str:
        return f"log_uniform({self.low!r}, {self.high!r})"


class OneMinusLogUniform(_Interval):
    """See `one_minus_log_uniform`."""

    scale = "one minus log"

    def _to_scale(self, value: float) -> float:
        return -math.log1p(-value)

    def _from_scale(self, place: float) -> float:
        return -math.expm1(-place)

    def __repr__(self) -> str:
        return f"one_minus_log_uniform({self.low!r}, {self.high!r})"


@dataclass(frozen=True, repr=False)
class Integers(Parameter):
    """See `integers` and `log_integers`."""

    low: int
    high: int
    log: bool = False
    is_continuous: ClassVar[bool] = False

    @property
    def scale(self) -> str:  # type: ignore[override]
        """The scale on which the draws are even."""
        return "log" if self.log else "linear"

    def value(self, coordinate: float) -> int:
        start, stop = self._place(self.low - 0.5), self._place(self.high + 0.5)
        place = start + coordinate * (stop - start)
        return min(max(round(math.exp(place) if self.log else place), self.low), self.high)

    def coordinate(self, value: int) -> float:
        start, stop = self._place(self.low - 0.5), self._place(self.high + 0.5)
        return (self._place(value) - start) / (stop - start)

    def grid(self, points: int) -> list[int]:
        if points >= self.count():
            return list(range(self.low, self.high + 1))
        if points == 1:
            return [self.value(0.5)]
        ends = (self._place(self.low), self._place(self.high))
        places = np.linspace(*ends, points)
        values = np.exp(places) if self.log else places
        return list(dict.fromkeys(round(float(value)) for value in values))

    def count(self) -> int:
        return self.high - self.low + 1

    def _place(self, value: float) -> float:
        return math.log(value) if self.log else value

    def __repr__(self) -> str:
        return f"{'log_' * self.log}integers({self.low!r}, {self.high!r})"


@dataclass(frozen=True, repr=False)
class Choice(Parameter):
    """See `choice`."""

    values: tuple[Any, ...]
    is_continuous: ClassVar[bool] = False
    scale: ClassVar[str] = "choices"

    def value(self, coordinate: float) -> Any:
        return self.values[min(int(coordinate * len(self.values)), len(self.values) - 1)]

    def coordinate(self, value: Any) -> float:
        return (self.index(value) + 0.5) / len(self.values)

    def grid(self, points: int) -> list[Any]:  # noqa: ARG002  all of them, however many points others have
        return list(self.values)

    def count(self) -> int:
        return len(self.values)

    def index(self, value: Any) -> int:
        """Return the place of a value: of the same object, or of one that is equal and of its type."""
        for place, own in enumerate(self.values):
            if own is value or (type(own) is type(value) and _is_equal(own, value)):
                return place
        raise ValueError(message("search", f"{value!r} is no choice", f"expected one of {self!r}", "take one of them"))

    def labels(self) -> list[str]:
        """Return short texts for the values, each another."""
        texts = [value if isinstance(value, str) else _label(value) for value in self.values]
        return [text if texts.count(text) == 1 else f"{text} #{place}" for place, text in enumerate(texts)]

    def __repr__(self) -> str:
        return f"choice({list(self.values)!r})"


def uniform(low: float, high: float) -> Parameter:
    """Return a parameter that is drawn evenly: dropout rates, for example.

    Parameters
    ----------
    low, high : float
        Both ends belong to it, low < high.

    Raises
    ------
    ValueError, TypeError
        For what are no finite numbers in this order.
    """
    return Uniform(*_ends("uniform", low, high))


def log_uniform(low: float, high: float) -> Parameter:
    """Return a parameter whose logarithm is drawn evenly: learning rates, penalties.

    From 1e-4 to 1e-1 there are then as many trials below 1e-3 as above 1e-2; Bergstra & Bengio 2012, section 2.

    Parameters
    ----------
    low, high : float
        Both ends belong to it, 0 < low < high.

    Raises
    ------
    ValueError, TypeError
        For what are no finite numbers above 0 in this order.
    """
    return LogUniform(*_ends("log_uniform", low, high, Bounds(0.0, without_low=True)))


def one_minus_log_uniform(low: float, high: float) -> Parameter:
    """Return a parameter such that the logarithm of ``1 - value`` is drawn evenly: momentum, beta1, beta2.

    What counts of a decay is over how many steps it averages, ``1/(1 - value)``: 10 for 0.9, 1000 for 0.999.

    Parameters
    ----------
    low, high : float
        Both ends belong to it, low < high < 1.

    Raises
    ------
    ValueError, TypeError
        For what are no numbers below 1 in this order.
    """
    return OneMinusLogUniform(*_ends("one_minus_log_uniform", low, high, _BELOW_ONE))


def integers(low: int, high: int) -> Parameter:
    """Return a parameter that is one of the integers from `low` to `high`, each as often: depths, for example.

    Parameters
    ----------
    low, high : int
        Both belong to it, low < high.

    Raises
    ------
    ValueError, TypeError
        For what are no integers in this order.
    """
    return Integers(*_whole("integers", low, high, None))


def log_integers(low: int, high: int) -> Parameter:
    """Return a parameter that is an integer, drawn evenly on a logarithmic scale and rounded: widths, batch sizes.

    Parameters
    ----------
    low, high : int
        Both belong to it, 1 <= low < high.

    Raises
    ------
    ValueError, TypeError
        For what are no integers >= 1 in this order.
    """
    return Integers(*_whole("log_integers", low, high, 1), log=True)


def choice(values: Iterable[Any]) -> Parameter:
    """Return a parameter that is one of these values, each as often.

    Parameters
    ----------
    values : iterable
        Of any kind, at least one: ``["relu", "tanh"]``, ``[32, 64]``, ``[(64,), (64, 64)]``.

    Raises
    ------
    ValueError, TypeError
        For what holds no values, or one twice.
    """
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        hint = "give a list of them"
        raise TypeError(message("search.choice", f"values is {values!r}", "expected several values", hint))
    given = tuple(value.item() if isinstance(value, np.generic) else value for value in values)
    if not given:
        raise ValueError(message("search.choice", "values is empty", "expected at least one", "give the choices"))
    made = Choice(given)
    twice = [value for place, value in enumerate(given) if made.index(value) != place]
    if twice:
        raise ValueError(message("search.choice", f"{twice[0]!r} is there twice", "expected values that differ",
                                 "leave one out"))  # fmt: skip
    return made


def checked_space(where: str, space: Any) -> dict[str, Parameter]:
    """Return a space as a dict of its own.

    Raises
    ------
    ValueError, TypeError
        For what is no dict of parameters by name, or empty.
    """
    if not isinstance(space, Mapping):
        given, hint = f"space is a {type(space).__name__}", 'give {"learning_rate": search.log_uniform(1e-4, 1e-1)}'
        raise TypeError(message(where, given, "expected a dict of parameters by name", hint))
    if not space:
        raise ValueError(message(where, "space is empty", "expected at least one parameter", "name what to search"))
    for name, parameter in space.items():
        if not isinstance(name, str):
            raise TypeError(message(where, f"space has a key {name!r}", "expected names", "give text"))
        if not isinstance(parameter, Parameter):
            given, expected = f"space[{name!r}] is {parameter!r}", "expected a parameter"
            hint = "for a list of values give search.choice(values)" if isinstance(parameter, list | tuple) else ""
            hint = hint or "for example search.uniform(0, 0.5); what is fixed belongs into build"
            raise TypeError(message(where, given, expected, hint))
    return dict(space)


def drawn(space: Mapping[str, Parameter], coordinates: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Return the values at these coordinates, in the order of the space."""
    return {name: parameter.value(float(at)) for (name, parameter), at in zip(space.items(), coordinates)}


def _ends(name: str, low: Any, high: Any, bounds: Bounds | None = None) -> tuple[float, float]:
    where = f"search.{name}"
    bounds = bounds or Bounds()
    ends = real(where, "low", low, bounds), real(where, "high", high, bounds)
    _check_order(where, *ends)
    if math.isinf(ends[1] - ends[0]):
        given, expected = f"low is {ends[0]!r} and high {ends[1]!r}", "expected a width that is a finite number"
        raise ValueError(message(where, given, expected, "give a narrower range"))
    return ends


def _whole(name: str, low: Any, high: Any, least: int | None) -> tuple[int, int]:
    where = f"search.{name}"
    minimum = -(2**53) if least is None else least
    ends = integer(where, "low", low, minimum, 2**53), integer(where, "high", high, minimum, 2**53)
    _check_order(where, *ends)
    return ends


def _check_order(where: str, low: float, high: float) -> None:
    if not low < high:
        given, hint = f"low is {low!r} and high {high!r}", "what is fixed belongs into build"
        raise ValueError(message(where, given, "expected low < high", hint))


def _is_equal(a: Any, b: Any) -> bool:
    try:
        return bool(a == b)
    except (ValueError, TypeError):  # arrays, for example
        return False


def _label(value: Any) -> str:
    named = getattr(value, "__name__", None)  # of functions and classes
    return named if isinstance(named, str) else repr(value)
