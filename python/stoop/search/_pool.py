"""Trains trials, many at once, and keeps no more of them than may be needed."""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from stoop._errors import message, warn
from stoop._fit_many import Fit, FitRequest, train_many
from stoop._loop import checked_callbacks
from stoop.augment import Augment
from stoop.callbacks._monitoring import Kept
from stoop.config import get_num_threads
from stoop.history import History
from stoop.search._fitting import Fitting
from stoop.search._keeper import MEDIAN_STOP, Keeper, running_medians
from stoop.search._trial import COMPLETE, FAILED, INTERRUPTED, PRUNED, WAITING, Goal, Running, Trial, best_of, ranked
from stoop.trainer import Trainer

if TYPE_CHECKING:
    from stoop.model import Model
    from stoop.search._line import SearchLine

WHERE = "search.run"
GROUP, _GROUP_BYTES = 256, 512 << 20  # trials that are trained together at most
_BUILDING = 0.5  # seconds that trainers are built for before the first of them train
_MEDIAN_GROUP = 16  # that divides the other, so that what a median is taken of does not hang on the threads
_COPIES = 4  # of the parameters: themselves, two of the optimizer, the best epoch


class TimeIsOverError(Exception):
    """The time of the search is over."""


class Keeping(Protocol):
    """What keeps trials that have ended."""

    def trial(self, number: int, params: dict[str, Any]) -> Trial | None:
        """Return what is known of a trial."""

    def add(self, trial: Trial) -> None:
        """Keep one, on whatever thread."""


