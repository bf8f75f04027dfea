"""Folds and scores, the same for all engines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold

FOLDS = 5
Array = np.ndarray[Any, Any]

# What a table is judged by: more is better.
MAIN = {"regression": "r2", "binary": "auc", "classes": "accuracy"}
TITLES = {"r2": "R2", "auc": "AUC", "accuracy": "accuracy"}


def folds(y: Array, task: str) -> Iterator[tuple[Array, Array]]:
    """Yield training and test rows of each of the five folds, stratified by class."""
    kind = KFold if task == "regression" else StratifiedKFold
    yield from kind(FOLDS, shuffle=True, random_state=0).split(np.zeros((len(y), 1)), y)


def scores(task: str, y: Array, predicted: Array, classes: Array | None) -> dict[str, float]:
    """Return R2 and RMSE of a regression; else accuracy, log loss and, of two classes, the area under the ROC curve."""
    if task == "regression":
        error = float(np.mean((y - predicted) ** 2))
        return {"r2": 1.0 - error / float(np.var(y)), "rmse": error**0.5}
    assert classes is not None
    proba = np.asarray(predicted, np.float64)
    proba = proba / proba.sum(axis=1, keepdims=True)  # of float32 the sum is not one to the last digit
    found = {
        "accuracy": float(np.mean(classes[proba.argmax(1)] == y)),
        "log_loss": float(log_loss(y, proba, labels=classes)),
    }
    if task == "binary":
        found["auc"] = float(roc_auc_score(y == classes[1], proba[:, 1]))
    return found
