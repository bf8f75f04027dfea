"""EarlyStopping puts the best epoch back on every way out; ReduceLROnPlateau does as PyTorch."""

from __future__ import annotations

import math
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stoop
from fits import FIT, RNG, Scripted, X, Y, assert_same, state, trainer, values
from stoop.callbacks import Callback, CSVLogger, EarlyStopping, Lambda, ReduceLROnPlateau


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


def test_early_stopping_of_another_fit_is_not_put_back_where_a_fit_cannot_begin(tmp_path: Path) -> None:
    stopping, first, second = EarlyStopping("loss"), trainer(), trainer()
    first.fit(X, Y, epochs=2, callbacks=stopping, **FIT)
    start = values(second)
    with pytest.raises(FileNotFoundError):
        second.fit(X, Y, callbacks=[CSVLogger(tmp_path / "no" / "x.csv"), stopping], **FIT)
    assert_same(values(second), start)


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
