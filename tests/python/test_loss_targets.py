"""What the losses take as targets where that is not a value for each output, and how they go together."""

from __future__ import annotations

import numpy as np
import pytest

import stoop
from helpers import refused

RNG = np.random.default_rng(5)
X = RNG.standard_normal((64, 3)).astype(np.float32)


def trainer(loss: str | stoop.losses.Loss, outputs: int) -> stoop.Trainer:
    model = stoop.Model([stoop.Dense(8, "tanh"), stoop.Dense(outputs)], input_dim=3)
    return stoop.Trainer(model, loss=loss, optimizer=stoop.optimizers.Adam(0.02))


# ---- a mean and a log variance for each column of targets ----


def test_gaussian_nll_learns_mean_and_variance() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1.0, 1.0, (4000, 1)).astype(np.float32)
    deviation = np.exp(0.7 * x - 0.5)
    y = 2.0 * x + deviation * rng.standard_normal(x.shape)
    model = stoop.Model([stoop.Dense(2)], input_dim=1)
    stoop.Trainer(model, loss="gaussian_nll", optimizer=stoop.optimizers.Adam(0.02)).fit(x, y[:, 0], 30, 100)
    mean, log_variance = model.predict(x).T
    np.testing.assert_allclose(mean, 2.0 * x[:, 0], atol=0.1)
    np.testing.assert_allclose(log_variance / 2.0, np.log(deviation[:, 0]), atol=0.15)


def test_gaussian_nll_takes_a_column_of_targets_for_each_mean() -> None:
    y = RNG.standard_normal((64, 2)).astype(np.float32)
    two = trainer("gaussian_nll", 4)
    history = two.fit(X, y, 3, 16, (X, y))
    assert len(history["val_loss"]) == 3
    output = two.model.predict(X).astype(np.float64)
    m, v = output[:, :2], output[:, 2:]
    expected = np.mean((v + (m - y) ** 2 * np.exp(-v)) / 2.0)
    assert two.evaluate(X, y)["loss"] == pytest.approx(expected, rel=1e-5)
    with refused(ValueError, r"\(64, 4\)", "2"):
        two.fit(X, np.concatenate([y, y], axis=1), 1, 16)
    with refused(ValueError, "3 outputs with gaussian_nll", "even"):
        trainer("gaussian_nll", 3).fit(X, y, 1, 16)
    assert stoop.gradcheck(two.model, "gaussian_nll", X, y).passed


# ---- counts ----


def test_poisson_finds_the_rate_and_refuses_negative_counts() -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(-1.0, 1.0, (2000, 1)).astype(np.float32)
    y = rng.poisson(np.exp(0.5 + x)).astype(np.float32)
    model = stoop.Model([stoop.Dense(1)], input_dim=1)
    stoop.Trainer(model, loss="poisson", optimizer=stoop.optimizers.Adam(0.02)).fit(x, y, 30, 100)
    np.testing.assert_allclose(model.predict(x), 0.5 + x, atol=0.15)
    with refused(ValueError, "y is -1 at row 3", "at least 0"):
        trainer("poisson", 1).fit(X, np.where(np.arange(64) == 3, -1.0, 1.0), 1, 16)


def test_poisson_of_rates_is_that_of_their_logs() -> None:
    model = stoop.Model([stoop.Dense(2, "softplus")], input_dim=3, dtype="float64")
    y = RNG.poisson(2.0, (64, 2)).astype(np.float64)
    rates = model.predict(X)
    expected = np.mean(rates - y * np.log(rates))
    loss = stoop.losses.Poisson(log_input=False)
    assert stoop.Trainer(model, loss=loss).evaluate(X, y)["loss"] == pytest.approx(expected, rel=1e-6)
    assert stoop.gradcheck(model, loss, X, y).passed


