"""Changes of bytes and texts, drawn from a seed, for tests of what readers make of damaged and hostile input."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Iterator, Sequence
from typing import Any

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


# ---- protobuf ----

NUMBERS = [0, 1, 2, 3, 6, 7, 8, 11, 255, 2**16, 2**31, 2**32, 2**62, 2**63 - 1, 2**64 - 1]
REALS = [0.0, -0.0, 1.0, -1.0, 1e-45, 3e38, 1e300, float("nan"), float("inf")]
# For each kind of message, which fields are messages of what kind: those of onnx.proto.
ONNX = {
    "model": {7: "graph", 8: "opset", 14: "entry"},
    "graph": {1: "node", 5: "tensor", 11: "value", 12: "value"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor"},
}
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
Field = list[Any]  # number, kind on the wire, value: a whole number, bytes or fields


class MessageMutations(Mutations):
    """Changed copies of protobuf messages, whose lengths are kept right.

    Parameters
    ----------
    inputs : sequence of bytes
        Messages of the kind "model".
    words : sequence of str
        Texts that others are replaced by, beside those of the message.
    """

    def __init__(self, inputs: Sequence[bytes], words: Sequence[str], seed: int = 0) -> None:
        super().__init__(inputs, seed)
        self._words = [word.encode() for word in words]

    def message(self) -> bytes:
        """Change fields: their values, their places, how often they are there."""
        fields = fields_of(self._random.choice(self._inputs), "model")
        for _ in range(self._random.randint(1, 3)):
            messages = [fields, *_within(fields)]
            self._change_message(self._random.choice(messages), messages)
        return bytes_of(fields)

    def _change_message(self, fields: list[Field], messages: Sequence[list[Field]]) -> None:
        other = self._random.choice(messages)
        if not fields or not other:
            return
        at, field = self._random.randrange(len(fields)), self._random.choice(other)
        kind = self._random.randrange(8)
        if kind == 0:
            del fields[at]
        elif kind == 1:
            fields[at:at] = [_copy(field)] * self._random.choice([1, 1, 2, 30])
        elif kind == 2:
            fields[at] = [fields[at][0], *_copy(field)[1:]]
        elif kind == 3:
            fields[at][0] = self._random.choice([field[0], self._random.randrange(1, 26)])
        else:
            fields[at][1:] = self._changed_value(fields[at], [each for message in messages for each in message])

    def _changed_value(self, field: Field, others: Sequence[Field]) -> tuple[int, Any]:
        _, kind, value = field
        if kind == _VARINT:
            return kind, self._random.choice([*NUMBERS, value + 1, max(value - 1, 0)])
        if kind in (_FOUR, _EIGHT):
            return kind, self._real(kind)
        if not isinstance(value, bytes):
            return kind, value
        content = bytearray(value)
        match self._random.randrange(4):
            case 0:
                content = bytearray(self._random.choice(self._words))
            case 1:
                content = bytearray(self._random.choice([x for _, _, x in others if isinstance(x, bytes)]))
            case 2:
                size = self._random.choice([4, 8])
                at = self._random.randrange(len(content) // size + 1) * size
                content[at : at + size] = self._real(_FOUR if size == 4 else _EIGHT)
            case _:
                self._change(content)
        return kind, bytes(content)

    def _real(self, kind: int) -> bytes:
        number = self._random.choice(REALS)
        if kind == _EIGHT:
            return struct.pack("<d", number)
        return struct.pack("<f", min(max(number, -3e38), 3e38) if abs(number) < float("inf") else number)


def fields_of(content: bytes, kind: str | None) -> list[Field]:
    """Return the fields of a message; as far as it is one."""
    fields: list[Field] = []
    place = 0
    while place < len(content):
        key, place = _varint(content, place)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, place = _varint(content, place)
            fields.append([number, wire, value])
            continue
        length = {_EIGHT: 8, _FOUR: 4}.get(wire, 0)
        if wire == _BYTES:
            length, place = _varint(content, place)
        part = content[place : place + length]
        inner = ONNX.get(kind or "", {}).get(number) if wire == _BYTES else None
        fields.append([number, wire if wire in (_EIGHT, _FOUR) else _BYTES, fields_of(part, inner) if inner else part])
        place += length
    return fields


def bytes_of(fields: Sequence[Field]) -> bytes:
    """Return the message that has these fields."""
    out = bytearray()
    for number, kind, value in fields:
        out += _varint_bytes(number << 3 | kind)
        if kind == _VARINT:
            out += _varint_bytes(value)
            continue
        content = value if isinstance(value, bytes) else bytes_of(value)
        if kind == _BYTES:
            out += _varint_bytes(len(content))
        out += content
    return bytes(out)


def _varint(content: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(content):
        byte = content[place]
        place += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    return value & (2**64 - 1), place


def _varint_bytes(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _within(fields: Sequence[Field]) -> Iterator[list[Field]]:
    for _, _, value in fields:
        if isinstance(value, list):
            yield value
            yield from _within(value)


def _copy(field: Field) -> Field:
    number, kind, value = field
    return [number, kind, [_copy(each) for each in value] if isinstance(value, list) else value]
