"""Small fits, and callbacks that note what they see, for the tests of `Trainer.fit`."""

from __future__ import annotations

from typing import Any

import numpy as np

import stoop
from stoop.callbacks import Callback

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(np.int32)
FIT: dict[str, Any] = {"batch_size": 16, "verbose": 0}


def trainer(rate: float = 0.05, **options: Any) -> stoop.Trainer:
    layers = [stoop.Dense(8), stoop.BatchNorm(), stoop.Tanh(), stoop.Dropout(0.1), stoop.Dense(2)]
    model = stoop.Model(layers, input_dim=4, seed=1)
    return stoop.Trainer(model, optimizer=stoop.optimizers.Adam(rate), **options)


def values(of: stoop.Trainer) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in of.model.state_dict().items()}


def state(of: stoop.Trainer) -> dict[str, np.ndarray]:
    return values(of) | {f"ema {k}": v.copy() for k, v in of.ema_parameters().items()}


def assert_same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for name, array in a.items():
        np.testing.assert_array_equal(array, b[name], err_msg=name)


class Calls(Callback):
    """Notes every call."""

    def __init__(self, every: int | None = None) -> None:
        self.every_n_steps = every
        self.made: list[tuple[Any, ...]] = []

    def on_fit_begin(self, trainer: stoop.Trainer) -> None:
        self.made.append(("begin", trainer.steps))

    def on_steps_end(self, trainer: stoop.Trainer, logs: dict[str, float]) -> None:
        assert logs["step"] == trainer.steps
        self.made.append(("steps", logs["epoch"], logs["step"]))

    def on_epoch_end(self, trainer: stoop.Trainer, logs: dict[str, float]) -> None:
        assert trainer.epoch == logs["epoch"]
        self.made.append(("epoch", logs["epoch"]))

    def on_fit_end(self, trainer: stoop.Trainer, reason: str) -> None:
        assert trainer.history.stop_reason == reason
        self.made.append(("end", reason))


class Scripted(Callback):
    """Gives the history a column of these values, and notes the parameters of each epoch."""

    def __init__(self, *script: float) -> None:
        self.script = script
        self.parameters: list[dict[str, np.ndarray]] = []

    def on_epoch_end(self, trainer: stoop.Trainer, logs: dict[str, float]) -> None:
        value = self.script[len(self.parameters)]
        self.parameters.append(values(trainer) | {f"ema {k}": v.copy() for k, v in trainer.ema_parameters().items()})
        logs["score"] = value
