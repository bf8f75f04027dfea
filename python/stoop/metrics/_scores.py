"""Metrics of probabilities and scores of classes: log loss, top-k accuracy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stoop._checks import integer
from stoop._errors import message
from stoop.metrics._common import (
    Array,
    Weight,
    check_distributions,
    check_same_rows,
    class_indices,
    labels,
    numbers,
    positives,
    weight_of,
    weighted_mean,
)


def log_loss(y_true: npt.ArrayLike, y_prob: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
    """Return ``-mean(log(probability of the true class))``; Bishop 2006, eq. 4.90 and 4.108.

    Equals ``sklearn.metrics.log_loss``: probabilities are kept away from 0 and 1 by the epsilon of their dtype.

    Parameters
    ----------
    y_true : array_like, (n_samples,) or (n_samples, n_classes)
        Classes, in the order of the columns; or rows of probabilities.
    y_prob : array_like, (n_samples,) or (n_samples, n_classes)
        Probabilities of the second of two classes, or of each, as `Model.predict_proba` returns them.
    sample_weight : array_like, (n_samples,), optional
        >= 0.

    Returns
    -------
    float
        >= 0.

    Raises
    ------
    ValueError, TypeError
        For shapes that do not fit, NaN, and what is no probability.
    """
    where = "log_loss"
    prob = numbers(where, y_prob, "y_prob")
    if prob.ndim == 2 and prob.shape[1] == 1:
        prob = prob[:, 0]
    check_distributions(where, prob, "y_prob")
    if np.ndim(y_true) == 2 and prob.ndim == 2 and np.shape(y_true) == prob.shape:
        true = numbers(where, y_true, "y_true")
        check_distributions(where, true, "y_true")
        return log_loss_of_rows(true, prob, weight_of(where, sample_weight, len(true)))
    true = labels(where, y_true, "y_true")
    check_same_rows(where, true, prob, ("y_true", "y_prob"))
    weight = weight_of(where, sample_weight, len(true))
    if true.ndim == 2:
        given = f"y_true has shape {true.shape} and y_prob {prob.shape}"
        raise ValueError(message(where, given, "expected (n_samples,) classes", "compare the arrays"))
    if prob.ndim == 1:
        return log_loss_of_labels(positives(where, true).astype(prob.dtype), prob, 1 - prob, weight)
    return log_loss_of_rows(class_indices(where, true, prob.shape[1]), prob, weight)


def top_k_accuracy(
    y_true: npt.ArrayLike, y_score: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None, *, k: int = 5
) -> float:
    """Return the share of samples whose class is among the k with the largest scores; by definition.

    Equals ``sklearn.metrics.top_k_accuracy_score``: of equal scores that of the later class comes first.

    Parameters
    ----------
    y_true : array_like, (n_samples,)
        Classes, in the order of the columns.
    y_score : array_like, (n_samples, n_classes)
        Outputs or probabilities, at least two columns.
    sample_weight : array_like, (n_samples,), optional
        >= 0.
    k : int, default 5
        >= 1.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError, TypeError
        For shapes that do not fit, NaN, or a k below 1.
    """
    where = "top_k_accuracy"
    true, scores = labels(where, y_true, "y_true"), numbers(where, y_score, "y_score")
    if true.ndim != 1 or scores.ndim != 2 or scores.shape[1] < 2:
        given, hint = f"shapes {true.shape} and {scores.shape}", "for one score a sample use accuracy"
        raise ValueError(message(where, given, "expected (n_samples,) and (n_samples, n_classes)", hint))
    check_same_rows(where, true, scores, ("y_true", "y_score"))
    weight = weight_of(where, sample_weight, len(true))
    return top_k_of(class_indices(where, true, scores.shape[1]), scores, weight, integer(where, "k", k, 1))


def top_k_of(indices: Array, scores: Array, weight: Weight, k: int) -> float:
    """Return the share of rows with fewer than k scores before that of the true class."""
    own = np.take_along_axis(scores, indices[:, None], axis=1)
    later = np.arange(scores.shape[1]) > indices[:, None]
    before = ((scores > own) | ((scores == own) & later)).sum(axis=1)
    return weighted_mean(before < k, weight)


def log_loss_of_rows(true: Array, prob: Array, weight: Weight) -> float:
    """Return the log loss of class indices, or of rows of probabilities, under rows of probabilities."""
    if true.ndim == 1:
        of_true = np.take_along_axis(prob, true[:, None], axis=1)[:, 0]
        return weighted_mean(-np.log(_inside(of_true)), weight)
    return weighted_mean(-(true * np.log(_inside(prob))).sum(axis=1), weight)


def log_loss_of_labels(true: Array, prob: Array, rest: Array, weight: Weight) -> float:
    """Return the mean over rows and columns of the log loss of labels from 0 to 1; `rest` is ``1 - prob``, exact."""
    return weighted_mean(-(true * np.log(_inside(prob)) + (1 - true) * np.log(_inside(rest))), weight)


def _inside(prob: Array) -> Array:
    eps = np.finfo(prob.dtype).eps
    return np.clip(prob, eps, 1 - eps)
