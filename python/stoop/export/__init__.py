"""Trained models for where there is neither Stoop nor Python: `to_c` writes a C header.

What a function needs is imported when it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stoop.export._to_c import to_c

__all__ = ["to_c"]

_MODULES = {"to_c": "_to_c"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"stoop.export.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'stoop.export' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
