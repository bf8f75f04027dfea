"""What `Trainer.fit` does between two updates and epochs: metrics, callbacks, the history and the table of epochs.

The core calls the methods of `FitLoop` on the thread that called `fit`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stoop._checkpoints import restore_loop
from stoop._checks import integer, is_complex
from stoop._errors import message, warn
from stoop.history import History
from stoop.progress import EpochTable

if TYPE_CHECKING:
    from stoop.metrics._resolve import Metric

_METHODS = ("on_fit_begin", "on_steps_end", "on_epoch_end", "on_fit_end")
GO_ON, LOOK, STOP = 0, 1, 2  # the answers of FitLoop.progress


class _Since:
    """The mean loss since the last call of a callback, the same however often others look meanwhile."""

    def __init__(self) -> None:
        self.carried = (0.0, 0.0)  # sums of the losses and weights of epochs that ended since
        self.start = (0.0, 0.0)  # those of the running epoch at the last call

    def end_epoch(self, sums: tuple[float, float]) -> None:
        """Carry what the epoch, whose sums these are, has added."""
        self.carried = self._to(sums)
        self.start = (0.0, 0.0)

    def take_mean(self, sums: tuple[float, float]) -> float:
        """Return the mean up to these sums of the running epoch, and begin anew."""
        loss, weight = self._to(sums)
        self.carried, self.start = (0.0, 0.0), sums
        return loss / weight if weight else math.nan

    def _to(self, sums: tuple[float, float]) -> tuple[float, float]:
        (loss, weight), (carried_loss, carried_weight) = self.start, self.carried
        return carried_loss + (sums[0] - loss), carried_weight + (sums[1] - weight)


class FitLoop:
    """One call of `Trainer.fit`.

    Parameters
    ----------
    trainer : Trainer
    history : History
        Gets a row after each epoch from the core.
    callbacks : sequence of objects
        As `checked_callbacks` returns them.
    metrics : sequence of Metric
        Those that are computed from the outputs for the validation data.
    validation : iterable of ndarray or None
        The validation data as the core takes them: samples, targets and weights.
    validation_freq : int
        They are evaluated after every so many epochs.
    """

    is_shared = False  # by several processes

    def __init__(
        self,
        trainer: Any,
        history: History,
        callbacks: Sequence[Any] = (),
        metrics: Sequence[Metric] = (),
        validation: Iterable[Any] | None = None,
        validation_freq: int = 1,
    ) -> None:
        self.trainer = trainer
        self.history = history
        self.callbacks = callbacks
        self.make_table: Callable[[int], EpochTable] | None = None  # from the epochs completed before the fit
        self.table: EpochTable | None = None
        self.stop_reason: str | None = None
        self.first_epoch = trainer.epoch
        self._metrics = metrics
        self._validation = validation
        self._validation_freq = validation_freq
        self.is_running = False
        self.has_begun = False
        self._begun: list[Any] = []  # the callbacks whose on_fit_begin was called to its end
        self.ended_at: int | None = None  # updates made when the fit ended
        self._wants_look = False
        self._updates = 0  # made in this fit
        self._steps: list[tuple[Any, int, _Since]] = []  # those with on_steps_end, how often, and their sums
        self._sums = (0.0, 0.0)  # of the running epoch: losses times weights, and weights
        self._seen = 0  # updates of the trainer at the last look
        self._lookers = [c for c in callbacks if hasattr(c, "wants_look")]

    def begin(self, text: str | None, arrays: Mapping[str, Any] | None) -> bool:
        """Begin, where the core resumed a checkpoint with what it holds of Python."""
        if text is not None:
            self._resume(text, arrays or {})
        self.has_begun = True
        if self.make_table is not None:
            self.table = self.make_table(self.first_epoch)
        for callback in self.callbacks:
            _call(callback, "on_fit_begin", self.trainer)
            self._begun.append(callback)
        self._seen = self.trainer.steps
        return self.stop_reason is None

    def _resume(self, text: str, arrays: Mapping[str, Any]) -> None:
        self.trainer._adopt_settings()
        restore_loop(self, text, arrays)

    def _find_steps(self) -> None:
        known = {id(callback): since for callback, _, since in self._steps}
        self._steps = []
        for callback in self.callbacks:
            every = getattr(callback, "every_n_steps", None)
            if every is not None and hasattr(callback, "on_steps_end"):
                every = integer(type(callback).__name__, "every_n_steps", every, 1)
                self._steps.append((callback, every, known.get(id(callback), _Since())))

    def next_steps(self) -> int:
        """Return the updates until `steps` is to be called, 0 for never."""
        self._find_steps()  # a callback may change how often it is called
        return min((every - self._updates % every for _, every, _ in self._steps), default=0)

    def steps(self, epoch: int, steps: int, loss_sum: float, weight_sum: float, rate: float) -> bool:
        """Call the callbacks whose updates are made, or that want to look."""
        self._updates += steps - self._seen
        self._sums = (loss_sum, weight_sum)
        looks, self._wants_look = self._wants_look, False
        for callback, every, since in self._steps:
            if self._updates % every == 0:
                self._call_steps(callback, since, epoch, steps, rate)
        for callback in self._lookers if looks else ():
            if callback.wants_look():
                self._call_steps(callback, _Since(), epoch, steps, rate)
        self._seen = self.trainer.steps  # which a callback may have moved
        return self.stop_reason is None

    def _call_steps(self, callback: Any, since: _Since, epoch: int, step: int, rate: float) -> None:
        loss = since.take_mean(self._sums)
        logs = {"epoch": epoch + 1, "step": step, "loss": loss, "learning_rate": rate}
        _call(callback, "on_steps_end", self.trainer, logs)

    def epoch(self) -> bool:
        """Complete the newest row of the history, and call the callbacks."""
        if self.callbacks or self._metrics:
            for _, _, since in self._steps:
                since.end_epoch(self._sums)
            self._sums = (0.0, 0.0)
            self._complete_row()
            self._seen = self.trainer.steps
        if self.table is not None:
            self.table.row()
        return self.stop_reason is None

    def _complete_row(self) -> None:
        self.history._amend({})  # what the core does not measure is NaN so far
        logs = self.history._newest()
        if len(self.history.epochs) % self._validation_freq == 0:
            logs.update(self._measure())
        else:
            logs = {name: value for name, value in logs.items() if not name.startswith("val_")}
        self.history._amend(logs)
        for callback in self.callbacks:
            try:
                _call(callback, "on_epoch_end", self.trainer, logs)
            finally:
                self.history._amend(_numbers(callback, logs))  # which a later callback may save

    def _measure(self) -> dict[str, float]:
        if self._validation is None or not self._metrics:
            return {}
        x, targets, weights = self._validation
        outputs = self.trainer.model.predict(x)
        return {f"val_{metric.name}": metric(targets, outputs, weights) for metric in self._metrics}

    def progress(self, epoch: int, done: int, samples: int) -> int:
        """Show how far it is, and say whether to go on: `GO_ON`, `LOOK` or `STOP`."""
        if self.table is not None:
            self.table.update(epoch, done, samples)
        if self.stop_reason is not None:
            return STOP
        self._wants_look = any(callback.wants_look() for callback in self._lookers)
        return LOOK if self._wants_look else GO_ON

    def end(self, reason: str, *, quietly: bool = False) -> None:
        """Call `on_fit_end` of all callbacks that began, whatever some raise.

        The first exception is raised after that; `quietly` it becomes a warning, beside what ended the fit.
        """
        self.history.stop_reason = reason
        raised: BaseException | None = None
        try:
            if self.table is not None:
                self.table.close()
            if self.history.epochs:
                self.history._amend({})
        finally:
            for callback in self._begun:
                error = _raised_by(callback, self.trainer, reason)
                raised = raised or error
            self.is_running = False
            self.ended_at = self.trainer.steps
            self._validation = None  # the loop lives on, for a checkpoint after the fit
        if raised is not None and quietly:
            given = f"on_fit_end raised {raised!r} as well"
            warn(message("Trainer.fit", given, "expected it to end after an error", "mend that callback"))
        elif raised is not None:
            raise raised

    def state_dict(self) -> dict[str, Any]:
        """Return what the loop counts, for a checkpoint."""
        return {
            "first_epoch": self.first_epoch,
            "updates": self._updates,
            "sums": self._sums,
            "since": [(since.carried, since.start) for _, _, since in self._steps],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.first_epoch = state["first_epoch"]
        self._updates = state["updates"]
        self._sums = tuple(state["sums"])
        self._find_steps()
        for (_, _, since), sums in zip(self._steps, state["since"]):
            since.carried, since.start = (tuple(pair) for pair in sums)

    @property
    def keeps_copy(self) -> bool:
        """Whether a callback can put parameters back after an error."""
        return any(getattr(callback, "keeps_copy", False) for callback in self.callbacks)


def _raised_by(callback: Any, trainer: Any, reason: str) -> BaseException | None:
    """Call `on_fit_end`, and return what it raised: Ctrl-C as well, since the others must be called all the same."""
    try:
        _call(callback, "on_fit_end", trainer, reason)
    except BaseException as error:  # noqa: BLE001  raised later
        return error
    return None


def checked_callbacks(callbacks: Any) -> list[Any]:
    """Return the callbacks in the order of their calls: those that save come last.

    Raises
    ------
    TypeError
        For what has no method of a callback, and for a class.
    """
    given = list(callbacks) if isinstance(callbacks, Iterable) else [callbacks]
    for callback in given:
        what = f"callbacks holds {callback!r}"
        if isinstance(callback, type):
            hint = f"give an object, {callback.__name__}()"
            raise TypeError(message("Trainer.fit", what, "expected objects", hint))
        if not any(callable(getattr(callback, name, None)) for name in _METHODS):
            expected = f"expected objects with one of {', '.join(_METHODS)}"
            raise TypeError(message("Trainer.fit", what, expected, "derive from stoop.callbacks.Callback"))
    return sorted(given, key=lambda callback: bool(getattr(callback, "runs_last", False)))


def _numbers(callback: Any, logs: dict[str, float]) -> dict[str, float]:
    """Return the logs; TypeError names the callback and the column of what is no number."""
    wrong = [name for name, value in logs.items() if not _is_number(value)]
    if wrong:
        given = f"logs[{wrong[0]!r}] is {logs.pop(wrong[0])!r}"
        where = f"{type(callback).__name__}.on_epoch_end"
        raise TypeError(message(where, given, "expected a number", "add one number for each epoch"))
    return logs


def _is_number(value: Any) -> bool:
    try:
        if not is_complex(value):
            float(value)
    except (TypeError, ValueError):
        return False
    return not (isinstance(value, str) or is_complex(value))


def _call(callback: Any, name: str, *arguments: Any) -> None:
    method = getattr(callback, name, None)
    if method is not None:
        method(*arguments)
