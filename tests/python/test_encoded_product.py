"""The first product after Columns makes no encoded rows. Its results are those of the encoded rows.

`loss_and_grad` computes with the encoded rows, and so does a model whose Members have a bias.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop

Array = npt.NDArray[Any]

ROWS, INPUTS, OUTPUTS = 300, 5, 3


def draw(rows: int = ROWS, seed: int = 0) -> tuple[Array, Array]:
    """Numbers and, in columns 1 and 3, codes of 4; missing and unknown ones; numbers beyond the bins from seed 1 on."""
    rng = np.random.default_rng(seed)
    X = rng.gamma(2.0, 3.0, (rows, INPUTS)) * (1 + 20 * seed) - 5 - 50 * seed
    X[:, 1], X[:, 3] = rng.integers(-1, 5, rows), rng.integers(-1, 6, rows)
    X[rng.random(X.shape) < 0.05] = np.nan
    return X, rng.integers(0, OUTPUTS, rows)


COLUMNS: dict[str, Callable[[], Any]] = {
    "ple": lambda: stoop.Columns({1: 4, 3: 4}, bins=48),
    "bins of each": lambda: stoop.Columns({1: 4, 3: 4}, bins=(40, 1, 0), one_hot=4),
    "numbers": lambda: stoop.Columns(bins=(30, 2, 40, 3, 20)),
    "linear ladders": lambda: stoop.Columns(encoding="ple_linear", bins=(6, 2, 9, 0, 3), embedding_dim=9),
    "frozen ladders": lambda: stoop.Columns(encoding="ple_linear", bins=4, embedding_dim=17, trainable=False),
}
TAILS: dict[str, list[Any]] = {
    "alone": [stoop.Dense(20, "relu")],
    "feature scale": [stoop.FeatureScale(), stoop.Dense(33, "tanh")],
    "members": [stoop.Members(3), stoop.Dense(17, "relu"), stoop.Dropout(0.25)],
    "many members": [stoop.Members(11, init="random_signs"), stoop.Dense(40, use_bias=False)],
    "gelu": [stoop.Members(2), stoop.Dense(9, "gelu"), stoop.BatchNorm()],
    "factors": [stoop.Members(2, lr_scale=0.5), stoop.Dense(70, "relu", lr_scale=0.25, decay_scale=0.5, l1=0.01)],
    "frozen scales": [stoop.Members(2, trainable=False), stoop.Dense(6, "relu")],
    "frozen weight": [stoop.Members(2), stoop.Dense(6, "relu", trainable=False)],
    "frozen": [stoop.Members(2, trainable=False), stoop.Dense(6, "relu", trainable=False)],
}


def model_of(columns: str, tail: str, dtype: str = "float64", *, plain: bool = False) -> stoop.Model:
    layers = list(TAILS[tail])
    if plain:
        layers[0] = stoop.Members(layers[0].k, init=layers[0].init, bias=True, trainable=layers[0].trainable)
    last = stoop.MemberDense(OUTPUTS) if "members" in tail else stoop.Dense(OUTPUTS)
    model = stoop.Model([COLUMNS[columns](), *layers, last], input_dim=INPUTS, dtype=dtype, seed=3)
    model.adapt(draw()[0])
    if "0.weight" in model.parameters():  # which starts as zeros
        weight = model.parameters()["0.weight"]
        weight[...] = np.random.default_rng(4).uniform(-0.3, 0.3, weight.shape)
    return model


def values(model: stoop.Model) -> dict[str, Array]:
    return {name: value.copy() for name, value in model.parameters().items()}


def close(a: Array, b: Array, dtype: str = "float64", what: str = "") -> None:
    tolerance = {"float32": 1e-4, "float64": 1e-12}[dtype]
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1.0, float(np.abs(b).max())), err_msg=what)


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("tail", TAILS)
def test_it_is_chosen_for_training(columns: str, tail: str) -> None:
    X, y = draw()
    rows = [row.name for row in stoop.Trainer(model_of(columns, tail)).profile(X, y, batch_size=32).rows]
    assert any(name.startswith("encoded_dense") for name in rows), rows
    is_trained = tail != "frozen" or columns == "linear ladders"
    assert any(name.startswith("encoded_gradient") for name in rows) == is_trained
    assert not any(name.startswith(("columns", "member_scale")) for name in rows)


@pytest.mark.parametrize(
    "layer",
    [{"categories": {1: 40}}, {"encoding": "none"}, {"encoding": "periodic"}, {"encoding": "ple_linear"}, {"bins": 5}],
)
def test_it_is_not_chosen_elsewhere(layer: dict[str, Any]) -> None:
    X, y = draw()
    model = stoop.Model([stoop.Columns(**layer), stoop.Dense(OUTPUTS)], input_dim=INPUTS)
    rows = [row.name for row in stoop.Trainer(model).profile(X, y, batch_size=32).rows]
    assert not any(name.startswith("encoded") for name in rows), rows


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("tail", [tail for tail in TAILS if isinstance(TAILS[tail][0], stoop.Members)])
def test_predictions_are_those_of_encoded_rows(columns: str, tail: str, dtype: str) -> None:
    fast, plain = model_of(columns, tail, dtype), model_of(columns, tail, dtype, plain=True)
    for name, value in values(fast).items():
        plain.parameters()[name][...] = value
    for seed in (0, 1):
        X, y = draw(200, seed)
        close(fast.predict(X), plain.predict(X), dtype)
        losses = [stoop.Trainer(model).evaluate(X, y)["loss"] for model in (fast, plain)]
        close(np.array(losses[0]), np.array(losses[1]), dtype)


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("tail", [tail for tail in TAILS if tail != "members"])
def test_gradients_are_those_of_encoded_rows(columns: str, tail: str) -> None:
    X, y = draw()
    model = model_of(columns, tail)
    trainer = stoop.Trainer(model, optimizer=stoop.optimizers.SGD(0.1), l2=0.01)
    rates = dict.fromkeys(values(model), 0.1)
    if tail == "factors":
        rates |= {"1.scale": 0.05, "2.weight": 0.025, "2.bias": 0.025}
    for _ in range(3):
        before = values(model)
        loss, grads = trainer.loss_and_grad(X, y)
        assert trainer.step(X, y) == pytest.approx(loss, rel=1e-12)
        for name, value in values(model).items():
            close((before[name] - value) / rates[name], grads[name], "float64", name)


def test_linear_ladders_of_few_rows_are_encoded() -> None:
    X, y = draw()
    trainer = stoop.Trainer(model_of("linear ladders", "members"))
    for rows, is_product in ((23, False), (24, True)):  # a table has 30 rows for 5 columns
        names = [row.name for row in trainer.profile(X, y, batch_size=rows).rows]
        assert any(name.startswith("encoded_dense") for name in names) == is_product


@pytest.mark.parametrize("columns", ["ple", "linear ladders"])
@pytest.mark.parametrize("settings", [{}, {"clip_norm": 0.1}, {"accumulate": 3}, {"l1": 0.01}])
@pytest.mark.parametrize("tail", ["alone", "many members"])
def test_all_that_fit_does_follows(tail: str, settings: dict[str, Any], columns: str) -> None:
    X, y = draw()
    model = model_of(columns, tail)
    trainer = stoop.Trainer(model, optimizer=stoop.optimizers.SGD(0.1), **settings)
    for _ in range(2):
        before = values(model)
        _, grads = trainer.loss_and_grad(X, y)
        norm = np.sqrt(sum(float(np.sum(grad**2)) for grad in grads.values()))
        scale = min(1.0, settings.get("clip_norm", np.inf) / norm)
        trainer.fit(X, y, epochs=1, batch_size=ROWS // settings.get("accumulate", 1), shuffle=False, verbose=0)
        for name, value in values(model).items():
            close((before[name] - value) / 0.1, scale * grads[name], "float64", name)


@pytest.mark.parametrize("columns", ["bins of each", "linear ladders"])
@pytest.mark.parametrize("tail", ["alone", "members", "many members"])
def test_the_same_bits_for_any_number_of_threads(tail: str, columns: str) -> None:
    X, y = draw()
    found = []
    for threads in (1, 2, 3):
        model = model_of(columns, tail, "float32")
        trainer = stoop.Trainer(model, optimizer="adamw", num_threads=threads, seed=1)
        trainer.fit(X, y, epochs=2, batch_size=64, verbose=0)
        found.append({**values(model), "predictions": model.predict(X)})
    for other in found[1:]:
        for name, value in found[0].items():
            np.testing.assert_array_equal(value, other[name], err_msg=name)


@pytest.mark.parametrize("tail", ["alone", "many members"])
def test_a_row_is_the_same_alone_and_among_others(tail: str) -> None:
    X, _ = draw(70)
    model = model_of("ple", tail, "float32")
    whole = model.predict(X)
    for size in (1, 7, 23, 24, 40):
        np.testing.assert_array_equal(
            np.concatenate([model.predict(X[i : i + size]) for i in range(0, 70, size)]), whole
        )
