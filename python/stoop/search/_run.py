"""`stoop.search.run`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from stoop._checks import BELOW_ONE, Bounds, flag, integer, real, thread_count
from stoop._checks import seed as checked_seed
from stoop._errors import message, refuse_name
from stoop._fit import FitOptions, seconds
from stoop._fit_many import common_options
from stoop._many_data import SharedArrays
from stoop._split import rows_of
from stoop._training import unpacked
from stoop.metrics._resolve import NAMES
from stoop.search._fingerprint import fingerprint, plain_class_weight, width
from stoop.search._fitting import Fitting
from stoop.search._journal import Journal, plain_space
from stoop.search._line import SearchLine
from stoop.search._methods import METHODS, Plan, grid_of
from stoop.search._pool import WHERE, Pool, TimeIsOverError
from stoop.search._result import SearchResult
from stoop.search._spaces import Parameter, checked_space
from stoop.search._trial import FAILED, WAITING, Goal
from stoop.trainer import Trainer

_NAMES = (*METHODS, "optuna")
# The options of methods with their defaults.
_OPTIONS: dict[str, dict[str, Any]] = {
    "random": {},
    "grid": {"points": None},
    "coarse_to_fine": {"rounds": 3, "shrink": 0.5},
    "halving": {"factor": 3, "min_epochs": 1},
    "optuna": {"sampler": None, "pruner": None, "study_name": "stoop", "at_once": 8},
}
_OF_FIT = ("augment", "sample_weight", "class_weight", "metrics", "shuffle", "last_batch", "validation_freq")


def run(
    build: Callable[[dict[str, Any]], Trainer],
    space: Mapping[str, Parameter],
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    validation_data: tuple[npt.ArrayLike, ...] | None = None,
    validation_split: float = 0.0,
    trials: int = 64,
    method: str = "random",
    metric: str = "val_loss",
    mode: str = "auto",
    epochs: int = 20,
    batch_size: int = 64,
    seed: int = 0,
    max_time: float | str | timedelta | None = None,
    storage: Any = None,
    callbacks: Callable[[int], Any] | None = None,
    num_threads: int | None = None,
    median_stopping: bool = False,
    verbose: int = 1,
    **options: Any,
) -> SearchResult:
    """Search parameters of networks and their training: many trials at once, a whole one on each core.

    The value of a trial is the best one of `metric` over its epochs, and the trainer that is returned has the
    parameters of that epoch, as with `stoop.callbacks.EarlyStopping`: a trial is not worse for being trained too long.
    All trials are compared by the same validation data, which the best value therefore flatters a little; a test set
    that the search has not seen tells what the network is worth.

    Parameters
    ----------
    build : callable ``(params) -> Trainer``
        Makes a new model and trainer of a dict with a value for each parameter; it may leave some of them out, such as
        the width of a third layer that is not there. One that it returned before, or that was trained before, is an
        error.
    space : dict
        Parameters by name: `uniform`, `log_uniform`, `one_minus_log_uniform`, `integers`, `log_integers`, `choice`. One
        of the name "batch_size" is also the batch size of its trial.
    X : array_like, (n_samples, input_dim)
        As in `Trainer.fit`, likewise y and what follows. It is read once for all trials, and never copied.
    y : array_like, (n_samples,) or (n_samples, n_outputs)
    validation_data : (X, y) or (X, y, sample_weight), optional
        Evaluated after each epoch.
    validation_split : float, default 0.0
        In its place: this share of the samples, the last ones, is validated with.
    trials : int, default 64
        How many; with a grid, how many at most; with a study of Optuna, how many of all processes together.
    method : {"random", "grid", "coarse_to_fine", "halving", "optuna"}, default "random"
        "random": draws from the space. Trial i is a function of `seed` and i alone.
        "grid": all combinations. `points`: how many values of each range, an int or a dict by name; None: as many as
        `trials` allow.
        "coarse_to_fine": `rounds` (default 3) of random draws; each is in ranges `shrink` times as wide (default 0.5)
        as those before, on the parameter's own scale around the best trial so far, and never leaves the space. Choices
        lose those whose trials were worst.
        "halving": successive halving. All trials are trained for a few epochs, the best part, one in `factor` (default
        3), that many times as long, and so on; the last ones are trained for `epochs`. The first rung has at least
        `min_epochs` (default 1).
        "optuna": the `sampler` of Optuna (default TPE) and its `pruner` (default MedianPruner;
        ``optuna.pruners.NopPruner()`` ends none). `at_once` trials (default 8) are asked for together. `study_name`
        (default "stoop") names the study within the storage.
    metric : str, default "val_loss"
        A column of the history, such as "val_accuracy" or "val_auc"; "loss" needs no validation data.
    mode : {"auto", "min", "max"}, default "auto"
        Whether smaller or larger values are better; "auto" knows it from the name.
    epochs, batch_size : int, default 20 and 64
        Of each trial. "halving" trains the last ones for `epochs`.
    seed : int, default 0
        Of the draws. The seeds of models and trainers are what `build` gives them.
    max_time : float, str or timedelta, optional
        Seconds, or text such as "1h30m": then the search returns what there is.
    storage : path, URL or optuna storage, optional
        Keeps the trials that have ended: the same call goes on from there, after it was killed or with more `trials`.
        A call with another space, other data (all values of X, y, validation data and weights count) or other options
        is refused; what `build`, `callbacks` and functions for `augment` do is not compared.
        A file that can be read as lines of JSON. With "optuna": the path of a journal file, or the URL of a database,
        and any number of processes and hosts that make this call share the trials. Those of a process that died are
        tried again.
    callbacks : callable ``(number) -> callbacks``, optional
        Makes the callbacks of a trial, as `stoop.fit_many`.
    num_threads : int, optional
        None: `stoop.get_num_threads`. But for "optuna" with several processes, the result does not depend on it.
    median_stopping : bool, default False
        Ends a trial whose best value so far is worse than the median of the mean values that others had up to the
        same epoch; Golovin et al. 2017, section 3.2.2. The others are all that were complete when its group of 16
        began, at least five. Not with "optuna", whose pruner does this.
    verbose : {0, 1, 2} or bool, default 1
        0: silent. 1: how many trials are done and the best so far, as a live line on a terminal. 2: lines alone.
    **options
        Those of the methods above; of `Trainer.fit` augment, sample_weight, class_weight, metrics, shuffle, last_batch,
        validation_freq. `metric` is added to the metrics where it is none of them, and augment may be a function of the
        parameters that returns an `stoop.augment.Augment` or None.

    Returns
    -------
    SearchResult
        Also after Ctrl-C and `max_time`, if any trial has a value by then. A trial that fails (an error of `build`, a
        loss that is not finite) is in it with its error; the others go on.

    Raises
    ------
    ValueError, TypeError
        For arguments that cannot be used, and for a `storage` with the trials of another search.
    RuntimeError
        If all trials fail; the first error is its cause. If none has a value when `max_time` is over.
    KeyboardInterrupt
        On Ctrl-C before any trial has a value.
    OSError
        For a `storage` that cannot be opened.
    ImportError
        For "optuna" without Optuna; the extra ``stoop[optuna]`` brings it.
    """
    _check_functions(build, callbacks)
    if method not in _NAMES:
        refuse_name(WHERE, "method", str(method), _NAMES)
    checked = checked_space(WHERE, space)
    goal = Goal(metric, mode)
    own = _own_options(method, options)
    plan = Plan(
        integer(WHERE, "trials", trials, 1),
        integer(WHERE, "epochs", epochs, 1),
        checked_seed(WHERE, seed),
        _checked_median(median_stopping, method),
        own,
    )
    if method == "grid":
        grid_of(checked, plan.trials, own["points"])
    size = integer(WHERE, "batch_size", batch_size, 1)
    data = _Data(X, y, validation_data, validation_split, options)
    _check_measured(goal, data)
    fit = _fit_options(options)
    fitting = Fitting(
        build,
        data.arrays,
        data.validation,
        data.rows,
        fit,
        size,
        _metrics(goal, options.get("metrics", ("accuracy",))),
        options.get("augment"),
        callbacks,
        0 if num_threads is None else thread_count(WHERE, "num_threads", num_threads),
        time.perf_counter() + seconds(max_time, WHERE),
    )
    shown = common_options(True, "keep", verbose, 1).verbose
    line = SearchLine(plan.trials, goal, live=shown == 1) if shown else None
    return _Search(method, checked, plan, fitting, line).run(goal, storage, data)


class _Data:
    """X, y, weights and what is validated with."""

    def __init__(self, X: Any, y: Any, validation: Any, split: Any, options: Mapping[str, Any]) -> None:
        self.arrays = SharedArrays(WHERE, X, y, options.get("sample_weight"), options.get("class_weight"))
        self.validation: SharedArrays | None = None
        self.rows: tuple[Any, Any] = (None, None)
        self._given, self._validation, self._options = (X, y), validation, options
        self._share = 0.0
        share = real(WHERE, "validation_split", split, BELOW_ONE, hint="0.2 keeps the last fifth of X")
        if share > 0.0:
            self._share = share
            self._split(share, validation)
        if validation is not None:
            inputs = (*np.shape(X), 0, 0)[1]
            self._validation = unpacked(WHERE, validation, inputs)
            self._check_width()
            self.validation = SharedArrays(f"{WHERE}, validation_data", *self._validation)

    def _split(self, share: float, validation: Any) -> None:
        samples = len(rows_of(WHERE, self._given[0], "X"))
        kept = samples - int(samples * share)
        if validation is not None or not 0 < kept < samples:
            given = f"validation_split is {share:g} for {samples} samples"
            expected = "expected no validation_data, and at least one sample in both parts"
            raise ValueError(message(WHERE, given, expected, "change it, or leave one out"))
        self.rows = np.arange(kept, dtype=np.int32), np.arange(kept, samples, dtype=np.int32)

    @property
    def is_validated(self) -> bool:
        return self.validation is not None or self.rows[1] is not None

    def _check_width(self) -> None:
        columns, expected = (width(WHERE, of, "X") for of in (self._validation[0], self._given[0]))
        if columns != expected:
            given, hint = f"validation_data has X of {columns} columns", "give the columns that are trained with"
            raise ValueError(message(WHERE, given, f"expected {expected}, as the X that is trained with", hint))

    def about(self) -> dict[str, Any]:
        """Return what tells these data from others."""
        names = ("X", "y", "sample_weight")
        return {
            "data": [fingerprint(WHERE, *of) for of in zip(self._given, names)],
            "validation_data": [fingerprint(WHERE, *of) for of in zip(self._validation or (), names)],
            "validation_split": self._share,
            "sample_weight": fingerprint(WHERE, self._options.get("sample_weight"), "sample_weight"),
            "class_weight": plain_class_weight(WHERE, self._options.get("class_weight")),
        }


class _Search:
    """One call of `run`, with all that is checked."""

    def __init__(
        self, method: str, space: dict[str, Parameter], plan: Plan, fitting: Fitting, line: SearchLine | None
    ) -> None:
        self._method, self._space, self._plan, self._fitting, self._line = method, space, plan, fitting, line

    def run(self, goal: Goal, storage: Any, data: _Data) -> SearchResult:
        about = {
            "metric": goal.metric,
            "mode": goal.mode,
            "epochs": self._plan.epochs,
            "batch_size": self._fitting.batch_size,
            "space": plain_space(self._space),
            **({} if storage is None else {**data.about(), **self._fitting.about()}),
        }
        if self._method == "optuna":
            from stoop.search._optuna import Study

            study = Study(storage, about, goal, self._plan)
            pool = Pool(self._fitting, goal, self._line, study)
            return self._finish(pool, lambda: study.run(pool, self._space, self._line))
        journal = None if storage is None else Journal(storage, self._about(about), self._space)
        pool = Pool(self._fitting, goal, self._line, journal)
        try:
            return self._finish(pool, lambda: METHODS[self._method](pool, self._space, self._plan, self._line))
        finally:
            if journal is not None:
                journal.close()

    def _about(self, about: dict[str, Any]) -> dict[str, Any]:
        """Return what a journal is of; only random draws do not depend on how many there are."""
        plan = self._plan
        given = {"method": self._method, "seed": plan.seed, "median_stopping": plan.median, **plan.options, **about}
        return given if self._method == "random" and not plan.median else {**given, "trials": plan.trials}

    def _finish(self, pool: Pool, search: Callable[[], None]) -> SearchResult:
        reason = "trials"
        try:
            search()
        except TimeIsOverError:
            reason = "max_time"
        except KeyboardInterrupt:
            reason = "interrupted"
        if self._line is not None:
            self._line.close(pool.trials.values(), pool.best, reason)
        best = pool.best
        if best is None:
            self._raise(pool, reason)
        trainer = pool.winner(best, again=reason == "trials")
        known = sorted((trial for trial in pool.trials.values() if trial.state != WAITING), key=lambda t: t.number)
        return SearchResult(known, best, pool.goal, self._space, trainer, reason)

    @staticmethod
    def _raise(pool: Pool, reason: str) -> NoReturn:
        """Say why there is nothing to return."""
        failed = [trial for trial in pool.trials.values() if trial.state == FAILED]
        if reason == "interrupted":
            raise KeyboardInterrupt
        if reason == "max_time" and not failed:
            given, hint = "no trial has a value within max_time", "raise max_time"
            raise RuntimeError(message(WHERE, given, "expected time for one epoch", hint))
        given = f"all {len(failed)} trials failed, the first with {failed[0].error if failed else None}"
        hint = "try build with these parameters by itself"
        raise RuntimeError(message(WHERE, given, "expected one that can be trained", hint)) from pool.failure


def _check_functions(build: Any, callbacks: Any) -> None:
    if not callable(build):
        given, hint = f"build is {build!r}", "give def build(params): return stoop.Trainer(...)"
        raise TypeError(message(WHERE, given, "expected a function of a dict of parameters", hint))
    if callbacks is not None and not callable(callbacks):
        given, hint = f"callbacks is {callbacks!r}", "give lambda number: [...], so that each trial has its own"
        raise TypeError(message(WHERE, given, "expected a function of the number of a trial", hint))


def _own_options(method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the method, and refuse what nobody takes."""
    own = _OPTIONS[method]
    for name in options:
        if name in own or name in _OF_FIT:
            continue
        others = [other for other, names in _OPTIONS.items() if name in names]
        if others:
            given, hint = f"{name} is given with method={method!r}", f"it is for {others[0]!r}"
            raise TypeError(message(WHERE, given, f"expected {', '.join(own) or 'no options of a method'}", hint))
        known = {*_OF_FIT, *(each for names in _OPTIONS.values() for each in names)}
        refuse_name(WHERE, "option", name, sorted(known))
    given_own = {**own, **{name: value for name, value in options.items() if name in own}}
    return {name: _checked_option(name, value) for name, value in given_own.items()}


