"""Layers, losses, optimizers, schedules and initialisers are plain data: each survives every way to copy one."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import cases
import crossed
import stoop
from helpers import refused
from stoop import initializers, optimizers, schedules

NAMES = {c.__name__: c for kind in cases.KINDS if kind != "initializer" for c in cases.registry(kind).values()}
NAMES["Initializer"] = initializers.Initializer


def specs() -> dict[str, Callable[[], Any]]:
    made = {name: lambda spec=spec: spec for name, spec in crossed.everything().items()}
    made["SGD with a schedule"] = lambda: optimizers.SGD(schedules.Warmup(schedules.Piecewise([1], [0.1, 0.2]), 3), 0.9)
    made["Adam after a step"] = used_adam
    made["Dense of objects"] = lambda: stoop.Dense(
        2, activation=stoop.LeakyReLU(0.3, trainable=False), kernel_init=initializers.orthogonal(2), trainable=False
    )
    made["NumPy numbers"] = lambda: optimizers.SGD(np.float32(0.5), np.float64(0.5), dampening=np.float32(1))
    made["BatchNorm of NumPy numbers"] = lambda: stoop.BatchNorm(np.float32(1), np.float64(1e-3))
    made["OneCycle of NumPy numbers"] = lambda: schedules.OneCycle(np.float64(0.1), np.int64(5), pct_start=np.int64(1))
    made["Dense of NumPy numbers"] = lambda: stoop.Dense(np.int64(3), use_bias=np.True_, l1=np.float32(0.5))
    made["Initializer of NumPy numbers"] = lambda: initializers.Initializer("uniform", np.float32(0.5))
    made["Piecewise by epochs"] = lambda: schedules.Piecewise((), [np.float64(0.1)], per="epoch")
    return made


def used_adam() -> Any:
    optimizer = optimizers.Adam()
    optimizer.step([np.zeros(2)], [np.ones(2)])
    return optimizer


SPECS = specs()
WAYS: dict[str, Callable[[Any], Any]] = {
    "replace": dataclasses.replace,
    "repr": lambda spec: eval(repr(spec), {**NAMES, "stoop": stoop}),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda spec: pickle.loads(pickle.dumps(spec)),
    "pickle 2": lambda spec: pickle.loads(pickle.dumps(spec, protocol=2)),
    "again": lambda spec: type(spec)(
        **{name: getattr(spec, {"values": "rates"}.get(name, name)) for name in arguments_of(type(spec))}
    ),
}


def arguments_of(kind: type) -> list[str]:
    return [name for name in inspect.signature(kind).parameters if name != "self"]


# A function has no repr that can be evaluated.
CROSSED = [(name, way) for name in SPECS for way in WAYS if not ("falling" in name and way == "repr")]


@pytest.mark.parametrize(("name", "way"), CROSSED)
def test_a_copy_is_equal_and_hashes_alike(name: str, way: str) -> None:
    spec = SPECS[name]()
    twin = WAYS[way](spec)
    assert type(twin) is type(spec)
    assert twin == spec
    assert hash(twin) == hash(spec)
    assert repr(twin) == repr(spec)
    assert dataclasses.asdict(twin) == dataclasses.asdict(spec)
    assert spec not in (None, 3, type(spec).__name__)


FIELDS = [
    (name, field.name)
    for name, make in SPECS.items()
    for field in dataclasses.fields(make())
    if isinstance(getattr(make(), field.name), float | bool)
    and not (field.name == "nesterov" or getattr(make(), "nesterov", False))  # which needs a momentum and no dampening
]


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_every_number_and_flag_can_be_replaced(name: str, field: str) -> None:
    spec = SPECS[name]()
    value = getattr(spec, field)
    new = (not value) if isinstance(value, bool) else value * 0.9 + 0.017
    twin = dataclasses.replace(spec, **{field: new})
    assert getattr(twin, field) == new
    assert twin != spec
    assert dataclasses.replace(twin, **{field: value}) == spec


@pytest.mark.parametrize("name", SPECS)
def test_numbers_are_kept_as_pythons_own(name: str) -> None:
    spec = SPECS[name]()
    for field in dataclasses.fields(spec):
        assert not isinstance(getattr(spec, field.name), np.generic), field.name
    if hasattr(spec, "to_config"):
        json.dumps(spec.to_config())


@pytest.mark.parametrize("name", SPECS)
def test_fields_cannot_be_set(name: str) -> None:
    spec = SPECS[name]()
    for field in [*dataclasses.fields(spec)]:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(spec, field.name, None)


def test_piecewise() -> None:
    spec = schedules.Piecewise([10, 20], [0.1, 0.01, 0.001])
    assert spec.rates == (0.1, 0.01, 0.001)
    assert repr(spec) == "Piecewise(boundaries=(10, 20), values=(0.1, 0.01, 0.001), per='step')"
    moved = dataclasses.replace(spec, values=[1, 2, 3], per="epoch")
    assert moved == schedules.Piecewise([10, 20], [1, 2, 3], "epoch")
    assert dataclasses.replace(spec, boundaries=[1, 2]).values(3).tolist() == [0.1, 0.01, 0.001]
    assert spec.values(11).tolist() == [0.1] * 10 + [0.01]
    with refused(ValueError, "one value more"):
        dataclasses.replace(spec, boundaries=[1])
    with refused(TypeError, "values is"):
        schedules.Piecewise([1], schedules.Constant(0.1).values)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [True, -0.1, 1.1, np.nan, "1", None])
@pytest.mark.parametrize(
    "make",
    [
        lambda value: stoop.BatchNorm(momentum=value),
        lambda value: optimizers.SGD(dampening=value),
        lambda value: schedules.OneCycle(0.1, 5, pct_start=value),
    ],
    ids=["momentum", "dampening", "pct_start"],
)
def test_fractions_up_to_one(make: Callable[[Any], Any], value: Any) -> None:
    with refused((ValueError, TypeError), "momentum|dampening|pct_start"):
        make(value)
    make(1)
    make(np.float32(1))
    make(0)


@pytest.mark.parametrize(
    ("name", "value"), [("normal", "0.1"), ("normal", -1.0), ("constant", np.nan), ("uniform", [1])]
)
def test_the_value_of_an_initializer_is_checked(name: str, value: Any) -> None:
    with refused((ValueError, TypeError), "value"):
        initializers.Initializer(name, value)
