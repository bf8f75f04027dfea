"""stoop.minimize on costs whose minimum is known, and stoop.ewa against its recurrence."""

from __future__ import annotations

import doctest
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import crossed
import stoop
from helpers import refused
from stoop import minimization

OPTIMIZERS = {
    name: case.make(case.case.solving, **({"weight_decay": 0.0} if "weight_decay" in case.case.arguments else {}))
    for name, case in crossed.optimizer_cases().items()
}


def quadratic(a: float, b: float, c: float) -> Callable[[Any], tuple[Any, list[Any]]]:
    def cost(params: Any) -> tuple[Any, list[Any]]:
        (w,) = params
        return a * w**2 + b * w + c, [2 * a * w + b]

    return cost


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("coefficients", "minimum"), [((1, -10, 25), 5.0), ((1, -20, 100), 10.0)])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_textbook_example(name: str, coefficients: tuple[float, float, float], minimum: float, dtype: str) -> None:
    w = np.zeros((), dtype)
    history = stoop.minimize(quadratic(*coefficients), [w], OPTIMIZERS[name], steps=1000)
    assert history.shape == (1000,)
    assert history.dtype == np.float64
    assert history[0] == coefficients[2]
    assert float(w) == pytest.approx(minimum, abs=1e-2)
    assert w.dtype == dtype


def test_sgd_is_exact() -> None:
    """Each step of rate 0.1 leaves 0.8 of the distance."""
    w = np.array([0.0])
    history = stoop.minimize(quadratic(1, -10, 25), [w], "sgd", steps=3)  # its rate is 0.01
    np.testing.assert_allclose(w, 5 - 5 * 0.98**3)
    np.testing.assert_allclose(history, 25 * 0.98 ** (2 * np.arange(3)))


def test_several_arrays_and_a_single_one() -> None:
    target = np.arange(6.0).reshape(2, 3)

    def cost(params: Any) -> tuple[float, list[Any]]:
        a, b = params
        return float(np.sum((a - target) ** 2) + np.sum((b + 1) ** 2)), [2 * (a - target), 2 * (b + 1)]

    a, b = np.zeros((2, 3)), np.zeros(2)
    stoop.minimize(cost, [a, b], stoop.optimizers.SGD(0.1), steps=200)
    np.testing.assert_allclose(a, target, atol=1e-9)
    np.testing.assert_allclose(b, -1, atol=1e-9)
    w = np.zeros(3)
    stoop.minimize(lambda w: (np.sum((w - 2) ** 2), 2 * (w - 2)), w, stoop.optimizers.SGD(0.1), steps=200)
    np.testing.assert_allclose(w, 2, atol=1e-9)


def test_a_cost_that_is_not_finite() -> None:
    w = np.array([1.0])
    with pytest.raises(stoop.NonFiniteLossError) as caught:
        stoop.minimize(lambda p: (float("nan"), [p[0]]), [w], "adam", steps=3)
    assert caught.value.step == 0
    assert w == 1.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [*OPTIMIZERS, "lbfgs"])
def test_a_gradient_that_is_not_finite(name: str, dtype: str, bad: float) -> None:
    """The value is, so only the gradient can tell."""
    a, b = np.ones(3, dtype), np.array([[2.0]], dtype)
    with refused(stoop.NonFiniteLossError, r"\[minimize\]", "not finite", "step 0") as caught:
        gradients = [np.zeros(3), np.array([[bad]])]
        stoop.minimize(lambda p: (1.0, gradients), [a, b], OPTIMIZERS.get(name, name), 5)
    assert caught.value.step == caught.value.epoch == 0
    np.testing.assert_array_equal(a, 1.0)
    np.testing.assert_array_equal(b, 2.0)


def test_a_gradient_that_is_not_finite_later_on() -> None:
    """The params are those of the cost that failed: finite, and three updates from the start."""
    w = np.array([0.0])
    seen = []

    def cost(params: Any) -> tuple[float, list[Any]]:
        seen.append(float(params[0][0]))
        return 1.0, [np.array([np.nan if len(seen) == 4 else 1.0])]

    with refused(stoop.NonFiniteLossError, "gradient 0", "step 3", "learning rate") as caught:
        stoop.minimize(cost, [w], stoop.optimizers.SGD(0.5), steps=9)
    assert caught.value.step == 3
    assert w[0] == seen[-1] == -1.5


def test_lbfgs_does_not_go_where_the_gradient_is_not_finite() -> None:
    def cost(w: npt.NDArray) -> tuple[float, npt.NDArray]:
        return float(w[0]), np.array([1.0 if w[0] > -1.0 else np.nan])

    w = np.array([2.0])
    values = stoop.minimize(cost, w, "lbfgs", steps=10)
    assert -1.0 < w[0] <= values[-1] < values[0] == 2.0


