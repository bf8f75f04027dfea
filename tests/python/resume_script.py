"""A training that saves often and resumes: test_resume.py runs it, kills it, and runs it again.

Usage: resume_script.py FOLDER CASE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import stoop
from stoop.callbacks import Callback, CSVLogger, EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

RNG = np.random.default_rng(3)
X = RNG.normal(size=(203, 4)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(np.int32)


class Recorder(Callback):
    """Keeps the losses since the last call, so that what is resumed can be compared."""

    every_n_steps = 3

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.newest = np.zeros(0)

    def on_steps_end(self, trainer: stoop.Trainer, logs: dict[str, float]) -> None:
        self.losses.append(logs["loss"])
        self.newest = trainer.model.parameters()["4.bias"].copy()

    def state_dict(self) -> dict[str, Any]:
        return {"losses": self.losses, "newest": self.newest}

    def load_state_dict(self, state: Any) -> None:
        self.losses, self.newest = list(state["losses"]), state["newest"]


def make(dtype: str = "float32") -> stoop.Trainer:
    layers = [stoop.Dense(9), stoop.BatchNorm(), stoop.ReLU(), stoop.Dropout(0.2), stoop.Dense(2)]
    model = stoop.Model(layers, input_dim=4, seed=1, dtype=dtype)
    optimizer = stoop.optimizers.Adam(0.01)
    return stoop.Trainer(model, optimizer=optimizer, ema=0.9, accumulate=2, clip_norm=1.0)


def main(folder: Path, every: int = 2) -> None:
    recorder = Recorder()
    callbacks: list[Any] = [
        recorder,
        EarlyStopping(patience=100),
        ReduceLROnPlateau(patience=1, threshold=0.05),
        CSVLogger(folder / "log.csv"),
    ]
    if every:
        callbacks.append(ModelCheckpoint(folder / "run.safetensors", save="last", every_n_steps=every))
    trainer = make()
    history = trainer.fit(
        X,
        Y,
        epochs=12,
        batch_size=8,
        validation_split=0.2,
        metrics=("accuracy", "auc"),
        callbacks=callbacks,
        resume=folder / "run.safetensors",
        verbose=0,
    )
    kept = {name: array.tobytes().hex() for name, array in trainer.model.state_dict().items()}
    kept |= {f"ema {name}": array.tobytes().hex() for name, array in trainer.ema_parameters().items()}
    columns = {name: values for name, values in history.items() if name != "samples_per_second"}
    rows = [line.rsplit(",", 1)[0] for line in (folder / "log.csv").read_text().splitlines()]
    result = {
        "parameters": kept,
        "history": columns,
        "epochs": history.epochs,
        "changes": history.changes,
        "losses": recorder.losses,
        "rate": trainer.learning_rate,
        "rows": rows,
        "steps": trainer.steps,
    }
    (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 2)
