"""Class labels of any kind: what they train, their errors, weights by name."""

from __future__ import annotations

import enum
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop
from helpers import bits, refused

FEATURES, SAMPLES = 4, 60

NAMES: dict[str, Any] = {
    "strings": np.array(["bird", "cat", "dog"]),
    "objects": np.array(["bird", "cat", "dog"], object),
    "integers": np.array([3, 7, 100]),
    "negative integers": np.array([-1, 0, 1], "int8"),
    "from 1": np.array([1, 2, 3], "int32"),
    "large integers": np.array([0, 2**40, 2**64 - 1], "uint64"),
    "not ASCII": np.array(["Zürich", "naïve", "日本"]),
}


class Animal(str, enum.Enum):
    CAT = "a cat"
    DOG = "a dog"


def make_data(n_classes: int = 3) -> tuple[npt.NDArray, npt.NDArray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((SAMPLES, FEATURES)).astype("float32")
    return X, np.arange(SAMPLES) % n_classes


def make_trainer(outputs: int = 3, loss: str = "softmax_cross_entropy", **options: Any) -> Any:
    model = stoop.Model([stoop.Dense(8, activation="tanh"), stoop.Dense(outputs)], input_dim=FEATURES, **options)
    return stoop.Trainer(model, loss=loss)


@pytest.mark.parametrize("kind", NAMES)
def test_labels_train_like_the_indices_of_their_names(kind: str, tmp_path: Path) -> None:
    X, indices = make_data()
    names = NAMES[kind]
    y = names[indices]
    plain, named = make_trainer(), make_trainer()
    plain.fit(X, indices, epochs=3, batch_size=16, validation_data=(X[:20], indices[:20]), verbose=0)
    named.fit(X, y, epochs=3, batch_size=16, validation_data=(X[:20], y[:20]), verbose=0)
    assert bits(plain.model) == bits(named.model)
    assert plain.history["val_accuracy"] == named.history["val_accuracy"]
    assert plain.evaluate(X, indices) == named.evaluate(X, y)
    assert plain.step(X, indices) == named.step(X, y)
    assert plain.loss_and_grad(X, indices)[0] == named.loss_and_grad(X, y)[0]
    assert plain.model.classes is None
    order = np.sort(names) if kind == "not ASCII" else names
    np.testing.assert_array_equal(named.model.classes, order)
    named.model.save(tmp_path / "m.safetensors")
    for model in (named.model, stoop.load_model(tmp_path / "m.safetensors"), named.model.copy()):
        labels = model.predict_labels(X)
        assert labels.dtype == names.dtype
        np.testing.assert_array_equal(labels, order[model.predict_classes(X)])
    np.testing.assert_array_equal(plain.model.predict_labels(X), plain.model.predict_classes(X))


def test_two_classes_of_one_output() -> None:
    X, indices = make_data(2)
    plain = make_trainer(1, "binary_cross_entropy")
    plain.fit(X, indices, epochs=2, verbose=0, class_weight={1: 3.0})
    for names in (["no", "yes"], [-1, 1], [False, True], [-1.0, 1.0], [1, 2]):
        named = make_trainer(1, "binary_cross_entropy")
        y = np.array(names)[indices]
        named.fit(X, y, epochs=2, verbose=0, class_weight={names[1]: 3.0})
        assert bits(plain.model) == bits(named.model), names
        assert named.evaluate(X, y[:, None]) == plain.evaluate(X, indices)
        assert named.model.classes.tolist() == names
        assert named.model.predict_labels(X).dtype == y.dtype
        np.testing.assert_array_equal(named.model.predict_labels(X), np.array(names)[plain.model.predict_classes(X)])


def test_labels_minus_one_and_one_as_a_column_of_floats() -> None:
    X, indices = make_data(2)
    y = (2 * indices - 1).astype("float32")[:, None]
    trainer = make_trainer(1, "binary_cross_entropy")
    trainer.fit(X, y, epochs=1, verbose=0)
    assert trainer.model.classes.tolist() == [-1.0, 1.0]


def test_booleans_of_two_outputs() -> None:
    X, indices = make_data(2)
    trainer = make_trainer(2)
    trainer.fit(X, indices.astype(bool), epochs=1, verbose=0)
    assert trainer.model.classes.dtype == bool
    assert trainer.model.predict_labels(X).dtype == bool
    assert trainer.evaluate(X, indices) == trainer.evaluate(X, indices == 1)


def test_lists_and_a_validation_split() -> None:
    X, indices = make_data()
    trainer = make_trainer()
    trainer.fit(X, [["a", "b", "c"][i] for i in indices], epochs=1, validation_split=0.2, verbose=0)
    assert trainer.model.classes.tolist() == ["a", "b", "c"]
    assert len(trainer.history["val_accuracy"]) == 1


def test_columns_of_data_frames() -> None:
    pandas = pytest.importorskip("pandas")
    X, indices = make_data()
    names = np.array(["low", "middle", "high"])
    for column in (pandas.Series(names[indices]), pandas.Series(names[indices]).astype("string")):
        trainer = make_trainer()
        trainer.fit(X, column, epochs=1, verbose=0)
        assert trainer.model.classes.tolist() == ["high", "low", "middle"]
    ordered = pandas.Series(pandas.Categorical(names[indices], categories=list(names), ordered=True))
    trainer = make_trainer()
    trainer.fit(X, ordered, epochs=1, verbose=0)
    assert trainer.model.classes.tolist() == ["low", "middle", "high"]
    spare = pandas.Series(pandas.Categorical(names[indices], categories=[*names, "none"]))
    trainer = make_trainer()
    trainer.fit(X, spare, epochs=1, verbose=0)
    assert trainer.model.classes.tolist() == ["low", "middle", "high"]


def test_a_categorical_column_without_pandas() -> None:
    class Type:
        categories = np.array(["low", "high", "never"], object)

    class Column:
        dtype = Type()
        values = np.array(["low", "high"], object)[np.arange(SAMPLES) % 2]

        def __array__(self, dtype: Any = None, copy: Any = None) -> npt.NDArray:
            return self.values

    X, _ = make_data()
    for outputs, names in ((2, ["low", "high"]), (3, ["low", "high", "never"])):
        trainer = make_trainer(outputs)
        trainer.fit(X, Column(), epochs=1, verbose=0)
        assert trainer.model.classes.tolist() == names


@pytest.mark.parametrize("call", ["fit", "step", "evaluate", "loss_and_grad", "validation_data"])
def test_an_unknown_label_is_named(call: str) -> None:
    X, indices = make_data()
    y = np.array(["a", "b", "c"])[indices]
    trainer = make_trainer()
    trainer.fit(X, y, epochs=1, verbose=0)
    wrong = y.copy()
    wrong[7] = "z"
    before = bits(trainer.model)
    with refused(ValueError, "'z'", "row 7", "'a', 'b', 'c'"):
        if call == "validation_data":
            trainer.fit(X, y, epochs=1, verbose=0, validation_data=(X, wrong))
        else:
            getattr(trainer, call)(X, wrong)
    with refused(ValueError, "0", "'a', 'b', 'c'"):  # indices are no names
        trainer.step(X, indices)
    assert bits(trainer.model) == before
    assert trainer.model.classes.tolist() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("outputs", "loss", "y", "patterns"),
    [
        (3, "softmax_cross_entropy", ["a", "b"] * 30, ("2 classes", "3 outputs", "model.classes")),
        (3, "softmax_cross_entropy", ["a", "b", "c", "d"] * 15, ("4 classes", "3 outputs", "4 units")),
        (3, "softmax_cross_entropy", [0, 1, 2, 3] * 15, ("class 3 at row 3", "4")),
        (3, "softmax_cross_entropy", [0, 5] * 30, ("2 classes, 0, 5, and class 5 at row 1 is not within 0 to 2;",)),
        (2, "softmax_cross_entropy", [2] * 60, ("holds 1 class, 2, and class 2 at row 0 is not within 0 to 1;",)),
        (1, "binary_cross_entropy", ["a", "b", "c"] * 20, ("3 classes", "softmax_cross_entropy", r"Dense\(3\)")),
        (1, "binary_cross_entropy", ["a"] * 60, ("1 class,", "2 classes")),
    ],
)
def test_another_number_of_classes_than_outputs(outputs: int, loss: str, y: Any, patterns: tuple[str, ...]) -> None:
    X, _ = make_data()
    trainer = make_trainer(outputs, loss)
    with refused(ValueError, *patterns):
        trainer.fit(X, np.array(y), epochs=1, verbose=0)
    assert trainer.model.classes is None
    assert trainer.model.output is None


