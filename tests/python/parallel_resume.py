"""A training of several processes that saves often and resumes: test_parallel.py kills it and runs it again.

Usage: mpiexec -n 2 python parallel_resume.py FILE [UPDATES], where rank 1 dies after so many updates.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Any

from mpi4py import MPI

import stoop
from parallel_cases import digest, layers, samples


class Slow(stoop.callbacks.Callback):
    """Leaves the other thread time to see how far it is."""

    every_n_steps = 1

    def on_steps_end(self, trainer: Any, logs: Any) -> None:
        time.sleep(0.01)


def die_after(trainer: stoop.Trainer, updates: int) -> None:
    while trainer.steps < updates:
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    comm = MPI.COMM_WORLD
    X, y = samples()
    trainer = stoop.Trainer(stoop.Model(layers(norm=True), 12), optimizer="adam", comm=comm, ema=0.9)
    saver = stoop.callbacks.ModelCheckpoint(sys.argv[1], save="last", every_n_steps=2)
    if len(sys.argv) > 2 and comm.rank == 1:
        threading.Thread(target=die_after, args=(trainer, int(sys.argv[2])), daemon=True).start()
    history = trainer.fit(X, y, 4, 32, (X[:40], y[:40]), verbose=0, callbacks=[Slow(), saver], resume=sys.argv[1])
    digests = set(comm.allgather(digest(trainer, history)))
    if comm.rank == 0:
        print("RESULT", *digests, flush=True)


if __name__ == "__main__":
    main()
