"""ONNX files give what the models give, computed by onnxruntime."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import cases
import crossed
import stoop
from stoop.export import to_onnx
from stoop.export.onnx import _compare
from stoop.export.onnx._activations import ACTIVATIONS

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

Array = npt.NDArray[Any]
INPUTS = (stoop.Columns, stoop.Normalization)


def run(path: Path, X: Array) -> Array:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"X": X})[0]


def is_close(a: Array, b: Array) -> bool:
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    return bool(np.abs(a - b).max() <= 1e-5 * np.abs(b).max())


def moved(model: stoop.Model, rng: np.random.Generator) -> stoop.Model:
    """The model with other values of everything that begins with zeros or ones."""
    for value in model.parameters().values():
        value[...] += 0.3 * rng.standard_normal(value.shape)
    for name, value in model.buffers().items():
        if "running" in name:
            value[...] = rng.random(value.shape) + 0.5
    return model


def with_layer(layer: Any, rng: np.random.Generator, dtype: str) -> tuple[stoop.Model, Array]:
    """A model that has the layer where it can be, and rows that it takes."""
    is_first = isinstance(layer, INPUTS)
    rest = [stoop.Dense(5, "tanh"), stoop.Dense(3)]
    columns = 2 + len(layer.categories) if getattr(layer, "categories", ()) else 5
    model = stoop.Model([layer, *rest] if is_first else [stoop.Dense(6), layer, rest[1]], columns, dtype=dtype)
    X = rng.standard_normal((300, columns)) * [3.0 * (c + 1) for c in range(columns)] + 1e3
    for column, codes in getattr(layer, "categories", None) or ():
        X[:, column] = rng.integers(codes, size=len(X))
    if is_first:
        model.adapt(X)
    X = X[:50]
    if isinstance(layer, stoop.Columns) or getattr(layer, "missing", "") == "mean":
        X[rng.random(X.shape) < 0.2] = np.nan
    for column, codes in getattr(layer, "categories", None) or ():
        X[:5, column] = [-1, codes, codes + 7, 0, -3]
    return moved(model, rng), (X if is_first else X - 1e3).astype(dtype)


LISTED = {**crossed.activation_layers(), **crossed.calls("layer")}
MORE = {
    "columns of all kinds": stoop.Columns({1: 3, 3: 12, 4: 40}, bins=(7, 0), embedding_dim=3),
    "columns in the order of X": stoop.Columns({2: 12}, bins=4),
    "linear ladders": stoop.Columns({0: 11}, encoding="ple_linear", bins=9),
    "periodic columns": stoop.Columns({0: 11}, encoding="periodic", frequencies=5, frequency_scale=2.0),
    "normalization with a clip": stoop.Normalization("robust", clip=2.0, missing="mean"),
    "shared members": stoop.MemberDense(6, "relu", shared=True, members=3),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [*LISTED, *MORE])
def test_every_layer_and_activation(name: str, dtype: str, rng: np.random.Generator, tmp_path: Path) -> None:
    layer = {**LISTED, **MORE}[name]
    model, X = with_layer(layer, rng, dtype)
    to_onnx(model, tmp_path / "m.onnx")
    assert is_close(run(tmp_path / "m.onnx", X), model.predict(X))


def test_every_activation_can_be_written() -> None:
    assert set(ACTIVATIONS) == set(cases.registry("activation").values())


def deep(rng: np.random.Generator, dtype: str = "float32") -> tuple[stoop.Model, Array]:
    layers = [
        stoop.Normalization(missing="mean"),
        stoop.FeatureScale(),
        stoop.Dense(9, "gelu"),
        stoop.BatchNorm(),
        stoop.Residual([stoop.Dense(9), stoop.BatchNorm(), stoop.SiLU(), stoop.Residual([stoop.Dense(9)])]),
        stoop.Residual([stoop.LayerNorm(), stoop.Dense(7, "relu"), stoop.Dropout(0.2)]),
        stoop.Dense(4),
    ]
    X = 5.0 + rng.standard_normal((100, 6)).astype(dtype)
    model = stoop.Model(layers, 6, dtype=dtype)
    model.adapt(X)
    X[::7, 2] = np.nan
    return moved(model, rng), X


@pytest.mark.parametrize("fold", [True, False])
def test_batch_norm_folded_or_not(fold: bool, rng: np.random.Generator, tmp_path: Path) -> None:
    model, X = deep(rng)
    to_onnx(model, tmp_path / "m.onnx", fold_batch_norm=fold)
    kinds = [node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node]
    assert kinds.count("BatchNormalization") == (1 if fold else 2)
    assert is_close(run(tmp_path / "m.onnx", X), model.predict(X))


@pytest.mark.parametrize("output", ["softmax", "sigmoid", "identity", None])
@pytest.mark.parametrize("k", [1, 4])
def test_members_say_what_predict_says(output: str | None, k: int, rng: np.random.Generator, tmp_path: Path) -> None:
    layers = [stoop.Columns({0: 12}, bins=5), stoop.Members(k, bias=True), stoop.Dense(8), stoop.BatchNorm()]
    layers += [stoop.Tanh(), stoop.LayerNorm(), stoop.Residual([stoop.Dense(5)]), stoop.MemberDense(3)]
    model = stoop.Model(layers, 3, output=output)
    X = np.c_[rng.integers(12, size=200), rng.standard_normal((200, 2))].astype(np.float32)
    model.adapt(X)
    moved(model, rng).parameters()["7.bias"][...] *= 20
    for fold in (True, False):
        to_onnx(model, tmp_path / "m.onnx", fold_batch_norm=fold)
        assert is_close(run(tmp_path / "m.onnx", X), model.predict(X))


def test_an_ensemble_gives_its_mean(rng: np.random.Generator, tmp_path: Path) -> None:
    models = [moved(stoop.Model([stoop.Dense(8, "relu"), stoop.Dense(3)], 4, seed=i), rng) for i in range(3)]
    for model in models:
        model.output = "softmax"
    ensemble, X = stoop.Ensemble(models), rng.standard_normal((20, 4)).astype(np.float32)
    to_onnx(ensemble, tmp_path / "m.onnx")
    assert is_close(run(tmp_path / "m.onnx", X), ensemble.predict_mean(X))
    to_onnx(ensemble, tmp_path / "m.onnx", activation="auto")
    assert is_close(run(tmp_path / "m.onnx", X), ensemble.predict_proba(X))


@pytest.mark.parametrize("activation", ["softmax", "auto"])
def test_probabilities(activation: str, rng: np.random.Generator, tmp_path: Path) -> None:
    model, X = deep(rng)
    model.output = "softmax"
    to_onnx(model, tmp_path / "m.onnx", activation=activation)
    assert is_close(run(tmp_path / "m.onnx", X), model.predict_proba(X))


def test_the_sigmoid_of_one_output(rng: np.random.Generator, tmp_path: Path) -> None:
    model = stoop.Model([stoop.Dense(1)], 3, output="sigmoid")
    X = rng.standard_normal((9, 3)).astype(np.float32)
    to_onnx(model, tmp_path / "m.onnx", activation="auto")
    assert is_close(run(tmp_path / "m.onnx", X), model.predict_proba(X)[:, 1:])


def test_bytes_as_they_are_stored(tmp_path: Path) -> None:
    model = stoop.Model([stoop.Dense(4)], 3, input_scale=1 / 255, input_shift=-0.5)
    X = np.array([[0, 128, 255]], np.uint8)
    to_onnx(model, tmp_path / "m.onnx")
    assert is_close(run(tmp_path / "m.onnx", X.astype(np.float32)), model.predict(X))


def test_what_the_file_says(tmp_path: Path) -> None:
    model = stoop.Model([stoop.Dense(3)], 2, output="softmax", classes=["a", "ä", "c"])
    model.metadata["units"] = "metres"
    to_onnx(model, tmp_path / "m.onnx")
    proto = onnx.load(tmp_path / "m.onnx")
    assert (proto.ir_version, [(o.domain, o.version) for o in proto.opset_import]) == (8, [("", 17)])
    assert [d.dim_param or d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim] == ["n", 2]
    texts = {entry.key: entry.value for entry in proto.metadata_props}
    assert json.loads(texts.pop("stoop.classes")) == {"names": ["a", "ä", "c"], "dtype": "str"}
    assert [layer["type"] for layer in json.loads(texts.pop("stoop.layers"))["layers"]] == ["dense"]
    assert texts == {"stoop.output": "softmax", "stoop.version": stoop.__version__, "units": "metres"}


# ---- what is refused ----


def test_a_difference_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = stoop.Model([stoop.Dense(3, "relu")], 2)
    (tmp_path / "m.onnx").write_text("old")
    monkeypatch.setitem(ACTIVATIONS, stoop.ReLU, ACTIVATIONS[stoop.Tanh])
    with pytest.raises(ArithmeticError, match=r"\[export.to_onnx\] onnxruntime .* differs by"):
        to_onnx(model, tmp_path / "m.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]
    assert (tmp_path / "m.onnx").read_text() == "old"


def test_rounding_alone_is_no_difference(tmp_path: Path) -> None:
    for seed in range(40):  # for some of these onnxruntime rounds otherwise in the fifth digit
        units, columns = 2 + seed % 3, 1 + seed % 2
        layers = [stoop.Dense(units, "tanh"), stoop.LayerNorm(), stoop.Dense(1)]
        to_onnx(stoop.Model(layers, columns, seed=seed), tmp_path / "m.onnx")


def test_the_comparison_has_missing_values_and_unknown_codes() -> None:
    model = stoop.Model([stoop.Columns({0: 3}), stoop.Dense(1)], 2)
    model.adapt(np.array([[0, 1.0], [1, 2], [2, 4]]))
    rows = _compare.random_rows(model)
    assert np.isnan(rows).any(axis=0).all()
    assert {-1, 0, 2, 3, 4} <= set(rows[:, 0])


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"activation": "softmx"}, ValueError, "softmax"),
        ({"activation": 3}, TypeError, "activation is 3"),
        ({"activation": "auto"}, ValueError, "model.output is None"),
        ({"activation": "softmax", "units": 1}, ValueError, "a softmax of one output"),
        ({"model": "m"}, TypeError, "expected a stoop.Model"),
        ({"layers": [stoop.Normalization(), stoop.Dense(1)]}, ValueError, "no statistics"),
    ],
)
def test_what_is_refused(arguments: dict[str, Any], error: type[Exception], text: str, tmp_path: Path) -> None:
    layers = arguments.get("layers", [stoop.Dense(arguments.get("units", 3))])
    model = arguments.get("model", stoop.Model(layers, 2))
    with pytest.raises(error, match=text):
        to_onnx(model, tmp_path / "m.onnx", activation=arguments.get("activation"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["parameters", "buffers"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("fold", [True, False])
def test_numbers_that_are_not_finite(kind: str, bad: float, fold: bool, tmp_path: Path) -> None:
    model = stoop.Model([stoop.Dense(3), stoop.BatchNorm(), stoop.ReLU(), stoop.Dense(2)], 2)
    name = {"parameters": "0.weight", "buffers": "1.running_mean"}[kind]
    getattr(model, kind)()[name].flat[1] = bad
    with pytest.raises(ValueError, match=rf"\[export.to_onnx\] {name} has NaN or an infinity; "):
        to_onnx(model, tmp_path / "m.onnx", fold_batch_norm=fold)
    whole = stoop.Model([stoop.Dense(3), stoop.Dense(2)], 2)
    with pytest.raises(ValueError, match=rf"{name} of model 1 has"):
        to_onnx(stoop.Ensemble([whole, model]), tmp_path / "m.onnx", fold_batch_norm=fold)
    assert not list(tmp_path.iterdir())


def test_a_fold_that_overflows(tmp_path: Path) -> None:
    model = stoop.Model([stoop.Dense(3), stoop.BatchNorm(), stoop.Dense(2)], 2)
    model.parameters()["0.weight"][...], model.parameters()["1.gamma"][...] = 1e20, 1e20
    with pytest.raises(ValueError, match=r"weights beyond float32; .*; give fold_batch_norm=False"):
        to_onnx(model, tmp_path / "m.onnx")


@pytest.mark.parametrize("eps", [1e-300, 1e300])
@pytest.mark.parametrize("kind", [stoop.LayerNorm, stoop.BatchNorm])
def test_numbers_of_nodes_that_float32_does_not_hold(kind: Any, eps: float, tmp_path: Path) -> None:
    model = stoop.Model([stoop.Dense(3), kind(eps=eps), stoop.Dense(2)], 2, dtype="float64")
    with pytest.raises(ValueError, match=r"has epsilon=1e[-+]300, beyond float32"):
        to_onnx(model, tmp_path / "m.onnx", fold_batch_norm=False)


@pytest.mark.parametrize("fold", ["no", 1, None])
def test_a_fold_that_is_neither_true_nor_false(fold: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"fold_batch_norm is .*; expected True or False"):
        to_onnx(stoop.Model([stoop.Dense(3)], 2), tmp_path / "m.onnx", fold_batch_norm=fold)


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ImportError, match=r'pip install "stoop\[onnx\]"'):
        to_onnx(stoop.Model([stoop.Dense(3)], 2), tmp_path / "m.onnx")


def test_without_the_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    to_onnx(stoop.Model([stoop.Dense(3)], 2), tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").stat().st_size > 50
