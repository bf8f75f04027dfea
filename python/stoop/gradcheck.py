"""Gradient checking: the analytic gradient against two-sided differences, in float64."""

import json
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stoop import _core
from stoop._checks import NOT_NEGATIVE, POSITIVE, check_finite, features, integer, real, sample_weights
from stoop._config import as_config
from stoop._errors import message
from stoop._labels import TargetReader
from stoop.losses import Loss
from stoop.model import Model

_TOLERANCE = 1e-7  # of the core's GradcheckResult::passed
_VERDICTS = ((_TOLERANCE, "right"), (1e-5, "probably right"), (1e-3, "look"))  # below which it is one; else "wrong"


@dataclass(frozen=True)
class ParameterCheck:
    """The agreement of the gradient of one parameter with differences of the loss.

    Attributes
    ----------
    relative_error : float
        ``norm(numeric - analytic) / (norm(numeric) + norm(analytic))`` over its elements.
    worst_index : tuple of int
        Element with the largest absolute difference.
    worst_analytic, worst_numeric : float
        The two values there.
    verdict : str
        As in `GradcheckResult`.
    """

    relative_error: float
    worst_index: tuple[int, ...]
    worst_analytic: float
    worst_numeric: float

    @property
    def verdict(self) -> str:
        """The result in words, from the relative error."""
        return _verdict(self.relative_error)


@dataclass(frozen=True)
class GradcheckResult:
    """The result of `gradcheck`; ``print`` it for a table.

    Attributes
    ----------
    relative_error : float
        Over all parameters together.
    per_parameter : dict of str to ParameterCheck
        The parameters that are trained.
    passed : bool
        ``relative_error < 1e-7``.
    verdict : str
        "right" below 1e-7; "probably right" below 1e-5, as rounding leaves it; "look" below 1e-3, where it may be a
        kink of ReLU or a mistake in a small term; else "wrong".
    worst : str
        Name of the parameter with the largest relative error, empty where nothing is trained.
    """

    relative_error: float
    per_parameter: dict[str, ParameterCheck]
    passed: bool

    @property
    def verdict(self) -> str:
        """The result in words, from the relative error."""
        return _verdict(self.relative_error)

    @property
    def worst(self) -> str:
        """Name of the parameter with the largest relative error."""
        checks = self.per_parameter
        return max(checks, key=lambda name: checks[name].relative_error, default="")

    def __str__(self) -> str:
        verdict = "passed" if self.passed else "FAILED"
        width = max(len(name) for name in ("parameter", *self.per_parameter))
        lines = [
            f"gradcheck {verdict}: {self.verdict}, relative error {self.relative_error:.2e} (limit {_TOLERANCE:.0e})",
            f"{'parameter':<{width}}  {'relative error':>14}  {'analytic':>13}  {'numeric':>13}  worst element",
        ]
        for name, check in self.per_parameter.items():
            values = f"{check.relative_error:14.2e}  {check.worst_analytic:13.6e}  {check.worst_numeric:13.6e}"
            lines.append(f"{name:<{width}}  {values}  {list(check.worst_index)}  {check.verdict}")
        return "\n".join(lines)


def gradcheck(
    model: Model,
    loss: str | Loss,
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    l2: float = 0.0,
    eps: float = 1e-6,
    sample: int | None = None,
    *,
    l1: float = 0.0,
    sample_weight: npt.ArrayLike | None = None,
) -> GradcheckResult:
    """Compare the gradient with ``(loss(w + eps) - loss(w - eps)) / (2*eps)``, element by element.

    A copy of the model in float64 is checked, so the model itself is left alone. Two passes per element: meant for
    small models and a few samples, or a `sample` of the elements. Layers with ``trainable=False`` are skipped,
    dropout is off, BatchNorm uses the statistics of X. Away from the kinks of ReLU the error is of order eps**2 plus
    rounding. Goodfellow, Bengio & Courville 2016, section 11.5.

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
    sample : int, optional
        Check at most this many elements of each parameter, spread over it, >= 1. None: all.
    l1 : float, default 0.0
        As in `Trainer`, >= 0. Has a kink where a weight is 0.
    sample_weight : array_like, (n_samples,) or (n_samples, n_outputs), optional
        As in `Trainer.fit`.

    Returns
    -------
    GradcheckResult

    Raises
    ------
    ValueError, TypeError
        For data or values that cannot be used, parameters that are not finite, or a loss or gradient that is not.
    """
    if not isinstance(model, Model):
        raise TypeError(message("gradcheck", f"model is {model!r}", "expected a stoop.Model", "build one first"))
    double = model._with_layers(model.layers, "float64")
    double._assign(double._fitting(model.state_dict()))
    for name, array in model.parameters().items():
        check_finite("gradcheck", name, array, "take parameters from before they went wrong")
    checked_loss = as_config(Loss, "gradcheck", loss)
    x = features("gradcheck", X, double.dtype, double.input_dim)
    reader = TargetReader(double, checked_loss)
    targets, _ = reader.read("gradcheck", y, x.shape[0], may_name=double.output is None)
    weights = None
    if sample_weight is not None:
        weights = sample_weights("gradcheck", sample_weight, double.dtype, x.shape[0], reader.weight_columns)
    l1, l2 = real("gradcheck", "l1", l1, NOT_NEGATIVE), real("gradcheck", "l2", l2, NOT_NEGATIVE)
    eps = real("gradcheck", "eps", eps, POSITIVE)
    count = 0 if sample is None else integer("gradcheck", "sample", sample, 1)
    core = double._core
    assert isinstance(core, _core.ModelFloat64)
    config = json.dumps(checked_loss.to_config())
    result = _core.gradcheck(core, config, x, targets, weights, l1=l1, l2=l2, eps=eps, sample=count)
    if not math.isfinite(result["relative_error"]):
        given, hint = "a loss or gradient that is not finite", "scale X, y or the parameters down"
        raise ValueError(message("gradcheck", given, "expected finite numbers", hint))
    shapes = {name: array.shape for name, array in double.parameters().items()}
    checks = {}
    for name, fields in result["per_parameter"].items():
        index = tuple(int(i) for i in np.unravel_index(fields.pop("worst_index"), shapes[name]))
        checks[name] = ParameterCheck(worst_index=index, **fields)
    return GradcheckResult(result["relative_error"], checks, result["passed"])


def _verdict(relative_error: float) -> str:
    return next((verdict for limit, verdict in _VERDICTS if relative_error < limit), "wrong")
