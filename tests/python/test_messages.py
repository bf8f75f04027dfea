"""One call has one name in all messages, wherever the check stands; ranges and hints are those of the core."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import stoop
from helpers import refused

X = np.ones((6, 2), "f4")
Y = np.array([0, 1, 0, 1, 0, 1])


def trainer(**settings: Any) -> stoop.Trainer:
    return stoop.Trainer(stoop.Model([stoop.Dense(2)], input_dim=2), **settings)


MESSAGES: dict[str, Callable[[], Any]] = {
    "[Trainer.fit] epochs is 0; expected at least 1; give the number of passes over X.": lambda: trainer().fit(X, Y, 0),
    "[Trainer.fit] epochs is 2.5; expected at least 1; give epochs as an int.": lambda: trainer().fit(X, Y, 2.5),  # type: ignore[arg-type]
    "[Trainer.fit] batch_size is 0; expected at least 1; 32 to 512 is usual; len(X) is full-batch descent.": (
        lambda: trainer().fit(X, Y, 1, 0)
    ),
    "[Trainer.fit] verbose is 3; expected 0 <= verbose <= 2; 0 is silent, 1 shows a table, 2 without a live line.": (
        lambda: trainer().fit(X, Y, verbose=3)
    ),
    "[Trainer.fit] validation_split is 1; expected 0 <= validation_split < 1; 0.2 keeps the last fifth of X.": (
        lambda: trainer().fit(X, Y, validation_split=1)
    ),
    "[Trainer] ema is 1; expected 0 <= ema < 1; 0.999 is usual, leave it out to keep no average.": (
        lambda: trainer(ema=1.0)
    ),
    "[Trainer] l2 is -1; expected a finite number, at least 0; 0 turns it off.": lambda: trainer(l2=-1.0),
    "[Trainer] clip_norm is 0; expected a finite number above 0; leave it out to set no limit.": (
        lambda: trainer(clip_norm=0.0)
    ),
    "[Trainer] accumulate is 0; expected at least 1; give the number of batches that make an update.": (
        lambda: trainer(accumulate=0)
    ),
}


@pytest.mark.parametrize("text", MESSAGES)
def test_messages_of_python_are_as_good_as_those_of_the_core(text: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        MESSAGES[text]()
    assert str(caught.value) == text


def many(call: str) -> list[Callable[[], Any]]:
    """Calls that Python refuses, the binding, and the core, before and while it trains."""
    bad = np.array([[np.nan, 1.0]], "f4")
    nan = trainer()
    nan.model.parameters()["0.weight"][...] = np.nan
    if call == "Trainer.fit":
        return [
            lambda: trainer().fit(X, Y, epochs=0),
            lambda: trainer().fit(X[:, :1], Y),
            lambda: trainer().fit(X, Y, last_batch="all"),
            lambda: trainer().fit(bad, Y[:1]),
            lambda: nan.fit(X, Y, verbose=0),
        ]
    return [
        lambda: trainer().step(X[:, :1], Y),
        lambda: trainer().step(bad, Y[:1]),
        lambda: trainer().step(X, Y, np.ones(3)),
        lambda: nan.step(X, Y),
    ]


@pytest.mark.parametrize("call", ["Trainer.fit", "Trainer.step"])
def test_one_call_has_one_name(call: str) -> None:
    for refusal in many(call):
        with refused((ValueError, stoop.NonFiniteLossError), rf"^\[{call}\] "):
            refusal()


def test_the_name_of_a_prediction() -> None:
    model = stoop.Model([stoop.Dense(2)], input_dim=2)
    for x in (X[:, :1], np.array([[np.nan, 1.0]])):
        with refused(ValueError, r"^\[Model.predict\] "):
            model.predict(x)
