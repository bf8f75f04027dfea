"""What a trainer's model predicts for samples, and the error of each sample.

The error of classes is 1 where the prediction is wrong, or where an output is not finite, and 0 else; of several labels
by column the share of wrong ones; of values the squared residual over the variance of the training targets, so that its
mean is 1 - R2: 0 is perfect, 1 as bad as predicting the mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._errors import message
from stoop.diagnose._statistics import Level
from stoop.metrics._common import by_column
from stoop.metrics._resolve import predicted_values
from stoop.trainer import Trainer

Array = npt.NDArray[Any]

_WORST = 100.0  # an error that is not finite, or larger, counts as this


@dataclass(frozen=True, eq=False)
class Scored:
    """Samples as the core takes them, with what the model says of them.

    Attributes
    ----------
    kind : {"classes", "labels", "values"}
        "labels": several columns of 0 and 1 that do not exclude each other.
    x, targets, outputs : ndarray
    true, predicted : ndarray
        Class indices (n_samples,), labels or values (n_samples, n_columns).
    errors : ndarray of float64, (n_samples,)
    level : Level
        Their mean.
    broken : int
        Samples with an output that is not finite.
    """

    kind: str
    x: Array
    targets: Array
    outputs: Array
    true: Array
    predicted: Array
    errors: npt.NDArray[np.float64]
    level: Level
    broken: int


def scored(trainer: Trainer, X: Any, y: Any, where: str, spread: Array | None = None) -> Scored:
    """Return the predictions and errors for these samples.

    `spread` is the variance of each target column by which errors of values are divided; None: that of y.
    """
    x, targets, _ = trainer._batch(where, X, y, None)
    x, targets = np.asarray(x), np.asarray(targets)
    outputs = trainer.model.predict(x)
    finite = np.isfinite(outputs).all(axis=1)
    spec = trainer.loss._spec
    if spec["takes_classes"] or spec["takes_labels"]:
        kind, true, predicted = _decided(targets, outputs, softmax=bool(spec["takes_classes"]))
        if kind == "classes" and outputs.shape[1] > 1 and true.max() >= outputs.shape[1]:
            given = f"y holds class {true.max()} for a model of {outputs.shape[1]} outputs"
            expected = f"expected 0 to {outputs.shape[1] - 1}"
            raise ValueError(message(where, given, expected, "check y, or make the model wider"))
        errors = (true != predicted).astype(np.float64).reshape(len(true), -1).mean(axis=1)
        errors[~finite] = 1.0
    else:
        kind, true = "values", by_column(targets).astype(np.float64)
        predicted = predicted_values(outputs, true.shape[1], trainer.loss)
        errors = _squared(true, predicted, spread_of(true) if spread is None else spread)
    return Scored(kind, x, targets, outputs, true, predicted, errors, Level.mean(errors), int((~finite).sum()))


def spread_of(true: Array) -> Array:
    """Return the variance of each column of values, 1 where it is constant."""
    variance = true.var(axis=0)
    return np.where(variance > 0.0, variance, 1.0)


def filled(x: Array) -> npt.NDArray[np.float64]:
    """Return inputs as float64, with the mean of its column for each missing value."""
    values = x.astype(np.float64)
    missing = np.isnan(values)
    if missing.any():
        count = np.maximum((~missing).sum(axis=0), 1)
        values = np.where(missing, np.where(missing, 0.0, values).sum(axis=0) / count, values)
    return values


def constant_error(part: Scored) -> float:
    """Return the error of the best prediction that is the same for all samples."""
    if part.kind == "values":
        return 1.0
    columns = part.true.reshape(len(part.true), -1)
    return float(np.mean([1.0 - np.unique(column, return_counts=True)[1].max() / len(column) for column in columns.T]))


def probabilities(part: Scored) -> Array:
    """Return the probabilities of classes, (n_samples, n_classes), or of labels, (n_samples, n_columns)."""
    outputs = np.nan_to_num(part.outputs.astype(np.float64), posinf=1e30, neginf=-1e30)
    if part.kind == "classes" and outputs.shape[1] > 1:
        rows: Array = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        return np.asarray(rows / rows.sum(axis=1, keepdims=True))
    positive = np.exp(-np.logaddexp(0.0, -outputs))
    return np.concatenate([1.0 - positive, positive], axis=1) if part.kind == "classes" else positive


def _decided(targets: Array, outputs: Array, *, softmax: bool) -> tuple[str, Array, Array]:
    if softmax:
        true = targets if targets.ndim == 1 else targets.argmax(axis=1)
        return "classes", true.astype(np.int64), outputs.argmax(axis=1)
    true, predicted = (by_column(targets) > 0.5).astype(np.int64), (outputs > 0).astype(np.int64)
    if true.shape[1] == 1:
        return "classes", true[:, 0], predicted[:, 0]
    return "labels", true, predicted


def _squared(true: Array, predicted: Array, spread: Array) -> npt.NDArray[np.float64]:
    with np.errstate(over="ignore", invalid="ignore"):
        errors = ((predicted - true) ** 2 / spread).mean(axis=1)
    clipped: npt.NDArray[np.float64] = np.nan_to_num(np.minimum(errors, _WORST), nan=_WORST)
    return clipped
