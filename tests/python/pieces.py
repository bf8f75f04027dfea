"""The network, the batches and the update by hand that tests of an update in pieces share."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

import stoop
from helpers import bits

FEATURES, OUTPUTS, ROWS = 7, 4, 32  # powers of two, so that no division of the gradient by hand rounds


def layers() -> list[Any]:
    """Every kind of layer; the block's skipped side is wider than the input, so it has a projection."""
    block = [stoop.BatchNorm(), stoop.Dense(19), stoop.GELU(), stoop.Dropout(0.2)]
    return [
        stoop.Dropout(0.1),
        stoop.Dense(17, activation="tanh"),
        stoop.BatchNorm(),
        stoop.ReLU(),
        stoop.Dropout(0.3),
        stoop.Residual(block),
        stoop.LayerNorm(),
        stoop.Dense(OUTPUTS),
    ]


def trainer_of(dtype: str = "float32", stack: list[Any] | None = None, **settings: Any) -> stoop.Trainer:
    model = stoop.Model(layers() if stack is None else stack, input_dim=FEATURES, seed=3, dtype=dtype)
    return stoop.Trainer(model, **{"loss": "mse", "optimizer": stoop.optimizers.Adam(0.01), "seed": 5, **settings})


def batch(rows: int = ROWS, dtype: str = "float32", seed: int = 0) -> tuple[npt.NDArray, npt.NDArray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, FEATURES)).astype(dtype), rng.standard_normal((rows, OUTPUTS)).astype(dtype)


def slope(out: npt.NDArray, y: npt.NDArray) -> npt.NDArray:
    """Return the gradient of the mean squared error, which is a mean over samples and outputs."""
    return (out - y) / (out.size / 2)


def update(trainer: stoop.Trainer, X: npt.NDArray, y: npt.NDArray) -> float:
    out = trainer.forward(X)
    trainer.backward(slope(out, y))
    return trainer.apply()


def assert_same(a: stoop.Trainer, b: stoop.Trainer) -> None:
    assert bits(a.model) == bits(b.model)
    one, other = a._core.state(), b._core.state()
    assert [array.tobytes() for array in one["optimizer"]] == [array.tobytes() for array in other["optimizer"]]
    assert one["average"].tobytes() == other["average"].tobytes()
    assert {name: value.tobytes() for name, value in a.model.buffers().items()} == {
        name: value.tobytes() for name, value in b.model.buffers().items()
    }
    assert a.steps == b.steps
