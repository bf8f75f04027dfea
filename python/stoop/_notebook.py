"""The table of epochs in a notebook: one output that is drawn anew, as HTML, with text for what shows none."""

from __future__ import annotations

import sys
import time
from html import escape
from typing import Any

from stoop._rows import BEST, Rows

_SHOWN = 30  # rows: of a long fit the newest, and the best
_SECONDS = 0.1  # between two drawings: each goes over the network
_BAR = (
    '<div style="width:16em;height:.5em;background:#8884;display:inline-block">'
    '<div style="width:{:.1%};height:100%;background:#15803d"></div></div> '
)


class NotebookTable:
    """Draws rows into one output of a notebook."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._handle: Any = None
        self._drawn = 0.0
        self._is_behind = False  # something has not been drawn yet

    def draw(self, status: str, part: float | None = None) -> None:
        """Draw the table, unless it was drawn just now; `status` comes below it, `part` as a bar."""
        now = time.perf_counter()
        self._is_behind = True
        if self._handle is None or now - self._drawn >= _SECONDS:
            self._drawn = now
            self._show(status, part)

    def close(self) -> None:
        """Draw it for the last time, without the status."""
        if self._handle is not None or self._is_behind:
            self._show("", None)

    def _show(self, status: str, part: float | None) -> None:
        from IPython.display import display

        self._is_behind = False
        drawn = Drawn(*_drawn(self._rows, status, part))
        if self._handle is None:
            self._handle = display(drawn, display_id=True)
        else:
            self._handle.update(drawn)


class Drawn:
    """What a notebook displays: HTML, or text where it shows none."""

    def __init__(self, html: str, text: str) -> None:
        self._html, self._text = html, text

    def _repr_html_(self) -> str:
        return self._html

    def __repr__(self) -> str:
        return self._text


def _drawn(rows: Rows, status: str, part: float | None) -> tuple[str, str]:
    """Return HTML and text."""
    count = len(rows.history.epochs)
    shown = list(range(max(count - _SHOWN, 0), count))
    if rows.best is not None and rows.best not in shown:
        shown.insert(0, rows.best)
    heads = "".join(f"<th>{escape(label)}</th>" for label in rows.labels())
    html = [f"<table><thead><tr>{heads}</tr></thead><tbody>"]
    text = [rows.heading()]
    for row in shown:
        epoch, values = rows.cells(row)
        best = row == rows.best
        cells = "".join(f"<td>{escape(value)}</td>" for value in values)
        style = ' style="font-weight:bold;color:#15803d" title="best so far"' if best else ""
        html.append(f"<tr{style}><td>{epoch}{f' {BEST}' * best}</td>{cells}</tr>")
        text.append(rows.line(row) + f" {BEST}" * best)
    html.append("</tbody></table>")
    if part is not None:
        html.append(_BAR.format(part))
    if status:
        html.append(f"<small>{escape(status)}</small>")
        text.append(status)
    return "".join(html), "\n".join(text)


def in_notebook() -> bool:
    """Return whether the standard output is that of a notebook's kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel") and "kernel" in type(sys.stdout).__module__
