"""stoop.sklearn beside scikit-learn's own classes: the same numbers, attributes, rules and errors."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import sklearn.neural_network as theirs
from scipy import sparse
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelBinarizer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import stoop
from helpers import refused, run_python
from stoop import sklearn as ours
from stoop.sklearn import MLPClassifier, MLPRegressor, _rows, _stochastic

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

Array = npt.NDArray[Any]
ESTIMATORS = (MLPClassifier, MLPRegressor)


def digits(rows: int = 500) -> tuple[Array, Array]:
    X, y = load_digits(return_X_y=True)
    return X[:rows] / 16, y[:rows]


def targets(kind: str, y: Array) -> Array:
    """Digits as another kind of target."""
    if kind == "binary":
        return np.array(["even", "odd"])[y % 2]
    if kind == "labels":
        return np.c_[y > 4, y % 2, y % 3 == 0].astype(int)
    if kind == "two values":
        return np.c_[y, y[::-1] + 1.0]
    return y


def twins(name: str, **arguments: Any) -> tuple[Any, Any]:
    """Both estimators with the same arguments, in float64 and without what is drawn differently."""
    given = {"random_state": 0, "shuffle": False, "max_iter": 12, **arguments}
    return getattr(theirs, name)(**given), getattr(ours, name)(**given, dtype="float64")


def assert_like(mine: Any, other: Any, tolerance: float = 1e-10) -> None:
    assert mine.n_iter_ == other.n_iter_
    np.testing.assert_allclose(mine.loss_curve_, other.loss_curve_, rtol=tolerance)
    for a, b in zip([*mine.coefs_, *mine.intercepts_], [*other.coefs_, *other.intercepts_], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)
    for name in ("loss_", "best_loss_", "t_", "n_layers_", "n_outputs_", "best_validation_score_"):
        expected = getattr(other, name)
        expected = expected if expected is None else pytest.approx(expected, rel=tolerance)
        assert getattr(mine, name) == expected, name
    assert mine.out_activation_ == other.out_activation_


# ---- scikit-learn's checks ----


@parametrize_with_checks([kind(dtype="float64", max_iter=20) for kind in ESTIMATORS])
def test_the_checks_of_estimators(estimator: Any, check: Any) -> None:
    check(estimator)


@parametrize_with_checks([kind() for kind in ESTIMATORS])
def test_the_checks_of_estimators_with_their_defaults(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_the_arguments_begin_with_those_of_scikit_learn(kind: Any) -> None:
    other = inspect.signature(getattr(theirs, kind.__name__))
    mine = inspect.signature(kind)
    shared = [mine.parameters[name] for name in other.parameters]
    assert [(p.name, p.default, p.kind) for p in shared] == [
        (p.name, p.default, p.kind) for p in other.parameters.values()
    ]
    assert list(mine.parameters)[: len(shared)] == list(other.parameters)
    for p in list(mine.parameters.values())[len(shared) :]:
        assert p.kind is p.KEYWORD_ONLY


# ---- the same numbers ----

SOLVERS = {
    "adam": {},
    "adam, large epsilon": {"epsilon": 1e-3, "beta_1": 0.8, "beta_2": 0.99},
    "sgd": {"solver": "sgd"},
    "sgd without nesterov": {"solver": "sgd", "nesterovs_momentum": False},
    "sgd without momentum": {"solver": "sgd", "momentum": 0.0},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
    "adaptive": {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "learning_rate_init": 0.3,
        "tol": 1e-2,
        "n_iter_no_change": 2,
        "max_iter": 40,
    },
    "short last batch": {"batch_size": 33, "alpha": 0.5},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 3, "max_iter": 40},
}


@pytest.mark.parametrize("kind", ["multiclass", "binary", "labels"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_loss_curves_of_classifiers(solver: str, kind: str) -> None:
    X, y = digits(300)
    other, mine = twins("MLPClassifier", hidden_layer_sizes=(20, 10), activation="tanh", **SOLVERS[solver])
    y = targets(kind, y)
    assert_like(mine.fit(X, y), other.fit(X, y))
    np.testing.assert_array_equal(mine.predict(X), other.predict(X))
    np.testing.assert_allclose(mine.predict_proba(X), other.predict_proba(X), atol=1e-8)


@pytest.mark.parametrize("solver", SOLVERS)
def test_loss_curves_of_regressors(solver: str) -> None:
    X, y = digits(300)
    other, mine = twins("MLPRegressor", hidden_layer_sizes=20, activation="logistic", **SOLVERS[solver])
    assert_like(mine.fit(X, y), other.fit(X, y))
    np.testing.assert_allclose(mine.predict(X), other.predict(X), atol=1e-6)


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_activations_and_losses(activation: str, loss: str) -> None:
    X, y = digits(200)
    other, mine = twins("MLPRegressor", activation=activation, loss=loss, hidden_layer_sizes=(8,))
    assert_like(mine.fit(X, y), other.fit(X, y))


def test_several_values() -> None:
    """The penalty, of which the core reports a part, is known at the ends of the epoch alone."""
    X, y = digits(300)
    y = targets("two values", y)
    other, mine = twins("MLPRegressor", alpha=0.0)
    assert_like(mine.fit(X, y), other.fit(X, y))
    other, mine = twins("MLPRegressor", alpha=1.0)
    assert_like(mine.fit(X, y), other.fit(X, y), tolerance=1e-4)


def test_weights_of_samples() -> None:
    X, y = digits(300)
    weights = np.random.default_rng(0).uniform(0.1, 3.0, len(y))
    other, mine = twins("MLPClassifier", batch_size=300)
    assert_like(mine.fit(X, y, sample_weight=weights), other.fit(X, y, sample_weight=weights))
    other, mine = twins("MLPClassifier", batch_size=77)  # whose loss curve weighs batches by their rows
    mine.fit(X, y, sample_weight=weights * 1e30)
    other.fit(X, y, sample_weight=weights * 1e30)
    np.testing.assert_allclose(mine.coefs_[0], other.coefs_[0], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kind", ["multiclass", "binary", "labels", "two values"])
def test_lbfgs(kind: str) -> None:
    X, y = digits(200)
    name = "MLPRegressor" if kind == "two values" else "MLPClassifier"
    other, mine = twins(name, solver="lbfgs", max_iter=15, hidden_layer_sizes=20)
    y = targets(kind, y)
    other.fit(X, y)
    for dtype in ("float64", "float32"):
        mine.set_params(dtype=dtype).fit(X, y)
        assert mine.n_iter_ == other.n_iter_
        assert mine.loss_ == pytest.approx(other.loss_, rel=1e-4)
    assert not hasattr(mine, "loss_curve_")


def test_lbfgs_ends_after_max_fun_and_warns() -> None:
    X, y = digits(100)
    with pytest.warns(ConvergenceWarning, match="lbfgs failed to converge"):
        MLPClassifier(solver="lbfgs", max_fun=5).fit(X, y)


@pytest.mark.parametrize("solver", ["adam", "invscaling"])
def test_partial_fit_and_warm_start(solver: str) -> None:
    X, y = digits(300)
    other, mine = twins("MLPClassifier", **SOLVERS[solver])
    for part in np.split(np.arange(300), 3):
        other.partial_fit(X[part], y[part], classes=np.arange(10))
        mine.partial_fit(X[part], y[part], classes=np.arange(10))
    assert_like(mine, other)
    other, mine = twins("MLPClassifier", warm_start=True, **SOLVERS[solver])
    for _ in range(2):
        assert_like(mine.fit(X, y), other.fit(X, y))


def test_no_partial_fit_with_lbfgs() -> None:
    assert not hasattr(MLPClassifier(solver="lbfgs"), "partial_fit")
    assert hasattr(MLPRegressor(solver="sgd"), "partial_fit")


# ---- data of all kinds ----


def test_a_part_of_a_sparse_matrix_is_no_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = digits(300)
    monkeypatch.setattr(_rows, "_PART_BYTES", 70 * 64 * 8)
    rates: list[float] = []
    note = stoop.callbacks.Lambda(on_epoch_end=lambda trainer, logs: rates.append(logs["learning_rate"]))
    halved = stoop.optimizers.Adam(stoop.schedules.Step(0.1, factor=0.5, every=1, per="epoch"))
    fits = []
    for form in (np.asarray, sparse.csr_matrix):
        for arguments in ({"callbacks": [note]}, {"callbacks": [note], "optimizer": halved}, {"optimizer": halved}):
            fits.append(MLPClassifier((4,), max_iter=3, random_state=0, **arguments).fit(form(X), y))
    for own, other in zip(fits[:3], fits[3:]):
        np.testing.assert_array_equal(own.coefs_[0], other.coefs_[0])
    assert rates == [0.001] * 3 + [0.1, 0.05, 0.025] + [0.001] * 3 + [0.1, 0.05, 0.025]
    monkeypatch.setattr(_stochastic, "_MOST_DENSE", 1000)
    with refused(ValueError, "a sparse X that takes", "a part of it is no epoch"):
        MLPClassifier(callbacks=[note]).fit(sparse.csr_matrix(X), y)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_array])
def test_sparse(form: Any, solver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one part, and in parts that become dense one by one."""
    X, y = digits(300)
    arguments: dict[str, Any] = {"shuffle": False, "random_state": 0, "max_iter": 10, "batch_size": 32}
    whole = MLPClassifier(**arguments, solver=solver, dtype="float64").fit(X, y)
    at_once = clone(whole).fit(form(X), y)
    np.testing.assert_array_equal(at_once.coefs_[0], whole.coefs_[0])
    monkeypatch.setattr(_rows, "_PART_BYTES", 70 * 64 * 8)
    most: list[int] = []
    dense = _rows.dense
    for module in ("_stochastic", "_lbfgs", "_base"):
        path = f"stoop.sklearn.{module}.dense"
        monkeypatch.setattr(path, lambda X, rows: (most.append(len(part := dense(X, rows))), part)[1])
    in_parts = clone(whole).fit(form(X), y)
    assert max(most) <= 70
    np.testing.assert_allclose(in_parts.coefs_[0], whole.coefs_[0], atol=1e-9)
    assert in_parts.loss_ == pytest.approx(whole.loss_)
    np.testing.assert_allclose(in_parts.predict_proba(form(X)), whole.predict_proba(X), atol=1e-9)
    shuffled = clone(whole).set_params(shuffle=True, max_iter=40, solver="adam").fit(form(X), y)
    assert shuffled.score(X, y) > 0.9


