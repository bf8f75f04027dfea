"""`stoop.diagnose` of models with members: each member's values and loss, against plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import stoop
from helpers import bits
from stoop import Columns, Dense, Dropout, MemberDense, Members, Model, Trainer
from stoop.diagnose._members import plain_models

SHAPES: dict[str, list[Any]] = {
    "mini": [Members(3), Dense(8, activation="tanh"), Dropout(0.1), Dense(7, activation="relu"), MemberDense(2)],
    "columns": [Columns(bins=5), Members(3, bias=True), Dense(8, activation="relu"), MemberDense(2)],
    "late": [
        Dense(7, activation="relu"), Members(3), stoop.Residual([Dense(7), stoop.ReLU(), Dense(7)]),
        stoop.BatchNorm(), Dense(6), stoop.ReLU(), MemberDense(2),
    ],
    "full": [MemberDense(8, activation="relu", shared=True, members=3), MemberDense(2, shared=True)],
    "own": [MemberDense(8, activation="relu", members=3), MemberDense(6, activation="relu"), MemberDense(2)],
    "one": [MemberDense(8, activation="relu", members=1), MemberDense(2)],
}  # fmt: skip


def data(rows: int = 160) -> tuple[Any, Any]:
    X = np.random.default_rng(0).normal(size=(rows, 5))
    return X, (X[:, 0] * X[:, 1] > 0).astype(int)


def trained(layers: list[Any], epochs: int = 2) -> Trainer:
    trainer = Trainer(Model(layers, 5, dtype="float64"))
    if epochs:
        trainer.fit(*data(), epochs=epochs, batch_size=32, verbose=0)
    return trainer


@pytest.mark.parametrize("name", SHAPES)
def test_a_member_is_a_plain_model(name: str) -> None:
    X, _ = data()
    trainer = trained(SHAPES[name])
    if name == "columns":  # as if it had been trained
        trainer.model.parameters()["1.bias"][...] = np.random.default_rng(1).normal(size=(3, 25))
    each = np.stack([one.predict(X) for one in plain_models(trainer.model)], axis=1)
    expected = trainer.forward(X, training=False).reshape(each.shape)
    np.testing.assert_allclose(each, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", SHAPES)
def test_all_of_it_runs_and_changes_nothing(name: str) -> None:
    X, y = data()
    trainer = trained(SHAPES[name])
    before = bits(trainer.model), trainer.steps
    report = stoop.diagnose.check(trainer, X[:120], y[:120], X[120:], y[120:])
    found = stoop.diagnose.gradients(trainer, X, y)
    assert [layer.name for layer in found.layers] == [
        name.removesuffix(".weight") for name in trainer.model.parameters() if name.endswith(".weight")
    ]
    assert all(layer.signal is not None and layer.signal > 0.0 for layer in found.layers)
    assert found.loss == pytest.approx(trainer.loss_and_grad(X, y, dropout=False)[0], rel=1e-12)
    wrong = (trainer.model.predict_classes(X[120:]) != y[120:]).mean()
    assert report.recipe.errors["dev"] == pytest.approx(wrong)
    assert stoop.diagnose.errors(trainer, X, y).samples == len(X)
    assert stoop.diagnose.critical_point(trainer, X, y, iterations=5).kind
    assert (bits(trainer.model), trainer.steps) == before


def size(gradient: Any) -> float:
    return float(np.sqrt((gradient**2).sum(axis=-1).mean()))


def test_signals_are_those_of_the_losses_of_members() -> None:
    X, y = data()
    layers = [Dense(7, activation="relu"), Members(3, init="normal"), Dense(6, activation="relu"), MemberDense(2)]
    trainer = trained(layers)
    own = {name: array.copy() for name, array in trainer.model.parameters().items()}
    before = X @ own["0.weight"] + own["0.bias"]
    value = np.maximum(before, 0.0)[:, None] * own["1.scale"]
    hidden = value @ own["2.weight"] + own["2.bias"]
    outputs = np.einsum("nki,kio->nko", np.maximum(hidden, 0.0), own["3.weight"]) + own["3.bias"]
    share = np.exp(outputs - outputs.max(axis=2, keepdims=True))
    of_outputs = share / share.sum(axis=2, keepdims=True) - np.eye(2)[y][:, None]
    of_hidden = np.einsum("nko,kio->nki", of_outputs, own["3.weight"]) * (hidden > 0.0)
    of_first = (of_hidden @ own["2.weight"].T * own["1.scale"]).mean(axis=1) * (before > 0.0)
    found = stoop.diagnose.gradients(trainer, X, y)
    assert [layer.signal for layer in found.layers] == pytest.approx(
        [size(of_first), size(of_hidden), size(of_outputs)], rel=1e-9
    )
    inputs, after = np.sqrt((X**2).mean()), np.sqrt((outputs**2).mean())
    assert found.growth == pytest.approx(after / inputs, rel=1e-9)


def test_units_that_members_share_are_dead_for_all_of_them() -> None:
    X, _ = data()
    model = trained([Members(3), Dense(8, activation="relu"), MemberDense(2)], 0).model
    model.parameters()["1.bias"][:2] = -1e3
    assert [layer.dead for layer in stoop.diagnose.units(model, X).layers] == [2]
    model.parameters()["0.scale"][0] *= 1e4  # so that unit 0 and 1 are active for one member
    assert [layer.dead for layer in stoop.diagnose.units(model, X).layers] == [0]


def test_units_of_a_member_are_counted_by_themselves() -> None:
    X, _ = data()
    model = trained([MemberDense(8, activation="relu", members=3), MemberDense(2)], 0).model
    parameters = model.parameters()
    parameters["0.bias"][1, :2] = -1e3
    parameters["0.weight"][2, :, 5] = parameters["0.weight"][2, :, 4]
    [layer] = stoop.diagnose.units(model, X).layers
    assert (layer.units, layer.dead, layer.symmetric) == (24, 2, 2)
    shared = trained([MemberDense(8, activation="relu", members=3, shared=True), MemberDense(2)], 0).model
    weight, bias = shared.parameters()["0.weight"], shared.parameters()["0.bias"]
    weight[:, 5] = weight[:, 4]
    assert stoop.diagnose.units(shared, X).layers[0].symmetric == 2
    bias[1, 5] = 0.5  # of one member alone, and the two are not the same any more
    assert stoop.diagnose.units(shared, X).layers[0].symmetric == 0
