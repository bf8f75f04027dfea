"""The latency between two cores: how it is shown, and that runs of different kinds are not compared silently."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any

import pytest

import stoop
from helpers import refused, run_python
from stoop import _latency
from stoop.bench import compare, plot
from stoop.bench.machine import Machine
from stoop.bench.report import Case, Report

NEAR, FAR = 90.0, 400.0


def make_report(threads: int = 2, **latencies: list[float | None]) -> Report:
    """A run of stoop and jax on one workload, with 10 and 30 us a sample; `latencies` are those before the samples."""
    cases = [
        Case("rl_tiny", engine, "measured", version=f"{engine} 1 (avx2)", microseconds=[time] * 3, core_latency=latency)
        for (engine, latency), time in zip(latencies.items(), (10.0, 30.0), strict=False)
    ]
    known = [latency for case in cases for latency in case.core_latency if latency is not None]
    return Report("today", "a CPU", {}, threads, 400.0, 40.0, 0.0, "so it went", {}, cases, core_latency=known)


def changed(report: Report, **fields: Any) -> Report:
    return Report(**{name: getattr(report, name) for name in report.__dataclass_fields__} | fields)


# ---- what is shown ----


def test_a_distance_in_words() -> None:
    assert _latency.distance(NEAR) == "near"
    assert _latency.distance(FAR) == "far"
    assert set(_latency.MEANING) == {"near", "far", "one core", "unknown"}


def test_show_config_measures_it(capsys: pytest.CaptureFixture[str]) -> None:
    threads = stoop.show_config("dicts")["threads"]  # type: ignore[index]
    latency, words = threads["core_latency_ns"], threads["core_distance"]
    assert math.isnan(latency) or 5 < latency < 20_000
    assert words in _latency.MEANING.values()
    assert words.startswith(("near", "far")) != math.isnan(latency)
    stoop.show_config()
    assert re.search(r"  core distance +(near|far|one core|unknown): ", capsys.readouterr().out)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity masks")
def test_one_core() -> None:
    code = (
        "import os; cpus = sorted(os.sched_getaffinity(0))[:1]; os.sched_setaffinity(0, cpus)\n"
        "import stoop; stoop.show_config(); assert sorted(os.sched_getaffinity(0)) == cpus"
    )
    shown = run_python("-c", code).stdout
    assert re.search(r"core distance +one core: there is no other to measure", shown)
    assert "nan" not in shown


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity masks")
def test_the_measurement_leaves_the_affinity_alone() -> None:
    before = os.sched_getaffinity(0)
    machine = Machine(1)
    latency = machine.measure_latency()
    assert machine.core_latency == ([] if latency is None else [latency])
    assert os.sched_getaffinity(0) == before


# ---- one run ----


def test_a_run_of_one_kind_says_which() -> None:
    report = make_report(stoop=[NEAR] * 3, jax=[NEAR, NEAR, 95.0])
    assert "core to core and back 90 to 95 ns (near)" in report.machine_line()
    assert report.warnings() == []
    assert report.distances() == ["near"]


def test_a_ratio_is_formed_of_samples_of_one_kind() -> None:
    report = make_report(stoop=[NEAR, NEAR, FAR], jax=[FAR, NEAR, FAR])
    report.cases[1].microseconds[0] = 3000.0  # with far cores beside Stoop with near ones: does not count
    assert report.ratio(report.cases[1]) == 3.0
    [warning] = report.warnings()
    assert warning.startswith("the distance of the cores changed between the samples of rl_tiny (far, near)")
    apart = make_report(stoop=[NEAR] * 3, jax=[FAR, FAR, None])
    assert apart.ratio(apart.cases[1]) is None
    assert re.search(r"\| rl_tiny +\| jax .* - \|$", apart.markdown(), re.MULTILINE)


def test_one_thread_does_not_depend_on_it() -> None:
    report = make_report(1, stoop=[NEAR] * 3, jax=[FAR] * 3)
    assert report.ratio(report.cases[1]) == 3.0
    assert report.warnings() == []


def test_workloads_of_different_kinds() -> None:
    report = make_report(stoop=[NEAR] * 3)
    report.cases.append(Case("letter", "stoop", "measured", microseconds=[50.0], core_latency=[FAR]))
    [warning] = report.warnings()
    assert "compare engines on one workload, but not one workload with another" in warning


def test_the_latency_is_recorded(tmp_path: Path) -> None:
    report = make_report(stoop=[NEAR, None, FAR])
    report.write(tmp_path / "run.json")
    content = json.loads((tmp_path / "run.json").read_text())
    assert content["cases"][0]["core_latency"] == [NEAR, None, FAR]
    assert content["core_distances"] == ["far", "near", "unknown"]
    assert Report.read(tmp_path / "run.json") == report


def test_a_figure_of_several_kinds_is_refused(tmp_path: Path) -> None:
    report = make_report(stoop=[NEAR, NEAR, FAR])
    with refused(ValueError, r"\[bench\] the distance of the cores changed .*far, near.*add --mixed"):
        plot.draw(report, tmp_path)
    assert not list(tmp_path.iterdir())
    pytest.importorskip("matplotlib", reason="Matplotlib is not installed")
    assert [path.name for path in plot.draw(report, tmp_path, mixed=True)] == ["rl_tiny.png"]


# ---- several runs ----


def test_runs_of_one_kind_are_compared() -> None:
    before, after = make_report(stoop=[NEAR] * 3, jax=[NEAR] * 3), make_report(stoop=[NEAR] * 3)
    after.cases[0].microseconds[:] = [9.0] * 3
    text = compare.markdown({"a.json": before, "b.json": after}, mixed=False)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert rows[0] == ["workload", "engine", "us, a.json", "us, b.json", "b.json / a.json"]
    assert rows[2:] == [["rl_tiny", "stoop", "10.0", "9.0", "0.90"], ["rl_tiny", "jax", "30.0", "-", "-"]]
    assert "warning" not in text


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (make_report(stoop=[FAR] * 3), "the distances of the cores differ: a: near, b: far"),
        (make_report(stoop=[NEAR, NEAR, FAR]), "the distances of the cores differ: a: near, b: far and near"),
        (make_report(stoop=[]), "the distances of the cores differ: a: near, b: unknown"),
        (make_report(1, stoop=[NEAR] * 3), "the numbers of threads differ: a: 2, b: 1"),
        (
            changed(make_report(stoop=[NEAR] * 3), machine="another CPU"),
            "the machines differ: a: a CPU, b: another CPU",
        ),
        (
            changed(make_report(stoop=[NEAR] * 3), environment={"STOOP_GEMM": "blas"}),
            "the environments differ: a: -, b: STOOP_GEMM=blas",
        ),
    ],
)
def test_runs_of_different_kinds_are_refused(other: Report, named: str) -> None:
    reports = {"a": make_report(stoop=[NEAR] * 3), "b": other}
    with refused(ValueError, re.escape(named)) as caught:
        compare.markdown(reports, mixed=False)
    assert "expected runs of one kind" in str(caught.value)
    assert f"warning: not runs of one kind, {named}" in compare.markdown(reports, mixed=True)


def test_versions_and_instruction_sets_are_kinds() -> None:
    reports = {name: make_report(stoop=[NEAR] * 3, jax=[NEAR] * 3) for name in ("a", "b")}
    reports["b"].cases[0].version = "stoop 1 (avx512)"
    assert compare.differences(reports) == ["the versions of stoop differ: a: stoop 1 (avx2), b: stoop 1 (avx512)"]


def test_the_command_refuses(tmp_path: Path) -> None:
    files = [tmp_path / "near.json", tmp_path / "far.json"]
    for file, latency in zip(files, (NEAR, FAR), strict=True):
        make_report(stoop=[latency] * 3).write(file)
    done = run_python("-m", "stoop", "bench", "--from", *files, check=False)
    assert done.returncode == 1
    assert "the distances of the cores differ" in done.stderr
    assert "--mixed" in done.stderr
    assert done.stdout == ""
    shown = run_python("-m", "stoop", "bench", "--from", *files, "--mixed").stdout
    assert "warning: not runs of one kind" in shown
    assert "| rl_tiny" in shown
    done = run_python("-m", "stoop", "bench", "--from", *files, "--plot", tmp_path, check=False)
    assert done.returncode == 2
    assert "--plot draws one run" in done.stderr
