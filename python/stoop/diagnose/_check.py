"""Runs all of the diagnosis and puts the most basic cause first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

from stoop._checks import NOT_NEGATIVE, real
from stoop._errors import message
from stoop.diagnose._analysis import ErrorAnalysis, analysis_of
from stoop.diagnose._causes import HALF, MANY_DEAD, Seen, causes, with_broken, with_targets
from stoop.diagnose._curve import history as read_history
from stoop.diagnose._findings import Finding
from stoop.diagnose._gaps import gap_findings, gaps_of, measured
from stoop.diagnose._gradients import gradients_of
from stoop.diagnose._inputs import imbalance_fault
from stoop.diagnose._rates import RateTrial, try_rates
from stoop.diagnose._recipe import PARTS
from stoop.diagnose._report import Report
from stoop.diagnose._scores import Scored, constant_error, scored, spread_of
from stoop.diagnose._units import units_of
from stoop.history import History
from stoop.trainer import Trainer

_WHERE = "diagnose.check"


def check(
    trainer: Trainer,
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    X_dev: npt.ArrayLike,
    y_dev: npt.ArrayLike,
    target_error: float = 0.0,
    *,
    X_train_dev: npt.ArrayLike | None = None,
    y_train_dev: npt.ArrayLike | None = None,
    X_test: npt.ArrayLike | None = None,
    y_test: npt.ArrayLike | None = None,
    class_names: Sequence[str] | None = None,
    image_shape: tuple[int, ...] | None = None,
    slices: Any = None,
    history: Any = None,
) -> Report:
    """Find out what is wrong with a trained model, and what to do next. Trainer and model stay as they are.

    It runs `recipe`, `history`, `units`, `gradients` and `errors`, looks at the inputs and the classes, and, where the
    training error is too large, trains fresh copies for a moment at other learning rates. The findings begin with the
    most basic cause: symmetric units and inputs that are not normalised come first, then gradients, dead and saturated
    units, then the learning rate, the data, and bias and variance last, because the former bring the latter about.

    The error of classes is the share of wrong predictions; of values it is the mean squared error over the variance of
    the training targets, 1 - R2. A gap counts where it is surely, with 95 % confidence, at least 5 points (2 between
    parts that nobody trained on) and a fifth of the lower error: a small dev set proves only large gaps. The learning
    rate, and what became of the layers in training, are findings only where the model does badly.

    Where the dev error is above the training error, a small classifier tells dev inputs from training inputs and no
    train-dev part is given, variance is told from mismatch by copies of the model: each is trained without a fifth of
    the training rows, with the trainer's settings for as many epochs as the trainer was (fewer where that would take
    more than some seconds; weights of samples, augmentation and callbacks of the fit are not known), and its error on
    that fifth is the train-dev error. Copies, and what is said of weights "before training", begin with the model's own
    initialisation, also where you have set the weights yourself.

    Where the test data can be told from the dev data, a larger test error is a "data mismatch" of the two.

    Parameters
    ----------
    trainer : Trainer
        After `fit`, also one that a `NonFiniteLossError` has ended.
    X, y : array_like
        What was trained on.
    X_dev, y_dev : array_like
        What decisions are made by.
    target_error : float, default 0.0
        The error that is wanted and possible, such as that of people. 0: it is not known, and an error that neither a
        usual network nor a linear model undercuts on the dev data is no bias. Give 1e-6 if none at all is wanted.
    X_train_dev, y_train_dev : array_like, optional
        Data like those of training that were not trained on: they tell variance from mismatch.
    X_test, y_test : array_like, optional
        Data that no decision has seen.
    class_names : sequence of str, optional
        None: the model's, or the indices.
    image_shape : (height, width) or (height, width, channels), optional
        The inputs are images, and the worst mistakes are shown as such.
    slices : optional
        See `errors`.
    history : History, or list of these, optional
        None: that of the newest fit.

    Returns
    -------
    Report
        With `findings`, ``str``, `plot`, `to_html` and `to_dict`.

    Raises
    ------
    ValueError, TypeError
        For data that cannot be used.
    """
    if not isinstance(trainer, Trainer):
        raise TypeError(message(_WHERE, f"trainer is {trainer!r}", "expected a stoop.Trainer", "give the trained one"))
    target = real(_WHERE, "target_error", target_error, NOT_NEGATIVE)
    train = scored(trainer, X, y, f"{_WHERE}, training data")
    if train.kind != "values" and target > 1.0:
        text = f"target_error is {target:g} for classes"
        raise ValueError(message(_WHERE, text, "expected a share, 0 to 1", "give 0.05 for 5 %"))
    spread = spread_of(train.true) if train.kind == "values" else None
    given = {"dev": (X_dev, y_dev), "train_dev": (X_train_dev, y_train_dev), "test": (X_test, y_test)}
    parts = {
        name: scored(trainer, *_both(name, *part), f"{_WHERE}, {PARTS[name]} data", spread)
        for name, part in given.items()
        if part[0] is not None or part[1] is not None
    }
    seen = _look(trainer, train, parts, target, trainer.history if history is None else history)
    analysis = analysis_of(trainer.model, parts["dev"], (X_dev, class_names, image_shape, slices))
    trial = _rates(seen)
    findings = _findings(seen, parts, trial, analysis)
    facts = _facts(seen, parts)
    return Report(findings, seen.gaps.recipe, seen.reading, seen.flow, seen.units, analysis, trial, facts)


def _both(name: str, X: Any, y: Any) -> tuple[Any, Any]:
    if X is None or y is None:
        given = f"{'y' if X is None else 'X'}_{name} without {'X' if X is None else 'y'}_{name}"
        raise ValueError(message(_WHERE, given, "expected both", "give inputs and targets"))
    return X, y


def _look(trainer: Trainer, train: Scored, parts: Mapping[str, Scored], target: float, history: Any) -> Seen:
    told = not isinstance(history, History) or bool(history.epochs) or history.stop_reason == "error"
    reading = read_history(history) if told else None
    broken = reading is not None and reading.shape == "diverging"
    gaps = gaps_of(trainer, train, parts, target, broken=broken)
    flow = gradients_of(trainer, train.x, train.targets)
    return Seen(trainer, train, gaps, reading, units_of(trainer.model, train.x), flow)


def _rates(seen: Seen) -> RateTrial | None:
    if not seen.poor:
        return None
    damaged = seen.units.worst("dead")[0] >= MANY_DEAD or seen.units.worst("saturated")[0] >= HALF
    return try_rates(seen.trainer, seen.train.x, seen.train.targets, damaged=damaged)


def _findings(
    seen: Seen, parts: Mapping[str, Scored], trial: RateTrial | None, analysis: ErrorAnalysis
) -> list[Finding]:
    rare = imbalance_fault(seen.train, parts["dev"], analysis.class_names)
    found = [*causes(seen, trial), *([rare] if rare is not None else [])]
    named: list[Finding] = []
    for one in [*found, *gap_findings(seen.gaps, seen.train)]:
        # Each fault is named once, where it comes first; but dev and test data may both be of another kind.
        if one is seen.gaps.other_test or one.fault not in [other.fault for other in named]:
            named.append(one)
    return with_broken(with_targets(seen, named), [seen.train, *parts.values()])


def _facts(seen: Seen, parts: Mapping[str, Scored]) -> dict[str, Any]:
    trainer, gaps = seen.trainer, seen.gaps
    sizes = {"train": len(seen.train.x), **{name: len(part.x) for name, part in parts.items()}}
    return {
        "samples": sizes,
        "kind": seen.train.kind,
        "model": repr(trainer.model),
        "loss": repr(trainer.loss),
        "optimizer": repr(trainer.optimizer),
        "epochs": trainer.epoch,
        "updates": trainer.steps,
        "limits": {name: (level.low, level.high) for name, level in measured(seen.train, parts, gaps.held_out)},
        "held_out": None if gaps.held_out is None else gaps.held_out.samples,
        "attainable": None if gaps.reference is None else gaps.reference.error,
        "summary": trainer.model.summary(),
        "constant_error": float(constant_error(seen.train)),
    }