def test_data_frames() -> None:
    X, y = digits(100)
    frame = pd.DataFrame(X, columns=[f"pixel{i}" for i in range(64)])
    classifier = MLPClassifier(max_iter=2).fit(frame, pd.Series(y))
    assert list(classifier.feature_names_in_) == list(frame)
    with pytest.raises(ValueError, match="feature names should match"):
        classifier.predict(frame[frame.columns[::-1]])


def test_one_class() -> None:
    X, _ = digits(20)
    classifier = MLPClassifier(max_iter=2).fit(X, ["only"] * 20)
    assert list(classifier.predict(X[:2])) == ["only", "only"]
    assert classifier.predict_proba(X).shape == (20, 2)  # as in scikit-learn


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_missing_and_infinite_values_are_refused(kind: Any) -> None:
    X, y = digits(20)
    for value in (np.nan, np.inf):
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            kind().fit(np.where(X[0] == X, value, X), y)
    estimator = kind(max_iter=2).fit(X, y)
    with pytest.raises(ValueError, match="NaN"):
        estimator.predict(X * np.nan)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"hidden_layer_sizes": -1}, "hidden_layer_sizes"),
        ({"solver": "newton"}, "solver"),
        ({"alpha": -1.0}, "alpha"),
        ({"dropout": 1.0}, "dropout"),
        ({"dtype": "float16"}, "dtype"),
        ({"precision": "float8"}, "precision"),
        ({"ema": 2.0}, "ema"),
        ({"num_threads": 0}, "num_threads"),
        ({"optimizer": 3}, "optimizer"),
        ({"class_weight": "even"}, "class_weight"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], name: str) -> None:
    from sklearn.utils._param_validation import InvalidParameterError

    X, y = digits(20)
    with pytest.raises((InvalidParameterError, ValueError), match=name):
        MLPClassifier(**arguments).fit(X, y)


