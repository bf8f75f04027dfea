"""Stoop, through Trainer.fit: shuffled mini-batches gathered from the full array."""

from __future__ import annotations

from typing import Any

import numpy as np

import stoop
from stoop.bench.engine import Engine
from stoop.bench.workloads import MOMENTUM, Array, Workload


class StoopEngine(Engine):
    """Default settings throughout."""

    _precision = "float32"

    @staticmethod
    def version() -> str:
        return f"stoop {stoop.__version__} ({stoop._core.active_isa()})"

    def __init__(self, workload: Workload, x: Array, y: Array, threads: int) -> None:
        stoop.set_num_threads(threads)
        self._x, self._y = x, y
        self._batch_size = workload.batch_size
        self._model = stoop.Model(_layers(workload), input_dim=workload.widths[0], seed=0)
        optimizer: Any = (
            stoop.optimizers.Adam(workload.learning_rate)
            if workload.optimizer == "adam"
            else stoop.optimizers.SGD(workload.learning_rate, momentum=MOMENTUM)
        )
        self._trainer = stoop.Trainer(
            self._model, loss=workload.loss, optimizer=optimizer, precision=self._precision, seed=0
        )

    def run(self, epochs: int) -> None:
        self._trainer.fit(self._x, self._y, epochs=epochs, batch_size=self._batch_size, verbose=0)

    def predict(self, x: Array) -> Array:
        return np.asarray(self._model.predict(x))


class Bfloat16Engine(StoopEngine):
    """Products of bfloat16 in training; predictions in float32."""

    _precision = "bfloat16"

    @staticmethod
    def version() -> str:
        return f"stoop {stoop.__version__} (bfloat16: {stoop._core.active_bfloat16() or 'not available'})"

    @staticmethod
    def missing(workload: Workload) -> str | None:
        del workload
        return None if stoop._core.active_bfloat16() else "this CPU has no AVX512-BF16 or AMX-BF16"


def _layers(workload: Workload) -> list[Any]:
    layers: list[Any] = []
    for units in workload.widths[1:-1]:
        if workload.batch_norm:
            layers += [stoop.Dense(units), stoop.BatchNorm(), _ACTIVATIONS[workload.activation]()]
        else:
            layers.append(stoop.Dense(units, activation=workload.activation))
        if workload.dropout > 0:
            layers.append(stoop.Dropout(workload.dropout))
    return [*layers, stoop.Dense(workload.widths[-1])]


_ACTIVATIONS = {"relu": stoop.ReLU, "tanh": stoop.Tanh}
