"""Every optimizer against its formula in NumPy, on bare arrays and inside a trainer, and what step() refuses."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import cases
import crossed
import reference
import stoop
from helpers import make_data, refused
from stoop import optimizers

CASES = crossed.optimizer_cases()
TOLERANCE = {"float32": 2e-5, "float64": 1e-11}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", CASES)
def test_bare_arrays(case: str, dtype: str) -> None:
    rule, arguments = reference.OPTIMIZERS[CASES[case].name], CASES[case].arguments
    rng = np.random.default_rng(1)
    optimizer = CASES[case].make(stoop.schedules.Exponential(0.02, 0.95))
    shapes = [(7, 5), (3,), (), (1, 1), (2, 3, 4)]
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    expected = [array.astype(np.float64) for array in arrays]
    states: list[dict] = [{} for _ in shapes]
    for t in range(1, 13):
        grads = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
        optimizer.step(arrays, grads)
        lr = 0.02 * 0.95 ** (t - 1)
        expected = [
            rule(w, g.astype(np.float64), t, s, lr, **arguments)
            for w, g, s in zip(expected, grads, states, strict=True)
        ]
    for array, wanted in zip(arrays, expected, strict=True):
        assert array.dtype == dtype
        np.testing.assert_allclose(array, wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("case", CASES)
def test_the_trainer_follows_the_same_formula(case: str) -> None:
    """Weight decay is for weights alone; the gradients are the trainer's own."""
    rule, arguments = reference.OPTIMIZERS[CASES[case].name], CASES[case].arguments
    model = stoop.Model([stoop.Dense(6, activation="tanh"), stoop.Dense(3)], input_dim=4, dtype="float64")
    trainer = stoop.Trainer(model, optimizer=CASES[case].make(0.02), l2=0.01, l1=0.001)
    X, y = make_data("softmax_cross_entropy", 20, 4, 3, "float64")
    states: dict[str, dict] = {name: {} for name in model.parameters()}
    for t in range(1, 8):
        _, grads = trainer.loss_and_grad(X, y)
        expected = {}
        for key, w in model.parameters().items():
            own = dict(arguments)
            if key.endswith("bias") and "weight_decay" in CASES[case].case.arguments:
                own["weight_decay"] = 0.0
            expected[key] = rule(w.copy(), grads[key], t, states[key], 0.02, **own)
        trainer.step(X, y)
        for key, w in model.parameters().items():
            np.testing.assert_allclose(w, expected[key], rtol=1e-10, atol=1e-12, err_msg=key)


@given(
    hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e3, 1e3).filter(lambda g: abs(g) > 1e-3)),
    st.floats(1e-6, 1.0),
)
def test_the_first_step_of_adam_has_size_lr(g: npt.NDArray, lr: float) -> None:
    for make in (optimizers.Adam, lambda rate: optimizers.AdamW(rate, weight_decay=0.0), optimizers.Lion):
        w = np.zeros(len(g))
        make(lr).step([w], [g])
        np.testing.assert_allclose(w, -lr * np.sign(g), rtol=2e-5)


@given(hnp.arrays(np.float64, st.integers(1, 20), elements=st.floats(-10, 10)), st.floats(0, 0.99))
def test_dampening_makes_an_average_of_the_gradients(g: npt.NDArray, beta: float) -> None:
    """v of SGD(momentum=beta, dampening=beta) is stoop.ewa without correction."""
    w, optimizer = np.zeros(()), optimizers.SGD(1.0, momentum=beta, dampening=beta)
    moved = []
    for value in g:
        before = float(w)
        optimizer.step([w], [value])
        moved.append(before - float(w))
    if beta > 0:
        np.testing.assert_allclose(moved, stoop.ewa(g, beta, bias_correction=False), atol=1e-9)


# ---- arrays and state ----


def test_views_and_layouts() -> None:
    block = np.zeros(10)
    optimizers.SGD(1.0).step([block[:4], block[6:]], [np.ones(4), 2 * np.ones(4)])
    np.testing.assert_array_equal(block, [-1] * 4 + [0] * 2 + [-2] * 4)
    transposed = np.zeros((3, 2)).T  # column-major, yet contiguous
    g = np.arange(6.0).reshape(2, 3)
    optimizers.SGD(1.0).step([transposed], [g])
    np.testing.assert_array_equal(transposed, -g)
    w = np.zeros((2, 3), np.float32)
    optimizers.SGD(1.0).step([w], [np.asfortranarray(g)])
    np.testing.assert_array_equal(w, -g)
    optimizers.SGD(1.0).step([w], [g.astype(int).tolist()])
    np.testing.assert_array_equal(w, -2 * g)


