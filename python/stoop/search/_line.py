"""What a search shows while it runs: how many trials are done, and the best of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Any

from stoop._console import Console
from stoop._live_line import LiveLine
from stoop._rows import duration
from stoop.search._trial import FAILED, WAITING, Goal, Trial

_INTERVAL = 10.0  # seconds from one line to the next where there is no live line


class SearchLine:
    """A live line on a terminal, elsewhere a line from time to time, and one at the end.

    Parameters
    ----------
    total : int
        How many trials there will be.
    goal : Goal
    live : bool
        False: lines from time to time on a terminal as well.
    """

    def __init__(self, total: int, goal: Goal, *, live: bool) -> None:
        console = Console(sys.stdout)
        self.note = ""  # what the method is at
        self._total, self._goal = total, goal
        self._is_live = live and console.is_terminal
        self._line = LiveLine(console)
        self._line.begin()
        self._started = self._written = time.perf_counter()

    def update(self, part: float, trials: Iterable[Trial], best: Trial | None) -> None:
        """Show anew how far it is: `part` of all the work is done."""
        now = time.perf_counter()
        if not self._is_live and now - self._written < _INTERVAL:
            return
        texts = self._texts(trials, best)
        if self.note:
            texts.insert(1, self.note)
        if 0.0 < part < 1.0:
            texts.append(f"{duration((now - self._started) * (1.0 / part - 1.0))} left")
        if self._is_live:
            self._line.draw(texts, min(part, 1.0))
        else:
            self._written = now
            self._line.write([(", ".join(texts), "row")])

    def close(self, trials: Iterable[Trial], best: Trial | None, reason: str) -> None:
        """Show how it ended."""
        self._line.wipe()
        done, *rest = self._texts(trials, best)
        texts = [f"{done} in {duration(time.perf_counter() - self._started)}", *rest]
        if reason != "trials":
            texts.append({"max_time": "ended by max_time", "interrupted": "interrupted"}[reason])
        self._line.write([(", ".join(texts), "head")])
        self._line.close()

    def _texts(self, trials: Iterable[Trial], best: Trial | None) -> list[str]:
        known: list[Any] = list(trials)
        ended = sum(trial.state != WAITING for trial in known)
        failed = sum(trial.state == FAILED for trial in known)
        texts = [f"{ended}/{self._total} trials"]
        if best is not None:
            value, _ = self._goal.best_of(best.history)
            texts.append(f"best {self._goal.metric} {value:.5g} (trial {best.number})")
        return texts + [f"{failed} failed"] * (failed > 0)
