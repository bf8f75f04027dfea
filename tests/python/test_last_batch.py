"""What becomes of the rows that do not fill a batch: kept as a smaller one, dropped, or merged into the one before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import stoop
from helpers import DTYPES, LOSSES, assert_parameters_close, bits, make_data, refused, relative_error, unchanged
from reference_training import Network, Optimizer, batches, fit
from stoop.progress import EpochTable

FEATURES, OUTPUTS = 7, 4
LAST_BATCHES = ("keep", "drop", "merge")
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
CHECKED = {"clip_norm": 1e9}  # needs all gradients before an update, without changing one


def make_trainer(
    loss: str = "softmax_cross_entropy", *, dtype: str = "float32", norm: bool = False, **settings: Any
) -> Any:
    middle = [stoop.BatchNorm()] if norm else []
    layers = [stoop.Dense(11, activation="tanh"), *middle, stoop.Dense(OUTPUTS)]
    model = stoop.Model(layers, input_dim=FEATURES, seed=3, dtype=dtype)
    return stoop.Trainer(model, loss=loss, optimizer=stoop.optimizers.SGD(0.05, momentum=0.9), **settings)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("settings", [{}, CHECKED, {"num_threads": 3}], ids=["fused", "checked", "threads"])
@pytest.mark.parametrize("samples", [32, 64, 65, 77, 95, 96])
@pytest.mark.parametrize("last_batch", LAST_BATCHES)
def test_training_agrees_with_the_oracle(
    last_batch: str, samples: int, settings: dict[str, Any], loss: str, dtype: str
) -> None:
    X, y = make_data(loss, samples, FEATURES, OUTPUTS, dtype)
    trainer = make_trainer(loss, dtype=dtype, l2=0.01, **settings)
    network = Network(trainer.model.parameters(), ["tanh", "identity"])
    history = trainer.fit(X, y, epochs=3, batch_size=32, shuffle=False, verbose=0, last_batch=last_batch)
    oracle = Optimizer("sgd", 0.05, momentum=0.9)
    expected = fit(network, oracle, loss, X, y, epochs=3, batch_size=32, l2=0.01, last_batch=last_batch)
    assert trainer.steps == 3 * len(batches(samples, 32, last_batch))
    assert_parameters_close(trainer.model.parameters(), network.parameters, TOLERANCE[dtype])
    assert relative_error(history["loss"], [e.loss for e in expected]) < TOLERANCE[dtype]
    assert relative_error(history["grad_norm"], [e.grad_norm for e in expected]) < TOLERANCE[dtype]
    if loss == "softmax_cross_entropy":
        np.testing.assert_allclose(history["accuracy"], [e.accuracy for e in expected], rtol=1e-12)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("last_batch", LAST_BATCHES)
def test_weighted_batches_are_those_of_step(last_batch: str, norm: bool) -> None:
    X, y = make_data("mse", 45, FEATURES, OUTPUTS, "float64")
    weights = np.random.default_rng(1).uniform(0.1, 2.0, 45)
    trainer, stepwise = (make_trainer("mse", dtype="float64", norm=norm, **CHECKED) for _ in range(2))
    arguments = {"epochs": 1, "batch_size": 16, "shuffle": False, "verbose": 0, "last_batch": last_batch}
    history = trainer.fit(X, y, sample_weight=weights, **arguments)
    rows = batches(45, 16, last_batch)
    losses = [stepwise.step(X[r], y[r], weights[r]) for r in rows]
    assert bits(trainer.model) == bits(stepwise.model)
    assert history["loss"] == pytest.approx([np.average(losses, weights=[weights[r].sum() for r in rows])], rel=1e-13)


def test_one_row_left_over_joins_the_batch_before_where_there_is_batch_norm() -> None:
    X, y = make_data("mse", 33, FEATURES, OUTPUTS)
    results = []
    for last_batch in ("keep", "merge"):
        trainer = make_trainer("mse", norm=True)
        trainer.fit(X, y, epochs=2, batch_size=8, verbose=0, last_batch=last_batch)
        assert trainer.steps == 8
        results.append(bits(trainer.model))
    assert results[0] == results[1]


@pytest.mark.parametrize("accumulate", [2, 3])
@pytest.mark.parametrize("last_batch", LAST_BATCHES)
def test_accumulated_batches(last_batch: str, accumulate: int) -> None:
    """An update is that of all rows of its batches, so that a merged last batch only makes the last update longer."""
    X, y = make_data("mse", 8 * 7 + 5, FEATURES, OUTPUTS, "float64")
    trainer = make_trainer("mse", dtype="float64", accumulate=accumulate)
    trainer.fit(X, y, epochs=1, batch_size=8, shuffle=False, verbose=0, last_batch=last_batch)
    parts = batches(len(X), 8, last_batch)
    updates = [parts[i : i + accumulate] for i in range(0, len(parts), accumulate)]
    assert trainer.steps == len(updates)
    stepwise = make_trainer("mse", dtype="float64")
    for update in updates:
        rows = slice(update[0].start, update[-1].stop)
        stepwise.step(X[rows], y[rows])
    assert_parameters_close(trainer.model.parameters(), stepwise.model.parameters(), 1e-12)


@pytest.mark.parametrize("accumulate", [100, 2**31, 2**62, 2**63 - 1])
def test_more_batches_than_there_are_make_one_update(accumulate: int) -> None:
    X, y = make_data("mse", 45, FEATURES, OUTPUTS, "float64")
    trainer, stepwise = (make_trainer("mse", dtype="float64", accumulate=a) for a in (accumulate, 1))
    for _ in range(2):
        trainer.fit(X, y, epochs=1, batch_size=8, verbose=0)
        stepwise.step(X, y)
    assert trainer.steps == 2
    assert_parameters_close(trainer.model.parameters(), stepwise.model.parameters(), 1e-12)


def test_a_schedule_counts_the_updates_that_are_made() -> None:
    X, y = make_data("mse", 45, FEATURES, OUTPUTS)
    for last_batch, updates in (("keep", 3), ("drop", 2), ("merge", 2)):
        seen: list[int] = []
        model = make_trainer("mse").model
        rate = stoop.optimizers.SGD(lambda t, seen=seen: seen.append(t) or 0.01)
        trainer = stoop.Trainer(model, loss="mse", optimizer=rate)
        trainer.fit(X, y, epochs=2, batch_size=16, verbose=0, last_batch=last_batch)
        assert trainer.steps == 2 * updates
        assert sorted(set(seen)) == list(range(2 * updates))


def test_dropped_rows_differ_from_epoch_to_epoch() -> None:
    """The gradient of a bias alone tells which rows an epoch has seen."""
    X = np.zeros((10, 1))
    y = 2.0 ** np.arange(10)
    model = stoop.Model([stoop.Dense(1)], input_dim=1, dtype="float64")
    trainer = stoop.Trainer(model, loss="mse", optimizer=stoop.optimizers.SGD(1e-30))
    history = trainer.fit(X, y, epochs=6, batch_size=8, verbose=0, last_batch="drop")
    assert trainer.steps == 6
    squares = {round(value * 8) for value in history["loss"]}
    assert len(squares) > 1, "the same two rows are left out each time"
    for total in squares:  # 4^0 + ... + 4^9 without two of them
        left_out = sum(4**i for i in range(10)) - total
        assert bin(left_out).count("1") == 2


@pytest.mark.parametrize("last_batch", LAST_BATCHES)
def test_the_bits_do_not_depend_on_the_threads_or_on_the_cut_into_runs(last_batch: str) -> None:
    X, y = make_data("softmax_cross_entropy", 203, FEATURES, OUTPUTS)
    results = []
    for threads in (1, 2, 3, None):
        trainer = make_trainer(num_threads=threads, norm=True)
        trainer.fit(X, y, epochs=40, batch_size=16, verbose=0, last_batch=last_batch)
        results.append(bits(trainer.model))
    assert results == [results[0]] * 4


def test_merge_and_keep_with_a_batch_larger_than_the_data() -> None:
    X, y = make_data("softmax_cross_entropy", 20, FEATURES, OUTPUTS)
    results = []
    for last_batch in ("keep", "merge"):
        trainer = make_trainer()
        trainer.fit(X, y, epochs=2, batch_size=64, verbose=0, last_batch=last_batch)
        results.append(bits(trainer.model))
    assert results[0] == results[1]


def test_dropping_all_samples_is_refused() -> None:
    X, y = make_data("softmax_cross_entropy", 20, FEATURES, OUTPUTS)
    trainer = make_trainer()
    with unchanged(trainer), refused(ValueError, "drop", "20", "21", "batch_size"):
        trainer.fit(X, y, batch_size=21, verbose=0, last_batch="drop")
    trainer.fit(X, y, epochs=1, batch_size=20, verbose=0, last_batch="drop")
    assert trainer.steps == 1


@pytest.mark.parametrize("last_batch", ["kep", "Drop", "", None, 1, True])
def test_other_values_are_refused(last_batch: Any) -> None:
    X, y = make_data("softmax_cross_entropy", 20, FEATURES, OUTPUTS)
    trainer = make_trainer()
    exception = ValueError if isinstance(last_batch, str) else TypeError
    with unchanged(trainer), refused(exception, "last_batch", "keep, drop, merge"):
        trainer.fit(X, y, verbose=0, last_batch=last_batch)


def test_progress_reaches_the_end_of_what_is_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = make_data("softmax_cross_entropy", 3000, FEATURES, OUTPUTS)
    seen: list[tuple[int, int, int]] = []
    monkeypatch.setattr(EpochTable, "update", lambda _, *progress: seen.append(progress))
    make_trainer().fit(X, y, epochs=600, batch_size=17, shuffle=False, last_batch="drop", verbose=2)
    assert seen, "the fit is too short for a report"
    assert {samples for _, _, samples in seen} == {3000 // 17 * 17}
    assert all(done <= samples for _, done, samples in seen)
