"""The training loss that LBFGS reaches on digits, and the best that Adam reaches in `--factor` times its time.

Adam gets its best chance: several learning rates, constant and with a cosine over the whole of its time, mini-batches,
and the lowest loss it ever had counts. Both losses are of all samples, by the same function.

    python bench/lbfgs.py                 # scikit-learn's digits, 1,797 x 64
    python bench/lbfgs.py --data FOLDER   # t10k-images-idx3-ubyte.gz and its labels
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

import stoop

RATES = (1e-2, 3e-3, 1e-3, 3e-4)


def load(folder: Path | None) -> tuple[Any, Any]:
    if folder is None:
        from sklearn.datasets import load_digits

        X, y = load_digits(return_X_y=True)
        return (X / 16.0).astype(np.float32), y
    images = stoop.data.load_idx(folder / "t10k-images-idx3-ubyte.gz")
    labels = stoop.data.load_idx(folder / "t10k-labels-idx1-ubyte.gz")
    return (images.reshape(len(images), -1) / 255.0).astype(np.float32), labels.astype(np.int64)


def make_trainer(X: Any, units: int, l2: float, optimizer: Any) -> stoop.Trainer:
    layers = [stoop.Dense(units, activation="tanh"), stoop.Dense(10)] if units else [stoop.Dense(10)]
    return stoop.Trainer(stoop.Model(layers, input_dim=X.shape[1], seed=0), optimizer=optimizer, l2=l2)


def run_lbfgs(X: Any, y: Any, units: int, l2: float, iterations: int) -> tuple[float, float]:
    trainer = make_trainer(X, units, l2, stoop.optimizers.LBFGS(history_size=20))
    start = time.perf_counter()
    trainer.fit(X, y, epochs=iterations, batch_size=len(X), shuffle=False, verbose=0)
    return time.perf_counter() - start, trainer.loss_and_grad(X, y)[0]


def run_adam(X: Any, y: Any, units: int, l2: float, seconds: float, rate: Any) -> float:
    """Return the lowest loss after any epoch."""
    trainer = make_trainer(X, units, l2, stoop.optimizers.Adam(rate))
    best, start = np.inf, time.perf_counter()
    while time.perf_counter() - start < seconds:
        trainer.fit(X, y, epochs=5, verbose=0)
        best = min(best, trainer.loss_and_grad(X, y)[0])
    return best


def epochs_within(X: Any, y: Any, units: int, l2: float, seconds: float) -> int:
    trainer = make_trainer(X, units, l2, stoop.optimizers.Adam(1e-3))
    trainer.fit(X, y, epochs=5, verbose=0)
    start = time.perf_counter()
    trainer.fit(X, y, epochs=20, verbose=0)
    return int(seconds / (time.perf_counter() - start) * 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--factor", type=float, default=10.0)
    parser.add_argument("--iterations", type=int, default=300)
    options = parser.parse_args()
    X, y = load(options.data)
    print(f"{X.shape[0]:,} x {X.shape[1]}; loss of all samples, l2 included; Adam for {options.factor:g} times as long")
    for units, l2 in ((0, 1e-4), (32, 0.0), (32, 1e-3)):
        seconds, reached = run_lbfgs(X, y, units, l2, options.iterations)
        time_for_adam = options.factor * seconds
        steps = epochs_within(X, y, units, l2, time_for_adam) * -(-len(X) // 128)
        rates = {f"{rate:g}": rate for rate in RATES}
        rates |= {f"{rate:g} cosine": stoop.schedules.Cosine(rate, max(steps, 1)) for rate in RATES[:3]}
        losses = {name: run_adam(X, y, units, l2, time_for_adam, rate) for name, rate in rates.items()}
        best = min(losses, key=lambda name: losses[name])
        name = f"{X.shape[1]}-{units}-10 tanh" if units else f"{X.shape[1]}-10"
        print(f"{name}, l2={l2:g}: LBFGS {reached:.6g} in {seconds:.2f} s; Adam at best {losses[best]:.6g} ({best})")


if __name__ == "__main__":
    main()
