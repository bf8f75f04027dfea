"""Training agrees with the NumPy oracle, for every activation, loss and optimizer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import crossed
import reference_training
import stoop
from helpers import DTYPES, assert_parameters_close, make_data, relative_error
from reference_training import Network, Optimizer

FEATURES, OUTPUTS = 7, 5
L2 = 0.01
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
ACTIVATIONS = crossed.activation_layers()
LOSSES = crossed.loss_cases()
OPTIMIZERS = crossed.optimizer_cases()
CLASSES = "softmax_cross_entropy of classes"

# Each with each of the others, the third being that which every network has.
COMBINATIONS = list(
    dict.fromkeys(
        [
            *((activation, loss, "sgd momentum=0.9") for activation in ACTIVATIONS for loss in LOSSES),
            *((activation, CLASSES, optimizer) for activation in ACTIVATIONS for optimizer in OPTIMIZERS),
            *(
                ("tanh", loss, optimizer)
                for loss in LOSSES
                for optimizer in OPTIMIZERS
                if crossed.is_steady(loss, optimizer)
            ),
        ]
    )
)


def make_model(activation: Any, dtype: str, widths: tuple[int, int] = (19, 13), outputs: int = OUTPUTS) -> Any:
    """The activation once inside a Dense and once as a layer."""
    layers = [
        stoop.Dense(widths[0], activation=activation),
        stoop.Dense(widths[1]),
        activation,
        stoop.Dense(outputs),
    ]
    return stoop.Model(layers, input_dim=FEATURES, seed=3, dtype=dtype)


def make_oracle(model: Any, activation: Any, optimizer: crossed.OptimizerCase) -> tuple[Network, Optimizer]:
    network = Network(model.parameters(), [activation, activation, "identity"])
    return network, Optimizer(optimizer.name, optimizer.case.rate, **optimizer.arguments)


def data_of(loss: crossed.LossCase, samples: int, dtype: str = "float64") -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((samples, FEATURES)), loss.draw(rng, samples, loss.outputs(OUTPUTS))
    return X.astype(dtype), y if y.dtype.kind == "i" else y.astype(dtype)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_oracle_agrees_with_its_own_differences(activation: str, loss: str, rng: np.random.Generator) -> None:
    case = LOSSES[loss]
    outputs = case.outputs(OUTPUTS)
    shapes = {"0.weight": (7, 4), "0.bias": (4,), "1.weight": (4, outputs), "1.bias": (outputs,)}
    parameters = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    network = Network(parameters, [ACTIVATIONS[activation], "tanh"])
    X, y = data_of(case, 12)
    grads, numeric = network.loss_and_grad(case.loss, X, y, L2)[1], network.numeric_grad(case.loss, X, y, L2)
    for name in shapes:
        assert relative_error(grads[name], numeric[name]) < 1e-7


def keeps_digits(optimizer: str, dtype: str) -> bool:
    """Lamb's first step is g/(|g| + eps): float32 keeps few digits of a g that cancellation leaves near eps."""
    return dtype == "float64" or not optimizer.startswith("lamb") or "eps" in optimizer


