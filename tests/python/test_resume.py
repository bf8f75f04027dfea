"""A fit that is ended anywhere and resumed comes to the bits of one that was never interrupted."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cases
import cases_base
import stoop
from stoop.callbacks import Callback, EarlyStopping, ModelCheckpoint

SCRIPT = Path(__file__).parent / "resume_script.py"
ROWS = 60


class Ending(Callback):
    """Ends the fit as a killed process does, as far as the file goes: after so many updates in this process."""

    every_n_steps = 1
    runs_last = True

    def __init__(self, path: Path, after: int, *, at_epochs: bool) -> None:
        self.path, self.left, self.at_epochs = path, after, at_epochs

    def on_steps_end(self, trainer: stoop.Trainer, logs: dict[str, float]) -> None:
        if not self.at_epochs:
            self._count(trainer)

    def on_epoch_end(self, trainer: stoop.Trainer, logs: dict[str, float]) -> None:
        if self.at_epochs:
            self._count(trainer)

    def _count(self, trainer: stoop.Trainer) -> None:
        self.left -= 1
        if self.left == 0:
            trainer.save_checkpoint(self.path)
            trainer.stop("ended")


def model_of(kind: str, dtype: str, *, drops: bool) -> stoop.Model:
    layers: list[Any] = [stoop.Dense(7), stoop.Tanh(), stoop.Dense(3)]
    if kind == "all":
        layers = [stoop.Dense(7), stoop.BatchNorm(), stoop.Tanh(), stoop.Dense(3)]
        if drops:
            layers.insert(3, stoop.Dropout(0.3))
    return stoop.Model(layers, input_dim=4, seed=2, dtype=dtype)


def trainer_of(name: str, kind: str, dtype: str, threads: int | None = None) -> stoop.Trainer:
    is_full = cases.OPTIMIZERS[name].full_batch
    options: dict[str, Any] = {"ema": 0.9, "accumulate": 1 if is_full else 2} if kind == "all" else {}
    return stoop.Trainer(
        model_of(kind, dtype, drops=not is_full),
        "mse",
        optimizer_of(name, kind),
        num_threads=threads,
        seed=4,
        **options,
    )


def optimizer_of(name: str, kind: str) -> Any:
    case = cases.OPTIMIZERS[name]
    make = cases_base.registry("optimizer")[name]
    rate = case.rate
    return make(stoop.schedules.Exponential(rate, 0.99) if kind == "all" else rate, **case.others[0])


def data(dtype: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng.normal(size=(ROWS, 4)).astype(dtype), rng.normal(size=(ROWS, 3)).astype(dtype)


def state(of: stoop.Trainer) -> dict[str, bytes]:
    kept = {name: array.tobytes() for name, array in of.model.state_dict().items()}
    kept |= {f"ema {name}": array.tobytes() for name, array in of.ema_parameters().items()}
    kept |= {f"optimizer {i}": array.tobytes() for i, array in enumerate(of._core.state()["optimizer"])}
    return kept


@pytest.mark.parametrize("threads", [(1, 1), (2, 2), (1, 2)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("at_epochs", [True, False])
@pytest.mark.parametrize("kind", ["plain", "all"])
@pytest.mark.parametrize("name", sorted(cases.OPTIMIZERS))
def test_every_optimizer_goes_on_to_the_same_bits(
    tmp_path: Path, name: str, kind: str, at_epochs: bool, dtype: str, threads: tuple[int, int]
) -> None:
    X, Y = data(dtype)
    is_full = cases.OPTIMIZERS[name].full_batch
    fit: dict[str, Any] = {"epochs": 5, "batch_size": ROWS if is_full else 7, "verbose": 0, "shuffle": not is_full}
    fit["validation_data"] = (X, Y)
    whole = trainer_of(name, kind, dtype, threads[0])
    expected = whole.fit(X, Y, **fit)
    path = tmp_path / "c.safetensors"
    for part in range(4):  # three that end, and one that goes on to the end
        used = trainer_of(name, kind, dtype, threads[part % 2])
        ending = [Ending(path, (1 if at_epochs else 3) + part % 2, at_epochs=at_epochs or is_full)] if part < 3 else []
        history = used.fit(X, Y, callbacks=ending, resume=path, **fit)
    assert history.stop_reason == "epochs"
    assert state(used) == state(whole)
    assert history.epochs == expected.epochs
    for key in ("loss", "val_loss", "learning_rate", "grad_norm"):
        assert history[key] == expected[key], key


def test_two_callbacks_of_a_type_get_their_own_states_back(tmp_path: Path) -> None:
    X, Y = data("float32")
    path = tmp_path / "c.safetensors"
    fit: dict[str, Any] = {"validation_data": (X, Y), "verbose": 0, "resume": path}

    def pair() -> list[EarlyStopping]:
        return [EarlyStopping("loss", patience=9), EarlyStopping("val_loss", patience=9)]

    before = pair()
    trainer = trainer_of("sgd", "plain", "float32")
    trainer.fit(X, Y, epochs=3, callbacks=[*before, ModelCheckpoint(path, save="last")], **fit)
    after = pair()
    trainer_of("sgd", "plain", "float32").fit(X, Y, epochs=3, callbacks=after[::-1], **fit)
    assert [one.best for one in after] == [one.best for one in before]


def run(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(SCRIPT), str(folder), *arguments])


def expected_result(folder: Path) -> dict[str, Any]:
    folder.mkdir()
    assert run(folder, "0").wait() == 0
    return json.loads((folder / "result.json").read_text())


def kill_often(tmp_path: Path, kills: int, seed: int) -> None:
    """Kill the script at random moments, and run it again until it ends by itself."""
    expected = expected_result(tmp_path / "whole")
    folder, draw = tmp_path / "killed", random.Random(seed)
    folder.mkdir()
    path = folder / "run.safetensors"
    done = 0
    while done < kills:
        process = run(folder)
        # From the moment the file is there it is whole at every moment.
        deadline = time.monotonic() + 60.0
        before = path.stat().st_mtime_ns if path.exists() else 0
        while process.poll() is None and time.monotonic() < deadline:
            if path.exists() and path.stat().st_mtime_ns != before:
                break
            time.sleep(0.001)
        time.sleep(draw.random() * 0.02)
        process.kill()
        ended = process.wait() == 0
        done += 1
        if path.exists():
            stoop.load_checkpoint(path)
        if ended:  # it was quicker: from here on it is killed in the check of what is there
            shutil.copy(path, folder / "again")
    assert run(folder).wait() == 0
    result = json.loads((folder / "result.json").read_text())
    assert result == expected
    leftovers = {"run.safetensors", "log.csv", "result.json", "again"}
    found = {entry.name for entry in folder.iterdir()}
    assert found <= leftovers, found


def test_killed_ten_times(tmp_path: Path) -> None:
    kill_often(tmp_path, 10, 1)


@pytest.mark.slow
def test_killed_fifty_times(tmp_path: Path) -> None:
    kill_often(tmp_path, 50, 2)


def full_disk(path: Path) -> Any:
    """A folder on a file system of 64 KiB, or a reason to skip."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(path)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("a file system of its own needs root")
    return path


