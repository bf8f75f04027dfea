"""Formulas by a MathJax that lies beside the pages: they are read without a network, and look the same everywhere.

It comes from the package sphinx-mathjax-offline, whose own extension copies 23 MB. One file of 2 MB is enough: it draws
glyphs as SVG, so that it needs no fonts.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sphinx.errors import ExtensionError
from sphinx.util.fileutil import copy_asset

SCRIPT = "tex-svg.js"


def setup(app: Any) -> dict[str, bool]:
    """Point Sphinx to the copy, without MathJax's menu, whose entries would load other files."""
    app.setup_extension("sphinx.ext.mathjax")
    app.config.mathjax_path = f"mathjax/{SCRIPT}"
    app.config.mathjax3_config = {"options": {"enableMenu": False}}
    app.connect("build-finished", _copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _copy(app: Any, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    package = find_spec("sphinx-mathjax-offline")
    if package is None or package.origin is None:
        raise ExtensionError("MathJax is missing; install sphinx-mathjax-offline, as `make docs` does")
    copy_asset(Path(package.origin).parent / "static" / "mathjax" / SCRIPT, Path(app.outdir) / "_static" / "mathjax")
