"""Which parameters a search tries, and for how long: random, grid, coarse to fine, successive halving."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._errors import message, refuse_name
from stoop.search._line import SearchLine
from stoop.search._pool import GROUP, WHERE, Pool
from stoop.search._spaces import Choice, Parameter, drawn
from stoop.search._trial import COMPLETE, PRUNED, Trial, ranked

Space = Mapping[str, Parameter]


@dataclass(frozen=True)
class Plan:
    """What a method is told.

    Attributes
    ----------
    trials, epochs, seed : int
    median : bool
        Whether trials that are worse than the median end.
    options : dict
        Those of the method.
    """

    trials: int
    epochs: int
    seed: int
    median: bool
    options: Mapping[str, Any]


def coordinates(space: Space, seed: int, number: int) -> npt.NDArray[np.float64]:
    """Return uniform numbers for a trial, the same however many trials there are."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, number], np.uint64))).random(len(space))


def random_search(pool: Pool, space: Space, plan: Plan, line: SearchLine | None) -> None:
    """Bergstra & Bengio 2012."""
    del line
    pool.plan(plan.trials * plan.epochs)
    for first in range(0, plan.trials, GROUP):
        numbers = range(first, min(first + GROUP, plan.trials))
        trials = [pool.trial(i, drawn(space, coordinates(space, plan.seed, i))) for i in numbers]
        pool.train(trials, plan.epochs, median=plan.median)


# ---- grid ----


def grid_of(space: Space, trials: int, points: int | Mapping[str, int] | None) -> dict[str, list[Any]]:
    """Return the values of each parameter.

    Raises
    ------
    ValueError
        For a grid of more than `trials` points, and for `points` of what is not in the space.
    """
    if points is not None:
        for name in points if isinstance(points, Mapping) else ():
            if name not in space:
                refuse_name(WHERE, "points", str(name), list(space))
        of = points if isinstance(points, Mapping) else dict.fromkeys(space, points)
        values = {name: parameter.grid(of.get(name, 3)) for name, parameter in space.items()}
    else:
        values = _largest_grid(space, trials)
    size = math.prod(map(len, values.values()))
    if size > trials:
        sizes = " x ".join(str(len(of)) for of in values.values())
        given, hint = f"the grid has {size} points ({sizes})", f"give trials={size}, or fewer points"
        raise ValueError(message(WHERE, given, f"expected at most trials={trials}", hint))
    return values


def _largest_grid(space: Space, trials: int) -> dict[str, list[Any]]:
    """Return the grid with as many points for every range as `trials` allow, at least 2."""

    def values(points: int) -> dict[str, list[Any]]:
        return {name: parameter.grid(points) for name, parameter in space.items()}

    fits, too_many = 2, trials + 1
    while too_many - fits > 1:
        points = (fits + too_many) // 2
        if math.prod(map(len, values(points).values())) <= trials:
            fits = points
        else:
            too_many = points
    return values(fits)


def grid_search(pool: Pool, space: Space, plan: Plan, line: SearchLine | None) -> None:
    """Every combination, the last parameter changing fastest."""
    del line
    values = grid_of(space, plan.trials, plan.options["points"])
    combinations = itertools.product(*values.values())
    trials = [pool.trial(i, dict(zip(values, combination))) for i, combination in enumerate(combinations)]
    pool.plan(len(trials) * plan.epochs)
    pool.train(trials, plan.epochs, median=plan.median)


# ---- coarse to fine ----


def coarse_to_fine(pool: Pool, space: Space, plan: Plan, line: SearchLine | None) -> None:
    """Rounds of random search, each in ranges around the best trial so far that are narrower than those before."""
    rounds, shrink = plan.options["rounds"], plan.options["shrink"]
    rounds = min(rounds, plan.trials)
    pool.plan(plan.trials * plan.epochs)
    width, first = 1.0, 0
    for turn in range(rounds):
        if line is not None:
            line.note = f"round {turn + 1} of {rounds}"
        last = plan.trials * (turn + 1) // rounds
        windows = _windows(pool, space, width)
        trials = []
        for number in range(first, last):
            places = coordinates(space, plan.seed, number)
            values = {name: window.value(float(at)) for (name, window), at in zip(windows.items(), places)}
            trials.append(pool.trial(number, values))
        pool.train(trials, plan.epochs, median=plan.median)
        first, width = last, width * shrink


