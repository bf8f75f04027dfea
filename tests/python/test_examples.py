"""The examples of the documentation run as they are printed, and print what stands below them.

A block ```text that follows a block ```python is its output. In it `...` stands for what differs from one machine or
instruction set to another, as in doctest; the speed in the table of `fit` needs no such mark.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers import REPOSITORY

PAGES = ("README.md", "docs/index.md", "docs/quickstart.md", "docs/callbacks.md", "docs/checkpoints.md")
PAGES += ("docs/custom-loops.md", "docs/metrics.md", "docs/profiling.md", "docs/api/second-order.md")
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```\n(\s*)", re.DOTALL | re.MULTILINE)
SPEED = re.compile(r"^( *\d+/\d+ .*?) +[\d,]+$", re.MULTILINE)  # samples/s

PAGES += ("docs/loggers.md", "docs/many-models.md", "docs/ensembles.md", "docs/many-machines.md")


def examples(page: str) -> Iterator[tuple[str, str | None]]:
    """Each block of Python with its output, None where the page shows none."""
    found = list(BLOCK.finditer((REPOSITORY / page).read_text(encoding="utf-8")))
    for block, after in zip(found, [*found[1:], None], strict=True):
        if block[1] == "python":
            follows = after is not None and after[1] == "text" and after.start() == block.end()
            yield block[2], after[2] if after is not None and follows else None


def run(code: str, names: dict[str, Any]) -> str:
    """What it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, names)
    return printed.getvalue()


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "example"}
    blocks = list(examples(page))
    assert blocks, f"{page} has no ```python block"
    for code, shown in blocks:
        printed = run(code, names)
        if shown is not None:
            check(page, code, shown, printed)


def check(page: str, code: str, shown: str, printed: str) -> None:
    want, got = SPEED.sub(r"\1", shown), SPEED.sub(r"\1", printed)
    same = doctest.OutputChecker().check_output(want, got, doctest.ELLIPSIS)
    assert same, f"{page} shows\n{shown}\nfor\n{code}\nwhich prints\n{printed}"


def test_the_quickstart_shows_what_it_prints() -> None:
    without = [
        code for code, shown in examples("docs/quickstart.md") if re.search(r"print\(|\.fit\(", code) and not shown
    ]
    without = [code for code in without if "print(" in code or "verbose=0" not in code]
    assert without == []


def test_a_wrong_output_is_noticed() -> None:
    check("page", "code", "1/20  0.5  ...  12,345\n", "1/20  0.5  0.25  6,789,012\n")
    with pytest.raises(AssertionError, match="page shows"):
        check("page", "code", "1/20  0.5  ...  12,345\n", "1/20  0.6  0.25  12,345\n")
