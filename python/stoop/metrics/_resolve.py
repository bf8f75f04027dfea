"""The metrics of `Trainer.fit` and `Trainer.evaluate`: from names and functions to what can be called with outputs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stoop._checks import integer, is_complex
from stoop._errors import message, refuse_name
from stoop.metrics import _classes, _decisions, _ranking, _scores, _values
from stoop.metrics._common import Array, Weight, by_column

if TYPE_CHECKING:
    from stoop.losses import Loss

_LARGER = {
    "loss": False,
    "mse": False,
    "rmse": False,
    "mae": False,
    "log_loss": False,
    "accuracy": True,
    "top_k_accuracy": True,
    "auc": True,
    "average_precision": True,
    "precision": True,
    "recall": True,
    "f1": True,
    "r2": True,
}
_RATIOS = {"precision": _decisions.precision_ratio, "recall": _decisions.recall_ratio, "f1": _decisions.f1_ratio}
_RANKS = {"auc": _ranking.binary_auc, "average_precision": _ranking.binary_average_precision}
_OF_VALUES = {"mse": _values.mse_of, "rmse": _values.rmse_of, "mae": _values.mae_of, "r2": _values.r2_of}
_OF_CLASSES = ("accuracy", "top_k_accuracy", "log_loss", *_RANKS, *_RATIOS)
NAMES = (*_OF_CLASSES, *_OF_VALUES)
# The public functions take predictions, not outputs: given as metrics they stand for their names.
_FUNCTIONS: dict[Any, str] = {
    getattr(module, name): name
    for module in (_classes, _decisions, _ranking, _scores, _values)
    for name in NAMES
    if name in vars(module)
}
_TAKEN = ("epoch", "loss", "accuracy", "learning_rate", "grad_norm", "samples_per_second")  # columns of a history

Function = Callable[[Array, Array, Weight], float]


class TopK:
    """The share of samples whose class is among the k largest outputs, as a metric: ``metrics=[TopK(3)]``.

    It is recorded as ``"top_3_accuracy"``. The name ``"top_k_accuracy"`` stands for k = 5. See `top_k_accuracy`.

    Parameters
    ----------
    k : int, default 5
        >= 1, below the number of classes.

    Raises
    ------
    ValueError, TypeError
        For a k below 1, or no int.
    """

    def __init__(self, k: int = 5) -> None:
        self.k = integer("TopK", "k", k, 1)
        self.__name__ = f"top_{self.k}_accuracy"

    def __call__(
        self, y_true: npt.ArrayLike, y_score: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> float:
        """Return `top_k_accuracy` with this k."""
        return _scores.top_k_accuracy(y_true, y_score, sample_weight, k=self.k)

    def __repr__(self) -> str:
        return f"TopK({self.k})"


@dataclass(frozen=True)
class Metric:
    """A metric of the outputs of a model.

    Attributes
    ----------
    name : str
        What it is recorded under.
    needs_outputs : bool
        False: the core measures it beside the loss, as it does the accuracy.
    function : callable ``(y_true, outputs, sample_weight) -> float``
        What computes it.
    """

    name: str
    needs_outputs: bool
    function: Callable[[Any, Any, Any], Any]

    def __call__(self, y_true: Array, outputs: Array, sample_weight: Weight = None) -> float:
        """Return its value.

        Parameters
        ----------
        y_true : ndarray
            Targets as the core takes them: class indices (n_samples,), or rows (n_samples, n_columns).
        outputs : ndarray, (n_samples, n_outputs)
            Of the model's last layer.
        sample_weight : ndarray, (n_samples,) or (n_samples, n_columns), optional
            >= 0.

        Raises
        ------
        TypeError
            If a function of the user returned something that is no number.
        """
        value = self.function(y_true, outputs, sample_weight)
        try:
            if not is_complex(value):
                return float(value + 0.0)  # text cannot be added to
        except (TypeError, ValueError):
            pass
        given, hint = f"it returned a {type(value).__name__}", "return float(...)"
        raise TypeError(message(f"metric {self.name}", given, "expected one number", hint))


def resolve(metrics: Any, loss: Loss, output_dim: int, where: str = "Trainer.fit") -> list[Metric]:
    """Return the metrics of these names and functions for a model with this loss.

    Parameters
    ----------
    metrics : str, callable, or iterable of these
        Names, `TopK`, and functions ``(y_true, outputs) -> float``.
    loss : Loss
        It gives the outputs their meaning. "accuracy" is left out for losses of values.
    output_dim : int
        Outputs of the model.
    where : str, default "Trainer.fit"
        The call, for messages.

    Raises
    ------
    ValueError
        For an unknown name (the nearest is suggested), one that does not fit the loss, and two of one name.
    TypeError
        For what is neither name nor function.
    """
    found: list[Metric] = []
    for given in _listed(metrics, where):
        metric = _metric(given, loss, output_dim, where)
        if metric is None:
            continue
        if any(metric.name == other.name for other in found):
            raise ValueError(message(where, f"two metrics are named {metric.name}", "expected names that differ",
                                     "leave one out, or give the function another __name__"))  # fmt: skip
        found.append(metric)
    return found


def is_larger_better(name: str, where: str = "mode") -> bool:
    """Return whether larger values of a column of a history are better, ``val_`` before its name or not.

    Raises
    ------
    ValueError
        For a column of which that is not known, such as one of a function of the user.
    """
    bare = re.sub(r"^top_\d+_accuracy$", "top_k_accuracy", name.removeprefix("val_"))
    if bare not in _LARGER:
        given, expected = f"nobody knows whether larger values of {name} are better", f"expected {', '.join(_LARGER)}"
        raise ValueError(message(where, given, expected, 'give mode="max" or mode="min"'))
    return _LARGER[bare]


def _listed(metrics: Any, where: str) -> tuple[Any, ...]:
    if isinstance(metrics, str) or callable(metrics):
        return (metrics,)
    if isinstance(metrics, Iterable):
        return tuple(metrics)
    hint = 'give ("accuracy",), or () for the loss alone'
    raise TypeError(message(where, f"metrics is {metrics!r}", "expected names of metrics, or functions", hint))


def _metric(given: Any, loss: Loss, output_dim: int, where: str) -> Metric | None:
    top_k = given.k if isinstance(given, TopK) else 5
    name = _FUNCTIONS.get(given) if callable(given) and getattr(given, "__hash__", None) else given
    if isinstance(given, TopK):
        name = "top_k_accuracy"
    if not isinstance(name, str):
        return _own(given, where)
    if name not in NAMES:
        refuse_name(where, "metric", name, NAMES)
    has_classes = loss._spec["has_accuracy"]
    if name == "accuracy" and not has_classes:
        return None
    if has_classes != (name in _OF_CLASSES):
        others = ", ".join(_OF_CLASSES if has_classes else _OF_VALUES)
        _refuse_loss(where, name, loss, f"expected a metric of {'classes' if has_classes else 'values'}: {others}")
    if not has_classes:
        return Metric(name, True, _of_values(_OF_VALUES[name], loss))
    recorded = given.__name__ if isinstance(given, TopK) else name
    is_softmax = bool(loss._spec["takes_classes"])
    if name == "top_k_accuracy":
        _check_top_k(where, top_k, loss, output_dim)
    if name == "log_loss" and loss.type_name == "hinge":
        _refuse_loss(where, name, loss, "expected a loss that fits probabilities")
    return Metric(recorded, name != "accuracy", (_of_softmax if is_softmax else _of_labels)(name, top_k))


def _own(given: Any, where: str) -> Metric:
    """Return a function of the user as a metric."""
    if not callable(given):
        hint = 'give names, ("accuracy",), or functions (y_true, outputs) -> float'
        raise TypeError(message(where, f"metrics holds {given!r}", "expected a name or a function", hint))
    name = getattr(given, "__name__", None)
    if not isinstance(name, str):
        hint = "set its __name__"
        raise TypeError(message(where, f"the metric {given!r} has no name", "expected a __name__", hint))
    if name in _TAKEN:
        given_text = f"a metric is named {name}"
        raise ValueError(message(where, given_text, f"expected none of {', '.join(_TAKEN)}", "rename the function"))
    return Metric(name, True, lambda y_true, outputs, _: given(y_true, outputs))


def _refuse_loss(where: str, name: str, loss: Loss, expected: str) -> None:
    given = f"the metric {name} with the loss {loss.type_name}"
    raise ValueError(message(where, given, expected, "leave it out"))


def _check_top_k(where: str, k: int, loss: Loss, output_dim: int) -> None:
    if not loss._spec["takes_classes"]:
        _refuse_loss(where, "top_k_accuracy", loss, "expected softmax_cross_entropy")
    if k >= output_dim:
        given = f"the metric top_{k}_accuracy of {output_dim} outputs"
        hint = f"give stoop.metrics.TopK({max(output_dim - 1, 1)}) or less"
        raise ValueError(message(where, given, "expected more outputs than that", hint))


def _of_values(function: Function, loss: Loss) -> Function:
    """Return the metric of predicted values, which are not always the outputs."""

    def measured(y_true: Array, outputs: Array, weight: Weight) -> float:
        true = by_column(y_true).astype(np.float64)
        return function(true, predicted_values(outputs, true.shape[1], loss), _float64(weight))

    return measured


def predicted_values(outputs: Array, columns: int, loss: Loss) -> Array:
    """Return the values, (n_samples, columns) of float64, that the outputs of a model with this loss predict."""
    pred = outputs.astype(np.float64)
    if loss.type_name == "gaussian_nll":  # means, then the logs of variances
        pred = pred[:, :columns]
    if getattr(loss, "log_input", False):  # of Poisson: the outputs are logs of rates
        with np.errstate(over="ignore"):
            pred = np.exp(pred)
    return pred


def _of_softmax(name: str, k: int) -> Function:
    """Return the metric of outputs that a softmax makes probabilities of classes that exclude each other."""

    def measured(y_true: Array, outputs: Array, weight: Weight) -> float:
        outputs, weight = outputs.astype(np.float64), _float64(weight)
        true = y_true if y_true.ndim == 1 else y_true.argmax(axis=1)
        if not np.isfinite(outputs).all():
            return float("nan")
        if name == "top_k_accuracy":
            return _scores.top_k_of(true.astype(np.int64), outputs, weight, k)
        if name == "log_loss":
            rows = true.astype(np.int64) if y_true.ndim == 1 else y_true.astype(np.float64)
            return _scores.log_loss_of_rows(rows, _softmax(outputs), weight)
        if name == "accuracy":
            return float(np.mean(outputs.argmax(axis=1) == true))
        binary = outputs.shape[1] == 2
        if name in _RATIOS:
            pred = outputs.argmax(axis=1)
            if binary:
                return _decisions.over_labels(_RATIOS[name], true[:, None] == 1, pred[:, None] == 1, weight)
            return _decisions.over_classes(_RATIOS[name], true, pred, weight)
        scores = outputs[:, 1:] - outputs[:, :1] if binary else _softmax(outputs)
        return _ranking.over_columns(
            _RANKS[name], true[:, None] == np.arange(outputs.shape[1])[binary:], scores, weight
        )

    return measured


def _of_labels(name: str, _: int) -> Function:
    """Return the metric of outputs whose sign is a label, and of which a sigmoid makes probabilities, by column."""

    def measured(y_true: Array, outputs: Array, weight: Weight) -> float:
        targets, outputs, weight = by_column(y_true).astype(np.float64), outputs.astype(np.float64), _float64(weight)
        if not np.isfinite(outputs).all():
            return float("nan")
        true, pred = targets > 0.5, outputs > 0
        if name == "log_loss":
            return _scores.log_loss_of_labels(targets, _sigmoid(outputs), _sigmoid(-outputs), weight)
        if name == "accuracy":
            return float(np.mean(true == pred))
        if name in _RATIOS:
            return _decisions.over_labels(_RATIOS[name], true, pred, weight)
        return _ranking.over_columns(_RANKS[name], true, outputs, weight)

    return measured


def _sigmoid(outputs: Array) -> Array:
    return np.asarray(np.exp(-np.logaddexp(0.0, -outputs)))


def _softmax(outputs: Array) -> Array:
    rows: Array = outputs - outputs.max(axis=1, keepdims=True)
    np.exp(rows, out=rows)
    rows /= rows.sum(axis=1, keepdims=True)
    return rows


def _float64(weight: Weight) -> Weight:
    return None if weight is None else np.asarray(weight, np.float64)
