"""Options that are 0, 1 or infinite in the element type of the model are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import stoop
from helpers import refused

SMALL = 1e-40  # which training takes for 0 in float32, and float64 holds


def trainers(dtype: str, **settings: Any) -> stoop.Trainer:
    return stoop.Trainer(stoop.Model([stoop.Dense(2)], input_dim=2, dtype=dtype), **settings)


OPTIMIZERS: dict[str, Any] = {
    "Adam eps": lambda: stoop.optimizers.Adam(eps=1e-30),
    "AdamW eps": lambda: stoop.optimizers.AdamW(eps=1e-30),
    "Nadam eps": lambda: stoop.optimizers.Nadam(eps=1e-30),
    "RMSProp eps": lambda: stoop.optimizers.RMSProp(eps=1e-30),
    "AdaGrad eps": lambda: stoop.optimizers.AdaGrad(eps=1e-30),
    "AdamW weight_decay": lambda: stoop.optimizers.AdamW(weight_decay=SMALL),
    "Lion weight_decay": lambda: stoop.optimizers.Lion(weight_decay=SMALL),
    "SGD learning_rate": lambda: stoop.optimizers.SGD(SMALL),
    "SGD momentum": lambda: stoop.optimizers.SGD(momentum=1 - 1e-9),
    "Adam beta2": lambda: stoop.optimizers.Adam(beta2=1 - 1e-9),
    "RMSProp rho": lambda: stoop.optimizers.RMSProp(rho=1 - 1e-9),
}


@pytest.mark.parametrize("what", OPTIMIZERS)
def test_numbers_of_optimizers_that_vanish_in_float32_are_refused(what: str) -> None:
    name = what.split()[1]
    with refused(ValueError, rf"\[Trainer\] {name}=.* with float32, where it"):
        trainers("float32", optimizer=OPTIMIZERS[what]())
    trainers("float64", optimizer=OPTIMIZERS[what]())
    with refused(ValueError, rf"{name}=.* with float32, where it"):
        OPTIMIZERS[what]().step([np.ones(3, "f4")], [np.ones(3, "f4")])
    OPTIMIZERS[what]().step([np.ones(3)], [np.ones(3)])


def test_the_least_eps_is_named_and_works() -> None:
    """A gradient whose square vanishes is divided by eps alone: the update must stay a number of a usual size."""
    with refused(ValueError, r"eps=1e-30 with float32, where its square is 0", r"expected 1.08\S*e-19"):
        trainers("float32", optimizer=stoop.optimizers.Adam(eps=1e-30))
    w = np.zeros(3, "f4")
    stoop.optimizers.Adam(0.1, eps=1.09e-19).step([w], [np.full(3, 1e-19, "f4")])
    assert np.all(np.abs(w) < 1)


@pytest.mark.parametrize(
    "settings",
    [
        {"clip_value": SMALL},
        {"clip_norm": SMALL},
        {"max_norm": SMALL},
        {"l1": SMALL},
        {"l2": SMALL},
        {"ema": 1 - 1e-9},
        {"delta": SMALL},
        {"label_smoothing": 1 - 1e-9},
    ],
)
def test_numbers_of_trainers_that_vanish_in_float32_are_refused(settings: dict[str, Any]) -> None:
    [(name, value)] = settings.items()
    losses: dict[str, Any] = {"delta": stoop.losses.Huber, "label_smoothing": stoop.losses.SoftmaxCrossEntropy}
    given = {"loss": losses[name](value)} if name in losses else settings
    with refused(ValueError, rf"{name}=.* with float32, where it is [01]"):
        trainers("float32", **given)
    trainers("float64", **given)
    if value == SMALL:
        given = {"loss": losses[name](1e-310)} if name in losses else {name: 1e-310}
        with refused(ValueError, rf"{name}=.* with float64, where it is 0"):
            trainers("float64", **given)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: stoop.Dense(2, l1=SMALL),
        lambda: stoop.Dense(2, l2=SMALL),
        lambda: stoop.Dense(2, lr_scale=SMALL),
        lambda: stoop.LayerNorm(decay_scale=1e39),
        lambda: stoop.Dense(2, activation=stoop.LeakyReLU(SMALL)),
        lambda: stoop.Dense(2, activation=stoop.ELU(SMALL)),
        lambda: stoop.Dense(2, activation=stoop.ELU(1e39)),
        lambda: stoop.LeakyReLU(SMALL),
        lambda: stoop.Dense(2, kernel_init=stoop.initializers.normal(SMALL)),
        lambda: stoop.Dense(2, kernel_init=stoop.initializers.constant(1e39)),
        lambda: stoop.Dense(2, bias_init=stoop.initializers.constant(-SMALL)),
        lambda: stoop.BatchNorm(momentum=1 - 1e-9),
        lambda: stoop.BatchNorm(eps=SMALL),
        lambda: stoop.LayerNorm(eps=SMALL),
    ],
)
def test_numbers_of_layers_that_float32_does_not_hold_are_refused(layer: Any) -> None:
    with refused(ValueError, "with float32, where it is (0|1|infinite)"):
        stoop.Model([layer(), stoop.Dense(2)], input_dim=2)
    stoop.Model([layer(), stoop.Dense(2)], input_dim=2, dtype="float64")


def test_a_schedule_may_come_down_to_nothing() -> None:
    rate = stoop.schedules.Exponential(0.1, decay=1e-20)
    trainer = trainers("float32", loss="mse", optimizer=stoop.optimizers.SGD(rate))
    trainer.fit(np.ones((8, 2)), np.ones((8, 2)), epochs=1, batch_size=1, verbose=0)
