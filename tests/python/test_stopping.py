"""How training stops: a loss that is no number, Ctrl-C, exceptions, the end of the interpreter."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from typing import Any

import numpy as np
import pytest

import stoop
from helpers import bits, make_data, refused, run_python, unchanged
from test_trainer import make_trainer


def all_finite(model: Any) -> bool:
    return all(np.isfinite(value).all() for value in model.parameters().values())


@pytest.mark.parametrize("rate", [1e4, 1e12, 1e20, 3e38])
@pytest.mark.parametrize("optimizer", [stoop.optimizers.SGD, stoop.optimizers.Adam])
def test_a_non_finite_loss_keeps_the_last_good_parameters(optimizer: Any, rate: float) -> None:
    X, y = make_data("mse", 100, 8, 4)
    model = stoop.Model([stoop.Dense(16, activation="relu")] * 2 + [stoop.Dense(4)], input_dim=8)
    trainer = stoop.Trainer(model, loss="mse", optimizer=optimizer(rate))
    with pytest.raises(stoop.NonFiniteLossError, match=r"learning") as caught:
        trainer.fit(X, y, epochs=1000, batch_size=50, shuffle=False, verbose=0)
    error = caught.value
    assert isinstance(error, ArithmeticError)
    assert error.step == trainer.steps
    assert error.epoch == trainer.epoch == error.step // 2
    assert error.cause
    assert error.cause in str(error)
    assert all_finite(model)

    twin = stoop.Model([stoop.Dense(16, activation="relu")] * 2 + [stoop.Dense(4)], input_dim=8)
    other = stoop.Trainer(twin, loss="mse", optimizer=optimizer(rate))
    for step in range(error.step):
        rows = slice(50 * (step % 2), 50 * (step % 2) + 50)
        other.step(X[rows], y[rows])
    assert bits(model) == bits(twin)


def test_large_blocks_are_put_back_by_all_threads() -> None:
    """There are more elements than one thread copies alone. Every part, and its ends, are those from before."""
    X, y = make_data("mse", 4, 301, 2003)
    model = stoop.Model([stoop.Dense(2003)], input_dim=301)
    before = bits(model)
    trainer = stoop.Trainer(model, loss="mse", optimizer=stoop.optimizers.Adam(3e38), num_threads=2)
    with pytest.raises(stoop.NonFiniteLossError):
        trainer.fit(X, y, epochs=1, batch_size=4, verbose=0)
    assert bits(model) == before


@pytest.mark.parametrize("rate", [1e4, 1e12, 1e20, 3e38])
@pytest.mark.parametrize("optimizer", [stoop.optimizers.SGD, stoop.optimizers.Adam])
def test_step_keeps_the_last_good_parameters(optimizer: Any, rate: float) -> None:
    """Whether the loss, the gradient or the update itself overflows."""
    X, y = make_data("mse", 100, 8, 4)
    trainer = make_trainer("mse", optimizer=optimizer(rate))
    with contextlib.suppress(stoop.NonFiniteLossError):
        for _ in range(100):
            before = bits(trainer.model), trainer.steps
            trainer.step(X, y)
            assert all_finite(trainer.model)
        before = bits(trainer.model), trainer.steps
    assert (bits(trainer.model), trainer.steps) == before


def test_a_model_that_is_not_finite_is_refused_at_once() -> None:
    X, y = make_data("softmax_cross_entropy", 100, 8, 4)
    trainer = make_trainer()
    trainer.model.parameters()["0.weight"][2, 3] = np.nan
    before = bits(trainer.model)
    with pytest.raises(stoop.NonFiniteLossError) as caught:
        trainer.fit(X, y, epochs=3, verbose=0)
    assert (caught.value.step, caught.value.epoch) == (0, 0)
    assert bits(trainer.model) == before
    assert trainer.steps == 0


@pytest.mark.parametrize("call", ["step", "fit"])
def test_a_non_finite_loss_names_its_cause_and_the_call(call: str) -> None:
    X, y = make_data("mse", 100, 8, 4)

    def cause(trainer: Any) -> str:
        with pytest.raises(stoop.NonFiniteLossError) as caught:
            trainer.step(X, y) if call == "step" else trainer.fit(X, y, epochs=3, batch_size=10, verbose=0)
        assert str(caught.value).startswith(f"[Trainer.{call}] ")
        return caught.value.cause

    trainer = make_trainer("mse")
    trainer.step(X, y)
    trainer.model.parameters()["1.bias"][2] = np.nan
    assert "1.bias" in cause(trainer)
    for penalty in ({"l2": 1e300}, {"l1": 1e39}):
        trainer = make_trainer("mse", **penalty)
        [(name, value)] = penalty.items()
        assert f"{name}={value:g}" in cause(trainer)
    trainer = make_trainer("mse", optimizer=stoop.optimizers.SGD(1e-9))
    trainer.model.parameters()["1.weight"][...] = 1e38
    assert "first outputs" in cause(trainer)


def test_an_eps_that_is_zero_in_the_dtype_is_refused() -> None:
    """Where a gradient is 0 the update would be 0/0, and NaN from then on."""
    for optimizer in (stoop.optimizers.Adam(eps=1e-46), stoop.optimizers.RMSProp(eps=1e-42)):
        with refused(ValueError, r"eps=1e-4[26] with float32", "1e-8"):
            make_trainer(optimizer=optimizer)
        double = stoop.Model([stoop.Dense(4)], input_dim=8, dtype="float64")
        stoop.Trainer(double, optimizer=optimizer)
        with refused(ValueError, "eps=1e-4"):
            optimizer.step([np.ones(3, np.float32)], [np.zeros(3, np.float32)])


def test_training_goes_on_after_a_non_finite_loss() -> None:
    X, y = make_data("mse", 100, 8, 4)
    trainer = make_trainer("mse", optimizer=stoop.optimizers.SGD(0.1, momentum=0.9))
    good = trainer.model.state_dict()
    trainer.model.parameters()["1.bias"][...] = np.inf
    with pytest.raises(stoop.NonFiniteLossError):
        trainer.step(X, y)
    trainer.model.load_state_dict(good)
    fresh = make_trainer("mse", optimizer=stoop.optimizers.SGD(0.1, momentum=0.9))
    assert trainer.step(X, y) == fresh.step(X, y)
    assert bits(trainer.model) == bits(fresh.model)


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
@pytest.mark.parametrize("width", [16, 1500])
@pytest.mark.parametrize("samples", [2000, 300_000])
def test_ctrl_c_stops_after_the_running_step(width: int, samples: int) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((samples, 8), np.float32), rng.integers(4, size=samples)
    model = stoop.Model([stoop.Dense(width, activation="tanh")] * 2 + [stoop.Dense(4)], input_dim=8)
    trainer = stoop.Trainer(model)
    sent: list[float] = []

    def interrupt() -> None:
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.4, interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, y, epochs=10**6, batch_size=128, verbose=0)
    assert time.perf_counter() - sent[0] < 10.0
    if width * samples > 10**8:  # one epoch of this takes ten times as long as the signal does to come
        assert trainer.epoch == 0
    timer.join()
    assert trainer.steps > 0
    assert all_finite(model)
    before = bits(model), trainer.steps
    assert np.isfinite(trainer.step(X[:128], y[:128]))
    assert trainer.steps == before[1] + 1
    assert bits(model) != before[0]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("call", ["step", "fit"])
def test_running_statistics_that_overflow_are_noticed(call: str, optimizer: str) -> None:
    """A variance of 1e50 is infinite in float32; what it is divided by makes outputs, loss and gradient finite."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 3)).astype(np.float32), rng.integers(2, size=20)
    model = stoop.Model([stoop.BatchNorm(), stoop.Dense(2)], input_dim=3)
    trainer = stoop.Trainer(model, optimizer=optimizer, ema=0.9)
    trainer.step(X, y)
    before = {name: value.copy() for name, value in (model.state_dict() | trainer.ema_parameters()).items()}
    arguments: dict[str, Any] = {"batch_size": 20, "verbose": 0} if call == "fit" else {}
    with unchanged(trainer), pytest.raises(stoop.NonFiniteLossError, match="standardise X"):
        getattr(trainer, call)(X * np.float32(1e25), y, **arguments)
    for name, value in (model.state_dict() | trainer.ema_parameters()).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    fresh = stoop.Trainer(stoop.Model([stoop.BatchNorm(), stoop.Dense(2)], input_dim=3), optimizer=optimizer, ema=0.9)
    fresh.step(X, y)
    assert trainer.step(X, y) == fresh.step(X, y)


