"""``stoop search``: the network and the settings that predict a table best."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stoop._console import say
from stoop._errors import message, refuse_name
from stoop._tables import TargetScale
from stoop.callbacks import EarlyStopping
from stoop.cli import _results
from stoop.cli._options import add_json, add_reading, add_training, positive_integer
from stoop.cli._table_data import prepare
from stoop.cli._table_model import Recipe, hidden_units, make_trainer, target_scale
from stoop.cli._train import INTERRUPTED, add_output, beside_until_whole, check_outputs, finish
from stoop.trainer import Trainer

_SPACE: dict[str, Any] = {
    "learning_rate": {"log_uniform": [3e-4, 2e-2]},
    "units": {"log_integers": [16, 256]},
    "depth": {"integers": [1, 3]},
    "dropout": {"uniform": [0.0, 0.5]},
    "l2": {"log_uniform": [1e-6, 1e-2]},
    "batch_size": {"choice": [32, 64, 128]},
}
_NAMES = (*_SPACE, "activation")
_KINDS = ("uniform", "log_uniform", "one_minus_log_uniform", "integers", "log_integers", "choice")
_PATIENCE = 15


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.description = (
        "Train many networks with a table, each with other units, learning rate and so on, and keep the one that "
        "predicts the dev part best. Ctrl-C ends it with the best so far."
    )
    add_training(parser)
    add_output(parser)
    group = parser.add_argument_group("the search")
    group.add_argument("--trials", type=positive_integer, default=32, metavar="N", help="(default: %(default)s)")
    group.add_argument(
        "--method", choices=("random", "coarse_to_fine", "halving", "optuna"), default="random",
        help="how trials are chosen (default: %(default)s)",
    )  # fmt: skip
    group.add_argument("--space", type=Path, metavar="FILE", help="JSON with the ranges of parameters")
    group.add_argument(
        "--epochs", type=positive_integer, default=100, metavar="N", help="of a trial, at most (default: %(default)s)"
    )
    group.add_argument("--max-time", metavar="TIME", help="ends the search, such as 90 (seconds) or 1h30m")
    group.add_argument("--storage", metavar="FILE", help="keeps the trials: the same command goes on from there")
    group.add_argument("--csv", type=Path, metavar="FILE", help="write all trials as CSV")
    add_json(parser)
    add_reading(parser, of_numbers=True)


def run(options: argparse.Namespace) -> int:
    """Search, test the best, write it."""
    from stoop import search

    started = time.perf_counter()
    outputs = {"-o": options.output, "--report": options.report, "--csv": options.csv}
    storage = None if options.storage is None or "://" in options.storage else Path(options.storage)
    check_outputs(outputs, (options.data, options.space, storage))
    space = _space(options.space)
    data = prepare(options)
    for note in data.notes:
        say(f"stoop: note: {note}", "stderr")
    say(_results.describe(data), "stderr")

    def build(params: dict[str, Any]) -> Trainer:
        return make_trainer(data, _recipe(params, len(data.parts["train"][0])), options.seed, None)

    (X, y), (X_dev, y_dev) = data.parts["train"], data.parts["dev"]
    scale = target_scale(data, build({}))
    metric = "val_log_loss" if data.is_classification else "val_rmse"  # not the loss, which has the penalty of l2 in it
    with contextlib.redirect_stdout(sys.stderr):  # progress is no result
        found = search.run(
            build, space, X, scale.scaled(y), validation_data=(X_dev, scale.scaled(y_dev)), trials=options.trials,
            method=options.method, epochs=options.epochs, seed=options.seed, max_time=options.max_time,
            storage=options.storage, num_threads=options.threads, batch_size=Recipe().batch(len(X)),
            metric=metric, callbacks=lambda _: [EarlyStopping(metric, patience=_PATIENCE, restore_best=False)],
        )  # fmt: skip
    _in_unit(found.trials, scale)
    say(str(found), "stderr")
    if options.csv is not None:
        with beside_until_whole(options.csv) as new:
            found.to_csv(new)
    interrupted = found.stop_reason == "interrupted"
    if found.trainer is None:
        say("stoop: interrupted before a trial was complete: no model is written", "stderr")
        return INTERRUPTED
    best = found.best_trial
    result: dict[str, Any] = {"command": "search", "model": None, **_results.table_of(data)}
    result |= {
        "trials": len(found.trials),
        "best_params": best["params"],
        "best_value": found.best_value,
        "epochs": best["epochs"],
        "best_epoch": best["best_epoch"],
        "stop_reason": found.stop_reason,
        "csv": None if options.csv is None else str(options.csv),
        "notes": data.notes,
    }
    return finish(found.trainer, data, result, options, interrupted=interrupted, started=started)


def _in_unit(trials: Sequence[dict[str, Any]], scale: TargetScale) -> None:
    """Bring what was measured in deviations of the target to its unit."""
    for trial in trials:
        if trial["value"] is not None:
            trial["value"] *= scale.deviation
        for name in ("rmse", "val_rmse"):
            if name in trial["metrics"]:
                trial["metrics"][name] *= scale.deviation


def _recipe(params: Mapping[str, Any], rows: int) -> Recipe:
    """Return what the parameters of a trial mean; those that are not there are left to the size of the table."""
    hidden = None
    if "units" in params or "depth" in params:
        hidden = (params.get("units", hidden_units(rows)[0]),) * params.get("depth", 1)
    return Recipe(
        hidden=hidden,
        dropout=params.get("dropout", 0.0),
        activation=params.get("activation", "relu"),
        trainer={"l2": params["l2"]} if "l2" in params else None,
        learning_rate=params.get("learning_rate"),
    )


def _space(path: Path | None) -> dict[str, Any]:
    """Return the parameters that a file describes, ``{"units": {"log_integers": [16, 256]}, "l2": 1e-4}``."""
    from stoop import search

    given = _SPACE if path is None else _read(path)
    space = {}
    for name, range_ in given.items():
        if name not in _NAMES:
            refuse_name("--space", "parameter", name, _NAMES)
        if not isinstance(range_, dict):
            space[name] = search.choice([range_])
            continue
        if len(range_) != 1:
            expected = 'expected one kind, {"uniform": [0.0, 0.5]}'
            raise ValueError(message("--space", f"{name} is {range_!r}", expected, f"one of {', '.join(_KINDS)}"))
        [(kind, values)] = range_.items()
        if kind not in _KINDS:
            refuse_name("--space", f"kind of {name}", kind, _KINDS)
        try:
            made = search.choice(values) if kind == "choice" else getattr(search, kind)(*values)
        except TypeError as error:
            raise ValueError(message("--space", f"{name}: {error}", "expected [low, high]", "correct it")) from error
        space[name] = made
    return space


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        hint = 'write {"units": {"log_integers": [16, 256]}}'
        raise ValueError(message(path.name, f"it is no JSON ({error})", "expected an object", hint)) from None
    if not isinstance(found, dict) or not found:
        hint = 'write {"units": {"log_integers": [16, 256]}}'
        raise ValueError(message(path.name, "it has no parameters", "expected a JSON object", hint))
    return found
