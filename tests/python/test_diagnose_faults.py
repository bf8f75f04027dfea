"""Planted faults: `stoop.diagnose.check` names each first, and nothing in healthy runs. They are in `faults.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import datasets

import faults
import stoop
from helpers import bits
from stoop import Dense

SEEDS = range(2)
MORE_SEEDS = range(2, 12)


def faults_of(report: stoop.diagnose.Report) -> list[str]:
    return [one.fault for one in report.findings]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fault", faults.FAULTS)
def test_a_planted_fault_is_named_first(fault: str, seed: int) -> None:
    report = faults.FAULTS[fault](seed).check()
    assert faults_of(report)[:1] == [fault], str(report)
    first = report.findings[0]
    assert first.evidence
    assert first.advice
    assert fault in report.summary()


@pytest.mark.parametrize("name", faults.HEALTHY)
def test_a_healthy_run_has_no_finding(name: str) -> None:
    report = faults.HEALTHY[name](0).check()
    assert faults_of(report) == [], str(report)
    assert "Nothing" in report.summary()


@pytest.mark.slow
@pytest.mark.parametrize("fault", faults.FAULTS)
def test_planted_faults_of_many_draws(fault: str) -> None:
    found = {seed: faults_of(faults.FAULTS[fault](seed).check()) for seed in MORE_SEEDS}
    assert {seed: names for seed, names in found.items() if names[:1] != [fault]} == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", faults.HEALTHY)
def test_healthy_runs_of_many_draws(name: str) -> None:
    found = {seed: faults_of(faults.HEALTHY[name](seed).check()) for seed in range(1, 6)}
    assert {seed: names for seed, names in found.items() if names} == {}


# ---- what is no fault, and what is ----


def trained(X: Any, y: Any, layers: list[Any], epochs: int = 30, **options: Any) -> stoop.Trainer:
    trainer = stoop.Trainer(stoop.Model(layers, X.shape[1], **options), optimizer=stoop.optimizers.Adam(5e-3))
    trainer.fit(X, y, epochs=epochs, batch_size=32, verbose=0)
    return trainer


def test_raw_inputs_are_fine_where_the_model_scales_them() -> None:
    X, y = datasets.load_digits(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(X))  # as they are stored, the last are of other writers
    X, y = (X[rows] * 255 / 16).astype(np.uint8), y[rows]
    layers = [Dense(64, activation="relu"), Dense(10)]
    raw = stoop.diagnose.check(trained(X[:1200], y[:1200], layers), X[:1200], y[:1200], X[1200:], y[1200:])
    assert faults_of(raw)[0] == "inputs not normalised"
    scaled = trained(X[:1200], y[:1200], layers, input_scale=1 / 255)
    assert faults_of(stoop.diagnose.check(scaled, X[:1200], y[:1200], X[1200:], y[1200:])) == []


def test_uneven_classes_are_no_fault_by_themselves() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(2000) < 0.05).astype(int)
    X = (rng.standard_normal((2000, 4)) + 6.0 * y[:, None]).astype(np.float32)
    trainer = trained(X[:1400], y[:1400], [Dense(16, activation="relu"), Dense(2)])
    assert faults_of(stoop.diagnose.check(trainer, X[:1400], y[:1400], X[1400:], y[1400:])) == []


def test_other_shares_of_classes_are_no_mismatch() -> None:
    """Dev inputs of each class are like those of training."""
    rng = np.random.default_rng(0)
    y = np.r_[rng.random(600) < 0.35, rng.random(600) < 0.65].astype(int)
    X = (rng.standard_normal((1200, 10)) + 0.4 * y[:, None]).astype(np.float32)
    layers = [Dense(256, activation="relu"), Dense(256, activation="relu"), Dense(2)]
    report = stoop.diagnose.check(trained(X[:600], y[:600], layers, 60), X[:600], y[:600], X[600:], y[600:])
    assert faults_of(report)[0] == "high variance"


def test_an_error_that_nobody_can_avoid_is_no_bias() -> None:
    """A tenth of the labels are wrong: a larger network does no better. With a target that is better, it is bias."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((3000, 3)).astype(np.float32)
    y = (X[:, 0] + X[:, 1] > 0).astype(int)
    y = np.where(rng.random(3000) < 0.1, 1 - y, y)
    trainer = trained(X[:2000], y[:2000], [Dense(2)], 20)
    parts = X[:2000], y[:2000], X[2000:], y[2000:]
    assert faults_of(stoop.diagnose.check(trainer, *parts)) == []
    assert faults_of(stoop.diagnose.check(trainer, *parts, target_error=0.01)) == ["high bias"]


def test_dead_units_that_were_put_there_by_hand() -> None:
    X, y = faults.rings(np.random.default_rng(0), 1000)
    X = X.astype(np.float32)
    model = stoop.Model([Dense(32, activation="relu"), Dense(3)], 2)
    model.parameters()["0.bias"][...] = -50.0
    trainer = stoop.Trainer(model)
    trainer.fit(X[:700], y[:700], epochs=20, batch_size=32, verbose=0)
    assert faults_of(stoop.diagnose.check(trainer, X[:700], y[:700], X[700:], y[700:]))[0] == "dead units"


