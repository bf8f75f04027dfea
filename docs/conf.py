"""Sphinx configuration. `make docs` builds with warnings as errors."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "Stoop"
author = "the Stoop developers"
copyright = author
release = version = installed_version("stoop")

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "local_mathjax",
]
exclude_patterns = ["_build"]
default_role = "py:obj"  # `Model.predict` in a docstring becomes a link where it names something documented

myst_enable_extensions = ["attrs_block", "dollarmath"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # the docstrings say it in words
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # each page lists its members itself
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "pydata_sphinx_theme"
html_title = "Stoop"
html_static_path = ["_static"]
html_css_files = ["stoop.css"]
html_show_sourcelink = False
html_show_sphinx = False
html_sidebars = {page: [] for page in ("index", "search", "genindex", "py-modindex")}  # which are in no section
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "navbar_end": ["theme-switcher"],
    "footer_start": [],
    "footer_end": [],
}
