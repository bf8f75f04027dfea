"""When a model gets the names of its classes, who may give them, and how long they stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import stoop
from helpers import bits, refused
from test_labels import FEATURES, SAMPLES, make_data, make_trainer


def test_names_that_a_refused_fit_told_are_taken_back() -> None:
    X, indices = make_data()
    trainer = make_trainer()
    with refused(ValueError, "NaN"):
        trainer.fit(np.full_like(X, np.nan), np.array(["a", "b", "c"])[indices], verbose=0)
    assert trainer.model.classes is None
    trainer.fit(X, indices, epochs=1, verbose=0)
    assert trainer.model.classes is None


def test_names_can_be_given() -> None:
    X, indices = make_data()
    trainer = make_trainer(classes=["c", "a", "b"])
    few = np.array(["a", "a", "c"])
    trainer.step(X[:3], few)  # not all of them are there
    assert trainer.model.classes.tolist() == ["c", "a", "b"]
    plain = make_trainer()
    plain.step(X[:3], [1, 1, 0])
    assert bits(plain.model) == bits(trainer.model)
    trainer.model.classes = [10, 20, 30]
    assert trainer.model.predict_labels(X).tolist() == [10 * (i + 1) for i in trainer.model.predict_classes(X)]
    trainer.model.classes = None
    assert trainer.evaluate(X, indices)["loss"] > 0


@pytest.mark.parametrize(
    ("classes", "exception", "pattern"),
    [
        (["a", "b"], ValueError, "2 names for 3 outputs"),
        (["a", "b", "a"], ValueError, "twice"),
        ([0.5, 1.0, 2.0], TypeError, "float64"),
        ("abc", TypeError, r"\(\)"),
        ([["a", "b", "c"]], TypeError, r"\(1, 3\)"),
        (["a", 1, 2], TypeError, "object"),
        (["a", "b", "\ud800"], ValueError, "half of a character"),
    ],
)
def test_bad_names(classes: Any, exception: Any, pattern: str) -> None:
    with refused(exception, pattern):
        make_trainer(classes=classes)
    model = make_trainer().model
    with refused(exception, pattern):
        model.classes = classes
    assert model.classes is None


def test_indices_stay_what_they_are_after_training() -> None:
    X, indices = make_data()
    trainer = make_trainer()
    trainer.fit(X, indices, epochs=1, verbose=0)
    with refused(TypeError, "'a', 'b', 'c'", "model.classes"):
        trainer.fit(X, np.array(["a", "b", "c"])[indices], epochs=1, verbose=0)
    with refused(ValueError, "3"):
        trainer.evaluate(X, indices + 1)
    trainer.model.classes = ["a", "b", "c"]
    trainer.fit(X, np.array(["a", "b", "c"])[indices], epochs=1, verbose=0)


def test_gradients_before_training_know_names() -> None:
    X, indices = make_data()
    y = np.array(["a", "b", "c"])[indices]
    trainer, plain = make_trainer(dtype="float64"), make_trainer(dtype="float64")
    assert trainer.loss_and_grad(X, y)[0] == plain.loss_and_grad(X, indices)[0]
    assert stoop.gradcheck(trainer.model, "softmax_cross_entropy", X, y).passed
    direction = trainer.model.state_dict()
    np.testing.assert_array_equal(
        trainer.hessian_vector_product(X, y, direction)["0.weight"],
        plain.hessian_vector_product(X, indices, direction)["0.weight"],
    )
    assert stoop.diagnose.critical_point(trainer, X, y).loss == stoop.diagnose.critical_point(plain, X, indices).loss
    assert trainer.model.classes is None  # nothing was trained
    with refused(TypeError, "names"):
        trainer.evaluate(X, y)


def test_names_go_along_with_a_folded_model() -> None:
    model = stoop.Model([stoop.Dense(3), stoop.BatchNorm()], input_dim=FEATURES)
    X, indices = make_data()
    stoop.Trainer(model).fit(X, np.array(["a", "b", "c"])[indices], epochs=1, verbose=0)
    folded = model.fold_batch_norm()
    assert folded.classes.tolist() == ["a", "b", "c"]
    assert folded.output == "softmax"


def test_a_trained_model_learns_no_names_from_another_trainer() -> None:
    X, indices = make_data()
    y = np.array(["a", "b", "c"])[indices]
    model = make_trainer().model
    stoop.Trainer(model).fit(X, indices, epochs=1, verbose=0)
    before = bits(model)
    for call in ("fit", "step", "loss_and_grad", "evaluate"):
        with refused(TypeError, "'a', 'b', 'c'", r"model\.classes"):
            getattr(stoop.Trainer(model), call)(X, y)
    with refused(TypeError, r"model\.classes"):
        stoop.Trainer(model.copy()).fit(X, y, verbose=0)
    assert (bits(model), model.classes) == (before, None)
    model.classes = ["a", "b", "c"]
    stoop.Trainer(model).fit(X, y, epochs=1, verbose=0)


@pytest.mark.parametrize("options", [{}, {"output": "softmax"}])
def test_a_model_that_was_not_trained_on_classes_learns_names(options: Any) -> None:
    X, indices = make_data()
    model = make_trainer(**options).model
    if not options:
        stoop.Trainer(model, "mse").fit(X, np.zeros((SAMPLES, 3)), epochs=1, verbose=0)
    stoop.Trainer(model).fit(X, np.array(["a", "b", "c"])[indices], epochs=1, verbose=0)
    assert model.classes.tolist() == ["a", "b", "c"]


def test_names_outlive_a_training_with_values() -> None:
    X, indices = make_data()
    trainer = make_trainer()
    model = trainer.model
    trainer.fit(X, np.array(["a", "b", "c"])[indices], epochs=1, verbose=0)
    stoop.Trainer(model, "mse").fit(X, np.eye(3)[indices], epochs=1, verbose=0)
    assert (model.output, model.classes.tolist()) == ("identity", ["a", "b", "c"])
    with refused(ValueError, r"\[Model.predict_labels\]", "values"):
        model.predict_labels(X)
    with refused(ValueError, r"\[Model.predict_classes\]", "values"):
        model.predict_classes(X)
    model.output = "softmax"
    assert set(model.predict_labels(X)) <= {"a", "b", "c"}


def test_a_fit_that_ends_before_its_first_update_leaves_names_to_be_told() -> None:
    X, indices = make_data()
    y = np.array(["a", "b", "c"])[indices]
    trainer = stoop.Trainer(stoop.Model([stoop.Dense(3)], input_dim=FEATURES))
    with pytest.raises(stoop.NonFiniteLossError):
        trainer.fit(np.full_like(X, 3e38), y, epochs=1, verbose=0)
    assert (trainer.steps, trainer.model.classes, trainer.model.output) == (0, None, None)
    trainer.fit(X, y, epochs=1, verbose=0)
    assert trainer.model.classes.tolist() == ["a", "b", "c"]
