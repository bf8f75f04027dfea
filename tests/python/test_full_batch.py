"""LBFGS and NewtonCG, and the critical points that they come to."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop
from helpers import refused, relative_error
from test_second_order import flat

# ---- LBFGS and NewtonCG ----


FULL_BATCH = {"lbfgs": stoop.optimizers.LBFGS(), "newton_cg": stoop.optimizers.NewtonCG()}


def small_problem(dtype: str = "float64", samples: int = 120) -> tuple[Any, npt.NDArray, npt.NDArray]:
    rng = np.random.default_rng(21)
    X = rng.standard_normal((samples, 5)).astype(dtype)
    y = (X[:, 0] * X[:, 1] > 0).astype(np.int64) + (X[:, 2] > 0.5)
    model = stoop.Model([stoop.Dense(12, activation="tanh"), stoop.Dense(3)], input_dim=5, seed=3, dtype=dtype)
    return model, X, y


@pytest.mark.parametrize("name", FULL_BATCH)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_regularised_network_converges(name: str, dtype: str) -> None:
    """To a gradient of rounding size, and the loss never rises; first-order training is nowhere near."""
    model, X, y = small_problem(dtype)
    trainer = stoop.Trainer(model, optimizer=FULL_BATCH[name], l2=0.01)
    history = trainer.fit(X, y, epochs=400 if name == "lbfgs" else 60, batch_size=len(X), shuffle=False, verbose=0)
    loss = np.array(history["loss"])
    noise = 1e-6 if dtype == "float32" else 1e-12
    assert np.all(np.diff(loss) <= noise)
    assert history["grad_norm"][-1] < (1e-4 if dtype == "float32" else 1e-8)
    assert trainer.epoch == trainer.steps == len(loss)
    again = trainer.fit(X, y, epochs=1, batch_size=len(X), verbose=0)
    assert abs(again["loss"][0] - trainer.loss_and_grad(X, y)[0]) <= noise


@pytest.mark.parametrize("name", FULL_BATCH)
def test_a_quadratic_is_solved_exactly(name: str) -> None:
    """Least squares, with the solution of numpy.linalg.lstsq."""
    rng = np.random.default_rng(22)
    X, y = rng.standard_normal((60, 7)), rng.standard_normal((60, 1))
    model = stoop.Model([stoop.Dense(1, use_bias=False)], input_dim=7, dtype="float64")
    trainer = stoop.Trainer(model, loss="mse", optimizer=FULL_BATCH[name])
    trainer.fit(X, y, epochs=40 if name == "lbfgs" else 10, batch_size=60, verbose=0)
    expected = np.linalg.lstsq(X, y, rcond=None)[0]
    np.testing.assert_allclose(model.parameters()["0.weight"], expected, rtol=1e-7)


def test_lbfgs_gets_lower_than_adam_in_ten_times_the_passes() -> None:
    """By passes over the data; bench/lbfgs.py compares by time."""
    model, X, y = small_problem()
    trainer = stoop.Trainer(model, optimizer=stoop.optimizers.LBFGS(), l2=0.01)
    trainer.fit(X, y, epochs=100, batch_size=len(X), verbose=0)
    reached = trainer.loss_and_grad(X, y)[0]
    for rate in (1e-2, 1e-3):
        model, _, _ = small_problem()
        adam = stoop.Trainer(model, optimizer=stoop.optimizers.Adam(rate), l2=0.01)
        history = adam.fit(X, y, epochs=1500, batch_size=len(X), verbose=0)
        assert min(history["loss"]) > reached + 1e-7


def test_lbfgs_gets_lower_on_digits_than_adam_in_ten_times_the_passes() -> None:
    """An evaluation is a pass over the data, in which Adam takes 15 steps; the best of its rates and times counts."""
    X, y = pytest.importorskip("sklearn.datasets").load_digits(return_X_y=True)
    X = X / 16.0

    def make_trainer(optimizer: Any) -> stoop.Trainer:
        model = stoop.Model([stoop.Dense(10)], input_dim=64, dtype="float64")
        return stoop.Trainer(model, optimizer=optimizer, l2=1e-4, num_threads=1)

    lbfgs = make_trainer(stoop.optimizers.LBFGS(history_size=20))
    evaluations = 0

    def cost(params: Any) -> tuple[float, list[Any]]:  # params are the live ones of the model
        nonlocal evaluations
        evaluations += 1
        loss, grads = lbfgs.loss_and_grad(X, y)
        return loss, list(grads.values())

    stoop.minimize(cost, list(lbfgs.model.parameters().values()), lbfgs.optimizer, steps=200)
    reached = lbfgs.loss_and_grad(X, y)[0]
    assert evaluations < 240
    same = make_trainer(stoop.optimizers.LBFGS(history_size=20))
    same.fit(X, y, epochs=200, batch_size=len(X), shuffle=False, verbose=0)
    assert same.loss_and_grad(X, y)[0] == pytest.approx(reached, rel=1e-5)
    cosines = [stoop.schedules.Cosine(rate, 15 * 10 * evaluations) for rate in (1e-1, 3e-2, 1e-2)]
    for rate in (*cosines, 1e-2, 1e-3):
        adam = make_trainer(stoop.optimizers.Adam(rate))
        for _ in range(evaluations):
            adam.fit(X, y, epochs=10, verbose=0)
            assert adam.loss_and_grad(X, y)[0] > reached + 2e-5, rate


def test_newton_leaves_a_saddle_where_the_gradient_is_zero() -> None:
    """All weights zero is a critical point of a tanh network; gradient descent would stay for ever."""
    rng = np.random.default_rng(23)
    X = rng.standard_normal((80, 3))
    y = X[:, :1] * 2.0 - X[:, 1:2]
    layers = [stoop.Dense(6, activation="tanh", kernel_init="zeros"), stoop.Dense(1, kernel_init="zeros")]
    model = stoop.Model(layers, input_dim=3, dtype="float64")
    bias = model.parameters()["1.bias"]
    bias[...] = y.mean()
    trainer = stoop.Trainer(model, loss="mse", optimizer=stoop.optimizers.NewtonCG())
    at_start = stoop.diagnose.critical_point(trainer, X, y)
    assert at_start.kind == "saddle"
    assert at_start.gradient_norm < 1e-12
    assert at_start.smallest_eigenvalue < -0.1
    assert at_start.smallest_residual < 1e-8
    history = trainer.fit(X, y, epochs=60, batch_size=80, verbose=0)
    assert history["loss"][-1] < 0.01 * history["loss"][0]
    lost = stoop.Trainer(model.copy(), loss="mse", optimizer=stoop.optimizers.LBFGS())
    for value in lost.model.parameters().values():
        value[...] = 0.0
    lost.model.parameters()["1.bias"][...] = y.mean()
    stuck = lost.fit(X, y, epochs=5, batch_size=80, verbose=0)
    assert stuck["loss"][-1] == stuck["loss"][0]


def test_batch_norm_and_frozen_layers_in_full_batch_training() -> None:
    _, X, y = small_problem()
    layers = [stoop.Dense(8, trainable=False), stoop.Dense(8), stoop.BatchNorm(), stoop.ReLU(), stoop.Dense(3)]
    model = stoop.Model(layers, input_dim=5, seed=1, dtype="float64")
    frozen = model.parameters()["0.weight"].copy()
    trainer = stoop.Trainer(model, optimizer=stoop.optimizers.LBFGS(), l2=0.01, ema=0.5)
    loss = [trainer.step(X, y) for _ in range(40)]
    p = model.parameters()
    inputs = (X @ p["0.weight"] + p["0.bias"]) @ p["1.weight"]
    assert loss[-1] < 0.5 * loss[0]
    assert np.array_equal(model.parameters()["0.weight"], frozen)
    np.testing.assert_allclose(model.buffers()["2.running_mean"], inputs.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(model.buffers()["2.running_var"], inputs.var(axis=0), rtol=1e-12)
    assert abs(trainer.evaluate(X, y)["loss"] - trainer.loss_and_grad(X, y)[0]) < 1e-12
    assert not np.array_equal(trainer.ema_parameters()["4.weight"], model.parameters()["4.weight"])


@pytest.mark.parametrize("name", FULL_BATCH)
def test_same_bits_for_any_number_of_threads(name: str) -> None:
    results = []
    for threads in (1, 2, 3):
        model, X, y = small_problem("float32")
        stoop.Trainer(model, optimizer=FULL_BATCH[name], num_threads=threads).fit(
            X, y, epochs=8, batch_size=len(X), verbose=0
        )
        results.append(flat(model.parameters()).tobytes())
    assert len(set(results)) == 1


def test_history_counts_accuracy_before_each_iteration() -> None:
    model, X, y = small_problem()
    trainer = stoop.Trainer(model, optimizer=stoop.optimizers.LBFGS())
    expected, lengths = [], []
    for _ in range(12):
        expected.append(np.mean(model.predict_classes(X) == y))
        before = flat(model.parameters())
        trainer.step(X, y)
        lengths.append(np.linalg.norm(flat(model.parameters()) - before))
    fresh, _, _ = small_problem()
    history = stoop.Trainer(fresh, optimizer=stoop.optimizers.LBFGS()).fit(
        X, y, epochs=12, batch_size=len(X), verbose=0
    )
    np.testing.assert_allclose(history["accuracy"], expected)
    np.testing.assert_allclose(history["learning_rate"], lengths, rtol=1e-9)
    np.testing.assert_allclose(flat(fresh.parameters()), flat(model.parameters()))


def test_refusals_of_full_batch_training() -> None:
    model, X, y = small_problem()
    trainer = stoop.Trainer(model, optimizer="lbfgs")
    before = flat(model.parameters())
    with refused(ValueError, "batch_size=32", "full batch"):
        trainer.fit(X, y, batch_size=32, verbose=0)
    for arguments in ({"clip_norm": 1.0}, {"clip_value": 1.0}, {"max_norm": 1.0}, {"accumulate": 2}):
        with refused(ValueError, next(iter(arguments))):
            stoop.Trainer(model, optimizer="newton_cg", **arguments)
    with refused(ValueError, "Dropout"):
        stoop.Trainer(
            stoop.Model([stoop.Dropout(0.5), stoop.Dense(3)], input_dim=5), optimizer=stoop.optimizers.LBFGS()
        )
    with refused(TypeError, "minimize"):
        stoop.optimizers.LBFGS().step([np.zeros(3)], [np.zeros(3)])
    with refused(ValueError, "history_size"):
        stoop.optimizers.LBFGS(history_size=0)
    with refused(ValueError, "newton_cg", "LBFGS"):
        stoop.minimize(lambda w: (float(w @ w), 2 * w), np.ones(3), stoop.optimizers.NewtonCG(), 3)
    assert np.array_equal(flat(model.parameters()), before)


def test_a_first_loss_that_is_no_number_changes_nothing() -> None:
    model, X, y = small_problem("float32")
    for value in model.parameters().values():
        value *= 1e30
    before = flat(model.parameters())
    trainer = stoop.Trainer(model, loss="mse", optimizer="lbfgs")
    targets = np.eye(3, dtype=np.float32)[y]
    with pytest.raises(stoop.NonFiniteLossError, match=r"\[Trainer.fit\] .*first outputs"):
        trainer.fit(X, targets, batch_size=len(X), verbose=0)
    with pytest.raises(stoop.NonFiniteLossError, match=r"\[Trainer.step\] .*first outputs"):
        trainer.step(X, targets)
    assert np.array_equal(flat(model.parameters()), before)


# ---- critical points ----


def test_eigenvalues_are_those_of_the_whole_hessian() -> None:
    model, X, y = small_problem(samples=30)
    trainer = stoop.Trainer(model, l2=0.1)
    size = flat(model.parameters()).size
    hessian = np.empty((size, size))
    for i in range(size):
        unit, at = {}, 0
        for name, value in model.parameters().items():
            part = np.zeros(value.size)
            if at <= i < at + value.size:
                part[i - at] = 1.0
            unit[name], at = part.reshape(value.shape), at + value.size
        hessian[i] = flat(trainer.hessian_vector_product(X, y, unit))
    assert relative_error(hessian, hessian.T) < 1e-13
    eigenvalues = np.linalg.eigvalsh(hessian)
    found = stoop.diagnose.critical_point(trainer, X, y, iterations=size)
    np.testing.assert_allclose(found.smallest_eigenvalue, eigenvalues[0], atol=1e-9)
    np.testing.assert_allclose(found.largest_eigenvalue, eigenvalues[-1], atol=1e-9)
    assert found.kind == "slope"
    assert "slope" in str(found)


def test_minimum_and_plateau() -> None:
    model, X, y = small_problem()
    trainer = stoop.Trainer(model, optimizer="lbfgs", l2=0.01)
    trainer.fit(X, y, epochs=400, batch_size=len(X), verbose=0)
    before = flat(model.parameters())
    found = stoop.diagnose.critical_point(trainer, X, y)
    assert found.kind == "minimum"
    assert found.smallest_eigenvalue > -1e-9  # 0: a softmax does not change with a shift of all its inputs
    assert np.array_equal(flat(model.parameters()), before)
    # Sigmoids driven to their ends pass on neither gradient nor curvature.
    layers = [stoop.Dense(4, activation="sigmoid", bias_init=stoop.initializers.constant(-60.0)), stoop.Dense(1)]
    flat_model = stoop.Model(layers, input_dim=5, dtype="float64")
    flat_model.parameters()["1.weight"][...] = 0.0
    saturated = stoop.Trainer(flat_model, loss="mae")
    assert stoop.diagnose.critical_point(saturated, X, np.zeros((len(X), 1)), gradient_tolerance=2.0).kind == "plateau"


def test_maximum() -> None:
    """At w = 0 the gelu of w and of -w have opposite slopes and both curve towards 0, away from the targets."""
    model = stoop.Model([stoop.Dense(1, use_bias=False, activation="gelu")], input_dim=1, dtype="float64")
    model.parameters()["0.weight"][...] = 0.0
    X, y = np.array([[1.0], [-1.0]]), np.array([[-5.0], [-5.0]])
    assert stoop.diagnose.critical_point(stoop.Trainer(model, loss="mse"), X, y).kind == "minimum"
    assert stoop.diagnose.critical_point(stoop.Trainer(model, loss="mse"), X, -y).kind == "maximum"


def test_what_lanczos_has_not_found_out_is_undecided() -> None:
    """One product gives one number between the ends of the spectrum; it proves a sign, not that there is no other."""
    layers = [stoop.Dense(6, activation="tanh", use_bias=False), stoop.Dense(3, use_bias=False)]
    X = np.random.default_rng(0).standard_normal((40, 4))
    model = stoop.Model(layers, input_dim=4, dtype="float64", seed=3)
    y = np.argmax(model.predict(X), axis=1)
    trainer = stoop.Trainer(model, optimizer="lbfgs", l2=0.01)
    trainer.fit(X, y, epochs=400, batch_size=len(X), verbose=0)
    few = stoop.diagnose.critical_point(trainer, X, y, iterations=2)
    assert few.smallest_residual > few.smallest_eigenvalue
    assert few.kind == "undecided"
    assert "undecided" in str(few)
    assert stoop.diagnose.critical_point(trainer, X, y, iterations=60).kind == "minimum"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_kind_of_point_where_something_is_not_finite(dtype: str) -> None:
    X, y = np.ones((4, 3), dtype), np.zeros((4, 2), dtype)
    trainer = stoop.Trainer(stoop.Model([stoop.Dense(5), stoop.Dense(2)], input_dim=3, dtype=dtype), loss="mse")
    with refused(ValueError, r"\[critical_point\]", "loss or gradient"):
        stoop.diagnose.critical_point(trainer, X, np.full((4, 2), np.finfo(dtype).max))
    for name, value in (("1.weight", np.nan), ("0.weight", np.inf)):
        trainer.model.parameters()[name][1, 1] = value
        with refused(ValueError, r"\[critical_point\]", "parameter", f"{name} .* at element"):
            stoop.diagnose.critical_point(trainer, X, y)


def test_a_saddle_needs_no_exact_eigenvalues() -> None:
    """A quotient of Rayleigh below zero is curvature below zero, however far it is from an eigenvalue."""
    model, X, _ = small_problem()
    for value in model.parameters().values():
        value[...] = 0.0
    y = X[:, :3] - X[:, :3].mean(axis=0)
    trainer = stoop.Trainer(model, loss="mse")
    few = stoop.diagnose.critical_point(trainer, X, y, iterations=4)
    assert few.smallest_residual > 1e-3 * abs(few.smallest_eigenvalue)
    assert few.kind == stoop.diagnose.critical_point(trainer, X, y).kind == "saddle"
