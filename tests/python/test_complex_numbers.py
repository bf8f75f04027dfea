"""Complex numbers are refused wherever numbers are taken: no imaginary part is lost, and NumPy warns of nothing."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import stoop
from helpers import refused

pd = pytest.importorskip("pandas")
sparse = pytest.importorskip("scipy.sparse")
exceptions = pytest.importorskip("sklearn.exceptions")

rng = np.random.default_rng(0)
X = rng.standard_normal((40, 3))
Z = X + 1j
V, Y = X[:, 0], (X[:, 0] > 0).astype(int)
ONE = np.complex128(0.1 + 1j)

FORMS: dict[str, Callable[[], Any]] = {
    "array": lambda: Z,
    "complex64": lambda: Z.astype(np.complex64),
    "list": Z.tolist,
    "objects": lambda: Z.astype(object),
    "frame": lambda: pd.DataFrame(Z),
    "frame of objects": lambda: pd.DataFrame(Z).astype(object),
    "frame with one column": lambda: pd.DataFrame({0: X[:, 0], 1: Z[:, 1], 2: X[:, 2]}),
}


@pytest.fixture(autouse=True)
def _no_warning() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        yield


def model() -> stoop.Model:
    return stoop.Model([stoop.Dense(4, "relu"), stoop.Dense(2)], 3)


@pytest.mark.parametrize("form", FORMS)
def test_predictions_of_models(form: str) -> None:
    x, ensemble = FORMS[form](), stoop.Ensemble([model()])
    normalised = stoop.Model([stoop.Normalization(), stoop.Dense(2)], 3)
    methods = [getattr(model(), f"predict{name}") for name in ("", "_proba", "_classes", "_labels")]
    methods += [getattr(ensemble, f"predict{name}") for name in ("", "_mean", "_proba", "_classes", "_gaussian")]
    for method in [*methods, model().jacobian, normalised.adapt]:
        with refused(TypeError, "complex"):
            method(x)


@contextlib.contextmanager
def refuses(library: str) -> Iterator[None]:
    """The block is refused: by stoop.sklearn with the words of scikit-learn."""
    kinds = (TypeError, ValueError)
    words = "Complex data not supported|not 'complex'"
    with pytest.raises(kinds, match=words) if library == "sklearn" else refused(kinds, "[Cc]omplex"):
        yield


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("library", ["sklearn", "tabular"])
def test_estimators(library: str, form: str) -> None:
    if library == "sklearn":
        made: list[Any] = [
            stoop.sklearn.MLPClassifier((4,), max_iter=2),
            stoop.sklearn.MLPRegressor(hidden_layer_sizes=(4,), max_iter=2),
        ]
    else:
        made = [
            stoop.tabular.TabularClassifier((4,), epochs=1, members=1),
            stoop.tabular.TabularRegressor((4,), epochs=1, members=1),
        ]
    x, known = FORMS[form](), pd.DataFrame(X) if form.startswith("frame") else X
    for estimator, y in zip(made, (Y, V)):
        with refuses(library):
            estimator.fit(x, y)
        estimator.fit(known, y)
        for name in ("predict", "predict_proba", "predict_log_proba", "encode"):
            if hasattr(estimator, name):
                with refuses(library):
                    getattr(estimator, name)(x)
        for name in ("score", "partial_fit"):
            if hasattr(estimator, name):
                with refuses(library):
                    getattr(estimator, name)(x, y)
        if library == "tabular":
            with refuses(library):
                estimator.fit(known, y, validation_data=(x, y))


def test_sparse_rows_and_weights_of_estimators() -> None:
    classifier = stoop.sklearn.MLPClassifier((4,), max_iter=2).fit(X, Y)
    with refuses("sklearn"):
        classifier.predict(sparse.csr_matrix(Z))
    before = classifier.predict_proba(X)
    classifier.coefs_[0] = classifier.coefs_[0] + 1j
    with refused(TypeError, "coefs_ and intercepts_ hold complex numbers"):
        classifier.predict(X)
    classifier.coefs_[0] = classifier.coefs_[0].real
    np.testing.assert_array_equal(classifier.predict_proba(X), before)


def test_columns_of_text_and_of_truths() -> None:
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1] > 0, "c": ["x", "y"] * 20})
    estimator = stoop.tabular.TabularRegressor((4,), epochs=1, members=1).fit(frame, V)
    for name in "abc":
        for cells in (Z[:, 0], Z[:, 0].astype(object), Z[:, 0].astype(np.complex64), [*map(np.complex64, Z[:, 0])]):
            with refused(ValueError, f'column "{name}" has cells of type complex'):
                estimator.predict(frame.assign(**{name: pd.Series(cells)}))
    mixed = frame.assign(c=pd.Series([np.complex64(1j), *["x"] * 39], dtype=object))
    with refused(ValueError, 'column "c" has cells of type complex64'):
        estimator.predict(mixed)
    with refused(ValueError, 'column "c" has cells of type complex64'):
        stoop.tabular.TabularRegressor((4,), epochs=1, members=1).fit(mixed, V)


def custom_rate() -> Any:
    return stoop.optimizers.SGD(stoop.schedules.Custom(lambda t: ONE))


def set_rate() -> None:
    trainer: Any = stoop.Trainer(model())
    trainer.learning_rate = ONE


FIT: dict[str, Any] = {"epochs": 1, "verbose": 0}
NUMBERS: dict[str, Callable[[], Any]] = {
    "of a model": lambda: stoop.Model([stoop.Dense(2)], 3, input_scale=ONE),
    "of an optimizer": lambda: stoop.optimizers.Adam(ONE),
    "of a layer": lambda: stoop.Dropout(ONE),
    "without dimensions": lambda: stoop.optimizers.Adam(np.array(ONE)),
    "of a trainer": lambda: stoop.Trainer(model(), l2=ONE),
    "set later": set_rate,
    "of a custom schedule": lambda: stoop.Trainer(model(), optimizer=custom_rate()).fit(X, Y, **FIT),
    "of a metric": lambda: stoop.Trainer(model()).fit(X, Y, **FIT, metrics=[lambda a, b: ONE], validation_data=(X, Y)),
    "of weights by class": lambda: stoop.Trainer(model()).fit(X, Y, **FIT, class_weight=np.array([1.0, ONE])),
    "of a list of weights": lambda: stoop.Trainer(model()).fit(X, Y, **FIT, class_weight=[1.0, ONE]),
    "of a cost": lambda: stoop.minimize(lambda p: (ONE, p), np.ones(3), stoop.optimizers.SGD(0.1), 2),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers(name: str) -> None:
    with refused(TypeError):
        NUMBERS[name]()
