"""train_test_split as in scikit-learn: parts, seeds, proportions, tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sklearn.model_selection

import stoop
from helpers import refused

split = stoop.data.train_test_split
X, Y = np.arange(200.0).reshape(100, 2), np.repeat([0, 1, 2], [60, 30, 10])


def test_random_state_is_another_name_of_seed() -> None:
    for a, b in zip(split(X, Y, seed=7), split(X, Y, random_state=7), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(split(X, Y), split(X, Y, seed=0, random_state=None), strict=True):
        np.testing.assert_array_equal(a, b)
    with refused(ValueError, "seed is 0 and random_state 0", "leave one out"):
        split(X, Y, seed=0, random_state=0)
    with refused(TypeError, "seed"):
        split(X, Y, random_state=np.random.RandomState(0))


@pytest.mark.parametrize(
    "sizes",
    [
        {}, {"test_size": 0.3}, {"test_size": 17}, {"train_size": 0.6}, {"train_size": 33}, {"test_size": np.int64(9)},
        {"test_size": 0.25, "train_size": 0.5}, {"test_size": 10, "train_size": 0.333}, {"test_size": 0.201},
    ],
)  # fmt: skip
@pytest.mark.parametrize("stratify", [None, Y])
def test_sizes_are_those_of_scikit_learn(sizes: dict[str, Any], stratify: Any) -> None:
    theirs = sklearn.model_selection.train_test_split(X, Y, random_state=0, stratify=stratify, **sizes)
    ours = split(X, Y, seed=0, stratify=stratify, **sizes)
    assert [len(part) for part in ours] == [len(part) for part in theirs]
    assert len(np.intersect1d(ours[0], ours[1])) == 0
    if stratify is not None:  # largest remainders; scikit-learn breaks ties at random
        for mine, other in zip(ours[2:], theirs[2:], strict=True):
            assert np.abs(np.bincount(mine, minlength=3) - np.bincount(other, minlength=3)).max() <= 1


def test_any_number_of_arrays() -> None:
    weights, names = np.arange(100) * 0.5, [f"row {i}" for i in range(100)]
    parts = split(X, Y, weights, names, test_size=0.2, stratify=Y)
    assert [len(part) for part in parts] == [80, 20] * 4
    for train_or_test in (0, 1):
        x, y, w, n = parts[train_or_test::2]
        rows = (x[:, 0] / 2).astype(int)
        np.testing.assert_array_equal(y, Y[rows])
        np.testing.assert_array_equal(w, weights[rows])
        assert list(n) == [names[row] for row in rows]


def test_a_third_number_is_the_size_of_the_test_part() -> None:
    for a, b in zip(split(X, Y, 0.1), split(X, Y, test_size=0.1), strict=True):
        np.testing.assert_array_equal(a, b)
    with refused(TypeError, "test_size"):
        split(X, Y, 0.1, test_size=0.1)
    with refused(TypeError, "test_size"):
        split(X, Y, 0.1, 3)


TABLES = {
    "pandas": lambda: (pd.DataFrame({"a": np.arange(10), "b": list("abcdefghij")}), pd.Series(np.arange(10) % 2)),
    "polars": lambda: (pl.DataFrame({"a": np.arange(10), "b": list("abcdefghij")}), pl.Series(np.arange(10) % 2)),
    "Arrow": lambda: (pa.table({"a": np.arange(10), "b": list("abcdefghij")}), pa.array(np.arange(10) % 2)),
}


@pytest.mark.parametrize("stratify", [None, True, "y"])
@pytest.mark.parametrize("kind", TABLES)
def test_tables_stay_tables(kind: str, stratify: Any) -> None:
    frame, y = TABLES[kind]()
    parts = split(frame, y, test_size=4, stratify=y if stratify == "y" else stratify)
    assert [type(part) for part in parts[:2]] == [type(frame)] * 2
    assert [len(part) for part in parts] == [6, 4, 6, 4]
    plain = split(np.arange(10), np.arange(10) % 2, test_size=4, stratify=stratify and True)
    for part, expected in zip(parts[:2], plain[:2], strict=True):
        np.testing.assert_array_equal(np.asarray(part["a"]), expected)
    for part, expected in zip(parts[2:], plain[2:], strict=True):
        np.testing.assert_array_equal(np.asarray(part), expected)


@pytest.mark.parametrize("classes", [list("aab") * 4, [True, False, True] * 4, [[0, 1], [1, 0], [1, 1]] * 4])
def test_classes_of_any_kind(classes: list[Any]) -> None:
    x = np.arange(12)
    train, test, y_train, y_test = split(x, classes, test_size=0.25, stratify=classes)
    assert len(test) == 3
    assert len(np.unique(np.asarray(y_train), axis=0)) == len(np.unique(np.asarray(classes), axis=0))
    assert sorted([*train, *test]) == list(range(12))
    assert len(y_test) == 3


def test_objects_and_missing_values_are_left_as_they_are() -> None:
    objects = np.array([None, "a", 1.5, True], object)
    values = np.array([np.nan, 1.0, 2.0, np.inf])
    a_train, a_test, b_train, b_test = split(objects, values, test_size=1)
    assert {type(v) for v in [*a_train, *a_test]} == {type(None), str, float, bool}
    assert np.isnan(np.r_[b_train, b_test]).sum() == 1


@pytest.mark.parametrize(
    ("y", "arguments", "patterns"),
    [
        ([0] * 9 + [1], {}, ("least populated class has 1 sample", "at least 2")),
        (list("aaaaaaabbc"), {}, ("least populated class has 1 sample",)),
        ([0, 0, 1, 1, 2, 2, 3, 3, 4, 4], {"test_size": 3}, ("test part has 3 samples for 5 classes", "test_size")),
        ([0, 0, 1, 1, 2, 2, 3, 3, 4, 4], {"test_size": 7}, ("train part has 3 samples for 5 classes", "train_size")),
        ([None, 1, "a", 2.0, None, 1, "a", 2.0, 1, 1], {}, ("stratify", "order", "missing")),
        ([[[0]]] * 10, {}, ("stratify has shape",)),
    ],
)
def test_classes_that_cannot_be_split(y: Any, arguments: dict[str, Any], patterns: tuple[str, ...]) -> None:
    with refused((ValueError, TypeError), r"\[train_test_split\]", *patterns):
        split(np.zeros(10), np.zeros(10), stratify=np.array(y, object) if None in y else y, **arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"test_size": 0.9, "train_size": 0.2}, {"test_size": 60, "train_size": 60}, {"train_size": 0},
        {"train_size": 100}, {"train_size": 1.5}, {"train_size": -0.1}, {"test_size": True},
        {"train_size": "half"}, {"test_size": 0.999},
        {"stratify": np.zeros(99)}, {"stratify": 3},
    ],
)  # fmt: skip
def test_parts_that_cannot_be_made(arguments: dict[str, Any]) -> None:
    with refused((ValueError, TypeError), r"\[train_test_split\]"):
        split(X, Y, **arguments)


def test_what_cannot_be_split() -> None:
    with refused(ValueError, "X has 100 rows, array 2 99"):
        split(X, Y, np.zeros(99))
    with refused(ValueError, "y is a single value"):
        split(X, 3.0)
    with refused(TypeError, "X is a generator"):
        split((row for row in X), Y)
