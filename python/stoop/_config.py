"""What layers, losses, optimizers, schedules and initialisers have in common: the core knows each by a name."""

from typing import Any, ClassVar


class Config:
    """Base of the bases of each kind, `Optimizer` for example, which knows its subclasses by their name in the core."""

    type_name: ClassVar[str]
    _known: ClassVar[dict[str, Any]]  # by type_name, one dict for each kind

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        package, _, module = cls.__module__.rpartition(".")
        if module.startswith("_") and package.startswith("stoop."):
            cls.__module__ = package  # where users import it from, and pickle looks for it: files may be split anew
        if Config in cls.__bases__:
            cls._known = {}
        if "type_name" in vars(cls):
            cls._known[cls.type_name] = cls