def test_state_belongs_to_the_list_of_arrays() -> None:
    optimizer = optimizers.Adam(0.1)
    a, b, c = np.zeros(3), np.zeros(3), np.zeros(3)
    for _ in range(5):
        optimizer.step([a], [np.ones(3)])
    optimizer.step([b], [np.ones(3)])  # a list of its own: its first step
    fresh = optimizers.Adam(0.1)
    fresh.step([c], [np.ones(3)])
    np.testing.assert_array_equal(b, c)
    optimizer.step([a[:]], [np.ones(3)])  # the same memory: the sixth
    for _ in range(6):
        fresh.step([c], [np.ones(3)])
    assert a[0] == pytest.approx(-0.6)


def test_state_is_forgotten_with_the_arrays() -> None:
    optimizer = optimizers.Adam(0.1)
    for _ in range(50):
        w = np.zeros(1000)  # most likely at the same address each time
        optimizer.step([w], [np.ones(1000)])
        np.testing.assert_allclose(w, -0.1, rtol=1e-6)
        del w
        gc.collect()
    assert len(optimizer.__dict__["_updaters"]) == 0


def test_optimizers_are_values() -> None:
    for case in CASES.values():
        optimizer, equal = case.make(0.1), case.make(0.1)
        optimizer.step([np.zeros(2)], [np.ones(2)])
        assert optimizer == equal
        assert hash(optimizer) == hash(equal)
        assert repr(optimizer) == repr(equal)
        assert pickle.loads(pickle.dumps(optimizer)) == copy.deepcopy(optimizer) == equal


def test_many_elements_and_any_number_of_threads() -> None:
    results = []
    rng = np.random.default_rng(0)
    g = rng.standard_normal(1_000_003).astype(np.float32)
    for threads in (1, 2, 3):
        with stoop.num_threads(threads):
            w, optimizer = np.zeros_like(g), optimizers.Adam(0.1)
            for _ in range(2):
                optimizer.step([w], [g])
            results.append(w)
    assert results[0].tobytes() == results[1].tobytes() == results[2].tobytes()


def read_only() -> npt.NDArray:
    array = np.zeros(3)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("parameters", "gradients", "exception", "pattern"),
    [
        (lambda: [np.zeros(6)[::2]], [np.zeros(3)], ValueError, "strided"),
        (lambda: [np.zeros((4, 4))[:, :2]], [np.zeros((4, 2))], ValueError, "strided"),
        (lambda: [read_only()], [np.zeros(3)], ValueError, "read-only"),
        (lambda: [np.zeros(3, int)], [np.zeros(3)], TypeError, "int64"),
        (lambda: [[1.0, 2.0]], [np.zeros(2)], TypeError, "list"),
        (lambda: [3.0], [1.0], TypeError, "float"),
        (lambda: np.zeros(3), [np.zeros(3)], TypeError, "list of arrays"),
        (lambda: [np.zeros(3)], [np.zeros(4)], ValueError, r"\(4,\)"),
        (lambda: [np.zeros((2, 3))], [np.zeros((3, 2))], ValueError, r"\(3, 2\)"),
        (lambda: [np.zeros(3)], [], ValueError, "0 gradients"),
        (list, [], ValueError, "0 parameters"),
        (lambda: [np.zeros(3), np.zeros(3, np.float32)], [np.zeros(3)] * 2, TypeError, "float32"),
        (lambda: [np.zeros(3)], [np.zeros(3, complex)], TypeError, "complex"),
        (lambda: [np.zeros(3)], [[[1.0], [1.0, 2.0]]], ValueError, "gradient 0 is a list that is no array"),
    ],
)
def test_step_refuses(parameters: Callable[[], Any], gradients: Any, exception: type[Exception], pattern: str) -> None:
    with refused(exception, pattern):
        optimizers.Adam().step(parameters(), gradients)


def overlapping() -> dict[str, tuple[list[Any], list[Any], str]]:
    block, other = np.zeros(20), np.zeros((4, 5))
    return {
        "parts": ([block[:12], block[8:]], [np.ones(12), np.ones(12)], "parameters 0 and 1"),
        "by one element": ([block[9:], other, block[:10]], [np.ones(11), other + 1, np.ones(10)], "parameters 0 and 2"),
        "twice the same": ([other, block, other], [other + 1, np.ones(20), other + 1], "parameters 0 and 2"),
        "one within": ([block, block[4:5]], [np.ones(20), np.ones(1)], "parameters 0 and 1"),
        "the gradient later": ([block[:-1]], [block[1:]], "gradient 0 .* parameter 0"),
        "the gradient earlier": ([block[1:]], [block[:-1]], "gradient 0 .* parameter 0"),
        "of another": ([other, block[:10]], [block[9:].repeat(2)[:20].reshape(4, 5), block[9:19]], "gradient 1"),
        "exchanged": ([block[:10], block[10:]], [block[10:], block[:10]], "gradient 0 .* parameter 1"),
    }


