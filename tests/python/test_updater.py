"""Updater: the state for bare arrays in the user's hands; and how optimizer.step finds its own by the arrays."""

from __future__ import annotations

import contextlib
import copy
import doctest
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop
from helpers import refused
from stoop import optimizers

RNG = np.random.default_rng(0)
NAMES = ["SGD", "AdaGrad", "RMSProp", "Adam", "AdamW", "Nadam", "Lion"]


def arrays(dtype: str) -> list[npt.NDArray[Any]]:
    block = RNG.standard_normal(40).astype(dtype)
    return [RNG.standard_normal((3, 4)).astype(dtype).T, block[:6].reshape(2, 3), block[10:], np.array(0.5, dtype)]


def gradients(parameters: list[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    return [RNG.standard_normal(array.shape) for array in parameters]


def same(first: list[npt.NDArray[Any]], second: list[npt.NDArray[Any]]) -> None:
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_it_updates_as_step_does(name: str, dtype: str) -> None:
    optimizer = getattr(optimizers, name)(stoop.schedules.Exponential(0.1, 0.9))
    by_step = arrays(dtype)
    held = copy.deepcopy(by_step)
    updater = optimizer.updater(held)
    assert (updater.steps, updater.optimizer) == (0, optimizer)
    for count in range(1, 5):
        steps = gradients(held)
        optimizer.step(by_step, steps)
        updater.step(steps)
        assert updater.steps == count
    same(held, by_step)


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_state_goes_on_to_the_same_bits(name: str) -> None:
    updater = getattr(optimizers, name)(lambda t: 0.1 / (t + 1)).updater(arrays("float32"))
    before = gradients(updater.parameters)
    updater.step(before)
    updater.step(before)
    state = updater.state_dict()
    assert all([a.shape for a in of] == [p.shape for p in updater.parameters] for of in state["arrays"])
    other = getattr(optimizers, name)(lambda t: 0.1 / (t + 1)).updater(copy.deepcopy(updater.parameters))
    other.load_state_dict(state)
    assert other.steps == 2
    for each in (updater, other):
        each.step(before)
    same(other.parameters, updater.parameters)
    for kept, now in zip(state["arrays"], updater.state_dict()["arrays"], strict=True):
        assert not any(np.shares_memory(a, b) for a, b in zip(kept, now, strict=True))


def test_the_state_has_the_shape_of_its_parameter() -> None:
    """The momentum after one update is the gradient."""
    w = np.zeros((3, 2)).T
    updater = optimizers.SGD(0.1, momentum=0.9).updater([w])
    assert updater.state_dict() == {"optimizer": "sgd", "steps": 0, "arrays": []}
    g = np.arange(6.0).reshape(2, 3)
    updater.step([g])
    np.testing.assert_array_equal(updater.state_dict()["arrays"][0][0], g)


def test_a_new_updater_starts_anew() -> None:
    optimizer, w = optimizers.SGD(1.0, momentum=0.5), np.zeros(1)
    optimizer.step([w], [np.ones(1)])
    optimizer.updater([w]).step([np.ones(1)])
    optimizer.updater([w]).step([np.ones(1)])
    assert w[0] == -3.0
    optimizer.step([w], [np.ones(1)])  # which has its own
    assert w[0] == -4.5


@pytest.mark.parametrize("how", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
def test_a_copy_has_arrays_of_its_own(how: Callable[[Any], Any]) -> None:
    w = np.zeros((2, 2))
    updater = optimizers.Adam(0.1).updater([w])
    updater.step([np.ones((2, 2))])
    twin, kept = how(updater), w.copy()
    assert repr(twin) == repr(updater)
    twin.step([np.ones((2, 2))])
    np.testing.assert_array_equal(w, kept)
    updater.step([np.ones((2, 2))])
    np.testing.assert_array_equal(twin.parameters[0], w)


@pytest.mark.parametrize(
    ("state", "exception", "pattern"),
    [
        ({"steps": 1}, TypeError, r"\['steps'\]"),
        (3, TypeError, "int"),
        ({"optimizer": "adam", "steps": -1, "arrays": []}, ValueError, "steps"),
        ({"optimizer": "adam", "steps": 1, "arrays": []}, ValueError, "another optimizer"),
        ({"optimizer": "adam", "steps": 1, "arrays": [[np.zeros(3)], [np.zeros(3)]]}, ValueError, r"shapes \[\(3,\)\]"),
        ({"optimizer": "adam", "steps": 1, "arrays": [[np.zeros(2)]]}, ValueError, "another optimizer"),
        ({"optimizer": "adam", "steps": 1, "arrays": [["a"], [np.zeros(2)]]}, TypeError, "a state"),
        ({"optimizer": "adadelta", "steps": 1, "arrays": [[np.zeros(2)], [np.zeros(2)]]}, ValueError, "of 'adadelta'"),
        ({"optimizer": "adam", "steps": 1, "arrays": None}, TypeError, "a list of arrays"),
        ({"optimizer": "adam", "steps": 1, "arrays": [1, 2]}, TypeError, "a list of arrays"),
        ({"optimizer": "adam", "steps": 1, "arrays": [[np.full(2, np.nan)], [np.zeros(2)]]}, ValueError, "NaN"),
    ],
)
def test_states_that_do_not_fit(state: Any, exception: type[Exception], pattern: str) -> None:
    updater = optimizers.Adam(0.1).updater([np.zeros(2)])
    updater.step([np.ones(2)])
    before = updater.state_dict()
    with refused(exception, pattern):
        updater.load_state_dict(state)
    after = updater.state_dict()
    assert after["steps"] == 1
    for one, other in zip(before["arrays"], after["arrays"], strict=True):
        same(one, other)


def test_what_it_refuses() -> None:
    w = np.zeros(4)
    with refused(ValueError, r"\[Updater\] parameters 0 and 1 share memory"):
        optimizers.Adam().updater([w[:3], w[2:]])
    with refused(ValueError, r"\[Updater.step\] 1 parameters and 2 gradients"):
        optimizers.Adam().updater([w]).step([w, w])
    with refused(TypeError, r"\[optimizer.updater\] LBFGS", "minimize"):
        optimizers.LBFGS().updater([w])
    with refused(ValueError, r"\[Updater\]", "float32"):
        optimizers.Adam(eps=1e-60).updater([w.astype(np.float32)])
    with pytest.raises(stoop.NonFiniteLossError, match=r"\[Updater.step\]"):
        optimizers.Adam().updater([w]).step([np.full(4, 1e300)])
    updater = optimizers.Adam().updater([w])
    state = {"optimizer": "adam", "steps": 1, "arrays": [[np.zeros(4)]]}
    with refused(ValueError, r"\[Updater.load_state_dict\] a state of another optimizer"):
        updater.load_state_dict(state)


def test_the_example() -> None:
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder(recurse=False).find(optimizers.Updater):
        runner.run(example)
    assert runner.summarize() == (0, 6)


# ---- how optimizer.step finds a state ----


class Owner:
    """An object that lends memory to arrays, and may give it back while it lives, as a tensor of PyTorch does."""

    def __init__(self, memory: npt.NDArray[Any]) -> None:
        self.__array_interface__ = memory.__array_interface__


def test_another_owner_of_the_same_memory_starts_anew() -> None:
    optimizer, memory = optimizers.SGD(1.0, momentum=0.5), np.zeros(3)
    first, second = Owner(memory), Owner(memory)
    for _ in range(2):
        optimizer.step([np.asarray(first)], [np.ones(3)])
    assert memory[0] == -2.5
    optimizer.step([np.asarray(second)], [np.ones(3)])
    assert memory[0] == -3.5
    optimizer.step([np.asarray(first)], [np.ones(3)])  # which is known still
    assert memory[0] == -5.25


def test_nothing_is_kept_alive() -> None:
    optimizer, memory = optimizers.Adam(), bytearray(24)
    for _ in range(3):
        w = np.zeros((2, 3))
        optimizer.step([w[:, :].T, np.frombuffer(memory)], [np.ones((3, 2)), np.ones(3)])
        optimizer.step([w], [np.ones((2, 3))])
        del w
    assert len(optimizer.__dict__["_updaters"]) == 0
    memory.extend(b"x")  # which no array refers to any more


def test_a_state_is_not_loaded_during_an_update() -> None:
    """The core would free what the update writes to; another thread gets an error, or comes before or after."""
    w = np.zeros(1_000_000, np.float32)
    updater = optimizers.Adam(1e-3).updater([w])
    g = np.ones_like(w)
    updater.step([g])
    state, ends, unexpected = updater.state_dict(), threading.Event(), []

    def load() -> None:
        while not ends.is_set():
            try:
                updater.load_state_dict(state)
            except RuntimeError as error:
                if "updating arrays" not in str(error):
                    unexpected.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for _ in range(30):
            with contextlib.suppress(RuntimeError):
                updater.step([g])
    finally:
        ends.set()
        thread.join()
    assert not unexpected
    assert np.isfinite(w).all()
