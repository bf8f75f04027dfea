"""skl2onnx converts pipelines with estimators of Stoop."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop
from stoop.export import register_skl2onnx

skl2onnx = pytest.importorskip("skl2onnx")
runtime = pytest.importorskip("onnxruntime")
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

Array = npt.NDArray[Any]


@pytest.fixture(autouse=True)
def _registered() -> None:
    register_skl2onnx()
    register_skl2onnx()


def fitted(estimator: Any, X: Array, y: Array) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(X, y)


def results(estimator: Any, X: Array, **more: Any) -> list[Any]:
    proto = skl2onnx.to_onnx(estimator, X[:1], **{"target_opset": 17, **more})
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"X": X})


@pytest.mark.parametrize("opset", [17, 21])
@pytest.mark.parametrize("classes", [["a", "b"], ["x", "y", "z"], [0, 1, 2], [3, 5]])
def test_a_pipeline_with_a_classifier(classes: list[Any], opset: int, rng: np.random.Generator) -> None:
    X = rng.standard_normal((60, 4)).astype(np.float32) * 3 + 7
    mlp = stoop.sklearn.MLPClassifier((8,), max_iter=3, batch_norm=True, layer_norm=True, random_state=0)
    pipeline = fitted(make_pipeline(StandardScaler(), mlp), X, np.array(classes)[np.arange(60) % len(classes)])
    labels, probabilities = results(pipeline, X, options={id(mlp): {"zipmap": False}}, target_opset=opset)
    np.testing.assert_array_equal(labels, pipeline.predict(X))
    np.testing.assert_allclose(probabilities, pipeline.predict_proba(X), atol=1e-5)
    if opset == 17:
        _, maps = results(pipeline, X)
        assert set(maps[0]) == set(classes)


def test_labels(rng: np.random.Generator) -> None:
    X = rng.standard_normal((60, 4)).astype(np.float32)
    mlp = fitted(stoop.sklearn.MLPClassifier((8,), max_iter=3), X, (X[:, :3] > 0).astype(int))
    labels, probabilities = results(mlp, X, options={"zipmap": False})
    np.testing.assert_array_equal(labels, mlp.predict(X))
    np.testing.assert_allclose(probabilities, mlp.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_regressor(loss: str, dtype: Any, rng: np.random.Generator) -> None:
    X = rng.random((60, 4)).astype(dtype)
    mlp = fitted(stoop.sklearn.MLPRegressor(loss, hidden_layer_sizes=(8,), max_iter=3), X, X[:, 0])
    [values] = results(mlp, X)
    assert values.dtype == dtype
    np.testing.assert_allclose(values[:, 0], mlp.predict(X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [0, 2.0, "a", True])
@pytest.mark.parametrize("zipmap", [True, False, "columns"])
def test_a_classifier_of_a_single_class(name: Any, zipmap: Any, rng: np.random.Generator, tmp_path: Path) -> None:
    from sklearn.neural_network import MLPClassifier

    X, y = rng.standard_normal((30, 3)).astype(np.float32), np.array([name] * 30)
    forms = []
    for kind in (MLPClassifier, stoop.sklearn.MLPClassifier):
        mlp = fitted(kind(hidden_layer_sizes=(4,), max_iter=3), X, y)
        labels, probabilities = results(mlp, X, options={"zipmap": zipmap})
        np.testing.assert_array_equal(labels, mlp.predict(X))
        forms.append(np.shape(probabilities))
    theirs = fitted(MLPClassifier(hidden_layer_sizes=(4,), max_iter=3), X, y)
    (tmp_path / "m.onnx").write_bytes(skl2onnx.to_onnx(theirs, X[:1], target_opset=17).SerializeToString())
    with pytest.raises(ValueError, match=r"has 1 classes; expected at least 2|has the largest of one probability"):
        stoop.export.from_onnx(tmp_path / "m.onnx")
    assert forms[0] == forms[1]  # as a classifier of scikit-learn has


# ---- and back ----


def read_back(estimator: Any, X: Array, path: Path, **more: Any) -> stoop.Model:
    proto = skl2onnx.to_onnx(estimator, X[:1], **{"target_opset": 17, **more})
    path.write_bytes(proto.SerializeToString())
    model = stoop.export.from_onnx(path)
    assert isinstance(model, stoop.Model)
    return model


ZIPMAPS: list[dict[str, Any]] = [
    {"zipmap": True},
    {"zipmap": False},
    {"zipmap": "columns"},
    {"zipmap": False, "output_class_labels": True},
]


@pytest.mark.parametrize("theirs", [False, True])
@pytest.mark.parametrize("options", ZIPMAPS, ids=str)
@pytest.mark.parametrize("classes", [["a", "b"], ["x", "y", "z"], [0, 1, 2], [3, 5]], ids=str)
def test_a_classifier_is_read_back(
    classes: list[Any], options: dict[str, Any], theirs: bool, rng: np.random.Generator, tmp_path: Path
) -> None:
    from sklearn.neural_network import MLPClassifier

    dtype = np.float64 if len(classes) == 3 else np.float32
    X = (rng.standard_normal((60, 4)) * 3 + 7).astype(dtype)
    mlp = (MLPClassifier if theirs else stoop.sklearn.MLPClassifier)(hidden_layer_sizes=(8,), max_iter=3)
    pipeline = fitted(make_pipeline(StandardScaler(), mlp), X, np.array(classes)[np.arange(60) % len(classes)])
    model = read_back(pipeline, X, tmp_path / "m.onnx", options={id(mlp): options})
    np.testing.assert_allclose(model.predict_proba(X), pipeline.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(model.predict_labels(X), pipeline.predict(X))
    assert model.output == ("softmax" if len(classes) > 2 else "sigmoid")


@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.parametrize("theirs", [False, True])
def test_labels_are_read_back(theirs: bool, zipmap: bool, rng: np.random.Generator, tmp_path: Path) -> None:
    from sklearn.neural_network import MLPClassifier

    X = rng.standard_normal((60, 4)).astype(np.float32)
    mlp = (MLPClassifier if theirs else stoop.sklearn.MLPClassifier)(hidden_layer_sizes=(8,), max_iter=3)
    fitted(mlp, X, (X[:, :3] > 0).astype(int))
    model = read_back(mlp, X, tmp_path / "m.onnx", options={id(mlp): {"zipmap": zipmap}})
    np.testing.assert_allclose(model.predict_proba(X), mlp.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(model.predict_classes(X), mlp.predict(X))


def test_a_regressor_and_layers_are_read_back(rng: np.random.Generator, tmp_path: Path) -> None:
    X = rng.standard_normal((60, 4)).astype(np.float32) * 3 + 7
    for y in (X[:, 0], X[:, :2]):
        values = fitted(make_pipeline(StandardScaler(), stoop.sklearn.MLPRegressor(max_iter=3)), X, y)
        model = read_back(values, X, tmp_path / "m.onnx")
        np.testing.assert_allclose(model.predict(X), values.predict(X).reshape(60, -1), atol=1e-5)
    mlp = stoop.sklearn.MLPClassifier((8, 8), max_iter=3, batch_norm=True, layer_norm=True, dropout=0.1)
    fitted(mlp, X, np.arange(60) % 3)
    model = read_back(mlp, X, tmp_path / "m.onnx")
    np.testing.assert_allclose(model.predict_proba(X), mlp.predict_proba(X), atol=1e-6)


def test_what_is_not_read_back(rng: np.random.Generator, tmp_path: Path) -> None:
    from sklearn.neural_network import MLPRegressor
    from sklearn.preprocessing import Binarizer, PolynomialFeatures

    X = rng.random((60, 4)).astype(np.float32)
    one = fitted(stoop.sklearn.MLPClassifier((4,), max_iter=3), X, np.ones(60))
    table = stoop.tabular.TabularRegressor((8,), members=1, epochs=2).fit(X, X[:, 0])
    cases = [
        (one, "has the largest of one probability"),
        (
            fitted(stoop.sklearn.MLPRegressor("poisson", max_iter=3), X, X[:, 0]),
            r"\(Exp\) has a function that is no act",
        ),
        (table, r"\(Gather\) has columns that are picked"),
        (
            fitted(MLPRegressor(hidden_layer_sizes=(4,), max_iter=3), X, X[:, :2]),
            r"the shape \[-1, 1\] of 2 columns",
        ),  # a fault of skl2onnx
        (fitted(make_pipeline(Binarizer(), MLPRegressor(max_iter=3)), X, X[:, 0]), "the threshold 0.0, where labels"),
        (fitted(make_pipeline(PolynomialFeatures(), MLPRegressor(max_iter=3)), X, X[:, 0]), "columns that are picked"),
    ]
    for estimator, text in cases:
        with pytest.raises(ValueError, match=text):
            read_back(estimator, X, tmp_path / "m.onnx")


def gaps(rng: np.random.Generator) -> Array:
    X = rng.standard_normal((80, 5)).astype(np.float32)
    X[:, 1] = 3.0  # is left out
    X[::9, 2], X[1::7, 4] = np.nan, np.nan
    return X


@pytest.mark.parametrize("opset", [17, 21])
def test_a_table_of_numbers(opset: int, rng: np.random.Generator) -> None:
    X = gaps(rng)
    classes = np.array(["n", "y"])[(X[:, 0] > 0).astype(int)]
    model = stoop.tabular.TabularClassifier((8,), members=3, epochs=2, random_state=0).fit(X, classes)
    labels, probabilities = results(model, X, options={"zipmap": False}, target_opset=opset)
    np.testing.assert_array_equal(labels, model.predict(X))
    np.testing.assert_allclose(probabilities, model.predict_proba(X), atol=1e-5)
    values = stoop.tabular.TabularRegressor((8,), members=2, epochs=2, random_state=0).fit(X, 100.0 + X[:, 0])
    np.testing.assert_allclose(results(values, X, target_opset=opset)[0][:, 0], values.predict(X), rtol=1e-5)


def test_numbers_that_float32_cannot_hold(rng: np.random.Generator) -> None:
    X = rng.standard_normal((80, 2)) + np.array([0.0, 1e9])
    arguments: dict[str, Any] = {"hidden": (8,), "members": 2, "epochs": 2, "random_state": 0}
    model = stoop.tabular.TabularRegressor(**arguments).fit(X, X[:, 0])
    with pytest.raises(ValueError, match='float32 cannot tell the numbers of "x1" apart'):
        results(model, X)
    wide = stoop.tabular.TabularRegressor(**arguments, dtype="float64").fit(X, X[:, 0])
    np.testing.assert_allclose(results(wide, X)[0][:, 0], wide.predict(X), rtol=1e-5)
    classifier = stoop.tabular.TabularClassifier(**arguments).fit(X, X[:, 0] > 0)
    with pytest.raises(ValueError, match=r"an X of float64 and options=\{'zipmap': False\}"):
        results(classifier, X)
    classifier = stoop.tabular.TabularClassifier(**arguments, dtype="float64").fit(X, X[:, 0] > 0)
    _, probabilities = results(classifier, X, options={"zipmap": False})
    np.testing.assert_allclose(probabilities, classifier.predict_proba(X), atol=1e-5)


def test_what_is_refused(rng: np.random.Generator) -> None:
    X = rng.integers(3, size=(40, 2)).astype(np.float32)
    model = stoop.tabular.TabularClassifier((8,), epochs=1, members=1, categorical=[1]).fit(X, X[:, 0] > 0)
    with pytest.raises(ValueError, match=r"\[skl2onnx of TabularClassifier\] .*CodeColumn"):
        results(model, X)
    mlp = fitted(stoop.sklearn.MLPRegressor(hidden_layer_sizes=(8,), max_iter=2), X, X[:, 0])
    with pytest.raises(ValueError, match="the opset is 15; expected at least 17"):
        results(mlp, X, target_opset=15)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "skl2onnx", None)
    with pytest.raises(ImportError, match="pip install skl2onnx"):
        register_skl2onnx()