def test_units_that_were_saturated_by_hand() -> None:
    X, y = faults.rings(np.random.default_rng(0), 1000)
    X = X.astype(np.float32)
    model = stoop.Model([Dense(8, activation="tanh"), Dense(8, activation="tanh"), Dense(3)], 2)
    for name in ("0.weight", "1.weight"):
        model.parameters()[name][...] *= 200.0
    trainer = stoop.Trainer(model, optimizer=stoop.optimizers.SGD(0.05))
    trainer.fit(X[:700], y[:700], epochs=60, batch_size=32, verbose=0)
    assert faults_of(stoop.diagnose.check(trainer, X[:700], y[:700], X[700:], y[700:]))[0] == "saturated units"


def test_a_small_network_that_has_done_its_best_has_no_dead_or_saturated_units() -> None:
    """Two tanh units saturate where nothing else is left to them: that is bias."""
    for seed in range(4):
        X, y = faults.rings(np.random.default_rng(seed), 1000)
        X = X.astype(np.float32)
        model = stoop.Model([Dense(2, activation="tanh"), Dense(3)], 2, seed=seed)
        trainer = stoop.Trainer(model, optimizer=stoop.optimizers.Adam(2e-2))
        trainer.fit(X[:700], y[:700], epochs=100, batch_size=32, verbose=0)
        report = stoop.diagnose.check(trainer, X[:700], y[:700], X[700:], y[700:])
        assert faults_of(report) == ["high bias"]


def test_a_train_dev_part_tells_variance_from_mismatch() -> None:
    rng = np.random.default_rng(0)
    X, y = datasets.load_digits(return_X_y=True)
    rows = rng.permutation(len(X))
    X, y = (X[rows] / 16).astype(np.float32), y[rows]
    trainer = trained(X[:900], y[:900], [Dense(64, activation="relu"), Dense(10)])
    noisy = (X[1300:] + 0.5 * rng.standard_normal(X[1300:].shape)).astype(np.float32)
    wrong = np.where(rng.random(497) < 0.3, rng.integers(10, size=497), y[1300:])  # the inputs are alike
    for dev in ((noisy, y[1300:]), (X[1300:], wrong)):
        parts = X[:900], y[:900], *dev
        report = stoop.diagnose.check(trainer, *parts, X_train_dev=X[900:1300], y_train_dev=y[900:1300])
        assert faults_of(report) == ["data mismatch"]


@pytest.mark.parametrize("when", ["at once", "later"])
def test_a_fit_that_a_loss_that_is_not_finite_has_ended(when: str) -> None:
    X, y = faults.waves(np.random.default_rng(0), 400)
    X, y = X.astype(np.float32), y.astype(np.float32)
    model = stoop.Model([Dense(32, activation="relu"), Dense(1)], 4)
    trainer = stoop.Trainer(model, loss="mse", optimizer=stoop.optimizers.SGD(1e30 if when == "at once" else 3.0))
    with pytest.raises(stoop.NonFiniteLossError):
        trainer.fit(X[:300], y[:300], epochs=50, batch_size=32, verbose=0)
    before = bits(model)
    report = stoop.diagnose.check(trainer, X[:300], y[:300], X[300:], y[300:])
    assert faults_of(report)[0] == "learning rate too high"
    assert bits(model) == before


def test_names_labels_and_schedules() -> None:
    """Classes with names, one output, and a learning rate that changes."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((900, 2)).astype(np.float32)
    y = np.array(["no", "yes"])[(X[:, 0] * X[:, 1] > 0).astype(int)]
    rate = stoop.schedules.Cosine(1e-6, 500)
    model = stoop.Model([Dense(32, activation="relu"), Dense(1)], 2)
    trainer = stoop.Trainer(model, loss="binary_cross_entropy", optimizer=stoop.optimizers.Adam(rate))
    trainer.fit(X[:600], y[:600], epochs=20, batch_size=32, verbose=0)
    report = stoop.diagnose.check(trainer, X[:600], y[:600], X[600:], y[600:])
    assert faults_of(report)[0] == "learning rate too low"
    assert report.errors.class_names == ["no", "yes"]


def test_several_labels_of_each_sample() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1500, 6)).astype(np.float32)
    y = (X[:, :3] > 0).astype(np.float32)
    model = stoop.Model([Dense(32, activation="relu"), Dense(3)], 6)
    trainer = stoop.Trainer(model, loss="binary_cross_entropy", optimizer=stoop.optimizers.Adam(5e-3))
    trainer.fit(X[:1000], y[:1000], epochs=40, batch_size=32, verbose=0)
    report = stoop.diagnose.check(trainer, X[:1000], y[:1000], X[1000:], y[1000:])
    assert report.findings == []
    assert report.errors.kind == "labels"


def test_optimizers_of_the_full_batch() -> None:
    X, y = faults.waves(np.random.default_rng(0), 500)
    model = stoop.Model([Dense(16, activation="tanh"), Dense(1)], 4, dtype="float64")
    trainer = stoop.Trainer(model, loss="mse", optimizer=stoop.optimizers.LBFGS())
    trainer.fit(X[:400], y[:400], epochs=2, batch_size=400, verbose=0)
    report = stoop.diagnose.check(trainer, X[:400], y[:400], X[400:], y[400:])
    assert report.rates is None
    assert faults_of(report) == ["high bias"]


def test_a_trainer_before_its_fit() -> None:
    X, y = faults.rings(np.random.default_rng(0), 300)
    trainer = stoop.Trainer(stoop.Model([Dense(16, activation="relu"), Dense(3)], 2))
    report = stoop.diagnose.check(trainer, X, y, X, y)
    assert report.history is None
    assert "high bias" in faults_of(report)
    assert str(report)
