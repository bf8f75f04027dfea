"""What layers, losses, optimizers, schedules and initialisers have in common: the core knows each by a name.

The core also knows their fields, with defaults, bounds and hints (`_core.specs`): what an object checks follows from
there. The dataclasses are written out all the same, for their docstrings and for type checkers.
"""

import dataclasses
from collections.abc import Callable
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from stoop import _core
from stoop._checks import Bounds, flag, integer, real
from stoop._errors import message, refuse_name

_KINDS = {
    "activation": "activations",
    "initializer": "initializers",
    "layer": "layers",
    "loss": "losses",
    "optimizer": "optimizers",
    "schedule": "schedules",
}
_FOUND = _core.specs()
SPECS: dict[str, dict[str, Any]] = {kind: _FOUND[kinds] for kind, kinds in _KINDS.items()}  # by kind and name

C = TypeVar("C", bound="Config")

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414  exported
else:

    def dataclass(**_):
        """Make a frozen dataclass whose methods but for the constructor are those of `Config`.

        `dataclasses.dataclass` compiles six methods for each class: half of the time of ``import stoop``.
        """

        def make(cls):
            made = dataclasses.dataclass(eq=False, repr=False)(cls)
            made._names = tuple(field.name for field in dataclasses.fields(made))
            made.__dataclass_params__.frozen = "type_name" in vars(made)  # for what derives from it
            return made

        return make


class Config:
    """Base of frozen dataclasses that the core reads as JSON, ``{"type": type_name, field: value, ...}``.

    A subclass with `kind` is the base of that kind, and knows its subclasses by name. One with a `type_name` is what
    the core has under that name: its fields are checked when an object is made, and kept as float, int or bool.
    """

    type_name: ClassVar[str]
    _kinds: ClassVar[dict[str, Any]] = {}  # the base of each kind
    _kind: ClassVar[str]
    _known: ClassVar[dict[str, Any]]  # of the kind, by type_name
    _spec: ClassVar[dict[str, Any]]  # of this type
    _example: ClassVar[str]  # how an object of the kind is given
    _names: ClassVar[tuple[str, ...]]  # of the fields

    def __init_subclass__(cls, kind: str = "") -> None:
        super().__init_subclass__()
        package, _, module = cls.__module__.rpartition(".")
        if module.startswith("_") and package.startswith("stoop."):
            cls.__module__ = package  # where users import it from, and pickle looks for it: files may be split anew
        if kind:
            cls._kind, cls._known = kind, {}
            Config._kinds[kind] = cls
        if "type_name" not in vars(cls):
            return
        cls._spec = SPECS[cls._kind][cls.type_name]
        for base in cls.__mro__:
            if "_known" in vars(base):
                base._known[cls.type_name] = cls  # type: ignore[attr-defined]

    def __post_init__(self) -> None:
        where = type(self).__name__
        for name, spec in self._spec["fields"].items():
            if spec["type"] in _CHECKS:  # others, such as layers and schedules, are for the subclass to check
                self._set(name, checked(where, name, getattr(self, name), spec))

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse, but for the constructor, and for attributes that a subclass of a user adds."""
        added = name not in self._names and "type_name" not in vars(type(self))
        if not added and (name not in self._names or name in vars(self)):
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        if name in self._names or "type_name" in vars(type(self)):
            raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
        object.__delattr__(self, name)

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self._names)

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    @recursive_repr()
    def __repr__(self) -> str:
        values = zip(self._names, self._values())
        return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in values)})"

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def to_config(self) -> Any:
        """Return ``{"type": name, ...}``, the form that the core reads and a model file has."""
        values = {name: plain(value) for name, value in zip(self._names, self._values())}
        return {"type": self.type_name, **values}


def class_named(kind: type[C], name: str) -> type[C]:
    """Return the class of that name; ValueError, with the nearest name, if there is none."""
    if name not in kind._known:
        refuse_name(kind._kind, kind._kind, str(name), list(SPECS[kind._kind]))
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
        hint = f"give an object, {value.__name__}()"
    expected = f"expected a name or an object of {kind.__module__}"
    raise TypeError(message(where, f"{kind._kind} is {value!r}", expected, hint))


def from_config(kind: type[C], config: Any) -> C:
    """Return the object whose `to_config` is `config`, a name or a dict with "type"."""
    if isinstance(config, str):
        return class_named(kind, config)()
    fields = {name: value for name, value in config.items() if name != "type"}
    return class_named(kind, config["type"])(**{name: _built(value) for name, value in fields.items()})


def _built(value: Any) -> Any:
    """Return a field: what has a type is a schedule, the only kind that others hold."""
    if isinstance(value, list):
        return tuple(_built(element) for element in value)
    if not isinstance(value, dict):
        return value
    return from_config(Config._kinds["schedule"], value)


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
    return None if spec["optional"] and value is None else _CHECKS[spec["type"]](where, name, value, spec)


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
