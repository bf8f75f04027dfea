"""``stoop diagnose``: how good a model is on a table, what is wrong with it, and what to do next."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stoop._config import from_config
from stoop._errors import message, refuse_name
from stoop._tables import TableState, TargetScale, read_table
from stoop.cli import _results
from stoop.cli._options import add_json, add_reading
from stoop.cli._predict import add_model_and_table, load, reading_format
from stoop.cli._report import diagnosis, result_of
from stoop.cli._table_data import Part, fingerprint, slices_of, split_rows
from stoop.cli._table_model import filled
from stoop.cli._train import add_report, check_outputs
from stoop.losses import Loss
from stoop.model import Model
from stoop.optimizers import Optimizer
from stoop.trainer import Trainer

if TYPE_CHECKING:
    from stoop.diagnose import ErrorAnalysis


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.description = (
        "Evaluate a model that `stoop train` wrote on a table with the target. With the table that it was trained "
        "with, split as it was then, or with --train, the diagnosis says what is wrong and what to do next."
    )
    add_model_and_table(parser)
    parser.add_argument(
        "--train", type=Path, metavar="FILE",
        help="the table that the model was trained with, if DATA is another: DATA is then its test part",
    )  # fmt: skip
    add_report(parser)
    add_json(parser)
    add_reading(parser, of_numbers=False)


def run(options: argparse.Namespace) -> int:
    """Evaluate and diagnose."""
    check_outputs({"--report": options.report}, (options.model, options.data, options.train))
    model, state = load(options.model)
    if "estimator" in state.training:
        given = "a model that stoop.tabular made"
        raise ValueError(message(options.model.name, given, "expected one of stoop train", "use stoop.diagnose"))
    trainer, scale = _trainer(model, state)
    table = _Table(state, options, options.data)
    home = table if options.train is None else _Table(state, options, options.train)
    rows = home.split()
    result: dict[str, Any] = {
        "command": "diagnose",
        "model": str(options.model),
        "data": str(options.data),
        "target": state.target.name,
        "task": state.target.task,
    }
    if rows is None:
        return _evaluate(trainer, scale, table, result, options)
    parts = {name: home.part(part) for name, part in rows.items()}
    if home is not table:
        parts["test"] = table.part(slice(None))
    result["rows"] = {name: len(part[1]) for name, part in parts.items()}
    result["scores"] = {name: _results.scores(trainer, scale, *part) for name, part in parts.items() if len(part[1])}
    scale.redo(model)
    title = f"{state.target.name} by {home.path.name}"
    slices = slices_of(home.frame, state.encoder, rows["dev"])
    result |= result_of(diagnosis(trainer, parts, scale, slices, options.target_error), options.report, title)
    lines = [*_results.score_lines(result["scores"]), *_results.findings_lines(result)]
    _results.show(result, "\n".join(lines), as_json=options.json)
    return 0


def _trainer(model: Model, state: TableState) -> tuple[Trainer, TargetScale]:
    """Return a trainer with the settings of then."""
    settings = state.training
    loss, optimizer = from_config(Loss, settings["loss"]), from_config(Optimizer, settings["optimizer"])
    return Trainer(model, loss, optimizer, l2=settings["l2"]), TargetScale.from_state(settings["target_scale"])


class _Table:
    """A table with the target."""

    def __init__(self, state: TableState, options: argparse.Namespace, path: Path) -> None:
        where, form, target = path.name, reading_format(state, options), state.target
        frame = read_table(path, form, state.categories)
        if target.name not in frame.columns:
            refuse_name(where, "column", target.name, [str(name) for name in frame.columns])
        frame = frame[~np.asarray(frame[target.name].isna(), bool)]
        if len(frame) == 0:
            given = f'target "{target.name}" has no values'
            raise ValueError(message(where, given, "expected some", "use stoop predict for rows without"))
        self.path = path
        self.frame = frame
        self._state = state
        self._y = target.encode(frame[target.name], where, form)
        ignore, known = options.unknown == "ignore", (target.name, *state.dropped)
        self._X = state.encoder.transform(frame, where, known=known, ignore=True)
        self._is_home = fingerprint(self._X, self._y) == state.training["table"]
        if not (self._is_home or ignore):  # refuses what training has not seen, but in its own dev and test parts
            state.encoder.transform(frame, where, known=known)

    def split(self) -> dict[str, Any] | None:
        """Return the row numbers of the parts, or None for another table than that of training."""
        settings = self._state.training
        if not self._is_home:
            return None
        return split_rows(self._y, self._state.target, argparse.Namespace(**settings))

    def part(self, rows: Any) -> Part:
        """Return inputs, and labels or values, of these rows."""
        y, target = self._y[rows], self._state.target
        return self._X[rows], target.class_names[y] if target.classes else y


def _evaluate(
    trainer: Trainer, scale: TargetScale, table: _Table, result: dict[str, Any], options: argparse.Namespace
) -> int:
    """Tell how good the model is on a table that it was not trained with."""
    from stoop.diagnose import errors

    if options.report is not None or options.train is not None:
        path = options.data if options.train is None else options.train
        given, expected = f"{path} is not the table that the model was trained with", "expected it"
        hint = "name it with --train: the diagnosis compares the errors of training with those of other rows"
        raise ValueError(message("diagnose", given, expected, hint))
    X, y = table.part(slice(None))
    result["rows"] = {"test": len(y)}
    result["scores"] = {"test": _results.scores(trainer, scale, X, y)}
    result |= {"summary": None, "findings": None, "report": None}
    analysis: ErrorAnalysis = errors(trainer, filled(trainer.model, X), scale.scaled(y) if scale.is_wide else y)
    unit = ["the values below are deviations from the mean of the target"] if scale.is_wide else []
    lines = [*_results.score_lines(result["scores"]), "", *unit, str(analysis), "", "--train FILE adds the diagnosis"]
    _results.show(result, "\n".join(lines), as_json=options.json)
    return 0
