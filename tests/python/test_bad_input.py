"""Bad input gets a clear error and changes nothing; unusual but good input works as its plain copy does."""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop
from helpers import bits, make_data, refused, unchanged
from stoop import _checks

FEATURES, OUTPUTS, SAMPLES = 6, 3, 20
NOT_A_NUMBER = (ValueError, TypeError)  # which of the two is a matter of taste


def make_trainer(loss: str = "softmax_cross_entropy", outputs: int = OUTPUTS, dtype: str = "float32") -> Any:
    model = stoop.Model([stoop.Dense(8, activation="tanh"), stoop.Dense(outputs)], input_dim=FEATURES, dtype=dtype)
    trainer = stoop.Trainer(model, loss=loss)
    X, y = make_data(loss, SAMPLES, FEATURES, outputs, dtype)
    trainer.fit(X, y, epochs=2, batch_size=8, verbose=0)  # so that there is something to lose
    return trainer


Call = Callable[[Any, Any, Any], Any]
CALLS: dict[str, Call] = {
    "fit": lambda trainer, X, y: trainer.fit(X, y, epochs=1, batch_size=8, verbose=0),
    "step": lambda trainer, X, y: trainer.step(X, y),
    "evaluate": lambda trainer, X, y: trainer.evaluate(X, y),
    "loss_and_grad": lambda trainer, X, y: trainer.loss_and_grad(X, y),
    "validation_data": lambda trainer, X, y: trainer.fit(
        *make_data("softmax_cross_entropy", SAMPLES, FEATURES, OUTPUTS), epochs=1, validation_data=(X, y), verbose=0
    ),
}
PREDICTIONS: dict[str, Call] = {
    name: lambda trainer, X, y, name=name: getattr(trainer.model, name)(X)
    for name in ("predict", "predict_proba", "predict_classes", "__call__")
}

x_calls = pytest.mark.parametrize("call", [*CALLS.values(), *PREDICTIONS.values()], ids=[*CALLS, *PREDICTIONS])
xy_calls = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def with_value(X: npt.NDArray, row: int, column: int, value: float) -> npt.NDArray:
    X = X.copy()
    X[row, column] = value
    return X


# ---- X ----

BAD_X: dict[str, tuple[Callable[[npt.NDArray], Any], Any, tuple[str, ...]]] = {
    "one axis": (lambda X: X[0], ValueError, (r"\(6,\)",)),
    "three axes": (lambda X: X[None], ValueError, (r"\(1, 20, 6\)",)),
    "no axis": (lambda X: np.float32(1), ValueError, ()),
    "a column less": (lambda X: X[:, 1:], ValueError, ("5", "6")),
    "a column more": (lambda X: np.hstack([X, X[:, :1]]), ValueError, ("7", "6")),
    "no columns": (lambda X: X[:, :0], ValueError, ("0", "6")),
    "complex": (lambda X: X.astype("complex64"), TypeError, ("complex64",)),
    "text": (lambda X: X.astype(str), TypeError, ()),
    "objects": (lambda X: np.full(X.shape, None), TypeError, ("object",)),
    "dates": (lambda X: X.astype("int64").astype("datetime64[D]"), TypeError, ("datetime64",)),
    "a record": (lambda X: np.zeros(X.shape, [("a", "f4")]), TypeError, ()),
    "None": (lambda X: None, NOT_A_NUMBER, ()),
    "a word": (lambda X: "X", NOT_A_NUMBER, ()),
    "rows of two lengths": (lambda X: [[1.0] * 6, [1.0] * 5], NOT_A_NUMBER, ()),
}


@pytest.mark.parametrize("case", BAD_X)
@x_calls
def test_bad_x(call: Call, case: str) -> None:
    damage, exception, patterns = BAD_X[case]
    trainer = make_trainer()
    X, y = make_data("softmax_cross_entropy", SAMPLES, FEATURES, OUTPUTS)
    with unchanged(trainer), refused(exception, *patterns):
        call(trainer, damage(X), y)