@pytest.mark.parametrize(
    ("y", "pattern"),
    [
        (np.array(["a", None, "b"] * 20, object), "None at row 1"),
        (np.array(["a", float("nan"), "b"] * 20, object), "nan at row 1"),
        (np.array(["a", 1, True] * 20, object), "bool, int, str"),
        (["a", 1, "b"] * 20, "int, str"),
        (np.array([b"a", b"b", b"c"] * 20), "S1"),
        (np.array([[1], [2, 3]] * 30, object), "list"),
    ],
    ids=["None", "nan", "mixed", "a mixed list", "bytes", "lists"],
)
def test_what_is_no_label(y: Any, pattern: str) -> None:
    X, _ = make_data()
    trainer = make_trainer()
    with refused(TypeError, pattern):
        trainer.fit(X, y, epochs=1, verbose=0)
    assert trainer.model.classes is None


def test_a_column_of_classes_is_taken_with_one_note() -> None:
    X, indices = make_data()
    trainer, plain = make_trainer(), make_trainer()
    with pytest.warns(UserWarning, match=r"\(60, 1\).*ravel") as record:
        first = trainer.step(X, indices[:, None])
    assert record[0].filename == __file__
    assert first == plain.step(X, indices)
    assert trainer.step(X, indices[:, None]) == plain.step(X, indices)  # a second warning would be an error


