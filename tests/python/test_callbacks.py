"""Callbacks: when they are called, what they may do, and how a fit ends by them."""

from __future__ import annotations

import math
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stoop
from stoop.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    Lambda,
    ModelCheckpoint,
    OptunaPruning,
    ReduceLROnPlateau,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(np.int32)
FIT: dict[str, Any] = {"batch_size": 16, "verbose": 0}


def trainer(rate: float = 0.05, **options: Any) -> stoop.Trainer:
    layers = [stoop.Dense(8), stoop.BatchNorm(), stoop.Tanh(), stoop.Dropout(0.1), stoop.Dense(2)]
    model = stoop.Model(layers, input_dim=4, seed=1)
    return stoop.Trainer(model, optimizer=stoop.optimizers.Adam(rate), **options)


def values(of: stoop.Trainer) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in of.model.state_dict().items()}


def assert_same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for name, array in a.items():
        np.testing.assert_array_equal(array, b[name], err_msg=name)


class Calls(Callback):
    """Notes every call."""

    def __init__(self, every: int | None = None) -> None:
        self.every_n_steps = every
        self.made: list[tuple[Any, ...]] = []

    def on_fit_begin(self, trainer: stoop.Trainer) -> None:
        self.made.append(("begin", trainer.steps))

    def on_steps_end(self, trainer: stoop.Trainer, logs: dict[str, float]) -> None:
        assert logs["step"] == trainer.steps
        self.made.append(("steps", logs["epoch"], logs["step"]))

    def on_epoch_end(self, trainer: stoop.Trainer, logs: dict[str, float]) -> None:
        assert trainer.epoch == logs["epoch"]
        self.made.append(("epoch", logs["epoch"]))

    def on_fit_end(self, trainer: stoop.Trainer, reason: str) -> None:
        assert trainer.history.stop_reason == reason
        self.made.append(("end", reason))


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


# ---- what they may do ----


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


def test_early_stopping_of_another_fit_is_not_put_back_where_a_fit_cannot_begin(tmp_path: Path) -> None:
    stopping, first, second = EarlyStopping("loss"), trainer(), trainer()
    first.fit(X, Y, epochs=2, callbacks=stopping, **FIT)
    start = values(second)
    with pytest.raises(FileNotFoundError):
        second.fit(X, Y, callbacks=[CSVLogger(tmp_path / "no" / "x.csv"), stopping], **FIT)
    assert_same(values(second), start)


def test_a_checkpoint_is_not_loaded_within_a_fit(tmp_path: Path) -> None:
    one = trainer()
    one.save_checkpoint(tmp_path / "c")
    load = Lambda(every_n_steps=2, on_steps_end=lambda of, _: of.load_checkpoint(tmp_path / "c"))
    with pytest.raises(ValueError, match=r"\[Trainer.load_checkpoint\] a fit of this trainer is running"):
        one.fit(X, Y, callbacks=load, **FIT)
    assert one.history.stop_reason == "error"


def test_an_interrupted_copy_of_the_best_epoch_is_not_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    one, stopping, copies = trainer(), EarlyStopping("loss"), []
    plain = np.copyto

    def interrupted(*arguments: Any) -> None:
        copies.append(1)
        if len(copies) == 13:  # within the second epoch
            raise KeyboardInterrupt
        plain(*arguments)

    monkeypatch.setattr(np, "copyto", interrupted)
    with pytest.raises(KeyboardInterrupt):
        one.fit(X, Y, epochs=5, callbacks=stopping, **FIT)
    reference = trainer()
    reference.fit(X, Y, epochs=one.epoch, **FIT)
    assert_same(values(one), values(reference))


def test_a_swapped_average_is_put_back_before_the_best_epoch() -> None:
    def swap(of: stoop.Trainer, logs: dict[str, float]) -> None:
        if logs["epoch"] == 3:
            of.swap_ema()
            raise ZeroDivisionError

    one, scripted = trainer(ema=0.8), Scripted(2, 1, 3)
    callbacks = [scripted, EarlyStopping("score", mode="min"), Lambda(on_epoch_end=swap)]
    with pytest.raises(ZeroDivisionError):
        one.fit(X, Y, epochs=5, callbacks=callbacks, **FIT)
    assert_same(state(one), scripted.parameters[1])


