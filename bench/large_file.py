"""Training on a file larger than memory: its speed beside that of the disk and that of computing (Linux).

    python bench/large_file.py [--gigabytes G] [--dtype uint8] [--folder /tmp] [--threads 1 2] [--seconds 20]

Writes a file of random rows, 784 wide, which has no name and is gone when the program ends, however that is. It is
then read plainly, from front to back, and trained on as a `numpy.memmap`. The limit of an epoch in order is the lower
of two speeds: of plain reading, and of the same training on a part that lies in memory. Both are measured before the
epoch and after it, since disk and cores may be shared, and the means count. Time spent waiting for a core is left
out, which is exact for one thread alone. The row number gives the label, and the first ten columns show it, so that
the loss falls only if the right rows are read. An epoch in order begins with the end of the file in memory, as the
reading before it has left it; one in random order is over rows from all of the file, with none of it in memory.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

import stoop
from stoop.bench.report import machine_line

WIDTH, CLASSES, BATCH = 784, 10, 128
SMALL, LARGE = "784-32-10", "784-512-256-10"
NETWORKS = {SMALL: (32,), LARGE: (512, 256)}
BLOCK_BYTES = 64 << 20  # written or read at a time
PART_ROWS = 1 << 17  # that are trained on in memory
PART_EPOCHS = 3
SPARE_BYTES = 1 << 30  # left free on the disk
SCATTERED_ROWS = 1_000_000


def machine_memory() -> int:
    """Return the bytes of memory that the machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def check_room(folder: Path, size: int) -> None:
    """End the program if a file of so many bytes does not fit into the folder."""
    free = shutil.disk_usage(folder).free - SPARE_BYTES
    if size > free:
        sys.exit(
            f"[large_file] a file of {size / 1e9:.1f} GB in {folder}; {max(free, 0) / 1e9:.1f} GB can be used there, "
            f"{SPARE_BYTES / 1e9:.1f} GB staying free; choose another --folder, or a smaller file with --gigabytes"
        )


def labels(rows: int) -> Any:
    """Return the label of each row."""
    return np.arange(rows, dtype=np.int32) % CLASSES


def write_rows(file: BinaryIO, rows: int, dtype: str) -> None:
    """Fill the file with random rows: bytes, or floats from 0 to 1; the first ten columns are 0 but for the label's."""
    rng = np.random.Generator(np.random.SFC64(0))
    at_once = BLOCK_BYTES // (WIDTH * np.dtype(dtype).itemsize)
    for first in range(0, rows, at_once):
        count = min(at_once, rows - first)
        if dtype == "uint8":
            block = np.frombuffer(rng.bytes(count * WIDTH), np.uint8).reshape(count, WIDTH).copy()
        else:
            block = rng.random((count, WIDTH), dtype=np.float32)
        block[:, :CLASSES] = 0
        block[np.arange(count), (first + np.arange(count)) % CLASSES] = 255 if dtype == "uint8" else 1
        file.write(block.data)
    file.flush()
    os.fsync(file.fileno())


def map_rows(file: BinaryIO, dtype: str) -> Any:
    """Return the rows as a new map, which keeps none of them in memory when it is gone."""
    return np.memmap(file, dtype, mode="r").reshape(-1, WIDTH)


def drop_from_memory(file: BinaryIO) -> None:
    """Empty the page cache of this file."""
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@dataclass
class Pass:
    """One pass over rows, of training or of reading alone."""

    seconds: float = 0.0  # without the time spent waiting for a core
    waited: float = 0.0  # that time
    disk_bytes: int = 0  # that were read from it
    own_bytes: int = 0  # by which the memory of the process grew, the file's pages not counted
    loss: float = math.nan


def field(name: str, key: str) -> int:
    """Return the number after a key of a file in /proc/self."""
    for line in Path("/proc/self", name).read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    raise KeyError(key)


def nanoseconds() -> dict[str, tuple[int, int]]:
    """Return for each thread of the process how long it ran, and how long it was ready to run and had no core."""
    tasks = {task.name: (task / "schedstat").read_text().split() for task in Path("/proc/self/task").iterdir()}
    return {name: (int(ran), int(waited)) for name, (ran, waited, _) in tasks.items()}


def waited_since(before: dict[str, tuple[int, int]]) -> float:
    """Return the seconds without a core of the thread that has worked most."""
    spent = [
        tuple(now - then for now, then in zip(times, before.get(name, (0, 0)), strict=True))
        for name, times in nanoseconds().items()
    ]
    return max(spent)[1] / 1e9


@contextmanager
def watched(result: Pass) -> Iterator[None]:
    """Fill in what is done meanwhile, the loss apart."""
    ended, own = threading.Event(), field("status", "RssAnon")

    def look() -> None:
        while not ended.wait(0.2):
            result.own_bytes = max(result.own_bytes, (field("status", "RssAnon") - own) * 1024)

    watcher = threading.Thread(target=look)
    watcher.start()
    read, before, start = field("io", "read_bytes"), nanoseconds(), time.perf_counter()
    try:
        yield
    finally:
        result.seconds = time.perf_counter() - start
        result.waited = waited_since(before)
        result.seconds -= result.waited
        result.disk_bytes = field("io", "read_bytes") - read
        ended.set()
        watcher.join()


