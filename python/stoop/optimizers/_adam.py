"""Adam and the optimizers that derive from it: two averages, of the gradient and of its size."""

from typing import ClassVar

from stoop._config import dataclass
from stoop.optimizers._base import LearningRate, Optimizer

__all__ = ["Adam", "AdamW", "Adamax", "Lamb", "Nadam", "RAdam"]


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
    eps_hat : bool, default False
        ``eps / sqrt(1-beta2**t)`` in place of eps, which then stands beside ``sqrt(v)`` as in scikit-learn and Keras;
        Kingma & Ba 2015, the end of section 2.

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
    eps_hat: bool = False


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
