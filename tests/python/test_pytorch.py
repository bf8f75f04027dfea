"""Ten steps of training agree with PyTorch. Its weights are (out_features, in_features), ours the transpose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import stoop
from helpers import ACTIVATION_LAYERS, DTYPES, LOSSES, make_data, make_optimizer, relative_error

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import torch_reference  # noqa: E402

torch.set_num_threads(1)  # these models are tiny

FEATURES, HIDDEN, OUTPUTS, BATCH = 9, 21, 4, 40
L2 = 0.01
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}

MODULES = {
    "identity": torch.nn.Identity,
    "relu": torch.nn.ReLU,
    "leaky_relu": torch.nn.LeakyReLU,
    "tanh": torch.nn.Tanh,
    "sigmoid": torch.nn.Sigmoid,
}
LOSS_FUNCTIONS = {"softmax_cross_entropy": torch.nn.functional.cross_entropy, "mse": torch.nn.functional.mse_loss}
# Without dampening: PyTorch leaves it out of the very first step.
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.002),
    "adam_other": lambda p: torch.optim.Adam(p, lr=0.002, betas=(0.8, 0.99), eps=1e-3),
}


def make_twin(model: Any, activation: str, dtype: str) -> Any:
    linears = [torch.nn.Linear(FEATURES, HIDDEN), torch.nn.Linear(HIDDEN, OUTPUTS)]
    twin = torch.nn.Sequential(linears[0], MODULES[activation](), linears[1]).to(getattr(torch, dtype))
    with torch.no_grad():
        for i, linear in enumerate(linears):
            linear.weight.copy_(torch.tensor(model.parameters()[f"{i}.weight"].T.copy()))
            linear.bias.copy_(torch.tensor(model.parameters()[f"{i}.bias"]))
    return twin


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATION_LAYERS)
def test_ten_steps(activation: str, loss: str, optimizer: str, dtype: str) -> None:
    layers = [stoop.Dense(HIDDEN, activation=activation), stoop.Dense(OUTPUTS)]
    model = stoop.Model(layers, input_dim=FEATURES, seed=5, dtype=dtype)
    twin = make_twin(model, activation, dtype)
    trainer = stoop.Trainer(model, loss=loss, optimizer=make_optimizer(optimizer), l2=L2)
    twin_optimizer = OPTIMIZERS[optimizer](twin.parameters())

    X, y = make_data(loss, 10 * BATCH, FEATURES, OUTPUTS, dtype)
    for start in range(0, len(X), BATCH):
        rows = slice(start, start + BATCH)
        value = trainer.step(X[rows], y[rows])
        twin_optimizer.zero_grad()
        objective = LOSS_FUNCTIONS[loss](twin(torch.from_numpy(X[rows])), torch.from_numpy(y[rows]))
        objective = objective + L2 / 2 * sum((twin[i].weight ** 2).sum() for i in (0, 2))
        objective.backward()
        twin_optimizer.step()
        assert relative_error(value, objective.item()) < TOLERANCE[dtype]

    for i, linear in enumerate((twin[0], twin[2])):
        weight, bias = linear.weight.detach().numpy().T, linear.bias.detach().numpy()
        assert relative_error(model.parameters()[f"{i}.weight"], weight) < TOLERANCE[dtype]
        assert relative_error(model.parameters()[f"{i}.bias"], bias) < TOLERANCE[dtype]


BATCH_NORMS = {
    "first": [stoop.BatchNorm(), stoop.Dense(33), stoop.Dense(OUTPUTS)],
    "twice": [stoop.Dense(17), stoop.BatchNorm(), stoop.BatchNorm(), stoop.Dense(OUTPUTS)],
    "around an activation": [stoop.Dense(50, activation="tanh"), stoop.BatchNorm(), stoop.GELU(), stoop.Dense(OUTPUTS)],
    "in a residual block": [
        stoop.Dense(20),
        stoop.Residual([stoop.BatchNorm(), stoop.ReLU(), stoop.Dense(20), stoop.BatchNorm()]),
        stoop.BatchNorm(),
        stoop.LeakyReLU(0.1),
        stoop.Dense(OUTPUTS),
    ],
    "between large weights": [
        stoop.Dense(300),
        stoop.BatchNorm(),
        stoop.ReLU(),
        stoop.Dense(300, activation="tanh"),
        stoop.BatchNorm(),
        stoop.Dense(OUTPUTS),
    ],
}


@pytest.mark.parametrize("batch", [9, 128, 129, 300, 1025])  # around where groups of rows change in size
@pytest.mark.parametrize("place", BATCH_NORMS)
def test_batch_norm(place: str, batch: int) -> None:
    model = stoop.Model(BATCH_NORMS[place], input_dim=FEATURES, seed=5, dtype="float64")
    network = torch_reference.Network(model)
    loss, optimizer = stoop.losses.SoftmaxCrossEntropy(), stoop.optimizers.SGD(0.02, momentum=0.9)
    twin = torch_reference.Trainer(network, loss, optimizer, l2=L2)
    X, y = make_data("softmax_cross_entropy", 3 * batch, FEATURES, OUTPUTS, "float64")
    X += 100.0  # of which the statistics must lose nothing
    expected = [twin.step(X[i : i + batch], y[i : i + batch]) for i in range(0, len(X), batch)]
    trainer = stoop.Trainer(model, loss=loss, optimizer=optimizer, l2=L2)
    history = trainer.fit(X, y, epochs=1, batch_size=batch, shuffle=False, verbose=0)
    assert relative_error(history["loss"][0], np.mean(expected)) < 1e-9
    for name, value in model.parameters().items():
        want = network.parameters[name].detach().numpy()
        # Not relative: the shift of a batch norm before another has no gradient but rounding.
        np.testing.assert_allclose(value, want.T if value.ndim == 2 else want, rtol=0, atol=1e-10, err_msg=name)
    outputs = network.forward(torch.from_numpy(X), training=False).detach().numpy()
    assert relative_error(model.predict(X), outputs) < 1e-9


def test_tensors_are_accepted() -> None:
    model = stoop.Model([stoop.Dense(3)], input_dim=4)
    X = torch.linspace(-1, 1, 20).reshape(5, 4)
    np.testing.assert_array_equal(model(X), model(X.numpy()))
    assert stoop.Trainer(model).step(X, torch.tensor([0, 1, 2, 0, 1])) > 0
