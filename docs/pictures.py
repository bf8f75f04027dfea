"""Run the examples of the documentation, and keep the pictures that they draw.

    python docs/pictures.py [PAGE ...]    # `make picture` draws those of every page

A picture that a page shows as `images/NAME.svg` is the file `NAME.svg` which an example on that page writes. Those of
the tour are drawn by `examples/tour.py`. The tests run the same examples, and compare the words in what they draw with
those in the committed files.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```\n(\s*)", re.DOTALL | re.MULTILINE)
SHOWN = re.compile(r"\bimages/([\w-]+\.svg)")
# mpi.md needs several processes; tour.md shows lines of examples/tour.py, and gallery.md lines of other pages.
NOT_RUN = ("docs/mpi.md", "docs/tour.md", "docs/gallery.md")


def pages() -> list[str]:
    """Every page with examples that run by themselves, as a path from the root."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    names = [path.relative_to(ROOT).as_posix() for path in found if "_build" not in path.parts]
    return [name for name in names if name not in NOT_RUN and list(examples(name))]


def examples(page: str) -> Iterator[tuple[str, str | None]]:
    """Each block of Python with its output, None where the page shows none."""
    found = list(BLOCK.finditer((ROOT / page).read_text(encoding="utf-8")))
    for block, after in zip_longest(found, found[1:]):
        if block[1] == "python":
            follows = after is not None and after[1] == "text" and after.start() == block.end()
            yield block[2], after[2] if after is not None and follows else None


def run(code: str, names: dict[str, Any]) -> str:
    """Return what the code prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, names)
    return printed.getvalue()


def pictures(page: str) -> list[str]:
    """Return the names of the pictures that the page shows and its examples write."""
    code = "".join(code for code, _ in examples(page))
    shown = SHOWN.findall((ROOT / page).read_text(encoding="utf-8"))
    return [name for name in dict.fromkeys(shown) if f'"{name}"' in code]


def words(picture: Path) -> set[str]:
    """Return the texts in a picture that Matplotlib drew, without their digits: figures depend on the machine."""
    texts = re.findall(r"<text[^>]*>(.*?)</text>", picture.read_text(encoding="utf-8"), re.DOTALL)
    plain = (" ".join(re.sub(r"[−\d.,]+", "0", re.sub(r"<[^>]*>", "", text)).split()) for text in texts)
    return {text for text in plain if re.search(r"[a-z]", text)}


@contextlib.contextmanager
def reproducible() -> Iterator[None]:
    """Let Matplotlib write text as text, no random name and no date: a file changes only where its picture does."""
    import matplotlib as mpl

    os.environ["SOURCE_DATE_EPOCH"] = "0"
    with mpl.rc_context({"svg.hashsalt": "stoop", "svg.fonttype": "none", "font.family": "sans-serif"}):
        yield


def main(chosen: list[str]) -> int:
    """Draw the pictures of these pages, or of all."""
    for page in chosen or pages():
        wanted = pictures(page)
        if not wanted:
            continue
        with tempfile.TemporaryDirectory() as folder, reproducible():
            os.chdir(folder)
            names: dict[str, Any] = {"__name__": "example"}
            for code, _ in examples(page):
                run(code, names)
            for name in wanted:
                shutil.copyfile(name, IMAGES / name)
            os.chdir(ROOT)
        sys.stdout.write(f"{page}: {', '.join(wanted)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