def _checked_option(name: str, value: Any) -> Any:
    least = {"rounds": 1, "factor": 2, "min_epochs": 1, "at_once": 1}
    if name in least:
        return integer(WHERE, name, value, least[name])
    if name == "shrink":
        return real(WHERE, name, value, Bounds(0.0, 1.0, without_low=True), "0.5 is usual")
    if name == "points" and isinstance(value, Mapping):
        return {of: integer(WHERE, f"points[{of!r}]", number, 1) for of, number in value.items()}
    if name == "points" and value is not None:
        return integer(WHERE, name, value, 1)
    return value


def _checked_median(given: Any, method: str) -> bool:
    wanted = flag(WHERE, "median_stopping", given)
    if wanted and method == "optuna":
        hint = "give pruner=optuna.pruners.MedianPruner()"
        raise ValueError(message(WHERE, "median_stopping with Optuna", "expected a pruner of Optuna", hint))
    return wanted


def _check_measured(goal: Goal, data: _Data) -> None:
    if goal.metric.startswith("val_") and not data.is_validated:
        given = f"metric is {goal.metric!r} without validation data"
        hint = 'give validation_data or validation_split, or metric="loss"'
        raise ValueError(message(WHERE, given, "expected data to validate with", hint))


def _fit_options(options: Mapping[str, Any]) -> FitOptions:
    shuffle, last_batch = options.get("shuffle", True), options.get("last_batch", "keep")
    return common_options(shuffle, last_batch, 0, options.get("validation_freq", 1))


def _metrics(goal: Goal, given: Any) -> tuple[Any, ...]:
    """Return the metrics to record, with that of the goal among them where it is one that Stoop knows."""
    metrics = (given,) if isinstance(given, str) or callable(given) else tuple(given)
    wanted = goal.metric.removeprefix("val_")
    names = [metric if isinstance(metric, str) else getattr(metric, "__name__", None) for metric in metrics]
    return metrics if wanted in names or wanted not in NAMES else (*metrics, wanted)
