"""Error analysis: which samples a model gets wrong, and what they have in common."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stoop._diagnosis_figures import draw_residuals, draw_slices
from stoop._errors import message
from stoop.diagnose._calibration import Calibration, calibration_of
from stoop.diagnose._scores import Scored, probabilities, scored
from stoop.diagnose._slices import SliceError, groups_of, slices_of
from stoop.diagnose._statistics import limits_of
from stoop.metrics import confusion_matrix as count_confusions
from stoop.model import Model
from stoop.plotting import confusion_matrix, images
from stoop.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[Any]

_WHERE = "diagnose.errors"
_SHOWN = 24  # worst mistakes
_ACROSS = 8  # images in a row
_MOST_CLASSES = 40  # drawn in a matrix
_LOSSES = {"softmax": "softmax_cross_entropy", "sigmoid": "binary_cross_entropy", "identity": "mse"}


@dataclass(frozen=True)
class Mistake:
    """A sample that the model gets wrong.

    Attributes
    ----------
    row : int
        Of X.
    true, predicted : str or float
        Names of classes, or values.
    size : float
        Probability of the predicted class; of values predicted minus true.
    """

    row: int
    true: str | float
    predicted: str | float
    size: float


@dataclass(frozen=True, eq=False)
class ErrorAnalysis:
    """The result of `errors`.

    Attributes
    ----------
    kind : {"classes", "labels", "values"}
    samples : int
    error, low, high : float
        The error as in `check`, with 95 % limits.
    class_names : list of str
        Empty for values.
    confusion : ndarray, (n_classes, n_classes), or None
        How often each class (row) was predicted as each class (column).
    classes : list of SliceError
        The error of each true class, of values of each quarter of the true values.
    slices : dict of str to list of SliceError
    worst : list of Mistake
        The most confident wrong predictions, or the largest residuals; at most 24.
    inputs : ndarray, (n_worst, ...)
        Their inputs; with `image_shape` as images.
    calibration : Calibration or None
    """

    kind: str
    samples: int
    error: float
    low: float
    high: float
    class_names: list[str]
    confusion: Array | None
    classes: list[SliceError]
    slices: dict[str, list[SliceError]]
    worst: list[Mistake]
    inputs: Array
    calibration: Calibration | None
    _part: Scored

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw the confusion matrix, of values the predictions over the true values; PNG, PDF or SVG by the suffix.

        Raises
        ------
        ImportError
            If matplotlib is not installed; the extra ``stoop[plot]`` brings it.
        """
        if self.kind == "classes":
            return confusion_matrix(self._part.true, self._part.predicted, path, self.class_names)
        return draw_residuals(self._part.true[:, 0], self._part.predicted[:, 0], "value", path)

    def pictures(self) -> Iterator[tuple[str, str, Figure]]:
        """Yield all pictures, each with a name and a caption."""
        if self.kind != "classes" or len(self.class_names) <= _MOST_CLASSES:
            what = "How often each class is taken for each" if self.kind == "classes" else "Predictions of the dev data"
            yield "confusion" if self.kind == "classes" else "predictions", f"{what}.", self.plot()
        if self.worst and self.inputs.ndim > 2:
            classes = self.kind == "classes"
            names = [f"{m.predicted}, not {m.true}" if classes else f"{m.size:+.3g}" for m in self.worst]
            figure = images(np.nan_to_num(self.inputs), titles=names, columns=_ACROSS, title="Worst mistakes")
            yield "mistakes", "The worst mistakes: what was predicted, and what is true.", figure
        words = "error" if self.kind != "values" else "error, 1 - R²"
        for name, groups in self.slices.items():
            rows = [(group.name, group.error, group.low, group.high, group.samples) for group in groups]
            yield "slice", f"The error by {name}.", draw_slices(rows, self.error, words, f"Error by {name}")
        if self.calibration is not None:
            yield "calibration", str(self.calibration), self.calibration.plot()

    def __str__(self) -> str:
        lines = [f"error {self.error:.2%} ({self.low:.2%} to {self.high:.2%}) of {self.samples:,} samples"]
        for title, groups in (("class", self.classes), *self.slices.items()):
            lines.append(f"{title:<24}samples   error   95 % limits      of all errors")
            lines += [
                f"  {g.name:<22}{g.samples:>7}{g.error:>8.1%}{g.low:>8.1%} to {g.high:<7.1%}{g.share:>10.0%}"
                for g in groups
            ]
        if self.calibration is not None:
            lines.append(str(self.calibration))
        if self.worst:
            lines.append(
                "worst mistakes (row: predicted, true, " + ("confidence)" if self.kind == "classes" else "residual)")
            )
            lines += [f"  {m.row}: {_shown(m.predicted)}, {_shown(m.true)}, {m.size:.3g}" for m in self.worst[:8]]
        return "\n".join(lines)


