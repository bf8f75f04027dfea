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
