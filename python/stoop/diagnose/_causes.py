"""Faults of inputs, initialisation and optimisation, causes before what they cause."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from stoop.diagnose._curve import Reading
from stoop.diagnose._findings import (
    DEAD,
    DEV_OVERFITTING,
    EXPLODING,
    HIGH_BIAS,
    INPUTS,
    RATE_HIGH,
    RATE_LOW,
    SATURATED,
    SYMMETRIC,
    VANISHING,
    Finding,
    finding,
)
from stoop.diagnose._gaps import Gaps, sentence
from stoop.diagnose._gradients import GradientFlow, gradients_of
from stoop.diagnose._inputs import inputs_fault
from stoop.diagnose._layers import fresh
from stoop.diagnose._rates import RateTrial
from stoop.diagnose._scores import Scored
from stoop.diagnose._units import Units, some_rows, units_of
from stoop.trainer import Trainer

MANY_DEAD = 0.4  # of the units of a layer: what a learning rate that is too high may cost (Stanford's CS231n)
NEARLY_ALL = 0.8  # of the units of a layer, so that it lets hardly anything through whatever the learning rate
HALF = 0.5  # of the units of a layer
# The gradient that the first hidden layer gets, beside the last: with one learning rate for all, a hundredth means that
# it needs a hundred times as many epochs; where the model does well all the same, a thousandth counts.
_VANISHED, _LOST = 1e-2, 1e-3
# The mirror images. Default initialisations of 20 layers come to 5: where the fit broke, or fresh weights are ten times
# as bad as no inputs at all, a tenth of the limit is enough.
_EXPLODED, _BURST, _WILD = 1e2, 1e3, 10.0
_SMALLEST, _LARGEST = 0.1, 10.0  # deviation of targets that a network learns easily; the mean counts as well
_SCALED_LOSSES = ("mse", "mae", "huber", "log_cosh", "quantile")


@dataclass(frozen=True, eq=False)
class Seen:
    """What the diagnosis looks at."""

    trainer: Trainer
    train: Scored
    gaps: Gaps
    reading: Reading | None
    units: Units
    flow: GradientFlow

    @property
    def poor(self) -> bool:
        """Whether the training error itself is too large."""
        return self.gaps.poor

    @property
    def diverged(self) -> bool:
        """Whether the newest fit did."""
        return self.reading is not None and self.reading.shape == "diverging"


def causes(seen: Seen, trial: RateTrial | None) -> list[Finding]:
    """Return the causes of a model that does badly, or will."""
    found = [*_before(seen, trial), *_of_dev(seen)]
    if trial is not None and trial.verdict == "too high":
        found.append(finding(RATE_HIGH, trial.words()))
    elif seen.poor and seen.units.worst("dead")[0] >= NEARLY_ALL:
        found += _dead(seen.units, "now")
    falls = seen.reading is None or seen.reading.shape != "converged"
    if trial is not None and trial.verdict == "too low" and falls:
        found.append(finding(RATE_LOW, trial.words()))
    found += _since(seen, trial)
    known = {one.fault for one in found}
    if seen.diverged and seen.reading is not None and not known & {INPUTS, EXPLODING, RATE_HIGH, RATE_LOW}:
        found += [one for one in seen.reading.findings if one.fault == RATE_HIGH]
    return found


def _before(seen: Seen, trial: RateTrial | None) -> list[Finding]:
    """Return the faults of inputs and of fresh weights."""
    start = fresh(seen.trainer, some_rows(seen.train.x, 2000))
    units = units_of(start.model, seen.train.x)
    flow = gradients_of(start, seen.train.x, seen.train.targets)
    when, bad = "before training", seen.poor or bool(seen.gaps.recipe.problems)
    found = [*_symmetric(seen.units, "now"), *_symmetric(units, when)]
    inputs = inputs_fault(seen.trainer.model, seen.train.x, poor=seen.poor)
    found += [inputs] if inputs is not None else []
    wild = seen.diverged or (trial is not None and trial.start > _WILD * abs(trial.nothing))
    found += _exploding(flow, when, _BURST if not bad else _WILD if wild else _EXPLODED)
    # Weights that begin so are a fault even where the layers after them make up for it.
    found += _dead(units, when, MANY_DEAD if bad else NEARLY_ALL)
    found += _saturated(units, when, HALF if bad else NEARLY_ALL)
    return found + _vanishing(flow, when, _VANISHED if bad else _LOST)


def _since(seen: Seen, trial: RateTrial | None) -> list[Finding]:
    """Return what became of the layers, where the model does badly.

    Units may have died, or saturated, by what went before, if fresh weights do better at the same rate, or by a rate
    that is too high. A small network that has done its best may end so as well; that is no fault.
    """
    if not seen.poor:
        return []
    stuck = trial is None or trial.verdict == "too high" or trial.is_stuck
    units = [*_dead(seen.units, "now"), *_saturated(seen.units, "now")]
    if stuck:
        return [*_exploding(seen.flow, "now", _BURST), *units, *_vanishing(seen.flow, "now", _VANISHED)]
    return units if trial is not None and trial.is_behind else []


def _of_dev(seen: Seen) -> list[Finding]:
    """Return the finding that decisions fit the dev set; as long as they do, no other can be trusted."""
    recipe = seen.gaps.recipe
    if DEV_OVERFITTING not in recipe.problems:
        return []
    return [finding(DEV_OVERFITTING, sentence(recipe.evidence[DEV_OVERFITTING]))]


def _symmetric(units: Units, when: str) -> list[Finding]:
    share, layer = units.worst("symmetric")
    if layer is None or share < HALF or layer.units < 2:
        return []
    text = f"{layer.symmetric} of {layer.units} units of layer {layer.name} have the weights of another unit {when}."
    return [finding(SYMMETRIC, text)]


def _exploding(flow: GradientFlow, when: str, limit: float) -> list[Finding]:
    if flow.ratio is not None and flow.ratio > limit:
        text = f"The first hidden layer gets {flow.ratio:.2g} times the gradient of the last {when}."
        return [finding(EXPLODING, text)]
    if flow.growth is not None and flow.growth > limit and when != "now":
        text = f"The outputs are {flow.growth:.2g} times as large as the inputs {when}, and gradients grow alike."
        return [finding(EXPLODING, text)]
    return []


def _dead(units: Units, when: str, limit: float = MANY_DEAD) -> list[Finding]:
    share, layer = units.worst("dead")
    if layer is None or share < limit:
        return []
    text = f"{layer.dead} of {layer.units} units of layer {layer.name} ({layer.activation}) are active for no sample"
    return [finding(DEAD, f"{text} {when}.")]


def _saturated(units: Units, when: str, limit: float = HALF) -> list[Finding]:
    share, layer = units.worst("saturated")
    if layer is None or share < limit:
        return []
    text = f"{layer.saturated} of {layer.units} units of layer {layer.name} ({layer.activation}) are near an end"
    values = f"{layer.saturation:.0%} of the values of the layer are"
    return [finding(SATURATED, f"{text} for most samples {when}; {values}.")]


def _vanishing(flow: GradientFlow, when: str, limit: float) -> list[Finding]:
    if flow.ratio is None or flow.ratio >= limit:
        return []
    return [finding(VANISHING, f"The first hidden layer gets {flow.ratio:.2g} times the gradient of the last {when}.")]


def with_targets(seen: Seen, found: Iterable[Finding]) -> list[Finding]:
    """Add to bias and learning rates that the targets are far from a usual scale, which brings both about."""
    values, found = seen.train.true, list(found)
    if not seen.poor or seen.train.kind != "values" or seen.trainer.loss.type_name not in _SCALED_LOSSES:
        return found
    mean, deviation = float(abs(values.mean(axis=0)).max()), values.std(axis=0)
    low, high = float(deviation.min()), float(deviation.max())
    if low >= _SMALLEST and high <= _LARGEST and mean <= _LARGEST:
        return found
    spread = f"{low:.2g}" if low == high else f"{low:.2g} to {high:.2g}"
    size = f"a mean of {mean:.2g} (in size) and a deviation of {spread}"
    text = f" The targets have {size}, where about 0 and 1 are right."
    advice = "Standardise the targets first (stoop.data.standardize) and turn predictions back. "
    return [
        replace(one, evidence=one.evidence + text, advice=advice + one.advice)
        if one.fault in (HIGH_BIAS, RATE_HIGH, RATE_LOW)
        else one
        for one in found
    ]


def with_broken(found: list[Finding], parts: Iterable[Scored]) -> list[Finding]:
    """Say first that outputs are not finite, with the fault that brings it about."""
    broken, total = (sum(counts) for counts in zip(*((part.broken, len(part.x)) for part in parts)))
    if broken == 0:
        return found
    text = f"The outputs of {broken:,} of {total:,} samples are not finite."
    place = next((i for i, one in enumerate(found) if one.fault in (INPUTS, EXPLODING, RATE_HIGH)), None)
    if place is None:
        return [finding(RATE_HIGH, text), *found]
    first = replace(found[place], evidence=f"{text} {found[place].evidence}")
    return [first, *found[:place], *found[place + 1 :]]
