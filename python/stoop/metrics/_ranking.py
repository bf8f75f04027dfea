"""Metrics of an order of the samples: area under the ROC curve, average precision."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from stoop._errors import message
from stoop.metrics._common import (
    Array,
    Weight,
    check_distributions,
    check_same_rows,
    class_indices,
    labels,
    numbers,
    of_column,
    positives,
    weight_of,
)

Counts = npt.NDArray[np.float64]
Rank = Callable[[Array, Array, Weight], float]


def auc(y_true: npt.ArrayLike, y_score: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
    """Return the area under the ROC curve; Fawcett 2006, section 7. Ties count half.

    Equals ``sklearn.metrics.roc_auc_score``, for more than two classes with ``multi_class="ovr"``: the mean over the
    classes of the area for one class against the rest.

    Parameters
    ----------
    y_true : array_like, (n_samples,) or (n_samples, n_labels)
        Two classes, of which the second by order is the positive one; more, one for each column of `y_score`; or
        columns of 0 and 1 for labels that do not exclude each other.
    y_score : array_like, (n_samples,), (n_samples, n_classes) or (n_samples, n_labels)
        What is larger for the positive class; rows of probabilities where `y_true` holds one class per sample.
    sample_weight : array_like, (n_samples,), optional
        >= 0.

    Returns
    -------
    float
        In [0, 1]; NaN if one class or its rest does not occur.

    Raises
    ------
    ValueError, TypeError
        For shapes that do not fit, NaN, and rows that are no probabilities.
    """
    return over_columns(binary_auc, *_columns("auc", y_true, y_score, sample_weight))


def average_precision(
    y_true: npt.ArrayLike, y_score: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> float:
    """Return the sum over thresholds of precision times the recall that is gained; by definition.

    Equals ``sklearn.metrics.average_precision_score``; the mean over the classes or labels where there are several.

    Parameters
    ----------
    y_true, y_score, sample_weight : array_like
        As for `auc`.

    Returns
    -------
    float
        In [0, 1]; a class that does not occur counts 0.

    Raises
    ------
    ValueError, TypeError
        As `auc`.
    """
    return over_columns(binary_average_precision, *_columns("average_precision", y_true, y_score, sample_weight))


def over_columns(rank: Rank, true: Array, scores: Array, weight: Weight) -> float:
    """Return the mean of a metric over columns (n_samples, n_columns); `true` is of bool."""
    each = (
        rank(true[:, j], scores[:, j], None if weight is None else of_column(weight, j)) for j in range(true.shape[1])
    )
    return float(np.mean(list(each)))


def binary_auc(positive: Array, score: Array, weight: Weight) -> float:
    """Return the area for one column; NaN if there is one class alone."""
    hits, misses = _counts(positive, score, weight)
    if hits[-1] <= 0 or misses[-1] <= 0:
        return float("nan")
    steps = np.diff(misses, prepend=0.0)
    heights = hits + np.concatenate(([0.0], hits[:-1]))  # trapezoids: ties lie on a straight line
    return float((steps * heights).sum() / (2 * hits[-1] * misses[-1]))


def binary_average_precision(positive: Array, score: Array, weight: Weight) -> float:
    """Return the average precision for one column; 0 without a positive sample."""
    hits, misses = _counts(positive, score, weight)
    if hits[-1] <= 0:
        return 0.0
    return float((np.diff(hits, prepend=0.0) / hits[-1] * (hits / (hits + misses))).sum())


def _counts(positive: Array, score: Array, weight: Weight) -> tuple[Counts, Counts]:
    """Return the weights of true and of false positives at each distinct threshold, from the highest score down."""
    weights = np.ones(len(score)) if weight is None else weight
    used = weights > 0
    positive, score, weights = positive[used], score[used], weights[used]
    if not len(score):
        return np.zeros(1), np.zeros(1)
    order = np.argsort(score, kind="stable")[::-1]
    sorted_score = score[order]
    last = np.append(np.flatnonzero(sorted_score[1:] != sorted_score[:-1]), len(score) - 1)  # of each threshold
    hits = np.cumsum(weights[order] * positive[order])[last]
    misses = np.cumsum(weights[order] * ~positive[order])[last]
    return hits, misses


def _columns(
    where: str, y_true: npt.ArrayLike, y_score: npt.ArrayLike, sample_weight: npt.ArrayLike | None
) -> tuple[Array, Array, Weight]:
    true, scores = labels(where, y_true, "y_true"), numbers(where, y_score, "y_score")
    check_same_rows(where, true, scores, ("y_true", "y_score"))
    weight = weight_of(where, sample_weight, len(true))
    if scores.ndim == 2 and scores.shape[1] == 1:
        scores = scores[:, 0]
    if true.ndim == 2:
        if true.shape != scores.shape or not np.isin(true, (0, 1)).all():
            given = f"y_true has shape {true.shape} and y_score {scores.shape}"
            expected = "expected columns of 0 and 1 beside columns of scores"
            raise ValueError(message(where, given, expected, "give as many columns in both, or (n_samples,) classes"))
        return true.astype(bool), scores, weight
    if scores.ndim == 1:
        return positives(where, true)[:, None], scores[:, None], weight
    check_distributions(where, scores, "y_score")
    indices = class_indices(where, true, scores.shape[1])
    if scores.shape[1] == 2:
        return (indices == 1)[:, None], scores[:, 1:], weight
    return indices[:, None] == np.arange(scores.shape[1]), scores, weight
