"""A model: its parameters, what it predicts, how it is saved and copied."""

from __future__ import annotations

import copy
import dataclasses
import gc
import math
import os
import pickle
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference
import stoop
from helpers import DTYPES, bits, make_data, refused, relative_error
from reference_training import Network

FEATURES, OUTPUTS = 6, 3


def make_model(dtype: str = "float32", outputs: int = OUTPUTS, seed: int = 0) -> Any:
    layers = [
        stoop.Dense(8, activation="relu"),
        stoop.Dense(7, use_bias=False),
        stoop.LeakyReLU(0.2),
        stoop.Dense(outputs, activation="tanh"),
    ]
    return stoop.Model(layers, input_dim=FEATURES, seed=seed, dtype=dtype)


def forward(model: Any, X: np.ndarray) -> np.ndarray:
    return Network(model.parameters(), ["relu", stoop.LeakyReLU(0.2), "tanh"]).forward(X)[0]


# ---- parameters ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_parameters_are_writable_views(dtype: str) -> None:
    model = make_model(dtype)
    parameters = model.parameters()
    shapes = {"0.weight": (6, 8), "0.bias": (8,), "1.weight": (8, 7), "3.weight": (7, 3), "3.bias": (3,)}
    assert {name: value.shape for name, value in parameters.items()} == shapes
    assert list(parameters) == list(shapes)
    assert model.num_parameters == sum(math.prod(shape) for shape in shapes.values())
    assert model.buffers() == {}
    X = np.ones((4, FEATURES), dtype)
    for name, value in parameters.items():
        assert value.dtype == dtype
        assert value.flags.writeable
        assert value.flags.c_contiguous
        assert value.flags.aligned
        before = model(X)
        value += 0.01
        assert not np.array_equal(model(X), before), name
        np.testing.assert_array_equal(model.parameters()[name], value)
    assert relative_error(model(X), forward(model, X)) < 1e-6


def test_views_keep_the_parameters_alive() -> None:
    model = make_model()
    trainer = stoop.Trainer(model, loss="mse")
    view = model.parameters()["0.weight"]
    expected = view.copy()
    del model
    gc.collect()
    X, y = make_data("mse", 10, FEATURES, OUTPUTS)
    assert trainer.step(X, y) > 0  # a trainer keeps its model
    expected = view.copy()
    del trainer
    gc.collect()
    others = [make_model(seed=seed) for seed in range(50)]  # would reuse the memory
    np.testing.assert_array_equal(view, expected)
    view[...] = 7
    assert not any(np.any(other.parameters()["0.weight"] == 7) for other in others)


def test_layers_are_the_specs_as_given() -> None:
    layers = [stoop.Dense(8, activation="relu", kernel_init="he_normal"), stoop.Tanh(), stoop.Dense(3)]
    model = stoop.Model(layers, input_dim=FEATURES)
    assert list(model.layers) == layers
    with pytest.raises(dataclasses.FrozenInstanceError):
        layers[0].units = 9


