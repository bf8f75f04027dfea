"""Optimizers. `g` is the gradient with the l1 and l2 terms in it, `w` a parameter, `t` counts updates from 1.

``learning_rate`` is a float > 0, an object of `stoop.schedules`, or any callable ``t -> float`` of the updates made
before, t = 0, 1, 2, ... All that is accumulated starts at 0; eps is added outside the square root. An optimizer given
to a `Trainer` is a description, the state is the trainer's; ``optimizer.step`` updates bare arrays and keeps state of
its own for them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy.typing as npt

from stoop import _core
from stoop._array_step import ArrayStates
from stoop._checks import flag, fraction, integer, real
from stoop._errors import message
from stoop.schedules import as_learning_rate, learning_rate_to_config

LearningRate = Any  # float | Schedule | Callable[[int], float]; kept as a float or a Schedule


class Optimizer:
    """Base of all optimizers. Use a subclass."""

    type_name: ClassVar[str]
    learning_rate: LearningRate

    def step(self, parameters: Sequence[npt.NDArray[Any]], gradients: Sequence[npt.ArrayLike]) -> None:
        """Update bare arrays in place, one gradient for each.

        State and the count of updates are kept in this object for this list of arrays, as long as the arrays live;
        another list starts anew. A schedule counts updates, also one by epochs. Weight decay is for all arrays.
        A copy (by `copy` or `pickle`) has a copy of the state, and goes on from it with the first list of arrays of the
        same dtype and sizes that it is given; ``dataclasses.replace(optimizer)`` starts anew.

        Parameters
        ----------
        parameters : sequence of ndarray
            Writable, contiguous, all float32 or all float64, of any shape; views will do. No two share memory.
        gradients : sequence of array_like
            Of the same shapes; copied where of another dtype or layout. One may be its own parameter, as for a cost of
            ``w**2 / 2``, and is copied then; it shares no memory with a parameter otherwise.

        Raises
        ------
        TypeError
            For a parameter that is no array of float32 or float64.
        ValueError
            For one that is read-only or strided, arrays that share memory, shapes or lengths that do not fit, or an
            invalid learning rate. Nothing is changed then.
        RuntimeError
            While another thread updates these arrays with this optimizer.
        """
        self._array_states().step("optimizer.step", parameters, gradients)

    def _array_states(self) -> ArrayStates:
        if "_states" not in self.__dict__:  # not a field: equality and repr leave it out
            self.__dict__.setdefault("_states", ArrayStates(self, self.__dict__.pop("_copied", [])))
        states: ArrayStates = self.__dict__["_states"]
        return states

    def to_config(self) -> dict[str, Any]:
        """Return ``{"type": name, ...}``, the form that the core reads; a Python function is a placeholder there."""
        config: dict[str, Any] = {"type": self.type_name}
        config |= self._settings()
        config["learning_rate"] = learning_rate_to_config(self.learning_rate)
        return config

    def _settings(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __getstate__(self) -> dict[str, Any]:
        states: ArrayStates | None = self.__dict__.get("_states")
        copied = self.__dict__.get("_copied", []) if states is None else states.snapshots()
        return self._settings() | ({"_copied": copied} if copied else {})

    def _check(self, *decays: str) -> None:
        """Check the learning rate, the factors in [0, 1) named, and eps."""
        where = type(self).__name__
        rate = as_learning_rate(where, "learning_rate", self.learning_rate)
        object.__setattr__(self, "learning_rate", rate)
        for name in decays:
            object.__setattr__(self, name, real(where, name, getattr(self, name), 0.0, 1.0))
        if "eps" in vars(self):
            object.__setattr__(self, "eps", real(where, "eps", vars(self)["eps"], 0.0, open_low=True))

    def _check_flag(self, name: str) -> None:
        object.__setattr__(self, name, flag(type(self).__name__, name, getattr(self, name)))

    def _check_not_negative(self, name: str) -> None:
        object.__setattr__(self, name, real(type(self).__name__, name, getattr(self, name), 0.0))


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
        self._check("momentum")
        self._check_flag("nesterov")
        object.__setattr__(self, "dampening", fraction("SGD", "dampening", self.dampening))
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

    def __post_init__(self) -> None:
        self._check()


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

    def __post_init__(self) -> None:
        self._check("rho", "momentum")
        self._check_flag("centered")


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

    def __post_init__(self) -> None:
        self._check("beta1", "beta2")
        self._check_flag("amsgrad")


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

    def __post_init__(self) -> None:
        self._check("beta1", "beta2")
        self._check_flag("amsgrad")
        self._check_not_negative("weight_decay")


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

    def __post_init__(self) -> None:
        self._check("beta1", "beta2")
        self._check_not_negative("momentum_decay")


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

    def __post_init__(self) -> None:
        self._check("beta1", "beta2")
        self._check_not_negative("weight_decay")


class FullBatchOptimizer(Optimizer):
    """Base of the optimizers of the full batch, whose update is an iteration with a line search."""

    def step(self, parameters: Any, gradients: Any) -> None:  # noqa: ARG002
        """Refuse: a line search needs the cost, not a gradient alone. Use `stoop.minimize` or a `Trainer`."""
        given, expected = f"{type(self).__name__}.step with gradients alone", "expected an optimizer of single updates"
        raise TypeError(message("optimizer.step", given, expected, "use stoop.minimize, or a Trainer"))

    def _check_count(self, name: str) -> None:
        object.__setattr__(self, name, integer(type(self).__name__, name, getattr(self, name), 1, 2**31 - 1))


@dataclass(frozen=True)
class LBFGS(FullBatchOptimizer):
    """Limited-memory BFGS, Nocedal & Wright 2006, algorithm 7.5, with a line search for the strong Wolfe conditions.

    For `Trainer.fit` with ``batch_size=len(X)``, where an epoch is one iteration, and for `stoop.minimize`. The model
    must have no Dropout. Once no step gets lower, iterations change nothing.

    Parameters
    ----------
    learning_rate : float, schedule or callable, default 1.0
        The step that the line search tries first, > 0.
    history_size : int, default 10
        Pairs of steps and changes of the gradient that are kept, each two arrays of parameter size, >= 1.
    max_evaluations : int, default 25
        Of loss and gradient in a line search, >= 1.

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "lbfgs"
    learning_rate: LearningRate = 1.0
    history_size: int = 10
    max_evaluations: int = 25

    def __post_init__(self) -> None:
        self._check()
        self._check_count("history_size")
        self._check_count("max_evaluations")


