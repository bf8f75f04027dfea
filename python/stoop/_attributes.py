"""Attributes: those that would do nothing are refused, names that nobody reads and settings that are fixed."""

from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn

from stoop import _core
from stoop._checks import FloatArray
from stoop._errors import message


def keep_arguments(estimator: object, arguments: Mapping[str, Any]) -> None:
    """Set the arguments of a constructor, its `locals()`, as attributes, as scikit-learn wants them."""
    for name, value in arguments.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)


class Guarded:
    """Base of classes whose public attributes are known. A subclass of a user may add its own."""

    _settable: ClassVar[tuple[str, ...]] = ()
    _hints: ClassVar[Mapping[str, str]] = {}  # by a name that people write: what to do instead

    def __setattr__(self, name: str, value: Any) -> None:
        kind = type(self)
        if not name.startswith("_") and name not in self._settable and kind.__module__.startswith("stoop."):
            _refuse(kind, name)
        object.__setattr__(self, name, value)


def _refuse(kind: type[Guarded], name: str) -> NoReturn:
    where, known = kind.__name__, ", ".join(kind._settable)
    if name in kind._hints or hasattr(kind, name) or not known:
        hint = kind._hints.get(name, f"make a new {where} with another")
        expected = f"expected one of {known}" if known else "expected no attribute to be set"
        raise AttributeError(message(where, f"{name} cannot be set", expected, hint))
    try:
        _core.refuse_name(where, "attribute", name, list(kind._settable))
    except ValueError as error:
        raise AttributeError(str(error)) from None
    raise AssertionError


class Views(dict[str, FloatArray]):
    """Views of live arrays by name. One that is put in place of another would change this dict alone: refused."""

    def __setitem__(self, name: str, value: Any) -> None:
        if value is not self.get(name):  # ``views[name] -= step`` puts back what it has changed in place
            _refuse_entry(name)

    def update(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse."""
        _refuse_entry("update")

    def __ior__(self, _: Any) -> NoReturn:  # type: ignore[misc]
        _refuse_entry("|=")

    def setdefault(self, name: str, _: Any = None) -> NoReturn:
        """Refuse."""
        _refuse_entry(name)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (list(self.items()),)


def _refuse_entry(name: str) -> NoReturn:
    given, expected = f"{name!r} is assigned to what parameters() returned", "expected values within the arrays"
    hint = 'write into one, parameters()["0.weight"][...] = values, or use load_state_dict'
    raise TypeError(message("Model.parameters", given, expected, hint))
