"""Ensembles: what may be a member, copies, and models that are changed afterwards."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np

import stoop
from helpers import bits, refused
from test_ensemble import heads_of, models_of, samples


def test_members_are_the_models_themselves() -> None:
    models = models_of()
    ensemble = stoop.Ensemble(iter(models))
    assert len(ensemble) == 5
    assert list(ensemble) == models
    assert ensemble[0] is models[0]
    assert ensemble[-1] is models[-1]
    part = ensemble[1:3]
    assert isinstance(part, stoop.Ensemble)
    assert list(part) == models[1:3]
    for number in (5, -6):
        with refused(IndexError, f"no member {number}", "-5 to 4"):
            ensemble[number]
    with refused(TypeError, r"index is \[0, 1\]", "a number or a slice"):
        ensemble[[0, 1]]  # type: ignore[call-overload]
    with refused(ValueError, "no model"):
        ensemble[3:3]
    assert ensemble[np.int64(2)] is models[2]
    x = samples(3)
    models[1].parameters()["0.weight"][...] += 1
    assert ensemble.predict(x)[1].tobytes() == models[1].predict(x).tobytes()
    assert (ensemble.input_dim, ensemble.output_dim, ensemble.dtype, ensemble.output) == (6, 3, np.float32, None)


def test_an_ensemble_keeps_its_members_alive() -> None:
    ensemble = stoop.Ensemble(models_of())
    expected = ensemble.predict(samples(3))
    core = ensemble._core
    del ensemble
    assert core.predict(samples(3)).tobytes() == expected.tobytes()


def test_copies() -> None:
    ensemble = stoop.Ensemble(models_of(classes=["a", "b", "c"], output="softmax"))
    expected = ensemble.predict(samples(3)).tobytes()
    others = [ensemble.copy(), copy.copy(ensemble), copy.deepcopy(ensemble), pickle.loads(pickle.dumps(ensemble))]
    for other in others:
        for own, its in zip(ensemble, other, strict=True):
            assert own is not its
            assert bits(own) == bits(its)
        assert other.predict(samples(3)).tobytes() == expected
        assert other.output == "softmax"
        assert other.classes.tolist() == ["a", "b", "c"]


def test_text() -> None:
    alike = stoop.Ensemble(heads_of(3, None))
    assert repr(alike) == "Ensemble(4 members, each Model(6-9-3, float64, 93 parameters))"
    assert repr(stoop.Ensemble(models_of())).startswith("Ensemble(5 members, the first Model(6-17-3, float32")


def test_members_that_differ() -> None:
    def model(**settings: Any) -> stoop.Model:
        given: dict[str, Any] = {"input_dim": 4, "output": "softmax", "classes": ["a", "b"], **settings}
        return stoop.Model([stoop.Dense(given.pop("units", 2))], **given)

    first = model()
    wrong: list[tuple[stoop.Model, str, str]] = [
        (model(input_dim=5), "5 inputs", "4 inputs"),
        (model(units=3, classes=None), "3 outputs", "2 outputs"),
        (model(output="sigmoid"), "sigmoid", "softmax"),
        (model(output=None), "no output", "softmax"),
        (model(classes=None), "classes without names", 'classes "a", "b"'),
        (model(classes=["a", "c"]), 'classes "a", "c"', 'classes "a", "b"'),
        (model(dtype="float64"), "float64", "float32"),
    ]
    for other, given, expected in wrong:
        with refused(ValueError, r"\[Ensemble\] member 2", given, f"expected .*{expected}", "member 0"):
            stoop.Ensemble([first, model(), other])
    with refused(ValueError, "no model"):
        stoop.Ensemble([])
    with refused(TypeError, "member 1", "Trainer", "trainer.model"):
        stoop.Ensemble([first, stoop.Trainer(model())])  # type: ignore[list-item]
    with refused(TypeError, "list of models"):
        stoop.Ensemble(first)  # type: ignore[arg-type]
    for name, hint in (("models", "make a new one"), ("output", "for each model"), ("size", "make a new Ensemble")):
        with refused(AttributeError, f"{name} cannot be set; expected no attribute to be set", hint):
            setattr(stoop.Ensemble([first]), name, None)


def test_members_that_are_set_apart_later(tmp_path: Path) -> None:
    models = heads_of(2, None)
    ensemble = stoop.Ensemble(models)
    models[2].output = "sigmoid"
    with refused(ValueError, "Ensemble.predict_proba", "member 2", "sigmoid"):
        ensemble.predict_proba(samples(3))
    with refused(ValueError, "Ensemble.save", "member 2"):
        ensemble.save(tmp_path / "e.safetensors")
    assert not list(tmp_path.iterdir())
