"""What a loss curve says in words."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stoop._errors import message
from stoop.diagnose._findings import HIGH_BIAS, HIGH_VARIANCE, RATE_HIGH, RATE_LOW, Finding, finding
from stoop.history import History
from stoop.plotting import as_history

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]

_FEWEST = 4  # epochs, below which a shape says nothing
_RISE = 1.05  # of the lowest smoothed loss: by more, it rises
_DIVERGED = 1.5  # of the first loss
_FELL = 0.1  # of the first loss: less is hardly a fall
_STRAIGHT = 0.3  # the second half's fall over the first half's: a curve that levels off has less
_DOWNWARDS = 0.75  # of the epochs of the second half, in a curve that still falls
_BOUNCE = 0.1  # of the range of the losses, by which neighbouring epochs differ


@dataclass(frozen=True)
class Reading:
    """The result of `history`.

    Attributes
    ----------
    shape : str
        "diverging", "oscillating", "still falling", "plateau", "converged" or "too short".
    overfitting : int or None
        The epoch after which the validation loss rises while the training loss falls.
    words : list of str
        What the curve says, most important first.
    findings : list of Finding
        Faults that the shape suggests. A curve alone proves none of them: `check` tries them out.
    """

    shape: str
    overfitting: int | None
    words: list[str]
    findings: list[Finding]
    _history: History

    @property
    def has_epochs(self) -> bool:
        """Whether there is anything to draw."""
        return bool(self._history.epochs)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw the curve, see `History.plot`."""
        return self._history.plot(path)

    def __str__(self) -> str:
        return "\n".join(self.words)


def history(history: Any) -> Reading:
    """Say what the curves of a fit show: diverging, oscillating, a plateau, still falling, over- and underfitting.

    Parameters
    ----------
    history : History, dict, data frame, or list of these
        As in `stoop.plotting.learning_curve`.

    Returns
    -------
    Reading
        With `shape`, `words` and `findings`; ``str`` tells them.

    Raises
    ------
    ValueError, TypeError
        For what is no history.

    Notes
    -----
    The training loss of an epoch is the mean over its updates. "Diverging": it ends half above where it began, or was
    not finite. "Oscillating": neighbouring epochs of the second half differ by a tenth of the whole fall, up and down.
    "Still falling": the second half fell at least 0.3 times as far as the first, where a curve that levels off falls
    less. "Plateau": it fell by less than a tenth. "Converged": none of these. Overfitting: the validation loss ends 5 %
    above its lowest while the training loss went on falling (Prechelt 1998, "Early stopping - but when?").
    """
    given = as_history(history)
    if not given.epochs and given.stop_reason != "error":
        raise ValueError(message("diagnose.history", "it is empty", "expected at least one epoch", "fit first"))
    loss = np.asarray(given["loss"] if given.epochs else [], np.float64)
    shape = _shape(loss, failed=given.stop_reason == "error")
    words, found = _of_shape(shape, loss)
    epoch = _overfitting(given, loss)
    if epoch is not None:
        lowest, last = given["val_loss"][epoch], given["val_loss"][-1]
        text = (
            f"The validation loss is lowest after epoch {given.epochs[epoch]} ({lowest:.4g}) and rises to {last:.4g} "
            "while the training loss falls: the model learns its samples by heart."
        )
        words.append(text + " Stop early (stoop.callbacks.EarlyStopping) or regularise.")
        found.append(finding(HIGH_VARIANCE, text))
    elif shape in ("plateau", "converged"):
        found += _underfitting(given, words)
    return Reading(shape, None if epoch is None else given.epochs[epoch], words, found, given)


def _shape(loss: Array, *, failed: bool) -> str:
    if failed or not np.isfinite(loss).all() or (len(loss) > 1 and loss[-1] > loss[0] + (_DIVERGED - 1) * abs(loss[0])):
        return "diverging"
    if len(loss) < _FEWEST:
        return "too short"
    middle = len(loss) // 2
    fall, scale = loss[0] - loss.min(), abs(loss[0])
    steps = np.diff(loss[middle:])
    bounces = float(np.sqrt(np.mean(steps**2))) if len(steps) else 0.0
    both_ways = len(steps) > 1 and float((steps > 0).mean()) > 0.2
    if both_ways and bounces > _BOUNCE * max(fall, _FELL * scale):
        return "oscillating"
    first, second = loss[0] - loss[middle], loss[middle] - loss[-1]
    if second > _STRAIGHT * max(first, 0.0) and float((steps < 0).mean()) >= _DOWNWARDS:
        return "still falling"
    return "plateau" if fall < _FELL * scale else "converged"


def _of_shape(shape: str, loss: Array) -> tuple[list[str], list[Finding]]:
    if shape == "too short":
        return [f"{len(loss)} epochs are too few to judge the curve."], []
    if shape == "diverging":
        ends = f" from {loss[0]:.4g} to {loss[-1]:.4g}" if len(loss) else ""
        text = f"The training loss diverged{ends}." if len(loss) else "The loss was not finite in the first epoch."
        return [text + " Lower the learning rate."], [finding(RATE_HIGH, text)]
    ends = f"from {loss[0]:.4g} to {loss[-1]:.4g} in {len(loss)} epochs"
    if shape == "oscillating":
        text = f"The training loss goes up and down from epoch to epoch ({ends})."
        return [text + " Lower the learning rate, or let it decay."], [finding(RATE_HIGH, text)]
    if shape == "still falling":
        text = f"The training loss still falls at the end ({ends})."
        slow = loss[0] - loss[-1] < _FELL * abs(loss[0])
        hint = " Raise the learning rate." if slow else " Train longer, or raise the learning rate."
        return [text + hint], [finding(RATE_LOW, text)] if slow else []
    if shape == "plateau":
        return [f"The training loss hardly fell ({ends})."], []
    return [f"The training loss fell and has levelled off ({ends})."], []


def _overfitting(history: History, loss: Array) -> int | None:
    """Return the place of the lowest validation loss, where it rises after that while the training loss falls."""
    if "val_loss" not in history or len(loss) < _FEWEST:
        return None
    validation = np.asarray(history["val_loss"], np.float64)
    if not np.isfinite(validation).any() or not np.isfinite(validation[-1]):
        return None
    place = int(np.nanargmin(validation))
    lowest = float(validation[place])
    rises = validation[-1] > lowest + (_RISE - 1.0) * abs(lowest) and place < len(loss) - 2
    return place if rises and loss[-1] < loss[place] else None


def _underfitting(history: History, words: list[str]) -> list[Finding]:
    """Say that training and validation level off at about the same loss, if that is far from what is possible."""
    if "accuracy" not in history or not history["accuracy"]:
        return []
    accuracy = history["accuracy"][-1]
    if not accuracy < 0.9:
        return []
    text = f"The training accuracy has levelled off at {accuracy:.1%}."
    words.append(text + " If more is possible, the model is too small or too regularised.")
    return [finding(HIGH_BIAS, text)]
