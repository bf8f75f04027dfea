"""`step(rows=)` comes to the bits of `step` on the rows themselves, and reads nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop
from helpers import bits, refused, unchanged

FEATURES, OUTPUTS = 5, 3
BUFFER = 500
ROWS = np.array([3, 499, 0, 3, 77, 250, 3, 12])
LOSSES = ["mse", "softmax_cross_entropy", "binary_cross_entropy"]


def samples(rows: int) -> npt.NDArray:
    return np.random.default_rng(0).standard_normal((rows, FEATURES)).astype(np.float32)


def model_of(layers: list[Any] | None = None, **settings: Any) -> stoop.Model:
    stack = [stoop.Dense(17), stoop.BatchNorm(), stoop.ReLU(), stoop.Dropout(0.3), stoop.Dense(OUTPUTS)]
    return stoop.Model(stack if layers is None else layers, input_dim=FEATURES, seed=1, **settings)


def targets(loss: str, dtype: str = "float32") -> npt.NDArray:
    rng = np.random.default_rng(2)
    if loss == "softmax_cross_entropy":
        return rng.integers(OUTPUTS, size=BUFFER)
    return rng.integers(2, size=(BUFFER, OUTPUTS)).astype(dtype)


def pair(loss: str, **settings: Any) -> tuple[stoop.Trainer, stoop.Trainer]:
    one, other = (stoop.Trainer(model_of(), loss=loss, **settings) for _ in range(2))
    return one, other


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", ["int64", "int32", "uint8", "uint64", "list", "int16 strided"])
def test_rows_come_to_the_bits_of_the_rows_themselves(loss: str, kind: str) -> None:
    X, y = samples(BUFFER), targets(loss)
    rows: Any = ROWS % 256 if kind == "uint8" else ROWS
    if kind == "list":
        rows = rows.tolist()
    elif kind == "int16 strided":
        rows = np.repeat(rows.astype("int16"), 2)[::2]
    else:
        rows = rows.astype(kind)
    a, b = pair(loss)
    for _ in range(3):
        assert a.step(X, y, rows=rows) == b.step(X[np.asarray(rows)], y[np.asarray(rows)])
    assert bits(a.model) == bits(b.model)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_rows_of_samples_of_any_type(dtype: str) -> None:
    X = np.random.default_rng(3).integers(256, size=(BUFFER, 2 * FEATURES)).astype(dtype)[:, :FEATURES]
    y = targets("mse")
    layers = [stoop.Dense(OUTPUTS)]
    a, b = (stoop.Trainer(model_of(layers=layers, input_scale=1 / 255), loss="mse") for _ in range(2))
    assert a.step(X, y, rows=ROWS) == b.step(X[ROWS], y[ROWS])
    assert bits(a.model) == bits(b.model)


def test_weights_are_those_of_the_batch() -> None:
    X, y = samples(BUFFER), targets("mse")
    a, b = pair("mse", l2=0.1)
    weights = np.linspace(0.0, 2.0, len(ROWS))
    assert a.step(X, y, weights, ROWS) == b.step(X[ROWS], y[ROWS], weights)
    assert bits(a.model) == bits(b.model)
    with refused(ValueError, "sample_weight", "8"):
        a.step(X, y, np.ones(BUFFER), rows=ROWS)


def test_what_must_be_converted_is_gathered_first() -> None:
    X, y = samples(BUFFER), targets("mse")
    a, b = pair("mse")
    assert a.step(X.tolist(), y.astype(int), rows=ROWS) == b.step(X[ROWS], y[ROWS])
    assert bits(a.model) == bits(b.model)


def test_names_of_classes_are_those_of_all_rows() -> None:
    X = samples(BUFFER)
    y = np.array(["cat", "dog", "emu"])[targets("softmax_cross_entropy")]
    a, b = pair("softmax_cross_entropy")
    same = np.flatnonzero(y == "dog")[:4]
    for _ in range(2):
        a.step(X, y, rows=same)
        b.step(X[same], np.ones(4, int))
    assert a.model.classes is not None
    assert a.model.classes.tolist() == ["cat", "dog", "emu"]
    assert bits(a.model) == bits(b.model)


@pytest.mark.parametrize("kind", ["taken", "converted"])
@pytest.mark.parametrize(
    ("rows", "error", "pattern"),
    [
        ([0, 500], ValueError, "500.+0 to 499"),
        ([2, -1], ValueError, "-1 at position 1"),
        ([], ValueError, "empty"),
        ([[1, 2]], ValueError, "shape"),
        ([1.0, 2.0], TypeError, "integers"),
        ([True, False], TypeError, "flatnonzero"),
        (["a"], TypeError, "integers"),
        (np.array([2**64 - 1, 0], np.uint64), ValueError, "0 to 499"),
    ],
)
def test_rows_that_are_refused(rows: Any, error: type[Exception], pattern: str, kind: str) -> None:
    X, y = samples(BUFFER), targets("mse")
    y = y if kind == "taken" else y.astype(int)
    trainer, _ = pair("mse")
    with unchanged(trainer), refused(error, r"\[Trainer.step\]", pattern):
        trainer.step(X, y, rows=rows)


def test_faults_in_the_rows_are_named_by_their_place() -> None:
    X, y = samples(BUFFER), targets("softmax_cross_entropy")
    trainer, _ = pair("softmax_cross_entropy")
    trainer.step(X, y, rows=ROWS)
    X[77, 2] = np.nan
    with unchanged(trainer), refused(ValueError, "row 77, column 2"):
        trainer.step(X, y, rows=ROWS)
    trainer.step(X, y, rows=ROWS[:3])  # what is not among the rows is not looked at
    y[250] = 9
    for labels in (y, y.astype(np.int32)):
        with unchanged(trainer), refused(ValueError, "class 9 at row 250"):
            trainer.step(X, labels, rows=[250])
    with unchanged(trainer), refused(ValueError, "499.+500"):
        trainer.step(X, y[:-1], rows=[1, 2])


@pytest.mark.parametrize("optimizer", ["lbfgs", "newton_cg"])
def test_rows_with_an_optimizer_of_the_full_batch(optimizer: str) -> None:
    X, y = samples(BUFFER), targets("mse")
    layers = [stoop.Dense(OUTPUTS)]
    a, b = (stoop.Trainer(model_of(layers=layers), loss="mse", optimizer=optimizer) for _ in range(2))
    assert a.step(X, y, rows=ROWS) == b.step(X[ROWS], y[ROWS])
