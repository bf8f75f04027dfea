"""What happens while `stoop.fit_many` runs: callbacks, errors, time limits, Ctrl-C, and other calls meanwhile."""

from __future__ import annotations

import io
import os
import threading
from typing import Any

import numpy as np
import pytest

import stoop
from fits import Calls
from helpers import MESSAGE, refused, run_python, unchanged
from many import MIXED, ROWS, Fit, X, Y, columns_of, run, state_of
from stoop import callbacks
from stoop._many_progress import ManyLine

FOREVER = 1_000_000_000


class Raises(callbacks.Callback):
    """Raises at the end of an epoch, or of the fit."""

    def __init__(self, error: BaseException, at: str = "on_epoch_end") -> None:
        setattr(self, at, self._raise)
        self._error = error

    def _raise(self, *_: object) -> None:
        raise self._error


def test_callbacks_are_called_for_each_trainer_as_in_fit() -> None:
    made: list[Calls] = []
    fits = [Fit(MIXED, called=lambda: made.append(Calls(2)) or [made[-1]]) for _ in range(5)]
    _, histories = run(fits)
    expected = Calls(2)
    Fit(MIXED, called=lambda: [expected]).alone(0)
    assert [calls.made for calls in made] == [expected.made] * 5
    assert [history.stop_reason for history in histories] == ["epochs"] * 5


def test_a_callback_may_use_and_stop_its_trainer() -> None:
    class Stops(callbacks.Callback):
        every_n_steps = 3

        def on_steps_end(self, trainer: stoop.Trainer, logs: dict[str, float]) -> None:
            trainer.learning_rate = 0.5 * trainer.optimizer.learning_rate
            trainer.evaluate(X[:20], Y[:20])
            trainer.step(X[:16], Y[:16])
            if logs["step"] > 8:
                trainer.stop("enough")

    fits = [Fit(MIXED, epochs=9, called=lambda: [Stops()]) for _ in range(3)]
    trainers, histories = run(fits, num_threads=2)
    for number, (fit, trainer, history) in enumerate(zip(fits, trainers, histories)):
        alone = fit.alone(number)
        assert history.stop_reason == alone.history.stop_reason == "enough"
        assert history.changes
        assert columns_of(history) == columns_of(alone.history)
        assert state_of(trainer) == state_of(alone)


def test_early_stopping_restores_the_best_epoch_of_each() -> None:
    stopping: Any = lambda: [callbacks.EarlyStopping(patience=2)]  # noqa: E731
    fits = [Fit(MIXED, epochs=40, rows=np.arange(80), called=stopping, optimizer=stoop.optimizers.Adam(0.1))] * 3
    trainers, histories = run(fits, validation_rows=[np.arange(80, ROWS)] * 3)
    for number, trainer in enumerate(trainers):
        alone = fits[number].alone(number, validation_data=(X[80:], Y[80:]))
        assert histories[number].stop_reason == alone.history.stop_reason == "early_stopping"
        assert state_of(trainer) == state_of(alone)


@pytest.mark.parametrize("at", ["on_fit_begin", "on_epoch_end", "on_fit_end"])
def test_an_exception_of_a_callback_ends_its_trainer_alone(at: str) -> None:
    error, quiet = OSError("disk full"), Calls()
    fits = [Fit(called=lambda: [quiet, Raises(error, at)]), Fit(MIXED), Fit(MIXED, called=lambda: [Calls()])]
    trainers, histories = run(fits)
    assert histories[0].error is error
    assert histories[0].stop_reason == "error"
    assert error.__traceback__ is not None
    assert quiet.made[-1][0] == "end"
    assert [history.error for history in histories[1:]] == [None, None]
    assert state_of(trainers[1]) == state_of(fits[1].alone(1))
    trainers[0].fit(X, Y, epochs=1, verbose=0)


def test_what_is_no_exception_ends_all() -> None:
    raises = Fit(epochs=FOREVER, called=lambda: [Raises(SystemExit(3))])
    fits = [raises, *(Fit(epochs=FOREVER) for _ in range(3))]
    trainers = [fit.trainer(number) for number, fit in enumerate(fits)]
    with pytest.raises(SystemExit):
        stoop.fit_many(trainers, X, Y, FOREVER, callbacks=lambda i: fits[i].called(), num_threads=2, verbose=0)
    assert [trainer.history.stop_reason for trainer in trainers] == ["error", *["interrupted"] * 3]
    assert isinstance(trainers[0].history.error, SystemExit)
    for trainer in trainers:
        assert trainer.history.epochs == list(range(1, trainer.epoch + 1))
        trainer.fit(X, Y, epochs=1, verbose=0)


def test_time_is_over_for_all_at_once() -> None:
    trainers, histories = run([Fit(MIXED, epochs=FOREVER) for _ in range(5)], num_threads=2, max_time=0.3)
    assert {history.stop_reason for history in histories} == {"max_time"}
    begun = [trainer.steps > 0 for trainer in trainers]
    assert sum(begun) == 2
    for trainer, history, has_begun in zip(trainers, histories, begun):
        assert trainer.history is history
        assert bool(history.epochs) == has_begun
    run([Fit()], max_time="1h")


