"""The wording of every message raised from Python: ``[where] what was given; what was expected; what to do.``"""

from collections.abc import Sequence
from typing import NoReturn

from stoop import _core


def message(where: str, given: str, expected: str, hint: str) -> str:
    """Join the three parts of a message, in the form that the compiled core uses as well."""
    end = "" if hint.endswith("?") else "."
    return f"[{where}] {given}; {expected}; {hint}{end}"


def refuse_name(where: str, what: str, name: str, valid: Sequence[str]) -> NoReturn:
    """Raise ValueError for a name that is not in `valid`; the core words it and suggests the nearest valid one."""
    _core.refuse_name(where, what, name, list(valid))
