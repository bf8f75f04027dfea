"""The learning-rate finder: what it suggests, where it ends, and that nothing remains of it."""

from __future__ import annotations

import copy
import math
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stoop
from helpers import bits, refused
from stoop.inspection import search_of

RNG = np.random.default_rng(0)
X = RNG.standard_normal((600, 6)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0).astype(int) + (X[:, 2] > 1)


def make(optimizer: Any = None, dtype: str = "float32", **settings: Any) -> Any:
    layers = [
        stoop.Dense(32),
        stoop.BatchNorm(),
        stoop.ReLU(),
        stoop.Dropout(0.1),
        stoop.Dense(3),
    ]
    model = stoop.Model(layers, input_dim=6, dtype=dtype)
    return stoop.Trainer(model, optimizer=optimizer or stoop.optimizers.Adam(), **settings)


def everything(trainer: Any) -> Any:
    """All that a trainer and its model carry on, to the bit."""
    state = trainer._core.state()
    arrays = {key: value for key, value in state.items() if key not in ("optimizer", "average")}
    return (
        bits(trainer.model),
        {name: value.tobytes() for name, value in trainer.model.buffers().items()},
        [part.tobytes() for part in state["optimizer"]],
        state["average"].tobytes(),
        arrays,
        trainer.learning_rate,
        trainer.optimizer,
        (trainer.epoch, trainer.steps),
        trainer.model.output,
        None if trainer.model.classes is None else trainer.model.classes.tolist(),
        dict(trainer.history),
    )


CASES: dict[str, Any] = {
    "new": make,
    "ema": lambda: make(ema=0.9),
    "SGD": lambda: make(stoop.optimizers.SGD(0.1, momentum=0.9)),
    "schedule": lambda: make(stoop.optimizers.Adam(stoop.schedules.Cosine(0.1, 100))),
    "function": lambda: make(stoop.optimizers.Adam(lambda step: 0.1 / (1 + step))),
    "accumulate": lambda: make(accumulate=3, clip_norm=1.0),
    "float64": lambda: make(dtype="float64", l2=1e-3, max_norm=2.0),
}


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_nothing_remains(case: str, trained: bool) -> None:
    trainer = CASES[case]()
    if trained:
        trainer.fit(X, Y, epochs=2, verbose=0)
    before, twin = everything(trainer), copy.deepcopy(trainer)
    found = trainer.find_learning_rate(X, Y, steps=60)
    assert len(found.rates) == len(found.losses) == len(found.smoothed) <= 60
    assert everything(trainer) == before
    assert not hasattr(trainer, "twin")
    for one in (trainer, twin):
        one.fit(X, Y, epochs=1, verbose=0)
    assert everything(trainer)[:-1] == everything(twin)[:-1]


def test_names_of_classes_are_not_kept() -> None:
    trainer = make()
    trainer.find_learning_rate(X, np.array(["a", "b", "c"])[Y], steps=20)
    assert trainer.model.classes is None
    assert trainer.model.output is None


def test_nothing_remains_of_an_error() -> None:
    trainer = make()
    trainer.fit(X, Y, epochs=1, verbose=0)
    before = everything(trainer)
    bad = X.copy()
    bad[300, 2] = np.nan
    with refused(ValueError, "NaN|nan"):
        trainer.find_learning_rate(bad, Y, batch_size=8)
    assert everything(trainer) == before


def test_nothing_remains_of_ctrl_c() -> None:
    trainer = make()
    trainer.fit(X, Y, epochs=1, verbose=0)
    before = everything(trainer)

    def press() -> None:
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        trainer.find_learning_rate(X, Y, low=1e-6, high=1e-5, steps=10_000_000)
    presser.join()
    assert everything(trainer) == before


@pytest.mark.parametrize("optimizer", [stoop.optimizers.Adam, stoop.optimizers.SGD])
def test_the_suggestion_is_a_good_rate(optimizer: Any) -> None:
    found = make(optimizer()).find_learning_rate(X, Y, high=100.0)
    assert found.suggestion in found.rates

    def loss_after(rate: float) -> float:
        return make(optimizer(rate)).fit(X, Y, epochs=5, batch_size=128, verbose=0)["loss"][-1]

    losses = {rate: loss_after(rate) for rate in 10.0 ** np.arange(-6, 2)}
    good = loss_after(found.suggestion)
    assert good < losses[1e-6] - 0.5 * (losses[1e-6] - min(losses.values())), (found, losses)


