"""The table of epochs that `Trainer.fit` shows: with a live line on a terminal, as HTML in a notebook.

Everything is written by the thread that called `fit`, also where rich draws: it only makes the text.
"""

from __future__ import annotations

import io
import sys
import time
from typing import Any

from stoop._console import Console, line_width
from stoop._notebook import NotebookTable, in_notebook
from stoop._rows import BEST, Rows, duration
from stoop.history import History

_BAR_WIDTH = 24
_STYLES = {"head": "bold", "row": "", "best": "bold green", "bar": "green", "rest": "bright_black", "line": "cyan"}
Parts = list[tuple[str, str]]  # texts with the names of their styles


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
        self._line_shown = False
        self._notebook = NotebookTable(self._rows) if stream is None and in_notebook() else None
        self._rich: Any = None

    def row(self) -> None:
        """Show the row of the newest epoch."""
        self._rows.note()
        if self._notebook is not None:
            return self._notebook.draw("")
        self._head()
        best = self._console.is_terminal and self._rows.newest_is_best
        self._wipe()
        return self._write_line([(self._rows.line(-1), "best" if best else "row"), (f" {BEST}" * best, "best")])

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
        return self._draw_line(texts, part) if self._is_live and self._console.is_terminal else None

    def close(self) -> None:
        """Wipe the progress line."""
        if self._notebook is not None:
            return self._notebook.close()
        self._wipe()
        return self._console.close()

    def _draw_line(self, texts: list[str], part: float) -> None:
        filled = round(part * _BAR_WIDTH)
        full, empty = ("━", "━" if self._rich else "─") if self._console.shows_lines else ("#", "-")
        bar: Parts = [(full * filled, "bar"), (empty * (_BAR_WIDTH - filled), "rest")]
        width = line_width()  # a line that wraps could not be wiped again
        while len(texts) > 2 and _BAR_WIDTH + len(", ".join(texts)) > width:
            texts = texts[:-1]
        line: Parts = [(f"{texts[0]} ", "row"), *bar, (f" {', '.join(texts[1:])}", "line")]
        self._console.write(f"\r{self._styled(line, width)}\x1b[K")
        self._line_shown = True

    def _head(self) -> None:
        # The header waits until something runs, because a fit that is refused prints nothing.
        if not self._headed:
            self._headed = True
            if self._console.is_terminal and self._console.shows_lines:
                self._rich = _rich_console()
            self._write_line([(self._rows.heading(), "head")])

    def _write_line(self, parts: Parts) -> None:
        self._console.write(f"{self._styled(parts)}\n")

    def _styled(self, parts: Parts, width: int | None = None) -> str:
        if self._rich is None:
            return "".join(text for text, _ in parts)[:width]
        from rich.text import Text

        text = Text.assemble(*((part, _STYLES[name]) for part, name in parts), no_wrap=True)
        if width is not None:
            text.truncate(width)
        with self._rich.capture() as captured:
            self._rich.print(text, end="", soft_wrap=True, highlight=False)
        return str(captured.get())

    def _wipe(self) -> None:
        if self._line_shown:
            self._console.write("\r\x1b[K")
            self._line_shown = False


def _rich_console() -> Any:
    """Return a rich console that makes text and writes none, or None without rich."""
    try:
        from rich.console import Console as RichConsole
    except ImportError:
        return None
    return RichConsole(file=io.StringIO(), force_terminal=True)
