"""Losses against independent formulas, weights of samples and classes, and what is refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import crossed
import reference
import stoop
from helpers import refused, unchanged

OUTPUTS = 4


CASES = crossed.loss_cases()
CLASSES, ROWS, VALUES = "softmax_cross_entropy of classes", "softmax_cross_entropy of rows", "mse of values"


def make_trainer(loss: Any, dtype: str = "float64", outputs: int = OUTPUTS, **arguments: Any) -> stoop.Trainer:
    model = stoop.Model([stoop.Dense(6, activation="tanh"), stoop.Dense(outputs)], input_dim=3, dtype=dtype, seed=1)
    return stoop.Trainer(model, loss, **arguments)


def trainer_of(case: str, dtype: str = "float64", **arguments: Any) -> stoop.Trainer:
    return make_trainer(CASES[case].loss, dtype, CASES[case].outputs(OUTPUTS), **arguments)


def make_batch(case: str, n: int = 17) -> tuple[npt.NDArray, npt.NDArray]:
    rng = np.random.default_rng(2)
    return rng.standard_normal((n, 3)), CASES[case].draw(rng, n, CASES[case].outputs(OUTPUTS))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_value(case: str, weighted: bool, dtype: str) -> None:
    trainer = trainer_of(case, dtype, l2=0.1, l1=0.01)
    X, y = make_batch(case)
    weight = np.random.default_rng(3).random(len(X)) if weighted else None
    z = np.asarray(trainer.model.predict(X), np.float64)
    weights = [p for name, p in trainer.model.parameters().items() if name.endswith("weight")]
    penalty = sum(0.05 * np.sum(w.astype("f8") ** 2) + 0.01 * np.sum(abs(w)) for w in weights)
    expected = np.average(reference.by_sample(trainer.loss, z, y)[0], weights=weight) + penalty
    rel = 1e-10 if dtype == "float64" else 1e-5
    assert trainer.loss_and_grad(X, y, sample_weight=weight)[0] == pytest.approx(expected, rel=rel)
    assert trainer.evaluate(X, y, sample_weight=weight)["loss"] == pytest.approx(expected, rel=rel)
    assert trainer.step(X, y, sample_weight=weight) == pytest.approx(expected, rel=rel)


@pytest.mark.parametrize("case", CASES)
def test_gradient(case: str) -> None:
    X, y = make_batch(case)
    result = stoop.gradcheck(trainer_of(case).model, CASES[case].loss, X, y, l2=0.1)
    assert result.passed, str(result)
    assert result.verdict == "right"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
@settings(max_examples=20, deadline=None)
@given(kept=st.lists(st.booleans(), min_size=1, max_size=20).filter(any))
def test_a_weight_of_zero_drops_a_sample_exactly(case: str, dtype: str, kept: list[bool]) -> None:
    """Anywhere in the batch: the gradient has the bits of the batch without it, whatever the sample holds."""
    trainer = trainer_of(case, dtype)
    X, y = make_batch(case, len(kept))
    mask = np.array(kept)
    other_X, other_y = np.where(mask[:, None], X, 7.0), y.copy()
    other_y[~mask] = y[mask][0]
    whole, grads = trainer.loss_and_grad(X, y, sample_weight=mask.astype(float))
    other, other_grads = trainer.loss_and_grad(other_X, other_y, sample_weight=mask.astype(float))
    part, expected = trainer.loss_and_grad(X[mask], y[mask])
    assert whole == other
    # The loss is summed by 8 rows, and without a sample others share its sum: there the last bit may differ.
    assert whole == (part if len(kept) <= 8 else pytest.approx(part, rel=1e-15))
    for name, grad in grads.items():
        assert grad.tobytes() == other_grads[name].tobytes() == expected[name].tobytes(), name


@pytest.mark.parametrize("targets", ["labels", "probabilities"])
def test_focal_with_a_gamma_below_one(targets: str) -> None:
    """Its slope is infinite where a label is certain; away from there it is like any other."""
    X, y = make_batch(f"focal of {targets}")
    trainer = make_trainer(stoop.losses.Focal(gamma=0.5))
    expected = reference.by_sample(trainer.loss, trainer.model.predict(X), y)[0].mean()
    assert trainer.loss_and_grad(X, y)[0] == pytest.approx(expected, rel=1e-10)
    assert stoop.gradcheck(trainer.model, trainer.loss, X, y).passed


@pytest.mark.parametrize("case", CASES)
def test_weights_are_relative(case: str) -> None:
    X, y = make_batch(case)
    weight = np.random.default_rng(3).random(len(X))
    trainer = trainer_of(case)
    for factor in (1e-3, 7.0):
        assert trainer.loss_and_grad(X, y, sample_weight=factor * weight)[0] == pytest.approx(
            trainer.loss_and_grad(X, y, sample_weight=weight)[0], rel=1e-12
        )


# Exact multiples of the weights, some so small or so large that their sum or its inverse is no normal number.
SIZES = {
    "float32": [2.0**-149, 2.0**-130, 2.0**-40, 2.0**124, 2.0**125],
    "float64": [2.0**-1074, 2.0**-1025, 2.0**300, 2.0**1021],
}


def everything_with(weight: npt.NDArray, case: str, dtype: str) -> list[Any]:
    """What a trainer makes of these weights, in all its ways."""
    X, y = make_batch(case)
    trainer = trainer_of(case, dtype, l2=0.01, accumulate=2)
    history = trainer.fit(X, y, 2, 5, (X, y, weight), sample_weight=weight, verbose=0)
    found: list[Any] = [history[key] for key in ("loss", "val_loss", "grad_norm")]
    found.append(trainer.step(X, y, sample_weight=weight))
    value, grads = trainer.loss_and_grad(X, y, sample_weight=weight)
    found += [value, *grads.values()]
    found += trainer.hessian_vector_product(X, y, grads, sample_weight=weight).values()
    found += trainer.evaluate(X, y, sample_weight=weight).values()
    found += trainer.model.state_dict().values()
    full_batch = trainer_of(case, dtype, optimizer=stoop.optimizers.LBFGS())
    found.append(full_batch.fit(X, y, 2, len(X), sample_weight=weight, verbose=0)["loss"])
    if dtype == "float64":
        found.append(stoop.gradcheck(trainer.model, trainer.loss, X, y, sample_weight=weight, sample=2).relative_error)
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_weights_of_any_size_are_the_same_to_the_bit(case: str, dtype: str) -> None:
    weight = np.random.default_rng(3).integers(0, 8, 17).astype(dtype)
    expected = everything_with(weight, case, dtype)
    assert all(np.all(np.isfinite(value)) for value in expected)
    for factor in SIZES[dtype]:
        for found, value in zip(everything_with(weight * np.dtype(dtype).type(factor), case, dtype), expected):
            np.testing.assert_array_equal(found, value, err_msg=f"weights times {factor}")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("factor", [2.0**-1000, 2.0**-200, 2.0**150, 2.0**1000])
def test_class_weights_of_any_size_are_the_same_to_the_bit(factor: float, dtype: str) -> None:
    X, y = make_batch(CLASSES, 24)
    table = np.array([1.0, 3.0, 0.0, 0.7])
    results = []
    for class_weight in (table, factor * table, dict(enumerate(factor * table))):
        trainer = make_trainer("softmax_cross_entropy", dtype)
        loss = trainer.fit(X, y, epochs=2, batch_size=7, verbose=0, class_weight=class_weight)["loss"]
        results.append([np.array(loss), *trainer.model.state_dict().values()])
    for found in results[1:]:
        for a, b in zip(found, results[0]):
            np.testing.assert_array_equal(a, b)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=OUTPUTS, max_size=OUTPUTS), st.integers(0, 1000))
def test_class_weight_equals_repeated_samples(counts: list[int], seed: int) -> None:
    """A whole number of copies of each sample, in one batch, is the same as a weight of that number."""
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((30, 3)), rng.integers(OUTPUTS, size=30)
    times = np.array(counts)[y]
    if times.sum() == 0:
        return
    results = []
    for class_weight in (dict(enumerate(counts)), np.array(counts, float)):
        trainer = make_trainer("softmax_cross_entropy")
        history = trainer.fit(X, y, epochs=3, batch_size=30, verbose=0, class_weight=class_weight)
        results.append((history["loss"], trainer.model.state_dict()))
    trainer = make_trainer("softmax_cross_entropy")
    repeated, classes = X.repeat(times, axis=0), y.repeat(times)
    history = trainer.fit(repeated, classes, epochs=3, batch_size=len(classes), verbose=0)
    for loss, state in results:
        np.testing.assert_allclose(loss, history["loss"], rtol=1e-9)
        for name, value in trainer.model.state_dict().items():
            np.testing.assert_allclose(state[name], value, rtol=1e-6, atol=1e-9)


def test_class_weight_multiplies_sample_weight() -> None:
    X, y = make_batch(CLASSES, 24)
    weight = np.random.default_rng(0).random(24)
    table = np.array([1.0, 2.0, 0.5, 3.0])
    fits: list[dict[str, Any]] = [
        {"sample_weight": weight, "class_weight": {1: 2, 2: 0.5, 3: 3}},
        {"sample_weight": weight * table[y]},
    ]
    losses = []
    for arguments in fits:
        trainer = make_trainer("softmax_cross_entropy")
        losses.append(trainer.fit(X, y, epochs=3, batch_size=7, verbose=0, **arguments)["loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-12)


def test_class_weight_of_binary_labels() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 3)), rng.integers(2, size=20)
    losses = []
    for arguments in ({"class_weight": {0: 1, 1: 3}}, {"sample_weight": np.where(y == 1, 3.0, 1.0)}):
        trainer = make_trainer("binary_cross_entropy", outputs=1)
        losses.append(trainer.fit(X, y, epochs=2, verbose=0, **arguments)["loss"])
    assert losses[0] == losses[1]
    for labels in (y.astype(float), y.astype("float32")[:, None], y.astype(bool)):
        for class_weight in ({0: 1, 1: 3}, [1.0, 3.0]):
            trainer = make_trainer("binary_cross_entropy", outputs=1)
            assert trainer.fit(X, labels, epochs=2, verbose=0, class_weight=class_weight)["loss"] == losses[0]
    trainer = make_trainer("binary_cross_entropy", outputs=1)
    with refused(ValueError, "class_weight", r"of 0\.5 at row \d", "0 or 1", "sample_weight"):
        trainer.fit(X, y * 0.5, class_weight="balanced", verbose=0)


def test_labels_of_one_column() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((50, 3)), rng.integers(2, size=50)
    losses = {
        make_trainer("binary_cross_entropy", outputs=1).evaluate(X, labels)["loss"]
        for labels in (y, y.astype(bool), y.astype(float), y[:, None], y.tolist(), y.astype("u1"))
    }
    assert len(losses) == 1
    trainer = make_trainer("binary_cross_entropy", outputs=1)
    assert trainer.evaluate(X, y)["accuracy"] == np.mean(trainer.model.predict_classes(X) == y)
    history = trainer.fit(X, y, epochs=2, validation_data=(X, y), verbose=0)
    assert {"accuracy", "val_accuracy"} <= set(history)


def test_two_class_softmax_is_logistic_regression() -> None:
    """log(1 + exp(-(z1 - z0))): the same loss, and the gradient of the difference."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 3)), rng.integers(2, size=40)
    two = stoop.Model([stoop.Dense(2)], input_dim=3, dtype="float64")
    one = stoop.Model([stoop.Dense(1)], input_dim=3, dtype="float64")
    w = two.parameters()["0.weight"]
    one.load_state_dict({"0.weight": (w[:, 1] - w[:, 0])[:, None], "0.bias": np.zeros(1)})
    softmax_loss, softmax_grad = stoop.Trainer(two).loss_and_grad(X, y)
    binary_loss, binary_grad = stoop.Trainer(one, "binary_cross_entropy").loss_and_grad(X, y)
    assert softmax_loss == pytest.approx(binary_loss, rel=1e-12)
    np.testing.assert_allclose(softmax_grad["0.weight"][:, 1:], binary_grad["0.weight"], rtol=1e-10)


