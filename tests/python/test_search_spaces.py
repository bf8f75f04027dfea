"""The parameters of `stoop.search`: distributions, coordinates, grids."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest

from helpers import refused
from stoop import search
from stoop.search._methods import coordinates, grid_of, rungs
from stoop.search._spaces import Choice

SHORTEST = 1e-3  # p-value; the seeds are fixed


def draws(parameter: search.Parameter, count: int = 4000) -> list[Any]:
    """As the random search draws them, each of another trial."""
    return [parameter.value(float(coordinates({"a": parameter}, 0, trial)[0])) for trial in range(count)]


def p_value(values: Any, distribution: Any) -> float:
    stats = pytest.importorskip("scipy.stats")
    return float(stats.kstest(values, distribution.cdf).pvalue)


def test_uniform_is_uniform() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = draws(search.uniform(-2, 0.5))
    assert p_value(values, stats.uniform(-2, 2.5)) > SHORTEST
    assert p_value(values, stats.uniform(-2, 2.6)) < SHORTEST


def test_a_range_wider_than_a_number_is_refused() -> None:
    with refused(ValueError, "search.uniform", "narrower"):
        search.uniform(-1.7e308, 1.7e308)


def test_points_of_no_parameter_are_refused() -> None:
    with refused(ValueError, "points", "nope"):
        grid_of({"a": search.uniform(0, 1)}, 9, {"nope": 3})


def test_log_uniform_is_reciprocal() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = draws(search.log_uniform(1e-5, 1e-1))
    assert p_value(values, stats.loguniform(1e-5, 1e-1)) > SHORTEST
    assert p_value(values, stats.uniform(1e-5, 0.1)) < SHORTEST


def test_one_minus_log_uniform_is_reciprocal_from_one() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = 1.0 - np.array(draws(search.one_minus_log_uniform(0.9, 0.9999)))
    assert p_value(values, stats.loguniform(1e-4, 0.1)) > SHORTEST
    assert p_value(1.0 - values, stats.loguniform(0.9, 0.9999)) < SHORTEST


@pytest.mark.parametrize(("low", "high"), [(0, 3), (-2, 2), (5, 6)])
def test_integers_are_equally_frequent(low: int, high: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    values = draws(search.integers(low, high))
    assert {type(value) for value in values} == {int}
    counts = [values.count(value) for value in range(low, high + 1)]
    assert sum(counts) == len(values)
    assert stats.chisquare(counts).pvalue > SHORTEST


def test_log_integers_are_a_rounded_log_uniform() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = draws(search.log_integers(1, 16))
    counts = [values.count(value) for value in range(1, 17)]
    shares = np.diff(np.log(np.arange(0.5, 17.0)))
    assert stats.chisquare(counts, shares / shares.sum() * len(values)).pvalue > SHORTEST


def test_choices_are_equally_frequent() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = draws(search.choice(["a", (64, 64), None]))
    assert stats.chisquare([values.count(value) for value in ("a", (64, 64), None)]).pvalue > SHORTEST


PARAMETERS = [
    search.uniform(-1, 0.5),
    search.log_uniform(1e-4, 1e-1),
    search.one_minus_log_uniform(0.9, 0.999),
    search.integers(-3, 5),
    search.log_integers(2, 512),
    search.choice([8, "8", 8.0, (8,)]),
]


@pytest.mark.parametrize("parameter", PARAMETERS, ids=repr)
def test_a_value_has_its_coordinate(parameter: Any) -> None:
    for value in draws(parameter, 50):
        again = parameter.value(parameter.coordinate(value))
        assert again == pytest.approx(value) if isinstance(value, float) else again == value
        assert type(again) is type(value)
    assert min(map(parameter.coordinate, draws(parameter, 50))) >= 0.0
    assert pickle.loads(pickle.dumps(parameter)) == parameter
    assert eval(repr(parameter), vars(search)) == parameter
    with pytest.raises(AttributeError):
        parameter.low = 0


@pytest.mark.parametrize("parameter", PARAMETERS[:5], ids=repr)
def test_ends_belong_to_a_range_and_nothing_beyond(parameter: Any) -> None:
    assert (parameter.value(0.0), parameter.value(1.0)) == (parameter.low, parameter.high)
    values = draws(parameter, 500)
    assert parameter.low <= min(values)
    assert max(values) <= parameter.high


def test_grids_are_even_on_the_scale() -> None:
    assert search.uniform(0, 1).grid(5) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert search.log_uniform(1e-4, 1.0).grid(5) == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    assert search.one_minus_log_uniform(0.9, 0.999).grid(3) == pytest.approx([0.9, 0.99, 0.999])
    assert search.integers(1, 3).grid(5) == [1, 2, 3]
    assert search.integers(0, 10).grid(3) == [0, 5, 10]
    assert search.log_integers(8, 128).grid(5) == [8, 16, 32, 64, 128]
    assert search.choice(["ab", 1]).grid(1) == ["ab", 1]
    assert search.log_uniform(1e-4, 1.0).grid(1) == pytest.approx([1e-2])


def test_the_largest_grid_that_fits() -> None:
    space = {"a": search.uniform(0, 1), "b": search.choice([1, 2, 3]), "c": search.log_uniform(1, 10)}
    for trials in (12, 13, 26, 27, 64, 100):
        points = max(n for n in range(2, 20) if 3 * n * n <= trials)
        assert [len(values) for values in grid_of(space, trials, None).values()] == [points, 3, points]
    assert [len(values) for values in grid_of(space, 64, {"a": 10, "c": 2}).values()] == [10, 3, 2]
    with refused(ValueError, "12 points .2 x 3 x 2.", "trials=12"):
        grid_of(space, 11, None)
    with refused(ValueError, "75 points", "trials=75"):
        grid_of(space, 64, 5)


def test_rungs_of_successive_halving() -> None:
    assert rungs(64, 20, 3, 1) == [(64, 2), (21, 6), (7, 20)]
    assert rungs(81, 81, 3, 1) == [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)]
    assert rungs(81, 81, 3, 9) == [(81, 9), (27, 27), (9, 81)]
    assert rungs(2, 100, 3, 1) == [(2, 100)]
    for trials, epochs, factor in [(10, 10, 2), (100, 7, 3), (1, 1, 2)]:
        steps = rungs(trials, epochs, factor, 1)
        assert steps[0][0] == trials
        assert steps[-1][1] == epochs
        assert all(count >= 1 and length >= 1 for count, length in steps)


def test_labels_of_choices_differ() -> None:
    made = search.choice([64, "64", math.sqrt, (1, 2)])
    assert isinstance(made, Choice)
    assert made.labels() == ["64 #0", "64 #1", "sqrt", "(1, 2)"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: search.uniform(1, 1),
        lambda: search.uniform(0, math.inf),
        lambda: search.uniform(0, "1"),
        lambda: search.log_uniform(0, 1),
        lambda: search.log_uniform(1e-2, 1e-3),
        lambda: search.one_minus_log_uniform(0.9, 1.0),
        lambda: search.integers(1, 2.5),
        lambda: search.integers(3, 2),
        lambda: search.log_integers(0, 8),
        lambda: search.choice([]),
        lambda: search.choice("relu"),
        lambda: search.choice(3),
        lambda: search.choice([1, 2, 1]),
    ],
)
def test_bad_ranges_are_refused(make: Any) -> None:
    with refused((ValueError, TypeError), "search."):
        make()


def test_choices_of_arrays() -> None:
    arrays = [np.zeros(2), np.ones(2)]
    made = search.choice(arrays)
    assert made.coordinate(arrays[1]) == 0.75
    assert made.value(0.75) is arrays[1]
