"""Ctrl-C ends every long call soon, with KeyboardInterrupt, and leaves what it was called on as it was.

In a process of its own, which the signal is sent to while the call, which would last for long, runs.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from helpers import run_python

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")]

SETTING = """
import os, signal, sys, threading, time
import numpy as np, stoop

stoop.set_num_threads(1)  # so that calls last as long on a machine of many cores

def new_model(dtype="float32", layers=()):
    layers = [stoop.Dense(2048, activation="tanh"), *layers, stoop.Dense(2048, activation="tanh"), stoop.Dense(4)]
    return stoop.Model(layers, input_dim=16, dtype=dtype)

def new_data(count):
    rng = np.random.default_rng(0)
    return rng.standard_normal((count, 16), np.float32), rng.integers(4, size=count)

def state(model, trainer=None):
    numbers = [value.tobytes() for value in model.state_dict().values()]
    return numbers + ([] if trainer is None else [trainer.steps, trainer.epoch])

def interrupted(call, rows, model, trainer=None, like=None):
    # `call(n)` on so many rows. `like` takes as long for a row, and may be called without harm.
    part = rows // 20
    (like or call)(part)
    started = time.perf_counter()
    (like or call)(part)
    whole = (time.perf_counter() - started) * 20
    before = state(model, trainer)
    sent = []
    def interrupt():
        time.sleep(0.2)
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)
    timer = threading.Thread(target=interrupt)
    timer.start()
    try:
        call(rows)
    except KeyboardInterrupt:
        waited = time.perf_counter() - sent[0]
    else:
        sys.exit("ended by itself")
    timer.join()
    assert waited < whole / 3, (waited, whole)
    assert state(model, trainer) == before
    print("waited", waited, "of", whole)
"""

BODIES = {
    "predict": """
X = new_data(100_000)[0]
model = new_model()
whole = model.predict(X[:300])
interrupted(lambda n: model.predict(X[:n]), len(X), model)
assert np.array_equal(model.predict(X[:300]), whole)
""",
    "predict of a map": """
X = np.memmap(sys.argv[1], np.float32, "w+", shape=(100_000, 16))
model = new_model()
interrupted(lambda n: model.predict(X[:n]), len(X), model)
""",
    "evaluate": """
X, y = new_data(100_000)
model = new_model()
trainer = stoop.Trainer(model)
before = trainer.evaluate(X[:500], y[:500])
interrupted(lambda n: trainer.evaluate(X[:n], y[:n]), len(X), model, trainer)
assert trainer.evaluate(X[:500], y[:500]) == before
""",
    "step": """
X, y = new_data(8_000)
model, twin = new_model(layers=[stoop.BatchNorm()]), new_model(layers=[stoop.BatchNorm()])
trainer = stoop.Trainer(model)
interrupted(lambda n: trainer.step(X[:n], y[:n]), len(X), model, trainer,
            like=lambda n: trainer.loss_and_grad(X[:n], y[:n]))
assert trainer.step(X[:500], y[:500]) == stoop.Trainer(twin).step(X[:500], y[:500])
assert state(model) == state(twin)
""",
    "step of lbfgs": """
X, y = new_data(30_000)
model = new_model()
trainer = stoop.Trainer(model, optimizer="lbfgs")
interrupted(lambda n: trainer.step(X[:n], y[:n]), len(X), model, trainer,
            like=lambda n: trainer.loss_and_grad(X[:n], y[:n]))
trainer.step(X[:200], y[:200])
""",
    "fit of newton_cg": """
X, y = new_data(30_000)
model = new_model()
trainer = stoop.Trainer(model, optimizer="newton_cg")
interrupted(lambda n: trainer.fit(X, y, epochs=3, batch_size=n, verbose=0), len(X), model, trainer,
            like=lambda n: trainer.loss_and_grad(X[:n], y[:n]))
""",
    "loss_and_grad": """
X, y = new_data(30_000)
model = new_model()
trainer = stoop.Trainer(model)
interrupted(lambda n: trainer.loss_and_grad(X[:n], y[:n]), len(X), model, trainer)
""",
    "loss_and_grad with BatchNorm": """
