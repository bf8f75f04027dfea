"""``stoop predict``: the rows of a table by a model that ``stoop train`` made."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from stoop._config import from_config
from stoop._console import say
from stoop._errors import message
from stoop._tables import TableState, TargetScale, TextFormat, read_table
from stoop._tables._messages import quoted
from stoop.cli import _results
from stoop.cli._options import add_json, add_reading
from stoop.cli._train import beside_until_whole, check_outputs
from stoop.losses import Loss
from stoop.model import Model, load_model
from stoop.trainer import Trainer

_ROWS_OF_TEXT = 4096  # that are text at once
_STDOUT = Path("-")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.description = (
        "Predict the rows of a table by a model that `stoop train` wrote. The columns may be in any order; where the "
        "target is among them, the score is shown too."
    )
    add_model_and_table(parser)
    parser.add_argument(
        "-o", "--output", type=Path, default=_STDOUT, metavar="FILE",
        help="where to write the predictions as CSV (default: -, the standard output)",
    )  # fmt: skip
    parser.add_argument("--proba", action="store_true", help="add a column for each class, with its probability")
    add_json(parser)
    add_reading(parser, of_numbers=False)


def add_model_and_table(parser: argparse.ArgumentParser) -> None:
    """Add the two files, and what to do with what training has not seen."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="file that `stoop train` wrote")
    parser.add_argument("data", type=Path, metavar="DATA", help="table with a header: CSV (.gz too) or Parquet")
    parser.add_argument(
        "--unknown", choices=("error", "ignore"), default="error",
        help="columns, categories and cells that training has not seen: an error, or left out of account",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Predict and write."""
    if options.output != _STDOUT:
        check_outputs({"-o": options.output}, (options.model, options.data))
    model, state = load(options.model)
    frame, X = encoded(model, state, options)
    if options.proba and state.target.task == "regression":
        given = "--proba for a model that predicts values"
        raise ValueError(message("predict", given, "expected one that predicts classes", "leave it out"))
    scale = TargetScale.from_state(state.training["target_scale"])
    predictions = model.predict_labels(X) if state.target.classes else scale.values(model.predict(X))
    probabilities = model.predict_proba(X) if options.proba else None
    result: dict[str, Any] = {
        "command": "predict",
        "model": str(options.model),
        "data": str(options.data),
        "rows": len(frame),
        "output": None if options.output == _STDOUT else str(options.output),
        "scores": _scores(model, state, frame, X),
    }
    if options.output != _STDOUT:
        with beside_until_whole(options.output) as new, new.open("w", encoding="utf-8", newline="") as file:
            _write_to(file, _lines(state, predictions, probabilities))
    elif options.json:
        result["predictions"] = (predictions[:, 0] if predictions.shape[1:] == (1,) else predictions).tolist()
        if probabilities is not None:
            result["probabilities"] = probabilities.tolist()
    else:
        _write_to(sys.stdout, _lines(state, predictions, probabilities))
    text = "\n".join(_results.score_lines({"score": result["scores"]})) if result["scores"] else ""
    if options.json:
        _results.show(result, "", as_json=True)
    elif text:
        say(text, "stderr" if options.output == _STDOUT else "stdout")
    return 0


def load(path: Path) -> tuple[Model, TableState]:
    """Return a model and what it knows of its table.

    Raises
    ------
    OSError, ValueError
        For a file that cannot be read, or is no model of a table.
    """
    model = load_model(path)
    state = TableState.of_model(path.name, model.metadata)
    if state.encoder.width != model.input_dim:
        given = f"its table has {state.encoder.width} encoded columns for {model.input_dim} inputs"
        raise ValueError(message(path.name, given, "expected one for each", "train it again with stoop train"))
    return model, state


def encoded(model: Model, state: TableState, options: argparse.Namespace) -> tuple[Any, Any]:
    """Return the data frame that the options name, and the inputs of its rows."""
    del model
    where, form = options.data.name, reading_format(state, options)
    frame = read_table(options.data, form, state.categories)
    known = (state.target.name, *state.dropped)
    X = state.encoder.transform(frame, where, known=known, ignore=options.unknown == "ignore")
    if names := state.encoder.newly_missing(frame):
        say(f"stoop: note: values are missing that training had in every row: {quoted(names)}", "stderr")
    if names := state.encoder.unknown(frame):
        say(f"stoop: note: there are categories that training has not seen: {quoted(names)}", "stderr")
    return frame, X


def reading_format(state: TableState, options: argparse.Namespace) -> TextFormat:
    """Return how the file is written: numbers as those that the model was trained with."""
    form = state.encoder.form
    return TextFormat(options.separator, form.decimal, form.thousands, form.missing, options.encoding)


def _scores(model: Model, state: TableState, frame: Any, X: Any) -> dict[str, float | None] | None:
    """Return how good the predictions are, if the target is there."""
    name = state.target.name
    if name not in frame.columns or frame[name].isna().all():
        return None
    is_input = name in (column.name for column in state.encoder.columns)
    has_values = state.target.task == "regression" and model.output_dim > 1 and "estimator" in state.training
    if is_input or has_values:  # a column of that name is no target
        return None
    there = ~np.asarray(frame[name].isna(), bool)
    try:
        y = state.target.encode(frame[name][there], "predict", state.encoder.form)
    except ValueError as error:
        say(f"stoop: note: no score: {error}", "stderr")
        return None
    if state.target.classes:
        y = (state.target.class_names if model.classes is None else model.classes)[y]
    loss = from_config(Loss, state.training["loss"])
    return _results.scores(Trainer(model, loss), TargetScale.from_state(state.training["target_scale"]), X[there], y)


# ---- writing ----


def _lines(state: TableState, predictions: Any, probabilities: Any) -> Iterable[list[Any]]:
    columns = predictions.reshape(len(predictions), -1)
    names = ["prediction"] if columns.shape[1] == 1 else [f"prediction {place}" for place in range(columns.shape[1])]
    if probabilities is not None:
        names += [f"probability of {name}" for name in state.target.classes]
    yield names
    for begin in range(0, len(columns), _ROWS_OF_TEXT):
        # As text, float32 has as many digits as tell it from others; NumPy takes 128 bytes for each.
        for row, cells in enumerate(columns[begin : begin + _ROWS_OF_TEXT].astype(str), begin):
            yield [*cells, *(() if probabilities is None else probabilities[row].astype(str))]


def _write_to(stream: TextIO, lines: Iterable[list[Any]]) -> None:
    csv.writer(stream, lineterminator="\n").writerows(lines)
