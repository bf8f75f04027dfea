"""Callbacks: when they are called, what they may do, and how a fit ends by them."""

from __future__ import annotations

import math
import pickle
import signal
import threading
from typing import Any

import numpy as np
import pytest

import stoop
from fits import FIT, RNG, Calls, Scripted, X, Y, assert_same, trainer, values
from stoop.callbacks import EarlyStopping, Lambda, OptunaPruning


def test_the_order_of_the_calls() -> None:
    calls = Calls(every=5)  # of 8 updates an epoch
    history = trainer().fit(X, Y, epochs=2, callbacks=calls, **FIT)
    assert calls.made == [
        ("begin", 0),
        ("steps", 1, 5),
        ("epoch", 1),
        ("steps", 2, 10),
        ("steps", 2, 15),
        ("epoch", 2),
        ("end", "epochs"),
    ]
    assert history.stop_reason == "epochs"


def test_callbacks_change_nothing_by_being_there() -> None:
    plain, called = trainer(), trainer()
    a = plain.fit(X, Y, epochs=3, **FIT)
    b = called.fit(X, Y, epochs=3, callbacks=[Calls(every=1), Calls(every=3), Calls()], **FIT)
    assert_same(values(plain), values(called))
    for key in ("loss", "accuracy", "grad_norm", "learning_rate"):
        assert a[key] == b[key]


def test_the_loss_of_steps_is_the_mean_since_the_last_call() -> None:
    seen: dict[int, list[float]] = {1: [], 3: []}
    weights = RNG.random(120).astype(np.float32)
    callbacks = [
        Lambda(every_n_steps=every, on_steps_end=lambda _, logs, into=seen[every]: into.append(logs["loss"]))
        for every in seen
    ]
    history = trainer().fit(X, Y, epochs=3, sample_weight=weights, callbacks=callbacks, shuffle=False, **FIT)
    assert len(seen[1]) == 24
    sums = [weights[start : start + 16].sum(dtype=np.float64) for start in range(0, 120, 16)] * 3
    for i, loss in enumerate(seen[3]):  # also across the ends of epochs
        part = slice(3 * i, 3 * i + 3)
        assert loss == pytest.approx(np.average(seen[1][part], weights=sums[part]), rel=1e-9)
    for epoch, loss in enumerate(history["loss"]):
        part = slice(8 * epoch, 8 * epoch + 8)
        assert loss == pytest.approx(np.average(seen[1][part], weights=sums[part]), rel=1e-9)


def test_what_a_callback_adds_is_a_column() -> None:
    def add(_: stoop.Trainer, logs: dict[str, float]) -> None:
        logs["twice"] = 2 * logs["loss"]

    def late(_: stoop.Trainer, logs: dict[str, float]) -> None:
        assert "twice" in logs
        if logs["epoch"] == 2:
            logs["late"] = 7.0

    history = trainer().fit(X, Y, epochs=3, callbacks=[Lambda(on_epoch_end=add), Lambda(on_epoch_end=late)], **FIT)
    assert history["twice"] == [2 * loss for loss in history["loss"]]
    np.testing.assert_array_equal(history["late"], [math.nan, 7.0, math.nan])


def test_an_object_with_one_method_is_a_callback() -> None:
    class Mine:
        seen = 0

        def on_epoch_end(self, trainer: stoop.Trainer, logs: dict[str, float]) -> None:
            self.seen += 1

    mine = Mine()
    trainer().fit(X, Y, epochs=2, callbacks=[mine], **FIT)
    assert mine.seen == 2


@pytest.mark.parametrize("wrong", [[1], ["early"], [EarlyStopping], [object()], 3])
def test_what_is_no_callback(wrong: Any) -> None:
    one = trainer()
    with pytest.raises(TypeError, match=r"\[Trainer.fit\] callbacks holds"):
        one.fit(X, Y, callbacks=wrong, **FIT)
    assert one.steps == 0


@pytest.mark.parametrize("every", [0, -1, 1.5, "2"])
def test_a_wrong_every_n_steps(every: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="every_n_steps"):
        trainer().fit(X, Y, callbacks=Calls(every=every), **FIT)


