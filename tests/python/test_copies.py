"""Trainers and optimizers are copied and pickled with all that training carries on, also into other processes."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import crossed
import stoop
from helpers import bits, refused

FEATURES = 4
RNG = np.random.default_rng(0)
X = RNG.standard_normal((50, FEATURES)).astype("float32")
Y = np.arange(50) % 3

COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "an old protocol": lambda thing: pickle.loads(pickle.dumps(thing, protocol=2)),
}
SIMPLE = crossed.optimizer_cases()
FULL_BATCH = crossed.optimizer_cases(full_batch=True)
OPTIMIZERS = SIMPLE | FULL_BATCH


def make_trainer(dtype: str = "float32", dropout: float = 0.3, **options: Any) -> Any:
    layers = [stoop.Dense(8), stoop.BatchNorm(), stoop.Tanh(), stoop.Dropout(dropout), stoop.Dense(3)]
    if dropout == 0.0:
        layers = [stoop.Dense(8), stoop.Tanh(), stoop.Dense(3)]
    return stoop.Trainer(stoop.Model(layers, input_dim=FEATURES, dtype=dtype), **options)


def state(trainer: Any) -> Any:
    average = {name: array.tobytes() for name, array in trainer.ema_parameters().items()}
    buffers = {name: array.tobytes() for name, array in trainer.model.buffers().items()}
    return bits(trainer.model), buffers, average, trainer.epoch, trainer.steps


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_copy_goes_on_to_the_same_bits(optimizer: str, how: str, dtype: str) -> None:
    full = optimizer in FULL_BATCH
    options: dict[str, Any] = {"optimizer": OPTIMIZERS[optimizer].make(), "ema": 0.9, "l2": 0.01, "seed": 3}
    if not full:
        options |= {"clip_norm": 1.0, "accumulate": 2}
    trainer = make_trainer(dtype, 0.0 if full else 0.3, **options)
    size = 50 if full else 16
    trainer.fit(X, Y, epochs=4, batch_size=size, verbose=0)
    trainer.step(X, Y)
    twin = COPIES[how](trainer)
    assert state(twin) == state(trainer)
    assert twin.model is not trainer.model
    assert dict(twin.history) == dict(trainer.history)
    assert repr(twin) == repr(trainer)
    untouched = state(twin)
    for _ in range(2):
        trainer.fit(X, Y, epochs=2, batch_size=size, verbose=0)
        trainer.step(X, Y)
    assert state(twin) == untouched
    for _ in range(2):
        twin.fit(X, Y, epochs=2, batch_size=size, verbose=0)
        twin.step(X, Y)
    assert state(twin) == state(trainer)
    assert twin.history["loss"] == trainer.history["loss"]


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_has_what_was_set_since(how: str) -> None:
    trainer = make_trainer(optimizer=stoop.optimizers.SGD(0.1))
    trainer.learning_rate = stoop.schedules.Cosine(0.5, 20)
    trainer.l1, trainer.l2, trainer.clip_norm, trainer.clip_value = 0.01, 0.02, 0.5, 0.1
    trainer.fit(X, np.array(["a", "b", "c"])[Y], epochs=2, batch_size=16, verbose=0)
    twin = COPIES[how](trainer)
    assert (twin.l1, twin.l2, twin.clip_norm, twin.clip_value) == (0.01, 0.02, 0.5, 0.1)
    assert twin.learning_rate == trainer.learning_rate
    assert twin.model.classes.tolist() == ["a", "b", "c"]
    assert twin.model.output == "softmax"
    for each in (trainer, twin):
        each.fit(X, np.array(["a", "b", "c"])[Y], epochs=1, batch_size=16, verbose=0)
    assert state(twin) == state(trainer)


def test_a_copy_of_a_trainer_whose_model_holds_the_average() -> None:
    trainer = make_trainer(ema=0.5)
    trainer.fit(X, Y, epochs=1, verbose=0)
    trainer.swap_ema()
    twin = copy.deepcopy(trainer)
    with refused(ValueError, "swap_ema"):
        twin.step(X, Y)
    for each in (trainer, twin):
        each.swap_ema()
        each.step(X, Y)
    assert state(twin) == state(trainer)


def test_a_shallow_copy_shares_the_model() -> None:
    trainer = make_trainer()
    assert copy.copy(trainer).model is trainer.model


def test_model_and_trainer_in_one_pickle_stay_together() -> None:
    trainer = make_trainer()
    model, twin = pickle.loads(pickle.dumps((trainer.model, trainer)))
    assert twin.model is model
    twin.step(X, Y)
    assert bits(model) != bits(trainer.model)


def test_a_subclass_keeps_its_attributes() -> None:
    trainer = Noted(make_trainer().model)
    trainer.note = ["mine"]
    trainer.step(X, Y)
    twin = pickle.loads(pickle.dumps(trainer))
    assert type(twin) is Noted
    assert twin.note == ["mine"]
    assert state(twin) == state(trainer)


class Noted(stoop.Trainer):
    note: list[str]


def test_a_trainer_that_runs_is_not_copied() -> None:
    caught: list[BaseException] = []

    def rate(_: int) -> float:
        try:
            copy.deepcopy(trainer)
        except RuntimeError as error:
            caught.append(error)
        return 0.1

    trainer = make_trainer(optimizer=stoop.optimizers.SGD(rate))
    trainer.fit(X, Y, epochs=1, verbose=0)
    assert "already running" in str(caught[0])


# ---- learning rates that are functions ----


def halved(t: int) -> float:
    return 0.1 / (1 + t)


class Falling:
    """Refers to its trainer, as a function of the loss so far would."""

    trainer: Any = None

    def __call__(self, t: int) -> float:
        return 0.1 / (1 + t + self.trainer.epoch)


@pytest.mark.parametrize("how", COPIES)
def test_functions_that_have_a_name(how: str) -> None:
    for schedule in (halved, stoop.schedules.Warmup(halved, 3), stoop.schedules.Custom(halved, per="epoch")):
        trainer = make_trainer(optimizer=stoop.optimizers.Adam(schedule))
        trainer.step(X, Y)
        twin = COPIES[how](trainer)
        for each in (trainer, twin):
            each.fit(X, Y, epochs=2, batch_size=16, verbose=0)
        assert state(twin) == state(trainer)


@pytest.mark.parametrize("how", COPIES)
def test_a_function_that_refers_to_its_trainer(how: str) -> None:
    rate = Falling()
    rate.trainer = trainer = make_trainer(optimizer=stoop.optimizers.SGD(rate))
    trainer.fit(X, Y, epochs=1, verbose=0)
    twin = COPIES[how](trainer)
    assert twin.learning_rate.function.trainer is twin
    for each in (trainer, twin):
        each.fit(X, Y, epochs=2, verbose=0)
    assert state(twin) == state(trainer)
    assert COPIES[how](rate).trainer.learning_rate.function.trainer is not trainer


def test_a_lambda_can_be_copied_but_not_pickled() -> None:
    trainer = make_trainer(optimizer=stoop.optimizers.SGD(lambda t: 0.1 / (1 + t)))
    twin = copy.deepcopy(trainer)
    assert copy.copy(trainer.learning_rate)(3) == twin.learning_rate(3) == 0.1 / 4
    for thing in (trainer, trainer.optimizer, trainer.learning_rate, stoop.schedules.Warmup(lambda _: 0.1, 2)):
        with refused(pickle.PicklingError, "learning_rate", "lambda", "__call__"):
            pickle.dumps(thing)


def test_joblib_takes_a_lambda_along() -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    trainer = make_trainer(optimizer=stoop.optimizers.SGD(lambda t: 0.1 / (1 + t)))
    twin = pickle.loads(cloudpickle.dumps(trainer))
    for each in (trainer, twin):
        each.fit(X, Y, epochs=2, verbose=0)
    assert state(twin) == state(trainer)


# ---- other processes ----

SCRIPT = """
import multiprocessing, sys
import numpy as np, stoop

