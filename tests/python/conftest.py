"""Fixtures of all tests."""

from __future__ import annotations

import gzip
import importlib
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import settings

import stoop
from helpers import REPOSITORY

# On a busy machine an example takes as long as it takes.
settings.register_profile("stoop", deadline=None)
settings.load_profile("stoop")

# A shell starts what runs in the background with SIGINT ignored; tests of Ctrl-C would then wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _restore_threads() -> Iterator[None]:
    threads = stoop.get_num_threads()
    yield
    stoop.set_num_threads(threads)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# Five columns and seven rows of each digit, a number a row, the leftmost pixel its highest bit.
GLYPHS = (
    (14, 17, 19, 21, 25, 17, 14),
    (4, 12, 4, 4, 4, 4, 14),
    (14, 17, 1, 2, 4, 8, 31),
    (31, 2, 4, 2, 1, 17, 14),
    (2, 6, 10, 18, 31, 2, 2),
    (31, 16, 30, 1, 1, 17, 14),
    (6, 8, 16, 30, 17, 17, 14),
    (31, 1, 2, 4, 8, 8, 8),
    (14, 17, 17, 14, 17, 17, 14),
    (14, 17, 17, 15, 1, 2, 12),
)


def draw_digits(samples: int, rng: np.random.Generator) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Digits of 15 x 21 pixels somewhere on 28 x 28, some of whose pixels are missing, on a little noise."""
    labels = rng.integers(10, size=samples).astype(np.uint8)
    images = np.zeros((samples, 28, 28))
    for image, label in zip(images, labels, strict=True):
        rows = np.array(GLYPHS[label])[:, None] >> np.arange(4, -1, -1) & 1
        top, left = rng.integers(2, 6), rng.integers(4, 10)
        image[top : top + 21, left : left + 15] = np.kron(rows, np.ones((3, 3)))
    images *= rng.uniform(0.5, 1.0, (samples, 1, 1)) * (rng.random(images.shape) > 0.1)
    return (255 * np.maximum(images, 0.2 * rng.random(images.shape))).astype(np.uint8), labels


def write_idx(path: Path, array: npt.NDArray[np.uint8]) -> None:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes(), compresslevel=1))


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the layout of MNIST with 2,000 drawn digits as t10k, and nothing else."""
    folder = tmp_path_factory.mktemp("digits")
    images, labels = draw_digits(2000, np.random.default_rng(5))
    write_idx(folder / "t10k-images-idx3-ubyte.gz", images)
    write_idx(folder / "t10k-labels-idx1-ubyte.gz", labels)
    return folder


@pytest.fixture
def bench_tables(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Import a module of bench/tables; they import each other by their plain names."""
    folder = REPOSITORY / "bench" / "tables"
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(folder) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]
