"""The table of epochs that `Trainer.fit` prints, with a live line below it where the output is a terminal."""

import sys
import time
from collections.abc import Sequence
from typing import Any

from stoop._console import Console, line_width
from stoop.history import History

_COLUMNS = {
    "loss": "loss",
    "accuracy": "accuracy",
    "val_loss": "val loss",
    "val_accuracy": "val accuracy",
    "samples_per_second": "samples/s",
}
_BAR_WIDTH = 24


class EpochTable:
    """Writes a heading, one row per epoch and, on a terminal only, a progress line that is wiped again.

    Parameters
    ----------
    history : History
        Where the rows come from.
    first_epoch : int
        Epochs completed before this fit.
    epochs : int
        Epochs of this fit.
    live : bool, default True
        False: no progress line, even on a terminal.
    stream : object with ``write``, optional
        None: the standard output of the moment; nothing is written where there is none, or where writing fails.
    """

    def __init__(
        self, history: History, first_epoch: int, epochs: int, *, live: bool = True, stream: Any = None
    ) -> None:
        self._console = Console(sys.stdout if stream is None else stream)
        self._history = history
        self._first, self._last = first_epoch, first_epoch + epochs
        self._keys = [key for key in _COLUMNS if key in history]
        self._live = live and self._console.is_terminal
        self._line_shown = False
        self._started = time.perf_counter()
        self._headed = False

    def row(self) -> None:
        """Write the row of the newest epoch."""
        self._head()
        values = [_format(key, self._history[key][-1]) for key in self._keys]
        self._write_row(f"{self._history.epochs[-1]}/{self._last}", values)

    def update(self, epoch: int, done: int, samples: int) -> None:
        """Redraw the progress line: `done` of `samples` in epoch `epoch`, which is counted from 0."""
        self._head()
        if not self._live:
            return
        part = done / samples if samples else 1.0
        line = f"{epoch + 1}/{self._last} {_bar(part, lines=self._console.shows_lines)} {done:,}/{samples:,} samples"
        total = (epoch - self._first + part) / (self._last - self._first)
        if total > 0.0:
            line += f", {_duration((time.perf_counter() - self._started) * (1.0 / total - 1.0))} left"
        # A line that wraps could not be wiped again.
        self._console.write(f"\r{line[: line_width()]}\x1b[K")
        self._line_shown = True

    def close(self) -> None:
        """Wipe the progress line."""
        self._wipe()
        self._console.close()

    def _head(self) -> None:
        # The header waits until something runs, because a fit that is refused prints nothing.
        if not self._headed:
            self._headed = True
            self._write_row("epoch", [_COLUMNS[key] for key in self._keys])

    def _write_row(self, epoch: str, values: Sequence[str]) -> None:
        self._wipe()
        widths = [max(len(_COLUMNS[key]), 9) + 2 for key in self._keys]
        first = max(len(f"{self._last}/{self._last}"), len("epoch")) + 1
        cells = "".join(f"{value:>{width}}" for value, width in zip(values, widths))
        self._console.write(f"{epoch:>{first}}{cells}\n")

    def _wipe(self) -> None:
        if self._line_shown:
            self._console.write("\r\x1b[K")
            self._line_shown = False


def _format(key: str, value: float) -> str:
    if key == "samples_per_second":
        return f"{value:,.0f}"
    return f"{value:.4f}" if value == 0.0 or 1e-3 <= abs(value) < 1e5 else f"{value:.2e}"


def _bar(part: float, *, lines: bool) -> str:
    full, empty = ("━", "─") if lines else ("#", "-")
    filled = round(part * _BAR_WIDTH)
    return full * filled + empty * (_BAR_WIDTH - filled)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
