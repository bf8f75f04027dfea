"""Schedules that fall for as long as training goes on."""

from collections.abc import Iterable
from dataclasses import InitVar, field
from typing import Any, ClassVar

from stoop._checks import NOT_NEGATIVE, integer, real
from stoop._config import dataclass
from stoop.schedules._base import Schedule, sequence


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
        starts = tuple(
            integer("Piecewise", "a boundary", b, 0) for b in sequence("Piecewise", "boundaries", boundaries)
        )
        rates = tuple(real("Piecewise", "a value", v, NOT_NEGATIVE) for v in sequence("Piecewise", "values", values))
        object.__setattr__(self, "boundaries", starts)
        object.__setattr__(self, "rates", rates)
        object.__setattr__(self, "per", per)
        self.__post_init__()

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