def test_names_of_trainers_that_did_not_train_are_taken_back() -> None:
    names = np.array(["cat", "dog", "owl"])[Y]
    trainers, _ = run([Fit(), Fit()], names, max_time=0)
    assert [trainer.model.classes for trainer in trainers] == [None, None]
    assert [trainer.model.output for trainer in trainers] == [None, None]
    with pytest.raises(ValueError, match="rows"):
        run([Fit(), Fit()], names, validation_rows=[[0], [ROWS]])
    trainers, _ = run([Fit(), Fit(rows=np.arange(5))], names)
    assert [len(trainer.model.classes) for trainer in trainers] == [3, 3]


BAD: dict[str, tuple[type[Exception], dict[str, Any]]] = {
    "epochs": (ValueError, {"epochs": 0}),
    "epochs of each": (ValueError, {"epochs": [1]}),
    "batch size": (TypeError, {"batch_size": 1.5}),
    "rows by name": (ValueError, {"rows": "boot"}),
    "rows of one": (TypeError, {"rows": np.arange(5)}),
    "rows of some": (ValueError, {"rows": [None]}),
    "rows beyond": (ValueError, {"rows": [[0], [ROWS]]}),
    "rows before": (ValueError, {"rows": [[-1], None]}),
    "no rows": (ValueError, {"rows": [[], None]}),
    "rows that are no integers": (TypeError, {"rows": [[0.5], None]}),
    "a short mask": (ValueError, {"rows": [[True, False], None]}),
    "validation rows": (ValueError, {"validation_rows": [[ROWS], None]}),
    "two validations": (ValueError, {"validation_rows": [[0], [1]], "validation_data": (X, Y)}),
    "validation data": (TypeError, {"validation_data": X}),
    "callbacks": (TypeError, {"callbacks": [Calls()]}),
    "a callback": (TypeError, {"callbacks": lambda _: [3]}),
    "threads": (ValueError, {"num_threads": 0}),
    "time": (ValueError, {"max_time": -1}),
    "verbose": (ValueError, {"verbose": 3}),
    "metrics": (ValueError, {"metrics": ["speed"]}),
    "weights": (ValueError, {"sample_weight": np.ones(3)}),
    "last batch": (ValueError, {"last_batch": "hide"}),
    "class weights": (ValueError, {"class_weight": "heavy"}),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_used_is_refused_before_anything_is_trained(name: str) -> None:
    error, options = BAD[name]
    trainers = [Fit().trainer(0), Fit(dtype="float64").trainer(1)]
    before = trainers[0].history
    with unchanged(trainers[0]), unchanged(trainers[1]), pytest.raises(error) as raised:
        stoop.fit_many(trainers, X, Y, **{"verbose": 0, **options})
    assert MESSAGE.fullmatch(str(raised.value))
    assert trainers[0].history is before


@pytest.mark.parametrize("kind", [callbacks.EarlyStopping, callbacks.Lambda, Calls])
def test_a_callback_of_several_trainers_is_refused(kind: type[Any]) -> None:
    shared = kind()
    called = [[shared], [kind()], [kind(), shared]]
    trainers = [Fit().trainer(number) for number in range(3)]
    with refused(ValueError, "callbacks", f"{kind.__name__} .*trainers 0 and 2", "make one"):
        stoop.fit_many(trainers, X, Y, callbacks=called.__getitem__, verbose=0)
    assert not any(trainer.steps for trainer in trainers)
    with refused(ValueError):  # one that is given without a list
        stoop.fit_many(trainers, X, Y, callbacks=lambda _: shared, verbose=0)


def test_trainers_that_cannot_be_used_are_refused() -> None:
    one, other = Fit().trainer(0), Fit().trainer(1)
    for trainers in ([one, other, one], [one, stoop.Trainer(one.model)]):
        with refused(ValueError):
            stoop.fit_many(trainers, X, Y)
    for wrong in (one, [one, one.model], None):
        with refused(TypeError):
            stoop.fit_many(wrong, X, Y)  # type: ignore[arg-type]
    with refused(ValueError):
        stoop.fit_many([Fit(optimizer="lbfgs").trainer(0), other], X, Y, batch_size=16)
    bad = X.copy()
    bad[3, 1] = np.nan
    with unchanged(one), refused(ValueError):
        stoop.fit_many([one, other], bad, Y)


def test_a_trainer_that_runs_elsewhere_is_refused() -> None:
    busy, other = Fit().trainer(0), Fit().trainer(1)
    begun, done = threading.Event(), threading.Event()
    waits = callbacks.Lambda(on_epoch_end=lambda *_: (begun.set(), done.wait(30)))
    thread = threading.Thread(target=lambda: busy.fit(X, Y, epochs=1, callbacks=[waits], verbose=0))
    thread.start()
    begun.wait(30)
    with unchanged(other), pytest.raises(RuntimeError, match="already running"):
        stoop.fit_many([other, busy], X, Y, verbose=0)
    done.set()
    thread.join()


def test_calls_within_callbacks_and_threads() -> None:
    inner: list[tuple[list[stoop.Trainer], Any]] = []
    nests = callbacks.Lambda(on_epoch_end=lambda *_: inner.append(run([Fit(), Fit(MIXED)])))
    results: list[Any] = []
    threads = [
        threading.Thread(target=lambda: results.append(run([Fit(called=lambda: [nests]), Fit(), Fit(MIXED)])))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = [state_of(fit.alone(number)) for number, fit in enumerate([Fit(), Fit(), Fit(MIXED)])]
    for trainers, _ in results:
        assert [state_of(trainer) for trainer in trainers] == expected
    assert len(inner) == 9
    for trainers, _ in inner:
        assert [state_of(t) for t in trainers] == [state_of(Fit().alone(0)), state_of(Fit(MIXED).alone(1))]


def test_a_trainer_may_train_itself_and_others_within_its_callback() -> None:
    def train(trainer: stoop.Trainer, _: Any) -> None:
        if trainer.epoch == 1:
            outer = trainer.history
            stoop.fit_many([trainer, Fit().trainer(5)], X, Y, epochs=1, verbose=0)
            assert trainer.history is outer

    fit = Fit(MIXED, called=lambda: [callbacks.Lambda(on_epoch_end=train)])
    trainer = fit.alone(0)
    assert trainer.epoch == 4
    assert trainer.history.epochs == [1, 3, 4]


PROGRAM = """
import os, signal, sys, threading, time
import numpy as np, stoop
rng = np.random.default_rng(0)
X, y = rng.standard_normal((5000, 16), np.float32), rng.integers(4, size=5000)

def trainer(i):
    return stoop.Trainer(stoop.Model([stoop.Dense(64, activation="tanh"), stoop.Dense(4)], input_dim=16, seed=i))

trainers = [trainer(i) for i in range(5)]
"""

INTERRUPTED = """
def interrupt():
    while sum(t.steps > 0 for t in trainers) < 2:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
try:
    stoop.fit_many(trainers, X, y, epochs=1_000_000, num_threads=2, verbose=0, callbacks=CALLBACKS)
except KeyboardInterrupt:
    print("interrupted")
steps = [t.steps for t in trainers]
assert sum(step > 0 for step in steps) == 2, steps
for t in trainers:
    assert t.history.stop_reason == "interrupted", t.history.stop_reason
    assert t.steps or t.history.epochs == []
    t.fit(X, y, epochs=1, verbose=0)
"""

POSIX = pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")


@POSIX
@pytest.mark.parametrize("called", ["None", "lambda i: [stoop.callbacks.Lambda(on_epoch_end=lambda *_: None)]"])
def test_ctrl_c_leaves_all_usable(called: str) -> None:
    done = run_python("-c", PROGRAM + INTERRUPTED.replace("CALLBACKS", called), timeout=120)
    assert done.stdout.split() == ["interrupted"]


@pytest.mark.parametrize("called", ["None", "lambda i: [stoop.callbacks.Lambda(on_epoch_end=lambda *_: None)]"])
def test_the_interpreter_may_end_meanwhile(called: str) -> None:
    program = f"""{PROGRAM}
def run():
    stoop.fit_many(trainers, X, y, epochs=1_000_000, num_threads=2, verbose=0, callbacks={called})
threading.Thread(target=run, daemon=True).start()
while not any(t.steps for t in trainers):
    time.sleep(0.01)
print("ended")
"""
    assert run_python("-c", program, timeout=120).stdout.split() == ["ended"]


def test_progress_over_all(capsys: pytest.CaptureFixture[str]) -> None:
    fits = [Fit(), Fit(optimizer=stoop.optimizers.SGD(1e30), loss="mse")]
    run(fits, np.eye(3)[Y], verbose=1)
    assert capsys.readouterr().out == "2/2 trainers done in 0:00, 1 failed\n"
    run(fits[:1], verbose=0)
    assert capsys.readouterr().out == ""
    endless = [Fit(epochs=1), *(Fit(epochs=FOREVER) for _ in range(4)), fits[1]]
    run(endless, np.eye(3)[Y], verbose=1, max_time=0.2, num_threads=1)
    assert capsys.readouterr().out == "0/6 trainers done in 0:00, 1 cut off\n"
    run(endless[-3:], np.eye(3)[Y], verbose=2, max_time=0.2, num_threads=3)
    assert capsys.readouterr().out == "1/3 trainers done in 0:00, 1 failed, 2 cut off\n"


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_line_that_is_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    stream = Terminal()
    line = ManyLine(64, stream=stream)
    line.update(2, 10, 1, 0.25)
    shown = stream.getvalue()
    for text in ("10/64 trainers done", "2 running", "1 failed", "left"):
        assert text in shown
    line.close(64, 1)
    assert "64/64 trainers done in 0:00, 1 failed" in stream.getvalue()
    quiet = io.StringIO()
    ManyLine(64, stream=quiet).update(2, 10, 1, 0.25)
    assert quiet.getvalue() == ""
