"""Weights of scikit-learn, and lists of arrays as PyTorch and Keras have them, become models that predict the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop
from stoop import convert

sklearn = pytest.importorskip("sklearn")
from sklearn.neural_network import MLPClassifier, MLPRegressor  # noqa: E402

Array = npt.NDArray[Any]


def fitted(estimator: Any, X: Array, y: Array) -> Any:
    with pytest.warns(sklearn.exceptions.ConvergenceWarning):
        return estimator.set_params(max_iter=3, hidden_layer_sizes=(9, 7), random_state=0).fit(X, y)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("classes", [["a", "b"], ["x", "y", "z"], [0, 1, 2], [3, 5]])
def test_a_classifier(activation: str, classes: list[Any], rng: np.random.Generator) -> None:
    X = rng.standard_normal((60, 5))
    mlp = fitted(MLPClassifier(activation=activation), X, np.array(classes)[np.arange(60) % len(classes)])
    model = convert.from_sklearn(mlp)
    assert model.dtype == np.float64
    np.testing.assert_allclose(model.predict_proba(X), mlp.predict_proba(X), atol=1e-12)
    np.testing.assert_array_equal(model.predict_labels(X), mlp.predict(X))


def test_a_classifier_of_labels(rng: np.random.Generator) -> None:
    X = rng.standard_normal((60, 5)).astype(np.float32)
    mlp = fitted(MLPClassifier(), X, (rng.random((60, 3)) < 0.5).astype(int))
    model = convert.from_sklearn(mlp)
    assert model.dtype == np.float32
    np.testing.assert_allclose(model.predict_proba(X), mlp.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(model.predict_classes(X), mlp.predict(X))


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_regressor(outputs: int, rng: np.random.Generator) -> None:
    X, y = rng.standard_normal((60, 5)), rng.standard_normal((60, outputs)).squeeze()
    mlp = fitted(MLPRegressor(), X, y)
    np.testing.assert_allclose(convert.from_sklearn(mlp).predict(X).squeeze(), mlp.predict(X), atol=1e-12)


@pytest.mark.parametrize("classes", [["a"], [0], [7]])
def test_a_classifier_of_one_class(classes: list[Any], rng: np.random.Generator) -> None:
    mlp = fitted(MLPClassifier(), rng.random((30, 2)), np.array(classes * 30))
    with pytest.raises(ValueError, match=r"fitted to one class; expected two or more"):
        convert.from_sklearn(mlp)


def test_what_holds_an_estimator_is_named() -> None:
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline

    for holder in (make_pipeline(MLPClassifier()), GridSearchCV(MLPClassifier(), {})):
        with pytest.raises(TypeError, match=rf"mlp is a {type(holder).__name__}; .*last step.*best_estimator_"):
            convert.from_sklearn(holder)


def test_an_estimator_of_stoop(rng: np.random.Generator) -> None:
    X, y = rng.standard_normal((60, 5)), np.array(["n", "y"])[np.arange(60) % 2]
    mlp = fitted(stoop.sklearn.MLPClassifier(batch_norm=True), X, y)
    model = convert.from_sklearn(mlp)
    assert model is not mlp.model_
    np.testing.assert_array_equal(model.predict_labels(X), mlp.predict(X))


# ---- weights in order ----


class Tensor:
    """What is used of a tensor."""

    def __init__(self, array: Array) -> None:
        self.array, self.dtype, self.is_detached = array, array.dtype, False

    def detach(self) -> Tensor:
        self.is_detached = True
        return self

    def cpu(self) -> Array:
        assert self.is_detached
        return self.array


LAYERS = [
    stoop.Dense(6),
    stoop.BatchNorm(),
    stoop.ReLU(),
    stoop.Residual([stoop.Dense(4, "tanh"), stoop.LayerNorm()]),
    stoop.Residual([stoop.Dense(4)]),
    stoop.Dropout(0.5),
    stoop.Dense(2),
]


def reference(rng: np.random.Generator, bias: bool = True, dtype: str = "float32") -> stoop.Model:
    layers = [stoop.Dense(6, use_bias=bias), *LAYERS[1:]]
    model = stoop.Model(layers, 3, dtype=dtype)
    for value in {**model.parameters(), **model.buffers()}.values():
        value[...] = rng.random(value.shape) + 0.1
    return model


def as_torch(model: stoop.Model, *, tensors: bool = True) -> dict[str, Any]:
    names = {"gamma": "weight", "beta": "bias"}
    out: dict[str, Any] = {}
    state = model.state_dict()
    order = [f"{i}.{n}" for i in (0,) for n in ("weight", "bias")]
    order += ["1.gamma", "1.beta", "1.running_mean", "1.running_var", "3.0.weight", "3.0.bias", "3.1.gamma", "3.1.beta"]
    order += ["3.projection.weight", "4.0.weight", "4.0.bias", "6.weight", "6.bias"]
    for name in order:
        if name in state:
            prefix, _, last = name.rpartition(".")
            array = state[name].T.copy() if last == "weight" else state[name]
            out[f"net.{prefix}.{names.get(last, last)}"] = Tensor(array) if tensors else array
            if last == "running_var":
                out[f"net.{prefix}.num_batches_tracked"] = np.array(7)
    return out


def as_keras(model: stoop.Model) -> list[Array]:
    arrays = as_torch(model, tensors=False).items()
    return [value.T if value.ndim == 2 else value for name, value in arrays if not name.endswith("_tracked")]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bias", [True, False])
def test_weights_in_order(bias: bool, dtype: str, rng: np.random.Generator) -> None:
    model, X = reference(rng, bias, dtype), rng.standard_normal((9, 3))
    told = [stoop.Dense(6, use_bias=bias), *LAYERS[1:]]  # arrays alone do not tell a bias from a norm's scale
    for given in (convert.from_torch(as_torch(model), LAYERS), convert.from_keras(as_keras(model), told)):
        assert given.dtype == dtype
        assert given.layers[0].use_bias == bias
        assert given.predict(X).tobytes() == model.predict(X).tobytes()


def test_a_dense_alone_and_a_norm_without_parameters(rng: np.random.Generator) -> None:
    weight, mean, var = rng.random((4, 3)), rng.random(4), rng.random(4)
    layers = [stoop.Dense(4), stoop.BatchNorm()]
    state = {"weight": weight, "1.running_mean": mean, "1.running_var": var}
    X = rng.random((5, 3))
    expected = (X @ weight.T - mean) / np.sqrt(var + 1e-5)
    np.testing.assert_allclose(convert.from_torch(state, layers).predict(X), expected, rtol=1e-9)
    np.testing.assert_allclose(convert.from_keras([weight.T, mean, var], layers).predict(X), expected, rtol=1e-9)


def test_a_residual_first(rng: np.random.Generator) -> None:
    layers = [stoop.Residual([stoop.Dense(3, "relu"), stoop.Dense(3)])]
    arrays = [rng.random((3, 3)), rng.random(3), rng.random((3, 3)), rng.random(3)]
    X = rng.random((5, 3))
    expected = X + np.maximum(X @ arrays[0] + arrays[1], 0) @ arrays[2] + arrays[3]
    np.testing.assert_allclose(convert.from_keras(arrays, layers).predict(X), expected, rtol=1e-9)


def test_tables_of_columns(rng: np.random.Generator) -> None:
    layers = [stoop.Columns({0: 12, 2: 20}, encoding="none", embedding_dim=4), stoop.Dense(2)]
    tables, weight, bias = [rng.random((12, 4)), rng.random((22, 4))], rng.random((2, 9)), rng.random(2)
    state = {"a.weight": tables[0], "b.weight": tables[1], "c.weight": weight, "c.bias": bias}
    X = np.array([[3, 0.5, 7], [12, 2.0, 21], [11, -1.0, -1]])
    for model in (
        convert.from_torch(state, layers),
        convert.from_keras([*tables, weight.T, bias], layers),
    ):
        model.adapt(np.array([[0, -1.0, 0], [1, 0, 1], [2, 1, 2]]))
        number = model.predict(X)
        first = np.vstack([tables[0], np.zeros((2, 4))])
        z = X[:, 1:2] / np.sqrt(1 + (X[:, 1:2] / 3) ** 2)
        encoded = np.hstack([first[[3, 13, 11]], z, tables[1][[7, 21, 20]]])
        np.testing.assert_allclose(number, encoded @ weight.T + bias, rtol=1e-9)


def deep_state(rng: np.random.Generator) -> dict[str, Array]:
    """Twelve layers, of which nothing but the names tells the order."""
    shapes = {"weight": (3, 3), "bias": (3,)}
    state = {f"net.{i}.{name}": rng.standard_normal(shape) for i in range(12) for name, shape in shapes.items()}
    return state | {"net.0.weight": rng.standard_normal((3, 2))}


def test_a_file_that_sorts_names_as_text(rng: np.random.Generator, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    state = deep_state(rng)
    layers = [stoop.Dense(3, "tanh"), stoop.Residual([stoop.Dense(3, "tanh")]), *[stoop.Dense(3)] * 10]
    safetensors.save_file(state, tmp_path / "m.safetensors")
    given = safetensors.load_file(tmp_path / "m.safetensors")
    assert list(given) != list(state)
    X = rng.random((5, 2))
    for other in (given, dict(reversed(state.items()))):
        expected = convert.from_torch(state, layers).predict(X)
        np.testing.assert_array_equal(convert.from_torch(other, layers).predict(X), expected)


def test_names_that_are_no_numbers_keep_their_order(rng: np.random.Generator) -> None:
    state = {"out.2.weight": rng.random((4, 3)), "out.10.weight": rng.random((4, 4)), "in.weight": rng.random((2, 4))}
    model = convert.from_torch(state, [stoop.Dense(4), stoop.Dense(4), stoop.Dense(2)])
    X = rng.random((5, 3))
    expected = X @ state["out.2.weight"].T @ state["out.10.weight"].T @ state["in.weight"].T
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-9)


def test_sorted_names_that_end_in_numbers(rng: np.random.Generator) -> None:
    state = {f"fc{i}.weight": rng.standard_normal((3, 3)) for i in range(1, 13)}
    layers = [stoop.Dense(3, "tanh")] * 12
    X = rng.random((5, 3))
    expected = convert.from_torch(state, layers).predict(X)
    np.testing.assert_array_equal(convert.from_torch(dict(sorted(state.items())), layers).predict(X), expected)
    names = ["in1", "out1", "in2"]  # as the module declares them
    state = {f"{name}.weight": rng.standard_normal((3, 3)) for name in names}
    value = X
    for name in names:
        value = value @ state[f"{name}.weight"].T
    np.testing.assert_allclose(convert.from_torch(state, [stoop.Dense(3)] * 3).predict(X), value, rtol=1e-9)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_layer_norm_without_parameters(place: int, rng: np.random.Generator) -> None:
    state = {"0.weight": rng.random((4, 3)), "4.weight": rng.random((2, 4))}
    layers: list[Any] = [stoop.Dense(4), stoop.Dense(2)]
    layers.insert(place, stoop.LayerNorm())
    model = convert.from_torch(state, layers)
    value = rng.random((5, 3))
    X = value
    for layer in layers:
        if isinstance(layer, stoop.LayerNorm):
            value = (value - value.mean(1, keepdims=True)) / np.sqrt(value.var(1, keepdims=True) + 1e-5)
        else:
            value = value @ state["0.weight" if layer.units == 4 else "4.weight"].T
    np.testing.assert_allclose(model.predict(X), value, rtol=1e-9)


class Variable:
    """What is used of a variable of Keras."""

    def __init__(self, path: str, array: Array) -> None:
        self.path, self.array = path, array

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return np.array(self.array, dtype)


NORMS = [(True, scale, center) for scale in (True, False) for center in (True, False)]
NORMS += [(False, scale, center) for _, scale, center in NORMS]


@pytest.mark.parametrize("kind", [stoop.BatchNorm, stoop.LayerNorm])
@pytest.mark.parametrize(("bias", "scale", "center"), NORMS)
def test_variables_of_keras_tell_what_they_are(
    kind: Any, bias: bool, scale: bool, center: bool, rng: np.random.Generator
) -> None:
    arrays = {"dense/kernel": rng.random((3, 4))} | ({"dense/bias": rng.random(4)} if bias else {})
    arrays |= ({"norm/gamma": rng.random(4)} if scale else {}) | ({"norm/beta": rng.random(4)} if center else {})
    if kind is stoop.BatchNorm:
        arrays |= {"norm/moving_mean": rng.random(4), "norm/moving_variance": rng.random(4)}
    arrays |= {"dense_1/kernel:0": rng.random((4, 2)), "dense_1/bias:0": rng.random(2)}
    layers, X = [stoop.Dense(4), kind(), stoop.Dense(2)], rng.random((5, 3))
    model = convert.from_keras([Variable(path, array) for path, array in arrays.items()], layers)
    value = X @ arrays["dense/kernel"] + arrays.get("dense/bias", 0.0)
    mean, var = value.mean(1, keepdims=True), value.var(1, keepdims=True)
    if kind is stoop.BatchNorm:
        mean, var = arrays["norm/moving_mean"], arrays["norm/moving_variance"]
    value = (value - mean) / np.sqrt(var + 1e-5) * arrays.get("norm/gamma", 1.0) + arrays.get("norm/beta", 0.0)
    expected = value @ arrays["dense_1/kernel:0"] + arrays["dense_1/bias:0"]
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("vectors", "use_bias", "norm", "text"),
    [
        (4, None, stoop.BatchNorm(), "4 vectors follow weights.0."),
        (2, None, stoop.LayerNorm(), "2 vectors follow weights.0."),
        (3, None, stoop.BatchNorm(), "3 vectors follow weights.0."),
        (3, False, stoop.BatchNorm(), "3 vectors for the BatchNorm of layer 1"),
        (4, True, stoop.BatchNorm(), "3 vectors for the BatchNorm of layer 1"),
        (1, None, stoop.LayerNorm(), "1 vectors follow weights.0."),
        (1, False, stoop.LayerNorm(), "1 vectors for the LayerNorm of layer 1"),
    ],
)
def test_arrays_that_could_be_several_things(
    vectors: int, use_bias: bool | None, norm: Any, text: str, rng: np.random.Generator
) -> None:
    weights = [rng.random((3, 4)), *rng.random((vectors, 4)), rng.random((4, 2)), rng.random(2)]
    with pytest.raises(ValueError, match=text + r".*model\.weights"):
        convert.from_keras(weights, [stoop.Dense(4, use_bias=use_bias), norm, stoop.Dense(2)])


@pytest.mark.parametrize("use_bias", [True, False])
def test_a_bias_that_is_told(use_bias: bool, rng: np.random.Generator) -> None:
    weight, vectors = rng.random((3, 4)), rng.random((2 + use_bias, 4))
    model = convert.from_keras([weight, *vectors], [stoop.Dense(4, use_bias=use_bias), stoop.BatchNorm()])
    X = rng.random((5, 3))
    value = X @ weight + (vectors[0] if use_bias else 0.0)
    np.testing.assert_allclose(model.predict(X), (value - vectors[-2]) / np.sqrt(vectors[-1] + 1e-5), rtol=1e-9)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda s: s.pop("net.6.weight"), r"net\.6 has bias where the Dense of layer 6 comes; expected weight, bias"),
        (lambda s: s.update({"net.7.weight": np.ones((2, 2))}), "no layer is left for net.7"),
        (lambda s: [s.pop("net.6.weight"), s.pop("net.6.bias")], "no weights are left for the Dense of layer 6"),
        (lambda s: s.update({"net.6.weight": np.ones((3, 4))}), r"net\.6\.weight, for 6\.weight, has shape \(4, 3\)"),
        (lambda s: s.update({"net.6.weight": np.ones(4)}), r"has shape \(4,\); expected \(out_features"),
        (lambda s: s.update({"net.6.weight_g": s.pop("net.6.weight")}), r"net\.6 has bias, weight_g .*weight itself"),
        (lambda s: s.update({"net.6.parametrizations.weight.0": s.pop("net.6.weight")}), "net.6 has bias .*itself"),
        (lambda s: s.update({"net.5.weight": np.ones(1)}), r"net\.5\.weight has shape \(1,\).* PReLU"),
        (lambda s: s.update({"net.6.weight": np.full((2, 4), np.nan)}), "NaN|finite"),
        (
            lambda s: s.update({"net.1.running_var": -s["net.1.running_var"]}),
            r"net\.1\.running_var has a negative variance",
        ),
        (lambda s: s.clear(), "no weights are left for the Dense of layer 0"),
    ],
)
def test_what_does_not_fit_the_layers(change: Any, text: str, rng: np.random.Generator) -> None:
    state = as_torch(reference(rng), tensors=False)
    change(state)
    with pytest.raises(ValueError, match=text):
        convert.from_torch(state, LAYERS)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: convert.from_torch([1], LAYERS), TypeError, "expected a mapping"),
        (lambda: convert.from_keras({}, LAYERS), TypeError, "expected a list of arrays"),
        (lambda: convert.from_keras([np.eye(2)] * 9, [stoop.Dense(2)]), ValueError, "no layer is left for weights"),
        (lambda: convert.from_keras([], [stoop.Dense(2)]), ValueError, "no array is left for the Dense of layer 0"),
        (lambda: convert.from_keras([], [stoop.ReLU()]), ValueError, "no layer has parameters"),
        (lambda: convert.from_torch({}, [stoop.Members(3)]), ValueError, "expected layers that others have too"),
        (lambda: convert.from_sklearn(MLPClassifier()), ValueError, "is not fitted"),
        (lambda: convert.from_sklearn("mlp"), TypeError, "expected an MLPClassifier"),
    ],
)
def test_what_is_refused(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


def test_exponentials_are_refused(rng: np.random.Generator) -> None:
    mlp = fitted(MLPRegressor(loss="poisson"), rng.random((30, 2)), rng.random(30))
    with pytest.raises(ValueError, match="go through 'exp'"):
        convert.from_sklearn(mlp)
