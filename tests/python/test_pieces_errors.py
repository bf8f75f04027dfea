"""What an update in pieces refuses, and that nothing has changed then."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import crossed
import stoop
from helpers import refused, relative_error, unchanged
from pieces import FEATURES, OUTPUTS, ROWS, batch, slope, trainer_of, update

FULL_BATCH = crossed.optimizer_cases(full_batch=True)


def test_wrong_order_of_calls() -> None:
    trainer = trainer_of()
    X, y = batch()
    g = np.zeros((ROWS, OUTPUTS), np.float32)
    with unchanged(trainer):
        with refused(ValueError, "Trainer.backward", "no forward"):
            trainer.backward(g)
        with refused(ValueError, "Trainer.apply", "no gradient", "backward"):
            trainer.apply()
        trainer.forward(X)
        trainer.backward(g)
        with refused(ValueError, "no forward"):
            trainer.backward(g)
        trainer.zero_grad()
        with refused(ValueError, "no gradient"):
            trainer.apply()
    trainer.forward(X)
    trainer.step(X, y)
    with refused(ValueError, "changed since forward"):
        trainer.backward(g)
    trainer.forward(X)
    trainer.fit(X, y, epochs=1, verbose=0)
    with refused(ValueError, "changed since forward"):
        trainer.backward(g)
    trainer.forward(X)
    trainer.backward(g)  # the gradient of that pass stays good
    trainer.fit(X, y, epochs=1, verbose=0)
    trainer.apply()


@pytest.mark.parametrize(
    ("shape", "pattern"),
    [((ROWS - 1, OUTPUTS), "31 x 4.+32 x 4"), ((ROWS, OUTPUTS + 1), "5"), ((ROWS,), "shape"), ((), "shape")],
)
def test_wrong_shapes(shape: tuple[int, ...], pattern: str) -> None:
    trainer = trainer_of()
    X, y = batch()
    out = trainer.forward(X)
    with refused(ValueError, "grad_output", pattern):
        trainer.backward(np.zeros(shape))
    trainer.backward(slope(out, y))  # still waits
    for wrong in (X[:, :3], X[0], np.zeros((0, FEATURES))):
        with refused(ValueError, "Trainer.forward"):
            trainer.forward(wrong)


def test_one_output_takes_a_vector() -> None:
    trainer = trainer_of(stack=[stoop.Dense(1)])
    X, _ = batch()
    trainer.forward(X)
    trainer.backward(np.ones(ROWS))
    assert relative_error(trainer.gradients()["0.bias"], [ROWS]) < 1e-6


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_gradient_of_the_outputs_that_is_not_finite(bad: float) -> None:
    trainer = trainer_of()
    X, y = batch()
    g = slope(trainer.forward(X), y)
    trainer.backward(g)
    before = {name: value.copy() for name, value in trainer.gradients().items()}
    trainer.forward(X)
    worse = g.copy()
    worse[3, 2] = bad
    with unchanged(trainer), pytest.raises(stoop.NonFiniteLossError, match="row 3, column 2") as caught:
        trainer.backward(worse)
    assert caught.value.step == 0
    assert all((value == before[name]).all() for name, value in trainer.gradients().items())
    trainer.backward(g)


@pytest.mark.parametrize("settings", [{}, {"l2": 0.1, "l1": 0.1, "clip_norm": 1.0}])
def test_a_gradient_that_is_not_finite_changes_nothing(settings: dict[str, Any]) -> None:
    trainer = trainer_of(stack=[stoop.Dense(OUTPUTS)], optimizer=stoop.optimizers.Adam(0.01), **settings)
    X, y = batch()
    update(trainer, X, y)
    state = pickle.dumps(trainer._core.state())
    g = slope(trainer.forward(X), y)
    trainer.backward(g)
    views = trainer.gradients()
    views["0.weight"][2, 1] = np.nan
    gradient = {name: value.tobytes() for name, value in views.items()}
    for _ in range(2):
        with unchanged(trainer), pytest.raises(stoop.NonFiniteLossError, match=r"Trainer.apply"):
            trainer.apply()
        assert {name: value.tobytes() for name, value in views.items()} == gradient
        assert pickle.dumps(trainer._core.state()) == state
    trainer.zero_grad()
    update(trainer, X, y)


def test_an_update_that_would_be_too_long_or_too_steep() -> None:
    for optimizer, pattern in ((stoop.optimizers.SGD(1e10), "learning rate"), (stoop.optimizers.Adam(1e-3), "square")):
        trainer = trainer_of(stack=[stoop.Dense(OUTPUTS)], optimizer=optimizer)
        X, _ = batch()
        trainer.forward(X)
        trainer.backward(np.full((ROWS, OUTPUTS), 1e30, np.float32))
        with unchanged(trainer), pytest.raises(stoop.NonFiniteLossError, match=pattern):
            trainer.apply()


def test_statistics_that_are_not_finite_change_nothing() -> None:
    trainer = trainer_of(stack=[stoop.BatchNorm(), stoop.Dense(OUTPUTS)])
    X, y = batch()
    before = {name: value.copy() for name, value in trainer.model.buffers().items()}
    with pytest.raises(stoop.NonFiniteLossError, match=r"Trainer.forward"):
        trainer.forward(X * np.float32(1e30))
    assert all((value == before[name]).all() for name, value in trainer.model.buffers().items())
    with refused(ValueError, "no forward"):
        trainer.backward(y)


@pytest.mark.parametrize("optimizer", FULL_BATCH)
def test_optimizers_of_the_full_batch_are_refused(optimizer: str) -> None:
    trainer = trainer_of(stack=[stoop.Dense(OUTPUTS)], optimizer=FULL_BATCH[optimizer].make())
    X, y = batch()
    for call in (lambda: trainer.forward(X), lambda: trainer.backward(y), trainer.apply):
        with refused(ValueError, "optimizer", "step"):
            call()


def test_while_the_model_holds_the_average() -> None:
    trainer = trainer_of(ema=0.9)
    X, y = batch()
    out = trainer.forward(X)
    trainer.swap_ema()
    for call in (lambda: trainer.forward(X), lambda: trainer.backward(out), trainer.apply):
        with refused(ValueError, "average"):
            call()
    trainer.swap_ema()
    trainer.backward(slope(out, y))
    trainer.apply()


def test_one_sample_with_a_batch_norm() -> None:
    trainer = trainer_of()
    with refused(ValueError, "BatchNorm"):
        trainer.forward(batch(1)[0])
    trainer.forward(batch(1)[0], training=False)
