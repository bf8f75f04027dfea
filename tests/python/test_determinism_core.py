"""The same bits for any number of threads: every layer, loss, optimizer and what is done to gradients and weights."""

from __future__ import annotations

import copy
import os
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import crossed
import stoop
from helpers import DTYPES

# A BLAS library promises nothing about the bits of a block of rows when the blocks are cut in another way.
pytestmark = pytest.mark.skipif(
    os.environ.get("STOOP_GEMM") in ("blas", "auto"), reason="STOOP_GEMM=blas or auto: not the own products alone"
)

THREADS = (2, 3, 8)
FEATURES, OUTPUTS, BATCH, SAMPLES = 67, 9, 101, 260  # the last batch is smaller, nothing is a multiple of a vector
WIDTH = 131

LAYERS: dict[str, list[Any]] = {
    "batch norm": [stoop.Dense(WIDTH), stoop.BatchNorm(), stoop.ReLU()],
    "batch norm after": [stoop.Dense(WIDTH, activation="tanh"), stoop.BatchNorm()],
    "batch norm first": [stoop.BatchNorm(), stoop.Dense(WIDTH, activation="relu")],
    "layer norm": [stoop.Dense(WIDTH), stoop.LayerNorm(), stoop.GELU()],
    "dropout": [stoop.Dropout(0.2), stoop.Dense(WIDTH, activation="relu"), stoop.Dropout(0.5)],
    "residual": [stoop.Residual([stoop.Dense(WIDTH, activation="silu"), stoop.Dense(FEATURES)])],
    "projection": [stoop.Residual([stoop.Dense(WIDTH, activation="elu"), stoop.Dense(53)]), stoop.Softplus()],
    "members": [
        stoop.Members(3),
        stoop.Dropout(0.1),
        stoop.Dense(WIDTH, "relu"),
        stoop.BatchNorm(),
        stoop.MemberDense(WIDTH, "gelu"),
        stoop.LayerNorm(),
        stoop.MemberDense(40, "relu", shared=True),
    ],
    "all": [
        stoop.Dropout(0.1),
        stoop.Dense(WIDTH),
        stoop.BatchNorm(),
        stoop.GELU(),
        stoop.Residual([stoop.LayerNorm(), stoop.Dense(70, activation="silu"), stoop.Dropout(0.3), stoop.Dense(70)]),
        stoop.Dense(40, trainable=False, activation=stoop.LeakyReLU(0.1)),
    ],
}
LAYERS |= {name: [stoop.Dense(WIDTH, activation=layer)] for name, layer in crossed.activation_layers().items()}

OPTIMIZERS = {name: case.make() for name, case in crossed.optimizer_cases().items()}
OPTIMIZERS |= {
    "schedule": stoop.optimizers.Adam(stoop.schedules.Warmup(stoop.schedules.Cosine(0.002, 6), 2)),
    "callable": stoop.optimizers.SGD(lambda t: 0.05 / (1 + t)),
}

ARGUMENTS: dict[str, dict[str, Any]] = {
    "l1": {"l1": 1e-3},
    "l2": {"l2": 1e-2},
    "clip_norm": {"clip_norm": 0.1},
    "clip_value": {"clip_value": 0.001},
    "max_norm": {"max_norm": 0.8},
    "accumulate": {"accumulate": 2},
    "ema": {"ema": 0.9},
    "together": {
        "l1": 1e-4,
        "l2": 1e-3,
        "clip_norm": 0.5,
        "clip_value": 0.01,
        "max_norm": 1.5,
        "accumulate": 2,
        "ema": 0.99,
    },
}

LOSSES = crossed.loss_cases()
CLASSES = "softmax_cross_entropy of classes"


def make_data(loss: str, dtype: str) -> tuple[npt.NDArray, npt.NDArray]:
    rng = np.random.default_rng(3)
    X = rng.standard_normal((SAMPLES, FEATURES)).astype(dtype)
    y = LOSSES[loss].draw(rng, SAMPLES, LOSSES[loss].outputs(OUTPUTS))
    return X, y if y.dtype.kind == "i" else y.astype(dtype)


