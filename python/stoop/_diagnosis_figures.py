"""Pictures of a diagnosis, from plain numbers: `stoop.plotting` and the results of `stoop.diagnose` draw them."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stoop._figures import (
    BLUE,
    DASHES,
    GRAY,
    GREEN,
    GRID,
    MARKERS,
    PURPLE,
    TEST,
    TEXT,
    TRAIN,
    VALIDATION,
    VERMILLION,
    finished,
    legend,
    new_figure,
    percent,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Path = str | os.PathLike[str] | None
Array = npt.NDArray[Any]

_PART_COLORS = {"target": GRAY, "train": TRAIN, "train-dev": PURPLE, "dev": VALIDATION, "test": TEST}


def draw_units(layers: Sequence[tuple[str, tuple[float, float, float]]], path: Path) -> Figure:
    """Draw the shares of dead, saturated and symmetric units; `layers` are (name, shares)."""
    figure = new_figure(6.4, 1.7 + 0.5 * len(layers), "Units that do nothing")
    axes = figure.add_subplot()
    kinds = (("dead", VERMILLION, ""), ("saturated", BLUE, "//"), ("symmetric", PURPLE, ".."))
    for place, (kind, color, hatch) in enumerate(kinds):
        places = [row + 0.25 * (place - 1) for row in range(len(layers))]
        widths = [shares[place] for _, shares in layers]
        axes.barh(places, widths, 0.22, color=color, hatch=hatch, edgecolor="white", linewidth=0, label=kind)
    style(axes, grid=True, xlabel="share of the units", ylabel="hidden layer")
    _rows(axes, [name for name, _ in layers])
    axes.set_xlim(0.0, 1.02)
    percent(axes.xaxis)
    legend(axes, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return finished(figure, path)


def draw_gradients(rows: Sequence[tuple[str, float, float | None, float | None]], path: Path) -> Figure:
    """Draw gradient norms and signals, and update ratios, by layer; `rows` are (name, norm, signal, ratio)."""
    figure = new_figure(8.4, 3.7, "Flow of the gradient")
    names = [name for name, *_ in rows]
    sizes, ratios = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    _points(sizes, names, [norm for _, norm, _, _ in rows], TRAIN, 0, "of the weight, L2 norm")
    _points(sizes, names, [signal for _, _, signal, _ in rows], VALIDATION, 1, "that reaches the layer, RMS")
    style(sizes, grid=True, title="gradient", xlabel="layer", ylabel="size of the gradient (logarithmic)")
    _points(ratios, names, [ratio for *_, ratio in rows], TRAIN, 0, "next update")
    ratios.axhspan(1e-4, 1e-2, color=GREEN, alpha=0.15, linewidth=0, label="usual")
    style(ratios, grid=True, title="update / weight", xlabel="layer", ylabel="ratio of L2 norms (logarithmic)")
    for axes in (sizes, ratios):
        axes.set_xticks(range(len(names)), names)
        legend(axes)
    return finished(figure, path)


def draw_samples(
    sizes: Sequence[int], train: Array, dev: Array, words: tuple[str, str], prediction: tuple[float, float] | None,
    path: Path,
) -> Figure:  # fmt: skip
    """Draw errors over the number of training samples, (n_sizes, n_repeats); `words` are the error and the title."""
    figure = new_figure(6.0, 3.9, words[1])
    axes = figure.add_subplot()
    drawn = (("training", train, TRAIN, 0), ("dev", dev, VALIDATION, 1))
    for label, errors, color, place in drawn:
        mean = errors.mean(axis=1)
        axes.plot(sizes, mean, DASHES[place], marker=MARKERS[place], markersize=4, color=color, label=label)
        axes.fill_between(sizes, errors.min(axis=1), errors.max(axis=1), color=color, alpha=0.18, linewidth=0)
    if prediction is not None:
        ends = [sizes[-1], prediction[0]], [dev.mean(axis=1)[-1], prediction[1]]
        axes.plot(*ends, ":", color=VALIDATION, marker="o", markerfacecolor="none", label="dev, predicted")
    axes.set_xscale("log")
    style(axes, grid=True, xlabel="training samples (logarithmic)", ylabel=words[0])
    axes.set_ylim(bottom=0.0)
    legend(axes)
    return finished(figure, path)


def draw_errors(errors: Sequence[tuple[str, float, float, float]], words: str, path: Path = None) -> Figure:
    """Draw the errors of the parts with their limits; `errors` are (part, error, low, high)."""
    figure = new_figure(6.0, 1.5 + 0.42 * len(errors), "Errors")
    axes = figure.add_subplot()
    for row, (part, error, low, high) in enumerate(errors):
        axes.barh(row, error, 0.6, color=_PART_COLORS[part])
        axes.errorbar(error, row, xerr=[[error - low], [high - error]], color=TEXT, capsize=3, linewidth=1.0)
        axes.annotate(
            f"{error:.2%}", (high, row), (6, 0), textcoords="offset points", va="center", fontsize=9, color=TEXT
        )
    style(axes, grid=True, xlabel=f"{words}, with 90 % limits", ylabel="part of the data")
    _rows(axes, [part for part, *_ in errors])
    axes.set_xlim(0.0, max(1.25 * max((high for *_, high in errors), default=0.0), 1e-3))
    percent(axes.xaxis)
    return finished(figure, path)


def draw_calibration(bins: Sequence[tuple[float, float, int, float, float]], error: float, path: Path) -> Figure:
    """Draw how often predictions of each confidence are right; `bins` are (confidence, right, samples, low, high)."""
    figure = new_figure(5.2, 5.2, "Calibration")
    curve, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    curve.plot([0, 1], [0, 1], "--", color=GRAY, linewidth=1.2, label="perfect")
    confidence, right, samples, low, high = (list(values) for values in zip(*bins))
    lengths = [np.subtract(right, low), np.subtract(high, right)]
    curve.errorbar(
        confidence, right, yerr=np.maximum(lengths, 0.0), fmt="o-", color=TRAIN, markersize=4, capsize=2, label="model"
    )
    style(curve, grid=True, title=f"expected calibration error {error:.1%}", ylabel="predicted right, with 95 % limits")
    counts.bar(confidence, samples, 0.04, color=TRAIN)
    style(counts, grid=True, xlabel="confidence: probability of the predicted class", ylabel="samples")
    curve.set_xlim(0.0, 1.02)
    curve.set_ylim(-0.02, 1.02)
    for axis in (curve.yaxis, counts.xaxis):
        percent(axis)
    legend(curve)
    return finished(figure, path)


def draw_slices(
    groups: Sequence[tuple[str, float, float, float, int]], overall: float, words: str, title: str
) -> Figure:
    """Draw the error of each slice with its limits; `groups` are (name, error, low, high, samples)."""
    figure = new_figure(6.4, 1.7 + 0.32 * len(groups), title)
    axes = figure.add_subplot()
    for row, (_, error, low, high, _) in enumerate(groups):
        axes.plot([low, high], [row, row], color=TRAIN, linewidth=1.6)
        axes.plot(error, row, "o", color=TRAIN, markersize=5)
    axes.axvline(overall, color=VALIDATION, linestyle="--", linewidth=1.4, label=f"all samples {overall:.2%}")
    style(axes, grid=True, xlabel=f"{words}, with 95 % limits", ylabel="slice (samples)")
    _rows(axes, [f"{name} ({samples:,})" for name, _, _, _, samples in groups])
    axes.set_xlim(left=0.0)
    percent(axes.xaxis)
    legend(axes, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2)
    return finished(figure, None)


def draw_residuals(true: Array, predicted: Array, name: str, path: Path = None) -> Figure:
    """Draw predicted over true values of one target, and the residuals over the predictions."""
    figure = new_figure(8.4, 3.9, "Predictions")
    both, rest = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    alpha = min(1.0, 12.0 / math.sqrt(len(true)))
    low, high = float(min(true.min(), predicted.min())), float(max(true.max(), predicted.max()))
    both.plot([low, high], [low, high], "--", color=GRAY, linewidth=1.2, label="perfect")
    both.plot(true, predicted, ".", color=TRAIN, alpha=alpha, markersize=4, rasterized=True)
    style(both, grid=True, xlabel=f"true {name}", ylabel=f"predicted {name}")
    legend(both)
    rest.axhline(0.0, color=GRAY, linestyle="--", linewidth=1.2)
    rest.plot(predicted, predicted - true, ".", color=VALIDATION, alpha=alpha, markersize=4, rasterized=True)
    style(rest, grid=True, xlabel=f"predicted {name}", ylabel="residual, predicted minus true")
    return finished(figure, path)


def draw_rates(
    rates: Sequence[float], losses: Sequence[float], used: tuple[float, float], title: str, path: Path = None
) -> Figure:
    """Draw the loss that as many updates reach at other learning rates; `used` is that of the fit and its loss."""
    figure = new_figure(5.6, 3.7, title)
    axes = figure.add_subplot()
    axes.plot(rates, losses, "-", marker="o", markersize=4, color=TRAIN, label="from fresh weights, few updates")
    axes.plot(*used, "s", color=VALIDATION, markersize=7, label="the fit, at its end")
    axes.set_xscale("log")
    style(axes, grid=True, xlabel="learning rate (logarithmic)", ylabel="training loss, mean per sample")
    legend(axes)
    return finished(figure, path)


def _points(
    axes: Axes, names: Sequence[str], values: Sequence[float | None], color: str, place: int, label: str
) -> None:
    found = [(row, value) for row, value in enumerate(values) if value is not None and 0.0 < value < math.inf]
    if found:
        axes.plot(*zip(*found), DASHES[place], marker=MARKERS[place], markersize=4, color=color, label=label)
        axes.set_yscale("log")
    axes.set_xlim(-0.4, len(names) - 0.6)


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x", color=GRID, linewidth=0.8)
