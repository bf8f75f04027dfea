"""Reads ONNX files without a copy of their arrays, and never makes more than a small multiple of what is there.

The wire format of protobuf: a message is a list of fields, each a key and a value; a key is the number of the field
times 8 plus the kind of the value. Field numbers are those of onnx.proto.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

LEAST_OBJECTS = 50_000  # fields of messages but for arrays, in any file; each becomes an object of less than 100 bytes
_FILE_OF_OBJECT = 64  # bytes of the file for each object beyond
_OBJECTS_OF_NODE = 8
_MOST_DIMS = 16
_TYPES = {1: "<f4", 2: "u1", 3: "i1", 5: "<i2", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8", 12: "<u4", 13: "<u8"}
_TEXT, _EXTERNAL = 8, 1


class DamagedError(ValueError):
    """What the bytes say is no ONNX file, or one that costs too much."""


@dataclass(frozen=True)
class Node:
    """An operation."""

    operator: str
    domain: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]


@dataclass
class File:
    """What is read of a file."""

    nodes: list[Node] = field(default_factory=list)
    arrays: dict[str, Array | list[str]] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)  # element types of the inputs, 0 where none is said
    outputs: list[str] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    has_graph: bool = False
    many: int = 0  # objects beyond those that any file may have


def read_file(content: bytes) -> File:
    """Return the graph of an ONNX file.

    Raises
    ------
    DamagedError
        For bytes that are no such file, arrays of another length than their shape says, arrays in other files,
        functions, and for more names, attributes and the like than 50,000 and one for each 64 bytes.
    """
    return _Reader(len(content)).read(memoryview(content))


class _Reader:
    """Reads messages, and counts what small objects they become."""

    def __init__(self, size: int) -> None:
        self._most = self._left = LEAST_OBJECTS + size // _FILE_OF_OBJECT

    def read(self, data: memoryview) -> File:
        out = File()
        for number, value in _fields(data):
            self._count()
            if number == 7:
                self._graph(_bytes(value), out)
            elif number == 14:
                out.texts[self._entry(value, 1)] = self._entry(value, 2)
            elif number == 25:
                raise DamagedError("it defines functions")
        if not out.has_graph:
            raise DamagedError("it has no graph")
        out.many = max(self._most - self._left - LEAST_OBJECTS, 0)
        return out

    def _count(self, objects: int = 1) -> None:
        self._left -= objects
        if self._left < 0:
            raise DamagedError(f"it has more than {self._most:,} names, attributes and the like")

    def _entry(self, value: Any, wanted: int) -> str:
        """Return the text of one field of a message."""
        text = ""
        for number, part in _fields(_bytes(value)):
            self._count()
            if number == wanted:
                text = _text(part)
        return text

    def _element_type(self, data: memoryview) -> int:
        """Return the element type of a tensor that an input is; 0 for another."""
        for wanted in (2, 1):  # the type of the input, the tensor within it
            data = next((_bytes(value) for number, value in _fields(data) if number == wanted), data[:0])
        return next((value for number, value in _fields(data) if number == 1 and isinstance(value, int)), 0)

    def _graph(self, data: memoryview, out: File) -> None:
        out.has_graph = True
        for number, value in _fields(data):
            self._count()
            if number == 1:
                out.nodes.append(self._node(_bytes(value)))
            elif number == 5:
                name, array = self._tensor(_bytes(value))
                out.arrays[name] = array
            elif number in (11, 12):
                names = out.inputs if number == 11 else out.outputs
                names.append(self._entry(value, 1))
                if number == 11:
                    out.kinds.append(self._element_type(_bytes(value)))
            elif number == 15:
                raise DamagedError("it has sparse arrays")

    def _node(self, data: memoryview) -> Node:
        self._count(_OBJECTS_OF_NODE)
        inputs: list[str] = []
        outputs: list[str] = []
        attributes: dict[str, Any] = {}
        texts = {3: "", 4: "", 7: ""}
        for number, value in _fields(data):
            self._count()
            if number in (1, 2):
                (inputs if number == 1 else outputs).append(_text(value))
            elif number in texts:
                texts[number] = _text(value)
            elif number == 5:
                name, content = self._attribute(_bytes(value))
                attributes[name] = content
        return Node(texts[4], texts[7], texts[3], inputs, outputs, attributes)

    def _attribute(self, data: memoryview) -> tuple[str, Any]:
        name, kind, single = "", 0, None
        several: list[Any] = []
        for number, value in _fields(data):
            self._count()
            if number == 1:
                name = _text(value)
            elif number == 20:
                kind = _whole(value)
            elif number in (2, 3, 4, 5):
                single = (number, value)
            elif number in (7, 8, 9):
                several += self._several(number, value)
            elif number in (6, 10, 11, 15, 22, 23):
                raise DamagedError(f"the attribute {name!r} is a graph or a sparse array")
        if several or kind in (6, 7, 8):
            return name, several
        if single is None:
            return name, {1: 0.0, 2: 0, 3: ""}.get(kind)
        number, value = single
        if number == 2:
            return name, float(_numbers(_bytes(value), "<f4").sum())
        if number == 3:
            return name, _signed(_whole(value))
        return name, _text(value) if number == 4 else self._tensor(_bytes(value))[1]

    def _several(self, number: int, value: Any) -> list[Any]:
        """Return floats, whole numbers or texts of an attribute."""
        if number == 9:
            return [_text(value)]
        if number == 7:
            floats = _numbers(_bytes(value), "<f4")
            self._count(len(floats))
            return list(floats.tolist())
        return [_signed(each) for each in self._whole_numbers(value)]

    def _whole_numbers(self, value: Any) -> list[int]:
        """Return one whole number, or those that are packed."""
        if isinstance(value, int):
            return [value]
        data, values, place = _bytes(value), [], 0
        while place < len(data):
            self._count()
            number, place = _varint(data, place)
            values.append(number)
        return values

    def _tensor(self, data: memoryview) -> tuple[str, Array | list[str]]:
        self._count(_OBJECTS_OF_NODE)
        dims: list[int] = []
        name, kind, raw = "", 0, None
        texts: list[str] = []
        parts: list[Any] = []
        for number, value in _fields(data):
            self._count()
            if number == 1:
                dims += self._whole_numbers(value)
                if len(dims) > _MOST_DIMS:
                    raise DamagedError(f"an array has more than {_MOST_DIMS} dimensions")
            elif number == 2:
                kind = _whole(value)
            elif number == 6:
                texts.append(_text(value))
            elif number == 8:
                name = _text(value)
            elif number == 9:
                raw = _bytes(value)
            elif number in (4, 5, 7, 10, 11):
                parts.append((number, value))
            elif number == 13 or (number == 14 and value == _EXTERNAL):
                raise DamagedError(f"the array {name!r} is in another file: export with external_data=False")
        if kind == _TEXT:
            return name, texts
        if kind not in _TYPES:
            raise DamagedError(f"the array {name!r} has the element type {kind}")
        array = _numbers(raw, _TYPES[kind]) if raw is not None else self._typed(parts, _TYPES[kind])
        size = math.prod(dims)  # a whole number of Python does not overflow
        if size != len(array):
            shape = "x".join(map(str, dims))
            raise DamagedError(f"the array {name!r} has {len(array)} elements and the shape {shape}")
        return name, array.reshape(dims)

    def _typed(self, parts: list[Any], dtype: str) -> Array:
        """Return what stands in the fields float_data, int32_data and so on."""
        arrays = []
        for number, value in parts:
            if number in (4, 10):
                arrays.append(_numbers(_bytes(value), "<f4" if number == 4 else "<f8"))
            else:
                arrays.append(np.array(self._whole_numbers(value), np.uint64).view(np.int64))
        joined: Array = np.concatenate(arrays) if arrays else np.zeros(0)
        return joined.astype(np.uint16).view(np.float16) if dtype == "<f2" else joined.astype(dtype)


def _fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    """Yield number and value of each field: a whole number, or bytes where they lie."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, place = _varint(data, place)
            yield number, value
            continue
        if kind == 2:
            length, place = _varint(data, place)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise DamagedError("it is no ONNX file")
        if length > len(data) - place:
            raise DamagedError("it ends too early")
        yield number, data[place : place + length]
        place += length


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            raise DamagedError("it ends too early")
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFF_FFFF_FFFF_FFFF, place
    raise DamagedError("it is no ONNX file")


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _whole(value: Any) -> int:
    if not isinstance(value, int):
        raise DamagedError("it is no ONNX file")
    return value


def _bytes(value: Any) -> memoryview:
    if isinstance(value, int):
        raise DamagedError("it is no ONNX file")
    return memoryview(value)


def _numbers(data: memoryview, dtype: str) -> Array:
    if len(data) % np.dtype(dtype).itemsize:
        raise DamagedError("an array in it has half of a number")
    return np.frombuffer(data, dtype)


def _text(value: Any) -> str:
    try:
        return bytes(_bytes(value)).decode()
    except UnicodeDecodeError:
        raise DamagedError("a name in it is no UTF-8") from None
