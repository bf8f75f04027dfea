"""Reads IDX files (LeCun et al. 1998) straight into the array that they become.

A file is believed only as far as it has been read: memory is taken for what its size can hold, and no more is unpacked
than the header promises, or a few megabytes of gzip would fill the memory.
"""

import gzip
import math
import os
import stat
import zlib
from pathlib import Path
from typing import BinaryIO, NoReturn

import numpy as np
import numpy.typing as npt

from stoop._errors import message

# Third byte of a file -> element type, big-endian as stored.
_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"
_MOST_PACKED = 1032  # bytes that a byte of deflate can stand for
_MOST_AXES = 32  # of an array of NumPy 1
_CHUNK = 1 << 22


def read_idx(path: str) -> npt.NDArray[np.generic]:
    """Return the array of the file, gzipped or not, in native byte order.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no whole IDX file.
    """
    with Path(path).open("rb") as file:
        status = os.fstat(file.fileno())
        size = status.st_size if stat.S_ISREG(status.st_mode) else None
        if not file.peek(2).startswith(_GZIP_MAGIC):
            return _read(path, file, size, exact=True)
        most = None if size is None else size * _MOST_PACKED
        try:
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _read(path, unpacked, most, exact=False)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            given = f"{path!r} is damaged ({error})"
            raise ValueError(message("load_idx", given, "expected a whole gzip file", "fetch it again")) from error


def _read(path: str, file: BinaryIO | gzip.GzipFile, size: int | None, *, exact: bool) -> npt.NDArray[np.generic]:
    """Read the content, of `size` bytes where `exact`, else of at most so many; None: not known before."""
    stored, shape, header = _read_header(path, file)
    length = header + stored.itemsize * math.prod(shape)
    what = f"{length} for {len(shape)} dimensions {shape} of {stored.name}"
    if size is not None and (length > size or (exact and length != size)):
        _refuse(f"{path!r} holds {'' if exact else 'at most '}{size} bytes", what)
    array = np.empty(shape, stored)
    read = header + _fill(array, file)
    if read < length:
        _refuse(f"{path!r} holds {read} bytes", what)
    if file.read(1):
        _refuse(f"{path!r} holds more than {length} bytes", what)
    if not stored.isnative:
        array.byteswap(inplace=True)
    return array.view(stored.newbyteorder("="))


def _read_header(path: str, file: BinaryIO | gzip.GzipFile) -> tuple[np.dtype[np.generic], tuple[int, ...], int]:
    """Return the element type, the shape and the bytes of the header."""
    start = file.read(4)
    if len(start) < 4 or start[0] or start[1] or start[2] not in _DTYPES or not 1 <= start[3] <= _MOST_AXES:
        given = f"{path!r} starts with {start.hex(' ') or 'nothing'}"
        kinds = "an element type (08, 09, 0b .. 0e)"
        expected = f"expected the IDX magic number 00 00, {kinds}, a rank from 1 to {_MOST_AXES}"
        raise ValueError(message("load_idx", given, expected, "check that it is an IDX file"))
    axes = file.read(4 * start[3])
    if len(axes) < 4 * start[3]:
        _refuse(f"{path!r} holds {4 + len(axes)} bytes", f"{4 + 4 * start[3]} for the header alone")
    shape = tuple(int.from_bytes(axes[i : i + 4], "big") for i in range(0, len(axes), 4))
    stored = np.dtype(_DTYPES[start[2]])
    if math.prod(max(1, count) for count in shape) * stored.itemsize >= 2**63:  # NumPy counts so, an axis of 0 or not
        _refuse(f"{path!r} has the dimensions {shape}", "an array that fits into memory")
    return stored, shape, 4 + len(axes)


def _fill(array: npt.NDArray[np.generic], file: BinaryIO | gzip.GzipFile) -> int:
    """Read into the array, as far as the file goes, and return how many bytes that were."""
    data = array.reshape(-1).view(np.uint8).data
    position = 0
    while position < len(data):
        count = file.readinto(data[position : position + _CHUNK])  # type: ignore[union-attr]
        if not count:
            break
        position += count
    return position


def _refuse(given: str, expected: str) -> NoReturn:
    hint = "the file is damaged: fetch it again"
    raise ValueError(message("load_idx", given, f"expected {expected}", hint))
