"""Files of other programs come back as what their nodes compute, or are refused: never as something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop
from stoop.export import from_onnx

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

Array = npt.NDArray[Any]
Nodes = list[tuple[str, list[str], str, dict[str, Any]]]  # operator, inputs, output, attributes
ML = {"domain": "ai.onnx.ml"}


def save(nodes: Nodes, arrays: dict[str, Any], path: Path, outputs: dict[str, int], x: tuple[int, int] = (3, 1)) -> str:
    """Write a graph; `x` has the columns of X and its element type, `outputs` the element type of each."""
    value, made = onnx.helper.make_tensor_value_info, onnx.helper.make_node
    body = onnx.helper.make_graph(
        [made(operator, inputs, [output], name=output, **more) for operator, inputs, output, more in nodes],
        "g",
        [value("X", x[1], ["n", x[0]])],
        [value(name, kind, None) for name, kind in outputs.items()],
        [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("ai.onnx.ml", 3)]
    path.write_bytes(onnx.helper.make_model(body, opset_imports=opsets, ir_version=8).SerializeToString())
    return str(path)


def results(path: str, X: Array) -> list[Any]:
    """Return what the runtime computes."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return list(session.run(None, {"X": X}))


def f32(*numbers: float) -> Array:
    return np.array(numbers, np.float32)


# ---- X that is scaled ----

ONE = np.float32(1e9)
SCALED: dict[str, tuple[int, Nodes]] = {
    "scalars": (3, [("Sub", ["X", "far"], "a", {}), ("Div", ["a", "wide"], "x", {})]),
    "a scalar added": (3, [("Add", ["X", "minus"], "a", {}), ("Mul", ["a", "small"], "x", {})]),
    "a scalar less X": (3, [("Sub", ["far", "X"], "a", {}), ("Mul", ["a", "small"], "x", {})]),
    "a Scaler": (3, [("Scaler", ["X"], "x", {"offset": [1e9], "scale": [1e-3], **ML})]),
    "one column": (1, [("Sub", ["X", "vector"], "a", {}), ("Div", ["a", "width"], "x", {})]),
}


@pytest.mark.parametrize("name", SCALED)
def test_x_is_far_from_zero(name: str, rng: np.random.Generator, tmp_path: Path) -> None:
    columns, nodes = SCALED[name]
    arrays = {"far": ONE, "minus": -ONE, "wide": np.float32(1e3), "small": np.float32(1e-3)}
    arrays |= {"vector": f32(1e9), "width": f32(1e3), "w": rng.standard_normal((columns, 2)).astype(np.float32)}
    X = (1e9 + 1e3 * rng.standard_normal((50, columns))).astype(np.float32)
    path = save([*nodes, ("MatMul", ["x", "w"], "y", {})], arrays, tmp_path / "m.onnx", {"y": 1}, (columns, 1))
    [expected] = results(path, X)
    np.testing.assert_allclose(from_onnx(path).predict(X), expected, atol=1e-5 * np.abs(expected).max())


def test_x_is_far_from_zero_in_float64(rng: np.random.Generator, tmp_path: Path) -> None:
    """Milliseconds since 1970: the function of X may not be sampled near zero."""
    arrays = {"far": np.float64(1.7e12), "wide": np.float64(3e5), "w": rng.standard_normal((3, 2))}
    nodes: Nodes = [("Sub", ["X", "far"], "a", {}), ("Div", ["a", "wide"], "x", {}), ("MatMul", ["x", "w"], "y", {})]
    path = save(nodes, arrays, tmp_path / "m.onnx", {"y": 11}, (3, 11))
    X = 1.7e12 + 3e5 * rng.standard_normal((50, 3))
    [expected] = results(path, X)
    np.testing.assert_allclose(from_onnx(path).predict(X), expected, atol=1e-9 * np.abs(expected).max())


def test_a_small_shift_stays_a_number_for_all_columns(rng: np.random.Generator, tmp_path: Path) -> None:
    arrays = {"mean": np.float32(0.5), "wide": np.float32(0.25), "w": rng.standard_normal((3, 2)).astype(np.float32)}
    nodes: Nodes = [("Sub", ["X", "mean"], "a", {}), ("Div", ["a", "wide"], "x", {}), ("MatMul", ["x", "w"], "y", {})]
    model = from_onnx(save(nodes, arrays, tmp_path / "m.onnx", {"y": 1}))
    assert isinstance(model, stoop.Model)
    assert (model.input_scale, model.input_shift) == (4.0, -2.0)


