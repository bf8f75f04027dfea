"""IDX files that promise less, or more, than they hold: the memory they cost follows what they hold."""

from __future__ import annotations

import gzip
import struct
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest

import stoop
from helpers import refused, run_python

MEASURE = """
import sys, stoop
def high():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) // 1024
start = high()
try: print(stoop.data.load_idx(sys.argv[1]).shape)
except ValueError as error: print(error)
print(high() - start)
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def header(kind: int, *shape: int) -> bytes:
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, kind, len(shape), *shape)


def zip_zeros(path: Path, start: bytes, zeros: int) -> None:
    """A gzip file of `start` and many zeros, a thousandth of their size."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = bytes(1 << 20)
    with path.open("wb") as file:
        file.write(packer.compress(start))
        for _ in range(zeros >> 20):
            file.write(packer.compress(block))
        file.write(packer.flush())


def load(path: Path) -> tuple[str, int]:
    """What comes of it, and by how many MiB the process grew."""
    *shown, grown = run_python("-c", MEASURE, path).stdout.splitlines()
    return "\n".join(shown), int(grown)


@linux
def test_no_more_is_unpacked_than_the_header_promises(tmp_path: Path) -> None:
    """9 MB of gzip took 4.1 GB, more than twice what they unpack to."""
    path = tmp_path / "bomb.gz"
    zip_zeros(path, header(0x08, 10, 28, 28), 160 << 20)
    shown, grown = load(path)
    assert "holds more than 7856 bytes" in shown
    assert grown < 40


@linux
@pytest.mark.parametrize("packed", [False, True])
def test_a_promise_costs_no_memory(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "promise"
    content = header(0x08, 2**31) + bytes(1000)
    path.write_bytes(gzip.compress(content) if packed else content)
    shown, grown = load(path)
    assert "expected 2147483656 for 1 dimensions (2147483648,) of uint8" in shown
    assert grown < 40


@linux
@pytest.mark.parametrize("packed", [False, True])
def test_an_array_is_read_into_its_place(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "large"
    if packed:
        zip_zeros(path, header(0x0D, 32 << 20), 128 << 20)
    else:
        with path.open("wb") as file:
            file.write(header(0x0D, 32 << 20))
            file.truncate(8 + (128 << 20))
    shown, grown = load(path)
    assert shown == "(33554432,)"
    assert grown < 170


def test_shapes_that_no_array_has(tmp_path: Path) -> None:
    path = tmp_path / "shape.idx"
    for shape in [(1,) * 33, (1,) * 255, (0, 2**32 - 1, 2**32 - 1, 2**32 - 1), (2**32 - 1,) * 3]:
        for content in (header(0x08, *shape), gzip.compress(header(0x08, *shape))):
            path.write_bytes(content)
            with refused(ValueError, "load_idx", "shape.idx"):
                stoop.data.load_idx(path)


def test_an_array_of_many_axes(tmp_path: Path) -> None:
    path = tmp_path / "axes.idx"
    path.write_bytes(header(0x0B, *(1,) * 30, 2, 3) + np.arange(6, dtype=">i2").tobytes())
    assert stoop.data.load_idx(path).ravel().tolist() == list(range(6))


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_cut_at_every_byte(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "cut.idx"
    content = header(0x0C, 3, 4) + np.arange(12, dtype=">i4").tobytes()
    content = gzip.compress(content) if packed else content
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with refused(ValueError, "cut.idx"):
            stoop.data.load_idx(path)
    path.write_bytes(content)
    assert stoop.data.load_idx(path).sum() == 66


def test_gzip_in_two_members_and_what_follows(tmp_path: Path) -> None:
    path = tmp_path / "two.idx"
    content = header(0x08, 6) + bytes(range(6))
    path.write_bytes(gzip.compress(content[:9]) + gzip.compress(content[9:]))
    assert stoop.data.load_idx(path).tolist() == list(range(6))
    path.write_bytes(gzip.compress(content) + b"more")
    with refused(ValueError, "two.idx"):
        stoop.data.load_idx(path)


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes with a name")
@pytest.mark.parametrize("packed", [False, True])
def test_a_pipe_is_read_as_far_as_needed(tmp_path: Path, packed: bool) -> None:
    import os

    path = tmp_path / "pipe"
    os.mkfifo(path)
    content = header(0x08, 3) + b"abc"
    content = gzip.compress(content) if packed else content
    writer = threading.Thread(target=path.write_bytes, args=(content,))
    writer.start()
    assert stoop.data.load_idx(path).tolist() == [97, 98, 99]
    writer.join()
