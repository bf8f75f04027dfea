"""The parts of `stoop.diagnose`: recipe, history, units, gradients, learning curve over samples, bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import stoop
from helpers import bits, refused, relative_error
from stoop import Dense
from stoop.diagnose._statistics import Level, surely_above, wilson

# ---- recipe ----

RECIPES: dict[str, tuple[dict[str, float], list[str]]] = {
    # Ng 2018, chapters 20 to 22: examples of cats
    "variance": ({"train_error": 0.01, "dev_error": 0.11}, ["high variance"]),
    "bias": ({"train_error": 0.15, "dev_error": 0.16}, ["high bias"]),
    "both": ({"train_error": 0.15, "dev_error": 0.30}, ["high bias", "high variance"]),
    "neither": ({"train_error": 0.005, "dev_error": 0.01}, []),
    "optimal error of 14 %": ({"train_error": 0.15, "dev_error": 0.30, "target_error": 0.14}, ["high variance"]),
    # the course: the same errors, with people at 1 % and at 7.5 %
    "people at 1 %": ({"train_error": 0.08, "dev_error": 0.10, "target_error": 0.01}, ["high bias", "high variance"]),
    "people at 7.5 %": ({"train_error": 0.08, "dev_error": 0.10, "target_error": 0.075}, ["high variance"]),
    # Ng 2018, chapters 40 and 41
    "mismatch": ({"train_error": 0.01, "train_dev_error": 0.015, "dev_error": 0.10}, ["data mismatch"]),
    "variance, not mismatch": ({"train_error": 0.01, "train_dev_error": 0.09, "dev_error": 0.10}, ["high variance"]),
    "bias and mismatch": (
        {"train_error": 0.10, "train_dev_error": 0.11, "dev_error": 0.20},
        ["high bias", "data mismatch"],
    ),
    "dev": ({"train_error": 0.01, "dev_error": 0.02, "test_error": 0.10}, ["overfitting to the dev set"]),
    "tiny": ({"train_error": 0.0005, "dev_error": 0.002}, []),
    "large": ({"train_error": 0.40, "dev_error": 0.43, "target_error": 0.39}, []),
    "perfect": ({"train_error": 0.0, "dev_error": 0.0}, []),
}


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_of_the_course(name: str) -> None:
    errors, problems = RECIPES[name]
    found = stoop.diagnose.recipe(**errors)
    assert found.problems == problems
    assert len(found.advice) == len(problems)
    sizes = [found.gaps()[fault] for fault in found.problems]
    assert sizes == sorted(sizes, reverse=True)
    assert all(fault in str(found) for fault in problems)


def test_gaps_of_a_recipe() -> None:
    found = stoop.diagnose.recipe(
        target_error=0.01, train_error=0.03, train_dev_error=0.06, dev_error=0.1, test_error=0.15
    )
    assert np.allclose(
        [found.avoidable_bias, found.variance, found.mismatch, found.dev_overfitting], [0.02, 0.03, 0.04, 0.05]
    )
    assert found.problems == ["overfitting to the dev set", "data mismatch", "high variance", "high bias"]


def test_noise_is_no_problem() -> None:
    errors = {"train_error": 0.01, "dev_error": 0.06}
    assert stoop.diagnose.recipe(**errors).problems == ["high variance"]
    assert stoop.diagnose.recipe(**errors, samples={"train": 500, "dev": 50}).problems == []
    assert stoop.diagnose.recipe(**errors, samples={"train": 5000, "dev": 5000}).problems == ["high variance"]


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        ({"train_error": -0.1, "dev_error": 0.1}, "train_error"),
        ({"train_error": np.nan, "dev_error": 0.1}, "train_error"),
        ({"train_error": "a", "dev_error": 0.1}, "train_error"),
        ({"train_error": 0.1, "dev_error": 0.1, "samples": {"de": 3}}, 'did you mean "dev"|dev'),
        ({"train_error": 0.1, "dev_error": 1.5, "samples": {"dev": 3}}, "share"),
        ({"train_error": 0.1, "dev_error": 0.1, "tolerance": -1.0}, "tolerance"),
    ],
)
def test_what_no_recipe_takes(arguments: dict[str, Any], pattern: str) -> None:
    with refused((ValueError, TypeError), "diagnose.recipe", pattern):
        stoop.diagnose.recipe(**arguments)


def test_limits_hold_as_often_as_they_say(rng: np.random.Generator) -> None:
    """Wilson's limits, and Newcombe's of a difference, against draws of which the truth is known."""
    missed, above = 0, 0
    for _ in range(2000):
        a, b = rng.binomial(200, 0.05) / 200, rng.binomial(300, 0.12) / 300
        low, high = wilson(a, 200)
        missed += not low <= 0.05 <= high
        above += surely_above(Level.share(a, 200), Level.share(b, 300)) > 0.07
    assert missed / 2000 < 0.07
    assert above / 2000 < 0.07
    assert wilson(0.0, 0) == (0.0, 1.0)


# ---- history ----

FALLS = [float(2.0 * np.exp(-0.3 * epoch) + 0.1) for epoch in range(30)]
SHAPES: dict[str, tuple[dict[str, list[float]], str, str]] = {
    "converged": ({"loss": FALLS}, "converged", ""),
    "falling": ({"loss": [1.0 - 0.01 * epoch for epoch in range(20)]}, "still falling", ""),
    "hardly falling": (
        {"loss": [0.693 - 1e-5 * epoch for epoch in range(20)]},
        "still falling",
        "learning rate too low",
    ),
    "diverging": ({"loss": [1.0, 2.0, 4.0, 8.0]}, "diverging", "learning rate too high"),
    "not finite": ({"loss": [1.0, float("nan")]}, "diverging", "learning rate too high"),
    "bouncing": ({"loss": [2.0, 1.0, 1.9, 0.8, 2.2, 0.9, 1.8, 1.0]}, "oscillating", "learning rate too high"),
    "plateau": ({"loss": [0.70, 0.694, 0.6935, 0.6934, 0.6934, 0.6935, 0.6934, 0.6934]}, "plateau", ""),
    "short": ({"loss": [1.0, 0.5]}, "too short", ""),
    "overfitting": (
        {"loss": FALLS, "val_loss": [*FALLS[:10], *(FALLS[9] + 0.02 * epoch for epoch in range(20))]},
        "converged",
        "high variance",
    ),
    "underfitting": ({"loss": FALLS, "accuracy": [0.6] * 30}, "converged", "high bias"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_what_curves_say(name: str) -> None:
    columns, shape, fault = SHAPES[name]
    found = stoop.diagnose.history(columns)
    assert found.shape == shape
    assert [one.fault for one in found.findings] == ([fault] if fault else [])
    assert str(found)


def test_where_overfitting_begins() -> None:
    found = stoop.diagnose.history(SHAPES["overfitting"][0])
    assert found.overfitting == 10
    assert "epoch 10" in str(found)


def test_a_history_that_ended_at_once() -> None:
    history = stoop.History(("loss",))
    with refused(ValueError, "empty"):
        stoop.diagnose.history(history)
    history.stop_reason = "error"
    assert stoop.diagnose.history(history).shape == "diverging"


# ---- units ----


def counts(model: stoop.Model, X: Any) -> list[tuple[int, int, int]]:
    return [(layer.dead, layer.saturated, layer.symmetric) for layer in stoop.diagnose.units(model, X).layers]


def test_units_are_counted(rng: np.random.Generator) -> None:
    X = rng.standard_normal((300, 4)).astype(np.float32)
    model = stoop.Model([Dense(8, activation="relu"), Dense(6, activation="tanh"), Dense(5, "sigmoid"), Dense(2)], 4)
    assert counts(model, X) == [(0, 0, 0)] * 3
    p = model.parameters()
    p["0.bias"][:3] = -100.0
    p["1.weight"][:, 1:3] = p["1.weight"][:, :1]
    p["1.bias"][1:3] = p["1.bias"][0]
    p["2.bias"][4] = 30.0
    assert counts(model, X) == [(3, 0, 0), (0, 0, 3), (0, 1, 0)]


DEAD_BIAS = {
    "relu": -50.0,
    "gelu": -50.0,
    "silu": -100.0,
    "elu": -50.0,
    "selu": -50.0,
    "softplus": -50.0,
    "relu6": -50.0,
}
DEAD_BIAS |= {"mish": -100.0, "hard_swish": -50.0, "leaky_relu": 0.0}


@pytest.mark.parametrize("activation", DEAD_BIAS)
def test_dead_units_of_every_activation(activation: str, rng: np.random.Generator) -> None:
    X = rng.standard_normal((200, 3))
    model = stoop.Model([Dense(10, activation=activation), Dense(1)], 3, dtype="float64")
    assert counts(model, X) == [(0, 0, 0)]
    if activation == "leaky_relu":  # it never ends
        model.parameters()["0.bias"][...] = -50.0
        assert counts(model, X) == [(0, 0, 0)]
    else:
        model.parameters()["0.bias"][:4] = DEAD_BIAS[activation]
        assert counts(model, X) == [(4, 0, 0)]


def test_units_within_blocks_and_after_normalisation(rng: np.random.Generator) -> None:
    X = rng.standard_normal((100, 3)).astype(np.float32)
    block = stoop.Residual([stoop.LayerNorm(), Dense(7, activation="relu"), Dense(5)])
    model = stoop.Model([Dense(5), stoop.BatchNorm(), stoop.ReLU(), block, Dense(2)], 3, input_scale=2.0)
    model.parameters()["3.1.bias"][:2] = -100.0
    found = stoop.diagnose.units(model, X)
    assert [(layer.name, layer.activation, layer.units, layer.dead) for layer in found.layers] == [
        ("0", "relu", 5, 0),
        ("3.1", "relu", 7, 2),
        ("3.2", "identity", 5, 0),
    ]
    assert "3.1" in str(found)


def test_a_block_may_begin_with_zeros(rng: np.random.Generator) -> None:
    block = stoop.Residual([Dense(7, activation="relu"), Dense(5, kernel_init="zeros")])
    model = stoop.Model([Dense(5), block, Dense(2)], 3)
    assert counts(model, rng.standard_normal((50, 3))) == [(0, 0, 0)] * 3


def test_a_walk_ends_with_what_the_model_predicts(rng: np.random.Generator) -> None:
    from stoop.diagnose._layers import walk

    X = rng.standard_normal((20, 4))
    layers = [
        Dense(6, "gelu"),
        stoop.BatchNorm(),
        stoop.Dropout(0.5),
        stoop.Residual([Dense(5, "tanh")]),
        Dense(3, "elu"),
    ]
    model = stoop.Model(layers, 4, dtype="float64", input_scale=0.5, input_shift=1.0)
    model.buffers()["1.running_mean"][...] = 0.3
    assert relative_error(list(walk(model, X))[-1].outputs, model.predict(X)) < 1e-14


# ---- gradients ----


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "mse", "binary_cross_entropy", "huber", "gaussian_nll"])
def test_signals_are_gradients_with_respect_to_the_outputs_of_layers(loss: str, rng: np.random.Generator) -> None:
    """Against the input gradient of finite differences of the losses of single samples."""
    X = rng.standard_normal((5, 3))
    outputs = 2
    columns = 1 if loss == "gaussian_nll" else outputs
    y: Any = rng.integers(2, size=5) if loss == "softmax_cross_entropy" else rng.random((5, columns))
    if loss == "binary_cross_entropy":
        y = (y > 0.5).astype(float)
    model = stoop.Model([Dense(4, "tanh"), Dense(4, "sigmoid"), Dense(outputs)], 3, dtype="float64")
    trainer = stoop.Trainer(model, loss=loss)
    found = stoop.diagnose.gradients(trainer, X, y)
    bias = model.parameters()["1.bias"]
    wanted = np.zeros((5, 4))
    for unit in range(4):
        ends = []
        for step in (1e-6, -1e-6):
            bias[unit] += step
            ends.append(trainer.losses(X, y))
            bias[unit] -= step
        wanted[:, unit] = (ends[0] - ends[1]) / 2e-6
    assert found.layers[1].signal == pytest.approx(np.sqrt((wanted**2).sum(axis=1).mean()), rel=1e-5)


def test_update_ratios_are_those_of_the_next_step_and_nothing_changes(rng: np.random.Generator) -> None:
    X, y = rng.standard_normal((64, 5)).astype(np.float32), rng.integers(3, size=64)
    layers = [Dense(8), stoop.BatchNorm(), stoop.ReLU(), Dense(3)]
    trainer = stoop.Trainer(stoop.Model(layers, 5), optimizer=stoop.optimizers.Adam(1e-2))
    trainer.fit(X, y, epochs=2, batch_size=16, verbose=0)
    before = {name: array.copy() for name, array in trainer.model.parameters().items()}
    state, steps = {k: v.copy() for k, v in trainer.model.buffers().items()}, trainer.steps
    found = stoop.diagnose.gradients(trainer, X, y)
    assert trainer.steps == steps
    assert all(np.array_equal(before[name], array) for name, array in trainer.model.parameters().items())
    assert all(np.array_equal(state[name], array) for name, array in trainer.model.buffers().items())
    trainer.step(X, y)
    for layer in found.layers:
        weight = trainer.model.parameters()[f"{layer.name}.weight"]
        old = before[f"{layer.name}.weight"]
        assert layer.update_ratio == pytest.approx(np.linalg.norm(weight - old) / np.linalg.norm(old), rel=1e-4)
        assert layer.weight_norm == pytest.approx(np.linalg.norm(old), rel=1e-6)
    assert "update/weight" in str(found)


def test_gradients_of_optimizers_of_the_full_batch(rng: np.random.Generator) -> None:
    X, y = rng.standard_normal((30, 3)), rng.standard_normal((30, 1))
    model = stoop.Model([Dense(4, "tanh"), Dense(1)], 3, dtype="float64")
    found = stoop.diagnose.gradients(stoop.Trainer(model, loss="mse", optimizer="lbfgs"), X, y)
    assert found.layers[0].update_ratio is None
    assert found.ratio is None  # of one hidden layer


def test_vanishing_and_exploding_ratios(rng: np.random.Generator) -> None:
    X, y = rng.standard_normal((100, 8)).astype(np.float32), rng.integers(3, size=100)

    def ratio(activation: str, **dense: Any) -> float:
        model = stoop.Model([*(Dense(32, activation, **dense) for _ in range(8)), Dense(3)], 8)
        found = stoop.diagnose.gradients(stoop.Trainer(model), X, y).ratio
        assert found is not None
        return found

    assert ratio("sigmoid") < 1e-3
    assert ratio("relu", kernel_init=stoop.initializers.normal(1.0)) > 1e3
    assert 0.03 < ratio("relu") < 30.0
    assert 0.03 < ratio("tanh") < 30.0


# ---- the learning curve over samples ----


def test_learning_curve_over_samples(rng: np.random.Generator) -> None:
    X = rng.standard_normal((1000, 10)).astype(np.float32)
    y = (X[:, 0] + X[:, 1] > 0).astype(int)

    def build(i: int) -> stoop.Trainer:
        model = stoop.Model([Dense(16, activation="relu"), Dense(2)], 10, seed=i)
        return stoop.Trainer(model, optimizer=stoop.optimizers.Adam(1e-2), seed=i)

    curve = stoop.diagnose.learning_curve(build, X, y, (40, 0.2, 1.0), repeats=2, epochs=20, batch_size=16)
    assert curve.sizes == [40, 150, 750]
    assert curve.train_errors.shape == curve.dev_errors.shape == (3, 2)
    dev = curve.dev_errors.mean(axis=1)
    assert dev[0] > dev[1] > dev[2]
    assert curve.twice is not None
    assert curve.twice < dev[2] * 1.2
    assert "750 samples" in str(curve)
    again = stoop.diagnose.learning_curve(
        build, X, y, (40, 0.2, 1.0), repeats=2, epochs=20, batch_size=16, num_threads=1
    )
    assert np.array_equal(curve.dev_errors, again.dev_errors)


@pytest.mark.parametrize("sizes", [(), (0,), (2000,), (1.5,), (0.0,)])
def test_sizes_that_are_none(sizes: tuple[float, ...]) -> None:
    X = np.ones((100, 2), np.float32)
    with refused(ValueError, "diagnose.learning_curve", "sizes"):
        stoop.diagnose.learning_curve(
            lambda i: stoop.Trainer(stoop.Model([Dense(2)], 2)), X, np.arange(100) % 2, sizes, epochs=1
        )


# ---- all of them ----


def test_the_check_changes_nothing(rng: np.random.Generator) -> None:
    X, y = rng.standard_normal((200, 5)).astype(np.float32), rng.integers(3, size=200)
    layers = [Dense(8), stoop.BatchNorm(), stoop.ReLU(), stoop.Dropout(0.2), Dense(3)]
    trainer = stoop.Trainer(stoop.Model(layers, 5), ema=0.9)
    trainer.fit(X, y, epochs=3, batch_size=32, verbose=0)
    twin = stoop.Trainer(stoop.Model(layers, 5), ema=0.9)
    twin.fit(X, y, epochs=3, batch_size=32, verbose=0)
    stoop.diagnose.check(trainer, X, y, X, y)
    for one in (trainer, twin):
        one.fit(X, y, epochs=2, batch_size=32, verbose=0)
    assert bits(trainer.model) == bits(twin.model)


def test_what_is_no_trainer_or_model() -> None:
    X, y = np.ones((4, 2)), np.arange(4) % 2
    trainer = stoop.Trainer(stoop.Model([Dense(2)], 2))
    for call in (
        lambda: stoop.diagnose.check(trainer.model, X, y, X, y),  # type: ignore[arg-type]
        lambda: stoop.diagnose.gradients(trainer.model, X, y),  # type: ignore[arg-type]
        lambda: stoop.diagnose.units(trainer, X),  # type: ignore[arg-type]
        lambda: stoop.diagnose.errors(X, X, y),  # type: ignore[arg-type]
    ):
        with refused(TypeError, "diagnose", "expected a stoop"):
            call()
    with refused(ValueError, "X_test without y_test"):
        stoop.diagnose.check(trainer, X, y, X, y, X_test=X)
    with refused(ValueError, "columns|features|shape"):
        stoop.diagnose.check(trainer, X, y, np.ones((4, 3)), y)
