"""The examples of the documentation run as they are printed, print what stands below them, and draw its pictures.

A block ```text that follows a block ```python is its output. In it `...` stands for what differs from one machine or
instruction set to another, as in doctest; the speed in the table of `fit` needs no such mark.
"""

from __future__ import annotations

import doctest
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from helpers import REPOSITORY

SPEC = importlib.util.spec_from_file_location("pictures", REPOSITORY / "docs" / "pictures.py")
assert SPEC is not None
assert SPEC.loader is not None
pictures = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(pictures)


SPEED = re.compile(r"^( *\d+/\d+ .*?) +[\d,]+$", re.MULTILINE)  # samples/s
# Which no example draws: figures of runs that take long, with their script, and what was drawn by hand.
OTHERS = {
    "overview.svg": "Makefile",
    "overview-dark.svg": "Makefile",
    "ranks.svg": "bench/rank_scaling.py",
    "ranks-dark.svg": "bench/rank_scaling.py",
    "step.svg": None,
}

MEASURED = ("profile.svg",)  # names the machine and its threads


@pytest.mark.parametrize("page", pictures.pages())
def test_the_examples_of(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "example"}
    for code, shown in pictures.examples(page):
        with pictures.reproducible():
            printed = pictures.run(code, names)
        if shown is not None:
            check(page, code, shown, printed)
    for name in pictures.pictures(page):
        drawn = pictures.words(tmp_path / name)
        assert name in MEASURED or drawn == pictures.words(pictures.IMAGES / name), f"{name}: run `make picture`"


def check(page: str, code: str, shown: str, printed: str) -> None:
    want, got = SPEED.sub(r"\1", shown), SPEED.sub(r"\1", printed)
    same = doctest.OutputChecker().check_output(want, got, doctest.ELLIPSIS)
    assert same, f"{page} shows\n{shown}\nfor\n{code}\nwhich prints\n{printed}"


def test_the_quickstart_shows_what_it_prints() -> None:
    blocks = pictures.examples("docs/quickstart.md")
    without = [code for code, shown in blocks if re.search(r"print\(|\.fit\(", code) and not shown]
    without = [code for code in without if "print(" in code or "verbose=0" not in code]
    assert without == []


def test_every_picture_has_a_maker_and_a_page() -> None:
    made = {name: page for page in pictures.pages() for name in pictures.pictures(page)}
    files = {path.name for path in pictures.IMAGES.glob("*.svg")}
    by_hand = {name for name in files if name in OTHERS or name.startswith("tour-")}
    assert files - by_hand == set(made)
    texts = [path.read_text(encoding="utf-8") for path in (REPOSITORY / "docs").glob("*.md")]
    shown = {name for text in texts for name in pictures.SHOWN.findall(text)}
    assert shown == files
    for name, script in OTHERS.items():
        assert script is None or name.split(".")[0] in (REPOSITORY / script).read_text(encoding="utf-8"), name


def test_the_gallery_shows_lines_that_run() -> None:
    """Each section has blocks, then the pictures that they draw on another page."""
    makers = {name: page for page in pictures.pages() for name in pictures.pictures(page)}
    parts = re.split(
        r"^```python\n", (REPOSITORY / "docs" / "gallery.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    shown = set()
    for part in parts[1:]:
        code, after = part.split("```\n", 1)
        names = pictures.SHOWN.findall(after)
        assert names, code
        for name in names:
            lines = "".join(one for one, _ in pictures.examples(makers[name])).splitlines()
            assert set(code.splitlines()) <= set(lines), f"{name}: {makers[name]} has other lines"
        shown.update(names)
    assert shown == set(makers)


def test_a_wrong_output_is_noticed() -> None:
    check("page", "code", "1/20  0.5  ...  12,345\n", "1/20  0.5  0.25  6,789,012\n")
    with pytest.raises(AssertionError, match="page shows"):
        check("page", "code", "1/20  0.5  ...  12,345\n", "1/20  0.6  0.25  12,345\n")
