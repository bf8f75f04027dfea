"""Folds, bagging and seeds: one kind of network trained many times with `stoop.fit_many`, and what comes of it.

``build(i)`` makes trainer number i, with a model of its own: ``stoop.Trainer(stoop.Model(layers, 4, seed=i), seed=i)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._arrays import to_numpy
from stoop._checks import FloatArray, features, flag, integer
from stoop._checks import seed as checked_seed
from stoop._errors import message, warn
from stoop._fit_many import fit_many
from stoop._folds import Rows, division, folds_of, others_of
from stoop._split import rows_of, take
from stoop.ensemble import Ensemble
from stoop.history import History
from stoop.trainer import Trainer

__all__ = ["Trained", "bag", "folds", "seeds"]

Build = Callable[[int], Trainer]


@dataclass(frozen=True)
class Trained:
    """What `folds`, `bag` and `seeds` return: models and figures, but none of the data, so that it pickles small.

    Attributes
    ----------
    ensemble : Ensemble
        The models, without those in `failed`.
    histories : list of History
        Of all trainers. That of one that failed has its exception as `History.error`.
    failed : dict
        The exceptions by the numbers of the trainers, empty as a rule; TimeoutError for one that `max_time` kept from
        its first update. One that it cut short later counts as any other, with what it has.
    rows : list of ndarray
        The rows of X and y that each trainer was tried on, ascending: its fold, or what its bag left out. Empty for
        `seeds`.
    scores : dict of ndarray, (n_trainers,)
        The loss and the metrics of each trainer on these rows (`seeds`: on the validation data), NaN for one that
        failed, and for what cannot be told of them, such as a loss where all weights are 0.
    predictions : ndarray, (n_samples, n_outputs), or None
        For every row, what models say that were not trained on it, NaN where there is none. Of `folds` the outputs of
        the last layer; of `bag` the mean over the models, of probabilities where there are any.
    probabilities : ndarray, (n_samples, n_classes), or None
        The same as probabilities; None for values.
    """

    ensemble: Ensemble
    histories: list[History]
    failed: dict[int, BaseException]
    rows: list[Rows]
    scores: dict[str, npt.NDArray[np.float64]]
    predictions: FloatArray | None = None
    probabilities: FloatArray | None = None

    def __repr__(self) -> str:
        told = {name: values[~np.isnan(values)] for name, values in self.scores.items()}
        parts = [f"{name} {of.mean():.4g} ± {of.std():.2g}" if of.size else f"{name} nan" for name, of in told.items()]
        failed = [f"{len(self.failed)} failed"] if self.failed else []
        return f"Trained({', '.join([f'{len(self.histories)} trainers', *failed, *parts])})"


def folds(
    build: Build,
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    k: int | Iterable[npt.ArrayLike] = 5,
    *,
    stratify: bool | None = None,
    groups: npt.ArrayLike | None = None,
    shuffle: bool = True,
    seed: int = 0,
    **options: Any,
) -> Trained:
    """Cross-validate: divide the rows into k folds, and train a model without each; Stone 1974.

    Each trainer is validated on its fold after every epoch, so that `stoop.callbacks.EarlyStopping` can watch
    "val_loss". Its best epoch then flatters the scores a little.

    Parameters
    ----------
    build : callable ``(i) -> Trainer``
        Makes the trainer of fold i.
    X : array_like, (n_samples, input_dim)
        As in `Trainer.fit`.
    y : array_like, (n_samples,) or (n_samples, n_outputs)
        As in `Trainer.fit`.
    k : int or iterable of array_like, default 5
        How many folds; or the rows of each, such as the test rows of a splitter of scikit-learn, with neither
        `stratify` nor `groups`. Rows that are in none are always trained on.
    stratify : bool, optional
        Every fold has the share of each class. None: for losses of classes where y is one label per sample.
    groups : array_like, (n_samples,), optional
        Rows of one group, such as one patient, are in one fold. Classes cannot be stratified then.
    shuffle : bool, default True
        False: folds are blocks of neighbouring rows.
    seed : int, default 0
        Of the division.
    **options
        Arguments of `stoop.fit_many`: epochs, batch_size, callbacks, metrics, sample_weight, class_weight, num_threads,
        max_time, verbose and so on; not rows or validation data.

    Returns
    -------
    Trained

    Raises
    ------
    ValueError, TypeError
        For arguments or data that cannot be used.
    Exception
        What a trainer raised, if all of them failed; TimeoutError if none began within `max_time`.
    KeyboardInterrupt
        On Ctrl-C, and nothing is returned then. Keep the trainers that `build` makes to go on with what they learned.

    Warns
    -----
    UserWarning
        For trainers that failed or never began, for scores that cannot be told, and for classes with fewer rows than
        folds.
    """
    where = "many.folds"
    _refuse(where, options, ("rows", "validation_data", "validation_rows"))
    n = len(rows_of(where, X, "X"))
    order = np.random.default_rng(checked_seed(where, seed)).permutation(n)
    if not flag(where, "shuffle", shuffle):
        order = np.arange(n)
    given = division(where, k, stratify, groups)
    trainers = _built(where, build, given if isinstance(given, int) else len(given))
    if stratify is None:
        stratify = bool(trainers[0].loss._spec["takes_classes"]) and np.ndim(rows_of(where, y, "y")) == 1
    tried = folds_of(where, given, n, order, y if flag(where, "stratify", stratify) else None, groups)
    rest = [others_of(rows, n) for rows in tried]
    found = _train(where, trainers, (X, y, options), tried, rows=rest, validation_rows=tried)
    return found.result(predictions=found.of_rows(False), probabilities=found.of_rows(True))


def bag(build: Build, X: npt.ArrayLike, y: npt.ArrayLike, k: int = 10, *, seed: int = 0, **options: Any) -> Trained:
    """Bagging: train k models, each on as many rows as there are, drawn with replacement; Breiman 1996.

    A model leaves out some 37 % of the rows. These "out-of-bag" rows try it, and the means over the models that left a
    row out are what the whole would say of new ones.

    Parameters
    ----------
    build, X, y
        As in `folds`.
    k : int, default 10
        How many models.
    seed : int, default 0
        Of the draws.
    **options
        Arguments of `stoop.fit_many`, but for rows.

    Returns
    -------
    Trained

    Raises
    ------
    ValueError, TypeError, Exception, KeyboardInterrupt
        As `folds`.

    Warns
    -----
    UserWarning
        For trainers that failed or never began, and for scores that cannot be told.
    """
    where = "many.bag"
    _refuse(where, options, ("rows",))
    trainers = _built(where, build, integer(where, "k", k, 1, hint="10 is usual"))
    n = len(rows_of(where, X, "X"))
    draws = np.random.default_rng(checked_seed(where, seed)).spawn(len(trainers))
    drawn = [draw.integers(n, size=n) for draw in draws]
    found = _train(where, trainers, (X, y, options), [others_of(rows, n) for rows in drawn], rows=drawn)
    probabilities = found.of_rows(True)
    return found.result(
        predictions=found.of_rows(False) if probabilities is None else probabilities, probabilities=probabilities
    )


def seeds(build: Build, X: npt.ArrayLike, y: npt.ArrayLike, k: int = 5, **options: Any) -> Trained:
    """Train k models on the same rows; only what ``build(i)`` makes of i differs, as a rule the seeds.

    Parameters
    ----------
    build, X, y
        As in `folds`.
    k : int, default 5
        How many models.
    **options
        Arguments of `stoop.fit_many`, such as validation_data.

    Returns
    -------
    Trained
        With scores if there are validation data.

    Raises
    ------
    ValueError, TypeError, Exception, KeyboardInterrupt
        As `folds`.

    Warns
    -----
    UserWarning
        For trainers that failed or never began, and for scores that cannot be told.
    """
    where = "many.seeds"
    _refuse(where, options, ("rows", "validation_rows"))
    trainers = _built(where, build, integer(where, "k", k, 1, hint="5 is usual"))
    found = _train(where, trainers, (X, y, options), [])
    validation = options.get("validation_data")
    return found.result() if validation is None else found.result(scores=found.scores_of(*validation))


def _refuse(where: str, options: Mapping[str, Any], names: tuple[str, ...]) -> None:
    for name in names:
        if name in options:
            given, hint = f"{name} is given", "call stoop.fit_many for other rows"
            raise TypeError(message(where, given, "expected none: it follows from this function", hint))


def _built(where: str, build: Any, k: int) -> list[Trainer]:
    if not callable(build):
        given, hint = f"build is {build!r}", "give def build(i): return stoop.Trainer(...)"
        raise TypeError(message(where, given, "expected a function of the trainer's number", hint))
    trainers = [build(i) for i in range(k)]
    for i, trainer in enumerate(trainers):
        if not isinstance(trainer, Trainer):
            expected, hint = "expected a stoop.Trainer", "return one with a model of its own"
            raise TypeError(message(where, f"build({i}) returned {trainer!r}", expected, hint))
        for name in ("dtype", "input_dim", "output_dim"):
            own, first = getattr(trainer.model, name), getattr(trainers[0].model, name)
            if own != first:
                given, hint = f"the model of build({i}) has the {name} {own}", "models may differ in their layers"
                raise ValueError(message(where, given, f"expected {first}, as that of build(0)", hint))
    return trainers


def _train(
    where: str, trainers: list[Trainer], data: tuple[Any, Any, Any], tried: list[Rows], **division: Any
) -> _Tried:
    X, y, options = data
    before = [trainer.steps for trainer in trainers]
    histories = fit_many(trainers, X, y, **division, **options)
    failed = {i: history.error for i, history in enumerate(histories) if history.error is not None}
    for i, (trainer, history) in enumerate(zip(trainers, histories)):
        if i not in failed and history.stop_reason == "max_time" and trainer.steps == before[i]:
            given = f"trainer {i} did not begin within max_time={options.get('max_time')!r}"
            failed[i] = TimeoutError(message(where, given, "expected time for all of them", "raise max_time"))
    return _Tried(where, trainers, histories, failed, (data, tried))


class _Tried:
    """Trainers that have ended, and the rows that each is tried on."""

    def __init__(
        self,
        where: str,
        trainers: list[Trainer],
        histories: list[History],
        failed: dict[int, BaseException],
        tried: tuple[tuple[Any, Any, Any], list[Rows]],
    ) -> None:
        data, self._rows = tried
        X, self._y, self._options = data
        dtype = max(trainer.model._copy_dtype for trainer in trainers)
        self._x = features(where, X, dtype, trainers[0].model.input_dim)
        self._where, self._histories, self.failed = where, histories, failed
        self.good = {i: trainer for i, trainer in enumerate(trainers) if i not in failed}
        if not self.good:
            raise next(iter(failed.values()))
        if failed:  # errors of training come before those of time
            first, error = next(iter(failed.items()))
            given = f"{len(failed)} of {len(trainers)} trainers failed, first number {first} with {error!r}"
            warn(message(where, given, "expected all of them to train", "look at the errors in `failed`"))

    def result(self, **found: Any) -> Trained:
        ensemble = Ensemble([trainer.model for trainer in self.good.values()])
        scores = found.pop("scores", None) or self._scores()
        return Trained(ensemble, self._histories, self.failed, self._rows, scores, **found)

    def of_rows(self, probabilities: bool) -> FloatArray | None:
        """Return for each row the mean of what the models say that were tried on it."""
        first = next(iter(self.good.values())).model
        if probabilities and first.output in (None, "identity"):
            return None
        total: Any = None
        count = np.zeros((len(self._x), 1))
        for i, trainer in self.good.items():
            rows = self._rows[i]
            if not len(rows):
                continue
            x = self._x[rows]
            said = trainer.model.predict_proba(x) if probabilities else trainer.model.predict(x)
            total = np.zeros((len(self._x), said.shape[1])) if total is None else total
            total[rows] += said
            count[rows] += 1
        with np.errstate(invalid="ignore"):
            return None if total is None else (total / count).astype(first.dtype)

    def scores_of(self, X: Any, y: Any, weight: Any = None) -> dict[str, npt.NDArray[np.float64]]:
        """Return the scores of all models on the same data."""
        return self._gathered({i: self._evaluated(i, X, y, weight) for i in self.good})

    def _scores(self) -> dict[str, npt.NDArray[np.float64]]:
        if not self._rows:
            return {}
        y, weight = rows_of(self._where, self._y, "y"), self._options.get("sample_weight")
        if weight is not None:
            weight = to_numpy(self._where, weight, "sample_weight")
        found = {}
        for i in self.good:
            rows = self._rows[i]
            if len(rows):
                of_rows = None if weight is None else weight[rows]
                found[i] = self._evaluated(i, self._x[rows], take(y, rows), of_rows)
        return self._gathered(found) if found else {}

    def _evaluated(self, i: int, X: Any, y: Any, weight: Any) -> dict[str, float]:
        try:
            return self.good[i].evaluate(X, y, weight, metrics=self._options.get("metrics", ("accuracy",)))
        except Exception as error:  # noqa: BLE001  what was trained must not be lost
            given, hint = f"trainer {i} has NaN as scores, after {error!r}", "look at the rows that it was tried on"
            warn(message(self._where, given, "expected numbers", hint))
            return {}

    def _gathered(self, found: dict[int, dict[str, float]]) -> dict[str, npt.NDArray[np.float64]]:
        names = next((list(values) for values in found.values() if values), ["loss"])
        scores = {name: np.full(len(self._histories), np.nan) for name in names}
        for i, values in found.items():
            for name, value in values.items():
                scores[name][i] = value
        return scores
