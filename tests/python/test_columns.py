"""The Columns layer against its definition in NumPy: every encoding, missing and unknown codes, difficult columns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import reference_columns
import stoop
from helpers import refused
from stoop._arrays import side_by_side

pd = pytest.importorskip("pandas")
Array = npt.NDArray[Any]
DTYPES = ("float32", "float64")
TOLERANCE = {"float32": 3e-5, "float64": 1e-11}

LAYERS = {
    "ple": stoop.Columns({1: 4, 3: 30}, bins=7, embedding_dim=5),
    "bins of each": stoop.Columns({1: 4, 3: 30}, bins=(3, 0, 12), one_hot=0),
    "one bin": stoop.Columns(bins=1, categories={3: 30}),
    "none": stoop.Columns({3: 30}, encoding="none", kind="standard", clip=None, one_hot=100),
    "minmax": stoop.Columns({1: 4}, encoding="none", kind="minmax", clip=0.5),
    "periodic": stoop.Columns({1: 4, 3: 30}, encoding="periodic", frequencies=21, frequency_scale=0.7, clip=None),
    "ple_linear": stoop.Columns({1: 4, 3: 30}, encoding="ple_linear", bins=7, embedding_dim=5),
    "ple_linear, bins of each": stoop.Columns({3: 30}, encoding="ple_linear", bins=(3, 0, 12, 1), clip=None),
    "ple_linear, no bins": stoop.Columns({1: 4}, encoding="ple_linear", bins=0, embedding_dim=17, kind="standard"),
    "codes alone": stoop.Columns({0: 3, 1: 4, 2: 11, 3: 30, 4: 2}, embedding_dim=3),
}


def draw(rows: int = 300, seed: int = 0, *, missing: bool = True) -> Array:
    """Numbers, codes of 4 (column 1) and of 30 (column 3), with missing and unknown ones."""
    rng = np.random.default_rng(seed)
    X = rng.gamma(2.0, 3.0, (rows, 5)) * [1, 1, 40, 1, 0.01] - 5
    X[:, 1], X[:, 3] = rng.integers(-1, 5, rows), rng.integers(-1, 32, rows)
    X[:, 4] = rng.choice([0.0, 0.0, 0.25, 1.5], rows)
    if missing:
        X[rng.random(X.shape) < 0.1] = np.nan
    return X


def whole(X: Array) -> Array:
    return np.where(np.isnan(X), np.nan, np.floor(np.abs(X)))


def encoded(layer: stoop.Columns, dtype: str, train: Array, X: Array) -> tuple[Array, dict[str, Array]]:
    """What the next layer sees, by a Dense that changes nothing, and the parameters."""
    width = layer.output_width(X.shape[1])
    model = stoop.Model([layer, stoop.Dense(width, kernel_init="zeros")], X.shape[1], dtype=dtype)
    np.fill_diagonal(model.parameters()["1.weight"], 1)
    if "0.weight" in model.parameters():  # which may start as zeros
        weight = model.parameters()["0.weight"]
        weight[:] = np.random.default_rng(7).uniform(-0.5, 0.5, weight.shape)
    model.adapt(train)
    return model.predict(X), {name: array.astype(np.float64) for name, array in model.parameters().items()}


@pytest.mark.parametrize("stored", DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LAYERS)
def test_it_is_its_definition(name: str, dtype: str, stored: str) -> None:
    layer, train, X = LAYERS[name], draw().astype(stored), draw(90, seed=1).astype(stored)
    if name == "codes alone":
        train, X = whole(train), whole(X)
    found, parameters = encoded(layer, dtype, train, X)
    expected = reference_columns.encode(layer, train, X, parameters)
    tolerance = max(TOLERANCE[dtype], TOLERANCE[stored])
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


# ---- statistics ----


def test_bins_are_quantiles_each_once() -> None:
    X = np.array([[0, 0], [0, 1], [0, 1], [4, 1], [8, 1.0]])
    model = stoop.Model([stoop.Columns(bins=4), stoop.Dense(1)], 2, dtype="float64")
    model.adapt(X)
    buffers = model.buffers()
    left = buffers["0.bin_left"][[0, 1, 4]] / buffers["0.scale"][[0, 0, 1]] + buffers["0.shift"][[0, 0, 1]]
    np.testing.assert_allclose(left, [0, 4, 0])  # of 0, 0, 0, 4, 8 and of 0, 1, 1, 1, 1
    assert np.count_nonzero(buffers["0.bin_scale"]) == 3


def test_statistics_are_those_of_the_training_rows() -> None:
    X, y = draw(200), np.arange(200) % 3
    rows = np.arange(0, 200, 3)
    fitted = [stoop.Model([LAYERS["ple"], stoop.Dense(3)], 5, seed=1) for _ in range(3)]
    stoop.Trainer(fitted[0]).fit(X[rows], y[rows], epochs=1, batch_size=16, verbose=0)
    stoop.fit_many([stoop.Trainer(fitted[1])], X, y, rows=[rows], epochs=1, batch_size=16, verbose=0)
    fitted[2].adapt(X[rows])
    for name in fitted[0].buffers():
        for other in fitted[1:]:
            assert other.buffers()[name].tobytes() == fitted[0].buffers()[name].tobytes(), name
    for name, array in fitted[0].parameters().items():
        assert array.tobytes() == fitted[1].parameters()[name].tobytes(), name


def test_linear_layers_of_numbers_start_as_linear_functions() -> None:
    layer = stoop.Columns({1: 4, 3: 30}, encoding="ple_linear", embedding_dim=50, clip=None)
    X = draw(200, missing=False)
    model = stoop.Model([layer, stoop.Dense(1)], 5)
    shapes = {name: value.shape for name, value in model.parameters().items() if name.startswith("0.")}
    sizes = {"linear": (3, 50), "weight": (3 * 48, 50), "bias": (3, 50)}
    assert shapes == {"0.embedding": (32, 50)} | {f"0.{name}": size for name, size in sizes.items()}
    for name in ("0.linear", "0.bias"):
        values = model.parameters()[name]
        assert 0.9 < np.abs(values).max() * 50**0.5 <= 1.0
        assert abs(values.mean()) * 50**0.5 < 0.2
    assert not model.parameters()["0.weight"].any()
    alone = stoop.Model([replace(layer, bins=0), stoop.Dense(1)], 5)
    assert "0.weight" not in alone.parameters()
    for name, value in alone.parameters().items():
        value[:] = model.parameters()[name]
    for each in (model, alone):
        each.adapt(X)
    np.testing.assert_allclose(alone.predict(X), model.predict(X), rtol=1e-5, atol=1e-5)


def test_a_model_of_codes_alone_needs_no_statistics() -> None:
    model = stoop.Model([LAYERS["codes alone"], stoop.Dense(2)], 5)
    assert model.is_adapted
    assert model.predict(np.zeros((2, 5))).shape == (2, 2)


def test_calls_without_statistics_are_refused() -> None:
    model = stoop.Model([LAYERS["ple"], stoop.Dense(2)], 5)
    assert not model.is_adapted
    with refused(ValueError, "Columns of the model has no statistics"):
        model.predict(draw())


# ---- difficult columns ----


def test_three_rows_and_constant_columns() -> None:
    X = np.array([[1, 5, 0.0], [1, 6, 0], [1, 9, 1]])
    layer = stoop.Columns({2: 2}, bins=10)
    found, parameters = encoded(layer, "float64", X, X)
    np.testing.assert_allclose(found, reference_columns.encode(layer, X, X, parameters), atol=1e-12)
    assert not found[:, :10].any()


def test_numbers_far_from_zero_keep_their_digits() -> None:
    rng = np.random.default_rng(0)
    X = 1.6e9 + rng.gamma(2.0, 30.0, (400, 1))
    layer = stoop.Columns(bins=16)
    found, parameters = encoded(layer, "float32", X, X)
    np.testing.assert_allclose(found, reference_columns.encode(layer, X, X, parameters), atol=2e-5)


def test_ten_thousand_columns() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20, 10_000)).astype(np.float32)
    X[:, ::2] = rng.integers(0, 12, (20, 5000))
    layer = stoop.Columns(dict.fromkeys(range(0, 10_000, 2), 12), bins=3, embedding_dim=2)
    model = stoop.Model([layer, stoop.Dense(2)], 10_000)
    stoop.Trainer(model).fit(X, np.arange(20) % 2, epochs=2, batch_size=10, verbose=0)
    assert np.isfinite(model.predict(X)).all()


@pytest.mark.parametrize("stored", ["float64", "int64"])
def test_large_codes_are_exact(stored: str) -> None:
    codes = np.array([[2**24], [2**24 + 1], [2**24 + 2], [2**24 + 3]], stored)
    layer = stoop.Columns({0: 2**24 + 3}, embedding_dim=1)
    model = stoop.Model([layer, stoop.Dense(1, kernel_init="ones")], 1)
    table = model.parameters()["0.embedding"]
    table[2**24 :, 0] = [1, 2, 3, 4, 5]
    np.testing.assert_array_equal(model.predict(codes)[:, 0], [1, 2, 3, 5])
    with refused(ValueError, "float32"):
        model.predict(codes.astype(np.float32))


# ---- bad input ----


def train(layer: stoop.Columns, X: Array, **arguments: Any) -> None:
    model = stoop.Model([layer, stoop.Dense(2)], X.shape[1])
    stoop.Trainer(model).fit(X, np.arange(len(X)) % 2, epochs=1, verbose=0, **arguments)


def test_bad_codes_and_numbers_are_refused() -> None:
    X = draw(50)
    X[7, 3] = 2.5
    with refused(ValueError, "code 2.5 at row 7, column 3"):
        train(LAYERS["ple"], X)
    X[7, 3] = np.inf
    with refused(ValueError, "infinity at row 7, column 3"):
        train(LAYERS["ple"], X)
    X[7, 3], X[:, 2] = 2, np.nan
    with refused(ValueError, "column 2 of X has no number"):
        train(LAYERS["ple"], X)
    with refused(ValueError, "augment"):
        train(LAYERS["ple"], draw(50), augment=stoop.augment.Augment(noise=0.1))


def test_bad_arguments_are_refused() -> None:
    for arguments, words in [
        ({"categories": {-1: 3}}, "column of categories"),
        ({"categories": {0: 0}}, "codes of column 0"),
        ({"categories": [(0, 3), (0, 4)]}, "twice"),
        ({"bins": -1}, "bins"),
        ({"encoding": "pel"}, "ple"),
        ({"embedding_dim": 0}, "embedding_dim"),
    ]:
        with refused(ValueError, words):
            stoop.Columns(**arguments)
    with refused(TypeError, "categories"):
        stoop.Columns({"a"})
    for layers, words in [
        ([stoop.Columns({5: 3})], "column 5"),
        ([stoop.Columns({0: 3}, bins=(4, 4, 4))], "3 entries of bins for 4 columns"),
        ([stoop.Normalization(), stoop.Columns()], "first layer"),
        ([stoop.Columns(), stoop.Normalization()], "first layer"),
    ]:
        with refused(ValueError, words):
            stoop.Model([*layers, stoop.Dense(1)], 5)
    with refused(ValueError, "input_scale"):
        stoop.Model([stoop.Columns(), stoop.Dense(1)], 5, input_scale=2.0)


def test_codes_may_be_a_second_array() -> None:
    X, y = draw(60), np.arange(60) % 2
    layer = stoop.Columns({3: 4, 4: 30}, bins=4)
    together = X[:, [0, 2, 4, 1, 3]]
    models = [stoop.Model([layer, stoop.Dense(2)], 5) for _ in range(2)]
    pair = (X[:, [0, 2, 4]], X[:, [1, 3]])
    stoop.Trainer(models[0]).fit(together, y, epochs=2, verbose=0, validation_data=(together, y))
    stoop.Trainer(models[1]).fit(pair, y, epochs=2, verbose=0, validation_data=(pair, y))
    assert models[0].predict(together).tobytes() == models[1].predict(pair).tobytes()
    with refused(ValueError, "rows"):
        models[0].predict((pair[0], pair[1][:9]))


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.float32])
def test_one_column_of_codes_may_be_a_vector(kind: Any) -> None:
    X = draw(60, missing=False).astype(np.float32)
    model = stoop.Model([stoop.Columns({2: 4}, bins=4), stoop.Dense(2)], 3)
    joined = X[:, [0, 2, 1]]
    model.adapt(joined)
    codes = X[:, 1].astype(kind)
    expected = model.predict(joined).tobytes()
    for given in (codes, codes[:, None], pd.Series(codes)):
        assert model.predict((X[:, [0, 2]], given)).tobytes() == expected
    assert side_by_side("", (X, codes), "X").dtype == np.float32
    large = np.full(60, 2**24 + 1)
    assert side_by_side("", (X, large), "X")[0, -1] == 2**24 + 1
    with refused(ValueError, "rows"):
        model.predict((X[:, [0, 2]], codes[:9]))
