"""ModelCheckpoint: saves checkpoints, or models alone, while a fit runs."""

from __future__ import annotations

import math
import os
import string
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stoop._checks import Bounds, file_path, flag, integer, real
from stoop._errors import message, refuse_name, warn
from stoop.callbacks._base import Callback, Monitor, set_state

if TYPE_CHECKING:
    from stoop.trainer import Trainer

_WHERE = "ModelCheckpoint"
_SAVES = ("best", "last", "all")


class ModelCheckpoint(Callback):
    """Saves checkpoints while a fit runs, each written beside its target and renamed: a whole file is there always.

    It is called after the other callbacks, so that what they count is in the file. A save that fails (a full disk, a
    folder that became read-only) leaves the old file and gives a warning that says what happened; the fit goes on, and
    the next save tries again.

    Parameters
    ----------
    path : path
        May hold fields: ``{epoch}``, ``{step}`` and, for saves at the end of an epoch, columns of the history, as in
        ``"best-{epoch:03}-{val_loss:.4f}.safetensors"``. Its folder is made if it is missing.
    monitor : str, default "val_loss"
        The column that decides which epoch is best.
    mode : {"auto", "min", "max"}, default "auto"
        Whether smaller or larger values are better; "auto" knows it from the name.
    save : {"best", "last", "all"}, default "best"
        "best": an epoch that is among the `top_k` best, and files that are no longer are removed. "last": the newest
        state; a file of an older one is removed. "all": every state; `path` needs a field.
    top_k : int, default 1
        With "best": files that are kept, >= 1; more than one need a field in `path`.
    every_n_epochs : int, default 1
        Saves at the end of every so many epochs of the fit, >= 1.
    every_n_steps : int, optional
        With "last" and "all": saves after every so many updates as well, >= 1.
    every_minutes : float, optional
        With "last" and "all": saves whenever so many minutes have passed as well, > 0.
    weights_only : bool, default False
        True: the model alone, as `Model.save`, which cannot be resumed.

    Attributes
    ----------
    paths : list of str
        The files that it wrote and kept, the best or newest first.

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, and for fields that are missing or unknown.
    """

    runs_last = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: str = "val_loss",
        mode: str = "auto",
        save: str = "best",
        top_k: int = 1,
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        every_minutes: float | None = None,
        weights_only: bool = False,
    ) -> None:
        self.path = file_path(_WHERE, path)
        if save not in _SAVES:
            refuse_name(_WHERE, "save", str(save), _SAVES)
        self.save = save
        self._monitor = Monitor(_WHERE, monitor, mode) if save == "best" else None
        self.top_k = integer(_WHERE, "top_k", top_k, 1)
        self.every_n_epochs = integer(_WHERE, "every_n_epochs", every_n_epochs, 1)
        if every_n_steps is not None:
            self.every_n_steps = integer(_WHERE, "every_n_steps", every_n_steps, 1)
        self.every_minutes = every_minutes
        if every_minutes is not None:
            self.every_minutes = real(_WHERE, "every_minutes", every_minutes, Bounds(0.0, without_low=True))
        self.weights_only = flag(_WHERE, "weights_only", weights_only)
        self._fields = _fields(self.path)
        self._check_options()
        self._is_resumed = False
        self._start()

    def _start(self) -> None:
        self._files: list[list[Any]] = []  # value and path of each file that is kept, the best or newest first
        self._epochs = 0

    @property
    def paths(self) -> list[str]:
        """The files that it wrote and kept, the best or newest first."""
        return [path for _, path in self._files]

    def _check_options(self) -> None:
        often = self.every_n_steps is not None or self.every_minutes is not None
        if self.save == "best" and often:
            given = 'save="best" with every_n_steps or every_minutes'
            expected = "expected every_n_epochs, since the monitor is known after an epoch"
            raise ValueError(message(_WHERE, given, expected, 'use save="last" for these'))
        if not self._fields and (self.save == "all" or self.top_k > 1):
            given = f"several files are to be kept at the path {self.path!r}"
            hint = "put one in, as in 'model-{epoch}.safetensors'"
            raise ValueError(message(_WHERE, given, "expected a field such as {epoch} in it", hint))
        if often and self._fields - {"epoch", "step"}:
            given = f"the path {self.path!r} holds columns of the history, with saves within an epoch"
            raise ValueError(message(_WHERE, given, "expected {epoch} and {step} alone", "leave the others out"))

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Check the fields of the path, and make its folder."""
        known = ["epoch", "step", *trainer.history]
        others = [callback for callback in trainer._callbacks if callback is not self]  # which may add columns
        for field in () if others else self._fields - set(known):
            refuse_name(_WHERE, "field of path", field, known)
        if not _fields(str(Path(self.path).parent)):
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        if not self._is_resumed:
            self._start()
        self._is_resumed = False
        self._saved_at = time.monotonic()

    def wants_look(self) -> bool:
        """Return whether it is time for a save within the epoch; asked every 50 ms."""
        return self.every_minutes is not None and time.monotonic() - self._saved_at >= 60.0 * self.every_minutes

    def on_steps_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        """Save within an epoch."""
        self._save(trainer, 0.0, {"epoch": logs["epoch"], "step": logs["step"]})

    def on_epoch_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        """Save after an epoch, if it is to be kept."""
        self._epochs += 1
        if self._epochs % self.every_n_epochs != 0:
            return
        value = 0.0
        if self._monitor is not None:
            measured = self._monitor.value(trainer, logs)
            full = len(self._files) >= self.top_k
            if measured is None or not self._monitor.is_better(measured, self._files[-1][0] if full else None):
                return
            value = measured
        self._save(trainer, value, {**logs, "step": trainer.steps})

    def _save(self, trainer: Trainer, value: float, fields: Mapping[str, float]) -> None:
        fields = {**dict.fromkeys(trainer.history, math.nan), **fields}  # a column that this epoch did not measure
        for name in self._fields - set(fields):
            refuse_name(_WHERE, "field of path", name, list(fields))
        path = self.path.format(**{name: _whole(fields[name]) for name in self._fields})
        before, kept = self._files, [entry for entry in self._files if entry[1] != path]
        place = 0
        if self._monitor is not None:
            place = sum(not self._monitor.is_better(value, entry[0]) for entry in kept)
        most = {"best": self.top_k, "last": 1, "all": len(kept) + 1}[self.save]
        files = [*kept[:place], [value, path], *kept[place:]]
        self._files, dropped = files[:most], files[most:]  # in the file, too: a fit that is resumed knows it
        self._saved_at = time.monotonic()
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            if self.weights_only:
                trainer.model.save(path)
            else:
                trainer.save_checkpoint(path)
        except OSError as error:
            self._files = before
            what, hint = f"{path} could not be written: {error}", "make room or mend the folder"
            warn(message(_WHERE, what, "the old file stays and the fit goes on", hint))
            return
        except BaseException:
            self._files = before
            raise
        for _, old in dropped:
            with suppress(OSError):  # what cannot be removed stays
                Path(old).unlink()

    def state_dict(self) -> dict[str, Any]:
        """Return the files that are kept, and the count of epochs."""
        return {"_files": self._files, "_epochs": self._epochs}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        set_state(self, state, ("_files", "_epochs"))
        self._is_resumed = True


def _fields(path: str) -> set[str]:
    try:
        names = {name for _, name, _, _ in string.Formatter().parse(path) if name is not None}
    except ValueError as error:
        given = f"path is {path!r}, whose braces do not match: {error}"
        raise ValueError(message(_WHERE, given, "expected fields such as {epoch}", "write {{ for a brace")) from None
    return names


def _whole(value: float) -> float | int:
    """Return an int for a whole number, so that ``{epoch:03}`` works."""
    return int(value) if float(value).is_integer() else value
