"""Makes a table ready for training: which rows and columns are used, how rows are split, what each column becomes."""

from __future__ import annotations

import argparse
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._errors import message, refuse_name
from stoop._tables import CategoryColumn, NumberColumn, TableEncoder, TableState, Target, TextFormat, read_table
from stoop._tables._messages import quoted
from stoop._tables._text import names_to_learn, numbers_of, truths_of
from stoop.cli._options import columns_of, text_format
from stoop.data import train_test_split

PARTS = ("train", "dev", "test")
_FEWEST_ROWS = 10
_MOST_DEV_ROWS = 20_000  # more would not choose an epoch any better

Part = tuple[npt.NDArray[Any], npt.NDArray[Any]]


@dataclass
class TableData:
    """A table that was made ready."""

    path: Path
    state: TableState
    parts: dict[str, Part]  # X, and labels or values, of "train", "dev" and "test"
    rows: int  # of the file
    slices: dict[str, npt.NDArray[Any]]  # the categories of each row of the dev part, by column
    notes: list[str] = field(default_factory=list)  # what the user should know

    @property
    def is_classification(self) -> bool:
        """Whether the target is classes."""
        return self.state.target.task == "classification"


def prepare(options: argparse.Namespace) -> TableData:
    """Read the table that the options name.

    Raises
    ------
    OSError, ValueError, ImportError
        For a table that cannot be read, or nothing can be learnt of.
    """
    form, where = text_format(options), options.data.name
    frame = read_table(options.data, form)
    columns = [str(name) for name in frame.columns]
    dropped, categories = columns_of(options.drop, columns), columns_of(options.category, columns)
    _check_columns(where, columns, options.target, dropped, categories)
    rows, notes = len(frame), []
    absent = np.asarray(frame[options.target].isna(), bool)
    if absent.any() and not absent.all():
        notes.append(f'{absent.sum():,} of {rows:,} rows are left out: target "{options.target}" is missing there')
        frame = frame[~absent]  # whose index still counts the rows of the file
    target = Target.fit(frame[options.target], where, options.task, form)
    if len(frame) < _FEWEST_ROWS:
        given, expected = f"{len(frame)} rows with a target", f"expected at least {_FEWEST_ROWS}"
        raise ValueError(message(where, given, expected, "give more rows: some train, some choose, some test"))
    indices = target.encode(frame[options.target], where, form)
    split = split_rows(indices, target, options)
    features = frame.drop(columns=[options.target, *dropped])
    encoder = TableEncoder(form, categories=categories, max_categories=options.max_categories)
    encoder.fit(features, where, split["train"])
    notes += _notes(features, form, encoder) + _notes_of_split(features, encoder, target, indices, split)
    X = encoder.transform(features, where, ignore=True)  # categories of the other parts, which training must not see
    y = target.class_names[indices] if target.task == "classification" else indices
    training = {"test_size": options.test_size, "dev_size": options.dev_size, "seed": options.seed}
    training["table"] = fingerprint(X, indices)
    state = TableState(encoder, target, dropped, training)
    parts = {name: (X[part], y[part]) for name, part in split.items()}
    return TableData(options.data, state, parts, rows, slices_of(features, encoder, split["dev"]), notes)


def fingerprint(X: npt.NDArray[Any], y: npt.NDArray[Any]) -> int:
    """Return a number that tells one table from another."""
    return zlib.crc32(np.ascontiguousarray(y).tobytes(), zlib.crc32(np.ascontiguousarray(X).tobytes()))


