"""A fit that several processes make together: rank 0 has the callbacks, and all follow what they do."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from stoop._config import from_config
from stoop._errors import message
from stoop._loop import GO_ON, LOOK, STOP, FitLoop
from stoop._processes import Processes, check_telling, error_of, reason_of
from stoop.schedules import Schedule, python_rates

_WHERE = "Trainer.fit"
# The effects of a call of which nothing can be told: the state is copied to be sure.
_UNKNOWN: dict[str, Any] = {
    "settings": {},
    "state": True,
    "stop_reason": None,
    "ended": None,
    "changes": [],
    "row": None,
}


class SharedLoop(FitLoop):
    """One call of `Trainer.fit` by all processes, which call these methods in the same order.

    Parameters
    ----------
    processes : Processes
    trainer, *arguments
        Those of `FitLoop`. Other ranks than 0 leave out callbacks and metrics.
    """

    is_shared = True

    def __init__(self, processes: Processes, trainer: Any, *arguments: Any) -> None:
        super().__init__(trainer, *arguments)
        self._processes = processes
        self._failure: BaseException | None = None  # of this process alone, told at the next meeting
        self._has_met = False
        self._next = 0  # updates until `steps`, as rank 0 wants it

    @property
    def keeps_copy(self) -> bool:
        """Whether a callback can put parameters back: not in all processes."""
        return False

    def begin(self, text: str | None, arrays: Mapping[str, Any] | None) -> bool:
        """Begin; see `FitLoop`."""
        self._has_met = True
        if self._processes.rank > 0 and text is not None:
            try:
                self._resume(text, arrays or {})
            except Exception as error:  # noqa: BLE001  told to the others
                self._failure = error
        self.has_begun = True
        begin = super().begin
        return self._meet(lambda: begin(text, arrays))

    def next_steps(self) -> int:
        """Return the updates until `steps` is to be called, 0 for never."""
        return self._next

    def steps(self, *numbers: Any) -> bool:
        """Call the callbacks whose updates are made."""
        steps = super().steps
        return self._meet(lambda: steps(*numbers))

    def epoch(self) -> bool:
        """Complete the newest row of the history, and call the callbacks."""
        epoch = super().epoch
        return self._meet(epoch)

    def progress(self, epoch: int, done: int, samples: int) -> int:
        """Show how far it is, and say whether to go on."""
        if self._failure is not None or self._processes.is_interrupted:
            return STOP
        try:
            answer = super().progress(epoch, done, samples)
        except Exception as error:  # noqa: BLE001  told to the others
            self._failure = error
            return STOP
        return answer if answer in (GO_ON, LOOK) else STOP

    def end(self, reason: str, *, quietly: bool = False) -> None:
        """Call `on_fit_end` of the callbacks of rank 0; then raise what one of the processes has raised."""
        if not self._has_met:
            super().end(reason, quietly=quietly)
            return
        processes, own = self._processes, self._own_reason()
        if isinstance(sys.exc_info()[1], MemoryError):  # which only this process may have met, within an update
            processes.abort()
        told = processes.gather([own, self.stop_reason])
        failed = [(rank, said) for rank, (said, _) in enumerate(told) if said is not None]
        wanted = [stop for _, stop in told if stop is not None]
        if failed:
            reason = "interrupted" if any(said == "KeyboardInterrupt" for _, said in failed) else "error"
        elif wanted and not quietly:
            reason = wanted[0]
        interrupted, processes.is_interrupted = processes.is_interrupted, False
        failure, self._failure = self._failure, None
        end, raises = super().end, quietly or bool(failed)
        if processes.rank > 0:
            end(reason, quietly=True)

        def finish() -> bool:
            end(reason, quietly=raises)
            return True

        self._lead(finish)
        if interrupted:
            raise KeyboardInterrupt
        if failure is not None and not quietly:
            raise failure
        if failed and not quietly:
            raise error_of(_WHERE, *failed[0])

    def _own_reason(self) -> str | None:
        if self._processes.is_interrupted:
            return "KeyboardInterrupt"
        return None if self._failure is None else reason_of(self._failure)

    def _meet(self, call: Callable[[], bool]) -> bool:
        """Let rank 0 make a call, unless a process wants to end the fit. Returns whether all go on."""
        told = self._processes.gather([self._own_reason(), self.stop_reason])
        if any(said is not None for said, _ in told):
            return False
        goes_on = self._lead(call)
        stops = [stop for _, stop in told if stop is not None]  # also from another thread of any process
        if stops and self.stop_reason is None:
            self.stop_reason = stops[0]
        return goes_on and not stops

    def _lead(self, call: Callable[[], bool]) -> bool:
        """Let rank 0 make a call, and do what it has done in all processes. What it raises is raised in all."""
        core, processes = self.trainer._core, self._processes
        effects: dict[str, Any] = {}
        raised: BaseException | None = None
        if processes.rank == 0:
            settings, state, rate = core.settings(), core.fingerprint(), self.trainer.learning_rate
            try:
                with processes.alone(core):
                    effects["goes_on"] = call()
                    effects["next"] = super().next_steps()
                self._check_rate(rate)
            except BaseException as error:  # noqa: BLE001  raised below
                raised = error
            try:
                effects |= self._effects(settings, state)
                check_telling(effects)
            except Exception as error:  # noqa: BLE001  raised below
                raised = raised or error
                effects = dict(_UNKNOWN)
            if raised is not None:
                effects["raised"] = reason_of(raised)
        effects = processes.broadcast(effects)
        if processes.rank > 0:
            try:
                self._follow(effects)
            except Exception as error:  # noqa: BLE001  told to the others at the next meeting
                self._failure = error
        if effects["state"]:
            _copy_state(processes, self.trainer)
        if raised is not None:
            raise raised
        if "raised" in effects:
            raise error_of(_WHERE, 0, effects["raised"])
        self._next = effects["next"]
        return bool(effects["goes_on"])

    def _check_rate(self, before: Any) -> None:
        now = self.trainer.learning_rate
        if now is not before and any(python_rates(now)):
            self.trainer.learning_rate = before
            given, hint = "a callback set a learning rate that is a function", "set a number or a schedule"
            raise TypeError(message(_WHERE, given, "expected one that other processes can be told", hint))

    def _effects(self, settings: Mapping[str, Any], state: int) -> dict[str, Any]:
        core, history = self.trainer._core, self.history
        now = core.settings()
        return {
            "settings": {name: value for name, value in now.items() if value != settings[name]},
            "state": core.fingerprint() != state,
            "stop_reason": self.stop_reason,
            "ended": history.stop_reason,
            "changes": history.changes,
            "row": history._newest() if history.epochs else None,
        }

    def _follow(self, effects: Mapping[str, Any]) -> None:
        trainer, history = self.trainer, self.history
        settings = dict(effects["settings"])
        if settings.get("learning_rate") is not None:
            value = json.loads(settings["learning_rate"])
            settings["learning_rate"] = from_config(Schedule, value) if isinstance(value, dict) else value
        between = dict(trainer._between)
        trainer.set(**settings)
        trainer._between = between  # the changes are those that rank 0 tells
        self.stop_reason = effects["stop_reason"] or self.stop_reason
        history.changes[:] = effects["changes"]
        history.stop_reason = effects["ended"]
        if effects["row"] is not None and history.epochs:
            history._amend(effects["row"])


def _copy_state(processes: Processes, trainer: Any) -> None:
    """Give the others what rank 0 has: parameters, running statistics and all that training carries on."""
    core = trainer._core
    live = [*trainer.model.parameters().values(), *trainer.model.buffers().values()]
    state = core.state()
    numbers = {name: state[name] for name in ("swapped", "epoch", "steps", "place", "fit")}
    numbers = processes.broadcast({**numbers, "sizes": [len(array) for array in state["optimizer"]]})
    optimizer = state["optimizer"]
    if processes.rank > 0:  # LBFGS may hold fewer arrays here
        optimizer = [np.empty(size, trainer.model.dtype) for size in numbers["sizes"]]
    processes.broadcast_arrays([*live, *optimizer, state["average"]])
    if processes.rank == 0:
        return
    tuples = {name: tuple(numbers[name]) for name in ("place", "fit")}
    core.set_state(
        optimizer=optimizer,
        average=state["average"],
        swapped=numbers["swapped"],
        epoch=numbers["epoch"],
        steps=numbers["steps"],
        **tuples,
    )
