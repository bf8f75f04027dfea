"""The wording of every message raised from Python: ``[where] what was given; what was expected; what to do.``"""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from stoop import _core

_PACKAGE = str(Path(__file__).parent)


def message(where: str, given: str, expected: str, hint: str) -> str:
    """Join the three parts of a message, in the form that the compiled core uses as well."""
    end = "" if hint.endswith("?") else "."
    return f"[{where}] {given}; {expected}; {hint}{end}"


def refuse_name(where: str, what: str, name: str, valid: Sequence[str]) -> NoReturn:
    """Raise ValueError for a name that is not in `valid`; the core words it and suggests the nearest valid one."""
    _core.refuse_name(where, what, name, list(valid))


def warn(text: str) -> None:
    """Warn with the line of the caller outside the package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, UserWarning, stacklevel=level)
