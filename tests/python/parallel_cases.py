"""What processes of one training compute: `mpiexec -n 4 python parallel_cases.py`. Rank 0 prints one line of JSON.

Each case becomes the digest of all that its training ended with, and has to be the same for any number of ranks.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import stoop
from stoop import optimizers as of
from stoop import schedules

OPTIMIZERS = {
    "SGD": of.SGD(0.05),
    "momentum": of.SGD(0.05, momentum=0.9, nesterov=True),
    **{
        kind.__name__: kind()
        for kind in (
            *(of.AdaGrad, of.Adadelta, of.Adam, of.AdamW, of.Adamax, of.Lamb, of.Lion, of.Nadam, of.RAdam, of.RMSProp),
            of.Rprop,
        )
    },
}
FULL_BATCH = {"LBFGS": of.LBFGS(), "NewtonCG": of.NewtonCG()}


def samples(rows: int = 203, dtype: str = "float32") -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    X = rng.standard_normal((rows, 12)).astype(dtype)
    return X, (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(int) + (X[:, 3] > 1)


def layers(*, norm: bool = False, width: int = 24, dropout: bool = True, first: Any = None) -> list[Any]:
    middle = [stoop.BatchNorm()] if norm else []
    middle += [stoop.Dropout(0.2)] if dropout else []
    before = [] if first is None else [first]
    return [*before, stoop.Dense(width, "tanh"), *middle, stoop.Dense(width, "relu"), stoop.LayerNorm(), stoop.Dense(3)]


def digest(trainer: Any, history: Any = None) -> str:
    """Return a digest of parameters, optimizer, averages, counts and history."""
    found = hashlib.sha256()
    for array in trainer.model.state_dict().values():
        found.update(np.ascontiguousarray(array).tobytes())
    state = trainer._core.state()
    for array in [*state["optimizer"], state["average"]]:
        found.update(array.tobytes())
    found.update(repr([state[name] for name in ("swapped", "epoch", "steps", "place")]).encode())
    if history is not None:
        kept = {name: values for name, values in history.items() if name != "samples_per_second"}
        found.update(repr([history.epochs, kept, history.stop_reason]).encode())
    return found.hexdigest()[:16]


def trained(
    comm: Any, *, rows: int = 203, dtype: str = "float32", made: Any = None, fit: Any = None, **settings: Any
) -> str:
    X, y = samples(rows, dtype)
    made, fit = dict(made or {}), {"epochs": 2, "batch_size": 32, **(fit or {})}
    model = stoop.Model(layers(**made), 12, dtype=dtype)
    trainer = stoop.Trainer(model, comm=comm, **settings)
    history = trainer.fit(X, y, verbose=0, validation_data=(X[:51], y[:51]), **fit)
    measured = trainer.evaluate(X, y)
    losses = trainer.losses(X, y)
    return digest(trainer, history) + repr(measured) + hashlib.sha256(losses.tobytes()).hexdigest()[:8]


class Restless(stoop.callbacks.Callback):
    """Changes settings and parameters, looks within epochs, and evaluates."""

    every_n_steps = 3

    def on_steps_end(self, trainer: Any, logs: Any) -> None:
        if trainer.steps == 6:
            trainer.set(learning_rate=schedules.Cosine(0.02, 40), l2=0.01, clip_norm=0.5)
        if trainer.steps == 9:
            next(iter(trainer.model.parameters().values()))[...] *= 0.5

    def on_epoch_end(self, trainer: Any, logs: Any) -> None:
        X, y = samples()
        logs["mine"] = trainer.evaluate(X[:40], y[:40])["loss"]
        if len(trainer.history.epochs) == 3:
            trainer.stop("enough")


def with_callbacks(comm: Any) -> str:
    X, y = samples()
    model = stoop.Model(layers(norm=True), 12)
    trainer = stoop.Trainer(model, optimizer=of.Adam(0.01), comm=comm, ema=0.9)
    best = stoop.callbacks.EarlyStopping(patience=1, restore_best=True, monitor="val_loss")
    history = trainer.fit(
        X, y, 9, 32, (X[:50], y[:50]), verbose=0, callbacks=[Restless(), best], metrics=("accuracy", "f1")
    )
    return digest(trainer, history) + repr(history.changes)


def stepped(comm: Any) -> str:
    X, y = samples()
    trainer = stoop.Trainer(stoop.Model(layers(norm=True), 12), optimizer="adam", comm=comm)
    losses = [trainer.step(X[i : i + 17], y[i : i + 17]) for i in range(0, 120, 17)]
    losses += [trainer.step(X, y, rows=np.arange(i, 90, 7)) for i in range(5)]
    return digest(trainer) + repr(losses)


def cases(*, every: bool) -> dict[str, Callable[[Any], str]]:
    """Return the cases by name: a choice, or every crossing."""
    found: dict[str, Callable[[Any], str]] = {}

    def add(name: str, **settings: Any) -> None:
        found[name] = lambda comm: trained(comm, **settings)

    for name, optimizer in OPTIMIZERS.items():
        add(name, optimizer=optimizer)
        if not every:
            continue
        for dtype in ("float32", "float64"):
            for norm in (False, True):
                for more in ({}, {"clip_norm": 0.3}, {"accumulate": 3, "ema": 0.95}, {"clip_value": 0.01, "l1": 1e-3}):
                    made = {"norm": norm}
                    label = f"{name} {dtype} {norm} {more}"
                    add(label, optimizer=optimizer, dtype=dtype, made=made, **more)
    for name, optimizer in FULL_BATCH.items():
        add(name, optimizer=optimizer, made={"width": 8, "dropout": False}, fit={"batch_size": 203, "epochs": 4})
    add("wide", made={"width": 150, "norm": True})
    add("float64", dtype="float64", made={"norm": True}, clip_norm=0.5)
    add("accumulate", accumulate=3, made={"norm": True}, ema=0.9, max_norm=1.0)
    add("schedule", optimizer=of.SGD(schedules.Cosine(0.1, 20), momentum=0.9), l1=1e-4, l2=1e-3, clip_value=0.01)
    add("uneven", rows=131, fit={"batch_size": 64, "last_batch": "keep"}, made={"norm": True})
    add("few", rows=67, fit={"batch_size": 5, "last_batch": "merge"}, made={"norm": True})
    add("weights", fit={"class_weight": "balanced", "batch_size": 50})
    add("augmented", fit={"augment": stoop.augment.Augment((3, 4), rotate=20.0, elastic=(2.0, 1.0), noise=0.1)})
    add("mixed", fit={"augment": stoop.augment.Augment(None, mixup=0.4)}, made={"norm": True})
    add("normalization", made={"first": stoop.Normalization("robust", clip=2.0)})
    add("members", made={"first": stoop.Members(3, bias=True), "norm": True})
    found["callbacks"] = with_callbacks
    found["steps"] = stepped
    return found


def main() -> None:
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    results = {}
    for name, case in cases(every="every" in sys.argv).items():
        own = case(comm)
        if len(set(comm.allgather(own))) > 1:
            own = "ranks differ: " + " ".join(comm.allgather(own))
        results[name] = own
    if comm.rank == 0:
        print(json.dumps(results), flush=True)


if __name__ == "__main__":
    main()
