"""The basic recipe: bias, variance, mismatch and overfitting to the dev set from the errors of the parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stoop._checks import NOT_NEGATIVE, integer, real
from stoop._errors import message, refuse_name
from stoop.diagnose._findings import ADVICE, DEV_OVERFITTING, HIGH_BIAS, HIGH_VARIANCE, MISMATCH
from stoop.diagnose._statistics import Level, surely_above

_WHERE = "diagnose.recipe"
_RELATIVE = 0.2  # of the lower error: from 40 % to 44 % is no gap, from 2 % to 6 % is
_ROUNDING = 1e-12
_COUNTED = ("train", "train_dev", "dev", "test")
PARTS = {"target": "target", "train": "training", "train_dev": "train-dev", "dev": "dev", "test": "test"}
# What each gap is, in the order in which the course goes through them.
_GAPS = {
    HIGH_BIAS: "avoidable bias",
    HIGH_VARIANCE: "variance",
    MISMATCH: "mismatch of the data",
    DEV_OVERFITTING: "overfitting to the dev set",
}


@dataclass(frozen=True)
class Recipe:
    """The result of `recipe`.

    Attributes
    ----------
    avoidable_bias : float
        Training error minus target error.
    variance : float
        Train-dev error minus training error; dev error minus training error where there is no train-dev part.
    mismatch : float or None
        Dev error minus train-dev error.
    dev_overfitting : float or None
        Test error minus dev error.
    problems : list of str
        The faults whose gap is a problem, largest first: "high bias", "high variance", "data mismatch", "overfitting to
        the dev set".
    advice : list of str
        What to try next, in this order; the first is for the largest gap.
    errors : dict of str to float
        The errors that were given: "target", "train", "train_dev", "dev", "test".
    evidence : dict of str to str
        For each problem the numbers, in words.
    """

    avoidable_bias: float
    variance: float
    mismatch: float | None
    dev_overfitting: float | None
    problems: list[str]
    advice: list[str]
    errors: dict[str, float]
    evidence: dict[str, str] = field(repr=False)

    def gaps(self) -> dict[str, float]:
        """Return the gap of each fault that can be told from these errors."""
        sizes = (self.avoidable_bias, self.variance, self.mismatch, self.dev_overfitting)
        return {fault: size for fault, size in zip(_GAPS, sizes) if size is not None}

    def __str__(self) -> str:
        errors = ", ".join(f"{name.replace('_', '-')} {error:.2%}" for name, error in self.errors.items())
        lines = [f"Errors: {errors}."]
        lines += [f"{_GAPS[fault]:<28}{size:>8.2%}" for fault, size in self.gaps().items()]
        if not self.problems:
            return "\n".join([*lines, "No gap is a problem."])
        lines += [f"{n}. {fault}: {self.evidence[fault]}" for n, fault in enumerate(self.problems, 1)]
        return "\n".join([*lines, "What to try next:", *(f"{n}. {text}" for n, text in enumerate(self.advice, 1))])


def recipe(
    *,
    train_error: float,
    dev_error: float,
    target_error: float = 0.0,
    train_dev_error: float | None = None,
    test_error: float | None = None,
    samples: Mapping[str, int] | None = None,
    tolerance: float = 0.02,
) -> Recipe:
    """Say from the errors of the parts what is wrong, and what to try next; Ng 2018, chapters 20 to 24 and 40 to 43.

    ``target -> train`` is the avoidable bias, ``train -> train-dev`` the variance, ``train-dev -> dev`` the mismatch of
    the data, ``dev -> test`` how far decisions have fitted the dev set. A gap is a problem from `tolerance` on, and
    from a fifth of the lower of its two errors on: 40 % and 44 % are as good as equal, 2 % and 6 % are not. Where the
    numbers of samples are known, the gap must exceed that with 95 % confidence (Newcombe 1998).

    Parameters
    ----------
    train_error : float
        Of the data that were trained on, >= 0: a share of wrong predictions, 1 - R2, or any error of which less is
        better and 1 is bad.
    dev_error : float
        Of the data by which decisions are made.
    target_error : float, default 0.0
        What is wanted and possible, such as the error of people (an estimate of the error that nobody can avoid).
    train_dev_error : float, optional
        Of data like those of training that were not trained on. It tells variance from mismatch.
    test_error : float, optional
        Of data that no decision has seen.
    samples : mapping of str to int, optional
        Numbers of samples of "train", "train_dev", "dev" and "test", so that noise is not called a problem; the errors
        are then shares of these samples. Parts that are left out are exact.
    tolerance : float, default 0.02
        The smallest gap that counts.

    Returns
    -------
    Recipe
        With `problems`, largest gap first, and `advice`; ``str`` tells it in words.

    Raises
    ------
    ValueError, TypeError
        For an error that is negative or no number, an unknown part, and a share above 1 of counted samples.

    Examples
    --------
    >>> import stoop
    >>> stoop.diagnose.recipe(train_error=0.01, dev_error=0.11).problems
    ['high variance']
    >>> stoop.diagnose.recipe(train_error=0.15, dev_error=0.16, target_error=0.01).problems
    ['high bias']
    >>> stoop.diagnose.recipe(train_error=0.01, train_dev_error=0.015, dev_error=0.1).problems
    ['data mismatch']
    """
    given = {
        "target": target_error,
        "train": train_error,
        "train_dev": train_dev_error,
        "dev": dev_error,
        "test": test_error,
    }
    errors = {
        name: real(_WHERE, f"{name}_error", value, NOT_NEGATIVE) for name, value in given.items() if value is not None
    }
    counts = _counts(samples, errors)
    levels = {
        name: Level.share(error, counts[name]) if name in counts else Level.exact(error)
        for name, error in errors.items()
    }
    limit = real(_WHERE, "tolerance", tolerance, NOT_NEGATIVE)
    return recipe_of(levels, dict.fromkeys(_GAPS, limit))


def _counts(samples: Mapping[str, int] | None, errors: Mapping[str, float]) -> dict[str, int]:
    counts = {}
    for name, count in (samples or {}).items():
        if name not in _COUNTED:
            refuse_name(_WHERE, "part in samples", str(name), _COUNTED)
        counts[name] = integer(_WHERE, f"samples[{name!r}]", count, 1)
        if errors.get(name, 0.0) > 1.0:
            text = f"{name}_error is {errors[name]:g} of {count} samples"
            raise ValueError(message(_WHERE, text, "expected a share", "leave out samples for errors of other kinds"))
    return counts


def recipe_of(levels: Mapping[str, Level], tolerances: Mapping[str, float]) -> Recipe:
    """Return the recipe for these errors; `tolerances` are the smallest gaps that count, by fault."""
    steps = _steps(levels)
    sizes = {fault: levels[high].error - levels[low].error for fault, (low, high) in steps.items()}
    problems = []
    for fault, (low, high) in steps.items():
        limit = max(tolerances[fault], _RELATIVE * levels[low].error)
        if surely_above(levels[low], levels[high]) >= limit - _ROUNDING:
            problems.append(fault)
    problems.sort(key=lambda fault: -sizes[fault])
    evidence = {fault: _words(fault, levels, steps[fault]) for fault in problems}
    return Recipe(
        sizes[HIGH_BIAS],
        sizes[HIGH_VARIANCE],
        sizes.get(MISMATCH),
        sizes.get(DEV_OVERFITTING),
        problems,
        [ADVICE[fault] for fault in problems],
        {name: level.error for name, level in levels.items()},
        evidence,
    )


def _steps(levels: Mapping[str, Level]) -> dict[str, tuple[str, str]]:
    """Return the two parts between which each gap lies, for the gaps that can be told."""
    unseen = "train_dev" if "train_dev" in levels else "dev"
    steps = {HIGH_BIAS: ("target", "train"), HIGH_VARIANCE: ("train", unseen)}
    if "train_dev" in levels:
        steps[MISMATCH] = ("train_dev", "dev")
    if "test" in levels:
        steps[DEV_OVERFITTING] = ("dev", "test")
    return steps


def _words(fault: str, levels: Mapping[str, Level], step: tuple[str, str]) -> str:
    low, high = step
    gap = levels[high].error - levels[low].error
    at_least = surely_above(levels[low], levels[high])
    text = f"the {PARTS[high]} error is {error_words(levels[high].error)}, the {PARTS[low]} error "
    text += error_words(levels[low].error)
    if gap > 1.0:
        return f"{text}."
    sure = "" if levels[high].samples is None else f", at least {at_least:.1%} with 95 % confidence"
    return f"{text}: {_GAPS[fault]} of {gap:.1%}{sure}."


def error_words(error: float) -> str:
    """Return an error in words; how far it is above that of a constant prediction tells nothing."""
    return f"{error:.1%}" if error <= 1.0 else "above 100 %, worse than a constant prediction"