@pytest.mark.slow
def test_a_full_disk_leaves_the_old_file_and_the_fit_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    full_disk(folder)
    try:
        X, Y = data("float32")
        path = folder / "run.safetensors"
        trainer = trainer_of("adam", "all", "float32")
        trainer.fit(X, Y, epochs=1, verbose=0, callbacks=ModelCheckpoint(path, save="last"))
        old = path.read_bytes()
        filler = folder / "filler"
        descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT)
        with contextlib.suppress(OSError):
            while os.write(descriptor, b"0" * 1024):
                pass
        os.close(descriptor)
        with pytest.warns(UserWarning, match="could not be written.*No space left.*the fit goes on"):
            history = trainer.fit(X, Y, epochs=3, verbose=0, callbacks=ModelCheckpoint(path, save="last"))
        assert len(history.epochs) == 3
        assert path.read_bytes() == old
        assert stoop.load_checkpoint(path).epoch == 1
        with pytest.raises(OSError, match="No space left"):
            trainer.save_checkpoint(path)
        filler.unlink()
        trainer.save_checkpoint(path)
        assert stoop.load_checkpoint(path).epoch == 4
    finally:
        subprocess.run(["umount", str(folder)], check=True)


READ_ONLY = """
import linecache, os, sys, tokenize, traceback, warnings
import numpy as np, stoop
from stoop.callbacks import ModelCheckpoint
os.setgid(65534); os.setuid(65534)  # after the imports: another user may not read them
trainer = stoop.Trainer(stoop.Model([stoop.Dense(2)], input_dim=2))
X, y = np.zeros((8, 2), np.float32), np.zeros(8, np.int32)
history = trainer.fit(X, y, epochs=2, verbose=0, callbacks=ModelCheckpoint(sys.argv[1], save="last"))
print(len(history.epochs))
"""


@pytest.mark.slow
def test_a_read_only_folder_is_told_and_the_fit_goes_on(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    for folder in (tmp_path, *tmp_path.parents[:-1]):
        folder.chmod(folder.stat().st_mode | 0o055)
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY, str(tmp_path / "run.safetensors")],
        capture_output=True,
        text=True,
        cwd="/",
        check=False,
    )
    assert done.stdout.split() == ["2"], done.stderr
    assert "could not be written" in done.stderr
    assert "the fit goes on" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize(("rate", "batch_size"), [(30.0, 32), (1e6, 7)])
def test_a_fit_that_failed_leaves_what_can_be_saved(tmp_path: Path, rate: float, batch_size: int, shards: int) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((ROWS, 4)), rng.integers(0, 3, ROWS)
    path = tmp_path / "t.safetensors"
    model = stoop.Model([stoop.Dense(8, "relu"), stoop.BatchNorm(), stoop.Dense(3)], 4)
    trainer = stoop.Trainer(model, optimizer=stoop.optimizers.SGD(rate), shards=shards)
    with pytest.raises(stoop.NonFiniteLossError):
        trainer.fit(X, y, epochs=60, batch_size=batch_size, verbose=0)
    parameters = {name: values.copy() for name, values in model.parameters().items()}
    trainer.save_checkpoint(path)
    again = stoop.Trainer(model.copy(), optimizer=stoop.optimizers.SGD(rate), shards=shards)
    again.load_checkpoint(path)
    for name, values in again.model.parameters().items():
        np.testing.assert_array_equal(values, parameters[name])
    assert again.steps == trainer.steps
