"""Callbacks that write the history while training runs: as CSV, as lines of JSON, for TensorBoard."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import socket
import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from stoop._checks import file_path
from stoop._errors import message
from stoop._replacement import replace_file
from stoop.callbacks._base import Callback

if TYPE_CHECKING:
    from stoop.trainer import Trainer

Row = Mapping[str, Any]  # "epoch", and the columns of the history


class _Logger(Callback):
    """What all loggers share: rows that are written as they come, and files that go on after a resume."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = file_path(type(self).__name__, path)
        self._last = 0  # epoch of the newest row
        self._is_resumed = False
        self._has_begun = False

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Open the file: to go on in it after a resume and in another fit, anew otherwise."""
        with self._writing():
            last = self._go_on(trainer.epoch) if self._is_resumed else self._open(anew=not self._has_begun)
        is_resumed, self._is_resumed, self._has_begun = self._is_resumed, False, True
        if is_resumed:  # the checkpoint may have been written just before this logger wrote the row
            for row in _rows_of(trainer, last):
                self.on_epoch_end(trainer, row)

    def on_epoch_end(self, trainer: Trainer, logs: Row) -> None:  # noqa: ARG002
        """Write the row."""
        with self._writing():
            self._write(logs)
        self._last = int(logs["epoch"])

    def state_dict(self) -> dict[str, Any]:
        """Return whether there is a file to go on in, and the epoch of its newest row."""
        return {"begun": self._has_begun, "epoch": self._last}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on in the same file: rows of epochs after the resumed one are cut away when the fit begins."""
        self._is_resumed, self._last = bool(state["begun"]), int(state["epoch"])

    @abstractmethod
    def _open(self, *, anew: bool) -> int:
        """Open the file and return 0."""

    @abstractmethod
    def _go_on(self, epoch: int) -> int:
        """Open the file without rows after this epoch, and return the last one that it holds, or 0."""

    @abstractmethod
    def _write(self, row: Row) -> None:
        """Write one row so that it can be read."""

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Say which file could not be written, and why."""
        try:
            yield
        except OSError as error:
            given = f"{self.path} cannot be written, {error.strerror or error}"
            hint = "make room or give another path; the rows are in trainer.history"
            raise type(error)(message(type(self).__name__, given, "expected a file to write to", hint)) from error


class _TextLogger(_Logger):
    """A file of lines, which is opened for each."""

    def _open(self, *, anew: bool) -> int:
        self._put("", "w" if anew else "a")
        return 0

    def _put(self, text: str, mode: str = "a") -> None:
        with Path(self.path).open(mode, newline="", encoding="utf-8") as file:
            file.write(text)

    def _kept(self) -> list[str]:
        """Return the whole lines of the file; one that a crash has cut off is left out."""
        try:
            text = Path(self.path).read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        except UnicodeDecodeError:
            self._refuse_other()
        return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def _refuse_other(self) -> NoReturn:
        given, expected = f"{self.path} is another file", "expected the one that the resumed fit wrote"
        raise ValueError(message(type(self).__name__, given, expected, "give its path, or remove this file"))


class CSVLogger(_TextLogger):
    """Writes a row of the history after each epoch to a CSV file, which can be read while training runs.

    The first column is ``epoch``. A column that comes later is added to the header, and is empty in the rows before. A
    fit that resumes from a checkpoint, and another fit with the same object, go on in the same file; any other begins
    it anew.

    Parameters
    ----------
    path : path
        In a folder that exists.

    Raises
    ------
    TypeError, ValueError
        For what is no path. In `fit`: for a file that the resumed fit did not write.
    OSError
        In `fit`, if the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self._columns: list[str] = []

    def _open(self, *, anew: bool) -> int:
        if anew:
            self._columns = []
        return super()._open(anew=anew)

    def _go_on(self, epoch: int) -> int:
        rows = list(csv.reader(self._kept()))
        if not rows:
            return self._open(anew=True)
        self._columns = rows[0]
        if not self._columns or self._columns[0] != "epoch":
            self._refuse_other()
        try:
            kept = [row for row in rows[1:] if int(row[0]) <= epoch]
        except (ValueError, IndexError):
            self._refuse_other()
        replace_file(self.path, _csv_text([self._columns, *kept]).encode())
        return int(kept[-1][0]) if kept else 0

    def _write(self, row: Row) -> None:
        new = [key for key in row if key not in self._columns]
        if new and not self._columns:
            self._columns = ["epoch", *(key for key in new if key != "epoch")]
            self._put(_csv_text([self._columns]))
        elif new:
            _, *rows = list(csv.reader(self._kept()))
            self._columns += new
            wide = (old + [""] * (len(self._columns) - len(old)) for old in rows)
            replace_file(self.path, _csv_text([self._columns, *wide]).encode())
        self._put(_csv_text([[_number(row[key]) if key in row else "" for key in self._columns]]))


