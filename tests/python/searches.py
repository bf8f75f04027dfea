"""A small search, for the tests of `stoop.search`."""

from __future__ import annotations

from typing import Any

import numpy as np

import stoop
from stoop import search

_RNG = np.random.default_rng(3)
X = _RNG.standard_normal((240, 4)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(np.int32) + (X[:, 3] > 1)
TRAIN, VALIDATION = (X[:180], Y[:180]), (X[180:], Y[180:])
SPACE = {
    "rate": search.log_uniform(1e-4, 1e-1),
    "beta1": search.one_minus_log_uniform(0.8, 0.99),
    "units": search.integers(3, 12),
    "activation": search.choice(["relu", "tanh"]),
}

FIXED = {"rate": 1e-2, "beta1": 0.9, "units": 5, "activation": "tanh"}


def build(params: dict[str, Any]) -> stoop.Trainer:
    """A trainer of these parameters."""
    layers = [stoop.Dense(params["units"], params["activation"]), stoop.BatchNorm(), stoop.Dense(3)]
    optimizer = stoop.optimizers.Adam(params["rate"], params["beta1"])
    return stoop.Trainer(stoop.Model(layers, 4, seed=1), optimizer=optimizer, seed=2)


def run(**options: Any) -> search.SearchResult:
    """A search with the parameters above where nothing else is given."""
    given: dict[str, Any] = {
        "build": build,
        "space": SPACE,
        "X": TRAIN[0],
        "y": TRAIN[1],
        "validation_data": VALIDATION,
        "trials": 12,
        "epochs": 4,
        "batch_size": 30,
        "verbose": 0,
    }
    given |= options
    return search.run(given.pop("build"), given.pop("space"), given.pop("X"), given.pop("y"), **given)


def alone(params: dict[str, Any], epochs: int = 4) -> stoop.History:
    """The history of the same trial by `Trainer.fit`."""
    return build(params).fit(*TRAIN, epochs=epochs, batch_size=30, validation_data=VALIDATION, verbose=0)


def facts(result: search.SearchResult) -> list[dict[str, Any]]:
    """What must not depend on threads: the trials without their times."""
    return [{key: value for key, value in trial.items() if key != "seconds"} for trial in result.trials]
