"""A step by `Trainer.step` beside one within `Trainer.fit`: what the way through Python adds.

    python bench/single_step.py [--rounds 60] [--threads 2]

8-64-64-4 with tanh, batches of 64, mean squared error, Adam: the smallest workload of `stoop bench`, where it shows
most. An epoch of `fit` and the same batches, one call of `step` each, take turns; the median of the differences counts.
3 us is the most that passes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

import stoop

BATCH, BATCHES = 64, 512


def main() -> int:
    """Print the time of a step either way and the difference; 1 if that is above 3 us."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH * BATCHES, 8), dtype=np.float32)
    y = rng.standard_normal((BATCH * BATCHES, 4), dtype=np.float32)
    model = stoop.Model([stoop.Dense(64, "tanh"), stoop.Dense(64, "tanh"), stoop.Dense(4)], input_dim=8)
    trainer = stoop.Trainer(model, loss="mse", num_threads=options.threads)
    batches = list(zip(np.split(x, BATCHES), np.split(y, BATCHES), strict=True))

    def epoch_of_fit() -> None:
        trainer.fit(x, y, epochs=1, batch_size=BATCH, verbose=0)

    def epoch_of_steps() -> None:
        for batch, targets in batches:
            trainer.step(batch, targets)

    def microseconds(epoch: Callable[[], None]) -> float:
        start = time.perf_counter()
        epoch()
        return (time.perf_counter() - start) / BATCHES * 1e6

    rounds = [(microseconds(epoch_of_fit), microseconds(epoch_of_steps)) for _ in range(options.rounds + 10)][10:]
    fit, step = (statistics.median(times) for times in zip(*rounds, strict=True))
    more = statistics.median(step - fit for fit, step in rounds)
    print(f"a step within fit {fit:.1f} us, by Trainer.step {step:.1f} us: {more:.1f} us more")
    return int(more > 3.0)


if __name__ == "__main__":
    raise SystemExit(main())
