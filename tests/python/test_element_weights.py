"""Weights and masks of single targets, targets that are absent, and the losses of samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import crossed
import reference
import stoop
from helpers import bits, refused, unchanged

CASES = {name: case for name, case in crossed.loss_cases().items() if not name.startswith("softmax")}
ROWS = "softmax_cross_entropy of rows"
OUTPUTS = 6
SAMPLES = 23


def make_trainer(case: str, dtype: str = "float64", **arguments: Any) -> stoop.Trainer:
    found = crossed.loss_cases()[case]
    layers = [stoop.Dense(5, activation="tanh"), stoop.Dense(found.outputs(OUTPUTS))]
    return stoop.Trainer(stoop.Model(layers, input_dim=3, dtype=dtype, seed=1), found.loss, **arguments)


def make_batch(case: str, n: int = SAMPLES) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray]:
    """Samples, targets, and weights of which a third is 0."""
    rng = np.random.default_rng(2)
    X = rng.standard_normal((n, 3))
    y = np.asarray(crossed.loss_cases()[case].draw(rng, n, crossed.loss_cases()[case].outputs(OUTPUTS)), float)
    return X, y, rng.random(y.shape) * (rng.random(y.shape) < 2 / 3)


def gradient_block(trainer: stoop.Trainer, *data: Any, **weights: Any) -> npt.NDArray:
    return np.concatenate([g.ravel() for g in trainer.loss_and_grad(*data, **weights)[1].values()])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_value_is_the_weighted_mean_over_the_targets(case: str, dtype: str) -> None:
    X, y, weight = make_batch(case)
    trainer = make_trainer(case, dtype)
    outputs = np.asarray(trainer.model.predict(X), float)
    values, grad = reference.by_element(trainer.loss, outputs, y)
    expected = np.sum(weight * values) / np.sum(weight)
    rel = 1e-12 if dtype == "float64" else 1e-5
    assert trainer.evaluate(X, y, sample_weight=weight)["loss"] == pytest.approx(expected, rel=rel)
    loss, gradient = trainer.loss_and_grad(X, y, sample_weight=weight)
    assert loss == pytest.approx(expected, rel=rel)
    of_outputs = np.tile(weight, (1, outputs.shape[1] // y.shape[1])) * grad / np.sum(weight)
    np.testing.assert_allclose(gradient["1.bias"], of_outputs.sum(axis=0), rtol=100 * rel, atol=rel)


@pytest.mark.parametrize("case", CASES)
def test_gradient(case: str) -> None:
    X, y, weight = make_batch(case)
    trainer = make_trainer(case)
    result = stoop.gradcheck(trainer.model, trainer.loss, X, y, l2=0.1, sample_weight=weight)
    assert result.passed, str(result)


@pytest.mark.parametrize("case", CASES)
def test_hessian_vector_product(case: str) -> None:
    """The difference of two gradients; the kinks of some losses are not met."""
    X, y, weight = make_batch(case)
    trainer = make_trainer(case)
    rng = np.random.default_rng(0)
    direction = {name: rng.standard_normal(p.shape) for name, p in trainer.model.parameters().items()}
    product = trainer.hessian_vector_product(X, y, direction, sample_weight=weight)
    eps, gradients = 1e-6, []
    for side in (eps, -2 * eps):
        for name, parameter in trainer.model.parameters().items():
            parameter += side * direction[name]
        gradients.append(gradient_block(trainer, X, y, sample_weight=weight))
    found = np.concatenate([p.ravel() for p in product.values()])
    np.testing.assert_allclose(found, (gradients[0] - gradients[1]) / (2 * eps), rtol=1e-5, atol=1e-8)


def everything_with(weight: Any, case: str, dtype: str) -> list[Any]:
    """What a trainer makes of these weights, in all its ways."""
    X, y, _ = make_batch(case)
    validation = (X, y) if weight is None else (X, y, weight)
    trainer = make_trainer(case, dtype, l2=0.01, accumulate=2, optimizer="sgd")
    history = trainer.fit(X, y, 2, 5, validation, sample_weight=weight, verbose=0)
    found: list[Any] = [history[key] for key in history if key != "samples_per_second"]
    found.append(trainer.step(X, y, sample_weight=weight))
    value, grads = trainer.loss_and_grad(X, y, sample_weight=weight)
    found += [value, *grads.values()]
    found += trainer.hessian_vector_product(X, y, grads, sample_weight=weight).values()
    found += trainer.evaluate(X, y, sample_weight=weight).values()
    found.append(trainer.losses(X, y, weight))
    found += trainer.model.state_dict().values()
    full_batch = make_trainer(case, dtype, optimizer=stoop.optimizers.LBFGS())
    found.append(full_batch.fit(X, y, 2, len(X), sample_weight=weight, verbose=0)["loss"])
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_weights_of_one_are_none(case: str, dtype: str) -> None:
    _, y, _ = make_batch(case)
    for found, expected in zip(everything_with(np.ones(y.shape), case, dtype), everything_with(None, case, dtype)):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_rows_of_equal_weights_are_weights_of_samples(case: str, dtype: str) -> None:
    """The gradient has their bits; the loss multiplies before it adds, so its last digits may differ."""
    X, y, _ = make_batch(case)
    weight = np.random.default_rng(5).random(SAMPLES).astype(dtype)
    trainer = make_trainer(case, dtype)
    loss, gradient = trainer.loss_and_grad(X, y, sample_weight=weight)
    by_element, same = trainer.loss_and_grad(X, y, sample_weight=np.repeat(weight[:, None], y.shape[1], axis=1))
    for name, value in gradient.items():
        assert value.tobytes() == same[name].tobytes(), name
    assert by_element == pytest.approx(loss, rel=8 * float(np.finfo(dtype).eps))


@pytest.mark.parametrize("case", CASES)
def test_a_target_of_weight_zero_changes_nothing(case: str) -> None:
    """Whether it is another number or absent, in every call."""
    X, y, weight = make_batch(case)
    rest = y.copy()
    rest[weight == 0] = np.nan
    results = []
    for targets in (y, rest):
        trainer = make_trainer(case, l2=0.01, optimizer="sgd")
        validation = (X, targets, weight)
        history = trainer.fit(X, targets, 3, 7, validation, sample_weight=weight, verbose=0)
        found = [history[key] for key in history if key != "samples_per_second"]
        found += trainer.evaluate(X, targets, sample_weight=weight).values()
        found += [trainer.step(X, targets, sample_weight=weight), trainer.losses(X, targets, weight)]
        found += trainer.loss_and_grad(X, targets, sample_weight=weight)[1].values()
        along = trainer.model.parameters()
        found += trainer.hessian_vector_product(X, targets, along, sample_weight=weight).values()
        results.append([*found, *trainer.model.state_dict().values()])
    for found, expected in zip(*results):
        assert np.all(np.isfinite(found))
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("case", [*CASES, ROWS])
def test_a_sample_of_weight_zero_may_have_no_target(case: str) -> None:
    X, y, _ = make_batch(case)
    weight = np.random.default_rng(5).random(SAMPLES) * (np.arange(SAMPLES) % 3 > 0)
    rest = y.copy()
    rest[weight == 0] = np.nan
    trainer = make_trainer(case)
    loss, gradient = trainer.loss_and_grad(X, rest, sample_weight=weight)
    expected, same = trainer.loss_and_grad(X, y, sample_weight=weight)
    assert loss == pytest.approx(expected, rel=1e-14)
    for name, value in gradient.items():
        assert value.tobytes() == same[name].tobytes(), name
    counted = weight > 0
    found = trainer.evaluate(X, rest, sample_weight=weight)
    part = trainer.evaluate(X[counted], y[counted], sample_weight=weight[counted])
    assert found == pytest.approx(part, rel=1e-12)
    products = [trainer.hessian_vector_product(X, t, same, sample_weight=weight) for t in (rest, y)]
    for name, value in products[0].items():
        np.testing.assert_allclose(value, products[1][name], rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("case", [*CASES, ROWS])
def test_nan_elsewhere_is_refused_by_row_and_column(case: str) -> None:
    X, y, weight = make_batch(case)
    trainer = make_trainer(case)
    calls = [trainer.fit, trainer.step, trainer.evaluate, trainer.loss_and_grad, trainer.losses]
    y[4, 1] = np.nan
    weight[4, 1] = 0.5
    by_sample = np.arange(SAMPLES, dtype=float)
    for call in calls:
        for weights in (None, by_sample, *([weight] if case != ROWS else [])):
            with unchanged(trainer), refused(ValueError, "y has NaN at row 4, column 1"):
                call(X, y, sample_weight=weights)
    y[4, 1], weight[4, 1] = np.inf, 0.0  # an infinity is a mistake, wherever it is
    if case != ROWS:
        with refused(ValueError, "y has an infinity at row 4, column 1"):
            trainer.step(X, y, sample_weight=weight)


@pytest.mark.parametrize("threads", [2, 3, 8])
@pytest.mark.parametrize("case", CASES)
def test_bits_do_not_depend_on_threads(case: str, threads: int) -> None:
    X, y, weight = make_batch(case, 150)
    results = []
    for number in (1, threads):
        trainer = make_trainer(case, "float32", num_threads=number, optimizer="sgd")
        history = trainer.fit(X, y, 2, 40, sample_weight=weight, verbose=0)
        measured = trainer.evaluate(X, y, sample_weight=weight), trainer.losses(X, y, weight).tobytes()
        results.append((bits(trainer.model), history["loss"], measured))
    np.testing.assert_equal(results[0], results[1])


def test_one_action_of_each_sample_learns() -> None:
    """As in a deep Q-network: the mean over the chosen outputs, and no gradient for the others."""
    X, y, _ = make_batch("mse of values")
    mask = np.eye(OUTPUTS)[np.arange(SAMPLES) % 2]
    trainer = make_trainer("mse of values")
    outputs = trainer.model.predict(X)
    loss, gradient = trainer.loss_and_grad(X, y, sample_weight=mask)
    chosen = np.arange(SAMPLES), np.arange(SAMPLES) % 2
    assert loss == pytest.approx(np.mean((outputs[chosen] - y[chosen]) ** 2), rel=1e-12)
    assert np.all(gradient["1.bias"][:2] != 0)
    assert np.all(gradient["1.bias"][2:] == 0)


def test_rows_of_a_replay_buffer_with_a_mask() -> None:
    X, y, _ = make_batch("mse of values")
    rows = np.array([3, 11, 3, 20])
    mask = np.eye(OUTPUTS)[[0, 2, 5, 1]]
    y[3, 3] = np.nan
    results = []
    for rows_given in (True, False):
        trainer = make_trainer("mse of values")
        data: Any = (X, y, mask, rows) if rows_given else (X[rows], y[rows], mask)
        results.append((trainer.step(*data), bits(trainer.model)))
    assert results[0] == results[1]
    with refused(ValueError, "y has NaN"):
        make_trainer("mse of values").step(X, y, np.ones_like(mask), rows)


@pytest.mark.parametrize("factor", [2.0**-149, 2.0**-40, 2.0**124])
def test_weights_of_any_size(factor: float) -> None:
    X, y, _ = make_batch("huber delta=0.7 of values")
    weight = np.random.default_rng(3).integers(0, 8, y.shape).astype("float32")
    trainer = make_trainer("huber delta=0.7 of values", "float32")
    expected = trainer.loss_and_grad(X, y, sample_weight=weight)[0]
    assert trainer.loss_and_grad(X, y, sample_weight=weight * np.float32(factor))[0] == expected


def test_outputs_without_weight_may_overflow() -> None:
    model = stoop.Model([stoop.Dense(2)], input_dim=1)
    model.parameters()["0.weight"][...] = [[1.0, 1e30]]
    trainer = stoop.Trainer(model, "mse", "sgd")
    X, y, mask = np.ones((3, 1)), np.zeros((3, 2)), np.array([[1.0, 0.0]] * 3)
    assert trainer.step(X, y, sample_weight=mask) == 1.0
    assert np.isfinite(trainer.losses(X, y, mask)).all()


@pytest.mark.parametrize("name", ["binary_cross_entropy", "focal", "hinge"])
def test_accuracy_counts_what_weighs_something(name: str) -> None:
    case = f"{name} of labels" if f"{name} of labels" in CASES else name
    X, y, weight = make_batch(case)
    trainer = make_trainer(case)
    right = (trainer.model.predict(X) > 0) == (y > 0.5)
    expected = right[weight > 0].mean()
    assert trainer.evaluate(X, y, sample_weight=weight)["accuracy"] == pytest.approx(expected, rel=1e-14)
    history = trainer.fit(X, y, 1, SAMPLES, (X, y, weight), sample_weight=weight, verbose=0)
    assert history["accuracy"][0] == pytest.approx(expected, rel=1e-14)
    dropped = trainer.fit(X, y, 1, 10, sample_weight=weight, last_batch="drop", shuffle=False, verbose=0)
    assert 0.0 <= dropped["accuracy"][0] <= 1.0


def test_metrics_take_the_weights_of_each_column() -> None:
    X, y, weight = make_batch("mse of values")
    trainer = make_trainer("mse of values")
    y[weight == 0] = np.nan
    found = trainer.evaluate(X, y, sample_weight=weight, metrics=("mse", "mae", "r2"))
    squares = (trainer.model.predict(X) - y) ** 2
    columns = [np.average(squares[weight[:, j] > 0, j], weights=weight[weight[:, j] > 0, j]) for j in range(OUTPUTS)]
    assert found["mse"] == pytest.approx(np.mean(columns), rel=1e-12)
    assert np.isfinite([found["mae"], found["r2"]]).all()


def test_what_is_refused() -> None:
    X, y, weight = make_batch("mse of values")
    trainer = make_trainer("mse of values")
    for bad, words in (
        (weight[:, :2], rf"\({SAMPLES}, 2\).*expected \({SAMPLES},\).*or \({SAMPLES}, {OUTPUTS}\)"),
        (weight[:5], "5"),
        (weight - 1.0, "row 0, column"),
        (np.where(weight > 0, np.nan, 1.0), "nan at row"),
        (np.zeros_like(weight), "all sample weights are 0"),
    ):
        for call in (trainer.fit, trainer.step, trainer.evaluate, trainer.losses, trainer.loss_and_grad):
            with unchanged(trainer), refused(ValueError, words):
                call(X, y, sample_weight=bad)
    rows, labels, weight = make_batch(ROWS)
    with refused(ValueError, "compares whole rows"):
        make_trainer(ROWS).step(rows, labels, np.ones_like(labels))
    model = stoop.Model([stoop.Dense(1)], input_dim=3)
    with refused(ValueError, "class_weight with sample_weight of shape", "multiply"):
        stoop.Trainer(model, "binary_cross_entropy").fit(
            X, y[:, 0] > 0, sample_weight=np.ones((SAMPLES, 1)), class_weight="balanced", verbose=0
        )


# ---- losses of samples ----


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", crossed.loss_cases())
def test_losses_of_samples(case: str, dtype: str) -> None:
    found = crossed.loss_cases()[case]
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((300, 3)), found.draw(rng, 300, found.outputs(OUTPUTS))
    trainer = make_trainer(case, dtype, l2=0.1)
    expected = reference.by_sample(trainer.loss, np.asarray(trainer.model.predict(X), float), y)[0]
    rel = 1e-12 if dtype == "float64" else 1e-4
    losses = trainer.losses(X, y)
    assert losses.dtype == np.float64
    np.testing.assert_allclose(losses, expected, rtol=rel, atol=rel)
    weight = rng.random(300) * 7
    np.testing.assert_allclose(
        trainer.losses(X, y, weight), weight * losses, rtol=1e-6 if dtype == "float32" else 1e-14
    )
    none, total = (trainer.evaluate(X, y, weight, reduction=reduction) for reduction in ("none", "sum"))
    np.testing.assert_array_equal(none["loss"], trainer.losses(X, y, weight))
    assert total["loss"] == none["loss"].sum()
    mean = trainer.evaluate(X, y, weight)
    assert {**none, "loss": 0} == {**total, "loss": 0} == pytest.approx({**mean, "loss": 0}, rel=1e-14, nan_ok=True)
    plain = make_trainer(case, dtype)
    assert plain.evaluate(X, y, weight)["loss"] == pytest.approx(total["loss"] / weight.sum(), rel=1e-5)


def test_losses_of_masked_targets_are_the_means_over_the_columns() -> None:
    X, y, weight = make_batch("mae of values")
    trainer = make_trainer("mae of values")
    y[weight == 0] = np.nan
    expected = np.nansum(weight * abs(trainer.model.predict(X) - y), axis=1) / OUTPUTS
    np.testing.assert_allclose(trainer.losses(X, y, 3 * weight), 3 * expected, rtol=1e-14)
    total = trainer.evaluate(X, y, weight, reduction="sum")["loss"]
    mean_weights = weight.mean(axis=1).sum()
    assert trainer.evaluate(X, y, weight)["loss"] == pytest.approx(total / mean_weights, rel=1e-12)


def test_losses_of_a_file(tmp_path: Path) -> None:
    X, y, weight = make_batch("mse of values", 1000)
    mapped = np.memmap(tmp_path / "X", "float64", "w+", shape=X.shape)
    mapped[:] = X
    trainer = make_trainer("mse of values")
    np.testing.assert_array_equal(trainer.losses(mapped, y, weight), trainer.losses(X, y, weight))
    mapped[700, 2] = np.nan
    with refused(ValueError, r"\[Trainer.losses\] X has NaN at row 700, column 2"):
        trainer.losses(mapped, y)


def test_reductions_have_names() -> None:
    X, y, _ = make_batch("mse of values")
    with refused(ValueError, 'reduction "means"', "mean"):
        make_trainer("mse of values").evaluate(X, y, reduction="means")


@pytest.mark.parametrize("case", CASES)
def test_steps_equal_pytorch(case: str) -> None:
    torch = pytest.importorskip("torch")
    import torch_reference
    from cases import LOSSES

    X, y, weight = make_batch(case)
    trainer = make_trainer(case, optimizer=stoop.optimizers.SGD(0.05))
    if LOSSES[trainer.loss.type_name].twin is None:
        pytest.skip("PyTorch has no such loss")
    network = torch_reference.Network(trainer.model)
    optimizer = torch.optim.SGD(network.trainable.values(), lr=0.05)
    for _ in range(3):
        values = torch_reference.per_element(
            trainer.loss, network.forward(torch.tensor(X), training=True), torch.tensor(y)
        )
        loss = torch_reference.weighted_mean(values, torch.tensor(weight))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert trainer.step(X, y, sample_weight=weight) == pytest.approx(loss.item(), rel=1e-12)
    for name, parameter in trainer.model.parameters().items():
        np.testing.assert_allclose(parameter, network.parameters[name].detach().numpy().T, rtol=1e-12, atol=1e-13)
