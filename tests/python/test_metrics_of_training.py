"""The metrics of `evaluate` and the public ones against scikit-learn, on random and on degenerate data."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk

import stoop
from helpers import refused
from stoop.metrics import TopK, is_larger_better, resolve

TOLERANCE = 1e-12
SOFTMAX, SIGMOID, VALUES = "softmax_cross_entropy", "binary_cross_entropy", "mse"
OF_CLASSES = ("accuracy", "auc", "average_precision", "log_loss", "precision", "recall", "f1")
OF_VALUES = ("mse", "rmse", "mae", "r2")
LOSSES = {
    SOFTMAX: stoop.losses.SoftmaxCrossEntropy(),
    SIGMOID: stoop.losses.BinaryCrossEntropy(),
    VALUES: stoop.losses.MeanSquaredError(),
}


@pytest.fixture(autouse=True)
def _undefined_is_no_warning() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sk_warning())
        warnings.simplefilter("ignore", RuntimeWarning)
        warnings.filterwarnings("ignore", message="No positive class found")
        yield


def sk_warning() -> type[Warning]:
    from sklearn.exceptions import UndefinedMetricWarning

    return UndefinedMetricWarning


def softmax(z: Any) -> Any:
    rows = np.exp(z - z.max(axis=1, keepdims=True))
    return rows / rows.sum(axis=1, keepdims=True)


def both(z: Any) -> Any:
    """Probabilities of the labels 0 and 1, (n, 2)."""
    return np.exp(-np.logaddexp(0, np.column_stack((z, -z))))


def peer_of_classes(name: str, true: Any, outputs: Any, weight: Any) -> float:
    """What scikit-learn says of class indices and logits."""
    k = outputs.shape[1]
    indicator = (true[:, None] == np.arange(k)).astype(int)
    pred, prob = outputs.argmax(axis=1), softmax(outputs)
    average = "binary" if k == 2 else "macro"
    ranked = (true, outputs[:, 1] - outputs[:, 0]) if k == 2 else (indicator, prob)
    calls: dict[str, Callable[[], Any]] = {
        "accuracy": lambda: sk.accuracy_score(true, pred),
        "auc": lambda: sk.roc_auc_score(*ranked, sample_weight=weight),
        "average_precision": lambda: sk.average_precision_score(*ranked, sample_weight=weight),
        "log_loss": lambda: sk.log_loss(true, prob, labels=range(k), sample_weight=weight),
        "precision": lambda: sk.precision_score(true, pred, average=average, sample_weight=weight),
        "recall": lambda: sk.recall_score(true, pred, average=average, sample_weight=weight),
        "f1": lambda: sk.f1_score(true, pred, average=average, sample_weight=weight),
    }
    return float(calls[name]())


def peer_of_labels(name: str, true: Any, outputs: Any, weight: Any) -> float:
    """What scikit-learn says of labels by column and logits."""
    pred, columns, logits = (outputs > 0).astype(int), true.T, outputs.T
    average = "macro" if outputs.shape[1] > 1 else "binary"
    if outputs.shape[1] == 1:
        true, pred, outputs = true[:, 0], pred[:, 0], outputs[:, 0]
    calls: dict[str, Callable[[], Any]] = {
        "accuracy": lambda: np.mean(true == pred),
        "auc": lambda: sk.roc_auc_score(true, outputs, sample_weight=weight),
        "average_precision": lambda: sk.average_precision_score(true, outputs, sample_weight=weight),
        "log_loss": lambda: np.mean(
            [
                sk.log_loss(column, both(z), labels=[0, 1], sample_weight=weight)
                for column, z in zip(columns, logits, strict=True)
            ]
        ),
        "precision": lambda: sk.precision_score(true, pred, average=average, sample_weight=weight),
        "recall": lambda: sk.recall_score(true, pred, average=average, sample_weight=weight),
        "f1": lambda: sk.f1_score(true, pred, average=average, sample_weight=weight),
    }
    return float(calls[name]())


PEERS_OF_VALUES = {
    "mse": sk.mean_squared_error,
    "rmse": sk.root_mean_squared_error,
    "mae": sk.mean_absolute_error,
    "r2": sk.r2_score,
}


def same(actual: float, expected: float) -> None:
    np.testing.assert_allclose(actual, expected, rtol=TOLERANCE, atol=TOLERANCE)


CASES = ("random", "ties", "one class", "a class is missing", "all right", "extreme", "one sample", "float32")
WEIGHTS = ("none", "random", "zeros")


def weights_of(kind: str, n: int, rng: np.random.Generator) -> Any:
    if kind == "none":
        return None
    weight = rng.uniform(0.5, 2.0, n)
    if kind == "zeros" and n > 3:
        weight[rng.integers(n, size=n // 3)] = 0.0
        weight[0] = 1.0
    return weight


def outputs_of(case: str, n: int, columns: int, rng: np.random.Generator) -> Any:
    outputs = rng.standard_normal((n, columns))
    if case == "ties":
        outputs = np.round(outputs)
    if case == "extreme":
        outputs *= 300
    return outputs.astype(np.float32) if case == "float32" else outputs


@pytest.mark.parametrize("weighting", WEIGHTS)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize("name", OF_CLASSES)
def test_of_softmax_outputs(name: str, classes: int, case: str, weighting: str, rng: np.random.Generator) -> None:
    n = 1 if case == "one sample" else 67
    outputs = outputs_of(case, n, classes, rng)
    true = rng.integers(classes, size=n)
    if case == "one class":
        true[:] = 1
    elif case == "a class is missing":
        true[true == 0] = 1
    elif case == "all right":
        true = outputs.argmax(axis=1)
    weight = weights_of(weighting, n, rng)
    [metric] = resolve(name, LOSSES[SOFTMAX], classes)
    for dtype in (np.int32, np.int64):
        same(metric(true.astype(dtype), outputs, weight), peer_of_classes(name, true, outputs.astype(float), weight))
    rows = np.eye(classes)[true]
    same(metric(rows, outputs, weight), metric(true, outputs, weight))


@pytest.mark.parametrize("weighting", WEIGHTS)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("columns", [1, 2, 5])
@pytest.mark.parametrize("name", OF_CLASSES)
def test_of_sigmoid_outputs(name: str, columns: int, case: str, weighting: str, rng: np.random.Generator) -> None:
    n = 2 if case == "one sample" else 67  # of one row scikit-learn takes two columns for classes
    outputs = outputs_of(case, n, columns, rng)
    true = rng.integers(2, size=(n, columns))
    if case == "one class":
        true[:] = 1
    elif case == "a class is missing":
        true[:, 0] = 0
    elif case == "all right":
        true = (outputs > 0).astype(int)
    weight = weights_of(weighting, n, rng)
    [metric] = resolve(name, LOSSES[SIGMOID], columns)
    expected = peer_of_labels(name, true, outputs.astype(float), weight)
    if name == "auc" and case in ("one class", "a class is missing"):
        assert np.isnan(expected)
    same(metric(true.astype(outputs.dtype), outputs, weight), expected)


@pytest.mark.parametrize("weighting", WEIGHTS)
@pytest.mark.parametrize("case", ["random", "constant", "constant and met", "one sample", "far"])
@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("name", OF_VALUES)
def test_of_values(name: str, columns: int, case: str, weighting: str, rng: np.random.Generator) -> None:
    n = 1 if case == "one sample" else 53
    true, pred = rng.standard_normal((2, n, columns)) + (1e3 if case == "far" else 0.0)
    if case.startswith("constant"):
        true[:, 0] = 0.0
    if case == "constant and met":
        pred[:, 0] = 0.0
    weight = weights_of(weighting, n, rng)
    [metric] = resolve(name, LOSSES[VALUES], columns)
    expected = PEERS_OF_VALUES[name](true, pred, sample_weight=weight)
    for value in (metric(true, pred, weight), getattr(stoop.metrics, name)(true, pred, weight)):
        same(value, expected)
    if columns == 1:
        same(getattr(stoop.metrics, name)(true[:, 0], pred, weight), expected)


def test_r2_of_a_constant_whose_weighted_mean_is_rounded(rng: np.random.Generator) -> None:
    weight = rng.random(100)
    assert np.average(np.full(100, 0.1), weights=weight) != 0.1
    assert stoop.metrics.r2(np.full(100, 0.1), np.zeros(100), weight) == 0.0
    assert stoop.metrics.r2(np.full(100, 0.1), np.full(100, 0.1), weight) == 1.0


@pytest.mark.parametrize("weighting", WEIGHTS)
@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("case", CASES)
def test_top_k(case: str, k: int, weighting: str, rng: np.random.Generator) -> None:
    outputs = outputs_of(case, 67, 5, rng)
    true = rng.integers(5, size=67)
    weight = weights_of(weighting, 67, rng)
    expected = sk.top_k_accuracy_score(true, outputs, k=k, labels=range(5), sample_weight=weight)
    [metric] = resolve(TopK(k), LOSSES[SOFTMAX], 5)
    assert metric.name == f"top_{k}_accuracy"
    same(metric(true, outputs, weight), expected)
    same(TopK(k)(true, outputs, weight), expected)
    same(stoop.metrics.top_k_accuracy(true, outputs, weight, k=k), expected)


# ---- the public functions ----


@pytest.mark.parametrize("weighting", WEIGHTS)
@pytest.mark.parametrize("kind", ["int", "bool", "float", "names", "signs"])
def test_public_functions_of_two_classes(kind: str, weighting: str, rng: np.random.Generator) -> None:
    n = 80
    true, pred, prob = rng.integers(2, size=n), rng.integers(2, size=n), np.round(rng.random(n), 1)
    weight = weights_of(weighting, n, rng)
    names = {"int": [0, 1], "bool": [False, True], "float": [0.0, 1.0], "names": ["a", "b"], "signs": [-1, 1]}[kind]
    y, z = np.array(names)[true], np.array(names)[pred]
    same(stoop.metrics.auc(y, prob, weight), sk.roc_auc_score(y, prob, sample_weight=weight))
    same(stoop.metrics.average_precision(y, prob, weight), sk.average_precision_score(true, prob, sample_weight=weight))
    same(stoop.metrics.log_loss(y, prob, weight), sk.log_loss(y, prob, sample_weight=weight))
    same(stoop.metrics.accuracy(y, z, weight), sk.accuracy_score(y, z, sample_weight=weight))
    two_columns = np.column_stack((1 - prob, prob))
    same(stoop.metrics.auc(y, two_columns, weight), stoop.metrics.auc(y, prob, weight))
    same(stoop.metrics.log_loss(y, two_columns, weight), stoop.metrics.log_loss(y, prob, weight))
    for name in ("precision", "recall", "f1"):
        peer = getattr(sk, f"{name}_score")
        binary = "macro" if kind == "names" else "binary"
        ours = getattr(stoop.metrics, name)
        same(ours(y, z, weight), peer(y, z, sample_weight=weight, average=binary))
        same(ours(y, z, weight, average="macro"), peer(y, z, sample_weight=weight, average="macro"))


@pytest.mark.parametrize("weighting", WEIGHTS)
@pytest.mark.parametrize("kind", ["indices", "names", "from 5"])
def test_public_functions_of_several_classes(kind: str, weighting: str, rng: np.random.Generator) -> None:
    n, k = 90, 4
    true, pred = np.append(np.arange(k), rng.integers(k, size=n - k)), rng.integers(k, size=n)
    weight = weights_of(weighting, n, rng)
    names = {"indices": np.arange(k), "names": np.array(["p", "q", "r", "s"]), "from 5": np.arange(5, 5 + k)}[kind]
    y, z, prob = names[true], names[pred], softmax(rng.standard_normal((n, k)))
    same(stoop.metrics.auc(y, prob, weight), sk.roc_auc_score(y, prob, multi_class="ovr", sample_weight=weight))
    same(stoop.metrics.average_precision(y, prob, weight), sk.average_precision_score(y, prob, sample_weight=weight))
    same(stoop.metrics.log_loss(y, prob, weight), sk.log_loss(y, prob, sample_weight=weight))
    for name in ("precision", "recall", "f1"):
        expected = getattr(sk, f"{name}_score")(y, z, sample_weight=weight, average="macro")
        same(getattr(stoop.metrics, name)(y, z, weight), expected)


def test_public_functions_of_columns(rng: np.random.Generator) -> None:
    true, pred = rng.integers(2, size=(2, 40, 3))
    scores, weight = rng.standard_normal((40, 3)), rng.random(40)
    same(stoop.metrics.auc(true, scores, weight), sk.roc_auc_score(true, scores, sample_weight=weight))
    same(
        stoop.metrics.average_precision(true, scores, weight),
        sk.average_precision_score(true, scores, sample_weight=weight),
    )
    for name in ("precision", "recall", "f1"):
        expected = getattr(sk, f"{name}_score")(true, pred, sample_weight=weight, average="macro")
        same(getattr(stoop.metrics, name)(true, pred, weight), expected)
    rows = softmax(scores)
    same(stoop.metrics.log_loss(rows, rows), float(-(rows * np.log(rows)).sum(axis=1).mean()))


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "logits for probabilities": (lambda: stoop.metrics.auc([0, 1], [[3.0, 1.0], [1.0, 2.0]]), "predict_proba"),
    "no probabilities": (lambda: stoop.metrics.log_loss([0, 1], [1.5, 0.2]), "predict_proba"),
    "NaN": (lambda: stoop.metrics.auc([0, 1], [np.nan, 0.2]), "nan in row 0"),
    "three classes, one score": (lambda: stoop.metrics.auc([0, 1, 2], [0.1, 0.2, 0.3]), "a column of scores"),
    "too few classes": (lambda: stoop.metrics.auc([5, 6, 5], np.full((3, 4), 0.25)), "4 columns"),
    "lengths": (lambda: stoop.metrics.auc([0, 1, 1], [0.1, 0.2]), "as many rows"),
    "columns": (lambda: stoop.metrics.auc(np.zeros((3, 2)), np.zeros((3, 3))), "columns"),
    "shapes": (lambda: stoop.metrics.mse([1.0, 2.0], [[1.0, 2.0]]), "equal shapes"),
    "fractions": (lambda: stoop.metrics.precision([0, 1], [0.2, 0.9]), "into classes first"),
    "names and numbers": (lambda: stoop.metrics.f1(["a", "b"], [0, 1]), "one kind"),
    "binary of three": (lambda: stoop.metrics.recall([0, 1, 2], [0, 1, 1], average="binary"), "macro"),
    "an average": (lambda: stoop.metrics.recall([0, 1], [0, 1], average="makro"), "macro"),
    "weights of other length": (lambda: stoop.metrics.mse([1.0], [2.0], [1.0, 2.0]), "sample_weight"),
    "negative weights": (lambda: stoop.metrics.auc([0, 1], [0.1, 0.2], [1.0, -1.0]), "row 1"),
    "no weight": (lambda: stoop.metrics.accuracy([0, 1], [0, 1], [0.0, 0.0]), "0 everywhere"),
    "empty": (lambda: stoop.metrics.r2([], []), "not empty"),
    "k": (lambda: TopK(0), "TopK"),
    "a k that is none": (lambda: TopK("3"), "TopK"),  # type: ignore[arg-type]
    "one column": (lambda: stoop.metrics.top_k_accuracy([0, 1], [0.1, 0.9]), "accuracy"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(case: str) -> None:
    call, pattern = BAD[case]
    with refused((ValueError, TypeError), pattern):
        call()


# ---- evaluate ----


def trainer_of(loss: Any, outputs: int, dtype: str = "float64") -> Any:
    model = stoop.Model([stoop.Dense(8, activation="tanh"), stoop.Dense(outputs)], input_dim=3, dtype=dtype)
    return stoop.Trainer(model, loss)


def test_evaluate_of_classes(rng: np.random.Generator) -> None:
    X, y, weight = rng.standard_normal((60, 3)), rng.integers(3, size=60), rng.random(60)
    trainer = trainer_of(SOFTMAX, 3)
    found = trainer.evaluate(X, y, weight, metrics=[*OF_CLASSES, TopK(2)])
    assert list(found) == ["loss", *OF_CLASSES, "top_2_accuracy"]
    outputs = trainer.model.predict(X)
    for name in OF_CLASSES:
        same(found[name], peer_of_classes(name, y, outputs, weight))
    assert trainer.evaluate(X, y).keys() == {"loss", "accuracy"}
    assert trainer.evaluate(X, y, metrics=()).keys() == {"loss"}
    assert found["loss"] == trainer.evaluate(X, y, weight)["loss"]
    same(found["log_loss"], found["loss"])


def test_evaluate_of_names(rng: np.random.Generator) -> None:
    X, y = rng.standard_normal((60, 3)), rng.integers(2, size=60)
    for loss, outputs in ((SOFTMAX, 2), (SIGMOID, 1), ("focal", 1), ("hinge", 1)):
        trainer = trainer_of(loss, outputs)
        names = np.array(["no", "yes"])[y]
        trainer.fit(X, names, epochs=1, verbose=0)
        found = trainer.evaluate(X, names, metrics=("auc", "f1"))
        logits = trainer.model.predict(X)
        same(found["auc"], sk.roc_auc_score(y, logits[:, -1] - (logits[:, 0] if outputs == 2 else 0.0)))
        same(found["f1"], sk.f1_score(names, trainer.model.predict_labels(X), pos_label="yes"))


def test_evaluate_of_values(rng: np.random.Generator) -> None:
    X, y = rng.standard_normal((60, 3)), rng.standard_normal((60, 2))
    trainer = trainer_of(VALUES, 2)
    found = trainer.evaluate(X, y, metrics=("accuracy", *OF_VALUES))
    assert list(found) == ["loss", *OF_VALUES]
    for name in OF_VALUES:
        same(found[name], PEERS_OF_VALUES[name](y, trainer.model.predict(X)))


def test_predictions_are_not_always_outputs(rng: np.random.Generator) -> None:
    X, counts = rng.standard_normal((50, 3)), rng.integers(9, size=50).astype(float)
    poisson = trainer_of("poisson", 1)
    rates = np.exp(poisson.model.predict(X))[:, 0]
    same(poisson.evaluate(X, counts, metrics="mae")["mae"], sk.mean_absolute_error(counts, rates))
    gaussian = trainer_of("gaussian_nll", 4)
    y = rng.standard_normal((50, 2))
    same(gaussian.evaluate(X, y, metrics="r2")["r2"], sk.r2_score(y, gaussian.model.predict(X)[:, :2]))


def worst(y_true: Any, outputs: Any) -> float:
    return float(np.abs(y_true - outputs).max())


def test_functions_of_the_user(rng: np.random.Generator) -> None:
    X, y = rng.standard_normal((60, 3)), rng.standard_normal(60)
    trainer = trainer_of(VALUES, 1)
    found = trainer.evaluate(X, y, metrics=[worst, "mae", stoop.metrics.rmse])
    assert list(found) == ["loss", "worst", "mae", "rmse"]
    assert found["worst"] == np.abs(y[:, None] - trainer.model.predict(X)).max()
    same(found["rmse"], sk.root_mean_squared_error(y, trainer.model.predict(X)))
    assert trainer.evaluate(X, y, metrics=worst).keys() == {"loss", "worst"}

    def broken(y_true: Any, outputs: Any) -> Any:
        return None

    with refused(TypeError, r"\[metric broken\]", "NoneType"):
        trainer.evaluate(X, y, metrics=[broken])


def named(name: str) -> Callable[[Any, Any], float]:
    def function(y_true: Any, outputs: Any) -> float:
        return 0.0

    function.__name__ = name
    return function


WRONG: dict[str, tuple[Any, str, int, str]] = {
    "misspelt": (["acuracy"], SOFTMAX, 3, "accuracy"),
    "unknown": ("mape", VALUES, 1, "rmse"),
    "values of classes": ("mse", SOFTMAX, 3, "softmax_cross_entropy.*accuracy"),
    "classes of values": ("auc", VALUES, 1, "metric of values: mse"),
    "twice": (["auc", "auc"], SIGMOID, 1, "two metrics are named auc"),
    "twice, a function": (["auc", stoop.metrics.auc], SIGMOID, 1, "two metrics"),
    "taken": ([named("loss")], SIGMOID, 1, "rename"),
    "without a name": ([partial(worst)], VALUES, 1, "__name__"),
    "number": ([3], SIGMOID, 1, "metrics holds 3"),
    "no list": (3, SIGMOID, 1, "metrics is 3"),
    "k too large": ("top_k_accuracy", SOFTMAX, 5, r"TopK\(4\)"),
    "k of labels": (TopK(1), SIGMOID, 3, "softmax_cross_entropy"),
}


@pytest.mark.parametrize("case", WRONG)
def test_metrics_that_cannot_be(case: str) -> None:
    metrics, loss, outputs, pattern = WRONG[case]
    with refused((ValueError, TypeError), r"\[Trainer.fit\]", pattern):
        resolve(metrics, LOSSES[loss], outputs)


def test_hinge_fits_no_probabilities() -> None:
    with refused(ValueError, "hinge", "probabilities"):
        resolve("log_loss", stoop.losses.Hinge(), 1)


def test_refused_before_anything_is_read() -> None:
    with refused(ValueError, r"\[Trainer.evaluate\]", "metric"):
        trainer_of(SOFTMAX, 3).evaluate(None, None, metrics="mse")


def test_what_is_better() -> None:
    for name in ("loss", "val_loss", "val_mse", "rmse", "val_mae", "log_loss"):
        assert not is_larger_better(name)
    for name in ("accuracy", "val_accuracy", "val_auc", "f1", "val_top_k_accuracy", "val_top_3_accuracy", "r2"):
        assert is_larger_better(name)
    with refused(ValueError, r"\[mode\]", 'mode="min"'):
        is_larger_better("val_worst")


def test_weights_by_column_leave_out_what_is_absent(rng: np.random.Generator) -> None:
    true, pred = rng.standard_normal((2, 30, 2))
    weight = np.ones((30, 2))
    weight[:10, 0] = 0.0
    holes = np.where(weight == 0, np.nan, true)
    for name in OF_VALUES:
        [metric] = resolve(name, LOSSES[VALUES], 2)
        peer = PEERS_OF_VALUES[name]
        same(metric(holes, pred, weight), np.mean([peer(true[10:, 0], pred[10:, 0]), peer(true[:, 1], pred[:, 1])]))


def test_outputs_that_are_not_finite() -> None:
    for name in OF_CLASSES:
        [metric] = resolve(name, LOSSES[SOFTMAX], 3)
        assert np.isnan(metric(np.array([0, 1, 2]), np.full((3, 3), np.nan), None))
