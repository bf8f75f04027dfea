"""The engines of the benchmark by name: estimators of scikit-learn's kind for frames with categories and gaps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Request:
    """What an engine is built for; `limit` is the most seconds of a fit, for those that can stop in time."""

    task: str
    seed: int = 0
    threads: int = 2
    limit: float | None = None

    @property
    def regression(self) -> bool:
        """Whether a number is predicted."""
        return self.task == "regression"


def make(name: str, request: Request) -> Any:
    """Return the engine of this name, not yet fitted."""
    return ENGINES[name](request)


def _mlp(request: Request) -> Any:
    import engine_sklearn

    return engine_sklearn.mlp(request)


def _trees(request: Request) -> Any:
    import engine_sklearn

    return engine_sklearn.trees(request)


def _tabular(request: Request) -> Any:
    import engine_stoop

    return engine_stoop.tabular(request)


def _plain(request: Request) -> Any:
    import engine_stoop

    return engine_stoop.plain(request)


def _command(request: Request) -> Any:
    import engine_command

    return engine_command.Command(request)


def _tabm(request: Request) -> Any:
    import engine_tabm

    return engine_tabm.TabM(request)


ENGINES: dict[str, Callable[[Request], Any]] = {
    "tabular": _tabular,
    "plain": _plain,
    "mlp": _mlp,
    "trees": _trees,
    "tabm": _tabm,
    "command": _command,
}
REPORTED = ("tabular", "plain", "mlp", "trees", "tabm")

# How they are named in the table.
TITLES = {
    "tabular": "stoop.tabular",
    "plain": "plain network",
    "mlp": "scikit-learn MLP",
    "trees": "scikit-learn trees",
    "tabm": "tabm (PyTorch)",
    "command": "stoop train",
}


def predict(engine: Any, X: pd.DataFrame, request: Request) -> np.ndarray[Any, Any]:
    """Return values of a regression, else probabilities (rows, classes)."""
    return np.asarray(engine.predict(X) if request.regression else engine.predict_proba(X))


def wide_columns(X: pd.DataFrame, most: int) -> list[str]:
    """Return the columns of more than so many categories."""
    return [name for name in X.select_dtypes("category") if X[name].nunique() > most]
