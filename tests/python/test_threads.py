"""Several threads of a program at once, with the GIL and without: each on objects of its own, and all on one."""

from __future__ import annotations

import copy
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop
from helpers import bits, make_data

THREADS = 4
X, Y = make_data("softmax_cross_entropy", samples=64, features=6, outputs=3)


def run_at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What the calls return, which begin together on a thread each. The first exception of them is raised."""
    start = threading.Barrier(len(calls))
    results: list[Any] = [None] * len(calls)
    errors: list[BaseException] = []

    def work(i: int) -> None:
        start.wait()
        try:
            results[i] = calls[i]()
        except BaseException as error:  # noqa: BLE001  raised below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


@pytest.fixture(autouse=True)
def often() -> Iterator[None]:
    """Threads take turns every 10 microseconds where they share a GIL, not every 5 ms."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def make_model(seed: int = 0, **arguments: Any) -> stoop.Model:
    layers = [stoop.Dense(8, activation="gelu"), stoop.BatchNorm(), stoop.Dropout(0.2), stoop.Dense(3)]
    return stoop.Model(layers, input_dim=6, seed=seed, **arguments)


class Epochs(stoop.callbacks.Callback):
    ended = 0

    def on_epoch_end(self, trainer: stoop.Trainer, logs: dict[str, float]) -> None:
        self.ended += 1


def trained(seed: int) -> tuple[dict[str, bytes], bytes]:
    """The bits of a model and its outputs after calls of every kind, with functions of Python among them."""
    model = make_model(seed, dtype=("float32", "float64")[seed % 2])
    optimizer = stoop.optimizers.Adam(stoop.schedules.Custom(lambda t: 0.02 / (1 + t)) if seed % 3 == 0 else 0.02)
    trainer = stoop.Trainer(model, optimizer=optimizer, num_threads=1, seed=seed)
    counter = Epochs()
    history = trainer.fit(X, Y, epochs=3, batch_size=16, verbose=0, callbacks=[counter])
    assert counter.ended == len(history["loss"]) == 3
    for first in range(0, 64, 8):
        trainer.step(X[first : first + 8], Y[first : first + 8])
    twin = copy.deepcopy(model)
    return bits(twin), twin.predict(X).tobytes()


# ---- objects of their own ----


def test_threads_train_what_they_train_alone() -> None:
    expected = [trained(seed) for seed in range(THREADS)]
    for _ in range(3):
        found = run_at_once(*[lambda seed=seed: trained(seed) for seed in range(THREADS)])
        assert found == expected


def test_calls_of_fit_many_at_once() -> None:
    def fit(seed: int) -> list[dict[str, bytes]]:
        trainers = [stoop.Trainer(make_model(seed + i), num_threads=1) for i in range(3)]
        stoop.fit_many(trainers, X, Y, epochs=2, batch_size=16, num_threads=2, verbose=0)
        return [bits(trainer.model) for trainer in trainers]

    expected = [fit(10 * i) for i in range(THREADS)]
    assert run_at_once(*[lambda i=i: fit(10 * i) for i in range(THREADS)]) == expected


# ---- one model ----


def test_threads_predict_with_one_model_and_one_ensemble() -> None:
    model = make_model()
    stoop.Trainer(model, num_threads=1).fit(X, Y, epochs=1, verbose=0)
    ensemble = stoop.Ensemble([model, copy.deepcopy(model)])
    calls: list[Callable[[], npt.NDArray[Any]]] = [
        lambda: model.predict(X),
        lambda: model.predict(X[:1]),
        lambda: model.jacobian(X),
        lambda: model.input_gradient(X, np.ones((64, 3), np.float32)),
        lambda: ensemble.predict_proba(X),
    ]
    expected = [call().tobytes() for call in calls]

    def repeat(call: Callable[[], npt.NDArray[Any]]) -> list[bytes]:
        return [call().tobytes() for _ in range(30)]

    found = run_at_once(*[lambda call=call: repeat(call) for call in calls * 2])
    assert found == [[bytes_] * 30 for bytes_ in expected * 2]


# So long that a reader is in the middle of them when they change.
TEXTS = [{f"{letter}{i}": letter * 10000 for i in range(100)} for letter in "ab"]
NAMES = [["x" * 100, "y" * 100, "z" * 100], ["u", "v", "w"]]


def test_what_a_model_says_of_itself_changes_while_others_read_it(tmp_path: Path) -> None:
    model = make_model()
    model.metadata, model.classes = TEXTS[0], NAMES[0]
    reading = set("abc")

    def change() -> None:
        i = 0
        while reading:
            i += 1
            model.metadata, model.classes = TEXTS[i % 2], NAMES[i % 2]
            model.output = ("softmax", "identity", None)[i % 3]

    def read(name: str, call: Callable[[], stoop.Model]) -> None:
        try:
            for _ in range(10):
                read = call()
                assert dict(read.metadata) in TEXTS
                assert read.classes is not None
                assert read.classes.tolist() in NAMES
                assert read.output in ("softmax", "identity", None)
        finally:
            reading.remove(name)

    def saved(name: str) -> stoop.Model:
        model.save(tmp_path / name)
        return stoop.load_model(tmp_path / name)

    run_at_once(
        change,
        lambda: read("a", lambda: saved("a")),
        lambda: read("b", lambda: saved("b")),
        lambda: read("c", lambda: copy.deepcopy(model)),
    )


# ---- one trainer ----


def test_one_thread_at_a_time_is_in_a_trainer() -> None:
    trainer = stoop.Trainer(make_model(), num_threads=1)

    def step() -> int:
        made = 0
        for _ in range(100):
            try:
                trainer.step(X, Y)
                made += 1
            except RuntimeError as error:
                if "already running" not in str(error):
                    raise
        return made

    assert sum(run_at_once(*[step] * THREADS)) == trainer.steps > 0


# ---- the GIL ----


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this Python has a GIL")
def test_the_package_does_not_turn_the_gil_on() -> None:
    assert not sys._is_gil_enabled()  # type: ignore[attr-defined]
