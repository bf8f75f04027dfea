"""What all figures share, and curves by epoch. Matplotlib is imported when one is drawn, without pyplot."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stoop._checks import file_path
from stoop._errors import message

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAIN, VALIDATION, TEXT, GRID = "#1f6fb4", "#e0702a", "#2b2b2b", "#e3e3e3"
_DPI = 160
_PANELS = 3  # side by side


def draw_curves(
    epochs: Sequence[int], columns: Mapping[str, Sequence[float]], path: str | os.PathLike[str] | None, title: str
) -> Figure:
    """Draw the loss, the accuracy and every metric with a ``val_`` column, a panel each; `epochs` is not empty."""
    metrics = [key.removeprefix("val_") for key in columns if key.startswith("val_")]
    panels = [key for key in dict.fromkeys(("loss", "accuracy", *metrics)) if key in columns or f"val_{key}" in columns]
    across = min(len(panels), _PANELS)
    down = -(-len(panels) // across)
    figure = new_figure(4.6 * across, 3.7 * down)
    figure.suptitle(title, x=0.015, ha="left", fontsize=12, fontweight="bold", color=TEXT)
    for place, key in enumerate(panels):
        _curve_panel(figure.add_subplot(down, across, place + 1), epochs, columns, key)
    return finished(figure, path)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches; ImportError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        hint = "install it with `pip install matplotlib`"
        raise ImportError(message("plotting", "matplotlib is missing", "expected it for figures", hint)) from error
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.1)
    return figure


def style(axes: Axes, *, grid: bool) -> None:
    """Give axes the look of all figures."""
    for side, spine in axes.spines.items():
        spine.set_visible(grid and side in ("left", "bottom"))
        spine.set_color("#9a9a9a")
    axes.tick_params(colors=TEXT, labelsize=9, length=0)
    if grid:
        axes.grid(color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)


def finished(figure: Figure, path: str | os.PathLike[str] | None) -> Figure:
    """Write the figure where there is a path, and return it."""
    if path is not None:
        figure.savefig(path if hasattr(path, "write") else file_path("savefig", path))
    return figure


def _curve_panel(axes: Axes, epochs: Sequence[int], columns: Mapping[str, Sequence[float]], key: str) -> None:
    from matplotlib.ticker import MaxNLocator

    marker: dict[str, Any] = {"marker": "o", "markersize": 3.0} if len(epochs) <= 40 else {}
    drawn = {"train": (key, TRAIN), "validation": (f"val_{key}", VALIDATION)}
    for label, (column, color) in drawn.items():
        if column in columns:
            axes.plot(epochs, columns[column], color=color, linewidth=1.8, label=label, **marker)
    style(axes, grid=True)
    axes.set_title(key, loc="left", fontsize=10, color=TEXT)
    axes.set_xlabel("epoch", color=TEXT)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if key == "loss" and axes.get_ylim()[1] > 0.0 and axes.dataLim.y0 >= 0.0:  # a likelihood may be below
        axes.set_ylim(bottom=0.0)
    elif key == "accuracy":
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}" if value <= 1.0 else "")
    axes.legend(frameon=False, fontsize=9, labelcolor=TEXT)
