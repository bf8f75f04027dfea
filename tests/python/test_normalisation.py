"""Batch and layer normalisation: their outputs, gradients and running statistics, and how they fold into a Dense."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stoop
from helpers import bits, refused, unchanged
from test_layers_training import FEATURES, OUTPUTS, STACKS, data, make_model

# ---- normalisation ----


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 60), st.integers(0, 1000), st.floats(0.1, 50), st.floats(-20, 20))
def test_batch_norm_has_zero_mean_and_unit_variance(n: int, seed: int, scale: float, shift: float) -> None:
    """Seen through momentum 0: after a step the running statistics are those of the batch."""
    rng = np.random.default_rng(seed)
    X, y = shift + scale * rng.standard_normal((n, FEATURES)), rng.standard_normal((n, FEATURES))
    model = stoop.Model(
        [stoop.BatchNorm(momentum=0.0, eps=1e-12), stoop.Dense(FEATURES, trainable=False)], FEATURES, dtype="float64"
    )
    stoop.Trainer(model, "mse", stoop.optimizers.SGD(1e-30)).step(X, y)
    np.testing.assert_allclose(model.buffers()["0.running_mean"], X.mean(axis=0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(model.buffers()["0.running_var"], X.var(axis=0), rtol=1e-8)
    outputs = (model(X) - model.parameters()["1.bias"]) @ np.linalg.inv(model.parameters()["1.weight"])
    np.testing.assert_allclose(outputs.mean(axis=0), 0, atol=1e-7)
    np.testing.assert_allclose(outputs.var(axis=0), X.var(axis=0) / (X.var(axis=0) + 1e-12), rtol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 60), st.integers(0, 1000), st.floats(0.1, 50), st.floats(-20, 20))
def test_batch_norm_in_training_has_zero_mean_and_unit_variance(n: int, seed: int, scale: float, shift: float) -> None:
    """A readout of zeros, a column for each sample: with the identity as targets its gradient is the output itself."""
    X = shift + scale * np.random.default_rng(seed).standard_normal((n, FEATURES))
    eps = 1e-3
    model = stoop.Model([stoop.BatchNorm(eps=eps), stoop.Dense(n, kernel_init="zeros")], FEATURES, dtype="float64")
    _, grads = stoop.Trainer(model, "mse").loss_and_grad(X, np.eye(n), training=True)
    outputs = -grads["1.weight"].T * n**2 / 2
    var = X.var(axis=0)
    np.testing.assert_allclose(outputs.mean(axis=0), 0, atol=1e-11)
    np.testing.assert_allclose(outputs.var(axis=0), var / (var + eps), rtol=1e-9)
    np.testing.assert_allclose(outputs, (X - X.mean(axis=0)) / np.sqrt(var + eps), rtol=1e-9, atol=1e-10)


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 60), st.integers(0, 1000))
def test_batch_norm_passes_no_shift_and_no_scale_back(n: int, seed: int) -> None:
    """The output depends on neither, so the input gradient sums to 0 over the batch, times the input as well."""
    rng = np.random.default_rng(seed)
    layers = [stoop.Dense(6, use_bias=True), stoop.BatchNorm(eps=1e-14), stoop.Tanh(), stoop.Dense(OUTPUTS)]
    model = make_model(layers, seed=seed)
    p = model.parameters()
    p["1.gamma"][...] = rng.uniform(0.5, 2.0, 6)
    X, y = rng.standard_normal((n, FEATURES)), rng.integers(0, OUTPUTS, n)
    _, grads = stoop.Trainer(model).loss_and_grad(X, y, training=True)
    size = np.linalg.norm(grads["0.weight"])
    assert size > 1e-3
    np.testing.assert_allclose(grads["0.bias"], 0, atol=1e-11 * size)
    np.testing.assert_allclose(np.sum(p["0.weight"] * grads["0.weight"], axis=0), 0, atol=1e-11 * size)


def test_batch_norm_running_statistics() -> None:
    model = stoop.Model([stoop.BatchNorm(momentum=0.8), stoop.Dense(OUTPUTS)], FEATURES, dtype="float64")
    trainer = stoop.Trainer(model)
    X, y = data(30)
    mean, var = np.zeros(FEATURES), np.ones(FEATURES)
    for start in (0, 10, 20):
        rows = X[start : start + 10]
        trainer.step(rows, y[start : start + 10])
        mean, var = 0.8 * mean + 0.2 * rows.mean(axis=0), 0.8 * var + 0.2 * rows.var(axis=0)
    np.testing.assert_allclose(model.buffers()["0.running_mean"], mean, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(model.buffers()["0.running_var"], var, rtol=1e-10)
    p = model.parameters()
    expected = (p["0.gamma"] * (X - mean) / np.sqrt(var + 1e-5) + p["0.beta"]) @ p["1.weight"] + p["1.bias"]
    np.testing.assert_allclose(model(X), expected, rtol=1e-9, atol=1e-12)


def test_loss_and_grad_modes() -> None:
    X, y = data()
    model = make_model("batch norm")
    trainer = stoop.Trainer(model)
    trainer.fit(X, y, epochs=2, batch_size=8, verbose=0)
    before, buffers = bits(model), {name: b.copy() for name, b in model.buffers().items()}
    inference = trainer.loss_and_grad(X, y, training=False)[0]
    assert inference == pytest.approx(trainer.evaluate(X, y)["loss"], rel=1e-12)
    assert trainer.loss_and_grad(X, y)[0] != pytest.approx(inference, rel=1e-6)
    assert bits(model) == before
    for name, value in model.buffers().items():
        np.testing.assert_array_equal(value, buffers[name])
    model = make_model("dropout")
    trainer = stoop.Trainer(model)
    assert trainer.loss_and_grad(X, y)[0] == pytest.approx(trainer.evaluate(X, y)["loss"], rel=1e-12)
    with_mask = trainer.loss_and_grad(X, y, dropout=True)[0]
    assert with_mask == trainer.loss_and_grad(X, y, dropout=True)[0]
    assert trainer.step(X, y) == pytest.approx(with_mask, rel=1e-12)


def test_one_sample_has_no_variance() -> None:
    X, y = data(9)
    trainer = stoop.Trainer(make_model("batch norm"))
    with unchanged(trainer), refused(ValueError, "BatchNorm", "two"):
        trainer.step(X[:1], y[:1])
    with unchanged(trainer), refused(ValueError, "BatchNorm"):
        trainer.fit(X, y, epochs=1, batch_size=1, verbose=0)
    trainer.fit(X, y, epochs=1, batch_size=4, verbose=0)  # 4 + 5
    assert trainer.steps == 2


def test_a_dense_before_batch_norm_has_no_bias() -> None:
    assert "0.bias" not in make_model("batch norm").parameters()
    assert "0.bias" in make_model("batch norm after").parameters()
    model = make_model([stoop.Dense(6, use_bias=True), stoop.BatchNorm(), stoop.Dense(OUTPUTS)])
    _, grads = stoop.Trainer(model).loss_and_grad(*data())
    np.testing.assert_allclose(grads["0.bias"], 0, atol=1e-15)


def test_layer_norm() -> None:
    model = make_model([stoop.LayerNorm(eps=1e-3), stoop.Dense(OUTPUTS)])
    rng = np.random.default_rng(0)
    for name in ("0.gamma", "0.beta"):
        model.parameters()[name][...] = rng.standard_normal(FEATURES)
    p = model.parameters()
    X = 4 + 2 * rng.standard_normal((11, FEATURES))
    centred = X - X.mean(axis=1, keepdims=True)
    normal = centred / np.sqrt(X.var(axis=1, keepdims=True) + 1e-3)
    expected = (p["0.gamma"] * normal + p["0.beta"]) @ p["1.weight"] + p["1.bias"]
    np.testing.assert_allclose(model(X), expected, rtol=1e-10, atol=1e-12)


FROZEN_FIRST: dict[str, tuple[list[Any], str, str | None]] = {  # layers, the BatchNorm, the frozen Dense before it
    "batch norm": ([stoop.BatchNorm(momentum=0.0, trainable=False), stoop.Dense(OUTPUTS)], "0", None),
    "nothing is trained": (
        [stoop.BatchNorm(momentum=0.0, trainable=False), stoop.Dense(OUTPUTS, trainable=False)],
        "0",
        None,
    ),
    "dense, batch norm": (
        [
            stoop.Dense(6, trainable=False),
            stoop.BatchNorm(momentum=0.0, trainable=False),
            stoop.ReLU(),
            stoop.Dense(OUTPUTS),
        ],
        "1",
        "0",
    ),
    "block": (
        [stoop.Residual([stoop.Dense(6), stoop.BatchNorm(momentum=0.0)], trainable=False), stoop.Dense(OUTPUTS)],
        "0.1",
        "0.0",
    ),
}


WAYS: dict[str, Callable[[stoop.Model, npt.NDArray, npt.NDArray], Any]] = {
    "step": lambda model, X, y: stoop.Trainer(model).step(X, y),
    "fit": lambda model, X, y: stoop.Trainer(model).fit(X, y, batch_size=len(X), verbose=0),
    "clip_norm": lambda model, X, y: stoop.Trainer(model, clip_norm=1.0).fit(X, y, batch_size=len(X), verbose=0),
    "LBFGS": lambda model, X, y: stoop.Trainer(model, optimizer="lbfgs").fit(X, y, batch_size=len(X), verbose=0),
    "NewtonCG": lambda model, X, y: stoop.Trainer(model, optimizer="newton_cg").step(X, y),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stack", FROZEN_FIRST)
def test_running_statistics_follow_where_nothing_before_is_trained(stack: str, way: str) -> None:
    """Momentum 0 shows the statistics. The backward pass ends above this layer, where nothing before is trained."""
    layers, norm, dense = FROZEN_FIRST[stack]
    model = make_model(layers)
    X, y = data()
    X = 20 + 3 * X
    h = X if dense is None else X @ model.parameters()[f"{dense}.weight"]
    frozen = {name: p.copy() for name, p in model.parameters().items() if name.startswith(f"{norm}.")}
    WAYS[way](model, X, y)
    np.testing.assert_allclose(model.buffers()[f"{norm}.running_mean"], h.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(model.buffers()[f"{norm}.running_var"], h.var(axis=0), rtol=1e-10)
    for name, before in frozen.items():
        assert np.array_equal(model.parameters()[name], before), name


def test_a_frozen_batch_norm_first_evaluates_as_it_trains() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    X = (20 + rng.standard_normal((400, 4)) + 2 * y[:, None]).astype(np.float32)
    model = stoop.Model([stoop.BatchNorm(trainable=False), stoop.Dense(2)], 4, seed=0)
    trainer = stoop.Trainer(model, "softmax_cross_entropy", stoop.optimizers.Adam(0.01))
    history = trainer.fit(X, y, epochs=30, verbose=0)
    assert history["accuracy"][-1] > 0.9
    assert trainer.evaluate(X, y)["accuracy"] == pytest.approx(history["accuracy"][-1], abs=0.03)


# ---- folding ----


FOLDABLE: dict[str, list[Any]] = {
    "two": [stoop.Dense(6), stoop.BatchNorm(), stoop.ReLU(), stoop.Dense(7), stoop.BatchNorm(), stoop.Dense(OUTPUTS)],
    "with bias, last": [stoop.Dense(6, use_bias=True, activation="identity"), stoop.BatchNorm(eps=0.1)],
    "one after the other": [
        stoop.Dense(6),
        stoop.BatchNorm(),
        stoop.BatchNorm(),
        stoop.Dropout(0.3),
        stoop.Dense(OUTPUTS),
    ],
    "in a block": [stoop.Dense(6), stoop.BatchNorm(), STACKS["projected"][0], stoop.Dense(OUTPUTS)],
    "after an identity": [stoop.Dense(6), stoop.Identity(), stoop.BatchNorm(), stoop.ReLU(), stoop.Dense(OUTPUTS)],
    "after two": [stoop.Dense(6), stoop.BatchNorm(), stoop.Identity(), stoop.Identity(), stoop.BatchNorm()],
    "none": [stoop.Dense(6, "relu"), stoop.Dense(OUTPUTS)],
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", FOLDABLE)
def test_fold_batch_norm(case: str, dtype: str) -> None:
    model = make_model(FOLDABLE[case], dtype)
    rng = np.random.default_rng(0)
    for name, value in {**model.parameters(), **model.buffers()}.items():
        if "weight" not in name:
            value[...] = rng.uniform(0.5, 2.0, value.shape)
    X, _ = data(100, dtype)
    before = bits(model)
    folded = model.fold_batch_norm()
    assert not folded.buffers()
    assert not [layer for layer in folded.layers if isinstance(layer, stoop.BatchNorm)]
    assert folded.dtype == model.dtype
    scale = abs(model(X)).max()
    assert abs(folded(X) - model(X)).max() <= (1e-5 if dtype == "float32" else 1e-12) * max(scale, 1.0)
    assert bits(model) == before


@pytest.mark.parametrize(
    "layers",
    [
        [stoop.BatchNorm(), stoop.Dense(3)],
        [stoop.Dense(3, activation="relu"), stoop.BatchNorm()],
        [stoop.Dense(3), stoop.Dropout(0.1), stoop.BatchNorm()],
        [stoop.Identity(), stoop.BatchNorm(), stoop.Dense(3)],
        [stoop.Dense(3, activation="relu"), stoop.Identity(), stoop.BatchNorm()],
        [stoop.Dense(3), stoop.Residual([stoop.BatchNorm(), stoop.Dense(3)])],
    ],
)
def test_batch_norm_that_cannot_be_folded(layers: list[Any]) -> None:
    with refused(ValueError, "BatchNorm", "Dense without activation"):
        make_model(layers).fold_batch_norm()
