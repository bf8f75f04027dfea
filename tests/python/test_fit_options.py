"""max_time, dry_run, overfit_batches and the metrics of a fit."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fits import FIT, Calls, X, Y, assert_same, state, trainer, values
from stoop.callbacks import EarlyStopping


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