def test_a_callback_may_train_and_change_parameters() -> None:
    one = trainer()

    def interfere(of: stoop.Trainer, logs: dict[str, float]) -> None:
        of.step(X[:16], Y[:16])
        of.evaluate(X, Y)
        of.model.parameters()["4.bias"][:] += 0.5
        outer, rows = of.history, len(of.history.epochs)
        inner = of.fit(X[:32], Y[:32], epochs=1, validation_data=(X, Y), **FIT)
        assert "val_loss" in inner
        assert of.history is outer  # that of the outer fit is back
        assert len(outer.epochs) == rows

    history = one.fit(X, Y, epochs=2, callbacks=Lambda(every_n_steps=4, on_steps_end=interfere), shuffle=True, **FIT)
    assert len(history.epochs) == 2
    assert one.steps == 2 * 8 + 4 * (1 + 2)


def test_what_a_callback_changes_holds_from_the_next_update_on() -> None:
    """The same as two trainers by turns, which start from the parameters that the other left."""
    a = trainer(rate=0.1)

    def lower(of: stoop.Trainer, logs: dict[str, float]) -> None:
        if logs["step"] == 3:
            of.set(learning_rate=0.01, l2=0.5, clip_norm=0.2)

    history = a.fit(X, Y, epochs=1, shuffle=False, callbacks=Lambda(every_n_steps=3, on_steps_end=lower), **FIT)
    b = trainer(rate=0.1)
    for i, start in enumerate(range(0, 120, 16)):
        if i == 3:
            b.set(learning_rate=0.01, l2=0.5, clip_norm=0.2)
        b.step(X[start : start + 16], Y[start : start + 16])
    assert_same(values(a), values(b))
    assert history["learning_rate"] == [0.01]
    changes = [{key: change[key] for key in change} for change in history.changes]
    assert changes == [
        {"epoch": 1, "step": 3, "learning_rate": 0.01},
        {"epoch": 1, "step": 3, "l2": 0.5},
        {"epoch": 1, "step": 3, "clip_norm": 0.2},
    ]


def test_what_is_set_between_fits_is_in_the_history_of_the_next() -> None:
    one = trainer(rate=0.1)
    one.set(learning_rate=0.2)  # before anything was trained there is nothing to change
    first = one.fit(X, Y, epochs=2, **FIT)
    assert first.changes == []
    one.set(learning_rate=0.3, l2=0.5)
    one.l2 = 0.25
    with pytest.raises(ValueError, match="l1"):
        one.set(clip_norm=1.0, l1=-1.0)
    with pytest.raises(ValueError, match="shape"):
        one.fit(X[0], Y, epochs=1, **FIT)
    again = pickle.loads(pickle.dumps(one))
    expected = [{"epoch": 3, "step": 16, "learning_rate": 0.3}, {"epoch": 3, "step": 16, "l2": 0.25}]
    for of in (one, again):
        second = of.fit(X, Y, epochs=1, **FIT)
        assert second.changes == expected
        assert (first + second).changes == expected
        assert of.fit(X, Y, epochs=1, **FIT).changes == []


def test_what_is_set_between_fits_of_many() -> None:
    one = trainer(rate=0.1)
    one.step(X[:16], Y[:16])
    one.set(clip_value=0.5)
    history, *_ = stoop.fit_many([one], X, Y, epochs=1, verbose=0)
    assert history.changes == [{"epoch": 1, "step": 1, "clip_value": 0.5}]
    assert stoop.fit_many([one], X, Y, epochs=1, verbose=0)[0].changes == []


def test_set_is_all_or_nothing() -> None:
    one = trainer()
    with pytest.raises(ValueError, match="l2"):
        one.set(l1=0.25, l2=-1.0)
    assert one.l1 == 0.0
    with pytest.raises(ValueError, match="learning_rate"):
        one.set(lr=0.1)
    one.set(learning_rate=stoop.schedules.Cosine(0.1, 10), clip_value=None)
    assert one.learning_rate == stoop.schedules.Cosine(0.1, 10)


