"""Models come back from ONNX files, of Stoop and of others; hostile files cost little."""

from __future__ import annotations

import contextlib
import json
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import crossed
import export_cases
import stoop
from stoop.export import from_onnx, to_onnx
from stoop.export.onnx import _restore
from test_onnx_export import deep, moved, run

onnx = pytest.importorskip("onnx")
skl2onnx = pytest.importorskip("skl2onnx")

Array = npt.NDArray[Any]
helper, numpy_helper = onnx.helper, onnx.numpy_helper


def is_same(a: Array, b: Array, tolerance: float = 1e-6) -> bool:
    assert a.shape == b.shape
    return bool(np.abs(a - b).max() <= tolerance * np.abs(b).max())


def without_layers(path: Path) -> Path:
    """Leave out what the metadata say of the layers: what the nodes compute has to be recognised."""
    proto = onnx.load(path)
    kept = [entry for entry in proto.metadata_props if entry.key != "stoop.layers"]
    del proto.metadata_props[:]
    proto.metadata_props.extend(kept)
    path.write_bytes(proto.SerializeToString())
    return path


def with_text(path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """Change what the metadata say of the layers."""
    proto = onnx.load(path)
    entry = next(entry for entry in proto.metadata_props if entry.key == "stoop.layers")
    kept = json.loads(entry.value)
    change(kept)
    entry.value = json.dumps(kept)
    path.write_bytes(proto.SerializeToString())
    return path


# ---- files of Stoop ----

CASES = [case for case in export_cases.CASES if not case.startswith("dense with")]


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_layers_come_back_as_they_were(case: str, fold: bool, tmp_path: Path) -> None:
    model, X = export_cases.model_of(case), export_cases.rows_of(case)
    to_onnx(model, tmp_path / "m.onnx", fold_batch_norm=fold)
    again = from_onnx(tmp_path / "m.onnx")
    assert is_same(again.predict(X), model.predict(X))
    assert (again.output, again.input_scale, again.input_shift) == (model.output, model.input_scale, model.input_shift)
    if not fold:
        assert again.layers == model.layers
        for name, value in model.state_dict().items():
            np.testing.assert_array_equal(again.state_dict()[name][:1], value[:1], err_msg=name)


def random_layers(rng: np.random.Generator, members: bool) -> list[Any]:
    """A stack of any layers, of members after some of them or not."""

    def activation() -> Any:
        kinds = list(crossed.activation_layers().values())
        return kinds[rng.integers(len(kinds))]

    def inner(has_members: bool) -> Any:
        width = int(rng.integers(1, 9))
        makers = [
            lambda: stoop.Dense(width, activation()),
            lambda: stoop.Dense(width, use_bias=bool(rng.integers(2))),
            activation,
            stoop.BatchNorm,
            lambda: stoop.LayerNorm(eps=float(rng.choice([1e-5, 1e-3]))),
            lambda: stoop.Dropout(0.3),
            *([] if has_members else [stoop.FeatureScale]),
        ]
        return makers[rng.integers(len(makers))]()

    firsts = [
        lambda: stoop.Normalization("robust", clip=2.0, missing="mean"),
        lambda: stoop.Normalization("minmax"),
        lambda: stoop.Columns({1: 3, 3: 12}, bins=int(rng.integers(0, 6)), embedding_dim=3),
        lambda: stoop.Columns({0: 3, 2: 12}, encoding="periodic", frequencies=4),
        lambda: stoop.Columns({0: 3}, encoding="ple_linear", bins=(0, 5, 1, 3)),
        stoop.FeatureScale,
    ]
    layers = [firsts[rng.integers(len(firsts))]()]
    k = int(rng.integers(1, 5))
    for place in range(int(rng.integers(2, 7))):
        after = members and place > 1
        within = [inner(after) for _ in range(rng.integers(1, 4))]
        layers.append(stoop.Residual(within) if rng.random() < 0.3 else within[0])
        if members and place == 1:
            starts = [stoop.Members(k, bias=True), stoop.MemberDense(5, activation(), members=k)]
            starts.append(stoop.MemberDense(4, shared=True, members=k))
            layers.append(starts[rng.integers(3)])
    return [*layers, stoop.MemberDense(3) if members else stoop.Dense(3)]


@pytest.mark.parametrize("members", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_random_models(seed: int, members: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    output = [None, "softmax", "sigmoid", "identity"][rng.integers(4)]
    dtype = ["float32", "float64"][seed % 2]
    model = stoop.Model(random_layers(rng, members), 5, dtype=dtype, output=output)
    X = rng.standard_normal((60, 5)).astype(dtype)
    for column, codes in getattr(model.layers[0], "categories", ()):
        X[:, column] = rng.integers(-1, codes + 2, len(X))
    if not model.is_adapted:
        model.adapt(X)
    moved(model, rng)
    ending = "auto" if output else None
    to_onnx(model, tmp_path / "m.onnx", fold_batch_norm=bool(rng.integers(2)), activation=ending)
    again = from_onnx(tmp_path / "m.onnx")
    assert (again.dtype, again.output) == (dtype, output)
    assert is_same(again.predict(X), model.predict(X), 1e-5)
    if output != "identity":
        assert is_same(again.predict_proba(X), model.predict_proba(X), 1e-5)


@pytest.mark.parametrize("encoding", ["ple", "ple_linear"])
def test_columns_with_few_numbers_have_fewer_bins(encoding: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    train = np.column_stack([rng.integers(0, 4, 200), rng.standard_normal(200), np.ones(200)]).astype(np.float32)
    model = stoop.Model([stoop.Columns(encoding=encoding, bins=10), stoop.Dense(2)], 3)
    model.adapt(train)
    moved(model, rng)
    to_onnx(model, tmp_path / "m.onnx")
    again, X = from_onnx(tmp_path / "m.onnx"), rng.uniform(-1, 5, (50, 3)).astype(np.float32)
    assert again.predict(X).tobytes() == model.predict(X).tobytes()
    for name, value in model.buffers().items():
        np.testing.assert_array_equal(again.buffers()[name], value, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_no_parameter_is_larger_than_what_is_asked_of_a_file(case: str) -> None:
    model = export_cases.model_of(case)
    asked = dict(_restore._sizes(model.layers, model.input_dim, 1, ""))
    state = model.state_dict()
    assert asked.keys() <= state.keys()
    for name, size in asked.items():
        assert state[name].size == size
    for name, value in state.items():
        largest = max((size for other, size in asked.items() if name.startswith(other.rpartition(".")[0])), default=4)
        assert value.size <= 2 * largest, name  # two parts of a shift; without numbers the columns are few


def test_members_that_no_model_can_have(tmp_path: Path) -> None:
    model = stoop.Model([stoop.Members(3), stoop.Dense(4)], 2, output="softmax")
    to_onnx(model, tmp_path / "m.onnx", activation="sigmoid")
    with pytest.raises(ValueError, match="a sigmoid of what members say together for the output 'softmax'"):
        from_onnx(tmp_path / "m.onnx")


# ---- files of ensembles ----


def ensemble(output: str | None = None, classes: list[str] | None = None) -> Any:
    layers = [
        [stoop.Normalization(), stoop.Dense(4, "relu"), stoop.BatchNorm(), stoop.Dense(2)],
        [stoop.Members(3), stoop.Dense(5, "gelu"), stoop.MemberDense(2)],
        [stoop.Residual([stoop.Dense(3)]), stoop.Dense(2)],
    ]
    rng = np.random.default_rng(0)
    models = [stoop.Model(each, 3, seed=i, output=output, classes=classes) for i, each in enumerate(layers)]
    models[0].adapt(rng.standard_normal((20, 3)))
    models[0].metadata["units"] = "metres"
    for model in models:
        moved(model, rng)
    return stoop.Ensemble(models)


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize(
    ("output", "activation"), [(None, None), ("softmax", "auto"), ("sigmoid", None), (None, "softmax")]
)
def test_an_ensemble_comes_back(
    output: Any, activation: Any, fold: bool, rng: np.random.Generator, tmp_path: Path
) -> None:
    if (output, activation) == (None, "softmax"):  # members of a layer must know what their outputs mean
        models = stoop.Ensemble([stoop.Model([stoop.Dense(2)], 3, seed=i, dtype="float64") for i in range(3)])
    else:
        models = ensemble(output, ["no", "yes"] if output == "softmax" else None)
    to_onnx(models, tmp_path / "m.onnx", activation=activation, fold_batch_norm=fold)
    again, X = from_onnx(tmp_path / "m.onnx"), rng.standard_normal((20, 3)).astype(models.dtype)
    assert isinstance(again, stoop.Ensemble)
    assert (len(again), again.dtype, again.output) == (3, models.dtype, output or activation)
    assert is_same(again.predict(X), models.predict(X))
    if again.output:
        assert is_same(
            again.predict_proba(X),
            stoop.Ensemble([with_output(each, again.output) for each in models]).predict_proba(X),
        )
    if not fold:
        assert [each.layers for each in again] == [each.layers for each in models]
    if output == "softmax":
        assert again.classes is not None
        assert again.classes.tolist() == ["no", "yes"]
    assert [dict(each.metadata) for each in again] == [dict(models[0].metadata), {}, {}]


def with_output(model: stoop.Model, output: str) -> stoop.Model:
    model = model.copy()
    model.output = output
    return model


CHANGES_OF_ENSEMBLES: dict[str, Callable[[list[Any]], Any]] = {
    "a model less": lambda kept: kept.pop(),
    "a model more": lambda kept: kept.append(kept[0]),
    "another order": lambda kept: kept.reverse(),
    "another activation": lambda kept: kept[0]["layers"][1].update(activation="tanh"),
    "another dtype": lambda kept: kept[1].update(dtype="float64"),
    "many models": lambda kept: kept.extend([{**kept[0], "layers": [{"type": "tanh"}]}] * 2200),
    "no models": lambda kept: kept.clear(),
    "no model": lambda kept: kept.insert(0, 3),
}


@pytest.mark.parametrize("name", CHANGES_OF_ENSEMBLES)
def test_what_the_metadata_say_of_ensembles_is_not_believed(name: str, tmp_path: Path) -> None:
    to_onnx(ensemble(), tmp_path / "m.onnx")
    counts: list[int] = []
    size = with_text(tmp_path / "m.onnx", lambda kept: (CHANGES_OF_ENSEMBLES[name](kept), counts.append(len(kept))))
    proto = onnx.load(tmp_path / "m.onnx")
    next(entry for entry in proto.metadata_props if entry.key == "stoop.models").value = str(counts[0])
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    tracemalloc.start()
    try:
        with pytest.raises(
            ValueError, match=r"gives the mean of \d+ models, and stoop.layers does not tell their layers"
        ):
            from_onnx(tmp_path / "m.onnx")
        assert tracemalloc.get_traced_memory()[1] <= 10 * size.stat().st_size + 2**24
    finally:
        tracemalloc.stop()


def test_an_ensemble_without_layers_is_refused(tmp_path: Path) -> None:
    to_onnx(ensemble(), tmp_path / "m.onnx")
    without_layers(tmp_path / "m.onnx")
    with pytest.raises(ValueError, match=r"gives the mean of 3 models, .*export the ensemble again, or its models"):
        from_onnx(tmp_path / "m.onnx")


def test_classes_of_many_models_are_counted_for_each(tmp_path: Path) -> None:
    names = [f"class {i}" for i in range(5000)]
    layers = [stoop.Dense(len(names), use_bias=False)]
    to_onnx(stoop.Ensemble([stoop.Model(layers, 1, output="softmax", classes=names)] * 9), tmp_path / "m.onnx")
    assert len(from_onnx(tmp_path / "m.onnx")) == 9
    to_onnx(stoop.Ensemble([stoop.Model([stoop.Dense(2)], 1)] * 99), tmp_path / "m.onnx")
    proto = onnx.load(tmp_path / "m.onnx")
    entry = proto.metadata_props.add()
    entry.key, entry.value = "stoop.classes", json.dumps({"names": ["a" * 200_000, "b"], "dtype": "str"})
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match=r"stoop\.classes is"):
        from_onnx(tmp_path / "m.onnx")


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another activation": lambda kept: kept["layers"][1].update(activation="tanh"),
    "another eps": lambda kept: kept["layers"][2].update(eps=0.5),
    "a layer more": lambda kept: kept["layers"].insert(2, {"type": "relu"}),
    "a layer less": lambda kept: kept["layers"].pop(),
    "another clip": lambda kept: kept["layers"][0].update(clip=7.0),
    "another scale": lambda kept: kept.update(input_scale=2.0),
    "another dtype": lambda kept: kept.update(dtype="float64"),
    "other units": lambda kept: kept["layers"][1].update(units=5),
    "many units": lambda kept: kept["layers"][1].update(units=2**40),
    "many columns": lambda kept: kept.update(input_dim=2**40),
    "many columns of numbers": lambda kept: kept.update(input_dim=2**40, layers=[{"type": "columns", "bins": [9]}]),
    "many codes": lambda kept: kept.update(layers=[{"type": "columns", "categories": [[0, 2**40]]}, {"type": "tanh"}]),
    "many members": lambda kept: kept["layers"].insert(1, {"type": "members", "k": 1024}),
    "no columns": lambda kept: kept.update(input_dim=-3),
    "half a column": lambda kept: kept.update(input_dim=2.5),
    "no layers": lambda kept: kept.update(layers=None),
    "an unknown layer": lambda kept: kept["layers"][1].update(type="conv"),
    "an unknown argument": lambda kept: kept["layers"][1].update(colour="red"),
    "layers in a list": lambda kept: kept["layers"].insert(1, []),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_the_metadata_say_is_not_believed(name: str, rng: np.random.Generator, tmp_path: Path) -> None:
    layers = [stoop.Normalization(clip=3.0), stoop.Dense(4, "relu"), stoop.LayerNorm(), stoop.Dense(2)]
    model, X = stoop.Model(layers, 3), rng.standard_normal((20, 3)).astype(np.float32)
    model.adapt(X)
    to_onnx(model, tmp_path / "m.onnx")
    size = with_text(tmp_path / "m.onnx", CHANGES[name]).stat().st_size
    tracemalloc.start()
    try:
        again = from_onnx(tmp_path / "m.onnx")
        assert tracemalloc.get_traced_memory()[1] <= 10 * size + 2**24
    finally:
        tracemalloc.stop()
    assert is_same(again.predict(X), model.predict(X))


def test_a_changed_graph_is_read_as_it_is(rng: np.random.Generator, tmp_path: Path) -> None:
    model, X = stoop.Model([stoop.Dense(4, "relu"), stoop.Dense(2)], 3), rng.standard_normal((20, 3)).astype(np.float32)
    to_onnx(model, tmp_path / "m.onnx")
    proto = onnx.load(tmp_path / "m.onnx")
    next(each for each in proto.graph.node if each.op_type == "Relu").op_type = "Tanh"
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    assert is_same(from_onnx(tmp_path / "m.onnx").predict(X), run(tmp_path / "m.onnx", X))
    columns = stoop.Model([stoop.Columns({0: 3}), stoop.Dense(2)], 1)
    to_onnx(columns, tmp_path / "m.onnx")
    proto = onnx.load(tmp_path / "m.onnx")
    next(each for each in proto.graph.node if each.op_type == "Equal").op_type = "Less"
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match=r"has columns that are picked; .*changed"):
        from_onnx(tmp_path / "m.onnx")


@pytest.mark.parametrize("text", ["[" * 100_000, "{" * 10, "3", "null", '{"layers": 3}', "[1]" * 3, "1" * 300_000])
def test_texts_that_tell_no_layers(text: str, rng: np.random.Generator, tmp_path: Path) -> None:
    model, X = stoop.Model([stoop.Dense(2)], 3), rng.standard_normal((20, 3)).astype(np.float32)
    to_onnx(model, tmp_path / "m.onnx")
    proto = onnx.load(tmp_path / "m.onnx")
    next(entry for entry in proto.metadata_props if entry.key == "stoop.layers").value = text
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    assert is_same(from_onnx(tmp_path / "m.onnx").predict(X), model.predict(X))


# ---- what is recognised ----

NOT_RECOGNISED = ("columns", "members", "member_dense")
LAYERS = crossed.activation_layers() | crossed.calls("layer")
LAYERS = {name: layer for name, layer in LAYERS.items() if layer.type_name not in NOT_RECOGNISED}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_there_and_back(name: str, dtype: str, rng: np.random.Generator, tmp_path: Path) -> None:
    layer = LAYERS[name]
    is_first = isinstance(layer, stoop.Normalization)
    layers = [layer, stoop.Dense(5, "tanh")] if is_first else [stoop.Dense(6), layer]
    model = stoop.Model([*layers, stoop.Dense(3)], 4, dtype=dtype)
    X = (rng.standard_normal((30, 4)) * [1, 2, 5, 9] + 20.0 * is_first).astype(dtype)
    if is_first:
        model.adapt(X)
    if getattr(layer, "missing", "") == "mean":
        X[::5, 1] = np.nan
    moved(model, rng)
    to_onnx(model, tmp_path / "m.onnx", fold_batch_norm=False)
    again = from_onnx(without_layers(tmp_path / "m.onnx"))
    assert again.dtype == dtype
    assert is_same(again.predict(X), model.predict(X))
    if isinstance(layer, stoop.layers.Activation) and not isinstance(layer, stoop.Identity):
        assert again.layers[0].activation == type(layer)(**vars(layer))


@pytest.mark.parametrize("fold", [True, False])
def test_a_deep_one(fold: bool, rng: np.random.Generator, tmp_path: Path) -> None:
    model, X = deep(rng)
    model.output, model.classes = "softmax", ["a", "b", "c", "d"]
    model.metadata["units"] = "metres"
    to_onnx(model, tmp_path / "m.onnx", fold_batch_norm=fold, activation="auto")
    again = from_onnx(without_layers(tmp_path / "m.onnx"))
    assert is_same(again.predict(X), model.predict(X), 3e-6)
    assert (again.output, list(again.classes), again.metadata) == ("softmax", list("abcd"), {"units": "metres"})


def test_scaled_bytes(tmp_path: Path) -> None:
    model = stoop.Model([stoop.Dense(4), stoop.Dense(1)], 3, input_scale=1 / 255, input_shift=-0.5, output="sigmoid")
    to_onnx(model, tmp_path / "m.onnx")
    again, X = from_onnx(without_layers(tmp_path / "m.onnx")), np.array([[0, 128, 255]], np.uint8)
    assert is_same(again.predict(X), model.predict(X))
    assert (again.output, again.input_shift) == ("sigmoid", -0.5)


# ---- skl2onnx ----


def fitted(estimator: Any, X: Array, y: Array) -> Any:
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(X, y)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("classes", [["a", "b"], ["x", "y", "z"], [0, 1, 2], [3, 5]])
@pytest.mark.parametrize("zipmap", [True, False])
def test_a_classifier_of_scikit_learn(activation: str, classes: Any, zipmap: bool, tmp_path: Path) -> None:
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X = np.random.default_rng(1).standard_normal((60, 4)).astype(np.float32) * 3 + 7
    mlp = MLPClassifier((8,), activation=activation, max_iter=3, random_state=0)
    pipeline = fitted(make_pipeline(StandardScaler(), mlp), X, np.array(classes)[np.arange(60) % len(classes)])
    proto = skl2onnx.to_onnx(pipeline, X[:1], options={id(mlp): {"zipmap": zipmap}}, target_opset=17)
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    model = from_onnx(tmp_path / "m.onnx")
    np.testing.assert_allclose(model.predict_proba(X), pipeline.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(model.predict_labels(X), pipeline.predict(X))


def test_a_regressor_and_labels_of_scikit_learn(rng: np.random.Generator, tmp_path: Path) -> None:
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    X, path = rng.standard_normal((60, 4)).astype(np.float32), tmp_path / "m.onnx"
    regressor = fitted(MLPRegressor(hidden_layer_sizes=(8,), max_iter=2), X, X[:, 0])
    path.write_bytes(skl2onnx.to_onnx(regressor, X[:1], target_opset=17).SerializeToString())
    np.testing.assert_allclose(from_onnx(path).predict(X)[:, 0], regressor.predict(X), atol=1e-6)
    labels = fitted(MLPClassifier((8,), max_iter=2), X, (X[:, :3] > 0).astype(int))
    path.write_bytes(skl2onnx.to_onnx(labels, X[:1], target_opset=17).SerializeToString())
    np.testing.assert_allclose(from_onnx(path).predict_proba(X), labels.predict_proba(X), atol=1e-6)


# ---- what is refused ----


def graph_of(nodes: list[Any], **arrays: Array) -> bytes:
    value = helper.make_tensor_value_info
    inits = [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in arrays.items()]
    body = helper.make_graph(nodes, "g", [value("X", 1, ["n", 2])], [value("y", 1, ["n", 2])], inits)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


def node(operator: str, *inputs: str, **more: Any) -> Any:
    return helper.make_node(operator, list(inputs), ["y"], name="it", **more)


EYE = np.eye(2)
NAMES = ["X", *(f"a{i}" for i in range(98)), "y"]
REFUSED = {
    "an unknown operator": (
        graph_of([node("Conv", "X", "w")], w=EYE),
        r"'it' \(Conv\) has an operator that is not read",
    ),
    "of another domain": (graph_of([node("Relu", "X", domain="mine")]), r"'it' \(Relu\) has an operator"),
    "another function": (graph_of([node("Exp", "X")]), r"'it' \(Exp\) has a function that is no activation"),
    "a product of values": (
        graph_of([helper.make_node("Gemm", ["X", "w"], ["a"]), node("Mul", "X", "a")], w=EYE),
        r"'it' \(Mul\) has two values",
    ),
    "no weights": (graph_of([node("Relu", "X")]), "no weights"),
    "a weight that does not fit": (
        graph_of([helper.make_node("Gemm", ["X", "w"], ["a"]), node("Gemm", "a", "v")], w=EYE, v=np.eye(3)),
        r"'it' \(Gemm\) has a weight of 3 rows after 2 columns",
    ),
    "a missing input": (graph_of([node("Gemm", "X", "w")]), r"'it' \(Gemm\) is not well-formed"),
    "too few inputs": (graph_of([node("Where", "X")]), r"'it' \(Where\) has 1 inputs"),
    "too many inputs": (graph_of([node("Add", "X", "w", "w")], w=EYE), r"'it' \(Add\) has 3 inputs"),
    "no inputs": (graph_of([node("Max")]), r"'it' \(Max\) has 0 inputs"),
    "no node": (graph_of([]), "the output 'y' is made by no node"),
    "a softmax of one output": (
        graph_of([helper.make_node("Gemm", ["X", "w"], ["a"]), node("Softmax", "a")], w=EYE[:, :1]),
        "a softmax of one output, which is always 1",
    ),
    "its logarithm": (
        graph_of([helper.make_node("Gemm", ["X", "w"], ["a"]), node("LogSoftmax", "a")], w=EYE[:, :1]),
        "a softmax of one output",
    ),
    "not finite": (graph_of([node("Gemm", "X", "w")], w=EYE * np.nan), "NaN|finite"),
    "a weight used too often": (
        graph_of([helper.make_node("Gemm", [NAMES[i], "w"], [NAMES[i + 1]]) for i in range(99)], w=np.eye(200)),
        "used more than once",
    ),
    "nothing": (b"", "it has no graph"),
    "text": (b"hello, world", "expected an ONNX file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, tmp_path: Path) -> None:
    content, text = REFUSED[name]
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ValueError, match=text):
        from_onnx(tmp_path / "m.onnx")


def field(number: int, content: bytes) -> bytes:
    length, size = len(content), b""
    while length > 127:
        size, length = size + bytes([length & 127 | 128]), length >> 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + content


BIG = 6 * 10**4
DIMS = b"\x08" + b"\xff" * 8 + b"\x7f"  # a dimension of 2**63 - 1
HOSTILE = {
    "empty nodes": field(7, field(1, b"") * BIG),
    "empty arrays": field(7, field(5, b"") * BIG),
    "nodes of many names": field(7, field(1, field(1, b"ab") * BIG)),
    "attributes": field(7, field(1, field(5, b"") * BIG)),
    "packed numbers": field(7, field(1, field(5, field(8, b"\x01" * 3 * BIG)))),
    "large shapes": field(7, field(5, DIMS * BIG + b"\x10\x01")),
    "a shape without numbers": field(7, field(5, b"\x08\x80\x80\x80\x04" * 4 + b"\x10\x01") * 100),
    "fields of metadata": field(14, b"".join(bytes([i << 3 & 127, 0]) for i in range(16)) * BIG),
    "a length beyond the end": b"\x3a\xff\xff\xff\xff\x0f",
    "an endless number": b"\x3a" + b"\xff" * 100,
    "external data": field(7, field(5, b"\x08\x02\x10\x01" + field(13, b"") + b"\x70\x01")),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_cost_little(name: str, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(HOSTILE[name])
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"\[export.from_onnx\]"):
            from_onnx(tmp_path / "m.onnx")
        assert tracemalloc.get_traced_memory()[1] <= 10 * len(HOSTILE[name]) + 2**24
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("case", ["normalization with gaps", "columns", "members with norms"])
def test_mutations_are_refused_or_read(case: str, rng: np.random.Generator, tmp_path: Path) -> None:
    to_onnx(export_cases.model_of(case), tmp_path / "m.onnx")
    whole = np.frombuffer((tmp_path / "m.onnx").read_bytes(), np.uint8)
    for _ in range(200):
        content = whole.copy()
        content[rng.integers(len(content), size=rng.integers(1, 4))] = rng.integers(256)
        end = len(content) if rng.random() < 0.8 else rng.integers(len(content))
        (tmp_path / "m.onnx").write_bytes(content[:end].tobytes())
        with contextlib.suppress(ValueError):
            from_onnx(tmp_path / "m.onnx")


def test_what_is_run_is_what_is_read(rng: np.random.Generator, tmp_path: Path) -> None:
    weight, bias = rng.standard_normal((2, 2)), rng.standard_normal(2)
    nodes = [
        helper.make_node("Mul", ["X", "half"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["b"]),
        helper.make_node("Add", ["c", "b"], ["d"]),
        helper.make_node("Max", ["d", "zero"], ["e"]),
        helper.make_node("Tanh", ["e"], ["f"]),
        helper.make_node("Mul", ["f", "c"], ["y"]),
    ]
    arrays = {"half": np.float32(0.5), "w": weight, "c": bias, "zero": np.float32(0)}
    (tmp_path / "m.onnx").write_bytes(graph_of(nodes, **arrays))
    X = rng.standard_normal((9, 2)).astype(np.float32)
    assert is_same(from_onnx(tmp_path / "m.onnx").predict(X), run(tmp_path / "m.onnx", X))
