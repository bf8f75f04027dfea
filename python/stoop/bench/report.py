"""From raw samples to figures: medians, ratios, the Markdown table and the JSON file."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from statistics import median
from typing import Any, Literal

from stoop import _latency
from stoop._errors import message
from stoop.bench.workloads import WORKLOADS

REFERENCE = "stoop"  # the engine that ratios refer to
BUSY_FROM = 0.1  # cores
SIX_DIGITS = 99_999.5  # microseconds, as they are rounded
TEN_MILLISECONDS = 1e4  # microseconds
# Set by the harness itself, whatever the caller has set.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "STOOP_NUM_THREADS")
_STEERING = (
    *("OPENBLAS_", "MKL_", "OMP_", "GOMP_", "KMP_", "ATEN_", "DNNL_", "ONEDNN_", "TORCHINDUCTOR_", "XLA_"),
    *("JAX_ENABLE_", "JAX_DEFAULT_", "NPY_", "STOOP_", "MALLOC_", "LD_PRELOAD"),
)
_COLUMNS = ("workload", "engine", "us a step", "+/-", "samples", "GFLOP/s", "share of peak", f"time / {REFERENCE}'s")


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
    core_latency: list[float | None] = field(default_factory=list)  # ns just before each sample; None: not measured

    @property
    def distances(self) -> list[str]:
        """The distance of the cores at each sample, "near" or "far"; "unknown" where it was not measured."""
        latencies = [*self.core_latency, *[None] * (len(self.microseconds) - len(self.core_latency))]
        return ["unknown" if latency is None else _latency.distance(latency) for latency in latencies]

    @property
    def median(self) -> float:
        """The median of the samples."""
        return median(self.microseconds)

    @property
    def spread(self) -> float | None:
        """Median absolute deviation of the samples; None of a single one."""
        if len(self.microseconds) < 2:
            return None
        return median(abs(sample - self.median) for sample in self.microseconds)

    @property
    def gflops(self) -> float:
        """The speed of the matrix products in GFLOP/s."""
        return WORKLOADS[self.workload].flops_per_step / self.median / 1e3


@dataclass(frozen=True)
class Report:
    """Everything one run of the comparison found out."""

    date: str
    machine: str
    environment: dict[str, str]  # variables that steer an engine
    threads: int
    fma_peak: float  # GFLOP/s on these threads, the best of the run
    memory_bandwidth: float  # GB/s on these threads, read and written, the best of the run
    busy_cores: float  # used by other processes, on average
    protocol: str  # what was run, in words
    absent: dict[str, str]  # engine -> why it was not run at all
    cases: list[Case]
    core_latency: list[float] = field(default_factory=list)  # ns from core to core and back, all through the run

    @property
    def measured(self) -> list[Case]:
        """The cases with figures."""
        return [case for case in self.cases if case.status == "measured"]

    @property
    def status(self) -> int:
        """The exit status of the run: 1 if an engine failed, else 0."""
        return int(any(case.status == "failed" for case in self.cases))

    def distances(self, workload: str | None = None) -> list[str]:
        """Return how far apart the cores were at the samples of a workload or of all, each kind once.

        A single thread does not depend on it: then nothing is returned.
        """
        if self.threads < 2:
            return []
        cases = [case for case in self.measured if workload in (None, case.workload)]
        return sorted({distance for case in cases for distance in case.distances})

    @classmethod
    def read(cls, path: Path) -> Report:
        """Read what `write` has written.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If it holds something else.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            cases = [Case(**_known(Case, entry)) for entry in content["cases"]]
            report = cls(**_known(cls, content) | {"cases": cases})
            report.markdown()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            given = f"{path} is no record of a benchmark ({type(error).__name__}: {error})"
            raise ValueError(message("bench", given, "expected a file that --json wrote", "name one")) from error
        return report

    def write(self, path: Path) -> None:
        """Write JSON with the raw samples, so that any figure can be made again."""
        content = asdict(self) | {"core_distances": self.distances()}
        for entry, case in zip(content["cases"], self.cases, strict=True):
            if case.status == "measured":
                entry |= {
                    "median": case.median,
                    "spread": case.spread,
                    "gflops": case.gflops,
                    "share_of_peak": case.gflops / self.fma_peak,
                    "times_slower_than_reference": self.ratio(case),
                }
        path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")

    def markdown(self) -> str:
        """Return the machine line, a row for each case measured and a line for each that was not."""
        lines = [self.machine_line(), ", ".join(sorted({case.version for case in self.measured})), self.protocol]
        if self.environment:
            lines.append("environment: " + ", ".join(f"{k}={v}" for k, v in self.environment.items()))
        lines += [f"warning: {warning}" for warning in self.warnings()]
        lines += ["", *table(_COLUMNS, [self._row(case) for case in self.measured])]
        absent = [f"- {engine}: {reason}" for engine, reason in self.absent.items()]
        absent += [
            f"- {case.workload}, {case.engine}: {case.reason}" for case in self.cases if case not in self.measured
        ]
        return "\n".join([*lines, "", "Not measured:", *absent] if absent else lines)

    def _latency_text(self) -> str:
        if not self.core_latency:
            return ""
        low, high = (f"{bound(self.core_latency):.0f}" for bound in (min, max))
        kinds = " and ".join(dict.fromkeys(_latency.distance(latency) for latency in self.core_latency))
        return f", core to core and back {low if low == high else f'{low} to {high}'} ns ({kinds})"

    def warnings(self) -> list[str]:
        """Return what speaks against the figures."""
        warnings = environment_warnings(self.environment)
        if self.busy_cores > BUSY_FROM:
            warnings.append(
                f"other processes used {self.busy_cores:.1f} cores: an engine whose threads wait for each other loses "
                "far more by that than one that works on a single thread; repeat this on an idle machine"
            )
        return warnings + self._distance_warnings()

    def _distance_warnings(self) -> list[str]:
        kinds = self.distances()
        if len(kinds) < 2:
            return []
        names = dict.fromkeys(case.workload for case in self.measured)
        if mixed := [name for name in names if len(self.distances(name)) > 1]:
            when = f"between the samples of {', '.join(mixed)}"
            advice = "ratios are formed of samples of one kind, but the medians mix them; measure again"
        else:
            when, advice = "during the run", "compare engines on one workload, but not one workload with another"
        return [f"the distance of the cores changed {when} ({', '.join(kinds)}): {advice}"]

    def machine_line(self) -> str:
        """Return on what the figures were measured, with the limits of the machine in the same run."""
        return (
            f"{self.machine}; threads: {self.threads}; float32 FMA peak {self.fma_peak:.0f} GFLOP/s; "
            f"memory {self.memory_bandwidth:.1f} GB/s{self._latency_text()}; {self.date}"
        )

    def peak_microseconds(self, workload: str) -> float:
        """Return the time of a step if all of its matrix products ran at the FMA peak and nothing else took any."""
        return WORKLOADS[workload].flops_per_step / self.fma_peak / 1e3

    def ratio(self, case: Case) -> float | None:
        """Median over the rounds of this engine's time over the reference's in the same round.

        Paired, because the speed of a machine drifts more between rounds than within one. The last round may have
        ended early. A round in which the cores were near for one engine and far for the other does not count; None
        where no round is left.
        """
        for other in self.measured:
            if (other.workload, other.engine) == (case.workload, REFERENCE):
                kinds = zip(case.distances, other.distances, strict=False)
                pairs = zip(case.microseconds, other.microseconds, kinds, strict=False)
                ratios = [a / b for a, b, (kind, other_kind) in pairs if kind == other_kind or self.threads < 2]
                return median(ratios) if ratios else None
        return None

    def milliseconds(self, case: Case) -> bool:
        """Return whether the times of this case are shown in ms.

        They are from 10 ms on, where some engine needs six digits of microseconds for the same workload: figures that
        are compared then have one unit, and none has fewer than three digits.
        """
        medians = [other.median for other in self.measured if other.workload == case.workload]
        return max(medians) >= SIX_DIGITS and case.median >= TEN_MILLISECONDS

    def time(self, case: Case) -> str:
        """Return the median: a number of us, or a number of ms with its unit."""
        return _time(case.median, self.milliseconds(case))

    def _row(self, case: Case) -> tuple[str, ...]:
        ratio = self.ratio(case)
        return (
            case.workload,
            case.engine,
            self.time(case),
            "-" if case.spread is None else _time(case.spread, self.milliseconds(case)),
            f"{len(case.microseconds)}",
            f"{case.gflops:,.1f}",
            f"{case.gflops / self.fma_peak:.0%}",
            "-" if ratio is None else f"{ratio:.2f}",
        )


