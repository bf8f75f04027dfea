"""The loggers within fits that end, are killed and go on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import stoop
from helpers import refused
from stoop.callbacks import Callback, CSVLogger, JSONLLogger, ModelCheckpoint, TensorBoard
from test_loggers import read_events

X = np.random.default_rng(0).standard_normal((400, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)


def make() -> Any:
    return stoop.Trainer(stoop.Model([stoop.Dense(4, activation="tanh"), stoop.Dense(2)], input_dim=3))


def fit(trainer: Any, **options: Any) -> Any:
    return trainer.fit(
        X, Y, **{"batch_size": 20, "validation_split": 0.25, "metrics": ["auc"], "verbose": 0, **options}
    )


def all_loggers(folder: Path) -> list[Any]:
    return [CSVLogger(folder / "log.csv"), JSONLLogger(folder / "log.jsonl"), TensorBoard(folder / "events")]


def columns_of(folder: Path) -> list[pd.DataFrame]:
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [
        pd.read_csv(folder / "log.csv"),
        pd.DataFrame([json.loads(line) for line in lines]),
        pd.DataFrame(read_events(folder / "events")),
    ]


def check(folder: Path, expected: Any) -> None:
    for frame in columns_of(folder):
        assert frame["epoch"].tolist() == expected.epochs
        for name in ("loss", "val_loss", "val_auc", "grad_norm"):
            np.testing.assert_allclose(frame[name], expected[name], rtol=1e-6, err_msg=name)


def test_they_write_what_the_history_holds(tmp_path: Path) -> None:
    check(tmp_path, fit(make(), epochs=4, callbacks=all_loggers(tmp_path)))


class Interrupt(Callback):
    every_n_steps = 1

    def __init__(self, at: int) -> None:
        self.at = at

    def on_steps_end(self, trainer: Any, logs: Any) -> None:
        if logs["step"] == self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize("first", ["loggers", "checkpoints"])
@pytest.mark.parametrize("at", [20, 22, 37, 45, 46])
def test_a_resumed_fit_logs_as_one_that_was_not_interrupted(at: int, first: str, tmp_path: Path) -> None:
    def callbacks(*more: Any) -> list[Any]:
        saving = ModelCheckpoint(tmp_path / "last.safetensors", save="last", every_n_steps=7, every_n_epochs=1000)
        logging = all_loggers(tmp_path)
        return [*((saving, *logging) if first == "checkpoints" else (*logging, saving)), *more]

    with pytest.raises(KeyboardInterrupt):
        fit(make(), epochs=5, callbacks=callbacks(Interrupt(at)), resume=tmp_path / "last.safetensors")
    fit(make(), epochs=5, callbacks=callbacks(Interrupt(-1)), resume=tmp_path / "last.safetensors")
    check(tmp_path, fit(make(), epochs=5))


KILLED = """
import os, sys
import numpy as np, stoop
from stoop.callbacks import Callback, CSVLogger, JSONLLogger, ModelCheckpoint, TensorBoard

class Kill(Callback):
    every_n_steps = 1
    def on_steps_end(self, trainer, logs):
        if logs["step"] == int(sys.argv[1]):
            os.kill(os.getpid(), 9)

X = np.random.default_rng(0).standard_normal((400, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)
trainer = stoop.Trainer(stoop.Model([stoop.Dense(4, activation="tanh"), stoop.Dense(2)], input_dim=3))
callbacks = [CSVLogger("log.csv"), JSONLLogger("log.jsonl"), TensorBoard("events"), Kill()]
callbacks.append(ModelCheckpoint("last.safetensors", save="last", every_n_steps=4))
trainer.fit(X, Y, epochs=5, batch_size=20, validation_split=0.25, metrics=["auc"], callbacks=callbacks, verbose=0,
            resume="last.safetensors")
"""


def test_a_process_that_is_killed(tmp_path: Path) -> None:
    for at in (3, 14, 17, 31, 46, 60, -1):
        code = subprocess.run([sys.executable, "-c", KILLED, str(at)], cwd=tmp_path, timeout=60, check=False).returncode
        assert code == (0 if at < 0 else -9)
    check(tmp_path, fit(make(), epochs=5))


@pytest.mark.parametrize("make_logger", [CSVLogger, JSONLLogger])
def test_a_full_disk_ends_the_fit_and_keeps_the_rows(make_logger: Any) -> None:
    trainer = make()
    with refused(OSError, "/dev/full cannot be written, No space left"):
        fit(trainer, epochs=5, callbacks=[make_logger("/dev/full")])
    assert len(trainer.history["val_auc"]) == trainer.epoch == 1
    assert trainer.history.stop_reason == "error"


def test_what_other_callbacks_add_is_logged(tmp_path: Path) -> None:
    class Adds(Callback):
        def on_epoch_end(self, trainer: Any, logs: Any) -> None:
            if trainer.epoch > 1:
                logs["mine"] = trainer.epoch * 2.0

    history = fit(make(), epochs=3, callbacks=[Adds(), *all_loggers(tmp_path)])
    for frame in columns_of(tmp_path):
        np.testing.assert_array_equal(frame["mine"], history["mine"])
        np.testing.assert_array_equal(frame["mine"], [np.nan, 4.0, 6.0])
