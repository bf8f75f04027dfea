"""``stoop train``: a network from a table."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stoop._console import say
from stoop._errors import message
from stoop.cli import _results
from stoop.cli._options import (
    add_json,
    add_reading,
    add_training,
    positive_integer,
    positive_number,
    share_or_none,
    widths,
)
from stoop.cli._report import diagnosis, result_of
from stoop.cli._table_data import TableData, prepare
from stoop.cli._table_model import EPOCHS, Recipe, callbacks, make_trainer, silence_unseen, target_scale
from stoop.trainer import Trainer

INTERRUPTED = 130


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.description = (
        "Train a network to predict one column of a table from the others, test it with rows that it has not seen, and "
        "write it to a file that knows the columns."
    )
    add_training(parser)
    add_output(parser)
    add_network(parser)
    add_json(parser)
    add_reading(parser, of_numbers=True)


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add where model and report go."""
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="where to write the model")
    add_report(parser)


def add_report(parser: argparse.ArgumentParser) -> None:
    """Add ``--report``."""
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the diagnosis as an HTML page with pictures")
    parser.add_argument(
        "--target-error", type=share_or_none, default=0.0, metavar="SHARE",
        help="the error that is possible, for the diagnosis: a share of the rows, or 1 - R2 of values (default: 0)",
    )  # fmt: skip


def add_network(parser: argparse.ArgumentParser) -> None:
    """Add what network it is and how it learns."""
    group = parser.add_argument_group("the network and its training (default: what suits the number of rows)")
    group.add_argument("--model", type=Path, metavar="FILE", help="JSON with layers and settings of the trainer")
    group.add_argument("--hidden", type=widths, metavar="N,...", help="units of the hidden layers, such as 128,64")
    group.add_argument("--epochs", type=positive_integer, metavar="N", help=f"at most (default: {EPOCHS})")
    group.add_argument("--batch-size", type=positive_integer, metavar="N", help="rows of an update")
    group.add_argument("--learning-rate", type=positive_number, metavar="RATE", help="(default: 0.001, of Adam)")


def run(options: argparse.Namespace) -> int:
    """Train, test, write."""
    started = time.perf_counter()
    check_outputs({"-o": options.output, "--report": options.report}, (options.data, options.model))
    recipe = Recipe.of(options)
    data = prepare(options)
    for note in data.notes:
        say(f"stoop: note: {note}", "stderr")
    say(_results.describe(data), "stderr")
    trainer = make_trainer(data, recipe, options.seed, options.threads)
    say(f"{trainer.model}\n", "stderr")
    best, interrupted = fit(trainer, data, recipe)
    if interrupted and best is None:
        say("stoop: interrupted before the first epoch was complete: nothing is written", "stderr")
        return INTERRUPTED
    result: dict[str, Any] = {"command": "train", "model": None, **_results.table_of(data)}
    result |= {
        "epochs": len(trainer.history.epochs),
        "best_epoch": best,
        "stop_reason": trainer.history.stop_reason,
        "notes": data.notes,
    }
    return finish(trainer, data, result, options, interrupted=interrupted, started=started)


def fit(trainer: Trainer, data: TableData, recipe: Recipe) -> tuple[int | None, bool]:
    """Train; return the best epoch, whose parameters the model then has, and whether Ctrl-C ended it."""
    (X, y), (X_dev, y_dev) = data.parts["train"], data.parts["dev"]
    scale = target_scale(data, trainer)
    stopping, *others = callbacks()
    interrupted = False
    try:
        with contextlib.redirect_stdout(sys.stderr):  # the table of epochs is progress, not a result
            trainer.fit(
                X,
                scale.scaled(y),
                epochs=recipe.epochs or EPOCHS,
                batch_size=recipe.batch(len(X)),
                validation_data=(X_dev, scale.scaled(y_dev)),
                metrics=("accuracy",) if data.is_classification else ("r2",),
                callbacks=[stopping, *others],
            )
    except KeyboardInterrupt:
        interrupted = True
    return stopping.best_epoch, interrupted


def finish(
    trainer: Trainer,
    data: TableData,
    result: dict[str, Any],
    options: argparse.Namespace,
    *,
    interrupted: bool,
    started: float,
) -> int:
    """Write model and report of a trained network, and print `result` with what is added to it; return the status."""
    scale = target_scale(data, trainer)
    silence_unseen(trainer.model, data.state.encoder, data.parts["train"][0])
    wants_report = options.report is not None and not interrupted
    report = diagnosis(trainer, data.parts, scale, data.slices, options.target_error) if wants_report else None
    scale.undo(trainer.model)
    output = beside(options.output) if interrupted and options.output.exists() else options.output
    trainer.model.save(output)
    result["model"] = str(output)
    result["scores"] = {
        part: _results.scores(trainer, scale, *rows) for part, rows in data.parts.items() if len(rows[1])
    }
    result |= {"summary": None, "findings": None, "report": None}
    if report is not None:
        result |= result_of(report, options.report, f"{result['target']} by {options.data.name}")
    result["seconds"] = round(time.perf_counter() - started, 3)
    if interrupted:
        no_report = "" if options.report is None else "; no report is written"
        say(f"stoop: interrupted; the best model so far is in {output}{no_report}", "stderr")
    _results.show(result, _results.training_text(result), as_json=options.json)
    return INTERRUPTED if interrupted else 0


def beside(path: Path) -> Path:
    """Return where the model of a run that was interrupted goes, so that one of a whole run stays."""
    return path.with_name(f"{path.stem}.interrupted{path.suffix}")


@contextlib.contextmanager
def beside_until_whole(path: Path) -> Iterator[Path]:
    """Give a file beside `path` to write, and put it in its place: what was there stays until all is written."""
    new = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield new
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def check_outputs(outputs: Mapping[str, Path | None], inputs: Sequence[Path | None]) -> None:
    """Find out before the work whether its results can be written, and overwrite nothing that the command reads.

    Raises
    ------
    ValueError
        For a path that cannot be written, or is that of an input or of another output.
    """
    taken = {path.resolve(): "reads" for path in inputs if path is not None}
    for option, path in outputs.items():
        if path is None:
            continue
        _check_writable(option, path)
        place = next((known for known in taken if _is_same(known, path)), None)
        if place is not None:
            given = f"{option} is {path}, which the command {taken[place]} as well"
            raise ValueError(message("stoop", given, "expected a file of its own", "name another"))
        taken[path.resolve()] = "writes"


def _is_same(known: Path, path: Path) -> bool:
    return known.samefile(path) if known.exists() and path.exists() else known == path.resolve()


def _check_writable(option: str, path: Path) -> None:
    given: str | None = None
    if path.is_dir():
        given = f"{option} is the folder {path}"
    elif path.exists() and not path.is_file():
        given = f"{option} is {path}, which is no regular file"
    elif not path.parent.is_dir():
        given = f"{option} is {path}, whose folder is not there"
    elif not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        given = f"{option} is {path}, which cannot be written"
    if given is not None:
        raise ValueError(message("stoop", given, "expected a file to write", "name another"))
