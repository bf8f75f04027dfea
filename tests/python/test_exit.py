"""The interpreter ends while daemon threads are in the core: it must end as if they were not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import run_python

SETTING = """
import os, sys, threading, time
import numpy as np, stoop

rng = np.random.default_rng(0)
X = rng.standard_normal((20_000, 16), np.float32)
y = rng.integers(3, size=20_000)
layers = [stoop.Dense(64, activation="tanh"), stoop.Dense(64, activation="tanh"), stoop.Dense(3)]
model = stoop.Model(layers, input_dim=16)
path = sys.argv[1]
started = threading.Event()

def new_trainer(**options):
    return stoop.Trainer(stoop.Model(layers, input_dim=16), **options)

def fit(verbose=0, **options):
    started.set()
    new_trainer(**options).fit(X, y, epochs=10**6, batch_size=256, verbose=verbose, validation_data=(X, y))

def again_and_again(call):
    while True:
        started.set()
        call()

def minimize():
    def cost(p):
        started.set()
        return float(p @ p), [2 * p]
    stoop.minimize(cost, np.ones(1000), "sgd", steps=10**9)

def gradcheck():
    started.set()
    double = stoop.Model(layers, input_dim=16, dtype="float64")
    stoop.gradcheck(double, "softmax_cross_entropy", X, y)

def daemon(target, *arguments, **options):
    threading.Thread(target=target, args=arguments, kwargs=options, daemon=True).start()
"""

BODIES = {
    "fit": "daemon(fit)",
    "fit of many threads": "for _ in range(4): daemon(fit, verbose=1)",
    "fit with progress": "daemon(fit, verbose=1)",
    "fit with a schedule": "daemon(fit, optimizer=stoop.optimizers.SGD(lambda t: 0.01 + 0 * sum(range(200))))",
    "lbfgs": "t = new_trainer(optimizer='lbfgs'); "
    "daemon(again_and_again, lambda: t.fit(X, y, epochs=10, batch_size=len(X), verbose=2))",
    "predict": "daemon(again_and_again, lambda: model.predict(X))",
    "predict of a row": "daemon(again_and_again, lambda: model.predict(X[:1]))",
    "evaluate": "t = new_trainer(); daemon(again_and_again, lambda: t.evaluate(X, y))",
    "step": "t = new_trainer(); daemon(again_and_again, lambda: t.step(X[:64], y[:64]))",
    "loss_and_grad": "t = new_trainer(); daemon(again_and_again, lambda: t.loss_and_grad(X, y))",
    "critical_point": "t = new_trainer(); daemon(again_and_again, lambda: stoop.diagnose.critical_point(t, X, y))",
    "gradcheck": "daemon(gradcheck)",
    "minimize": "daemon(minimize)",
    "files": "daemon(again_and_again, lambda: (model.save(path), stoop.load_model(path), model.copy()))",
}


@pytest.mark.parametrize("body", BODIES)
def test_the_interpreter_ends_while_a_daemon_thread_is_in_the_core(body: str, tmp_path: Path) -> None:
    ending = "del X, y, model\nif 't' in globals(): del t"  # what the thread works on is its own
    program = f"{SETTING}\n{BODIES[body]}\nstarted.wait()\ntime.sleep(0.15)\n{ending}\n"
    done = run_python("-c", program, str(tmp_path / "model"))
    assert "Error" not in done.stderr.replace("NameError", ""), done.stderr


@pytest.mark.parametrize("delay", [0.0, 0.001])
@pytest.mark.parametrize("call", ["predict(X)", "predict_classes(X[:1])"])
def test_the_interpreter_ends_during_the_first_call_of_a_daemon_thread(call: str, delay: float) -> None:
    program = f"{SETTING}\ndaemon(again_and_again, lambda: model.{call})\ntime.sleep({delay})\n"
    for _ in range(3):
        assert not run_python("-c", program, "-").stderr
