"""Threads, instruction sets, the environment and the host process."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

import stoop
from helpers import DTYPES, make_data, refused, run_python
from stoop import _core

# Trains and prints the instruction set that ran, the losses and the parameters.
TRAIN = """
import json
import numpy as np
import stoop
from stoop import _core

results = []
for dtype in ("float32", "float64"):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((300, 37)).astype(dtype), rng.integers(5, size=300)
    layers = [stoop.Dense(67, activation="tanh"), stoop.Dense(33, activation="relu"), stoop.Dense(10), stoop.Dense(5)]
    model = stoop.Model(layers, input_dim=37, dtype=dtype)
    history = stoop.Trainer(model, optimizer=stoop.optimizers.SGD(0.05, momentum=0.9)).fit(
        X, y, epochs=3, batch_size=64, verbose=0
    )
    results.append([list(history["loss"]), *(p.ravel().tolist() for p in model.parameters().values())])
print(json.dumps([_core.active_isa(), stoop.get_num_threads(), results]))
"""


def train(**environment: str) -> tuple[str, int, list[list[list[float]]]]:
    isa, threads, results = json.loads(run_python("-c", TRAIN, **environment).stdout)
    return isa, threads, results


def assert_close(results: list[list[list[float]]], expected: list[list[list[float]]]) -> None:
    for tolerance, arrays, expected_arrays in zip((1e-5, 1e-12), results, expected, strict=True):
        for a, b in zip(arrays, expected_arrays, strict=True):
            assert np.linalg.norm(np.subtract(a, b)) < tolerance * np.linalg.norm(b)


# ---- threads ----


def test_thread_controls() -> None:
    stoop.set_num_threads(3)
    assert stoop.get_num_threads() == 3
    with stoop.num_threads(2):
        assert stoop.get_num_threads() == 2
        with stoop.num_threads(5):
            assert stoop.get_num_threads() == 5
        assert stoop.get_num_threads() == 2
    assert stoop.get_num_threads() == 3
    with pytest.raises(RuntimeError, match="inside"), stoop.num_threads(1):
        raise RuntimeError("inside")
    assert stoop.get_num_threads() == 3
    with refused(ValueError), stoop.num_threads(0):
        pass
    assert stoop.get_num_threads() == 3


PREDICT = """
import os
import numpy as np
import stoop

def threads():
    return len(os.listdir("/proc/self/task"))

rng = np.random.default_rng(0)
X = rng.standard_normal((4000, 64)).astype(np.float32)
model = stoop.Model([stoop.Dense(128, activation="relu"), stoop.Dense(128), stoop.Dense(3)], input_dim=64)
before = threads()
out = np.empty((4000, 3), np.float32)
one = model.predict(X, num_threads=1)
model.predict(X, 500, out, num_threads=1)
more = [getattr(model, "predict_" + name) for name in ("proba", "classes", "labels")]
singles = [method(X, num_threads=1) for method in more]
alone = threads() - before
three = model.predict(X, num_threads=3)
are_same = all((method(X, num_threads=3) == single).all() for method, single in zip(more, singles))
print(alone, threads() - before, stoop.get_num_threads(), (one == three).all() and (one == out).all() and are_same)
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux")
def test_a_prediction_has_a_limit_of_its_own() -> None:
    for default in ("4", "1"):
        assert run_python("-c", PREDICT, STOOP_NUM_THREADS=default).stdout.split() == ["0", "2", default, "True"]


@pytest.mark.parametrize("threads", [0, -1, 1025, 1.5, "two"])
def test_a_bad_limit_of_a_prediction_is_an_error(threads: object) -> None:
    model = stoop.Model([stoop.Dense(2)], input_dim=3)
    for batch_size in (None, 2):
        with refused((ValueError, TypeError), "num_threads"):
            model.predict(np.zeros((4, 3)), batch_size, num_threads=threads)
    for name in ("predict_proba", "predict_classes", "predict_labels"):
        with refused((ValueError, TypeError), rf"\[Model.{name}\] num_threads"):
            getattr(model, name)(np.zeros((4, 3)), num_threads=threads)
    for most in (-1, 1025):
        with refused(ValueError, "most_threads"):
            model._core.predict(np.zeros((4, 3)), most)


