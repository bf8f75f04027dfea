"""`stoop.load_checkpoint`: a trainer with its model from one file."""

from __future__ import annotations

import json
import os
from typing import Any

from stoop import _core
from stoop._checks import file_path
from stoop._config import from_config
from stoop._errors import message
from stoop.losses import Loss
from stoop.model import Model, load_model
from stoop.optimizers import Optimizer
from stoop.trainer import Trainer


def load_checkpoint(path: str | os.PathLike[str]) -> Trainer:
    """Return a trainer, with its `model`, as it was when `Trainer.save_checkpoint` wrote the file.

    `Trainer.fit` with ``resume=path`` goes on with the fit that wrote it; `fit` without starts another from there.

    Raises
    ------
    OSError
        If the file cannot be read (FileNotFoundError, PermissionError, ...).
    CheckpointError
        If it is damaged, no checkpoint, or written by a later version of Stoop. Also if its learning rate is a
        function, which no file can hold: make the trainer as it was made then, and call its `load_checkpoint`.
    """
    where = "load_checkpoint"
    name = file_path(where, path)
    model = load_model(name)
    text, has_custom_rate = _core.checkpoint_config(name)
    if has_custom_rate:
        given, expected = f"the learning rate of {name} is a function", "expected one that a file can hold"
        hint = "make the trainer as it was made then, and call its load_checkpoint"
        raise _core.CheckpointError(message(where, given, expected, hint))
    try:
        trainer = _trainer_of(model, json.loads(text))
    except (ValueError, TypeError) as error:
        given, hint = f"{name} holds settings that no trainer takes: {error}", "save the checkpoint again"
        raise _core.CheckpointError(message(where, given, "expected those of a trainer", hint)) from error
    trainer.load_checkpoint(name)
    return trainer


def _trainer_of(model: Model, config: dict[str, Any]) -> Trainer:
    loss, optimizer = from_config(Loss, config.pop("loss")), from_config(Optimizer, config.pop("optimizer"))
    config["num_threads"] = config["num_threads"] or None
    return Trainer(model, loss, optimizer, **config)
