"""Dropout and batch normalisation after products: losses and gradients of training beside NumPy with masks of Philox.

A product does both in its epilogue, cut by rows or by columns, on several threads, by its own kernels or after a BLAS.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop
from stoop import _core

SEED, ROWS, FEATURES, OUTPUTS = 7, 43, 21, 3
PROVIDERS = [*itertools.product(_core.available_isas(), ("native", "blas"))]
STACKS: dict[str, list[Any]] = {
    # Products of few columns are cut by rows, those of wide layers by columns.
    "rows": [stoop.Dense(83, "tanh"), stoop.Dropout(0.3), stoop.BatchNorm(), stoop.Dense(37), stoop.Dropout(0.4)],
    "columns": [stoop.Dense(300, "tanh"), stoop.Dropout(0.4), stoop.Dense(310), stoop.Dropout(0.3), stoop.BatchNorm()],
    "behind batch norm": [stoop.Dense(70), stoop.BatchNorm(), stoop.Dropout(0.3), stoop.Dense(37, "tanh")],
    "twice": [stoop.Dense(70), stoop.Dropout(0.2), stoop.Dropout(0.5), stoop.BatchNorm()],
}


def philox(counter: list[npt.NDArray[np.uint64]]) -> list[npt.NDArray[np.uint64]]:
    """Philox4x32-10 (Salmon et al. 2011) under the key SEED."""
    low, word = np.uint64(0xFFFFFFFF), np.uint64(32)
    c0, c1, c2, c3 = counter
    key0, key1 = SEED, 0
    for _ in range(10):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = p1 >> word ^ c1 ^ np.uint64(key0), p1 & low, p0 >> word ^ c3 ^ np.uint64(key1), p0 & low
        key0, key1 = (key0 + 0x9E3779B9) % 2**32, (key1 + 0xBB67AE85) % 2**32
    return [c0, c1, c2, c3]


def mask(rows: int, columns: int, node: int, update: int, rate: float) -> npt.NDArray[np.bool_]:
    """What a dropout keeps: word (column % 64) / 16 at {column / 64 * 16 + column % 16, row, update, node and use}."""
    row, column = np.indices((rows, columns), np.uint64)
    use = np.full_like(row, node << 8 | 3)
    at = column // np.uint64(64) * np.uint64(16) + column % np.uint64(16)
    words = philox([at, row, np.full_like(row, update), use])
    drawn = np.choose((column % np.uint64(64) // np.uint64(16)).astype(np.intp), words)
    return drawn < np.uint64(int((1.0 - rate) * 2**32))


def loss_of(
    layers: list[Any],
    parameters: dict[str, npt.NDArray[np.float64]],
    X: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    update: int,
    first_row: int = 0,
) -> float:
    """The mean squared error of a batch that begins with row `first_row` of an update."""
    value, node = X, 0
    for i, layer in enumerate(layers):
        node += 1
        p = {name: array for name, array in parameters.items() if name.startswith(f"{i}.")}
        if isinstance(layer, stoop.Dense):
            value = value @ p[f"{i}.weight"] + p.get(f"{i}.bias", 0.0)
            if layer.activation == "tanh":
                value, node = np.tanh(value), node + 1
        elif isinstance(layer, stoop.Dropout):
            kept = mask(first_row + len(X), value.shape[1], node, update, layer.rate)[first_row:]
            value = np.where(kept, value / (1.0 - layer.rate), 0.0)
        else:
            centred = value - value.mean(axis=0)
            value = centred / np.sqrt(value.var(axis=0) + layer.eps) * p[f"{i}.gamma"] + p[f"{i}.beta"]
    return float(np.mean((value - y) ** 2))


def make(stack: str, dtype: str, **arguments: Any) -> tuple[stoop.Trainer, Any, Any]:
    """A trainer that hardly moves, and data."""
    rng = np.random.default_rng(1)
    model = stoop.Model([*STACKS[stack], stoop.Dense(OUTPUTS)], input_dim=FEATURES, seed=1, dtype=dtype)
    trainer = stoop.Trainer(model, "mse", optimizer=stoop.optimizers.SGD(1e-30), seed=SEED, **arguments)
    X, y = rng.standard_normal((4 * ROWS, FEATURES)), rng.standard_normal((4 * ROWS, OUTPUTS))
    return trainer, X.astype(dtype), y.astype(dtype)


def in_float64(arrays: dict[str, Any]) -> dict[str, npt.NDArray[np.float64]]:
    return {name: array.astype(np.float64) for name, array in arrays.items()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("isa", "provider"), PROVIDERS)
@pytest.mark.parametrize("stack", STACKS)
def test_loss_and_gradient(monkeypatch: pytest.MonkeyPatch, stack: str, isa: str, provider: str, dtype: str) -> None:
    monkeypatch.setenv("STOOP_ISA", isa)
    monkeypatch.setenv("STOOP_GEMM", provider)
    for threads in (1, 3):
        trainer, X, y = make(stack, dtype, num_threads=threads)
        X, y = X[:ROWS], y[:ROWS]
        value, grads = trainer.loss_and_grad(X, y, dropout=True)
        layers, parameters = trainer.model.layers, in_float64(trainer.model.parameters())
        # float32: rounding of sums of up to 310 terms, and of the variances they are divided by.
        assert value == pytest.approx(loss_of(layers, parameters, X, y, 0), rel=1e-5 if dtype == "float32" else 1e-12)
        rng, h = np.random.default_rng(2), 1e-5
        way = {name: rng.standard_normal(array.shape) for name, array in parameters.items()}
        ahead, behind = (
            loss_of(layers, {name: p + step * way[name] for name, p in parameters.items()}, X, y, 0) for step in (h, -h)
        )
        slope = sum(float(np.sum(grads[name] * way[name])) for name in way)
        size = sum(float(np.sum(np.abs(grads[name] * way[name]))) for name in way)
        # The central difference is off by its h^2 and by rounding divided by h.
        assert slope == pytest.approx((ahead - behind) / (2 * h), abs=(1e-5 if dtype == "float32" else 1e-7) * size)


@pytest.mark.parametrize("stack", STACKS)
def test_rows_are_those_of_the_update(stack: str) -> None:
    """Two batches for each of two updates: a mask goes by the update and the row in it, whoever computes it."""
    for threads in (1, 3):
        trainer, X, y = make(stack, "float64", num_threads=threads, accumulate=2)
        history = trainer.fit(X, y, epochs=1, batch_size=ROWS, shuffle=False, verbose=0)
        layers, parameters = trainer.model.layers, in_float64(trainer.model.parameters())
        losses = [
            loss_of(layers, parameters, X[i * ROWS :][:ROWS], y[i * ROWS :][:ROWS], i // 2, i % 2 * ROWS)
            for i in range(4)
        ]
        assert history["loss"][0] == pytest.approx(np.mean(losses), rel=1e-12)
