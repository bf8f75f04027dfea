"""Trainings in several Python threads at a time: the speed of each beside the speed of one alone.

    python bench/side_by_side.py [--trainings 2] [--seconds 2] [--rounds 5]

Every training is its own model and trainer with `num_threads=1`, fitted in a thread of its own. The interpreter lock is
released while an epoch runs, so as many trainings as there are cores should go at the full speed of each; 0.9 is the
least that passes. Runs alone and together take turns, and the median of the rounds counts.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time

import numpy as np

import stoop

NETWORKS = {"8-64-64-4": ((8, 64, 64, 4), 64), "64-128-128-10": ((64, 128, 128, 10), 128)}


def make_trainer(widths: tuple[int, ...], seed: int) -> stoop.Trainer:
    """Return a trainer of its own model."""
    hidden = [stoop.Dense(width, activation="relu") for width in widths[1:-1]]
    model = stoop.Model([*hidden, stoop.Dense(widths[-1])], input_dim=widths[0], seed=seed)
    return stoop.Trainer(model, optimizer=stoop.optimizers.Adam(1e-3), num_threads=1, seed=seed)


def steps_per_second(trainers: list[stoop.Trainer], batch: int, seconds: float) -> list[float]:
    """Let all trainers run for this long, each in a thread; return the speed of each."""
    start = threading.Barrier(len(trainers))
    speeds = [0.0] * len(trainers)

    def run(index: int) -> None:
        trainer = trainers[index]
        rng = np.random.default_rng(index)
        x = rng.standard_normal((batch * 256, trainer.model.input_dim), dtype=np.float32)
        y = rng.integers(trainer.model.output_dim, size=len(x))
        trainer.fit(x, y, epochs=1, batch_size=batch, verbose=0)
        start.wait()
        begin, first = time.perf_counter(), trainer.steps
        while time.perf_counter() - begin < seconds:
            trainer.fit(x, y, epochs=1, batch_size=batch, verbose=0)
        speeds[index] = (trainer.steps - first) / (time.perf_counter() - begin)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(trainers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return speeds


def main() -> int:
    """Print the share of each network; 1 if one is below 0.9."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainings", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    lowest = float("inf")
    for name, (widths, batch) in NETWORKS.items():
        trainers = [make_trainer(widths, seed) for seed in range(options.trainings)]
        shares = []
        for _ in range(options.rounds):
            alone = steps_per_second(trainers[:1], batch, options.seconds)[0]
            shares.append(min(steps_per_second(trainers, batch, options.seconds)) / alone)
        share = statistics.median(shares)
        lowest = min(lowest, share)
        print(f"{name}: the slowest of {options.trainings} at {share:.2f} of its speed alone, {alone:,.0f} steps/s")
    return int(lowest < 0.9)


if __name__ == "__main__":
    raise SystemExit(main())