X, y = new_data(8_000)
model = new_model(layers=[stoop.BatchNorm()])
trainer = stoop.Trainer(model)
interrupted(lambda n: trainer.loss_and_grad(X[:n], y[:n]), len(X), model, trainer)
""",
    "forward": """
X = new_data(16_000)[0]
model = new_model(layers=[stoop.BatchNorm()])
trainer = stoop.Trainer(model)
interrupted(lambda n: trainer.forward(X[:n]), len(X), model, trainer,
            like=lambda n: trainer.forward(X[:n], training=False))
""",
    "backward": """
X = new_data(16_000)[0]
model = new_model()
trainer = stoop.Trainer(model)
def call(n):
    trainer.forward(X[:n], training=False)
    trainer.backward(np.ones((n, 4)))
interrupted(call, len(X), model, trainer)
""",
    "jacobian": """
X = new_data(20_000)[0]
model = new_model()
interrupted(lambda n: model.jacobian(X[:n]), len(X), model)
model.jacobian(X[:3])
""",
    "hessian_vector_product": """
X, y = new_data(15_000)
model = new_model()
trainer = stoop.Trainer(model)
direction = model.state_dict()
interrupted(lambda n: trainer.hessian_vector_product(X[:n], y[:n], direction), len(X), model, trainer)
""",
    "critical_point": """
X, y = new_data(30_000)
model = new_model()
trainer = stoop.Trainer(model)
interrupted(lambda n: stoop.diagnose.critical_point(trainer, X[:n], y[:n], iterations=1), len(X), model, trainer,
            like=lambda n: trainer.loss_and_grad(X[:n], y[:n]))
""",
    "gradcheck": """
X, y = new_data(30_000)
model = new_model("float64")
interrupted(lambda n: stoop.gradcheck(model, "softmax_cross_entropy", X[:n], y[:n], sample=1), len(X), model,
            like=lambda n: stoop.Trainer(model).loss_and_grad(X[:n], y[:n]))
""",
    "validation": """
X, y = new_data(100_000)
model = new_model()
trainer = stoop.Trainer(model)
def fit(n):
    try:
        trainer.fit(X[:1], y[:1], epochs=1, validation_data=(X[:n], y[:n]), verbose=0)
    finally:  # its only update stays
        model.load_state_dict(before)
before = model.state_dict()
interrupted(fit, len(X), model, like=lambda n: trainer.evaluate(X[:n], y[:n]))
assert trainer.epoch == trainer.steps == 1
assert trainer.history.epochs == [1]
assert np.isfinite(trainer.history["loss"]).all()
assert np.isnan(trainer.history["val_loss"]).all() and np.isnan(trainer.history["val_accuracy"]).all()
trainer.fit(X[:64], y[:64], epochs=1, validation_data=(X[:64], y[:64]), verbose=0)
""",
}


@pytest.mark.parametrize("body", BODIES)
def test_ctrl_c_ends_a_long_call(body: str, tmp_path: Path) -> None:
    assert "waited" in run_python("-c", SETTING + BODIES[body], str(tmp_path / "file"), timeout=120).stdout


def test_a_call_of_another_thread_goes_on_at_a_signal() -> None:
    """As all of Python: the main thread alone has signals."""
    program = f"""{SETTING}
X = new_data(5_000)[0]
model, results = new_model(), []
thread = threading.Thread(target=lambda: results.append(model.predict(X)))
thread.start()
try:
    os.kill(os.getpid(), signal.SIGINT)
    thread.join()
except KeyboardInterrupt:
    thread.join()
assert np.isfinite(results[0]).all()
"""
    run_python("-c", program)


def test_what_a_signal_handler_raises_comes_out_of_the_call() -> None:
    program = f"""{SETTING}
class Enough(Exception): pass
def handler(*_): raise Enough
signal.signal(signal.SIGALRM, handler)
X, y = new_data(30_000)
trainer = stoop.Trainer(new_model())
for call in (lambda: trainer.loss_and_grad(X, y), lambda: trainer.evaluate(X, y)):
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        call()
    except Enough:
        continue
    sys.exit("not raised")
"""
    run_python("-c", program)
