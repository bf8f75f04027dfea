"""How a search ends: trials that fail, Ctrl-C, max_time; how it goes on from a file; what it keeps in memory."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stoop
from helpers import REPOSITORY, bits, refused
from searches import SPACE, TRAIN, VALIDATION, alone, build, facts, run
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


# ---- a file to go on from ----


class _StopError(Exception):
    """Ends a search as a failure of the machine would."""


def run_until(trial: int, **options: Any) -> None:
    """A search that breaks off where trial number `trial` is built for the time being."""
    built = []

    def breaking(params: dict[str, Any]) -> stoop.Trainer:
        built.append(params)
        if len(built) > trial:
            raise KeyboardInterrupt
        return build(params)

    run(build=breaking, **options)


@pytest.mark.parametrize("method", ["random", "grid", "coarse_to_fine", "halving"])
@pytest.mark.parametrize("median", [False, True])
def test_a_search_goes_on_from_its_file(method: str, median: bool, tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    options: dict[str, Any] = {"method": method, "trials": 40, "epochs": 9, "median_stopping": median}
    whole = run(**options)
    run(storage=path, **options)
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == (17 if method == "grid" else len(whole.trials) + 1 + 17 * (method == "halving"))
    for kept in (1, len(lines) // 2, len(lines) * 5 // 6, len(lines) - 2):
        path.write_bytes(b"".join(lines[:kept]) + b'{"number": 3, "par')  # killed while it wrote
        built: list[Any] = []

        def counted(params: dict[str, Any], built: list[Any] = built) -> stoop.Trainer:
            built.append(params)
            return build(params)

        again = run(build=counted, storage=path, **options)
        assert facts(again) == facts(whole)
        assert bits(again.trainer.model) == bits(whole.trainer.model)
        assert [h["val_loss"] for h in again.histories] == [h["val_loss"] for h in whole.histories]  # type: ignore[index]
        if method != "halving":  # where trials that go on are trained from their beginning
            assert len(built) <= 40 - (kept - 1) + 1
        else:
            assert len(built) <= 40
        assert all(json.loads(line) for line in path.read_text().splitlines())


def test_trials_that_fail_in_a_later_rung_have_passed_the_first(tmp_path: Path) -> None:
    def fails_later(trainer: stoop.Trainer) -> None:
        if trainer.epoch > 0 and trainer.model.layers[0].units % 2:
            raise ZeroDivisionError("odd")

    path = tmp_path / "trials.jsonl"
    options: dict[str, Any] = {
        "method": "halving",
        "trials": 27,
        "epochs": 9,
        "callbacks": lambda number: [stoop.callbacks.Lambda(on_fit_begin=fails_later)],
    }
    whole = run(**options, storage=path)
    failed = [trial for trial in whole.trials if trial["state"] == "failed"]
    assert failed
    assert all(trial["epochs"] == 1 for trial in failed)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    assert facts(run(**options, storage=path)) == facts(whole)


def test_more_trials_are_added_to_a_file(tmp_path: Path) -> None:
    run(trials=6, storage=tmp_path / "trials.jsonl")
    built = []

    def counted(params: dict[str, Any]) -> stoop.Trainer:
        built.append(params)
        return build(params)

    more = run(build=counted, trials=9, storage=str(tmp_path / "trials.jsonl"))
    assert facts(more) == facts(run(trials=9))
    assert len(built) in (3, 4)  # the fourth if the best was there before
    fewer = run(trials=3, storage=tmp_path / "trials.jsonl")
    assert facts(fewer) == facts(run(trials=3))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"seed": 1}, "seed"),
        ({"epochs": 5}, "epochs"),
        ({"metric": "val_accuracy"}, "metric"),
        ({"space": {**SPACE, "units": search.integers(3, 13)}}, "space"),
        ({"method": "halving"}, "method"),
        ({"X": TRAIN[0] * 2}, "data"),
    ],
)
def test_a_file_of_another_search_is_refused(change: dict[str, Any], word: str, tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    run(trials=2, storage=path)
    before = path.read_bytes()
    with refused(ValueError, "another|same search", word):
        run(trials=2, storage=path, **change)
    assert path.read_bytes() == before


def test_a_file_of_something_else_is_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("milk\neggs\nno end of line")
    with refused(ValueError, "something else"):
        run(trials=2, storage=path)
    assert path.read_text() == "milk\neggs\nno end of line"
    with pytest.raises(OSError, match="No such file"):
        run(trials=2, storage=tmp_path / "none" / "trials.jsonl")


def test_a_file_that_another_search_has_open_is_refused(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    path = tmp_path / "trials.jsonl"
    run(trials=2, storage=path)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with refused(ValueError, "another search has"):
            run(trials=2, storage=path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device without room")
def test_a_disk_without_room_costs_no_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stoop.search import _journal

    path = tmp_path / "trials.jsonl"
    run(trials=2, storage=path)
    before = path.read_bytes()
    write = _journal.Journal._write

    def failing(self: Any, row: dict[str, Any]) -> None:
        """The first part of a line is written before the room ends."""
        file = self._file

        class Full:
            def write(self, line: bytes) -> int:
                return int(file.write(line[:7]))

            def truncate(self, size: int) -> int:
                return int(file.truncate(size))

        self._file = Full()
        try:
            write(self, row)
        finally:
            self._file = file

    monkeypatch.setattr(_journal.Journal, "_write", failing)
    with pytest.warns(UserWarning, match="cannot be written"):
        result = run(trials=5, storage=path)
    assert facts(result) == facts(run(trials=5))
    assert path.read_bytes() == before


def test_a_search_that_was_killed_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    program = (
        "import sys, time, stoop\nfrom searches import run\n"
        "slow = lambda number: [stoop.callbacks.Lambda(on_epoch_end=lambda *_: time.sleep(0.01))]\n"
        "run(trials=30, storage=sys.argv[1], callbacks=slow)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    with subprocess.Popen([sys.executable, "-c", program, str(path)], env=environment) as process:
        while not path.exists() or path.read_bytes().count(b"\n") < 4:
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert 4 <= path.read_bytes().count(b"\n") < 30
    assert facts(run(trials=30, storage=path)) == facts(run(trials=30))


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
