"""Figures of a training run. Matplotlib is imported when one is drawn, without pyplot and its global state."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stoop._arrays import is_table, real_numbers
from stoop._errors import message
from stoop._figures import SHADES, draw_curves, finished, new_figure, style, text_on
from stoop._image_grid import images
from stoop.history import History
from stoop.metrics import confusion_matrix as count_confusions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["confusion_matrix", "images", "learning_curve"]

_WHERE = "learning_curve"
_DRAWN = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")  # what else a table holds may be of any kind

Curves = History | Mapping[str, Sequence[float]] | Sequence[History] | Any  # Any: a data frame


def learning_curve(
    history: Curves, path: str | os.PathLike[str] | None = None, title: str = "Learning curve"
) -> Figure:
    """Draw loss and, if recorded, accuracy and other metrics by epoch, for training and validation.

    Parameters
    ----------
    history : History, dict, data frame, or list of these
        With at least one epoch and the key ``loss``. A dict or data frame (of ``History.to_csv`` too) may have the
        numbers of its epochs under ``epoch``; they are 1, 2, ... otherwise. Those of a list are drawn one after
        another, as their sum is. Metrics other than the accuracy are drawn of a History.
    path : path, optional
        Where to write it as PNG (or PDF, SVG by the suffix).
    title : str, default "Learning curve"

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError, TypeError
        If the history is empty, has no losses, or columns of different lengths or without numbers.
    ImportError
        If matplotlib is not installed.
    """
    history = as_history(history)
    if not history.epochs:
        raise ValueError(message(_WHERE, "the history is empty", "expected at least one epoch", "fit first"))
    return draw_curves(history.epochs, history, path, title, history.changes)


def confusion_matrix(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    path: str | os.PathLike[str] | None = None,
    labels: Sequence[str] | None = None,
    title: str = "Confusion matrix",
) -> Figure:
    """Draw how often each class (row) was predicted as each class (column); colour is the share of the row.

    Parameters
    ----------
    y_true, y_pred : array_like, (n_samples,)
        Class indices from 0.
    path : path, optional
        Where to write it as PNG (or PDF, SVG by the suffix).
    labels : sequence of str, optional
        Names of the classes. None: their indices.
    title : str, default "Confusion matrix"

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        As `stoop.metrics.confusion_matrix`.
    ImportError
        If matplotlib is not installed.
    """
    counts = count_confusions(y_true, y_pred, None if labels is None else len(labels))
    names = [str(i) for i in range(len(counts))] if labels is None else list(labels)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(4.2, 0.46 * len(names) + 1.4)
    figure = new_figure(side, side, title)
    axes = figure.add_subplot()
    # The square root keeps a single error in a hundred visible.
    axes.imshow(np.sqrt(shares), cmap=SHADES, vmin=0.0, vmax=1.0)
    for row, column in zip(*np.nonzero(counts)):
        color = text_on(np.sqrt(shares[row, column]))
        axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", fontsize=9, color=color)
    correct = int(np.trace(counts))
    subtitle = f"{correct:,} of {counts.sum():,} correct ({correct / counts.sum():.2%})"
    style(axes, grid=False, title=subtitle, xlabel="predicted class", ylabel="true class")
    long = max(map(len, names)) > 3
    axes.set_xticks(range(len(names)), names, rotation=45 if long else 0, ha="right" if long else "center")
    axes.set_yticks(range(len(names)), names)
    return finished(figure, path)


def as_history(given: Any) -> History:
    """Return what stands for a history as one."""
    if isinstance(given, History):
        return given
    if isinstance(given, Sequence) and not isinstance(given, str):
        return sum((as_history(part) for part in given), History(()))
    if not (isinstance(given, Mapping) or is_table(given)):
        hint = "give what Trainer.fit returned"
        raise TypeError(message(_WHERE, f"history is a {type(given).__name__}", "expected a History or a dict", hint))
    keys = list(given) if isinstance(given, Mapping) else list(given.columns)
    columns = {key: real_numbers(_WHERE, given[key], f"history[{key!r}]") for key in _DRAWN if key in keys}
    lengths = {key: column.shape for key, column in columns.items()}
    if "loss" not in columns or len(set(lengths.values())) > 1 or columns["loss"].ndim != 1:
        shapes = ", ".join(f"{key} {shape}" for key, shape in lengths.items()) or "nothing to draw"
        expected, hint = 'expected "loss" and others of the same length, (n_epochs,)', "give what Trainer.fit returned"
        raise ValueError(message(_WHERE, f"history holds {shapes}", expected, hint))
    epochs = columns.pop("epoch", np.arange(1, len(columns["loss"]) + 1))
    return History._of([int(epoch) for epoch in epochs], {key: column.tolist() for key, column in columns.items()})