def test_state_dict_round_trip() -> None:
    model, other = make_model(), make_model(seed=1)
    state = model.state_dict()
    assert list(state) == list(model.parameters())
    other.load_state_dict(state)
    assert bits(other) == bits(model)
    before = bits(model)
    for value in state.values():
        value[...] = 0  # a copy, not a view
    assert bits(model) == before == bits(other)
    other.load_state_dict({name: value.astype("float64").tolist() for name, value in model.parameters().items()})
    assert bits(other) == before


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (lambda state: state.update({"3.bias": np.zeros(4)}), r"3\.bias"),
        (lambda state: state.update({"0.weight": state["0.weight"].T}), r"0\.weight"),
        (lambda state: state.update({"3.bias": np.zeros(1)}), r"3\.bias"),
        (lambda state: state.update({"3.bias": 0.0}), r"3\.bias"),
        (lambda state: state.pop("3.bias"), r"3\.bias"),
        (lambda state: state.update({"4.bias": np.zeros(3)}), r"4\.bias"),
        (lambda state: state.update({"3.bias": np.array(["a", "b", "c"])}), r"3\.bias"),
        (lambda state: state.update({"3.bias": np.zeros(3, complex)}), r"3\.bias"),
        (lambda state: state.update({"3.bias": np.array([0, np.nan, 0])}), r"3\.bias has NaN at \(1,\)"),
        (lambda state: state.update({"0.weight": np.full((6, 8), -np.inf)}), r"0\.weight has an infinity at \(0, 0\)"),
        (lambda state: state.update({"3.bias": np.array([1e300, 0, 0])}), r"3\.bias has an infinity"),
        (lambda state: state.update({"0.weight": [[1.0], [1.0, 2.0]]}), r"0\.weight is a list that is no array"),
    ],
)
def test_load_state_dict_takes_all_or_nothing(change: Any, pattern: str) -> None:
    model = make_model()
    before = bits(model)
    state = make_model(seed=1).state_dict()
    change(state)
    with refused((ValueError, TypeError), pattern):
        model.load_state_dict(state)
    assert bits(model) == before


def test_a_model_that_is_not_finite_can_still_be_copied() -> None:
    model = make_model()
    model.parameters()["3.bias"][0] = np.nan
    for twin in (model.copy(), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert bits(twin) == bits(model)


# ---- predictions ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("samples", [1, 2, 257, 5000])
def test_predict(samples: int, dtype: str) -> None:
    model = make_model(dtype)
    X, _ = make_data("mse", samples, FEATURES, OUTPUTS, dtype)
    output = model.predict(X)
    assert output.shape == (samples, OUTPUTS)
    assert output.dtype == dtype
    np.testing.assert_array_equal(model(X), output)
    assert relative_error(output, forward(model, X)) < (1e-6 if dtype == "float32" else 1e-14)
    for batch_size in (1, 100, 10**6):
        assert relative_error(model.predict(X, batch_size=batch_size), output) < 1e-6


def test_predict_gives_a_new_array() -> None:
    model = make_model()
    X, _ = make_data("mse", 10, FEATURES, OUTPUTS)
    first = model(X)
    kept = first.copy()
    model(2 * X)
    np.testing.assert_array_equal(first, kept)
    assert first.flags.writeable


def test_predict_proba_and_classes() -> None:
    model = make_model("float64")
    X, _ = make_data("mse", 50, FEATURES, OUTPUTS, "float64")
    output, proba = model(X), model.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0, rtol=1e-14)
    np.testing.assert_allclose(proba, np.exp(reference.log_softmax(output)), rtol=1e-12)
    classes = model.predict_classes(X)
    assert classes.shape == (50,)
    assert np.issubdtype(classes.dtype, np.integer)
    np.testing.assert_array_equal(classes, output.argmax(axis=1))


def test_predict_proba_and_classes_of_one_column() -> None:
    model = make_model("float64", outputs=1)
    X, _ = make_data("mse", 50, FEATURES, 1, "float64")
    output, proba, classes = model(X), model.predict_proba(X), model.predict_classes(X)
    assert proba.shape == (50, 1)
    np.testing.assert_allclose(proba, reference.sigmoid(output), rtol=1e-12)
    assert classes.shape == (50,)
    assert 0 < classes.sum() < 50
    np.testing.assert_array_equal(classes, (output[:, 0] > 0).astype(int))


def test_predict_proba_of_large_logits() -> None:
    model = stoop.Model([stoop.Dense(2, kernel_init="ones")], input_dim=1)
    model.parameters()["0.weight"][...] = [[1e4, -1e4]]
    np.testing.assert_array_equal(model.predict_proba([[1.0], [-1.0]]), [[1, 0], [0, 1]])
    single = stoop.Model([stoop.Dense(1, kernel_init="ones")], input_dim=1)
    np.testing.assert_array_equal(single.predict_proba([[1e4], [-1e4]]), [[1], [0]])