def test_numbers_beyond_float32() -> None:
    X, y = digits(20)
    with pytest.raises(ValueError, match="float32 does not hold; dtype='float64' does"):
        MLPRegressor().fit(X * 1e200, y)


# ---- the weights, copies, files ----


def test_weights_that_are_set_predict_and_train_on() -> None:
    X, y = digits(200)
    classifier = MLPClassifier(solver="sgd", momentum=0.0, max_iter=5, random_state=0).fit(X, y)
    expected = classifier.predict_proba(X)
    kept = [weight.copy() for weight in classifier.coefs_]
    classifier.coefs_[0][...] = 0.0
    assert np.ptp(classifier.predict_proba(X), axis=0).max() < 1e-6
    classifier.coefs_ = kept
    np.testing.assert_array_equal(classifier.predict_proba(X), expected)
    classifier.coefs_[1] = np.zeros_like(kept[1])
    before = classifier.intercepts_[0].copy()
    classifier.partial_fit(X, y)
    np.testing.assert_array_equal(classifier.intercepts_[0] != before, np.zeros(100, bool))  # no gradient came through
    classifier.coefs_ = [kept[0][:5], kept[1]]
    with refused(ValueError, "coefs_ and intercepts_ have the shapes"):
        classifier.predict(X)


@pytest.mark.parametrize("of_X", ["float32", "float64"])
def test_weights_that_are_set_are_those_of_the_model(of_X: str) -> None:
    X, y = digits(100)
    classifier = MLPClassifier(max_iter=2, random_state=0).fit(X.astype(of_X), y)
    classifier.coefs_[0] = np.zeros_like(classifier.coefs_[0])  # no prediction between
    assert not classifier.model_.parameters()["0.weight"].any()
    classifier.intercepts_ = [bias + 1 for bias in classifier.intercepts_]
    model = stoop.convert.from_sklearn(classifier)
    np.testing.assert_allclose(model.predict_proba(X), classifier.predict_proba(X), rtol=1e-6)
    assert not hasattr(MLPClassifier(), "model_")