def test_the_default_is_what_the_process_may_use() -> None:
    code = "import stoop; print(stoop.get_num_threads())"
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert 1 <= int(run_python("-c", code).stdout) <= usable
    assert run_python("-c", code, STOOP_NUM_THREADS="3").stdout.strip() == "3"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity masks on this system")
def test_the_affinity_mask_is_respected() -> None:
    pin = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    assert run_python("-c", f"{pin}\nimport stoop; print(stoop.get_num_threads())").stdout.strip() == "1"


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "99999999999999999999"])
def test_a_bad_number_in_the_environment_is_an_error(value: str) -> None:
    done = run_python("-c", "import stoop; stoop.get_num_threads()", check=False, STOOP_NUM_THREADS=value)
    assert done.returncode == 1, "neither success nor a crash"
    assert "ValueError: [" in done.stderr
    assert "STOOP_NUM_THREADS" in done.stderr


# ---- instruction sets and providers ----


@pytest.fixture(scope="module")
def scalar() -> list[list[list[float]]]:
    return train(STOOP_ISA="scalar")[2]


@pytest.mark.parametrize("isa", _core.available_isas())
def test_each_instruction_set_trains_alike(scalar: list[list[list[float]]], isa: str) -> None:
    active, _, results = train(STOOP_ISA=isa)
    assert active == isa
    assert_close(results, scalar)


def test_the_best_instruction_set_is_the_default() -> None:
    assert train()[0] == _core.available_isas()[0]
    assert "scalar" in _core.available_isas()


def test_an_unknown_instruction_set_is_an_error_that_lists_the_valid_ones() -> None:
    for value in ("avx1024", "AVX2 ", "neon" if "neon" not in _core.available_isas() else "avx2"):
        done = run_python("-c", TRAIN, check=False, STOOP_ISA=value)
        assert done.returncode == 1, "neither success nor a crash"
        assert "ValueError: [" in done.stderr
        for name in (value.strip(), *_core.available_isas()):
            assert name in done.stderr


@pytest.mark.parametrize("provider", ["native", "blas", "auto"])
def test_each_provider_trains_alike(scalar: list[list[list[float]]], provider: str) -> None:
    assert_close(train(STOOP_GEMM=provider)[2], scalar)


def test_an_unknown_provider_is_an_error() -> None:
    done = run_python("-c", TRAIN, check=False, STOOP_GEMM="magic")
    assert done.returncode == 1
    assert "ValueError: [" in done.stderr
    for word in ("STOOP_GEMM", "native", "blas", "auto"):
        assert word in done.stderr


def test_a_blas_that_cannot_be_loaded() -> None:
    done = run_python("-c", TRAIN, check=False, STOOP_GEMM="blas", STOOP_BLAS="/nowhere/libcblas.so")
    assert done.returncode == 1
    assert "/nowhere/libcblas.so" in done.stderr


def products(**environment: str) -> str:
    code = "import stoop; print(stoop.show_config('dicts')['cpu']['products'])"
    return run_python("-c", code, **environment).stdout.strip()


def test_auto_is_native_without_a_blas() -> None:
    nowhere = {"STOOP_GEMM": "auto", "STOOP_BLAS": "/nowhere/libcblas.so"}
    assert train(**nowhere) == train(STOOP_GEMM="native")
    assert products(**nowhere) == "native"


def test_the_provider_is_shown() -> None:
    assert products(STOOP_GEMM="") == "native"
    for provider in ("native", "blas", "auto"):
        assert products(STOOP_GEMM=provider) == provider


