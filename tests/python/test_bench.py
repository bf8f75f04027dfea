"""The benchmark: arithmetic of the report, the rounds on made-up workers, the tasks, what importing loads."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import stoop
from helpers import refused, run_python
from stoop.bench import run as rounds
from stoop.bench.engine import ENGINES, packages_to_install
from stoop.bench.report import Case, Report, environment_warnings, steering_environment
from stoop.bench.worker import EngineError, OutOfTimeError, Preparation, UnsupportedError
from stoop.bench.workloads import WORKLOADS, constant_loss, make_data, mean_loss

RL_TINY_FLOPS = 2 * 64 * (3 * (8 * 64 + 64 * 64 + 64 * 4) - 8 * 64)


def test_it_is_not_imported_with_the_package() -> None:
    shown = run_python("-c", "import stoop, sys; print([m for m in sys.modules if m.startswith('stoop.bench')])").stdout
    assert shown.strip() == "[]"


def test_memory_bandwidth_is_plausible() -> None:
    assert 0.1 < stoop._core.measure_memory_bandwidth(1) < 5000
    with refused(ValueError, "threads"):
        stoop._core.measure_memory_bandwidth(0)


# ---- report ----


def make_report(**microseconds: list[float]) -> Report:
    cases = [Case("rl_tiny", name, "measured", version=name, microseconds=m) for name, m in microseconds.items()]
    cases.append(Case("rl_tiny", "sklearn", "failed", "it broke"))
    return Report("today", "a machine", {"OPENBLAS_CORETYPE": "Haswell"}, 2, 400.0, 40.0, 0.5, "so it went", {}, cases)


def test_median_spread_and_flops() -> None:
    case = Case("rl_tiny", "stoop", "measured", microseconds=[10.0, 14.0, 11.0, 90.0, 12.0])
    assert case.median == 12.0
    assert case.spread == 2.0  # of 2, 2, 1, 78, 0
    assert case.gflops == pytest.approx(RL_TINY_FLOPS / 12e-6 / 1e9)
    assert Case("rl_tiny", "stoop", "measured", microseconds=[10.0]).spread is None


def test_ratios_are_formed_within_a_round() -> None:
    # The machine was half as fast in the second round: the ratio of the medians would be 30 / 20.
    report = make_report(stoop=[10.0, 20.0, 40.0], jax=[30.0, 60.0, 20.0], pytorch=[50.0])
    stoop_case, jax, pytorch, failed = report.cases
    assert report.ratio(stoop_case) == 1.0
    assert report.ratio(jax) == 3.0
    assert report.ratio(pytorch) == 5.0  # time ran out after the first round
    assert failed not in report.measured
    assert make_report(jax=[30.0]).ratio(Case("rl_tiny", "jax", "measured", microseconds=[30.0])) is None


def test_time_and_share_at_the_peak() -> None:
    report = make_report(stoop=[10.0])
    assert report.peak_microseconds("rl_tiny") == pytest.approx(RL_TINY_FLOPS / 400e9 * 1e6)
    share = report.cases[0].gflops / report.fma_peak
    assert share == pytest.approx(report.peak_microseconds("rl_tiny") / 10.0)


def test_markdown() -> None:
    text = make_report(stoop=[10.0, 12.0], jax=[33.0, 36.0]).markdown()
    for line in ("FMA peak 400 GFLOP/s; memory 40.0 GB/s", "so it went", "OPENBLAS_CORETYPE=Haswell"):
        assert line in text
    assert "warning: OPENBLAS_CORETYPE is set" in text
    assert "warning: other processes used 0.5 cores" in text
    assert "- rl_tiny, sklearn: it broke" in text
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert rows[2] == ["rl_tiny", "stoop", "11.0", "1.0", "2", "163.8", "41%", "1.00"]
    assert rows[3][-1] == "3.15"  # of 3.3 and 3.0
    assert len({len(line) for line in text.splitlines() if line.startswith("|")}) == 1


def test_json(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    make_report(stoop=[10.0, 12.0], jax=[33.0, 36.0]).write(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["cases"][1]["microseconds"] == [33.0, 36.0]
    assert content["cases"][1]["spread"] == 1.5
    assert content["cases"][1]["times_slower_than_reference"] == pytest.approx(3.15)
    assert "median" not in content["cases"][2]


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("OPENBLAS_CORETYPE", "Haswell"), ("OMP_NUM_THREADS", "7"), ("LD_PRELOAD", "/lib/some.so")):
        monkeypatch.setenv(name, value)
    found = steering_environment()
    assert found["OPENBLAS_CORETYPE"] == "Haswell"
    assert "some" not in found["LD_PRELOAD"]
    warned = [warning.split()[0] for warning in environment_warnings(found)]
    assert {"OPENBLAS_CORETYPE", "LD_PRELOAD"} <= set(warned)
    assert "OMP_NUM_THREADS" not in warned  # the harness sets it


# ---- rounds ----


class FakeWorker:
    """Answers at once: a step takes the microseconds in `speeds`; `troubles` are raised at a sample's number."""

    speeds: ClassVar[dict[str, float]] = {}
    troubles: ClassVar[dict[str, Callable[[int], None]]] = {}
    log: ClassVar[list[str]] = []

    def __init__(self, engine: str, threads: int) -> None:
        self.engine, self.samples = engine, 0
        self.log.append(f"start {engine}")

    def version(self, timeout: float) -> str:
        if self.engine == "sklearn":
            raise UnsupportedError("does not load")
        return f"{self.engine} 1"

    def prepare(self, workload: Any, keep: bool, timeout: float) -> Preparation:
        if timeout <= 0:
            raise OutOfTimeError
        self.steps = workload.steps_per_epoch
        return Preparation(1.0, 0.5, self.speeds[self.engine] * self.steps / 1e6)

    def resume(self, workload: Any, timeout: float) -> None:
        self.steps = workload.steps_per_epoch

    def sample(self, epochs: int, timeout: float) -> float:
        self.samples += 1
        self.log.append(f"sample {self.engine}")
        self.troubles.get(self.engine, lambda _: None)(self.samples)
        return epochs * self.steps * self.speeds[self.engine] / 1e6

    def close(self) -> None:
        self.log.append(f"close {self.engine}")


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Case]]:
    monkeypatch.setattr(rounds, "Worker", FakeWorker)
    monkeypatch.setattr(rounds, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(rounds.Machine, "measure", lambda _: None)
    monkeypatch.setattr(rounds.Machine, "measure_latency", lambda _: 90.0)
    monkeypatch.setattr(FakeWorker, "speeds", {"stoop": 10.0, "jax": 40.0})
    monkeypatch.setattr(FakeWorker, "log", [])

    def call(minutes: float | None = None, **troubles: Callable[[int], None]) -> list[Case]:
        monkeypatch.setattr(FakeWorker, "troubles", troubles)
        engines = ("stoop", "sklearn", "jax")
        settings = rounds.Settings(("rl_tiny", "letter"), engines, True, 1, 0.3, 3, minutes, full=True)
        comparison = rounds._Comparison(settings, engines)
        cases = comparison.run()
        assert comparison.absent == {"sklearn": "does not load"}
        return cases

    return call


def test_engines_take_turns(compare: Callable[..., list[Case]]) -> None:
    cases = compare()
    assert [(case.workload, case.engine) for case in cases] == [
        (workload, engine) for workload in ("rl_tiny", "letter") for engine in ("stoop", "jax")
    ]
    for case in cases:
        assert case.microseconds == pytest.approx([FakeWorker.speeds[case.engine]] * 3)
        assert case.core_latency == [90.0] * 3
    assert cases[0].epochs_per_sample == round(0.1 / (512 * 10e-6))
    samples = [entry.split()[1] for entry in FakeWorker.log if entry.startswith("sample")]
    assert samples[:6] == ["stoop", "jax", "jax", "stoop", "stoop", "jax"]
    assert [entry for entry in FakeWorker.log if "sample" not in entry] == [
        *("start stoop", "start sklearn", "start jax", "close sklearn", "close stoop", "close jax")
    ]


def test_a_broken_engine_does_not_end_the_run(compare: Callable[..., list[Case]]) -> None:
    def break_once(sample: int) -> None:
        if sample == 2 and FakeWorker.log.count("start jax") == 1:
            raise EngineError("it broke")

    cases = compare(jax=break_once)
    assert [case.status for case in cases] == ["measured", "failed", "measured", "measured"]
    assert cases[1].reason == "it broke"
    assert FakeWorker.log.count("start jax") == 2


def test_time_runs_out(compare: Callable[..., list[Case]]) -> None:
    def be_slow(sample: int) -> None:
        if sample == 3:  # the second of the first workload
            raise OutOfTimeError

    cases = compare(minutes=10.0, jax=be_slow)
    assert len(cases[1].microseconds) == 1  # what was measured stays
    assert cases[1].status == "measured"
    assert len(cases[3].microseconds) == 3  # by a fresh worker
    none_left = compare(minutes=0.01)
    assert [(case.status, case.reason) for case in none_left] == [("skipped", rounds.OUT_OF_TIME)] * 4


def test_what_all_engines_share_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    with rounds.same_for_all(1):
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "1"
        if cpus:
            assert len(os.sched_getaffinity(0)) == 1
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ
    if cpus:
        assert os.sched_getaffinity(0) == cpus


def test_engines_that_are_not_run_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    def settings(**given: Any) -> rounds.Settings:
        values: dict[str, Any] = {"named": False, "full": False} | given
        return rounds.Settings(("rl_tiny",), tuple(ENGINES), threads=1, seconds=1.0, rounds=1, minutes=None, **values)

    monkeypatch.setattr(rounds, "packages_to_install", lambda engine: ["optax"] if engine == "jax" else [])
    assert rounds._why_absent("jax", settings()) == "not installed (pip install optax)"
    assert rounds._why_absent("stoop", settings()) is None
    assert rounds._why_absent("pytorch-compile", settings()) is not None
    assert rounds._why_absent("pytorch-compile", settings(full=True)) is None
    assert rounds._why_absent("pytorch-compile", settings(named=True)) is None
    with refused(ImportError, "pip install optax"):
        rounds._check(settings(named=True))
    assert packages_to_install("stoop") == []


class FakeClock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


PREPARATION_SECONDS = {"rl_tiny": 1.0, "mnist": 9.0, "wide": 9.0}
SAMPLE_SECONDS = 1.0


class SlowWorker:
    """Takes a time on the clock for each answer; what is built outlives no worker and, without `keep`, no task."""

    clock: ClassVar[FakeClock]
    log: ClassVar[list[tuple[str, str, str]]]

    def __init__(self, engine: str, threads: int) -> None:
        self.engine, self.built, self.name = engine, set[str](), ""

    def version(self, timeout: float) -> str:
        return f"{self.engine} 1"

    def work(self, what: str, seconds: float, timeout: float) -> None:
        self.clock.now += min(seconds, max(0.0, timeout))
        if seconds > timeout:
            raise OutOfTimeError
        self.log.append((what, self.name, self.engine))

    def prepare(self, workload: Any, keep: bool, timeout: float) -> Preparation:
        self.name, self.steps = workload.name, workload.steps_per_epoch
        self.built = {self.name} | (self.built if keep else set())
        self.work("prepare", PREPARATION_SECONDS[self.name], timeout)
        return Preparation(1.0, 0.5, SAMPLE_SECONDS)

    def resume(self, workload: Any, timeout: float) -> None:
        assert workload.name in self.built
        self.name, self.steps = workload.name, workload.steps_per_epoch
        self.work("resume", SAMPLE_SECONDS, timeout)

    def sample(self, epochs: int, timeout: float) -> float:
        self.work("sample", epochs * SAMPLE_SECONDS, timeout)
        return epochs * SAMPLE_SECONDS

    def close(self) -> None: ...


@pytest.mark.parametrize(("seconds", "later"), [(47.0, 0), (1000.0, 2), (None, 2)])
def test_the_first_round_of_every_task_comes_first(
    monkeypatch: pytest.MonkeyPatch, seconds: float | None, later: int
) -> None:
    clock = FakeClock()
    monkeypatch.setattr(rounds, "time", clock)
    monkeypatch.setattr(rounds, "Worker", SlowWorker)
    monkeypatch.setattr(rounds.Machine, "measure", lambda _: None)
    monkeypatch.setattr(rounds.Machine, "measure_latency", lambda _: 90.0)
    monkeypatch.setattr(SlowWorker, "clock", clock, raising=False)
    monkeypatch.setattr(SlowWorker, "log", [], raising=False)
    names, engines = tuple(PREPARATION_SECONDS), ("stoop", "jax")
    minutes = None if seconds is None else (seconds + rounds.CLOSING_SECONDS) / 60
    cases = rounds._Comparison(rounds.Settings(names, engines, True, 1, 0.3, 3, minutes, full=False), engines).run()
    assert [(case.workload, case.engine) for case in cases] == [(name, engine) for name in names for engine in engines]
    assert [(case.status, len(case.microseconds)) for case in cases] == [("measured", 1 + later)] * 6
    first = [(what, name, engine) for name in names for engine in engines for what in ("prepare", "sample")]
    assert (SlowWorker.log[:12] == first) == (seconds is not None)
    assert SlowWorker.log[:4] == first[:4]
    # A run without limit stays with a task, whose memory the next one then has.
    assert len([entry for entry in SlowWorker.log if entry[0] == "resume"]) == (6 if seconds == 1000.0 else 0)


# ---- tasks ----


@pytest.mark.parametrize("name", WORKLOADS)
def test_tasks(name: str) -> None:
    full = WORKLOADS[name]
    workload = full.shortened()
    assert workload.flops_per_step == full.flops_per_step
    assert workload.samples <= full.samples
    assert workload.samples * workload.check_epochs >= full.samples * full.check_epochs
    x, y = make_data(workload)
    assert x.shape == (workload.samples, workload.widths[0])
    assert x.dtype == np.float32
    constant = constant_loss(workload, y)
    if workload.is_classification:
        frequency = np.bincount(y) / len(y)
        assert mean_loss(workload, np.tile(np.log(frequency), (len(y), 1)), y) == pytest.approx(constant)
    else:
        assert mean_loss(workload, np.tile(y.mean(axis=0, dtype=np.float64), (len(y), 1)), y) == pytest.approx(constant)
