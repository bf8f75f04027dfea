"""The estimators of stoop.tabular as scikit-learn's tools use them."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import stoop
from helpers import refused, run_python

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_diabetes, load_wine
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stoop.tabular import TabularClassifier, TabularRegressor
from stoop.tabular._base import Tabular

SMALL: dict[str, Any] = {"hidden": (16,), "members": 2, "epochs": 12, "random_state": 0}

CHECK = """
from sklearn.utils.estimator_checks import check_estimator
from stoop import tabular
checks = check_estimator(tabular.{name}())
print(len(checks), {{check["status"] for check in checks}})
"""


@pytest.fixture(scope="module")
def wine() -> Any:
    return load_wine(return_X_y=True)


# SCIPY_ARRAY_API: without it scikit-learn leaves a check out.
@pytest.mark.parametrize("name", ["TabularClassifier", "TabularRegressor"])
def test_every_check_of_scikit_learn_passes(name: str) -> None:
    done = run_python("-W", "error", "-c", CHECK.format(name=name), timeout=300, SCIPY_ARRAY_API="1")
    number, statuses = done.stdout.split(maxsplit=1)
    assert int(number) > 50
    assert statuses.strip() == "{'passed'}"


def test_arguments_are_those_that_are_promised() -> None:
    promised = {
        "hidden": (256, 256), "members": 16, "encoding": "ple", "bins": 48, "embedding_dim": 8, "categorical": "auto",
        "dropout": 0.1, "learning_rate": 2e-3, "weight_decay": 3e-4, "batch_size": 256, "epochs": 200, "patience": 16,
        "validation_fraction": 0.15, "max_time": None, "random_state": None, "num_threads": None,
    }  # fmt: skip
    for estimator in (TabularClassifier(), TabularRegressor()):
        given = estimator.get_params()
        assert {name: given[name] for name in promised} == promised
        assert list(given) == sorted(given)
    assert clone(TabularClassifier(members=3, hidden=(7,))).get_params()["hidden"] == (7,)


class Small(TabularClassifier):
    """A subclass with arguments of its own."""

    def __init__(self, width: int = 8) -> None:
        super().__init__((width,), epochs=2)
        self.width = width


def test_bases_are_abstract_and_subclasses_have_their_own_arguments(wine: Any) -> None:
    with pytest.raises(TypeError, match="abstract"):
        Tabular()
    small = clone(Small(5)).fit(*wine)
    assert small.get_params() == {"width": 5}
    assert small.hidden == (5,)


def test_the_package_is_reached_through_stoop() -> None:
    assert stoop.tabular.TabularClassifier is TabularClassifier
    assert "tabular" in dir(stoop)
    code = "import sys, stoop; assert 'sklearn' not in sys.modules; stoop.tabular; assert 'sklearn' in sys.modules"
    run_python("-c", code)


def test_the_extra_is_named() -> None:
    code = "import sys; sys.modules['sklearn'] = None\ntry: import stoop.tabular\nexcept ImportError as e: print(e)"
    assert "pip install 'stoop[tabular]'" in run_python("-c", code).stdout


def test_labels_are_given_back_as_they_were(wine: Any) -> None:
    X, y = wine
    expected = TabularClassifier(**SMALL).fit(X, y).predict(X)
    for labels in (np.array(["a", "b", "c"]), np.array(["a", "b", "c"], object), np.array([1.0, 5.0, 9.0])):
        model = TabularClassifier(**SMALL).fit(X, labels[y])
        assert model.classes_.dtype == labels.dtype
        np.testing.assert_array_equal(model.classes_, labels)
        np.testing.assert_array_equal(model.predict(X), labels[expected])
        np.testing.assert_array_equal(model.model_.predict_labels(model.encode(X)), labels[expected])


def test_probabilities_add_up(wine: Any) -> None:
    X, y = wine
    model = TabularClassifier(**SMALL).fit(X, y)
    proba = model.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-14)
    np.testing.assert_allclose(np.log(proba), model.predict_log_proba(X), rtol=1e-10)
    np.testing.assert_allclose(proba, model.model_.predict_proba(model.encode(X)), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(model.classes_[proba.argmax(axis=1)], model.predict(X))


def test_pickles_and_copies_predict_the_same(wine: Any) -> None:
    X, y = wine
    model = TabularClassifier(**SMALL).fit(X, y)
    text = pickle.dumps(model)
    again = pickle.loads(text)
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert list(again.history_["loss"]) == list(model.history_["loss"])
    assert again.best_epoch_ == model.best_epoch_
    assert len(text) < model.model_.num_parameters * 4 + 20_000  # none of the rows


def test_pipelines_searches_and_calibration(wine: Any) -> None:
    X, y = wine
    pipeline = make_pipeline(StandardScaler(), TabularClassifier(**{**SMALL, "epochs": 60}))
    assert cross_val_score(pipeline, X, y, cv=2).mean() > 0.8
    search = GridSearchCV(TabularClassifier(**SMALL), {"members": [1, 2]}, cv=2, n_jobs=1).fit(X, y)
    assert search.best_params_["members"] in (1, 2)
    calibrated = CalibratedClassifierCV(TabularClassifier(**{**SMALL, "epochs": 60}), cv=2).fit(X, y)
    assert calibrated.score(X, y) > 0.8


def test_outputs_by_column() -> None:
    X, y = load_diabetes(return_X_y=True)
    both = np.column_stack([y, 1000 + 2 * y])
    model = TabularRegressor(**{**SMALL, "epochs": 60}).fit(X, both)
    assert model.predict(X).shape == both.shape
    assert model.score(X, both) > 0.3
    np.testing.assert_array_equal(model.predict(X)[:3], model.model_.predict(model.encode(X[:3])))


def test_importances_find_the_feature_that_tells() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 4))
    X[::9, 2] = np.nan
    model = TabularRegressor(**{**SMALL, "epochs": 60}).fit(X, 3 * X[:, 1])
    importances = model.feature_importances_
    assert importances.shape == (4,)
    assert importances.argmax() == 1
    assert importances[1] > 0.5 > 10 * np.abs(np.delete(importances, 1)).max()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).feature_importances_, importances)
    fresh = pickle.loads(pickle.dumps(clone(model).fit(X, 3 * X[:, 1])))
    with refused(AttributeError, "no rows to measure with"):
        _ = fresh.feature_importances_


@pytest.mark.parametrize(
    "wrong",
    [
        {"hidden": (0,)}, {"members": 0}, {"encoding": "none of them"}, {"bins": -1}, {"embedding_dim": 0},
        {"dropout": 1.0}, {"learning_rate": 0.0}, {"weight_decay": -1.0}, {"batch_size": 0}, {"epochs": 0},
        {"patience": 0}, {"validation_fraction": 1.0}, {"max_time": "soon"}, {"num_threads": 0}, {"dtype": "float16"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)  # fmt: skip
def test_arguments_that_cannot_be(wrong: dict[str, Any], wine: Any) -> None:
    with refused((ValueError, TypeError), next(iter(wrong))):
        TabularClassifier(**{**SMALL, **wrong}).fit(*wine)


@pytest.mark.parametrize("categorical", [None, 3, "color"])
def test_categories_that_are_no_list(categorical: Any, wine: Any) -> None:
    with refused((ValueError, TypeError), "categorical is", 'expected "auto", or a list'):
        TabularClassifier(**SMALL, categorical=categorical).fit(*wine)


def test_targets_that_cannot_be(wine: Any) -> None:
    X, y = wine
    with refused(ValueError, "class"):
        TabularClassifier(**SMALL).fit(X, np.zeros(len(X), int))
    with refused(ValueError, "missing labels"):
        TabularClassifier(**SMALL).fit(X, np.where(y == 1, None, "a"))
    pd = pytest.importorskip("pandas")
    for labels in (
        pd.Series(["a", pd.NA] * 89, dtype="string"),
        ["a", pd.NA] * 89,
        np.array(["a", np.nan] * 89, object),
    ):
        with refused(ValueError, "missing labels"):
            TabularClassifier(**SMALL).fit(X, labels)
    for times in (pd.date_range("2026-11-30", periods=len(X)), pd.to_timedelta(np.arange(len(X)), unit="s")):
        for given in (times, times.to_numpy(), pd.Series(times)):
            with refused(TypeError, "y has dtype", "expected numbers"):
                TabularRegressor(**SMALL).fit(X, given)
    with pytest.raises(ValueError, match="NaN"):
        TabularRegressor(**SMALL).fit(X, np.where(y == 1, np.nan, y))
    with pytest.raises(ValueError, match="inconsistent"):
        TabularRegressor(**SMALL).fit(X, y[:-1])
    with pytest.raises(ValueError):
        TabularClassifier(**SMALL).fit(X, np.column_stack([y, y]))