class _Window:
    """A part of the range of a parameter: from `start`, `width` long, both as coordinates."""

    def __init__(self, parameter: Parameter, start: float, width: float) -> None:
        self._parameter, self._start, self._width = parameter, start, width

    def value(self, coordinate: float) -> Any:
        return self._parameter.value(min(self._start + coordinate * self._width, 1.0))


def _windows(pool: Pool, space: Space, width: float) -> dict[str, _Window | Choice]:
    """Return ranges of this width around the best trial, moved where they would leave those that were given."""
    complete = ranked((trial for trial in pool.trials.values() if trial.state == COMPLETE), pool.goal)
    windows: dict[str, _Window | Choice] = {}
    for name, parameter in space.items():
        if not complete:
            windows[name] = _Window(parameter, 0.0, 1.0)
        elif isinstance(parameter, Choice):
            windows[name] = _best_choices(name, parameter, complete, width)
        else:
            start = parameter.coordinate(complete[0].params[name]) - width / 2
            windows[name] = _Window(parameter, min(max(start, 0.0), 1.0 - width), width)
    return windows


def _best_choices(name: str, parameter: Choice, complete: list[Trial], width: float) -> Choice:
    """Return this part of the choices, at least one: those that the best trials have."""
    order = dict.fromkeys(parameter.index(trial.params[name]) for trial in complete)
    order.update(dict.fromkeys(range(len(parameter.values))))
    kept = sorted(list(order)[: max(math.ceil(width * len(parameter.values)), 1)])
    return Choice(tuple(parameter.values[place] for place in kept))


# ---- successive halving ----


def rungs(trials: int, epochs: int, factor: int, min_epochs: int) -> list[tuple[int, int]]:
    """Return how many trials are trained to how many epochs; Jamieson & Talwalkar 2016, algorithm 1.

    Each rung keeps the best part, one in `factor`, and trains it `factor` times as long; the last one trains for
    `epochs`, the first for `min_epochs` at least.
    """
    steps = 0
    while factor ** (steps + 1) <= trials and epochs // factor ** (steps + 1) >= min_epochs:
        steps += 1
    return [(trials // factor**i, epochs // factor ** (steps - i)) for i in range(steps + 1)]


def halving(pool: Pool, space: Space, plan: Plan, line: SearchLine | None) -> None:
    """Successive halving; Karnin, Koren & Somekh 2013, Jamieson & Talwalkar 2016."""
    steps = rungs(plan.trials, plan.epochs, plan.options["factor"], plan.options["min_epochs"])
    before = [0, *(epochs for _, epochs in steps)]
    pool.plan(sum(count * (epochs - since) for (count, epochs), since in zip(steps, before)))
    trials = [pool.trial(i, drawn(space, coordinates(space, plan.seed, i))) for i in range(plan.trials)]
    for rung, (_, epochs) in enumerate(steps):
        if line is not None:
            line.note = f"rung {rung + 1} of {len(steps)}"
        is_last = rung + 1 == len(steps)
        keep = 0 if is_last else steps[rung + 1][0]
        pool.train(trials, epochs, since=before[rung], keep=keep, median=plan.median)
        if is_last:
            return
        order = ranked((trial for trial in trials if trial.has_passed(epochs)), pool.goal, epochs)
        for trial in order[keep:]:
            trial.state = PRUNED
        trials = sorted(order[:keep], key=lambda trial: trial.number)


METHODS = {"random": random_search, "grid": grid_search, "coarse_to_fine": coarse_to_fine, "halving": halving}
