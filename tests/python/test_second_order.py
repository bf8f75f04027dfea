"""Hessian-vector products: every layer with every activation and loss, against differences of gradients.

The oracle is (gradient(w + eps*v) - gradient(w - eps*v)) / (2*eps) in float64, whose error is some 1e-9.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop
from helpers import refused, relative_error
from test_gradcheck_core import FEATURES, LOSSES, OUTPUTS, PAIRS, PLACES, SAMPLES, make_data, make_model

LIMIT = 1e-6


def flat(arrays: dict[str, npt.NDArray]) -> npt.NDArray:
    return np.concatenate([array.ravel() for array in arrays.values()])


def draw(rng: np.random.Generator, model: Any) -> dict[str, npt.NDArray]:
    return {name: rng.standard_normal(value.shape) for name, value in model.parameters().items()}


def difference_of_gradients(
    trainer: Any, X: Any, y: Any, v: dict[str, npt.NDArray], eps: float = 1e-5, **mode: Any
) -> npt.NDArray:
    parameters = trainer.model.parameters()
    kept = {name: value.copy() for name, value in parameters.items()}
    sides = []
    for sign in (1.0, -1.0):
        for name, value in parameters.items():
            value[...] = kept[name] + sign * eps * v[name]
        sides.append(flat(trainer.loss_and_grad(X, y, **mode)[1]))
    for name, value in parameters.items():
        value[...] = kept[name]
    return (sides[0] - sides[1]) / (2.0 * eps)


def without_frozen(model: Any, v: dict[str, npt.NDArray]) -> dict[str, npt.NDArray]:
    frozen = {str(i) for i, layer in enumerate(model.layers) if not getattr(layer, "trainable", True)}
    return {name: np.zeros_like(value) if name.split(".")[0] in frozen else value for name, value in v.items()}


@pytest.mark.parametrize(("activation", "loss"), PAIRS)
@pytest.mark.parametrize("place", PLACES)
def test_against_differences_of_gradients(place: str, activation: str, loss: str) -> None:
    rng = np.random.default_rng(11)
    function = LOSSES[loss].loss
    X, y, outputs = make_data(LOSSES[loss], rng)
    weights = rng.uniform(0.2, 2.0, SAMPLES)
    model = make_model(place, activation, None, seed=1, outputs=outputs)
    clip_norm = LOSSES[loss].case.clip_norm
    trainer = stoop.Trainer(model, loss=function, optimizer=stoop.optimizers.SGD(0.01), l2=0.1, clip_norm=clip_norm)
    trainer.fit(X, y, epochs=2, batch_size=SAMPLES, verbose=0)
    v = draw(rng, model)
    for mode in ({"training": True}, {"training": False}, {"training": True, "dropout": True}):
        expected = difference_of_gradients(
            trainer, X, y, without_frozen(model, v), eps=1e-6, sample_weight=weights, **mode
        )
        product = flat(trainer.hessian_vector_product(X, y, v, sample_weight=weights, **mode))
        assert np.linalg.norm(expected) > 1e-3
        assert relative_error(product, expected) < LIMIT, mode


def test_poisson_of_rates() -> None:
    """Its outputs must be above 0, so that it is not one of the pairs."""
    rng = np.random.default_rng(15)
    X, y = rng.standard_normal((SAMPLES, FEATURES)), rng.poisson(2.0, (SAMPLES, OUTPUTS)).astype(float)
    model = stoop.Model([stoop.Dense(5, "tanh"), stoop.Dense(OUTPUTS, "softplus")], input_dim=FEATURES, dtype="float64")
    trainer = stoop.Trainer(model, stoop.losses.Poisson(log_input=False), stoop.optimizers.SGD(0.1))
    trainer.fit(X, y, epochs=20, batch_size=SAMPLES, verbose=0)
    v = draw(rng, model)
    product = flat(trainer.hessian_vector_product(X, y, v))
    assert relative_error(product, difference_of_gradients(trainer, X, y, v, eps=1e-6)) < LIMIT


def deep_model(dtype: str = "float64") -> Any:
    layers = [
        stoop.Dense(16), stoop.BatchNorm(), stoop.GELU(), stoop.Dropout(0.3),
        stoop.Residual([stoop.LayerNorm(), stoop.Dense(33, activation="tanh"), stoop.Dense(20)]),
        stoop.SiLU(), stoop.Dense(9, activation="softplus"), stoop.Dense(OUTPUTS),
    ]  # fmt: skip
    return stoop.Model(layers, input_dim=FEATURES, seed=4, dtype=dtype)


def test_is_symmetric_and_linear() -> None:
    rng = np.random.default_rng(12)
    X, y = rng.standard_normal((50, FEATURES)), rng.integers(OUTPUTS, size=50)
    model = deep_model()
    trainer = stoop.Trainer(model, l2=0.01)
    u, v = draw(rng, model), draw(rng, model)
    hu, hv = (flat(trainer.hessian_vector_product(X, y, d)) for d in (u, v))
    assert abs(flat(v) @ hu - flat(u) @ hv) < 1e-12 * np.linalg.norm(hu) * np.linalg.norm(flat(v))
    both = {name: 2.0 * u[name] - 3.0 * v[name] for name in u}
    assert relative_error(flat(trainer.hessian_vector_product(X, y, both)), 2.0 * hu - 3.0 * hv) < 1e-12


def test_float32_is_near_float64() -> None:
    rng = np.random.default_rng(13)
    X, y = rng.standard_normal((130, FEATURES)), rng.integers(OUTPUTS, size=130)
    wide, narrow = deep_model(), deep_model("float32")
    for name, value in narrow.parameters().items():
        wide.parameters()[name][...] = value
    v = draw(rng, wide)
    expected = flat(stoop.Trainer(wide).hessian_vector_product(X, y, v))
    product = flat(stoop.Trainer(narrow).hessian_vector_product(X, y, v))
    assert product.dtype == np.float32
    assert relative_error(product, expected) < 1e-4


def test_rows_in_several_walks_and_any_number_of_threads() -> None:
    """2,500 rows are walked in three parts when no layer needs them together; the bits do not depend on the team."""
    rng = np.random.default_rng(14)
    X, y = rng.standard_normal((2500, FEATURES)), rng.integers(OUTPUTS, size=2500)
    layers = [stoop.Dense(40, activation="gelu"), stoop.LayerNorm(), stoop.Dense(OUTPUTS)]
    model = stoop.Model(layers, input_dim=FEATURES, dtype="float64")
    v = draw(rng, model)
    products = [
        flat(stoop.Trainer(model, num_threads=threads).hessian_vector_product(X, y, v)) for threads in (1, 2, 3, 5)
    ]
    assert all(product.tobytes() == products[0].tobytes() for product in products)
    assert relative_error(products[0], difference_of_gradients(stoop.Trainer(model), X, y, v)) < LIMIT
    deep = deep_model()
    v = draw(rng, deep)
    products = [
        flat(stoop.Trainer(deep, num_threads=threads).hessian_vector_product(X, y, v, dropout=True))
        for threads in (1, 2, 4)
    ]
    assert all(product.tobytes() == products[0].tobytes() for product in products)


def test_of_a_quadratic_is_the_matrix() -> None:
    """Linear regression: the Hessian of mean (x @ w - y)^2 is 2/n X^T X."""
    rng = np.random.default_rng(15)
    X, y = rng.standard_normal((40, 6)), rng.standard_normal((40, 1))
    model = stoop.Model([stoop.Dense(1, use_bias=False)], input_dim=6, dtype="float64")
    trainer = stoop.Trainer(model, loss="mse")
    v = rng.standard_normal((6, 1))
    product = trainer.hessian_vector_product(X, y, {"0.weight": v})["0.weight"]
    np.testing.assert_allclose(product, 2.0 / 40 * X.T @ (X @ v), rtol=1e-13)


def test_all_frozen_is_zero() -> None:
    model = stoop.Model([stoop.Dense(2, trainable=False)], input_dim=FEATURES, dtype="float64")
    product = stoop.Trainer(model, loss="mse").hessian_vector_product(
        np.ones((3, FEATURES)), np.ones((3, 2)), {"0.weight": np.ones((FEATURES, 2))}
    )
    assert not np.any(flat(product))


def test_refuses_other_names_and_shapes() -> None:
    trainer = stoop.Trainer(stoop.Model([stoop.Dense(2)], input_dim=3), loss="mse")
    X, y = np.ones((4, 3), np.float32), np.ones((4, 2), np.float32)
    with refused(ValueError, "0.weigth", "0.weight"):
        trainer.hessian_vector_product(X, y, {"0.weigth": np.ones((3, 2))})
    with refused(ValueError, r"\(3, 2\)"):
        trainer.hessian_vector_product(X, y, {"0.weight": np.ones((2, 3))})
    with refused(TypeError, "mapping"):
        trainer.hessian_vector_product(X, y, np.ones(8))
    assert not np.any(flat(trainer.hessian_vector_product(X, y, {})))
