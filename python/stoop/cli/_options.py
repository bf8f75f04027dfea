"""Kinds of values that options take, and the options that several commands have."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stoop._tables import TextFormat


def positive_integer(text: str) -> int:
    """Return an integer >= 1."""
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer >= 1")
    return int(text)


def seed(text: str) -> int:
    """Return an integer >= 0 of 64 bits."""
    if not (text.isascii() and text.isdigit()) or int(text) >= 2**64:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer from 0 to 2**64-1")
    return int(text)


def positive_number(text: str) -> float:
    """Return a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def share(text: str) -> float:
    """Return a number in (0, 1)."""
    value = positive_number(text)
    if value >= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share of the rows, such as 0.2")
    return value


def share_or_none(text: str) -> float:
    """Return a number in [0, 1)."""
    return 0.0 if text.strip("0.") == "" and "0" in text else share(text)


def names(text: str) -> tuple[str, ...]:
    """Return names that are separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def columns_of(given: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Return the names in texts that separate them by commas; a known name may have commas itself."""
    found = []
    for text in given:
        parts, begin = text.split(","), 0
        while begin < len(parts):
            ends = range(len(parts), begin, -1)
            end = next((end for end in ends if ",".join(parts[begin:end]).strip() in known), begin + 1)
            found.append(",".join(parts[begin:end]).strip())
            begin = end
    return tuple(name for name in found if name)


def widths(text: str) -> tuple[int, ...]:
    """Return numbers of units that are separated by commas."""
    found = tuple(positive_integer(part) for part in names(text))
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} has no number of units, such as 128,64")
    return found


def character(text: str) -> str:
    r"""Return one character; ``\t`` and "tab" are a tab."""
    text = {"\\t": "\t", "tab": "\t"}.get(text, text)
    if len(text) != 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not one character")
    return text


# ---- of several commands ----


def add_training(parser: argparse.ArgumentParser) -> None:
    """Add what tells a command how to make a table ready for training."""
    parser.add_argument("data", type=Path, metavar="DATA", help="table with a header: CSV (.gz too) or Parquet")
    parser.add_argument("--target", required=True, metavar="COLUMN", help="what to predict")
    parser.add_argument(
        "--task", choices=("auto", "classification", "regression"), default="auto",
        help="auto: classes where the target is text, true/false or at most 10 different whole numbers, else values",
    )  # fmt: skip
    parser.add_argument("--drop", action="append", default=[], metavar="COLUMN,...", help="columns to leave out")
    parser.add_argument(
        "--category", action="append", default=[], metavar="COLUMN,...", help="columns of numbers that name categories"
    )
    parser.add_argument(
        "--max-categories", type=positive_integer, metavar="N",
        help="keep the N most frequent categories of a column and join the others (default: over 255 are an error)",
    )  # fmt: skip
    parser.add_argument(
        "--test-size", type=share_or_none, default=0.2, metavar="SHARE",
        help="of the rows, to test with; 0: none (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--dev-size", type=share, default=0.15, metavar="SHARE",
        help="of the rows, to choose the best epoch with (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of split and network (default: 0)")
    parser.add_argument("--threads", type=positive_integer, metavar="N", help="(default: what the work is worth)")


def add_reading(parser: argparse.ArgumentParser, *, of_numbers: bool) -> None:
    """Add how a text file is written; a model remembers how numbers are."""
    group = parser.add_argument_group("how a text file is written")
    group.add_argument("--separator", type=character, metavar="C", help="between cells (default: found in the header)")
    group.add_argument("--encoding", default="utf-8", metavar="NAME", help="(default: %(default)s)")
    if of_numbers:
        group.add_argument("--decimal", type=character, default=".", metavar="C", help="(default: a point)")
        group.add_argument("--thousands", type=character, default=None, metavar="C", help="(default: none)")
        group.add_argument(
            "--missing", type=names, default=(), metavar="TEXT,...",
            help='cells that stand for a missing value, beside empty ones, "NA", "NaN", "null" and the like',
        )  # fmt: skip


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def text_format(options: argparse.Namespace) -> "TextFormat":
    """Return what the options of `add_reading` say."""
    from stoop._tables import TextFormat

    return TextFormat(
        separator=options.separator,
        decimal=options.decimal,
        thousands=options.thousands or "",
        missing=options.missing,
        encoding=options.encoding,
    )
