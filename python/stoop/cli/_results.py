"""What commands print: text for people, or one JSON object."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np

from stoop._console import say
from stoop._tables import TargetScale
from stoop._tables._messages import count
from stoop.cli._table_data import PARTS, TableData
from stoop.trainer import Trainer

_OF_CLASSES = ("accuracy", "log_loss")


def scores(trainer: Trainer, scale: TargetScale, X: Any, y: Any) -> dict[str, float | None]:
    """Return the metrics of these rows; r2 is None where it is undefined, of rows with the same value."""
    if trainer.loss._spec["takes_classes"] or trainer.loss._spec["takes_labels"]:
        found = trainer.evaluate(X, y, metrics=_OF_CLASSES)
        return {name: float(found[name]) for name in _OF_CLASSES}
    y = np.asarray(y, np.float64)  # float32 would round large values
    errors = scale.values(trainer.model.predict(X)[:, 0]).astype(np.float64) - y
    spread = float(np.sum((y - y.mean()) ** 2))
    r2 = 1.0 - float(np.sum(errors**2)) / spread if spread else None
    return {"rmse": float(np.sqrt(np.mean(errors**2))), "mae": float(np.mean(np.abs(errors))), "r2": r2}


def show(result: dict[str, Any], text: str, *, as_json: bool) -> None:
    """Print one of both to the standard output."""
    say(json.dumps(result, ensure_ascii=False, allow_nan=False) if as_json else text)


def table_of(data: TableData) -> dict[str, Any]:
    """Return what the result says of the table."""
    target = data.state.target
    columns = {column.name: column.kind for column in data.state.encoder.columns}
    return {
        "data": str(data.path),
        "target": target.name,
        "task": target.task,
        "classes": data.state.target.class_names.tolist() if target.classes else None,
        "columns": columns,
        "rows": {part: len(data.parts[part][1]) for part in PARTS},
    }


def describe(data: TableData) -> str:
    """Return a line or two for people."""
    kinds = Counter(column.kind for column in data.state.encoder.columns)
    words = [f"{kinds[kind]} of {plural}" for kind, plural in _KINDS if kinds[kind]]
    target = data.state.target
    what = f"{len(target.classes)} classes" if target.classes else "values"
    sizes = {part: f"{len(data.parts[part][1]):,}" for part in PARTS}
    return (
        f"{data.path.name}: {count(data.rows, 'row')}; {count(kinds.total(), 'column')} ({', '.join(words)}); "
        f'target "{target.name}" ({what}, {target.task})\n'
        f"{sizes['train']} rows train, {sizes['dev']} choose the best epoch, {sizes['test']} test"
    )


_KINDS = (("number", "numbers"), ("category", "categories"))


def score_lines(found: dict[str, dict[str, float | None]]) -> list[str]:
    """Return a table of scores with a row for each part."""
    names = list(next(iter(found.values())))
    width = max(len(name) for name in (*found, "written"))
    lines = [" " * width + "".join(f"{name:>12}" for name in names)]
    for part, row in found.items():
        cells = ("-" if row[name] is None else f"{row[name]:.5g}" for name in names)
        lines.append(f"{part:<{width}}" + "".join(f"{cell:>12}" for cell in cells))
    return lines


def training_text(result: dict[str, Any]) -> str:
    """Return the result of ``stoop train`` or ``stoop search`` for people."""
    files = ", ".join(filter(None, (result["model"], result["report"], result.get("csv"))))
    best = f"best epoch {result['best_epoch']} of {result['epochs']} ({result['stop_reason']})"
    if "trials" in result:
        values = ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                           for name, value in result["best_params"].items())  # fmt: skip
        best = f"the best of {result['trials']} trials: {values}; {best}"
    lines = [f"{best}, {result['seconds']:.1f} s", *score_lines(result["scores"])]
    if result["findings"] is not None:
        lines += findings_lines(result)
    return "\n".join([*lines, f"written {files}"])


def findings_lines(result: dict[str, Any]) -> list[str]:
    """Return what the diagnosis says, in lines."""
    lines = [result["summary"]]
    for place, one in enumerate(result["findings"], 1):
        lines += [f"{place}. {one['fault']}", f"   {one['evidence']}", f"   {one['advice']}"]
    return lines
