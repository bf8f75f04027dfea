"""Trained models in the formats of others: `to_onnx` writes ONNX files, `from_onnx` reads them, `to_c` writes C.

What a function needs is imported when it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stoop.export.c._to_c import to_c
    from stoop.export.onnx._from_onnx import from_onnx
    from stoop.export.onnx._register import register_skl2onnx
    from stoop.export.onnx._to_onnx import to_onnx

__all__ = ["from_onnx", "register_skl2onnx", "to_c", "to_onnx"]

_MODULES = {
    "from_onnx": "onnx._from_onnx",
    "register_skl2onnx": "onnx._register",
    "to_c": "c._to_c",
    "to_onnx": "onnx._to_onnx",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"stoop.export.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'stoop.export' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