def test_what_is_logged_is_a_number() -> None:
    def text(_: stoop.Trainer, logs: Any) -> None:
        logs["mine"] = "text"

    with pytest.raises(TypeError, match=r"\[Lambda.on_epoch_end\] logs\['mine'\] is 'text'"):
        trainer().fit(X, Y, callbacks=Lambda(on_epoch_end=text), **FIT)


def test_a_folder_with_fields_and_columns_that_were_not_measured(tmp_path: Path) -> None:
    saving = ModelCheckpoint(tmp_path / "run-{epoch}" / "m-{val_loss:.2f}.safetensors", save="all")
    trainer().fit(X, Y, epochs=2, validation_data=(X, Y), validation_freq=2, callbacks=saving, **FIT)
    assert [Path(path).parent.name for path in saving.paths] == ["run-2", "run-1"]
    assert Path(saving.paths[1]).name == "m-nan.safetensors"


def test_ctrl_c_calls_on_fit_end() -> None:
    calls = Calls()

    def interrupt(_: stoop.Trainer, logs: dict[str, float]) -> None:
        if logs["epoch"] == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trainer().fit(X, Y, epochs=9, callbacks=[Lambda(on_epoch_end=interrupt), calls], **FIT)
    assert calls.made[-1] == ("end", "interrupted")


# ---- EarlyStopping ----


class Scripted(Callback):
    """Gives the history a column of these values, and notes the parameters of each epoch."""

    def __init__(self, *script: float) -> None:
        self.script = script
        self.parameters: list[dict[str, np.ndarray]] = []

    def on_epoch_end(self, trainer: stoop.Trainer, logs: dict[str, float]) -> None:
        value = self.script[len(self.parameters)]
        self.parameters.append(values(trainer) | {f"ema {k}": v.copy() for k, v in trainer.ema_parameters().items()})
        logs["score"] = value


def state(of: stoop.Trainer) -> dict[str, np.ndarray]:
    return values(of) | {f"ema {k}": v.copy() for k, v in of.ema_parameters().items()}


@pytest.mark.parametrize(
    ("options", "script", "epochs", "best"),
    [
        ({"patience": 2, "mode": "min"}, [3, 2, 2, 2, 9], 4, 2),
        ({"patience": 2, "mode": "max"}, [3, 2, 4, 4, 4, 9], 5, 3),
        ({"patience": 1, "mode": "min", "min_delta": 0.5}, [3, 2.6, 1], 2, 1),
        ({"patience": 2, "mode": "min", "start_from_epoch": 2}, [0, 0, 3, 2, 2, 2, 9], 6, 4),
        ({"patience": 3, "mode": "min", "baseline": 1.0}, [5, 4, 3, 0], 3, 3),
        ({"patience": 2, "mode": "min", "baseline": 4.5}, [5, 4, 5, 5, 0], 4, 2),
        ({"patience": 2, "mode": "min"}, [math.nan, 5, math.nan, math.nan, 0], 4, 2),
        ({"patience": 9, "mode": "min"}, [3, 1, 2], 3, 2),
    ],
)
def test_early_stopping(options: dict[str, Any], script: list[float], epochs: int, best: int) -> None:
    one, scripted = trainer(ema=0.8), Scripted(*script)
    stopping = EarlyStopping("score", **options)
    history = one.fit(X, Y, epochs=len(script), callbacks=[scripted, stopping], **FIT)
    assert len(history.epochs) == epochs
    assert history.stop_reason == ("early_stopping" if epochs < len(script) else "epochs")
    assert (stopping.best_epoch, stopping.best) == (best, script[best - 1])
    assert_same(state(one), scripted.parameters[best - 1])


def test_early_stopping_without_restoring() -> None:
    one, scripted = trainer(), Scripted(1, 2, 3)
    stopping = EarlyStopping("score", patience=2, mode="min", restore_best=False)
    one.fit(X, Y, epochs=3, callbacks=[scripted, stopping], **FIT)
    assert_same(state(one), scripted.parameters[-1])
    assert stopping.best_epoch == 1


