"""The table of epochs that `Trainer.fit` shows: with a live line on a terminal, as HTML in a notebook.

Everything is written by the thread that called `fit`, also where rich draws: it only makes the text.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from stoop._console import Console
from stoop._live_line import LiveLine
from stoop._notebook import NotebookTable, in_notebook
from stoop._rows import BEST, Rows, duration
from stoop.history import History


class EpochTable:
    """Shows a heading, one row per epoch and, on a terminal and in a notebook only, how far the epoch is.

    A terminal gets a line that is wiped again, in colours where rich is installed, and a mark on each epoch that is the
    best so far by the validation loss. A notebook gets a table that is drawn anew. Files and pipes get one line per
    epoch.

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
        None: the notebook, or the standard output of the moment; nothing is written where there is none, or where
        writing fails.
    """

    def __init__(
        self, history: History, first_epoch: int, epochs: int, *, live: bool = True, stream: Any = None
    ) -> None:
        self._console = Console(sys.stdout if stream is None else stream)
        self._rows = Rows(history, first_epoch + epochs)
        self._first, self._epochs = first_epoch, epochs
        self._is_live = live
        self._started = time.perf_counter()
        self._headed = False
        self._line = LiveLine(self._console)
        self._notebook = NotebookTable(self._rows) if stream is None and in_notebook() else None

    def row(self) -> None:
        """Show the row of the newest epoch."""
        self._rows.note()
        if self._notebook is not None:
            return self._notebook.draw("")
        self._head()
        best = self._console.is_terminal and self._rows.newest_is_best
        self._line.wipe()
        return self._line.write([(self._rows.line(-1), "best" if best else "row"), (f" {BEST}" * best, "best")])

    def update(self, epoch: int, done: int, samples: int) -> None:
        """Show anew how far it is: `done` of `samples` in epoch `epoch`, which is counted from 0."""
        part = done / samples if samples else 1.0
        total = (epoch - self._first + part) / self._epochs
        texts = [f"{epoch + 1}/{self._rows.last}", f"{done:,}/{samples:,} samples"]
        if total > 0.0:
            texts.append(f"{duration((time.perf_counter() - self._started) * (1.0 / total - 1.0))} left")
        texts.extend(self._rows.best_text())
        if self._notebook is not None:
            return self._notebook.draw(", ".join(texts), part) if self._is_live else None
        self._head()
        return self._line.draw(texts, part) if self._is_live and self._console.is_terminal else None

    def close(self) -> None:
        """Wipe the progress line."""
        if self._notebook is not None:
            return self._notebook.close()
        return self._line.close()

    def _head(self) -> None:
        # The header waits until something runs, because a fit that is refused prints nothing.
        if not self._headed:
            self._headed = True
            self._line.begin()
            self._line.write([(self._rows.heading(), "head")])
