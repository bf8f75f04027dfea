"""Files that earlier versions wrote are read for ever: ``tests/golden``, which ``tests/tools/write_golden.py`` made."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stoop

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "tools"))
from write_golden import state_hash  # noqa: E402

GOLDEN = TESTS / "golden"
EXPECTED = {
    f"{path.parent.name}/{name}": expected
    for path in sorted(GOLDEN.glob("*/expected.json"))
    for name, expected in json.loads(path.read_text(encoding="utf-8")).items()
}
# Instruction sets round sums in other places: of some tens of operations with numbers about 1.
TOLERANCE = {np.dtype("float32"): 1e-6, np.dtype("float64"): 1e-14}


def golden(kind: str) -> Any:
    names = [name for name in EXPECTED if name.split("/")[1] == kind]
    assert names
    return pytest.mark.parametrize("name", names)


def path_of(name: str) -> Path:
    return GOLDEN / f"{name}.safetensors"


def assert_close(outputs: Any, wanted: Any, more: float = 1.0) -> None:
    scale = max(1.0, float(np.abs(wanted).max()))
    np.testing.assert_allclose(outputs, wanted, rtol=0, atol=more * scale * TOLERANCE[outputs.dtype])


@golden("model")
def test_models(name: str, tmp_path: Path) -> None:
    expected, model = EXPECTED[name], stoop.load_model(path_of(name))
    assert state_hash(model) == expected["state"]
    assert_close(model.predict(np.array(expected["X"])), expected["outputs"])
    model.save(tmp_path / "again.safetensors")
    again = stoop.load_model(tmp_path / "again.safetensors")
    assert state_hash(again) == expected["state"]
    assert (again.layers, again.metadata, again.output) == (model.layers, model.metadata, model.output)


@golden("ensemble")
def test_ensembles(name: str) -> None:
    expected, ensemble = EXPECTED[name], stoop.load_ensemble(path_of(name))
    assert [state_hash(model) for model in ensemble] == expected["states"]
    assert_close(ensemble.predict_proba(np.array(expected["X"])), expected["outputs"])


@golden("checkpoint")
def test_checkpoints(name: str) -> None:
    """The epoch after the checkpoint goes on from the state of the optimizer, the average and the schedule."""
    expected, trainer = EXPECTED[name], stoop.load_checkpoint(path_of(name))
    X, y = np.array(expected["X"]), np.array(expected["y"])
    assert state_hash(trainer.model) == expected["state"]
    assert (trainer.steps, trainer.epoch) == (expected["steps"], 3)
    assert_close(trainer.model.predict(X), expected["outputs"])
    trainer.fit(X, y, epochs=1, batch_size=expected["batch_size"], verbose=0)
    assert_close(trainer.model.predict(X), expected["later"], more=100.0)  # Adam divides by roots of small squares


@golden("tabular")
def test_estimators_of_tables(name: str) -> None:
    pd = pytest.importorskip("pandas")
    tabular = pytest.importorskip("stoop.tabular")
    expected, model = EXPECTED[name], tabular.load(path_of(name))
    predict = model.predict_proba if hasattr(model, "predict_proba") else model.predict
    np.testing.assert_allclose(predict(pd.DataFrame(expected["X"])), expected["outputs"], rtol=1e-5)


def test_every_layer_has_a_file() -> None:
    kinds = {kind.type_name for kind in all_subclasses(stoop.layers.Layer) if hasattr(kind, "type_name")}
    texts = " ".join(path.read_bytes().decode("latin-1") for path in GOLDEN.glob("*/model/*.safetensors"))
    missing = {kind for kind in kinds if f'"{kind}\\"' not in texts}
    assert not missing, f"write_golden.py writes no model with {missing}"


def all_subclasses(kind: type) -> set[type]:
    return {found for inner in kind.__subclasses__() for found in {inner, *all_subclasses(inner)}}
