"""Hundreds of random configurations, trained for five updates, agree with PyTorch (see torch_reference.py).

Dropout draws its own numbers; a mask is recovered from the outputs and then given to both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import cases
import stoop
from helpers import relative_error

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import torch_reference  # noqa: E402
from differential_draws import (  # noqa: E402
    ACTIVATIONS,
    CONFIGURATIONS,
    OPTIMIZERS,
    SCHEDULES,
    UPDATES,
    Configuration,
    make_data,
    make_model,
)

TOLERANCE = {"float32": 1e-4, "float64": 1e-9}


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda c: c.name)
def test_five_updates(configuration: Configuration) -> None:
    c = configuration
    model = make_model(c)
    network = torch_reference.Network(model)
    assert all(
        np.array_equal(value.T, network.parameters[name].detach().numpy()) for name, value in model.parameters().items()
    )
    trainer = stoop.Trainer(model, loss=c.loss, optimizer=c.optimizer, accumulate=c.accumulate, **c.arguments)
    twin = torch_reference.Trainer(network, c.loss, c.optimizer, **c.arguments)
    X, y, weights = make_data(c)
    rows = c.batch * c.accumulate  # of an update
    batches = [slice(start, min(start + rows, len(X))) for start in range(0, len(X), rows)]
    expected = [twin.step(X[b], y[b], None if weights is None else weights[b]) for b in batches]
    differences: dict[str, float] = {}
    if c.how == "step":
        for i, b in enumerate(batches):
            differences[f"loss of update {i}"] = relative_error(trainer.step(X[b], y[b]), expected[i])
    else:
        history = trainer.fit(X, y, epochs=1, batch_size=c.batch, shuffle=False, sample_weight=weights, verbose=0)
        shares = [b.stop - b.start if weights is None else weights[b].sum() for b in batches]
        differences["loss"] = relative_error(history["loss"][0], np.average(expected, weights=shares))
        differences["grad_norm"] = relative_error(history["grad_norm"][0], np.mean(twin.grad_norms))
        last_rate = torch_reference.rate_at(c.optimizer.learning_rate, len(batches) - 1)
        assert history["learning_rate"][0] == pytest.approx(last_rate, rel=1e-12)
    assert trainer.steps == len(batches)

    compared = [("", model.parameters(), network.parameters), ("", model.buffers(), network.buffers)]
    if "ema" in c.arguments:
        compared.append(("average of ", trainer.ema_parameters(), twin.average))
    for prefix, ours, theirs in compared:
        assert set(ours) == set(theirs)
        for name, value in ours.items():
            differences[prefix + name] = relative_error(value, theirs[name].detach().numpy().T)
    with torch.no_grad():
        outputs = network.forward(torch.from_numpy(X), training=False).numpy()
    differences["predict"] = relative_error(model.predict(X), outputs)
    wrong = {name: error for name, error in differences.items() if not error < TOLERANCE[c.dtype]}
    assert not wrong, f"{wrong}\n{c}"


def test_the_configurations_cover_everything() -> None:
    def types(layers: Any) -> Iterator[str]:
        for layer in layers:
            yield type(layer).__name__
            if isinstance(layer, stoop.Residual):
                yield from types(layer.layers)
            if getattr(layer, "activation", None) is not None:
                activation = layer.activation
                kind = cases.registry("activation")[activation] if isinstance(activation, str) else type(activation)
                yield kind.__name__

    seen = Counter(name for c in CONFIGURATIONS for name in set(types(c.layers)))
    for name in (
        "BatchNorm",
        "LayerNorm",
        "Residual",
        *(cases.registry("activation")[name].__name__ for name in ACTIVATIONS),
    ):
        assert seen[name] >= 30, name
    rates = Counter(type(c.optimizer.learning_rate).__name__ for c in CONFIGURATIONS)
    assert all(rates[name] >= 10 for name in SCHEDULES if name[0].isupper()), rates
    optimizers = Counter(type(c.optimizer).__name__ for c in CONFIGURATIONS)
    assert all(optimizers[name] >= 15 for name in OPTIMIZERS), optimizers
    losses = Counter((type(c.loss).__name__, c.targets) for c in CONFIGURATIONS)
    assert len(losses) == 7
    assert min(losses.values()) >= 30, losses
    arguments = Counter(name for c in CONFIGURATIONS for name in c.arguments)
    assert set(arguments) == {"l1", "l2", "clip_norm", "clip_value", "max_norm", "ema"}
    assert min(arguments.values()) >= 30, arguments
    assert sum(c.weighted for c in CONFIGURATIONS) >= 100


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_dropout_with_the_mask_recovered(rate: float, dtype: str) -> None:
    """On inputs of one the first gradient of a linear model says which inputs were kept: the mask is then PyTorch's."""
    samples, features, outputs = 1, 61, 5
    layers = [stoop.Dropout(rate), stoop.Dense(outputs)]
    model = stoop.Model(layers, input_dim=features, seed=3, dtype=dtype)
    network = torch_reference.Network(model)
    X, y = np.ones((samples, features), dtype), np.full((samples, outputs), 7.0, dtype)
    trainer = stoop.Trainer(model, loss="mse", optimizer=stoop.optimizers.SGD(0.01), seed=11)
    for _ in range(UPDATES):
        value, grads = trainer.loss_and_grad(X, y, dropout=True)
        kept = (grads["1.weight"] != 0).any(axis=1)
        assert 0 < kept.sum() < features
        x = torch.from_numpy((kept[None, :] / (1.0 - rate)).astype(dtype))
        network.layers = [stoop.Identity(), layers[1]]
        output = network.forward(x, training=True)
        loss = torch.nn.functional.mse_loss(output, torch.from_numpy(y))
        weight, bias = network.parameters["1.weight"], network.parameters["1.bias"]
        theirs = torch.autograd.grad(loss, [weight, bias])
        assert relative_error(value, loss.item()) < TOLERANCE[dtype]
        assert relative_error(grads["1.weight"], theirs[0].numpy().T) < TOLERANCE[dtype]
        with torch.no_grad():
            weight -= 0.01 * theirs[0]
            bias -= 0.01 * theirs[1]
        assert relative_error(trainer.step(X, y), loss.item()) < TOLERANCE[dtype]
        assert relative_error(model.parameters()["1.weight"], weight.detach().numpy().T) < TOLERANCE[dtype]
    assert relative_error(model(X), network.forward(torch.from_numpy(X), training=False).detach().numpy()) < 1e-4