NOT_FINITE: dict[str, tuple[Callable[[npt.NDArray], Any], tuple[str, ...]]] = {
    "nan": (lambda X: with_value(X, 13, 4, np.nan), ("nan", r"row\D*13\b", r"column\D*4\b")),
    "inf": (lambda X: with_value(X, 0, 5, np.inf), ("inf", r"row\D*0\b", r"column\D*5\b")),
    "-inf": (lambda X: with_value(X, 19, 0, -np.inf), ("inf", r"row\D*19\b", r"column\D*0\b")),
    "nan in a strided view": (
        lambda X: np.asfortranarray(with_value(X, 13, 4, np.nan))[::-1],
        ("nan", r"row\D*6\b", r"column\D*4\b"),
    ),
    "too large for float32": (
        lambda X: with_value(X.astype("float64"), 3, 2, 1e300),
        (r"row\D*3\b", r"column\D*2\b"),
    ),
}


@pytest.mark.parametrize("case", NOT_FINITE)
@xy_calls
def test_x_that_is_not_finite(call: Call, case: str) -> None:
    damage, patterns = NOT_FINITE[case]
    trainer = make_trainer()
    X, y = make_data("softmax_cross_entropy", SAMPLES, FEATURES, OUTPUTS)
    with unchanged(trainer), refused(ValueError, *patterns):
        call(trainer, damage(X), y)


@x_calls
def test_empty_x(call: Call) -> None:
    trainer = make_trainer()
    with unchanged(trainer), refused(ValueError, r"0|empty"):
        call(trainer, np.empty((0, FEATURES), np.float32), np.empty(0, int))
    with unchanged(trainer), refused(NOT_A_NUMBER):
        call(trainer, [], [])


# ---- y ----

BAD_CLASSES: dict[str, tuple[Callable[[npt.NDArray], Any], Any, tuple[str, ...]]] = {
    "too large": (lambda y: np.r_[y[:-1], OUTPUTS], ValueError, ("3", r"\b19\b")),
    "negative": (lambda y: np.r_[y[:4], -1, y[5:]], ValueError, ("-1", r"\b4\b")),
    "wraps to 0 in 32 bits": (lambda y: np.r_[y[:-1], 2**32], ValueError, (str(2**32),)),
    "wraps to -1 in 64 bits": (
        lambda y: np.r_[y[:-1].astype("u8"), np.uint64(2**64 - 1)],
        ValueError,
        (str(2**64 - 1), r"row\D*19\b"),
    ),
    "float": (lambda y: y.astype("float32"), NOT_A_NUMBER, ("float32",)),
    "fractions": (lambda y: y + 0.5, NOT_A_NUMBER, ("float64",)),
    "nan": (lambda y: np.full(len(y), np.nan), NOT_A_NUMBER, ()),
    "complex": (lambda y: y.astype(complex), TypeError, ("complex128",)),
    "text": (lambda y: y.astype(str), TypeError, ()),
    "objects": (lambda y: [None] * len(y), TypeError, ()),
    "two columns": (lambda y: np.c_[y, y], ValueError, (r"\(20, 2\)",)),
    "one short": (lambda y: y[:-1], ValueError, ("19", "20")),
    "one long": (lambda y: np.r_[y, 0], ValueError, ("21", "20")),
    "empty": (lambda y: y[:0], ValueError, ("0", "20")),
    "a number": (lambda y: 1, ValueError, ()),
    "None": (lambda y: None, NOT_A_NUMBER, ()),
}


@pytest.mark.parametrize("case", BAD_CLASSES)
@xy_calls
def test_bad_classes(call: Call, case: str) -> None:
    damage, exception, patterns = BAD_CLASSES[case]
    trainer = make_trainer()
    X, y = make_data("softmax_cross_entropy", SAMPLES, FEATURES, OUTPUTS)
    with unchanged(trainer), refused(exception, *patterns):
        call(trainer, X, damage(y))