def errors(
    model: Model | Trainer,
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    class_names: Sequence[str] | None = None,
    image_shape: tuple[int, ...] | None = None,
    slices: Any = None,
) -> ErrorAnalysis:
    """Look at the errors of a model: which classes it confuses, the worst mistakes, the error by slice, calibration.

    Looking at mistakes one by one shows what is worth curing (Ng 2018, chapters 13 to 19): the share of all errors that
    a slice has is the most that curing it can bring.

    Parameters
    ----------
    model : Model or Trainer
    X : array_like or data frame, (n_samples, input_dim)
        Of the dev data, as a rule.
    y : array_like
        As in `Trainer.fit`.
    class_names : sequence of str, optional
        None: those of the model, or the indices.
    image_shape : (height, width) or (height, width, channels), optional
        The inputs are images.
    slices : optional
        By what errors are grouped: the index or name of a column of X, an array with a label for each sample, a
        function of X that returns one, a list of these, or a dict of them by name. Numbers of more than 10 kinds are
        cut at their quartiles.

    Returns
    -------
    ErrorAnalysis

    Raises
    ------
    ValueError, TypeError
        For data that cannot be used, a column that is not there, and other shapes.
    """
    trainer = model
    if isinstance(model, Model):
        columns = "sigmoid" if model.output_dim == 1 else "softmax"
        trainer = Trainer(model, loss=_LOSSES[model.output or columns])
    if not isinstance(trainer, Trainer):
        raise TypeError(message(_WHERE, f"model is {model!r}", "expected a stoop.Model or Trainer", "give one"))
    part = scored(trainer, X, y, _WHERE)
    return analysis_of(trainer.model, part, (X, class_names, image_shape, slices))


def analysis_of(model: Model, part: Scored, asked: tuple[Any, Any, Any, Any]) -> ErrorAnalysis:
    """Return the analysis of samples; `asked` are X as it was given, class_names, image_shape and slices."""
    X, class_names, image_shape, slices = asked
    names = _names(model, part, class_names)
    confusion = classes = calibration = None
    if part.kind == "classes":
        confusion = count_confusions(part.true, part.predicted, len(names))
        classes = groups_of(part.true, part.errors, names)
        confidence = probabilities(part)[np.arange(len(part.true)), part.predicted]
        calibration = calibration_of(confidence, part.errors == 0.0)
    elif part.kind == "labels":
        wrong = (part.true != part.predicted).astype(np.float64)
        columns = np.tile(np.arange(wrong.shape[1]), len(wrong))
        classes = groups_of(columns, wrong.ravel(), names)
    else:
        classes = groups_of(part.true[:, 0], part.errors)
    worst = _worst(part, names)
    inputs = part.x[[mistake.row for mistake in worst]]
    if image_shape is not None:
        inputs = inputs.reshape(-1, *_image_shape(image_shape, part.x.shape[1]))
    found = slices_of(X, slices, part.errors)
    size = len(part.x), part.level.error, *limits_of(part.errors)
    return ErrorAnalysis(part.kind, *size, names, confusion, classes, found, worst, inputs, calibration, part)


def _names(model: Model, part: Scored, given: Sequence[str] | None) -> list[str]:
    if part.kind == "values":
        return []
    count = part.outputs.shape[1] if part.outputs.shape[1] > 1 or part.kind == "labels" else 2
    names = [str(name) for name in (range(count) if model.classes is None else model.classes)]
    if given is not None:
        names = [str(name) for name in given]
    if len(names) != count:
        raise ValueError(
            message(_WHERE, f"{len(names)} class_names", f"expected {count}", "give a name for each class")
        )
    return names


def _image_shape(shape: Any, width: int) -> tuple[int, ...]:
    if (
        not isinstance(shape, tuple | list)
        or len(shape) not in (2, 3)
        or int(np.prod(shape)) != width
        or (len(shape) == 3 and shape[2] not in (1, 3))
    ):
        given = f"image_shape is {shape} for {width} columns"
        expected = "expected (height, width) or (height, width, 1 or 3) with that product"
        raise ValueError(message(_WHERE, given, expected, "check image_shape"))
    return tuple(shape[:2] if len(shape) == 3 and shape[2] == 1 else shape)


def _worst(part: Scored, names: list[str]) -> list[Mistake]:
    if part.kind == "values":
        residuals = part.predicted - part.true
        rows = np.argsort(-part.errors, kind="stable")[:_SHOWN]
        column = np.abs(residuals).argmax(axis=1)
        return [
            Mistake(int(row), float(part.true[row, c]), float(part.predicted[row, c]), float(residuals[row, c]))
            for row, c in zip(rows, column[rows])
        ]
    chances = probabilities(part)
    wrong = np.flatnonzero(part.errors > 0.0)
    if part.kind == "labels":
        sure = np.abs(chances - part.true)
        column = sure.argmax(axis=1)
        order = wrong[np.argsort(-sure.max(axis=1)[wrong], kind="stable")][:_SHOWN]
        return [
            Mistake(
                int(row), f"{names[c]}={part.true[row, c]}", f"{names[c]}={part.predicted[row, c]}", float(sure[row, c])
            )
            for row, c in zip(order, column[order])
        ]
    confidence = chances[np.arange(len(chances)), part.predicted]
    order = wrong[np.argsort(-confidence[wrong], kind="stable")][:_SHOWN]
    return [
        Mistake(int(row), names[part.true[row]], names[part.predicted[row]], float(confidence[row])) for row in order
    ]


def _shown(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"
