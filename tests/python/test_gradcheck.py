"""Every gradient agrees with two-sided differences, and gradcheck tells when one does not."""

from __future__ import annotations

import numpy as np
import pytest

import cases
import stoop
from helpers import LOSSES, bits, make_data, refused
from reference_training import Network

FEATURES, OUTPUTS = 6, 4

PLACES = {
    "in Dense": lambda name, layer: [stoop.Dense(8, activation=name), stoop.Dense(OUTPUTS)],
    "as a layer": lambda name, layer: [stoop.Dense(8), layer(), stoop.Dense(OUTPUTS)],
    "after another": lambda name, layer: [stoop.Dense(8, activation="tanh"), layer(), stoop.Dense(OUTPUTS)],
    "first": lambda name, layer: [layer(), stoop.Dense(OUTPUTS)],
    "last, in Dense": lambda name, layer: [stoop.Dense(8, activation="tanh"), stoop.Dense(OUTPUTS, activation=name)],
    "last, as a layer": lambda name, layer: [stoop.Dense(8, activation="tanh"), stoop.Dense(OUTPUTS), layer()],
    "without bias": lambda name, layer: [stoop.Dense(8, activation=name, use_bias=False), stoop.Dense(OUTPUTS)],
    # Biases of their own: where all inputs of a unit are dead, a bias of zero puts it on the kink of ReLU.
    "deep": lambda name, layer: [
        *(stoop.Dense(5, activation=name, bias_init=stoop.initializers.normal(0.5)) for _ in range(6)),
        stoop.Dense(OUTPUTS),
    ],
}


@pytest.mark.parametrize("l2", [0.0, 0.1])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("activation", cases.ACTIVATIONS)
def test_every_layer_activation_and_loss(activation: str, place: str, loss: str, l2: float) -> None:
    layers = PLACES[place](activation, cases.registry("activation")[activation])
    model = stoop.Model(layers, input_dim=FEATURES, seed=1, dtype="float64")
    before = bits(model)
    X, y = make_data(loss, 15, FEATURES, OUTPUTS, "float64", seed=2)
    result = stoop.gradcheck(model, loss, X, y, l2=l2)
    assert result.passed
    assert 0 <= result.relative_error < 1e-7
    assert set(result.per_parameter) == set(model.parameters())
    assert bits(model) == before


@pytest.mark.parametrize("loss", LOSSES)
def test_l1_and_sample_weights(loss: str) -> None:
    """They are in what is checked: the report for other ones is another."""
    layers = [stoop.Dense(8, activation="tanh"), stoop.Dense(OUTPUTS)]
    model = stoop.Model(layers, input_dim=FEATURES, seed=1, dtype="float64")
    X, y = make_data(loss, 15, FEATURES, OUTPUTS, "float64", seed=2)
    weights = np.random.default_rng(3).uniform(0.0, 2.0, 15)
    numeric = set()
    for arguments in ({}, {"l1": 0.1}, {"sample_weight": weights}, {"l1": 0.1, "l2": 0.2, "sample_weight": weights}):
        result = stoop.gradcheck(model, loss, X, y, **arguments)
        assert result.passed
        numeric.add(result.per_parameter["0.weight"].worst_numeric)
        grads = stoop.Trainer(model, loss=loss, l1=arguments.get("l1", 0.0), l2=arguments.get("l2", 0.0)).loss_and_grad(
            X, y, sample_weight=arguments.get("sample_weight")
        )[1]
        for name, check in result.per_parameter.items():
            assert check.worst_analytic == pytest.approx(grads[name][check.worst_index], rel=1e-12)
    assert len(numeric) == 4
    with refused(ValueError, "l1"):
        stoop.gradcheck(model, loss, X, y, l1=-1.0)
    with refused(ValueError, "sample_weight"):
        stoop.gradcheck(model, loss, X, y, sample_weight=weights[:3])


def test_a_slope_of_leaky_relu_of_its_own() -> None:
    layers = [
        stoop.Dense(8, activation=stoop.LeakyReLU(0.3)),
        stoop.LeakyReLU(negative_slope=0.2),
        stoop.Dense(OUTPUTS),
    ]
    X, y = make_data("mse", 15, FEATURES, OUTPUTS, "float64")
    model = stoop.Model(layers, input_dim=FEATURES, dtype="float64")
    assert stoop.gradcheck(model, stoop.losses.MeanSquaredError(), X, y, l2=0.1).relative_error < 1e-7


