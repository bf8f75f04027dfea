"""Three parts at once, and rows instead of copies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

import stoop
from helpers import refused

split, rows_of = stoop.data.train_dev_test_split, stoop.data.split_indices
X, Y = np.arange(200.0).reshape(100, 2), np.repeat([0, 1, 2], [60, 30, 10])


def rows(part: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return (part[:, 0] / 2).astype(int)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({}, (60, 20, 20)),
        ({"dev_size": 0.1, "test_size": 0.15}, (75, 10, 15)),
        ({"dev_size": 7, "test_size": 0.201}, (72, 7, 21)),
        ({"dev_size": 10, "test_size": 30, "train_size": 0.5}, (50, 10, 30)),
    ],
)
@pytest.mark.parametrize("stratify", [None, True])
def test_parts_of_all_rows(sizes: dict[str, Any], expected: tuple[int, ...], stratify: Any) -> None:
    parts = split(X, Y, stratify=stratify, **sizes)
    assert tuple(len(part) for part in parts) == expected * 2
    found = np.concatenate([rows(part) for part in parts[:3]])
    assert len(np.unique(found)) == sum(expected)
    for x, y in zip(parts[:3], parts[3:], strict=True):
        np.testing.assert_array_equal(y, Y[rows(x)])
        if stratify:
            shares = np.bincount(y, minlength=3) - len(y) * np.bincount(Y) / 100
            assert np.abs(shares).max() <= 1
    indices = rows_of(100, stratify=None if stratify is None else Y, **{"dev_size": 0.2, **sizes})
    for part, own in zip(parts[:3], indices, strict=True):
        np.testing.assert_array_equal(np.sort(rows(part)), own)


@pytest.mark.parametrize("stratify", [None, Y])
def test_the_test_part_is_that_of_two_parts(stratify: Any) -> None:
    two, three = (
        stoop.data.train_test_split(X, Y, test_size=0.2, seed=4, stratify=stratify),
        split(X, Y, seed=4, stratify=stratify),
    )
    np.testing.assert_array_equal(two[1], three[2])
    train, test = rows_of(X, test_size=0.2, seed=4, stratify=stratify)
    np.testing.assert_array_equal(test, np.sort(rows(two[1])))
    np.testing.assert_array_equal(train, np.sort(rows(two[0])))


def test_a_seed_gives_the_same_parts() -> None:
    for a, b, c in zip(split(X, Y), split(X, Y, seed=0), split(X, Y, seed=1), strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)


def test_data_frames_stay_what_they_are() -> None:
    frame = pd.DataFrame({"a": X[:, 0], "b": [f"row {i}" for i in range(100)]}, index=np.arange(100) + 7)
    parts = split(frame, pd.Series(Y), np.arange(100) * 0.5, stratify=True)
    assert [type(part) for part in parts] == [pd.DataFrame] * 3 + [pd.Series] * 3 + [np.ndarray] * 3
    for x, w in zip(parts[:3], parts[6:], strict=True):
        np.testing.assert_array_equal(x.index - 7, w * 2)


def test_a_memory_map_is_not_copied(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data, y = rng.standard_normal((300, 4)).astype(np.float32), rng.integers(3, size=300)
    np.save(tmp_path / "x.npy", data)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    train, dev, test = rows_of(mapped, dev_size=0.1, test_size=0.1, stratify=y)
    models = [stoop.Model([stoop.Normalization(), stoop.Dense(3)], 4) for _ in range(2)]
    trainers = [stoop.Trainer(model) for model in models]
    fit = {"epochs": 2, "batch_size": 32, "verbose": 0}
    (history,) = stoop.fit_many(trainers[:1], mapped, y, rows=[train], validation_rows=[dev], **fit)
    again = trainers[1].fit(data[train], y[train], validation_data=(data[dev], y[dev]), **fit)
    assert history["val_loss"] == again["val_loss"]
    assert all(
        value.tobytes() == models[1].state_dict()[name].tobytes() for name, value in models[0].state_dict().items()
    )
    assert models[0].predict(mapped[test]).shape == (len(test), 3)


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        ({"dev_size": 0.5, "test_size": 0.5}, "dev_size=0.5.*leave samples in all parts"),
        ({"dev_size": 60, "test_size": 50}, "all parts"),
        ({"dev_size": 0.0}, "dev_size"),
        ({"dev_size": 0}, "dev_size"),
        ({"stratify": np.repeat([0, 1], [98, 2])}, "has 2 samples, too few for all parts"),
        ({"stratify": np.repeat([0, 1], 49)}, r"stratify has shape \(98,\)"),
        ({"dev_size": 2, "stratify": True}, "the dev part has 2 samples for 3 classes"),
    ],
)
def test_what_cannot_be_split(arguments: dict[str, Any], pattern: str) -> None:
    with refused(ValueError, r"\[train_dev_test_split\]", pattern):
        split(X, Y, **arguments)


@pytest.mark.parametrize(
    ("n", "arguments", "pattern"),
    [
        (0, {}, "n is 0"),
        (3.5, {}, "n is 3.5"),
        (10, {"stratify": True}, "give stratify=y"),
        (1, {}, "both parts"),
        (10, {"stratify": np.zeros(9)}, "stratify has shape"),
    ],
)
def test_indices_that_cannot_be_given(n: Any, arguments: dict[str, Any], pattern: str) -> None:
    with refused((ValueError, TypeError), r"\[split_indices\]", pattern):
        rows_of(n, **arguments)