@pytest.mark.parametrize(
    ("activation", "loss", "optimizer", "dtype"),
    [(*names, dtype) for names in COMBINATIONS for dtype in DTYPES if keeps_digits(names[2], dtype)],
)
class TestEveryCombination:
    def test_ten_steps(self, activation: str, loss: str, optimizer: str, dtype: str) -> None:
        batch, case, layer = 33, LOSSES[loss], ACTIVATIONS[activation]
        X, y = data_of(case, 10 * batch, dtype)
        model = make_model(layer, dtype, outputs=case.outputs(OUTPUTS))
        network, oracle = make_oracle(model, layer, OPTIMIZERS[optimizer])
        trainer = stoop.Trainer(model, loss=case.loss, optimizer=OPTIMIZERS[optimizer].make(), l2=L2)
        for start in range(0, len(X), batch):
            rows = slice(start, start + batch)
            value = trainer.step(X[rows], y[rows])
            expected = reference_training.step(network, oracle, case.loss, X[rows], y[rows], L2)
            assert relative_error(value, expected) < TOLERANCE[dtype]
        assert trainer.steps == 10
        assert_parameters_close(model.parameters(), network.parameters, TOLERANCE[dtype])

    def test_fit_with_a_partial_last_batch(self, activation: str, loss: str, optimizer: str, dtype: str) -> None:
        case, layer = LOSSES[loss], ACTIVATIONS[activation]
        X, y = data_of(case, 77, dtype)
        model = make_model(layer, dtype, outputs=case.outputs(OUTPUTS))
        network, oracle = make_oracle(model, layer, OPTIMIZERS[optimizer])
        trainer = stoop.Trainer(model, loss=case.loss, optimizer=OPTIMIZERS[optimizer].make(), l2=L2)
        history = trainer.fit(X, y, epochs=3, batch_size=32, shuffle=False, verbose=0)
        expected = reference_training.fit(network, oracle, case.loss, X, y, epochs=3, batch_size=32, l2=L2)
        assert (trainer.epoch, trainer.steps) == (3, 9)
        assert_parameters_close(model.parameters(), network.parameters, TOLERANCE[dtype])
        assert relative_error(history["loss"], [e.loss for e in expected]) < TOLERANCE[dtype]
        assert relative_error(history["grad_norm"], [e.grad_norm for e in expected]) < TOLERANCE[dtype]
        if case.kind == "classes":
            np.testing.assert_allclose(history["accuracy"], [e.accuracy for e in expected], rtol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("widths", [(130, 67), (1, 1), (64, 128)])
def test_widths_and_threads(widths: tuple[int, int], threads: int, dtype: str) -> None:
    """Sizes that fill tiles, that leave tails and that are smaller than any tile."""
    X, y = make_data("softmax_cross_entropy", 300, FEATURES, OUTPUTS, dtype)
    model = make_model(stoop.Tanh(), dtype, widths)
    momentum = OPTIMIZERS["sgd momentum=0.9"]
    network, oracle = make_oracle(model, stoop.Tanh(), momentum)
    trainer = stoop.Trainer(model, optimizer=momentum.make(), num_threads=threads)
    trainer.fit(X, y, epochs=2, batch_size=128, shuffle=False, verbose=0)
    reference_training.fit(network, oracle, "softmax_cross_entropy", X, y, epochs=2, batch_size=128)
    assert_parameters_close(model.parameters(), network.parameters, TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("provider_size", [16, 700])
def test_without_bias_and_in_one_layer(provider_size: int, dtype: str) -> None:
    """A linear regression: small, and wide enough for the other provider of products."""
    X, y = make_data("mse", 200, provider_size, 3, dtype)
    model = stoop.Model([stoop.Dense(3, use_bias=False)], input_dim=provider_size, dtype=dtype)
    assert list(model.parameters()) == ["0.weight"]
    network, oracle = Network(model.parameters(), ["identity"]), Optimizer("sgd", 0.01)
    trainer = stoop.Trainer(model, loss="mse", optimizer=stoop.optimizers.SGD(0.01), l2=L2)
    for _ in range(10):
        value = trainer.step(X, y)
        assert relative_error(value, reference_training.step(network, oracle, "mse", X, y, L2)) < TOLERANCE[dtype]
    assert_parameters_close(model.parameters(), network.parameters, TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_evaluate_and_loss_and_grad(dtype: str) -> None:
    X, y = make_data("softmax_cross_entropy", 3001, FEATURES, OUTPUTS, dtype)
    model = make_model(stoop.Sigmoid(), dtype)
    network, _ = make_oracle(model, "sigmoid", OPTIMIZERS["sgd"])
    trainer = stoop.Trainer(model, l2=L2)
    expected, expected_grads = network.loss_and_grad("softmax_cross_entropy", X, y, L2)
    value, grads = trainer.loss_and_grad(X, y)
    assert relative_error(value, expected) < TOLERANCE[dtype]
    assert_parameters_close(grads, expected_grads, TOLERANCE[dtype])
    scores = trainer.evaluate(X, y)
    assert relative_error(scores["loss"], expected) < TOLERANCE[dtype]
    assert scores["accuracy"] == pytest.approx(np.mean(network.forward(X)[0].argmax(axis=1) == y), abs=1e-12)
    assert trainer.steps == 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_softmax_cross_entropy_is_stable_for_large_logits(scale: float, dtype: str) -> None:
    logits = scale * np.array([[1.0, -1.0, 0.5], [-1.0, 0.0, 1.0], [0.25, 0.25, 0.25]])
    y = np.array([0, 0, 2])
    model = stoop.Model([stoop.Dense(3, kernel_init="zeros")], input_dim=3, dtype=dtype)
    model.parameters()["0.weight"][...] = np.eye(3)
    network = Network(model.parameters(), ["identity"])
    value, grads = stoop.Trainer(model).loss_and_grad(logits.astype(dtype), y)
    expected, expected_grads = network.loss_and_grad("softmax_cross_entropy", logits, y)
    assert relative_error(value, expected) < TOLERANCE[dtype]
    assert_parameters_close(grads, expected_grads, TOLERANCE[dtype])
