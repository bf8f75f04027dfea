"""The cost of augmentation: training steps with each kind of change and without, by turns, and the change by itself.

    python bench/augment.py [--workload mnist] [--threads 1 2] [--rounds 15] [--updates 60] [--only NAME ...]

A round is one `fit` of so many updates of each kind. The ratio of a round is that of its time to the time of the plain
fit of the same round; medians count, so that a machine that is busy for a while does not. "ns a number" is the time of
`augment(X)` on one thread for each number of X.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np

import stoop
from stoop.augment import Augment
from stoop.bench.engine_stoop import _layers
from stoop.bench.workloads import WORKLOADS

CHANGES: dict[str, dict[str, Any]] = {
    "whole shift": {"shift": 2},
    "flip": {"flip": True},
    "shift and rotation": {"shift": 2, "rotate": 10.0},
    "shift, rotation, zoom, shear": {"shift": 2.0, "rotate": 10.0, "zoom": 0.1, "shear": 5.0},
    "the same with crop and fill": {"shift": 2.0, "rotate": 10.0, "crop": (24, 24), "fill": 0.0},
    "elastic, sigma 4": {"elastic": (34.0, 4.0)},
    "elastic, sigma 2": {"elastic": (12.0, 2.0)},
    "noise": {"noise": 0.1},
    "mixup": {"mixup": 0.2},
    "all": {"flip": True, "shift": 2.0, "rotate": 10.0, "elastic": (34.0, 4.0), "noise": 0.1, "mixup": 0.2},
}


def trainer_of(name: str) -> stoop.Trainer:
    """Return a trainer of a workload of `stoop bench`."""
    workload = WORKLOADS[name]
    model = stoop.Model(_layers(workload), input_dim=workload.widths[0], seed=0)
    optimizer: Any = stoop.optimizers.Adam(1e-3) if workload.optimizer == "adam" else stoop.optimizers.SGD(0.01)
    return stoop.Trainer(model, workload.loss, optimizer)


def seconds(call: Any) -> float:
    """Return the time of a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", default="mnist", choices=["mnist", "mnist_plain"])
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, stoop.get_num_threads()}))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--updates", type=int, default=60)
    parser.add_argument("--only", nargs="+", default=list(CHANGES), choices=list(CHANGES), metavar="NAME")
    options = parser.parse_args(arguments)
    batch = WORKLOADS[options.workload].batch_size
    rng = np.random.default_rng(0)
    X = rng.random((options.updates * batch, 784), dtype=np.float32)
    y = rng.integers(10, size=len(X))
    changes: dict[str, Augment | None] = {"plain": None}
    changes.update({name: Augment(**CHANGES[name]) for name in options.only})
    for threads in options.threads:
        stoop.set_num_threads(threads)
        trainers = {name: trainer_of(options.workload) for name in changes}
        times: dict[str, list[float]] = {name: [] for name in changes}
        alone: dict[str, list[float]] = {name: [] for name in changes}
        for number in range(options.rounds + 1):
            for name, augment in changes.items():
                fit = trainers[name].fit
                taken = seconds(lambda: fit(X, y, 1, batch, augment=augment, verbose=0))  # noqa: B023
                if number > 0:  # the first makes plans and arenas
                    times[name].append(taken)
                if augment is not None and threads == 1:
                    alone[name].append(seconds(lambda: augment(X)))  # noqa: B023
        plain = statistics.median(times["plain"]) / options.updates
        print(f"{options.workload}, {threads} threads, {stoop._core.active_isa()}: plain step {plain * 1e6:,.0f} us")
        for name in options.only:
            ratio = statistics.median(a / b for a, b in zip(times[name], times["plain"], strict=True))
            own = f"{min(alone[name]) / X.size * 1e9:6.2f} ns a number" if alone[name] else ""
            print(f"  {name:30} {ratio:6.3f} of a plain step  {own}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
