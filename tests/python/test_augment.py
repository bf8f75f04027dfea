"""Augmentation against NumPy and SciPy: what it makes of samples, and what it draws."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from scipy import stats

import stoop
from helpers import MESSAGE
from reference_augment import augmented, mixes
from stoop import _core
from stoop.augment import Augment

ALL = {"flip": "both", "shift": (1.5, 2.5), "rotate": 20.0, "zoom": (0.8, 1.3), "shear": 10.0, "elastic": (20.0, 3.0)}
CASES: dict[str, dict[str, Any]] = {
    "flip": {"flip": True},
    "flip both": {"flip": "both"},
    "whole shift": {"shift": 3},
    "shift": {"shift": 2.5},
    "shift down": {"shift": (4, 0), "fill": -1.0},
    "rotate": {"rotate": 30.0},
    "turn": {"rotate": 360.0, "fill": 0.5},
    "zoom": {"zoom": 0.3},
    "zoom out": {"zoom": (0.4, 0.6), "fill": 0.0},
    "shear": {"shear": 25.0},
    "elastic": {"elastic": (34.0, 4.0)},
    "elastic fill": {"elastic": (8.0, 1.0), "fill": 2.0},
    "noise": {"noise": 0.3},
    "mixup": {"mixup": 0.4},
    "all": ALL,
    "all and more": {**ALL, "noise": 0.1, "mixup": 1.0, "fill": 0.25, "seed": 5},
}
SHAPES = [(28, 28), (7, 5), (9, 1), (1, 12), (1, 1), (16, 31), (8, 8, 3), (5, 6, 2)]


def images_of(shape: tuple[int, ...], samples: int = 6, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(3).random((samples, int(np.prod(shape)))).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("case", CASES)
def test_equals_scipy(case: str, shape: tuple[int, ...]) -> None:
    augment = Augment(shape, **CASES[case])
    X = images_of(shape)
    np.testing.assert_allclose(augment(X, epoch=2), augmented(augment, X, epoch=2), rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", ["all", "all and more", "noise"])
def test_equals_scipy_in_float64(case: str) -> None:
    augment = Augment((13, 17), **CASES[case])
    X = images_of((13, 17), dtype=np.float64)
    out = augment(X)
    assert out.dtype == np.float64
    atol = 1e-12 if case == "all" else 2e-7  # noise is drawn in float32
    np.testing.assert_allclose(out, augmented(augment, X), rtol=0, atol=atol)


@pytest.mark.parametrize("crop", [(20, 20), (28, 14), (1, 1), (28, 28), (5, 27)])
def test_a_crop_equals_scipy(crop: tuple[int, int]) -> None:
    augment = Augment((28, 28), crop=crop, flip=True)
    X = images_of((28, 28))
    np.testing.assert_allclose(augment(X), augmented(augment, X), rtol=0, atol=1e-5)


def test_uint8_counts_as_it_is() -> None:
    augment = Augment((9, 8), rotate=15.0, noise=2.0)
    X = np.random.default_rng(0).integers(0, 256, (5, 72)).astype(np.uint8)
    out = augment(X)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, augmented(augment, X), rtol=0, atol=1e-5 * 255)


def test_whole_shifts_and_flips_keep_the_values_of_pixels() -> None:
    augment = Augment((28, 27), shift=2, flip="both", fill=-7.0)
    X = images_of((28, 27), 40)
    for i, image in enumerate(augment(X).reshape(-1, 28, 27)):
        draw = _core.augment_draws(augment._settings, 0, 0, i, len(X))
        down, across = (int(value) for value in draw["shift"])
        whole = X[i].reshape(28, 27)[:: -1 if draw["flip_down"] else 1, :: -1 if draw["flip_across"] else 1]
        expected = np.full((32, 31), -7.0, np.float32)
        expected[2 + down : 30 + down, 2 + across : 29 + across] = whole
        np.testing.assert_array_equal(image, expected[2:30, 2:29])


def test_a_sample_is_a_function_of_seed_epoch_and_position() -> None:
    augment = Augment((6, 6), **ALL, noise=0.1)
    X = np.repeat(images_of((6, 6), 1), 400, axis=0)
    out = augment(X)
    assert len(np.unique(out, axis=0)) == len(X)
    np.testing.assert_array_equal(out, augment(X))
    np.testing.assert_array_equal(out[:7], augment(X[:7]))
    assert not np.any(np.all(out == augment(X, epoch=1), axis=1))
    other = Augment((6, 6), **ALL, noise=0.1, seed=1)
    assert not np.any(np.all(out == other(X), axis=1))
    np.testing.assert_array_equal(out, Augment((6, 6), **ALL, noise=0.1, seed=0)(X))


def test_the_number_of_threads_changes_no_bit() -> None:
    augment = Augment((28, 28), **ALL, noise=0.1, mixup=0.3)
    X, y = images_of((28, 28), 900), np.arange(900) % 3
    seen = []
    for threads in (1, 2, 3):
        with stoop.num_threads(threads):
            seen.append(augment(X, 1, y))
    for other in seen[1:]:
        np.testing.assert_array_equal(other[0], seen[0][0])
        np.testing.assert_array_equal(other[1], seen[0][1])


def drawn(samples: int = 4000, **settings: Any) -> dict[str, np.ndarray]:
    augment = Augment((20, 30), **settings)
    draws = [_core.augment_draws(augment._settings, 3, 1, i, samples) for i in range(samples)]
    return {name: np.array([draw[name] for draw in draws]) for name in draws[0]}


def assert_uniform(values: np.ndarray, low: float, high: float) -> None:
    assert values.min() >= low
    assert values.max() <= high
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-3


def test_draws_are_uniform_and_independent() -> None:
    draws = drawn(flip="both", shift=(2.0, 5.0), rotate=30.0, zoom=(0.5, 1.5), shear=10.0, crop=(18, 5))
    assert_uniform(draws["shift"][:, 0], -2.0, 2.0)
    assert_uniform(draws["shift"][:, 1], -5.0, 5.0)
    assert_uniform(np.degrees(draws["angle"]), -30.0, 30.0)
    assert_uniform(np.degrees(draws["shear"]), -10.0, 10.0)
    assert_uniform(draws["zoom"], 0.5, 1.5)
    for column, places in ((0, 3), (1, 26)):
        counts = np.bincount(draws["corner"][:, column], minlength=places)
        assert len(counts) == places
        assert stats.chisquare(counts).pvalue > 1e-3
    for name in ("flip_across", "flip_down"):
        assert stats.binomtest(int(draws[name].sum()), 4000).pvalue > 1e-3
    columns = np.column_stack([values.reshape(4000, -1).astype(float) for values in draws.values()])
    correlation = np.corrcoef(columns.T) - np.eye(columns.shape[1])
    assert np.abs(correlation).max() < 4.5 / np.sqrt(4000)


def test_whole_shifts_are_all_alike() -> None:
    shifts = drawn(shift=(2, 0))["shift"]
    assert set(shifts[:, 0]) == {-2.0, -1.0, 0.0, 1.0, 2.0}
    assert not shifts[:, 1].any()
    assert stats.chisquare(np.unique(shifts[:, 0], return_counts=True)[1]).pvalue > 1e-3


@pytest.mark.parametrize("alpha", [0.15, 0.4, 1.0, 3.0, 200.0])
def test_shares_are_from_a_beta_distribution(alpha: float) -> None:
    draws = drawn(mixup=alpha)
    assert np.all((draws["share"] >= 0.0) & (draws["share"] <= 1.0))
    assert stats.kstest(draws["share"], stats.beta(alpha, alpha).cdf).pvalue > 1e-3
    assert_uniform(draws["partner"], 0, 3999)


def test_noise_is_normal() -> None:
    noise = Augment(None, noise=2.0)(np.zeros((500, 300), np.float32))
    assert stats.kstest(noise.ravel() / 2.0, stats.norm.cdf).pvalue > 1e-3
    assert abs(np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]) < 0.015
    assert abs(np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]) < 0.015


def test_tiny_and_huge_shares_stay_finite() -> None:
    for alpha in (1e-3, 1e6):
        share = drawn(200, mixup=alpha)["share"]
        assert np.all(np.isfinite(share))
        assert abs(share.mean() - 0.5) < 0.15


def test_targets_are_mixed_like_samples() -> None:
    augment = Augment(None, mixup=0.7)
    X = images_of((5,), 50)
    share, partner = mixes(augment, 50)
    labels = np.array(["b", "a", "c", "a", "b"] * 10)
    one_hot = (labels[:, None] == np.array(["a", "b", "c"])).astype(float)
    _, mixed = augment(X, y=labels)
    np.testing.assert_allclose(mixed, share[:, None] * one_hot + (1 - share[:, None]) * one_hot[partner], atol=1e-6)
    values = X.sum(axis=1)
    _, mixed = augment(X, y=values)
    assert mixed.shape == (50,)
    np.testing.assert_allclose(mixed, share * values + (1 - share) * values[partner], atol=1e-6)
    _, as_given = Augment(None, noise=1.0)(X, y=labels)
    np.testing.assert_array_equal(as_given, labels)


@pytest.mark.parametrize("shape", [(6, 28, 28), (6, 784), (6, 28, 28, 1)])
def test_the_shape_of_X_is_kept(shape: tuple[int, ...]) -> None:
    augment = Augment(shift=1.5)
    X = images_of((28, 28))
    out = augment(X.reshape(shape))
    assert out.shape == shape
    np.testing.assert_array_equal(out.reshape(6, -1), augment(X))


def test_copies_and_pickles_change_alike() -> None:
    augment = Augment((4, 4), rotate=5.0, mixup=0.2, fill=1.0)
    X = images_of((4, 4))
    for other in (copy.deepcopy(augment), pickle.loads(pickle.dumps(augment))):
        assert other == augment
        np.testing.assert_array_equal(other(X), augment(X))


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({}, ValueError, "changes nothing"),
    ({"shift": -1}, ValueError, "shift"),
    ({"shift": "2"}, TypeError, "shift"),
    ({"shift": (1, 2, 3)}, TypeError, "shift"),
    ({"shift": np.nan}, ValueError, "shift"),
    ({"rotate": 400.0}, ValueError, "rotate"),
    ({"rotate": True}, TypeError, "rotate"),
    ({"zoom": 1.0}, ValueError, "zoom"),
    ({"zoom": (1.2, 0.8)}, ValueError, "zoom"),
    ({"shear": 90.0}, ValueError, "shear"),
    ({"crop": (29, 3)}, ValueError, "crop"),
    ({"crop": 20}, TypeError, "crop"),
    ({"elastic": (34.0, 0.0)}, ValueError, "sigma"),
    ({"elastic": (-1.0, 4.0)}, ValueError, "alpha"),
    ({"elastic": 34.0}, TypeError, "elastic"),
    ({"noise": -0.1}, ValueError, "noise"),
    ({"mixup": -0.1}, ValueError, "mixup"),
    ({"flip": "sideways"}, ValueError, "flip"),
    ({"flip": 1}, TypeError, "flip"),
    ({"fill": "reflect", "shift": 1}, ValueError, "fill"),
    ({"fill": np.inf, "shift": 1}, ValueError, "fill"),
    ({"seed": -1, "shift": 1}, ValueError, "seed"),
    ({"image_shape": (28,), "shift": 1}, TypeError, "image_shape"),
    ({"image_shape": (0, 28), "shift": 1}, ValueError, "image_shape"),
    ({"image_shape": None, "shift": 1}, ValueError, "image_shape"),
]


@pytest.mark.parametrize(("settings", "error", "words"), BAD, ids=str)
def test_bad_settings(settings: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as raised:
        Augment(**settings)
    assert MESSAGE.fullmatch(str(raised.value))


@pytest.mark.parametrize(
    ("X", "y"),
    [
        (np.zeros((3, 783)), None),
        (np.zeros(784), None),
        (np.zeros((0, 784)), None),
        (np.full((2, 784), np.nan), None),
        (np.zeros((3, 784)), [0, 1]),
    ],
)
def test_bad_samples(X: Any, y: Any) -> None:
    with pytest.raises(ValueError) as raised:
        Augment(shift=1, mixup=0.2)(X, y=y)
    assert MESSAGE.fullmatch(str(raised.value))


def test_settings_may_be_lists_and_arrays() -> None:
    given = Augment(image_shape=[28, 28], shift=np.array([1, 2]), zoom=[0.9, 1.1], elastic=np.array([34.0, 4.0]))  # type: ignore[arg-type]
    plain = Augment(image_shape=(28, 28), shift=(1, 2), zoom=(0.9, 1.1), elastic=(34.0, 4.0))
    assert given == plain
    assert hash(given) == hash(plain)


def test_a_single_image_is_told_to_be_one() -> None:
    with pytest.raises(ValueError, match=r"that of one image.*X\[None\]"):
        Augment(shift=2)(np.zeros((28, 28), np.float32))
    assert Augment(noise=0.1)(np.zeros((28, 28), np.float32)).shape == (28, 28)  # rows of a table
