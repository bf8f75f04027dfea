"""What is done to gradients and parameters around an update: clipping, accumulation, penalties, norms, averages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop
from helpers import refused
from test_layers_training import OUTPUTS, data, make_model


def flat(grads: dict[str, npt.NDArray]) -> npt.NDArray:
    return np.concatenate([g.ravel() for g in grads.values()])


@pytest.mark.parametrize(
    ("arguments", "change"),
    [
        ({"clip_norm": 0.01}, lambda g: g * min(1.0, 0.01 / np.linalg.norm(g))),
        ({"clip_norm": 1e6}, lambda g: g),
        ({"clip_value": 0.02}, lambda g: np.clip(g, -0.02, 0.02)),
        (
            {"clip_value": 0.02, "clip_norm": 0.03},
            lambda g: np.clip(g, -0.02, 0.02) * min(1, 0.03 / np.linalg.norm(np.clip(g, -0.02, 0.02))),
        ),
    ],
)
def test_clipping(arguments: dict[str, float], change: Callable[[npt.NDArray], npt.NDArray]) -> None:
    X, y = data()
    model = make_model([stoop.Dense(6, "tanh"), stoop.Dense(OUTPUTS)])
    trainer = stoop.Trainer(model, optimizer=stoop.optimizers.SGD(1.0), l2=0.1, l1=0.01, **arguments)
    _, grads = trainer.loss_and_grad(X, y)
    before = flat(model.parameters())
    trainer.step(X, y)
    np.testing.assert_allclose(before - flat(model.parameters()), change(flat(grads)), rtol=1e-9, atol=1e-13)


def test_accumulation_equals_the_large_batch() -> None:
    X, y = data(48)
    results = []
    for batch_size, accumulate in ((16, 1), (8, 2), (4, 4)):
        model = make_model([stoop.Dense(6, "tanh"), stoop.Dense(OUTPUTS)])
        trainer = stoop.Trainer(model, accumulate=accumulate, l2=0.1)
        trainer.fit(X, y, epochs=3, batch_size=batch_size, verbose=0)
        assert trainer.steps == 9
        results.append(flat(model.parameters()))
    np.testing.assert_allclose(results[1], results[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(results[2], results[0], rtol=1e-9, atol=1e-12)


def test_max_norm() -> None:
    X, y = data()
    model = make_model([stoop.Dense(6, "tanh"), stoop.Dense(OUTPUTS)])
    stoop.Trainer(model, optimizer=stoop.optimizers.SGD(0.5), max_norm=0.3).fit(X, y, epochs=2, verbose=0)
    for name in ("0.weight", "1.weight"):
        assert np.all(np.linalg.norm(model.parameters()[name], axis=0) <= 0.3 + 1e-12)


def test_moving_average() -> None:
    X, y = data()
    model = make_model([stoop.Dense(6, "tanh"), stoop.Dense(OUTPUTS)])
    trainer = stoop.Trainer(model, ema=0.7)
    average = flat(model.parameters())
    for _ in range(5):
        trainer.step(X, y)
        average = 0.7 * average + 0.3 * flat(model.parameters())
    np.testing.assert_allclose(flat(trainer.ema_parameters()), average, rtol=1e-12)
    live = flat(model.parameters())
    trainer.swap_ema()
    np.testing.assert_allclose(flat(model.parameters()), average, rtol=1e-12)
    with refused(ValueError, "average"):
        trainer.step(X, y)
    trainer.swap_ema()
    np.testing.assert_array_equal(flat(model.parameters()), live)
    trainer.step(X, y)
    other = stoop.Trainer(model)
    assert other.ema_parameters() == {}
    with refused(ValueError, "ema"):
        other.swap_ema()


def test_penalties_of_a_layer() -> None:
    X, y = data()
    layers = [stoop.Dense(6, "tanh", l1=0.01, l2=0.3), stoop.Dense(OUTPUTS)]
    model = make_model(layers)
    plain = stoop.Trainer(make_model([stoop.Dense(6, "tanh"), stoop.Dense(OUTPUTS)]))
    w = model.parameters()
    expected = plain.loss_and_grad(X, y)[0]
    expected += (
        0.15 * np.sum(w["0.weight"] ** 2) + 0.01 * np.sum(abs(w["0.weight"])) + 0.35 * np.sum(w["1.weight"] ** 2)
    )
    assert stoop.Trainer(model, l2=0.7).loss_and_grad(X, y)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "exception"),
    [
        ({"l1": -1.0}, ValueError),
        ({"clip_norm": 0.0}, ValueError),
        ({"clip_value": "1"}, TypeError),
        ({"max_norm": float("nan")}, ValueError),
        ({"accumulate": 0}, ValueError),
        ({"accumulate": 1.5}, TypeError),
        ({"ema": 1.0}, ValueError),
        ({"precision": 16}, TypeError),
        ({"precision": "flaot32"}, ValueError),
        ({"precision": "float64"}, ValueError),
    ],
)
def test_bad_arguments_of_a_trainer(arguments: dict[str, Any], exception: type[Exception]) -> None:
    with refused(exception, *arguments):
        stoop.Trainer(make_model("dropout", "float32"), **arguments)
    stoop.Trainer(make_model("dropout"), precision="float32")
