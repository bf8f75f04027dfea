"""Predictor: the bits of Model.predict for few rows and many, a copy that does not follow, what it refuses."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop
from helpers import DTYPES, refused

FEATURES, OUTPUTS = 37, 5
# The middle one is large enough for threads, and for the trial of several places in memory.
LAYERS: dict[str, Callable[[], list[Any]]] = {
    "small": lambda: [stoop.Dense(64, "tanh"), stoop.BatchNorm(), stoop.Dense(OUTPUTS)],
    "large": lambda: [stoop.Dense(512, "relu"), stoop.Dense(512, "relu"), stoop.Dense(OUTPUTS)],
    "normalised": lambda: [stoop.Normalization(), stoop.Dense(100, "gelu"), stoop.LayerNorm(), stoop.Dense(OUTPUTS)],
}


def samples(rows: int, dtype: str = "float32", columns: int = FEATURES) -> npt.NDArray[Any]:
    return np.random.default_rng(rows).standard_normal((rows, columns)).astype(dtype)


def model_of(layers: str = "small", dtype: str = "float32") -> stoop.Model:
    model = stoop.Model(LAYERS[layers](), FEATURES, seed=3, dtype=dtype)
    if layers == "normalised":
        model.adapt(3 * samples(50) + 2)
    return model


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layers", LAYERS)
def test_the_bits_of_the_model(layers: str, dtype: str) -> None:
    model = model_of(layers, dtype)
    predictor = stoop.Predictor(model)
    for rows in [*range(1, 10), 200]:
        for given in (samples(rows, dtype), samples(rows, "float64"), samples(rows).tolist(), samples(rows) > 0):
            expected = model.predict(given)
            for _ in range(2):  # every second call reads the weights in the other order
                actual = predictor.predict(given)
                assert actual.dtype == dtype
                assert actual.tobytes() == expected.tobytes()
            assert predictor(given).tobytes() == expected.tobytes()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_threads(threads: int) -> None:
    model = model_of("large")
    predictor, X = stoop.Predictor(model), samples(3)
    expected = model.predict(X)
    with stoop.num_threads(threads):
        for _ in range(4):
            assert predictor.predict(X).tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 5, 200])
def test_into_an_array(rows: int, dtype: str) -> None:
    model = model_of(dtype=dtype)
    predictor, X = stoop.Predictor(model), samples(rows, dtype)
    expected = model.predict(X)
    large = np.full((rows + 2, OUTPUTS + 4), 7, dtype)
    for out in (np.empty((rows, OUTPUTS), dtype), large[1:-1, 2:-2]):
        assert predictor.predict(X, out) is out
        assert predictor.predict(X, out=out) is out
        assert out.tobytes() == expected.tobytes()
    large[1:-1, 2:-2] = 7
    assert (large == 7).all()


def test_it_does_not_follow_its_model() -> None:
    model = model_of()
    predictor, X = stoop.Predictor(model), samples(2)
    expected = model.predict(X)
    for array in (*model.parameters().values(), *model.buffers().values()):
        array[...] = 1.0
    assert predictor.predict(X).tobytes() == expected.tobytes()
    del model
    assert predictor.predict(X).tobytes() == expected.tobytes()


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
@pytest.mark.parametrize("layers", LAYERS)
def test_copies_and_pickles_hold_the_copy_of_the_model(layers: str, duplicate: Callable[[Any], Any]) -> None:
    model = model_of(layers)
    predictor, X = stoop.Predictor(model), samples(2)
    expected = model.predict(X)
    model.parameters()[next(iter(model.parameters()))][...] = 0.0
    again = duplicate(predictor)
    assert isinstance(again, stoop.Predictor)
    assert again.predict(X).tobytes() == expected.tobytes()


def test_several_threads_at_once() -> None:
    model = model_of("large")
    predictor, X = stoop.Predictor(model), samples(1)
    expected = model.predict(X).tobytes()
    same: list[bool] = []

    def work() -> None:
        out = np.empty((1, OUTPUTS), np.float32)
        same.append(all(predictor.predict(X, out=out).tobytes() == expected for _ in range(200)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert same == [True] * 4


def test_what_it_is_made_of() -> None:
    trainer = stoop.Trainer(model_of())
    for given in (trainer, None, stoop.Ensemble([trainer.model])):
        with refused(TypeError, r"^\[Predictor\] model is", "stoop.Model"):
            stoop.Predictor(given)  # type: ignore[arg-type]
    predictor = stoop.Predictor(trainer.model)
    assert (predictor.input_dim, predictor.output_dim, predictor.dtype) == (FEATURES, OUTPUTS, np.float32)
    assert repr(predictor) == "Predictor(37 -> 5, float32)"
    for name in ("model", "dtype", "weights"):
        with refused(AttributeError, name):
            setattr(predictor, name, None)


def test_a_model_without_statistics_is_refused_when_it_predicts() -> None:
    predictor = stoop.Predictor(stoop.Model(LAYERS["normalised"](), FEATURES))
    with refused(ValueError, r"^\[Predictor.predict\]", "adapt"):
        predictor.predict(samples(1))


def test_inputs_that_do_not_fit() -> None:
    predictor, wrong = stoop.Predictor(model_of()), samples(2)
    wrong[1, 3] = np.nan
    given: list[tuple[Any, type[Exception], str]] = [
        (samples(2, columns=FEATURES - 1), ValueError, "36"),
        (samples(2)[0], ValueError, "shape"),
        (samples(0), ValueError, "empty|no samples|0"),
        (samples(2).astype(complex), TypeError, "complex"),
        ([["a"] * FEATURES], TypeError, "str|text|number"),
    ]
    for X, error, pattern in given:
        with refused(error, r"^\[Predictor.predict\]", pattern):
            predictor.predict(X)


def test_arrays_that_outputs_do_not_go_into() -> None:
    predictor = stoop.Predictor(stoop.Model([stoop.Dense(OUTPUTS)], OUTPUTS))
    X = samples(6, columns=OUTPUTS)
    read_only = np.empty((6, OUTPUTS), np.float32)
    read_only.flags.writeable = False
    given: list[tuple[Any, type[Exception], str]] = [
        (np.empty((6, OUTPUTS)), TypeError, "float64.+float32"),
        ([[0.0] * OUTPUTS] * 6, TypeError, "list"),
        (np.empty((5, OUTPUTS), np.float32), ValueError, r"\(5, 5\).+\(6, 5\)"),
        (np.empty(6 * OUTPUTS, np.float32), ValueError, "shape"),
        (np.empty((6, 2 * OUTPUTS), np.float32)[:, ::2], ValueError, "contiguous"),
        (read_only, ValueError, "read-only"),
        (X, ValueError, "shares memory"),
    ]
    before = X.copy()
    for out, error, pattern in given:
        with refused(error, r"^\[Predictor.predict\]", pattern):
            predictor.predict(X, out=out)
    np.testing.assert_array_equal(X, before)