@pytest.mark.parametrize("layer", [stoop.BatchNorm, stoop.LayerNorm])
def test_an_eps_of_a_normalisation_that_is_no_normal_number_is_refused(layer: Any) -> None:
    name = layer.__name__
    for dtype, eps in (("float32", 1e-46), ("float32", 1e-39), ("float32", 1e39), ("float64", 1e-310)):
        for layers, path in (
            ([stoop.Dense(3), layer(eps=eps), stoop.Dense(2)], "layer 1 "),
            ([stoop.Residual([stoop.ReLU(), layer(eps=eps)]), stoop.Dense(2)], "layer 0.1 "),
        ):
            with refused(ValueError, rf"\[{name}\] {path}has eps=1e.*{dtype}", "1e-5"):
                stoop.Model(layers, input_dim=3, dtype=dtype)
    stoop.Model([layer(eps=1e-46), stoop.Dense(2)], input_dim=3, dtype="float64")
    stoop.Model([layer(eps=1.2e-38), stoop.Dense(2)], input_dim=3)


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
@pytest.mark.parametrize("verbose", [0, 2])
@pytest.mark.parametrize("validated", [False, True])
@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_ctrl_c_leaves_no_epoch_out_of_the_history(optimizer: str, validated: bool, verbose: int) -> None:
    """An epoch is one update here, so every epoch that was trained must be in it."""
    X, y = make_data("softmax_cross_entropy", 200, 8, 4)
    for delay in (0.15, 0.16, 0.21):
        trainer = make_trainer(optimizer=optimizer)
        timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(X, y, 10**7, len(X), (X, y) if validated else None, verbose=verbose)
        timer.join()
        history = trainer.history
        assert trainer.epoch == trainer.steps > 0
        assert history.epochs == list(range(1, trainer.epoch + 1))
        assert all(len(values) == trainer.epoch for values in history.values())
        assert trainer.fit(X, y, 1, len(X), verbose=0).epochs == [trainer.steps]


