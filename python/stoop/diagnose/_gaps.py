"""The gaps between the errors of the parts, and tries that tell what causes each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from stoop.diagnose._attainable import REFERENCE_UNITS, attainable, held_out
from stoop.diagnose._findings import (
    ADVICE,
    DEV_OVERFITTING,
    HIGH_BIAS,
    HIGH_VARIANCE,
    MISMATCH,
    TEST_ADVICE,
    Finding,
    finding,
)
from stoop.diagnose._inputs import apart
from stoop.diagnose._recipe import Recipe, error_words, recipe_of
from stoop.diagnose._scores import Scored, constant_error
from stoop.diagnose._statistics import Level, surely_above
from stoop.trainer import Trainer

# A gap of five points that chance does not explain. Between two parts that nobody trained on, two are enough.
_TOLERANCES = {HIGH_BIAS: 0.05, HIGH_VARIANCE: 0.05, MISMATCH: 0.02, DEV_OVERFITTING: 0.02}
_HARDLY = 0.5  # of the error of a constant prediction: a model that is left with more has learned hardly anything


@dataclass(frozen=True, eq=False)
class Gaps:
    """The recipe of the errors, after what was tried.

    Attributes
    ----------
    recipe : Recipe
        Without the problems that the tries speak against.
    poor : bool
        Whether the training error itself is too large.
    held_out : Level or None
        The error of training rows that copies were trained without, where it was measured.
    reference : Level or None
        The dev error of other models, where no target was given and the training error is not small.
    other_test : Finding or None
        The test inputs differ from the dev inputs.
    """

    recipe: Recipe
    poor: bool
    held_out: Level | None
    reference: Level | None
    other_test: Finding | None


def gaps_of(trainer: Trainer, train: Scored, parts: Mapping[str, Scored], target: float, *, broken: bool) -> Gaps:
    """Measure the gaps, and what causes them; `broken`: the fit diverged."""
    levels = {"target": Level.exact(target), "train": train.level}
    levels |= {name: parts[name].level for name in ("train_dev", "dev", "test") if name in parts}
    recipe, held = _with_held_out(trainer, train, parts["dev"], levels)
    recipe, other_test = _with_test(recipe, parts)
    recipe, poor, reference = _with_attainable(recipe, trainer, train, parts["dev"], broken=broken)
    return Gaps(recipe, poor, held, reference, other_test)


def _with_held_out(
    trainer: Trainer, train: Scored, dev: Scored, levels: dict[str, Level]
) -> tuple[Recipe, Level | None]:
    """Tell variance from mismatch by training rows held out, where dev inputs are of another kind and do worse.

    That inputs differ does not say that the error comes from it. Where held-out rows prove neither, as with few, and
    where inputs are alike, the gap to dev is a variance.
    """
    plain = recipe_of(levels, _TOLERANCES)
    if "train_dev" in levels or surely_above(train.level, levels["dev"]) < _TOLERANCES[MISMATCH]:
        return plain, None
    area = apart(train, dev)
    held = None if area is None else held_out(trainer, train)
    if held is None:
        return plain, None
    parts = {"target": levels["target"], "train": levels["train"], "train_dev": held, **levels}
    told = recipe_of(parts, _TOLERANCES)
    if HIGH_VARIANCE in plain.problems and not {HIGH_VARIANCE, MISMATCH} & set(told.problems):
        return plain, None
    how = f" The train-dev error is that of {held.samples:,} training rows, of copies that were trained without them."
    seen = f" A small classifier tells dev inputs from training inputs in {area:.0%} of the pairs (chance: 50 %)."
    more = {HIGH_VARIANCE: how, MISMATCH: how + seen}
    return replace(told, evidence={fault: text + more.get(fault, "") for fault, text in told.evidence.items()}), held


def _with_test(recipe: Recipe, parts: Mapping[str, Scored]) -> tuple[Recipe, Finding | None]:
    """Call it no fit of decisions to the dev data where the test inputs are of another kind."""
    area = apart(parts["dev"], parts["test"]) if DEV_OVERFITTING in recipe.problems else None
    if area is None:
        return recipe, None
    dev, test = (error_words(parts[name].level.error) for name in ("dev", "test"))
    text = (
        f"The test data are of another kind than the dev data: a small classifier tells their inputs apart in "
        f"{area:.0%} of the pairs (chance: 50 %). The test error is {test}, the dev error {dev}."
    )
    return _without(recipe, DEV_OVERFITTING), Finding(MISMATCH, text, TEST_ADVICE)


def _with_attainable(
    recipe: Recipe, trainer: Trainer, train: Scored, dev: Scored, *, broken: bool
) -> tuple[Recipe, bool, Level | None]:
    """Drop "high bias" where other models do no better on dev data: the error may be that of the data itself."""
    target = recipe.errors["target"]
    hardly = train.level.low > target + max(0.02, _HARDLY * constant_error(train))
    poor = HIGH_BIAS in recipe.problems or hardly
    if not poor or target > 0.0 or broken:
        return recipe, poor or broken, None
    reference = attainable(trainer, train, dev)
    if surely_above(reference, train.level) <= 0.0:
        return _without(recipe, HIGH_BIAS), False, reference
    if HIGH_BIAS in recipe.problems:
        told = f"{recipe.evidence[HIGH_BIAS].rstrip('.')}; {reference_words(reference.error)}."
        recipe = replace(recipe, evidence={**recipe.evidence, HIGH_BIAS: told})
    return recipe, True, reference


def reference_words(error: float) -> str:
    """Return what other models come to."""
    models = f"the better of a network of 2 x {REFERENCE_UNITS} relu units and a linear model"
    return f"{models} comes to {error_words(error)} on the dev data"


def _without(recipe: Recipe, fault: str) -> Recipe:
    problems = [one for one in recipe.problems if one != fault]
    return replace(recipe, problems=problems, advice=[ADVICE[one] for one in problems])


def gap_findings(gaps: Gaps, train: Scored) -> list[Finding]:
    """Return the findings of bias, variance and mismatch, the largest gap first."""
    recipe = gaps.recipe
    found = [finding(fault, sentence(recipe.evidence[fault])) for fault in recipe.problems if fault != DEV_OVERFITTING]
    if gaps.poor and HIGH_BIAS not in recipe.problems:
        error, constant = error_words(train.level.error), constant_error(train)
        text = f"The training error is {error}, that of a constant prediction {constant:.1%}."
        found.insert(0, finding(HIGH_BIAS, text))
    return found + ([gaps.other_test] if gaps.other_test is not None else [])


def sentence(words: str) -> str:
    """Return words with a capital first."""
    return words[:1].upper() + words[1:]


def measured(train: Scored, parts: Mapping[str, Scored], held: Level | None) -> Sequence[tuple[str, Level]]:
    """Return the errors that were measured, by part."""
    own = [("train", train.level), *((name, part.level) for name, part in parts.items())]
    return own if held is None else [*own, ("train_dev", held)]
