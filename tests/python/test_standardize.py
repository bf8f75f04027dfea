"""standardize: numbers of any size, what it used, and nothing left out without a word."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import stoop
from helpers import refused

standardize = stoop.data.standardize


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e-160, 1e-100, 1.0, 1e100, 1e160, 1e200, 1e300])
def test_numbers_of_any_size(scale: float, rng: np.random.Generator) -> None:
    X = rng.normal(3, 2, (500, 3))
    mixed = X * [scale, 1.0, 1 / scale if 1e-300 < scale < 1e300 else 1.0]
    np.testing.assert_allclose(standardize(mixed), standardize(X), rtol=1e-9, atol=1e-12)
    _, used = standardize(mixed, stats=True)
    assert not used.constant.any()
    np.testing.assert_allclose(used.std[0] / scale, X[:, 0].std(), rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-37, 1e-30, 1e-20, 1e20, 1e30, 1e37])
def test_float32_of_any_size(scale: float, rng: np.random.Generator) -> None:
    X = rng.normal(0, 1, (500, 2)).astype(np.float32)
    got = standardize(X * np.float32(scale))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, standardize(X), rtol=1e-5, atol=1e-6)


def test_a_column_of_one_huge_number_and_small_ones() -> None:
    X = np.array([[1e200], [1.0], [2.0], [3.0]])
    got = standardize(X)
    np.testing.assert_allclose(got[:, 0], np.array([3.0, -1, -1, -1]) / np.sqrt(3), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool", "float16", "longdouble"])
def test_what_was_used_scales_later_data(dtype: str, rng: np.random.Generator) -> None:
    train, other = (rng.integers(0, 2, (40, 3)).astype(dtype) for _ in range(2))
    train[:, 2] = other[:, 2] = 1
    scaled, scaled_other, used = standardize(train, other, stats=True)
    tolerance = 1e-6 if scaled.dtype == np.float32 else 1e-14
    assert used.constant.tolist() == [False, False, True]
    assert used.std[2] == 1.0
    assert used.mean.dtype == used.std.dtype == np.float64
    np.testing.assert_allclose((train - used.mean) / used.std, scaled, atol=tolerance)
    mean, std = used
    np.testing.assert_allclose((other - mean) / std, scaled_other, atol=tolerance)
    np.testing.assert_allclose(mean[:2], train[:, :2].mean(axis=0, dtype=float))


def test_stats_alone() -> None:
    X = np.arange(12.0).reshape(6, 2)
    scaled, used = standardize(X, stats=True)
    np.testing.assert_array_equal(scaled, standardize(X))
    np.testing.assert_array_equal(used.mean, X.mean(axis=0))
    with refused(TypeError, "stats"):
        standardize(X, stats=1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", ["train", "other"])
def test_what_is_not_finite_is_named(place: str, value: float) -> None:
    X = np.random.default_rng(0).normal(size=(300_000, 2))
    bad = X.copy()
    bad[200_001, 1] = value
    arrays: tuple[Any, ...] = (bad, X) if place == "train" else (X, bad)
    with refused(ValueError, rf"array {int(place == 'other')} holds", "row 200001, column 1", "missing"):
        standardize(*arrays)


def test_a_column_of_a_table_is_named() -> None:
    frame = pd.DataFrame({"age": [1.0, 2.0, 3.0], "pay": [1.0, np.nan, 2.0]})
    with refused(ValueError, "row 1, column 1 .'pay'."):
        standardize(frame)
    with refused(TypeError, "'name'"):
        standardize(frame.assign(name=["a", "b", "c"]))


def test_a_constant_column_that_varies_later_is_warned_of() -> None:
    train, other = np.ones((5, 3)), np.ones((5, 3))
    train[:, 0] = other[:, 0] = np.arange(5)
    standardize(train, other)  # the same constant: nothing is lost
    other[3, 2] = 1000.0
    with pytest.warns(UserWarning, match=r"\[standardize\] 1 columns of array 1 vary .* column 2, .* stats=True"):
        standardize(train, other)
    with pytest.warns(UserWarning, match="array 1 vary"):
        standardize(train, np.full((2, 3), 2.0))


def test_results_beyond_the_type_are_refused() -> None:
    tiny = np.array([[1e-40], [2e-40]], np.float32)
    with refused(ValueError, "array 1 is beyond float32 in column 0", "units"):
        standardize(tiny, np.array([[1e10]], np.float32))
    with refused(ValueError, "array 1 is beyond float64"):
        standardize(np.array([[1e-200], [2e-200]]), np.array([[1e200]]))


def test_training_rows_beyond_the_type_are_not_compared_with_themselves() -> None:
    rows = np.array([[1.0, 1.7e308], [2.0, -1.7e308], [3.0, -1.7e308], [4.0, -1.7e308]])
    with refused(ValueError, "array 0 is beyond float64 in column 1", "closer together than 1.8e") as caught:
        standardize(rows)
    assert "training rows" not in str(caught.value)