X = np.random.default_rng(0).standard_normal((50, 4)).astype("float32")
Y = np.array(["a", "b", "c"])[np.arange(50) % 3]

def rate(t):
    return 0.1 / (1 + t)

def go_on(trainer):
    trainer.fit(X, Y, epochs=2, batch_size=16, verbose=0)
    return trainer

if __name__ == "__main__":
    layers = [stoop.Dense(8, activation="tanh"), stoop.Dropout(0.2), stoop.Dense(3)]
    trainers = [
        stoop.Trainer(stoop.Model(layers, input_dim=4, seed=seed), optimizer=stoop.optimizers.Adam(rate), ema=0.9)
        for seed in range(3)
    ]
    for trainer in trainers:
        go_on(trainer)
    if sys.argv[1] == "spawn":
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            back = pool.map(go_on, trainers)
    else:
        from joblib import Parallel, delayed
        back = Parallel(n_jobs=2, backend="loky")(delayed(go_on)(trainer) for trainer in trainers)
    for trainer, twin in zip(trainers, back):
        here = go_on(trainer).model.parameters()
        assert all(np.array_equal(here[name], array) for name, array in twin.model.parameters().items())
        assert twin.epoch == 4 and twin.model.classes.tolist() == ["a", "b", "c"]
    print("same bits")
