"""Schedules against independent formulas, their composition, and the rates a trainer really uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import crossed
import reference
import stoop
from helpers import make_data, refused, unchanged
from stoop import schedules

CASES = crossed.calls("schedule")


def expected_rates(schedule: Any) -> np.ndarray:
    return np.array([reference.rate_at(schedule, t) for t in range(40)])


@pytest.mark.parametrize("case", CASES)
def test_values(case: str) -> None:
    schedule = CASES[case]
    values = schedule.values(40)
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, expected_rates(schedule), rtol=1e-12)
    assert [schedule(t) for t in (0, 7, 39)] == [values[0], values[7], values[39]]
    assert schedule.values(0).shape == (0,)


@pytest.mark.parametrize("case", CASES)
def test_the_trainer_uses_them(case: str) -> None:
    """SGD with a gradient of 1 moves by exactly the rate."""
    schedule, expected = CASES[case], expected_rates(CASES[case])
    model = stoop.Model([stoop.Dense(1, kernel_init="zeros", use_bias=False)], input_dim=1, dtype="float64")
    trainer = stoop.Trainer(model, "mae", stoop.optimizers.SGD(schedule))
    weight = model.parameters()["0.weight"]
    X, y = np.ones((4, 1)), np.full((4, 1), -100.0)
    for t in range(3):
        before = weight[0, 0]
        trainer.step(X, y)
        assert before - weight[0, 0] == pytest.approx(expected[t], rel=1e-9)
    history = trainer.fit(X, y, epochs=2, batch_size=1, verbose=0)
    np.testing.assert_allclose(history["learning_rate"], [expected[6], expected[10]], rtol=1e-12)
    np.testing.assert_allclose(-weight[0, 0], np.sum(expected[:11]), rtol=1e-9)


def test_functions_anywhere_in_a_schedule() -> None:
    """Each is asked in its own place, also where there are several."""
    inner = schedules.Sequential([0.3, lambda t: 0.2 + t], milestones=[1])
    parts = [schedules.Warmup(lambda _: 0.4, 2), lambda t: 0.1 / (t + 1), 0.05, schedules.Warmup(inner, 2)]
    schedule = schedules.Sequential(parts, milestones=[3, 5, 6])
    expected = [0.2, 0.4, 0.4, 0.1, 0.05, 0.05, 0.15, 0.3, 0.3, 0.2, 1.2]
    np.testing.assert_allclose(schedule.values(11), expected, rtol=1e-12)
    bare = np.zeros(1)
    optimizer = stoop.optimizers.SGD(schedule)
    for rate in expected:
        before = bare[0]
        optimizer.step([bare], [np.ones(1)])
        assert before - bare[0] == pytest.approx(rate)


def test_schedules_of_epochs_one_after_another() -> None:
    X, y = make_data("mse", 12, 3, 2)
    falling = schedules.Custom(lambda t: 0.2 / (t + 1), per="epoch")
    warm = schedules.Warmup(lambda t: 0.3 / (t + 1), 2, per="epoch")  # a function counts what is around it
    schedule = schedules.Sequential([0.1, falling, warm], [2, 4], per="epoch")
    trainer = stoop.Trainer(stoop.Model([stoop.Dense(2)], input_dim=3), "mse", stoop.optimizers.SGD(schedule))
    history = trainer.fit(X, y, epochs=8, batch_size=4, verbose=0)
    np.testing.assert_allclose(history["learning_rate"], [0.1, 0.1, 0.2, 0.1, 0.15, 0.3, 0.3, 0.15])


def test_a_schedule_that_counts_something_else_goes_on_from_the_start_of_training() -> None:
    X, y = make_data("mse", 12, 3, 2)
    schedule = schedules.Sequential([0.1, schedules.Step(0.3, every=1)], [4], per="epoch")
    trainer = stoop.Trainer(stoop.Model([stoop.Dense(2)], input_dim=3), "mse", stoop.optimizers.SGD(schedule))
    history = trainer.fit(X, y, epochs=5, batch_size=12, verbose=0)
    np.testing.assert_allclose(history["learning_rate"], [0.1, 0.1, 0.1, 0.1, 0.3 * 0.5**4])


def test_per_epoch() -> None:
    X, y = make_data("mse", 12, 3, 2)
    for schedule in (
        schedules.Step(0.1, 0.5, every=2, per="epoch"),
        schedules.Custom(lambda t: 0.1 * 0.5 ** (t // 2), per="epoch"),
    ):
        trainer = stoop.Trainer(stoop.Model([stoop.Dense(2)], input_dim=3), "mse", stoop.optimizers.SGD(schedule))
        history = trainer.fit(X, y, epochs=5, batch_size=4, verbose=0)
        np.testing.assert_allclose(history["learning_rate"], [0.1, 0.1, 0.05, 0.05, 0.025])


def test_a_callable_is_asked_for_each_update_once() -> None:
    asked: list[int] = []

    def rate(t: int) -> float:
        asked.append(t)
        return 0.01

    X, y = make_data("mse", 12, 3, 2)
    trainer = stoop.Trainer(stoop.Model([stoop.Dense(2)], input_dim=3), "mse", stoop.optimizers.SGD(rate))
    trainer.fit(X, y, epochs=2, batch_size=4, verbose=0)
    trainer.step(X, y)
    assert asked == list(range(7))


@pytest.mark.parametrize(
    ("function", "exception"),
    [
        (lambda t: 1 / 0, ZeroDivisionError),
        (lambda t: "fast", TypeError),
        (lambda t: None, TypeError),
        (lambda t: float("nan"), ValueError),
        (lambda t: -1.0, ValueError),
    ],
)
def test_a_callable_that_fails_changes_nothing(function: Callable[[int], Any], exception: type[Exception]) -> None:
    X, y = make_data("mse", 12, 3, 2)
    trainer = stoop.Trainer(stoop.Model([stoop.Dense(2)], input_dim=3), "mse", stoop.optimizers.Adam(function))
    with unchanged(trainer), pytest.raises(exception):
        trainer.fit(X, y, epochs=1, verbose=0)
    with unchanged(trainer), pytest.raises(exception):
        trainer.step(X, y)


@given(lr=st.floats(1e-6, 10), steps=st.integers(1, 500), t=st.integers(0, 2000), end=st.floats(0, 1))
def test_cosine_linear_and_polynomial_stay_between_their_ends(lr: float, steps: int, t: int, end: float) -> None:
    for schedule in (
        schedules.Cosine(lr, steps, end),
        schedules.Linear(lr, end, steps),
        schedules.Polynomial(lr, end, steps, 2.0),
    ):
        low, high = min(lr, end), max(lr, end)
        assert low - 1e-12 <= schedule(t) <= high * (1 + 1e-12)
        assert schedule(0) == pytest.approx(lr)
        if t >= steps:
            assert schedule(t) == pytest.approx(end, abs=1e-15)


@pytest.mark.parametrize(
    ("make", "exception", "pattern"),
    [
        (lambda: schedules.Constant(-0.1), ValueError, "lr"),
        (lambda: schedules.Constant("0.1"), TypeError, "lr"),
        (lambda: schedules.Constant(float("nan")), ValueError, "lr"),
        (lambda: schedules.Step(0.1), ValueError, "every"),
        (lambda: schedules.Step(0.1, every=2.5), TypeError, "every"),
        (lambda: schedules.Step(0.1, factor=0.0, every=2), ValueError, "factor"),
        (lambda: schedules.Piecewise([3], [0.1]), ValueError, "1 values and 1 boundaries"),
        (lambda: schedules.Piecewise([3, 3], [0.1, 0.2, 0.3]), ValueError, "order"),
        (lambda: schedules.Sequential([0.1], [3]), ValueError, "1 schedules and 1 milestones"),
        (lambda: schedules.Sequential([0.1, 0.2, 0.3], [3, 3]), ValueError, "order"),
        (lambda: schedules.Piecewise(3, [0.1]), TypeError, "boundaries"),
        (lambda: schedules.Cosine(0.1, 0), ValueError, "steps"),
        (lambda: schedules.Cosine(0.1, 10, per="epochs"), ValueError, '"epoch"'),
        (lambda: schedules.Warmup("fast", 3), TypeError, "schedule"),
        (lambda: schedules.OneCycle(0.1, 10, pct_start=1.5), ValueError, "pct_start"),
        (lambda: schedules.Custom(0.1), TypeError, "function"),
        (lambda: stoop.optimizers.SGD(schedules.Cosine), TypeError, r"Cosine\(\.\.\.\)"),
        (lambda: schedules.Constant(0.1)(-1), ValueError, "t is -1"),
        (lambda: schedules.Constant(0.1).values(2.5), TypeError, "n is 2.5"),
    ],
)
def test_bad_arguments(make: Callable[[], Any], exception: type[Exception], pattern: str) -> None:
    with refused(exception, pattern):
        make()


@pytest.mark.parametrize("case", CASES)
def test_they_are_values(case: str) -> None:
    schedule = CASES[case]
    hash(schedule)
    assert stoop.optimizers.Adam(schedule) == stoop.optimizers.Adam(schedule)
