"""Texts that a model carries, in its file and in every copy."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stoop
from helpers import refused

TEXTS = {"table": '{"columns": ["a \\"b\\"", "\u00e9"]}', "": "", "lines": "one\n\x00two"}


def make_model(**texts: str) -> stoop.Model:
    model = stoop.Model([stoop.Dense(3), stoop.BatchNorm(), stoop.Dense(2)], input_dim=2)
    model.metadata = {**TEXTS, **texts}
    return model


def test_it_can_be_changed_entry_by_entry() -> None:
    model = stoop.Model([stoop.Dense(2)], input_dim=2)
    assert model.metadata == {}
    model.metadata["a"] = "1"
    kept = model.metadata
    model.metadata["b"] = "2"
    assert kept == {"a": "1", "b": "2"}
    assert repr(kept) == repr({"a": "1", "b": "2"})
    del model.metadata["a"]
    assert list(model.metadata) == ["b"]
    with pytest.raises(KeyError):
        model.metadata["a"]
    with pytest.raises(KeyError):
        del model.metadata["a"]
    model.metadata = TEXTS
    assert dict(model.metadata) == TEXTS


def test_files_copies_and_pickles_have_it(tmp_path: Path) -> None:
    model = make_model()
    model.save(tmp_path / "model.safetensors")
    others = [stoop.load_model(tmp_path / "model.safetensors"), model.copy(), pickle.loads(pickle.dumps(model))]
    others += [model.fold_batch_norm()]
    model.metadata.clear()
    for other in others:
        assert other.metadata == TEXTS
    stoop.Ensemble(others[:2]).save(tmp_path / "two.safetensors")
    assert stoop.load_ensemble(tmp_path / "two.safetensors")[1].metadata == TEXTS


def test_checkpoints_have_it(tmp_path: Path) -> None:
    X, y = np.zeros((4, 2), np.float32), np.array([0, 1, 0, 1])
    trainer = stoop.Trainer(make_model())
    trainer.fit(X, y, epochs=1, verbose=0)
    trainer.save_checkpoint(tmp_path / "c.safetensors")
    assert stoop.load_checkpoint(tmp_path / "c.safetensors").model.metadata == TEXTS
    trainer.model.metadata = {"other": ""}
    trainer.load_checkpoint(tmp_path / "c.safetensors")
    assert trainer.model.metadata == TEXTS


def test_a_file_without_it_is_as_it_was(tmp_path: Path) -> None:
    plain, texts = stoop.Model([stoop.Dense(2)], input_dim=2), stoop.Model([stoop.Dense(2)], input_dim=2)
    texts.metadata["a"] = "b"
    texts.metadata.clear()
    plain.save(tmp_path / "plain"), texts.save(tmp_path / "texts")
    assert (tmp_path / "plain").read_bytes() == (tmp_path / "texts").read_bytes()
    assert b"metadata\\" not in (tmp_path / "plain").read_bytes()


@pytest.mark.parametrize(
    ("texts", "exception", "pattern"),
    [
        ([("a", "b")], TypeError, "dict of texts"),
        ({"a": 1}, TypeError, r"metadata\['a'\] is 1"),
        ({1: "a"}, TypeError, r"metadata\[1\]"),
        ({"a": "\ud800"}, ValueError, "half of a character"),
        ({"a": "x" * (1 << 22)}, ValueError, "expected at most 4194304"),
        ({"a": "\u00e9" * (1 << 21)}, ValueError, "expected at most 4194304"),
    ],
)
def test_what_is_no_text_or_too_much_is_refused(texts: Any, exception: Any, pattern: str) -> None:
    model = make_model()
    with refused(exception, pattern):
        model.metadata = texts
    if isinstance(texts, dict):
        with refused(exception, pattern):
            model.metadata.update(texts)
    assert model.metadata == TEXTS


def test_the_most_of_it_survives_a_file(tmp_path: Path) -> None:
    texts = {"a": "\x00" * ((1 << 22) - 1)}  # six times as long in JSON
    model = make_model()
    model.metadata = texts
    model.save(tmp_path / "large")
    assert stoop.load_model(tmp_path / "large").metadata == texts
