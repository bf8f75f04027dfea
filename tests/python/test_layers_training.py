"""Layers that differ between training and inference, blocks, frozen layers, and the care of gradients."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cases
import crossed
import reference
import stoop
from helpers import bits, make_data, refused, unchanged

FEATURES, OUTPUTS = 5, 3

STACKS: dict[str, list[Any]] = {
    "batch norm": [stoop.Dense(6), stoop.BatchNorm(), stoop.ReLU(), stoop.Dense(OUTPUTS)],
    "batch norm after": [stoop.Dense(6, activation="tanh"), stoop.BatchNorm(), stoop.Dense(OUTPUTS)],
    "batch norm first and last": [stoop.BatchNorm(), stoop.Dense(OUTPUTS), stoop.BatchNorm()],
    "layer norm": [stoop.Dense(6), stoop.LayerNorm(), stoop.GELU(), stoop.Dense(OUTPUTS)],
    "dropout": [stoop.Dropout(0.2), stoop.Dense(6, activation="silu"), stoop.Dropout(0.5), stoop.Dense(OUTPUTS)],
    "residual": [stoop.Residual([stoop.Dense(FEATURES, activation="tanh")]), stoop.Dense(OUTPUTS)],
    "projected": [
        stoop.Residual([stoop.Dense(7), stoop.BatchNorm(), stoop.ELU(), stoop.Dense(8)]),
        stoop.Dense(OUTPUTS),
    ],
    "nested": [
        stoop.Dense(6),
        stoop.Residual(
            [stoop.LayerNorm(), stoop.Residual([stoop.Dense(6, "gelu"), stoop.Dropout(0.1)]), stoop.Dense(6)]
        ),
        stoop.Dense(OUTPUTS),
    ],
    "all activations": [
        stoop.Dense(6),
        *(layer for name, layer in crossed.activation_layers().items() if cases.ACTIVATIONS[name.split()[0]].smooth),
        stoop.Dense(OUTPUTS),
    ],
    "own penalties": [stoop.Dense(6, "tanh", l1=0.01, l2=0.3), stoop.Dense(OUTPUTS, l2=0.0)],
    "frozen": [stoop.Dense(6, "tanh", trainable=False), stoop.BatchNorm(trainable=False), stoop.Dense(OUTPUTS)],
}


def make_model(stack: str | list[Any], dtype: str = "float64", seed: int = 1) -> stoop.Model:
    return stoop.Model(STACKS[stack] if isinstance(stack, str) else stack, FEATURES, seed=seed, dtype=dtype)


def data(n: int = 24, dtype: str = "float64") -> tuple[npt.NDArray, npt.NDArray]:
    return make_data("softmax_cross_entropy", n, FEATURES, OUTPUTS, dtype, seed=3)


# ---- values and gradients ----


@pytest.mark.parametrize("case", crossed.activation_layers())
def test_activations(case: str) -> None:
    layer = crossed.activation_layers()[case]
    model = make_model([stoop.Dense(4, activation=layer)])
    X = 3 * np.random.default_rng(0).standard_normal((50, FEATURES))
    z = X @ model.parameters()["0.weight"]
    np.testing.assert_allclose(model(X), reference.activation(layer).f(z), rtol=1e-12, atol=1e-14)
    apart = make_model([stoop.Dense(4), layer])
    np.testing.assert_allclose(apart(X), model(X), rtol=1e-12)


@pytest.mark.parametrize("stack", STACKS)
def test_gradcheck(stack: str) -> None:
    """At the start and after some training."""
    model = make_model(stack)
    X, y = data()
    trainer = stoop.Trainer(model, optimizer=stoop.optimizers.SGD(0.05))
    for _ in range(2):
        before = bits(model)
        result = stoop.gradcheck(model, "softmax_cross_entropy", X, y, l2=0.05)
        assert result.passed, str(result)
        assert bits(model) == before
        trainer.fit(X, y, epochs=3, batch_size=8, verbose=0)


def test_gradcheck_skips_what_is_frozen_and_samples() -> None:
    X, y = data()
    result = stoop.gradcheck(make_model("frozen"), "softmax_cross_entropy", X, y)
    assert set(result.per_parameter) == {"2.weight", "2.bias"}
    wide = make_model([stoop.Dense(300, "tanh"), stoop.Dense(OUTPUTS)])
    sampled = stoop.gradcheck(wide, "softmax_cross_entropy", X, y, sample=10)
    assert sampled.relative_error < 1e-6
    assert sampled.verdict in ("right", "look")
    assert sampled.worst in sampled.per_parameter
    assert sampled.verdict in str(sampled)
    assert stoop.gradcheck(make_model("dropout"), "softmax_cross_entropy", X, y, eps=1.0).verdict == "wrong"
    with refused(ValueError, "sample"):
        stoop.gradcheck(wide, "softmax_cross_entropy", X, y, sample=0)


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


# ---- dropout ----


@settings(max_examples=12, deadline=None)
@given(st.floats(0.05, 0.9), st.integers(0, 2**31))
def test_dropout_keeps_the_expectation(rate: float, seed: int) -> None:
    """The gradient of a sum over ones is the mask itself, scaled."""
    n, width = 400, 500
    model = stoop.Model([stoop.Dropout(rate), stoop.Dense(1, kernel_init="ones")], width, dtype="float64")
    X = np.ones((n, width))
    trainer = stoop.Trainer(model, "mae", seed=seed)
    _, grads = trainer.loss_and_grad(X, np.full((n, 1), -1e9), dropout=True)
    deviation = np.sqrt(rate / (1 - rate) / (n * width))
    assert grads["1.weight"].mean() == pytest.approx(1.0, abs=6 * deviation)
    kept = grads["1.weight"] * n * (1 - rate)
    np.testing.assert_allclose(kept, np.round(kept), atol=1e-6)  # counts of kept samples
    np.testing.assert_allclose(trainer.loss_and_grad(X, np.full((n, 1), -1e9))[1]["1.weight"], 1.0, rtol=1e-12)
    assert model(X)[0, 0] == width  # the identity at inference


def test_dropout_depends_on_seed_and_update_alone() -> None:
    X, y = data(60, "float32")
    results = []
    for threads, seed in ((1, 0), (2, 0), (3, 0), (1, 1)):
        model = make_model("dropout", "float32")
        stoop.Trainer(model, num_threads=threads, seed=seed).fit(
            X, y, epochs=2, batch_size=16, shuffle=False, verbose=0
        )
        results.append(bits(model))
    assert results[0] == results[1] == results[2] != results[3]


# ---- residual blocks, frozen layers ----


def test_residual_values() -> None:
    model = make_model("projected")
    p = model.parameters()
    assert p["0.projection.weight"].shape == (FEATURES, 8)
    assert list(p) == [
        "0.0.weight", "0.1.gamma", "0.1.beta", "0.3.weight", "0.3.bias", "0.projection.weight", "1.weight", "1.bias",
    ]  # fmt: skip
    assert list(model.buffers()) == ["0.1.running_mean", "0.1.running_var"]
    X, _ = data()
    h = X @ p["0.0.weight"] / np.sqrt(1 + 1e-5)
    f = np.where(h > 0, h, np.expm1(np.minimum(h, 0))) @ p["0.3.weight"] + p["0.3.bias"]
    expected = (X @ p["0.projection.weight"] + f) @ p["1.weight"] + p["1.bias"]
    np.testing.assert_allclose(model(X), expected, rtol=1e-10, atol=1e-12)


def test_frozen_layers_stay() -> None:
    model = make_model("frozen")
    before = {name: value.copy() for name, value in model.parameters().items()}
    X, y = data()
    trainer = stoop.Trainer(model, optimizer=stoop.optimizers.AdamW(0.1, weight_decay=0.5), l2=0.1, max_norm=0.1)
    assert not np.any(trainer.loss_and_grad(X, y)[1]["0.weight"])
    trainer.fit(X, y, epochs=3, verbose=0)
    for name, value in model.parameters().items():
        assert np.array_equal(value, before[name]) == (not name.startswith("2.")), name


def test_a_frozen_block_keeps_all_parameters_within() -> None:
    """Projection and inner blocks included; what is outside trains, with the gradient it has anyway."""

    def make(trainable: bool) -> stoop.Model:
        inner = stoop.Residual([stoop.Dense(8, "gelu"), stoop.LayerNorm()])
        block = stoop.Residual([stoop.Dense(8), stoop.BatchNorm(), inner], trainable=trainable)
        return make_model([stoop.Dense(6, "tanh"), block, stoop.Dense(OUTPUTS)])

    X, y = data()
    model = make(trainable=False)
    trainer = stoop.Trainer(model, optimizer=stoop.optimizers.SGD(0.1), l2=0.01)
    value, grads = trainer.loss_and_grad(X, y)
    expected_value, expected = stoop.Trainer(make(trainable=True), l2=0.01).loss_and_grad(X, y)
    assert value == pytest.approx(expected_value, rel=1e-14)
    assert "1.projection.weight" in grads
    assert "1.2.1.gamma" in grads
    before, running = model.state_dict(), model.buffers()["1.1.running_mean"].copy()
    trainer.fit(X, y, epochs=2, batch_size=8, verbose=0)
    for name, now in model.parameters().items():
        frozen = name.startswith("1.")
        assert np.array_equal(now, before[name]) == frozen, name
        np.testing.assert_allclose(grads[name], 0.0 if frozen else expected[name], rtol=1e-12)
    assert not np.array_equal(running, model.buffers()["1.1.running_mean"]), "as with BatchNorm(trainable=False)"


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
    """Seen through momentum 0; with nothing asked of the gradient there, the way back does not come so far."""
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


# ---- models ----


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("stack", STACKS)
def test_state_survives(stack: str, dtype: str, tmp_path: Path) -> None:
    model = make_model(stack, dtype)
    X, y = data(24, dtype)
    stoop.Trainer(model).fit(X, y, epochs=2, batch_size=8, verbose=0)
    state = model.state_dict()
    assert set(state) == {*model.parameters(), *model.buffers()}
    model.save(tmp_path / "m.safetensors")
    loaded = stoop.load_model(tmp_path / "m.safetensors")
    other = make_model(stack, dtype, seed=9)
    other.load_state_dict(state)
    for again in (loaded, other, model.copy(), pickle.loads(pickle.dumps(model))):
        assert again(X).tobytes() == model(X).tobytes()
        assert {name: value.tobytes() for name, value in again.state_dict().items()} == {
            name: value.tobytes() for name, value in state.items()
        }
    assert len(loaded.layers) == len(model.layers)
    assert [type(layer) for layer in loaded.layers] == [type(layer) for layer in model.layers]


def test_buffers_are_live_views() -> None:
    model = make_model("batch norm after")
    X, _ = data()
    before = model(X)
    model.buffers()["1.running_mean"][...] += 1.0
    assert not np.allclose(model(X), before)


def test_summary() -> None:
    text = make_model("projected").summary()
    assert "Residual(Dense(7), BatchNorm(" in text
    products = FEATURES * 7 + 7 * 8 + FEATURES * 8 + 8 * OUTPUTS
    assert f"{2 * products:,}" in text
    assert f"{make_model('projected').num_parameters:,}" in text
    assert repr(make_model("projected")).startswith(f"Model({FEATURES}-8-{OUTPUTS}, ")


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


# ---- care of gradients ----


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


# ---- what is refused ----


@pytest.mark.parametrize(
    ("make", "exception", "pattern"),
    [
        (lambda: stoop.BatchNorm(momentum=1.1), ValueError, "momentum"),
        (lambda: stoop.BatchNorm(eps=0.0), ValueError, "eps"),
        (lambda: stoop.BatchNorm(trainable=1), TypeError, "trainable"),
        (lambda: stoop.LayerNorm(eps="small"), TypeError, "eps"),
        (lambda: stoop.Dropout(1.0), ValueError, "rate"),
        (lambda: stoop.Dropout(-0.1), ValueError, "rate"),
        (lambda: stoop.ELU(-1.0), ValueError, "alpha"),
        (lambda: stoop.Residual([]), ValueError, "empty"),
        (lambda: stoop.Residual([3]), TypeError, "layer 0"),
        (lambda: stoop.Residual([stoop.ReLU]), TypeError, r"ReLU\(\.\.\.\)"),
        (lambda: stoop.Residual(3), TypeError, "layers"),
        (lambda: stoop.Dense(3, l1=-1.0), ValueError, "l1"),
        (lambda: stoop.Dense(3, trainable="no"), TypeError, "trainable"),
        (lambda: stoop.Dense(3, activation="gellu"), ValueError, '"gelu"'),
        (lambda: make_model([stoop.BatchNorm()]), ValueError, "Dense"),
    ],
)
def test_bad_layers(make: Callable[[], Any], exception: type[Exception], pattern: str) -> None:
    with refused(exception, pattern):
        make()


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
