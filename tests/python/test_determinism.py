"""The same bits for any number of threads, on every run, whatever else was called in between."""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import numpy as np
import pytest

import stoop
from helpers import DTYPES, LOSSES, bits, make_data, run_python

THREADS = (2, 3, 8)

# name -> widths, batch size, samples; the large ones have work for several threads.
SHAPES = {
    "tiny": ([3, 5, 4], 8, 40),
    "rl_tiny": ([8, 64, 64, 4], 64, 200),
    "odd": ([37, 131, 67, 10], 77, 500),
    "single column": ([20, 300, 1], 256, 600),
    "mnist": ([784, 512, 256, 10], 128, 300),
    "wide": ([256, 768, 640, 10], 384, 768),
    "deep": ([64, *[128] * 8, 10], 256, 700),
}

# Prints {case: digests of parameters, of losses and gradients, of outputs} and the size of the largest team.
DIGESTS = """
import hashlib, json, sys
from pathlib import Path
import numpy as np
import stoop

def digest(*arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()

shapes, how, threads = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
if how == "set_num_threads":
    stoop.set_num_threads(threads)
results, team = {}, 0
tasks = Path("/proc/self/task")
for name, (widths, batch_size, samples) in shapes.items():
    for dtype in ("float32", "float64"):
        for activation, loss, optimizer in (
            ("relu", "softmax_cross_entropy", stoop.optimizers.SGD(0.01, momentum=0.9)),
            ("tanh", "mse", stoop.optimizers.Adam(1e-3)),
        ):
            rng = np.random.default_rng(0)
            X = rng.standard_normal((samples, widths[0])).astype(dtype)
            y = rng.standard_normal((samples, widths[-1])).astype(dtype)
            if loss == "softmax_cross_entropy":
                y = rng.integers(max(widths[-1], 2), size=samples)
                loss = loss if widths[-1] > 1 else "binary_cross_entropy"
            layers = [stoop.Dense(n, activation=activation) for n in widths[1:-1]] + [stoop.Dense(widths[-1])]
            model = stoop.Model(layers, input_dim=widths[0], dtype=dtype)
            trainer = stoop.Trainer(
                model, loss=loss, optimizer=optimizer, l2=1e-3, num_threads=threads if how == "num_threads" else None
            )
            history = trainer.fit(X, y, epochs=2, batch_size=batch_size, validation_data=(X, y), verbose=0)
            team = max(team, len(list(tasks.iterdir())) if tasks.exists() else 0)
            loss_value, grads = trainer.loss_and_grad(X, y)
            results[f"{name} {dtype} {loss}"] = [
                digest(*model.parameters().values()),
                digest(history["loss"], history["val_loss"], history["grad_norm"], [loss_value], *grads.values()),
                digest(model(X)),
            ]
print(json.dumps([results, team]))
"""


def digests(shapes: dict[str, Any], how: str, threads: int, **environment: str) -> tuple[dict[str, list[str]], int]:
    environment = {"STOOP_GEMM": "native", "OPENBLAS_NUM_THREADS": "1"} | environment
    if how == "STOOP_NUM_THREADS":
        environment["STOOP_NUM_THREADS"] = str(threads)
    results, team = json.loads(run_python("-c", DIGESTS, json.dumps(shapes), how, str(threads), **environment).stdout)
    return results, team


@pytest.fixture(scope="module")
def one_thread() -> dict[str, list[str]]:
    return digests(SHAPES, "num_threads", 1)[0]


@pytest.mark.parametrize("threads", THREADS)
def test_any_number_of_threads_gives_the_same_bits(one_thread: dict[str, list[str]], threads: int) -> None:
    results, team = digests(SHAPES, "num_threads", threads)
    assert results == one_thread
    if sys.platform == "linux":
        assert team >= threads, "the team was not as large as asked for"


@pytest.mark.parametrize("how", ["set_num_threads", "STOOP_NUM_THREADS"])
def test_however_threads_are_set(one_thread: dict[str, list[str]], how: str) -> None:
    shapes = {name: SHAPES[name] for name in ("odd", "mnist")}
    results, _ = digests(shapes, how, 3)
    assert results == {name: one_thread[name] for name in results}


# ---- in one process, whatever provider was chosen ----


def train(
    *, seed: int = 0, model_seed: int = 0, epochs: tuple[int, ...] = (3,), loss: str = "mse", dtype: str = "float32"
) -> dict[str, bytes]:
    X, y = make_data(loss, 300, 20, 5, dtype)
    model = stoop.Model(
        [stoop.Dense(64, activation="relu"), stoop.Dense(5)], input_dim=20, seed=model_seed, dtype=dtype
    )
    trainer = stoop.Trainer(model, loss=loss, seed=seed)
    for n in epochs:
        trainer.fit(X, y, epochs=n, batch_size=64, verbose=0)
    return bits(model)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_two_runs_are_the_same(loss: str, dtype: str) -> None:
    assert train(loss=loss, dtype=dtype) == train(loss=loss, dtype=dtype)


def test_seeds_matter() -> None:
    assert train() != train(seed=1)
    assert train() != train(model_seed=1)
    seeds = (0, 1, 2, 2**32, 2**63)
    assert len({tuple(train(seed=seed).values()) for seed in seeds}) == len(seeds)