def _known(kind: type, entry: dict[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass, without the figures that `Report.write` adds to them.

    An older record lacks the fields that came later; they have defaults.
    """
    needed = [known.name for known in fields(kind) if known.default is MISSING and known.default_factory is MISSING]
    present = [known.name for known in fields(kind) if known.name in entry]
    return {name: entry[name] for name in dict.fromkeys([*needed, *present])}


def _time(microseconds: float, in_milliseconds: bool) -> str:
    if not in_milliseconds:
        return f"{microseconds:,.1f}"
    milliseconds = microseconds / 1e3
    return f"{milliseconds:,.1f} ms" if milliseconds >= 9.95 else f"{milliseconds:.2f} ms"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table, padded so that it can be read as it is; all but two columns are numbers."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            text.ljust(width) if i < 2 else text.rjust(width) for i, (text, width) in enumerate(zip(cells, widths))
        ]
        return f"| {' | '.join(padded)} |"

    rules = ["-" * width if i < 2 else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    return [line(header), line(rules), *map(line, rows)]


def steering_environment() -> dict[str, str]:
    """Return what the caller has set that changes how fast an engine is; of a path only that it is one."""
    found = {name: value for name, value in sorted(os.environ.items()) if name.startswith(_STEERING)}
    return {name: "(a path)" if os.sep in value else value for name, value in found.items()}


def environment_warnings(environment: dict[str, str]) -> list[str]:
    """Return a sentence on each variable that is not overwritten by the harness."""
    return [
        f"{name} is set, which changes the speed of every engine that reads it; unset it to compare defaults"
        for name in environment
        if name not in THREAD_VARIABLES
    ]


def machine_line() -> str:
    """Return CPU, cores, operating system and Python; no host name."""
    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    cores = os.cpu_count()
    return f"{cpu}, {cores} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
