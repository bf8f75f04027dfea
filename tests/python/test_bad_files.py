"""Damaged model files, files by other tools, and paths that are none."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import stoop
from helpers import bits, refused
from test_bad_input import NOT_A_NUMBER, make_trainer


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    make_trainer().model.save(path)
    return path


def header_length(content: bytes) -> int:
    return struct.unpack("<Q", content[:8])[0]


def test_a_truncated_file(model_file: Path) -> None:
    content = model_file.read_bytes()
    header = header_length(content)
    for length in (0, 1, 7, 8, 9, 8 + header // 2, 8 + header - 1, 8 + header, 8 + header + 1, len(content) - 1):
        model_file.write_bytes(content[:length])
        with refused(stoop.CheckpointError, "model.safetensors"):
            stoop.load_model(model_file)


def test_a_file_with_more_at_its_end(model_file: Path) -> None:
    model_file.write_bytes(model_file.read_bytes() + b"\0" * 64)
    with refused(stoop.CheckpointError, "model.safetensors"):
        stoop.load_model(model_file)


@pytest.mark.parametrize(("start", "flip"), [(0, 0x01), (1, 0x20), (2, 0x80)])
def test_a_flipped_bit_in_the_header_is_refused_or_harmless(model_file: Path, start: int, flip: int) -> None:
    """A bit in, say, the seed cannot be noticed; every other ends in CheckpointError, none in a crash."""
    content = model_file.read_bytes()
    messages = []
    positions = range(start, 8 + len(content[8 : 8 + header_length(content)].rstrip()), 3)
    for position in positions:
        damaged = bytearray(content)
        damaged[position] ^= flip
        model_file.write_bytes(damaged)
        try:
            stoop.load_model(model_file)
        except stoop.CheckpointError as error:
            messages.append(str(error))
    assert len(messages) > 0.5 * len(positions)
    assert all("model.safetensors" in message for message in messages)


@pytest.mark.parametrize(
    "content",
    [
        b"not a model at all",
        bytes(range(256)) * 8,
        b"\xff" * 64,
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 4) + b"null",
        struct.pack("<Q", 100_000) + b"[" * 100_000,
        struct.pack("<Q", 0),
    ],
    ids=["text", "bytes", "ones", "a huge header", "no tensors", "a list", "null", "deep nesting", "no header"],
)
def test_garbage(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "garbage.safetensors"
    path.write_bytes(content)
    with refused(stoop.CheckpointError, "garbage.safetensors"):
        stoop.load_model(path)


def rewrite_header(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    content = path.read_bytes()
    end = 8 + header_length(content)
    header = json.loads(content[8:end])
    edit(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[end:])


EDITS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a tensor is missing": lambda header: header.pop("0.weight"),
    "a tensor too many": lambda header: header.update({"9.weight": header["0.weight"]}),
    "another shape": lambda header: header["0.weight"].update(shape=[8, 6]),
    "a negative shape": lambda header: header["0.weight"].update(shape=[-6, -8]),
    "a shape that overflows": lambda header: header["0.weight"].update(shape=[2**33, 2**33]),
    "another dtype": lambda header: header["0.weight"].update(dtype="F64"),
    "an unknown dtype": lambda header: header["0.weight"].update(dtype="Q4"),
    "offsets past the end": lambda header: header["1.bias"].update(data_offsets=[0, 2**40]),
    "offsets backwards": lambda header: header["1.bias"].update(data_offsets=[12, 0]),
    "overlapping offsets": lambda header: header["1.bias"].update(data_offsets=[0, 12]),
    "no metadata": lambda header: header.pop("__metadata__"),
    "metadata of another kind": lambda header: header.update(__metadata__=[]),
    "another architecture": lambda header: header["__metadata__"].update(
        {key: value.replace("8", "9") for key, value in header["__metadata__"].items()}
    ),
    "an architecture that fills the memory": lambda header: header["__metadata__"].update(
        {key: value.replace("8", "8000000000") for key, value in header["__metadata__"].items()}
    ),
    "an unknown layer": lambda header: header["__metadata__"].update(
        {key: value.replace("dense", "sparse") for key, value in header["__metadata__"].items()}
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_header_that_does_not_fit(model_file: Path, edit: str) -> None:
    rewrite_header(model_file, EDITS[edit])
    with refused(stoop.CheckpointError, "model.safetensors"):
        stoop.load_model(model_file)


def test_a_header_written_by_another_tool_is_read(model_file: Path) -> None:
    expected = bits(stoop.load_model(model_file))
    rewrite_header(model_file, lambda header: None)  # other spacing, so the data is no longer aligned
    assert bits(stoop.load_model(model_file)) == expected


def test_a_missing_file_and_a_directory(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.safetensors"):
        stoop.load_model(tmp_path / "missing.safetensors")
    with pytest.raises(OSError, match=tmp_path.name):
        stoop.load_model(tmp_path)
    with pytest.raises(OSError):
        make_trainer().model.save(tmp_path / "no such folder" / "model.safetensors")
    with pytest.raises(OSError):
        make_trainer().model.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", [3, None, "nul\0byte.safetensors"], ids=["a number", "None", "a NUL byte"])
def test_what_is_no_path(path: Any) -> None:
    for call in (stoop.load_model, make_trainer().model.save):
        with pytest.raises(NOT_A_NUMBER) as caught:
            call(path)
        assert "stoop._core" not in str(caught.value), "the signature of the binding is of no use to a caller"
