"""Reading IDX files, splitting and standardising."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop
from helpers import refused

IDX_TYPES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(a: npt.NDArray) -> bytes:
    head = struct.pack(f">BBBB{a.ndim}I", 0, 0, IDX_TYPES[a.dtype.str[1:]], a.ndim, *a.shape)
    return head + a.astype(a.dtype.newbyteorder(">")).tobytes()


# ---- load_idx ----


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", IDX_TYPES)
@pytest.mark.parametrize("shape", [(7,), (5, 3, 2), (0, 4)])
def test_load_idx(tmp_path: Path, shape: tuple[int, ...], dtype: str, compressed: bool) -> None:
    expected = np.random.default_rng(0).normal(0, 50, shape).astype(dtype)
    content = idx_bytes(expected)
    path = tmp_path / "data-idx"  # the content decides, not the name
    path.write_bytes(gzip.compress(content) if compressed else content)
    for given in (path, str(path)):
        loaded = stoop.data.load_idx(given)
        np.testing.assert_array_equal(loaded, expected)
        assert loaded.dtype == np.dtype(dtype)
        assert loaded.dtype.isnative
        assert loaded.flags.writeable


def test_damaged_idx_files(tmp_path: Path) -> None:
    good = idx_bytes(np.arange(24, dtype="i4").reshape(4, 6))
    packed = gzip.compress(good)
    damaged = {
        "empty": b"",
        "three bytes": good[:3],
        "header cut": good[:9],
        "data cut": good[:-1],
        "too long": good + b"\0",
        "other magic": b"\1" + good[1:],
        "other type": good[:2] + b"\x07" + good[3:],
        "no axes": good[:3] + b"\0",
        "huge": good[:4] + b"\xff" * 8 + good[12:],
        "text": b"label,pixel\n1,2\n",
        "gzip cut": packed[: len(packed) // 2],
        "gzip flipped": packed[:20] + bytes([packed[20] ^ 0xFF]) + packed[21:],
        "gzip checksum": packed[:-8] + bytes(8),
        "gzip header alone": packed[:2],
    }
    for name, content in damaged.items():
        path = tmp_path / f"{name}.idx"
        path.write_bytes(content)
        with refused(ValueError, "load_idx", f"{name}.idx"):
            stoop.data.load_idx(path)


def test_missing_idx_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing"):
        stoop.data.load_idx(tmp_path / "nothing.idx")
    with pytest.raises(OSError):
        stoop.data.load_idx(tmp_path)


def test_a_folder_in_the_layout_of_mnist(digits_folder: Path) -> None:
    images = stoop.data.load_idx(digits_folder / "t10k-images-idx3-ubyte.gz")
    labels = stoop.data.load_idx(digits_folder / "t10k-labels-idx1-ubyte.gz")
    assert images.shape == (2000, 28, 28)
    assert labels.shape == (2000,)
    assert images.dtype == labels.dtype == np.uint8
    assert set(labels.tolist()) == set(range(10))


# ---- train_test_split ----


@pytest.mark.parametrize(("test_size", "expected"), [(0.25, 26), (0.2, 21), (0.01, 2), (1, 1), (40, 40)])
def test_a_split_keeps_rows_together(test_size: float, expected: int) -> None:
    X = np.arange(303).reshape(101, 3)
    y = X[:, 0] // 3
    X_train, X_test, y_train, y_test = stoop.data.train_test_split(X, y, test_size=test_size)
    assert (len(X_train), len(X_test)) == (101 - expected, expected)
    np.testing.assert_array_equal(X_train[:, 0] // 3, y_train)
    np.testing.assert_array_equal(X_test[:, 0] // 3, y_test)
    np.testing.assert_array_equal(np.sort(np.r_[y_train, y_test]), y)
    assert X_train.dtype == X.dtype
    assert not np.array_equal(y_train, np.sort(y_train)), "the rows are shuffled"


def test_a_split_is_a_copy_decided_by_its_seed() -> None:
    X, y = np.arange(100.0).reshape(50, 2), np.arange(50)
    first, same, other = (stoop.data.train_test_split(X, y, seed=seed) for seed in (1, 1, 2))
    for a, b in zip(first, same, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[1], other[1])
    first[0][...] = -1
    assert X.min() == 0


def test_a_stratified_split_keeps_the_shares() -> None:
    y = np.repeat([0, 1, 2, 7], [50, 30, 15, 5])
    X = y[:, None] * 1.0
    X_train, X_test, y_train, y_test = stoop.data.train_test_split(X, y, test_size=0.2, stratify=True)
    assert [int(np.sum(y_test == c)) for c in (0, 1, 2, 7)] == [10, 6, 3, 1]
    np.testing.assert_array_equal(X_train[:, 0], y_train)
    np.testing.assert_array_equal(X_test[:, 0], y_test)


@pytest.mark.parametrize("test_size", [0, -0.1, 1.0, 10, 11, -2, float("nan"), "half", None])
def test_a_split_with_an_empty_part_is_refused(test_size: Any) -> None:
    with refused((ValueError, TypeError), "test_size"):
        stoop.data.train_test_split(np.zeros((10, 2)), np.zeros(10), test_size=test_size)


def test_a_split_of_different_lengths_is_refused() -> None:
    with refused(ValueError, "train_test_split"):
        stoop.data.train_test_split(np.zeros((10, 2)), np.zeros(9))


def test_rows_of_different_lengths_are_refused() -> None:
    ragged = [[1.0], [1.0, 2.0]]
    with refused(ValueError, "train_test_split", "X is a list that is no array"):
        stoop.data.train_test_split(ragged, np.zeros(2))
    with refused(ValueError, "standardize", "array 1 is a list that is no array"):
        stoop.data.standardize(np.ones((2, 2)), ragged)
    with refused(ValueError, "confusion_matrix", "y_pred is a list that is no array"):
        stoop.metrics.confusion_matrix([0, 1], ragged)


# ---- standardize ----


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_standardize(dtype: str, rng: np.random.Generator) -> None:
    train = rng.normal([5, -1e6, 0, 1e-6], [2, 300, 1e5, 1e-8], (1000, 4)).astype(dtype)
    other = rng.normal(1, 3, (50, 4)).astype(dtype)
    train_before = train.copy()
    scaled, other_scaled = stoop.data.standardize(train, other)
    assert scaled.dtype == other_scaled.dtype == dtype
    np.testing.assert_allclose(scaled.mean(axis=0, dtype="f8"), 0, atol=1e-6)
    np.testing.assert_allclose(scaled.std(axis=0, dtype="f8"), 1, rtol=1e-6)
    mean, std = train.mean(axis=0, dtype="f8"), train.std(axis=0, dtype="f8")
    np.testing.assert_allclose(other_scaled, (other - mean) / std, rtol=1e-5)
    np.testing.assert_array_equal(train, train_before)
    np.testing.assert_array_equal(stoop.data.standardize(train), scaled)


@pytest.mark.parametrize("value", [0.0, 1.0, -3.7, 1e8, 0.1])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_a_constant_column_becomes_zero(value: float, dtype: str) -> None:
    train = np.full((1001, 2), value if dtype != "uint8" else 200).astype(dtype)
    train[:, 1] = np.arange(1001) % 7
    scaled = stoop.data.standardize(train)
    assert np.isfinite(scaled).all()
    np.testing.assert_allclose(scaled[:, 0], 0, atol=1e-6 * abs(value))
    np.testing.assert_allclose(scaled[:, 1].std(), 1, rtol=1e-5)


def test_integers_become_float32() -> None:
    train = np.arange(12, dtype=np.uint8).reshape(6, 2)
    scaled = stoop.data.standardize(train)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, (train - train.mean(axis=0)) / train.std(axis=0), rtol=1e-6)


@pytest.mark.parametrize(
    "arrays",
    [
        (np.zeros(3),),
        (np.zeros((0, 3)),),
        (np.zeros((4, 3)), np.zeros((4, 2))),
        (np.zeros((4, 3), complex),),
        (np.full((4, 3), "a"),),
    ],
    ids=["one axis", "empty", "other columns", "complex", "text"],
)
def test_standardize_refuses(arrays: tuple[npt.NDArray, ...]) -> None:
    with refused((ValueError, TypeError), "standardize"):
        stoop.data.standardize(*arrays)