def result_bits(
    layers: list[Any],
    threads: int,
    *,
    dtype: str,
    loss: str = CLASSES,
    optimizer: Any = OPTIMIZERS["sgd momentum=0.9"],
    weighted: bool = False,
    **arguments: Any,
) -> dict[str, bytes]:
    """All that training, a gradient, evaluation and prediction leave, as bytes."""
    X, y = make_data(loss, dtype)
    weights = np.random.default_rng(4).uniform(0.5, 2.0, SAMPLES).astype(dtype) if weighted else None
    outputs = LOSSES[loss].outputs(OUTPUTS)
    model = stoop.Model([*layers, stoop.Dense(outputs)], input_dim=FEATURES, seed=1, dtype=dtype)
    trainer = stoop.Trainer(
        model, loss=LOSSES[loss].loss, optimizer=optimizer, num_threads=threads, seed=2, **arguments
    )
    history = trainer.fit(X, y, epochs=2, batch_size=BATCH, sample_weight=weights, validation_data=(X, y), verbose=0)
    value, grads = trainer.loss_and_grad(X, y, sample_weight=weights, dropout=True)
    arrays = {f"parameter {name}": array for name, array in model.parameters().items()}
    arrays |= {f"buffer {name}": array for name, array in model.buffers().items()}
    arrays |= {f"gradient {name}": array for name, array in grads.items()}
    arrays |= {f"average {name}": array for name, array in trainer.ema_parameters().items()}
    arrays |= {key: np.asarray(history[key]) for key in ("loss", "val_loss", "grad_norm", "learning_rate")}
    arrays |= {"value": np.asarray(value), "evaluation": np.asarray(list(trainer.evaluate(X, y).values()))}
    arrays["step"] = np.asarray(trainer.step(X[:BATCH], y[:BATCH]))
    with stoop.num_threads(threads):
        arrays["outputs"] = model.predict(X)
    assert all(np.isfinite(array).all() for array in arrays.values())
    return {name: array.tobytes() for name, array in arrays.items()}


def check(layers: list[Any], **how: Any) -> None:
    one = result_bits(layers, 1, **how)
    for threads in THREADS:
        several = result_bits(layers, threads, **how)
        different = [name for name in one if one[name] != several[name]]
        assert not different, f"{threads} threads: {different}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layers", LAYERS)
def test_layers(layers: str, dtype: str) -> None:
    check(LAYERS[layers], dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers(optimizer: str, dtype: str) -> None:
    check(LAYERS["all"], dtype=dtype, optimizer=OPTIMIZERS[optimizer])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("arguments", ARGUMENTS)
def test_arguments(arguments: str, dtype: str) -> None:
    check(LAYERS["layer norm"], dtype=dtype, optimizer=OPTIMIZERS["adamw weight_decay=0.1"], **ARGUMENTS[arguments])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("loss", LOSSES)
def test_losses(loss: str, weighted: bool, dtype: str) -> None:
    check(LAYERS["batch norm"], dtype=dtype, loss=loss, weighted=weighted)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS if name != "schedule"])
def test_optimizers_on_bare_arrays(optimizer: str, dtype: str) -> None:
    """Arrays that are large enough to be shared among threads."""
    rng = np.random.default_rng(5)
    shapes = [(300, 401), (7,), (65_537,)]
    start = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    gradients = [[rng.standard_normal(shape).astype(dtype) for shape in shapes] for _ in range(3)]

    def run(threads: int) -> list[bytes]:
        arrays = [array.copy() for array in start]
        own = copy.copy(OPTIMIZERS[optimizer])
        with stoop.num_threads(threads):
            for step in gradients:
                own.step(arrays, step)
        return [array.tobytes() for array in arrays]

    one = run(1)
    assert one != [array.tobytes() for array in start]
    for threads in THREADS:
        assert run(threads) == one, f"{threads} threads"


def test_dropout_masks_differ_by_seed_and_update() -> None:
    X, y = make_data("mse of values", "float32")
    masks = []
    for seed in (0, 1):
        model = stoop.Model([stoop.Dropout(0.5), stoop.Dense(OUTPUTS)], input_dim=FEATURES)
        trainer = stoop.Trainer(model, loss="mse", optimizer=stoop.optimizers.SGD(1e-30), seed=seed)
        for _ in range(2):
            masks.append(trainer.loss_and_grad(X, y, dropout=True)[1]["1.weight"].tobytes())
            assert masks[-1] == trainer.loss_and_grad(X, y, dropout=True)[1]["1.weight"].tobytes()
            trainer.step(X, y)
    assert len(set(masks)) == 4