@dataclass(frozen=True)
class NewtonCG(FullBatchOptimizer):
    """Newton's method by conjugate gradients on exact Hessian-vector products, Nocedal & Wright 2006, algorithm 7.1.

    A direction of negative curvature that the conjugate gradients meet is taken itself; where the gradient is shorter
    than `saddle_tolerance`, the step is along the most negative curvature, found by Lanczos' method (More & Sorensen
    1979). For `Trainer.fit` with ``batch_size=len(X)``, where an epoch is one iteration. The model must have no
    Dropout.

    Parameters
    ----------
    learning_rate : float, schedule or callable, default 1.0
        The step that the line search tries first, > 0.
    cg_iterations : int, default 50
        Hessian-vector products of an iteration at most, >= 1.
    max_evaluations : int, default 25
        Of loss and gradient in a line search, >= 1.
    saddle_tolerance : float, default 1e-6
        Norm of the gradient, >= 0.

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "newton_cg"
    learning_rate: LearningRate = 1.0
    cg_iterations: int = 50
    max_evaluations: int = 25
    saddle_tolerance: float = 1e-6

    def __post_init__(self) -> None:
        self._check()
        self._check_count("cg_iterations")
        self._check_count("max_evaluations")
        self._check_not_negative("saddle_tolerance")


_OPTIMIZERS: dict[str, type[Optimizer]] = {
    c.type_name: c for c in (SGD, AdaGrad, RMSProp, Adam, AdamW, Nadam, Lion, LBFGS, NewtonCG)
}


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
    hint = "for example stoop.optimizers.Adam(1e-3)"
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer):
        hint = f"give an object, {optimizer.__name__}(learning_rate=...)"
    raise TypeError(message(where, f"optimizer is {optimizer!r}", expected, hint))
