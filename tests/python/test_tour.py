"""The tour shows what its script has, and what the script prints; the script does what the tour says."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from helpers import REPOSITORY

PAGE = (REPOSITORY / "docs" / "tour.md").read_text(encoding="utf-8")
SCRIPT = REPOSITORY / "examples" / "tour.py"
KEPT = json.loads((REPOSITORY / "docs" / "images" / "tour.json").read_text(encoding="utf-8"))
DIGITS = os.environ.get("STOOP_DIGITS")  # takes two minutes, so that it is asked for
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```\n", re.DOTALL | re.MULTILINE)
# Of another instruction set: six of the thousand digits, and of one network, which may well be better or worse, more.
NEAR = {"monday": 1.0, "saturday": 0.01, "friday": 0.006}


def blocks(kind: str) -> list[str]:
    return [text for found, text in BLOCK.findall(PAGE) if found == kind]


def as_lines(text: str) -> str:
    """Lines without their indentation and without empty ones."""
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


@pytest.mark.parametrize("code", blocks("python"))
def test_the_code_of_the_page_is_in_the_script(code: str) -> None:
    assert as_lines(code) in as_lines(SCRIPT.read_text(encoding="utf-8"))


@pytest.mark.parametrize("text", blocks("text"))
def test_the_page_shows_what_was_printed(text: str) -> None:
    assert any(text in printed for printed in KEPT["printed"].values())


def test_the_numbers_in_the_text_were_printed() -> None:
    told = re.findall(r"(\d+(?:\.\d+)?) %", BLOCK.sub("", PAGE))
    printed = "".join(KEPT["printed"].values())
    assert told
    for number in told:
        assert f"{number}%" in printed, f"{number} % is in the text of the page, and nothing printed it"


def test_the_week_pays_off() -> None:
    """Augmentation and what else the diagnosis says beat the plain network by three points or more, as one network."""
    errors = KEPT["errors"]
    assert errors["tuesday"]["test"] - errors["sunday"]["test"] >= 0.03
    assert errors["sunday"]["test"] <= 1 - 0.969


@pytest.mark.slow
def test_the_script_does_what_the_page_says(tmp_path: Path) -> None:
    if DIGITS is None:
        pytest.skip("the test digits of MNIST are in no file of the project; STOOP_DIGITS names their folder")
    week = run(tmp_path)
    assert list(week["printed"]) == list(KEPT["printed"])
    for day, kept in KEPT["errors"].items():
        for part in ("dev", "test"):
            assert week["errors"][day][part] == pytest.approx(kept[part], abs=NEAR.get(day, 0.006)), f"{day}, {part}"
    assert week["errors"]["tuesday"]["test"] - week["errors"]["sunday"]["test"] >= 0.03
    drawn = {path.name for path in tmp_path.glob("tour-*.svg")}
    assert drawn == {path.name for path in (REPOSITORY / "docs" / "images").glob("tour-*.svg")}
    assert "<html" in (tmp_path / "digits.html").read_text(encoding="utf-8")


def run(folder: Path) -> dict[str, Any]:
    """What the script writes."""
    spec = importlib.util.spec_from_file_location("tour", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    tour = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tour)
    tour.main(Path(str(DIGITS)), folder)
    return json.loads((folder / "tour.json").read_text(encoding="utf-8"))
