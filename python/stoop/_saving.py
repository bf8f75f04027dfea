"""The part of a Trainer that saves and loads checkpoints, and that callbacks use."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Any

from stoop import _core
from stoop._checkpoints import extras_of, history_of, read_extras
from stoop._checks import file_path
from stoop._config import from_config
from stoop._errors import message
from stoop._training import Training
from stoop.schedules import Schedule


class Checkpointing(Training):
    """The methods of a `stoop.Trainer` for checkpoints."""

    def save_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Write one file with the model and all that training carries on: also within a fit, from a callback.

        It is a safetensors file: the model as `Model.save` writes it (so that `stoop.load_model` reads it), what the
        optimizer holds, the average of the parameters, all settings, how far the fit has come within its epoch, the
        history and the states of the callbacks of the newest fit, and a checksum of all this. It is written beside its
        target, flushed to the disk and renamed: a failed save leaves the old file as it was.

        Parameters
        ----------
        path : path
            By convention ending in ``.safetensors``.

        Raises
        ------
        OSError
            If it cannot be written (no room, no such folder, PermissionError).
        TypeError
            For a callback whose `state_dict` holds what no file can.
        """
        where = "Trainer.save_checkpoint"
        with self._with_others(where):
            name = file_path(where, path)
            processes = self._processes
            if processes is None or processes.is_alone or processes.size == 1:
                self._save(name)
            else:
                processes.check_alike(where, self._core.fingerprint())
                processes.lead(where, lambda: self._save(name))

    def _save(self, name: str) -> None:
        loop = self._loop
        if loop is not None and not loop.is_running and loop.ended_at != self._core.steps:
            loop = None  # updates were made after that fit: the states of its callbacks are of another time
        self._core.save_checkpoint(name, *extras_of(self._history, loop))

    def load_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Take everything from a checkpoint: parameters, running statistics, optimizer, averages, counts, history.

        Learning rate, l1, l2, clip_norm and clip_value are set as they were then; a learning rate that is a function
        stays. `fit` with ``resume=path`` does this by itself, and goes on within the epoch.

        Raises
        ------
        OSError
            If the file cannot be read (FileNotFoundError, PermissionError, ...).
        CheckpointError
            If it is damaged, no checkpoint, made for another model or with other settings of the trainer, or written by
            a later version of Stoop; the message says which. Nothing is changed then.
        ValueError
            While a fit of this trainer is running.
        """
        where = "Trainer.load_checkpoint"
        with self._with_others(where):
            name = file_path(where, path)
            processes = self._processes
            shared = processes is not None and processes.size > 1 and not processes.is_alone
            if processes is not None and shared:  # all can read it before one of them takes it
                _core.checkpoint_config(name)
                processes.check_alike(where, 0)
            text, _ = self._core.load_checkpoint(name, lambda text: text and read_extras(text))
            self._loop = None
            self._history = history_of(text, self._core)
            self._adopt_settings()
            if processes is not None and shared:
                processes.check_alike(where, self._core.fingerprint())

    def _adopt_settings(self) -> None:
        """Take the settings and names that the core has from a checkpoint."""
        given = self._core.settings()
        rate = given.pop("learning_rate")
        if rate is not None:
            value = json.loads(rate)
            learning_rate = from_config(Schedule, value) if isinstance(value, dict) else value
            self._optimizer = replace(self._optimizer, learning_rate=learning_rate)  # type: ignore[type-var]
        self._config.update(given)
        self._model._read_classes()

    @property
    def _callbacks(self) -> list[Any]:
        """Those of the newest fit."""
        return [] if self._loop is None else list(self._loop.callbacks)

    def stop(self, reason: str) -> None:
        """End the fit that runs, after the running update; from a callback, or from another thread.

        Parameters
        ----------
        reason : str
            What ``history.stop_reason`` becomes.

        Raises
        ------
        RuntimeError
            If no fit is running.
        ValueError, TypeError
            For a reason that is empty or no text.
        """
        said: object = reason
        if not isinstance(said, str):
            raise TypeError(message("Trainer.stop", f"reason is {said!r}", "expected text", 'for example "enough"'))
        if not reason:
            raise ValueError(message("Trainer.stop", "reason is empty", "expected text", "say why"))
        if self._loop is None or not self._loop.is_running:
            hint = "call it from a callback, or from another thread while fit runs"
            raise RuntimeError(message("Trainer.stop", "no fit is running", "expected one", hint))
        self._loop.stop_reason = reason