def test_fit_in_parts_is_fit_at_once() -> None:
    assert train(epochs=(4,)) == train(epochs=(1, 2, 1))


def test_other_calls_do_not_matter() -> None:
    X, y = make_data("mse", 300, 20, 5)

    def run(*, busy: bool) -> dict[str, bytes]:
        model = stoop.Model([stoop.Dense(64, activation="relu"), stoop.Dense(5)], input_dim=20)
        trainer = stoop.Trainer(model, loss="mse")
        for _ in range(3):
            trainer.fit(X, y, epochs=1, batch_size=64, verbose=0, validation_data=(X, y) if busy else None)
            if busy:
                trainer.evaluate(X, y)
                trainer.loss_and_grad(X[:7], y[:7])
                model.predict(X)
                model.copy()
                train()
                np.random.default_rng().random(3)
        return bits(model)

    assert run(busy=True) == run(busy=False)


def test_what_was_trained_before_does_not_matter() -> None:
    """A trainer that has seen larger batches gives the bits of a fresh one."""
    X, y = make_data("mse", 300, 20, 5)

    def make(model: Any) -> Any:
        return stoop.Trainer(model, loss="mse", optimizer=stoop.optimizers.SGD(0.01))

    used = make(stoop.Model([stoop.Dense(200, activation="relu"), stoop.Dense(5)], input_dim=20))
    used.fit(X, y, epochs=1, batch_size=300, verbose=0)
    used.step(X, y)
    fresh = make(used.model.copy())
    for trainer in (used, fresh):
        trainer.fit(X, y, epochs=1, batch_size=33, shuffle=False, verbose=0)
        trainer.step(X[:7], y[:7])
    assert bits(used.model) == bits(fresh.model)


def test_step_is_fit_with_one_batch() -> None:
    X, y = make_data("mse", 96, 20, 5)
    models = [stoop.Model([stoop.Dense(64, activation="tanh"), stoop.Dense(5)], input_dim=20) for _ in range(2)]
    fitting, stepping = (stoop.Trainer(model, loss="mse") for model in models)
    fitting.fit(X, y, epochs=2, batch_size=32, shuffle=False, verbose=0)
    for _ in range(2):
        for start in range(0, 96, 32):
            stepping.step(X[start : start + 32], y[start : start + 32])
    assert bits(models[0]) == bits(models[1])
    assert fitting.steps == stepping.steps == 6


def test_every_sample_is_seen_once_an_epoch_in_a_new_order() -> None:
    """With a rate too small to change a weight, the mean over the epoch is the loss of the whole set."""
    X, y = make_data("mse", 101, 20, 5, "float64")
    model = stoop.Model([stoop.Dense(5)], input_dim=20, dtype="float64")
    trainer = stoop.Trainer(model, loss="mse", optimizer=stoop.optimizers.SGD(1e-30))
    history = trainer.fit(X, y, epochs=4, batch_size=8, verbose=0)
    np.testing.assert_allclose(history["loss"], trainer.evaluate(X, y)["loss"], rtol=1e-12)
    assert len(set(history["grad_norm"])) == 4, "the batches of all epochs are alike"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("settings", [{}, {"clip_norm": 0.5, "accumulate": 3, "ema": 0.9}], ids=["fused", "checked"])
def test_a_team_that_changes_in_mid_run_gives_the_same_bits(settings: dict[str, Any], dtype: str) -> None:
    """An automatic team is tried at two sizes in turns, a few steps each, and then kept for a while: many small steps
    see it change within an epoch and across epochs, with the masks of dropout, statistics and partial sums going on."""
    X, y = make_data("softmax_cross_entropy", 6000, 32, 8, dtype)

    def run(threads: int) -> tuple[dict[str, bytes], dict[str, bytes], list[float], list[float]]:
        stoop.set_num_threads(threads)
        block = stoop.Residual([stoop.Dense(96, activation="gelu"), stoop.LayerNorm()])
        layers = [stoop.Dense(96), stoop.BatchNorm(), stoop.ReLU(), stoop.Dropout(0.2), block, stoop.Dense(8)]
        model = stoop.Model(layers, input_dim=32, dtype=dtype)
        trainer = stoop.Trainer(model, l2=1e-4, **settings)
        history = trainer.fit(X, y, epochs=4, batch_size=48, verbose=0)
        statistics = {name: value.tobytes() for name, value in model.buffers().items()}
        return bits(model), statistics, history["loss"], history["grad_norm"]

    expected = run(1)
    for threads in THREADS:
        assert run(threads) == expected, f"up to {threads} threads"


def test_models_trained_in_parallel_threads() -> None:
    expected = train()
    results: list[dict[str, bytes]] = []
    threads = [threading.Thread(target=lambda: results.append(train())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4


def test_predict_from_several_threads() -> None:
    X, _ = make_data("mse", 2000, 20, 5)
    model = stoop.Model([stoop.Dense(64, activation="relu"), stoop.Dense(5)], input_dim=20)
    expected = model.predict(X)
    results: list[bool] = []

    def predict() -> None:
        results.append(all(np.array_equal(model.predict(X), expected) for _ in range(20)))

    threads = [threading.Thread(target=predict) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 4
