"""`fit_many`: trains many models at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy.typing as npt

from stoop import _core
from stoop._checks import thread_count
from stoop._errors import message
from stoop._fit import FitOptions, seconds
from stoop._loop import FitLoop, checked_callbacks
from stoop._many_data import (
    WHERE,
    Selected,
    SharedArrays,
    augment_of_each,
    each_of,
    rows_of_all,
    validation_rows_of_all,
)
from stoop._many_progress import ManyLine
from stoop.augment import Augment
from stoop.history import History
from stoop.metrics import resolve
from stoop.trainer import Trainer


def fit_many(
    trainers: Iterable[Trainer],
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    epochs: int | Sequence[int] = 10,
    batch_size: int | Sequence[int] = 128,
    *,
    rows: str | Sequence[npt.ArrayLike | None] | None = None,
    validation_data: tuple[npt.ArrayLike, ...] | None = None,
    validation_rows: Sequence[npt.ArrayLike | None] | None = None,
    validation_freq: int = 1,
    callbacks: Callable[[int], Any] | None = None,
    num_threads: int | None = None,
    shuffle: bool = True,
    augment: Augment | Sequence[Augment | None] | None = None,
    sample_weight: npt.ArrayLike | None = None,
    class_weight: Mapping[Any, float] | npt.ArrayLike | str | None = None,
    metrics: Any = ("accuracy",),
    last_batch: str = "keep",
    max_time: float | str | timedelta | None = None,
    verbose: int = 1,
) -> list[History]:
    """Train many models at once, each as its `Trainer.fit` would: to the same bits, whatever the threads and the order.

    Trainers may differ in everything: layers, loss, optimizer, dtype, seed. Each runs on one thread from its beginning
    to its end, those first that will take longest, so no thread waits for another. Where fewer trainers than threads
    are left, several threads work on each. The data are checked once and never copied. A trainer that waits or is done
    takes the memory of its parameters and of what its optimizer holds; those that run take plans and arenas from their
    thread.

    Parameters
    ----------
    trainers : iterable of Trainer
        Each with a model of its own. Their `num_threads` is the most that one gets.
    X : array_like, (n_samples, input_dim)
        As in `Trainer.fit`; all of it is checked, also rows that no trainer uses, but for a `numpy.memmap`.
    y : array_like, (n_samples,) or (n_samples, n_outputs)
        Likewise. It is read once for each kind of loss.
    epochs, batch_size : int or sequence of int, default 10 and 128
        For all, or one for each trainer.
    rows : None, "bootstrap" or sequence, default None
        None: each trains on all rows. A sequence has the rows of each trainer: indices into X and y, in any order and
        any more than once, a boolean mask ``(n_samples,)``, or None for all. They need not be of one length. The bits
        are those of ``fit(X[rows], y[rows])``. "bootstrap": ``n_samples`` rows for each, drawn with replacement,
        ``np.random.default_rng(trainer.seed).integers(n_samples, size=n_samples)``; give the trainers different seeds.
    validation_data : (X, y) or (X, y, sample_weight), optional
        For all of them, as in `Trainer.fit`.
    validation_rows : sequence, optional
        In its place: the rows of X and y for each trainer, as in `rows`; None for one that is not validated.
    validation_freq : int, default 1
        As in `Trainer.fit`.
    callbacks : callable ``(i) -> callbacks``, optional
        Is called for each trainer's number before anything is trained, and returns its callbacks as `Trainer.fit` takes
        them. They are called on the thread of that trainer, where context variables and `numpy.errstate` of the caller
        do not hold. Several run at once only as far as Python's lock lets them: trainers without callbacks enter Python
        only when they end, and their histories get their rows then. `Trainer.stop` ends a trainer that has callbacks,
        also one that waits; ``[stoop.callbacks.Callback()]`` is enough. `Trainer.evaluate`, `step` and such of the
        others raise RuntimeError until all have ended; `Model.predict` of any works.
    num_threads : int, optional
        None: `stoop.get_num_threads`. There are fewer while other calls have the cores.
    augment : Augment or sequence, optional
        As in `Trainer.fit`: for all, or one or None for each trainer. A sample's position is that among the rows of
        the trainer.
    shuffle, sample_weight, class_weight, metrics, last_batch
        As in `Trainer.fit`, for all of them. A "balanced" class weight counts the rows of each trainer, and takes
        memory for ``n_samples`` weights for each that has rows of its own.
    max_time : float, str or timedelta, optional
        As in `Trainer.fit`: those that run end after the running update, and no more begin.
    verbose : {0, 1, 2} or bool, default 1
        0: silent. 1: how many are done, with a live line on a terminal. 2: lines alone.

    Returns
    -------
    list of History
        In the order of the trainers, each also kept as its `Trainer.history`. One that failed has the `stop_reason`
        "error" and the exception in `History.error`, and its model the last good parameters; the others go on. One that
        never began has no epochs, and "max_time".

    Raises
    ------
    ValueError, TypeError
        For arguments or data that cannot be used, a trainer that is given twice, two trainers of one model, and a
        callback of two trainers; nothing is changed then.
    RuntimeError
        For a trainer that runs already.
    KeyboardInterrupt
        On Ctrl-C, after the running updates. All are usable, and each `Trainer.history` has what there is; the
        `stop_reason` of those that it ended, or that had not begun, is "interrupted".
    """
    given = _checked_trainers(trainers)
    threads = 0 if num_threads is None else thread_count(WHERE, "num_threads", num_threads)
    limit = seconds(max_time, WHERE)
    request = FitRequest(
        each_of("epochs", epochs, len(given)),
        each_of("batch_size", batch_size, len(given)),
        augment_of_each(augment, len(given)),
        common_options(shuffle, last_batch, verbose, validation_freq),
        rows,
        (validation_data, validation_rows),
        metrics,
        callbacks,
    )
    shown = request.options.verbose if given else 0
    line = ManyLine(len(given), live=shown == 1) if shown else None
    arrays = SharedArrays(WHERE, X, y, sample_weight, class_weight)
    fits, ended_by = train_many(given, arrays, request, threads, limit, line)
    if line is not None:
        failed = sum(fit.history.error is not None for fit in fits)
        line.close(failed + sum(fit.is_complete for fit in fits), failed, sum(fit.is_cut for fit in fits))
    if ended_by is not None:
        raise ended_by
    return [fit.history for fit in fits]


def train_many(
    trainers: list[Trainer],
    arrays: SharedArrays,
    request: FitRequest,
    threads: int,
    limit: float,
    watch: ManyLine | Any | None = None,
) -> tuple[list[Fit], BaseException | None]:
    """Train all of them, and return the fits and what ended them all: Ctrl-C, or what `watch` raised.

    Parameters
    ----------
    trainers : list of Trainer
        Checked, each with a model of its own.
    arrays : SharedArrays
        May be used again for other trainers.
    request : FitRequest
    threads : int
        0: `stoop.get_num_threads`.
    limit : float
        Seconds.
    watch : object with the methods of ManyLine, optional
        ``update(running, done, failed, part)`` is called on the calling thread now and then, ``ended(number, fit)`` on
        the thread of each fit when all that it leaves is written; several may run at once, as far as Python lets them.
    """
    take_back = [trainer._keep_names() for trainer in trainers]
    try:
        fits = _fits_of(trainers, arrays, request)
        ended_by = _run(fits, threads, limit, watch)
    except BaseException:
        for names_of in take_back:
            names_of()
        raise
    for fit, names_of in zip(fits, take_back):
        if fit.history.error is not None or not fit.has_begun:
            names_of()
    return fits, ended_by


@dataclass(frozen=True)
class FitRequest:
    """What the trainers are to do, as it was given."""

    epochs: list[Any]
    batch_size: list[Any]
    augment: list[Augment | None]
    options: FitOptions  # but for what differs
    rows: Any
    validation: tuple[Any, Any]  # data (or SharedArrays), rows
    metrics: Any
    callbacks: Any


class Fit:
    """One of the fits.

    Attributes
    ----------
    job : tuple
        What the core takes.
    has_begun, has_ended : bool
        Whether it has changed anything, and whether all that it leaves is written.
    ended_by : BaseException or None
        What ends all fits: what a callback raised that is no `Exception`, such as KeyboardInterrupt.
    """

    def __init__(self, trainer: Trainer, job: tuple[Any, ...], options: FitOptions, loop: FitLoop | None) -> None:
        self.history = options.history
        self.job = (*job, options)
        self.has_begun = self.has_ended = False
        self.ended_by: BaseException | None = None
        self.verbose = options.verbose
        self._trainer, self._loop = trainer, loop
        self._outer = trainer._history, trainer._loop

    def begin(self) -> None:
        """Make this the newest fit of the trainer."""
        trainer: Any = self._trainer
        trainer._history, trainer._loop = self.history, self._loop
        trainer._note_between(self.history)
        if self._loop is not None:
            self._loop.is_running = True

    def finish(self, reason: str, error: BaseException | None, has_begun: bool) -> None:
        """End it, on the thread of the fit."""
        self.has_begun = has_begun
        if has_begun:
            self._trainer._between = {}
        if self._loop is not None:
            try:
                reason = _reason_of(error) if error is not None else self._loop.stop_reason or reason
                self._loop.end(reason, quietly=error is not None)
            except BaseException as raised:  # noqa: BLE001  it becomes that of the history
                error = error or raised
        self.history.stop_reason = reason if error is None else _reason_of(error)
        self.history.error = error
        self.ended_by = None if isinstance(error, Exception) else error
        outer = self._outer[1]
        if outer is not None and outer.is_running:  # this was within a callback of another fit
            self._take_back()
        self.has_ended = True

    @property
    def is_complete(self) -> bool:
        """Whether it has trained as long as it was to."""
        return self.has_begun and self.history.error is None and not self.is_cut

    @property
    def is_cut(self) -> bool:
        """Whether the clock or Ctrl-C has ended it."""
        ends = ("max_time", "interrupted")
        return self.has_begun and self.history.error is None and self.history.stop_reason in ends

    def undo(self) -> None:
        """Make the fit before it the newest, unless this one has ended."""
        if not self.has_ended:
            self._take_back()

    def _take_back(self) -> None:
        trainer: Any = self._trainer
        trainer._history, trainer._loop = self._outer


def _reason_of(error: BaseException) -> str:
    """Return the `stop_reason` that `Trainer.fit` has for it."""
    return "interrupted" if isinstance(error, KeyboardInterrupt) else "error"


def _checked_trainers(trainers: Any) -> list[Trainer]:
    if isinstance(trainers, Trainer) or not isinstance(trainers, Iterable):
        given = f"trainers is a {type(trainers).__name__}"
        raise TypeError(message(WHERE, given, "expected several trainers", "give a list of them"))
    out = list(trainers)
    places: dict[int, int] = {}
    for number, trainer in enumerate(out):
        if not isinstance(trainer, Trainer):
            given = f"trainers[{number}] is a {type(trainer).__name__}"
            raise TypeError(message(WHERE, given, "expected a stoop.Trainer", "make one for each model"))
        for what, thing in (("trainer", trainer), ("model", trainer.model)):
            before = places.setdefault(id(thing), number)
            if before != number:
                given = f"trainers[{before}] and trainers[{number}] have one {what}"
                hint = "make one for each, for example of a copy, copy.deepcopy(model)"
                raise ValueError(message(WHERE, given, f"expected a {what} for each", hint))
    return out


def common_options(shuffle: Any, last_batch: Any, verbose: Any, freq: Any) -> FitOptions:
    """Return checked options for all, with what each trainer has of its own left open."""
    return FitOptions(
        epochs=1,
        batch_size=1,
        shuffle=shuffle,
        last_batch=last_batch,
        verbose=verbose,
        validation_freq=freq,
        max_time=None,
        resume=None,
        rollback=True,
        history=History(()),
        loop=None,
        where=WHERE,
    )


def _fits_of(trainers: list[Trainer], arrays: SharedArrays, request: FitRequest) -> list[Fit]:
    """Check everything but what the core checks, and call the function that makes callbacks."""
    data, of_validation = request.validation
    if data is not None and of_validation is not None:
        given = "validation_data and validation_rows are both given"
        raise ValueError(message(WHERE, given, "expected one of them", "leave one out"))
    samples = len(arrays.samples_for(trainers[0])) if trainers else 0
    rows = rows_of_all(request.rows, [trainer.seed for trainer in trainers], samples)
    validated = validation_rows_of_all(of_validation, len(trainers), samples)
    other = None
    if isinstance(data, SharedArrays):
        other = data
    elif data is not None and trainers:
        other = SharedArrays(f"{WHERE}, validation_data", *trainers[0]._unpacked(WHERE, data))
    called = _callbacks_of_all(request.callbacks, len(trainers))
    fits = []
    for number, trainer in enumerate(trainers):
        batch = arrays.for_trainer(trainer, rows[number], learn=True)
        validation = None if other is None else other.for_trainer(trainer)
        of_trainer = batch, validation, rows[number], validated[number]
        fits.append(_fit_of(trainer, number, request, of_trainer, called[number]))
    return fits


def _callbacks_of_all(make: Any, count: int) -> list[list[Any]]:
    """Return the callbacks of each trainer: objects of its own, since they hold what they saw of one training."""
    if make is None:
        return [[] for _ in range(count)]
    if not callable(make):
        given = f"callbacks is a {type(make).__name__}"
        hint = "give a function of the trainer's number, for example lambda i: [stoop.callbacks.EarlyStopping()]"
        raise TypeError(message(WHERE, given, "expected a function that makes those of a trainer", hint))
    out = [checked_callbacks(make(number) or ()) for number in range(count)]
    owners: dict[int, int] = {}
    for number, called in enumerate(out):
        for callback in called:
            owner = owners.setdefault(id(callback), number)
            if owner != number:
                given = f"callbacks gave one {type(callback).__name__} to trainers {owner} and {number}"
                hint = "make one in the function, for example lambda i: [stoop.callbacks.EarlyStopping()]"
                raise ValueError(message(WHERE, given, "expected one for each trainer", hint))
    return out


def _fit_of(trainer: Trainer, number: int, request: FitRequest, data: tuple[Any, ...], called: list[Any]) -> Fit:
    batch, validation, rows, validated = data
    measured = resolve(request.metrics, trainer.loss, trainer.model.output_dim, WHERE)
    is_validated = validation is not None or validated is not None
    history = History(trainer._history_keys(measured, validated=is_validated))
    sizes = {"epochs": request.epochs[number], "batch_size": request.batch_size[number]}
    own: dict[str, Any] = {"augment": request.augment[number], "rollback": trainer._rollback, "history": history}
    options = replace(request.options, **sizes, **own)
    functions = [metric for metric in measured if metric.needs_outputs] if is_validated else []
    loop = None
    if called or functions:
        seen = validation if validated is None else Selected(batch, validated)
        loop = FitLoop(trainer, history, called, functions, seen, options.validation_freq)
        options.attach(loop)
        loop.make_table = None  # the call has one line for all
    return Fit(trainer, (trainer._core, *batch, validation, rows, validated), options, loop)


def _run(fits: list[Fit], threads: int, limit: float, watch: Any) -> BaseException | None:
    """Run the fits, and return what ended all of them, if that was no time."""

    def progress(running: int, done: int, failed: int, part: float) -> bool:
        if watch is not None:
            watch.update(running, done, failed, part)
        return all(fit.ended_by is None for fit in fits)

    def finish(number: int, reason: str, error: BaseException | None, has_begun: bool) -> None:
        fits[number].finish(reason, error, has_begun)
        if watch is not None:
            watch.ended(number, fits[number])

    ended_by: BaseException | None
    try:
        for fit in fits:
            fit.begin()
        ended_by = _core.fit_many([fit.job for fit in fits], threads, limit, progress, finish)
    except BaseException as raised:  # from the core before any began, or from a signal at any place
        for fit in fits:
            fit.undo()
        if not any(fit.has_ended for fit in fits):
            raise
        ended_by = raised
    return ended_by or next((fit.ended_by for fit in fits if fit.ended_by is not None), None)
