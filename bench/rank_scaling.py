"""Predicts from what batch size on training over several processes pays, for each network and number of processes.

    python bench/rank_scaling.py --json ranks.json [--collectives collectives.json] [--mpiexec mpiexec]
    python bench/rank_scaling.py --from docs/images/ranks.json --plot docs/images    # measures nothing

It measures on one thread how long a row, the gradient apart from its rows, and the update take. Latency and bandwidth
between processes are those that `bench/parallel.py --only collectives` has printed; a cluster's are assumed. With
`--mpiexec` (and `stoop[mpi]`) it also trains in one process and in two, and shows what was predicted beside it. The
model, and what it says, is in docs/scaling.md.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import stoop
from stoop._figures import TEXT, new_figure, style
from stoop.bench.engine_stoop import StoopEngine
from stoop.bench.workloads import WORKLOADS, Workload, make_data

RANKS = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
SHARDS = 8  # of an update, or as many as there are processes
ROW_BLOCK = 8  # rows of a shard, at least
WHOLE_BYTES = 1 << 15  # gradients of up to so many bytes are gathered whole (SharedArray::kWhole)
REPORT_BYTES = 96  # that each process tells all others in an update
EFFICIENT = 0.5  # the least share of the rate of one process, times the processes, that is said to pay
SHOWN_BATCH = 8192
COLORS = ("#1d4ed8", "#0e7490", "#15803d", "#a16207", "#c2410c", "#7e22ce")
DARK_COLORS = ("#93c5fd", "#67e8f9", "#4ade80", "#facc15", "#fb923c", "#d8b4fe")
MARKERS = ("o", "s", "D", "v", "^", "P")


@dataclass(frozen=True)
class Network:
    """What a message takes: `latency` microseconds, and bytes a microsecond."""

    latency: float
    bandwidth: float

    def allgather(self, ranks: int, size: int) -> float:
        """Return the microseconds for `size` bytes of each process: the number of messages doubles in each round."""
        return math.log2(ranks) * self.latency + (ranks - 1) * size / self.bandwidth

    def alltoall(self, ranks: int, size: int) -> float:
        """Return the microseconds for `size` bytes from each to each: in pairs, or half of all bytes in each round."""
        pairs = (ranks - 1) * (self.latency + size / self.bandwidth)
        rounds = math.log2(ranks) * (self.latency + ranks * size / 2 / self.bandwidth)
        return min(pairs, rounds)


CLUSTER = Network(latency=1.5, bandwidth=12_000.0)  # assumed: a fast interconnect, 1.5 us and 12 GB/s


@dataclass(frozen=True)
class Cost:
    """What one thread takes for a network, in microseconds."""

    parameters: int
    row: float  # a row of a step of `fit` in one process, and
    step: float  # that step apart from its rows
    walk: float  # the gradient of a batch, apart from its rows
    update: float  # penalties, check and update, from a gradient that is there
    add: float  # adding an array of the size of the gradient
    batch_norm: bool

    def alone(self, batch: int) -> float:
        """Return the time of an update in one process."""
        return self.step + batch * self.row

    def is_small(self) -> bool:
        """Return whether the whole gradient of each process goes to all others, in one message."""
        return 4 * self.parameters <= WHOLE_BYTES

    def exchange(self, ranks: int, network: Network) -> float:
        """Return the time of the messages of an update: the sum of the gradients, and the parameters."""
        if ranks == 1:
            return 0.0
        if self.is_small():
            return network.allgather(ranks, REPORT_BYTES + 4 * self.parameters) + (ranks - 1) * self.add
        part = 4 * -(-self.parameters // ranks)
        adds = (ranks - 1) / ranks * self.add
        reports = 2 * network.allgather(ranks, REPORT_BYTES)  # losses and faults, then the sums of squares
        return reports + network.alltoall(ranks, part) + adds + network.allgather(ranks, part)

    def shared(self, batch: int, ranks: int, network: Network) -> float:
        """Return the time of an update by several processes."""
        own = max(SHARDS // ranks, 1)
        walks = own if self.batch_norm else 1  # the shards of a process are one walk, if nothing else sums over rows
        gradient = walks * self.walk + batch / ranks * self.row + (own - 1) * self.add
        update = self.update / (1 if self.is_small() else ranks)  # of the own part of the parameters
        return gradient + self.exchange(ranks, network) + update

    def speedup(self, batch: int, ranks: int, network: Network) -> float:
        return self.alone(batch) / self.shared(batch, ranks, network)

    def pays_from(self, ranks: int, network: Network) -> int | None:
        """Return the smallest batch, in powers of two, with the efficiency that is said to pay; None beyond 2^24."""
        for power in range(3, 25):
            batch = 1 << power
            speed = self.speedup(batch, ranks, network)
            if batch >= ranks * ROW_BLOCK and speed >= EFFICIENT * ranks and speed > 1.0:
                return batch
        return None


# ---- measurements ----


def fastest(call: Callable[[], object], seconds: float = 0.3) -> float:
    """Return the microseconds of the fastest call."""
    call()
    best, end = math.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return 1e6 * best


def fastest_update(trainer: stoop.Trainer, x: Any, grad_output: Any, seconds: float = 0.3) -> float:
    """Return the microseconds of the fastest update, each after a gradient."""
    best, end = math.inf, time.perf_counter() + seconds
    while math.isinf(best) or time.perf_counter() < end:
        trainer.forward(x)
        trainer.backward(grad_output)
        start = time.perf_counter()
        trainer.apply()
        best = min(best, time.perf_counter() - start)
    return 1e6 * best


def line(x: list[int], y: list[float]) -> tuple[float, float]:
    """Return value at 0, at least 0, and slope of the line that fits best, by relative errors."""
    weights = 1 / np.asarray(y)
    slope, start = np.polyfit(x, y, 1, w=weights)
    return max(float(start), 0.0), float(slope)


def measure(workload: Workload) -> Cost:
    """Return the costs of a network on one thread."""
    batches = [workload.batch_size * factor // 2 for factor in (1, 2, 4, 8)]
    rng = np.random.default_rng(0)
    x, y = make_data(workload.shortened())
    repeats = -(-batches[-1] * 4 // len(x))
    x, y = np.tile(x, (repeats, 1)), np.tile(y, (repeats, *[1] * (y.ndim - 1)))
    engine = StoopEngine(workload, x, y, 1)
    trainer, gradients, steps = engine._trainer, [], []
    trainer.learning_rate = 1e-30
    for batch in batches:
        outputs = rng.standard_normal((batch, workload.widths[-1]), dtype=np.float32) / batch

        def gradient(batch: int = batch, outputs: Any = outputs) -> None:
            trainer.forward(x[:batch])
            trainer.backward(outputs)

        gradients.append(fastest(gradient))
        trainer.zero_grad()
        rows = batch * max(4, round(2e4 / gradients[-1]))
        take = np.arange(rows) % len(x)
        samples, targets = x[take], y[take]
        epoch = fastest(lambda a=samples, b=targets, n=batch: trainer.fit(a, b, epochs=1, batch_size=n, verbose=0))
        steps.append(epoch * batch / rows)
    update = fastest_update(trainer, x[: len(outputs)], outputs)
    count = sum(p.size for p in trainer.model.parameters().values())
    a, b = np.zeros(count, np.float32), np.zeros(count, np.float32)
    add = fastest(lambda: np.add(a, b, out=a))
    walk, _ = line(batches, gradients)
    step, row = line(batches, steps)
    return Cost(count, row, step, walk, update, add, workload.batch_norm)


def measure_step(name: str, batch: int, ranks: int) -> float:
    """Return the microseconds of an update in the fastest of several epochs, in this process, one of `ranks`."""
    workload = WORKLOADS[name]
    x, y = make_data(workload.shortened())
    updates = min(max(4, round(2e9 / workload.flops_per_step * workload.batch_size / batch)), 200)
    take = np.arange(batch * updates) % len(x)
    x, y = x[take], y[take]
    engine = StoopEngine(workload, x, y, 1)
    options: Any = {"num_threads": 1, "seed": 0}
    if ranks > 1:
        from mpi4py import MPI

        options |= {"comm": MPI.COMM_WORLD, "shards": SHARDS}
    trainer = stoop.Trainer(engine._model, loss=workload.loss, optimizer=engine._trainer.optimizer, **options)
    best = math.inf
    for _ in range(8):  # all processes make as many
        start = time.perf_counter()
        trainer.fit(x, y, epochs=1, batch_size=batch, verbose=0)
        best = min(best, time.perf_counter() - start)
    return 1e6 * best * batch / len(x)


def measure_pairs(mpiexec: str, names: list[str]) -> dict[str, dict[str, float]]:
    """Return the microseconds of an update in one process and in two, by network and batch."""
    found: dict[str, dict[str, float]] = {}
    for name in names:
        workload = WORKLOADS[name]
        for batch in (workload.batch_size, 8 * workload.batch_size):
            worker = [sys.executable, __file__, "--worker", name, str(batch)]
            times = {}
            for ranks, command in ((1, [*worker, "1"]), (2, [*shlex.split(mpiexec), "-n", "2", *worker, "2"])):
                run = subprocess.run(command, capture_output=True, text=True, check=False)
                lines = [line for line in run.stdout.splitlines() if line.startswith("RESULT ")]
                if not lines:
                    raise RuntimeError(f"{shlex.join(command)} gave no result\n{run.stdout}{run.stderr}")
                times[str(ranks)] = float(lines[0].split()[1])
            found[f"{name}, {batch:,}"] = times
    return found


# ---- what it says ----


def check(costs: dict[str, Cost], pairs: dict[str, dict[str, float]], network: Network) -> str:
    """Return what was measured with one and two processes beside what was predicted."""
    text = ["| network, batch | 1 process, us | predicted | 2 processes, us | predicted | speed-up | predicted |"]
    text.append("|---|" + "--:|" * 6)
    for name, times in pairs.items():
        cost, batch = costs[name.split(", ", 1)[0]], int(name.split(", ", 1)[1].replace(",", ""))
        one, two = times["1"], times["2"]
        said = cost.alone(batch), cost.shared(batch, 2, network)
        text.append(
            f"| {name} | {one:,.0f} | {said[0]:,.0f} | {two:,.0f} | {said[1]:,.0f} "
            f"| {one / two:.2f} | {said[0] / said[1]:.2f} |"
        )
    return "\n".join(text)


def table(costs: dict[str, Cost], networks: dict[str, Network]) -> str:
    """Return the smallest batch that pays, by network and processes."""
    columns = [("this machine", networks["machine"], 2)] if "machine" in networks else []
    columns += [("cluster", networks["cluster"], ranks) for ranks in (2, 8, 64, 1024)]
    text = ["| network | parameters | us a row | update, us | " + " | ".join(f"{n}, {r}" for n, _, r in columns) + " |"]
    text.append("|---|" + "--:|" * (3 + len(columns)))
    for name, cost in costs.items():
        batches = [cost.pays_from(ranks, network) for _, network, ranks in columns]
        cells = ["-" if batch is None else f"{batch:,}" for batch in batches]
        text.append(
            f"| {name} | {cost.parameters:,} | {cost.row:.2f} | {cost.update:,.1f} | " + " | ".join(cells) + " |"
        )
    return "\n".join(text)


def draw(costs: dict[str, Cost], network: Network, path: Path, *, dark: bool) -> None:
    """Draw the speed-up by processes, and the batch from which they pay."""
    from matplotlib import rc_context

    text, grid = ("#e6e6e6", "#4a4a4a") if dark else (TEXT, "#d4d4d4")
    figure = new_figure(9.6, 4.2)
    left, right = figure.subplots(1, 2)
    for (name, cost), color, marker in zip(costs.items(), DARK_COLORS if dark else COLORS, MARKERS, strict=False):
        ranks = [n for n in RANKS if n * ROW_BLOCK <= SHOWN_BATCH]
        speed = [cost.speedup(SHOWN_BATCH, n, network) for n in ranks]
        left.plot([1, *ranks], [1.0, *speed], color=color, marker=marker, markersize=4, label=name)
        pays = [(n, batch) for n in RANKS if (batch := cost.pays_from(n, network)) is not None]
        right.plot(*zip(*pays, strict=True), color=color, marker=marker, markersize=4, label=name)
    left.plot([1, RANKS[-1]], [1, RANKS[-1]], color=grid, linewidth=1, label="all of the processes' rate")
    left.axhline(1.0, color=text, linewidth=0.8)
    left.set_ylabel(f"times the rate of one process, batch {SHOWN_BATCH:,}")
    right.set_ylabel("batch from which half of the rate is reached")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        axes.set_xlabel("processes of one thread")
        style(axes, grid=True)
        axes.grid(color=grid, linewidth=0.6)
        axes.tick_params(colors=text)
        axes.xaxis.label.set_color(text)
        axes.yaxis.label.set_color(text)
        for spine in axes.spines.values():
            spine.set_color(grid)
        for one in (axes.xaxis, axes.yaxis):
            one.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False, fontsize=9, labelcolor=text)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "stoop", "font.family": "sans-serif"}):
        figure.savefig(path, transparent=True, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collectives", type=Path, help="what bench/parallel.py --only collectives has printed")
    parser.add_argument("--networks", nargs="+", choices=[*WORKLOADS], default=[*WORKLOADS], help="default: all")
    parser.add_argument("--json", type=Path, help="where the figures are written")
    parser.add_argument("--from", dest="source", type=Path, help="shows what an earlier run has written")
    parser.add_argument("--plot", type=Path, help="folder for ranks.svg and ranks-dark.svg")
    parser.add_argument("--mpiexec", help="the command that starts two processes to compare with, and its options")
    parser.add_argument("--worker", nargs=3, metavar=("NETWORK", "BATCH", "RANKS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        name, batch, ranks = options.worker
        microseconds = measure_step(name, int(batch), int(ranks))
        mpi = sys.modules.get("mpi4py.MPI")
        if mpi is None or mpi.COMM_WORLD.rank == 0:
            print("RESULT", microseconds, flush=True)
        return
    if options.source:
        record = json.loads(options.source.read_text())
    else:
        record = {"costs": {name: asdict(measure(WORKLOADS[name])) for name in options.networks}}
        if options.collectives:
            pair = json.loads(options.collectives.read_text())["collectives"]["2"]["allgather_line"]
            record["machine"] = {"latency": pair["latency_us"], "bandwidth": pair["bytes_from_others_per_us"]}
        if options.mpiexec:
            record["pairs"] = measure_pairs(options.mpiexec, options.networks)
        if options.json:
            options.json.write_text(json.dumps(record, indent=1) + "\n")
    costs = {name: Cost(**cost) for name, cost in record["costs"].items()}
    networks = {"cluster": CLUSTER}
    if "machine" in record:
        networks["machine"] = Network(**record["machine"])
        print("this machine:", networks["machine"])
    print("cluster, assumed:", CLUSTER)
    print(f"\nsmallest batch with {EFFICIENT:.0%} of the processes' rate, by processes\n\n{table(costs, networks)}")
    if "pairs" in record and "machine" in networks:
        print(f"\nmeasured and predicted\n\n{check(costs, record['pairs'], networks['machine'])}")
    if options.plot:
        for name, dark in (("ranks.svg", False), ("ranks-dark.svg", True)):
            draw(costs, CLUSTER, options.plot / name, dark=dark)


if __name__ == "__main__":
    main()
