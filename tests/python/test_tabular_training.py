"""How the estimators of stoop.tabular train: which rows, for how long, by which weights, and to the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from helpers import bits, refused
from stoop import _core

pytest.importorskip("sklearn")

from stoop.tabular import TabularClassifier, TabularRegressor
from stoop.tabular._training import Recipe, Rows, split

SMALL: dict[str, Any] = {"hidden": (16,), "members": 2, "epochs": 12, "random_state": 0}


def data_of(rows: int, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 4))
    return X, X[:, 0] + 0.3 * rng.normal(size=rows)


# ---- rows that choose the epoch ----


def test_classes_are_in_proportion_and_single_rows_train() -> None:
    y = np.array([0] * 80 + [1] * 20 + [2])
    first, second = split(y, 0.2, 0, are_classes=True)
    assert 100 in first
    assert np.bincount(y[second]).tolist() == [16, 4]
    assert sorted([*first, *second]) == list(range(101))


def test_more_classes_than_rows_that_choose() -> None:
    first, second = split(np.repeat(np.arange(60), 2), 0.1, 0, are_classes=True)
    assert (len(first), len(second)) == (108, 12)


def test_another_seed_is_another_choice() -> None:
    choices = [split(np.arange(200.0), 0.15, seed, are_classes=False)[1] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(choices[0], choices[1])
    assert not np.array_equal(choices[0], choices[2])


def test_the_best_epoch_is_kept() -> None:
    X, y = data_of(300)
    model = TabularRegressor(hidden=(64,), members=2, learning_rate=0.02, patience=3, random_state=0).fit(X, y)
    losses = model.history_["val_loss"]
    assert model.best_epoch_ == int(np.argmin(losses)) + 1
    assert len(losses) == model.best_epoch_ + 3
    assert model.history_.stop_reason == "early_stopping"


def test_rows_that_choose_can_be_given() -> None:
    X, y = data_of(300)
    model = TabularRegressor(**SMALL).fit(X[:200], y[:200], validation_data=(X[200:], y[200:]))
    scale = y[:200].std()
    mse = np.mean((model.predict(X[200:]) - y[200:]) ** 2) / scale**2
    assert mse == pytest.approx(min(model.history_["val_loss"]), rel=1e-4)
    with refused((ValueError, TypeError), "validation_data"):
        TabularRegressor(**SMALL).fit(X, y, validation_data=X)
    with refused(ValueError, "validation_data", "class"):
        TabularClassifier(**SMALL).fit(X, y > 0, validation_data=(X, np.full(300, 7)))
    two = np.column_stack([y, -y])
    for given, other in ((y, two), (two, y), (two, np.column_stack([two, y]))):
        with refused(ValueError, "validation_data", "y has the shape", "as many values"):
            TabularRegressor(**SMALL).fit(X, given, validation_data=(X, other))


def test_without_a_fraction_all_rows_train() -> None:
    X, y = data_of(300)
    model = TabularRegressor(**SMALL, validation_fraction=0.0).fit(X, y)
    assert "val_loss" not in model.history_
    assert model.best_epoch_ == 12


def test_statistics_are_of_the_rows_that_train() -> None:
    X, y = data_of(300)
    train, rest = split(y, 0.15, _seed_of(0), are_classes=False)
    other = X.copy()
    other[rest[0], 1] = np.nan  # missing in no row that trains
    plain, model = (TabularRegressor(**SMALL).fit(each, y) for each in (X, other))
    assert plain.encode(X).shape == model.encode(X).shape
    other[train[0], 1] = np.nan
    assert TabularRegressor(**SMALL).fit(other, y).encode(X).shape[1] == 5


def _seed_of(random_state: int) -> int:
    return int(np.random.RandomState(random_state).randint(2**31 - 1))


@pytest.mark.filterwarnings("ignore:.*before the end of the first epoch")  # which a busy machine does not reach
def test_the_time_ends_the_training() -> None:
    X, y = data_of(3000)
    model = TabularRegressor(epochs=100_000, patience=100_000, max_time=0.3, random_state=0).fit(X, y)
    assert model.history_.stop_reason == "max_time"
    assert np.isfinite(model.predict(X)).all()


def test_batches_are_smaller_where_rows_are_few() -> None:
    recipe = Recipe(1e-3, 0.0, 256, 1, 1, None, "float32", None, 0)
    sizes = {rows: recipe.batch(rows) for rows in (3, 99, 100, 600, 1100, 5000, 10**6)}
    assert sizes == {3: 3, 99: 99, 100: 32, 600: 32, 1100: 64, 5000: 256, 10**6: 256}


# ---- weights ----


def test_few_rows_are_merged_in_an_order_of_their_own() -> None:
    X = np.array([[1.0, np.nan], [0.0, 2.0], [1.0, np.nan], [-0.0, 2.0]])
    rows = Rows(X, np.array([1, 0, 1, 0]), np.array([1.0, 2.0, 3.0, 4.0]))
    merged, swapped = rows.merged(), rows.part([3, 2, 0, 1]).merged()
    assert merged is not None
    assert swapped is not None
    assert sorted(merged.weights) == [4.0, 6.0]
    np.testing.assert_array_equal(merged.X, swapped.X)
    np.testing.assert_array_equal(merged.weights, swapped.weights)
    assert Rows(np.arange(100.0)[:, np.newaxis], np.zeros(100), None).merged() is None


@pytest.mark.parametrize("rows", [40, 90])
def test_a_weight_is_a_number_of_rows(rows: int) -> None:
    X, y = data_of(rows)
    weights = np.random.default_rng(1).integers(0, 4, rows)
    repeated = TabularRegressor(**SMALL).fit(X.repeat(weights, axis=0), y.repeat(weights))
    weighted = TabularRegressor(**SMALL).fit(X, y, sample_weight=weights)
    np.testing.assert_array_equal(weighted.predict(X), repeated.predict(X))
    assert not np.array_equal(weighted.predict(X), TabularRegressor(**SMALL).fit(X, y).predict(X))


def test_weights_of_rows_and_classes_move_the_predictions() -> None:
    X, y = data_of(400)
    labels = y > 1.0
    settings = {**SMALL, "epochs": 60}
    plain = TabularClassifier(**settings).fit(X, labels).predict_proba(X)[:, 1].mean()
    balanced = TabularClassifier(**settings, class_weight="balanced").fit(X, labels).predict_proba(X)[:, 1].mean()
    by_dict = TabularClassifier(**settings, class_weight={True: 9.0}).fit(X, labels).predict_proba(X)[:, 1].mean()
    by_row = TabularClassifier(**settings).fit(X, labels, np.where(labels, 9.0, 1.0)).predict_proba(X)[:, 1].mean()
    assert plain < balanced - 0.05
    assert plain < by_dict - 0.05
    assert by_dict == pytest.approx(by_row, abs=1e-6)


def test_rows_of_weight_0_are_left_out() -> None:
    X, y = data_of(300)
    weights = np.where(np.arange(300) < 250, 1.0, 0.0)
    other = y.copy()
    other[250:] = 1e6
    weighted = TabularRegressor(**SMALL).fit(X, other, sample_weight=weights)
    assert np.abs(weighted.predict(X)).max() < 100


# ---- bits ----


@pytest.mark.parametrize("rows", [60, 700])
def test_the_bits_do_not_depend_on_the_threads(rows: int) -> None:
    X, y = data_of(rows)
    models = [TabularRegressor(**SMALL, num_threads=n).fit(X, y) for n in (1, 2, 3)]
    for model in models[1:]:
        assert bits(model.model_) == bits(models[0].model_)
        np.testing.assert_array_equal(model.predict(X), models[0].predict(X))


def test_a_state_of_random_numbers_goes_on() -> None:
    X, y = data_of(120)
    settings = {name: value for name, value in SMALL.items() if name != "random_state"}
    state = np.random.RandomState(3)
    first, second = (TabularRegressor(**settings, random_state=state).fit(X, y) for _ in range(2))
    again = TabularRegressor(**settings, random_state=np.random.RandomState(3)).fit(X, y)
    assert bits(first.model_) == bits(again.model_) != bits(second.model_)


# ---- targets ----


@pytest.mark.parametrize(("mean", "deviation"), [(1e6, 1.0), (1e9, 1.0), (-3.0, 1e-12), (0.0, 1e12)])
def test_targets_of_any_size(mean: float, deviation: float) -> None:
    X, y = data_of(400)
    expected = TabularRegressor(**SMALL).fit(X, y).predict(X)
    found = TabularRegressor(**SMALL).fit(X, mean + deviation * y).predict(X)
    np.testing.assert_allclose((found - mean) / deviation, expected, atol=0.1)


@pytest.mark.parametrize("unit", [1e200, 1e307, 1e-200])
def test_targets_whose_squares_are_no_numbers(unit: float) -> None:
    X, y = data_of(400)
    for one, other in ((y, unit * y), (np.column_stack([y, y]), np.column_stack([y, unit * y]))):
        expected, found = (TabularRegressor(**SMALL).fit(X, target).predict(X) for target in (one, other))
        np.testing.assert_allclose(found / (other[0] / one[0]), expected, rtol=1e-3, atol=1e-3)


def test_a_constant_target_is_predicted() -> None:
    X, _ = data_of(200)
    for value in (7.5, 0.0, -3e8):
        np.testing.assert_array_equal(TabularRegressor(**SMALL).fit(X, np.full(200, value)).predict(X), value)


def test_float64() -> None:
    X, y = data_of(150)
    model = TabularRegressor(**SMALL, dtype="float64").fit(X, y)
    assert model.model_.dtype == np.float64
    np.testing.assert_allclose(model.predict(X), TabularRegressor(**SMALL).fit(X, y).predict(X), atol=1e-2)


def test_bfloat16_is_passed_on() -> None:
    X, y = data_of(150)
    if not _core.available_bfloat16():
        with pytest.raises(ValueError, match="bfloat16"):
            TabularRegressor(**SMALL, precision="bfloat16").fit(X, y)
        return
    model = TabularRegressor(**SMALL, precision="bfloat16").fit(X, y)
    reference = TabularRegressor(**SMALL).fit(X, y)
    assert model.model_.dtype == np.float32
    assert not np.array_equal(model.predict(X), reference.predict(X)), "products were rounded"
    assert model.score(X, y) == pytest.approx(reference.score(X, y), abs=0.02)


def test_a_precision_that_is_not_there_is_refused() -> None:
    X, y = data_of(150)
    with pytest.raises(ValueError, match="float16"):
        TabularRegressor(**SMALL, precision="float16").fit(X, y)
