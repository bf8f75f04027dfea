"""The dataclasses are what the core says they are: names, fields in order, defaults, bounds and hints."""

from __future__ import annotations

import dataclasses
import inspect
import math
from typing import Any

import pytest

import cases
import stoop
from helpers import refused
from stoop._config import SPECS, Config, bounds_of, class_named

KINDS = ["activation", "layer", "loss", "optimizer", "schedule"]
NAMES = [(kind, name) for kind in KINDS for name in SPECS[f"{kind}s"]]
# What is not one field each: the layers of a Residual, the arguments of Piecewise, whose `values` are a method.
OTHERWISE = {("layer", "residual"), ("schedule", "piecewise")}


def class_of(kind: str, name: str) -> Any:
    bases = {
        "activation": stoop.layers.Activation,
        "layer": stoop.layers.Layer,
        "loss": stoop.losses.Loss,
        "optimizer": stoop.optimizers.Optimizer,
        "schedule": stoop.schedules.Schedule,
    }
    return class_named(bases[kind], name)


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_fields_and_defaults(kind: str, name: str) -> None:
    spec, found = SPECS[f"{kind}s"][name], class_of(kind, name)
    assert found.__name__ == spec["class"]
    assert (found.type_name, found._spec) == (name, SPECS[f"{found._kind}s"][name])
    arguments = inspect.signature(found).parameters
    names = [n for n in arguments if n != "trainable"], [n for n in spec["fields"] if n != "trainable"]
    if kind == "schedule":  # whose files have an order of their own, and no functions
        names = sorted(set(names[0]) - {"function"}), sorted(names[1])
    assert names[0] == names[1]
    for key, field in spec["fields"].items():
        default = arguments[key].default
        if default is inspect.Parameter.empty or (kind, name) == ("schedule", "step"):
            continue
        assert not field["required"]
        if field["type"] == "object" and field["default"] is None:
            continue
        assert default == field["default"]
        assert type(default) is type(field["default"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_classes_are_those_of_the_core(kind: str) -> None:
    first = class_of(kind, next(iter(SPECS[f"{kind}s"])))
    known = stoop.layers.Layer._known if kind == "layer" else first._known
    assert sorted(known) == sorted(SPECS[f"{kind}s"])


def arguments_of(kind: str, name: str) -> dict[str, Any]:
    case = cases.KINDS["activation" if name in cases.KINDS["activation"] else kind][name]
    return next((other for other in case.others), {}) if cases.REQUIRED in case.arguments.values() else {}


NUMBERS = [
    (kind, name, key)
    for kind, name in NAMES
    for key, field in SPECS[f"{kind}s"][name]["fields"].items()
    if field["type"] in ("float", "int") and (kind, name) not in OTHERWISE
]


@pytest.mark.parametrize(("kind", "name", "key"), NUMBERS)
def test_bounds_and_hints_are_those_of_the_core(kind: str, name: str, key: str) -> None:
    field, found = SPECS[f"{kind}s"][name]["fields"][key], class_of(kind, name)
    arguments = arguments_of(kind, name)
    for value in outside(field):
        with refused(ValueError, key) as caught:
            found(**{**arguments, key: value})
        assert str(caught.value).startswith(f"[{found.__name__}] {key} is "), value
        assert field["expected"] in str(caught.value)
        assert field["hint"] in str(caught.value) or (name == "dropout" and value > 1)
    with refused(TypeError, f"give {key} as"):
        found(**{**arguments, key: "a"})


def outside(field: dict[str, Any]) -> list[float]:
    whole = field["type"] == "int"
    least = 1 if whole else 1e-6
    out = [] if whole else [math.nan, math.inf, -math.inf]
    if field["low"] is not None:
        low = int(field["low"]) if whole else field["low"]
        out.append(low if field["without_low"] else low - least)
    if field["high"] is not None:
        high = int(field["high"]) if whole else field["high"]
        out.append(high if field["without_high"] else high + least)
    return out


def test_the_words_of_a_range() -> None:
    for kind, name, key in NUMBERS:
        field = SPECS[f"{kind}s"][name]["fields"][key]
        if field["type"] == "float":
            assert bounds_of(field).words(key) == field["expected"]


def test_what_the_base_class_gives() -> None:
    class Mine(stoop.losses.Huber):
        """A subclass of a user is what it derives from, and takes no name away."""

    assert class_named(stoop.losses.Loss, "huber") is stoop.losses.Huber
    assert Mine(2.0).to_config() == {"type": "huber", "delta": 2.0}
    assert dataclasses.replace(Mine(2.0), delta=3).delta == 3.0
    assert issubclass(stoop.ReLU, stoop.layers.Layer)
    assert class_named(stoop.layers.Layer, "relu") is class_named(stoop.layers.Activation, "relu") is stoop.ReLU
    assert issubclass(stoop.optimizers.Adam, Config)