BAD_VALUES: dict[str, tuple[Callable[[npt.NDArray], Any], Any, tuple[str, ...]]] = {
    "one axis for three outputs": (lambda y: y[:, 0], ValueError, (r"\(20,\)",)),
    "three axes": (lambda y: y[None], ValueError, (r"\(1, 20, 3\)",)),
    "a column less": (lambda y: y[:, 1:], ValueError, ("2", "3")),
    "one short": (lambda y: y[:-1], ValueError, ("19", "20")),
    "nan": (lambda y: with_value(y, 13, 2, np.nan), ValueError, (r"row\D*13\b", r"column\D*2\b")),
    "inf": (lambda y: with_value(y, 13, 2, np.inf), ValueError, (r"row\D*13\b", r"column\D*2\b")),
    "too large for float32": (lambda y: with_value(y.astype("f8"), 1, 1, 1e39), ValueError, (r"row\D*1\b",)),
    "complex": (lambda y: y.astype(complex), TypeError, ("complex128",)),
    "text": (lambda y: y.astype(str), TypeError, ()),
    "None": (lambda y: None, NOT_A_NUMBER, ()),
}


@pytest.mark.parametrize("case", BAD_VALUES)
@pytest.mark.parametrize("call", [CALLS[name] for name in ("fit", "step", "evaluate", "loss_and_grad")])
def test_bad_values(call: Call, case: str) -> None:
    damage, exception, patterns = BAD_VALUES[case]
    trainer = make_trainer("mse")
    X, y = make_data("mse", SAMPLES, FEATURES, OUTPUTS)
    with unchanged(trainer), refused(exception, *patterns):
        call(trainer, X, damage(y))


# ---- the arguments of fit ----


@pytest.mark.parametrize(
    ("argument", "value", "exception"),
    [
        ("batch_size", 0, ValueError),
        ("batch_size", -3, ValueError),
        ("batch_size", 2.5, NOT_A_NUMBER),
        ("batch_size", "8", NOT_A_NUMBER),
        ("batch_size", None, NOT_A_NUMBER),
        ("epochs", -1, ValueError),
        ("epochs", 10**30, NOT_A_NUMBER),
        ("epochs", 1.5, NOT_A_NUMBER),
        ("epochs", "ten", NOT_A_NUMBER),
        ("verbose", -1, ValueError),
        ("verbose", 3, ValueError),
        ("verbose", "yes", TypeError),
        ("verbose", None, TypeError),
        ("verbose", 0.5, TypeError),
        ("shuffle", 1, TypeError),
        ("shuffle", "no", TypeError),
        ("shuffle", None, TypeError),
        ("metrics", None, TypeError),
        ("metrics", 3, TypeError),
        ("metrics", ("accuracy", None), TypeError),
        ("validation_data", (), NOT_A_NUMBER),
        ("validation_data", (np.zeros((2, FEATURES)),), NOT_A_NUMBER),
        ("validation_data", 3, NOT_A_NUMBER),
    ],
)
def test_bad_arguments_of_fit(argument: str, value: object, exception: Any) -> None:
    trainer = make_trainer()
    X, y = make_data("softmax_cross_entropy", SAMPLES, FEATURES, OUTPUTS)
    with unchanged(trainer), refused(exception, argument):
        trainer.fit(X, y, **{"epochs": 1, "batch_size": 8, "verbose": 0, argument: value})


def test_verbose_may_be_a_bool(capfd: pytest.CaptureFixture[str]) -> None:
    X, y = make_data("softmax_cross_entropy", SAMPLES, FEATURES, OUTPUTS)
    make_trainer().fit(X, y, epochs=1, verbose=False)
    assert capfd.readouterr() == ("", "")
    make_trainer().fit(X, y, epochs=1, verbose=True, metrics="accuracy")
    assert "accuracy" in capfd.readouterr().out


@pytest.mark.parametrize("argument", ["training", "dropout"])
def test_flags_of_loss_and_grad(argument: str) -> None:
    X, y = make_data("softmax_cross_entropy", SAMPLES, FEATURES, OUTPUTS)
    with refused(TypeError, argument):
        make_trainer().loss_and_grad(X, y, **{argument: "yes"})


