"""The machine during a run: its limits, how near its cores are, how busy others keep it, and what all engines share."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stoop import _core, _latency
from stoop.bench.report import THREAD_VARIABLES

BUSY_SECONDS = 0.2  # long against the ticks in which the system counts


class Machine:
    """FMA peak and memory bandwidth (the best of the run), latency between cores, and how busy others keep them."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self.fma_peak = self.memory_bandwidth = 0.0
        self.core_latency: list[float] = []
        self._busy: list[float] = []

    def measure(self) -> None:
        """Measure the limits and the load by others, while no engine is at work."""
        before = _cpu_seconds()
        time.sleep(BUSY_SECONDS)
        self._busy.append((_cpu_seconds() - before) / BUSY_SECONDS)
        self.fma_peak = max(self.fma_peak, _core.measure_fma_peak("float32", self._threads))
        self.memory_bandwidth = max(self.memory_bandwidth, _core.measure_memory_bandwidth(self._threads))

    def measure_latency(self) -> float | None:
        """Return what a line takes from core to core and back now: on a virtual machine it changes within minutes."""
        latency = _latency.measure()
        if latency is not None:
            self.core_latency.append(latency)
        return latency

    @property
    def busy_cores(self) -> float:
        """The number of cores that other processes used, on average over the run."""
        return sum(self._busy) / max(1, len(self._busy))


@contextmanager
def same_for_all(threads: int) -> Iterator[None]:
    """Same CPUs, same thread count and no GPU for all workers, which inherit this before they load any library."""
    settings = dict.fromkeys(THREAD_VARIABLES, str(threads)) | {"JAX_PLATFORMS": "cpu"}
    before = {name: os.environ.get(name) for name in settings}
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    os.environ.update(settings)
    if cpus is not None:
        os.sched_setaffinity(0, _choose_cpus(cpus, threads))
    try:
        yield
    finally:
        if cpus is not None:
            os.sched_setaffinity(0, cpus)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _cpu_seconds() -> float:
    """Return what all processes of the machine have used on the CPUs of this one; other systems: 0."""
    stat = Path("/proc/stat")
    if not stat.exists() or not hasattr(os, "sched_getaffinity"):
        return 0.0
    names = {f"cpu{cpu}" for cpu in os.sched_getaffinity(0)}
    lines = [line.split() for line in stat.read_text().splitlines()]
    # user, nice, system, (idle, iowait,) irq, softirq, steal
    ticks = sum(int(f) for name, *fields in lines if name in names for f in fields[:3] + fields[5:8])
    return ticks / os.sysconf("SC_CLK_TCK")


def _choose_cpus(usable: set[int], count: int) -> list[int]:
    """One CPU of each core first: a second one adds little, yet would count as a thread."""
    taken: Counter[str] = Counter()  # of each core
    order: list[tuple[int, int]] = []
    for cpu in sorted(usable):
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        core = siblings.read_text() if siblings.exists() else str(cpu)
        order.append((taken[core], cpu))
        taken[core] += 1
    return [cpu for _, cpu in sorted(order)[:count]]
