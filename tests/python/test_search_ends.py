"""How a search ends: trials that fail, Ctrl-C, max_time; what it keeps in memory."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
import weakref
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import stoop
from helpers import REPOSITORY, refused
from searches import FIXED, TRAIN, VALIDATION, alone, build, facts, run
from stoop import search

TESTS = REPOSITORY / "tests" / "python"


# ---- trials that fail ----


def test_a_trial_that_fails_is_told_and_the_others_go_on() -> None:
    def faulty(params: dict[str, Any]) -> stoop.Trainer:
        if params["units"] < 5:
            raise ZeroDivisionError("too few units")
        if params["units"] > 9:
            diverging = stoop.Model([stoop.Dense(8, "relu"), stoop.Dense(3)], 4)
            return stoop.Trainer(diverging, optimizer=stoop.optimizers.SGD(1e30))
        return build(params)

    result = run(build=faulty, trials=20)
    sound = run(trials=20)
    states = {}
    for trial, other in zip(result.trials, sound.trials):
        units = trial["params"]["units"]
        assert trial["params"] == other["params"]
        if 5 <= units <= 9:
            assert trial["value"] == other["value"]
            states[trial["state"]] = 1
            continue
        assert (trial["state"], trial["value"]) == ("failed", None)
        assert ("ZeroDivisionError: too few units" if units < 5 else "NonFiniteLossError") in trial["error"]
    assert states == {"complete": 1}
    assert {trial["error"] is None for trial in result.trials} == {True, False}
    assert 5 <= result.best_params["units"] <= 9
    assert "failed" in str(result).splitlines()[0]


def test_a_trainer_that_does_not_fit_the_data_is_one_trial_that_fails() -> None:
    def wide(params: dict[str, Any]) -> stoop.Trainer:
        if params["units"] == 7:
            return stoop.Trainer(stoop.Model([stoop.Dense(3)], 5))
        return build(params)

    result = run(build=wide, trials=20)
    failed = [trial for trial in result.trials if trial["state"] == "failed"]
    assert {trial["params"]["units"] for trial in failed} == {7}
    assert "expected 5 columns" in failed[0]["error"]
    sound = run(trials=20)
    for trial, other in zip(result.trials, sound.trials):
        assert trial["state"] == "failed" or trial["value"] == other["value"]


@pytest.mark.parametrize("method", ["random", "halving", "coarse_to_fine", "optuna"])
def test_if_all_fail_the_first_error_is_told(method: str) -> None:
    if method == "optuna":
        pytest.importorskip("optuna")

    def faulty(params: dict[str, Any]) -> stoop.Trainer:
        raise ZeroDivisionError("nothing works")

    with refused(RuntimeError, "all 6 trials failed", "ZeroDivisionError: nothing works") as caught:
        run(build=faulty, method=method, trials=6)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_data_that_cannot_be_used_are_told() -> None:
    spoilt = TRAIN[0].copy()
    spoilt[3, 1] = np.nan
    with refused(RuntimeError, "NaN", "row 3|3, 1"):
        run(X=spoilt, trials=3)


def test_what_build_returns_is_checked() -> None:
    with refused(TypeError, "build", "expected a stoop.Trainer"):
        run(build=lambda params: None)
    one = build({"rate": 0.01, "beta1": 0.9, "units": 3, "activation": "relu"})
    with refused(ValueError, "model of trial 0 again for trial 1"):
        run(build=lambda params: one)


def test_a_metric_that_is_never_a_number_fails_the_trial() -> None:
    def odd(y_true: Any, outputs: Any) -> float:
        return float("nan") if outputs[0, 0] > 0 else 1.0

    result = run(metric="val_odd", metrics=[odd], mode="min", trials=12, epochs=1)
    assert {trial["state"] for trial in result.trials} == {"complete", "failed"}
    assert "never a number" in next(trial["error"] for trial in result.trials if trial["state"] == "failed")


# ---- Ctrl-C and the clock ----

INTERRUPTED = """
import json, os, signal, sys, threading, time
import stoop
from searches import build, run, VALIDATION

