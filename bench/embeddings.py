"""The time of a training step with a small and a large table of embeddings, by turns.

    python bench/embeddings.py [--codes 1000 1000000] [--dim 16] [--batch 256] [--threads 1 2] [--rounds 9]

A step must not go through a table: it reads and writes the rows that a batch names. A round is one `fit` of one epoch
of each table; the copy that `fit` keeps of all parameters at the start of an epoch is measured by epochs of two
lengths, and taken away. Medians count, so that a machine that is busy for a while does not.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

import numpy as np

import stoop

OPTIMIZERS = {
    "sgd": (stoop.optimizers.SGD(0.01), False),
    "lazy adam": (stoop.optimizers.Adam(1e-3), True),
    "adam": (stoop.optimizers.Adam(1e-3), False),
}


class Training:
    """A network whose one column of categories has so many codes."""

    def __init__(self, name: str, codes: int, arguments: argparse.Namespace, threads: int) -> None:
        optimizer, lazy = OPTIMIZERS[name]
        layer = stoop.Columns({0: codes}, bins=16, embedding_dim=arguments.dim, lazy=lazy)
        model = stoop.Model([layer, stoop.Dense(64, activation="relu"), stoop.Dense(1)], 5)
        self.trainer = stoop.Trainer(model, loss="mse", optimizer=optimizer, num_threads=threads)
        rng = np.random.default_rng(0)
        rows = arguments.updates * arguments.batch
        self.X = np.column_stack([rng.integers(codes, size=rows), rng.standard_normal((rows, 4))])
        self.y = rng.standard_normal((rows, 1)).astype(np.float32)
        self.batch = arguments.batch
        self.seconds(arguments.updates)

    def seconds(self, updates: int) -> float:
        """Return the time of an epoch of so many updates."""
        rows = updates * self.batch
        start = time.perf_counter()
        self.trainer.fit(self.X[:rows], self.y[:rows], epochs=1, batch_size=self.batch, verbose=0)
        return time.perf_counter() - start

    def step(self, updates: int) -> float:
        """Return the time of a step, by the difference of a long and a short epoch."""
        short = updates // 4
        return (self.seconds(updates) - self.seconds(short)) / (updates - short)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codes", type=int, nargs="+", default=[1_000, 1_000_000])
    parser.add_argument("--dim", type=int, default=16)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, stoop.get_num_threads()}))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--only", nargs="+", default=list(OPTIMIZERS), choices=list(OPTIMIZERS), metavar="NAME")
    options = parser.parse_args(arguments)
    print(f"{'optimizer':<12} {'threads':>7} {'codes':>10} {'us a step':>10} {'ratio':>7}")
    for name in options.only:
        for threads in options.threads:
            trainings = [Training(name, codes, options, threads) for codes in options.codes]
            rounds = [[each.step(options.updates) for each in trainings] for _ in range(options.rounds)]
            for place, codes in enumerate(options.codes):
                step = statistics.median(times[place] for times in rounds)
                ratio = statistics.median(times[place] / times[0] for times in rounds)
                print(f"{name:<12} {threads:>7} {codes:>10,} {1e6 * step:>10.1f} {ratio:>7.2f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
