"""What changes between fits of stoop.sklearn, and what validation means with weights and smoothed labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn.neural_network
from scipy import sparse
from sklearn.datasets import load_wine, make_multilabel_classification

import stoop
from stoop.sklearn import MLPClassifier, MLPRegressor
from stoop.tabular import TabularClassifier


def wine() -> tuple[Any, Any]:
    X, y = load_wine(return_X_y=True)
    return (X - X.mean(0)) / X.std(0), y


def test_smoothed_labels_are_scored_as_labels() -> None:
    X, Y = make_multilabel_classification(300, n_labels=2, random_state=0)
    given: dict[str, Any] = {"max_iter": 30, "learning_rate_init": 0.01, "random_state": 0, "early_stopping": True}
    smoothed = MLPClassifier(label_smoothing=0.1, **given).fit(X, Y)
    assert max(smoothed.validation_scores_) > 0.2


def test_another_activation_takes_effect_in_a_warm_start() -> None:
    X, y = wine()
    curves = []
    for kind, more in ((MLPClassifier, {"dtype": "float64"}), (sklearn.neural_network.MLPClassifier, {})):
        m = kind(warm_start=True, max_iter=5, shuffle=False, random_state=0, **more)
        with pytest.warns(UserWarning, match="Stochastic Optimizer"):
            m.fit(X, y)
        with pytest.warns(UserWarning, match="Stochastic Optimizer"):
            m.set_params(activation="tanh").fit(X, y)
        curves.append(m.loss_curve_)
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-8)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_another_dtype_takes_effect_in_a_warm_start() -> None:
    X, y = wine()
    m = MLPClassifier(warm_start=True, max_iter=2, random_state=0).fit(X, y)
    m.set_params(dtype="float64", dropout=0.2).fit(X, y)
    assert m.model_.dtype == np.float64
    assert any(isinstance(layer, stoop.Dropout) for layer in m.model_.layers)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_another_normalisation_is_refused_in_a_warm_start() -> None:
    X, y = wine()
    m = MLPClassifier(warm_start=True, max_iter=2, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="batch_norm has changed since the network was built"):
        m.set_params(batch_norm=True).fit(X, y)


def test_given_validation_weighs_classes_as_a_part_that_is_split_off() -> None:
    X, y = wine()
    y = (y == 1).astype(int)
    m = MLPClassifier(max_iter=3, random_state=0, class_weight={0: 1, 1: 50}, learning_rate_init=1e-5)
    with pytest.warns(UserWarning, match="Stochastic Optimizer"):
        m.fit(X, y, validation_data=(X, y))
    right = m.predict(X) == y
    assert m.best_validation_score_ == pytest.approx(np.average(right, weights=np.where(y == 1, 50.0, 1.0)))
    assert m.best_validation_score_ != pytest.approx(right.mean())


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_warm_start_that_gets_no_better_ends_with_the_best() -> None:
    X, y = wine()
    m = MLPClassifier(warm_start=True, max_iter=20, random_state=0).fit(X, y, validation_data=(X, y))
    best = m.best_validation_score_
    m.set_params(learning_rate_init=10.0, max_iter=2).fit(X, y, validation_data=(X, y))
    assert m.best_validation_score_ == best
    assert m.score(X, y) == pytest.approx(best)


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_sizes_are_whole_numbers(kind: Any) -> None:
    X, y = wine()
    with pytest.raises(TypeError, match="float"):
        kind(hidden_layer_sizes=(5.7,)).fit(X, y)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("ema", [None, 0.5, 0.99])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_goes_on_from_what_was_put_into_coefs(ema: float | None, dtype: str) -> None:
    X, y = wine()
    m = MLPClassifier((5,), ema=ema, max_iter=9, random_state=0, learning_rate_init=1e-9, dtype=dtype).fit(X, y)
    m.coefs_[0][:] = 0
    m.intercepts_[1] = np.full(3, 2.0)
    before = m.predict_proba(X)
    m.partial_fit(X, y)
    assert np.abs(m.coefs_[0]).max() < 1e-7
    np.testing.assert_allclose(m.intercepts_[1], 2.0, atol=1e-6)
    np.testing.assert_allclose(m.predict_proba(X), before, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("ema", [None, 0.9])
def test_training_goes_on_from_the_best_that_was_restored(ema: float | None) -> None:
    X, y = wine()
    m = MLPClassifier((5,), ema=ema, max_iter=60, n_iter_no_change=60, random_state=0, learning_rate_init=0.05)
    m.fit(X, y, validation_data=(X[:40], np.roll(y[:40], 3)))
    best = [array.copy() for array in m.coefs_]
    m._trainer.learning_rate = 1e-12
    m.partial_fit(X, y)
    for array, restored in zip(m.coefs_, best):
        np.testing.assert_allclose(array, restored, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("shuffle", [False, True])
def test_parts_of_a_sparse_table_may_have_no_weight(monkeypatch: pytest.MonkeyPatch, shuffle: bool) -> None:
    X = sparse.random(90, 40, density=0.2, format="csr", random_state=0)
    y, weights = np.arange(90.0) / 90, np.r_[np.zeros(50), np.ones(40)]
    given: dict[str, Any] = {"max_iter": 3, "batch_size": 10, "shuffle": shuffle, "random_state": 0, "dtype": "float64"}
    given |= {"solver": "sgd", "momentum": 0.0, "alpha": 0.0}  # with which a batch without weight changes nothing
    whole = MLPRegressor(**given).fit(X, y, sample_weight=weights)
    monkeypatch.setattr("stoop.sklearn._rows._PART_BYTES", 10 * 40 * 8)
    parts = MLPRegressor(**given).fit(X, y, sample_weight=weights)
    assert parts.loss_ < parts.loss_curve_[0]
    if not shuffle:
        np.testing.assert_allclose(parts.loss_curve_, whole.loss_curve_, rtol=1e-12)
        np.testing.assert_allclose(parts.predict(X), whole.predict(X), rtol=1e-12)


def test_masked_arrays_are_refused() -> None:
    X, y = wine()
    masked = np.ma.masked_greater(X, 2.0)
    with pytest.raises(ValueError, match="X is a masked array"):
        MLPClassifier().fit(masked, y)
    with pytest.raises(ValueError, match="y is a masked array"):
        MLPClassifier().fit(X, np.ma.masked_equal(y, 0))
    m = MLPClassifier(max_iter=500, random_state=0).fit(np.ma.masked_array(X), y)
    with pytest.raises(ValueError, match="X is a masked array"):
        m.predict(masked)
    with pytest.raises(ValueError, match=r"validation_data\] X is a masked array"):
        m.fit(X, y, validation_data=(masked, y))


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (MLPClassifier, {"label_smoothing": 0.5}),
        (MLPClassifier, {"optimizer": "lion"}),
        (MLPClassifier, {"precision": "bfloat16"}),
        (MLPRegressor, {"loss": "huber"}),
        (MLPRegressor, {"loss": stoop.losses.Quantile(0.9)}),
    ],
)
def test_arguments_that_partial_fit_cannot_follow_are_refused(kind: Any, change: dict[str, Any]) -> None:
    X, y = wine()
    m = kind(random_state=0).partial_fit(X, y, **({"classes": np.unique(y)} if kind is MLPClassifier else {}))
    before = m.predict(X)
    (name,) = change
    with pytest.raises(ValueError, match=rf"partial_fit\] {name}=.*expected the same; set it back"):
        m.set_params(**change).partial_fit(X, y)
    np.testing.assert_array_equal(m.predict(X), before)
    m.set_params(**{name: getattr(kind(), name)}).partial_fit(X, y)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_loss_of_other_outputs_is_refused_in_a_warm_start() -> None:
    X, y = wine()
    m = MLPRegressor(warm_start=True, max_iter=2, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="loss='poisson' for a network whose outputs go through identity"):
        m.set_params(loss="poisson").fit(X, y)
    m.set_params(loss="huber").fit(X, y)


def test_validation_labels_have_as_many_columns() -> None:
    X, Y = make_multilabel_classification(60, n_labels=2, random_state=0)
    with pytest.raises(ValueError, match=r"y of validation_data has the shape \(60,\); expected \(n_samples, 5\)"):
        MLPClassifier().fit(X, Y, validation_data=(X, Y[:, 0]))


@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf])
@pytest.mark.parametrize("rows", [60, 178])
def test_weights_of_classes_are_checked(weight: float, rows: int) -> None:
    X, y = wine()
    for kind in (MLPClassifier, TabularClassifier):
        for given in ({0: weight, 1: 1.0, 2: 1.0}, {0: 0.0, 1: 0.0, 2: 0.0}):
            with pytest.raises(ValueError, match=rf"\[{kind.__name__}.fit\] class_weight gives a sample the weight"):
                kind(class_weight=given).fit(X[::3][:rows], y[::3][:rows])