@pytest.mark.parametrize("of_X", ["float32", "float64"])  # coefs_ are views of float32, or copies of float64
def test_weights_and_parameters_are_one(of_X: str) -> None:
    X, y = digits(200)
    X = X.astype(of_X)
    classifier = MLPClassifier(solver="sgd", max_iter=5, random_state=0).fit(X, y)
    weight, parameter = classifier.coefs_[0], classifier.model_.parameters()["0.weight"]
    np.testing.assert_array_equal(weight, parameter)
    assert weight.dtype == of_X
    weight[0, 0] = 0.25
    classifier.predict(X)
    parameter[0, 1] = 0.75  # of the model, after the copy was made
    assert (parameter[0, 0], classifier.coefs_[0][0, 1]) == (0.25, 0.75)
    weight[0, 2] = 0.5
    twin = pickle.loads(pickle.dumps(classifier))
    assert (twin.coefs_[0][0, :3] == [0.25, 0.75, 0.5]).all()
    before = weight.copy()
    classifier.partial_fit(X, y)
    assert classifier.coefs_[0] is weight  # as in scikit-learn, whose solvers work in place
    assert (weight != before).any()
    np.testing.assert_array_equal(weight, parameter)
    with pytest.raises(AttributeError, match="intercepts_ before it is fitted"):
        _ = MLPClassifier().intercepts_


def test_callbacks_see_the_weights_as_they_are() -> None:
    X, y = digits(200)
    seen = []
    look = stoop.callbacks.Lambda(on_epoch_end=lambda trainer, logs: seen.append(classifier.coefs_[1].copy()))
    classifier = MLPClassifier(max_iter=3, random_state=0, callbacks=look)
    classifier.fit(X, y)
    assert (seen[0] != seen[1]).any()
    np.testing.assert_array_equal(seen[2], classifier.coefs_[1])


def of_joblib(estimator: Any, folder: Path) -> Any:
    joblib.dump(estimator, folder / "mlp.joblib")
    return joblib.load(folder / "mlp.joblib", mmap_mode="r")


COPIES: dict[str, Callable[[Any, Path], Any]] = {
    "pickle": lambda estimator, _: pickle.loads(pickle.dumps(estimator)),
    "joblib": of_joblib,
    "deepcopy": lambda estimator, _: copy.deepcopy(estimator),
}


