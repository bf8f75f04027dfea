"""Gradient checking: the analytic gradient against two-sided differences, in float64."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stoop import _core
from stoop._checks import class_targets, features, real, value_targets
from stoop._errors import message
from stoop.losses import Loss, as_loss, loss_to_json
from stoop.model import Model

_TOLERANCE = 1e-7


@dataclass(frozen=True)
class ParameterCheck:
    """How well the gradient of one parameter agrees.

    Attributes
    ----------
    relative_error : float
        ``norm(numeric - analytic) / (norm(numeric) + norm(analytic))`` over its elements.
    worst_index : tuple of int
        Element with the largest absolute difference.
    worst_analytic, worst_numeric : float
        The two values there.
    """

    relative_error: float
    worst_index: tuple[int, ...]
    worst_analytic: float
    worst_numeric: float


@dataclass(frozen=True)
class GradcheckResult:
    """What `gradcheck` found; ``print`` it for a table.

    Attributes
    ----------
    relative_error : float
        Over all parameters together.
    per_parameter : dict of str to ParameterCheck
    passed : bool
        ``relative_error < 1e-7``.
    """

    relative_error: float
    per_parameter: dict[str, ParameterCheck]
    passed: bool

    def __str__(self) -> str:
        verdict = "passed" if self.passed else "FAILED"
        width = max(len(name) for name in ("parameter", *self.per_parameter))
        lines = [
            f"gradcheck {verdict}: relative error {self.relative_error:.2e} (limit {_TOLERANCE:.0e})",
            f"{'parameter':<{width}}  {'relative error':>14}  {'analytic':>13}  {'numeric':>13}  at",
        ]
        for name, check in self.per_parameter.items():
            values = f"{check.relative_error:14.2e}  {check.worst_analytic:13.6e}  {check.worst_numeric:13.6e}"
            lines.append(f"{name:<{width}}  {values}  {list(check.worst_index)}")
        return "\n".join(lines)


def gradcheck(
    model: Model, loss: str | Loss, X: npt.ArrayLike, y: npt.ArrayLike, l2: float = 0.0, eps: float = 1e-6
) -> GradcheckResult:
    """Compare the gradient with ``(loss(w + eps) - loss(w - eps)) / (2*eps)`` for every element of every parameter.

    A copy of the model in float64 is checked, so the model itself is left alone. Two passes per element: meant for
    small models and a few samples. Away from the kinks of ReLU the error is of order eps**2 plus rounding.

    Parameters
    ----------
    model : Model
    loss : str or loss
        A name or an object of `stoop.losses`.
    X, y : array_like
        As in `Trainer.fit`.
    l2 : float, default 0.0
        As in `Trainer`, >= 0.
    eps : float, default 1e-6
        Half the distance of the two differences, > 0.

    Returns
    -------
    GradcheckResult

    Raises
    ------
    ValueError, TypeError
        For data or values that cannot be used.
    """
    if not isinstance(model, Model):
        raise TypeError(message("gradcheck", f"model is {model!r}", "expected a stoop.Model", "build one first"))
    double = Model(model.layers, model.input_dim, dtype="float64")
    double.load_state_dict(model.state_dict())
    loss_json = loss_to_json(as_loss("gradcheck", loss))
    x = features("gradcheck", X, double.dtype, double.input_dim)
    if _core.loss_takes_classes(loss_json):
        targets = class_targets("gradcheck", y, x.shape[0])
    else:
        targets = value_targets("gradcheck", y, double.dtype, x.shape[0], double.output_dim)
    l2 = real("gradcheck", "l2", l2, 0.0)
    eps = real("gradcheck", "eps", eps, 0.0, open_low=True)
    core = double._core
    assert isinstance(core, _core.ModelFloat64)
    result = _core.gradcheck(core, loss_json, x, targets, l2, eps)
    shapes = {name: array.shape for name, array in double.parameters().items()}
    checks = {}
    for name, fields in result["per_parameter"].items():
        index = tuple(int(i) for i in np.unravel_index(fields.pop("worst_index"), shapes[name]))
        checks[name] = ParameterCheck(worst_index=index, **fields)
    return GradcheckResult(result["relative_error"], checks, result["passed"])
