"""Write the page of the C interface from the comments of its header.

python docs/c_interface.py    # writes docs/c-interface.md; a test compares the page with what this makes
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

PAGE = Path(__file__).with_name("c-interface.md")
HEADER = PAGE.parents[1] / "cpp" / "include" / "stoop" / "stoop.h"
# A comment with what it describes: declarations up to the next empty line.
DESCRIBED = re.compile(
    r"^/\*(?P<text>(?:[^*]|\*(?!/))*)\*/\n(?P<code>(?:STOOP_C_API|typedef)(?:.|\n)*?)\n\n", re.MULTILINE
)
OPENING = """\
# The C interface

<!-- docs/c_interface.py makes this page from cpp/include/stoop/stoop.h; do not edit it. -->

`#include <stoop/stoop.h>`. [](embedding.md) shows a program and how to build it, [](configurations.md) what JSON may
say.
"""


def plain(comment: str) -> str:
    """Return the words of a comment."""
    return " ".join(re.sub(r"^ \*", "", comment, flags=re.MULTILINE).split())


def lines() -> Iterator[str]:
    """Yield the page."""
    header = HEADER.read_text(encoding="utf-8")
    yield OPENING
    first = re.match(r"/\*((?:[^*]|\*(?!/))*)\*/", header)
    assert first is not None
    for paragraph in re.split(r"\n \*\n", first[1]):
        yield plain(paragraph) + "\n"
    for found in DESCRIBED.finditer(header):
        code = re.sub(r"\bSTOOP_C_API ", "", found["code"])
        name = re.findall(r"\b(stoop_\w+)(?:\(|;)", code)
        yield f"## {', '.join(f'`{one}`' for one in name)}\n"
        yield f"```c\n{code}\n```\n"
        yield plain(found["text"]).replace("{", "`{", 1).replace("}.", "}`.", 1) + "\n"


def page() -> str:
    """Return the text of the page."""
    return "\n".join(lines()).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
