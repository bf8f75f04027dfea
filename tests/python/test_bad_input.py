"""Bad input gets a clear error and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop
from helpers import bits, make_data, refused, unchanged

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
