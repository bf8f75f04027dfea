"""Models that begin with Columns: gradients, files, copies, resuming, threads, folds and second order."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop
from helpers import bits, refused
from test_columns import LAYERS, draw

Array = npt.NDArray[Any]
MORE = {
    **{name: LAYERS[name] for name in ("ple", "bins of each")},
    "lazy": stoop.Columns({1: 4, 3: 30}, bins=7, lazy=True),
    "periodic": stoop.Columns({1: 4, 3: 30}, encoding="periodic", frequencies=5, frequency_scale=0.5, embedding_dim=3),
    "ple_linear": stoop.Columns({1: 4, 3: 30}, encoding="ple_linear", bins=(3, 0, 12), embedding_dim=3),
}


def moved(model: stoop.Model) -> stoop.Model:
    """The model with numbers where some start from zero."""
    rng = np.random.default_rng(8)
    for name, values in model.parameters().items():
        if name in ("0.embedding", "0.weight"):
            values[:] += rng.uniform(-0.3, 0.3, values.shape)
    return model


def model_of(name: str, dtype: str = "float32", outputs: int = 3) -> stoop.Model:
    layers = [MORE[name], stoop.Dense(12, activation="tanh"), stoop.Dense(outputs)]
    return stoop.Model(layers, 5, seed=3, dtype=dtype)


def targets(rows: int) -> Array:
    return np.random.default_rng(5).integers(0, 3, rows)


@pytest.mark.parametrize("name", MORE)
def test_gradients_against_differences(name: str) -> None:
    model = moved(model_of(name, "float64"))
    X = draw(40)
    model.adapt(X)
    result = stoop.gradcheck(model, "softmax_cross_entropy", X, targets(40), l2=0.01)
    assert result.relative_error < 1e-7, result


@pytest.mark.parametrize("name", MORE)
def test_gradients_of_raw_inputs(name: str) -> None:
    model = moved(model_of(name, "float64", outputs=2))
    train = draw(200, missing=False)
    model.adapt(train)
    X = train[:20] + np.array([0.01, 0, 0.01, 0, 0.011])  # away from the edges of bins
    found = model.input_gradient(X, np.ones((20, 2)))
    assert not found[:, [1, 3]].any()
    for column in (0, 2, 4):
        h = np.zeros(5)
        h[column] = 1e-7
        expected = (model.predict(X + h) - model.predict(X - h)).sum(axis=1) / 2e-7
        np.testing.assert_allclose(found[:, column], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MORE)
def test_the_same_bits_for_any_number_of_threads(name: str, dtype: str) -> None:
    X, seen = draw(300), []
    for threads in (1, 2, 3):
        model = model_of(name, dtype)
        trainer = stoop.Trainer(model, optimizer=stoop.optimizers.Adam(1e-2), num_threads=threads)
        trainer.fit(X, targets(300), epochs=2, batch_size=64, verbose=0)
        seen.append((bits(model), model.predict(X).tobytes()))
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("name", MORE)
def test_files_copies_and_pickles(name: str, tmp_path: Path) -> None:
    X, model = draw(100), model_of(name)
    stoop.Trainer(model).fit(X, targets(100), epochs=1, verbose=0)
    model.save(tmp_path / "m.safetensors")
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model)), stoop.load_model(tmp_path / "m.safetensors")]
    for other in copies:
        assert other.layers == model.layers
        assert other.is_adapted
        assert other.predict(X).tobytes() == model.predict(X).tobytes()


@pytest.mark.parametrize("name", MORE)
def test_training_resumes(name: str, tmp_path: Path) -> None:
    X, y = draw(100), targets(100)
    arguments: Any = {"batch_size": 16, "verbose": 0}
    whole, half = (stoop.Trainer(model_of(name), optimizer=stoop.optimizers.Adam()) for _ in range(2))
    whole.fit(X, y, epochs=4, **arguments)
    half.fit(X, y, epochs=2, **arguments)
    half.save_checkpoint(tmp_path / "c.safetensors")
    resumed = stoop.Trainer(model_of(name), optimizer=stoop.optimizers.Adam())
    resumed.load_checkpoint(tmp_path / "c.safetensors")
    resumed.fit(X, y, epochs=2, **arguments)
    assert bits(resumed.model) == bits(whole.model)


@pytest.mark.parametrize("name", MORE)
def test_second_order(name: str) -> None:
    X, y = draw(120), targets(120)
    for optimizer in (stoop.optimizers.LBFGS(), stoop.optimizers.NewtonCG()):
        trainer = stoop.Trainer(model_of(name, "float64"), optimizer=optimizer, l2=1e-2)
        if name == "periodic" and optimizer.type_name == "newton_cg":
            with refused(ValueError, "periodic"):
                trainer.fit(X, y, epochs=2, batch_size=120, verbose=0)
            continue
        losses = trainer.fit(X, y, epochs=30, batch_size=120, verbose=0)["loss"]
        assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("name", ["ple", "ple_linear"])
def test_hessian_vector_products(name: str) -> None:
    model = moved(model_of(name, "float64"))
    X, y = draw(40), targets(40)
    model.adapt(X)
    trainer = stoop.Trainer(model, l2=0.01)
    rng = np.random.default_rng(0)
    direction = {name: rng.standard_normal(array.shape) for name, array in model.parameters().items()}
    found = trainer.hessian_vector_product(X, y, direction)
    gradients = []
    for sign in (1, -1):
        for name, array in model.parameters().items():
            array += sign * 1e-6 * direction[name]
        gradients.append(trainer.loss_and_grad(X, y)[1])
        for name, array in model.parameters().items():
            array -= sign * 1e-6 * direction[name]
    for name, product in found.items():
        expected = (gradients[0][name] - gradients[1][name]) / 2e-6
        np.testing.assert_allclose(product, expected, rtol=1e-4, atol=1e-6)


def test_an_ensemble_and_folding() -> None:
    X, y = draw(100), targets(100)
    models = [model_of(name) for name in ("ple", "periodic", "ple_linear")]
    for model in models:
        stoop.Trainer(model).fit(X, y, epochs=1, verbose=0)
    members = np.stack([model.predict(X) for model in models])
    np.testing.assert_array_equal(stoop.Ensemble(models).predict(X), members)
    layers = [MORE["ple"], stoop.Dense(8), stoop.BatchNorm(), stoop.ReLU(), stoop.Dense(3)]
    model = stoop.Model(layers, 5)
    stoop.Trainer(model).fit(X, y, epochs=2, batch_size=20, verbose=0)
    np.testing.assert_allclose(model.fold_batch_norm().predict(X), model.predict(X), rtol=1e-4, atol=1e-5)


def test_frozen_layers_and_factors() -> None:
    X, y = draw(100), targets(100)
    steps = []
    for more in ({}, {"trainable": False}, {"lr_scale": 0.5, "decay_scale": 0.0}):
        layers = [replace(MORE["ple_linear"], **more), stoop.Members(2), stoop.Dense(9, "tanh"), stoop.MemberDense(3)]
        model = stoop.Model(layers, 5, seed=3, dtype="float64")
        model.adapt(X)
        moved(model)
        before = {name: value.copy() for name, value in model.parameters().items()}
        trainer = stoop.Trainer(model, optimizer=stoop.optimizers.SGD(0.1), l2=0.1)
        gradients = trainer.loss_and_grad(X, y)[1]
        trainer.step(X, y)
        steps.append({name: before[name] - value for name, value in model.parameters().items()})
        if not more:
            for name, gradient in gradients.items():
                np.testing.assert_allclose(steps[0][name], 0.1 * gradient, rtol=1e-11, atol=1e-14, err_msg=name)
    of_layer = [name for name in steps[0] if name.startswith("0.")]
    assert len(of_layer) == 4
    for name in of_layer:
        assert not steps[1][name].any()
        decay = 0.0 if name == "0.bias" else 0.1 * 0.1 * before[name]  # of the l2 in the gradient
        np.testing.assert_allclose(steps[2][name], 0.5 * (steps[0][name] - decay), rtol=1e-9, atol=1e-12, err_msg=name)


def test_rows_of_a_mapped_file(tmp_path: Path) -> None:
    X = draw(200).astype(np.float32)
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    models = [model_of("ple") for _ in range(2)]
    for model, data in zip(models, (X, mapped)):
        stoop.Trainer(model).fit(data, targets(200), epochs=2, batch_size=32, verbose=0)
    assert bits(models[0]) == bits(models[1])
    assert models[0].predict(X).tobytes() == models[1].predict(mapped).tobytes()


@pytest.mark.parametrize("name", ["ple", "ple_linear"])
def test_a_custom_loop_is_a_step(name: str) -> None:
    X, y = draw(64), targets(64)
    models = [moved(model_of(name, "float64")) for _ in range(2)]
    step, pieces = (stoop.Trainer(model, optimizer=stoop.optimizers.SGD(0.1)) for model in models)
    for model in models:
        model.adapt(X)
    step.step(X, y)
    outputs = pieces.forward(X)
    p = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    pieces.backward((p / p.sum(axis=1, keepdims=True) - np.eye(3)[y]) / 64)
    pieces.apply()
    for name, array in models[0].parameters().items():
        np.testing.assert_allclose(models[1].parameters()[name], array, rtol=1e-12, atol=1e-14)
