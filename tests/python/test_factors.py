"""lr_scale and decay_scale of layers: factors of the learning rate, of weight decay and of the trainer's penalties."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import crossed
import reference
import stoop
from helpers import make_data, refused
from stoop.layers import layer_to_config

Arrays = dict[str, npt.NDArray[Any]]

CASES = crossed.optimizer_cases()
FEATURES, OUTPUTS, L1, L2 = 4, 3, 0.001, 0.01
X, Y = make_data("softmax_cross_entropy", 20, FEATURES, OUTPUTS, "float64")
LAYERS: dict[str, Any] = {
    "Dense": lambda **factors: stoop.Dense(5, **factors),
    "BatchNorm": stoop.BatchNorm,
    "LayerNorm": stoop.LayerNorm,
    "Residual": lambda **factors: stoop.Residual([stoop.Dense(5), stoop.LayerNorm()], **factors),
}


def mixed() -> list[Any]:
    inner = [stoop.Dense(6, "tanh", lr_scale=0.3, decay_scale=0.4), stoop.LayerNorm(lr_scale=2)]
    return [
        stoop.Residual(inner, lr_scale=0.5, decay_scale=2),
        stoop.Dense(5, "tanh", decay_scale=0),
        stoop.Dense(5, l2=0.02, lr_scale=0, decay_scale=3),
        stoop.Dense(OUTPUTS),
    ]


def halved() -> list[Any]:
    return [dataclasses.replace(layer, lr_scale=0.5 * layer.lr_scale) for layer in mixed()]


# The factors of the parameters of `mixed`.
RATES = {"0.0": 0.15, "0.1": 1.0, "0.projection": 0.5, "1": 1.0, "2": 0.0, "3": 1.0}
DECAYS = {"0.0": 0.8, "0.1": 2.0, "0.projection": 2.0, "1": 0.0, "2": 3.0, "3": 1.0}


def model_of(layers: list[Any], dtype: str = "float64") -> stoop.Model:
    return stoop.Model(layers, input_dim=FEATURES, dtype=dtype, seed=3)


def owner(parameter: str) -> str:
    return parameter.rpartition(".")[0]


def same(a: Arrays, b: Arrays) -> bool:
    return all(np.array_equal(value, b[name]) for name, value in a.items())


def expected_update(case: str, grads: Arrays, parameters: Arrays, t: int, states: dict[str, Any]) -> Arrays:
    """The formula of the optimizer with a rate and a decay for each parameter."""
    rule, out = reference.OPTIMIZERS[CASES[case].name], {}
    for name, w in parameters.items():
        own = dict(CASES[case].arguments)
        if "weight_decay" in CASES[case].case.arguments:
            decay = own.get("weight_decay", CASES[case].case.arguments["weight_decay"])
            own["weight_decay"] = decay * DECAYS[owner(name)] if name.endswith("weight") else 0.0
        out[name] = rule(w.copy(), grads[name], t, states.setdefault(name, {}), 0.02 * RATES[owner(name)], **own)
    return out


@pytest.mark.parametrize("case", CASES)
def test_the_formulas_with_a_rate_and_a_decay_for_each_layer(case: str) -> None:
    trainer = stoop.Trainer(model_of(mixed()), optimizer=CASES[case].make(0.02), l2=L2, l1=L1)
    states: dict[str, Any] = {}
    for t in range(1, 8):
        _, grads = trainer.loss_and_grad(X, Y)
        expected = expected_update(case, grads, trainer.model.parameters(), t, states)
        trainer.step(X, Y)
        for name, w in trainer.model.parameters().items():
            np.testing.assert_allclose(w, expected[name], rtol=1e-10, atol=1e-12, err_msg=name)


def test_penalties_are_in_loss_and_gradient() -> None:
    model = model_of(mixed())
    loss, grads = stoop.Trainer(model).loss_and_grad(X, Y)
    added = 0.0
    for name, w in model.parameters().items():
        decay = DECAYS[owner(name)] if name.endswith("weight") else 0.0
        l1, l2 = L1 * decay, 0.0 if owner(name) == "2" else L2 * decay  # that layer has an l2 of its own already
        added += l1 * np.abs(w).sum() + l2 / 2 * (w**2).sum()
        grads[name] = grads[name] + l1 * np.sign(w) + l2 * w
    trainer = stoop.Trainer(model, l1=L1, l2=L2)
    value, found = trainer.loss_and_grad(X, Y)
    assert value == pytest.approx(loss + added, rel=1e-12)
    assert trainer.evaluate(X, Y)["loss"] == pytest.approx(value, rel=1e-12)
    for name, grad in grads.items():
        np.testing.assert_allclose(found[name], grad, rtol=1e-12, atol=1e-14, err_msg=name)


def step_in_pieces(trainer: stoop.Trainer, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> None:
    outputs = trainer.forward(x)
    shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    grad = (shifted / shifted.sum(axis=1, keepdims=True) - np.eye(OUTPUTS)[y]) / len(x)
    trainer.backward(grad.astype("f4"))
    trainer.apply()


def train(layers: list[Any], how: str = "fit", optimizer: Any = "adamw", **settings: Any) -> Arrays:
    trainer = stoop.Trainer(model_of(layers, "float32"), optimizer=optimizer, seed=1, **settings)
    update = {"step": trainer.step, "apply": lambda x, y: step_in_pieces(trainer, x, y)}.get(how)
    for _ in range(3):
        if update is None:
            trainer.fit(X, Y, epochs=1, batch_size=5, shuffle=False, verbose=0)
            continue
        for start in range(0, len(X), 5):
            update(X[start : start + 5], Y[start : start + 5])
    return trainer.model.parameters()


@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith("rprop")])
def test_half_the_factor_is_half_the_rate_in_every_bit(case: str) -> None:
    """Rprop takes the rate at its first update alone, and then limits the steps."""
    make = CASES[case].make
    once = train(mixed(), optimizer=make(0.02), l2=L2)
    assert same(train(halved(), optimizer=make(0.04), l2=L2), once)
    assert not same(train(halved(), optimizer=make(0.02), l2=L2), once)


@pytest.mark.parametrize("settings", [{"clip_norm": 0.1}, {"clip_value": 0.01}, {"accumulate": 2}, {"max_norm": 0.5}])
def test_so_it_is_with_all_gradients_before_the_update(settings: dict[str, Any]) -> None:
    make = stoop.optimizers.AdamW
    once = train(mixed(), optimizer=make(0.02), **settings)
    assert same(train(halved(), optimizer=make(0.04), **settings), once)
    assert not same(train(mixed(), optimizer=make(0.04), **settings), once)


@pytest.mark.parametrize("how", ["step", "apply"])
def test_every_way_to_update_follows(how: str) -> None:
    one, other = train(mixed(), how, l2=L2), train(mixed(), "fit", l2=L2)
    for name, value in one.items():
        np.testing.assert_allclose(value, other[name], rtol=2e-5, atol=2e-6, err_msg=name)
    first = model_of(mixed(), "float32").parameters()
    assert [name for name in one if np.array_equal(one[name], first[name])] == ["2.weight", "2.bias"]


@pytest.mark.parametrize("optimizer", ["adamw", "lamb"])
def test_the_same_bits_for_any_number_of_threads(optimizer: str) -> None:
    wide = [stoop.Dense(200, "relu", lr_scale=0.3), stoop.LayerNorm(lr_scale=3), *mixed()]
    found = [train(wide, optimizer=optimizer, num_threads=threads, l2=L2) for threads in (1, 2, 3)]
    assert same(found[0], found[1])
    assert same(found[0], found[2])


def test_a_rate_of_zero_is_not_a_frozen_layer() -> None:
    model = model_of([stoop.Dense(5, "tanh", lr_scale=0), stoop.Dense(OUTPUTS)])
    trainer = stoop.Trainer(model, optimizer=stoop.optimizers.AdamW(0.1, weight_decay=0.5))
    before = {name: value.copy() for name, value in model.parameters().items()}
    trainer.fit(X, Y, epochs=2, batch_size=5, verbose=0)
    after = model.parameters()
    assert np.array_equal(after["0.weight"], before["0.weight"])
    assert not np.array_equal(after["1.weight"], before["1.weight"])
    assert np.abs(trainer.loss_and_grad(X, Y)[1]["0.weight"]).max() > 0
    frozen = stoop.Trainer(model_of([stoop.Dense(5, "tanh", trainable=False), stoop.Dense(OUTPUTS)]))
    assert np.abs(frozen.loss_and_grad(X, Y)[1]["0.weight"]).max() == 0


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_with_parameters_takes_them(name: str, tmp_path: Path) -> None:
    make, plain = LAYERS[name], LAYERS[name]()
    layer = make(lr_scale=0.25, decay_scale=0.5)
    assert (plain.lr_scale, plain.decay_scale) == (1.0, 1.0)
    assert layer != plain
    assert pickle.loads(pickle.dumps(layer)) == layer
    assert "lr_scale=0.25, decay_scale=0.5" in repr(layer)
    model = model_of([layer, stoop.Dense(3)])
    assert "lr_scale=0.25, decay_scale=0.5" in model.summary().splitlines()[3]
    assert "scale" not in model_of([plain, stoop.Dense(3)]).summary()
    model.save(tmp_path / "m.safetensors")
    assert layer_to_config(stoop.load_model(tmp_path / "m.safetensors").layers[0]) == layer_to_config(layer)


def test_files_have_them_where_they_are_not_one() -> None:
    [plain, changed] = [
        json.loads(model_of([stoop.Dense(2, lr_scale=rate)])._core.config())["layers"][0] for rate in (1, 0.5)
    ]
    assert "lr_scale" not in plain
    assert changed == {**plain, "lr_scale": 0.5}


@pytest.mark.parametrize("factor", ["lr_scale", "decay_scale"])
@pytest.mark.parametrize("name", LAYERS)
def test_what_is_no_factor_is_refused(name: str, factor: str) -> None:
    for number in (-1, -1e-300, np.nan, np.inf, -np.inf):
        with refused(ValueError, rf"\[{name}\] {factor} is \S+; expected a finite number, at least 0"):
            LAYERS[name](**{factor: number})
    for value in (True, None, "1", [1]):
        with refused(TypeError, rf"\[{name}\] {factor} is"):
            LAYERS[name](**{factor: value})


@pytest.mark.parametrize("factor", ["lr_scale", "decay_scale"])
@pytest.mark.parametrize("value", [1e-40, 1e39])
@pytest.mark.parametrize("name", LAYERS)
def test_factors_that_float32_does_not_hold_are_refused(name: str, value: float, factor: str) -> None:
    layers = [LAYERS[name](**{factor: value}), stoop.Dense(3)]
    with refused(ValueError, rf"layer 0 has {factor}=\S+ with float32, where it is (0|infinite)"):
        model_of(layers, "float32")
    model_of(layers)


def test_products_of_factors_that_float32_does_not_hold_are_refused() -> None:
    for value, becomes in ((1e-30, "0"), (1e30, "infinite")):
        inner = stoop.Residual([stoop.Dense(3, lr_scale=value)], lr_scale=value)
        with refused(ValueError, rf"layer 0.0 \(Dense\) has, with .*, lr_scale=\S+ .*, where it is {becomes}"):
            model_of([inner], "float32")
    small = model_of([stoop.Dense(OUTPUTS, lr_scale=1e-30, decay_scale=1e-30)], "float32")
    settings: list[tuple[str, dict[str, Any]]] = [
        (r"learning_rate \* lr_scale", {"optimizer": stoop.optimizers.SGD(1e-20)}),
        (r"weight_decay \* decay_scale", {"optimizer": stoop.optimizers.AdamW(weight_decay=1e-20)}),
        (r"l1 \* decay_scale", {"l1": 1e-20}),
        (r"l2 \* decay_scale", {"l2": 1e-20}),
    ]
    for name, given in settings:
        with refused(ValueError, rf"\[Trainer\] {name} of layer 0 \(Dense\)=\S+ with float32, where it is 0"):
            stoop.Trainer(small, **given)
    stoop.Trainer(small)


@pytest.mark.parametrize("optimizer", ["lbfgs", "newton_cg"])
def test_the_full_batch_has_one_rate_for_all(optimizer: str) -> None:
    for layer in (stoop.Dense(3, lr_scale=0.5), stoop.Residual([stoop.Dense(3)], lr_scale=0)):
        with refused(ValueError, r"\[Trainer\] lr_scale=\S+ at layer .* with the optimizer .*expected 1, since a line"):
            stoop.Trainer(model_of([layer]), optimizer=optimizer)
    stoop.Trainer(model_of([stoop.Dense(3, lr_scale=0.5, trainable=False), stoop.Dense(3)]), optimizer=optimizer)


@pytest.mark.parametrize("optimizer", ["lbfgs", "newton_cg"])
def test_the_full_batch_has_decays(optimizer: str) -> None:
    """A tenth of the penalty of the trainer is that of a weight whose own is a tenth."""
    found = []
    for layer in (stoop.Dense(OUTPUTS, decay_scale=0.1), stoop.Dense(OUTPUTS, l2=0.05, l1=0)):
        model = model_of([layer])
        stoop.Trainer(model, optimizer=optimizer, l2=0.5).fit(X, Y, epochs=25, batch_size=len(X), verbose=0)
        found.append(model.parameters()["0.weight"])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


def test_a_step_that_would_overflow_is_refused() -> None:
    model = model_of([stoop.Dense(OUTPUTS, lr_scale=1e20)], "float32")
    before = {name: value.copy() for name, value in model.parameters().items()}
    trainer = stoop.Trainer(model, optimizer=stoop.optimizers.SGD(1e18))
    with pytest.raises(stoop.NonFiniteLossError, match="learning rate times the norm of the gradient"):
        trainer.step(X * 1e3, Y)
    assert same(model.parameters(), before)


def test_a_checkpoint_goes_on_with_the_factors(tmp_path: Path) -> None:
    whole, halves = (stoop.Trainer(model_of(mixed()), optimizer="adamw", seed=1) for _ in range(2))
    whole.fit(X, Y, epochs=4, batch_size=5, verbose=0)
    halves.fit(X, Y, epochs=2, batch_size=5, verbose=0)
    halves.save_checkpoint(tmp_path / "c.stoop")
    resumed = stoop.load_checkpoint(tmp_path / "c.stoop")
    resumed.fit(X, Y, epochs=2, batch_size=5, verbose=0)
    assert same(resumed.model.parameters(), whole.model.parameters())
