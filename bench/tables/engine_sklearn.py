"""scikit-learn's engines, set up as its documentation advises."""

from __future__ import annotations

from typing import Any

from engines import Request, wide_columns
from sklearn.compose import TransformedTargetRegressor, make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, TargetEncoder
from threadpoolctl import threadpool_limits

MOST_CODES = 255  # of a category column of the trees
MANY_ROWS = 50_000  # beyond them the MLP stops early: its 200 epochs would take too long


def columns() -> Any:
    """Return what makes numbers of a frame: the mean for a gap, deviations of one, a column per category."""
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    return make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
    )


class Limited:
    """An estimator whose library uses so many threads; `build` makes it for the rows it is to be fitted to."""

    def __init__(self, build: Any, threads: int) -> None:
        self.build, self.threads = build, threads

    def fit(self, X: Any, y: Any) -> Limited:
        """Build and fit."""
        self.estimator = self.build(X)
        with threadpool_limits(self.threads):
            self.estimator.fit(X, y)
        self.classes_ = getattr(self.estimator, "classes_", None)
        return self

    def predict(self, X: Any) -> Any:
        """Return values, or classes."""
        with threadpool_limits(self.threads):
            return self.estimator.predict(X)

    def predict_proba(self, X: Any) -> Any:
        """Return probabilities."""
        with threadpool_limits(self.threads):
            return self.estimator.predict_proba(X)


def mlp(request: Request, **settings: Any) -> Limited:
    """Return scikit-learn's MLP with its defaults after `columns`; the target of a regression is scaled too."""

    def build(X: Any) -> Any:
        options = {"random_state": request.seed, "early_stopping": len(X) > MANY_ROWS, **settings}
        if request.regression:
            scaled = TransformedTargetRegressor(MLPRegressor(**options), transformer=StandardScaler())
            return make_pipeline(columns(), scaled)
        return make_pipeline(columns(), MLPClassifier(**options))

    return Limited(build, request.threads)


def trees(request: Request, **settings: Any) -> Limited:
    """Return HistGradientBoosting with native categories; more than it can hold are encoded by the mean target."""
    kind = HistGradientBoostingRegressor if request.regression else HistGradientBoostingClassifier

    def build(X: Any) -> Any:
        model = kind(random_state=request.seed, **settings)
        wide = wide_columns(X, MOST_CODES)
        if not wide:
            return model
        target_type = {"regression": "continuous", "binary": "binary"}.get(request.task, "multiclass")
        encoder = TargetEncoder(target_type=target_type, random_state=request.seed)
        encoded = make_column_transformer((encoder, wide), remainder="passthrough", verbose_feature_names_out=False)
        return make_pipeline(encoded.set_output(transform="pandas"), model)

    return Limited(build, request.threads)
