"""What no page of the built documentation may have: `make docs` runs this after Sphinx.

    python tests/tools/check_pages.py docs/_build/html

A page is read without a network, its links lead to pages and headings that exist, its side bar names its section, and
its signatures show values.
"""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Iterator
from pathlib import Path

# What a browser loads by itself; a link that the reader may follow is no such thing.
LOADED = re.compile(
    r"""<(?:script|img|iframe|source|object|embed|video)\b[^>]*?\b(?:src|srcset|data)=["']?([^"'\s>]+)"""
)
LINKED = re.compile(r"<link\b[^>]*>")
RELATION = re.compile(r"""\brel=["']?([\w -]+)""")
TARGET = re.compile(r"""\bhref=["']?([^"'\s>]+)""")
STYLE = re.compile(r"""(?:@import\s+|url\()["']?((?:https?:)?//[^"')\s]+)""")
REMOTE = re.compile(r"(?:https?:)?//")
SIGNATURE = re.compile(r'<dt class="sig\b[^>]*>(.*?)</dt>', re.DOTALL)
SIDEBAR = re.compile(r'<nav class="bd-docs-nav\b.*?</nav>', re.DOTALL)
NAMED = re.compile(r"""<[a-z][^>]*\bid=["']([^"']+)["']""")
ANCHOR = re.compile(r"""<a\b[^>]*\bhref=["']([^"'?]+)["']""")
SCHEME = re.compile(r"[a-z]+:")
# A private name or the address of an object in place of a default value.
NO_VALUE = re.compile(r"=\s*(?:_\w|<|[\w.]+\._\w)")


def faults(text: str) -> Iterator[str]:
    """What is wrong with one page."""
    loaded = LOADED.findall(text) + STYLE.findall(text)
    for link in LINKED.findall(text):
        relation, target = RELATION.search(link), TARGET.search(link)
        if target and relation and {"stylesheet", "preload", "icon", "modulepreload"} & set(relation[1].split()):
            loaded.append(target[1])
    yield from (f"loads {target} from the network" for target in loaded if REMOTE.match(target))
    for found in SIGNATURE.findall(text):
        signature = " ".join(html.unescape(re.sub(r"<[^>]+>", "", found)).split())
        if NO_VALUE.search(signature):
            yield f"shows no value in the signature {signature}"
    yield from ("has an empty side bar" for found in SIDEBAR.findall(text) if "<a " not in found)


def broken_links(pages: dict[Path, str]) -> Iterator[str]:
    """Links to pages or headings that do not exist."""
    names = {path.resolve(): set(NAMED.findall(text)) for path, text in pages.items()}
    for path, text in pages.items():
        for link in sorted(set(ANCHOR.findall(text))):
            if SCHEME.match(link):
                continue
            file, _, heading = html.unescape(link).partition("#")
            target = (path.parent / file).resolve() if file else path.resolve()
            missing = heading and target in names and heading not in names[target]
            if missing or not target.exists():
                yield f"{path}: links to {link}, which does not exist"


def main(folder: Path) -> int:
    """Print each fault with its page; 1 if there is one."""
    pages = {
        path: path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.html")) if "_static" not in path.parts
    }
    styles = [path for path in folder.rglob("*.css") if STYLE.search(path.read_text(encoding="utf-8"))]
    found = [f"{path}: {fault}" for path, text in pages.items() for fault in faults(text)]
    found += broken_links(pages)
    found += [f"{path}: loads from the network" for path in styles]
    if not pages:
        found.append(f"{folder}: holds no page")
    sys.stdout.write("".join(f"{fault}\n" for fault in found))
    return int(bool(found))


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
