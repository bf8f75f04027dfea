"""Plain English, as far as a search can tell: phrases that readers stumbled over, and the page that lists the files.

Needs no build and no import of the package.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = REPOSITORY / "cpp" / "src"
ROOMS = sorted(path.name for path in SOURCES.iterdir() if path.is_dir())

# A phrase, and what to write instead.
PHRASES = {
    r"\bway back\b": "backward pass",
    r"^Of (a|an|all|any|each|every|it|its|some|the|these|this|those|what|which)\b": "a sentence with subject and verb",
    r"(?<!hide )\bbehind (it|its|the|a|an|that|this|each|every|all|another|other)\b": "after, for what comes later",
    r"\bworth waking\b": "pays off",
}
# This file has the phrases, and a test of messages may quote an old one.
EXCUSED = {Path(__file__).name}


def comments(path: Path) -> Iterator[str]:
    """Blocks of comment lines, each as one text without the marks; of Python the docstrings' first lines as well."""
    text = path.read_text(encoding="utf-8")
    mark = r"#" if path.suffix == ".py" else r"//"
    for block in re.findall(rf"(?:^[ \t]*{mark}[^\n]*\n)+", text, flags=re.MULTILINE):
        yield " ".join(re.sub(rf"^[ \t]*{mark}+ ?", "", line).strip() for line in block.splitlines())
    if path.suffix == ".py":
        yield from re.findall(r'^[ \t]*"""([^"\n]+)', text, flags=re.MULTILINE)


def commented_files() -> list[Path]:
    folders = ("cpp", "python", "bench", "tests")
    found = [path for folder in folders for path in (REPOSITORY / folder).rglob("*")]
    return sorted(path for path in found if path.suffix in (".cpp", ".hpp", ".py") and path.name not in EXCUSED)


def offences(text: str) -> list[str]:
    return [advice for phrase, advice in PHRASES.items() if re.search(phrase, text)]


def test_comments_are_in_plain_english() -> None:
    found = [
        f"{path.relative_to(REPOSITORY).as_posix()}: {text[:90]!r} -> {', '.join(offences(text))}"
        for path in commented_files()
        for text in comments(path)
        if offences(text)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("Of rows that were read.", False),
        ("Of the rows that were read.", True),
        ("The sums are taken on the way back.", True),
        ("It hides behind large ones.", False),
        ("The barrier behind the step.", True),
        ("Runs after the step. Of course it does.", False),
    ],
)
def test_what_is_found(text: str, wrong: bool) -> None:
    assert bool(offences(text)) == wrong


def test_every_file_of_the_core_is_on_the_page_of_files() -> None:
    page = (REPOSITORY / "docs" / "files.md").read_text(encoding="utf-8")
    parts = re.split(r"^## (?:cpp/include/)?(\w+)$", page, flags=re.MULTILINE)[1:]
    listed = {
        room: set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`[^|]*) \|", text, flags=re.MULTILINE))))
        for room, text in zip(parts[::2], parts[1::2], strict=True)
    }
    folders = {room: SOURCES / room for room in ROOMS} | {"stoop": REPOSITORY / "cpp" / "include" / "stoop"}
    files = {room: {path.name.split(".")[0] for path in folder.iterdir()} for room, folder in folders.items()}
    assert listed == files, "docs/files.md has one line for each file"
