"""How the trainers of `stoop.fit_many` end: by Ctrl-C at any moment, by errors, by the clock."""

from __future__ import annotations

import os
import warnings
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import stoop
from helpers import refused, run_python
from many import MIXED, Fit, X, Y, run, state_of
from stoop import _fit_many, callbacks
from test_fit_many_events import FOREVER, PROGRAM, Raises

POSIX = pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")

AT_THE_TAIL = """
class Late(stoop.callbacks.Callback):
    def on_fit_end(self, trainer, reason):
        os.kill(os.getpid(), signal.SIGINT)

epochs = [4, 4, 4, 4, 3]  # the last is the shortest, so it ends last
try:
    stoop.fit_many(
        trainers, X, y, epochs, num_threads=1, verbose=0, callbacks=lambda i: [Late()] if i == 4 else []
    )
except KeyboardInterrupt:
    print("interrupted")
assert [t.epoch for t in trainers] == epochs
assert [len(t.history.epochs) for t in trainers] == epochs
assert {t.history.stop_reason for t in trainers} == {"epochs"}
"""

TWICE = """
class Signals(stoop.callbacks.Callback):
    def on_epoch_end(self, trainer, logs):
        if trainer.epoch == 2:
            os.kill(os.getpid(), signal.SIGINT)

    def on_fit_end(self, trainer, reason):
        os.kill(os.getpid(), signal.SIGINT)

try:
    stoop.fit_many(
        trainers, X, y, 1_000_000, num_threads=2, verbose=0, callbacks=lambda i: [Signals()] if i % 2 else []
    )
except KeyboardInterrupt:
    print("interrupted")
for t in trainers:
    assert t.history.stop_reason == "interrupted", t.history
    assert t.history.epochs == list(range(1, t.epoch + 1))
    t.fit(X, y, epochs=1, verbose=0)
"""


@POSIX
@pytest.mark.parametrize("program", [AT_THE_TAIL, TWICE], ids=["at the tail", "twice"])
def test_ctrl_c_keeps_all_histories(program: str) -> None:
    assert run_python("-c", PROGRAM + program, timeout=120).stdout.split() == ["interrupted"]


def test_an_interrupt_before_the_core_leaves_all_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    begin, begun = _fit_many.Fit.begin, []

    def interrupted(fit: Any) -> None:
        begin(fit)
        begun.append(fit)
        if len(begun) == 2:
            raise KeyboardInterrupt

    trainers = [Fit().trainer(number) for number in range(3)]
    before = [trainer.fit(X, Y, epochs=1, verbose=0) for trainer in trainers]
    monkeypatch.setattr(_fit_many.Fit, "begin", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stoop.fit_many(trainers, X, Y, verbose=0, callbacks=lambda _: [callbacks.EarlyStopping("loss")])
    for trainer, history in zip(trainers, before):
        assert trainer.history is history
        with pytest.raises(RuntimeError, match="no fit"):
            trainer.stop("x")
        assert trainer.fit(X, Y, epochs=1, verbose=0) is trainer.history


def test_a_trainer_that_is_done_has_its_history_while_others_run() -> None:
    seen: list[Any] = []
    trainers = [Fit().trainer(number) for number in range(3)]

    def looks(trainer: stoop.Trainer, logs: dict[str, float]) -> None:
        seen[:] = [(t.history.stop_reason, len(t.history.epochs)) for t in trainers[1:]]
        if all(reason for reason, _ in seen):
            trainer.stop("seen")

    called: Any = lambda i: [callbacks.Lambda(on_epoch_end=looks)] if i == 0 else []  # noqa: E731
    stoop.fit_many(trainers, X, Y, [FOREVER, 2, 3], callbacks=called, num_threads=2, max_time=60, verbose=0)
    assert seen == [("epochs", 2), ("epochs", 3)]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), ValueError("v")], ids=repr)
def test_reasons_are_those_of_fit(error: BaseException) -> None:
    heard: list[str] = []
    hears = callbacks.Lambda(on_fit_end=lambda _, reason: heard.append(reason))
    fit = Fit(called=lambda: [Raises(error), hears])
    trainer = fit.trainer(0)
    with pytest.raises(type(error)):
        trainer.fit(X, Y, callbacks=fit.called(), verbose=0)
    other = fit.trainer(0)
    with nullcontext() if isinstance(error, Exception) else pytest.raises(type(error)):
        stoop.fit_many([other], X, Y, callbacks=lambda _: fit.called(), verbose=0)
    assert heard == [trainer.history.stop_reason] * 2
    assert other.history.stop_reason == trainer.history.stop_reason
    assert other.history.error is error


def test_the_first_error_remains_where_warnings_are_errors() -> None:
    first = ValueError("first")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, histories = run([Fit(called=lambda: [Raises(first), Raises(OSError("second"), "on_fit_end")])])
    assert histories[0].error is first


@pytest.mark.parametrize("called", [None, lambda _: [callbacks.Callback()]], ids=["plain", "callbacks"])
def test_what_writing_down_raises_is_not_lost(monkeypatch: pytest.MonkeyPatch, called: Any) -> None:
    def finish(*_: object) -> None:
        raise MemoryError

    trainers = [Fit().trainer(0), Fit(MIXED).trainer(1)]
    monkeypatch.setattr(_fit_many.Fit, "finish", finish)
    with pytest.raises(MemoryError):
        stoop.fit_many(trainers, X, Y, callbacks=called, verbose=0)


def test_the_arguments_are_checked_without_trainers_and_may_be_arrays_of_no_dimension() -> None:
    for options in ({"epochs": -1}, {"batch_size": 0}, {"verbose": 7}, {"validation_freq": 0}, {"max_time": -1}):
        with refused(ValueError):
            stoop.fit_many([], X, Y, **options)  # type: ignore[arg-type]
    trainer = Fit().trainer(0)
    (history,) = stoop.fit_many([trainer], X, Y, np.array(2), np.array(16), verbose=0)  # type: ignore[arg-type]
    assert history.epochs == [1, 2]
    assert state_of(trainer) == state_of(Fit(epochs=2).alone(0))
    with refused(TypeError):
        stoop.fit_many([trainer], X, Y, np.array(2.0), verbose=0)  # type: ignore[arg-type]


def test_stop_reaches_a_trainer_that_waits_if_it_has_callbacks() -> None:
    trainers = [Fit().trainer(number) for number in range(3)]
    refusals: list[str] = []

    def stops(trainer: stoop.Trainer, logs: dict[str, float]) -> None:
        for other in trainers[1:]:
            try:
                other.stop("lost")
            except RuntimeError as error:
                refusals.append(str(error))
        trainer.stop("won")

    called: list[Any] = [[callbacks.Lambda(on_epoch_end=stops)], [callbacks.Callback()], []]
    histories = stoop.fit_many(trainers, X, Y, [9, 5, 2], callbacks=called.__getitem__, num_threads=1, verbose=0)
    assert [history.stop_reason for history in histories] == ["won", "lost", "epochs"]
    assert trainers[1].epoch < 5
    assert len(refusals) == 1


def test_a_row_that_nobody_uses_is_checked_all_the_same() -> None:
    changed = X.copy()
    changed[7] = np.nan
    with refused(ValueError):
        stoop.fit_many([Fit().trainer(0)], changed, Y, rows=[np.arange(8, len(X))], verbose=0)


def test_the_names_are_public() -> None:
    assert {"fit_many", "many"} <= set(stoop.__all__)
