"""What goes wrong in one process of several: `mpiexec -n 2 python parallel_faults.py`. Rank 0 prints one line of JSON.

Each case becomes what every rank raised, by rank, and the seconds that this took.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from mpi4py import MPI

import stoop
from parallel_cases import layers, samples

COMM = MPI.COMM_WORLD
RANK = COMM.rank


def trainer(**settings: Any) -> stoop.Trainer:
    return stoop.Trainer(stoop.Model(layers(), 12), comm=COMM, **settings)


def fit(made: stoop.Trainer | None = None, X: Any = None, epochs: Any = 2, **options: Any) -> Any:
    given, y = samples()
    return (made or trainer()).fit(given if X is None else X, y, epochs, 32, verbose=0, **options)


def nan_in_one() -> None:
    X, _ = samples()
    if RANK == 1:
        X[70, 2] = np.nan
    fit(X=X)


def infinite_loss() -> None:
    fit(trainer(optimizer=stoop.optimizers.SGD(1e30)), epochs=20)


def bad_argument() -> None:
    fit(epochs=0 if RANK == 1 else 2)


def bad_setting() -> None:
    trainer(l2=-1.0 if RANK == 1 else 0.0)


def other_data() -> None:
    X, _ = samples()
    X[100, 3] += RANK
    fit(X=X)


def other_parameters() -> None:
    model = stoop.Model(layers(), 12, seed=RANK)
    fit(stoop.Trainer(model, comm=COMM))


def other_rates() -> None:
    fit(trainer(optimizer=stoop.optimizers.SGD(lambda t: 0.1 + 0.01 * RANK * (t > 3))))


def other_momentum() -> None:
    trainer(optimizer=stoop.optimizers.SGD(lambda t: 0.1, momentum=0.5 + 0.1 * RANK))


def other_optimizer_state() -> None:
    made, (X, y) = trainer(), samples()
    made.step(X, y)
    state = made._core.state()
    if RANK == 1:
        state["optimizer"][0][0] += 1.0
        made._core.set_state(**state)
    fit(made)


def other_reduction() -> None:
    trainer().evaluate(*samples(), reduction="none" if RANK else "mean")


def no_model() -> None:
    stoop.Trainer(None if RANK == 1 else stoop.Model(layers(), 12), comm=COMM)  # type: ignore[arg-type]


def other_shards() -> None:
    trainer(shards=0 if RANK == 1 else 8)


def saved_by_one() -> None:
    made = trainer()
    if RANK == 0:
        made.save_checkpoint("run.safetensors")
    else:
        fit(made)


class Spoils(stoop.callbacks.Callback):
    def on_epoch_end(self, trainer: Any, logs: Any) -> None:
        next(iter(trainer.model.parameters().values()))[...] = np.nan


def callback_spoils() -> None:
    fit(callbacks=Spoils())


class Logs(stoop.callbacks.Callback):
    def on_epoch_end(self, trainer: Any, logs: Any) -> None:
        logs["mine", 1] = 3.0


def callback_logs() -> None:
    fit(callbacks=Logs())


class Rates(stoop.callbacks.Callback):
    def on_epoch_end(self, trainer: Any, logs: Any) -> None:
        trainer.learning_rate = lambda t: 0.1


def callback_rates() -> None:
    made = trainer()
    try:
        fit(made, callbacks=Rates())
    finally:
        fit(made)


class Makes(stoop.callbacks.Callback):
    def on_epoch_end(self, trainer: Any, logs: Any) -> None:
        stoop.Trainer(stoop.Model(layers(), 12), comm=COMM)


def callback_makes() -> None:
    fit(callbacks=Makes())


def other_calls() -> None:
    made, (X, y) = trainer(), samples()
    if RANK == 1:
        made.evaluate(X, y)
    else:
        made.step(X, y)


class Raises(stoop.callbacks.Callback):
    def on_epoch_end(self, trainer: Any, logs: Any) -> None:
        raise LookupError("nothing there")


def callback_raises() -> None:
    fit(callbacks=[Raises()] if RANK == 0 else ())


class Trains(stoop.callbacks.Callback):
    def on_epoch_end(self, trainer: Any, logs: Any) -> None:
        trainer.step(*samples())


def callback_trains() -> None:
    fit(callbacks=Trains())


def interrupted() -> None:
    if COMM.size - 1 == RANK:
        threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    fit(epochs=1_000_000)


def stopped_by_one() -> None:
    made = trainer()
    if COMM.size - 1 == RANK:
        threading.Timer(0.5, lambda: made.stop("bored")).start()
    history = fit(made, epochs=1_000_000)
    raise RuntimeError(history.stop_reason)


def out_of_time() -> None:
    made = trainer()
    history = fit(made, epochs=1_000_000, max_time=0.3 if RANK else None)
    raise RuntimeError(f"{history.stop_reason} {len(set(COMM.allgather(made.steps)))}")


def missing_checkpoint() -> None:
    trainer().load_checkpoint("nowhere.safetensors")


def unwritable_checkpoint() -> None:
    trainer().save_checkpoint("/nowhere/run.safetensors")


CASES: list[Callable[[], None]] = [
    *(nan_in_one, infinite_loss, bad_argument, bad_setting, other_data, other_parameters, other_calls, callback_raises),
    *(other_rates, other_momentum, other_optimizer_state, other_reduction, no_model, other_shards, saved_by_one),
    *(callback_spoils, callback_logs, callback_rates, callback_makes),
    *(callback_trains, interrupted, stopped_by_one, out_of_time, missing_checkpoint, unwritable_checkpoint),
]


def run(case: Callable[[], None]) -> dict[str, Any]:
    start, said = time.monotonic(), "nothing"
    try:
        case()
    except BaseException as error:  # noqa: BLE001  KeyboardInterrupt is one of them
        said = f"{type(error).__name__}: {error}"
    return {"said": COMM.allgather(said), "seconds": COMM.allreduce(time.monotonic() - start, MPI.MAX)}


def main() -> None:
    wanted = sys.argv[1:]
    found = {case.__name__: run(case) for case in CASES if not wanted or case.__name__ in wanted}
    fit()  # all is well after all that
    if RANK == 0:
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
