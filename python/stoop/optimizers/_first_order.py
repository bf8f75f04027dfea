"""Optimizers whose update is a formula of the gradient and of what was accumulated; those like Adam are in `_adam`."""

from typing import ClassVar

from stoop._config import dataclass
from stoop.optimizers._base import LearningRate, Optimizer

__all__ = ["SGD", "AdaGrad", "Adadelta", "Lion", "RMSProp", "Rprop"]


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent: ``v = momentum*v + (1-dampening)*g; w -= learning_rate*v``.

    Momentum: Polyak 1964; Sutskever et al. 2013, eq. 1 and 2. Nesterov 1983, in the form of Bengio et al. 2013, eq. 7,
    is ``w -= learning_rate*(g + momentum*v)``.
    ``dampening=momentum`` makes v the exponentially weighted average of g.

    Parameters
    ----------
    learning_rate : float, schedule or callable, default 0.01
        > 0.
    momentum, dampening : float, default 0.0
        In [0, 1); dampening may also be 1.
    nesterov : bool, default False
        Needs a momentum and no dampening.
    rate_in_velocity : bool, default False
        ``v = momentum*v + learning_rate*(1-dampening)*g; w -= v``, with `nesterov` ``w -= learning_rate*g +
        momentum*v``, as in scikit-learn and Keras. It differs where the rate changes: earlier steps keep their length.

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "sgd"
    learning_rate: LearningRate = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    dampening: float = 0.0
    rate_in_velocity: bool = False


@dataclass(frozen=True)
class AdaGrad(Optimizer):
    """``s += g**2; w -= learning_rate * g / (sqrt(s) + eps)``. Duchi, Hazan & Singer 2011, eq. 1.

    The diagonal form.

    Parameters
    ----------
    learning_rate : float, schedule or callable, default 0.01
        > 0.
    eps : float, default 1e-10
        > 0.

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "adagrad"
    learning_rate: LearningRate = 0.01
    eps: float = 1e-10


@dataclass(frozen=True)
class RMSProp(Optimizer):
    """``v = rho*v + (1-rho)*g**2; w -= learning_rate * g / (sqrt(v) + eps)``.

    Tieleman & Hinton 2012, lecture 6.5, slide 29.

    Parameters
    ----------
    learning_rate : float, schedule or callable, default 0.001
        > 0.
    rho : float, default 0.9
        In [0, 1).
    eps : float, default 1e-8
        > 0.
    momentum : float, default 0.0
        In [0, 1): ``b = momentum*b + g / (sqrt(v) + eps); w -= learning_rate*b``.
    centered : bool, default False
        ``v - a**2`` in place of v, with ``a = rho*a + (1-rho)*g``; Graves 2013, eq. 38-45.

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "rmsprop"
    learning_rate: LearningRate = 0.001
    rho: float = 0.9
    eps: float = 1e-8
    momentum: float = 0.0
    centered: bool = False


@dataclass(frozen=True)
class Lion(Optimizer):
    """``w -= learning_rate * (sign(beta1*m + (1-beta1)*g) + weight_decay*w); m = beta2*m + (1-beta2)*g``.

    Chen et al. 2023, algorithm 2. Rates are 3 to 10 times smaller than those of Adam.

    Parameters
    ----------
    learning_rate : float, schedule or callable, default 1e-4
        > 0.
    beta1, beta2 : float, default 0.9 and 0.99
        In [0, 1).
    weight_decay : float, default 0.0
        Of the weights of Dense only, >= 0.

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "lion"
    learning_rate: LearningRate = 1e-4
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Adadelta(Optimizer):
    """Steps in the units of the parameters, Zeiler 2012, algorithm 1; arguments as in Keras and PyTorch.

    ``v = rho*v + (1-rho)*g**2; d = sqrt(u + eps) / sqrt(v + eps) * g; w -= learning_rate*d``, then
    ``u = rho*u + (1-rho)*d**2``. The paper has no learning rate, which is 1 there.

    Parameters
    ----------
    learning_rate : float, schedule or callable, default 1.0
        > 0.
    rho : float, default 0.9
        Decay of both averages, in [0, 1).
    eps : float, default 1e-6
        Added inside the square roots, > 0.

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "adadelta"
    learning_rate: LearningRate = 1.0
    rho: float = 0.9
    eps: float = 1e-6


@dataclass(frozen=True)
class Rprop(Optimizer):
    """Steps from the signs of gradients alone, for full batches. Riedmiller & Braun 1993, without going back.

    Each element has a step ``d``, which is `learning_rate` at first. Where the sign of g is that of the update before,
    ``d *= eta_plus``; where it is the other, ``d *= eta_minus``, and g counts as 0. d stays between `min_step_size`
    and `max_step_size`; ``w -= sign(g)*d``. As in PyTorch (there ``etas`` and ``step_sizes``), with optax's names.

    Parameters
    ----------
    learning_rate : float, schedule or callable, default 0.01
        The first step, > 0; only its value at the first update counts.
    eta_minus, eta_plus : float, default 0.5 and 1.2
        In (0, 1), and > 1.
    min_step_size, max_step_size : float, default 1e-6 and 50.0
        > 0, the first at most the second.

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "rprop"
    learning_rate: LearningRate = 0.01
    eta_minus: float = 0.5
    eta_plus: float = 1.2
    min_step_size: float = 1e-6
    max_step_size: float = 50.0