@pytest.mark.parametrize(
    ("call", "exception", "pattern"),
    [
        (lambda: stoop.minimize(3, [np.zeros(1)], "sgd", 1), TypeError, "cost"),
        (lambda: stoop.minimize(lambda p: 3.0, [np.zeros(1)], "sgd", 1), TypeError, "gradients"),
        (lambda: stoop.minimize(lambda p: (p[0], [p[0]]), [np.zeros(2)], "sgd", 1), TypeError, "cost"),
        (lambda: stoop.minimize(lambda p: (1.0, [1.0, 2.0]), [np.zeros(1)], "sgd", 1), ValueError, "2 gradients"),
        (lambda: stoop.minimize(lambda p: (1.0, [1.0]), [3.0], "sgd", 1), TypeError, "float"),
        (lambda: stoop.minimize(lambda p: (1.0, [1.0]), [np.zeros(1)], "sgdd", 1), ValueError, "sgd"),
        (lambda: stoop.minimize(lambda p: (1.0, [1.0]), [np.zeros(1)], "sgd", 0), ValueError, "steps"),
        (lambda: stoop.minimize(lambda p: (1.0, [[[1.0], [1.0, 2.0]]]), [np.zeros(2)], "sgd", 1), ValueError, "rows"),
        (lambda: stoop.minimize(lambda p: (1.0, [[[1.0], [1.0, 2.0]]]), [np.zeros(2)], "lbfgs", 1), ValueError, "rows"),
        (lambda: stoop.minimize(lambda p: ([[1.0], [1.0, 2.0]], [1.0]), [np.zeros(1)], "sgd", 1), TypeError, "cost"),
    ],
)
def test_bad_arguments(call: Callable[[], Any], exception: type[Exception], pattern: str) -> None:
    with refused(exception, pattern):
        call()


BAD_ARRAYS: dict[str, Callable[[], Any]] = {
    "no arrays": lambda: ([], []),
    "a dict": lambda: ({"w": np.zeros(2)}, [np.zeros(2)]),
    "a number": lambda: ([np.zeros(2), 3.0], [np.zeros(2), 1.0]),
    "integers": lambda: ([np.zeros(2, int)], [np.zeros(2)]),
    "two dtypes": lambda: ([np.zeros(2), np.zeros(2, np.float32)], [np.zeros(2), np.zeros(2)]),
    "a view": lambda: ([np.zeros((4, 4))[:, :2]], [np.zeros((4, 2))]),
    "read only": lambda: ([np.broadcast_to(0.0, (2,))], [np.zeros(2)]),
    "too few gradients": lambda: ([np.zeros(2), np.zeros(2)], [np.zeros(2)]),
    "too many gradients": lambda: ([np.zeros(2)], [np.zeros(2), np.zeros(2)]),
    "another shape": lambda: ([np.zeros(2)], [np.zeros(3)]),
    "strings": lambda: ([np.zeros(2)], [np.array(["a", "b"])]),
    "gradients in a dict": lambda: ([np.zeros(2)], {"w": np.zeros(2)}),
    "ragged": lambda: ([np.zeros(2)], [[[1.0], [1.0, 2.0]]]),
    "parameters that overlap": lambda: ([(block := np.zeros(10))[:7], block[3:]], [np.zeros(7), np.zeros(7)]),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_every_optimizer_refuses_arrays_as_step_does(case: str) -> None:
    """In the same words but for the place, and without a word of step, which the caller did not call."""
    params, gradients = BAD_ARRAYS[case]()
    with refused((ValueError, TypeError), r"\[optimizer.step\]") as expected:
        stoop.optimizers.SGD().step(params, gradients)
    text = str(expected.value).replace("[optimizer.step]", "[minimize]")
    assert "step" not in text
    for optimizer in ("sgd", "lbfgs"):
        params, gradients = BAD_ARRAYS[case]()
        with pytest.raises(expected.type) as found:
            stoop.minimize(lambda _, g=gradients: (1.0, g), params, optimizer, 3)
        assert str(found.value) == text, optimizer


def test_a_gradient_may_be_its_parameter_but_not_overlap_it() -> None:
    """The gradient of w**2 / 2 is w."""
    w = np.arange(4.0)
    stoop.minimize(lambda p: (float(p[0] @ p[0]) / 2, [p[0]]), [w], stoop.optimizers.SGD(0.5), steps=2)
    np.testing.assert_array_equal(w, np.arange(4.0) / 4)
    block = np.arange(5.0)
    with refused(ValueError, r"\[minimize\]", "gradient 0 shares memory"):
        stoop.minimize(lambda p: (1.0, [block[:-1]]), [block[1:]], "sgd", steps=2)


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_a_signal_stops_lbfgs_that_has_converged() -> None:
    """A timer of the system, since no other Python thread runs meanwhile."""
    w = np.zeros(1)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    start = time.perf_counter()
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            stoop.minimize(quadratic(1, -10, 25), [w], "lbfgs", steps=10**8)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert time.perf_counter() - start < 10.0
    assert w[0] == pytest.approx(5.0)


def test_the_example_of_the_docstring() -> None:
    assert doctest.testmod(minimization).failed == 0


# ---- ewa ----


def recurrence(x: npt.NDArray, beta: float, *, corrected: bool) -> npt.NDArray:
    out, v = np.empty(x.shape), np.zeros(x.shape[1:])
    for t in range(len(x)):
        v = beta * v + (1 - beta) * x[t]
        out[t] = v / (1 - beta ** (t + 1)) if corrected else v
    return out


@pytest.mark.parametrize("corrected", [True, False])
@pytest.mark.parametrize("shape", [(50,), (50, 3), (10, 2, 2), (1,), (0,)])
@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.999])
def test_ewa(beta: float, shape: tuple[int, ...], corrected: bool) -> None:
    x = np.random.default_rng(0).standard_normal(shape)
    average = stoop.ewa(x, beta, bias_correction=corrected)
    assert average.shape == shape
    assert average.dtype == np.float64
    np.testing.assert_allclose(average, recurrence(x, beta, corrected=corrected), rtol=1e-10, atol=1e-12)