class Way(Callback):
    """Ends the fit after the third epoch in some way."""

    def __init__(self, way: str) -> None:
        self.way = way

    def on_epoch_end(self, trainer: stoop.Trainer, logs: dict[str, float]) -> None:
        if logs["epoch"] < 3:
            return
        if self.way == "error":
            raise RuntimeError("boom")
        if self.way == "interrupted":
            signal.raise_signal(signal.SIGINT)
        if self.way == "max_time":
            time.sleep(1.0)
        if self.way == "why":
            trainer.stop("why")
        if self.way == "nan":
            trainer.model.parameters()["4.bias"][:] = np.nan


@pytest.mark.parametrize("way", ["epochs", "max_time", "interrupted", "error", "why", "nan"])
@pytest.mark.parametrize("first", [False, True])
def test_the_best_epoch_is_put_back_on_every_way_out(way: str, first: bool) -> None:
    one, scripted, ending = trainer(ema=0.8), Scripted(2, 1, 3, 4, 5), Way(way)
    callbacks = [scripted, EarlyStopping("score", mode="min"), ending]
    if first:
        callbacks = [ending, *callbacks]
    error = {"interrupted": KeyboardInterrupt, "error": RuntimeError, "nan": stoop.NonFiniteLossError}.get(way)
    options = {"max_time": 0.9} if way == "max_time" else {}
    call = lambda: one.fit(X, Y, epochs=5 if way == "epochs" else 10**6, callbacks=callbacks, **options, **FIT)  # noqa: E731
    if error is None:
        call()
    else:
        with pytest.raises(error):
            call()
    assert one.history.stop_reason == ("error" if way == "nan" else way)
    assert_same(state(one), scripted.parameters[1])


def test_an_error_before_the_first_epoch_leaves_what_the_fit_began_with() -> None:
    one = trainer()
    start = values(one)

    def spoil(of: stoop.Trainer, _: dict[str, float]) -> None:
        of.model.parameters()["4.bias"][:] = np.nan

    with pytest.raises(stoop.NonFiniteLossError):
        one.fit(X, Y, callbacks=[EarlyStopping("loss"), Lambda(every_n_steps=2, on_steps_end=spoil)], **FIT)
    assert_same(values(one), start)


def test_a_monitor_that_is_not_there_or_not_known() -> None:
    with pytest.raises(ValueError, match=r"\[EarlyStopping\] monitor is 'val_loss'.*give validation_data"):
        trainer().fit(X, Y, callbacks=EarlyStopping(), **FIT)
    with pytest.raises(ValueError, match="mode"):
        EarlyStopping("mine")
    with pytest.raises(ValueError, match="mode"):
        EarlyStopping(mode="minimum")
    for name, value in {"patience": 0, "min_delta": -1.0, "start_from_epoch": -1}.items():
        with pytest.raises(ValueError, match=name):
            EarlyStopping(**{name: value})


def test_epochs_without_validation_do_not_count() -> None:
    stopping = EarlyStopping(patience=2)
    history = trainer(rate=1e-30).fit(
        X, Y, epochs=20, validation_data=(X, Y), validation_freq=3, callbacks=stopping, **FIT
    )
    assert history.epochs[-1] == 9  # validated after 3, 6 and 9
    assert stopping.best_epoch == 3
    assert np.isnan(history["val_loss"]).tolist() == [True, True, False] * 3


# ---- ReduceLROnPlateau ----


def test_reduce_lr_on_plateau_as_pytorch_does() -> None:
    torch = pytest.importorskip("torch")
    for options in (
        {},
        {"factor": 0.5, "patience": 1},
        {"patience": 0, "cooldown": 2, "min_lr": 3e-3},
        {"threshold": 0.1},
    ):
        for mode in ("min", "max"):
            script = RNG.random(40).cumsum() * (1 if mode == "max" else -1) + RNG.normal(size=40) * 4 + 100
            options = {"factor": 0.3, "patience": 2, **options}
            one = trainer(rate=0.1)
            reducing = ReduceLROnPlateau("score", mode=mode, **options)
            history = one.fit(X[:16], Y[:16], epochs=40, callbacks=[Scripted(*script), reducing], **FIT)
            optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
            reference = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode=mode, eps=0.0, **options)
            rates = []
            for value in script:
                rates.append(optimizer.param_groups[0]["lr"])
                reference.step(value)
            np.testing.assert_allclose(history["learning_rate"], rates, rtol=1e-12)