def test_stop_says_why() -> None:
    one = trainer()
    history = one.fit(X, Y, epochs=9, callbacks=Lambda(on_epoch_end=lambda of, _: of.stop("enough")), **FIT)
    assert history.stop_reason == "enough"
    assert history.epochs == [1]
    history = one.fit(
        X, Y, epochs=9, callbacks=Lambda(every_n_steps=3, on_steps_end=lambda of, _: of.stop("now")), **FIT
    )
    assert history.stop_reason == "now"
    assert history.epochs == []
    assert one.steps == 11
    history = one.fit(X, Y, epochs=9, callbacks=Lambda(on_fit_begin=lambda of: of.stop("never mind")), **FIT)
    assert (history.stop_reason, one.steps) == ("never mind", 11)
    with pytest.raises(RuntimeError, match=r"\[Trainer.stop\] no fit is running"):
        one.stop("late")
    for wrong, error in (("", ValueError), (3, TypeError)):
        with pytest.raises(error, match="reason"):
            one.stop(wrong)  # type: ignore[arg-type]


def test_stop_from_another_thread() -> None:
    one = trainer()
    begun = threading.Event()

    def stop() -> None:
        begun.wait()
        one.stop("from outside")

    thread = threading.Thread(target=stop)
    thread.start()
    history = one.fit(X, Y, epochs=10**9, callbacks=Lambda(on_fit_begin=lambda _: begun.set()), **FIT)
    thread.join()
    assert history.stop_reason == "from outside"


@pytest.mark.parametrize("where", ["on_fit_begin", "on_steps_end", "on_epoch_end", "on_fit_end"])
def test_an_exception_keeps_its_traceback_and_the_model_usable(where: str) -> None:
    def explode_here(*_: Any) -> None:
        raise ZeroDivisionError("boom")

    one, calls = trainer(), Calls()
    more = {"every_n_steps": 5} if where == "on_steps_end" else {}
    with pytest.raises(ZeroDivisionError, match="boom") as caught:
        one.fit(X, Y, epochs=2, callbacks=[Lambda(**{where: explode_here}, **more), calls], **FIT)
    assert any(entry.name == "explode_here" for entry in caught.traceback)
    expected = "epochs" if where == "on_fit_end" else "error"
    # One that comes after the failing on_fit_begin never began, so that it has nothing to end.
    assert calls.made[-1:] == ([] if where == "on_fit_begin" else [("end", expected)])
    assert one.history.stop_reason == expected
    assert one.fit(X, Y, epochs=1, **FIT).stop_reason == "epochs"


def test_what_is_logged_is_a_number() -> None:
    def text(_: stoop.Trainer, logs: Any) -> None:
        logs["mine"] = "text"

    with pytest.raises(TypeError, match=r"\[Lambda.on_epoch_end\] logs\['mine'\] is 'text'"):
        trainer().fit(X, Y, callbacks=Lambda(on_epoch_end=text), **FIT)


def test_ctrl_c_calls_on_fit_end() -> None:
    calls = Calls()

    def interrupt(_: stoop.Trainer, logs: dict[str, float]) -> None:
        if logs["epoch"] == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trainer().fit(X, Y, epochs=9, callbacks=[Lambda(on_epoch_end=interrupt), calls], **FIT)
    assert calls.made[-1] == ("end", "interrupted")


def test_lambda_checks_what_it_gets() -> None:
    with pytest.raises(TypeError, match="on_epoch_end"):
        Lambda(on_epoch_end=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="every_n_steps"):
        Lambda(on_steps_end=lambda *_: None)


def test_optuna_pruning() -> None:
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def objective(trial: Any) -> float:
        script = [1.0, 2.0, 3.0] if trial.number == 0 else [9.0, 9.0, 9.0]
        trainer().fit(X, Y, epochs=3, callbacks=[Scripted(*script), OptunaPruning(trial, "score")], **FIT)
        return script[-1]

    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=0))
    study.optimize(objective, n_trials=2)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED"]
    assert study.trials[1].intermediate_values == {1: 9.0}


def test_optuna_pruning_takes_a_trial() -> None:
    with pytest.raises(TypeError, match="trial"):
        OptunaPruning(3)
