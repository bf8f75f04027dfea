"""Schedules that hold another one or a Python function, and what may stand for a learning rate."""

import copy
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np

from stoop._callables import WeakCall, check_picklable
from stoop._checks import POSITIVE, integer, is_complex, real
from stoop._config import dataclass
from stoop._errors import message
from stoop.schedules._base import PythonRates, Schedule, sequence
from stoop.schedules._decays import Constant


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
        super().__post_init__()
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

    def _python_rates(self) -> PythonRates:
        return [(WeakCall(self.checked), self.per)]

    def checked(self, t: int) -> float:
        """Return ``function(t)`` as a float.

        Raises
        ------
        TypeError
            If the function returns no number. What the function raises passes through.
        """
        value: Any = self.function(t)
        try:
            if not (is_complex(value) or isinstance(value, str | bytes | bool | np.bool_)):
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
        What follows. A function counts what `steps` counts; a schedule that counts something else (`per`) does not run
        from its start: it counts from the first update or epoch of the training.
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
        self._set("schedule", as_learning_rate("Warmup", "schedule", self.schedule, self.per))
        super().__post_init__()

    def _inner(self) -> tuple[Any]:
        return (self.schedule,)


@dataclass(frozen=True)
class Sequential(Schedule):
    """One schedule after another: ``schedules[0]`` until ``milestones[0]``, then ``schedules[1]``, and so on.

    Each runs from its start, ``schedules[i](t - milestones[i-1])``, as in PyTorch's ``SequentialLR`` and optax's
    ``join_schedules``; by definition.

    Parameters
    ----------
    schedules : sequence of float, schedule or callable
        One more than milestones. A function counts what the milestones count; a schedule that counts something else
        (`per`) does not run from its start: it counts from the first update or epoch of the training.
    milestones : sequence of int
        The t at which each schedule but the first begins, each above the one before, >= 1.
    per : {"step", "epoch"}, default "step"
        What the milestones count.

    Raises
    ------
    ValueError, TypeError
        For lengths or values that do not fit.
    """

    type_name: ClassVar[str] = "sequential"
    schedules: Iterable[float | Schedule | Callable[[int], float]]
    milestones: Iterable[int]
    per: str = "step"

    def __post_init__(self) -> None:
        given = sequence("Sequential", "schedules", self.schedules)
        self._set("schedules", tuple(as_learning_rate("Sequential", "a schedule", each, self.per) for each in given))
        given = sequence("Sequential", "milestones", self.milestones)
        self._set("milestones", tuple(integer("Sequential", "a milestone", t, 1) for t in given))
        super().__post_init__()

    def _inner(self) -> tuple[Any, ...]:
        return tuple(self.schedules)


def as_learning_rate(where: str, name: str, value: Any, per: str = "step") -> float | Schedule:
    """Return a float > 0 or a schedule; a bare callable becomes `Custom`, which counts `per`.

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
        return Custom(value, per)
    if isinstance(value, str):  # scikit-learn names its schedules
        given, hint = f"{name} is {value!r}", "give a schedule such as stoop.schedules.Cosine(1e-3, steps=1000)"
        raise TypeError(message(where, given, "expected a number or a schedule", hint))
    return real(where, name, value, POSITIVE, "0.01 is usual for SGD and 0.001 for Adam")
