"""`stoop.many`: folds, bags and seeds."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop
from helpers import bits, refused
from stoop import many
from stoop._fit_many import fit_many
from stoop._folds import folds_of

WHERE = "many.folds"


def rings(rows: int = 600, seed: int = 0) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    X = np.random.default_rng(seed).standard_normal((rows, 2)).astype(np.float32)
    return X, np.digitize(np.hypot(X[:, 0], X[:, 1]), [0.8, 1.5])


def build(i: int) -> stoop.Trainer:
    model = stoop.Model([stoop.Dense(16, "relu"), stoop.Dense(3)], 2, seed=i)
    return stoop.Trainer(model, optimizer=stoop.optimizers.Adam(1e-2), seed=i)


def build_regression(i: int) -> stoop.Trainer:
    return stoop.Trainer(stoop.Model([stoop.Dense(16, "tanh"), stoop.Dense(1)], 2, seed=i), "mse", seed=i)


# ---- which rows are in which fold ----


def permutation(n: int, seed: int = 0) -> npt.NDArray[np.int64]:
    return np.random.default_rng(seed).permutation(n)


@pytest.mark.parametrize(("n", "k"), [(10, 2), (11, 3), (100, 7), (5, 5)])
def test_each_row_is_in_one_fold(n: int, k: int) -> None:
    found = folds_of(WHERE, k, n, permutation(n))
    assert sorted(np.concatenate(found).tolist()) == list(range(n))
    assert {len(rows) for rows in found} <= {n // k, math.ceil(n / k)}
    assert all((np.diff(rows) > 0).all() for rows in found)
    blocks = folds_of(WHERE, k, n, np.arange(n))
    assert np.concatenate(blocks).tolist() == list(range(n))


def test_classes_are_stratified() -> None:
    classes = np.repeat(["a", "b", "c"], [50, 23, 9])
    found = folds_of(WHERE, 4, 82, permutation(82), classes)
    for name, count in zip("abc", (50, 23, 9)):
        counts = [int((classes[rows] == name).sum()) for rows in found]
        assert sum(counts) == count
        assert max(counts) - min(counts) <= 1
    assert max(map(len, found)) - min(map(len, found)) <= 1
    other = folds_of(WHERE, 4, 82, permutation(82, 1), classes)
    assert any(a.tolist() != b.tolist() for a, b in zip(found, other))
    with pytest.warns(UserWarning, match="1 rows for 4 folds"):
        folds_of(WHERE, 4, 82, permutation(82), np.r_[np.zeros(81), 1])


def test_groups_stay_together() -> None:
    groups = np.random.default_rng(0).integers(20, size=200)
    found = folds_of(WHERE, 4, 200, permutation(200), None, groups)
    assert sorted(np.concatenate(found).tolist()) == list(range(200))
    names = [set(groups[rows].tolist()) for rows in found]
    assert not any(names[i] & names[j] for i in range(4) for j in range(i))
    assert max(map(len, found)) - min(map(len, found)) <= 20
    with refused(ValueError, WHERE, "3 groups for 4 folds"):
        folds_of(WHERE, 4, 200, permutation(200), None, groups % 3)


def test_folds_that_are_given() -> None:
    mask = np.zeros(6, bool)
    mask[:2] = True
    found = folds_of(WHERE, [mask, [5, 3]], 6, permutation(6))
    assert [rows.tolist() for rows in found] == [[0, 1], [5, 3]]
    for wrong, pattern in (
        ([[0, 1], [1, 2]], "before, such as 1"),
        ([[0, 0], [2]], "before, such as 0"),
        ([[0], [6]], "rows from 0 to 5"),
        ([[0], []], "rows from 0 to 5"),
    ):
        with refused(ValueError, WHERE, pattern):
            folds_of(WHERE, wrong, 6, permutation(6))
    with refused(ValueError, WHERE, "k is 7"):
        folds_of(WHERE, 7, 6, permutation(6))


# ---- folds ----


def test_predictions_are_those_of_the_model_that_did_not_see_the_row() -> None:
    X, y = rings()
    trained = many.folds(build, X, y, 4, epochs=5, batch_size=32, verbose=0)
    assert len(trained.ensemble) == len(trained.histories) == len(trained.rows) == 4
    assert not trained.failed
    assert trained.predictions is not None
    assert trained.probabilities is not None
    for i, rows in enumerate(trained.rows):
        alone = build(i)
        rest = np.setdiff1d(np.arange(len(X)), rows)
        history = alone.fit(X[rest], y[rest], 5, 32, validation_data=(X[rows], y[rows]), verbose=0)
        assert bits(trained.ensemble[i]) == bits(alone.model)
        assert trained.histories[i]["val_loss"] == history["val_loss"]
        assert trained.predictions[rows].tobytes() == alone.model.predict(X[rows]).tobytes()
        assert trained.probabilities[rows].tobytes() == alone.model.predict_proba(X[rows]).tobytes()
        assert trained.scores["loss"][i] == alone.evaluate(X[rows], y[rows])["loss"]
        assert trained.scores["accuracy"][i] == history["val_accuracy"][-1]
        shares = np.bincount(y[rows]) / np.bincount(y)
        np.testing.assert_allclose(shares, 1 / 4, atol=0.03)  # stratified
    assert trained.scores["accuracy"].mean() > 0.6
    assert repr(trained).startswith("Trained(4 trainers, loss 0.")


def test_regression_with_weights_metrics_and_callbacks() -> None:
    X = rings(200)[0]
    y = X[:, :1] * X[:, 1:]
    weight = np.random.default_rng(0).uniform(0.5, 2, 200)
    stopping = [stoop.callbacks.EarlyStopping("val_loss", patience=2) for _ in range(3)]
    trained = many.folds(
        build_regression,
        X.tolist(),
        y.tolist(),
        3,
        shuffle=False,
        epochs=8,
        sample_weight=weight.tolist(),
        metrics=["r2"],
        callbacks=lambda i: [stopping[i]],
        verbose=0,
    )
    assert [rows[0] for rows in trained.rows] == [0, 67, 134]
    assert trained.probabilities is None
    assert trained.predictions is not None
    assert np.isfinite(trained.predictions).all()
    assert list(trained.scores) == ["loss", "r2"]
    for i, rows in enumerate(trained.rows):
        expected = stoop.Trainer(trained.ensemble[i], "mse").evaluate(X[rows], y[rows], weight[rows])["loss"]
        assert trained.scores["loss"][i] == pytest.approx(expected)
    assert all(callback.best_epoch is not None for callback in stopping)


def test_names_of_classes_and_rows_that_no_fold_has() -> None:
    X, y = rings(90)
    names = np.array(["in", "mid", "out"])[y]
    trained = many.folds(build, X, names, [np.arange(30), np.arange(30, 60)], epochs=1, verbose=0)
    assert trained.ensemble.classes is not None
    assert trained.ensemble.classes.tolist() == ["in", "mid", "out"]
    assert trained.predictions is not None
    assert np.isnan(trained.predictions[60:]).all()
    assert np.isfinite(trained.predictions[:60]).all()


def test_data_frames() -> None:
    pandas = pytest.importorskip("pandas")
    X, y = rings(60)
    frame = pandas.DataFrame(X, index=np.arange(60) + 1000)
    labels = pandas.Series(np.array(["in", "mid", "out"])[y], index=frame.index)
    trained = many.folds(build, frame, labels, 3, epochs=1, verbose=0)
    plain = many.folds(build, X, labels.to_numpy(), 3, epochs=1, verbose=0)
    assert [bits(a) for a in trained.ensemble] == [bits(b) for b in plain.ensemble]
    assert trained.scores["accuracy"].tolist() == plain.scores["accuracy"].tolist()


class Failing(stoop.callbacks.Callback):
    def on_epoch_end(self, trainer: Any, logs: Any) -> None:
        raise LookupError("no luck")


def test_a_fold_that_fails_says_so() -> None:
    X, y = rings(90)
    with pytest.warns(UserWarning, match=r"1 of 3 trainers failed, first number 1 with LookupError\('no luck'\)"):
        trained = many.folds(build, X, y, 3, epochs=1, verbose=0, callbacks=lambda i: [Failing()] if i == 1 else [])
    assert list(trained.failed) == [1]
    assert trained.histories[1].error is trained.failed[1]
    assert len(trained.ensemble) == 2
    assert np.isnan(trained.scores["loss"]).tolist() == [False, True, False]
    assert trained.predictions is not None
    assert np.isnan(trained.predictions[trained.rows[1]]).all()
    assert "1 failed" in repr(trained)
    assert len(pickle.dumps(trained)) < 30_000
    with pytest.raises(LookupError, match="no luck"):
        many.folds(build, X, y, 3, epochs=1, verbose=0, callbacks=lambda i: [Failing()])


def test_results_are_small_and_picklable() -> None:
    X, y = rings(20_000)
    trained = many.folds(build, X, y, 3, epochs=1, verbose=0)
    copied = pickle.loads(pickle.dumps(trained))
    assert bits(copied.ensemble[2]) == bits(trained.ensemble[2])
    assert copied.histories[0]["loss"] == trained.histories[0]["loss"]
    values = [trained.predictions, trained.probabilities, *trained.rows]
    own = sum(value.nbytes for value in values if value is not None)
    assert len(pickle.dumps(trained)) < own + 30_000


def test_arguments_that_cannot_be_used() -> None:
    X, y = rings(30)
    with refused(TypeError, "many.folds", "validation_data is given"):
        many.folds(build, X, y, validation_data=(X, y))
    with refused(TypeError, "many.bag", "rows is given"):
        many.bag(build, X, y, rows=None)
    with refused(TypeError, "many.seeds", "build is"):
        many.seeds(build(0), X, y)  # type: ignore[arg-type]
    with refused(TypeError, "many.folds", r"build\(0\) returned"):
        many.folds(lambda i: build(i).model, X, y)  # type: ignore[arg-type, return-value]
    with refused(ValueError, "many.folds", "k is 0"):
        many.folds(build, X, y, 0)
    with refused(ValueError, "groups has shape"):
        many.folds(build, X, y, 3, groups=[1, 2])


def test_the_division_that_cannot_be_made() -> None:
    X, y = rings(30)
    built: list[int] = []

    def build_one(i: int) -> stoop.Trainer:
        built.append(i)
        return build(i)

    test = np.arange(10)
    for k, error, pattern in (
        (2.0, TypeError, r"k is 2\.0; expected at least 2; give k as an int"),
        ("5", TypeError, "k is '5'"),
        (None, TypeError, "k is None"),
        (np.array(2.0), TypeError, r"k is .*2\.0"),
        (np.array(1), ValueError, "k is 1;"),
        ([test], ValueError, "k has 1 folds"),
        (iter([]), ValueError, "k has 0 folds"),
    ):
        with refused(error, "many.folds", pattern):
            many.folds(build_one, X, y, k)
    given = [test, np.arange(10, 20)]
    for options, pattern in (
        ({"k": given, "groups": y}, "groups.*rows of the folds.*leave"),
        ({"k": given, "stratify": True}, "stratify.*rows of the folds.*leave"),
        ({"stratify": True, "groups": y}, "stratify=True.*groups"),
    ):
        with refused(ValueError, "many.folds", pattern):
            many.folds(build_one, X, y, **options)  # type: ignore[arg-type]
    assert not built


def test_folds_may_come_from_a_generator() -> None:
    X, y = rings(30)
    trained = many.folds(build, X, y, (np.arange(i, 30, 3) for i in range(3)), epochs=1, verbose=0)  # type: ignore[arg-type]
    assert [rows.tolist() for rows in trained.rows] == [list(range(i, 30, 3)) for i in range(3)]
    trained = many.folds(build, X, y, np.array(2), stratify=False, groups=y, epochs=1, verbose=0)  # type: ignore[arg-type]
    assert len(trained.rows) == 2


# ---- bags and seeds ----


def test_bags() -> None:
    X, y = rings(400)
    trained = many.bag(build, X, y, 12, epochs=5, batch_size=32, verbose=0)
    assert len(trained.ensemble) == 12
    left_out = [len(rows) / 400 for rows in trained.rows]
    assert 0.3 < min(left_out) < 1 / math.e < max(left_out) < 0.45
    assert trained.predictions is not None
    of_row: list[list[npt.NDArray[Any]]] = [[] for _ in range(400)]
    for model, rows in zip(trained.ensemble, trained.rows):
        for row, proba in zip(rows, model.predict_proba(X[rows])):
            of_row[row].append(proba)
    for row, said in enumerate(of_row):  # some rows may be in every bag
        expected = np.mean(said, axis=0) if said else np.full(3, np.nan)
        np.testing.assert_allclose(trained.predictions[row], expected, rtol=1e-5)
    draws = np.random.default_rng(0).spawn(12)
    alone = build(3)
    rows = draws[3].integers(400, size=400)
    alone.fit(X[rows], y[rows], 5, 32, verbose=0)
    assert bits(alone.model) == bits(trained.ensemble[3])
    assert np.mean(np.nan_to_num(trained.predictions).argmax(axis=1) == y) > 0.6
    values = many.bag(build_regression, X, X[:, 0], 2, epochs=1, verbose=0, seed=5)
    assert values.probabilities is None
    assert values.predictions is not None
    both = np.intersect1d(*values.rows)
    np.testing.assert_allclose(values.predictions[both], values.ensemble.predict_mean(X[both]), rtol=1e-5, atol=1e-7)


def test_seeds() -> None:
    X, y = rings(300)
    trained = many.seeds(build, X[:200], y[:200], 3, epochs=3, verbose=0, validation_data=(X[200:], y[200:]))
    expected = [build(i) for i in range(3)]
    fit_many(expected, X[:200], y[:200], epochs=3, verbose=0)
    assert [bits(model) for model in trained.ensemble] == [bits(trainer.model) for trainer in expected]
    assert trained.predictions is None
    assert trained.rows == []
    assert trained.scores["loss"][2] == expected[2].evaluate(X[200:], y[200:])["loss"]
    assert not many.seeds(build, X, y, 2, epochs=1, verbose=0).scores


# ---- what is cut short, and what cannot be told ----

FOREVER = 10**9


@pytest.mark.parametrize("output", [None, "softmax"])
@pytest.mark.parametrize("kind", ["folds", "bag", "seeds"])
def test_trainers_that_never_began_are_left_out(kind: str, output: str | None) -> None:
    X, y = rings(90)
    built: list[stoop.Trainer] = []

    def build_one(i: int) -> stoop.Trainer:
        built.append(build(i))
        built[-1].model.output = output
        return built[-1]

    options: dict[str, Any] = {"validation_data": (X, y)} if kind == "seeds" else {}
    with pytest.warns(UserWarning, match=r"2 of 3 trainers failed.* did not begin within max_time=0.3"):
        trained = getattr(many, kind)(
            build_one, X, y, 3, epochs=FOREVER, max_time=0.3, num_threads=1, verbose=0, **options
        )
    begun = [trainer.steps > 0 for trainer in built]
    assert sum(begun) == 1
    assert [i not in trained.failed for i in range(3)] == begun
    assert {type(error) for error in trained.failed.values()} == {TimeoutError}
    assert list(trained.ensemble) == [built[begun.index(True)].model]
    assert np.isfinite(trained.scores["loss"]).tolist() == begun
    assert [bool(history.epochs) for history in trained.histories] == begun


@pytest.mark.parametrize("kind", ["folds", "bag", "seeds"])
def test_no_time_for_any_trainer(kind: str) -> None:
    X, y = rings(90)
    with pytest.raises(TimeoutError, match=rf"\[many.{kind}\] trainer 0 did not begin within max_time=0; .*raise"):
        getattr(many, kind)(build, X, y, 3, max_time=0, verbose=0)


def test_scores_that_cannot_be_told() -> None:
    X, y = rings(90)
    drawn = np.random.default_rng(0).spawn(3)[1].integers(90, size=90)
    weight = np.zeros(90)
    weight[drawn] = 1  # nothing is left out that has a weight
    with pytest.warns(UserWarning, match=r"trainer 1 has NaN as scores.*all sample weights are 0"):
        trained = many.bag(build, X, y, 3, epochs=1, sample_weight=weight, verbose=0)
    assert not trained.failed
    assert len(trained.ensemble) == 3
    for values in trained.scores.values():
        assert np.isnan(values).tolist() == [False, True, False]
    weight = np.zeros(90)
    weight[np.random.default_rng(0).spawn(1)[0].integers(90, size=90)] = 1
    with pytest.warns(UserWarning, match="trainer 0 has NaN as scores"):
        none = many.bag(build, X, y, 1, epochs=1, sample_weight=weight, verbose=0)
    assert np.isnan(none.scores["loss"]).all()
    assert repr(none) == "Trained(1 trainers, loss nan)"


def test_models_of_different_kinds_are_refused_before_they_are_trained() -> None:
    X, y = rings(90)
    built: list[stoop.Trainer] = []

    def build_one(i: int) -> stoop.Trainer:
        model = stoop.Model([stoop.Dense(3)], 2, dtype="float64" if i else "float32")
        built.append(stoop.Trainer(model))
        return built[-1]

    with refused(ValueError, "many.seeds", "float64"):
        many.seeds(build_one, X, y, 2, epochs=1, verbose=0)
    assert not any(trainer.steps for trainer in built)
