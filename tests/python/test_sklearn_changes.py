"""What changes between fits of stoop.sklearn, and what validation means with weights and smoothed labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn.neural_network
from sklearn.datasets import load_wine, make_multilabel_classification

import stoop
from stoop.sklearn import MLPClassifier, MLPRegressor


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
