"""What `Trainer.fit` is told beside its data, as one object that the core reads by its attributes."""

from dataclasses import dataclass, field
from typing import Any

from stoop._checks import flag, integer
from stoop._errors import message
from stoop.history import History
from stoop.progress import EpochTable

WHERE = "Trainer.fit"


@dataclass(frozen=True)
class FitOptions:
    """The options of `Trainer.fit` and what it writes to; the validation data are no part of them.

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
    history: History  # gets a row after each epoch
    first_epoch: int  # epochs completed before
    table: EpochTable | None = field(init=False)  # shows the rows, and how far an epoch is; None where nothing is shown

    def __post_init__(self) -> None:
        self._set("epochs", integer(WHERE, "epochs", self.epochs, 1, hint="give the number of passes over X"))
        hint = "32 to 512 is usual; len(X) is full-batch descent"
        self._set("batch_size", integer(WHERE, "batch_size", self.batch_size, 1, hint=hint))
        self._set("shuffle", flag(WHERE, "shuffle", self.shuffle))
        if not isinstance(self.last_batch, str):
            given = f"last_batch is {self.last_batch!r}"
            raise TypeError(message(WHERE, given, "expected one of keep, drop, merge", 'for example "keep"'))
        verbose = int(self.verbose) if isinstance(self.verbose, bool) else self.verbose
        hint = "0 is silent, 1 shows a table, 2 without a live line"
        self._set("verbose", integer(WHERE, "verbose", verbose, 0, 2, hint=hint))
        live = self.verbose == 1
        self._set("table", EpochTable(self.history, self.first_epoch, self.epochs, live=live) if verbose else None)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def close(self) -> None:
        """Wipe the line that shows how far an epoch is."""
        if self.table is not None:
            self.table.close()
