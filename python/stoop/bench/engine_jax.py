"""JAX with optax: one jitted training step, or a jitted lax.scan over the steps of an epoch.

Parameters and optimizer state are donated, the data stays on the device and each batch is gathered inside the jitted
function (mode="clip" spares it a pass that would write NaN for indices out of bounds). The number of threads follows
the CPU affinity of the process, which the harness sets.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from stoop.bench.engine import Engine
from stoop.bench.workloads import MOMENTUM, Array, Workload

Tree = Any  # a nest of lists and dicts of arrays
BATCH_NORM_MOMENTUM = 0.9
BATCH_NORM_EPS = 1e-5


class State(NamedTuple):
    """All that a step changes."""

    params: Tree
    running: Tree  # batch-norm statistics, empty without batch-norm
    optimizer: Tree
    key: jax.Array


class _JaxEngine(Engine):
    @staticmethod
    def version() -> str:
        return f"JAX {jax.__version__}"

    def __init__(self, workload: Workload, x: Array, y: Array, threads: int) -> None:
        del threads
        self._workload = workload
        self._x, self._y = jnp.asarray(x), jnp.asarray(y)
        self._rng = np.random.default_rng(0)
        self._optimizer = (
            optax.adam(workload.learning_rate)
            if workload.optimizer == "adam"
            else optax.sgd(workload.learning_rate, momentum=MOMENTUM)
        )
        params, running = _init(workload, self._rng)
        self._state = State(params, running, self._optimizer.init(params), jax.random.key(0))
        self._forward = jax.jit(partial(_forward, workload, training=False))

    def run(self, epochs: int) -> None:
        for _ in range(epochs):
            order = self._rng.permutation(len(self._x)).astype(np.int32)
            self._run_epoch(order.reshape(-1, self._workload.batch_size))
        jax.block_until_ready(self._state.params)

    def predict(self, x: Array) -> Array:
        outputs, _ = self._forward(self._state.params, self._state.running, jnp.asarray(x), self._state.key)
        return np.asarray(outputs)

    def _run_epoch(self, batches: Array) -> None:
        """Train on the rows of X given by `batches` (steps, batch_size)."""
        raise NotImplementedError

    def _step(self, state: State, x: jax.Array, y: jax.Array, batch: jax.Array) -> State:
        key, dropout_key = jax.random.split(state.key) if self._workload.dropout > 0 else (state.key, state.key)

        def objective(params: Tree) -> tuple[jax.Array, Tree]:
            outputs, running = _forward(
                self._workload,
                params,
                state.running,
                jnp.take(x, batch, axis=0, mode="clip"),
                dropout_key,
                training=True,
            )
            return _loss(self._workload, outputs, jnp.take(y, batch, axis=0, mode="clip")), running

        grads, running = jax.grad(objective, has_aux=True)(state.params)
        updates, optimizer = self._optimizer.update(grads, state.optimizer, state.params)
        return State(optax.apply_updates(state.params, updates), running, optimizer, key)


class StepEngine(_JaxEngine):
    """One call of a jitted function for each step."""

    def __init__(self, workload: Workload, x: Array, y: Array, threads: int) -> None:
        super().__init__(workload, x, y, threads)
        self._jitted_step = jax.jit(self._step, donate_argnums=0)

    def _run_epoch(self, batches: Array) -> None:
        for batch in batches:
            self._state = self._jitted_step(self._state, self._x, self._y, batch)


class ScanEngine(_JaxEngine):
    """One call of a jitted function for each epoch."""

    @staticmethod
    def version() -> str:
        return f"JAX {jax.__version__} lax.scan"

    def __init__(self, workload: Workload, x: Array, y: Array, threads: int) -> None:
        super().__init__(workload, x, y, threads)
        self._jitted_epoch = jax.jit(self._epoch, donate_argnums=0)

    def _run_epoch(self, batches: Array) -> None:
        self._state = self._jitted_epoch(self._state, self._x, self._y, batches)

    def _epoch(self, state: State, x: jax.Array, y: jax.Array, batches: jax.Array) -> State:
        final: State = jax.lax.scan(lambda s, batch: (self._step(s, x, y, batch), None), state, batches)[0]
        return final


def _init(workload: Workload, rng: np.random.Generator) -> tuple[Tree, Tree]:
    """He-normal weights before relu, else Glorot-uniform ones; biases only where no batch-norm follows."""
    params: list[dict[str, jax.Array]] = []
    running: list[dict[str, jax.Array]] = []
    last = len(workload.widths) - 2
    for i, (inputs, units) in enumerate(zip(workload.widths[:-1], workload.widths[1:], strict=True)):
        if workload.activation == "relu" and i < last:
            weight = rng.normal(0, (2 / inputs) ** 0.5, (inputs, units))
        else:
            limit = (6 / (inputs + units)) ** 0.5
            weight = rng.uniform(-limit, limit, (inputs, units))
        layer = {"weight": jnp.asarray(weight, jnp.float32)}
        if workload.batch_norm and i < last:
            layer |= {"gamma": jnp.ones(units), "beta": jnp.zeros(units)}
            running.append({"mean": jnp.zeros(units), "var": jnp.ones(units)})
        else:
            layer["bias"] = jnp.zeros(units)
        params.append(layer)
    return params, running


def _forward(
    workload: Workload, params: Tree, running: Tree, x: jax.Array, key: jax.Array, *, training: bool
) -> tuple[jax.Array, Tree]:
    """Return outputs and the new running statistics."""
    activation = jax.nn.relu if workload.activation == "relu" else jnp.tanh
    new_running = []
    for i, layer in enumerate(params[:-1]):
        x = x @ layer["weight"]
        if workload.batch_norm:
            x, statistics = _batch_norm(layer, running[i], x, training)
            new_running.append(statistics)
        else:
            x = x + layer["bias"]
        x = activation(x)
        if training and workload.dropout > 0:
            keep = jax.random.bernoulli(jax.random.fold_in(key, i), 1 - workload.dropout, x.shape)
            x = jnp.where(keep, x / (1 - workload.dropout), 0)
    return x @ params[-1]["weight"] + params[-1]["bias"], new_running


def _batch_norm(layer: Tree, running: Tree, x: jax.Array, training: bool) -> tuple[jax.Array, Tree]:
    if training:
        mean, var = x.mean(axis=0), x.var(axis=0)
        running = {
            "mean": BATCH_NORM_MOMENTUM * running["mean"] + (1 - BATCH_NORM_MOMENTUM) * mean,
            "var": BATCH_NORM_MOMENTUM * running["var"] + (1 - BATCH_NORM_MOMENTUM) * var,
        }
    else:
        mean, var = running["mean"], running["var"]
    scale = layer["gamma"] * jax.lax.rsqrt(var + BATCH_NORM_EPS)
    return (x - mean) * scale + layer["beta"], running


def _loss(workload: Workload, outputs: jax.Array, y: jax.Array) -> jax.Array:
    if workload.is_classification:
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, y))
    return jnp.mean(jnp.square(outputs - y))
