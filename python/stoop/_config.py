"""What layers, losses, optimizers, schedules and initialisers have in common: the core knows each by a name.

The core also knows their fields, with defaults, bounds and hints (`_core.specs`): what an object checks follows from
there. The dataclasses are written out all the same, for their docstrings and for type checkers.
"""

from collections.abc import Callable
from dataclasses import fields
from typing import Any, ClassVar, TypeVar

from stoop import _core
from stoop._checks import Bounds, flag, integer, real
from stoop._errors import message, refuse_name

SPECS: dict[str, dict[str, Any]] = _core.specs()  # by kind in the plural, then by name

C = TypeVar("C", bound="Config")


class Config:
    """Base of frozen dataclasses that the core reads as JSON, ``{"type": type_name, field: value, ...}``.

    A subclass with `kind` is the base of that kind, and knows its subclasses by name. One with a `type_name` is what
    the core has under that name: its fields are checked when an object is made, and kept as float, int or bool.
    """

    type_name: ClassVar[str]
    _kind: ClassVar[str]
    _known: ClassVar[dict[str, Any]]  # of the kind, by type_name
    _spec: ClassVar[dict[str, Any]]  # of this type
    _example: ClassVar[str]  # how an object of the kind is given

    def __init_subclass__(cls, kind: str = "") -> None:
        super().__init_subclass__()
        package, _, module = cls.__module__.rpartition(".")
        if module.startswith("_") and package.startswith("stoop."):
            cls.__module__ = package  # where users import it from, and pickle looks for it: files may be split anew
        if kind:
            cls._kind, cls._known = kind, {}
        if "type_name" not in vars(cls):
            return
        cls._spec = SPECS[f"{cls._kind}s"][cls.type_name]
        for base in cls.__mro__:
            if "_known" in vars(base):
                base._known[cls.type_name] = cls  # type: ignore[attr-defined]

    def __post_init__(self) -> None:
        where = type(self).__name__
        for name, spec in self._spec["fields"].items():
            if spec["type"] in _CHECKS:  # others, such as layers and schedules, are for the subclass to check
                self._set(name, checked(where, name, getattr(self, name), spec))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def to_config(self) -> Any:
        """Return ``{"type": name, ...}``, the form that the core reads and a model file has."""
        values = {field.name: plain(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]
        return {"type": self.type_name, **values}


def class_named(kind: type[C], name: str) -> type[C]:
    """Return the class of that name; ValueError, with the nearest name, if there is none."""
    if name not in kind._known:
        refuse_name(kind._kind, kind._kind, str(name), list(SPECS[f"{kind._kind}s"]))
    found: type[C] = kind._known[name]
    return found


def as_config(kind: type[C], where: str, value: object) -> C:
    """Return what a name (with its defaults) or an object means.

    Raises
    ------
    ValueError
        For an unknown name; the nearest is suggested.
    TypeError
        For anything else.
    """
    if isinstance(value, str):
        return class_named(kind, value)()
    if isinstance(value, kind):
        return value
    hint = f"for example {kind._example}"
    if isinstance(value, type) and issubclass(value, kind):
        hint = f"give an object, {value.__name__}(...)"
    expected = f"expected a name or an object of {kind.__module__}"
    raise TypeError(message(where, f"{kind._kind} is {value!r}", expected, hint))


def plain(value: Any) -> Any:
    """Return the form that the core reads of a field."""
    if isinstance(value, Config):
        return value.to_config()
    return [plain(element) for element in value] if isinstance(value, tuple) else value


def checked(where: str, name: str, value: Any, spec: dict[str, Any]) -> Any:
    """Return a number, flag or name as the spec of its field wants it; None where the field may be left out.

    Raises
    ------
    ValueError, TypeError
        For a value outside its bounds, or of another kind.
    """
    optional = spec["default"] is None and not spec["required"]
    return None if optional and value is None else _CHECKS[spec["type"]](where, name, value, spec)


def _integer(where: str, name: str, value: Any, spec: dict[str, Any]) -> int:
    high = spec["high"]
    return integer(where, name, value, int(spec["low"]), 2**63 - 1 if high is None else int(high), hint=spec["hint"])


def bounds_of(spec: dict[str, Any]) -> Bounds:
    """Return the bounds of a number."""
    low, high = (float("inf") if spec[name] is None else spec[name] for name in ("low", "high"))
    return Bounds(-low if spec["low"] is None else low, high, spec["without_low"], spec["without_high"])


def _real(where: str, name: str, value: Any, spec: dict[str, Any]) -> float:
    return real(where, name, value, bounds_of(spec), spec["hint"])


def _choice(where: str, name: str, value: Any, spec: dict[str, Any]) -> str:
    if not isinstance(value, str):
        expected = f"expected one of {', '.join(spec['choices'])}"
        raise TypeError(message(where, f"{name} is {value!r}", expected, "give a name"))
    if value not in spec["choices"]:
        refuse_name(where, name, value, spec["choices"])
    return value


_CHECKS: dict[str, Callable[[str, str, Any, dict[str, Any]], Any]] = {
    "float": _real,
    "int": _integer,
    "bool": lambda where, name, value, _: flag(where, name, value),
    "choice": _choice,
}
