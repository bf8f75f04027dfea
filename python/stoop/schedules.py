"""Learning rates that change, given as ``learning_rate=`` of an optimizer.

A schedule is a function of t: the count of updates 0, 1, 2, ... (``per="step"``) or of epochs (``per="epoch"``). It
goes on counting over all calls of ``Trainer.fit``. ``schedule(t)`` is one rate, ``schedule.values(n)`` the first n, to
be plotted. Any Python callable ``t -> float`` may stand in for a schedule; it is asked for all updates of an epoch
before the epoch starts. A function of the epoch, ``Custom(function, per="epoch")``, is asked once for each epoch of
``Trainer.fit``; ``Trainer.step``, which knows no end of an epoch, asks it in each call.
"""

import copy
import json
from collections.abc import Callable, Iterable
from dataclasses import InitVar, dataclass, field
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from stoop import _core
from stoop._callables import WeakCall, check_picklable
from stoop._checks import fraction, integer, real
from stoop._errors import message, refuse_name

# The function, what t counts, and (steps, per) of each Warmup around it, the innermost first.
PythonRate = tuple[Callable[[int], float], str, list[tuple[int, str]]]

_PER = ("step", "epoch")
_INFINITY = float("inf")


class Schedule:
    """Base of all schedules. Use a subclass."""

    type_name: ClassVar[str]
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
        return {"type": self.type_name, **{name: _plain(value) for name, value in vars(self).items()}}

    def _rates(self, first: int, count: int) -> npt.NDArray[np.float64]:
        return _core.schedule_rates(json.dumps(self.to_config()), python_rate(self), first, count)

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