def test_a_batch_larger_than_the_data_is_one_batch() -> None:
    X, y = make_data("softmax_cross_entropy", SAMPLES, FEATURES, OUTPUTS)
    trainers = [make_trainer(), make_trainer()]
    for trainer, batch_size in zip(trainers, (SAMPLES, 10**9), strict=True):
        trainer.fit(X, y, epochs=2, batch_size=batch_size, verbose=0)
    assert bits(trainers[0].model) == bits(trainers[1].model)
    assert trainers[0].steps == trainers[1].steps


# ---- names ----


def build(**arguments: Any) -> Any:
    return stoop.Model([stoop.Dense(4, **arguments)], input_dim=3)


@pytest.mark.parametrize(
    ("make", "nearest"),
    [
        (lambda: build(activation="rlu"), "relu"),
        (lambda: build(activation="Tahn"), "tanh"),
        (lambda: build(activation="leakyrelu"), "leaky_relu"),
        (lambda: build(kernel_init="he_norml"), "he_normal"),
        (lambda: build(bias_init="zeroes"), "zeros"),
        (lambda: stoop.Model([stoop.Dense(4)], input_dim=3, dtype="flaot64"), "float64"),
        (lambda: stoop.Trainer(build(), loss="softmax_crossentropy"), "softmax_cross_entropy"),
        (lambda: stoop.Trainer(build(), loss="MSE "), "mse"),
        (lambda: stoop.Trainer(build(), optimizer="adm"), "adam"),
        (lambda: stoop.gradcheck(build(), "msee", np.ones((2, 3)), np.ones((2, 4))), "mse"),
    ],
)
def test_an_unknown_name_gets_the_nearest_suggested(make: Callable[[], Any], nearest: str) -> None:
    with refused(ValueError, rf"\b{nearest}\b"):
        make()


def test_an_unknown_metric() -> None:
    trainer = make_trainer()
    X, y = make_data("softmax_cross_entropy", SAMPLES, FEATURES, OUTPUTS)
    with unchanged(trainer), refused(ValueError, "accuracy"):
        trainer.fit(X, y, epochs=1, metrics=("acuracy",), verbose=0)


# ---- what a model, a loss, an optimizer and a trainer are built from ----


