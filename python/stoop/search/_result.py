"""What a search returns: its trials as a table, in files and as a figure, and the best trainer."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stoop._checks import file_path
from stoop._errors import message
from stoop.history import History
from stoop.search._figure import draw_trials
from stoop.search._journal import plain_params
from stoop.search._spaces import Parameter
from stoop.search._trial import Goal, Trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from stoop.trainer import Trainer

_SHOWN = 10
_FEWEST, _AT_END, _EDGE = 10, 3, 0.1  # trials, and those of them that say something where they lie so near to an end
_BEFORE, _AFTER = ("number", "state", "value", "epochs", "best_epoch", "seconds"), ("error",)


class SearchResult:
    """The trials of a search.

    ``print(result)`` shows a table of the best.

    Attributes
    ----------
    trials : list of dict
        In the order of their numbers, each with

        - ``"number"``, ``"params"`` (a dict),
        - ``"value"``: the best value of the metric over the epochs of the trial; None for one that failed, or was never
          validated,
        - ``"state"``: "complete"; "pruned" (ended or left behind because others were better); "failed"; "interrupted"
          (cut off by `max_time` or Ctrl-C),
        - ``"epochs"``: how many it was trained for, ``"best_epoch"``: the number of the one that has the value,
        - ``"seconds"``: of training, one thread or more,
        - ``"metrics"``: the losses and metrics of the best epoch by name,
        - ``"error"``: the text of the exception of one that failed, else None.
    histories : list of History or None
        Of each of `trials`; None where nothing was trained.
    best_trial : dict
        The best of those that are complete. Where none is, the best of those that were ended. Of equal ones it is the
        first.
    best_params : dict
    best_value : float
    trainer : Trainer or None
        The one of the best trial: its model has the parameters of the best epoch, its optimizer what it held at the
        last. Where another process has trained that trial, it was trained here again. None where the search was
        interrupted before that.
    metric, mode : str
        What was compared, and "min" or "max".
    space : dict
        As given.
    advice : list of str
        What the trials say of the space; ``print(result)`` says it too.
    stop_reason : str
        "trials": all are done. "max_time", "interrupted": the search was ended before.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        best: Trial,
        goal: Goal,
        space: Mapping[str, Parameter],
        trainer: Trainer | None,
        stop_reason: str,
    ) -> None:
        self.trials: list[dict[str, Any]] = [trial.record(goal) for trial in trials]
        self.histories: list[History | None] = [trial.history for trial in trials]
        self.metric, self.mode = goal.metric, goal.mode
        self.space = dict(space)
        self.trainer = trainer
        self.stop_reason = stop_reason
        self.best_trial = self.trials[trials.index(best)]

    @property
    def best_params(self) -> dict[str, Any]:
        """The parameters of the best trial."""
        return dict(self.best_trial["params"])

    @property
    def best_value(self) -> float:
        """The value of the best trial."""
        return float(self.best_trial["value"])

    def sorted_trials(self) -> list[dict[str, Any]]:
        """Return the trials from the best to the worst, those without a value last."""
        sign = -1.0 if self.mode == "max" else 1.0
        order = {"complete": 0, "pruned": 1, "interrupted": 1}

        def key(trial: Mapping[str, Any]) -> tuple[Any, ...]:
            value = trial["value"]
            known = value is not None
            return not known, order.get(trial["state"], 2), sign * value if known else 0.0, trial["number"]

        return sorted(self.trials, key=key)

    @property
    def advice(self) -> list[str]:
        """What the trials say of the space: ranges at whose end the best three lie, of ten trials or more."""
        complete = [trial for trial in self.sorted_trials() if trial["state"] == "complete"]
        said = []
        for name, parameter in self.space.items():
            places = [parameter.coordinate(trial["params"][name]) for trial in complete]
            if len(complete) < _FEWEST or parameter.count() < _FEWEST or len(set(places)) < _FEWEST:
                continue
            best = places[:_AT_END]
            side = "upper" if min(best) > 1.0 - _EDGE else "lower" if max(best) < _EDGE else None
            if side is not None:
                said.append(
                    f"{name}: the best trials lie at the {side} end of {parameter!r}; a wider range may be better"
                )
        return said

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a line for each trial: number, state, value, epochs, best_epoch, seconds, parameters, metrics, error.

        Numbers are written with all their digits; choices that are neither text nor numbers as Python writes them. The
        metrics have "best_epoch." before their names; a parameter that has one of the other names, "params.".

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        rows = self._rows()
        with Path(file_path("SearchResult.to_csv", path)).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns())
            writer.writeheader()
            writer.writerows(rows)

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame`` with a row for each trial and the columns of `to_csv`; parameters as they are.

        Raises
        ------
        ImportError
            If pandas is not installed; the extra ``stoop[pandas]`` brings it.
        """
        try:
            import pandas as pd
        except ImportError as error:
            hint = "install it with `pip install 'stoop[pandas]'`"
            raise ImportError(
                message("SearchResult.to_pandas", "pandas is missing", "expected it for tables", hint)
            ) from error
        rows = self._rows()
        for row, trial in zip(rows, self.trials):
            row.update({_column(name): value for name, value in trial["params"].items()})
        return pd.DataFrame(rows, columns=self._columns())

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw parallel coordinates: a line for each trial through its parameters, each on its own scale.

        The colour is the value of the metric: dark is better, and the best trial is drawn on top in another colour.
        Trials without a value are left out.

        Parameters
        ----------
        path : path, optional
            Where to write it as PNG (or PDF, SVG by the suffix).

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        return draw_trials(self, path)

    def _columns(self) -> list[str]:
        metrics = dict.fromkeys(f"best_epoch.{name}" for trial in self.trials for name in trial["metrics"])
        return [*_BEFORE, *map(_column, self.space), *metrics, *_AFTER]

    def _rows(self) -> list[dict[str, Any]]:
        rows = []
        for trial in self.trials:
            plain = plain_params(self.space, trial["params"])
            params = {_column(name): value for name, value in plain.items()}
            metrics = {f"best_epoch.{name}": value for name, value in trial["metrics"].items()}
            kept = {name: trial[name] for name in (*_BEFORE, *_AFTER)}
            rows.append({**kept, **params, **metrics})
        return rows

    def __str__(self) -> str:
        names = list(self.space)
        table = [["trial", self.metric, "epochs", *names]]
        for trial in self.sorted_trials()[:_SHOWN]:
            value = "-" if trial["value"] is None else f"{trial['value']:.5g}"
            params = plain_params(self.space, trial["params"])
            cells = [str(trial["number"]), value, str(trial["epochs"]), *(_text(params[name]) for name in names)]
            table.append(cells if trial["state"] == "complete" else [*cells, trial["state"]])
        widths = [max(len(row[place]) for row in table) for place in range(len(table[0]))]
        lines = [[*(f"{cell:>{width}}" for cell, width in zip(row, widths)), *row[len(widths) :]] for row in table]
        return "\n".join([self._head(), *map("  ".join, lines), *self.advice])

    def __repr__(self) -> str:
        params = ", ".join(f"{name}={_text(value)}" for name, value in self.best_params.items())
        return f"SearchResult({len(self.trials)} trials, best {self.metric} {self.best_value:.5g} with {params})"

    def _head(self) -> str:
        states = [trial["state"] for trial in self.trials]
        counts = {state: states.count(state) for state in dict.fromkeys(states)}
        parts = ", ".join(f"{count} {state}" for state, count in counts.items())
        shown = f"the best {min(len(states), _SHOWN)} by {self.metric}"
        return f"{len(states)} trial{'s' * (len(states) != 1)} ({parts}), {shown}"


def _column(name: str) -> str:
    """Return the name of the column of a parameter."""
    return f"params.{name}" if name in (*_BEFORE, *_AFTER) else name


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
