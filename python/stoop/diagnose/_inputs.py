"""Faults of the data: inputs that are not normalised, dev data unlike the training data, classes that are rare."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stoop.activations import Activation
from stoop.diagnose._findings import IMBALANCE, INPUTS, Finding, finding
from stoop.diagnose._layers import walk
from stoop.diagnose._scores import Scored, filled
from stoop.diagnose._statistics import SURE, Level, surely_above, wilson
from stoop.diagnose._units import some_rows
from stoop.layers import Dense, MemberDense, Residual
from stoop.losses import BinaryCrossEntropy
from stoop.metrics import auc
from stoop.model import Model
from stoop.optimizers import Adam
from stoop.trainer import Trainer

Array = npt.NDArray[Any]

_ROWS = 5000
# Initialisers make what enters the first activations as large as the inputs, and the curvature of the loss in the first
# weights goes with the square: at 10, tanh is at its ends for four of five values, and the largest learning rate that
# is stable is a hundredth (LeCun et al. 1998, sections 4.3 and 5).
_LARGE, _SMALL = 10.0, 0.02
_UNEQUAL = 30.0  # of the largest column to the median one: the curvatures differ by its square
_OFTEN = 0.05  # of the rows, in which a column is not at its median, for its size to count as small
_OFFSET = 10.0  # of the mean to the deviation, in half of the columns

_MOST_ROWS = 2000  # of each part, by which they are told apart
_FEWEST_ROWS = 20
_APART = 0.6  # area under the curve: a sample of dev can be told from one of training in 60 % of the pairs, not 50 %
_FOLDS = 4

_RARE = 0.5  # of the share that all classes would have if they were even
_LOST = 0.2  # by which the recall of a rare class is below that of the others
_FEW = 5  # samples of a class, below which its recall says nothing


def inputs_fault(model: Model, x: Array, *, poor: bool) -> Finding | None:
    """Look at what the first layer with a weight really gets: after input_scale and any normalisation before it.

    Columns that are small beside the others are a fault where the model does badly (`poor`).
    """
    h = first_inputs(model, some_rows(x, _ROWS))
    if h is None or not np.isfinite(h).all():
        return None
    used = h.astype(np.float64)
    used = used[:, np.ptp(used, axis=0) > 0.0]
    if used.shape[1] == 0:
        return None
    # A column that is mostly zero, such as a category or a pixel at the border, is as large as its other values.
    count = (used != 0.0).sum(axis=0)
    sizes = np.sqrt((used**2).sum(axis=0) / count)
    overall, typical = float(np.sqrt((used**2).mean())), float(np.sqrt((used**2).sum() / count.sum()))
    unequal = float(sizes.max() / np.median(sizes))
    often = sizes[(used != np.median(used, axis=0)).mean(axis=0) >= _OFTEN]
    some_small = poor and len(often) > 1 and float(often.max() / often.min()) > _UNEQUAL
    offsets = np.abs(used.mean(axis=0)) / np.maximum(used.std(axis=0), np.finfo(np.float64).tiny)
    span = f"columns have root mean squares from {sizes.min():.2g} to {sizes.max():.2g}"
    if overall > _LARGE or typical < _SMALL:
        size = overall if overall > _LARGE else typical
        kind = "large" if overall > _LARGE else "small"
        return finding(
            INPUTS,
            f"What the first layer gets is {kind}: its root mean square is {size:.3g} where about 1 is right; {span}.",
        )
    if unequal > _UNEQUAL or some_small:
        return finding(INPUTS, f"The columns of what the first layer gets differ in scale: {span}.")
    if float((offsets > _OFFSET).mean()) >= 0.5:
        shown = f"the means of half of the columns are more than {np.median(offsets):.0f} deviations from zero"
        return finding(INPUTS, f"The columns of what the first layer gets are far from zero: {shown}.")
    return None


def first_inputs(model: Model, x: Array) -> Array | None:
    """Return what the first layer with a weight gets."""
    h = x * model.input_scale + model.input_shift
    first = model.layers[0]
    if isinstance(first, Dense | MemberDense | Residual):
        return np.asarray(h)
    for step in walk(model, x):
        if isinstance(step.layer, Dense):
            return step.inputs
        if isinstance(step.layer, Activation):
            return None
    return None


def apart(a: Scored, b: Scored) -> float | None:
    """Return how well inputs of b are told from those of a of the same classes, None if chance explains it.

    It is the area under the curve of a small classifier: the share of pairs that it orders rightly.
    """
    of_a, of_b = _alike(a, b)
    if len(of_a) < _FEWEST_ROWS or len(of_b) < _FEWEST_ROWS:
        return None
    area, low = told_apart(of_a, of_b)
    return None if low < 0.5 or area < _APART else area


def told_apart(a: Array, b: Array) -> tuple[float, float]:
    """Return the area under the curve by which a classifier tells rows of b from those of a, and its lower limit.

    Each row is judged by a classifier that was trained without it; Lopez-Paz & Oquab 2017, "Revisiting classifier
    two-sample tests". The limit is that of the area for rows from one distribution, added to what was seen.
    """
    rng = np.random.default_rng(0)
    x, y = filled(np.concatenate([a, b])), np.repeat([0, 1], [len(a), len(b)])
    deviation = x.std(axis=0)
    x = np.clip((x - x.mean(axis=0)) / np.where(deviation > 0.0, deviation, 1.0), -10.0, 10.0).astype(np.float32)
    fold = rng.permutation(len(x)) % _FOLDS
    scores = np.zeros(len(x))
    areas = []
    for k in range(_FOLDS):
        held = fold == k
        model = Model([Dense(32, activation="relu"), Dense(1)], x.shape[1])
        trainer = Trainer(model, loss=BinaryCrossEntropy(), optimizer=Adam(1e-2), l2=1e-3)
        epochs = int(np.clip(20_000 // len(x), 5, 40))
        trainer.fit(x[~held], y[~held], epochs=epochs, batch_size=64, class_weight="balanced", verbose=0)
        scores[held] = model.predict(x[held])[:, 0]
        if 0 < y[held].sum() < held.sum():
            areas.append(auc(y[held], scores[held]))
    area = float(np.mean(areas)) if areas else 0.5
    chance = np.sqrt((len(x) + 1.0) / (12.0 * len(a) * len(b)))  # Mann & Whitney 1947
    return area, area - 2.0 * SURE * float(chance)


def _alike(train: Scored, dev: Scored) -> tuple[Array, Array]:
    """Return inputs of both parts with the same share of each class, so that other shares are no other inputs."""
    rng = np.random.default_rng(0)
    if train.kind != "classes":
        picked = [rng.permutation(len(part.x))[:_MOST_ROWS] for part in (train, dev)]
    else:
        rows: tuple[list[Array], list[Array]] = ([], [])
        n_train, n_dev = min(len(train.x), _MOST_ROWS), min(len(dev.x), _MOST_ROWS)
        for label in np.unique(dev.true):
            own = [rng.permutation(np.flatnonzero(part.true == label)) for part in (train, dev)]
            many = min(len(own[0]) / n_train, len(own[1]) / n_dev)
            rows[0].append(own[0][: int(many * n_train)])
            rows[1].append(own[1][: int(many * n_dev)])
        picked = [np.concatenate(of_part) for of_part in rows]
    return train.x[picked[0]], dev.x[picked[1]]


def imbalance_fault(train: Scored, dev: Scored, names: list[str]) -> Finding | None:
    """Look for rare classes of the training data that dev samples are much more rarely recognised of than others."""
    if train.kind != "classes":
        return None
    n_classes = len(names)
    shares = np.bincount(train.true, minlength=n_classes) / len(train.true)
    rare_ones = [k for k, share in enumerate(shares) if 0.0 < _upper(share, len(train.true)) < _RARE / n_classes]
    # Both parts where dev has few: a class that is lost in training is lost.
    true, wrong = dev.true, dev.errors
    worst: tuple[float, str] | None = None
    for label in rare_ones:
        if (dev.true == label).sum() < _FEW:
            true, wrong = np.concatenate([dev.true, train.true]), np.concatenate([dev.errors, train.errors])
        own, others = true == label, ~np.isin(true, rare_ones)
        if own.sum() < _FEW or not others.any():
            continue
        levels = [Level.share(float(wrong[rows].mean()), int(rows.sum())) for rows in (others, own)]
        lost = levels[1].error - levels[0].error
        if lost < _LOST or surely_above(*levels) <= _LOST / 2 or (worst is not None and lost <= worst[0]):
            continue
        rare = f"{names[label]} makes up {shares[label]:.1%} of the training samples"
        missed = f"is missed in {levels[1].error:.0%} of its {levels[1].samples} samples"
        text = f"{rare} and {missed}, where common classes are in {levels[0].error:.0%}"
        worst = lost, text
    return None if worst is None else finding(IMBALANCE, f"The class {worst[1]}.")


def _upper(share: float, samples: int) -> float:
    """Return the upper limit of a share that was seen, 0 where nothing was: few samples make no class rare."""
    return wilson(share, samples, SURE)[1] if share > 0.0 else 0.0