def test_an_exception_while_an_epoch_is_shown_leaves_it_in_the_history(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = make_data("softmax_cross_entropy", 200, 8, 4)
    trainer = make_trainer()

    def fail(_: Any) -> None:
        raise OSError("the terminal is gone")

    monkeypatch.setattr("stoop.progress.EpochTable.row", fail)
    with pytest.raises(OSError, match="terminal"):
        trainer.fit(X, y, verbose=2)
    assert trainer.epoch == 1
    assert trainer.history.epochs == [1]
    assert np.isfinite(trainer.history["loss"]).all()


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_ctrl_c_stops_gradcheck() -> None:
    model = stoop.Model([stoop.Dense(150, activation="tanh"), stoop.Dense(4)], input_dim=60, dtype="float64")
    X, y = make_data("mse", 200, 60, 4, "float64")
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        stoop.gradcheck(model, "mse", X, y)
    timer.join()
    assert time.perf_counter() - start < 10.0


def test_a_trainer_that_runs_is_not_entered_again() -> None:
    X, y = make_data("softmax_cross_entropy", 100, 8, 4)
    trainer = make_trainer()
    expected = stoop.Trainer(trainer.model.copy())
    fitting = threading.Thread(target=lambda: trainer.fit(X, y, epochs=5000, shuffle=False, verbose=0))
    fitting.start()
    while trainer.steps == 0 and fitting.is_alive():
        time.sleep(0.001)
    assert fitting.is_alive(), "the fit is too short for this test"
    for call in (trainer.step, trainer.evaluate, trainer.loss_and_grad, trainer.fit):
        with refused(RuntimeError):
            call(X, y)
    fitting.join()
    expected.fit(X, y, epochs=5000, shuffle=False, verbose=0)
    assert bits(trainer.model) == bits(expected.model)


def test_the_interpreter_can_end_while_a_daemon_thread_trains() -> None:
    code = """
import threading, time, numpy as np, stoop
trainer = stoop.Trainer(stoop.Model([stoop.Dense(100, activation="relu"), stoop.Dense(10)], input_dim=50))
X, y = np.ones((600, 50), np.float32), np.zeros(600, int)
threading.Thread(target=lambda: trainer.fit(X, y, epochs=10**9, verbose=0), daemon=True).start()
time.sleep(0.3)
"""
    for _ in range(2):
        assert run_python("-c", code, timeout=30).stderr == ""


def test_other_python_threads_run_during_fit() -> None:
    """A thread that only ticks does so many times within one call of fit, not just between two of them."""
    X, y = make_data("softmax_cross_entropy", 20_000, 8, 4)
    ticks = 0
    done = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not done.is_set():
            ticks += 1
            time.sleep(0.001)

    trainer = stoop.Trainer(
        stoop.Model([stoop.Dense(256, activation="relu"), stoop.Dense(4)], input_dim=8), num_threads=1
    )
    thread = threading.Thread(target=tick)
    thread.start()
    inside, epochs = 0, 10
    try:
        while inside <= 20 and epochs <= 1280:  # however slow the ticks or fast the epochs are
            before = ticks
            trainer.fit(X, y, epochs=epochs, verbose=0)
            inside, epochs = ticks - before, 2 * epochs
    finally:
        done.set()
        thread.join()
    assert inside > 20