def test_summary() -> None:
    model = make_model()
    summary = model.summary()
    assert isinstance(summary, str)
    for text in ("Dense", "LeakyReLU", "FLOP", str(model.num_parameters), "56", str(2 * 6 * 8)):
        assert text in summary, f"{text} not in\n{summary}"


# ---- files and copies ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_save_and_load(tmp_path: Path, dtype: str) -> None:
    model = make_model(dtype)
    X, y = make_data("mse", 50, FEATURES, OUTPUTS, dtype)
    stoop.Trainer(model, loss="mse").fit(X, y, epochs=2, verbose=0)
    for path in (tmp_path / "a.safetensors", str(tmp_path / "b.safetensors"), tmp_path / "ünicode ☃.safetensors"):
        model.save(path)
        again = stoop.load_model(path)
        assert bits(again) == bits(model)
        assert {value.dtype for value in again.parameters().values()} == {np.dtype(dtype)}
        assert list(again.layers) == list(model.layers)
        np.testing.assert_array_equal(again(X), model(X))
        stoop.Trainer(again, loss="mse").step(X, y)
        assert bits(again) != bits(model)
    assert len(list(tmp_path.iterdir())) == 3, "nothing but the files themselves is left"


def test_the_file_is_plain_safetensors(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    model = make_model()
    model.save(tmp_path / "m.safetensors")
    tensors = safetensors.load_file(tmp_path / "m.safetensors")
    assert {name: value.tobytes() for name, value in tensors.items()} == bits(model)


def test_saving_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    make_model(seed=1).save(path)
    make_model(seed=2).save(path)
    assert bits(stoop.load_model(path)) == bits(make_model(seed=2))


@pytest.mark.skipif(os.name != "posix", reason="needs links and modes")
def test_saving_follows_a_link_and_keeps_the_mode(tmp_path: Path) -> None:
    real, link = tmp_path / "real.safetensors", tmp_path / "link.safetensors"
    make_model(seed=1).save(real)
    real.chmod(0o640)
    link.symlink_to(real.name)
    make_model(seed=2).save(link)
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert bits(stoop.load_model(real)) == bits(make_model(seed=2))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="file names are any bytes on Linux only")
def test_names_of_files_need_not_be_utf8(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\xfe.safetensors"
    for name in (path, os.fsdecode(path)):
        make_model().save(name)
        assert bits(stoop.load_model(name)) == bits(make_model())
    missing = os.fsdecode(os.fsencode(tmp_path) + b"/\xff-missing")
    with pytest.raises(FileNotFoundError) as caught:
        stoop.load_model(missing)
    assert caught.value.filename == missing
    assert "missing" in str(caught.value)
    Path(os.fsdecode(path)).write_bytes(b"damaged")
    with refused(stoop.CheckpointError, r"\\xff\\xfe\.safetensors", "7 bytes"):
        stoop.load_model(path)


def test_loading_draws_no_parameters(tmp_path: Path) -> None:
    """Drawing these takes a hundred times as long as reading them."""
    start = time.perf_counter()
    model = stoop.Model([stoop.Dense(1000, kernel_init="orthogonal")], input_dim=1000)
    drawing = time.perf_counter() - start
    model.save(tmp_path / "m.safetensors")
    start = time.perf_counter()
    loaded = stoop.load_model(tmp_path / "m.safetensors")
    assert time.perf_counter() - start < 0.5 * drawing
    assert bits(loaded) == bits(model)


@pytest.mark.parametrize(
    "duplicate",
    [stoop.Model.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_a_copy_is_independent(duplicate: Callable[[Any], Any]) -> None:
    model = make_model()
    twin = duplicate(model)
    assert bits(twin) == bits(model)
    assert list(twin.layers) == list(model.layers)
    before = bits(model)
    twin.parameters()["0.weight"][...] = 0
    assert bits(model) == before != bits(twin)