@dataclass(frozen=True)
class Constant(Schedule):
    """``lr``, always; by definition.

    Parameters
    ----------
    lr : float
        >= 0.
    per : {"step", "epoch"}, default "step"

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "constant"
    lr: float
    per: str = "step"

    def __post_init__(self) -> None:
        self._check(["lr"])


@dataclass(frozen=True)
class Step(Schedule):
    """A staircase: ``lr * factor**(t // every)``; by definition.

    Parameters
    ----------
    lr : float
        >= 0.
    factor : float, default 0.5
        > 0.
    every : int
        Length of a stair in steps or epochs, >= 1; must be given.
    per : {"step", "epoch"}, default "step"

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "step"
    lr: float
    factor: float = 0.5
    every: int = 0  # refused: there is no usual length
    per: str = "step"

    def __post_init__(self) -> None:
        self._check(["lr"], ["every"])
        self._check_positive("factor")


@dataclass(frozen=True)
class Piecewise(Schedule):
    """``values[i]`` from ``boundaries[i-1]`` on and before ``boundaries[i]``; by definition.

    The rates are kept as `rates`, because `values` is the method of every schedule. ``dataclasses.replace`` takes new
    ones as `values`.

    Parameters
    ----------
    boundaries : sequence of int
        Each above the one before, >= 0.
    values : sequence of float
        One more than boundaries, each >= 0.
    per : {"step", "epoch"}, default "step"

    Raises
    ------
    ValueError, TypeError
        For lengths or values that do not fit.
    """

    type_name: ClassVar[str] = "piecewise"
    boundaries: tuple[int, ...]
    values: InitVar[Any]  # the argument alone: read from an object, it is the method
    rates: tuple[float, ...] = field(init=False)
    per: str = "step"

    def __init__(self, boundaries: Iterable[int], values: Iterable[float], per: str = "step") -> None:
        source = getattr(values, "__self__", None)
        if isinstance(source, Piecewise):  # the method `values`, which dataclasses.replace hands on
            values = source.rates
        starts = tuple(integer("Piecewise", "a boundary", b, 0) for b in _sequence("boundaries", boundaries))
        rates = tuple(real("Piecewise", "a value", v, 0.0) for v in _sequence("values", values))
        object.__setattr__(self, "boundaries", starts)
        object.__setattr__(self, "rates", rates)
        object.__setattr__(self, "per", per)
        self._check([])
        if len(rates) != len(starts) + 1:
            given = f"{len(rates)} values and {len(starts)} boundaries"
            hint = "give the rate before, between and after them"
            raise ValueError(message("Piecewise", given, "expected one value more than boundaries", hint))
        if any(later <= earlier for earlier, later in pairwise(starts)):
            given = f"boundaries {list(starts)} are not in order"
            raise ValueError(message("Piecewise", given, "expected each above the one before", "sort them"))

    def __repr__(self) -> str:
        return f"Piecewise(boundaries={self.boundaries!r}, values={self.rates!r}, per={self.per!r})"

    def to_config(self) -> dict[str, Any]:
        """Return ``{"type": name, ...}``, the form that the core reads."""
        config = {"boundaries": list(self.boundaries), "values": list(self.rates), "per": self.per}
        return {"type": self.type_name, **config}


@dataclass(frozen=True)
class Exponential(Schedule):
    """``lr * decay**(t / every)``, smooth between; by definition.

    Parameters
    ----------
    lr : float
        >= 0.
    decay : float
        > 0, below 1 to fall.
    every : int, default 1
        Steps or epochs in which the rate falls by `decay`, >= 1.
    per : {"step", "epoch"}, default "step"

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "exponential"
    lr: float
    decay: float
    every: int = 1
    per: str = "step"

    def __post_init__(self) -> None:
        self._check(["lr"], ["every"])
        self._check_positive("decay")


@dataclass(frozen=True)
class InverseTime(Schedule):
    """``lr / (1 + decay * t)``; Robbins & Monro 1951.

    Parameters
    ----------
    lr, decay : float
        >= 0.
    per : {"step", "epoch"}, default "step"

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "inverse_time"
    lr: float
    decay: float
    per: str = "step"

    def __post_init__(self) -> None:
        self._check(["lr", "decay"])


@dataclass(frozen=True)
class Power(Schedule):
    """``lr / (t + 1)**exponent``; by definition.

    Parameters
    ----------
    lr, exponent : float
        >= 0.
    per : {"step", "epoch"}, default "step"

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "power"
    lr: float
    exponent: float
    per: str = "step"

    def __post_init__(self) -> None:
        self._check(["lr", "exponent"])


@dataclass(frozen=True)
class InverseSqrt(Schedule):
    """``lr / sqrt(t + 1)``; Zinkevich 2003, theorem 1.

    Parameters
    ----------
    lr : float
        >= 0.
    per : {"step", "epoch"}, default "step"

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "inverse_sqrt"
    lr: float
    per: str = "step"

    def __post_init__(self) -> None:
        self._check(["lr"])


@dataclass(frozen=True)
class Linear(Schedule):
    """A straight line from `lr` at t = 0 to `end` at t = steps, and `end` from there on.

    Goodfellow, Bengio & Courville 2016, eq. 8.14.

    Parameters
    ----------
    lr, end : float
        >= 0.
    steps : int
        >= 1.
    per : {"step", "epoch"}, default "step"

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "linear"
    lr: float
    end: float
    steps: int
    per: str = "step"

    def __post_init__(self) -> None:
        self._check(["lr", "end"], ["steps"])


@dataclass(frozen=True)
class Polynomial(Schedule):
    """``end + (lr - end) * (1 - t/steps)**power``, and `end` from t = steps on; by definition.

    Parameters
    ----------
    lr, end : float
        >= 0.
    steps : int
        >= 1.
    power : float, default 1.0
        > 0.
    per : {"step", "epoch"}, default "step"

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "polynomial"
    lr: float
    end: float
    steps: int
    power: float = 1.0
    per: str = "step"

    def __post_init__(self) -> None:
        self._check(["lr", "end"], ["steps"])
        self._check_positive("power")


@dataclass(frozen=True)
class Cosine(Schedule):
    """``end + (lr - end) * (1 + cos(pi * t/steps)) / 2``, and `end` from t = steps on.

    Loshchilov & Hutter 2017, eq. 5, without restarts.

    Parameters
    ----------
    lr : float
        >= 0.
    steps : int
        >= 1.
    end : float, default 0.0
        >= 0.
    per : {"step", "epoch"}, default "step"

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "cosine"
    lr: float
    steps: int
    end: float = 0.0
    per: str = "step"

    def __post_init__(self) -> None:
        self._check(["lr", "end"], ["steps"])


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up from ``max_lr/div_factor`` to `max_lr`, then down to ``max_lr/div_factor/final_div_factor``.

    Smith & Topin 2018 in two phases, each half a cosine. The top is at ``t = pct_start*steps - 1``, the end at
    ``t = steps - 1``; the last rate holds from there on.

    Parameters
    ----------
    max_lr : float
        >= 0.
    steps : int
        >= 1.
    pct_start : float, default 0.3
        Share of the steps in which the rate rises, in [0, 1].
    div_factor, final_div_factor : float, default 25.0 and 1e4
        > 0.
    per : {"step", "epoch"}, default "step"

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "one_cycle"
    max_lr: float
    steps: int
    pct_start: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    per: str = "step"

    def __post_init__(self) -> None:
        self._check(["max_lr"], ["steps"])
        self._check_positive("div_factor", "final_div_factor")
        object.__setattr__(self, "pct_start", fraction("OneCycle", "pct_start", self.pct_start))


@dataclass(frozen=True)
class Custom(Schedule):
    """A Python function of t. A bare callable given as ``learning_rate`` means ``Custom(function)``.

    Parameters
    ----------
    function : callable
        ``function(t) -> float``, >= 0.
    per : {"step", "epoch"}, default "step"
        Asked once for each update, or once for each epoch of a fit.

    Raises
    ------
    TypeError
        If function cannot be called.
    """

    type_name: ClassVar[str] = "custom"
    function: Callable[[int], float]
    per: str = "step"

    def __post_init__(self) -> None:
        self._check([])
        function: Any = self.function
        if not callable(function):
            expected = "expected a callable t -> float"
            raise TypeError(message("Custom", f"function is {function!r}", expected, "give a function"))

    def to_config(self) -> dict[str, Any]:
        """Return a placeholder: a function has no form that the core could read."""
        return {"type": Constant.type_name, "lr": 0.0}

    def __getstate__(self) -> dict[str, Any]:
        check_picklable("learning_rate", self.function)
        return dict(vars(self))

    def __copy__(self) -> "Custom":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "Custom":
        twin = object.__new__(Custom)
        memo[id(self)] = twin  # before the function, which may refer to what refers to this
        object.__setattr__(twin, "per", self.per)
        object.__setattr__(twin, "function", copy.deepcopy(self.function, memo))
        return twin

    def checked(self, t: int) -> float:
        """Return ``function(t)`` as a float.

        Raises
        ------
        TypeError
            If the function returns no number. What the function raises passes through.
        """
        value: Any = self.function(t)
        try:
            if not isinstance(value, str | bytes | bool | np.bool_):
                return float(value.item() if isinstance(value, np.ndarray) else value)
        except (TypeError, ValueError):
            pass
        given = f"the function of t returned {value!r} for t = {t}"
        raise TypeError(message("learning_rate", given, "expected a number", "return a float"))


@dataclass(frozen=True)
class Warmup(Schedule):
    """A straight line up to the first rate of `schedule`, which then runs from its start.

    ``schedule(0) * (t + 1) / steps`` for t < steps, then ``schedule(t - steps)``; Goyal et al. 2017, section 2.2.

    Parameters
    ----------
    schedule : float, schedule or callable
        What follows.
    steps : int
        >= 1.
    per : {"step", "epoch"}, default "step"
        What `steps` counts.

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "warmup"
    schedule: float | Schedule | Callable[[int], float]
    steps: int
    per: str = "step"

    def __post_init__(self) -> None:
        self._check([], ["steps"])
        object.__setattr__(self, "schedule", as_learning_rate("Warmup", "schedule", self.schedule))


def as_learning_rate(where: str, name: str, value: Any) -> float | Schedule:
    """Return a float > 0 or a schedule; a bare callable becomes `Custom`.

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """
    if isinstance(value, Schedule):
        return value
    if isinstance(value, type) and issubclass(value, Schedule):
        given, hint = f"{name} is the class {value.__name__}", f"give an object, {value.__name__}(...)"
        raise TypeError(message(where, given, "expected a number or a schedule", hint))
    if callable(value):
        return Custom(value)
    if isinstance(value, str):  # scikit-learn names its schedules
        given, hint = f"{name} is {value!r}", "give a schedule such as stoop.schedules.Cosine(1e-3, steps=1000)"
        raise TypeError(message(where, given, "expected a number or a schedule", hint))
    return real(where, name, value, 0.0, _INFINITY, open_low=True)


def learning_rate_to_config(learning_rate: float | Schedule) -> float | dict[str, Any]:
    """Return the form that the core reads, with a placeholder for a Python function."""
    return learning_rate.to_config() if isinstance(learning_rate, Schedule) else learning_rate


def python_rate(learning_rate: float | Schedule) -> PythonRate | None:
    """Return the Python function in a schedule, with what is around it, or None where there is none."""
    warmups = []
    while isinstance(learning_rate, Warmup):
        warmups.append((learning_rate.steps, learning_rate.per))
        learning_rate = as_learning_rate("Warmup", "schedule", learning_rate.schedule)
    if not isinstance(learning_rate, Custom):
        return None
    return WeakCall(learning_rate.checked), learning_rate.per, warmups[::-1]


def _plain(value: Any) -> Any:
    return value.to_config() if isinstance(value, Schedule) else value


def _sequence(name: str, values: Any) -> list[Any]:
    try:
        return list(values)
    except TypeError:
        given = f"{name} is {values!r}"
        raise TypeError(message("Piecewise", given, "expected a sequence", "give a list")) from None
