"""What users do with scikit-learn's MLPs gives the same with those of stoop.sklearn: the same error or kind of result.

Each case is a function of an estimator, which is run with both libraries.
"""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import scipy.sparse
import sklearn.neural_network
from sklearn.base import BaseEstimator, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_diabetes, load_wine
from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, cross_validate, learning_curve
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

import stoop.sklearn

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
Array = npt.NDArray[Any]
Case = Callable[[Any], Any]

X, y = load_wine(return_X_y=True)
X = scale(X)
XR, YR = (scale(part) for part in load_diabetes(return_X_y=True))
FRAME = pd.DataFrame(X, columns=[f"c{i}" for i in range(X.shape[1])])
NAMES = np.array(["a", "bb", "c"])


def classifier(module: Any, **given: Any) -> Any:
    return module.MLPClassifier(**{"max_iter": 20, "random_state": 0, **given})


def regressor(module: Any, **given: Any) -> Any:
    return module.MLPRegressor(**{"max_iter": 20, "random_state": 0, **given})


def outcome(case: Case, estimator: Any) -> Any:
    """Return the error of a case, or what describes its result."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = case(estimator)
        except (ValueError, TypeError, AttributeError) as error:
            return type(error), str(error)
    heard = sorted({one.category.__name__ for one in caught if "Convergence" not in one.category.__name__})
    if isinstance(result, np.ndarray):
        return result.shape, result.dtype, heard
    return "fitted" if isinstance(result, BaseEstimator) else result, heard


# Of both estimators.
ERRORS: dict[str, Case] = {
    "not fitted": lambda mlp: mlp.predict(X),
    "NaN": lambda mlp: mlp.fit(np.where(X > 2, np.nan, X), y),
    "infinity": lambda mlp: mlp.fit(np.where(X > 2, np.inf, X), y),
    "one column as a vector": lambda mlp: mlp.fit(X[:, 0], y),
    "three dimensions": lambda mlp: mlp.fit(X[None], y),
    "lengths": lambda mlp: mlp.fit(X, y[:5]),
    "no rows": lambda mlp: mlp.fit(X[:0], y[:0]),
    "no columns": lambda mlp: mlp.fit(X[:, :0], y),
    "text": lambda mlp: mlp.fit(np.full((5, 2), "a"), [0, 1, 0, 1, 0]),
    "complex": lambda mlp: mlp.fit(X + 1j, y),
    "no y": lambda mlp: mlp.fit(X, None),
    "NaN in y": lambda mlp: mlp.fit(X, np.where(y == 0, np.nan, y)),
    "fewer columns to predict": lambda mlp: mlp.fit(X, y).predict(X[:, :3]),
    "NaN to predict": lambda mlp: mlp.fit(X, y).predict(np.where(X > 2, np.nan, X)),
    "a vector to predict": lambda mlp: mlp.fit(X, y).predict(X[0]),
    "nothing to predict": lambda mlp: mlp.fit(X, y).predict(X[:0]),
    "another order of columns": lambda mlp: mlp.fit(FRAME, y).predict(FRAME[FRAME.columns[::-1]]),
    "an array after a frame": lambda mlp: mlp.fit(FRAME, y).predict(X),
    "names of several types": lambda mlp: mlp.fit(FRAME.rename(columns={"c0": 0}), y),
    "alpha": lambda mlp: mlp.set_params(alpha=-1).fit(X, y),
    "beta_1": lambda mlp: mlp.set_params(beta_1=1.0).fit(X, y),
    "batch_size": lambda mlp: mlp.set_params(batch_size=0).fit(X, y),
    "max_iter": lambda mlp: mlp.set_params(max_iter=0).fit(X, y),
    "random_state": lambda mlp: mlp.set_params(random_state="a").fit(X, y),
    "validation_fraction of 0": lambda mlp: mlp.set_params(early_stopping=True, validation_fraction=0.0).fit(X, y),
    "few rows to stop early": lambda mlp: mlp.set_params(early_stopping=True).fit(X[:5], y[:5]),
    "hidden_layer_sizes with a zero": lambda mlp: mlp.set_params(hidden_layer_sizes=(3, 0)).fit(X, y),
    "hidden_layer_sizes of -1": lambda mlp: mlp.set_params(hidden_layer_sizes=-1).fit(X, y),
    "lengths of sample_weight": lambda mlp: mlp.fit(X, y, sample_weight=np.ones(3)),
    "NaN in sample_weight": lambda mlp: mlp.fit(X, y, sample_weight=np.full(len(y), np.nan)),
    "sample_weight of two dimensions": lambda mlp: mlp.fit(X, y, sample_weight=np.ones((len(y), 1))),
    "other columns in a warm start": lambda mlp: mlp.set_params(warm_start=True).fit(X, y).fit(X[:, :4], y),
    "partial_fit and early stopping": lambda mlp: mlp.set_params(early_stopping=True).fit(X, y).partial_fit(X, y),
}
RESULTS: dict[str, Case] = {
    "one row": lambda mlp: mlp.fit(X[:1], y[:1]).predict(X),
    "one value": lambda mlp: mlp.fit(X, np.zeros(len(y), int)).predict(X),
    "a column as y": lambda mlp: mlp.fit(X, y[:, None]).predict(X),
    "float32": lambda mlp: mlp.fit(X.astype("f4"), y).predict(X.astype("f4")),
    "float16": lambda mlp: mlp.fit(X.astype("f2"), y).predict(X.astype("f2")),
    "other byte order": lambda mlp: mlp.fit(X.astype(">f8"), y).predict(X.astype(">f8")),
    "integers": lambda mlp: mlp.fit((4 * X).astype("i1"), y).predict((4 * X).astype("i1")),
    "booleans": lambda mlp: mlp.fit(X > 0, y).predict(X > 0),
    "lists": lambda mlp: mlp.fit(X.tolist(), y.tolist()).predict(X[:2].tolist()),
    "nullable columns": lambda mlp: mlp.fit(FRAME.astype("Float64"), y).predict(FRAME.astype("Float64")),
    "a large batch": lambda mlp: mlp.set_params(batch_size=1000).fit(X, y),
    "no hidden layer": lambda mlp: mlp.set_params(hidden_layer_sizes=()).fit(X, y).n_layers_,
    "a number as sizes": lambda mlp: mlp.set_params(hidden_layer_sizes=7).fit(X, y).coefs_[0].shape,
    "an array as sizes": lambda mlp: mlp.set_params(hidden_layer_sizes=np.array([5, 4])).fit(X, y).n_layers_,
    "RandomState": lambda mlp: mlp.set_params(random_state=np.random.RandomState(3)).fit(X, y).n_iter_,
    "endless": lambda mlp: mlp.set_params(n_iter_no_change=np.inf).fit(X, y).n_iter_,
    "one call": lambda mlp: mlp.set_params(solver="lbfgs", max_fun=1).fit(X, y),
    "one epoch of lbfgs": lambda mlp: mlp.set_params(solver="lbfgs", max_iter=1).fit(X, y).n_iter_,
    "a constant power": lambda mlp: mlp.set_params(solver="sgd", learning_rate="invscaling", power_t=0).fit(X, y),
    "betas of zero": lambda mlp: mlp.set_params(beta_1=0, beta_2=0).fit(X, y),
    "epochs of partial_fit after fit": lambda mlp: len(mlp.fit(X, y).partial_fit(X, y).loss_curve_),
    "epochs counted after partial_fit": lambda mlp: mlp.fit(X, y).partial_fit(X, y).n_iter_,
    "samples counted": lambda mlp: mlp.fit(X, y).partial_fit(X[:7], y[:7]).t_,
    "fit anew": lambda mlp: len(mlp.fit(X, y).fit(X, y).loss_curve_),
    "fit on": lambda mlp: len(mlp.set_params(warm_start=True).fit(X, y).fit(X, y).loss_curve_),
    "samples of a warm start": lambda mlp: mlp.set_params(warm_start=True).fit(X, y).fit(X, y).t_,
    "changed after fit": lambda mlp: mlp.fit(X, y).set_params(hidden_layer_sizes=(3,)).predict(X),
    "huge alpha": lambda mlp: mlp.set_params(alpha=1e10).fit(X, y),
    "feature names": lambda mlp: mlp.fit(FRAME, y).feature_names_in_,
    "public attributes": lambda mlp: public(mlp.fit(X, y)) - {"model_"},
    "attributes with early stopping": lambda mlp: public(mlp.set_params(early_stopping=True).fit(X, y)) - {"model_"},
    "attributes of lbfgs": lambda mlp: public(mlp.set_params(solver="lbfgs").fit(X, y)) - {"model_"},
}
CLASSIFIER: dict[str, Case] = {
    "continuous y": lambda mlp: mlp.fit(X, X[:, 0]),
    "two columns of classes": lambda mlp: mlp.fit(X, np.c_[y, y]),
    "probabilities": lambda mlp: mlp.fit(X, y).predict_proba(X),
    "logarithms": lambda mlp: mlp.fit(X.astype("f4"), y).predict_log_proba(X.astype("f4")),
    "labels of text": lambda mlp: mlp.fit(X, NAMES[y]).predict(X),
    "labels as objects": lambda mlp: mlp.fit(X, NAMES.astype(object)[y]).predict(X),
    "booleans as labels": lambda mlp: mlp.fit(X, y == 1).predict(X),
    "negative labels": lambda mlp: mlp.fit(X, np.array([-5, 0, 7])[y]).classes_,
    "large labels": lambda mlp: mlp.fit(X, np.array([2**40, 5, -(2**40)])[y]).predict(X),
    "numbers as labels": lambda mlp: mlp.fit(X, y.astype(float)).predict(X),
    "a series of categories": lambda mlp: mlp.fit(X, pd.Series(pd.Categorical.from_codes(y, NAMES))).predict(X),
    "a sparse indicator": lambda mlp: type(mlp.fit(X, scipy.sparse.csr_matrix(X[:, :3] > 0).astype(int)).predict(X)),
    "a label that is new": lambda mlp: mlp.partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X[:2], [3, 0]),
    "no classes": lambda mlp: mlp.partial_fit(X, y),
    "other classes": lambda mlp: mlp.partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X, y, classes=[0, 1]),
    "too few classes": lambda mlp: mlp.partial_fit(X, y, classes=[0, 1]),
    "a part of the classes": lambda mlp: mlp.partial_fit(X[:3], y[:3], classes=[0, 1, 2]).predict_proba(X),
    "other classes in a warm start": lambda mlp: mlp.set_params(warm_start=True).fit(X, y).fit(X, y + 1),
    "fit after partial_fit": lambda mlp: mlp.partial_fit(X, y, classes=[0, 1, 2, 3]).fit(X, y).classes_,
}


def public(mlp: Any) -> set[str]:
    return {name for name in vars(mlp) if name.endswith("_") and not name.startswith("_")}


@pytest.mark.parametrize("case", [*ERRORS, *RESULTS])
@pytest.mark.parametrize("make", [classifier, regressor])
def test_both_do_the_same(make: Callable[[Any], Any], case: str) -> None:
    run = {**ERRORS, **RESULTS}[case]
    assert outcome(run, make(stoop.sklearn)) == outcome(run, make(sklearn.neural_network))


@pytest.mark.parametrize("case", CLASSIFIER)
def test_classifiers_do_the_same(case: str) -> None:
    ours, theirs = (outcome(CLASSIFIER[case], classifier(one)) for one in (stoop.sklearn, sklearn.neural_network))
    assert np.array_equal(np.array(ours, object), np.array(theirs, object)) or str(ours) == str(theirs)


MLP = classifier(stoop.sklearn, max_iter=60)
AROUND: dict[str, Callable[[], Any]] = {
    "pipeline of frames": lambda: make_pipeline(StandardScaler(), MLP).set_output(transform="pandas"),
    "grid": lambda: GridSearchCV(MLP, {"alpha": [1e-4, 1.0], "solver": ["adam", "lbfgs"]}, cv=3),
    "halving": lambda: HalvingGridSearchCV(MLP, {"alpha": [1e-4, 1.0]}, resource="max_iter", max_resources=60, cv=3),
    "calibration": lambda: CalibratedClassifierCV(MLP, cv=3),
    "voting": lambda: VotingClassifier([("a", MLP), ("b", clone(MLP).set_params(solver="lbfgs"))], voting="soft"),
    "stacking": lambda: StackingClassifier([("a", MLP), ("b", clone(MLP).set_params(activation="tanh"))], cv=3),
    "bagging": lambda: BaggingClassifier(MLP, n_estimators=4, random_state=0),
    "boosting": lambda: AdaBoostClassifier(MLP, n_estimators=3, random_state=0),
    "one against the rest": lambda: OneVsRestClassifier(MLP),
}


@pytest.mark.parametrize("name", AROUND)
def test_estimators_of_estimators(name: str) -> None:
    assert AROUND[name]().fit(FRAME, y).score(FRAME, y) > 0.95


def test_several_targets() -> None:
    targets = np.c_[y == 0, X[:, 0] > 0]
    assert MultiOutputClassifier(MLP).fit(X, targets).score(X, targets) > 0.9
    assert ClassifierChain(MLP).fit(X, targets).score(X, targets) > 0.85


def test_inspection_and_curves() -> None:
    fitted = clone(MLP).fit(X, y)
    assert permutation_importance(fitted, X, y, n_repeats=2, random_state=0).importances_mean.max() > 0.01
    sizes, _, scores = learning_curve(MLP, X, y, cv=3, shuffle=True, random_state=0, exploit_incremental_learning=True)
    assert scores.shape == (len(sizes), 3)


def test_metadata_is_routed() -> None:
    with sklearn.config_context(enable_metadata_routing=True):
        mlp = clone(MLP).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        found = cross_validate(mlp, X, y, params={"sample_weight": np.where(y == 0, 0.0, 1.0)}, return_estimator=True)
    assert all(0 not in each.predict(X) for each in found["estimator"])  # whose rows have no weight


def test_threads_of_python_train_at_once() -> None:
    def train(seed: int) -> Array:
        return clone(MLP).set_params(random_state=seed).fit(X, y).predict_proba(X)

    together = joblib.Parallel(n_jobs=4, prefer="threads")(joblib.delayed(train)(seed) for seed in range(6))
    for seed, found in enumerate(together):
        np.testing.assert_array_equal(found, train(seed))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda mlp: pickle.loads(pickle.dumps(mlp))])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_copy_goes_on_with_the_same_bits(solver: str, copied: Callable[[Any], Any]) -> None:
    mlp = clone(MLP).set_params(solver=solver).fit(X, y)
    other = copied(mlp)
    before = mlp.predict_proba(X)
    np.testing.assert_array_equal(other.predict_proba(X), before)
    other.partial_fit(X, y)
    np.testing.assert_array_equal(mlp.predict_proba(X), before)
    mlp.partial_fit(X, y)
    for own, its in zip(mlp.coefs_, other.coefs_, strict=True):
        np.testing.assert_array_equal(own, its)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_the_layout_of_arrays_changes_nothing(solver: str) -> None:
    mlp = clone(MLP).set_params(solver=solver)
    want = clone(mlp).fit(X, y).predict_proba(X)
    fixed, labels = X.copy(), y.copy()
    fixed.flags.writeable = labels.flags.writeable = False
    doubled = np.repeat(X, 2, axis=1)[:, ::2]
    for rows in (fixed, np.asfortranarray(X), doubled, X[::-1][::-1], X.tolist(), FRAME.to_numpy()):
        np.testing.assert_array_equal(clone(mlp).fit(rows, labels).predict_proba(rows), want)


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"])
@pytest.mark.parametrize("container", ["matrix", "array"])
@pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")
def test_sparse_matrices_of_every_kind(kind: str, container: str) -> None:
    rows = np.where(np.abs(X) > 1.0, X, 0.0)
    given = getattr(scipy.sparse, f"{kind}_{container}")(rows)
    if kind in ("csr", "csc", "bsr"):
        given.indices, given.indptr = given.indices.astype(np.int64), given.indptr.astype(np.int64)
    want = clone(MLP).fit(rows, y)
    found = clone(MLP).fit(given, y)
    np.testing.assert_array_equal(found.predict_proba(given), want.predict_proba(rows))
