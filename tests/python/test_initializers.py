"""How the parameters of a model start."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cases
import reference
import stoop
from helpers import DTYPES, bits, refused
from test_model import make_model


def weight_of(
    kernel_init: Any = None,
    activation: str | None = None,
    fan_in: int = 1000,
    fan_out: int = 1200,
    dtype: str = "float64",
) -> Any:
    layers = [stoop.Dense(fan_out, activation=activation, kernel_init=kernel_init)]
    return stoop.Model(layers, input_dim=fan_in, dtype=dtype).parameters()["0.weight"]


def assert_distribution(weight: Any, expected: float, *, uniform: bool) -> None:
    """Mean 0 and the variance, within five standard errors; bounded where uniform, long-tailed where normal."""
    n = weight.size
    assert abs(weight.mean()) < 5 * math.sqrt(expected / n)
    kurtosis = 1.8 if uniform else 3.0
    assert abs(weight.var() / expected - 1) < 5 * math.sqrt((kurtosis - 1) / n)
    assert np.mean((weight / math.sqrt(expected)) ** 4) == pytest.approx(kurtosis, rel=0.05)
    if uniform:
        assert abs(weight).max() <= math.sqrt(3 * expected)
    correlation = np.corrcoef(weight[:, :20].T) - np.eye(20)  # of one column with another
    assert abs(correlation).max() < 6 / math.sqrt(len(weight))


@pytest.mark.parametrize("name", cases.INITIALIZERS)
def test_initializers(name: str) -> None:
    value = cases.INITIALIZERS[name]
    weight = weight_of(name if value is None else getattr(stoop.initializers, name)(value))
    expected = reference.INITIALIZERS[name](1000, 1200, value or 0.0)
    if name.endswith(("uniform", "normal")):
        assert_distribution(weight, expected, uniform=name.endswith("uniform"))
    else:
        assert weight.var() == pytest.approx(expected, rel=1e-2, abs=1e-30)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gain", [1.0, 0.3])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (6, 6), (17, 5), (1000, 300), (300, 1000)], ids=str)
def test_the_orthogonal_initializer(shape: tuple[int, int], gain: float, dtype: str) -> None:
    """Saxe, McClelland & Ganguli 2014: rows or columns, whichever are fewer, are orthogonal and `gain` long."""
    weight = weight_of(stoop.initializers.orthogonal(gain), None, *shape, dtype).astype("float64")
    gram = weight @ weight.T if shape[0] <= shape[1] else weight.T @ weight
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(gram / gain**2, np.eye(min(shape)), rtol=0, atol=tolerance)
    np.testing.assert_allclose(np.mean(weight**2), gain**2 / max(shape), rtol=tolerance)


def test_the_orthogonal_initializer_by_name_and_by_seed() -> None:
    orthogonal = stoop.initializers.orthogonal
    weight = weight_of("orthogonal", None, 30, 20)
    np.testing.assert_array_equal(weight, weight_of(orthogonal(), None, 30, 20))
    np.testing.assert_array_equal(2.0 * weight, weight_of(orthogonal(gain=2.0), None, 30, 20))
    assert stoop.initializers.Initializer("orthogonal") == orthogonal()
    narrow = weight_of("orthogonal", None, 30, 20, "float32")
    np.testing.assert_array_equal(narrow, weight.astype("float32"))
    twins = stoop.Model([stoop.Dense(6, kernel_init="orthogonal")] * 2, input_dim=6).parameters()
    assert not np.array_equal(twins["0.weight"], twins["1.weight"])
    for gain, error in ((-1.0, ValueError), (float("nan"), ValueError), ("1", TypeError)):
        with refused(error, "gain"):
            orthogonal(gain)
    with refused(TypeError, r"orthogonal\(\.\.\.\)"):
        stoop.Dense(3, kernel_init=orthogonal)


def test_initializers_are_saved_with_the_model(tmp_path: Path) -> None:
    given = stoop.initializers
    layers = [
        stoop.Dense(4, kernel_init=given.orthogonal(0.5), bias_init=given.constant(0.1)),
        stoop.Dense(3, kernel_init="orthogonal", bias_init=given.orthogonal()),
    ]
    stoop.Model(layers, input_dim=5).save(tmp_path / "m.safetensors")
    first, second = stoop.load_model(tmp_path / "m.safetensors").layers
    assert (first.kernel_init, first.bias_init) == (given.orthogonal(0.5), given.constant(0.1))
    assert (second.kernel_init, second.bias_init) == (given.orthogonal(), given.orthogonal())


@pytest.mark.parametrize("activation", [None, *cases.ACTIVATIONS])
def test_the_default_initializer_follows_the_activation(activation: str | None) -> None:
    name = "glorot_uniform" if activation is None else cases.ACTIVATIONS[activation].start
    weight = weight_of(activation=activation)
    expected = reference.INITIALIZERS[name](1000, 1200, 0.0)
    assert_distribution(weight, expected, uniform=name.endswith("uniform"))
    np.testing.assert_array_equal(weight, weight_of(name, activation))


def test_the_default_initializer_follows_an_activation_layer() -> None:
    model = stoop.Model([stoop.Dense(1200), stoop.ReLU()], input_dim=1000, dtype="float64")
    np.testing.assert_array_equal(model.parameters()["0.weight"], weight_of("he_normal"))


def test_constant_initializers() -> None:
    np.testing.assert_array_equal(weight_of("zeros"), 0)
    np.testing.assert_array_equal(weight_of("ones"), 1)
    model = stoop.Model([stoop.Dense(3, bias_init="ones"), stoop.Dense(2)], input_dim=4)
    np.testing.assert_array_equal(model.parameters()["0.bias"], 1)
    np.testing.assert_array_equal(model.parameters()["1.bias"], 0)


def test_the_seed_decides_the_start() -> None:
    assert bits(make_model(seed=3)) == bits(make_model(seed=3))
    starts = [bits(make_model(seed=seed))["0.weight"] for seed in (0, 1, 2, 2**32, 2**63)]
    assert len(set(starts)) == len(starts)
    model = stoop.Model([stoop.Dense(6)] * 2, input_dim=6, seed=0)
    assert not np.array_equal(model.parameters()["0.weight"], model.parameters()["1.weight"])


def test_float32_starts_where_float64_does() -> None:
    for name, value in make_model("float64").parameters().items():
        np.testing.assert_allclose(make_model("float32").parameters()[name], value, rtol=1e-6)
