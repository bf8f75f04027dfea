"""The result of `Trainer.fit`: one list of floats per measured quantity, one value per epoch."""

from __future__ import annotations

import csv
import math
import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from stoop._checks import file_path
from stoop._errors import message
from stoop._figures import draw_curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The order of the columns of a sum; others come after these.
_ORDER = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "grad_norm", "samples_per_second")


class History(dict[str, list[float]]):
    """Read-only mapping from a quantity to its values, one per epoch.

    It is a dict, so that ``pandas.DataFrame(history)`` and ``json.dumps(history)`` take it as it is.

    Keys, in this order: ``loss`` (sample-weighted mean of the objective seen by each update, before that update,
    regularisation included), ``accuracy``, ``val_loss``, ``val_accuracy`` (after the epoch, in inference mode),
    ``learning_rate``, ``grad_norm`` (mean over the updates of the global L2 norm of the gradient),
    ``samples_per_second``. The accuracies are there for losses that take classes, ``val_*`` with validation data.

    ``h1 + h2`` is the history of one fit after another, ``sum(histories)`` of several. It has the columns of both; a
    quantity that one of them lacks is NaN for its epochs. Where the second does not count on from the first (another
    trainer made it), its epochs are numbered on from there. Lists that were changed and no
    longer hold one value per epoch cannot be added (ValueError).

    Attributes
    ----------
    epochs : list of int
        Number of each epoch, from 1, counted over all calls of `Trainer.fit`.
    stop_reason : str or None
        Why the fit ended; of a sum, why the last one did, and `error` likewise.
    error : BaseException or None
        What ended the fit, where `stop_reason` is "error" and nothing was raised (`stoop.fit_many`).
    changes : list of dict
        Settings that were changed while the fit ran, or between it and the fit before (`Trainer.set`): ``"epoch"``, in
        which they hold first, ``"step"``, the updates that were made by then, and the setting with its new value.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        super().__init__((key, []) for key in keys)
        self.epochs: list[int] = []
        self.stop_reason: str | None = None
        self.error: BaseException | None = None
        self.changes: list[dict[str, Any]] = []

    @classmethod
    def _of(
        cls,
        epochs: Sequence[int],
        columns: Mapping[str, Sequence[float]],
        stop_reason: str | None = None,
        changes: Sequence[dict[str, Any]] = (),
        error: BaseException | None = None,
    ) -> History:
        history = cls(tuple(columns))
        history.epochs.extend(epochs)
        history.stop_reason = stop_reason
        history.error = error
        history.changes.extend(dict(change) for change in changes)
        for key, values in columns.items():
            history[key].extend(values)
        return history

    def __missing__(self, key: str) -> NoReturn:
        raise KeyError(f"{key!r} was not recorded; this history has {', '.join(self)}")

    def __add__(self, other: object) -> History:
        if not isinstance(other, History):
            return NotImplemented
        self._check_whole("History, +")
        other._check_whole("History, +")
        keys = {**self, **other}
        known = [key for key in _ORDER if key in keys]
        columns = {
            key: self._column(key) + other._column(key) for key in [*known, *(key for key in keys if key not in _ORDER)]
        }
        overlap = bool(self.epochs and other.epochs) and other.epochs[0] <= self.epochs[-1]
        offset = self.epochs[-1] - other.epochs[0] + 1 if overlap else 0
        epochs = [*self.epochs, *(epoch + offset for epoch in other.epochs)]
        changes = [*self.changes, *({**change, "epoch": change["epoch"] + offset} for change in other.changes)]
        return History._of(epochs, columns, other.stop_reason, changes, other.error)

    def __radd__(self, other: object) -> History:
        if isinstance(other, int) and other == 0:  # what sum() starts with
            self._check_whole("History, sum")
            return self.copy()
        return NotImplemented

    def _check_whole(self, where: str) -> None:
        """Refuse lists that were changed: what is added to such a history would stand beside the wrong epochs."""
        for key, values in self.items():
            if len(values) != len(self.epochs):
                given = f"{key} has {len(values)} values and epochs {len(self.epochs)}"
                hint = "change lists of your own, list(history[key])"
                raise ValueError(message(where, given, "expected a value for each epoch", hint))

    def _column(self, key: str) -> list[float]:
        return list(self[key]) if key in self else [math.nan] * len(self.epochs)

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        hint = "change a copy, dict(history)"
        raise TypeError(message("History", "a change of a history", "expected to be read alone", hint))

    # A history says what happened; a new one is made by adding.
    __setitem__ = __delitem__ = __ior__ = update = setdefault = pop = popitem = clear = _refuse

    def copy(self) -> History:
        """Return a history of its own with the same values."""
        return History._of(self.epochs, self, self.stop_reason, self.changes, self.error)

    def __reduce__(self) -> tuple[Any, ...]:
        return History._of, (self.epochs, dict(self), self.stop_reason, self.changes, _picklable(self.error))

    def __repr__(self) -> str:
        last = ", ".join(f"{key}={values[-1]:.4g}" for key, values in self.items() if values)
        return f"History({len(self.epochs)} epochs{': ' if last else ''}{last})"

    def _record(self) -> dict[str, list[Any]]:
        """Return the lists that the core adds to, "epoch" among them."""
        return {"epoch": self.epochs, **self}

    def _become(self, other: History) -> None:
        """Take the rows of `other`, in the lists that are there; columns that only one of the two has stay."""
        self.epochs[:] = other.epochs
        self.changes[:] = other.changes
        for key in other:
            if key not in self:
                super().__setitem__(key, [])
        for key, values in self.items():
            values[:] = other._column(key)

    def _newest(self) -> dict[str, float]:
        """Return the newest row by column, "epoch" first."""
        return {"epoch": self.epochs[-1], **{key: values[-1] for key, values in self.items()}}

    def _amend(self, row: Mapping[str, float]) -> None:
        """Write values into the newest row; "epoch" is passed over.

        A column that comes new is NaN for the epochs before, and one that `row` leaves out NaN for this one, unless it
        has its value already.
        """
        for key in row:
            if key != "epoch" and key not in self:
                super().__setitem__(key, [])
        for key, values in self.items():
            values.extend([math.nan] * (len(self.epochs) - len(values)))
            if key in row:
                values[-1] = float(row[key])

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame`` with one row per epoch; the first column is ``epoch``, as in `to_csv`.

        Raises
        ------
        ImportError
            If pandas is not installed; the extra ``stoop[pandas]`` brings it.
        ValueError
            For a list that was changed and has no longer one value per epoch.
        """
        self._check_whole("History.to_pandas")
        try:
            import pandas as pd
        except ImportError as error:
            hint = "install it with `pip install 'stoop[pandas]'`"
            raise ImportError(
                message("History.to_pandas", "pandas is missing", "expected it for tables", hint)
            ) from error
        return pd.DataFrame({"epoch": self.epochs, **self})

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw loss, accuracy and the other metrics by epoch; `stoop.plotting.learning_curve` has a title as well.

        Parameters
        ----------
        path : path, optional
            Where to write it as PNG (or PDF, SVG by the suffix).

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ValueError
            If the history is empty.
        ImportError
            If matplotlib is not installed.
        """
        if not self.epochs:
            raise ValueError(
                message("History.plot", "the history is empty", "expected at least one epoch", "fit first")
            )
        return draw_curves(self.epochs, self, path, "Learning curve", self.changes)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a header and one row per epoch; the first column is ``epoch``.

        Raises
        ------
        OSError
            If the file cannot be written.
        ValueError
            For a list that was changed and has no longer one value per epoch.
        """
        self._check_whole("History.to_csv")
        with Path(file_path("History.to_csv", path)).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["epoch", *self])
            writer.writerows(zip(self.epochs, *self.values()))


def _picklable(error: BaseException | None) -> BaseException | None:
    """Return the exception, or one with its text where pickle cannot take it."""
    if error is None:
        return None
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001  whatever the class of a user raises
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