method, threads = sys.argv[1], int(sys.argv[2])
seen = []
def callbacks(number):
    def slow(trainer, logs):
        seen.append(number)
        if len(seen) == 16:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.02)
    return [stoop.callbacks.Lambda(on_epoch_end=slow)]
result = run(trials=200, epochs=4, method=method, callbacks=callbacks, num_threads=threads, verbose=1)
assert result.stop_reason == "interrupted", result.stop_reason
value = result.trainer.evaluate(*VALIDATION)["loss"]
print(json.dumps({"trials": result.trials, "value": value, "best": result.best_value}))
"""


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
@pytest.mark.parametrize(("method", "threads"), [("random", 1), ("random", 2), ("halving", 2), ("optuna", 2)])
def test_ctrl_c_returns_what_there_is(method: str, threads: int) -> None:
    if method == "optuna":
        pytest.importorskip("optuna")
    command = [sys.executable, "-c", INTERRUPTED, method, str(threads)]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    told, last = done.stdout.strip().splitlines()[-2:]
    assert told.endswith("interrupted")
    found = json.loads(last)
    assert found["value"] == found["best"]
    states = [trial["state"] for trial in found["trials"]]
    assert 1 <= states.count("complete") < 100
    assert set(states) <= {"complete", "interrupted", "pruned"}
    for trial in found["trials"]:
        if trial["epochs"]:
            expected = alone(trial["params"], trial["epochs"])
            assert trial["value"] == min(expected["val_loss"])


def slow_trials(seconds: float) -> Any:
    return lambda number: [stoop.callbacks.Lambda(on_epoch_end=lambda *_: time.sleep(seconds))]


@pytest.mark.parametrize("method", ["random", "coarse_to_fine", "halving", "optuna"])
def test_max_time_returns_what_there_is(method: str) -> None:
    if method == "optuna":
        pytest.importorskip("optuna")
    result = run(trials=100_000 if method == "random" else 500, method=method, max_time="2s",
                 callbacks=slow_trials(0.03), epochs=3)  # fmt: skip
    assert result.stop_reason == "max_time"
    assert 1 <= len(result.trials) < 500
    assert result.best_trial["state"] == "complete"
    assert result.trainer.evaluate(*VALIDATION)["loss"] == result.best_value


def test_trials_that_were_cut_off_are_the_best_where_there_are_no_others() -> None:
    result = run(trials=2, epochs=1000, max_time=2.0, callbacks=slow_trials(0.02), num_threads=2)
    assert {trial["state"] for trial in result.trials} == {"interrupted"}
    assert result.trainer.evaluate(*VALIDATION)["loss"] == result.best_value


def test_no_time_at_all() -> None:
    with refused(RuntimeError, "max_time"):
        run(max_time=0)


def test_a_short_time_is_not_spent_on_building_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from stoop.search import _pool

    built: list[Any] = []

    def slow(params: dict[str, Any]) -> stoop.Trainer:
        built.append(params)  # which takes a thousand seconds
        return build(params)

    clock = SimpleNamespace(perf_counter=lambda: time.perf_counter() + 1000.0 * len(built))
    monkeypatch.setattr(_pool, "time", clock)
    result = run(build=slow, trials=100_000, max_time=10_000, epochs=1, num_threads=4)
    assert result.stop_reason == "max_time"
    assert result.best_trial["state"] == "complete"


# ---- trainers that are not new ----


@pytest.mark.parametrize("method", ["coarse_to_fine", "optuna"])
@pytest.mark.parametrize("again", ["trainer", "model"])
def test_a_trainer_that_is_not_new_is_refused_before_it_is_trained_on(method: str, again: str) -> None:
    if method == "optuna":
        pytest.importorskip("optuna")
    made: list[stoop.Trainer] = []

    def second_again(params: dict[str, Any]) -> stoop.Trainer:
        if len(made) < 2:
            made.append(build({**FIXED, **params, "rate": 10.0 if made else 1e-2}))  # the second is not the best
            return made[-1]
        assert made[1].steps == 6
        return made[1] if again == "trainer" else stoop.Trainer(made[1].model)

    options = {"optuna": {"at_once": 1}, "coarse_to_fine": {"rounds": 4, "shrink": 1.0}}[method]
    space = {"units": search.choice([4, 5, 6, 7])}
    with refused(ValueError, "model of trial 1 again for trial 2", "inside build"):
        run(build=second_again, space=space, trials=4, epochs=1, metric="loss", method=method, **options)
    assert made[1].steps == 6


def test_a_trainer_that_was_trained_elsewhere_is_refused() -> None:
    def trained(params: dict[str, Any]) -> stoop.Trainer:
        trainer = build(params)
        trainer.fit(*TRAIN, epochs=1, verbose=0)
        return trainer

    with refused(ValueError, "has made 2 steps", "inside build"):
        run(build=trained)


def test_validation_data_of_another_width_are_an_error_of_the_arguments() -> None:
    with refused(ValueError, "validation_data", "3 columns", "expected 4"):
        run(validation_data=(VALIDATION[0][:, :3], VALIDATION[1]))


# ---- memory ----


@pytest.mark.parametrize("method", ["random", "halving"])
def test_models_that_were_beaten_are_let_go(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from stoop.search import _pool

    monkeypatch.setattr(_pool, "GROUP", 8)
    models: list[Any] = []
    alive: list[int] = []

    def counted(params: dict[str, Any]) -> stoop.Trainer:
        alive.append(sum(ref() is not None for ref in models))
        if params["units"] == 5:
            raise ValueError("fails")
        trainer = build(params)
        models.append(weakref.ref(trainer.model))
        return trainer

    def fail(trainer: stoop.Trainer, logs: dict[str, float]) -> None:
        if trainer.model.layers[0].units in (7, 8):
            raise ZeroDivisionError  # whose traceback holds the trainer

    gc.collect()
    gc.disable()
    try:
        callbacks: Any = lambda number: [stoop.callbacks.Lambda(on_epoch_end=fail)]  # noqa: E731
        result = run(build=counted, trials=80, method=method, epochs=9, callbacks=callbacks)
        kept = 8 if method == "random" else 26 + 8  # a group, and those that go on
        assert max(alive) <= kept + 1
        assert sum(ref() is not None for ref in models) <= kept + 1
        assert len(result.trials) == 80
        del result
    finally:
        gc.enable()


def test_trials_that_end_at_once_are_taken_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from stoop.search import _pool

    note, inside = _pool.Pool._note_best, []

    def slowly(self: Any, trial: Any) -> None:
        inside.append(trial)
        time.sleep(0.001)  # other threads run meanwhile
        assert len(inside) == 1
        note(self, trial)
        inside.pop()

    sound = run(trials=40, epochs=1)
    monkeypatch.setattr(_pool.Pool, "_note_best", slowly)
    assert facts(run(trials=40, epochs=1, num_threads=3)) == facts(sound)


def test_a_group_is_as_large_as_memory_should_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    from stoop.search import _pool

    groups: list[int] = []
    fit = _pool.Pool._fit

    def noted(self: Any, trials: list[Any], *rest: Any) -> None:
        groups.append(len(trials))
        fit(self, trials, *rest)

    monkeypatch.setattr(_pool.Pool, "_fit", noted)
    monkeypatch.setattr(_pool, "_GROUP_BYTES", 4 * 4 * 75 * 5)
    assert facts(run(trials=12)) == facts(run(trials=12, median_stopping=True))  # no median yet
    assert max(groups[:-1]) < 12
