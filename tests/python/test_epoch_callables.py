"""Python functions of the epoch as learning rates: asked once an epoch; what they raise or return is seen."""

from __future__ import annotations

import traceback
from typing import Any

import numpy as np
import pytest

import stoop
from helpers import bits, refused
from stoop.schedules import Custom, Warmup

X, Y = np.linspace(0, 1, 100)[:, None], np.linspace(0, 1, 100)


def make_trainer(rate: Any, optimizer: Any = stoop.optimizers.SGD, **arguments: Any) -> Any:
    return stoop.Trainer(stoop.Model([stoop.Dense(1)], input_dim=1), "mse", optimizer(rate), **arguments)


def counting(value: float = 0.01) -> tuple[list[int], Any]:
    calls: list[int] = []
    return calls, lambda t: calls.append(t) or value


@pytest.mark.parametrize("arguments", [{}, {"accumulate": 3}, {"clip_norm": 1.0}])
@pytest.mark.parametrize("batch_size", [10, 7, 100])
def test_one_call_an_epoch_over_all_fits(batch_size: int, arguments: dict[str, Any]) -> None:
    calls, function = counting()
    trainer = make_trainer(Custom(function, per="epoch"), **arguments)
    trainer.fit(X, Y, epochs=2, batch_size=batch_size, verbose=0)
    trainer.fit(X, Y, epochs=3, batch_size=batch_size, verbose=0)
    assert calls == [0, 1, 2, 3, 4]


def test_of_the_full_batch() -> None:
    calls, function = counting(1.0)
    make_trainer(Custom(function, per="epoch"), stoop.optimizers.LBFGS).fit(X, Y, 3, 100, verbose=0)
    assert calls == [0, 1, 2]


@pytest.mark.parametrize(("per", "expected"), [("epoch", [0, 0, 0, 1, 2]), ("step", [0, 0, 0, 2, 3, 4])])
def test_in_a_warmup(per: str, expected: list[int]) -> None:
    calls, function = counting()
    rate = Warmup(Custom(function, per="epoch"), steps=2 if per == "epoch" else 25, per=per)
    make_trainer(rate).fit(X, Y, epochs=5, batch_size=10, verbose=0)
    # By steps, epochs 0 and 1 lie in the warmup, which needs the first rate; epoch 2 needs that and its own.
    assert calls == expected


def test_a_bare_function_counts_what_the_warmup_counts() -> None:
    calls, function = counting()
    make_trainer(Warmup(function, steps=2, per="epoch")).fit(X, Y, epochs=5, batch_size=10, verbose=0)
    assert calls == [0, 0, 0, 1, 2]


def test_a_stateful_function_gives_one_rate_an_epoch() -> None:
    rng = np.random.default_rng(0)
    given: list[float] = []

    def rate(_: int) -> float:
        given.append(float(rng.uniform(0.001, 0.01)))
        return given[-1]

    trainer = make_trainer(Custom(rate, per="epoch"))
    history = trainer.fit(X, Y, epochs=3, batch_size=10, verbose=0)
    assert history["learning_rate"] == given
    twin = make_trainer(Custom(lambda epoch: given[epoch], per="epoch"))
    twin.fit(X, Y, epochs=3, batch_size=10, verbose=0)
    assert bits(trainer.model) == bits(twin.model)


def test_a_function_of_the_step_is_asked_once_an_update() -> None:
    calls, function = counting()
    make_trainer(function).fit(X, Y, epochs=2, batch_size=10, verbose=0)
    assert calls == list(range(20))


def test_values_ask_once_each() -> None:
    for per in ("step", "epoch"):
        calls, function = counting()
        assert Custom(function, per=per).values(4).tolist() == [0.01] * 4
        assert calls == [0, 1, 2, 3]


def test_what_the_function_raises_keeps_its_traceback() -> None:
    def rate(epoch: int) -> float:
        return [0.1, 0.01][epoch]  # the list ends before the fit does

    trainer = make_trainer(Custom(rate, per="epoch"))
    with pytest.raises(IndexError) as caught:
        trainer.fit(X, Y, epochs=3, batch_size=10, verbose=0)
    assert "the list ends before" in "".join(traceback.format_exception(caught.value))
    assert trainer.epoch == 2
    assert len(trainer.history["loss"]) == 2


@pytest.mark.parametrize("value", [None, "0.1", b"0.1", True, np.True_, [0.1], 1j, np.zeros(2), {}, object()])
@pytest.mark.parametrize("per", ["step", "epoch"])
def test_a_function_that_returns_no_number(per: str, value: Any) -> None:
    trainer = make_trainer(Custom(lambda _: value, per=per))
    with refused(TypeError, r"\[learning_rate\] the function of t returned", "t = 0", "return a float"):
        trainer.fit(X, Y, epochs=1, verbose=0)
    assert (trainer.epoch, trainer.steps) == (0, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1])
def test_a_function_that_returns_no_rate(value: float) -> None:
    with refused(ValueError, "learning_rate"):
        make_trainer(Custom(lambda _: value, per="epoch")).fit(X, Y, epochs=1, verbose=0)


@pytest.mark.parametrize("value", [0, 1, np.float32(0.5), np.int64(1), np.array(0.5), np.array([0.5]), 0.0])
def test_numbers_of_any_kind(value: Any) -> None:
    history = make_trainer(Custom(lambda _: value, per="epoch")).fit(X, Y, epochs=1, verbose=0)
    assert history["learning_rate"] == [float(np.asarray(value).item())]