"""


@pytest.mark.parametrize("how", ["spawn", "loky"])
def test_a_trainer_goes_on_in_another_process(how: str, tmp_path: Path) -> None:
    if how == "loky":
        pytest.importorskip("joblib")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run([sys.executable, script, how], capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.strip() == "same bits", done.stderr


# ---- optimizers on bare arrays ----


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("name", SIMPLE)
def test_a_copied_optimizer_goes_on_with_copied_arrays(name: str, how: str) -> None:
    optimizer = OPTIMIZERS[name].make()
    parameters = [RNG.standard_normal((3, 2)), RNG.standard_normal(2)]
    other = [RNG.standard_normal(5).astype("float32")]
    gradients = [[RNG.standard_normal(p.shape) for p in parameters] for _ in range(6)]
    for step in range(3):
        optimizer.step(parameters, gradients[step])
        optimizer.step(other, [gradients[step][0].ravel()[:5]])
    twin, (copies, other_copies) = COPIES[how](optimizer), COPIES[how]((parameters, other))
    again = COPIES[how](twin)  # of a copy that was not used yet
    assert twin == optimizer
    for step in range(3, 6):
        optimizer.step(parameters, gradients[step])
        optimizer.step(other, [gradients[step][0].ravel()[:5]])
    for each in (twin, again):
        mine, others = copy.deepcopy((copies, other_copies))
        for step in range(3, 6):
            each.step(others, [gradients[step][0].ravel()[:5]])
            each.step(mine, gradients[step])
        for expected, got in zip([*parameters, *other], [*mine, *others]):
            np.testing.assert_array_equal(got, expected)


def test_a_copied_state_is_taken_over_once_and_not_by_replace() -> None:
    optimizer = stoop.optimizers.SGD(1.0, momentum=0.5)
    w = np.zeros(2)
    optimizer.step([w], [np.ones(2)])
    twin = copy.copy(optimizer)
    first, second, shape = np.zeros(2), np.zeros(2), np.zeros(3)
    twin.step([shape], [np.ones(3)])
    twin.step([first], [np.ones(2)])
    twin.step([second], [np.ones(2)])
    assert (shape[0], first[0], second[0]) == (-1.0, -1.5, -1.0)
    fresh = np.zeros(2)
    replace(optimizer, momentum=0.25).step([fresh], [np.ones(2)])
    assert fresh[0] == -1.0


def test_an_optimizer_that_is_updating_is_not_copied() -> None:
    optimizer = stoop.optimizers.SGD(0.1)
    w = np.zeros(4_000_000, "float32")
    optimizer.step([w], [w.copy()])
    gradient = np.ones_like(w)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            optimizer.step([w], [gradient])

    thread = threading.Thread(target=work)
    thread.start()
    try:
        with refused(RuntimeError, "updating"):
            for _ in range(200):
                copy.copy(optimizer)
    finally:
        stop.set()
        thread.join()
