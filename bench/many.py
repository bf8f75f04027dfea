"""Training of many small networks: one call of `fit_many`, beside JAX and joblib over scikit-learn, at equal work.

    python bench/many.py [--members 64] [--rows 4096] [--epochs 10] [--rounds 5] [--json out.json]

The networks are of the rl_tiny kind: 8-64-64-4, tanh, mean squared error, Adam, batches of 64, a seed for each. All
engines train on the same data, as many updates of each network, and the losses that they reach are printed:

- `fit_many` on one thread and on two, and `Trainer.fit` of one after the other (one thread each);
- JAX: `vmap` over the members and optax.adam, one jitted scan over all updates, compiled before. The orders of the
  samples are drawn before as well, and their time does not count;
- joblib with two processes, which are started before, over `MLPRegressor`.

Engines take turns, and the median of the rounds counts. JAX and scikit-learn are left out where they are missing. The
memory of a further trainer is the growth of a process with 512 more of them, trained in one call.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import stoop
from stoop import _latency

WIDTHS = (8, 64, 64, 4)
BATCH = 64
RATE = 1e-3
PAUSE = 1.0  # seconds before each engine: threads of the last one fall asleep, and the kernel may have held it back
Array = npt.NDArray[np.float32]


def make_data(rows: int) -> tuple[Array, Array]:
    """Return samples, and smooth functions of them."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, WIDTHS[0]), dtype=np.float32)
    mixed = x @ rng.standard_normal((WIDTHS[0], WIDTHS[-1]), dtype=np.float32)
    return x, np.tanh(mixed).astype(np.float32)


def make_trainers(members: int) -> list[stoop.Trainer]:
    """Return trainers of their own models."""
    hidden = [stoop.Dense(width, activation="tanh") for width in WIDTHS[1:-1]]
    layers = [*hidden, stoop.Dense(WIDTHS[-1])]
    adam = stoop.optimizers.Adam(RATE)
    return [
        stoop.Trainer(stoop.Model(layers, WIDTHS[0], seed), loss="mse", optimizer=adam, seed=seed)
        for seed in range(members)
    ]


