"""Width sweep: the time of a training step of 10-W-W-10 for every W, and whether any width falls off a cliff.

    python bench/widths.py [--threads 1 2 16] [--first 16] [--last 256] [--rounds 5] [--json FILE]

A step costs about as much more than that of the next smaller width as its FLOPs say. `jump` is the ratio of the times
of two neighbouring widths by the ratio of their FLOPs; the largest should stay below 1.5. Each figure is the best of
several rounds, in which all widths take turns, so that what else the machine does spoils no width alone. More threads
than cores are there on purpose: threads that have to share a core must not multiply the time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path

import numpy as np

import stoop

BATCH, STEPS = 128, 24


def flops(width: int) -> int:
    """Return the FLOPs of the matrix products of one step."""
    return 2 * BATCH * (2 * 10 * width + 3 * width * width + 3 * width * 10)


class Training:
    """A trainer of one width and the data it takes."""

    def __init__(self, width: int, threads: int) -> None:
        rng = np.random.default_rng(width)
        layers = [stoop.Dense(width, activation="relu"), stoop.Dense(width, activation="relu"), stoop.Dense(10)]
        model = stoop.Model(layers, input_dim=10)
        self.trainer = stoop.Trainer(model, optimizer=stoop.optimizers.Adam(1e-3), num_threads=threads)
        self.x = rng.standard_normal((BATCH * STEPS, 10), dtype=np.float32)
        self.y = rng.integers(10, size=BATCH * STEPS)
        self.best = float("inf")

    def measure(self) -> None:
        """Time an epoch; the first is not counted."""
        start = time.perf_counter()
        self.trainer.fit(self.x, self.y, epochs=1, batch_size=BATCH, verbose=0)
        if self.trainer.epoch > 1:
            self.best = min(self.best, (time.perf_counter() - start) / STEPS)


def sweep(widths: range, threads: int, rounds: int) -> dict[int, float]:
    """Return the seconds of a step for each width."""
    trainings = {width: Training(width, threads) for width in widths}
    for _ in range(rounds + 1):
        for training in trainings.values():
            training.measure()
    return {width: training.best for width, training in trainings.items()}


def jumps(seconds: dict[int, float]) -> list[tuple[float, int]]:
    """Return (jump, width) of each width against the one before it, the largest first."""
    widths = sorted(seconds)
    return sorted(
        ((seconds[b] / seconds[a] / (flops(b) / flops(a)), b) for a, b in itertools.pairwise(widths)), reverse=True
    )


def main() -> int:
    """Print a table for each number of threads; 1 if a jump is too large."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 16])
    parser.add_argument("--first", type=int, default=16)
    parser.add_argument("--last", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=float, default=1.5, help="the largest jump that passes")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results, worst = {}, 0.0
    for threads in options.threads:
        seconds = sweep(range(options.first, options.last + 1), threads, options.rounds)
        results[threads] = seconds
        shown = sorted({*range(options.first, options.last + 1, 32), options.last})
        print(f"threads {threads}:", ", ".join(f"W={w} {seconds[w] * 1e6:.1f} us" for w in shown if w in seconds))
        largest = jumps(seconds)[:5]
        print("  largest jumps:", ", ".join(f"{jump:.2f} at {width}" for jump, width in largest))
        worst = max(worst, largest[0][0])
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1))
    print(f"largest jump {worst:.2f}, limit {options.limit}: {'smooth' if worst <= options.limit else 'NOT smooth'}")
    return int(worst > options.limit)


if __name__ == "__main__":
    raise SystemExit(main())
