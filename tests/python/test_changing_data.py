"""Arrays that another thread or process writes to while a call reads them: an error or a result, never a crash.

What is run is in a process of its own, which a read or write out of bounds would end.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import run_python

SETTING = """
import sys, threading
import numpy as np, stoop

rng = np.random.default_rng(0)
X = rng.standard_normal((4096, 4), np.float32)
good = rng.integers(3, size=4096).astype(np.int32)
y = good.copy()
layers = [stoop.Dense(8, activation="relu"), stoop.Dense(3)]
model = stoop.Model(layers, input_dim=4)
trainer = stoop.Trainer(model)
direction = {name: np.ones_like(value) for name, value in model.parameters().items()}
double = stoop.Model(layers, input_dim=4, dtype="float64")
full_batch = stoop.Trainer(stoop.Model(layers, input_dim=4), optimizer="lbfgs")
calls = {
    "fit": lambda: trainer.fit(X, y, epochs=3, batch_size=64, verbose=0),
    "validation": lambda: trainer.fit(X, good, epochs=3, validation_data=(X, y), verbose=0),
    "lbfgs": lambda: full_batch.fit(X, y, epochs=3, batch_size=len(X), verbose=0),
    "step": lambda: trainer.step(X, y),
    "evaluate": lambda: trainer.evaluate(X, y),
    "loss_and_grad": lambda: trainer.loss_and_grad(X, y),
    "hessian_vector_product": lambda: trainer.hessian_vector_product(X, y, direction),
    "critical_point": lambda: stoop.diagnose.critical_point(trainer, X, y, iterations=3),
    "gradcheck": lambda: stoop.gradcheck(double, "softmax_cross_entropy", X[:256], y[:256], sample=2),
}

def try_all(repetitions):
    outcomes = {"done": 0, "refused": 0}
    for _ in range(repetitions):
        try:
            calls[sys.argv[1]]()
            outcomes["done"] += 1
        except ValueError as error:
            assert "class 1000000000 at row" in str(error) or "class -1000000000 at row" in str(error), error
            outcomes["refused"] += 1
    assert np.isfinite(np.concatenate([p.ravel() for p in model.parameters().values()])).all()
    print(outcomes)
"""

CALLS = (
    "fit",
    "validation",
    "lbfgs",
    "step",
    "evaluate",
    "loss_and_grad",
    "hessian_vector_product",
    "critical_point",
    "gradcheck",
)


@pytest.mark.parametrize("call", CALLS)
def test_labels_that_a_thread_changes_are_an_error_or_are_not_seen(call: str) -> None:
    program = f"""
{SETTING}
ends = threading.Event()

def flip():
    while not ends.is_set():
        for row in (0, 130, 2000, 4095):  # the first of them is read as soon as it has been checked
            y[row] = 10**9
            y[row] = -(10**9)
            y[row] = y[row] = y[row] = good[row]

sys.setswitchinterval(1e-5)
thread = threading.Thread(target=flip)
thread.start()
try:
    try_all(100)
finally:
    ends.set()
"""
    assert "done" in run_python("-c", program, call).stdout


def test_labels_in_a_file_that_a_process_changes_are_an_error_or_are_not_seen(tmp_path: Path) -> None:
    program = f"""
import subprocess
{SETTING}
path = sys.argv[2]
y = np.memmap(path, np.int32, "w+", shape=good.shape)
y[:] = good
child = subprocess.Popen([sys.executable, "-c", '''
import sys, numpy as np
y = np.memmap(sys.argv[1], np.int32, "r+")
good = y.copy()
print("ready", flush=True)
while True:
    y[130] = 10**9
    y[130] = good[130]
''', path], stdout=subprocess.PIPE)
try:
    child.stdout.readline()
    try_all(300)
finally:
    child.kill()
    child.wait()
"""
    for call in ("fit", "evaluate"):
        assert "done" in run_python("-c", program, call, str(tmp_path / "labels")).stdout


def test_an_array_is_not_freed_under_a_call() -> None:
    """NumPy lets go of memory that others may use if it is told not to look (refcheck=False)."""
    program = """
import threading, time
import numpy as np, stoop

rng = np.random.default_rng(0)
model = stoop.Model([stoop.Dense(64), stoop.Dense(64), stoop.Dense(3)], input_dim=16)
trainer = stoop.Trainer(model)
refused = []

def during(call, *arrays):
    thread = threading.Thread(target=call)
    thread.start()
    time.sleep(0.002)
    for array in arrays:
        before = array.shape
        try:
            array.resize((1,) * array.ndim, refcheck=False)
        except ValueError:
            refused.append(True)
        else:
            array.resize(before, refcheck=False)
    thread.join()

for _ in range(3):
    X = np.zeros((200_000, 16), np.float32)
    y = np.zeros(200_000, np.int32)
    weight = np.ones(200_000, np.float32)
    part = X[5:]
    during(lambda: model.predict(X), X)
    during(lambda: model.predict(part), X)
    during(lambda: trainer.fit(X, y, epochs=1, batch_size=4096, sample_weight=weight, verbose=0), X, y, weight)
    during(lambda: trainer.evaluate(X, y, weight), X, y, weight)
    during(lambda: trainer.step(X, y, weight), X, y, weight)
    during(lambda: trainer.loss_and_grad(X, y, sample_weight=weight), X, y, weight)
assert refused
print("done")
"""
    assert "done" in run_python("-c", program).stdout
