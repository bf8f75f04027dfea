"""The checks of the metrics: every error has the name of the function, and nothing is cut or compared silently."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn.metrics

import stoop
from helpers import refused

FUNCTIONS = {
    "accuracy": stoop.metrics.accuracy,
    "confusion_matrix": stoop.metrics.confusion_matrix,
    "plotting": stoop.plotting.confusion_matrix,
}
NAMES = ["Z", "A", "Z"]


@pytest.mark.parametrize("dtype", ["int64", "int8", "uint64", "bool", "float64", "float32", object])
def test_they_equal_scikit_learns(dtype: Any, rng: np.random.Generator) -> None:
    true, pred = (rng.integers(0, 2, 50).astype(dtype) for _ in range(2))
    expected = [part.astype(int) for part in (true, pred)]
    assert stoop.metrics.accuracy(true, pred) == sklearn.metrics.accuracy_score(*expected)
    counts = stoop.metrics.confusion_matrix(true, pred)
    np.testing.assert_array_equal(counts, sklearn.metrics.confusion_matrix(*expected))
    assert stoop.metrics.confusion_matrix(true, pred, np.int64(4)).shape == (4, 4)


def test_accuracy_of_names() -> None:
    assert stoop.metrics.accuracy(NAMES, np.array(["Z", "A", "B"], object)) == 2 / 3


BAD: dict[str, tuple[Any, Any, str]] = {
    "fractions": ([0.5, 1.7, 1.0], [0, 1, 1], r"0\.5 in row 0.*predict_classes"),
    "probabilities": ([0, 1, 1], [0.2, 0.9, 0.4], r"y_pred holds 0\.2 in row 0.*predict_classes"),
    "NaN": ([0.0, np.nan, 1.0], [0, 1, 1], "nan in row 1.*without a class"),
    "infinity": ([0.0, 1.0, np.inf], [0, 1, 1], "inf in row 2"),
    "names and numbers": (NAMES, [0, 1, 1], "dtype"),
    "complex": ([0j, 1, 1], [0, 1, 1], "complex128"),
    "dates": (np.array([0, 1, 1], "datetime64[D]"), [0, 1, 1], "datetime64"),
    "two columns": (np.zeros((3, 2)), np.zeros((3, 2)), r"y_true\.argmax\(axis=1\)"),
    "a column": (np.zeros(3), np.zeros((3, 1)), r"y_pred\.ravel\(\)"),
    "a column of targets": (np.zeros((3, 1)), np.zeros(3), r"y_true\.ravel\(\)"),
    "lengths": ([0, 1], [0, 1, 1], "shapes"),
    "empty": ([], [], "not empty"),
    "None": (None, [0, 1, 1], "y_true is None"),
}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(function: str, case: str) -> None:
    true, pred, pattern = BAD[case]
    where = "confusion_matrix" if function == "plotting" else function
    with refused((ValueError, TypeError), rf"\[{where}\]", pattern):
        FUNCTIONS[function](true, pred)


@pytest.mark.parametrize("kind", [list, np.array, lambda names: np.array(names, object)])
def test_a_confusion_matrix_of_names(kind: Any) -> None:
    with refused(TypeError, r"\[confusion_matrix\] y_true has dtype", "'Z'", "return_inverse=True"):
        stoop.metrics.confusion_matrix(kind(NAMES), kind(NAMES))


@pytest.mark.parametrize("n_classes", [0, -1, 2.7, "3", True, [3], 1])
def test_a_number_of_classes_that_cannot_be(n_classes: Any) -> None:
    with refused((ValueError, TypeError), r"\[confusion_matrix\]", "class"):
        stoop.metrics.confusion_matrix([0, 1], [1, 0], n_classes)


@pytest.mark.parametrize("value", [-1, 10**9, 2**63, 1e300])
def test_an_index_that_is_none(value: Any) -> None:
    with refused(ValueError, r"\[confusion_matrix\] class indices from", "number the classes"):
        stoop.metrics.confusion_matrix(np.array([0, value]), np.array([0, 1]))