class JSONLLogger(_TextLogger):
    """Writes a row of the history after each epoch as a line of JSON, ``{"epoch": 1, "loss": ...}``.

    What is not finite is ``null``, since JSON has no NaN. A fit that resumes from a checkpoint, and another fit with
    the same object, go on in the same file; any other begins it anew.

    Parameters
    ----------
    path : path
        In a folder that exists.

    Raises
    ------
    TypeError, ValueError
        For what is no path. In `fit`: for a file that the resumed fit did not write.
    OSError
        In `fit`, if the file cannot be written.
    """

    def _go_on(self, epoch: int) -> int:
        lines = self._kept()
        try:
            epochs = [int(json.loads(line)["epoch"]) for line in lines]
        except (ValueError, KeyError, TypeError):
            self._refuse_other()
        kept = "".join(line for line, number in zip(lines, epochs) if number <= epoch)
        replace_file(self.path, kept.encode())
        return max((number for number in epochs if number <= epoch), default=0)

    def _write(self, row: Row) -> None:
        numbers = {key: _number(value) for key, value in row.items()}
        finite = {key: number if math.isfinite(number) else None for key, number in numbers.items()}
        self._put(json.dumps(finite) + "\n")


class TensorBoard(_Logger):
    """Writes the columns of the history as scalars by epoch for TensorBoard, which shows them while training runs.

    A fit that resumes from a checkpoint, and another fit with the same object, go on in the same folder; any other
    begins it anew. Each fit writes a file of its own. What no longer holds is marked as outdated in the new file, and
    TensorBoard leaves it out.

    Parameters
    ----------
    log_dir : path
        Folder of this run; it is made if it is not there.

    Raises
    ------
    ImportError
        If neither tensorboard nor tensorboardX is installed; the extra ``stoop[tensorboard]`` brings the former.
    TypeError, ValueError
        For what is no path.
    OSError
        In `fit`, if a file cannot be written.
    """

    def __init__(self, log_dir: str | os.PathLike[str]) -> None:
        super().__init__(log_dir)
        self._event, _ = _tensorboard()  # refused here if it is missing, not after the data were prepared
        self._writer: Any = None

    def on_fit_end(self, trainer: Trainer, reason: str) -> None:  # noqa: ARG002
        """Close the file."""
        self._close()

    def _open(self, *, anew: bool) -> int:
        self._close()
        folder = Path(self.path)
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self._event, records = _tensorboard()
        self._writer = records(folder / name)
        self._add(file_version="brain.Event:2")
        if anew:
            self._outdate(from_step=0)
        return 0

    def _go_on(self, epoch: int) -> int:
        self._open(anew=False)
        last = min(self._last, epoch)
        self._outdate(from_step=last + 1)
        return last

    def _write(self, row: Row) -> None:
        values = [{"tag": key, "simple_value": _number(row[key])} for key in row if key != "epoch"]
        self._add(step=int(row["epoch"]), summary={"value": values})

    def _outdate(self, from_step: int) -> None:
        self._add(step=from_step, session_log={"status": 1})  # START: of a run that begins at this step

    def _add(self, **fields: Any) -> None:
        self._writer.write(self._event(wall_time=time.time(), **fields).SerializeToString())
        self._writer.flush()

    def _close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()


def _tensorboard() -> tuple[Any, Any]:
    """Return the class of an event, and what opens a file of records."""
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        return Event, lambda path: RecordWriter(path.open("wb"))
    except ImportError:
        pass
    try:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.record_writer import RecordWriter
    except ImportError as error:
        hint = "install it with `pip install 'stoop[tensorboard]'`"
        raise ImportError(
            message("TensorBoard", "tensorboard is missing", "expected it or tensorboardX", hint)
        ) from error
    return Event, lambda path: RecordWriter(str(path))


def _rows_of(trainer: Trainer, last: int) -> list[Row]:
    """Return the rows of the history from the epoch after `last` to the newest that is complete."""
    history = trainer.history
    return [
        {"epoch": epoch, **{key: values[place] for key, values in history.items()}}
        for place, epoch in enumerate(history.epochs)
        if last < epoch <= trainer.epoch
    ]


def _number(value: Any) -> int | float:
    return value if isinstance(value, int) else float(value)


def _csv_text(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()
