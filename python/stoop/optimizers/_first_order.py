"""Optimizers whose update is a formula of the gradient and of what was accumulated."""

from dataclasses import dataclass
from typing import ClassVar

from stoop._errors import message
from stoop.optimizers._base import LearningRate, Optimizer

__all__ = [
    "SGD",
    "AdaGrad",
    "Adadelta",
    "Adam",
    "AdamW",
    "Adamax",
    "Lamb",
    "Lion",
    "Nadam",
    "RAdam",
    "RMSProp",
    "Rprop",
]


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

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and (self.momentum == 0.0 or self.dampening != 0.0):
            given = f"nesterov with momentum {self.momentum:g} and dampening {self.dampening:g}"
            hint = "give a momentum such as 0.9, or leave nesterov out"
            raise ValueError(message("SGD", given, "expected momentum > 0 and dampening 0", hint))


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
class Adam(Optimizer):
    """Adam, Kingma & Ba 2015, algorithm 1.

    ``m = beta1*m + (1-beta1)*g; v = beta2*v + (1-beta2)*g**2``, then
    ``w -= learning_rate * m/(1-beta1**t) / (sqrt(v/(1-beta2**t)) + eps)``.

    Parameters
    ----------
    learning_rate : float, schedule or callable, default 0.001
        > 0.
    beta1, beta2 : float, default 0.9 and 0.999
        Decay of the two averages, in [0, 1).
    eps : float, default 1e-8
        Added outside the square root, > 0.
    amsgrad : bool, default False
        The largest v so far in place of v; Reddi, Kale & Kumar 2018, algorithm 2.

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "adam"
    learning_rate: LearningRate = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    amsgrad: bool = False


@dataclass(frozen=True)
class AdamW(Optimizer):
    """`Adam` with ``w -= learning_rate * weight_decay * w`` beside it. Loshchilov & Hutter 2019, algorithm 2.

    Parameters
    ----------
    learning_rate : float, schedule or callable, default 0.001
        > 0.
    beta1, beta2 : float, default 0.9 and 0.999
        Decay of the two averages, in [0, 1).
    eps : float, default 1e-8
        > 0.
    amsgrad : bool, default False
        As in `Adam`.
    weight_decay : float, default 0.01
        Of the weights of Dense only, >= 0.

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "adamw"
    learning_rate: LearningRate = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    amsgrad: bool = False
    weight_decay: float = 0.01


@dataclass(frozen=True)
class Nadam(Optimizer):
    """`Adam` with Nesterov's momentum, Dozat 2016, algorithm 2.

    With ``mu_t = beta1 * (1 - 0.96**(t*momentum_decay) / 2)`` and ``p_t`` the product of ``mu_1 .. mu_t``:
    ``w -= learning_rate * ((1-mu_t)/(1-p_t)*g + mu_{t+1}/(1-p_{t+1})*m) / (sqrt(v/(1-beta2**t)) + eps)``.

    Parameters
    ----------
    learning_rate : float, schedule or callable, default 0.001
        > 0.
    beta1, beta2 : float, default 0.9 and 0.999
        Decay of the two averages, in [0, 1).
    eps : float, default 1e-8
        > 0.
    momentum_decay : float, default 0.004
        >= 0.

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "nadam"
    learning_rate: LearningRate = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    momentum_decay: float = 0.004


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
class Adamax(Optimizer):
    """`Adam` with the largest gradient, which decays, in place of the root; Kingma & Ba 2015, algorithm 2.

    ``m = beta1*m + (1-beta1)*g; u = max(beta2*u, abs(g) + eps); w -= learning_rate/(1-beta1**t) * m/u``.
    eps stands beside the gradient as in PyTorch; the paper has none.

    Parameters
    ----------
    learning_rate : float, schedule or callable, default 0.002
        > 0.
    beta1, beta2 : float, default 0.9 and 0.999
        Decay of the average and of the largest gradient, in [0, 1).
    eps : float, default 1e-8
        > 0.

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "adamax"
    learning_rate: LearningRate = 0.002
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8


@dataclass(frozen=True)
class RAdam(Optimizer):
    """Rectified `Adam`, Liu et al. 2020, algorithm 2: the rate rises as the average of squares becomes reliable.

    With Adam's m and v, ``p = 2/(1-beta2) - 1`` and ``p_t = p - 2*t*beta2**t / (1-beta2**t)``: while ``p_t <= 5``,
    ``w -= learning_rate * m/(1-beta1**t)``. Then
    ``w -= learning_rate * r * m/(1-beta1**t) * sqrt(1-beta2**t) / (sqrt(v) + eps)`` with
    ``r**2 = (p_t-4)*(p_t-2)*p / ((p-4)*(p-2)*p_t)``. The bound of 5, where the paper has 4, and the place of eps are
    those of PyTorch.

    Parameters
    ----------
    learning_rate : float, schedule or callable, default 0.001
        > 0.
    beta1, beta2 : float, default 0.9 and 0.999
        Decay of the two averages, in [0, 1).
    eps : float, default 1e-8
        Added outside the square root, > 0.

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "radam"
    learning_rate: LearningRate = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8


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

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_step_size > self.max_step_size:
            given = f"min_step_size is {self.min_step_size:g} and max_step_size {self.max_step_size:g}"
            expected, hint = "expected the first to be at most the second", "exchange them"
            raise ValueError(message("Rprop", given, expected, hint))


@dataclass(frozen=True)
class Lamb(Optimizer):
    """`Adam` with steps as long as each parameter, for large batches; You et al. 2020, algorithm 2.

    With Adam's m and v, ``u = m/(1-beta1**t) / (sqrt(v/(1-beta2**t)) + eps) + weight_decay*w``, then
    ``w -= learning_rate * norm(w)/norm(u) * u``, with the norms of the whole parameter, or ``w -= learning_rate * u``
    where one of them is 0. Arguments as in Keras and optax.

    Parameters
    ----------
    learning_rate : float, schedule or callable, default 0.001
        > 0.
    beta1, beta2 : float, default 0.9 and 0.999
        Decay of the two averages, in [0, 1).
    eps : float, default 1e-6
        Added outside the square root, > 0.
    weight_decay : float, default 0.01
        Of the weights of Dense only, >= 0.

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "lamb"
    learning_rate: LearningRate = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-6
    weight_decay: float = 0.01