@pytest.mark.parametrize("case", overlapping())
def test_arrays_that_share_memory_are_refused(case: str) -> None:
    """At the first update and when the optimizer knows the parameters; nothing is changed."""
    parameters, gradients, pattern = overlapping()[case]
    optimizer = optimizers.Adam()
    if pattern.startswith("gradient"):
        optimizer.step(parameters, [np.ones_like(array) for array in parameters])
    before = [array.copy() for array in parameters]
    with refused(ValueError, pattern, "memory"):
        optimizer.step(parameters, gradients)
    for array, kept in zip(parameters, before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_neighbours_and_empty_arrays_share_no_memory() -> None:
    block, w = np.zeros(10), np.zeros(10)
    parameters = [block[6:], block[:0], block[:4], block[5:5], block[4:6]]
    optimizers.SGD(1.0).step(parameters, [np.ones(4), np.ones(0), block[6:] + 1, w[:0], np.ones(2)])
    np.testing.assert_array_equal(block, -1.0)
    optimizers.SGD(1.0).step([w[:5]], [w[5:]])  # not a part of a parameter


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", CASES)
def test_a_gradient_may_be_its_parameter(case: str, dtype: str) -> None:
    w = np.linspace(0.1, 1.0, 40_000, dtype=dtype).reshape(200, 200).T
    expected = w.copy(order="K")  # norms of whole arrays are sums in the order of memory
    same, apart = (CASES[case].make(0.1) for _ in range(2))
    for _ in range(3):
        same.step([w], [w])
        apart.step([expected], [expected.copy()])
    np.testing.assert_array_equal(w, expected)


def test_one_optimizer_does_not_update_the_same_arrays_twice_at_once() -> None:
    """The first call waits within the core, where it asks for the learning rate, until the second has been refused."""
    inside, may_end = threading.Event(), threading.Event()
    calls = []

    def rate(t: int) -> float:
        calls.append(threading.current_thread())
        if threading.current_thread() is first:
            inside.set()
            may_end.wait(30)
        return 0.5

    optimizer, w, other = optimizers.SGD(rate), np.zeros(3), np.zeros(3)
    first = threading.Thread(target=lambda: optimizer.step([w], [np.ones(3)]))
    first.start()
    try:
        assert inside.wait(30)
        with refused(RuntimeError, r"\[optimizer.step\]", "thread"):
            optimizer.step([w], [np.ones(3)])
        with refused(RuntimeError, r"\[minimize\]", "thread"):
            stoop.minimize(lambda p: (1.0, [np.ones(3)]), [w], optimizer, steps=1)
        optimizer.step([other], [np.ones(3)])
    finally:
        may_end.set()
        first.join()
    optimizer.step([w], [np.ones(3)])
    np.testing.assert_array_equal(w, -1.0)
    np.testing.assert_array_equal(other, -0.5)


@pytest.mark.parametrize(
    ("make", "exception", "pattern"),
    [
        (lambda: optimizers.AdaGrad(eps=0.0), ValueError, "eps"),
        (lambda: optimizers.RMSProp(rho=1.0), ValueError, "rho"),
        (lambda: optimizers.RMSProp(centered=1), TypeError, "centered"),
        (lambda: optimizers.Adam(amsgrad="yes"), TypeError, "amsgrad"),
        (lambda: optimizers.AdamW(weight_decay=-1.0), ValueError, "weight_decay"),
        (lambda: optimizers.Nadam(momentum_decay=-1.0), ValueError, "momentum_decay"),
        (lambda: optimizers.Lion(beta2=1.0), ValueError, "beta2"),
        (lambda: optimizers.Lion(learning_rate=0.0), ValueError, "learning_rate"),
        (lambda: optimizers.SGD(nesterov=True), ValueError, "momentum"),
    ],
)
def test_bad_settings(make: Callable[[], Any], exception: type[Exception], pattern: str) -> None:
    with refused(exception, pattern):
        make()


@pytest.mark.parametrize("name", cases.OPTIMIZERS)
def test_names(name: str) -> None:
    model = stoop.Model([stoop.Dense(2)], input_dim=3)
    assert stoop.Trainer(model, optimizer=name).optimizer.type_name == name
