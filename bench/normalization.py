"""What a Normalization costs: fit and predict on raw rows, by turns with rows that were normalised before.

    python bench/normalization.py [--workloads mnist letter] [--stored float32 uint8] [--rounds 15] [--threads 1 2]

Each row of the output is the median of the ratios of all rounds, and the quartiles: above 1, the layer costs something.
`fit` is one epoch of a model that was adapted; `adapt` is given in epochs of that fit.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

import stoop

Array = npt.NDArray[Any]
# rows, inputs, hidden layers, classes, batch size
WORKLOADS = {"mnist": (20_000, 784, (128, 64), 10, 128), "letter": (16_000, 16, (64, 64), 26, 64)}


def draw(rows: int, columns: int, classes: int, stored: str) -> tuple[Array, Array]:
    """Return bytes, or numbers of the same size, and classes."""
    rng = np.random.default_rng(0)
    X = rng.integers(256, size=(rows, columns), dtype=np.uint8)
    return X.astype(stored), rng.integers(classes, size=rows)


def make(workload: str, normalises: bool) -> tuple[stoop.Model, stoop.Trainer]:
    """Return the same network with and without the layer."""
    _, inputs, hidden, classes, _ = WORKLOADS[workload]
    layers: list[Any] = [stoop.Normalization()] if normalises else []
    layers += [*(stoop.Dense(units, "relu") for units in hidden), stoop.Dense(classes)]
    model = stoop.Model(layers, inputs)
    return model, stoop.Trainer(model, optimizer="adam")


def seconds(call: Callable[[], Any]) -> float:
    """Return how long one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(workload: str, stored: str, rounds: int) -> dict[str, list[float]]:
    """Return the ratios of all rounds, raw rows with the layer over normalised ones without."""
    rows, inputs, _, classes, batch = WORKLOADS[workload]
    X, y = draw(rows, inputs, classes, stored)
    z = stoop.data.standardize(X.astype(np.float32))
    (model, trainer), (plain, plain_trainer) = make(workload, True), make(workload, False)
    model.adapt(X)
    out = np.empty((rows, classes), np.float32)
    fit = {"epochs": 1, "batch_size": batch, "verbose": 0}
    calls = {
        "fit": (lambda: trainer.fit(X, y, **fit), lambda: plain_trainer.fit(z, y, **fit)),
        "predict": (lambda: model.predict(X, out=out), lambda: plain.predict(z, out=out)),
        "adapt": (lambda: model.adapt(X), lambda: plain_trainer.fit(z, y, **fit)),
    }
    ratios: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, (raw, prepared) in calls.items():
            first, second = (raw, prepared) if turn % 2 else (prepared, raw)
            times = seconds(first), seconds(second)
            if turn > 0:  # the first is to warm up
                ratios[name].append(times[0] / times[1] if turn % 2 else times[1] / times[0])
    return ratios


def main(arguments: list[str] | None = None) -> int:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--stored", nargs="+", choices=("float32", "uint8", "float64"), default=["float32", "uint8"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, stoop.get_num_threads()}))
    options = parser.parse_args(arguments)
    for threads in options.threads:
        stoop.set_num_threads(threads)
        for workload in options.workloads:
            for stored in options.stored:
                for name, ratios in measure(workload, stored, options.rounds).items():
                    low, median, high = np.percentile(ratios, [25, 50, 75])
                    what = f"{workload}, {stored}, {threads} threads, {name}:"
                    print(f"{what:42} {median:.3f} ({low:.3f} to {high:.3f})")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
