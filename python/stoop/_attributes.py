"""Attributes that would do nothing are refused: names that nobody reads, and settings that are fixed."""

from collections.abc import Mapping
from typing import Any, ClassVar

from stoop import _core
from stoop._errors import message


class Guarded:
    """Base of classes whose public attributes are known. A subclass of a user may add its own."""

    _settable: ClassVar[tuple[str, ...]] = ()
    _hints: ClassVar[Mapping[str, str]] = {}  # by a name that people write: what to do instead

    def __setattr__(self, name: str, value: Any) -> None:
        kind = type(self)
        if not name.startswith("_") and name not in self._settable and kind.__module__.startswith("stoop."):
            _refuse(kind, name)
        object.__setattr__(self, name, value)


def _refuse(kind: type[Guarded], name: str) -> None:
    where, known = kind.__name__, ", ".join(kind._settable)
    if name in kind._hints or hasattr(kind, name):
        hint = kind._hints.get(name, f"make a new {where} with another")
        raise AttributeError(message(where, f"{name} cannot be set", f"expected one of {known}", hint))
    try:
        _core.refuse_name(where, "attribute", name, list(kind._settable))
    except ValueError as error:
        raise AttributeError(str(error)) from None
