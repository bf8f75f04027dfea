"""Optimizers of the full batch."""

from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

from stoop._errors import message
from stoop.optimizers._base import LearningRate, Optimizer


class FullBatchOptimizer(Optimizer):
    """Base of the optimizers of the full batch, whose update is an iteration with a line search."""

    def step(self, parameters: Any, gradients: Any) -> NoReturn:  # noqa: ARG002
        """Refuse: a line search needs the cost, not a gradient alone. Use `stoop.minimize` or a `Trainer`."""
        self._refuse("step")

    def updater(self, parameters: Any) -> NoReturn:  # noqa: ARG002
        """Refuse, as `step`."""
        self._refuse("updater")

    def _refuse(self, call: str) -> NoReturn:
        given = f"{type(self).__name__}.{call} with gradients alone"
        expected, hint = "expected an optimizer of single updates", "use stoop.minimize, or a Trainer"
        raise TypeError(message(f"optimizer.{call}", given, expected, hint))


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
