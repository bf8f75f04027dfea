"""The check of the built documentation finds what no page may have, and signatures have values to show."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import stoop
from helpers import REPOSITORY

TOOL = REPOSITORY / "tests" / "tools" / "check_pages.py"
SPEC = importlib.util.spec_from_file_location("check_pages", TOOL)
assert SPEC is not None
assert SPEC.loader is not None
check_pages = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(check_pages)

GOOD = """
<link rel="stylesheet" href="_static/stoop.css"><link rel="canonical" href="https://example.org/a.html">
<script src="_static/mathjax/tex-svg.js"></script><script>let x = "//";</script><img src="images/a.svg">
<a href="https://example.org">a link may be followed</a>
<nav class="bd-docs-nav bd-links"><ul><li><a href="quickstart.html">Quickstart</a></li></ul></nav>
<dt class="sig sig-object py"><span>Trainer</span>(<em>l1=0.0</em>, <em>optimizer=Adam(learning_rate=0.001)</em>)</dt>
"""
BAD = [
    ('<script defer="defer" src="https://cdn.example.org/mathjax.js"></script>', "loads https"),
    ("<script src=//cdn.example.org/mathjax.js></script>", "loads //cdn"),
    ('<link href="https://example.org/a.css" rel="preload stylesheet">', "loads https"),
    ("<style>@import url(https://example.org/font.css);</style>", "loads https"),
    ('<img alt="" src="http://example.org/a.png">', "loads http"),
    ('<nav class="bd-docs-nav bd-links"><p>Section Navigation</p></nav>', "empty side bar"),
    ('<dt class="sig sig-object py">Trainer(<em>optimizer=<span>_DEFAULT_OPTIMIZER</span></em>)</dt>', "no value"),
    ('<dt class="sig">f(x=stoop.trainer._METRICS)</dt>', "no value"),
    ('<dt class="sig">f(x=&lt;object object at 0x7f&gt;)</dt>', "no value"),
]


def test_a_good_page_passes() -> None:
    assert list(check_pages.faults(GOOD)) == []


@pytest.mark.parametrize(("page", "fault"), BAD)
def test_a_fault_is_found(page: str, fault: str) -> None:
    [found] = check_pages.faults(GOOD + page)
    assert fault in found


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<h1 id="top">A</h1><a href="b.html#there">b</a><a class="x" href="#top">top</a>')
    (tmp_path / "b.html").write_text('<section id="there"></section><a href="https://example.org/x#y">elsewhere</a>')
    assert check_pages.main(tmp_path) == 0
    for link in ("c.html", "b.html#gone", "#gone"):
        (tmp_path / "b.html").write_text(f'<section id="there"></section><a href="{link}">x</a>')
        assert check_pages.main(tmp_path) == 1


def callables() -> Iterator[tuple[str, Any]]:
    """Everything public that has a signature, with its public methods."""
    modules = [getattr(stoop, name) for name in stoop.__all__ if inspect.ismodule(getattr(stoop, name))]
    things = [getattr(stoop, name) for name in stoop.__all__]
    for module in modules:
        # Also what a private module defines and a public one offers, such as train_test_split.
        places = (module.__name__, "stoop._")
        things += [thing for thing in vars(module).values() if getattr(thing, "__module__", "").startswith(places)]
    for thing in things:
        if (inspect.isclass(thing) or inspect.isfunction(thing)) and not thing.__name__.startswith("_"):
            yield thing.__qualname__, thing
            for name, method in inspect.getmembers(thing, inspect.isfunction):
                if not name.startswith("_"):
                    yield method.__qualname__, method


def test_defaults_are_shown_as_values() -> None:
    """What `help`, an editor and the reference show for a default is something one could write."""
    found = list(callables())
    assert {"Trainer", "Trainer.fit", "Dense", "train_test_split", "Cosine"} <= {name for name, _ in found}
    for name, thing in found:
        try:
            signature = inspect.signature(thing)
        except ValueError:  # an exception of the core
            continue
        for parameter in signature.parameters.values():
            if parameter.default is not parameter.empty:
                assert not repr(parameter.default).startswith(("<", "_")), f"{name}: {parameter}"
