"""A search goes on from its file, or where a trial has to be trained again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stoop
from helpers import REPOSITORY, bits, refused
from searches import SPACE, TRAIN, VALIDATION, build, facts, run
from stoop import search

TESTS = REPOSITORY / "tests" / "python"


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


def test_the_best_may_fail_when_it_is_trained_further() -> None:
    # The largest loss is that of the first epoch, as a rule.
    options: dict[str, Any] = {"method": "halving", "trials": 27, "epochs": 9, "num_threads": 1, "mode": "max"}
    order = [trial["number"] for trial in run(**{**options, "epochs": 1}).sorted_trials()]
    for count in range(1, 9):  # the first rung keeps nine
        failing = order[:count]

        def fails_later(number: int, failing: list[int] = failing) -> list[Any]:
            def fail(trainer: stoop.Trainer) -> None:
                if trainer.epoch > 0 and number in failing:
                    raise ZeroDivisionError

            return [stoop.callbacks.Lambda(on_fit_begin=fail)]

        result = run(**options, callbacks=fails_later)
        assert {trial["number"] for trial in result.trials if trial["state"] == "failed"} == set(failing)
        assert result.best_trial["number"] not in failing
        assert result.trainer.evaluate(*VALIDATION)["loss"] == result.best_value


def test_what_cannot_be_trained_again_is_told(tmp_path: Path) -> None:
    options: dict[str, Any] = {"trials": 6, "storage": tmp_path / "trials.jsonl"}
    first = run(**options)

    def other(params: dict[str, Any]) -> stoop.Trainer:
        return stoop.Trainer(stoop.Model([stoop.Dense(3)], 4, seed=7), seed=8)

    with pytest.warns(UserWarning, match="trained again, has val_loss"):
        again = run(**options, build=other)
    assert facts(again) == facts(first)

    def failing(params: dict[str, Any]) -> stoop.Trainer:
        raise ZeroDivisionError

    def interrupted(params: dict[str, Any]) -> stoop.Trainer:
        raise KeyboardInterrupt

    for build_one in (failing, interrupted):
        lost = run(**options, build=build_one)
        assert lost.trainer is None
        assert facts(lost) == facts(first)


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


SPLIT = {"validation_data": None, "validation_split": 0.2}


@pytest.mark.parametrize(
    ("first", "change", "word"),
    [
        ({}, {"validation_data": (-VALIDATION[0], VALIDATION[1])}, "validation_data"),
        ({}, {"validation_data": (*VALIDATION, np.arange(60))}, "validation_data"),
        (SPLIT, {"validation_split": 0.5}, "validation_split"),
        ({}, {"sample_weight": np.arange(180)}, "sample_weight"),
        ({"sample_weight": np.ones(180)}, {"sample_weight": np.arange(180)}, "sample_weight"),
        ({}, {"class_weight": {0: 5.0}}, "class_weight"),
        ({"class_weight": {0: 1, 1: 1, 2: 1}}, {"class_weight": [1, 1, 3]}, "class_weight"),
        ({}, {"shuffle": False}, "shuffle"),
        ({}, {"last_batch": "drop"}, "last_batch"),
        ({}, {"validation_freq": 2}, "validation_freq"),
        ({}, {"metrics": ["accuracy", "f1"]}, "metrics"),
        ({}, {"augment": stoop.augment.Augment(noise=0.1)}, "augment"),
    ],
)
@pytest.mark.parametrize("method", ["random", "optuna"])
def test_trials_of_another_comparison_are_refused(
    first: dict[str, Any], change: dict[str, Any], word: str, method: str, tmp_path: Path
) -> None:
    if method == "optuna":
        pytest.importorskip("optuna")
    options: dict[str, Any] = {"trials": 1, "epochs": 1, "storage": tmp_path / "trials", "method": method, **first}
    result = run(**options)
    assert facts(run(**options)) == facts(result)
    with refused(ValueError, "same search", f"with {word}"):
        run(**{**options, **change})


@pytest.mark.parametrize("kind", ["numpy", "strided", "object", "pandas"])
def test_every_row_counts_for_a_file(kind: str, tmp_path: Path) -> None:
    X = np.random.default_rng(0).standard_normal((5001, 4))
    y = np.arange(5001) % 3

    def searched(X: Any, y: Any) -> search.SearchResult:
        if kind == "strided":
            X, y = np.repeat(X, 2, axis=0)[::2], np.repeat(y, 2)[::2]
        elif kind == "object":
            y = np.array(["a", "b", "c"], object)[y]
        elif kind == "pandas":
            pd = pytest.importorskip("pandas")
            X, y = pd.DataFrame(X), pd.Series(y)
        return run(X=X, y=y, trials=1, epochs=1, batch_size=1000, storage=tmp_path / "trials", metric="loss",
                   validation_data=None)  # fmt: skip

    first = searched(X, y)
    assert facts(searched(X.copy(), y.copy())) == facts(first)
    other = y.copy()
    other[2] = 0  # none of a thousand rows that are evenly apart
    with refused(ValueError, "same search", "with data"):
        searched(X, other)


def test_a_line_that_is_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    run(trials=4, storage=path)
    lines = path.read_bytes().splitlines(keepends=True)
    for damaged in (lines[2][:20] + b"\n", b'{"number": 1}\n', b"[]\n"):
        content = b"".join([*lines[:2], damaged, *lines[3:]])
        path.write_bytes(content)
        with refused(ValueError, "something else in line 3"):
            run(trials=4, storage=path)
        assert path.read_bytes() == content
    path.write_bytes(lines[0][:30])  # killed while it began the file
    assert len(run(trials=4, storage=path).trials) == 4


@pytest.mark.parametrize("content", ['"format"\n', '{"format" of mine, precious notes', '{"format": "of mine"}\n'])
@pytest.mark.parametrize("method", ["random", "optuna"])
def test_notes_are_no_trials(content: str, method: str, tmp_path: Path) -> None:
    if method == "optuna":
        pytest.importorskip("optuna")
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with refused(ValueError, "something else|same search", "notes.txt"):
        run(trials=2, storage=path, method=method)
    assert path.read_text() == content


@pytest.mark.parametrize(("method", "storage"), [("random", "sqlite:///trials.db"), ("optuna", "none/trials.log")])
def test_a_folder_that_is_not_there_is_named(method: str, storage: str) -> None:
    if method == "optuna":
        pytest.importorskip("optuna")
    with refused(FileNotFoundError, "No such folder", 'method="optuna"'):
        run(trials=2, storage=storage, method=method)


@pytest.mark.parametrize("method", ["random", "optuna"])
def test_a_folder_or_device_is_no_storage(method: str, tmp_path: Path) -> None:
    if method == "optuna":
        pytest.importorskip("optuna")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path, pipe):
        with refused(ValueError, "no regular file"):
            run(trials=2, storage=path, method=method)


def test_a_file_of_something_else_is_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("milk\neggs\nno end of line")
    with refused(ValueError, "something else"):
        run(trials=2, storage=path)
    assert path.read_text() == "milk\neggs\nno end of line"
    with pytest.raises(OSError, match="No such folder"):
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
