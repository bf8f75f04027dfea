"""From raw samples to figures: medians, ratios, the Markdown table and the JSON file."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Literal

from workloads import WORKLOADS

REFERENCE = "stoop"  # the engine that ratios refer to


@dataclass
class Case:
    """One engine on one workload."""

    workload: str
    engine: str
    status: Literal["measured", "skipped", "failed"]
    reason: str = ""  # why it was skipped or failed
    version: str = ""
    constant_loss: float | None = None
    trained_loss: float | None = None
    epochs_per_sample: int = 0
    microseconds: list[float] = field(default_factory=list)  # per step, one sample a round

    @property
    def median(self) -> float:
        return median(self.microseconds)

    @property
    def spread(self) -> float:
        """Median absolute deviation of the samples."""
        return median(abs(sample - self.median) for sample in self.microseconds)

    @property
    def gflops(self) -> float:
        return WORKLOADS[self.workload].flops_per_step / self.median / 1e3


@dataclass(frozen=True)
class Report:
    """Everything one run of the comparison found out."""

    date: str
    machine: str
    environment: dict[str, str]  # variables that steer a BLAS, OpenMP or XLA
    threads: int
    fma_peak: float | None  # GFLOP/s on these threads, the best of the run
    cases: list[Case]

    def write(self, path: Path) -> None:
        """JSON with the raw samples, so that any figure can be made again."""
        content = asdict(self)
        for entry, case in zip(content["cases"], self.cases, strict=True):
            if case.status == "measured":
                entry |= {
                    "median": case.median,
                    "spread": case.spread,
                    "gflops": case.gflops,
                    "share_of_peak": self._share(case),
                    "times_slower_than_reference": self._ratio(case),
                }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")

    def markdown(self) -> str:
        """The machine line, a row for each case measured and a line for each that was not."""
        peak = "not measured" if self.fma_peak is None else f"{self.fma_peak:.0f} GFLOP/s"
        versions = sorted({case.version for case in self.cases if case.version})
        lines = [
            f"{self.machine}; threads: {self.threads}; float32 FMA peak {peak}; {self.date}",
            ", ".join(versions),
            "",
            f"| workload | engine | us a step | +/- | GFLOP/s | share of peak | {REFERENCE} is faster by |",
            "|---|---|--:|--:|--:|--:|--:|",
        ]
        if self.environment:
            lines.insert(1, "environment: " + ", ".join(f"{k}={v}" for k, v in self.environment.items()))
        lines += [self._row(case) for case in self.cases if case.status == "measured"]
        absent = [
            f"- {case.workload}, {case.engine}: {case.reason}" for case in self.cases if case.status != "measured"
        ]
        return "\n".join([*lines, "", "Not measured:", *absent] if absent else lines)

    def _row(self, case: Case) -> str:
        share, ratio = self._share(case), self._ratio(case)
        return (
            f"| {case.workload} | {case.engine} | {case.median:,.1f} | {case.spread:,.1f} | {case.gflops:,.1f} "
            f"| {'-' if share is None else f'{share:.0%}'} | {'-' if ratio is None else f'{ratio:.2f}'} |"
        )

    def _share(self, case: Case) -> float | None:
        return None if self.fma_peak is None else case.gflops / self.fma_peak

    def _ratio(self, case: Case) -> float | None:
        """Median over the rounds of this engine's time over the reference's in the same round.

        Paired, because the speed of a machine drifts more between rounds than within one.
        """
        for other in self.cases:
            if (other.workload, other.engine, other.status) == (case.workload, REFERENCE, "measured"):
                return median(a / b for a, b in zip(case.microseconds, other.microseconds, strict=True))
        return None


def steering_environment() -> dict[str, str]:
    """What the caller has set that changes how fast an engine is; no file names."""
    prefixes = ("OPENBLAS_", "MKL_", "OMP_", "GOMP_", "KMP_", "XLA_", "STOOP_")
    return {k: v for k, v in sorted(os.environ.items()) if k.startswith(prefixes) and os.sep not in v}


def machine_line() -> str:
    """CPU, cores usable, Python and operating system; no host name."""
    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    cores = os.cpu_count()
    return f"{cpu}, {cores} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
