"""Unusual but good arrays work as their plain copies do."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from helpers import bits, make_data
from stoop import _checks
from test_bad_input import FEATURES, OUTPUTS, SAMPLES, make_trainer


def misaligned(a: npt.NDArray) -> npt.NDArray:
    buffer = bytearray(a.nbytes + 1)
    buffer[1:] = a.tobytes()
    return np.frombuffer(buffer, a.dtype, offset=1).reshape(a.shape)


def read_only(a: npt.NDArray) -> npt.NDArray:
    a = a.copy()
    a.setflags(write=False)
    return a


class Arrayish:
    """Offers `__array__` alone."""

    def __init__(self, a: npt.NDArray) -> None:
        self._a = a

    def __array__(self, dtype: npt.DTypeLike = None, copy: bool | None = None) -> npt.NDArray:
        return np.array(self._a, dtype=dtype)


class Capsule:
    """Offers `__dlpack__` alone."""

    def __init__(self, a: npt.NDArray) -> None:
        self._a = a

    def __dlpack__(self, **arguments: Any) -> Any:
        return self._a.__dlpack__(**arguments)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._a.__dlpack_device__()


FORMS: dict[str, Callable[[npt.NDArray], Any]] = {
    "read-only": read_only,
    "Fortran order": np.asfortranarray,
    "every second row": lambda a: np.repeat(a, 2, axis=0)[::2],
    "every second column": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "reversed": lambda a: a[::-1].copy()[::-1],
    "both axes reversed": lambda a: np.flip(np.flip(a).copy()),
    "transposed": lambda a: a.T.copy().T,
    "a part of a wider array": lambda a: np.concatenate([a, a], axis=-1)[..., : a.shape[-1]],
    "misaligned": misaligned,
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "list": lambda a: a.tolist(),
    "__array__": Arrayish,
    "__dlpack__": Capsule,
    "memoryview": memoryview,
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", FORMS)
def test_x_in_unusual_forms(form: str, dtype: str) -> None:
    X, y = make_data("softmax_cross_entropy", SAMPLES, FEATURES, OUTPUTS, dtype)
    plain, other = make_trainer(dtype=dtype), make_trainer(dtype=dtype)
    given = FORMS[form](X)
    np.testing.assert_array_equal(other.model.predict(given), plain.model.predict(X))
    assert other.evaluate(given, y) == plain.evaluate(X, y)
    assert other.step(given, y) == plain.step(X, y)
    for trainer, x in ((plain, X), (other, given)):
        trainer.fit(x, y, epochs=3, batch_size=8, validation_data=(x, y), verbose=0)
    assert bits(other.model) == bits(plain.model)


@pytest.mark.parametrize("form", [form for form in FORMS if form != "every second column"])
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "mse"])
def test_y_in_unusual_forms(loss: str, form: str) -> None:
    X, y = make_data(loss, SAMPLES, FEATURES, OUTPUTS)
    plain, other = make_trainer(loss), make_trainer(loss)
    for trainer, targets in ((plain, y), (other, FORMS[form](y))):
        trainer.fit(X, targets, epochs=3, batch_size=8, verbose=0)
    assert bits(other.model) == bits(plain.model)


# What the core is asked to take without the checks of Python.
CANDIDATES: dict[str, Callable[[npt.NDArray], Any]] = {
    "plain": lambda a: a,
    **FORMS,
    **{dtype: lambda a, dtype=dtype: a.astype(dtype) for dtype in ("f2", "f4", "f8", "u1", "i4", "i8", "u8", "?")},
    "one axis less": lambda a: a[0],
    "one axis more": lambda a: a[..., None],
    "an axis in front": lambda a: a[None],
    "a column less": lambda a: np.ascontiguousarray(a[..., :-1]),
    "a row less": lambda a: a[:-1],
    "empty": lambda a: a[:0],
    "None": lambda a: None,
}


def is_left_alone(trainer: Any, X: Any, y: Any) -> bool:
    check = _checks.value_targets if trainer.loss.type_name == "mse" else _checks.softmax_targets
    dtype = trainer.model.dtype
    try:
        return _checks.features("", X, dtype, FEATURES) is X and check("", y, dtype, len(X), OUTPUTS) is y
    except (ValueError, TypeError):
        return False


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("targets", ["classes", "probabilities", "values"])
def test_the_core_takes_only_what_the_checks_would_leave_alone(targets: str, dtype: str) -> None:
    trainer = make_trainer("mse" if targets == "values" else "softmax_cross_entropy", dtype=dtype)
    X, y = make_data("softmax_cross_entropy" if targets == "classes" else "mse", SAMPLES, FEATURES, OUTPUTS, dtype)
    taken = set()
    for x_form, y_form in itertools.product(CANDIDATES, CANDIDATES):
        given = CANDIDATES[x_form](X), CANDIDATES[y_form](y)
        if trainer._core.takes(*given):
            assert is_left_alone(trainer, *given), (x_form, y_form)
            assert trainer.model._core.takes(given[0]), x_form
            taken.add((x_form, y_form))
        elif trainer.model._core.takes(given[0]):
            assert is_left_alone(trainer, given[0], y[: len(given[0])]), x_form
    of_y = ("i4", "i8") if targets == "classes" else ("f4",) if dtype == "float32" else ("f8",)
    for x_form in ("plain", "read-only", "f4", "f8", "u1"):
        assert {(x_form, y_form) for y_form in ("plain", "read-only", *of_y)} <= taken


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_any_integer_type_of_classes(dtype: str) -> None:
    X, y = make_data("softmax_cross_entropy", SAMPLES, FEATURES, OUTPUTS)
    trainer = make_trainer()
    assert trainer.evaluate(X, y.astype(dtype)) == trainer.evaluate(X, y)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "float16", "float64"])
def test_real_types_of_x_are_converted(dtype: str) -> None:
    X = np.arange(SAMPLES * FEATURES).reshape(SAMPLES, FEATURES).astype(dtype)
    model = make_trainer().model
    np.testing.assert_array_equal(model(X), model(X.astype("float32")))
    assert model(X).dtype == np.float32


def test_one_column_of_targets_with_and_without_its_axis() -> None:
    X, y = make_data("mse", SAMPLES, FEATURES, 1)
    trainers = [make_trainer("mse", outputs=1) for _ in range(2)]
    assert trainers[0].step(X, y) == trainers[1].step(X, y[:, 0])
    assert bits(trainers[0].model) == bits(trainers[1].model)


def test_x_is_not_written_to() -> None:
    X, y = make_data("mse", SAMPLES, FEATURES, OUTPUTS)
    X_before, y_before = X.copy(), y.copy()
    trainer = make_trainer("mse")
    trainer.fit(X, y, epochs=2, batch_size=8, verbose=0)
    trainer.model.predict(X)
    np.testing.assert_array_equal(X, X_before)
    np.testing.assert_array_equal(y, y_before)
