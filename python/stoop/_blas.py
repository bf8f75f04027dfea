"""Finds the BLAS library that comes as the package scipy-openblas32 and tells the core where it is.

The package itself is never imported: that would load the library at once, before the core can choose its kernels.
"""

import functools
import importlib.util
from pathlib import Path

from stoop import _core

_PACKAGE = "scipy_openblas32"
_PATTERNS = ("libscipy_openblas*.so*", "libscipy_openblas*.dylib", "*scipy_openblas*.dll")


@functools.cache
def register_blas() -> None:
    """Give the core the path, once per process; it loads the library at the first product that wants it."""
    path = find_library()
    if path is not None:
        _core.set_blas_path(str(path))


def find_library() -> Path | None:
    """Return the library of the installed package, None where there is none."""
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for pattern in _PATTERNS:
            for path in sorted(Path(folder, "lib").glob(pattern)):
                return path
    return None
