"""Scores and times of networks and trees on real tables.

    make .venv/stamps/tables .venv/stamps/torch
    .venv/bin/python bench/tables run                                # hours; goes on where it was cut
    .venv/bin/python bench/tables run --quick                        # minutes: small tables, one fold
    .venv/bin/python bench/tables table                              # the tables of docs/measurements/tables.md

`run` keeps each result in --record after each fit. The first fold, whose times are shown, is fitted again where it was
timed on another machine. `run --busy 0.3` also does so where other processes used more than 0.3 cores meanwhile, and
keeps the quieter result.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import report
from engines import ENGINES, REPORTED, Request
from record import Record
from run import run
from sets import CHOOSING, REPORTING, TABLES

ROOT = Path(__file__).resolve().parents[2]
QUICK = ["wine", "penguins", "breast_cancer", "credit", "diabetes"]


def main() -> None:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser("bench/tables", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("action", choices=("run", "table"))
    parser.add_argument("--record", type=Path, default=ROOT / "docs" / "measurements" / "tables.json")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "measurements" / "tables.md")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(REPORTING))
    parser.add_argument("--choosing", action="store_true", help="the tables on which defaults are chosen")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(REPORTED))
    parser.add_argument("--folds", type=int, default=5, help="at most so many of the folds of a table")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--limit", type=float, default=120, help="seconds of a fit, of engines that can stop in time")
    parser.add_argument("--busy", type=float, default=float("inf"), help="cores of others beyond which to time again")
    parser.add_argument("--quick", action="store_true", help="small tables, one fold, at most 20 seconds a fit")
    options = parser.parse_args()
    tables = list(CHOOSING) if options.choosing else options.tables
    if options.quick:
        tables, options.folds, options.limit = QUICK, 1, 20.0
    record = Record(options.record)
    if options.action == "run":
        request = Request("", threads=options.threads, limit=options.limit)
        run(record, tables, options.engines, request, options.folds, options.busy)
    if options.quick or options.choosing:
        print(report.markdown(record, tables))
    else:
        report.write(record, tables, options.page)


if __name__ == "__main__":
    main()