@pytest.mark.parametrize(
    ("make", "exception"),
    [
        (lambda: stoop.Model([], input_dim=3), ValueError),
        (lambda: stoop.Model([stoop.Dense(4)], input_dim=0), ValueError),
        (lambda: stoop.Model([stoop.Dense(4)], input_dim=-1), ValueError),
        (lambda: stoop.Model([stoop.Dense(4)], input_dim=2.5), NOT_A_NUMBER),
        (lambda: stoop.Model([stoop.Dense(4)], input_dim="3"), NOT_A_NUMBER),
        (lambda: stoop.Model([stoop.Dense(0)], input_dim=3), ValueError),
        (lambda: stoop.Model([stoop.Dense(-1)], input_dim=3), ValueError),
        (lambda: stoop.Model([stoop.Dense(4.5)], input_dim=3), NOT_A_NUMBER),
        (lambda: stoop.Model([stoop.Dense("4")], input_dim=3), NOT_A_NUMBER),
        (lambda: stoop.Model([stoop.Dense(10**9), stoop.Dense(10**9)], input_dim=10**9), (ValueError, MemoryError)),
        (lambda: stoop.Model([stoop.Dense(2**62), stoop.Dense(4)], input_dim=4), (ValueError, MemoryError)),
        (lambda: stoop.Model(["relu"], input_dim=3), NOT_A_NUMBER),
        (lambda: stoop.Model([stoop.Dense], input_dim=3), NOT_A_NUMBER),
        (lambda: stoop.Model([stoop.Dense(4)], input_dim=3, seed=-1), ValueError),
        (lambda: stoop.Model([stoop.Dense(4)], input_dim=3, seed=2**64), ValueError),
        (lambda: stoop.Model([stoop.Dense(4)], input_dim=3, seed=0.5), NOT_A_NUMBER),
        (lambda: stoop.Model([stoop.ReLU()], input_dim=3), ValueError),
        (lambda: stoop.Model([stoop.Dense(4)], input_dim=3, dtype="float16"), NOT_A_NUMBER),
        (lambda: stoop.Model([stoop.Dense(4)], input_dim=3, dtype=np.int32), NOT_A_NUMBER),
        (lambda: build(activation=3), NOT_A_NUMBER),
        (lambda: build(use_bias="no"), NOT_A_NUMBER),
        (lambda: stoop.Model([stoop.LeakyReLU(float("nan")), stoop.Dense(4)], input_dim=3), ValueError),
        (lambda: stoop.Trainer(build(), optimizer=stoop.optimizers.SGD(-0.1)), ValueError),
        (lambda: stoop.Trainer(build(), optimizer=stoop.optimizers.SGD(float("nan"))), ValueError),
        (lambda: stoop.Trainer(build(), optimizer=stoop.optimizers.SGD(float("inf"))), ValueError),
        (lambda: stoop.Trainer(build(), optimizer=stoop.optimizers.SGD("fast")), NOT_A_NUMBER),
        (lambda: stoop.Trainer(build(), optimizer=stoop.optimizers.SGD(0.1, momentum=-0.5)), ValueError),
        (lambda: stoop.Trainer(build(), optimizer=stoop.optimizers.SGD(0.1, momentum=1.5)), ValueError),
        (lambda: stoop.Trainer(build(), optimizer=stoop.optimizers.Adam(beta1=1.0)), ValueError),
        (lambda: stoop.Trainer(build(), optimizer=stoop.optimizers.Adam(beta2=-0.1)), ValueError),
        (lambda: stoop.Trainer(build(), optimizer=stoop.optimizers.Adam(eps=-1e-8)), ValueError),
        (lambda: stoop.Trainer(build(), optimizer=0.1), NOT_A_NUMBER),
        (lambda: stoop.Trainer(build(), loss=3), NOT_A_NUMBER),
        (lambda: stoop.Trainer(build(), l2=-0.1), ValueError),
        (lambda: stoop.Trainer(build(), l2=float("nan")), ValueError),
        (lambda: stoop.Trainer(build(), num_threads=-1), ValueError),
        (lambda: stoop.Trainer(build(), num_threads=1.5), NOT_A_NUMBER),
        (lambda: stoop.Trainer(build(), num_threads=10**6), ValueError),
        (lambda: stoop.Trainer(build(), seed=-1), ValueError),
        (lambda: stoop.Trainer("model"), NOT_A_NUMBER),
        (lambda: stoop.gradcheck(build(), "mse", np.ones((2, 3)), np.ones((2, 4)), eps=0.0), ValueError),
        (lambda: stoop.gradcheck(build(), "mse", np.ones((2, 2)), np.ones((2, 4))), ValueError),
        (lambda: stoop.set_num_threads(0), ValueError),
        (lambda: stoop.set_num_threads(-2), ValueError),
        (lambda: stoop.set_num_threads(10**6), ValueError),
    ],
)
def test_bad_settings(make: Callable[[], Any], exception: Any) -> None:
    with refused(exception):
        make()


# ---- unusual but good arrays ----


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


# ---- damaged model files ----


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    make_trainer().model.save(path)
    return path


def header_length(content: bytes) -> int:
    return struct.unpack("<Q", content[:8])[0]


