"""Calls with two threads beside busy processes: how much longer they take than with one thread.

    python bench/busy.py [--loads none one two both] [--calls predict step ...] [--rows 1 256] [--json FILE]

A busy process does nothing but compute, on a core that it is pinned to: "one" and "two" are so many processes on one
of the two cores, "both" is one on each. Every cell is the mean time of a call with two threads over that with one,
both measured by turns, the median of the rounds; in parentheses the time with one thread. 1.5 is the most that passes
beside processes on one core. The time for a line of cache to go from core to core and back is measured before and
after, because the gain of a second thread depends on it. `--absolute` prints the times with two threads, to compare
two versions of Stoop.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import stoop
from stoop import _core

NETWORKS = {"4-64-64-2": (4, 64, 64, 2), "784-512-256-10": (784, 512, 256, 10)}
ROWS = (1, 8, 64, 256, 1000, 5000)
CALLS = ("predict", "evaluate", "step", "loss_and_grad", "fit")
LOADS = {"none": (), "one": (1,), "two": (1, 1), "both": (0, 1)}


@contextlib.contextmanager
def busy_processes(cores: tuple[int, ...]) -> Iterator[None]:
    """Keep a process busy on each of these of the cores that this process may use."""
    usable = sorted(os.sched_getaffinity(0))
    program = "import os\nos.sched_setaffinity(0, {%d})\nwhile True: pass"
    processes = [subprocess.Popen([sys.executable, "-c", program % usable[core]]) for core in cores]
    try:
        time.sleep(0.2 if processes else 0.0)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def make_call(name: str, widths: tuple[int, ...], rows: int, threads: int) -> Callable[[], object]:
    """Return a call of the kind `name` with `rows` rows that uses at most `threads` threads."""
    hidden = [stoop.Dense(width, activation="relu") for width in widths[1:-1]]
    model = stoop.Model([*hidden, stoop.Dense(widths[-1])], input_dim=widths[0])
    trainer = stoop.Trainer(model, optimizer=stoop.optimizers.SGD(1e-3))
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, widths[0]), dtype=np.float32)
    y = rng.integers(widths[-1], size=rows).astype(np.int32)
    calls: dict[str, Callable[[], object]] = {
        "predict": lambda: model.predict(X),
        "evaluate": lambda: trainer.evaluate(X, y),
        "step": lambda: trainer.step(X, y),
        "loss_and_grad": lambda: trainer.loss_and_grad(X, y),
        "fit": lambda: trainer.fit(X, y, epochs=1, batch_size=min(rows, 128), verbose=0),
    }

    def call() -> object:
        with stoop.num_threads(threads):
            return calls[name]()

    return call


def microseconds(call: Callable[[], object], seconds: float) -> float:
    """Return the mean time of a call over this long."""
    count, start = 0, time.perf_counter()
    while (now := time.perf_counter()) < start + seconds:
        call()
        count += 1
    return (now - start) / count * 1e6


def measure(name: str, widths: tuple[int, ...], rows: int, options: argparse.Namespace) -> tuple[float, float]:
    """Return microseconds with one thread and with two: medians of rounds that take turns."""
    calls = [make_call(name, widths, rows, threads) for threads in (1, 2)]
    for call in calls:
        call()
    rounds = [[microseconds(call, options.seconds) for call in calls] for _ in range(options.rounds)]
    return statistics.median(one for one, _ in rounds), statistics.median(two for _, two in rounds)


def latency() -> str:
    """Return what a line of cache takes from core to core and back."""
    measured = getattr(_core, "measure_core_latency", None)
    return "unknown" if measured is None else f"{measured():.0f} ns"


def main() -> int:
    """Print the ratios; 1 if one beside busy processes on the other core is above 1.5."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", nargs="+", choices=LOADS, default=list(LOADS))
    parser.add_argument("--calls", nargs="+", choices=CALLS, default=list(CALLS))
    parser.add_argument("--rows", nargs="+", type=int, default=list(ROWS))
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--absolute", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        parser.error("this process may use one core only; two are needed")
    worst, cells = 0.0, []
    print(f"stoop {stoop.__version__}, {stoop.show_config('dicts')['cpu']['isa']}; core to core and back: {latency()}")
    print(f"{'call':14}{'network':>16}{'rows':>6}" + "".join(f"{load:>18}" for load in options.loads))
    for name in options.calls:
        for network in options.networks:
            for rows in options.rows:
                print(f"{name:14}{network:>16}{rows:6}", end="", flush=True)
                for load in options.loads:
                    with busy_processes(LOADS[load]):
                        one, two = measure(name, NETWORKS[network], rows, options)
                    cells.append({"call": name, "network": network, "rows": rows, "load": load, "one": one, "two": two})
                    worst = max(worst, two / one if load in ("one", "two") else 0.0)
                    text = f"{two:,.1f} us" if options.absolute else f"{two / one:.2f} ({one:,.0f} us)"
                    print(f"{text:>18}", end="", flush=True)
                print()
    print(f"core to core and back: {latency()}; worst beside processes on the other core: {worst:.2f}")
    if options.json:
        options.json.write_text(json.dumps(cells, indent=1))
    return int(worst > 1.5)


if __name__ == "__main__":
    raise SystemExit(main())
