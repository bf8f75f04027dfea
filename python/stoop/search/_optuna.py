"""Optuna as the engine of a search: trials are asked for in groups, which are trained together.

Processes that share a study have each a name and a pulse in it. Optuna's own heartbeat is for databases and for its own
loop only; this one is made of attributes of the study, so that it serves journal files as well.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stoop._checks import file_path
from stoop._errors import message
from stoop.callbacks import OptunaPruning
from stoop.history import History
from stoop.search._journal import as_plain, check_place
from stoop.search._methods import Plan
from stoop.search._owner import Owner, Watchman
from stoop.search._pool import WHERE, Pool
from stoop.search._sampling import numbered_tpe, params_of, suggest
from stoop.search._spaces import Parameter
from stoop.search._trial import COMPLETE, FAILED, INTERRUPTED, PRUNED, Goal, Trial

if TYPE_CHECKING:
    from stoop.search._line import SearchLine

_ABOUT = "stoop"  # attribute of the study; the others are of trials
_OWNER, _ENDED, _AGAIN, _SURPLUS = "stoop:owner", "stoop:ended", "stoop:again", "stoop:surplus"
_TOLD = {COMPLETE: "COMPLETE", PRUNED: "PRUNED", FAILED: "FAIL"}
_LONGEST = 60_000  # characters of a text in MySQL; of a longer history only the best epoch is kept
_PAUSE = 0.2  # seconds between two looks at the trials of others


class Study:
    """A study of Optuna, perhaps shared with other processes.

    Parameters
    ----------
    storage : None, path, URL or optuna storage
    about : dict
        What must be the same for all that share it.
    goal : Goal
    plan : Plan

    Raises
    ------
    ImportError
        Without Optuna.
    ValueError
        If the storage has such a study of another search.
    """

    def __init__(self, storage: Any, about: Mapping[str, Any], goal: Goal, plan: Plan) -> None:
        self._optuna = _imported()
        self._goal, self._plan = goal, plan
        self._is_shared = storage is not None
        options = plan.options
        self._database: Any = None
        if storage is not None and "://" in str(storage):
            self._database = _database(self._optuna, str(storage))
        with self._quiet():
            self._study = self._optuna.create_study(
                storage=self._database or _storage(self._optuna, storage),
                sampler=options["sampler"] or numbered_tpe(self._optuna, plan.seed),
                pruner=options["pruner"],
                study_name=options["study_name"] if self._is_shared else None,
                direction="maximize" if goal.mode == "max" else "minimize",
                load_if_exists=True,
            )
        self._is_exhausted = False
        self._study.stop = (
            self._note_end
        )  # which samplers call that have no more to try, and Optuna's own loop alone has
        self._check(json.loads(json.dumps(about)))
        self._states = self._optuna.trial.TrialState
        self._owner = Owner()
        self._watchman = Watchman(self._owner)
        self._asked: dict[int, Any] = {}  # trials of Optuna by number, those of this process that run

    def _note_end(self) -> None:
        self._is_exhausted = True

    def _check(self, about: dict[str, Any]) -> None:
        mode = "max" if self._study.direction.name == "MAXIMIZE" else "min"
        if mode != self._goal.mode:
            given, hint = f"the study makes its values {mode}", "give another storage or study_name"
            raise ValueError(message(WHERE, given, f"expected {self._goal.mode} for {self._goal.metric}", hint))
        old = self._study.user_attrs.get(_ABOUT)
        if old is None:
            self._study.set_user_attr(_ABOUT, about)
            return
        for key, value in about.items():
            if old.get(key) != value:
                given = f"the study has trials of a search with {key} {old.get(key)!r}, and it is {value!r}"
                hint = "give another storage or study_name for this one"
                raise ValueError(message(WHERE, given, "expected the same search", hint))

    # ---- the search ----

    def run(self, pool: Pool, space: Mapping[str, Parameter], line: SearchLine | None) -> None:
        """Ask for trials and train them until all are done, also those of others."""
        pool.on_look = self._beat
        pool.plan(self._plan.trials * self._plan.epochs)
        with self._quiet():
            try:
                while self._goes_on(pool, space, line):
                    trials = self._ask(pool, space)
                    try:
                        pool.train(trials, self._plan.epochs, hooks=self._hooks)
                    finally:
                        self._tell(trials)
            finally:
                self._give_back_own()
                self._read_others(pool, space)
                self._watchman.leave(self._study)
                self._close()

    def _hooks(self, trial: Trial) -> list[Any]:
        if isinstance(self._study.pruner, self._optuna.pruners.NopPruner):
            return []
        return [OptunaPruning(self._asked[trial.number], self._goal.metric)]

    def _goes_on(self, pool: Pool, space: Mapping[str, Parameter], line: SearchLine | None) -> bool:
        """Return whether there is something to ask for; wait for the trials of others."""
        while True:
            self._beat()
            self._rescue()
            counted = _counted(self._study.get_trials(deepcopy=False))
            states = [trial.state.name for trial in counted]
            if self._is_exhausted:
                return False
            if len(counted) < self._plan.trials or "WAITING" in states:
                return True
            unfinished = states.count("RUNNING") + sum(_is_void(trial) for trial in counted)
            if not unfinished:
                return False
            if line is not None:
                line.note = f"{unfinished} running elsewhere"
            self._read_others(pool, space)
            pool.wait(_PAUSE)

    def _ask(self, pool: Pool, space: Mapping[str, Parameter]) -> list[Trial]:
        """Return the next trials: first those that somebody enqueued, then new ones while there may be more."""
        asked: list[Trial] = []
        while len(asked) < self._plan.options["at_once"]:
            counted = _counted(self._study.get_trials(deepcopy=False))
            if len(counted) >= self._plan.trials and all(trial.state.name != "WAITING" for trial in counted):
                break
            asking = self._study.ask()
            asking.set_user_attr(_OWNER, self._owner.name)
            if self._is_surplus(asking):
                asking.set_user_attr(_SURPLUS, True)
                self._study.tell(asking, state=self._states.FAIL)
                break
            self._asked[asking.number] = asking
            for name, parameter in space.items():
                suggest(asking, name, parameter)
            asked.append(pool.trial(asking.number, params_of(space, asking.params)))
        return asked

    def _is_surplus(self, asking: Any) -> bool:
        """Return whether others were faster, so that there are enough without this one."""
        if _AGAIN in asking.user_attrs:
            return False
        counted = _counted(self._study.get_trials(deepcopy=False))
        others = [trial for trial in counted if trial.number < asking.number or _AGAIN in trial.user_attrs]
        return len(others) >= self._plan.trials

    def trial(self, number: int, params: dict[str, Any]) -> Trial | None:
        """Return nothing: what is asked for is new."""
        del number, params
        return None

    def add(self, trial: Trial) -> None:
        """Keep what came of a trial as soon as it has ended; it is told with the others of its group."""
        with self._if_not_taken():
            self._asked[trial.number].set_user_attr(_ENDED, _plain(trial, self._goal))

    def _tell(self, trials: list[Trial]) -> None:
        """Tell what came of trials, in the order of their numbers; those that were cut off are kept for later."""
        for trial in trials:
            if trial.state not in _TOLD:
                continue
            asking = self._asked.pop(trial.number)
            value = self._goal.best_of(trial.history)[0] if trial.state == COMPLETE else None
            with self._if_not_taken():
                self._study.tell(asking, value, state=self._states[_TOLD[trial.state]])

    def _give_back_own(self) -> None:
        """Let others, or a later call, try again what was cut off."""
        trials = self._study.get_trials(deepcopy=False)
        for number in sorted(self._asked):
            self._give_back(trials[number])
        self._asked.clear()

    # ---- the others ----

    def _beat(self) -> None:
        if self._is_shared:
            self._watchman.beat(self._study)

    def _rescue(self) -> None:
        """Give back the trials of processes that have died."""
        if not self._is_shared:
            return
        trials = self._study.get_trials(deepcopy=False)
        for trial in trials:
            if trial.state.name == "RUNNING" and self._watchman.is_dead(self._study, trial, _OWNER):
                self._give_back(trial)
        for trial in _counted(trials):
            if _is_void(trial) and self._watchman.is_dead(self._study, trial, ""):
                self._enqueue(trial)  # whoever gave it back died before this

    def _give_back(self, trial: Any) -> None:
        """End a running trial, and enqueue its parameters. Of several processes that try it, one can end it."""
        ended = trial.user_attrs.get(_ENDED)
        with self._if_not_taken():
            if ended is not None:  # it had ended, and was only not told
                self._study.tell(trial.number, ended["value"], state=self._states[_TOLD[ended["state"]]])
                return
            self._study.tell(trial.number, state=self._states.FAIL)
            if self._is_shared and _is_void(self._study.get_trials(deepcopy=False)[trial.number]):
                self._enqueue(trial)

    def _enqueue(self, trial: Any) -> None:
        if _SURPLUS not in trial.user_attrs:
            self._study.enqueue_trial(trial.params, user_attrs={_AGAIN: trial.number})

    def _read_others(self, pool: Pool, space: Mapping[str, Parameter]) -> None:
        """Take the trials of others that have ended, and forget what does not count."""
        for trial in self._study.get_trials(deepcopy=False):
            known = pool.trials.get(trial.number)
            if _is_void(trial) and known is not None and known.state != INTERRUPTED:
                pool.forget(known)
            ended = trial.user_attrs.get(_ENDED)
            if known is None and ended is not None and trial.state.is_finished():
                pool.take(_trial_of(trial.number, params_of(space, trial.params), ended))

    # ---- details ----

    def _close(self) -> None:
        """Close the connections to a database that was opened here."""
        if self._database is not None:
            self._database.remove_session()
            self._database.engine.dispose()

    @contextlib.contextmanager
    def _if_not_taken(self) -> Iterator[None]:
        """Pass over a trial that another process has ended: because it took this one for dead, or was faster."""
        try:
            yield
        except self._optuna.exceptions.UpdateFinishedTrialError:
            pass
        except ValueError as error:
            if not str(error).startswith("Cannot tell a "):
                raise

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[None]:
        """Keep Optuna from logging each trial, since the search shows how far it is."""
        logging = self._optuna.logging
        before = logging.get_verbosity()
        logging.set_verbosity(max(before, logging.WARNING))
        try:
            yield
        finally:
            logging.set_verbosity(before)


def _imported() -> Any:
    try:
        import optuna
    except ImportError as error:
        hint = "install it with `pip install 'stoop[optuna]'`"
        raise ImportError(message(WHERE, "optuna is missing", 'expected it for method="optuna"', hint)) from error
    return optuna


def _storage(optuna: Any, given: Any) -> Any:
    """Return a storage: a journal for a path."""
    if given is None or isinstance(given, optuna.storages.BaseStorage):
        return given
    path = file_path(WHERE, given)
    check_place(Path(path))
    try:
        with contextlib.suppress(FileNotFoundError), Path(path).open("rb") as file:
            first = file.readline()
            if first and not first.endswith(b"\n"):
                raise ValueError("no whole line")  # noqa: TRY301  Optuna would write after it
        return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(path))
    except (ValueError, KeyError, TypeError) as error:  # of what its lines hold
        given, hint = f"{path} holds something else ({error})", "give another path"
        raise ValueError(message(WHERE, given, "expected a journal of Optuna, or no file", hint)) from error


def _database(optuna: Any, url: str, attempts: int = 6) -> Any:
    """Return the storage of a database; of processes that make its tables at once, all but one try again."""
    try:
        return optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
    except Exception as error:
        if "already exists" not in str(error) or attempts == 1:
            raise
        time.sleep(0.5)
        return _database(optuna, url, attempts - 1)


# ---- what the study keeps of a trial ----


def _is_void(trial: Any) -> bool:
    """Return whether a trial was given back, or was one too many: it was ended, but not by who trained it."""
    return trial.state.name == "FAIL" and _ENDED not in trial.user_attrs


def _counted(trials: list[Any]) -> list[Any]:
    """Return the trials that count: one that was given back until its parameters are enqueued."""
    again = {trial.user_attrs.get(_AGAIN) for trial in trials}
    return [
        trial
        for trial in trials
        if not _is_void(trial) or (trial.number not in again and _SURPLUS not in trial.user_attrs)
    ]


def _plain(trial: Trial, goal: Goal) -> dict[str, Any]:
    value, epoch = goal.best_of(trial.history)
    kept: dict[str, Any] = {
        "state": trial.state,
        "seconds": trial.seconds,
        "error": trial.error and trial.error[:1000],
        "value": value if trial.state == COMPLETE else None,
        "history": None if trial.history is None else as_plain(trial.history),
    }
    if value is not None and epoch is not None and trial.history is not None and len(json.dumps(kept)) > _LONGEST:
        kept["history"] = as_plain(History._of([epoch], {goal.metric: [value]}, trial.history.stop_reason))
    return kept


def _trial_of(number: int, params: dict[str, Any], ended: Mapping[str, Any]) -> Trial:
    kept = ended["history"]
    history = None if kept is None else History._of(kept["epochs"], kept["columns"], kept["stop_reason"])
    return Trial(number, params, ended["state"], history, ended["seconds"], ended["error"])
