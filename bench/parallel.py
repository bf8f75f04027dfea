"""Data parallel training over MPI, as one JSON.

    python bench/parallel.py [--mpiexec mpiexec] [--rounds 5] [--only collectives|training]

- collectives: the microseconds of MPI_Allgather and MPI_Alltoall, of so many bytes for each rank, for 1, 2 and 4 ranks,
  with the line latency + bytes / bandwidth through the smallest and the largest.
- training: samples a second of 784-512-256-10 (relu, softmax cross-entropy, SGD with momentum 0.9, batch 1,024): two
  ranks of one thread, with 8 and with 2 shards, beside one process with two threads and one with one, by turns; each
  figure is the median of the rounds, and each round's the best of its epochs. 0.9 of the two threads passes.

Needs `stoop[mpi]` and an MPI, such as the wheel `mpich`.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np

BATCH, ROWS, EPOCHS = 1024, 1024 * 40, 3
BYTES = [8, 64, 1024, 8192, 65_536, 262_144, 1_048_576, 4_194_304]
RANKS = (1, 2, 4)


def measure_collectives() -> dict[str, Any]:
    """Return the median microseconds of each collective by bytes, on rank 0."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    found: dict[str, Any] = {"mpi": MPI.Get_library_version().split("\n")[0][:60], "allgather": {}, "alltoall": {}}
    for size in BYTES:
        block, whole = np.zeros(size, np.uint8), np.zeros(size * comm.size, np.uint8)
        received = np.zeros_like(whole)
        calls = {
            "allgather": lambda block=block, whole=whole: comm.Allgather(block, whole),
            "alltoall": lambda whole=whole, received=received: comm.Alltoall(whole, received),
        }
        for name, call in calls.items():
            repeats = max(5, min(400, 20_000_000 // (size * comm.size + 50_000)))
            times = []
            for _ in range(repeats):
                comm.Barrier()
                start = time.perf_counter()
                call()
                times.append(time.perf_counter() - start)
            found[name][size] = round(statistics.median(times[repeats // 5 :]) * 1e6, 2)
    for name in ("allgather", "alltoall") if comm.size > 1 else ():
        least, most = found[name][BYTES[0]], found[name][BYTES[-1]]
        bandwidth = BYTES[-1] * (comm.size - 1) / max(most - least, 1e-3)  # bytes a microsecond
        found[f"{name}_line"] = {"latency_us": least, "bytes_from_others_per_us": round(bandwidth, 1)}
    return found


def measure_training(threads: int, shards: int | None) -> float:
    """Return the samples a second of the best epoch."""
    import stoop

    comm = None
    if shards is not None:
        from mpi4py import MPI

        comm = MPI.COMM_WORLD
    rng = np.random.default_rng(0)
    X = rng.standard_normal((ROWS, 784), dtype=np.float32)
    y = rng.integers(0, 10, ROWS).astype(np.int32)
    layers = [stoop.Dense(512, "relu"), stoop.Dense(256, "relu"), stoop.Dense(10)]
    trainer = stoop.Trainer(
        stoop.Model(layers, input_dim=784),
        optimizer=stoop.optimizers.SGD(0.01, momentum=0.9),
        num_threads=threads,
        comm=comm,
        shards=shards or 8,
    )
    trainer.fit(X, y, epochs=1, batch_size=BATCH, verbose=0)
    history = trainer.fit(X, y, epochs=EPOCHS, batch_size=BATCH, verbose=0)
    return max(history["samples_per_second"])


def is_first() -> bool:
    """Return whether this process reports: the only one, or that of rank 0."""
    mpi = sys.modules.get("mpi4py.MPI")
    return mpi is None or mpi.COMM_WORLD.rank == 0


def run(command: list[str]) -> Any:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise RuntimeError(f"{shlex.join(command)} gave no result\n{done.stdout}{done.stderr}")
    return json.loads(lines[0].removeprefix("RESULT "))


def compare_training(own: list[str], mpiexec: list[str], rounds: int) -> dict[str, Any]:
    kinds = {
        "two_threads": [*own, "training", "--threads", "2"],
        "one_thread": [*own, "training", "--threads", "1"],
        "two_ranks_8_shards": [*mpiexec, "-n", "2", *own, "training", "--threads", "1", "--shards", "8"],
        "two_ranks_2_shards": [*mpiexec, "-n", "2", *own, "training", "--threads", "1", "--shards", "2"],
    }
    found: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, command in kinds.items():
            found[name].append(run(command))
    rates = {name: statistics.median(values) for name, values in found.items()}
    ratios = {
        f"{name}_of_two_threads": round(
            statistics.median(a / b for a, b in zip(found[name], found["two_threads"], strict=True)), 3
        )
        for name in kinds
        if name != "two_threads"
    }
    return {"samples_per_second": {name: round(rate) for name, rate in rates.items()}, **ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mpiexec", default="mpiexec", help="the command, with its options")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("collectives", "training"))
    parser.add_argument("--worker", choices=("collectives", "training"), help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--shards", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker is not None:
        is_training = given.worker == "training"
        result: Any = measure_training(given.threads, given.shards) if is_training else measure_collectives()
        if is_first():
            print("RESULT " + json.dumps(result), flush=True)
        return
    own, mpiexec = [sys.executable, __file__, "--worker"], shlex.split(given.mpiexec)
    found: dict[str, Any] = {"cores": len(os.sched_getaffinity(0))}  # more ranks than cores wait for each other
    if given.only != "training":
        found["collectives"] = {ranks: run([*mpiexec, "-n", str(ranks), *own, "collectives"]) for ranks in RANKS}
    if given.only != "collectives":
        found["training"] = compare_training(own, mpiexec, given.rounds)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
