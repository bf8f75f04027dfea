"""Fixtures of all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import stoop
from helpers import REPOSITORY


@pytest.fixture(autouse=True)
def _restore_threads() -> Iterator[None]:
    threads = stoop.get_num_threads()
    yield
    stoop.set_num_threads(threads)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def digits_folder() -> Path:
    """The folder with the real digits (MNIST layout), named by STOOP_DATA or beside the checkout."""
    folder = Path(os.environ.get("STOOP_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "t10k-images-idx3-ubyte.gz").exists():
        pytest.skip("no real digits: set STOOP_DATA to a folder with t10k-images-idx3-ubyte.gz and its labels")
    return folder