def test_a_truncated_file(model_file: Path) -> None:
    content = model_file.read_bytes()
    header = header_length(content)
    for length in (0, 1, 7, 8, 9, 8 + header // 2, 8 + header - 1, 8 + header, 8 + header + 1, len(content) - 1):
        model_file.write_bytes(content[:length])
        with refused(stoop.CheckpointError, "model.safetensors"):
            stoop.load_model(model_file)


def test_a_file_with_more_at_its_end(model_file: Path) -> None:
    model_file.write_bytes(model_file.read_bytes() + b"\0" * 64)
    with refused(stoop.CheckpointError, "model.safetensors"):
        stoop.load_model(model_file)


@pytest.mark.parametrize(("start", "flip"), [(0, 0x01), (1, 0x20), (2, 0x80)])
def test_a_flipped_bit_in_the_header_is_refused_or_harmless(model_file: Path, start: int, flip: int) -> None:
    """A bit in, say, the seed cannot be noticed; every other ends in CheckpointError, none in a crash."""
    content = model_file.read_bytes()
    messages = []
    positions = range(start, 8 + len(content[8 : 8 + header_length(content)].rstrip()), 3)
    for position in positions:
        damaged = bytearray(content)
        damaged[position] ^= flip
        model_file.write_bytes(damaged)
        try:
            stoop.load_model(model_file)
        except stoop.CheckpointError as error:
            messages.append(str(error))
    assert len(messages) > 0.5 * len(positions)
    assert all("model.safetensors" in message for message in messages)


@pytest.mark.parametrize(
    "content",
    [
        b"not a model at all",
        bytes(range(256)) * 8,
        b"\xff" * 64,
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 4) + b"null",
        struct.pack("<Q", 100_000) + b"[" * 100_000,
        struct.pack("<Q", 0),
    ],
    ids=["text", "bytes", "ones", "a huge header", "no tensors", "a list", "null", "deep nesting", "no header"],
)
def test_garbage(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "garbage.safetensors"
    path.write_bytes(content)
    with refused(stoop.CheckpointError, "garbage.safetensors"):
        stoop.load_model(path)


def rewrite_header(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    content = path.read_bytes()
    end = 8 + header_length(content)
    header = json.loads(content[8:end])
    edit(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[end:])


EDITS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a tensor is missing": lambda header: header.pop("0.weight"),
    "a tensor too many": lambda header: header.update({"9.weight": header["0.weight"]}),
    "another shape": lambda header: header["0.weight"].update(shape=[8, 6]),
    "a negative shape": lambda header: header["0.weight"].update(shape=[-6, -8]),
    "a shape that overflows": lambda header: header["0.weight"].update(shape=[2**33, 2**33]),
    "another dtype": lambda header: header["0.weight"].update(dtype="F64"),
    "an unknown dtype": lambda header: header["0.weight"].update(dtype="Q4"),
    "offsets past the end": lambda header: header["1.bias"].update(data_offsets=[0, 2**40]),
    "offsets backwards": lambda header: header["1.bias"].update(data_offsets=[12, 0]),
    "overlapping offsets": lambda header: header["1.bias"].update(data_offsets=[0, 12]),
    "no metadata": lambda header: header.pop("__metadata__"),
    "metadata of another kind": lambda header: header.update(__metadata__=[]),
    "another architecture": lambda header: header["__metadata__"].update(
        {key: value.replace("8", "9") for key, value in header["__metadata__"].items()}
    ),
    "an architecture that fills the memory": lambda header: header["__metadata__"].update(
        {key: value.replace("8", "8000000000") for key, value in header["__metadata__"].items()}
    ),
    "an unknown layer": lambda header: header["__metadata__"].update(
        {key: value.replace("dense", "sparse") for key, value in header["__metadata__"].items()}
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_header_that_does_not_fit(model_file: Path, edit: str) -> None:
    rewrite_header(model_file, EDITS[edit])
    with refused(stoop.CheckpointError, "model.safetensors"):
        stoop.load_model(model_file)


def test_a_header_written_by_another_tool_is_read(model_file: Path) -> None:
    expected = bits(stoop.load_model(model_file))
    rewrite_header(model_file, lambda header: None)  # other spacing, so the data is no longer aligned
    assert bits(stoop.load_model(model_file)) == expected


def test_a_missing_file_and_a_directory(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.safetensors"):
        stoop.load_model(tmp_path / "missing.safetensors")
    with pytest.raises(OSError, match=tmp_path.name):
        stoop.load_model(tmp_path)
    with pytest.raises(OSError):
        make_trainer().model.save(tmp_path / "no such folder" / "model.safetensors")
    with pytest.raises(OSError):
        make_trainer().model.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", [3, None, "nul\0byte.safetensors"], ids=["a number", "None", "a NUL byte"])
def test_what_is_no_path(path: Any) -> None:
    for call in (stoop.load_model, make_trainer().model.save):
        with pytest.raises(NOT_A_NUMBER) as caught:
            call(path)
        assert "stoop._core" not in str(caught.value), "the signature of the binding is of no use to a caller"
