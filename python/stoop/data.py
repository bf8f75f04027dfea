"""Reading and preparing data: IDX files, splits, standardisation."""

import math
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._checks import file_path
from stoop._errors import message
from stoop._scaling import Statistics, standardize
from stoop._split import train_test_split

__all__ = ["Statistics", "load_idx", "standardize", "train_test_split"]

# Third byte of an IDX file -> element type, big-endian as stored.
_IDX_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"


def load_idx(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """Read an IDX file (the format of MNIST, LeCun et al. 1998), gzipped or not; the content decides, not the name.

    Returns
    -------
    ndarray
        Of the file's shape and element type (``(10000, 28, 28)`` uint8 for MNIST test images), in native byte order.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If its magic number, dimensions or length are wrong.
    """
    path = file_path("load_idx", path)
    content = _read(path)
    if len(content) < 4 or content[0] or content[1] or content[2] not in _IDX_DTYPES or content[3] == 0:
        given = f"{path} starts with {content[:4].hex(' ') or 'nothing'}"
        expected = "expected the IDX magic number 00 00, an element type (08, 09, 0b .. 0e), a rank >= 1"
        raise ValueError(message("load_idx", given, expected, "check that it is an IDX file"))
    rank = content[3]
    header = 4 + 4 * rank
    stored = np.dtype(_IDX_DTYPES[content[2]])
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4))
    expected_length = header + stored.itemsize * math.prod(shape)
    if len(content) < header or len(content) != expected_length:
        given = f"{path} holds {len(content)} bytes"
        expected = f"expected {expected_length} for {rank} dimensions {shape} of {stored.name}"
        raise ValueError(message("load_idx", given, expected, "the file is damaged: fetch it again"))
    array = np.frombuffer(content, stored, offset=header).reshape(shape)
    return array.astype(stored.newbyteorder("="))


def _read(path: str) -> bytes:
    content = Path(path).read_bytes()
    if not content.startswith(_GZIP_MAGIC):
        return content
    import gzip

    try:
        return gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        given = f"{path} is damaged ({error})"
        raise ValueError(message("load_idx", given, "expected a whole gzip file", "fetch it again")) from error
