"""Functions of elements in ONNX files: those of Stoop are recognised, those that only look like them are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import crossed
import stoop
from stoop.export import from_onnx, to_onnx
from test_onnx_export import moved, run
from test_onnx_import import without_layers

onnx = pytest.importorskip("onnx")

Array = npt.NDArray[Any]
Nodes = list[tuple[str, list[Any]]]


def file_of(nodes: Nodes, path: Path, columns: int = 1) -> Path:
    """Write a product, an operator after the other, and a product; "it" is what is before, numbers are constants."""
    arrays = {"first": np.eye(columns, dtype=np.float32) * 2, "last": np.ones((columns, 2), np.float32)}
    made = [onnx.helper.make_node("MatMul", ["X", "first"], ["v0"])]
    for place, (operator, inputs) in enumerate(nodes):
        names = [f"v{place}" if part == "it" else part for part in inputs]
        for k, part in enumerate(names):
            if isinstance(part, float):
                names[k] = f"c{place}_{k}"
                arrays[names[k]] = np.float32(part)
        made.append(onnx.helper.make_node(operator, names, [f"v{place + 1}"], name=f"n{place + 1}"))
    made.append(onnx.helper.make_node("MatMul", [f"v{len(nodes)}", "last"], ["y"]))
    return save(made, arrays, path, columns)


def save(nodes: list[Any], arrays: dict[str, Any], path: Path, columns: int) -> Path:
    value = onnx.helper.make_tensor_value_info
    inits = [onnx.numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in arrays.items()]
    body = onnx.helper.make_graph(nodes, "g", [value("X", 1, ["n", columns])], [value("y", 1, ["n", 2])], inits)
    proto = onnx.helper.make_model(body, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(proto.SerializeToString())
    return path


def shrink(size: float) -> Nodes:
    """Zero for what is nearer to zero, as torch.nn.Hardshrink is exported."""
    return [("Abs", ["it"]), ("Greater", ["it", size]), ("Where", ["it", "v0", 0.0])]


ALIKE: dict[str, tuple[Nodes, str]] = {
    "a clip from 0": ([("Clip", ["it", 0.0, 100.0])], "Clip"),
    "a clip far out": ([("Clip", ["it", 0.0, 61.0])], "Clip"),
    "a clip of both sides": ([("Clip", ["it", -100.0, 100.0])], "Clip"),
    "a clip from below": ([("Clip", ["it", -50.0, ""])], "Clip"),
    "a clip very far out": ([("Clip", ["it", -1e20, 1e20])], "Clip"),
    "a clip of what is scaled": ([("Mul", ["it", 1e-3]), ("Clip", ["it", 0.0, 1.0])], "Clip"),
    "a clip before": ([("Clip", ["it", -90.0, 90.0]), ("Relu", ["it"])], "Clip"),
    "a clip within": ([("Clip", ["it", -90.0, 90.0]), ("Sigmoid", ["it"]), ("Mul", ["it", "v1"])], "Clip"),
    "the least of two": ([("Relu", ["it"]), ("Min", ["it", 300.0])], "Min"),
    "a shrink": (shrink(0.01), "Where"),
    "a small shrink": (shrink(1e-4), "Where"),
    "a gap": (
        [("Sub", ["it", 3.055]), ("Abs", ["it"]), ("Less", ["it", 0.005]), ("Where", ["it", 9.0, "v0"])],
        "Where",
    ),
    "a step": ([("Greater", ["it", 1e6]), ("Where", ["it", 2.0, "v0"])], "Where"),
    "another slope": ([("Less", ["it", -70.0]), ("Mul", ["v0", 0.5]), ("Where", ["v1", "it", "v0"])], "Where"),
    "an end": ([("Sigmoid", ["it"]), ("Greater", ["v0", 1e7]), ("Where", ["it", 2.0, "v1"])], "Where"),
    "an infinity": ([("Greater", ["it", 90.0]), ("Where", ["it", float("inf"), "v0"])], "Where"),
    "a leaky ramp": ([("Mul", ["it", 0.01]), ("Max", ["it", "v0"]), ("Min", ["it", 5e4])], "Min"),
}


@pytest.mark.parametrize("case", ALIKE)
def test_what_only_looks_like_a_layer_is_refused(case: str, tmp_path: Path) -> None:
    nodes, operator = ALIKE[case]
    path = file_of(nodes, tmp_path / "m.onnx")
    with pytest.raises(ValueError, match=rf"the node 'n\d' \({operator}\) has a function that is no activation"):
        from_onnx(path)


WITHIN: dict[str, tuple[Nodes, Any]] = {
    "relu6": ([("Clip", ["it", 0.0, 6.0])], stoop.ReLU6()),
    "relu by a clip": ([("Clip", ["it", 0.0, ""])], stoop.ReLU()),
    "relu by a maximum": ([("Max", ["it", 0.0])], stoop.ReLU()),
    "relu6 of two": ([("Relu", ["it"]), ("Min", ["it", 6.0])], stoop.ReLU6()),
    "a clip after its range": ([("Sigmoid", ["it"]), ("Clip", ["it", 0.0, 1.0])], stoop.Sigmoid()),
    "a clip that changes nothing": ([("Tanh", ["it"]), ("Clip", ["it", -100.0, 100.0])], stoop.Tanh()),
    "after a scale": (
        [("Mul", ["it", 0.3]), ("Tanh", ["it"]), ("Clip", ["it", -100.0, 100.0]), ("Mul", ["it", 2.0])],
        stoop.Tanh(),
    ),
    "a guarded sigmoid": (
        [("Clip", ["it", -80.0, 80.0]), ("Neg", ["it"]), ("Exp", ["it"]), ("Add", ["it", 1.0]), ("Div", [1.0, "it"])],
        stoop.Sigmoid(),
    ),
    "a softplus that overflows": ([("Exp", ["it"]), ("Add", ["it", 1.0]), ("Log", ["it"])], stoop.Softplus()),
    "a softplus of two": (
        [
            ("Exp", ["it"]),
            ("Add", ["it", 1.0]),
            ("Log", ["it"]),
            ("Greater", ["v0", 20.0]),
            ("Where", ["it", "v0", "v3"]),
        ],
        stoop.Softplus(),
    ),
    "leaky by a maximum": ([("Mul", ["it", 0.01]), ("Max", ["it", "v0"])], stoop.LeakyReLU(0.01)),
    "relu6 by a difference": (
        [("Relu", ["it"]), ("Sub", ["v0", 6.0]), ("Relu", ["it"]), ("Sub", ["v1", "it"])],
        stoop.ReLU6(),
    ),
    "leaky by parts": (
        [("Relu", ["it"]), ("Neg", ["v0"]), ("Relu", ["it"]), ("Mul", ["it", 0.3]), ("Sub", ["v1", "it"])],
        stoop.LeakyReLU(0.3),
    ),
    "silu of an exponential": (
        [("Neg", ["it"]), ("Exp", ["it"]), ("Add", ["it", 1.0]), ("Div", ["v0", "it"])],
        stoop.SiLU(),
    ),
    "tanh of exponentials": (
        [
            ("Exp", ["it"]),
            ("Neg", ["v0"]),
            ("Exp", ["it"]),
            ("Sub", ["v1", "it"]),
            ("Add", ["v1", "v3"]),
            ("Div", ["v4", "it"]),
        ],
        stoop.Tanh(),
    ),
}


@pytest.mark.parametrize("case", WITHIN)
def test_a_layer_of_other_operators(case: str, tmp_path: Path) -> None:
    nodes, layer = WITHIN[case]
    path, X = file_of(nodes, tmp_path / "m.onnx", 3), np.linspace(-18.0, 18.0, 60, dtype=np.float32).reshape(-1, 3)
    model = from_onnx(path)
    assert layer in [getattr(each, "activation", None) for each in model.layers]
    np.testing.assert_allclose(model.predict(X), run(path, X), rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("size", [0.0, 0.05])
def test_probabilities_of_two_classes(size: float, tmp_path: Path) -> None:
    """``[1 - p, p]``, and one whose first column is something else where p is about 0.4."""
    nodes = [
        ("MatMul", ["X", "w"], "z"),
        ("Sigmoid", ["z"], "p"),
        ("Sub", ["one", "p"], "rest"),
        ("Sub", ["p", "middle"], "away"),
        ("Abs", ["away"], "distance"),
        ("Less", ["distance", "size"], "is_near"),
        ("Where", ["is_near", "one", "rest"], "q"),
        ("Concat", ["q", "p"], "y"),
    ]
    arrays = {"w": [[1.0], [2.0]], "one": 1.0, "middle": 0.4, "size": size}
    made = [
        onnx.helper.make_node(o, i, [out], name=out, **({"axis": 1} if o == "Concat" else {})) for o, i, out in nodes
    ]
    save(made, arrays, tmp_path / "m.onnx", 2)
    if size == 0.0:
        assert from_onnx(tmp_path / "m.onnx").output == "sigmoid"
    else:
        with pytest.raises(ValueError, match=r"'y' \(Concat\) has several values"):
            from_onnx(tmp_path / "m.onnx")


# ---- one column ----


@pytest.mark.parametrize("kind", ["standard", "robust", "minmax"])
@pytest.mark.parametrize("missing", ["error", "mean"])
@pytest.mark.parametrize("clip", [None, 2.0])
@pytest.mark.parametrize("columns", [1, 2])
def test_a_normalization_comes_back(
    kind: str, missing: str, clip: float | None, columns: int, rng: np.random.Generator, tmp_path: Path
) -> None:
    layers = [stoop.Normalization(kind, clip=clip, missing=missing), stoop.Dense(4, "relu"), stoop.Dense(2)]
    model, X = stoop.Model(layers, columns), (rng.standard_normal((60, columns)) * 5 + 3).astype(np.float32)
    if missing == "mean":
        X[::7] = np.nan
    model.adapt(X)
    to_onnx(model, tmp_path / "m.onnx")
    again = from_onnx(without_layers(tmp_path / "m.onnx"))
    if missing == "mean" or columns > 1:  # one scale and shift are no layer
        assert isinstance(again.layers[0], stoop.Normalization)
    np.testing.assert_allclose(again.predict(X), model.predict(X), rtol=1e-5, atol=1e-6)


def test_numbers_for_missing_values_alone(tmp_path: Path) -> None:
    nodes = [
        ("IsNaN", ["X"], "gap"),
        ("Where", ["gap", "number", "X"], "whole"),
        ("MatMul", ["whole", "w"], "y"),
    ]
    made = [onnx.helper.make_node(o, i, [out], name=out) for o, i, out in nodes]
    save(made, {"number": 3.5, "w": [[1.0, 2.0]]}, tmp_path / "m.onnx", 1)
    again = from_onnx(tmp_path / "m.onnx")
    np.testing.assert_allclose(again.predict(np.float32([[1.0], [np.nan]])), [[1.0, 2.0], [3.5, 7.0]], rtol=1e-6)


LAYERS = {name: each for name, each in crossed.activation_layers().items() if not isinstance(each, stoop.Identity)}


@pytest.mark.parametrize("name", ["Norm", "Scale", "Batch", *LAYERS])
def test_layers_of_one_column(name: str, rng: np.random.Generator, tmp_path: Path) -> None:
    layer = {"Norm": stoop.LayerNorm(), "Scale": stoop.FeatureScale(), "Batch": stoop.BatchNorm()}.get(name)
    layer = LAYERS[name] if layer is None else layer
    model = stoop.Model([stoop.Dense(1), layer, stoop.Dense(1)], 1)
    moved(model, rng)
    to_onnx(model, tmp_path / "m.onnx", fold_batch_norm=False)
    again, X = from_onnx(without_layers(tmp_path / "m.onnx")), rng.standard_normal((20, 1)).astype(np.float32)
    np.testing.assert_allclose(again.predict(X), model.predict(X), rtol=1e-5, atol=1e-5)


# ---- the end ----


def test_logarithms_of_probabilities(rng: np.random.Generator, tmp_path: Path) -> None:
    made = [
        onnx.helper.make_node("MatMul", ["X", "w"], ["z"]),
        onnx.helper.make_node("LogSoftmax", ["z"], ["y"], axis=1),
    ]
    save(made, {"w": rng.standard_normal((3, 2))}, tmp_path / "m.onnx", 3)
    model, X = from_onnx(tmp_path / "m.onnx"), rng.standard_normal((5, 3)).astype(np.float32)
    assert model.output == "softmax"
    np.testing.assert_allclose(np.log(model.predict_proba(X)), run(tmp_path / "m.onnx", X), rtol=1e-5)


@pytest.mark.parametrize(
    ("operator", "attributes", "text"),
    [
        ("ArgMax", {"axis": 0}, "axis 0"),
        ("Binarizer", {"threshold": 0.7, "domain": "ai.onnx.ml"}, "the threshold 0.69"),
    ],
)
def test_labels_that_are_others(operator: str, attributes: dict[str, Any], text: str, tmp_path: Path) -> None:
    made = [onnx.helper.make_node(*each) for each in (("MatMul", ["X", "w"], ["z"]), ("Softmax", ["z"], ["p"]))]
    made.append(onnx.helper.make_node(operator, ["p"], ["y"], name="it", **attributes))
    save(made, {"w": np.eye(2)}, tmp_path / "m.onnx", 2)
    with pytest.raises(ValueError, match=rf"'it' \({operator}\) has {text}"):
        from_onnx(tmp_path / "m.onnx")


LABELS: dict[str, tuple[list[tuple[str, list[str], dict[str, Any]]], str]] = {
    "the largest of sigmoids": (
        [("Sigmoid", ["z"], {}), ("ArgMax", ["v0"], {"axis": 1})],
        "the graph has the largest of probabilities that do not exclude each other",
    ),
    "a threshold of a softmax": (
        [("Softmax", ["z"], {}), ("Binarizer", ["v0"], {"threshold": 0.5, "domain": "ai.onnx.ml"})],
        "the graph has labels by 1/2 of what is no probability of its own",
    ),
    "a threshold of logits": (
        [("Greater", ["z", "half"], {}), ("Cast", ["v0"], {"to": 7})],
        "the graph has labels by 1/2 of what is no probability of its own",
    ),
    "another threshold": (
        [("Sigmoid", ["z"], {}), ("Greater", ["v0", "third"], {}), ("Cast", ["v1"], {"to": 7})],
        r"'it' \(Cast\) has another threshold than 0.5",
    ),
    "one column": (
        [("Softmax", ["z"], {}), ("Slice", ["v0", "0", "1", "1"], {})],
        "the graph has 1 columns of probabilities, where all are expected",
    ),
    "several columns": (
        [("Softmax", ["z"], {}), ("Slice", ["v0", "0", "2", "1"], {})],
        r"'it' \(Slice\) has a part of the probabilities that is no single column",
    ),
    "columns of logits": ([("Slice", ["z", "0", "1", "1"], {})], r"'it' \(Slice\) has columns that are picked"),
    "names alone": ([("Identity", ["half"], {})], "the graph has 1 outputs of different values"),
}


@pytest.mark.parametrize("name", LABELS)
def test_what_shows_no_classes_of_a_model(name: str, tmp_path: Path) -> None:
    made = [onnx.helper.make_node("MatMul", ["X", "w"], ["z"])]
    for place, (operator, inputs, more) in enumerate(LABELS[name][0]):
        is_last = place == len(LABELS[name][0]) - 1
        made.append(
            onnx.helper.make_node(
                operator, inputs, ["y" if is_last else f"v{place}"], "it" if is_last else None, **more
            )
        )
    numbers: dict[str, Any] = {str(number): [number] for number in range(3)}
    save(made, {"w": np.eye(2), "half": 0.5, "third": 1 / 3, **numbers}, tmp_path / "m.onnx", 2)
    with pytest.raises(ValueError, match=LABELS[name][1]):
        from_onnx(tmp_path / "m.onnx")


TEXTS = [
    "[" * 100_000,
    "{",
    "3",
    "{}",
    '{"names": ["a", "b"], "dtype": "int64"}',
    '{"names": ["1", "99999999999999999999"], "dtype": "int64"}',
    '{"names": ["1", "2"], "dtype": "int8x"}',
    '{"names": ["a", "a"], "dtype": "str"}',
    '{"names": ["a"], "dtype": "str"}',
    '{"names": ["a", "\\ud800"], "dtype": "str"}',
    '{"names": "ab", "dtype": 3}',
]


@pytest.mark.parametrize("text", TEXTS)
def test_names_of_classes_that_are_none(text: str, tmp_path: Path) -> None:
    model = stoop.Model([stoop.Dense(2)], 3, output="softmax")
    model.classes = ["a", "b"]
    to_onnx(model, tmp_path / "m.onnx")
    proto = onnx.load(tmp_path / "m.onnx")
    next(entry for entry in proto.metadata_props if entry.key == "stoop.classes").value = text
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match=r"stoop.classes is .*; expected JSON .*; change or remove") as error:
        from_onnx(tmp_path / "m.onnx")
    assert len(str(error.value)) < 300