def test_validation_has_the_classes_of_the_training() -> None:
    X, indices = make_data()
    trainer = make_trainer()
    with refused(TypeError, "validation_data", "names"):
        trainer.fit(X, indices, epochs=1, verbose=0, validation_data=(X, np.array(["a", "b", "c"])[indices]))


def test_weights_by_name_and_balanced() -> None:
    X, _ = make_data()
    indices = np.array([0] * 40 + [1] * 15 + [2] * 5)
    y = np.array(["a", "b", "c"])[indices]
    weights = SAMPLES / (3 * np.bincount(indices))

    def train(targets: Any, class_weight: Any) -> bytes:
        trainer = make_trainer()
        trainer.fit(X, targets, epochs=2, batch_size=16, verbose=0, class_weight=class_weight)
        return bits(trainer.model)

    expected = train(indices, weights)
    assert train(indices, "balanced") == expected
    assert train(y, "balanced") == expected
    assert train(y, dict(zip(["a", "b", "c"], weights))) == expected
    assert train(y, weights) == expected
    trainer = make_trainer()
    with refused(ValueError, "'d'", "'a', 'b', 'c'"):
        trainer.fit(X, y, verbose=0, class_weight={"d": 1.0})
    with refused(ValueError, "balanced"):
        trainer.fit(X, y, verbose=0, class_weight="balance")


def test_balanced_counts_the_samples_that_are_trained_on() -> None:
    X, _ = make_data()
    indices = np.array([0] * 20 + [1] * 28 + [0] * 12)
    split, part = make_trainer(2), make_trainer(2)
    split.fit(X, indices, epochs=1, verbose=0, class_weight="balanced", validation_split=0.2, shuffle=False)
    part.fit(X[:48], indices[:48], epochs=1, verbose=0, class_weight="balanced", shuffle=False)
    assert bits(split.model) == bits(part.model)


