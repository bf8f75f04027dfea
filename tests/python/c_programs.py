"""Exported headers as functions of Python: a shared library of small wrappers, which a compiler of C makes."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

WARNINGS = ("-Wall", "-Wextra", "-pedantic", "-Wconversion", "-Wshadow", "-Wdouble-promotion", "-Werror")

WRAPPER = """#include "{name}.h"
void run_{name}(const float* x, float* out, size_t rows);
void run_{name}(const float* x, float* out, size_t rows) {{
  for (size_t i = 0; i < rows; ++i) {name}_{what}(x + i * {upper}_INPUT_DIM, out + i * {columns});
}}
"""


class Library:
    """The functions `what` (such as "predict") of headers NAME.h in a folder; `columns` is what they write."""

    def __init__(self, folder: Path, columns: Mapping[str, int], what: str = "predict", *options: str) -> None:
        text = "".join(
            WRAPPER.format(name=name, upper=name.upper(), what=what, columns=count) for name, count in columns.items()
        )
        source, library = folder / f"{what}.c", folder / f"lib{what}.so"
        source.write_text(text)
        compile_with(["cc", "-std=c99", "-O1", *options, "-fPIC", "-shared", "-o", library, source, "-lm"])
        self._columns, self._library = columns, ctypes.CDLL(str(library))

    def __call__(self, name: str, X: npt.NDArray) -> npt.NDArray[np.float32]:
        x = np.ascontiguousarray(X, np.float32)
        out = np.empty((len(x), self._columns[name]), np.float32)
        pointers = [array.ctypes.data_as(ctypes.POINTER(ctypes.c_float)) for array in (x, out)]
        getattr(self._library, f"run_{name}")(*pointers, ctypes.c_size_t(len(x)))
        return out


def compile_with(command: Sequence[str | Path], *, warnings: Sequence[str] = WARNINGS) -> None:
    done = subprocess.run([*map(str, command), *warnings], check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[:3000]


def clang() -> str | None:
    """A clang, whatever its version is called."""
    names = ("clang", *(f"clang-{version}" for version in range(11, 23)))
    return next((found for name in names if (found := shutil.which(name))), None)
