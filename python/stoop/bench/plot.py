"""One figure per workload: the time of a step on each engine, and what it would be at the FMA peak."""

from __future__ import annotations

from pathlib import Path

from stoop.bench.report import REFERENCE, Case, Report
from stoop.bench.workloads import WORKLOADS
from stoop.plotting import _TEXT, _TRAIN, _VALIDATION, _figure, _finished, _style

LOG_SCALE_FROM = 5.0  # the slowest engine takes this many times as long as the fastest


def check_matplotlib() -> None:
    """Raise ImportError if no figure could be drawn."""
    _figure(1.0, 1.0)


def draw(report: Report, folder: Path) -> list[Path]:
    """Write `<workload>.png` for each workload that has figures; return the paths."""
    paths = []
    for workload in dict.fromkeys(case.workload for case in report.measured):
        paths.append(folder / f"{workload}.png")
        _draw_workload(report, workload, [case for case in report.measured if case.workload == workload], paths[-1])
    return paths


def _draw_workload(report: Report, workload: str, cases: list[Case], path: Path) -> None:
    """Median and median absolute deviation as a point with a bar, the samples as small dots, the fastest on top."""
    cases = sorted(cases, key=lambda case: case.median, reverse=True)
    figure = _figure(7.2, 1.5 + 0.42 * len(cases))
    axes = figure.add_subplot()
    for row, case in enumerate(cases):
        color = _VALIDATION if case.engine == REFERENCE else _TRAIN
        axes.plot(case.microseconds, [row] * len(case.microseconds), ".", color=color, alpha=0.35, markersize=5)
        axes.errorbar(case.median, row, xerr=case.spread, fmt="o", color=color, capsize=4, markersize=6)
        axes.annotate(
            f"{case.median:,.1f}", (case.median, row), (0, 7), textcoords="offset points", ha="center", fontsize=8,
            color=_TEXT,
        )  # fmt: skip
    peak = report.peak_microseconds(workload)
    axes.axvline(peak, color=_TEXT, linestyle="--", linewidth=1.2, label=f"matrix products at FMA peak: {peak:,.1f}")
    _style(axes, grid=True)
    if cases[0].median > LOG_SCALE_FROM * cases[-1].median:
        axes.set_xscale("log")
        axes.set_xlabel("microseconds a step, median +/- median absolute deviation (logarithmic)", color=_TEXT)
    else:
        axes.set_xlim(left=0.0)
        axes.set_xlabel("microseconds a step, median +/- median absolute deviation", color=_TEXT)
    axes.set_yticks(range(len(cases)), [case.engine for case in cases])
    axes.set_ylim(-0.6, len(cases) - 0.2)
    axes.legend(frameon=False, fontsize=8, labelcolor=_TEXT, loc="lower right", bbox_to_anchor=(1, 1))
    layers = ", ".join(_grouped(WORKLOADS[workload].widths))
    axes.set_title(f"{layers}, batches of {WORKLOADS[workload].batch_size}", loc="left", fontsize=9, color=_TEXT)
    figure.suptitle(workload, x=0.015, ha="left", fontsize=12, fontweight="bold", color=_TEXT)
    figure.supxlabel(report.machine_line(), x=0.015, ha="left", fontsize=6, color=_TEXT)
    _finished(figure, path)


def _grouped(widths: tuple[int, ...]) -> list[str]:
    """(64, 128, 128, 10) as 64, 2 x 128, 10."""
    groups: list[tuple[int, int]] = []
    for width in widths:
        if groups and groups[-1][0] == width:
            groups[-1] = (width, groups[-1][1] + 1)
        else:
            groups.append((width, 1))
    return [str(width) if count == 1 else f"{count} x {width}" for width, count in groups]
