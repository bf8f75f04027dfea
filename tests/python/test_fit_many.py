"""`stoop.fit_many`: each trainer ends with the bits of its fit alone, and what happens to one is nothing to others."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import stoop
from helpers import MESSAGE
from many import MIXED, ROWS, Y_ROWS, Fit, X, Y, columns_of, different, run, state_of
from stoop import callbacks


@pytest.fixture(scope="module")
def alone() -> list[stoop.Trainer]:
    return [fit.alone(seed, Y_ROWS) for seed, fit in enumerate(different())]


def assert_same(trainer: stoop.Trainer, history: Any, expected: stoop.Trainer, name: object = "") -> None:
    assert trainer.history is history
    assert columns_of(history) == columns_of(expected.history), name
    assert state_of(trainer) == state_of(expected), name


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("order", [1, -1], ids=["forwards", "backwards"])
def test_64_different_trainers_end_with_the_bits_of_fit_alone(
    threads: int, order: int, alone: list[stoop.Trainer]
) -> None:
    fits, numbers = different()[::order], range(64)[::order]
    assert len(fits) == 64
    trainers, histories = run(fits, Y_ROWS, numbers, num_threads=threads)
    for number, trainer, history in zip(numbers, trainers, histories):
        assert history.error is None
        assert_same(trainer, history, alone[number], number)


def test_one_made_to_fail_leaves_63_right(alone: list[stoop.Trainer]) -> None:
    fits = different()
    fits[20] = Fit(optimizer=stoop.optimizers.SGD(1e30), loss="mse")
    trainers, histories = run(fits, Y_ROWS)
    for number, (trainer, history) in enumerate(zip(trainers, histories)):
        if number != 20:
            assert_same(trainer, history, alone[number], number)
    assert histories[20].stop_reason == "error"
    assert isinstance(histories[20].error, stoop.NonFiniteLossError)
    assert all(np.isfinite(value).all() for value in trainers[20].model.state_dict().values())


def test_a_second_call_goes_on_as_a_second_fit_does() -> None:
    fits = different()
    trainers, _ = run(fits, Y_ROWS)
    data = {"epochs": [fit.epochs for fit in fits], "batch_size": [fit.batch_size for fit in fits]}
    rows = [fit.rows for fit in fits]
    histories = stoop.fit_many(trainers, X, Y_ROWS, **data, rows=rows, verbose=0)
    for number, (fit, trainer, history) in enumerate(zip(fits, trainers, histories)):
        expected = fit.alone(number, Y_ROWS)
        chosen = slice(None) if fit.rows is None else fit.rows
        expected.fit(X[chosen], Y_ROWS[chosen], fit.epochs, fit.batch_size, verbose=0)
        assert_same(trainer, history, expected, number)


WEIGHTS = np.random.default_rng(2).uniform(size=ROWS)
VALIDATED = [np.arange(k, ROWS, 3) for k in range(3)]
TRAINED = [np.setdiff1d(np.arange(ROWS), rows) for rows in VALIDATED]


@pytest.mark.parametrize("weight", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize(
    "options", [{}, {"shuffle": False, "last_batch": "drop"}, {"metrics": ["accuracy", "log_loss"]}]
)
def test_folds_of_unequal_rows_are_validated_with_theirs(weight: Any, options: dict[str, Any]) -> None:
    fits = [Fit(MIXED, rows=rows, dtype=dtype) for rows, dtype in zip(TRAINED, ("float32", "float64", "float32"))]
    trainers, histories = run(fits, sample_weight=weight, validation_rows=VALIDATED, validation_freq=2, **options)
    for number, (fit, rows) in enumerate(zip(fits, VALIDATED)):
        weights = {} if weight is None else {"sample_weight": weight[fit.rows]}
        validation = (X[rows], Y[rows]) if weight is None else (X[rows], Y[rows], weight[rows])
        alone = fit.alone(number, validation_data=validation, validation_freq=2, **weights, **options)
        assert_same(trainers[number], histories[number], alone, number)


@pytest.mark.parametrize("weight", [None, np.random.default_rng(2).uniform(size=(ROWS, 3))], ids=["plain", "weighted"])
def test_rows_of_values_some_of_which_are_absent(weight: Any) -> None:
    values = Y_ROWS.copy()
    values[::5] = np.nan
    weights = np.where(np.isnan(values), 0.0, 1.0) if weight is None else np.where(np.isnan(values), 0.0, weight)
    given = weights.max(axis=1) if weight is None else weights
    without = np.setdiff1d(np.arange(ROWS), np.arange(0, ROWS, 5))
    fits = [Fit(loss=loss, rows=rows) for loss in ("mse", "binary_cross_entropy") for rows in (*TRAINED, None, without)]
    trainers, histories = run(fits, values, sample_weight=given, validation_rows=[VALIDATED[0]] * len(fits))
    for number, fit in enumerate(fits):
        rows = slice(None) if fit.rows is None else fit.rows
        validation = (X[VALIDATED[0]], values[VALIDATED[0]], given[VALIDATED[0]])
        alone = fit.alone(number, values, validation_data=validation, sample_weight=given[rows])
        assert_same(trainers[number], histories[number], alone, number)


def test_bootstrap_draws_from_each_seed() -> None:
    fits = [Fit(), Fit(MIXED)]
    trainers, histories = run(fits, rows="bootstrap")
    for number, fit in enumerate(fits):
        fit.rows = np.random.default_rng(number).integers(ROWS, size=ROWS)
        assert_same(trainers[number], histories[number], fit.alone(number), number)
    with pytest.warns(UserWarning, match="seed") as noted:
        run(fits, rows="bootstrap", numbers=[3, 3])
    assert MESSAGE.fullmatch(str(noted[0].message))


def test_rows_may_be_masks_and_lists() -> None:
    mask = Y == 1
    fits = [Fit(rows=mask), Fit(rows=np.flatnonzero(mask)), Fit(rows=np.flatnonzero(mask).tolist())]
    trainers, _ = run(fits, numbers=[1, 1, 1])
    assert state_of(trainers[0]) == state_of(trainers[1]) == state_of(trainers[2]) == state_of(fits[1].alone(1))


@pytest.mark.parametrize("weights", [{0: 2.0, 2: 0.5}, [1.0, 2.0, 3.0], "balanced"])
def test_class_weights_are_those_of_the_rows(weights: Any) -> None:
    fits = [Fit(), Fit(MIXED, rows=TRAINED[0]), Fit(rows=np.arange(50))]
    trainers, histories = run(fits, class_weight=weights, sample_weight=WEIGHTS)
    for number, fit in enumerate(fits):
        own = WEIGHTS if fit.rows is None else WEIGHTS[fit.rows]
        alone = fit.alone(number, class_weight=weights, sample_weight=own)
        assert_same(trainers[number], histories[number], alone, number)


def test_names_of_classes_reach_every_model() -> None:
    names = np.array(["cat", "dog", "owl"])
    fits = [Fit(), Fit(MIXED, dtype="float64")]
    trainers, _ = run(fits, names[Y], validation_data=(X[:30], names[Y[:30]]))
    for number, (fit, trainer) in enumerate(zip(fits, trainers)):
        assert trainer.model.classes.tolist() == names.tolist()
        assert state_of(trainer) == state_of(fit.alone(number))


def test_validation_data_are_for_all() -> None:
    fits = [Fit(), Fit(MIXED, dtype="float64")]
    _, histories = run(fits, validation_data=(X[:30], Y[:30]), metrics=["accuracy", "auc"])
    for number, fit in enumerate(fits):
        alone = fit.alone(number, validation_data=(X[:30], Y[:30]), metrics=["accuracy", "auc"])
        assert columns_of(histories[number]) == columns_of(alone.history)


def test_a_memory_map_is_read_by_all(tmp_path: Any) -> None:
    path = tmp_path / "x"
    X.tofile(path)
    mapped = np.memmap(path, np.float32, "r", shape=X.shape)
    fits = [Fit(), Fit(MIXED, rows=TRAINED[1], dtype="float64")]
    trainers = [fit.trainer(number) for number, fit in enumerate(fits)]
    stoop.fit_many(
        trainers, mapped, Y, 3, 16, rows=[fit.rows for fit in fits], validation_rows=VALIDATED[:2], verbose=0
    )
    for number, fit in enumerate(fits):
        assert state_of(trainers[number]) == state_of(fit.alone(number))


def test_a_row_of_a_memory_map_that_is_nan_fails_those_that_meet_it(tmp_path: Any) -> None:
    changed = X.copy()
    changed[7] = np.nan
    changed.tofile(tmp_path / "x")
    mapped = np.memmap(tmp_path / "x", np.float32, "r", shape=X.shape)
    fits = [Fit(), Fit(rows=np.arange(8, ROWS)), Fit(rows=np.arange(8, ROWS))]
    trainers = [fit.trainer(number) for number, fit in enumerate(fits)]
    rows = [fit.rows for fit in fits]
    histories = stoop.fit_many(trainers, mapped, Y, 3, 16, rows=rows, validation_rows=[None, None, [7]], verbose=0)
    assert [history.stop_reason for history in histories] == ["error", "epochs", "error"]
    assert "row 7" in str(histories[0].error)
    assert state_of(trainers[1]) == state_of(fits[1].alone(1))


def test_the_result_is_small_in_a_pickle() -> None:
    fits = [
        Fit(called=lambda: [callbacks.EarlyStopping("loss")]),
        Fit(optimizer=stoop.optimizers.SGD(1e30), loss="mse"),
    ]
    trainers, histories = run(fits, Y_ROWS)
    again_trainers, again = pickle.loads(pickle.dumps((trainers, histories)))
    assert len(pickle.dumps((trainers, histories))) < 20_000
    assert [type(history.error) for history in again] == [type(None), stoop.NonFiniteLossError]
    assert str(again[1].error) == str(histories[1].error)
    assert again[1].copy().error is again[1].error
    assert (again[0] + again[1]).error is again[1].error
    assert state_of(again_trainers[0]) == state_of(trainers[0])
    copy.deepcopy(histories)


def test_the_order_is_the_callers_and_generators_will_do() -> None:
    fits = [Fit(epochs=epochs) for epochs in (1, 5, 2)]
    trainers = [fit.trainer(number) for number, fit in enumerate(fits)]
    histories = stoop.fit_many((t for t in trainers), X, Y, (fit.epochs for fit in fits), 16, verbose=0)
    assert [len(history.epochs) for history in histories] == [1, 5, 2]
    assert stoop.fit_many([], X, Y) == []