def test_show_config(capsys: pytest.CaptureFixture[str]) -> None:
    shown = stoop.show_config()
    text = (capsys.readouterr().out + str(shown)).lower()
    for word in (stoop.__version__, _core.active_isa(), "blas", "threads", "compiler"):
        assert word.lower() in text


# ---- the host process ----


def subnormals_are_kept() -> bool:
    half32, half64 = np.finfo(np.float32).tiny / np.float32(2), np.finfo(np.float64).tiny / np.float64(2)
    return float("5e-324") * 1.0 != 0.0 and sys.float_info.min / 2.0 != 0.0 and half32 != 0 and half64 != 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_flush_to_zero_does_not_leak(threads: int, dtype: str) -> None:
    assert subnormals_are_kept()
    X, y = make_data("softmax_cross_entropy", 600, 100, 10, dtype)
    model = stoop.Model([stoop.Dense(200, activation="relu"), stoop.Dense(10)], input_dim=100, dtype=dtype)
    trainer = stoop.Trainer(model, num_threads=threads)
    for call in (
        lambda: trainer.fit(X, y, epochs=2, verbose=0),
        lambda: trainer.step(X, y),
        lambda: trainer.evaluate(X, y),
        lambda: trainer.loss_and_grad(X, y),
        lambda: model.predict(X),
    ):
        call()
        assert subnormals_are_kept()
    model.parameters()["0.weight"][0, 0] = np.nan
    with pytest.raises(stoop.NonFiniteLossError):
        trainer.step(X, y)
    assert subnormals_are_kept()


FORK = """
import hashlib, multiprocessing, os, sys, warnings
warnings.simplefilter("ignore")
import numpy as np
import stoop

stoop.set_num_threads(4)
rng = np.random.default_rng(0)
X, y = rng.standard_normal((2000, 200), np.float32), rng.integers(10, size=2000)

def train():
    model = stoop.Model([stoop.Dense(300, activation="relu"), stoop.Dense(10)], input_dim=200)
    stoop.Trainer(model, num_threads=4).fit(X, y, epochs=2, verbose=0)
    model.predict(X)
    return hashlib.sha256(b"".join(p.tobytes() for p in model.parameters().values())).hexdigest()

expected = train()
if sys.argv[1] == "os.fork":
    child = os.fork()
    if child == 0:
        os._exit(0 if train() == expected else 3)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
else:
    process = multiprocessing.get_context("fork").Process(target=lambda: os._exit(0 if train() == expected else 3))
    process.start()
    process.join()
    code = process.exitcode
assert train() == expected, "the parent trains on"
sys.exit(code)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("how", ["os.fork", "multiprocessing"])
def test_a_forked_child_can_train(how: str) -> None:
    run_python("-c", FORK, how, timeout=30, STOOP_GEMM="native")


def test_a_forked_pool_can_train() -> None:
    code = FORK[: FORK.index("expected = train()")] + (
        "if __name__ == '__main__':\n"
        "    expected = train()\n"
        "    with multiprocessing.get_context('fork').Pool(2) as pool:\n"
        "        assert [r.get() for r in [pool.apply_async(train) for _ in range(4)]] == [expected] * 4\n"
    )
    if not hasattr(os, "fork"):
        pytest.skip("no fork on this system")
    run_python("-c", code, timeout=30, STOOP_GEMM="native")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nothing_spins_while_no_training_runs() -> None:
    code = """
import time, numpy as np, stoop
X, y = np.ones((512, 200), np.float32), np.zeros(512, int)
model = stoop.Model([stoop.Dense(300, activation="relu"), stoop.Dense(10)], input_dim=200)
stoop.Trainer(model, num_threads=4).fit(X, y, epochs=3, verbose=0)
time.sleep(0.2)
start = time.process_time()
time.sleep(0.5)
print(time.process_time() - start)
"""
    assert float(run_python("-c", code).stdout) < 0.1
