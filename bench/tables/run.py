"""Fits every engine to every fold that is not in the record yet."""

from __future__ import annotations

import statistics
import time
import warnings
from dataclasses import replace
from typing import Any

import scores
from engines import Request, make, predict
from record import Record, others
from sets import TABLES

SINGLE_ROWS = 20  # of which each is predicted alone


def run(record: Record, tables: list[str], engines: list[str], request: Request, most_folds: int, busy: float) -> None:
    """Fit what is missing, and again what was timed elsewhere or beside processes that used more than `busy` cores."""
    warnings.simplefilter("ignore")  # scikit-learn's fits end at their limit of epochs
    for name in tables:
        table = TABLES[name]
        todo = [
            (fold, engine)
            for fold in range(min(table.folds, most_folds))
            for engine in engines
            if _wanted(record.get(name, engine, fold), fold, busy, record.machine)
        ]
        if not todo:
            continue
        X, y = table.read()
        splits = list(scores.folds(y, table.task))
        for fold, engine in todo:
            train, test = splits[fold]
            asked = replace(request, task=table.task, seed=fold)
            parts = ((X.iloc[train], y[train]), (X.iloc[test], y[test]))
            result = measure(engine, asked, *parts)
            before = record.get(name, engine, fold)
            if before is None or before["machine"] != record.machine or result["others"] < before["others"]:
                record.put(name, engine, fold, result)
            print(f"{name}/{engine}/{fold}: {result}", flush=True)


def _wanted(result: dict[str, Any] | None, fold: int, busy: float, machine: str) -> bool:
    """Return whether a fit is to be made: times, which are those of the first fold, are compared on one machine."""
    return result is None or (fold == 0 and (result["others"] > busy or result["machine"] != machine))


def measure(engine: str, request: Request, train: tuple[Any, Any], test: tuple[Any, Any]) -> dict[str, Any]:
    """Return the scores on the test rows, the seconds, and the cores that others used."""
    request = _fastest(engine, request, *train)
    X, y = test
    with others() as busy:
        started = time.perf_counter()
        model = make(engine, request).fit(*train)
        fitted = time.perf_counter()
        predicted = predict(model, X, request)
        finished = time.perf_counter()
    single = []
    for row in range(SINGLE_ROWS):
        began = time.perf_counter()
        predict(model, X.iloc[[row % len(X)]], request)
        single.append(time.perf_counter() - began)
    found = scores.scores(request.task, y, predicted, getattr(model, "classes_", None))
    return {
        **{name: round(value, 5) for name, value in found.items()},
        "fit": round(fitted - started, 3),
        "predict": round(finished - fitted, 4),
        "row": round(statistics.median(single), 5),
        "rows": len(train[1]),
        "threads": request.threads,
        "others": (busy or [0.0])[0],
    }


def _fastest(engine: str, request: Request, X: Any, y: Any) -> Request:
    """Return the request with one thread where an engine that has a probe is faster by that."""
    if request.threads == 1 or not hasattr(make(engine, request), "probe"):
        return request
    choices = [replace(request, threads=count) for count in (1, request.threads)]
    return min(choices, key=lambda each: make(engine, each).probe(X, y))