def test_indices_are_taken_without_a_detour(monkeypatch: pytest.MonkeyPatch) -> None:
    X, indices = make_data()
    trainer = make_trainer()

    def detour(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(trainer._targets, "read", detour)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.step(X, indices)
        trainer.step(X, indices.astype("int32"))


@pytest.mark.parametrize("form", [list, tuple, lambda y: np.array(y, object)], ids=["list", "tuple", "objects"])
def test_members_of_an_enumeration_of_strings_are_their_values(form: Any) -> None:
    X, indices = make_data(2)
    y = form([(Animal.DOG, Animal.CAT)[i] for i in indices])
    named, plain = make_trainer(2), make_trainer(2)
    named.fit(X, y, epochs=1, verbose=0, class_weight={Animal.CAT: 2.0})
    plain.fit(X, 1 - indices, epochs=1, verbose=0, class_weight={0: 2.0})
    assert named.model.classes.tolist() == ["a cat", "a dog"]
    assert all(type(name) is str for name in named.model.classes.tolist())
    assert bits(named.model) == bits(plain.model)
    assert named.evaluate(X, y) == plain.evaluate(X, 1 - indices)
    assert make_trainer(2, classes=form(list(Animal))).model.classes.tolist() == ["a cat", "a dog"]


@pytest.mark.parametrize("outputs", [1, 2, 3])
@pytest.mark.parametrize("kind", ["strings", "objects", "list", "table"])
def test_text_in_two_columns_is_refused_by_its_shape(outputs: int, kind: str) -> None:
    X, indices = make_data(2)
    y: Any = np.array(["a", "b"])[np.column_stack([indices, indices])]
    if kind == "table":
        y = pytest.importorskip("pandas").DataFrame(y)
    else:
        y = {"strings": y, "objects": y.astype(object), "list": y.tolist()}[kind]
    trainer = make_trainer(outputs, "binary_cross_entropy" if outputs == 1 else "softmax_cross_entropy")
    with refused(ValueError, r"shape \(60, 2\)", "labels, one per sample"):
        trainer.fit(X, y, epochs=1, verbose=0)


def test_a_series_of_weights_goes_by_its_index() -> None:
    pandas = pytest.importorskip("pandas")
    X, indices = make_data()
    y = np.array(["a", "b", "c"])[indices]

    def train(targets: Any, class_weight: Any) -> bytes:
        trainer = make_trainer()
        trainer.fit(X, targets, epochs=1, verbose=0, class_weight=class_weight)
        return bits(trainer.model)

    expected = train(y, [1.0, 2.0, 3.0])
    assert train(y, pandas.Series([3.0, 1.0, 2.0], index=["c", "a", "b"])) == expected
    assert train(indices, pandas.Series([3.0, 1.0, 2.0], index=[2, 0, 1])) == expected
    assert train(indices, pandas.Series([1.0, 2.0, 3.0])[::-1]) == expected
    assert train(y, pandas.Series([1.0, 2.0, 3.0])) == expected
    assert train(y, pandas.Series([2.0, 3.0], index=["b", "c"])) == expected
    with refused(ValueError, "'d'", "'a', 'b', 'c'"):
        train(y, pandas.Series([1.0, 2.0, 3.0], index=["a", "b", "d"]))
    with refused(ValueError, "Series", "twice"):
        train(y, pandas.Series([1.0, 2.0, 3.0], index=["a", "b", "b"]))


def test_balanced_weights_of_float_labels() -> None:
    X, indices = make_data(2)
    losses = []
    for y in (indices, indices.astype("f4"), indices.astype("f8")[:, None], indices.tolist()):
        trainer = make_trainer(1, "binary_cross_entropy")
        losses.append(trainer.fit(X, y, epochs=1, verbose=0, class_weight="balanced", validation_split=0.3)["loss"])
    assert losses == losses[:1] * 4


def test_a_message_shows_the_labels_that_were_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread or process may write to y between the check of a label and the message about it."""
    y = np.arange(200) % 3
    y[130] = 10**9
    unique = np.unique

    def unique_and_then_changed(*arguments: Any, **options: Any) -> Any:
        result = unique(*arguments, **options)
        y[130] = y[0]
        return result

    monkeypatch.setattr("stoop._labels.np.unique", unique_and_then_changed)
    trainer = stoop.Trainer(stoop.Model([stoop.Dense(3)], input_dim=2))
    with pytest.raises(ValueError, match="class 1000000000 at row 130"):
        trainer.fit(np.zeros((200, 2), np.float32), y, verbose=0)
    trainer.model.classes = [5, 6, 7]
    y += 5
    y[130] = 10**9
    with pytest.raises(ValueError, match="1000000000 at row 130"):
        trainer.fit(np.zeros((200, 2), np.float32), y, verbose=0)
