"""Stoop's engines: the estimators of `stoop.tabular` with their defaults, and without what makes them special."""

from __future__ import annotations

from typing import Any

from engines import Request

from stoop.tabular import TabularClassifier, TabularRegressor


def tabular(request: Request, **settings: Any) -> Any:
    """Return the estimator for the task."""
    kind = TabularRegressor if request.regression else TabularClassifier
    return kind(max_time=request.limit, random_state=request.seed, num_threads=request.threads, **settings)


def plain(request: Request) -> Any:
    """Return the network alone: one member, numbers scaled and not encoded."""
    return tabular(request, members=1, encoding="none")