@given(value=st.floats(-1e300, 1e300), beta=st.floats(0, 0.999999), n=st.integers(1, 200))
def test_bias_correction_is_exact_on_constants(value: float, beta: float, n: int) -> None:
    assert np.all(stoop.ewa(np.full(n, value), beta) == value)


@given(hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e6)), st.floats(0, 0.99))
def test_ewa_stays_in_the_range_of_the_data(x: npt.NDArray, beta: float) -> None:
    average = stoop.ewa(x, beta)
    slack = 1e-9 * (1 + abs(x).max())
    assert x.min() - slack <= average.min()
    assert average.max() <= x.max() + slack


def test_ewa_of_a_long_sequence_is_fast() -> None:
    assert stoop.ewa(np.ones(2_000_000, np.float32), 0.99)[-1] == 1.0


@pytest.mark.parametrize(
    ("call", "exception"),
    [
        (lambda: stoop.ewa([1.0], 1.0), ValueError),
        (lambda: stoop.ewa([1.0], -0.1), ValueError),
        (lambda: stoop.ewa([1.0], "0.9"), TypeError),
        (lambda: stoop.ewa(3.0, 0.9), ValueError),
        (lambda: stoop.ewa(["a"], 0.9), TypeError),
        (lambda: stoop.ewa([[1.0], [1.0, 2.0]], 0.9), ValueError),
        (lambda: stoop.ewa([1.0], 0.9, bias_correction=1), TypeError),
    ],
)
def test_bad_arguments_of_ewa(call: Callable[[], Any], exception: type[Exception]) -> None:
    with refused(exception):
        call()


# ---- minimize ----


def rosenbrock(w: npt.NDArray) -> tuple[float, npt.NDArray]:
    a, b = w[1:] - w[:-1] ** 2, 1.0 - w[:-1]
    gradient = np.zeros_like(w)
    gradient[1:] += 200.0 * a
    gradient[:-1] += -400.0 * w[:-1] * a - 2.0 * b
    return float(np.sum(100.0 * a**2 + b**2)), gradient


def test_minimize_solves_rosenbrock() -> None:
    w = np.full(10, -1.2)
    values = stoop.minimize(rosenbrock, w, stoop.optimizers.LBFGS(), 120)
    np.testing.assert_allclose(w, 1.0, atol=1e-8)
    assert values.shape == (120,)
    assert np.all(np.diff(values) <= 1e-14)


def test_minimize_over_several_arrays_and_layouts() -> None:
    target = np.arange(6.0).reshape(2, 3)
    a, b = np.asfortranarray(np.zeros((2, 3))), np.zeros(4, dtype=np.float64)

    def cost(params: Any) -> tuple[float, list[npt.NDArray]]:
        first, second = params
        return (
            float(np.sum((first - target) ** 2) + 3.0 * np.sum((second - 2.0) ** 2)),
            [2.0 * (first - target), 6.0 * (second - 2.0)],
        )

    stoop.minimize(cost, [a, b], "lbfgs", 20)
    np.testing.assert_allclose(a, target, atol=1e-9)
    np.testing.assert_allclose(b, 2.0, atol=1e-9)


def test_minimize_keeps_the_best_point_when_the_cost_raises() -> None:
    calls = []

    def cost(w: npt.NDArray) -> tuple[float, npt.NDArray]:
        calls.append(w.copy())
        if len(calls) == 6:
            raise RuntimeError("stop here")
        return rosenbrock(w)

    w = np.full(3, -1.2)
    with pytest.raises(RuntimeError, match="stop here"):
        stoop.minimize(cost, w, "lbfgs", 50)
    assert rosenbrock(w)[0] <= rosenbrock(calls[0])[0]
    assert not np.array_equal(w, calls[-1])
