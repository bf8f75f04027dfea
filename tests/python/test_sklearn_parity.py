"""The estimators of stoop.sklearn beside scikit-learn's: the same numbers where no sample is drawn, the same scores.

With shuffle=False nothing is left to chance but the first weights and the split of early stopping, which are drawn as
scikit-learn draws them. In float64 both then do the same updates, but for rounding.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import sklearn.neural_network
from sklearn.base import is_classifier

import stoop.sklearn
from helpers import REPOSITORY

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
Array = npt.NDArray[Any]

ROWS = 101  # the last batch is smaller than the others
rng = np.random.default_rng(0)
X = rng.standard_normal((ROWS, 7))
SUM = X[:, 0] + X[:, 1] * X[:, 2]
WEIGHTS = rng.uniform(0.5, 2.0, ROWS)
TARGETS: dict[str, Array] = {
    "binary": SUM > 0,
    "multiclass": np.array(["a", "b", "c"])[np.digitize(SUM, [-0.7, 0.7])],
    "multilabel": (np.c_[SUM, X[:, 3], -SUM * X[:, 4]] > 0).astype(int),
    "regression": SUM,
    "outputs": np.c_[SUM, X[:, 3] ** 2],
    "poisson": rng.poisson(np.exp(0.5 * X[:, 0] + 0.2)),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "adam": {},
    "adam with betas": {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.02},
    "sgd without nesterov": {"solver": "sgd", "learning_rate_init": 0.02, "nesterovs_momentum": False},
    "sgd without momentum": {"solver": "sgd", "momentum": 0},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.3, "learning_rate_init": 0.1},
    "adaptive": {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "tol": 0.05,
        "n_iter_no_change": 2,
        "learning_rate_init": 0.1,
    },
    "batches": {"batch_size": 20, "alpha": 0.5},
    "batches of sgd": {"batch_size": 13, "solver": "sgd", "alpha": 1.0},
    "two layers": {"activation": "tanh", "hidden_layer_sizes": (5, 4)},
    "logistic": {"activation": "logistic", "alpha": 0.3},
    "identity": {"activation": "identity"},
    "no hidden layer": {"hidden_layer_sizes": ()},
    "early stopping": {"early_stopping": True, "validation_fraction": 0.2},
    "stops": {"tol": 0.1, "n_iter_no_change": 3, "learning_rate_init": 0.02},
    "lbfgs": {"solver": "lbfgs", "max_iter": 10},
    "lbfgs, penalty": {"solver": "lbfgs", "activation": "tanh", "alpha": 2.0, "max_iter": 10},
}


def make(module: Any, kind: str, **given: Any) -> Any:
    arguments = {"shuffle": False, "random_state": 3, "max_iter": 30, "hidden_layer_sizes": (9,), **given}
    if module is stoop.sklearn:
        arguments["dtype"] = "float64"
    if kind in ("binary", "multiclass", "multilabel"):
        return module.MLPClassifier(**arguments)
    return module.MLPRegressor("poisson" if kind == "poisson" else "squared_error", **arguments)


def both(kind: str, **given: Any) -> tuple[Any, Any]:
    return make(stoop.sklearn, kind, **given), make(sklearn.neural_network, kind, **given)


def assert_same(ours: Any, theirs: Any, loss_error: float = 1e-9) -> None:
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.t_ == theirs.t_
    for name in ("coefs_", "intercepts_"):
        for own, other in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            np.testing.assert_allclose(own, other, rtol=1e-8, atol=1e-9)
    for name in ("loss_", "loss_curve_", "best_loss_"):
        if getattr(theirs, name, None) is not None:
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=loss_error)
    for name in ("validation_scores_", "best_validation_score_"):
        if getattr(theirs, name, None) is not None:
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-9)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", TARGETS)
def test_without_shuffling_the_numbers_are_those_of_scikit_learn(kind: str, weighted: bool, setting: str) -> None:
    weights = WEIGHTS if weighted else None
    ours, theirs = (one.fit(X, TARGETS[kind], sample_weight=weights) for one in both(kind, **SETTINGS[setting]))
    # docs/from-scikit-learn.md says how the losses that are reported differ in these cases. The weights do not.
    loss_error = 0.05 if weighted and "batch_size" in SETTINGS[setting] else 2e-3 if kind == "outputs" else 1e-9
    assert_same(ours, theirs, loss_error)
    if is_classifier(ours):
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-7, atol=1e-9)
    else:
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-7, atol=1e-9)


# ---- scores ----


spec = importlib.util.spec_from_file_location("sklearn_tasks", REPOSITORY / "bench" / "sklearn_tasks.py")
assert spec is not None
assert spec.loader is not None
tasks = importlib.util.module_from_spec(spec)
sys.modules["sklearn_tasks"] = tasks  # its dataclasses look for it there
spec.loader.exec_module(tasks)

SEEDS = 5
LARGEST = 4000  # rows of the large sets; bench/sklearn_mlp.py --scores has all of them, and ten seeds


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in tasks.DATA if name != "covertype-like"])
def test_scores_are_no_worse_than_those_of_scikit_learn(name: str) -> None:
    """The mean difference over all arguments is within its standard error, and each within twice the usual one."""
    settings = {key: given for key, given in tasks.ARGUMENTS.items() if key != "lbfgs"}
    found = {key: tasks.compare(name, given, SEEDS, LARGEST) for key, given in settings.items()}
    assert all(np.isfinite(one.ours).all() for one in found.values())
    usual = np.mean([one.error**2 for one in found.values()]) ** 0.5
    differences = {key: one.difference for key, one in found.items()}
    assert {key: one for key, one in differences.items() if one < -2.0 * usual} == {}
    assert np.mean(list(differences.values())) >= -usual / len(found) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in tasks.DATA if name not in tasks.EPOCHS])
def test_lbfgs_reaches_the_loss_of_scikit_learn(name: str) -> None:
    for seed in range(SEEDS):
        data = tasks.split(name, seed)
        makers = [tasks.estimator(library, name, seed, tasks.ARGUMENTS["lbfgs"]) for library in ("stoop", "sklearn")]
        ours, theirs = (tasks.fit(mlp, data) for mlp in makers)
        assert ours.loss <= theirs.loss + 1e-4