class Pool:
    """The trials of a search.

    Parameters
    ----------
    fitting : Fitting
    goal : Goal
    line : SearchLine or None
        Shows how far it is.
    journal : Keeping or None
        Keeps what has ended.
    """

    def __init__(self, fitting: Fitting, goal: Goal, line: SearchLine | None, journal: Keeping | None) -> None:
        self.goal = goal
        self.trials: dict[int, Trial] = {}
        self.failure: BaseException | None = None  # the first one
        self.on_look: Callable[[], None] = lambda: None  # is called now and then, on the calling thread
        self._fitting, self._line, self._journal = fitting, line, journal
        self._best: Trial | None = None  # of those that are complete
        self._work = (0.0, 1.0)  # epochs that are done, and that were planned
        self._passed: dict[int, tuple[Trial, int]] = {}  # with the epochs that they had by then
        self._models: dict[int, Trial] = {}  # those that have a trainer, by the id of its model
        self._built: weakref.WeakKeyDictionary[Model, int] = weakref.WeakKeyDictionary()  # with the number of a trial
        self._group_work = 0.0
        self._lock = threading.Lock()

    def trial(self, number: int, params: dict[str, Any]) -> Trial:
        """Return the trial of this number: a new one, or what the journal has of it."""
        if number not in self.trials:
            known = None if self._journal is None else self._journal.trial(number, params)
            self.trials[number] = known or Trial(number, params)
            self._note_best(self.trials[number])
        return self.trials[number]

    @property
    def best(self) -> Trial | None:
        """The best trial."""
        return self._best or best_of(self.trials.values(), self.goal)

    def take(self, trial: Trial) -> None:
        """Take a trial that another process has ended."""
        self.trials[trial.number] = trial
        self._note_best(trial)
        self._advance(trial.epochs)

    def forget(self, trial: Trial) -> None:
        """Take a trial out: another process has it."""
        del self.trials[trial.number]
        trial.state = FAILED
        self._note_best(trial)

    def wait(self, pause: float) -> None:
        """Wait for others, so many seconds."""
        self._check_time()
        self._group_work = 0.0
        self.looked(0.0)
        time.sleep(pause)

    def plan(self, epochs: float) -> None:
        """Hear how many epochs all trials take together, if none ends early."""
        self._work = (0.0, max(epochs, 1.0))

    def train(
        self,
        trials: Sequence[Trial],
        epochs: int,
        *,
        since: int = 0,
        keep: int = 0,
        median: bool = False,
        hooks: Callable[[Trial], list[Any]] = lambda _: [],
    ) -> None:
        """Train each of these until it has had so many epochs.

        They have had `since`. The `keep` best of them can be trained further. `median` ends those that are worse than
        the median. `hooks` makes further callbacks.
        """
        size = _MEDIAN_GROUP if median else len(trials)
        for start in range(0, len(trials), max(size, 1)):
            medians = self._medians() if median else None
            chunk = trials[start : start + size]
            todo = [trial for trial in chunk if not self._is_done(trial, epochs)]
            self._advance((len(chunk) - len(todo)) * (epochs - since))
            while todo:
                self._check_time()
                group, todo = self._next_group(todo)
                self._group_work = len(group) * (epochs - since)
                self._fit(group, epochs, medians, hooks)
                self._advance(self._group_work)
                self._release(ranked(self._open(trials, epochs), self.goal, epochs)[:keep])
            self._passed |= {trial.number: (trial, epochs) for trial in chunk if trial.has_passed(epochs)}

    @staticmethod
    def _is_done(trial: Trial, epochs: int) -> bool:
        return trial.ended_early or (trial.state == COMPLETE and trial.epochs >= epochs)

    @staticmethod
    def _open(trials: Sequence[Trial], epochs: int) -> list[Trial]:
        """Return those that have had so many epochs, and may have more."""
        return [trial for trial in trials if trial.state == COMPLETE and trial.epochs >= epochs]

    def _medians(self) -> list[float]:
        columns = [
            trial.history[self.goal.metric][:epochs]
            for trial, epochs in self._passed.values()
            if trial.history is not None
        ]
        return running_medians(columns)

    def _check_time(self) -> None:
        if time.perf_counter() >= self._fitting.deadline:
            raise TimeIsOverError

    # ---- building ----

    def _next_group(self, todo: list[Trial]) -> tuple[list[Trial], list[Trial]]:
        """Build the trainers of the first ones, as many as memory should hold; return these and the rest."""
        group: list[Trial] = []
        room, began = _GROUP_BYTES, time.perf_counter()
        enough = 4 * (self._fitting.threads or get_num_threads())  # for all threads to have work
        share = (self._fitting.deadline - began) / 4  # of the time that is left, so that there is some for training
        for place, trial in enumerate(todo):
            self._check_time()
            if trial.running is None and not self._build(trial):
                continue
            group.append(trial)
            model = trial.running.trainer.model if trial.running is not None else None
            room -= 0 if model is None else _COPIES * model.num_parameters * model.dtype.itemsize
            taken = time.perf_counter() - began
            takes_long = taken > share or (len(group) >= enough and taken > _BUILDING)
            if len(group) == GROUP or room <= 0 or takes_long:
                return group, todo[place + 1 :]
        return group, []

    def _build(self, trial: Trial) -> bool:
        """Return whether there is a trainer now; an error of `build` is one of the trial."""
        self.on_look()
        try:
            trainer = self._fitting.build(dict(trial.params))
            augment = self._fitting.augment
            if callable(augment) and not isinstance(augment, Augment):
                augment = augment(dict(trial.params))
        except Exception as error:  # noqa: BLE001  whatever `build` raises
            self._fail(trial, error)
            return False
        if not isinstance(trainer, Trainer):
            given, hint = f"build({trial.params}) returned {trainer!r}", "return one with a model of its own"
            raise TypeError(message(WHERE, given, "expected a stoop.Trainer", hint))
        self._check_new(trainer, trial.number)
        self._models[id(trainer.model)] = trial
        called = [] if self._fitting.callbacks is None else checked_callbacks(self._fitting.callbacks(trial.number))
        trial.running = Running(trainer, Kept(), called, augment)
        trial.history, trial.seconds = None, 0.0  # of an earlier process: it is trained from its beginning
        return True

    def _check_new(self, trainer: Trainer, number: int) -> None:
        """Refuse what was trained before: by this search, or by whoever made it."""
        given = None
        if trainer.model in self._built:
            given = f"build returned the model of trial {self._built[trainer.model]} again for trial {number}"
        elif trainer.steps > 0:
            given = f"build returned a trainer that has made {trainer.steps} steps for trial {number}"
        if given is not None:
            raise ValueError(message(WHERE, given, "expected a new one", "make model and trainer inside build"))
        self._built[trainer.model] = number

    # ---- training ----

    def _fit(
        self,
        trials: list[Trial],
        epochs: int,
        medians: Sequence[float] | None,
        hooks: Callable[[Trial], list[Any]],
    ) -> None:
        jobs = [trial.running for trial in trials if trial.running is not None]
        if not jobs:
            return
        fitting, goal = self._fitting, self.goal
        keepers = [Keeper(goal, job, trial.history, self._bar, medians) for job, trial in zip(jobs, trials)]
        called = [[*job.callbacks, *hooks(trial), keeper] for job, trial, keeper in zip(jobs, trials, keepers)]
        train_rows, validation_rows = fitting.rows
        request = FitRequest(
            epochs=[epochs - trial.epochs for trial in trials],
            batch_size=[trial.params.get("batch_size", fitting.batch_size) for trial in trials],
            augment=[job.augment for job in jobs],
            options=fitting.options,
            rows=None if train_rows is None else [train_rows] * len(jobs),
            validation=(fitting.validation, None if validation_rows is None else [validation_rows] * len(jobs)),
            metrics=fitting.metrics,
            callbacks=called.__getitem__,
        )
        watch = _Watch(self, trials, keepers)
        limit = max(fitting.deadline - time.perf_counter(), 0.0)
        trainers = [job.trainer for job in jobs]
        try:
            _, ended_by = train_many(trainers, fitting.arrays, request, fitting.threads, limit, watch)
        except (ValueError, TypeError) as error:  # before anything was trained
            if len(trials) == 1:
                self._fail(trials[0], error)
                return
            for trial in trials:  # one of them may be at fault
                self._fit([trial], epochs, medians, hooks)
            return
        if ended_by is not None:
            raise ended_by
        self._check_cut(trials)

    def _check_cut(self, trials: list[Trial]) -> None:
        if any(trial.state in (WAITING, INTERRUPTED) for trial in trials):
            raise TimeIsOverError

    def _bar(self) -> float | None:
        return None if self._best is None else self.goal.best_of(self._best.history)[0]

    def looked(self, part: float) -> None:
        """Show how far it is, when this part of the running group is done."""
        self.on_look()
        if self._line is not None:
            done, planned = self._work
            self._line.update((done + part * self._group_work) / planned, self.trials.values(), self._best)

    def _advance(self, epochs: float) -> None:
        self._work = (self._work[0] + epochs, self._work[1])

    def ended(self, trial: Trial, fit: Fit, keeper: Keeper) -> None:
        """Take what a fit has left, on its thread; another may end while Python runs here."""
        if not fit.has_begun and fit.history.error is None:
            return
        with self._lock:
            self._take(trial, fit.history)
            if keeper.began is not None:
                trial.seconds += time.perf_counter() - keeper.began
            if trial.state == FAILED:
                self._fail(trial, fit.history.error or ValueError(f"{self.goal.metric} was never a number"))
            else:
                self._settle(trial)

    def _take(self, trial: Trial, history: History) -> None:
        """Add a history to that of the trial, which gets its state."""
        trial.history = history if trial.history is None else trial.history + history
        trial.state = self._state_of(trial, history)
        error = history.error
        if trial.state != FAILED and error is not None:
            trial.history.error = error.__traceback__ = None  # its frames hold the trainer

    def _state_of(self, trial: Trial, history: History) -> str:
        error = history.error
        if error is not None:
            if isinstance(error, KeyboardInterrupt):
                return INTERRUPTED
            return PRUNED if type(error).__name__ == "TrialPruned" else FAILED
        if history.stop_reason in ("max_time", "interrupted"):
            return INTERRUPTED
        if history.stop_reason == MEDIAN_STOP:
            return PRUNED
        return COMPLETE if self.goal.best_of(trial.history)[0] is not None else FAILED

    def _fail(self, trial: Trial, error: BaseException) -> None:
        trial.state = FAILED
        trial.error = f"{type(error).__name__}: {error}"
        if self.failure is None:
            self.failure = error
        else:
            error.__traceback__ = None  # its frames hold the trainer
        self._settle(trial)

    def _settle(self, trial: Trial) -> None:
        """Tell the others that a trial has ended."""
        self._note_best(trial)
        if self._journal is not None and trial.state != INTERRUPTED:
            self._journal.add(trial)

    def _note_best(self, trial: Trial) -> None:
        if trial.state == COMPLETE:
            self._best = ranked([trial] if self._best is None else [self._best, trial], self.goal)[0]
        elif trial is self._best:  # it has failed, or was left behind
            self._best = best_of((other for other in self.trials.values() if other.state == COMPLETE), self.goal)

    def _release(self, kept: list[Trial]) -> None:
        """Give up the models of all but these and the best."""
        needed = {id(trial) for trial in (*kept, self.best)}
        for trial in [trial for trial in self._models.values() if id(trial) not in needed]:
            self._free(trial)

    def _free(self, trial: Trial) -> None:
        if trial.running is not None:
            trainer: Any = trial.running.trainer
            del self._models[id(trainer.model)]
            trainer._loop = None  # which holds the trainer in turn
            trial.running = None

    # ---- the winner ----

    def winner(self, trial: Trial, *, again: bool) -> Trainer | None:
        """Return the trainer of a trial with its best epoch; one that is not here is trained `again`, or None."""
        value, epoch = self.goal.best_of(trial.history)
        running = trial.running
        if running is not None and running.kept_value != value:
            running = None  # others were better then, which failed later
        if running is None and again and value is not None and epoch is not None:
            running = self._trained_again(trial, value, epoch)
        if running is None:
            return None
        running.kept.put_back(running.trainer)
        return running.trainer

    def _trained_again(self, trial: Trial, value: float, epoch: int) -> Running | None:
        self._line = self._journal = None
        copy = Trial(trial.number, trial.params)
        try:
            if self._build(copy):
                self._fit([copy], epoch, None, lambda _: [])
        except (TimeIsOverError, KeyboardInterrupt):  # what was found must not be lost
            return None
        found, _ = self.goal.best_of(copy.history)
        if copy.state != COMPLETE or found is None:
            return None
        if not math.isclose(found, value, rel_tol=1e-3):
            given = f"trial {trial.number}, trained again, has {self.goal.metric} {found:.5g} in place of {value:.5g}"
            warn(message(WHERE, given, "expected the same", "let build use fixed seeds"))
        return copy.running


class _Watch:
    """What `train_many` tells, for the pool."""

    def __init__(self, pool: Pool, trials: list[Trial], keepers: list[Keeper]) -> None:
        self._pool, self._trials, self._keepers = pool, trials, keepers

    def update(self, running: int, done: int, failed: int, part: float) -> None:
        del running, done, failed
        self._pool.looked(part)

    def ended(self, number: int, fit: Fit) -> None:
        self._pool.ended(self._trials[number], fit, self._keepers[number])
