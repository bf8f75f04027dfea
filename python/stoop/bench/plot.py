"""Figures of a comparison: one per workload, and an overview of all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stoop._errors import message
from stoop._figures import TEXT, TRAIN, VALIDATION, finished, new_figure, style
from stoop.bench.report import REFERENCE, Case, Report
from stoop.bench.workloads import WORKLOADS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOG_SCALE_FROM = 5.0  # the slowest engine takes this many times as long as the fastest
# The name of each engine in the overview, its colour on light and on dark pages, and its marker.
SHOWN = {
    "pytorch": ("PyTorch, eager", "#c2410c", "#fb923c", "o"),
    "pytorch-compile": ("PyTorch, compiled", "#a16207", "#facc15", "s"),
    "jax": ("JAX, jitted step", "#1d4ed8", "#93c5fd", "D"),
    "jax-scan": ("JAX, lax.scan", "#0e7490", "#67e8f9", "v"),
    "sklearn": ("scikit-learn", "#7e22ce", "#d8b4fe", "^"),
}
_STOOP = ("#15803d", "#4ade80")


def check_matplotlib() -> None:
    """Raise ImportError if no figure could be drawn."""
    new_figure(1.0, 1.0)


def check_one_kind(report: Report, mixed: bool) -> None:
    """Refuse a figure that would show samples with near and with far cores as if they were alike.

    Raises
    ------
    ValueError
        If the run has both, unless `mixed`.
    """
    kinds = report.distances()
    if len(kinds) > 1 and not mixed:
        given = f"the distance of the cores changed during the run ({', '.join(kinds)})"
        hint = "measure again, or add --mixed to draw it as it is"
        raise ValueError(message("bench", given, "expected samples of one kind in a figure", hint))


def draw(report: Report, folder: Path, *, mixed: bool = False) -> list[Path]:
    """Write `<workload>.png` for each workload that has figures, and the overview if it compares several.

    Returns
    -------
    list of Path

    Raises
    ------
    ValueError
        If the run has samples of several kinds, unless `mixed`.
    """
    check_one_kind(report, mixed)
    paths = []
    workloads = dict.fromkeys(case.workload for case in report.measured)
    for workload in workloads:
        paths.append(folder / f"{workload}.png")
        _draw_workload(report, workload, [case for case in report.measured if case.workload == workload], paths[-1])
    if len(workloads) > 1 and any(case.engine in SHOWN and report.ratio(case) for case in report.measured):
        for name, dark in (("overview.svg", False), ("overview-dark.svg", True)):
            paths.append(folder / name)
            draw_overview(report, paths[-1], dark=dark)
    return paths


def draw_overview(report: Report, path: Path, *, dark: bool) -> None:
    """Write an SVG without background: the time of a step in times Stoop's, a row for each workload.

    Parameters
    ----------
    report : Report
        With at least one engine of `SHOWN` beside Stoop.
    path : Path
        Of the SVG. Text stays text, in a font of the reader, which keeps the file small.
    dark : bool
        Whether it is for a dark page.
    """
    from matplotlib import rc_context

    text, grid = ("#e6e6e6", "#4a4a4a") if dark else (TEXT, "#d4d4d4")
    workloads = list(dict.fromkeys(case.workload for case in report.measured))[::-1]
    figure = new_figure(5.6, 1.4 + 0.34 * len(workloads))
    axes = figure.add_subplot()
    for engine, (label, light_color, dark_color, marker) in SHOWN.items():
        found = [(report.ratio(case), case.workload) for case in report.measured if case.engine == engine]
        points = [(ratio, workloads.index(workload)) for ratio, workload in found if ratio is not None]
        if points:
            color = dark_color if dark else light_color
            axes.plot(*zip(*points), marker, color=color, markersize=7, alpha=0.9, label=label)
    axes.axvline(1.0, color=_STOOP[dark], linewidth=2.5, zorder=0, label="Stoop")
    style(axes, grid=True)
    _ratio_axis(axes)
    axes.grid(color=grid, linewidth=0.8)
    axes.tick_params(colors=text)
    axes.set_yticks(range(len(workloads)), [_row_label(report, workload) for workload in workloads])
    axes.set_ylim(-0.5, len(workloads) - 0.5)
    axes.set_xlabel("time of a training step, Stoop = 1 (right: slower)", color=text)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9, labelcolor=text, columnspacing=1.2)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "stoop", "font.family": "sans-serif"}):
        figure.savefig(path, transparent=True, metadata={"Date": None})


def _ratio_axis(axes: Axes) -> None:
    """A logarithmic axis of which each power of two is named, and 1 is seen."""
    axes.set_xscale("log", base=2)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.75), max(high, 2.5))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")


def _row_label(report: Report, workload: str) -> str:
    """The network, and what a step takes in Stoop."""
    layers = ", ".join(_grouped(WORKLOADS[workload].widths))
    [time] = [report.time(case) for case in report.measured if (case.workload, case.engine) == (workload, REFERENCE)]
    return f"{workload}: {layers}\nStoop: {time if time.endswith('ms') else f'{time} us'}"


def _draw_workload(report: Report, workload: str, cases: list[Case], path: Path) -> None:
    """Median and median absolute deviation as a point with a bar, the samples as small dots, the fastest on top."""
    cases = sorted(cases, key=lambda case: case.median, reverse=True)
    figure = new_figure(7.2, 1.5 + 0.42 * len(cases))
    axes = figure.add_subplot()
    in_milliseconds = report.milliseconds(cases[0])
    unit, scale = ("milliseconds", 1e-3) if in_milliseconds else ("microseconds", 1.0)
    for row, case in enumerate(cases):
        color = VALIDATION if case.engine == REFERENCE else TRAIN
        samples = [scale * sample for sample in case.microseconds]
        spread = None if case.spread is None else scale * case.spread
        axes.plot(samples, [row] * len(samples), ".", color=color, alpha=0.35, markersize=5)
        axes.errorbar(scale * case.median, row, xerr=spread, fmt="o", color=color, capsize=4, markersize=6)
        time = report.time(case)
        axes.annotate(
            f"{time} us" if in_milliseconds and not time.endswith("ms") else time,
            (scale * case.median, row), (0, 7), textcoords="offset points", ha="center", fontsize=8, color=TEXT,
        )  # fmt: skip
    peak = scale * report.peak_microseconds(workload)
    axes.axvline(peak, color=TEXT, linestyle="--", linewidth=1.2, label=f"matrix products at FMA peak: {peak:,.1f}")
    style(axes, grid=True)
    if cases[0].median > LOG_SCALE_FROM * cases[-1].median:
        axes.set_xscale("log")
        axes.set_xlabel(f"{unit} a step, median +/- median absolute deviation (logarithmic)", color=TEXT)
    else:
        axes.set_xlim(left=0.0)
        axes.set_xlabel(f"{unit} a step, median +/- median absolute deviation", color=TEXT)
    axes.set_yticks(range(len(cases)), [case.engine for case in cases])
    axes.set_ylim(-0.6, len(cases) - 0.2)
    axes.legend(frameon=False, fontsize=8, labelcolor=TEXT, loc="lower right", bbox_to_anchor=(1, 1))
    layers = ", ".join(_grouped(WORKLOADS[workload].widths))
    axes.set_title(f"{layers}, batches of {WORKLOADS[workload].batch_size}", loc="left", fontsize=9, color=TEXT)
    figure.suptitle(workload, x=0.015, ha="left", fontsize=12, fontweight="bold", color=TEXT)
    figure.supxlabel(report.machine_line(), x=0.015, ha="left", fontsize=6, color=TEXT)
    finished(figure, path)


def _grouped(widths: tuple[int, ...]) -> list[str]:
    """(64, 128, 128, 10) as 64, 2 x 128, 10."""
    groups: list[tuple[int, int]] = []
    for width in widths:
        if groups and groups[-1][0] == width:
            groups[-1] = (width, groups[-1][1] + 1)
        else:
            groups.append((width, 1))
    return [str(width) if count == 1 else f"{count} x {width}" for width, count in groups]