# ---- names of classes ----

LARGEST: Nodes = [("MatMul", ["X", "w"], "z", {}), ("Softmax", ["z"], "p", {}), ("ArgMax", ["p"], "k", {"axis": 1})]
NAMES: dict[str, tuple[Nodes, int]] = {
    "keys in order": ([("LabelEncoder", ["k"], "l", {"keys_int64s": [0, 1], "values_strings": ["a", "b"], **ML})], 8),
    "keys": ([("LabelEncoder", ["k"], "l", {"keys_int64s": [1, 0], "values_strings": ["a", "b"], **ML})], 8),
    "numbers": ([("LabelEncoder", ["k"], "l", {"keys_int64s": [1, 0], "values_int64s": [7, 9], **ML})], 7),
    "real numbers": ([("LabelEncoder", ["k"], "l", {"keys_int64s": [1, 0], "values_floats": [7.0, 9.0], **ML})], 1),
    "a default": (
        [("LabelEncoder", ["k"], "l", {"keys_int64s": [1], "values_strings": ["b"], "default_string": "a", **ML})],
        8,
    ),
    "the usual default": (
        [("LabelEncoder", ["k"], "l", {"keys_int64s": [1, 5], "values_strings": ["b", "c"], **ML})],
        8,
    ),
    "names of numbers": (
        [
            ("ArrayFeatureExtractor", ["numbers", "k"], "n", ML),
            ("LabelEncoder", ["n"], "l", {"keys_int64s": [10, 20], "values_strings": ["ten", "twenty"], **ML}),
        ],
        8,
    ),
    "numbers of names": (
        [
            ("LabelEncoder", ["k"], "n", {"keys_int64s": [0, 1], "values_strings": ["b", "a"], **ML}),
            ("LabelEncoder", ["n"], "l", {"keys_strings": ["a", "b"], "values_int64s": [3, 5], **ML}),
        ],
        7,
    ),
    "picked twice": (
        [("Gather", ["order", "k"], "n", {}), ("Gather", ["numbers", "n"], "l", {"axis": 0})],
        7,
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_are_those_of_the_file(name: str, rng: np.random.Generator, tmp_path: Path) -> None:
    nodes, kind = NAMES[name]
    arrays = {"w": rng.standard_normal((3, 2)).astype(np.float32), "numbers": np.array([20, 10])}
    path = save([*LARGEST, *nodes], arrays | {"order": np.array([1, 0])}, tmp_path / "m.onnx", {"l": kind, "p": 1})
    X = rng.standard_normal((20, 3)).astype(np.float32)
    labels, probabilities = results(path, X)
    model = from_onnx(path)
    np.testing.assert_array_equal(model.predict_labels(X), np.reshape(labels, -1))
    np.testing.assert_allclose(model.predict_proba(X), probabilities, rtol=1e-5)


NO_NAMES: dict[str, tuple[Nodes, str]] = {
    "two classes of one name": (
        [("LabelEncoder", ["k"], "l", {"keys_int64s": [5], "values_strings": ["a"], **ML})],
        "two classes of one name",
    ),
    "too few names": ([("Gather", ["few", "k"], "l", {})], "no name for the class 1"),
    "no values": ([("LabelEncoder", ["k"], "l", {"keys_int64s": [0, 1], **ML})], "a LabelEncoder without keys or valu"),
    "the largest of labels": ([("ArgMax", ["k"], "l", {"axis": 1})], "an input that is no value of the network"),
    "other names of the columns": (
        [("ZipMap", ["p"], "m", {"classlabels_int64s": [1, 0], **ML}), ("Identity", ["k"], "l", {})],
        "names of classes that are not those of the labels",
    ),
}


@pytest.mark.parametrize("name", NO_NAMES)
def test_names_that_no_model_has(name: str, tmp_path: Path) -> None:
    nodes, text = NO_NAMES[name]
    arrays = {"w": np.eye(3, 2, dtype=np.float32), "few": np.array([20])}
    outputs = {"l": 7} if all(node[2] != "m" for node in nodes) else {"l": 7, "m": 1}
    path = save([*LARGEST, *nodes], arrays, tmp_path / "m.onnx", outputs)
    with pytest.raises(ValueError, match=text):
        from_onnx(path)


def test_names_of_labels_by_one_half(rng: np.random.Generator, tmp_path: Path) -> None:
    """Of one probability they are the names of two classes; of several, names of "no" and "yes" in each column."""
    nodes: Nodes = [("MatMul", ["X", "w"], "z", {}), ("Sigmoid", ["z"], "p", {}), ("Greater", ["p", "half"], "g", {})]
    nodes += [("Cast", ["g"], "k", {"to": 7}), ("Gather", ["names", "k"], "l", {})]
    arrays = {"w": rng.standard_normal((3, 1)).astype(np.float32), "half": np.float32(0.5), "names": np.array([5, 3])}
    path, X = save(nodes, arrays, tmp_path / "m.onnx", {"l": 7}), rng.standard_normal((20, 3)).astype(np.float32)
    np.testing.assert_array_equal(from_onnx(path).predict_labels(X), np.reshape(results(path, X)[0], -1))
    arrays["w"] = rng.standard_normal((3, 2)).astype(np.float32)
    path = save(nodes, arrays, tmp_path / "m.onnx", {"l": 7})
    with pytest.raises(ValueError, match="names of labels that do not exclude each other"):
        from_onnx(path)


# ---- labels by 1/2, element types, and what follows probabilities ----

UINT8, INT64, HALF = 2, 7, 10
GEMM: tuple[str, list[str], str, dict[str, Any]] = ("Gemm", ["a", "w"], "z", {})
ONE_MINUS: Nodes = [("Sigmoid", ["z"], "p", {}), ("Sub", ["one", "p"], "q", {})]
OTHERS: dict[str, tuple[Nodes, int, str]] = {
    "a threshold of logits": (
        [("Gemm", ["X", "w"], "z", {}), ("Binarizer", ["z"], "y", {"threshold": 0.5, **ML})],
        1,
        "labels by 1/2 of what is no probability",
    ),
    "a threshold of a softmax": (
        [
            ("Gemm", ["X", "w"], "z", {}),
            ("Softmax", ["z"], "p", {}),
            ("Binarizer", ["p"], "y", {"threshold": 0.5, **ML}),
        ],
        1,
        "labels by 1/2 of what is no probability",
    ),
    "whole numbers divided": (
        [("Div", ["X", "ten"], "n", {}), ("Cast", ["n"], "a", {"to": 1}), GEMM, ("Identity", ["z"], "y", {})],
        INT64,
        r"'n' \(Div\) has X of whole numbers \(int64\) before a Cast to float",
    ),
    "bytes subtracted": (
        [("Sub", ["X", "byte"], "n", {}), ("Cast", ["n"], "a", {"to": 1}), GEMM, ("Identity", ["z"], "y", {})],
        UINT8,
        r"'n' \(Sub\) has X of whole numbers \(uint8\) before a Cast to float",
    ),
    "whole constants divided": (
        [
            ("Div", ["ten", "three"], "n", {}),
            ("Cast", ["n"], "f", {"to": 1}),
            ("Mul", ["X", "f"], "a", {}),
            ("Gemm", ["a", "w"], "y", {}),
        ],
        1,
        r"'n' \(Div\) has a division of whole numbers",
    ),
    "probabilities as whole numbers": (
        [("Gemm", ["X", "w"], "z", {}), ("Softmax", ["z"], "p", {}), ("Cast", ["p"], "y", {"to": INT64})],
        1,
        r"'y' \(Cast\) has probabilities that become no float32 or float64",
    ),
    "probabilities in a row": (
        [("Gemm", ["X", "w"], "z", {}), ("Softmax", ["z"], "p", {}), ("Reshape", ["p", "row"], "y", {})],
        1,
        r"'y' \(Reshape\) has the shape \[-1\] of 2 columns",
    ),
    "both classes below one another": (
        [("Gemm", ["X", "v"], "z", {}), *ONE_MINUS, ("Concat", ["q", "p"], "y", {"axis": 0})],
        1,
        r"'y' \(Concat\) has axis 0",
    ),
    "labels in a row": (
        [
            ("Gemm", ["X", "w"], "z", {}),
            ("Sigmoid", ["z"], "p", {}),
            ("Binarizer", ["p"], "l", {"threshold": 0.5, **ML}),
            ("Reshape", ["l", "row"], "y", {}),
        ],
        1,
        r"'y' \(Reshape\) has the shape \[-1\] of 2 columns",
    ),
    "labels as texts": (
        [
            ("Gemm", ["X", "w"], "z", {}),
            ("ArgMax", ["z"], "l", {"axis": 1}),
            ("Cast", ["l"], "y", {"to": 8}),
        ],
        1,
        r"'y' \(Cast\) has labels that become no numbers",
    ),
    "a Dropout of the training": (
        [("Dropout", ["X", "half", "true"], "a", {}), GEMM, ("Identity", ["z"], "y", {})],
        1,
        r"'a' \(Dropout\) has training",
    ),
    "a fixed number of rows": (
        [("Gemm", ["X", "w"], "z", {}), ("Reshape", ["z", "seven"], "y", {})],
        1,
        r"'y' \(Reshape\) has the shape \[7, -1\] of 2 columns: of 7 rows and no other number; .*; export it with a dy",
    ),
}
CONSTANTS: dict[str, Any] = {
    "w": np.eye(3, 2, dtype=np.float32) + np.float32(0.5),
    "v": f32(1, -1, 2).reshape(3, 1),
    "one": np.float32(1),
    "ten": np.int64(10),
    "three": np.int64(3),
    "byte": np.uint8(100),
    "row": np.array([-1]),
    "seven": np.array([7, -1]),
    "half": np.float32(0.5),
    "true": np.array(True),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_something_else(name: str, tmp_path: Path) -> None:
    nodes, kind, text = OTHERS[name]
    path = save(nodes, CONSTANTS, tmp_path / "m.onnx", {"y": 1}, (3, kind))
    with pytest.raises(ValueError, match=text):
        from_onnx(path)


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.int64])
@pytest.mark.parametrize("first", ["Cast", "Scaler"])
def test_whole_numbers_that_become_real_first(kind: Any, first: str, tmp_path: Path) -> None:
    more: dict[str, Any] = {"to": 1} if first == "Cast" else {"offset": [100.0], "scale": [0.5], **ML}
    nodes: Nodes = [("Flatten", ["X"], "b", {}), (first, ["b"], "c", more), ("Div", ["c", "half"], "a", {}), GEMM]
    x = (3, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind)))
    path = save([*nodes, ("Identity", ["z"], "y", {})], CONSTANTS, tmp_path / "m.onnx", {"y": 1}, x)
    X = np.arange(30).reshape(10, 3).astype(kind)
    expected = (X.astype(np.float32) * 2 if first == "Cast" else X.astype(np.float32) - 100) @ CONSTANTS["w"]
    np.testing.assert_allclose(from_onnx(path).predict(X.astype(np.float32)), expected, rtol=1e-6)