def slices_of(features: Any, encoder: TableEncoder, rows: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """Return what errors are grouped by: columns of categories and truth values."""
    found = {}
    for column in encoder.columns:
        is_number = isinstance(column, NumberColumn) and not column.is_boolean
        if not is_number:
            found[column.name] = names_to_learn(features[column.name].iloc[rows]).fillna("(missing)").to_numpy(str)
    return found


def _check_columns(
    where: str, names: list[str], target: str, dropped: tuple[str, ...], categories: tuple[str, ...]
) -> None:
    if len(names) == 1:
        given = f'one column, "{names[0]}"'
        hint = "if cells are cut by something else than a comma, semicolon, tab or bar, give --separator"
        raise ValueError(message(where, given, "expected the target and at least one more", hint))
    for name in (target, *dropped, *categories):
        if name not in names:
            refuse_name(where, "column", name, names)
    if target in dropped:
        given = f'target "{target}" is among the columns of --drop'
        raise ValueError(message(where, given, "expected another", "take it out of --drop"))
    if not set(names) - {target, *dropped}:
        given, hint = "no column is left beside the target", "name fewer in --drop"
        raise ValueError(message(where, given, "expected at least one to learn from", hint))


def split_rows(y: npt.NDArray[Any], target: Target, options: argparse.Namespace) -> dict[str, npt.NDArray[np.int64]]:
    """Return the row numbers of each part, with every class in proportion where there are enough rows."""
    rows = np.arange(len(y))
    kept, test = rows, rows[:0]
    if options.test_size:
        kept, test = _cut(rows, y, max(round(options.test_size * len(y)), 1), target, options.seed)
    n_dev = min(max(round(options.dev_size * len(y)), 1), _MOST_DEV_ROWS)
    if n_dev >= len(kept):
        given = f"--test-size {options.test_size} and --dev-size {options.dev_size} of {len(y)} rows"
        raise ValueError(message("train", given, "expected some rows to train with", "give smaller shares"))
    train, dev = _cut(kept, y, n_dev, target, options.seed)
    return {"train": train, "dev": dev, "test": test}


def _cut(rows: npt.NDArray[Any], y: npt.NDArray[Any], size: int, target: Target, seed: int) -> tuple[Any, Any]:
    stratify = None
    if target.task == "classification":
        sizes = np.bincount(y[rows])
        sizes = sizes[sizes > 0]
        if sizes.min() >= 2 and len(sizes) <= min(size, len(rows) - size):
            stratify = y[rows]
    first, second, *_ = train_test_split(rows, rows, test_size=size, seed=seed, stratify=stratify)
    return np.sort(first), np.sort(second)


def _notes(features: Any, form: TextFormat, encoder: TableEncoder) -> list[str]:
    """Return what is odd about columns that are used all the same."""
    notes = []
    for column in encoder.columns:
        if not isinstance(column, NumberColumn):
            continue
        values = (truths_of(features[column.name]) if column.is_boolean else numbers_of(features[column.name], form))[0]
        if not column.has_missing and np.ptp(values) == 0.0:
            notes.append(f'column "{column.name}" is the same in every row: it tells nothing')
        if len(values) > 2 and (np.diff(values) == 1.0).all():
            notes.append(f'column "{column.name}" counts the rows; --drop "{column.name}" unless that is a measurement')
    return notes


def _notes_of_split(
    features: Any, encoder: TableEncoder, target: Target, y: npt.NDArray[Any], split: dict[str, npt.NDArray[np.int64]]
) -> list[str]:
    """Return what some parts of the rows have, and others do not."""
    notes = []
    for column in encoder.columns:
        cells = features[column.name]
        if isinstance(column, CategoryColumn) and not column.has_other and len(unseen := column.unseen(cells)):
            words = "is" if len(unseen) == 1 else "are"
            what = "1 category" if len(unseen) == 1 else f"{len(unseen):,} categories"
            notes.append(
                f'column "{column.name}" has {what} that {words} in no row of the training part, and taken for none of '
                f"the known: {quoted(unseen)}"
            )
    for part, rows in split.items():
        absent = [name for place, name in enumerate(target.classes) if len(rows) and place not in set(y[rows].tolist())]
        if absent:
            notes.append(f'the {part} part has no row of {quoted(absent)} of "{target.name}"')
    return notes
