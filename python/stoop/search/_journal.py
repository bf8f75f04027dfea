"""A file with the trials of a search that have ended, so that a search that was killed goes on from there."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stoop._checks import file_path
from stoop._errors import message, warn
from stoop.history import History
from stoop.search._spaces import Choice, Parameter
from stoop.search._trial import Trial

_WHERE = "search.run"
_FORMAT = 1
_KEYS = ("number", "params", "state", "seconds", "error", "history")  # of a trial


class Journal:
    """JSON, a line for each trial after a line that says what is searched. A line that was not ended does not count.

    Parameters
    ----------
    path : path
    search : dict
        What must be the same for a search to go on.
    space : dict of Parameter

    Raises
    ------
    ValueError
        For a file of another search, or one that another process has open.
    OSError
        If it cannot be written.
    """

    def __init__(self, path: Any, search: dict[str, Any], space: Mapping[str, Parameter]) -> None:
        self._path = Path(file_path(_WHERE, path))
        self._space = space
        self._trials: dict[int, dict[str, Any]] = {}
        self._is_broken = False
        check_place(self._path)
        self._file: Any = self._path.open("ab+", buffering=0)
        try:
            self._lock()
            self._size = self._read(json.loads(json.dumps({"format": _FORMAT, **search})))
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file, which frees it for others."""
        self._file.close()

    def trial(self, number: int, params: dict[str, Any]) -> Trial | None:
        """Return what is known of a trial."""
        row = self._trials.get(number)
        if row is None or row["params"] != json.loads(json.dumps(plain_params(self._space, params))):
            return None
        history = row["history"]
        return Trial(
            number,
            params,
            row["state"],
            None if history is None else History._of(history["epochs"], history["columns"], history["stop_reason"]),
            row["seconds"],
            row["error"],
        )

    def add(self, trial: Trial) -> None:
        """Write a line; where that fails the file stays as it was, and no more is written."""
        if self._is_broken:
            return
        history = trial.history
        row = {
            "number": trial.number,
            "params": plain_params(self._space, trial.params),
            "state": trial.state,
            "seconds": trial.seconds,
            "error": trial.error,
            "history": None if history is None else as_plain(history),
        }
        try:
            self._write(row)
        except OSError as error:
            self._is_broken = True
            given = f"{self._path} cannot be written: {error}"
            warn(message(_WHERE, given, "expected room for the trials", "a search that goes on repeats the others"))

    def _lock(self) -> None:
        import fcntl

        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            given = f"another search has {self._path} open ({error})"
            hint = 'give another path, or method="optuna", where several processes share a study'
            raise ValueError(message(_WHERE, given, "expected one search at a time", hint)) from None

    def _read(self, search: dict[str, Any]) -> int:
        """Read what is there, and return where it ends."""
        self._file.seek(0)
        text = self._file.read()
        whole = text[: text.rfind(b"\n") + 1]
        rows = [_row_of(line, ("format",) if place == 0 else _KEYS) for place, line in enumerate(whole.splitlines())]
        if not rows and not json.dumps(search).encode().startswith(text):
            rows = [None]  # not this search, cut off while it began the file
        if None in rows:
            place = rows.index(None) + 1
            given, hint = f"{self._path} holds something else in line {place}", "give another path"
            if place > 1:
                hint = "take out that line if it was damaged, or give another path"
            raise ValueError(message(_WHERE, given, "expected the trials of a search, or no file", hint))
        known: list[Any] = rows
        self._trials = {row["number"]: row for row in known[1:]}
        if known:
            self._check(known[0], search)
        self._size = len(whole)
        self._file.truncate(self._size)
        if not rows:
            self._write(search)
        return self._size

    def _check(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        for key in {**old, **new}:
            if old.get(key) != new.get(key):
                given = f"{self._path} has trials of a search with {key} {old.get(key)!r}, and it is {new.get(key)!r}"
                raise ValueError(message(_WHERE, given, "expected the same search", "give another path for this one"))

    def _write(self, row: dict[str, Any]) -> None:
        line = f"{json.dumps(row)}\n".encode()
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301  as if nothing was written
        except OSError:
            self._file.truncate(self._size)
            raise
        self._size += len(line)


def _row_of(line: bytes, keys: tuple[str, ...]) -> dict[str, Any] | None:
    """Return what a line holds, None if it is not a dict with these keys."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and all(key in row for key in keys) else None


def check_place(path: Path) -> None:
    """Refuse a folder, a device, and a file in a folder that is not there."""
    if path.exists() and not path.is_file():
        given = f"storage is {path}, which is no regular file"
        raise ValueError(message(_WHERE, given, "expected a file, or a path where there is none yet", "name another"))
    if not path.parent.is_dir():
        given, hint = f"storage is {path}: No such folder as {path.parent}", 'make it; URLs are for method="optuna"'
        raise FileNotFoundError(message(_WHERE, given, "expected a file in a folder that is there", hint))


def as_plain(history: History) -> dict[str, Any]:
    """Return a history as lists."""
    return {"epochs": history.epochs, "columns": dict(history), "stop_reason": history.stop_reason}


def plain_params(space: Mapping[str, Parameter], params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values as numbers and texts."""
    plain = {}
    for name, value in params.items():
        parameter = space.get(name)
        is_label = isinstance(parameter, Choice) and not isinstance(value, bool | int | float | str)
        plain[name] = parameter.labels()[parameter.index(value)] if is_label else value  # type: ignore[union-attr]
    return plain


def plain_space(space: Mapping[str, Parameter]) -> dict[str, str]:
    """Return what a space is, the same in another process."""
    return {
        name: f"choice({parameter.labels()!r})" if isinstance(parameter, Choice) else repr(parameter)
        for name, parameter in space.items()
    }