def test_reduce_lr_on_plateau_refuses_a_schedule() -> None:
    one = stoop.Trainer(trainer().model, optimizer=stoop.optimizers.SGD(stoop.schedules.Cosine(0.1, 9)))
    with pytest.raises(ValueError, match=r"\[ReduceLROnPlateau\] the learning rate is Cosine"):
        one.fit(X, Y, callbacks=ReduceLROnPlateau("loss"), **FIT)
    for name, value in {"factor": 1.0, "patience": -1, "threshold": -1.0, "cooldown": -1, "min_lr": -1.0}.items():
        with pytest.raises(ValueError, match=name):
            ReduceLROnPlateau(**{name: value})


# ---- Lambda, OptunaPruning ----


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


# ---- ModelCheckpoint ----


def test_the_best_models_are_kept(tmp_path: Path) -> None:
    scripted = Scripted(5, 3, 4, 1, 2)
    saving = ModelCheckpoint(
        tmp_path / "sub" / "m-{epoch:02}-{score:.1f}.safetensors", "score", "min", top_k=2, weights_only=True
    )
    trainer().fit(X, Y, epochs=5, callbacks=[saving, scripted], **FIT)  # it is called after the others
    assert sorted(entry.name for entry in (tmp_path / "sub").iterdir()) == [
        "m-04-1.0.safetensors",
        "m-05-2.0.safetensors",
    ]
    assert [Path(path).name for path in saving.paths] == ["m-04-1.0.safetensors", "m-05-2.0.safetensors"]
    assert_same(stoop.load_model(saving.paths[0]).state_dict(), scripted.parameters[3])


def test_the_newest_and_all(tmp_path: Path) -> None:
    last = ModelCheckpoint(tmp_path / "last-{step}.safetensors", save="last", every_n_steps=3)
    every = ModelCheckpoint(tmp_path / "all-{epoch}.safetensors", save="all", every_n_epochs=2)
    one = trainer()
    one.fit(X, Y, epochs=5, callbacks=[last, every], **FIT)
    assert sorted(entry.name for entry in (tmp_path).iterdir()) == [
        "all-2.safetensors",
        "all-4.safetensors",
        "last-40.safetensors",
    ]
    again = stoop.load_checkpoint(last.paths[0])
    assert (again.epoch, again.steps) == (5, 40)
    assert_same(values(again), values(one))


