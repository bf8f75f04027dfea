"""Data sets and arguments on which the MLP of scikit-learn and that of Stoop are compared.

Features are standardised by the training rows, and so are the targets of a regression.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import datasets
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

Array = npt.NDArray[Any]


def letters(rows: int, separation: float, clusters: int) -> tuple[Array, Array]:
    """Return 16 columns and 26 classes, the form of the UCI data set "letter recognition"."""
    return datasets.make_classification(
        rows,
        n_features=16,
        n_informative=12,
        n_redundant=4,
        n_classes=26,
        n_clusters_per_class=clusters,
        class_sep=separation,
        flip_y=0.02,
        random_state=0,
    )


def covertype() -> tuple[Array, Array]:
    """Return 50,000 rows of the form of "covertype": 10 numbers, 44 columns of zeros and ones, 7 classes."""
    X, y = datasets.make_classification(
        50_000, n_features=54, n_informative=20, n_classes=7, n_clusters_per_class=3, random_state=0
    )
    X[:, 10:] = X[:, 10:] > 1.0
    return X, y


DATA: dict[str, Callable[[], tuple[Array, Array]]] = {
    "wine": lambda: datasets.load_wine(return_X_y=True),
    "breast cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
    "digits": lambda: datasets.load_digits(return_X_y=True),
    "diabetes": lambda: datasets.load_diabetes(return_X_y=True),
    "letters, easy": lambda: letters(20_000, 2.0, 1),
    "letters, hard": lambda: letters(20_000, 1.0, 2),
    "covertype-like": covertype,
}
REGRESSION = frozenset({"diabetes"})
# Passes over large sets, where the default of 200 would take scikit-learn minutes.
EPOCHS = {"letters, easy": 50, "letters, hard": 50, "covertype-like": 20}

# What is given beside the defaults.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "adam": {},
    "sgd": {"solver": "sgd"},
    "adam, two layers, tanh": {"hidden_layer_sizes": (64, 32), "activation": "tanh", "alpha": 0.1},
    "adam, early stopping": {"early_stopping": True, "learning_rate_init": 0.003},
    "sgd, adaptive": {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.05, "batch_size": 64},
    "sgd, invscaling, logistic": {
        "solver": "sgd",
        "learning_rate": "invscaling",
        "power_t": 0.25,
        "learning_rate_init": 0.2,
        "activation": "logistic",
        "nesterovs_momentum": False,
    },
    "lbfgs": {"solver": "lbfgs", "max_iter": 1000},
}


@dataclass
class Split:
    """Rows to train on and rows to score."""

    X: Array
    y: Array
    X_test: Array
    y_test: Array


def split(name: str, seed: int, dtype: str = "float32", rows: int | None = None) -> Split:
    """Return a data set divided at random; a quarter of it is scored. `rows`: no more than so many in all."""
    X, y = DATA[name]()
    kept = np.random.default_rng(seed).permutation(len(X))[:rows]
    X, y = X[kept], y[kept]
    labels = None if name in REGRESSION else y
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.25, random_state=seed, stratify=labels)
    mean, scale = X.mean(0), X.std(0)
    scale[scale == 0.0] = 1.0
    X, X_test = (X - mean) / scale, (X_test - mean) / scale
    if name in REGRESSION:
        middle, spread = y.mean(), y.std()
        y, y_test = ((y - middle) / spread).astype(dtype), ((y_test - middle) / spread).astype(dtype)
    return Split(X.astype(dtype), y, X_test.astype(dtype), y_test)


def estimator(library: str, name: str, seed: int, arguments: dict[str, Any]) -> Any:
    """Return an MLP of "stoop" or "sklearn" that is made for this data set."""
    if library == "stoop":
        from stoop import sklearn as module
    else:
        from sklearn import neural_network as module
    kind = module.MLPRegressor if name in REGRESSION else module.MLPClassifier
    epochs = min(arguments.get("max_iter", 200), EPOCHS.get(name, 1000))
    return kind(random_state=seed, **{**arguments, "max_iter": epochs})


@dataclass
class Fit:
    """How a fit went."""

    seconds: float
    score: float
    epochs: int
    loss: float


def fit(mlp: Any, data: Split) -> Fit:
    """Fit and score; that it may not have converged is no news."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        mlp.fit(data.X, data.y)
        seconds = time.perf_counter() - start
    return Fit(seconds, float(mlp.score(data.X_test, data.y_test)), int(mlp.n_iter_), float(mlp.loss_))


@dataclass
class Comparison:
    """The scores of both, seed by seed, on the same splits with the same arguments."""

    ours: Array
    theirs: Array

    @property
    def difference(self) -> float:
        """The mean of ours minus theirs."""
        return float(np.mean(self.ours - self.theirs))

    @property
    def error(self) -> float:
        """The standard error of that."""
        return float(np.std(self.ours - self.theirs, ddof=1) / np.sqrt(len(self.ours)))


def compare(name: str, arguments: dict[str, Any], seeds: int, rows: int | None = None) -> Comparison:
    """Return the test scores of both libraries."""
    scores: dict[str, list[float]] = {"stoop": [], "sklearn": []}
    for seed in range(seeds):
        data = split(name, seed, rows=rows)
        with threadpool_limits(1):  # on a busy machine its small products are slower with more
            for library, found in scores.items():
                found.append(fit(estimator(library, name, seed, arguments), data).score)
    return Comparison(np.array(scores["stoop"]), np.array(scores["sklearn"]))
