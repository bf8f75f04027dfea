"""What a newcomer sees first: the bare command, its version, the figures of the benchmark and the picture of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import stoop
from helpers import REPOSITORY, refused, run_python
from stoop.bench.report import Case, Report

RECORDED = REPOSITORY / "docs" / "images" / "overview.json"


# ---- the command ----


def test_a_bare_command_shows_the_help() -> None:
    bare = run_python("-m", "stoop")
    assert bare.stderr == ""
    assert bare.stdout == run_python("-m", "stoop", "--help").stdout
    for word in ("usage: stoop", "info", "demo", "bench", "--version"):
        assert word in bare.stdout


def test_version() -> None:
    assert run_python("-m", "stoop", "--version").stdout == f"stoop {stoop.__version__}\n"


def test_each_command_says_what_it_does() -> None:
    for command in ("info", "demo", "bench"):
        shown = run_python("-m", "stoop", command, "--help").stdout
        usage, description, *_ = shown.split("\n\n")
        assert usage.startswith(f"usage: stoop {command}")
        assert description.endswith("."), f"stoop {command} --help has no description:\n{shown}"


def test_info_names_things_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    stoop.show_config()
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("  usable cores ") for line in lines)
    assert not [line for line in lines if re.match(r"  \w*_\w* ", line)]  # names of Python
    entries = [line for line in lines if line.startswith(" ")]
    assert all(len(line.split()) > 1 and not line.endswith(" -") for line in entries)  # nothing that is empty


# ---- the unit of the benchmark ----


def make_report(**microseconds: dict[str, float]) -> Report:
    """One sample an engine; workload -> engine -> us."""
    cases = [
        Case(workload, engine, "measured", version=engine, microseconds=[value])
        for workload, engines in microseconds.items()
        for engine, value in engines.items()
    ]
    return Report("today", "a machine", {}, 2, 400.0, 40.0, 0.0, "so it went", {}, cases)


def times(report: Report) -> list[str]:
    rows = [line.split("|") for line in report.markdown().splitlines() if line.startswith("|")]
    return [row[3].strip() for row in rows[2:]]


def test_six_digits_become_milliseconds() -> None:
    assert times(make_report(wide={"stoop": 99_999.4})) == ["99,999.4"]
    assert times(make_report(wide={"stoop": 99_999.5})) == ["100.0 ms"]
    assert times(make_report(wide={"stoop": 1_234_567.0})) == ["1,234.6 ms"]


def test_figures_that_are_compared_have_one_unit() -> None:
    report = make_report(rl_tiny={"stoop": 17.7}, wide={"stoop": 97_017, "jax": 111_198, "stoop-bf16": 21_580})
    assert times(report) == ["17.7", "97.0 ms", "111.2 ms", "21.6 ms"]
    # But none that would be left with less than three digits.
    assert times(make_report(wide={"stoop": 97.0, "jax": 111_198})) == ["97.0", "111.2 ms"]


def test_the_spread_has_the_unit_of_its_median() -> None:
    case = Case("wide", "stoop", "measured", version="1", microseconds=[150_000.0, 150_042.0, 181_000.0])
    report = Report("today", "a machine", {}, 2, 400.0, 40.0, 0.0, "so it went", {}, [case])
    assert re.search(r"\| +150.0 ms \| 0.04 ms \|", report.markdown())


# ---- what a run has recorded ----


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    report = make_report(rl_tiny={"stoop": 17.7, "jax": 71.8})
    report.cases.append(Case("rl_tiny", "sklearn", "failed", "it broke"))
    report.write(tmp_path / "run.json")
    assert Report.read(tmp_path / "run.json") == report
    done = run_python("-m", "stoop", "bench", "--from", tmp_path / "run.json", check=False)
    assert done.returncode == 1  # as the run itself: an engine failed
    assert done.stdout == f"{report.markdown()}\n"


def test_a_record_of_an_older_version_lacks_what_came_later(tmp_path: Path) -> None:
    report = make_report(rl_tiny={"stoop": 17.7})
    report.write(tmp_path / "run.json")
    content = json.loads((tmp_path / "run.json").read_text())
    del content["core_latency"]
    (tmp_path / "run.json").write_text(json.dumps(content))
    assert Report.read(tmp_path / "run.json") == report
    del content["fma_peak"]
    (tmp_path / "run.json").write_text(json.dumps(content))
    with refused(ValueError, "is no record of a benchmark.*fma_peak"):
        Report.read(tmp_path / "run.json")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"cases": [{}]}', '{"cases": 3}'])
def test_a_file_that_is_no_report(tmp_path: Path, content: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(content)
    with refused(ValueError, "is no record of a benchmark"):
        Report.read(path)


def test_from_measures_nothing() -> None:
    for options in (["--engines", "stoop"], ["--full"], ["--json", "out.json"]):
        done = run_python("-m", "stoop", "bench", "--from", RECORDED, *options, check=False)
        assert done.returncode == 2
        assert f"--from measures nothing, so it cannot go with {options[0]}" in done.stderr
    missing = run_python("-m", "stoop", "bench", "--from", "missing.json", check=False)
    assert missing.returncode == 1
    assert missing.stderr.startswith("stoop: ")
    assert "missing.json" in missing.stderr


def test_the_overview_is_drawn_from_a_record(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="Matplotlib is not installed")
    run_python("-m", "stoop", "bench", "--from", RECORDED, "--plot", tmp_path, timeout=120)
    report = Report.read(RECORDED)
    workloads = list(dict.fromkeys(case.workload for case in report.cases))
    drawn = {f"{workload}.png" for workload in workloads} | {"overview.svg", "overview-dark.svg"}
    assert {path.name for path in tmp_path.iterdir()} == drawn
    for name in ("overview.svg", "overview-dark.svg"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        committed = (RECORDED.parent / name).read_text(encoding="utf-8")
        for word in (*workloads, "PyTorch, eager", "scikit-learn", "17.7 us", "97.0 ms"):
            assert word in text, f"{word} is not in the drawing"
            assert word in committed, f"{word} is not in docs/images/{name}: make picture"
        assert len(text) < 60_000


def test_the_record_has_the_figures_of_the_readme() -> None:
    """The table and the picture on the front page show one run."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    table = text.split("<!-- bench:begin -->")[1].split("<!-- bench:end -->")[0]
    header, _, *rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")
    ]
    names = {
        "Stoop": "stoop", "PyTorch, eager": "pytorch", "PyTorch, compiled": "pytorch-compile",
        "JAX, one jitted step": "jax", "JAX, `lax.scan` over an epoch": "jax-scan", "scikit-learn": "sklearn",
        'Stoop, `precision="bfloat16"` (AMX)': "stoop-bf16", "PyTorch, autocast to bfloat16": "pytorch-bf16",
    }  # fmt: skip
    recorded = {
        (case["engine"], case["workload"]): case["microseconds"] for case in json.loads(RECORDED.read_text())["cases"]
    }
    for label, *cells in rows:
        if label not in names:
            continue
        for column, cell in zip(header[1:], cells, strict=True):
            workload, _, unit = column.partition(", ")
            found = recorded.pop((names[label], workload))
            if cell == "-":
                assert found == []
                continue
            scale, tolerance = (1e3, 50.0) if unit == "ms" else (1.0, 1e-9)
            assert found == [pytest.approx(scale * float(cell.replace(",", "")), abs=tolerance)], (label, column)
    assert not recorded
