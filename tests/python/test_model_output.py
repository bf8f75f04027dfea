"""What a model's outputs mean: set by training or given, kept in files and copies, followed by the predictions."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import cases
import reference
import stoop
from helpers import refused

FEATURES = 3
X = np.random.default_rng(0).standard_normal((40, FEATURES))


def make_model(outputs: int = 3, **options: Any) -> Any:
    layers = [stoop.Dense(4, activation="tanh"), stoop.Dense(outputs)]
    return stoop.Model(layers, input_dim=FEATURES, dtype="float64", **options)


def targets(loss: str, outputs: int) -> npt.NDArray:
    return next(iter(cases.LOSSES[loss].targets.values()))(np.random.default_rng(1), len(X), outputs)


@pytest.mark.parametrize("call", ["fit", "step"])
@pytest.mark.parametrize("loss", cases.LOSSES)
def test_training_sets_the_output(loss: str, call: str, tmp_path: Path) -> None:
    outputs = cases.LOSSES[loss].outputs(3)
    model = make_model(outputs)
    assert model.output is None
    trainer = stoop.Trainer(model, loss=loss)
    y = targets(loss, outputs)
    trainer.evaluate(X, y)
    trainer.loss_and_grad(X, y)
    assert model.output is None
    trainer.fit(X, y, epochs=1, verbose=0) if call == "fit" else trainer.step(X, y)
    model.save(tmp_path / "m.safetensors")
    twins = [model.copy(), copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    for twin in (model, stoop.load_model(tmp_path / "m.safetensors"), *twins):
        assert twin.output == cases.LOSSES[loss].output
        other = "mse" if loss != "mse" else "softmax_cross_entropy"
        stoop.Trainer(twin, loss=other).step(X, targets(other, outputs))
        assert twin.output == cases.LOSSES[other].output  # the newest training says it


def test_a_full_batch_optimizer_sets_it_too() -> None:
    model = make_model()
    trainer = stoop.Trainer(model, optimizer="lbfgs")
    y = targets("softmax_cross_entropy", 3)
    with refused(ValueError, "batch_size"):
        trainer.fit(X, y, epochs=1, batch_size=3, verbose=0)
    assert model.output is None
    trainer.fit(X, y, epochs=1, batch_size=len(X), verbose=0)
    assert model.output == "softmax"


def test_an_output_that_is_given_stays() -> None:
    for model in (make_model(output="softmax"), make_model()):
        model.output = "softmax"
        for twin in (model, model.copy(), pickle.loads(pickle.dumps(model))):
            stoop.Trainer(twin, loss="mse").step(X, targets("mse", 3))
            assert twin.output == "softmax"
        model.output = None
        stoop.Trainer(model, loss="mse").step(X, targets("mse", 3))
        assert model.output == "identity"


@pytest.mark.parametrize(
    ("value", "exception", "pattern"),
    [("softmx", ValueError, '"softmax"'), (3, TypeError, "3"), (np.str_("sigmoid"), None, "")],
)
def test_bad_outputs(value: Any, exception: Any, pattern: str) -> None:
    if exception is None:
        assert make_model(output=value).output == "sigmoid"
        return
    with refused(exception, pattern):
        make_model(output=value)
    model = make_model()
    with refused(exception, pattern):
        model.output = value
    assert model.output is None


def test_the_softmax_of_one_output_is_refused() -> None:
    with refused(ValueError, "softmax", "sigmoid"):
        make_model(1, output="softmax")


def test_softmax() -> None:
    model = make_model(output="softmax")
    np.testing.assert_allclose(model.predict_proba(X), np.exp(reference.log_softmax(model(X))), rtol=1e-12)
    np.testing.assert_array_equal(model.predict_classes(X), model(X).argmax(axis=1))


def test_several_labels_are_sigmoids_by_column() -> None:
    model = make_model()
    stoop.Trainer(model, loss="binary_cross_entropy").step(X, targets("binary_cross_entropy", 3))
    np.testing.assert_allclose(model.predict_proba(X), reference.sigmoid(model(X)), rtol=1e-12)
    classes = model.predict_classes(X)
    assert classes.shape == (40, 3)
    assert classes.dtype == np.int64
    np.testing.assert_array_equal(classes, model(X) > 0)
    np.testing.assert_array_equal(model.predict_labels(X), classes)
    model.classes = ["a", "b", "c"]
    with refused(ValueError, "3 labels", "predict_classes"):
        model.predict_labels(X)


def test_one_output_for_two_classes_has_two_columns_of_probabilities() -> None:
    model = make_model(1)
    stoop.Trainer(model, loss="binary_cross_entropy").step(X, targets("binary_cross_entropy", 1))
    proba = model.predict_proba(X)
    assert proba.shape == (40, 2)
    np.testing.assert_allclose(proba[:, 1:], reference.sigmoid(model(X)), rtol=1e-12)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0, rtol=1e-15)
    np.testing.assert_array_equal(proba.argmax(axis=1), model.predict_classes(X))
    assert model.predict_classes(X).shape == (40,)
    model.parameters()["2.bias" if "2.bias" in model.parameters() else "1.bias"][...] = 800.0
    np.testing.assert_array_equal(model.predict_proba(X)[:, 1], 1.0)  # without a warning of an overflow


@pytest.mark.parametrize("method", ["predict_proba", "predict_classes", "predict_labels"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_values_have_neither_probabilities_nor_classes(outputs: int, method: str) -> None:
    model = make_model(outputs)
    getattr(model, method)(X)  # nothing says yet that these are values
    stoop.Trainer(model, loss="mse").step(X, targets("mse", outputs))
    with refused(ValueError, "values", "model.output"):
        getattr(model, method)(X)


def test_gradcheck_and_folding_keep_it() -> None:
    model = stoop.Model([stoop.Dense(3), stoop.BatchNorm()], input_dim=FEATURES, output="sigmoid")
    assert model.fold_batch_norm().output == "sigmoid"
    stoop.Trainer(model, loss="mse").step(X, targets("mse", 3))
    assert model.fold_batch_norm().output == "sigmoid"


def test_a_file_without_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    make_model().save(path)
    assert b"output" not in path.read_bytes()
    model = stoop.load_model(path)
    assert model.output is None
    assert model.classes is None
    assert model.predict_proba(X).shape == (40, 3)


@pytest.mark.parametrize(
    "damage",
    [
        ('"softmax"', '"softmix"'),
        ('"names":["a","b","c"]', '"names":["a","b","b"]'),
        ('"dtype":"str"', '"dtype":"int"'),
        ('"dtype":"str"', '"dtype":"u64"'),
        ('"dtype":"str"', '"dtypo":"str"'),
    ],
)
def test_a_damaged_file(damage: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    model = make_model(classes=["a", "b", "c"])
    stoop.Trainer(model).step(X, np.array(["a", "b", "c"])[targets("softmax_cross_entropy", 3)])
    model.save(path)
    content = path.read_bytes()
    old, new = (part.replace('"', '\\"').encode() for part in damage)
    assert content.count(old) == 1
    changed = content.replace(old, new)
    size = int.from_bytes(content[:8], "little") + len(new) - len(old)
    path.write_bytes(size.to_bytes(8, "little") + changed[8:])
    with pytest.raises(stoop.CheckpointError):
        stoop.load_model(path)
