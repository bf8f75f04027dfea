"""The figure of a search: parallel coordinates."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from stoop._errors import message
from stoop._figures import AXIS, TEXT, VERMILLION, finished, legend, new_figure
from stoop.search._spaces import Choice, Integers, Parameter

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS = "cividis"  # even in lightness, and the same to colour-blind eyes
_LIGHTEST = 0.85  # of these colours; yellow on white cannot be seen
_TICKS, _MOST_CHOICES = 5, 12


def draw_trials(result: Any, path: str | os.PathLike[str] | None) -> Figure:
    """Draw a line for each trial through an axis for each parameter, and on to its place among all by the metric."""
    from_best = [trial for trial in result.sorted_trials() if trial["value"] is not None]
    sign = -1.0 if result.mode == "max" else 1.0
    trials = sorted(from_best, key=lambda trial: (sign * trial["value"], trial["number"]))
    if not trials:
        hint = "look at the errors in `trials`"
        raise ValueError(message("SearchResult.plot", "no trial has a value", "expected at least one", hint))
    across = len(result.space) + 1
    title = f"{len(trials)} trials, {result.metric} by rank"
    figure = new_figure(max(1.45 * across + 1.0, 6.0), 4.4, title)
    axes = figure.add_subplot()
    values = list(dict.fromkeys(trial["value"] for trial in trials))  # equal ones share a place
    ranks = np.linspace(1.0, 0.0, len(values)) if len(values) > 1 else np.array([1.0])  # the best is at the top
    place_of = dict(zip(values, ranks))
    places = [place_of[trial["value"]] for trial in trials]
    for place, trial in reversed(list(zip(places, trials))):  # and is drawn last
        heights = [parameter.coordinate(trial["params"][name]) for name, parameter in result.space.items()]
        best = trial["number"] == result.best_trial["number"]
        look: dict[str, Any] = {"color": _color(float(place)), "linewidth": 1.1, "alpha": 0.75}
        if best:
            look = {"color": VERMILLION, "linewidth": 2.6, "zorder": 4, "label": f"the best, trial {trial['number']}"}
        axes.plot(range(across), [*heights, place], solid_joinstyle="round", **look)
    for number, parameter in enumerate(result.space.values()):
        _draw_axis(axes, number, *_ticks(parameter))
    rows = np.unique(np.linspace(0, len(values) - 1, min(_TICKS, len(values))).round().astype(int))
    _draw_axis(axes, across - 1, ranks[rows].tolist(), [_number(values[row]) for row in rows], right=True)
    _draw_strip(axes, across - 1)
    _finish(axes, result)
    return finished(figure, path)


def _color(place: float) -> Any:
    """Return the colour of a trial at this place, 1 for the best: the darkest."""
    from matplotlib import colormaps

    return colormaps[_COLORS](_LIGHTEST * (1.0 - place))


def _draw_axis(axes: Axes, x: int, places: Sequence[float], labels: Sequence[str], *, right: bool = False) -> None:
    axes.plot([x, x], [0.0, 1.0], color=AXIS, linewidth=1.0, zorder=3)
    side = 0.09 if right else 0.03
    for place, label in zip(places, labels):
        axes.plot([x - 0.02, x + 0.02], [place, place], color=AXIS, linewidth=1.0, zorder=3)
        text = axes.text(x + side, place, label, ha="left", va="center", fontsize=8, color=TEXT, zorder=6)
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.8})


def _draw_strip(axes: Axes, x: int) -> None:
    """Draw the colours beside the axis of the metric."""
    edges = np.linspace(0.0, 1.0, 65)
    for low, high in pairwise(edges):
        color = _color(float(low + high) / 2)
        axes.fill_between([x + 0.02, x + 0.07], low, high, color=color, linewidth=0.0, zorder=3)


def _finish(axes: Axes, result: Any) -> None:
    names = [*result.space, f"{result.metric} ({'larger' if result.mode == 'max' else 'smaller'} is better)"]
    scales = [f"\n{parameter.scale}" if parameter.scale != "choices" else "\n" for parameter in result.space.values()]
    texts = [f"{name}{scale}" for name, scale in zip(names, [*scales, "\n"])]
    axes.set_xticks(range(len(names)), texts, fontsize=9, color=TEXT)
    axes.set_yticks([])
    axes.set_xlim(-0.15, len(names) - 0.45)
    axes.set_ylim(-0.04, 1.04)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    legend(axes, loc="lower right", bbox_to_anchor=(1.0, 1.0))


# ---- ticks ----


def _ticks(parameter: Parameter) -> tuple[list[float], list[str]]:
    """Return coordinates and texts."""
    if isinstance(parameter, Choice):
        labels = parameter.labels()
        step = max(math.ceil(len(labels) / _MOST_CHOICES), 1)
        return [parameter.coordinate(parameter.values[at]) for at in range(0, len(labels), step)], labels[::step]
    values = parameter.grid(_TICKS) if isinstance(parameter, Integers) else _round_values(parameter)
    return [parameter.coordinate(value) for value in values], [_number(value) for value in values]


def _round_values(parameter: Any) -> list[float]:
    """Return the ends, and round values between them."""
    low, high = parameter.low, parameter.high
    if parameter.scale == "linear":
        from matplotlib.ticker import MaxNLocator

        between = [float(value) for value in MaxNLocator(_TICKS).tick_values(low, high)]
    else:
        ends = (low, high) if parameter.scale == "log" else (1.0 - high, 1.0 - low)
        tens = [10.0**power for power in range(math.floor(math.log10(ends[0])), math.ceil(math.log10(ends[1])) + 1)]
        between = tens if parameter.scale == "log" else [1.0 - ten for ten in tens]
    inside = [value for value in between if low < value < high]
    apart = [value for value in inside if 0.07 < parameter.coordinate(value) < 0.93]
    return [low, *apart, high]


def _number(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
