"""What an error says of numbers that are not finite: where they began, in the network and in the data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop
from helpers import refused, unchanged

FIT = {"epochs": 3, "batch_size": 4, "verbose": 0}


def make_data(rows: int = 12, columns: int = 3, targets: int = 2) -> tuple[npt.NDArray, npt.NDArray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((rows, columns)).astype("f4"), rng.standard_normal((rows, targets)).astype("f4")


def make_trainer(layers: list[Any], loss: str = "mse", optimizer: Any = "sgd", **arguments: Any) -> stoop.Trainer:
    return stoop.Trainer(stoop.Model(layers, input_dim=3, **arguments), loss, optimizer)


def layers_of(depth: int) -> list[Any]:
    return [*(stoop.Dense(4, activation="relu") for _ in range(depth - 1)), stoop.Dense(2)]


def both(trainer: stoop.Trainer, X: Any, y: Any) -> list[stoop.NonFiniteLossError]:
    """The errors of a step and of a fit."""
    errors = []
    calls: list[Callable[[], Any]] = [lambda: trainer.step(X, y), lambda: trainer.fit(X, y, **FIT)]
    for call in calls:
        with unchanged(trainer), pytest.raises(stoop.NonFiniteLossError) as caught:
            call()
        errors.append(caught.value)
    return errors


@pytest.mark.parametrize("k", range(4))
def test_values_name_the_first_layer_that_overflows(k: int) -> None:
    X, y = make_data()
    trainer = make_trainer(layers_of(4))
    for i in range(4):
        trainer.model.parameters()[f"{i}.weight"][...] = 1.0 if i != k else 3e38
    trainer.model.parameters()["0.bias"][...] = 10.0
    for error in both(trainer, X, y):
        assert error.layer == f"layer {k} (Dense)"
        assert f"at step 0 (epoch 0), first in layer {k} (Dense)" in str(error)
        assert "likely cause" in str(error)


def test_a_bad_parameter_is_named_by_its_layer() -> None:
    X, y = make_data()
    for bad in (np.nan, np.inf):
        trainer = make_trainer([stoop.Dense(4), stoop.ReLU(), stoop.Residual([stoop.Dense(4)]), stoop.Dense(2)])
        trainer.model.parameters()["2.0.weight"][1, 1] = bad
        for call in (lambda t=trainer: t.step(X, y), lambda t=trainer: t.fit(X, y, **FIT)):
            with pytest.raises(
                stoop.NonFiniteLossError, match=r"layer 2\.0 \(Dense\).*parameter 2\.0\.weight"
            ) as caught:
                call()
            assert caught.value.layer == "layer 2.0 (Dense)"


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_gradient_names_the_last_layer_where_it_overflows(optimizer: str) -> None:
    """The loss is finite: outputs of 1e17, a weight of 1e25 in the backward pass."""
    X, y = np.ones((12, 3), "f4"), np.zeros((12, 2), "f4")
    trainer = make_trainer([stoop.Dense(4), stoop.Dense(4), stoop.Dense(2)], optimizer=optimizer)
    for i, size in enumerate((1.0, 1e-8, 1e25)):
        trainer.model.parameters()[f"{i}.weight"][...] = size
    for error in both(trainer, X, y):
        assert error.layer == "layer 1 (Dense)", error


def test_other_places() -> None:
    X, y = make_data()
    norm = make_trainer([stoop.Dense(4), stoop.BatchNorm(), stoop.Dense(2)])
    norm.model.parameters()["0.weight"][...] *= 1e30
    places = [(norm, "layer 1 (BatchNorm)")]
    loss = make_trainer([stoop.Dense(2)])
    loss.model.parameters()["0.bias"][...] = 1e25
    places.append((loss, "the loss (mse)"))
    places.append((make_trainer([stoop.Dense(2)], input_scale=3e38), "the input"))
    for trainer, layer in places:
        for error in both(trainer, 10 * X, y):
            assert error.layer == layer
            assert f"first in {layer};" in str(error)


def test_full_batch_optimizers() -> None:
    X, y = make_data()
    trainer = make_trainer(layers_of(3), optimizer=stoop.optimizers.LBFGS())
    trainer.model.parameters()["1.weight"][0, 0] = np.nan
    with pytest.raises(stoop.NonFiniteLossError) as caught:
        trainer.fit(X, y, epochs=2, batch_size=12, verbose=0)
    assert caught.value.layer == "layer 1 (Dense)"


def test_pieces() -> None:
    X, y = make_data()
    trainer = make_trainer(layers_of(3))
    trainer.backward(trainer.forward(X) - y)
    trainer.gradients()["1.weight"][2, 1] = np.inf
    with pytest.raises(stoop.NonFiniteLossError, match=r"Trainer.apply.*first in layer 1 \(Dense\)") as caught:
        trainer.apply()
    assert caught.value.layer == "layer 1 (Dense)"
    norm = make_trainer([stoop.Dense(4), stoop.BatchNorm(), stoop.Dense(2)])
    with pytest.raises(stoop.NonFiniteLossError, match=r"Trainer\.forward") as caught:
        norm.forward(X * np.float32(1e30))
    assert caught.value.layer == "layer 1 (BatchNorm)"


def test_a_fit_that_diverges_names_epoch_step_and_layer() -> None:
    X, y = make_data()
    trainer = make_trainer(layers_of(3), optimizer=stoop.optimizers.SGD(learning_rate=1e6))
    with pytest.raises(stoop.NonFiniteLossError, match="learning rate") as caught:
        trainer.fit(X, y, epochs=20, batch_size=4, verbose=0)
    assert caught.value.layer.startswith(("layer ", "the loss"))
    assert f"at step {caught.value.step} (epoch {caught.value.epoch}), first in {caught.value.layer};" in str(
        caught.value
    )
    assert all(np.isfinite(p).all() for p in trainer.model.parameters().values())


# ---- data ----


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("value", "words"), [(np.nan, "NaN"), (-np.inf, "an infinity")])
def test_bad_numbers_name_row_and_column(value: float, words: str, dtype: str, mapped: bool, tmp_path: Path) -> None:
    X, y = make_data(300)
    trainer = make_trainer(layers_of(2), optimizer="adam")
    arrays = []
    for name, array in (("X", X), ("y", y)):
        stored = np.memmap(tmp_path / name, dtype, "w+", shape=array.shape) if mapped else np.empty(array.shape, dtype)
        stored[...] = array
        arrays.append(stored)
    X, y = arrays
    calls: dict[str, Callable[[], Any]] = {
        "Trainer.fit": lambda: trainer.fit(X, y, verbose=0, shuffle=False),
        "Trainer.step": lambda: trainer.step(X, y),
        "Trainer.evaluate": lambda: trainer.evaluate(X, y),
        "Trainer.losses": lambda: trainer.losses(X, y),
        "Trainer.loss_and_grad": lambda: trainer.loss_and_grad(X, y),
        "Trainer.fit, validation_data": lambda: trainer.fit(*make_data(), validation_data=(X, y), verbose=0),
    }
    only_x: dict[str, Callable[[], Any]] = {
        "Trainer.forward": lambda: trainer.forward(X),
        "Model.predict": lambda: trainer.model.predict(X),
    }
    X[257, 2] = value
    for where, call in {**calls, **only_x}.items():
        with refused(ValueError, rf"\[{where}\] X has {words} at row 257, column 2"):
            call()
    X[257, 2] = 0.0
    y[130, 1] = value
    for where, call in calls.items():
        with refused(ValueError, rf"\[{where}\] y has {words} at row 130, column 1"):
            call()


def test_a_missing_class_names_its_row() -> None:
    trainer = stoop.Trainer(stoop.Model([stoop.Dense(2)], input_dim=3))
    with refused((TypeError, ValueError), "row 7", "NaN"):
        trainer.fit(make_data()[0], np.where(np.arange(12) == 7, np.nan, 1.0), verbose=0)