def reading_speed(file: BinaryIO) -> float:
    """Return the bytes a second of reading the file from front to back, with none of it in memory before."""
    drop_from_memory(file)
    block, place, result = bytearray(BLOCK_BYTES), 0, Pass()
    with watched(result):
        while count := os.preadv(file.fileno(), [block], place):
            place += count
    return place / result.seconds


class Training:
    """A network and what trains it."""

    def __init__(self, hidden: tuple[int, ...], dtype: str, threads: int) -> None:
        layers = [*(stoop.Dense(units, activation="relu") for units in hidden), stoop.Dense(CLASSES)]
        model = stoop.Model(layers, input_dim=WIDTH, input_scale=1 / 255 if dtype == "uint8" else 1.0, seed=0)
        self.trainer = stoop.Trainer(model, optimizer=stoop.optimizers.Adam(1e-3), num_threads=threads)

    def fit(self, x: Any, y: Any, shuffle: bool, epochs: int = 1) -> Pass:
        """Train for some epochs over these rows."""
        result = Pass()
        with watched(result):
            history = self.trainer.fit(x, y, epochs=epochs, batch_size=BATCH, shuffle=shuffle, verbose=0)
        result.loss = history["loss"][-1]
        return result


def rows_per_second(training: Training, x: Any) -> float:
    """Return the speed of training on rows in memory, in order."""
    return PART_EPOCHS * len(x) / training.fit(x, labels(len(x)), shuffle=False, epochs=PART_EPOCHS).seconds


def show(name: str, result: Pass, rows: int, row_bytes: int, limits: str) -> None:
    """Print one epoch."""
    speed = rows / result.seconds
    print(
        f"{name}: {rows:,} rows in {result.seconds:.1f} s, {speed:,.0f} rows/s, {speed * row_bytes / 1e9:.2f} GB/s; "
        f"{limits}; {result.waited:.1f} s without a core are not counted; {result.disk_bytes / 1e9:.1f} GB read from "
        f"the disk, {result.own_bytes / 1e6:.0f} MB of memory taken besides the file's; loss {result.loss:.4f}",
        flush=True,
    )


def measure_in_order(file: BinaryIO, options: argparse.Namespace) -> float:
    """Train each network on the file in order; return the highest loss."""
    row_bytes = WIDTH * np.dtype(options.dtype).itemsize
    part = np.array(map_rows(file, options.dtype)[:PART_ROWS])
    disk, highest = reading_speed(file), 0.0
    for threads, (name, hidden) in itertools.product(options.threads, NETWORKS.items()):
        training = Training(hidden, options.dtype, threads)
        before = rows_per_second(training, part)
        x = map_rows(file, options.dtype)
        if name == LARGE:
            x = x[: max(BATCH, int(before * options.seconds))]
        rows = len(x)
        result = Training(hidden, options.dtype, threads).fit(x, labels(rows), shuffle=False)
        del x
        compute = (before + rows_per_second(training, part)) / 2 * row_bytes
        disk_before, disk = disk, reading_speed(file)
        disk_mean = (disk_before + disk) / 2
        share = rows * row_bytes / result.seconds / min(disk_mean, compute)
        limits = f"disk {disk_mean / 1e9:.2f}, computing {compute / 1e9:.2f} GB/s: {share:.2f} of the lower"
        show(f"{name} in order, threads {threads}", result, rows, row_bytes, limits)
        highest = max(highest, result.loss)
    return highest


def measure_shuffled(file: BinaryIO, options: argparse.Namespace) -> None:
    """Train on rows from all over the file, as many as take a bounded time, in a random order."""
    drop_from_memory(file)
    x = map_rows(file, options.dtype)
    apart = max(1, len(x) // SCATTERED_ROWS)
    x, y = x[::apart], labels(len(x))[::apart]
    threads = options.threads[-1]
    result = Training(NETWORKS[SMALL], options.dtype, threads).fit(x, y, shuffle=True)
    limits = f"one row of {apart}, none in memory before"
    show(f"{SMALL} shuffled, threads {threads}", result, len(x), WIDTH * x.itemsize, limits)


def main() -> int:
    """Print a line for each epoch; 1 if a network has learned nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.3 * machine_memory() / 1e9, help="1.3 times memory")
    parser.add_argument("--dtype", choices=("uint8", "float32"), default="uint8")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=20.0, help="of an epoch of the larger network")
    options = parser.parse_args()
    row_bytes = WIDTH * np.dtype(options.dtype).itemsize
    rows = int(options.gigabytes * 1e9) // row_bytes
    check_room(options.folder, rows * row_bytes)
    print(f"{machine_line()}; memory {machine_memory() / 1e9:.1f} GB; {stoop.__version__}", flush=True)
    with tempfile.TemporaryFile(dir=options.folder) as file:
        start = time.perf_counter()
        write_rows(file, rows, options.dtype)
        seconds = time.perf_counter() - start
        print(f"{rows:,} rows of {options.dtype}, {rows * row_bytes / 1e9:.1f} GB, written in {seconds:.0f} s")
        highest = measure_in_order(file, options)
        measure_shuffled(file, options)
    return int(not highest < math.log(CLASSES))


if __name__ == "__main__":
    raise SystemExit(main())
