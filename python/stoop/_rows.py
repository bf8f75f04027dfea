"""The rows of a history as text, and which of them is the best: what terminals, files and notebooks show alike."""

from __future__ import annotations

import math

from stoop.history import History

BEST = "*"
_LABELS = {"samples_per_second": "samples/s"}
_HIDDEN = ("learning_rate", "grad_norm")
_MONITOR = "val_loss"


class Rows:
    """The rows of this fit.

    Parameters
    ----------
    history : History
        Where they come from; what comes before is no part of it.
    last : int
        Number of the last epoch, counted over all fits.
    """

    def __init__(self, history: History, last: int) -> None:
        self.history = history
        self.last = last
        self.keys = [key for key in history if key not in _HIDDEN and key != "samples_per_second"]
        self.keys += [key for key in ("samples_per_second",) if key in history]
        self.best: int | None = None  # position of the best row
        self._widths = [max(len(self._label(key)), 9) + 2 for key in self.keys]

    def note(self) -> None:
        """Take the newest row into account."""
        values = self.history.get(_MONITOR, [])
        if values and not math.isnan(values[-1]) and (self.best is None or values[-1] < values[self.best]):
            self.best = len(values) - 1

    @property
    def newest_is_best(self) -> bool:
        """Whether no row before was as good."""
        return self.best is not None and self.best == len(self.history.epochs) - 1

    def best_text(self) -> list[str]:
        """Return what a line says of the best epoch: nothing, or one text."""
        if self.best is None:
            return []
        return [f"best epoch {self.history.epochs[self.best]}"]

    def heading(self) -> str:
        """Return the names of the columns as one line."""
        return self._line("epoch", [self._label(key) for key in self.keys])

    def line(self, row: int) -> str:
        """Return a row as one line."""
        return self._line(*self.cells(row))

    def cells(self, row: int) -> tuple[str, list[str]]:
        """Return a row as texts: the epoch, and the values."""
        values = (_format(key, self.history[key][row]) for key in self.keys)
        return f"{self.history.epochs[row]}/{self.last}", list(values)

    def labels(self) -> list[str]:
        """Return the names of the columns."""
        return ["epoch", *(self._label(key) for key in self.keys)]

    def _line(self, epoch: str, values: list[str]) -> str:
        first = max(len(f"{self.last}/{self.last}"), len("epoch")) + 1
        cells = "".join(f"{value:>{width}}" for value, width in zip(values, self._widths))
        return f"{epoch:>{first}}{cells}"

    @staticmethod
    def _label(key: str) -> str:
        return _LABELS.get(key, key.replace("_", " "))


def duration(seconds: float) -> str:
    """Return minutes and seconds, with hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _format(key: str, value: float) -> str:
    if key == "samples_per_second":
        return f"{value:,.0f}"
    return f"{value:.4f}" if value == 0.0 or 1e-3 <= abs(value) < 1e5 else f"{value:.2e}"