# ---- messages ----

UNUSUAL: dict[str, tuple[Nodes, str]] = {
    "NaN in the middle": (
        [("Log", ["z"], "l", {}), ("Gemm", ["l", "square"], "y", {})],
        r"'l' \(Log\) has a function that is no activation",
    ),
    "NaN at the end": ([("Log", ["z"], "y", {})], r"'y' \(Log\) has a function that is no activation"),
    "a LayerNorm without epsilon": (
        [("LayerNormalization", ["z", "ones"], "y", {"epsilon": 0.0})],
        r"'y' \(LayerNormalization\) has epsilon 0\.0, where",
    ),
    "a BatchNorm without epsilon": (
        [("BatchNormalization", ["z", "ones", "ones", "ones", "ones"], "y", {"epsilon": float("nan")})],
        r"'y' \(BatchNormalization\) has epsilon nan, where",
    ),
    "numbers that are not finite": (
        [("Add", ["z", "endless"], "y", {})],
        r"m\.onnx has what no model takes \(.*\); expected finite numbers",
    ),
    "a steep activation": ([("LeakyRelu", ["z"], "y", {"alpha": 3e38})], "export.from_onnx"),
    "names that are numbers and texts": (
        [("ArgMax", ["z"], "k", {"axis": 1}), ("LabelEncoder", ["k"], "y", {"keys_int64s": [0, 1], **ML})],
        r"'y' \(LabelEncoder\) has a LabelEncoder without keys or values",
    ),
    "names of other classes": (
        [("ZipMap", ["z"], "y", {"classlabels_int64s": [4, 5, 6], **ML})],
        r"m\.onnx has names of classes that no model takes \(.*3 names for 2 outputs",
    ),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_messages_name_the_file_or_the_node(name: str, tmp_path: Path) -> None:
    nodes, text = UNUSUAL[name]
    arrays = {"square": np.eye(2, dtype=np.float32), "ones": f32(1, 1), "endless": f32(np.inf, 1), **CONSTANTS}
    path = save([("Gemm", ["X", "w"], "z", {}), *nodes], arrays, tmp_path / "m.onnx", {"y": 1})
    with pytest.raises(ValueError, match=text) as caught:
        from_onnx(path)
    assert str(caught.value).startswith("[export.from_onnx]")