def test_it_ends_where_training_diverges() -> None:
    trainer = stoop.Trainer(stoop.Model([stoop.Dense(1)], input_dim=6), "mse", stoop.optimizers.SGD())
    found = trainer.find_learning_rate(X, X.sum(axis=1), low=1e-4, high=1e4, steps=100)
    assert len(found.rates) < 100
    assert found.losses[-1] > 4 * found.losses.min()
    assert np.isfinite(found.losses).all()
    assert 1e-3 < found.suggestion < 1.0
    np.testing.assert_allclose(found.rates, 1e-4 * 1e8 ** (np.arange(100) / 99)[: len(found.rates)])


def test_a_loss_below_zero_is_no_divergence() -> None:
    trainer = stoop.Trainer(stoop.Model([stoop.Dense(2)], input_dim=6), "gaussian_nll", stoop.optimizers.Adam())
    found = trainer.find_learning_rate(X, X[:, 0] * 1e-3, high=0.1)
    assert len(found.rates) == 200
    assert found.losses[-1] < 0
    assert found.suggestion is not None


def test_a_loss_that_never_falls() -> None:
    rates = np.geomspace(1e-6, 1, 50)
    assert search_of(rates, np.linspace(1, 2, 50)).suggestion is None
    assert search_of(rates, np.full(50, 0.5)).suggestion is None
    noise = 2 + 0.1 * np.random.default_rng(1).standard_normal((20, 200))
    found = [search_of(np.geomspace(1e-6, 1, 200), losses).suggestion for losses in noise]
    assert found.count(None) >= 18
    assert search_of(rates[:5], np.linspace(2, 1, 5)).suggestion is None


def test_the_steepest_place_is_found_in_noise() -> None:
    rates = np.geomspace(1e-6, 1, 200)
    losses = 2 - 1 / (1 + np.exp(-3 * np.log(rates / 1e-2))) + 0.05 * RNG.standard_normal(200)
    suggestion = search_of(rates, losses).suggestion
    assert suggestion is not None
    assert abs(math.log10(suggestion) + 2) < 0.5


def test_a_loss_that_is_not_finite_from_the_start() -> None:
    trainer = stoop.Trainer(stoop.Model([stoop.Dense(1)], input_dim=6), "mse")
    with pytest.raises(stoop.NonFiniteLossError):
        trainer.find_learning_rate(X, np.full(600, 1e30, np.float32))


def test_few_samples() -> None:
    assert len(make().find_learning_rate(X[:7], Y[:7], steps=15).rates) <= 15


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "low": ({"low": 0.0}, "low"),
    "high": ({"high": "1"}, "high"),
    "order": ({"low": 1.0, "high": 0.1}, "low < high"),
    "equal": ({"low": 1.0, "high": 1.0}, "low < high"),
    "steps": ({"steps": 3}, "steps is 3"),
    "batch": ({"batch_size": 0}, "batch_size"),
    "y": ({"y": Y[:5]}, "y has shape"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_refused(case: str) -> None:
    given, pattern = WRONG[case]
    with refused((ValueError, TypeError), r"\[Trainer.find_learning_rate\]", pattern):
        make().find_learning_rate(**{"X": X, "y": Y, **given})


@pytest.mark.parametrize("optimizer", [stoop.optimizers.LBFGS(), stoop.optimizers.NewtonCG()])
def test_full_batch_optimizers_have_no_such_rate(optimizer: Any) -> None:
    trainer = stoop.Trainer(stoop.Model([stoop.Dense(3)], input_dim=6), optimizer=optimizer)
    with refused(ValueError, type(optimizer).__name__, "mini-batches"):
        trainer.find_learning_rate(X, Y)


def test_plot(tmp_path: Path) -> None:
    found = make().find_learning_rate(X, Y)
    axes = found.plot(tmp_path / "rates.png").axes[0]
    assert axes.get_xscale() == "log"
    assert len(axes.get_lines()) == 3
    assert (tmp_path / "rates.png").stat().st_size > 1000
    assert f"suggestion={found.suggestion:.3g}" in repr(found)
    assert "suggestion=None" in repr(search_of(np.geomspace(1e-6, 1, 50), np.ones(50)))
