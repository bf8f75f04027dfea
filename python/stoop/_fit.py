"""What `Trainer.fit` is told beside its data, as one object that the core reads by its attributes."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from stoop._checks import Bounds, file_path, flag, integer, real
from stoop._errors import message
from stoop._loop import FitLoop
from stoop.augment import checked_augment
from stoop.history import History
from stoop.progress import EpochTable

WHERE = "Trainer.fit"
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}


@dataclass(frozen=True)
class FitOptions:
    """The options of `Trainer.fit` and what it writes to; data and callbacks are no part of them.

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind. The core checks the name in `last_batch`.
    """

    epochs: int
    batch_size: int
    shuffle: bool
    last_batch: Any
    verbose: int
    validation_freq: int
    max_time: Any
    resume: Any
    rollback: bool
    history: History  # gets a row after each epoch
    loop: Any  # the FitLoop, once it is made; None: Python is not called
    where: str = WHERE  # of messages
    augment: Any = None
    penalty_per_sample: bool = False  # divides l1 and l2 by the samples of each update, as scikit-learn does

    def __post_init__(self) -> None:
        where = self.where
        self._set("epochs", integer(where, "epochs", self.epochs, 1, hint="give the number of passes over X"))
        hint = "32 to 512 is usual; len(X) is full-batch descent"
        self._set("batch_size", integer(where, "batch_size", self.batch_size, 1, hint=hint))
        self._set("shuffle", flag(where, "shuffle", self.shuffle))
        if not isinstance(self.last_batch, str):
            given = f"last_batch is {self.last_batch!r}"
            raise TypeError(message(where, given, "expected one of keep, drop, merge", 'for example "keep"'))
        verbose = int(self.verbose) if isinstance(self.verbose, bool) else self.verbose
        hint = "0 is silent, 1 shows a table, 2 without a live line"
        self._set("verbose", integer(where, "verbose", verbose, 0, 2, hint=hint))
        hint = "1 validates after each epoch"
        self._set("validation_freq", integer(where, "validation_freq", self.validation_freq, 1, hint=hint))
        self._set("resume", None if self.resume is None else file_path(where, self.resume))
        self._set("max_seconds", seconds(self.max_time, where))
        checked_augment(where, self.augment)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def attach(self, loop: FitLoop) -> None:
        """Let the core call this loop."""
        self._set("loop", loop)
        if loop.keeps_copy:
            self._set("rollback", False)
        if self.verbose:
            loop.make_table = lambda first: EpochTable(self.history, first, self.epochs, live=self.verbose == 1)

    def dry(self) -> FitOptions:
        """Return options for one epoch of which nothing is shown or kept."""
        history = History(tuple(self.history))
        return replace(self, epochs=1, verbose=0, validation_freq=1, resume=None, history=history)

    @property
    def calls_steps(self) -> bool:
        """Whether the loop is to be called within epochs."""
        return self.loop is not None and (bool(self.loop.callbacks) or self.loop.is_shared)


def seconds(max_time: Any, where: str = WHERE) -> float:
    """Return a time in seconds: a number, a timedelta, text such as "1h30m", or infinity for None.

    Raises
    ------
    ValueError, TypeError
        For other text, and for what is no time or negative.
    """
    if max_time is None:
        return math.inf
    if isinstance(max_time, timedelta):
        max_time = max_time.total_seconds()
    if isinstance(max_time, str):
        parts = re.fullmatch(r"\s*(?:[0-9]+(?:\.[0-9]*)?\s*[dhms]\s*)+", max_time)
        found = re.findall(r"([0-9]+(?:\.[0-9]*)?)\s*([dhms])", max_time)
        if parts is None:
            hint = 'give seconds, or text such as "1h30m"'
            raise ValueError(message(where, f"max_time is {max_time!r}", "expected a time", hint))
        return math.fsum(float(number) * _UNITS[unit] for number, unit in found)
    return real(where, "max_time", max_time, Bounds(0.0), 'give seconds, or text such as "1h30m"')