@given(st.floats(-1e4, 1e4), st.integers(0, 100))
def test_softmax_is_shift_invariant(shift: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((9, 3)), rng.integers(OUTPUTS, size=9)
    model = stoop.Model([stoop.Dense(OUTPUTS)], input_dim=3, dtype="float64")
    trainer = stoop.Trainer(model)
    before, proba = trainer.loss_and_grad(X, y), model.predict_proba(X)
    model.parameters()["0.bias"][...] += shift
    after = trainer.loss_and_grad(X, y)
    assert after[0] == pytest.approx(before[0], rel=1e-9)
    for name, grad in before[1].items():
        np.testing.assert_allclose(after[1][name], grad, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(model.predict_proba(X), proba, rtol=1e-8, atol=1e-12)


OUTPUT_SIZES = [0.0, 1e-30, 1.0, -1.0, 90.0, 200.0, -200.0, 1e4, -1e4, 3e38, -3e38]
EXTREME_TARGETS: dict[str, list[Any]] = {
    "classes": [0, 1],
    "rows": [(0.0, 1.0), (0.5, 0.5)],
    "labels": [0.0, 1.0],
    "probabilities": [0.0, 1e-30, 0.3, 1.0],
    "counts": [0.0, 1.0, 3e38],
    "values": [0.0, 1.0, -1.0, 200.0, 3e38, -3e38],
}


@pytest.mark.parametrize("case", CASES)
def test_extreme_outputs_and_targets(case: str) -> None:
    """float32 gives what float64 does, wherever it can hold that: the bias alone makes the outputs of one sample."""
    outputs = CASES[case].outputs(2)
    columns = outputs // CASES[case].case.multiple
    layers, X = [stoop.Dense(outputs, kernel_init="zeros")], np.ones((1, 1))
    models = [stoop.Model(layers, input_dim=1, dtype=dtype) for dtype in ("float32", "float64")]
    trainers = [stoop.Trainer(model, CASES[case].loss) for model in models]
    held = 0
    for target, *sizes in itertools.product(EXTREME_TARGETS[CASES[case].kind], *[OUTPUT_SIZES] * outputs):
        y = np.full((1, columns), np.float32(target)) if isinstance(target, float) else np.array([target])
        for model in models:
            model.parameters()["0.bias"][...] = np.float32(sizes)
        (loss, grad), (exact_loss, exact) = (trainer.loss_and_grad(X, y) for trainer in trainers)
        if not is_held(exact["0.bias"]) or not is_held(exact_loss):
            continue
        held += 1
        assert loss == pytest.approx(exact_loss, rel=1e-5, abs=1e-6), (target, sizes)
        np.testing.assert_allclose(grad["0.bias"], exact["0.bias"], rtol=1e-4, atol=1e-6, err_msg=f"{target} {sizes}")
    assert held > 50


def is_held(values: Any) -> bool:
    """Whether float32 has them all."""
    return bool(np.all(np.abs(values) < float(np.finfo(np.float32).max)))


# ---- fit ----


def test_validation_split_keeps_the_last_samples() -> None:
    X, y = make_batch(CLASSES, 20)
    weight = np.random.default_rng(0).random(20)
    first, second = make_trainer("softmax_cross_entropy"), make_trainer("softmax_cross_entropy")
    a = first.fit(X, y, epochs=2, batch_size=4, validation_split=0.25, sample_weight=weight, verbose=0)
    validation = X[15:], y[15:], weight[15:]
    b = second.fit(
        X[:15], y[:15], epochs=2, batch_size=4, validation_data=validation, sample_weight=weight[:15], verbose=0
    )
    for key in ("loss", "val_loss", "accuracy", "val_accuracy"):
        assert a[key] == b[key]


@pytest.mark.parametrize(
    ("arguments", "exception", "pattern"),
    [
        ({"sample_weight": np.ones(16)}, ValueError, "16"),
        ({"sample_weight": np.ones((17, 2))}, ValueError, "shape"),
        ({"sample_weight": np.r_[np.ones(16), -1]}, ValueError, "-1"),
        ({"sample_weight": np.r_[np.ones(16), np.nan]}, ValueError, "row 16"),
        ({"sample_weight": np.zeros(17)}, ValueError, "0"),
        ({"sample_weight": ["a"] * 17}, TypeError, "sample_weight"),
        ({"class_weight": np.ones(3)}, ValueError, "class_weight"),
        ({"class_weight": {4: 1.0}}, ValueError, "class"),
        ({"class_weight": {0: -1.0}}, ValueError, "class_weight"),
        ({"class_weight": {"a": 1.0}}, TypeError, "class"),
        ({"class_weight": 2.0}, ValueError, "class_weight"),
        ({"class_weight": [[1.0], [1.0, 2.0]]}, ValueError, "class_weight is a list that is no array"),
        ({"validation_split": 1.0}, ValueError, "validation_split"),
        ({"validation_split": 0.01}, ValueError, "validation_split"),
        ({"validation_split": 0.5, "validation_data": (np.ones((2, 3)), [0, 1])}, ValueError, "both"),
    ],
)
def test_fit_refuses(arguments: dict[str, Any], exception: type[Exception], pattern: str) -> None:
    trainer = make_trainer("softmax_cross_entropy")
    X, y = make_batch(CLASSES)
    with unchanged(trainer), refused(exception, pattern):
        trainer.fit(X, y, epochs=1, verbose=0, **arguments)


@pytest.mark.parametrize(
    ("loss", "y", "pattern"),
    [
        ("softmax_cross_entropy", np.full((17, OUTPUTS), 0.5), "sums to 2"),
        ("softmax_cross_entropy", np.tile([2.0, -1.0, 0.0, 0.0], (17, 1)), "0 to 1"),
        ("binary_cross_entropy", np.full((17, OUTPUTS), 1.5), "0 to 1"),
        ("binary_cross_entropy", np.ones(17, int), r"\(n_samples, 4\)"),
        ("huber", np.ones((17, 3)), "columns|n_samples"),
    ],
)
def test_targets_that_do_not_fit(loss: str, y: npt.NDArray, pattern: str) -> None:
    trainer = make_trainer(loss)
    X, _ = make_batch(CLASSES)
    with unchanged(trainer), refused(ValueError, pattern):
        trainer.step(X, y)


def test_class_weight_needs_classes() -> None:
    X, y = make_batch(VALUES)
    with refused(ValueError, "class_weight"):
        make_trainer("mse").fit(X, y, class_weight={0: 1.0}, verbose=0)
    X, y = make_batch(ROWS)
    with refused(ValueError, "class_weight"):
        make_trainer("softmax_cross_entropy").fit(X, y, class_weight={0: 1.0}, verbose=0)


@pytest.mark.parametrize(
    ("make", "exception"),
    [
        (lambda: stoop.losses.SoftmaxCrossEntropy(1.0), ValueError),
        (lambda: stoop.losses.SoftmaxCrossEntropy(-0.1), ValueError),
        (lambda: stoop.losses.SoftmaxCrossEntropy("0.1"), TypeError),
        (lambda: stoop.losses.Huber(0.0), ValueError),
        (lambda: stoop.losses.Huber(float("inf")), ValueError),
    ],
)
def test_bad_settings(make: Callable[[], Any], exception: type[Exception]) -> None:
    with refused(exception):
        make()