def test_saves_by_the_clock(tmp_path: Path) -> None:
    saving = ModelCheckpoint(tmp_path / "m-{step}.safetensors", save="all", every_minutes=1e-3, every_n_epochs=10**6)
    trainer().fit(X, Y, epochs=10**6, max_time=0.6, callbacks=saving, **FIT)
    assert 2 <= len(saving.paths) <= 12


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"save": "each"}, "save"),
        ({"top_k": 0}, "top_k"),
        ({"top_k": 2}, "field"),
        ({"save": "all"}, "field"),
        ({"every_n_steps": 3}, "every_n_epochs"),
        ({"every_minutes": 0.0, "save": "last"}, "every_minutes"),
        ({"path": "m-{loss}.safetensors", "save": "last", "every_n_steps": 3}, "columns"),
        ({"path": "m-{epoch.safetensors"}, "brace"),
    ],
)
def test_wrong_options_of_a_checkpoint(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        ModelCheckpoint(**{"path": "m.safetensors", **options})


def test_an_unknown_field_is_found_before_training(tmp_path: Path) -> None:
    one = trainer()
    with pytest.raises(ValueError, match="val_loss"):
        one.fit(
            X, Y, callbacks=ModelCheckpoint(tmp_path / "{val_los}.safetensors", "loss"), validation_split=0.2, **FIT
        )
    assert one.steps == 0


def test_a_failed_save_warns_and_the_fit_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    saving = ModelCheckpoint(path, save="last")

    def block(_: stoop.Trainer, logs: dict[str, float]) -> None:
        if logs["epoch"] == 2:
            path.rename(tmp_path / "old")
            path.mkdir()

    with pytest.warns(UserWarning, match=r"\[ModelCheckpoint\] .*m.safetensors could not be written"):
        history = trainer().fit(X, Y, epochs=3, callbacks=[Lambda(on_epoch_end=block), saving], **FIT)
    assert history.epochs == [1, 2, 3]
    assert stoop.load_checkpoint(tmp_path / "old").epoch == 1


# ---- the rest of fit ----


@pytest.mark.parametrize(
    ("given", "expected"),
    [("0.5s", 0.5), ("1h30m", 5400.0), ("2d", 172800.0), ("1m 5s", 65.0), (2, 2.0), (None, math.inf)],
)
def test_times(given: Any, expected: float) -> None:
    from stoop._fit import seconds

    assert seconds(given) == expected


@pytest.mark.parametrize("wrong", ["", "1", "soon", "1x", "-1s", "1.2.3s", -1, math.nan, True])
def test_wrong_times(wrong: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="max_time"):
        trainer().fit(X, Y, max_time=wrong, **FIT)


def test_max_time_ends_within_an_epoch() -> None:
    one = trainer()
    big, labels = np.tile(X, (20000, 1)), np.tile(Y, 20000)
    started = time.perf_counter()
    history = one.fit(big, labels, epochs=10**6, batch_size=16, verbose=0, max_time=0.3)
    assert history.stop_reason == "max_time"
    assert time.perf_counter() - started < 30.0
    assert one.steps > 0


def test_a_dry_run_keeps_nothing(tmp_path: Path) -> None:
    one = trainer(ema=0.9)
    one.fit(X, Y, epochs=1, **FIT)
    before, history, kept = state(one), one.history, pickle.dumps(one._core.state())
    calls = Calls()
    dry = one.fit(X, Y, epochs=50, validation_split=0.3, metrics=("accuracy",), callbacks=calls, dry_run=True, **FIT)
    assert len(dry["loss"]) == len(dry["val_loss"]) == 1
    assert_same(state(one), before)
    assert pickle.dumps(one._core.state()) == kept
    assert one.history is history
    assert calls.made == []
    fresh = trainer()
    fresh.fit(X, Y, dry_run=True, **FIT)
    assert fresh.model.output is None
    with pytest.raises(ValueError, match="y"):
        one.fit(X, Y[:-1], dry_run=True, **FIT)


def test_overfit_batches_trains_on_the_first_ones() -> None:
    a, b = trainer(), trainer()
    a.fit(X, Y, epochs=3, overfit_batches=2, **FIT)
    b.fit(X[:32], Y[:32], epochs=3, **FIT)
    assert_same(values(a), values(b))
    with pytest.raises(ValueError, match="overfit_batches"):
        a.fit(X, Y, overfit_batches=0, **FIT)


def test_metrics_of_the_validation_data() -> None:
    def mine(y_true: np.ndarray, outputs: np.ndarray) -> float:
        return float(outputs[:, 1].mean() + y_true.sum())

    one = trainer()
    history = one.fit(X, Y, epochs=2, validation_data=(X[:50], Y[:50]), metrics=("accuracy", "auc", mine), **FIT)
    assert list(history)[:6] == ["loss", "accuracy", "val_loss", "val_accuracy", "val_auc", "val_mine"]
    outputs = one.model.predict(X[:50])
    assert history["val_mine"][-1] == mine(Y[:50], outputs)
    assert history["val_auc"][-1] == one.evaluate(X[:50], Y[:50], metrics=("auc",))["auc"]


def test_callbacks_see_the_metrics() -> None:
    stopping = EarlyStopping("val_auc", patience=1)
    trainer(rate=1e-30).fit(X, Y, epochs=9, validation_split=0.3, metrics=("auc",), callbacks=stopping, **FIT)
    assert stopping.best_epoch == 1


def test_without_callbacks_python_is_not_entered_within_an_epoch() -> None:
    code = (
        "import sys, numpy as np, stoop\n"
        "X = np.zeros((4000, 4), np.float32); y = np.zeros(4000, np.int32)\n"
        "t = stoop.Trainer(stoop.Model([stoop.Dense(2)], input_dim=4))\n"
        "calls = []\n"
        "def note(frame, event, arg):\n"
        "    code = frame.f_code\n"
        "    if event == 'call' and code.co_filename.endswith('_loop.py'): calls.append(code.co_name)\n"
        "sys.setprofile(note)\n"
        "t.fit(X, y, epochs=3, batch_size=1, verbose=0)\n"
        "sys.setprofile(None)\n"
        "print(calls.count('epoch'), calls.count('steps'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "0"]
