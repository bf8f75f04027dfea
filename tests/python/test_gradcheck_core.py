"""The gradients of every layer with every activation, loss and regulariser, at the start and after fifty updates.

No tolerance is wider than the 1e-7 of `stoop.gradcheck`. The data are drawn, so that no pre-activation, difference or
weight comes near a kink: of relu, leaky_relu and elu at 0, mae at 0, huber at delta, l1 at 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop

SAMPLES, FEATURES, UNITS, OUTPUTS = 7, 3, 4, 3
LIMIT = 1e-7

ACTIVATIONS = {
    "identity": stoop.Identity(),
    "relu": stoop.ReLU(),
    "leaky_relu": stoop.LeakyReLU(0.2),
    "elu": stoop.ELU(0.7),
    "gelu": stoop.GELU(),
    "silu": stoop.SiLU(),
    "sigmoid": stoop.Sigmoid(),
    "tanh": stoop.Tanh(),
    "softplus": stoop.Softplus(),
}

# name -> (loss, kind of targets)
LOSSES = {
    "classes": (stoop.losses.SoftmaxCrossEntropy(), "classes"),
    "smoothed": (stoop.losses.SoftmaxCrossEntropy(label_smoothing=0.2), "classes"),
    "rows": (stoop.losses.SoftmaxCrossEntropy(label_smoothing=0.1), "rows"),
    "binary": (stoop.losses.BinaryCrossEntropy(), "labels"),
    "mse": (stoop.losses.MeanSquaredError(), "values"),
    "mae": (stoop.losses.MeanAbsoluteError(), "values"),
    "huber": (stoop.losses.Huber(delta=0.7), "values"),
}

# name -> (l1 of each Dense, l2 of the trainer)
REGULARISERS = {"none": (None, 0.0), "l2": (None, 0.1), "l1": (0.02, 0.0), "l1 and l2": (0.02, 0.1)}


def dense(units: int, l1: float | None, **arguments: Any) -> Any:
    return stoop.Dense(units, l1=l1, bias_init=stoop.initializers.normal(0.5), **arguments)


# name -> the layers before the last Dense, of an activation layer and l1
PLACES: dict[str, Callable[[Any, float | None], list[Any]]] = {
    "dense": lambda f, l1: [dense(UNITS, l1, activation=f)],
    "first": lambda f, l1: [f],
    "batch norm before": lambda f, l1: [dense(UNITS, l1), stoop.BatchNorm(), f],
    "batch norm after": lambda f, l1: [dense(UNITS, l1, activation=f), stoop.BatchNorm(eps=1e-2)],
    "batch norm first": lambda f, l1: [stoop.BatchNorm(), f],
    "layer norm before": lambda f, l1: [dense(UNITS, l1), stoop.LayerNorm(), f],
    "layer norm after": lambda f, l1: [dense(UNITS, l1, activation=f), stoop.LayerNorm(eps=1e-2)],
    "dropout": lambda f, l1: [stoop.Dropout(0.2), dense(UNITS, l1, activation=f), stoop.Dropout(0.5)],
    "residual": lambda f, l1: [stoop.Residual([dense(UNITS, l1, activation=f), dense(FEATURES, l1)])],
    "residual with projection": lambda f, l1: [stoop.Residual([dense(UNITS, l1), f, dense(5, l1)])],
    "residual with norms": lambda f, l1: [
        stoop.Residual([stoop.LayerNorm(), dense(UNITS, l1), stoop.BatchNorm(), f, dense(FEATURES, l1)])
    ],
    "residual in residual": lambda f, l1: [
        stoop.Residual([stoop.Residual([dense(UNITS, l1, activation=f)]), f, dense(FEATURES, l1)])
    ],
    "frozen": lambda f, l1: [dense(UNITS, l1, activation=f, trainable=False), dense(UNITS, l1, activation=f)],
}


def make_targets(kind: str, rng: np.random.Generator) -> npt.NDArray:
    if kind == "classes":
        return rng.integers(OUTPUTS, size=SAMPLES)
    if kind == "rows":
        return rng.dirichlet(np.ones(OUTPUTS), size=SAMPLES)
    if kind == "labels":
        return rng.integers(2, size=(SAMPLES, OUTPUTS)).astype(np.float64)
    return 2.0 * rng.standard_normal((SAMPLES, OUTPUTS))


def make_model(place: str, activation: str, l1: float | None, seed: int) -> Any:
    layers = [*PLACES[place](ACTIVATIONS[activation], l1), dense(OUTPUTS, l1)]
    return stoop.Model(layers, input_dim=FEATURES, seed=seed, dtype="float64")


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("place", PLACES)
def test_at_the_start_and_after_training(place: str, activation: str, loss: str) -> None:
    rng = np.random.default_rng(7)
    function, targets = LOSSES[loss]
    X, y = rng.standard_normal((SAMPLES, FEATURES)), make_targets(targets, rng)
    for name, (l1, l2) in REGULARISERS.items():
        model = make_model(place, activation, l1, seed=1)
        at_start = stoop.gradcheck(model, function, X, y, l2=l2)
        assert at_start.relative_error < LIMIT, f"{name}, at the start\n{at_start}"
        assert at_start.passed
        trainer = stoop.Trainer(model, loss=function, optimizer=stoop.optimizers.SGD(0.01), l2=l2)
        trainer.fit(X, y, epochs=50, batch_size=SAMPLES, verbose=0)
        assert trainer.steps == 50
        trained = stoop.gradcheck(model, function, X, y, l2=l2)
        assert trained.relative_error < LIMIT, f"{name}, after 50 steps\n{trained}"


@pytest.mark.parametrize("loss", LOSSES)
def test_every_parameter_by_itself(loss: str) -> None:
    """A wrong gradient of a small parameter could hide behind the large ones."""
    rng = np.random.default_rng(8)
    function, targets = LOSSES[loss]
    X, y = rng.standard_normal((SAMPLES, FEATURES)), make_targets(targets, rng)
    for place in ("batch norm after", "layer norm after", "residual with norms", "residual with projection"):
        result = stoop.gradcheck(make_model(place, "gelu", None, seed=2), function, X, y, l2=0.05)
        for name, check in result.per_parameter.items():
            if place == "residual with norms" and name == "0.0.beta":  # a shift that the BatchNorm takes out again
                assert abs(check.worst_analytic) < 1e-15
                continue
            assert check.relative_error < 1e-6, f"{place}, {name}\n{result}"


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_differences_of_the_outside(activation: str) -> None:
    """gradcheck itself agrees with differences of `loss_and_grad`, with weights, l1 of the trainer and any mode."""
    rng = np.random.default_rng(9)
    X, y = rng.standard_normal((SAMPLES, FEATURES)), rng.standard_normal((SAMPLES, OUTPUTS))
    weights = rng.uniform(0.1, 2.0, SAMPLES)
    model = make_model("residual with norms", activation, None, seed=3)
    trainer = stoop.Trainer(model, loss="huber", optimizer=stoop.optimizers.SGD(0.01), l1=0.01, l2=0.1)
    trainer.fit(X, y, epochs=3, batch_size=SAMPLES, verbose=0)  # running statistics of their own
    for training in (True, False):
        _, grads = trainer.loss_and_grad(X, y, sample_weight=weights, training=training)
        approximations = {}
        for name, parameter in model.parameters().items():
            approximation = approximations[name] = np.empty_like(parameter)
            for index in np.ndindex(parameter.shape):
                kept = parameter[index]
                parameter[index] = kept + 1e-6
                above, _ = trainer.loss_and_grad(X, y, sample_weight=weights, training=training)
                parameter[index] = kept - 1e-6
                below, _ = trainer.loss_and_grad(X, y, sample_weight=weights, training=training)
                parameter[index] = kept
                approximation[index] = (above - below) / 2e-6
        a = np.concatenate([grads[name].ravel() for name in grads])
        b = np.concatenate([approximations[name].ravel() for name in grads])
        assert np.linalg.norm(a - b) / (np.linalg.norm(a) + np.linalg.norm(b)) < LIMIT
