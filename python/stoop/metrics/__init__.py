"""Measures of predictions, on NumPy arrays; each equals that of scikit-learn, which need not be installed.

The functions take predictions as scikit-learn's do. `Trainer.fit` and `Trainer.evaluate` take the names, or functions
of your own, and compute them from the outputs of the model by the meaning that the loss gives these: a softmax, a
sigmoid, or values.
"""

from stoop.metrics._classes import accuracy, confusion_matrix
from stoop.metrics._decisions import f1, precision, recall
from stoop.metrics._ranking import auc, average_precision
from stoop.metrics._resolve import Metric, TopK, is_larger_better, resolve
from stoop.metrics._scores import log_loss, top_k_accuracy
from stoop.metrics._values import mae, mse, r2, rmse

__all__ = [
    "Metric",
    "TopK",
    "accuracy",
    "auc",
    "average_precision",
    "confusion_matrix",
    "f1",
    "is_larger_better",
    "log_loss",
    "mae",
    "mse",
    "precision",
    "r2",
    "recall",
    "resolve",
    "rmse",
    "top_k_accuracy",
]
