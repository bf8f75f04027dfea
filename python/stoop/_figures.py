"""The look that all pictures share, and curves by epoch. Matplotlib is imported when one is drawn, without pyplot.

A picture is a white card with dark text, which is as legible on a dark page as on a light one; text of a middle grey
without a card would be faint on both. Colours of data are those of Okabe & Ito 2008 ("Color Universal Design") that
stand out from white and from black alike (contrast of 3 and more, WCAG 2.2, 1.4.11), and they never stand alone: lines
differ in their dashes or markers too. The report puts its pictures into the page itself, where the colours of text and
grid follow the page (`inline_svg`).
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stoop._checks import file_path
from stoop._errors import message

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILLION, GREEN, PURPLE, GRAY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7a7a7a"
TRAIN, VALIDATION, TEST = BLUE, VERMILLION, GREEN
SERIES = (BLUE, VERMILLION, GREEN, PURPLE, GRAY)  # for the first, second, ... of several
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v")
SHADES = "Blues"  # the colour map of shares, from white
SIGNED = "RdBu_r"  # that of numbers around zero
TEXT, GRID, AXIS = "#2b2b2b", "#e3e3e3", "#9a9a9a"
ON_CELL = "#111111"  # text on a pale cell of a map; on a dark one it is white
_DPI = 160
_PANELS = 3  # side by side
# What stands on a page by itself, and what the page colours.
_OF_PAGE = {TEXT: "var(--figure-text)", GRID: "var(--figure-grid)", AXIS: "var(--figure-axis)"}
_QUANTITIES = {"loss": "loss, mean per sample", "accuracy": "samples predicted right", "learning_rate": "learning rate"}


def draw_curves(
    epochs: Sequence[int],
    columns: Mapping[str, Sequence[float]],
    path: str | os.PathLike[str] | None,
    title: str,
    changes: Sequence[Mapping[str, Any]] = (),
) -> Figure:
    """Draw the loss, the accuracy and every metric with a ``val_`` column, a panel each; `epochs` is not empty.

    A dotted line marks each of the `changes` of a setting (`History.changes`).
    """
    metrics = [key.removeprefix("val_") for key in columns if key.startswith("val_")]
    panels = [key for key in dict.fromkeys(("loss", "accuracy", *metrics)) if key in columns or f"val_{key}" in columns]
    across = min(len(panels), _PANELS)
    down = -(-len(panels) // across)
    figure = new_figure(4.6 * across, 3.7 * down, title)
    for place, key in enumerate(panels):
        axes = figure.add_subplot(down, across, place + 1)
        _curve_panel(axes, epochs, columns, key)
        _mark_changes(axes, changes, named=place == 0)
        legend(axes)
    return finished(figure, path)


def new_figure(width: float, height: float, title: str | None = None) -> Figure:
    """Return an empty figure of this size in inches; ImportError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        hint = "install it with `pip install 'stoop[plot]'`"
        raise ImportError(message("plotting", "matplotlib is missing", "expected it for figures", hint)) from error
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.1)
    if title is not None:
        figure.suptitle(title, x=0.015, ha="left", fontsize=12, fontweight="bold", color=TEXT)
    return figure


def style(
    axes: Axes, *, grid: bool, title: str | None = None, xlabel: str | None = None, ylabel: str | None = None
) -> None:
    """Give axes the look of all figures, a title at their left, and the names of their axes with units."""
    axes.set_facecolor("none")
    for side, spine in axes.spines.items():
        spine.set_visible(grid and side in ("left", "bottom"))
        spine.set_color(AXIS)
    axes.tick_params(which="both", colors=TEXT, labelsize=9, length=0)
    if grid:
        axes.grid(color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
    if title is not None:
        axes.set_title(title, loc="left", fontsize=10, color=TEXT)
    if xlabel is not None:
        axes.set_xlabel(xlabel, fontsize=9, color=TEXT)
    if ylabel is not None:
        axes.set_ylabel(ylabel, fontsize=9, color=TEXT)


def legend(axes: Axes, **options: Any) -> None:
    """Add the legend, without a frame, where something has a label."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9, labelcolor=TEXT, **options)


def text_on(share: float) -> str:
    """Return the colour of text on a cell of `SHADES` of this share of the darkest."""
    return "white" if share > 0.68 else ON_CELL


def percent(axis: Any) -> None:
    """Label an axis of shares in percent."""
    axis.set_major_formatter(lambda value, _: f"{100.0 * value:.4g}%" if -1e-9 <= value <= 1.0 + 1e-9 else "")


def finished(figure: Figure, path: str | os.PathLike[str] | None) -> Figure:
    """Write the figure where there is a path, as PNG, SVG or PDF by its suffix, and return it."""
    if path is not None:
        figure.savefig(path if hasattr(path, "write") else file_path("savefig", path))
    return figure


def inline_svg(figure: Figure, name: str) -> str:
    """Return the figure as an ``<svg>`` element for a page: without a card, its text in the colours of the page.

    The page defines ``--figure-text``, ``--figure-grid`` and ``--figure-axis``. `name` keeps the ids of several figures
    of a page apart; letters and digits.
    """
    from matplotlib import rc_context

    file = io.StringIO()
    with rc_context({"svg.fonttype": "path", "svg.hashsalt": name}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    for color, variable in _OF_PAGE.items():
        text = text.replace(color, variable)
    return text.strip()


def _curve_panel(axes: Axes, epochs: Sequence[int], columns: Mapping[str, Sequence[float]], key: str) -> None:
    from matplotlib.ticker import MaxNLocator

    drawn = {"train": (key, TRAIN, "-", "o"), "validation": (f"val_{key}", VALIDATION, "--", "s")}
    for label, (column, color, dashes, marker) in drawn.items():
        if column in columns:
            points: dict[str, Any] = {"marker": marker, "markersize": 3.0} if len(epochs) <= 40 else {}
            axes.plot(epochs, columns[column], dashes, color=color, linewidth=1.8, label=label, **points)
    style(axes, grid=True, title=key, xlabel="epoch", ylabel=_QUANTITIES.get(key, key))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if key == "loss" and axes.get_ylim()[1] > 0.0 and axes.dataLim.y0 >= 0.0:  # a likelihood may be below
        axes.set_ylim(bottom=0.0)
    elif key == "accuracy":
        percent(axes.yaxis)


def _mark_changes(axes: Axes, changes: Sequence[Mapping[str, Any]], *, named: bool) -> None:
    """Draw a dotted line at the beginning of the epochs in which settings changed; one panel names them beside it."""
    words: dict[int, list[str]] = {}
    for change in changes:
        of_epoch = words.setdefault(change["epoch"], [])
        for key, value in change.items():
            if key not in ("epoch", "step"):
                of_epoch.append(f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}")
    for epoch, told in words.items():
        axes.axvline(epoch - 0.5, color=AXIS, linestyle=":", linewidth=1.2)
        if named:  # upright, so that changes soon after each other can be read
            look: dict[str, Any] = {
                "rotation": 90,
                "rotation_mode": "anchor",
                "ha": "right",
                "va": "top",
                "color": TEXT,
            }
            place = axes.get_xaxis_transform()
            axes.text(epoch - 0.4, 0.99, ", ".join(told), transform=place, fontsize=7, **look)
