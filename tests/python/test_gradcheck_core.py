"""The gradients of every layer with every activation, loss and regulariser, at the start and after fifty updates.

No tolerance is wider than the 1e-7 of `stoop.gradcheck`. Differences say nothing where a pre-activation, a difference
or a weight comes near a kink (of relu, mae or l1 at 0, of huber at delta); the test shows that it is one, and draws
anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import crossed
import stoop

SAMPLES, FEATURES, UNITS, OUTPUTS = 7, 3, 4, 3
LIMIT = 1e-7

ACTIVATIONS = crossed.activation_layers()
LOSSES = crossed.loss_cases()
# Every activation with one of each loss, and every loss with two of the activations.
PAIRS = [(activation, loss) for activation in ACTIVATIONS for loss in crossed.first_of_each(LOSSES)]
PAIRS += [(activation, loss) for activation in ("gelu", "leaky_relu negative_slope=0.2") for loss in LOSSES]
PAIRS = list(dict.fromkeys(PAIRS))

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


def make_model(place: str, activation: str, l1: float | None, seed: int, outputs: int = OUTPUTS) -> Any:
    layers = [*PLACES[place](ACTIVATIONS[activation], l1), dense(outputs, l1)]
    return stoop.Model(layers, input_dim=FEATURES, seed=seed, dtype="float64")


def make_data(case: crossed.LossCase, rng: np.random.Generator) -> tuple[npt.NDArray, npt.NDArray, int]:
    """X, y and the number of outputs."""
    outputs = case.outputs(OUTPUTS)
    return rng.standard_normal((SAMPLES, FEATURES)), case.draw(rng, SAMPLES, outputs), outputs


def is_right(trainer: Any, X: npt.NDArray, y: npt.NDArray, what: str) -> bool:
    """Whether differences confirm the gradient. Where they cannot, it is the derivative on one side of a kink."""
    result = stoop.gradcheck(trainer.model, trainer.loss, X, y, l2=trainer.l2)
    if result.relative_error < LIMIT:
        assert result.passed
        return True
    found = result.per_parameter[result.worst]
    parameter, eps = trainer.model.parameters()[result.worst], 1e-6
    kept, here = parameter[found.worst_index], trainer.loss_and_grad(X, y)[0]
    sides = []
    for sign in (1.0, -1.0):
        parameter[found.worst_index] = kept + sign * eps
        sides.append(sign * (trainer.loss_and_grad(X, y)[0] - here) / eps)
    parameter[found.worst_index] = kept
    size = max(map(abs, sides))
    assert abs(sides[0] - sides[1]) > 1e-3 * size, f"{what}: no kink\n{result}"
    assert min(abs(found.worst_analytic - side) for side in sides) < 1e-4 * size, f"{what}: neither side\n{result}"
    return False


@pytest.mark.parametrize(("activation", "loss"), PAIRS)
@pytest.mark.parametrize("place", PLACES)
def test_at_the_start_and_after_training(place: str, activation: str, loss: str) -> None:
    """From the first seed that leads past no kink."""
    X, y, outputs = make_data(LOSSES[loss], np.random.default_rng(7))
    for name, (l1, l2) in REGULARISERS.items():

        def holds(seed: int, name: str = name, l1: float | None = l1, l2: float = l2) -> bool:
            model = make_model(place, activation, l1, seed=seed, outputs=outputs)
            clip_norm = LOSSES[loss].case.clip_norm
            trainer = stoop.Trainer(model, LOSSES[loss].loss, stoop.optimizers.SGD(0.01), l2=l2, clip_norm=clip_norm)
            if not is_right(trainer, X, y, f"{name}, at the start"):
                return False
            trainer.fit(X, y, epochs=50, batch_size=SAMPLES, verbose=0)
            assert trainer.steps == 50
            return is_right(trainer, X, y, f"{name}, after 50 steps")

        assert any(holds(seed) for seed in (1, 2, 3)), f"{name}: a kink at each of these"


@pytest.mark.parametrize("loss", LOSSES)
def test_every_parameter_by_itself(loss: str) -> None:
    """A wrong gradient of a small parameter could hide behind the large ones."""
    function = LOSSES[loss].loss
    X, y, outputs = make_data(LOSSES[loss], np.random.default_rng(8))
    for place in ("batch norm after", "layer norm after", "residual with norms", "residual with projection"):
        result = stoop.gradcheck(make_model(place, "gelu", None, seed=2, outputs=outputs), function, X, y, l2=0.05)
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
