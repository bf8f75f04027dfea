"""Tells what kind of point training has reached, from the gradient norm and the ends of the Hessian's spectrum."""

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from stoop._checks import NOT_NEGATIVE, flag, integer, real
from stoop._errors import message
from stoop.trainer import Trainer


@dataclass(frozen=True)
class CriticalPoint:
    """The result of `critical_point`.

    Attributes
    ----------
    kind : {"minimum", "saddle", "maximum", "plateau", "slope", "undecided"}
        "slope": the gradient is not small, so this is no critical point. "undecided": the residuals are too large to
        exclude curvature that would speak against each of the others; ask with more `iterations`.
    loss : float
        Regularisation included.
    gradient_norm : float
        L2 norm over all parameters.
    smallest_eigenvalue, largest_eigenvalue : float
        Of the Hessian.
    smallest_residual, largest_residual : float
        ``norm(H @ v - eigenvalue * v)`` with ``norm(v) == 1``: an eigenvalue of the Hessian is within it.
    products : int
        Hessian-vector products made.
    """

    kind: str
    loss: float
    gradient_norm: float
    smallest_eigenvalue: float
    largest_eigenvalue: float
    smallest_residual: float
    largest_residual: float
    products: int

    def __str__(self) -> str:
        return (
            f"{self.kind}: gradient norm {self.gradient_norm:.3g}, eigenvalues of the Hessian from "
            f"{self.smallest_eigenvalue:.4g} (+- {self.smallest_residual:.1g}) to "
            f"{self.largest_eigenvalue:.4g} (+- {self.largest_residual:.1g}), loss {self.loss:.6g}"
        )


def critical_point(
    trainer: Trainer,
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    training: bool = True,
    iterations: int = 80,
    gradient_tolerance: float = 1e-3,
    curvature_tolerance: float = 1e-4,
    plateau_tolerance: float = 1e-6,
) -> CriticalPoint:
    """Say whether the loss on X and y has a minimum, a saddle or a plateau where the parameters are.

    The extreme eigenvalues of the Hessian are found by Lanczos' method (Lanczos 1950; Golub & Van Loan 2013, section
    10.3.1) on exact Hessian-vector products. Wide networks have many directions without curvature at a minimum: an
    eigenvalue counts as negative only beyond `curvature_tolerance`. Nothing is changed.

    What Lanczos finds is the curvature in some direction, so curvature of both signs proves a saddle, exact or not. A
    minimum, maximum or plateau needs ends of the spectrum without the curvature that would speak against it, their
    residuals included; where these are too large, the answer is "undecided".

    Parameters
    ----------
    trainer : Trainer
        Its model, loss and regularisation.
    X, y, sample_weight : array_like
        As in `Trainer.fit`; the loss is that of all of X.
    training : bool, default True
        As in `Trainer.loss_and_grad`.
    iterations : int, default 80
        Hessian-vector products, >= 1; fewer where the model has fewer parameters.
    gradient_tolerance : float, default 1e-3
        A longer gradient means "slope".
    curvature_tolerance : float, default 1e-4
        The smallest eigenvalue that counts, as a part of the largest in size.
    plateau_tolerance : float, default 1e-6
        Where no eigenvalue is larger in size: "plateau".

    Raises
    ------
    ValueError, TypeError
        For data that cannot be used, a value outside its range, or where a parameter, the loss or the gradient is not
        finite.

    Examples
    --------
    >>> import numpy as np
    >>> import stoop
    >>> model = stoop.Model([stoop.Dense(1, kernel_init="zeros")], input_dim=2, dtype="float64")
    >>> trainer = stoop.Trainer(model, loss="mse")
    >>> X, y = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]), np.zeros((3, 1))
    >>> stoop.diagnose.critical_point(trainer, X, y).kind
    'minimum'
    """
    where = "critical_point"
    if not isinstance(trainer, Trainer):
        raise TypeError(message(where, f"trainer is {trainer!r}", "expected a stoop.Trainer", "make one for the model"))
    found: dict[str, Any] = trainer._critical_point(
        X,
        y,
        sample_weight,
        training=flag(where, "training", training),
        iterations=integer(where, "iterations", iterations, 1, 2**31 - 1),
        gradient_tolerance=real(where, "gradient_tolerance", gradient_tolerance, NOT_NEGATIVE),
        curvature_tolerance=real(where, "curvature_tolerance", curvature_tolerance, NOT_NEGATIVE),
        plateau_tolerance=real(where, "plateau_tolerance", plateau_tolerance, NOT_NEGATIVE),
    )
    return CriticalPoint(**found)
