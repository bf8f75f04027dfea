"""Training: what fit reports, and that it learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import stoop
from helpers import bits, make_data, relative_error

COLUMNS = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "grad_norm", "samples_per_second")


def make_trainer(loss: str = "softmax_cross_entropy", **arguments: Any) -> Any:
    model = stoop.Model([stoop.Dense(16, activation="tanh"), stoop.Dense(4)], input_dim=8)
    return stoop.Trainer(model, loss=loss, **arguments)


# ---- what is reported ----


def test_history() -> None:
    X, y = make_data("softmax_cross_entropy", 100, 8, 4)
    trainer = make_trainer(optimizer=stoop.optimizers.Adam(0.01))
    history = trainer.fit(X, y, epochs=5, batch_size=32, validation_data=(X[:30], y[:30]), verbose=0)
    for column in COLUMNS:
        assert len(history[column]) == 5, column
        assert np.isfinite(history[column]).all(), column
    assert history["loss"][-1] < history["loss"][0]
    assert list(history["learning_rate"]) == [0.01] * 5
    assert min(history["samples_per_second"]) > 0
    scores = trainer.evaluate(X[:30], y[:30])
    assert history["val_loss"][-1] == pytest.approx(scores["loss"], rel=1e-6)
    assert history["val_accuracy"][-1] == pytest.approx(scores["accuracy"])


def test_history_without_validation() -> None:
    X, y = make_data("mse", 100, 8, 4)
    history = make_trainer("mse").fit(X, y, epochs=2, verbose=0)
    assert len(history["loss"]) == 2
    with pytest.raises(KeyError):
        history["val_loss"]
    with pytest.raises(KeyError):
        history["val_accuracy"]


def test_fit_goes_on_where_it_is() -> None:
    X, y = make_data("softmax_cross_entropy", 100, 8, 4)
    trainer = make_trainer()
    assert (trainer.epoch, trainer.steps) == (0, 0)
    first = trainer.fit(X, y, epochs=3, batch_size=32, verbose=0)
    assert (trainer.epoch, trainer.steps) == (3, 12)
    second = trainer.fit(X, y, epochs=2, batch_size=50, verbose=0)
    assert (trainer.epoch, trainer.steps) == (5, 16)
    assert len(second["loss"]) == 2
    assert second["loss"][0] < first["loss"][0]
    trainer.step(X, y)
    assert (trainer.epoch, trainer.steps) == (5, 17)


def test_loss_and_grad_and_evaluate_change_nothing() -> None:
    X, y = make_data("softmax_cross_entropy", 100, 8, 4)
    trainer = make_trainer()
    before = bits(trainer.model)
    value, grads = trainer.loss_and_grad(X, y)
    assert trainer.loss_and_grad(X, y, training=False)[0] == value
    assert list(grads) == list(trainer.model.parameters())
    kept = {name: grad.copy() for name, grad in grads.items()}
    trainer.evaluate(X, y)
    trainer.loss_and_grad(X[:10], y[:10])
    assert bits(trainer.model) == before
    assert trainer.steps == 0
    for name, grad in grads.items():
        np.testing.assert_array_equal(grad, kept[name])  # an array of its own
    assert trainer.step(X, y) == value


def test_writing_to_parameters_between_steps_counts() -> None:
    X, y = make_data("mse", 20, 8, 4)
    trainer = make_trainer("mse", optimizer=stoop.optimizers.SGD(0.1))
    for value in trainer.model.parameters().values():
        value[...] = 0
    assert relative_error(trainer.step(X, y), np.mean(y**2)) < 1e-6


@pytest.mark.parametrize("names", [("mse", "sgd"), ("softmax_cross_entropy", "adam")])
def test_names_mean_the_defaults(names: tuple[str, str]) -> None:
    loss, optimizer = names
    objects = {"mse": stoop.losses.MeanSquaredError(), "softmax_cross_entropy": stoop.losses.SoftmaxCrossEntropy()}
    optimizers = {"sgd": stoop.optimizers.SGD(), "adam": stoop.optimizers.Adam()}
    X, y = make_data(loss, 20, 8, 4)
    trainers = make_trainer(loss, optimizer=optimizer), make_trainer(objects[loss], optimizer=optimizers[optimizer])
    for trainer in trainers:
        trainer.step(X, y)
    assert bits(trainers[0].model) == bits(trainers[1].model)


def test_silence(capfd: pytest.CaptureFixture[str]) -> None:
    X, y = make_data("softmax_cross_entropy", 100, 8, 4)
    make_trainer().fit(X, y, epochs=3, validation_data=(X, y), verbose=0)
    assert capfd.readouterr() == ("", "")
    make_trainer().fit(X, y, epochs=3, validation_data=(X, y), verbose=1)
    shown = "".join(capfd.readouterr())
    assert "loss" in shown
    assert len(shown.splitlines()) >= 3


# ---- that it learns ----


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("hidden", ["tanh", "relu", "sigmoid", "leaky_relu"])
def test_xor(hidden: str, dtype: str) -> None:
    X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    model = stoop.Model([stoop.Dense(16, activation=hidden), stoop.Dense(2)], input_dim=2, seed=1, dtype=dtype)
    trainer = stoop.Trainer(model, optimizer=stoop.optimizers.Adam(0.05))
    history = trainer.fit(X, y, epochs=500, batch_size=4, verbose=0)
    assert history["loss"][-1] < 0.05
    np.testing.assert_array_equal(model.predict_classes(X), y)


def test_digits() -> None:
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    X, y = datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    train, test = order[360:], order[:360]
    mean, std = X[train].mean(axis=0), X[train].std(axis=0)
    X = (X - mean) / np.where(std > 0, std, 1)
    model = stoop.Model([stoop.Dense(n, activation="relu") for n in (128, 64)] + [stoop.Dense(10)], input_dim=64)
    trainer = stoop.Trainer(model, optimizer=stoop.optimizers.Adam(1e-3), l2=1e-4)
    trainer.fit(X[train], y[train], epochs=30, batch_size=32, verbose=0)
    assert trainer.evaluate(X[test], y[test])["accuracy"] >= 0.97


def test_a_linear_regression_finds_the_least_squares_solution() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 5))
    y = X @ rng.standard_normal(5) + 0.3 + 0.1 * rng.standard_normal(200)
    model = stoop.Model([stoop.Dense(1)], input_dim=5, dtype="float64")
    trainer = stoop.Trainer(model, loss="mse", optimizer=stoop.optimizers.SGD(0.1, momentum=0.9))
    trainer.fit(X, y, epochs=400, batch_size=200, verbose=0)
    solution = np.linalg.lstsq(np.c_[X, np.ones(200)], y, rcond=None)[0]
    found = np.r_[model.parameters()["0.weight"].ravel(), model.parameters()["0.bias"]]
    np.testing.assert_allclose(found, solution, rtol=1e-7)
