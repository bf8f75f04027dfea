"""The learning curve over the number of samples: what more data would bring."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stoop._checks import integer
from stoop._checks import seed as checked_seed
from stoop._diagnosis_figures import draw_samples
from stoop._errors import message
from stoop._fit_many import fit_many
from stoop._split import rows_of, take, train_test_split
from stoop.diagnose._scores import scored
from stoop.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]

_WHERE = "diagnose.learning_curve"
_SIZES = (0.1, 0.2, 0.4, 0.7, 1.0)
_CLOSE = 0.1  # of the dev error, within which training and dev error have met
_WORTH = 0.9  # of the dev error: twice the samples bring something where they leave less


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """The result of `learning_curve`.

    Attributes
    ----------
    sizes : list of int
        Numbers of training samples, ascending.
    train_errors, dev_errors : ndarray, (n_sizes, n_repeats)
        As in `check`; NaN for a training that failed.
    kind : {"classes", "labels", "values"}
    twice : float or None
        The dev error that the power law through the curve predicts for twice the most samples; None with fewer than
        three sizes, or where more samples did not help.
    """

    sizes: list[int]
    train_errors: Array
    dev_errors: Array
    kind: str
    twice: float | None

    def words(self) -> str:
        """Return what the curve says: whether more data would help."""
        train, dev = float(np.nanmean(self.train_errors[-1])), float(np.nanmean(self.dev_errors[-1]))
        told = f"With {self.sizes[-1]:,} samples the training error is {train:.2%} and the dev error {dev:.2%}. "
        if dev - train <= _CLOSE * dev:
            return told + "They have met: more samples would bring little; a larger model or better inputs may."
        if self.twice is None or self.twice > _WORTH * dev:
            return told + "The dev error falls slowly: many more samples would be needed; regularise first."
        return told + f"Twice as many samples would bring it to about {self.twice:.2%}."

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw both errors over the number of samples, mean and range of the repeats; PNG, PDF or SVG by the suffix.

        Raises
        ------
        ImportError
            If matplotlib is not installed; the extra ``stoop[plot]`` brings it.
        """
        unit = "error, 1 - R²" if self.kind == "values" else "error, share predicted wrong"
        prediction = None if self.twice is None else (2.0 * self.sizes[-1], self.twice)
        words = unit, "Learning curve over samples"
        return draw_samples(self.sizes, self.train_errors, self.dev_errors, words, prediction, path)

    def __str__(self) -> str:
        lines = ["samples   training error   dev error"]
        lines += [
            f"{size:>7,}{np.nanmean(train):>16.2%}{np.nanmean(dev):>12.2%}"
            for size, train, dev in zip(self.sizes, self.train_errors, self.dev_errors)
        ]
        return "\n".join([*lines, self.words()])


def learning_curve(
    build: Callable[[int], Trainer],
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    sizes: Sequence[float] = _SIZES,
    *,
    validation_data: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    dev_size: float = 0.25,
    repeats: int = 3,
    seed: int = 0,
    **options: Any,
) -> LearningCurve:
    """Train on more and more samples and measure the errors on them and on dev data; Ng 2018, chapters 28 to 32.

    All trainings run at once over the cores (`stoop.fit_many`). The prediction for twice the samples is a power law,
    ``error = a * n**-b``, fitted to the dev errors (Cortes et al. 1994; Hestness et al. 2017).

    Parameters
    ----------
    build : callable ``(i) -> Trainer``
        Makes trainer number i, with a model of its own.
    X, y : array_like
        As in `Trainer.fit`.
    sizes : sequence of float or int, default (0.1, 0.2, 0.4, 0.7, 1.0)
        Numbers of training samples, or shares of all.
    validation_data : (X_dev, y_dev), optional
        None: `dev_size` of the samples are set aside.
    dev_size : float, default 0.25
    repeats : int, default 3
        Trainings of each size, on other samples and with other trainers.
    seed : int, default 0
        Of the draws.
    **options
        Arguments of `stoop.fit_many`: epochs, batch_size and so on; not rows.

    Returns
    -------
    LearningCurve

    Raises
    ------
    ValueError, TypeError
        For data that cannot be used, and sizes that are none.
    Exception
        What a trainer raised, if all of one size failed.
    """
    samples: Any = rows_of(_WHERE, X, "X")
    targets: Any = rows_of(_WHERE, y, "y")
    first = build(0)
    if validation_data is None:
        classes = np.ndim(targets) == 1 and first.loss._spec["takes_classes"]
        parts = train_test_split(samples, targets, test_size=dev_size, seed=seed, stratify=True if classes else None)
        samples, X_dev, targets, y_dev = parts
    else:
        X_dev, y_dev = validation_data
    counts = _counts(sizes, len(samples))
    times = integer(_WHERE, "repeats", repeats, 1)
    rng = np.random.default_rng(checked_seed(_WHERE, seed))
    rows = [np.sort(rng.permutation(len(samples))[:count]) for count in counts for _ in range(times)]
    trainers = [first, *(build(i) for i in range(1, len(rows)))]
    histories = fit_many(trainers, samples, targets, rows=rows, **{"verbose": 0, **options})
    train, dev = np.full((2, len(rows)), np.nan)
    for i, (trainer, history) in enumerate(zip(trainers, histories)):
        if history.error is None:
            train[i] = scored(trainer, take(samples, rows[i]), take(targets, rows[i]), _WHERE).level.error
            dev[i] = scored(trainer, X_dev, y_dev, _WHERE).level.error
    shape = len(counts), times
    errors = train.reshape(shape), dev.reshape(shape)
    for place, of_size in enumerate(np.isnan(errors[1])):
        if of_size.all():
            raise next(h.error for h in histories[place * times :] if h.error is not None)
    kind = scored(trainers[-1], take(samples, rows[-1][:1]), take(targets, rows[-1][:1]), _WHERE).kind
    return LearningCurve(counts, *errors, kind, _twice(counts, np.nanmean(errors[1], axis=1)))


def _counts(sizes: Sequence[float], samples: int) -> list[int]:
    """Return the sizes as numbers of samples, ascending and different."""
    counts = set()
    for size in sizes:
        whole = isinstance(size, int | np.integer) and not isinstance(size, bool)
        count = int(size) if whole else round(float(size) * samples)
        if not 1 <= count <= samples or (not whole and not 0.0 < float(size) <= 1.0):
            given = f"sizes holds {size!r} for {samples} training samples"
            hint = "give shares such as 0.5, or numbers of samples"
            raise ValueError(message(_WHERE, given, f"expected a share in (0, 1], or 1 to {samples}", hint))
        counts.add(count)
    if not counts:
        raise ValueError(message(_WHERE, "sizes is empty", "expected at least one size", "leave it out"))
    return sorted(counts)


def _twice(sizes: list[int], dev: Array) -> float | None:
    """Return the dev error that a power law predicts for twice the most samples."""
    if len(sizes) < 3 or not (dev > 0.0).all():
        return None
    slope, start = np.polyfit(np.log(sizes), np.log(dev), 1)
    return float(np.exp(start + slope * np.log(2.0 * sizes[-1]))) if slope < 0.0 else None
