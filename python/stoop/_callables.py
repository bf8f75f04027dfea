"""Functions of the user: held without a cycle that Python cannot see, and pickled or refused with a reason."""

import pickle
import sys
import weakref
from collections.abc import Callable
from types import FrameType, FunctionType
from typing import Any

from stoop._errors import message

_BY_VALUE = ("cloudpickle", "dill")  # these take a function by its code


class WeakCall:
    """A bound method as the core holds it: who uses the core keeps its object alive.

    The core would hide a reference from Python's collector, so that a trainer or optimizer whose function refers to it
    would never be freed.
    """

    def __init__(self, method: Callable[[int], float]) -> None:
        self._method = weakref.WeakMethod(method)

    def __call__(self, t: int) -> float:
        """Return ``method(t)``."""
        method = self._method()
        assert method is not None
        return method(t)


def check_picklable(where: str, function: Any) -> None:
    """Refuse a function that pickle will not find again by its module and name, as a lambda.

    Raises
    ------
    PicklingError
        For such a function, unless it is cloudpickle (as in joblib) or dill that pickles.
    """
    if not isinstance(function, FunctionType) or _is_importable(function) or _pickles_by_value():
        return
    given = f"{function.__module__}.{function.__qualname__} is a function that its name does not lead to"
    hint = "define it at the top of a module, or give an object with __call__, or a schedule"
    raise pickle.PicklingError(message(where, given, "expected one that pickle finds again", hint))


def _is_importable(function: FunctionType) -> bool:
    found: Any = sys.modules.get(function.__module__)
    for name in function.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is function


def _pickles_by_value() -> bool:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if any(part in _BY_VALUE for part in frame.f_globals.get("__name__", "").split(".")):
            return True
        frame = frame.f_back
    return False
