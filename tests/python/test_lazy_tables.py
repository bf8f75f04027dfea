"""Updates of those rows of a table alone that a batch touches: their formula, and what stays as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import reference_columns
import stoop
from helpers import DTYPES, bits, refused
from stoop import optimizers

Array = npt.NDArray[Any]
ROWS, BATCH = 60, 12


def model_of(*, lazy: bool, dtype: str = "float64", codes: int = ROWS) -> stoop.Model:
    layer = stoop.Columns({1: codes, 2: 30}, bins=3, embedding_dim=5, lazy=lazy)
    return stoop.Model([layer, stoop.Dense(8, activation="tanh"), stoop.Dense(3)], 3, seed=1, dtype=dtype)


def data(rows: int = 96, codes: int = ROWS) -> tuple[Array, Array]:
    rng = np.random.default_rng(2)
    X = np.column_stack([rng.standard_normal(rows), rng.integers(-1, codes + 1, rows), rng.integers(0, 31, rows)])
    return X, rng.integers(0, 3, rows)


def batches(X: Array, y: Array) -> list[tuple[Array, Array]]:
    return [(X[i : i + BATCH], y[i : i + BATCH]) for i in range(0, len(X), BATCH)]


def fit(trainer: stoop.Trainer, X: Array, y: Array, **arguments: Any) -> Any:
    return trainer.fit(X, y, epochs=1, batch_size=BATCH, shuffle=False, verbose=0, **arguments)


def test_adam_of_touched_rows_is_its_formula() -> None:
    X, y = data()
    model = model_of(lazy=True)
    model.adapt(X)
    rate, beta1, beta2, eps, l2 = 0.02, 0.9, 0.999, 1e-8, 0.05
    trainer = stoop.Trainer(model, optimizer=optimizers.Adam(rate, beta1, beta2, eps), l2=l2)
    names = list(model.parameters())
    m = {name: np.zeros_like(array) for name, array in model.parameters().items()}
    v = {name: np.zeros_like(array) for name, array in model.parameters().items()}
    plain = stoop.Trainer(model)  # its gradients have no penalty
    for t, (x_batch, y_batch) in enumerate(batches(X, y), start=1):
        gradients = plain.loss_and_grad(x_batch, y_batch)[1]
        expected = {name: array.copy() for name, array in model.parameters().items()}
        for name in names:
            g, w = gradients[name].copy(), expected[name]
            touched = g.any(axis=1) if name == "0.embedding" else slice(None)
            if not name.endswith("bias"):
                g[touched] += l2 * w[touched]
            m[name][touched] += (1 - beta1) * (g - m[name])[touched]
            v[name][touched] += (1 - beta2) * (g**2 - v[name])[touched]
            step = rate * m[name] / (1 - beta1**t) / (np.sqrt(v[name] / (1 - beta2**t)) + eps)
            w[touched] -= step[touched]
        fit(trainer, x_batch, y_batch)
        for name, array in model.parameters().items():
            np.testing.assert_allclose(array, expected[name], rtol=1e-9, atol=1e-12, err_msg=name)


OPTIMIZERS = {
    "sgd": optimizers.SGD(0.1),
    "momentum": optimizers.SGD(0.1, momentum=0.9),
    "adam": optimizers.Adam(0.01),
    "adamw": optimizers.AdamW(0.01, weight_decay=0.1),
    "adagrad": optimizers.AdaGrad(0.05),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fit_step_and_pieces_agree(name: str, dtype: str) -> None:
    X, y = data()
    X = X.astype(dtype)
    models = [model_of(lazy=True, dtype=dtype) for _ in range(3)]
    trainers = [stoop.Trainer(model, optimizer=OPTIMIZERS[name], l2=0.02) for model in models]
    for model in models:
        model.adapt(X)
    fit(trainers[0], X, y)
    for x_batch, y_batch in batches(X, y):
        trainers[1].step(x_batch, y_batch)
        z = trainers[2].forward(x_batch).astype(np.float64)
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        trainers[2].backward(((p - np.eye(3)[y_batch]) / BATCH).astype(dtype))
        trainers[2].apply()
    assert models[0].parameters()["0.embedding"].tobytes() == models[1].parameters()["0.embedding"].tobytes()
    tolerance = {"float32": 2e-3, "float64": 1e-9}[dtype]
    for parameter, array in models[0].parameters().items():
        np.testing.assert_allclose(models[2].parameters()[parameter], array, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("arguments", [{}, {"clip_norm": 0.1}, {"accumulate": 2}, {"ema": 0.9}, {"clip_value": 0.01}])
def test_rows_that_no_batch_names_stay(name: str, arguments: dict[str, Any]) -> None:
    X, y = data()
    X[:, 1] = np.where(X[:, 1] >= 20, 3, X[:, 1])
    model = model_of(lazy=True)
    before = model.parameters()["0.embedding"].copy()
    trainer = stoop.Trainer(model, optimizer=OPTIMIZERS[name], l2=0.1, l1=0.01, **arguments)
    fit(trainer, X, y)
    named = np.zeros(len(before), bool)
    named[reference_columns.places_of(X[:, 1], ROWS)] = True
    named[ROWS + 2 + reference_columns.places_of(X[:, 2], 30)] = True
    np.testing.assert_array_equal((model.parameters()["0.embedding"] != before).any(axis=1), named)


@pytest.mark.parametrize("dtype", DTYPES)
def test_plain_sgd_has_the_bits_of_the_whole_table(dtype: str) -> None:
    X, y = data()
    seen = []
    for lazy, arguments in [(False, {}), (True, {}), (False, {"ema": 0.5})]:  # an average needs the whole table
        model = model_of(lazy=lazy, dtype=dtype)
        fit(stoop.Trainer(model, optimizer=optimizers.SGD(0.1), **arguments), X.astype(dtype), y)
        seen.append(bits(model))
    assert seen[0] == seen[1] == seen[2]


def test_without_lazy_the_whole_table_moves() -> None:
    X, y = data()
    X[:, 1] = np.where(X[:, 1] >= 20, 3, X[:, 1])
    model = model_of(lazy=False)
    before = model.parameters()["0.embedding"].copy()
    fit(stoop.Trainer(model, optimizer=optimizers.AdamW(0.01, weight_decay=0.1)), X, y)
    np.testing.assert_allclose(model.parameters()["0.embedding"][20:ROWS], before[20:ROWS] * 0.999**8, rtol=1e-12)


def test_the_average_of_touched_rows() -> None:
    X, y = data(rows=BATCH)
    model = model_of(lazy=True)
    start = model.parameters()["0.embedding"].copy()
    trainer = stoop.Trainer(model, optimizer=optimizers.SGD(0.1), ema=0.75)
    fit(trainer, X, y)
    end = model.parameters()["0.embedding"].copy()
    trainer.swap_ema()
    np.testing.assert_allclose(model.parameters()["0.embedding"], 0.75 * start + 0.25 * end, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("codes", [1, 3, 17, 5000])
def test_the_same_bits_for_any_number_of_threads(codes: int) -> None:
    X, y = data(300, codes)
    seen = []
    for threads in (1, 2, 3):
        model = model_of(lazy=True, dtype="float32", codes=max(codes, 10))
        trainer = stoop.Trainer(model, optimizer=optimizers.Adam(0.01), num_threads=threads, l2=1e-3)
        history = trainer.fit(X, y, epochs=3, batch_size=64, verbose=0)
        seen.append((bits(model), history["loss"], history["grad_norm"]))
    assert seen[0] == seen[1] == seen[2]


CLIPPED = [{"clip_norm": 0.05}, {"clip_norm": 1e9}, {"accumulate": 2}, {"accumulate": 2, "clip_norm": 0.05}]


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("arguments", CLIPPED)
def test_kept_gradients_have_the_same_bits_for_any_number_of_threads(arguments: dict[str, Any], lazy: bool) -> None:
    X, y = data(1000)
    seen = []
    for threads in (1, 2, 3):
        model = model_of(lazy=lazy, dtype="float32")
        trainer = stoop.Trainer(model, optimizer=optimizers.SGD(0.1), num_threads=threads, **arguments)
        history = trainer.fit(X, y, epochs=3, batch_size=64, verbose=0)
        seen.append((bits(model), history["loss"], history["grad_norm"]))
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("optimizer", [optimizers.SGD(0.1), optimizers.Adam(0.01)])
@pytest.mark.parametrize("arguments", [{}, {"clip_norm": 0.05}, {"clip_norm": 1e9}])
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_the_norm_is_that_of_all_gradients(optimizer: Any, arguments: dict[str, Any], l2: float) -> None:
    X, y = data(BATCH)
    for pieces in (False, True):
        model = model_of(lazy=True)
        model.adapt(X)
        loss, gradients = stoop.Trainer(model.copy()).loss_and_grad(X, y)
        for name, gradient in gradients.items():
            touched = gradient.any(axis=1) if name == "0.embedding" else slice(None)
            weight = model.parameters()[name][touched] * (not name.endswith("bias"))
            gradient[touched] += l2 * weight
            loss += 0.5 * l2 * (weight**2).sum()
        trainer = stoop.Trainer(model, optimizer=optimizer, l2=l2, **arguments)
        if pieces:
            z = trainer.forward(X)
            p = np.exp(z - z.max(axis=1, keepdims=True))
            trainer.backward((p / p.sum(axis=1, keepdims=True) - np.eye(3)[y]) / BATCH)
            found = trainer.apply()
        else:
            history = fit(trainer, X, y)
            found = history["grad_norm"][0]
            assert history["loss"][0] == pytest.approx(loss, rel=1e-9)
        assert found == pytest.approx(np.sqrt(sum((array**2).sum() for array in gradients.values())), rel=1e-9)


def test_max_norm_leaves_tables_alone() -> None:
    X, y = data()
    models = [model_of(lazy=lazy) for lazy in (False, True)]
    for model in models:
        fit(stoop.Trainer(model, optimizer=optimizers.SGD(0.1), max_norm=0.3), X, y)
    assert np.linalg.norm(models[0].parameters()["0.embedding"], axis=0).min() > 0.5
    assert np.linalg.norm(models[0].parameters()["1.weight"], axis=0).max() < 0.3001
    np.testing.assert_allclose(*(model.parameters()["0.embedding"] for model in models), rtol=1e-12)


def test_what_cannot_be_lazy_is_refused() -> None:
    with refused(ValueError, "lamb"):
        stoop.Trainer(model_of(lazy=True), optimizer=optimizers.Lamb())