@pytest.mark.parametrize("loss", LOSSES)
def test_the_report_is_the_error_of_independent_differences(loss: str) -> None:
    """A coarse eps makes the differences wrong by a known amount: that very amount is reported, and not passed."""
    eps, l2 = 0.5, 0.1
    model = stoop.Model([stoop.Dense(5, activation="tanh"), stoop.Dense(OUTPUTS)], input_dim=FEATURES, dtype="float64")
    X, y = make_data(loss, 15, FEATURES, OUTPUTS, "float64")
    result = stoop.gradcheck(model, loss, X, y, l2=l2, eps=eps)

    network = Network(model.parameters(), ["tanh", "identity"])
    _, grads = network.loss_and_grad(loss, X, y, l2)
    numeric = network.numeric_grad(loss, X, y, l2, eps)

    def error(names: list[str]) -> float:
        a = np.concatenate([grads[name].ravel() for name in names])
        b = np.concatenate([numeric[name].ravel() for name in names])
        return float(np.linalg.norm(a - b) / (np.linalg.norm(a) + np.linalg.norm(b)))

    assert not result.passed
    assert result.relative_error == pytest.approx(error(list(grads)), rel=1e-6)
    for name, reported in result.per_parameter.items():
        assert reported.relative_error == pytest.approx(error([name]), rel=1e-6, abs=1e-9)
    worst = np.unravel_index(np.argmax(abs(grads["0.weight"] - numeric["0.weight"])), grads["0.weight"].shape)
    reported = result.per_parameter["0.weight"]
    assert reported.worst_index == worst
    assert reported.worst_analytic == pytest.approx(grads["0.weight"][worst], rel=1e-9)
    assert reported.worst_numeric == pytest.approx(numeric["0.weight"][worst], rel=1e-6)


def test_a_kink_is_detected() -> None:
    """At an input of exactly zero, ReLU's gradient is 0 and the two-sided difference half the slope."""
    model = stoop.Model([stoop.Dense(1, activation="relu", kernel_init="zeros")], input_dim=2, dtype="float64")
    result = stoop.gradcheck(model, "mse", [[1.0, 2.0]], [[1.0]])
    assert not result.passed
    assert result.relative_error == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("relative_error", "verdict"),
    [
        (0.0, "right"),
        (9.9e-8, "right"),
        (1e-7, "probably right"),
        (9.9e-6, "probably right"),
        (1e-5, "look"),
        (9.9e-4, "look"),
        (1e-3, "wrong"),
        (1.0, "wrong"),
    ],
)
def test_verdicts(relative_error: float, verdict: str) -> None:
    check = stoop.ParameterCheck(relative_error, (0,), 0.0, 0.0)
    result = stoop.GradcheckResult(relative_error, {"0.weight": check}, passed=relative_error < 1e-7)
    assert check.verdict == result.verdict == verdict
    assert f": {verdict}, relative error" in str(result)


def test_verdicts_of_coarse_differences() -> None:
    """The error of two-sided differences grows with eps**2, through every verdict."""
    model = stoop.Model([stoop.Dense(8, activation="tanh"), stoop.Dense(OUTPUTS)], input_dim=FEATURES, dtype="float64")
    X, y = make_data("mse", 15, FEATURES, OUTPUTS, "float64")
    found = [stoop.gradcheck(model, "mse", X, y, eps=eps) for eps in (1e-5, 3e-3, 3e-2, 1.0)]
    assert [result.verdict for result in found] == ["right", "probably right", "look", "wrong"]
    assert [result.passed for result in found] == [True, False, False, False]


def test_what_is_not_finite_is_refused() -> None:
    model = stoop.Model([stoop.Dense(3, activation="tanh"), stoop.Dense(OUTPUTS)], input_dim=FEATURES)
    X, y = make_data("mse", 15, FEATURES, OUTPUTS)
    with refused(ValueError, "gradcheck", "loss or gradient"):
        stoop.gradcheck(model, "mse", X, np.full(y.shape, 1e200))
    model.parameters()["1.bias"][2] = np.inf
    with refused(ValueError, "gradcheck", r"1\.bias has an infinity at \(2,\)"):
        stoop.gradcheck(model, "mse", X, y)
    model.parameters()["0.weight"][1, 2] = np.nan
    with refused(ValueError, "gradcheck", r"0\.weight has NaN at \(1, 2\)"):
        stoop.gradcheck(model, "mse", X, y)


def test_float32_models_are_checked_in_float64() -> None:
    model = stoop.Model([stoop.Dense(8, activation="tanh"), stoop.Dense(OUTPUTS)], input_dim=FEATURES)
    before = bits(model)
    X, y = make_data("mse", 15, FEATURES, OUTPUTS)
    assert stoop.gradcheck(model, "mse", X, y, l2=0.1).passed
    assert bits(model) == before