@pytest.mark.parametrize("way", COPIES)
def test_copies_go_on_alike(way: str, tmp_path: Path) -> None:
    X, y = digits(200)
    classifier = MLPClassifier(solver="sgd", learning_rate="adaptive", random_state=0, batch_norm=True, dropout=0.2)
    classifier.partial_fit(X, y, classes=np.arange(10))
    twin = COPIES[way](classifier, tmp_path)
    expected = classifier.predict_proba(X)
    np.testing.assert_array_equal(twin.predict_proba(X), expected)
    for each in (classifier, twin):
        each.partial_fit(X, y)
    np.testing.assert_array_equal(twin.coefs_[0], classifier.coefs_[0])
    twin.coefs_[0][...] = 0.0  # which are its own
    assert classifier.coefs_[0].any()


def test_the_model_saves_what_predicts(tmp_path: Any) -> None:
    X, y = digits(200)
    classifier = MLPClassifier(max_iter=5).fit(X.astype(np.float32), y)
    classifier.model_.save(tmp_path / "model.safetensors")
    loaded = stoop.load_model(tmp_path / "model.safetensors")
    np.testing.assert_allclose(loaded.predict_proba(X), classifier.predict_proba(X), atol=1e-6)


class Narrow(MLPClassifier):
    """A subclass with arguments of its own."""

    def __init__(self, units: int = 5, alpha: float = 0.5) -> None:
        super().__init__((units,), alpha=alpha, max_iter=3)
        self.units = units


def test_subclasses_have_their_own_arguments() -> None:
    X, y = digits(100)
    narrow = clone(Narrow(7)).fit(X, y)
    assert narrow.get_params() == {"alpha": 0.5, "units": 7}
    assert narrow.coefs_[0].shape == (64, 7)
    with pytest.raises(ValueError, match="The 'alpha' parameter of Narrow must be"):
        narrow.set_params(alpha=-1.0).fit(X, y)


@pytest.mark.parametrize(
    "y",
    [
        np.array([2, 0, 1] * 5), np.array([True, False] * 5), np.array([3] * 5), np.arange(30),
        np.array([0.0, 2.0, 1.0]), np.array(["b", "a"] * 3), np.array(["b", "a", "c"], object), np.eye(3, dtype=int),
    ],
)  # fmt: skip
def test_classes_are_those_of_a_label_binarizer(y: Array) -> None:
    classifier = MLPClassifier(max_iter=1).fit(np.zeros((len(y), 2)), y)
    theirs, mine = LabelBinarizer().fit(y), classifier._label_binarizer
    assert vars(mine).keys() == vars(theirs).keys()
    assert (mine.y_type_, mine.sparse_input_) == (theirs.y_type_, theirs.sparse_input_)
    np.testing.assert_array_equal(mine.classes_, theirs.classes_)
    assert mine.classes_.dtype == theirs.classes_.dtype
    np.testing.assert_array_equal(classifier.classes_, theirs.classes_)


def test_threads_do_not_change_the_bits() -> None:
    X, y = digits(400)
    weights = []
    for threads in (1, 2, 3):
        classifier = MLPClassifier(max_iter=5, random_state=0, num_threads=threads, dropout=0.1).fit(X, y)
        weights.append(classifier.coefs_[0].copy())
    np.testing.assert_array_equal(weights[0], weights[1])
    np.testing.assert_array_equal(weights[0], weights[2])


def test_meta_estimators() -> None:
    X, y = digits(200)
    classifier = MLPClassifier(max_iter=20, random_state=0, learning_rate_init=0.01)
    grid = GridSearchCV(
        make_pipeline(StandardScaler(), classifier), {"mlpclassifier__alpha": [1e-4, 1.0]}, cv=2, n_jobs=2
    )
    grid.fit(X, y)
    assert grid.best_score_ > 0.7
    calibrated = CalibratedClassifierCV(classifier, cv=2).fit(X, y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1.0)


def test_the_import_names_the_extra() -> None:
    text = "import sys, stoop; sys.modules['sklearn'] = None; stoop.sklearn"
    assert "pip install 'stoop[sklearn]'" in run_python("-c", text, check=False).stderr
    text = "import sys, stoop; print('sklearn' in sys.modules, stoop.sklearn.MLPClassifier(), 'sklearn' in sys.modules)"
    assert run_python("-c", text).stdout.split() == ["False", "MLPClassifier()", "True"]
