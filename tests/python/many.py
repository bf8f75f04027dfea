"""Trainers that differ in all that they can, and their fits alone, for the tests of `stoop.fit_many`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

import stoop
from cases import OPTIMIZERS
from stoop import callbacks, schedules

ROWS = 120
X = np.random.default_rng(5).normal(size=(ROWS, 4)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(np.int32) + (X[:, 3] > 1)
Y_ROWS = np.eye(3)[Y]  # which losses of values take as well
PLAIN = [stoop.Dense(9, activation="tanh"), stoop.Dense(3)]
MIXED = [stoop.Dense(8), stoop.BatchNorm(), stoop.ReLU(), stoop.Dropout(0.2), stoop.Dense(3)]
FULL_BATCH = ("lbfgs", "newton_cg")


class Fit:
    """One trainer and its part of a call of `fit_many`."""

    def __init__(
        self,
        layers: list[Any] = PLAIN,
        *,
        dtype: str = "float32",
        batch_size: int = 16,
        epochs: int = 3,
        rows: npt.NDArray[Any] | None = None,
        called: Callable[[], list[Any]] = list,
        **settings: Any,
    ) -> None:
        self.model = lambda seed: stoop.Model(layers, input_dim=4, dtype=dtype, seed=seed)
        self.settings = settings
        self.batch_size, self.epochs, self.rows, self.called = batch_size, epochs, rows, called

    def trainer(self, seed: int) -> stoop.Trainer:
        """A new trainer."""
        return stoop.Trainer(self.model(seed), seed=seed, **self.settings)

    def alone(self, seed: int, y: npt.NDArray[Any] = Y, **options: Any) -> stoop.Trainer:
        """A trainer after its fit alone on one thread."""
        rows = slice(None) if self.rows is None else self.rows
        trainer = stoop.Trainer(self.model(seed), seed=seed, num_threads=1, **self.settings)
        size = {"epochs": self.epochs, "batch_size": self.batch_size}
        trainer.fit(X[rows], y[rows], **size, callbacks=self.called(), verbose=0, **options)
        return trainer


def different() -> list[Fit]:
    """64 of them: every optimizer, every setting of an update and an epoch, both dtypes, losses, unequal rows."""
    rng = np.random.default_rng(7)
    fits = []
    for name in OPTIMIZERS:
        batch_size = ROWS if name in FULL_BATCH else 16
        fits.append(Fit(optimizer=name, batch_size=batch_size))
        fits.append(Fit(optimizer=name, batch_size=batch_size, dtype="float64", rows=np.arange(0, ROWS, 2), l2=0.01))
    settings: list[dict[str, Any]] = [
        {"ema": 0.9},
        {"accumulate": 3, "clip_norm": 0.1},
        {"clip_value": 0.01, "l1": 1e-3},
        {"max_norm": 0.5},
        {"optimizer": stoop.optimizers.SGD(schedules.Cosine(0.1, 20), momentum=0.9)},
        {"optimizer": stoop.optimizers.Adam(lambda t: 0.01 / (1 + t))},
        {"loss": stoop.losses.SoftmaxCrossEntropy(label_smoothing=0.1)},
        {"loss": "mse"},
        {"loss": stoop.losses.Huber(0.5)},
        {"loss": "binary_cross_entropy"},
        {"rollback": False},
    ]
    for number, setting in enumerate(settings):
        dtype = ("float32", "float64")[number % 2]
        fits.append(Fit(MIXED, **setting))
        fits.append(Fit(MIXED, dtype=dtype, batch_size=7, rows=rng.integers(ROWS, size=50 + number), **setting))
    stopping: Any = lambda: [callbacks.EarlyStopping("loss", patience=1)]  # noqa: E731
    reducing: Any = lambda: [callbacks.ReduceLROnPlateau("loss", patience=1)]  # noqa: E731
    while len(fits) < 64:
        number = len(fits)
        called = (list, stopping, reducing)[number % 3]
        rows = None if number % 2 else np.sort(rng.choice(ROWS, 20 + number, replace=False))
        fits.append(Fit(MIXED, epochs=1 + number % 7, batch_size=5 + number % 60, rows=rows, called=called))
    return fits


def run(fits: list[Fit], y: Any = Y, numbers: Any = None, **options: Any) -> tuple[list[stoop.Trainer], list[Any]]:
    """Train them in one call, with these numbers as seeds, and return the trainers and histories."""
    seeds = range(len(fits)) if numbers is None else numbers
    trainers = [fit.trainer(seed) for fit, seed in zip(fits, seeds)]
    given: dict[str, Any] = {
        "epochs": [fit.epochs for fit in fits],
        "batch_size": [fit.batch_size for fit in fits],
        "rows": [fit.rows for fit in fits],
        "callbacks": lambda i: fits[i].called(),
        "verbose": 0,
    }
    return trainers, stoop.fit_many(trainers, X, y, **{**given, **options})


def state_of(trainer: stoop.Trainer) -> dict[str, bytes]:
    """All that training carries on, but for the averages of times."""
    state = {name: value.tobytes() for name, value in trainer.model.state_dict().items()}
    carried = trainer._core.state()
    for name, value in carried.items():
        arrays = value if isinstance(value, list) else [value]
        state[f"state {name}"] = b"".join(np.asarray(array).tobytes() for array in arrays)
    return state


def columns_of(history: stoop.History) -> dict[str, Any]:
    """What a history holds, but for speeds."""
    columns = {key: np.asarray(values).tobytes() for key, values in history.items() if key != "samples_per_second"}
    return {**columns, "epochs": history.epochs, "reason": history.stop_reason, "changes": history.changes}
