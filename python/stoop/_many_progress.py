"""What `stoop.fit_many` shows while it runs: how many trainers are done. The thread that called writes it."""

from __future__ import annotations

import sys
import time
from typing import Any

from stoop._console import Console
from stoop._live_line import LiveLine
from stoop._rows import duration

_INTERVAL = 10.0  # seconds from one line to the next where there is no live line


class ManyLine:
    """A live line on a terminal, elsewhere a line from time to time, and one at the end.

    Parameters
    ----------
    trainers : int
        Their number.
    live : bool, default True
        False: lines from time to time on a terminal as well.
    stream : object with ``write``, optional
        None: the standard output of the moment.
    """

    def __init__(self, trainers: int, *, live: bool = True, stream: Any = None) -> None:
        console = Console(sys.stdout if stream is None else stream)
        self._trainers = trainers
        self._is_live = live and console.is_terminal
        self._line = LiveLine(console)
        self._line.begin()
        self._started = self._written = time.perf_counter()

    def update(self, running: int, done: int, failed: int, part: float) -> None:
        """Show anew how far it is: `part` of all the work is done."""
        texts = [self._done(done), f"{running} running"]
        texts += [f"{failed} failed"] * (failed > 0)
        now = time.perf_counter()
        if part > 0.0:
            texts.append(f"{duration((now - self._started) * (1.0 / part - 1.0))} left")
        if self._is_live:
            return self._line.draw(texts, min(part, 1.0))
        if now - self._written >= _INTERVAL:
            self._written = now
            self._line.write([(", ".join(texts), "row")])
        return None

    def ended(self, number: int, fit: Any) -> None:
        """Hear that a fit has ended, which `update` tells soon enough."""

    def close(self, done: int, failed: int, cut: int = 0) -> None:
        """Show how it ended: `cut` are those that the clock or Ctrl-C has ended, which are not done."""
        self._line.wipe()
        texts = [f"{self._done(done)} in {duration(time.perf_counter() - self._started)}"]
        texts += [f"{failed} failed"] * (failed > 0) + [f"{cut} cut off"] * (cut > 0)
        self._line.write([(", ".join(texts), "head")])
        self._line.close()

    def _done(self, done: int) -> str:
        return f"{done}/{self._trainers} trainers done"