class Task:
    """The data, and how much is trained on them."""

    def __init__(self, members: int, rows: int, epochs: int) -> None:
        self.members, self.epochs = members, epochs
        self.x, self.y = make_data(rows)
        self.updates = members * epochs * (rows // BATCH)

    def loss(self, predict: Callable[[Array], Any]) -> float:
        """Return the mean squared error of a network."""
        return float(np.mean((np.asarray(predict(self.x)) - self.y) ** 2))


Engine = Callable[[], tuple[float, float]]  # seconds, mean loss of the members


def fit_many(task: Task, threads: int) -> Engine:
    """Return the engine that is measured."""

    def run() -> tuple[float, float]:
        trainers = make_trainers(task.members)
        start = time.perf_counter()
        stoop.fit_many(trainers, task.x, task.y, task.epochs, BATCH, num_threads=threads, verbose=0)
        seconds = time.perf_counter() - start
        return seconds, statistics.mean(task.loss(trainer.model.predict) for trainer in trainers)

    return run


def one_by_one(task: Task) -> Engine:
    """Return a loop over `Trainer.fit`, on one thread."""

    def run() -> tuple[float, float]:
        trainers = make_trainers(task.members)
        start = time.perf_counter()
        with stoop.num_threads(1):
            for trainer in trainers:
                trainer.fit(task.x, task.y, task.epochs, BATCH, verbose=0)
        seconds = time.perf_counter() - start
        return seconds, statistics.mean(task.loss(trainer.model.predict) for trainer in trainers)

    return run


def jax_vmap(task: Task) -> Engine:
    """Return JAX with all members in one array."""
    import jax
    import jax.numpy as jnp
    import optax

    adam = optax.adam(RATE)

    def init(key: Any) -> Any:
        keys = jax.random.split(key, len(WIDTHS) - 1)
        scales = [np.sqrt(6.0 / (a + b)) for a, b in pairwise(WIDTHS)]
        return [
            (jax.random.uniform(k, (a, b), minval=-scale, maxval=scale), jnp.zeros(b))
            for k, a, b, scale in zip(keys, WIDTHS, WIDTHS[1:], scales)
        ]

    def predict(params: Any, x: Any) -> Any:
        for weight, bias in params[:-1]:
            x = jnp.tanh(x @ weight + bias)
        return x @ params[-1][0] + params[-1][1]

    def update(params: Any, state: Any, x: Any, y: Any) -> Any:
        gradient = jax.grad(lambda p: jnp.mean((predict(p, x) - y) ** 2))(params)
        changes, state = adam.update(gradient, state)
        return optax.apply_updates(params, changes), state

    @jax.jit
    def train(params: Any, state: Any, x: Any, y: Any, order: Any) -> Any:
        def step(carry: Any, rows: Any) -> Any:
            return jax.vmap(lambda p, s, i: update(p, s, x[i], y[i]))(*carry, rows), None

        return jax.lax.scan(step, (params, state), order)[0]

    rng = np.random.default_rng(1)
    batches = len(task.x) // BATCH
    drawn = [[rng.permutation(len(task.x))[: batches * BATCH] for _ in range(task.epochs)] for _ in range(task.members)]
    order = np.array(drawn, np.int32).reshape(task.members, task.epochs * batches, BATCH).swapaxes(0, 1)
    x, y, on_device = jnp.asarray(task.x), jnp.asarray(task.y), jnp.asarray(order)
    params = jax.vmap(init)(jax.random.split(jax.random.PRNGKey(0), task.members))
    state = jax.vmap(adam.init)(params)
    compiled = train.lower(params, state, x, y, on_device).compile()

    def run() -> tuple[float, float]:
        start = time.perf_counter()
        trained, _ = jax.block_until_ready(compiled(params, state, x, y, on_device))
        seconds = time.perf_counter() - start
        outputs = jax.vmap(predict, in_axes=(0, None))(trained, x)
        return seconds, float(jnp.mean((outputs - y) ** 2))

    return run


def fit_sklearn(seed: int, x: Array, y: Array, epochs: int) -> Any:
    """Return a trained MLPRegressor."""
    import warnings

    from sklearn.neural_network import MLPRegressor

    network = MLPRegressor(
        hidden_layer_sizes=WIDTHS[1:-1],
        activation="tanh",
        solver="adam",
        alpha=0.0,
        batch_size=BATCH,
        learning_rate_init=RATE,
        max_iter=epochs,
        tol=0.0,
        n_iter_no_change=epochs + 1,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        return network.fit(x, y)


def joblib_sklearn(task: Task) -> Engine:
    """Return joblib over scikit-learn, with two processes."""
    from joblib import Parallel, delayed

    pool = Parallel(n_jobs=2)
    pool(delayed(fit_sklearn)(seed, task.x[:BATCH], task.y[:BATCH], 1) for seed in range(4))

    def run() -> tuple[float, float]:
        start = time.perf_counter()
        networks = pool(delayed(fit_sklearn)(seed, task.x, task.y, task.epochs) for seed in range(task.members))
        seconds = time.perf_counter() - start
        return seconds, statistics.mean(task.loss(network.predict) for network in networks)

    return run


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def memory_of_a_trainer() -> float:
    """Return the bytes that a further trainer takes while `fit_many` runs, the peak of 512 of them."""
    x, y = make_data(1024)
    seen: list[int] = []

    def peak(members: int) -> int:
        seen.clear()
        trainers = make_trainers(members)

        def callbacks(i: int) -> list[stoop.callbacks.Callback]:
            looks = i in (0, members - 1)  # one of the first fits and one of the last
            return [stoop.callbacks.Lambda(on_epoch_end=lambda *_: seen.append(resident()))] if looks else []

        stoop.fit_many(trainers, x, y, 2, BATCH, callbacks=callbacks, verbose=0)
        return max(*seen, resident())

    peak(64)
    before = peak(64)
    return (peak(576) - before) / 512


def own_memory() -> int:
    """Return the bytes of parameters, Adam's state and the values of one batch."""
    parameters = sum((a + 1) * b for a, b in pairwise(WIDTHS))
    return 4 * (3 * parameters + BATCH * sum(WIDTHS))


def measure(engines: dict[str, Engine], rounds: int) -> dict[str, tuple[list[float], float]]:
    """Return the seconds of each round and the loss, by engine."""
    times: dict[str, list[float]] = {name: [] for name in engines}
    losses = {}
    for _ in range(rounds):
        for name, engine in engines.items():
            time.sleep(PAUSE)
            seconds, losses[name] = engine()
            times[name].append(seconds)
    return {name: (times[name], losses[name]) for name in engines}


def main() -> None:
    """Print what each engine takes, and the memory of a trainer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=64)
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--memory-only", action="store_true", help="of a process of its own")
    options = parser.parse_args()
    if options.memory_only:
        print(memory_of_a_trainer())
        return
    task = Task(options.members, options.rows, options.epochs)
    engines = {"fit_many, 1 thread": fit_many(task, 1), "fit_many, 2 threads": fit_many(task, 2)}
    engines["Trainer.fit one by one"] = one_by_one(task)
    if importlib.util.find_spec("optax"):
        engines["JAX vmap"] = jax_vmap(task)
    if importlib.util.find_spec("sklearn"):
        engines["joblib, scikit-learn"] = joblib_sklearn(task)
    latency = _latency.measure()
    measured = measure(engines, options.rounds)
    best = measured["fit_many, 2 threads"][0]
    distance = "core to core unknown" if latency is None else f"core to core and back {latency:.0f} ns"
    print(f"{options.members} networks {'-'.join(map(str, WIDTHS))}, {task.updates:,} updates; {distance}")
    results: dict[str, Any] = {}
    for name, (seconds, loss) in measured.items():
        median = statistics.median(seconds)
        ratio = statistics.median(s / b for s, b in zip(seconds, best))
        results[name] = {"seconds": seconds, "loss": loss, "times_fit_many": ratio}
        print(
            f"{name:>24}: {median:7.3f} s, {median / task.updates * 1e6:7.2f} us an update, {ratio:6.2f}, "
            f"loss {loss:.4f}"
        )
    command = [sys.executable, __file__, "--memory-only"]
    memory = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    own = own_memory()
    print(f"a further trainer: {memory / 1024:.0f} KiB, {memory / own:.2f} of parameters, state and one batch's values")
    results["memory"] = {"bytes": memory, "own": own}
    if options.json is not None:
        options.json.write_text(json.dumps({"core_latency": latency, **results}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
