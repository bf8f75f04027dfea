"""Markdown of a record: scores, ranks and times."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from engines import TITLES
from record import Record
from scores import MAIN
from scores import TITLES as SCORES
from sets import TABLES

MARKS = ("<!-- written by bench/tables -->", "<!-- end of what it wrote -->")
SECOND = {"regression": "rmse", "binary": "log_loss", "classes": "log_loss"}  # less is better
LEVEL = 0.001  # a difference of main scores that one fold cannot tell

Scores = dict[str, np.ndarray[Any, Any]]  # of each engine, by fold


def write(record: Record, tables: list[str], page: Path) -> None:
    """Replace what stands between the marks of the page."""
    text = page.read_text()
    between = re.compile(f"{re.escape(MARKS[0])}.*{re.escape(MARKS[1])}", re.DOTALL)
    page.write_text(between.sub(lambda _: f"{MARKS[0]}\n\n{markdown(record, tables)}\n\n{MARKS[1]}", text))


def markdown(record: Record, tables: list[str]) -> str:
    """Return all tables; an engine counts where it has all the folds that others have."""
    engines = [name for name in TITLES if any(record.folds(table, name) for table in tables)]
    tables = [table for table in tables if len(_main(record, table, engines)) > 1]
    blocks = [_scores(record, tables, engines), _ranks(record, tables, engines), _times(record, tables, engines)]
    return "\n\n".join(blocks)


def _get(record: Record, table: str, engines: list[str], name: str) -> Scores:
    found = {engine: record.folds(table, engine) for engine in engines}
    most = max((len(folds) for folds in found.values()), default=0)
    return {
        engine: np.array([result[name] for _, result in sorted(folds.items())])
        for engine, folds in found.items()
        if folds and len(folds) == most
    }


def _main(record: Record, table: str, engines: list[str]) -> Scores:
    return _get(record, table, engines, MAIN[TABLES[table].task])


def _scores(record: Record, tables: list[str], engines: list[str]) -> str:
    lines = _head(["table", "rows", "columns", "score", "folds", *(TITLES[engine] for engine in engines)], 4)
    for table in tables:
        X, y = TABLES[table].read()
        found = _main(record, table, engines)
        folds = len(next(iter(found.values())))
        best = max(float(each.mean()) for each in found.values())
        cells = [_score(found[engine], best) if engine in found else "" for engine in engines]
        categories = X.select_dtypes("category").shape[1]
        missing = ", gaps" if X.isna().any(axis=None) else ""
        columns = f"{X.shape[1]}" + (f" ({categories} categories{missing})" if categories or missing else "")
        score = SCORES[MAIN[TABLES[table].task]]
        lines.append(_row([table, f"{len(y):,}", columns, score, str(folds), *cells]))
    return "\n".join(lines)


def _score(values: Any, best: float) -> str:
    mean = float(values.mean())
    text = f"{mean:.4f}" if len(values) == 1 else f"{mean:.4f} ± {values.std():.4f}"
    return f"**{text}**" if mean == best else text


def _ranks(record: Record, tables: list[str], engines: list[str]) -> str:
    """Return mean ranks by both scores, and on how many tables the first engine is ahead, level or worse."""
    first = engines[0]
    lines = _head(["", "mean rank", "by log loss or RMSE", f"{TITLES[first]}: ahead on", "level on", "worse on"])
    main = {table: _main(record, table, engines) for table in tables}
    second = {table: _get(record, table, engines, SECOND[TABLES[table].task]) for table in tables}
    for engine in engines:
        rank = _mean_rank([{e: -s.mean() for e, s in main[table].items()} for table in tables], engine)
        rank_2 = _mean_rank([{e: s.mean() for e, s in second[table].items()} for table in tables], engine)
        verdicts = [_verdict(main[t][first], main[t][engine]) for t in tables if {first, engine} <= main[t].keys()]
        counts = ["", "", ""] if engine == first else [str(verdicts.count(each)) for each in (1, 0, -1)]
        lines.append(_row([TITLES[engine], rank, rank_2, *counts]))
    return "\n".join(lines)


def _mean_rank(losses: list[dict[str, Any]], engine: str) -> str:
    ranks = [1 + sum(other < loss[engine] for other in loss.values()) for loss in losses if engine in loss]
    return f"{np.mean(ranks):.2f}" if ranks else ""


def _verdict(ours: Any, theirs: Any) -> int:
    """Return 1 or -1, or 0 where the folds do not tell: the mean difference is within its standard error."""
    differences = ours - theirs
    error = LEVEL if len(differences) == 1 else float(differences.std(ddof=1)) / len(differences) ** 0.5
    mean = float(differences.mean())
    return 0 if abs(mean) <= error else int(np.sign(mean))


def _times(record: Record, tables: list[str], engines: list[str]) -> str:
    """Return times of the first fold: seconds to fit, microseconds a test row, milliseconds of one row alone."""
    lines = _head(["table", *(TITLES[engine] for engine in engines)])
    firsts = [record.get(table, engine, 0) for table in tables for engine in engines]
    usual, _ = Counter(each["machine"] for each in firsts if each is not None).most_common(1)[0]
    for table in tables:
        cells = []
        for engine in engines:
            result = record.get(table, engine, 0)
            if result is None:
                cells.append("")
                continue
            many = 1e6 * result["predict"] / (result["rows"] / 4)
            signs = "*" * (result["others"] > 0.3) + "†" * (result["machine"] != usual)
            cells.append(f"{_seconds(result['fit'])}{signs} · {many:.2g} · {1e3 * result['row']:.2g}")
        lines.append(_row([table, *cells]))
    return "\n".join(lines)


def _seconds(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _head(names: list[str], left: int = 1) -> list[str]:
    return [_row(names), _row(["---" if column < left else "--:" for column in range(len(names))])]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
