"""What `stoop.diagnose.check` makes of gaps between parts, of errors nobody can avoid, and of fits that broke."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from sklearn import datasets

import faults
import stoop
from helpers import refused
from stoop import Dense


def faults_of(report: stoop.diagnose.Report) -> list[str]:
    return [one.fault for one in report.findings]


def trained(X: Any, y: Any, layers: list[Any], epochs: int = 40) -> stoop.Trainer:
    trainer = stoop.Trainer(stoop.Model(layers, X.shape[1]), optimizer=stoop.optimizers.Adam(5e-3))
    trainer.fit(X, y, epochs=epochs, batch_size=32, verbose=0)
    return trainer


def parts_of(X: Any, y: Any, n: int, first: int) -> tuple[Any, Any, Any, Any]:
    return X[:n], y[:n], X[first:], y[first:]


def table_of_noise(rows: int = 3000) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, 30)).astype(np.float32)
    return X, (X[:, :10].sum(axis=1) + rng.standard_normal(rows) > 0).astype(int)


def test_a_shift_of_a_column_that_does_not_matter_is_no_mismatch() -> None:
    """Dev inputs can be told from training inputs, and training rows held out do as badly as they."""
    X, y = table_of_noise()
    X[2000:, 29] += 2.0
    report = stoop.diagnose.check(trained(X[:200], y[:200], [Dense(256, "relu"), Dense(2)]), *parts_of(X, y, 200, 2000))
    assert faults_of(report) == ["high variance"]
    assert report.facts["held_out"] == 200
    assert "trained without" in str(report)


def test_variance_and_mismatch_are_both_named_largest_first() -> None:
    X, y = table_of_noise()
    rng = np.random.default_rng(1)
    X[2000:] += (0.7 * rng.standard_normal((1000, 30))).astype(np.float32)
    trainer = trained(X[:200], y[:200], [Dense(256, "relu"), Dense(2)])
    more = {"X_train_dev": X[1000:2000], "y_train_dev": y[1000:2000]}
    report = stoop.diagnose.check(trainer, *parts_of(X, y, 200, 2000), **more)
    assert faults_of(report) == report.recipe.problems == ["high variance", "data mismatch"]


def test_test_data_of_another_kind_are_no_fit_to_the_dev_data() -> None:
    X, y = faults.rings(np.random.default_rng(0), 2000)
    X = X.astype(np.float32)
    trainer = trained(X[:1000], y[:1000], [Dense(64, "relu"), Dense(64, "relu"), Dense(3)])
    noisy = X[1500:] + np.random.default_rng(1).normal(0.0, 1.5, (500, 2)).astype(np.float32)
    report = stoop.diagnose.check(
        trainer, X[:1000], y[:1000], X[1000:1500], y[1000:1500], X_test=noisy, y_test=y[1500:]
    )
    assert faults_of(report) == ["data mismatch"]
    assert "test data" in report.findings[0].evidence
    assert report.recipe.problems == []


@pytest.mark.parametrize("share", [0.18, 0.3])
def test_an_error_near_that_of_a_constant_may_be_unavoidable(share: float) -> None:
    rng = np.random.default_rng(1)
    X = rng.standard_normal((4000, 3)).astype(np.float32)
    y = (X[:, 0] + X[:, 1] > 0).astype(int)
    y = np.where(rng.random(4000) < share, 1 - y, y)
    report = stoop.diagnose.check(trained(X[:3000], y[:3000], [Dense(2)], 20), *parts_of(X, y, 3000, 3000))
    assert faults_of(report) == []
    assert report.facts["attainable"] == pytest.approx(share, abs=0.05)
    assert "does not count as avoidable" in str(report)


def test_values_that_hardly_anything_tells_are_no_bias() -> None:
    X, y = datasets.load_diabetes(return_X_y=True)
    X, y = stoop.data.standardize(X).astype(np.float32), ((y - y.mean()) / y.std()).astype(np.float32)[:, None]
    trainer = stoop.Trainer(stoop.Model([Dense(1)], 10), loss="mse", optimizer=stoop.optimizers.Adam(1e-2))
    trainer.fit(X[:300], y[:300], epochs=60, batch_size=32, verbose=0)
    assert faults_of(stoop.diagnose.check(trainer, *parts_of(X, y, 300, 300))) == []


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("outputs", [1, 2])
def test_outputs_that_are_not_finite_are_errors_and_named_first(outputs: int) -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(600) < 0.1).astype(int)
    X = (rng.standard_normal((600, 3)) + 4.0 * y[:, None]).astype(np.float32)
    loss = "binary_cross_entropy" if outputs == 1 else "softmax_cross_entropy"
    trainer = stoop.Trainer(stoop.Model([Dense(8, "relu"), Dense(outputs)], 3), loss=loss)
    trainer.fit(X[:400], y[:400], epochs=5, batch_size=32, verbose=0)
    trainer.model.parameters()["1.bias"][0] = np.nan
    report = stoop.diagnose.check(trainer, *parts_of(X, y, 400, 400))
    assert report.findings[0].fault == "learning rate too high"
    assert "600 of 600" in report.findings[0].evidence
    assert report.recipe.errors["train"] == report.recipe.errors["dev"] == 1.0
    assert str(report)


@pytest.mark.parametrize("size", [0.4, 0.3])
def test_a_network_whose_fresh_weights_are_too_large_by_a_little(size: float) -> None:
    X, y = faults.digits(np.random.default_rng(0), 1500)
    X = X.astype(np.float32)
    layers = [*(Dense(64, "relu", kernel_init=stoop.initializers.normal(size)) for _ in range(8)), Dense(10)]
    trainer = stoop.Trainer(stoop.Model(layers, 64), optimizer=stoop.optimizers.SGD(0.01))
    with contextlib.suppress(stoop.NonFiniteLossError):
        trainer.fit(X[:1000], y[:1000], epochs=5, batch_size=32, verbose=0)
    assert faults_of(stoop.diagnose.check(trainer, *parts_of(X, y, 1000, 1000)))[0] == "exploding gradients"


def test_one_value_says_nothing() -> None:
    X, y = faults.waves(np.random.default_rng(0), 400)
    X, y = X.astype(np.float32), y.astype(np.float32)
    trainer = stoop.Trainer(stoop.Model([Dense(64, "relu"), Dense(1)], 4), loss="mse")
    trainer.fit(X[:200], y[:200], epochs=150, batch_size=16, verbose=0)
    worst = 200 + int(np.argmax(np.abs(trainer.model.predict(X[200:]) - y[200:])))
    report = stoop.diagnose.check(trainer, X[:200], y[:200], X[worst : worst + 1], y[worst : worst + 1])
    assert "high variance" not in faults_of(report)
    assert (report.errors.low, report.errors.high) == (0.0, np.inf)


@pytest.mark.parametrize("norm", [False, True])
def test_most_units_that_were_killed_by_hand(norm: bool) -> None:
    """A few units are left, and the model learns something with them."""
    X, y = faults.rings(np.random.default_rng(0), 1400)
    X = X.astype(np.float32)
    layers = [Dense(20), stoop.BatchNorm(), stoop.ReLU()] if norm else [Dense(20, "relu")]
    model = stoop.Model([*layers, Dense(3)], 2)
    model.parameters()["1.beta" if norm else "0.bias"][:17] = -8.0 if norm else -50.0
    trainer = stoop.Trainer(model, optimizer=stoop.optimizers.Adam(3e-3))
    trainer.fit(X[:1000], y[:1000], epochs=20, batch_size=32, verbose=0)
    report = stoop.diagnose.check(trainer, *parts_of(X, y, 1000, 1000))
    assert faults_of(report)[0] == "dead units"


def test_columns_that_are_small_beside_the_others() -> None:
    X, y = datasets.make_friedman1(1600, noise=0.3, random_state=0)
    X, y = stoop.data.standardize(X).astype(np.float32), ((y - y.mean()) / y.std()).astype(np.float32)[:, None]
    X[:, ::2] *= 1e-3
    trainer = stoop.Trainer(stoop.Model([Dense(64, "relu"), Dense(1)], 10), loss="mse")
    trainer.fit(X[:1200], y[:1200], epochs=40, batch_size=32, verbose=0)
    report = stoop.diagnose.check(trainer, *parts_of(X, y, 1200, 1200))
    assert faults_of(report)[0] == "inputs not normalised"


def test_pixels_that_are_rarely_on_are_normalised() -> None:
    """Standardised, the many rows in which such a column is off are small numbers, but no zeros."""
    rng = np.random.default_rng(0)
    X = np.zeros((8000, 20), np.float32)
    X[:, :10] = rng.standard_normal((8000, 10))
    for column in range(10, 20):
        rows = rng.choice(8000, 40, replace=False)
        X[rows, column] = 1.0
        X[rows[0], column] = 2000.0  # which a look at some of the rows may miss
    y = (X[:, 0] > 0).astype(int)
    model = stoop.Model([stoop.Normalization(), Dense(16, "relu"), Dense(2)], 20)
    trainer = stoop.Trainer(model, optimizer=stoop.optimizers.Adam(30.0))
    with contextlib.suppress(stoop.NonFiniteLossError):
        trainer.fit(X[:7000], y[:7000], epochs=2, batch_size=32, verbose=0)
    found = faults_of(stoop.diagnose.check(trainer, *parts_of(X, y, 7000, 7000)))
    assert "inputs not normalised" not in found


def test_targets_of_another_scale_are_told() -> None:
    X, y = faults.waves(np.random.default_rng(0), 800)
    X, y = X.astype(np.float32), (1e-4 * y).astype(np.float32)
    trainer = stoop.Trainer(stoop.Model([Dense(32, "relu"), Dense(1)], 4), loss="mse")
    trainer.fit(X[:600], y[:600], epochs=20, batch_size=32, verbose=0)
    first = stoop.diagnose.check(trainer, *parts_of(X, y, 600, 600)).findings[0]
    assert "The targets have a mean" in first.evidence
    assert first.advice.startswith("Standardise the targets")


def test_what_is_refused_says_in_which_part() -> None:
    X, y = np.random.default_rng(0).standard_normal((40, 2)), np.arange(40) % 2
    trainer = stoop.Trainer(stoop.Model([Dense(2)], 2))
    trainer.fit(X, y, epochs=1, batch_size=8, verbose=0)
    with refused(ValueError, "diagnose.check, dev data", "class 14"):
        stoop.diagnose.check(trainer, X, y, X, 7 * y * 2)
    with refused(ValueError, "diagnose.check, training data"):
        stoop.diagnose.check(trainer, X, y[:-1], X, y)
    with refused(ValueError, "diagnose.check", "target_error"):
        stoop.diagnose.check(trainer, X, y, X, y, 5.0)
