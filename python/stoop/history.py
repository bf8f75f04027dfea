"""What `Trainer.fit` returns: one list of floats per measured quantity, one value per epoch."""

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stoop._checks import file_path


class History(Mapping[str, list[float]]):
    """Read-only mapping from a quantity to its values, one per epoch.

    Keys, in this order: ``loss`` (sample-weighted mean of the objective seen by each update, before that update,
    regularisation included), ``accuracy``, ``val_loss``, ``val_accuracy`` (after the epoch, in inference mode),
    ``learning_rate``, ``grad_norm`` (mean over the updates of the global L2 norm of the gradient),
    ``samples_per_second``. The accuracies are there for losses that take classes, ``val_*`` with validation data.

    Attributes
    ----------
    epochs : list of int
        Number of each epoch, from 1, counted over all calls of `Trainer.fit`.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self.epochs: list[int] = []
        self._columns: dict[str, list[float]] = {key: [] for key in keys}

    def __getitem__(self, key: str) -> list[float]:
        try:
            return self._columns[key]
        except KeyError:
            raise KeyError(f"{key!r} was not recorded; this history has {', '.join(self)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        last = ", ".join(f"{key}={values[-1]:.4g}" for key, values in self.items() if values)
        return f"History({len(self.epochs)} epochs{': ' if last else ''}{last})"

    def _record(self) -> dict[str, list[Any]]:
        """Return the lists that the core adds to, "epoch" among them."""
        return {"epoch": self.epochs, **self._columns}

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a header and one row per epoch; the first column is ``epoch``.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        with Path(file_path("to_csv", path)).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["epoch", *self])
            writer.writerows(zip(self.epochs, *self.values()))
