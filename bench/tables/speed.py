"""Time to the same validation score: TabM-mini of 16 members in Stoop beside the `tabm` package, by turns.

    .venv/bin/python bench/tables/speed.py [--rounds 3] [--epochs 30] [--precision bfloat16]
                                           [--clock processor] [--json out.json] [--plot curves.svg]

Two tables of 20,640 rows and 8 numbers, the size of California housing, which no package ships: diamonds without the
column that follows from three others, and a function with as rough a map. Four fifths of the rows are for training;
the others are predicted after every epoch. Each round trains every engine anew. Times are from the raw columns on:
the encoding is part of them. Stoop and tabm each come with both networks: on the piecewise-linear encoding itself
("ple"), and with a linear layer for each column after it ("ple_linear"), as tabm's example advises; tabm on the
faster of one and two threads. A line is for one network of Stoop, beside both of tabm: the error to reach is the
worst of the best that these three reach, so that each has a time, and a ratio is formed within a round. --precision
bfloat16 is for all engines: the `precision` of Stoop, PyTorch's autocast.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import stoop
from stoop import _figures

ROWS, MEMBERS, WIDTH, DROPOUT, BINS, BATCH, RATE, DECAY = 20_640, 16, 256, 0.1, 48, 256, 2e-3, 3e-4
EMBEDDING = 16  # columns of the linear layers, as in the example
ENCODINGS = ("ple", "ple_linear")
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
Array = npt.NDArray[Any]
Curve = list[tuple[float, float]]  # seconds since the start, mean squared error of the standardised target


def diamonds() -> tuple[Array, Array]:
    """Return 8 columns of as many diamonds, and their prices; `z` follows from `x`, `y` and `depth`."""
    from sets import TABLES

    X, y = TABLES["diamonds"].read()
    orders = {
        "cut": ["Fair", "Good", "Very Good", "Premium", "Ideal"],
        "color": list("JIHGFED"),
        "clarity": ["I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF"],
    }
    for name, order in orders.items():
        X[name] = X[name].map(order.index).astype(float)
    chosen = np.random.default_rng(0).permutation(len(y))[:ROWS]
    return X.drop(columns="z").to_numpy(np.float32)[chosen], y[chosen]


def map_of_prices() -> tuple[Array, Array]:
    """Return columns like those of California housing: places, skewed amounts, and a price with bumps on the map."""
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 1, (ROWS, 2))
    amounts = np.exp(0.8 * rng.standard_normal((ROWS, 5)))
    age = rng.integers(1, 52, (ROWS, 1))
    X = np.hstack([places, amounts, age])
    centres, heights, widths = rng.uniform(0, 1, (60, 2)), rng.standard_normal(60), rng.uniform(0.02, 0.15, 60)
    distances = ((places[:, None] - centres) ** 2).sum(-1)
    y = (heights * np.exp(-distances / (2 * widths**2))).sum(1) + np.log1p(amounts[:, 0] * amounts[:, 1])
    y += 0.3 * np.minimum(amounts[:, 2] / amounts[:, 3], 5) + 0.01 * X[:, 7] + 0.3 * rng.standard_normal(ROWS)
    return X.astype(np.float32), y


TABLES: dict[str, Callable[[], tuple[Array, Array]]] = {"diamonds": diamonds, "map": map_of_prices}


@dataclass(frozen=True)
class Setting:
    """What every engine is given."""

    epochs: int
    threads: int
    precision: str
    clock: str


def with_stoop(X: Array, y: Array, train: Array, dev: Array, setting: Setting, encoding: str) -> Curve:
    """Train from the layers and return the validation error after each epoch."""
    clock = CLOCKS[setting.clock]
    started = clock()
    columns = stoop.Columns(encoding=encoding, bins=BINS, embedding_dim=EMBEDDING)
    layers: list[Any] = [columns, stoop.Members(MEMBERS)]
    for _ in range(2):
        layers += [stoop.Dense(WIDTH, activation="relu"), stoop.Dropout(DROPOUT)]
    model = stoop.Model([*layers, stoop.MemberDense(1)], input_dim=X.shape[1])
    optimizer = stoop.optimizers.AdamW(RATE, weight_decay=DECAY)
    precision, count = setting.precision, setting.threads
    trainer = stoop.Trainer(model, "mse", optimizer, clip_norm=1.0, precision=precision, num_threads=count)
    curve: Curve = []

    def note(_: Any, logs: dict[str, float]) -> None:
        curve.append((clock() - started, logs["val_loss"]))

    trainer.fit(
        X[train], y[train], setting.epochs, BATCH, (X[dev], y[dev]), metrics=(), verbose=0,
        callbacks=[stoop.callbacks.Lambda(on_epoch_end=note)],
    )  # fmt: skip
    return curve


def with_tabm(X: Array, y: Array, train: Array, dev: Array, setting: Setting, encoding: str) -> Curve:
    """Train as the example of its repository does, and return the validation error after each epoch."""
    import pandas as pd
    from engine_tabm import TabM
    from engines import Request

    request, mixed = Request("regression", threads=setting.threads), setting.precision == "bfloat16"
    engine = TabM(request, encoding == "ple", mixed=mixed, clock=CLOCKS[setting.clock])
    engine.train(pd.DataFrame(X), y, train, dev, setting.epochs, patience=setting.epochs)
    return engine.curve


def reached(curve: Curve, error: float) -> float:
    """Return the seconds at which the curve first is no higher than the error."""
    return next(seconds for seconds, each in curve if each <= error)


def measure(table: str, rounds: int, setting: Setting) -> dict[str, Any]:
    """Return the curves of all rounds by the names of the engines."""
    X, y = TABLES[table]()
    order = np.random.default_rng(1).permutation(len(y))
    dev, train = order[: len(y) // 5], order[len(y) // 5 :]
    y = ((y - y[train].mean()) / y[train].std()).astype(np.float32)
    engines: dict[str, Callable[[], Curve]] = {
        f"stoop {encoding}": lambda encoding=encoding: with_stoop(X, y, train, dev, setting, encoding)
        for encoding in ENCODINGS
    }
    for encoding in reversed(ENCODINGS):
        short = [replace(setting, epochs=2, threads=count) for count in {1, setting.threads}]
        fastest = min(short, key=lambda each: with_tabm(X, y, train[: 8 * BATCH], dev, each, encoding)[1][0])
        chosen = replace(setting, threads=fastest.threads)
        engines[f"tabm {encoding}"] = lambda chosen=chosen, encoding=encoding: with_tabm(
            X, y, train, dev, chosen, encoding
        )
    return {"rounds": [{"curves": {name: run() for name, run in engines.items()}} for _ in range(rounds)]}


def row(table: str, encoding: str, result: dict[str, Any]) -> str:
    """Return a line of Markdown: the median of the error, of the seconds and of the ratios."""
    names = [f"stoop {encoding}", *(f"tabm {each}" for each in reversed(ENCODINGS))]
    rounds = [[each["curves"][name] for name in names] for each in result["rounds"]]
    lowest = [[min(error for _, error in curve) for curve in curves] for curves in rounds]
    seconds = [[reached(curve, max(best)) for curve in curves] for curves, best in zip(rounds, lowest)]
    ratios = [[other / own for other in others] for own, *others in seconds]

    def medians(values: list[list[float]]) -> list[float]:
        return [statistics.median(each) for each in zip(*values)]

    cells = [f"{each:.1f} s ({best:.4f})" for each, best in zip(medians(seconds), medians(lowest))]
    error = statistics.median(max(best) for best in lowest)
    shown = [f"{ratio:.1f}" for ratio in medians(ratios)]
    return f"| {table} | {encoding} | {error:.4f} | {' | '.join(cells)} | {' | '.join(shown)} |"


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw the curves of the last round: validation error against time, a panel for each table."""
    figure = _figures.new_figure(4.6 * len(results), 3.7, "Validation error against time")
    for place, (table, result) in enumerate(results.items()):
        axes = figure.add_subplot(1, len(results), place + 1)
        for series, (name, curve) in enumerate(result["rounds"][-1]["curves"].items()):
            axes.plot(*zip(*curve), linestyle=_figures.DASHES[series], color=_figures.SERIES[series], label=name)
        axes.set(xscale="log", yscale="log")
        _figures.style(axes, grid=True, title=table, xlabel="time [s]", ylabel="squared error [variance of the target]")
        _figures.legend(axes)
    _figures.finished(figure, path)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser("speed.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="processor: with --threads 1, beside others")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    results = {}
    print("| table | network | error to reach | Stoop (its best) | tabm ple_linear | tabm ple | ratio | tabm ple |")
    print("|---|---|--:|--:|--:|--:|--:|--:|", flush=True)
    for table in options.tables:
        setting = Setting(options.epochs, options.threads, options.precision, options.clock)
        results[table] = measure(table, options.rounds, setting)
        for encoding in ENCODINGS:
            print(row(table, encoding, results[table]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(results))
    if options.plot:
        draw(results, options.plot)


if __name__ == "__main__":
    main()
