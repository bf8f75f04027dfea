"""Activations, dropout, blocks and frozen layers in training, and what models of them keep."""

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
from helpers import bits, make_data, refused

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
    "members": [
        stoop.FeatureScale(),
        stoop.Members(3, bias=True),
        stoop.Dense(6),
        stoop.BatchNorm(),
        stoop.MemberDense(7, "silu", shared=True),
        stoop.MemberDense(OUTPUTS),
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
    other.output = model.output  # no part of the state, but members combine what they say by it
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
