"""Changes of bytes and texts, drawn from a seed, for tests of what readers make of damaged and hostile input."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

WORDS = ["0", "1", "-1", "2", "255", "65536", "2147483648", "-9223372036854775808", "18446744073709551616"]
WORDS += ["1e308", "1e999", "-0.0", "0.5", "NaN", "nan", "Infinity", "null", "true", "false", "[]", "{}", '""']
WORDS += ["\\ud800", "type", "\u00e4"]
WORD = re.compile(r"[\w.+-]+")
CUTS = re.compile(r"[,\[\]{}\n]")


class Mutations:
    """Changed copies of `inputs`, and of what `keep` was given."""

    def __init__(self, inputs: Sequence[bytes], seed: int = 0) -> None:
        self._inputs = list(inputs)
        self._given = len(self._inputs)
        self._random = random.Random(seed)

    def bytes(self) -> bytes:
        """Change bits, bytes and lengths."""
        content = bytearray(self._random.choice(self._inputs))
        for _ in range(self._random.randint(1, 4)):
            self._change(content)
        return bytes(content)

    def text(self) -> bytes:
        """Change words and parts of a text in UTF-8."""
        text = self._random.choice(self._inputs).decode("utf-8", "replace")
        for _ in range(self._random.randint(1, 3)):
            text = self._changed(text)
        return text.encode("utf-8", "replace")

    def keep(self, content: bytes) -> None:
        """Change this too from now on: a reader accepted it."""
        if len(self._inputs) < self._given + 200:
            self._inputs.append(content)
        else:
            self._inputs[self._random.randrange(self._given, len(self._inputs))] = content

    def _change(self, content: bytearray) -> None:
        at = self._random.randrange(len(content) + 1)
        kind = self._random.randrange(5)
        if kind == 0 and at < len(content):
            content[at] ^= 1 << self._random.randrange(8)
        elif kind == 1 and at < len(content):
            content[at] = self._random.randrange(256)
        elif kind == 2:
            del content[at:]
        elif kind == 3:
            content[at:at] = self._random.randbytes(self._random.randrange(16))
        else:
            content[at : at + 4] = self._random.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0"])

    def _changed(self, text: str) -> str:
        def span(pattern: re.Pattern[str], count: int) -> tuple[int, int]:
            start = self._random.randrange(len(text) + 1)
            found = list(re.finditer(pattern, text[start : start + 400]))[:count]
            return (start + found[0].start(), start + found[-1].end()) if found else (start, start)

        kind = self._random.randrange(4)
        if kind == 0:
            begin, end = span(WORD, 1)
            return text[:begin] + self._random.choice(WORDS) + text[end:]
        if kind == 1:
            (begin, end), (first, last) = span(WORD, 1), span(WORD, 1)
            return text[:begin] + text[first:last] + text[end:]
        begin, end = span(CUTS, self._random.randint(2, 6))
        if kind == 2:
            return text[:begin] + text[end:]
        return text[:begin] + text[begin:end] * self._random.randint(2, 5) + text[end:]
