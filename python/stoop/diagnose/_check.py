"""Runs all of the diagnosis and puts the most basic cause first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._checks import NOT_NEGATIVE, real
from stoop._errors import message
from stoop.diagnose._analysis import ErrorAnalysis, analysis_of
from stoop.diagnose._attainable import REFERENCE_UNITS, attainable
from stoop.diagnose._curve import Reading
from stoop.diagnose._curve import history as read_history
from stoop.diagnose._findings import (
    ADVICE,
    DEAD,
    DEV_OVERFITTING,
    EXPLODING,
    HIGH_BIAS,
    HIGH_VARIANCE,
    MISMATCH,
    RATE_HIGH,
    RATE_LOW,
    SATURATED,
    SYMMETRIC,
    VANISHING,
    Finding,
    finding,
)
from stoop.diagnose._gradients import GradientFlow, gradients_of
from stoop.diagnose._inputs import imbalance_fault, inputs_fault, mismatch_fault
from stoop.diagnose._layers import fresh
from stoop.diagnose._rates import RateTrial, try_rates
from stoop.diagnose._recipe import Recipe, recipe_of
from stoop.diagnose._report import Report
from stoop.diagnose._scores import Scored, constant_error, scored, spread_of
from stoop.diagnose._statistics import Level, surely_above
from stoop.diagnose._units import Units, some_rows, units_of
from stoop.history import History
from stoop.trainer import Trainer

_WHERE = "diagnose.check"
# A gap of five points that chance does not explain. Between two parts that nobody trained on, two are enough.
_TOLERANCES = {HIGH_BIAS: 0.05, HIGH_VARIANCE: 0.05, MISMATCH: 0.02, DEV_OVERFITTING: 0.02}
_MODERATE = 0.4  # of the error of a constant prediction: less may be what nobody can avoid
_HARDLY = 0.5  # of the error of a constant prediction: a model that is left with more has learned hardly anything
_DEAD = 0.4  # of the units of a layer: what a learning rate that is too high may cost (Stanford's CS231n, activations)
_NEARLY_ALL = 0.9
_HALF = 0.5  # of the units of a layer
# The gradient that the first hidden layer gets, beside the last: with one learning rate for all, a hundredth means that
# it needs a hundred times as many epochs; where the model does well all the same, a thousandth counts.
_VANISHED, _LOST, _EXPLODED = 1e-2, 1e-3, 1e3


@dataclass(frozen=True, eq=False)
class _Seen:
    """What the diagnosis looks at."""

    trainer: Trainer
    train: Scored
    parts: Mapping[str, Scored]
    recipe: Recipe
    reading: Reading | None
    poor: bool  # the training error itself is too large
    units: Units
    flow: GradientFlow


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
    the training targets, 1 - R2. A gap counts from 5 points on (2 between parts that nobody trained on), with 95 %
    confidence. The learning rate, and what became of the layers in training, are findings only where the model does
    badly.

    Parameters
    ----------
    trainer : Trainer
        After `fit`, also one that a `NonFiniteLossError` has ended.
    X, y : array_like
        What was trained on.
    X_dev, y_dev : array_like
        What decisions are made by.
    target_error : float, default 0.0
        The error that is wanted and possible, such as that of people.
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
    train = scored(trainer, X, y, _WHERE)
    spread = spread_of(train.true) if train.kind == "values" else None
    given = {"dev": (X_dev, y_dev), "train_dev": (X_train_dev, y_train_dev), "test": (X_test, y_test)}
    parts = {
        name: scored(trainer, *_both(name, *part), _WHERE, spread)
        for name, part in given.items()
        if part[0] is not None or part[1] is not None
    }
    seen = _look(trainer, train, parts, target, trainer.history if history is None else history)
    analysis = analysis_of(trainer.model, parts["dev"], (X_dev, class_names, image_shape, slices))
    trial = _rates(seen)
    findings = _ordered([*_causes(seen, trial), *_of_data(seen, analysis), *_of_recipe(seen)])
    return Report(findings, seen.recipe, seen.reading, seen.flow, seen.units, analysis, trial, _facts(seen))


def _both(name: str, X: Any, y: Any) -> tuple[Any, Any]:
    if X is None or y is None:
        given = f"{'y' if X is None else 'X'}_{name} without {'X' if X is None else 'y'}_{name}"
        raise ValueError(message(_WHERE, given, "expected both", "give inputs and targets"))
    return X, y


def _look(trainer: Trainer, train: Scored, parts: Mapping[str, Scored], target: float, history: Any) -> _Seen:
    levels = {"target": Level.exact(target), "train": train.level}
    levels |= {name: parts[name].level for name in ("train_dev", "dev", "test") if name in parts}
    recipe = recipe_of(levels, _TOLERANCES)
    told = not isinstance(history, History) or bool(history.epochs) or history.stop_reason == "error"
    reading = read_history(history) if told else None
    broken = reading is not None and reading.shape == "diverging"
    hardly = train.level.low > target + max(0.02, _HARDLY * constant_error(train))
    gap = train.level.error - target
    if (
        HIGH_BIAS in recipe.problems
        and target == 0.0
        and gap < _MODERATE * constant_error(train)
        and not (hardly or broken)
    ):
        recipe = _with_attainable(recipe, trainer, train, parts["dev"])
    poor = HIGH_BIAS in recipe.problems or hardly or broken
    units = units_of(trainer.model, train.x)
    flow = gradients_of(trainer, train.x, train.targets)
    return _Seen(trainer, train, parts, recipe, reading, poor, units, flow)


def _with_attainable(recipe: Recipe, trainer: Trainer, train: Scored, dev: Scored) -> Recipe:
    """Drop "high bias" where a larger network does no better on dev data: the error may be that of the data itself."""
    other = attainable(trainer, train, dev)
    told = f"a network of 2 x {REFERENCE_UNITS} relu units comes to {other.error:.1%} on the dev data"
    if surely_above(other, train.level) > 0.0:
        evidence = {**recipe.evidence, HIGH_BIAS: f"{recipe.evidence[HIGH_BIAS].rstrip('.')}; {told}."}
        return replace(recipe, evidence=evidence)
    problems = [fault for fault in recipe.problems if fault != HIGH_BIAS]
    return replace(recipe, problems=problems, advice=[ADVICE[fault] for fault in problems])


def _rates(seen: _Seen) -> RateTrial | None:
    if not seen.poor:
        return None
    damaged = seen.units.worst("dead")[0] >= _DEAD or seen.units.worst("saturated")[0] >= _HALF
    return try_rates(seen.trainer, seen.train.x, seen.train.targets, damaged=damaged)


def _causes(seen: _Seen, trial: RateTrial | None) -> list[Finding]:
    """Return the faults of inputs, initialisation and optimisation, causes before what they cause."""
    start = fresh(seen.trainer, some_rows(seen.train.x, 2000))
    units = units_of(start.model, seen.train.x)
    flow = gradients_of(start, seen.train.x, seen.train.targets)
    bad = seen.poor or bool(seen.recipe.problems)
    found = [*_symmetric(seen.units, "now"), *_symmetric(units, "before training")]
    inputs = inputs_fault(seen.trainer.model, seen.train.x)
    found += [inputs] if inputs is not None else []
    early = _of_layers(units, flow, "before training", _VANISHED if bad else _LOST)
    found += early if bad else [one for one in early if one.fault not in (DEAD, SATURATED)]
    found += _of_dev(seen)
    if trial is not None and trial.verdict == "too high":
        found.append(finding(RATE_HIGH, trial.words()))
    elif seen.poor:
        found += [one for one in _of_layers(seen.units, seen.flow, "now", 0.0) if one.fault == DEAD and _all_dead(seen)]
    falls = seen.reading is None or seen.reading.shape != "converged"
    if trial is not None and trial.verdict == "too low" and falls:
        found.append(finding(RATE_LOW, trial.words()))
    # Units may also have died, or saturated, since: by what went before, if fresh weights do better at the same rate,
    # or by a rate that is too high. A small network that has done its best may end so as well; that is no fault.
    if seen.poor and (trial is None or trial.is_stuck or trial.verdict == "too high"):
        found += _of_layers(seen.units, seen.flow, "now", _VANISHED)
    return found


def _of_dev(seen: _Seen) -> list[Finding]:
    """Return the finding that decisions fit the dev set; as long as they do, no other can be trusted."""
    if DEV_OVERFITTING not in seen.recipe.problems:
        return []
    return [finding(DEV_OVERFITTING, seen.recipe.evidence[DEV_OVERFITTING].capitalize())]


def _all_dead(seen: _Seen) -> bool:
    """Return whether a layer lets hardly anything through, so that no learning rate would help."""
    return seen.units.worst("dead")[0] >= _NEARLY_ALL


def _symmetric(units: Units, when: str) -> list[Finding]:
    share, layer = units.worst("symmetric")
    if layer is None or share < _HALF or layer.units < 2:
        return []
    text = f"{layer.symmetric} of {layer.units} units of layer {layer.name} have the weights of another unit {when}."
    return [finding(SYMMETRIC, text)]


def _of_layers(units: Units, flow: GradientFlow, when: str, vanished: float) -> list[Finding]:
    found = []
    if flow.ratio is not None and flow.ratio > _EXPLODED:
        text = f"The first hidden layer gets {flow.ratio:.2g} times the gradient of the last {when}."
        found.append(finding(EXPLODING, text))
    elif flow.growth is not None and flow.growth > _EXPLODED and when != "now":
        text = f"The outputs are {flow.growth:.2g} times as large as the inputs {when}, and gradients grow alike."
        found.append(finding(EXPLODING, text))
    share, layer = units.worst("dead")
    if layer is not None and share >= _DEAD:
        text = (
            f"{layer.dead} of {layer.units} units of layer {layer.name} ({layer.activation}) are active for no sample"
        )
        found.append(finding(DEAD, f"{text} {when}."))
    share, layer = units.worst("saturated")
    if layer is not None and share >= _HALF:
        text = f"{layer.saturated} of {layer.units} units of layer {layer.name} ({layer.activation}) are near an end"
        values = f"{layer.saturation:.0%} of the values of the layer are"
        found.append(finding(SATURATED, f"{text} for most samples {when}; {values}."))
    if flow.ratio is not None and flow.ratio < vanished:
        text = f"The first hidden layer gets {flow.ratio:.2g} times the gradient of the last {when}."
        found.append(finding(VANISHING, text))
    return found


def _of_data(seen: _Seen, analysis: ErrorAnalysis) -> list[Finding]:
    found = []
    if "train_dev" in seen.parts:
        if MISMATCH in seen.recipe.problems:
            found.append(finding(MISMATCH, seen.recipe.evidence[MISMATCH].capitalize()))
    else:
        other = mismatch_fault(seen.train, seen.parts["dev"], _TOLERANCES[MISMATCH])
        found += [other] if other is not None else []
    rare = imbalance_fault(seen.train, seen.parts["dev"], analysis.class_names)
    return [*found, *([rare] if rare is not None else [])]


def _of_recipe(seen: _Seen) -> list[Finding]:
    shown = [fault for fault in seen.recipe.problems if fault in (HIGH_BIAS, HIGH_VARIANCE)]
    if seen.poor and HIGH_BIAS not in shown:
        error, constant = seen.train.level.error, constant_error(seen.train)
        text = f"The training error is {error:.1%}, that of a constant prediction {constant:.1%}."
        return [
            finding(HIGH_BIAS, text),
            *(finding(fault, seen.recipe.evidence[fault].capitalize()) for fault in shown),
        ]
    return [finding(fault, seen.recipe.evidence[fault].capitalize()) for fault in shown]


def _ordered(findings: list[Finding]) -> list[Finding]:
    """Name each fault once, where it comes first; a gap to dev data of another kind is no variance."""
    faults = [one.fault for one in findings]
    return [
        one
        for place, one in enumerate(findings)
        if one.fault not in faults[:place] and not (one.fault == HIGH_VARIANCE and MISMATCH in faults)
    ]


def _facts(seen: _Seen) -> dict[str, Any]:
    trainer = seen.trainer
    sizes = {"train": len(seen.train.x), **{name: len(part.x) for name, part in seen.parts.items()}}
    return {
        "samples": sizes,
        "kind": seen.train.kind,
        "model": repr(trainer.model),
        "loss": repr(trainer.loss),
        "optimizer": repr(trainer.optimizer),
        "epochs": trainer.epoch,
        "updates": trainer.steps,
        "limits": {
            name: (level.low, level.high)
            for name, level in (("train", seen.train.level), *((n, p.level) for n, p in seen.parts.items()))
        },
        "summary": trainer.model.summary(),
        "constant_error": float(np.float64(constant_error(seen.train))),
    }
