"""What callbacks cost: an epoch with one beside the same epoch without, by turns; medians.

    python bench/callbacks.py [--rounds 15] [--threads 2]

- EarlyStopping that keeps the best epoch, beside validation alone: 784-512-256-10, 12,800 rows, 2,560 validated, a
  learning rate so small that every epoch is the best so far. At most 1.03 passes.
- A Python callback for each epoch: 8-64-64-4 with one update an epoch. At most 50 us passes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import stoop
from stoop.callbacks import EarlyStopping, Lambda

EPOCHS = 2000


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def early_stopping(rounds: int, threads: int | None) -> float:
    """Return the median ratio of the times with and without."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((12_800, 784), dtype=np.float32)
    y = rng.integers(0, 10, len(x)).astype(np.int32)
    layers = [stoop.Dense(512, "relu"), stoop.Dense(256, "relu"), stoop.Dense(10)]
    trainer = stoop.Trainer(
        stoop.Model(layers, input_dim=784), optimizer=stoop.optimizers.Adam(1e-7), num_threads=threads
    )
    options: dict[str, Any] = {"epochs": 2, "batch_size": 128, "validation_data": (x[:2560], y[:2560]), "verbose": 0}
    stopping = EarlyStopping(patience=100)
    ratios = []
    for _ in range(rounds):
        plain = seconds(lambda: trainer.fit(x, y, **options))
        ratios.append(seconds(lambda: trainer.fit(x, y, callbacks=stopping, **options)) / plain)
    print(f"EarlyStopping beside validation alone: {statistics.median(ratios):.3f} (best epoch {stopping.best_epoch})")
    return statistics.median(ratios)


def per_epoch(rounds: int, threads: int | None) -> float:
    """Return the median microseconds that a callback adds to an epoch."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((64, 8), dtype=np.float32), rng.standard_normal((64, 4), dtype=np.float32)
    layers = [stoop.Dense(64, "tanh"), stoop.Dense(64, "tanh"), stoop.Dense(4)]
    trainer = stoop.Trainer(stoop.Model(layers, input_dim=8), "mse", num_threads=threads)
    calls: list[float] = []
    callback = Lambda(on_epoch_end=lambda _, logs: calls.append(logs["loss"]))
    options: dict[str, Any] = {"epochs": EPOCHS, "batch_size": 64, "verbose": 0}
    differences = []
    for _ in range(rounds):
        plain = seconds(lambda: trainer.fit(x, y, **options))
        differences.append((seconds(lambda: trainer.fit(x, y, callbacks=callback, **options)) - plain) / EPOCHS * 1e6)
    assert len(calls) == rounds * EPOCHS
    print(f"a Python callback for each epoch: {statistics.median(differences):.1f} us")
    return statistics.median(differences)


def main() -> int:
    """Print both; 1 if one of them is above what passes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    ratio = early_stopping(options.rounds, options.threads)
    added = per_epoch(options.rounds, options.threads)
    return int(ratio > 1.03 or added > 50.0)


if __name__ == "__main__":
    raise SystemExit(main())
