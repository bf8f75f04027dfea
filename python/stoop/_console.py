"""Output to streams that may be anything: None in a program without a console, a logger's object, a closed file.

What the stream lacks is done without, and a character that its encoding lacks is written as an escape. `say` is like
`print` otherwise; a `Console` falls silent if writing fails, because training must not end for the sake of its table.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import Any

_STREAM_ERRORS = (OSError, ValueError, AttributeError, TypeError, NotImplementedError, RuntimeError)
_USUAL_WIDTH = 80


def say(text: str, stream: str = "stdout") -> None:
    """Write a line to ``sys.stdout``, or to ``sys.stderr`` for "stderr"; nothing where there is none."""
    target = getattr(sys, stream)
    _write(target, f"{text}\n")
    _flush(target)


class Console:
    """A stream to write a table and a live line to.

    Parameters
    ----------
    stream : file or None
        Whatever has ``write``. None: nothing is written.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        encoding = getattr(stream, "encoding", None)
        self.shows_lines = isinstance(encoding, str) and encoding.lower().startswith("utf")
        self.is_terminal = _is_terminal(stream)

    def write(self, text: str) -> None:
        """Write, unless an earlier attempt failed."""
        try:
            _write(self._stream, text)
            if self.is_terminal:
                _flush(self._stream)
        except _STREAM_ERRORS:  # a full disk, a broken pipe, a closed file, a stream of bytes
            self._stream = None

    def close(self) -> None:
        """Write out what is buffered."""
        try:
            _flush(self._stream)
        except _STREAM_ERRORS:
            self._stream = None


def line_width() -> int:
    """Return how many characters a line that must not wrap may have."""
    columns = shutil.get_terminal_size().columns
    return (columns if columns > 1 else _USUAL_WIDTH) - 1


def _write(stream: Any, text: str) -> None:
    if stream is None:
        return
    try:
        stream.write(text)
    except UnicodeEncodeError as error:
        stream.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))


def _flush(stream: Any) -> None:
    flush = getattr(stream, "flush", None)
    if flush is not None:
        flush()


def _is_terminal(stream: Any) -> bool:
    """Return whether `stream` can wipe a line again: not if it cannot say so, or says that it is a dumb terminal."""
    try:
        return bool(stream.isatty()) and os.environ.get("TERM") != "dumb"
    except _STREAM_ERRORS:
        return False
