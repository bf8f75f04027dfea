"""The words of messages about tables. What to do is said in options of the command line, or for an estimator."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from stoop._errors import message

_SHOWN = 5  # names in a message
_LONGEST, _MOST_NAMES = 100, 1000  # characters of a name that a near one is looked for, and names that are looked at


class Problem(NamedTuple):
    """Why a column cannot be used."""

    name: str
    given: str  # goes on after the name of the column
    expected: str
    hint: str = ""  # what to do, whoever asks
    option: str = ""  # another way, by an option of the command line
    argument: str = ""  # another way for the user of an estimator
    can_go: bool = True  # whether leaving the column out is a way


def quoted(names: Sequence[str]) -> str:
    """Return the first names in quotes, and how many more there are."""
    shown = ", ".join(f'"{name}"' for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


def nearest(name: Any, names: Sequence[Any]) -> str | None:
    """Return the name that is most like another, or None. Long ones are left out: all characters are compared."""
    short = [each for each in names[:_MOST_NAMES] if isinstance(each, str) and len(each) <= _LONGEST]
    is_short = isinstance(name, str) and len(name) <= _LONGEST
    return next(iter(get_close_matches(name, short, 1)), None) if is_short else None


def joined(names: Sequence[str]) -> str:
    """Return the names as an option takes them."""
    text = ",".join(names)
    return f'"{text}"' if " " in text or '"' in text else text


def count(number: int, what: str) -> str:
    """Return ``1 row``, ``1,234 rows``."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def first_of(mask: npt.NDArray[np.bool_], column: Any) -> tuple[Any, int]:
    """Return the first cell of the mask, and its row in the file, counted from 1 after the header.

    The index of the column counts the rows of the file from 0; some may have been left out.
    """
    place = int(np.argmax(mask))
    return column.iloc[place], int(column.index[place]) + 1


def refuse(where: str, given: str, expected: str, hint: str) -> NoReturn:
    """Raise ValueError."""
    raise ValueError(message(where, given, expected, hint))


def ways(*hints: str) -> str:
    """Return what to do: one of the hints that are not empty."""
    return ", or ".join(filter(None, hints))


def refuse_columns(where: str, problems: Sequence[Problem]) -> NoReturn:
    """Raise ValueError for all columns that cannot be used, on the command line: one more run is then enough."""
    names = joined([problem.name for problem in problems if problem.can_go])
    if len(problems) == 1:
        [problem] = problems
        drop = f"leave the column out with --drop {names}" if problem.can_go else ""
        hint = ways(problem.hint, problem.option, drop)
        refuse(where, f'column "{problem.name}" {problem.given}', problem.expected, hint)
    lines = [
        f'"{problem.name}" {problem.given} ({ways(problem.hint, problem.option) or "drop it"})' for problem in problems
    ]
    given = f"{count(len(problems), 'column')} cannot be used:\n  " + "\n  ".join(lines)
    hint = f"do what is said beside each, or leave them out with --drop {names}" if names else "correct them"
    refuse(where, given, "expected numbers, true/false or categories in each", hint)


def refuse_for_estimator(where: str, problems: Sequence[Problem]) -> NoReturn:
    """Raise ValueError for the first of the columns that cannot be used, in words that name no option."""
    first = problems[0]
    more = f" ({count(len(problems) - 1, 'more column')} cannot be used either)" if len(problems) > 1 else ""
    hint = ways(first.hint, first.argument, "leave the column out")
    refuse(where, f'column "{first.name}" {first.given}{more}', first.expected, hint)
