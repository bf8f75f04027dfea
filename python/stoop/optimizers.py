"""Optimizers. `g` is the gradient with the l2 term in it, `w` a parameter, `t` counts updates from 1."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from stoop import _core
from stoop._checks import real
from stoop._errors import message


@dataclass(frozen=True)
class SGD:
    """Gradient descent: ``v = momentum*v + (1-dampening)*g; w -= learning_rate*v``.

    Momentum: Polyak 1964. Nesterov 1983, in the form of Bengio et al. 2013, eq. 7, is
    ``w -= learning_rate*(g + momentum*v)``.
    ``dampening=momentum`` makes v the exponentially weighted average of g.

    Parameters
    ----------
    learning_rate : float, default 0.01
        > 0.
    momentum, dampening : float, default 0.0
        In [0, 1); dampening may also be any value in [0, 1].
    nesterov : bool, default False

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or no number.
    """

    type_name: ClassVar[str] = "sgd"
    learning_rate: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    dampening: float = 0.0

    def __post_init__(self) -> None:
        _check_field(self, "learning_rate", 0.0, float("inf"), open_low=True)
        _check_field(self, "momentum", 0.0, 1.0)
        _check_field(self, "dampening", 0.0, 1.0)


@dataclass(frozen=True)
class Adam:
    """Adam, Kingma & Ba 2015, algorithm 1.

    ``m = beta1*m + (1-beta1)*g; v = beta2*v + (1-beta2)*g**2``, then
    ``w -= learning_rate * m/(1-beta1**t) / (sqrt(v/(1-beta2**t)) + eps)``.

    Parameters
    ----------
    learning_rate : float, default 0.001
        > 0.
    beta1, beta2 : float, default 0.9 and 0.999
        Decay of the two averages, in [0, 1).
    eps : float, default 1e-8
        Added outside the square root, > 0.

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or no number.
    """

    type_name: ClassVar[str] = "adam"
    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self) -> None:
        _check_field(self, "learning_rate", 0.0, float("inf"), open_low=True)
        _check_field(self, "beta1", 0.0, 1.0)
        _check_field(self, "beta2", 0.0, 1.0)
        _check_field(self, "eps", 0.0, float("inf"), open_low=True)


Optimizer = SGD | Adam

_OPTIMIZERS: dict[str, type[SGD] | type[Adam]] = {"sgd": SGD, "adam": Adam}


def as_optimizer(where: str, optimizer: object) -> Optimizer:
    """Return the optimizer that a name (with its defaults) or object means.

    Raises
    ------
    ValueError
        For an unknown name; the nearest is suggested.
    TypeError
        For anything else.
    """
    if isinstance(optimizer, str):
        return _OPTIMIZERS[_core.check_name("optimizer", optimizer)]()
    if isinstance(optimizer, Optimizer):
        return optimizer
    expected = "expected a name or an object of stoop.optimizers"
    raise TypeError(message(where, f"optimizer is {optimizer!r}", expected, "for example stoop.optimizers.Adam(1e-3)"))


def optimizer_to_config(optimizer: Optimizer) -> dict[str, Any]:
    """Return ``{"type": name, ...}``, the form that the core reads."""
    return {"type": optimizer.type_name, **asdict(optimizer)}


def _check_field(optimizer: Any, name: str, low: float, high: float, *, open_low: bool = False) -> None:
    value = real(type(optimizer).__name__, name, getattr(optimizer, name), low, high, open_low=open_low)
    object.__setattr__(optimizer, name, value)
