"""A line on a terminal that is drawn anew and wiped again, beside lines that stay; rich gives it colours."""

from __future__ import annotations

import io
from typing import Any

from stoop._console import Console, line_width

_BAR_WIDTH = 24
_STYLES = {"head": "bold", "row": "", "best": "bold green", "bar": "green", "rest": "bright_black", "line": "cyan"}
Parts = list[tuple[str, str]]  # texts with the names of their styles


class LiveLine:
    """Writes to a console: lines that stay and, on a terminal only, one with a bar.

    Parameters
    ----------
    console : Console
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._is_shown = False
        self._rich: Any = None

    def begin(self) -> None:
        """Find out about colours; before that, everything is plain."""
        if self._console.is_terminal and self._console.shows_lines:
            self._rich = _rich_console()

    def draw(self, texts: list[str], part: float) -> None:
        """Draw a bar of this part between the first of the texts and the others, as many as the width has room for."""
        filled = round(part * _BAR_WIDTH)
        full, empty = ("━", "━" if self._rich else "─") if self._console.shows_lines else ("#", "-")
        bar: Parts = [(full * filled, "bar"), (empty * (_BAR_WIDTH - filled), "rest")]
        width = line_width()  # a line that wraps could not be wiped again
        while len(texts) > 2 and _BAR_WIDTH + len(", ".join(texts)) > width:
            texts = texts[:-1]
        line: Parts = [(f"{texts[0]} ", "row"), *bar, (f" {', '.join(texts[1:])}", "line")]
        self._console.write(f"\r{self._styled(line, width)}\x1b[K")
        self._is_shown = True

    def write(self, parts: Parts) -> None:
        """Write a line that stays."""
        self._console.write(f"{self._styled(parts)}\n")

    def wipe(self) -> None:
        """Take the line with the bar away."""
        if self._is_shown:
            self._console.write("\r\x1b[K")
            self._is_shown = False

    def close(self) -> None:
        """Wipe the line, and write out what is buffered."""
        self.wipe()
        self._console.close()

    def _styled(self, parts: Parts, width: int | None = None) -> str:
        if self._rich is None:
            return "".join(text for text, _ in parts)[:width]
        from rich.text import Text

        text = Text.assemble(*((part, _STYLES[name]) for part, name in parts), no_wrap=True)
        if width is not None:
            text.truncate(width)
        with self._rich.capture() as captured:
            self._rich.print(text, end="", soft_wrap=True, highlight=False)
        return str(captured.get())


def _rich_console() -> Any:
    """Return a rich console that makes text and writes none, or None without rich."""
    try:
        from rich.console import Console as RichConsole
    except ImportError:
        return None
    return RichConsole(file=io.StringIO(), force_terminal=True)
