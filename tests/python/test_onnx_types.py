"""register_skl2onnx: the types and shapes that a pipeline's file says its outputs have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stoop
from helpers import refused

onnxruntime = pytest.importorskip("onnxruntime")
skl2onnx = pytest.importorskip("skl2onnx")
pytest.importorskip("narwhals")

from stoop.export import from_onnx, register_skl2onnx, to_onnx  # noqa: E402
from stoop.sklearn import MLPClassifier, MLPRegressor  # noqa: E402
from stoop.tabular import TabularRegressor  # noqa: E402

register_skl2onnx()
X = np.random.default_rng(0).normal(size=(90, 3)).astype(np.float32)
SMALL: dict[str, Any] = {"hidden": (8,), "members": 2, "epochs": 20, "random_state": 0, "num_threads": 1}


def run(estimator: Any, rows: Any = X) -> tuple[list[int], list[Any]]:
    """Return how many columns an estimator's file says its outputs have, and these for the rows."""
    options = {type(estimator): {"zipmap": False}} if hasattr(estimator, "classes_") else None
    proto = skl2onnx.to_onnx(estimator, rows[:1], target_opset=17, options=options)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    columns = [output.type.tensor_type.shape.dim[1].dim_value for output in proto.graph.output]
    return columns, session.run(None, {"X": rows})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [1, 2])
def test_values_that_float32_cannot_hold_are_double(dtype: Any, columns: int) -> None:
    y = np.column_stack([1e9 + X[:, 0].astype(np.float64), X[:, 1]])[:, :columns]
    model = TabularRegressor(**SMALL).fit(X, y if columns > 1 else y[:, 0])
    widths, (values,) = run(model, X.astype(dtype))
    assert (values.dtype, widths) == (np.float64, [columns])
    np.testing.assert_allclose(values, model.predict(X).reshape(90, columns), rtol=0, atol=1e-5 * y.std(axis=0).max())


def test_several_outputs_have_a_column_each() -> None:
    model = MLPRegressor(max_iter=300, random_state=0, tol=1.0).fit(X, X[:, :2])
    columns, (values,) = run(model)
    assert (values.dtype, columns) == (np.float32, [2])
    np.testing.assert_allclose(values, model.predict(X), atol=1e-5)


def test_several_labels_have_a_column_each() -> None:
    model = MLPClassifier(max_iter=300, random_state=0, tol=1.0).fit(X, X > 0.0)
    columns, (labels, probabilities) = run(model)
    assert columns == [3, 3]
    np.testing.assert_array_equal(labels, model.predict(X))
    np.testing.assert_allclose(probabilities, model.predict_proba(X), atol=1e-5)


def test_labels_that_int64_cannot_hold_are_refused() -> None:
    y = np.array([2**63 + 10, 2**63 + 4096], np.uint64)[(X[:, 0] > 0).astype(int)]
    model = MLPClassifier(max_iter=300, random_state=0, tol=1.0).fit(X, y)
    with refused(ValueError, "the classes are", "below 2.*63"):
        run(model)


def test_metadata_of_any_name_but_those_of_the_file_comes_back(tmp_path: Path) -> None:
    model = stoop.Model([stoop.Dense(2)], 3)
    model.metadata = {"stoop.table": "{}", "author": "somebody"}
    to_onnx(model, tmp_path / "m.onnx")
    assert from_onnx(tmp_path / "m.onnx").metadata == model.metadata
    for name in ("stoop.models", "stoop.classes", "stoop.version"):
        model.metadata = {name: "2"}
        with refused(ValueError, f"the model has metadata under '{name}'", "expected other names"):
            to_onnx(model, tmp_path / "m.onnx")
