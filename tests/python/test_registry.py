"""What cases.py lists is what the package has, and each of it goes through configurations and files unchanged."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

import cases
import crossed
import reference
import stoop
from stoop._config import SPECS
from stoop.layers import layer_from_config, layer_to_config


@pytest.mark.parametrize("kind", cases.KINDS)
def test_the_cases_are_the_registry(kind: str) -> None:
    assert set(cases.KINDS[kind]) == set(cases.registry(kind)), "write an entry in cases.py"


@pytest.mark.parametrize("kind", ["activation", "loss", "optimizer", "initializer"])
def test_the_core_knows_the_same_names(kind: str) -> None:
    assert set(SPECS[kind]) == set(cases.registry(kind))


def test_every_case_has_its_formula() -> None:
    formulas: dict[str, dict[str, Any]] = {
        "activation": reference.ACTIVATIONS,
        "loss": reference.LOSSES,
        "schedule": reference.SCHEDULES,
        "initializer": reference.INITIALIZERS,
    }
    for kind, table in formulas.items():
        assert set(table) == set(cases.KINDS[kind]), f"write the formula of the {kind} in reference.py"
    first_order = {name for name, case in cases.OPTIMIZERS.items() if not case.full_batch}
    assert set(reference.OPTIMIZERS) == first_order


@pytest.mark.parametrize(("kind", "name"), crossed.listed())
def test_every_class_is_public_and_says_what_it_is(kind: str, name: str) -> None:
    found = cases.registry(kind)[name]
    module = stoop if kind in ("activation", "layer") else getattr(stoop, crossed.place(kind).rstrip("."))
    assert getattr(module, found.__name__) is found
    if kind in ("activation", "layer"):
        assert found.__name__ in stoop.__all__
    text = inspect.getdoc(found) or ""
    assert len(text) > 30
    for argument in cases.KINDS[kind][name].arguments:
        assert argument in text, f"{argument} is not explained"


# ---- configurations and files ----

LAYERS = {**crossed.activation_layers(), **crossed.calls("layer")}
# A function has no form that the core could write.
SCHEDULES = {
    name: schedule for name, schedule in crossed.calls("schedule").items() if not any(schedule._python_rates())
}
OPTIMIZERS = crossed.optimizer_cases() | crossed.optimizer_cases(full_batch=True)


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_through_configurations_and_files(name: str, trainable: bool, tmp_path: Path) -> None:
    layer = type(LAYERS[name])(**{**vars(LAYERS[name]), "trainable": trainable})
    assert layer_from_config(json.loads(json.dumps(layer_to_config(layer)))) == layer
    layers = [layer, stoop.Dense(3, activation=layer if isinstance(layer, stoop.layers.Activation) else None)]
    model = stoop.Model(layers, input_dim=3)
    model.save(tmp_path / "m.safetensors")
    loaded = stoop.load_model(tmp_path / "m.safetensors").layers
    assert [layer_to_config(each) for each in loaded] == [layer_to_config(each) for each in layers]
    assert type(loaded[0]) is type(layer)


def config_of(**settings: Any) -> dict[str, Any]:
    """What the core has read."""
    model = stoop.Model([stoop.Dense(4)], input_dim=3, dtype="float64")
    return json.loads(stoop.Trainer(model, **settings)._core.config())


@pytest.mark.parametrize("name", crossed.loss_cases())
def test_losses_through_the_core(name: str) -> None:
    loss = crossed.loss_cases()[name].loss
    config = config_of(loss=loss)["loss"]  # the name alone where there is nothing but that
    assert (config if vars(loss) else {"type": config}) == {"type": loss.type_name, **vars(loss)}
    assert config_of(loss=loss.type_name)["loss"] == config_of(loss=type(loss)())["loss"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_through_the_core(name: str) -> None:
    optimizer = OPTIMIZERS[name].make()
    assert config_of(optimizer=optimizer)["optimizer"] == optimizer.to_config()
    assert set(optimizer.to_config()) == {"type", *crossed.contract("optimizer", OPTIMIZERS[name].name)}
    assert config_of(optimizer=optimizer.type_name)["optimizer"] == type(optimizer)().to_config()


@pytest.mark.parametrize("per", ["step", "epoch"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_through_the_core(name: str, per: str) -> None:
    schedule = counting(SCHEDULES[name], per)
    config = config_of(optimizer=stoop.optimizers.SGD(schedule))["optimizer"]["learning_rate"]
    assert config == (schedule.to_config() if schedule.type_name != "constant" else schedule.lr)
    assert schedule.to_config()["per"] == per


def counting(schedule: Any, per: str) -> Any:
    """The same that counts updates or epochs, with all that it holds."""
    if not isinstance(schedule, stoop.schedules.Schedule):
        return schedule
    arguments = vars(schedule) | {"per": per}
    if "rates" in arguments:  # the argument of Piecewise, whose name is that of a method
        arguments["values"] = arguments.pop("rates")
    if "schedules" in arguments:
        arguments["schedules"] = [counting(each, per) for each in arguments["schedules"]]
    if "schedule" in arguments:
        arguments["schedule"] = counting(arguments["schedule"], per)
    return type(schedule)(**arguments)