def test_poisson_says_what_is_wrong_with_rates_that_are_not_above_0() -> None:
    loss = stoop.losses.Poisson(log_input=False)
    y = RNG.poisson(2.0, (64, 2)).astype(np.float32)
    with pytest.raises(stoop.NonFiniteLossError, match=r"not above 0.*poisson.*softplus") as caught:
        trainer(loss, 2).fit(X, y, 3, 16)
    assert caught.value.step == 0
    model = stoop.Model([stoop.Dense(2, "softplus"), stoop.Dropout(0.2)], input_dim=3)
    with pytest.raises(stoop.NonFiniteLossError) as caught:
        stoop.Trainer(model, loss, stoop.optimizers.SGD(1e38)).fit(X, y, 3, 16)
    assert "above 0" not in str(caught.value)


# ---- labels ----


@pytest.mark.parametrize("loss", ["focal", "hinge"])
@pytest.mark.parametrize("names", [(0, 1), (-1, 1), ("no", "yes")])
def test_labels_of_any_two_names(loss: str, names: tuple[object, object]) -> None:
    y = np.where(X[:, 0] + X[:, 1] > 0, names[1], names[0])
    machine = trainer(loss, 1)
    machine.fit(X, y, 60, 16)
    assert np.mean(machine.model.predict_labels(X) == y) > 0.95
    assert machine.evaluate(X, y)["accuracy"] > 0.95
    assert machine.model.output == "sigmoid"


@pytest.mark.parametrize(("outputs", "value"), [(1, 0.3), (3, 0.3), (3, -1.0), (3, 2.0)])
def test_hinge_takes_labels_by_column(outputs: int, value: float) -> None:
    """A margin belongs to a label; what is between two labels has none."""
    y = np.where(RNG.random((64, outputs)) < 0.5, 0.0, 1.0)
    machine = trainer("hinge", outputs)
    machine.fit(X, y, 1, 16)
    y[7, outputs - 1] = value
    with refused(ValueError, f"y is {value:g} at row 7, column {outputs - 1}", "expected labels, 0 or 1", "-1 and 1"):
        machine.step(X, y)


def test_focal_with_gamma_0_is_the_binary_cross_entropy() -> None:
    y = RNG.random((64, 2))
    focal, entropy = (trainer(loss, 2) for loss in (stoop.losses.Focal(0.0), "binary_cross_entropy"))
    assert focal.evaluate(X, y)["loss"] == pytest.approx(entropy.evaluate(X, y)["loss"], rel=1e-6)
    for mine, other in zip(focal.loss_and_grad(X, y)[1].values(), entropy.loss_and_grad(X, y)[1].values(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-7)


# ---- values ----


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_the_least_quantile_loss_is_that_quantile(q: float) -> None:
    y = np.random.default_rng(2).exponential(1.0, 5000)
    model = stoop.Model([stoop.Dense(1)], input_dim=1)
    zeros = np.zeros((5000, 1), np.float32)
    stoop.Trainer(model, loss=stoop.losses.Quantile(q), optimizer=stoop.optimizers.SGD(0.05)).fit(zeros, y, 200, 500)
    assert np.mean(y < model.predict(zeros)[0, 0]) == pytest.approx(q, abs=0.02)


@pytest.mark.parametrize(("loss", "text"), [("Quantile(1.0)", "q"), ("Quantile(0.0)", "q"), ("Focal(-1.0)", "gamma")])
def test_numbers_outside_their_range_are_refused(loss: str, text: str) -> None:
    with refused(ValueError, text):
        eval(f"stoop.losses.{loss}", {"stoop": stoop})


def test_the_approximation_of_gelu_has_a_name() -> None:
    with refused(ValueError, "approximate", "tanh"):
        stoop.GELU(approximate="tan")
    assert stoop.GELU().to_config() == "gelu"
    assert stoop.GELU(approximate="tanh").to_config() == {"type": "gelu", "approximate": "tanh"}
    x = np.linspace(-5.0, 5.0, 101, dtype=np.float32)[:, None]
    exact, near = (
        stoop.Model([stoop.Dense(1, kernel_init="ones"), stoop.GELU(name)], input_dim=1).predict(x)
        for name in ("none", "tanh")
    )
    assert 1e-5 < np.abs(exact - near).max() < 5e-4
