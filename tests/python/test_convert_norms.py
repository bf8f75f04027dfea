"""Norms of PyTorch and Keras that have no parameters, or few: each gets its own, or they are refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop
from stoop import convert
from test_convert import Variable

Array = npt.NDArray[Any]


def normalized(value: Array, kind: Any, of: dict[str, Array]) -> Array:
    mean, var = value.mean(1, keepdims=True), value.var(1, keepdims=True)
    if kind is stoop.BatchNorm:
        mean, var = of["moving_mean"], of["moving_variance"]
    scaled: Array = (value - mean) / np.sqrt(var + 1e-5) * of.get("gamma", 1.0) + of.get("beta", 0.0)
    return scaled


B, L = stoop.BatchNorm, stoop.LayerNorm
STATISTICS = ["moving_mean", "moving_variance"]
ALL = ["gamma", "beta", *STATISTICS]
Norms = Sequence[tuple[Any, list[str]]]
KERAS: dict[str, Norms] = {
    "a BatchNorm without scale, a LayerNorm": [(B, ["beta", *STATISTICS]), (L, ["gamma", "beta"])],
    "two BatchNorms": [(B, ["beta", *STATISTICS]), (B, ["gamma", *STATISTICS])],
    "two LayerNorms": [(L, ["gamma"]), (L, ["beta"])],
    "two whole ones": [(L, ["gamma", "beta"]), (L, ["gamma", "beta"])],
    "a LayerNorm without any before a BatchNorm": [(L, []), (B, ALL)],
    "a LayerNorm without any after a BatchNorm": [(B, STATISTICS), (L, [])],
    "two LayerNorms without any": [(L, []), (L, [])],
}


def variables(norms: Norms, rng: np.random.Generator) -> tuple[dict[str, Array], list[Any]]:
    arrays = {"dense/kernel": rng.random((3, 4)), "dense/bias": rng.random(4)}
    for place, (_, names) in enumerate(norms):
        arrays |= {f"norm_{place}/{name}": rng.random(4) for name in names}
    arrays |= {"dense_1/kernel": rng.random((4, 2)), "dense_1/bias": rng.random(2)}
    return arrays, [stoop.Dense(4), *(kind() for kind, _ in norms), stoop.Dense(2)]


@pytest.mark.parametrize("activation", [False, True])
@pytest.mark.parametrize("name", KERAS)
def test_norms_of_keras_get_their_own(name: str, activation: bool, rng: np.random.Generator) -> None:
    arrays, layers = variables(KERAS[name], rng)
    value = X = rng.random((5, 3))
    value = value @ arrays["dense/kernel"] + arrays["dense/bias"]
    for place, (kind, names) in enumerate(KERAS[name]):
        value = normalized(value, kind, {each: arrays[f"norm_{place}/{each}"] for each in names})
        value = np.tanh(value) if activation and place == 0 else value
    if activation:
        layers.insert(2, stoop.Tanh())
    model = convert.from_keras([Variable(path, array) for path, array in arrays.items()], layers)
    expected = value @ arrays["dense_1/kernel"] + arrays["dense_1/bias"]
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-6)


@pytest.mark.parametrize("names", [["gamma"], ["gamma", "beta"]])
def test_one_of_two_norms_of_keras_has_parameters(names: list[str], rng: np.random.Generator) -> None:
    arrays, layers = variables([(L, []), (L, names)], rng)
    with pytest.raises(
        ValueError, match=r"norm_1 comes where the LayerNorm of layer 1 and 1 other come; .*one for eac"
    ):
        convert.from_keras([Variable(path, array) for path, array in arrays.items()], layers)


def test_a_norm_of_keras_without_statistics(rng: np.random.Generator) -> None:
    arrays, layers = variables([(B, ["gamma", "beta"])], rng)
    with pytest.raises(
        ValueError, match=r"norm_0 has gamma, beta where the BatchNorm of layer 1 comes; expected moving_"
    ):
        convert.from_keras([Variable(path, array) for path, array in arrays.items()], layers)
    with pytest.raises(ValueError, match=r"dense_1 has kernel, bias where the BatchNorm of layer 1 comes"):
        arrays, layers = variables([(L, [])], rng)
        layers[1] = stoop.BatchNorm()
        convert.from_keras([Variable(path, array) for path, array in arrays.items()], layers)


# ---- PyTorch ----


def state(rng: np.random.Generator, norms: Sequence[str]) -> dict[str, Array]:
    """Return arrays of a Linear, of these norms ("-": none, "L", "B") with activations between them, and a Linear."""
    found = {"0.weight": rng.random((4, 3))}
    for place, kind in enumerate(norms):
        if kind != "-":
            found |= {f"{2 * place + 1}.{name}": rng.random(4) for name in ("weight", "bias")}
        if kind == "B":
            found |= {f"{2 * place + 1}.{name}": rng.random(4) for name in ("running_mean", "running_var")}
    return found | {"9.weight": rng.random((2, 4))}


@pytest.mark.parametrize("norms", ["-L", "L-", "L-L", "LBL-"])
def test_which_of_several_norms_has_parameters(norms: str, rng: np.random.Generator) -> None:
    layers: list[Any] = [stoop.BatchNorm() if kind == "B" else stoop.LayerNorm() for kind in norms]
    with pytest.raises(ValueError, match=r"comes where the LayerNorm of layer \d and 1 other come|and 2 others come"):
        convert.from_torch(state(rng, norms), [stoop.Dense(4), *layers, stoop.Dense(2)])


@pytest.mark.parametrize("norms", ["LL", "--", "-B", "B-", "LB-", "-BL"])
def test_several_norms_that_are_told_apart(norms: str, rng: np.random.Generator) -> None:
    layers: list[Any] = [stoop.BatchNorm() if kind in "B" else stoop.LayerNorm() for kind in norms]
    arrays = state(rng, norms)
    model = convert.from_torch(arrays, [stoop.Dense(4), *layers, stoop.Dense(2)])
    value = X = rng.random((5, 3))
    value = value @ arrays["0.weight"].T
    names = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    for place, kind in enumerate(norms):
        prefix = f"{2 * place + 1}."
        of = {names[key.removeprefix(prefix)]: array for key, array in arrays.items() if key.startswith(prefix)}
        value = normalized(value, B if kind == "B" else L, of)
    np.testing.assert_allclose(model.predict(X), value @ arrays["9.weight"].T, rtol=1e-6)
