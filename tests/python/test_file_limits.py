"""Whatever is saved can be loaded: files of much text and few numbers are made as large as a reader wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stoop

DENSE = stoop.Dense(1)
MODELS: dict[str, Any] = {
    "activations": lambda: [*[stoop.ReLU()] * 3000, DENSE],
    "activations that differ": lambda: [*(stoop.LeakyReLU(i / 3000) for i in range(3000)), DENSE],
    "blocks": lambda: [*[stoop.Residual([stoop.ReLU(), stoop.Dropout(0.1)])] * 1500, DENSE],
    "blocks that differ": lambda: [*(stoop.Residual([stoop.ELU(i), stoop.ELU(i % 3)]) for i in range(1500)), DENSE],
    "blocks in blocks": lambda: [stoop.Residual([stoop.Residual([stoop.Tanh()] * 1000)] * 3), DENSE],
    "layers without bias": lambda: [stoop.Dense(1, stoop.ELU(0.5), use_bias=False, l1=0.1, l2=0.1)] * 4000,
}


@pytest.mark.parametrize("name", MODELS)
def test_models_of_many_layers(name: str, tmp_path: Path) -> None:
    model = stoop.Model(MODELS[name](), 1)
    path = tmp_path / "m.safetensors"
    model.save(path)
    again = stoop.load_model(path)
    assert again.layers == model.layers
    assert again.copy().layers == model.layers
    assert again.summary() == model.summary()
    again.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("layer", [stoop.Columns(categories={0: 3}), stoop.Normalization()])
def test_a_loaded_model_knows_that_its_input_is_exact(layer: Any, tmp_path: Path) -> None:
    model = stoop.Model([layer, DENSE], 2)
    model.adapt([[0, 16_777_217], [2, 16_777_219]])
    model.save(tmp_path / "m.safetensors")
    X = [[1, 16_777_218]]  # float32 has no such number
    np.testing.assert_array_equal(stoop.load_model(tmp_path / "m.safetensors").predict(X), model.predict(X))


def test_equal_layers_of_a_file_are_one_object(tmp_path: Path) -> None:
    stoop.Model([*[stoop.ReLU(), stoop.Residual([stoop.Tanh()])] * 2, DENSE], 1).save(tmp_path / "m.safetensors")
    first, block, again, other, _ = stoop.load_model(tmp_path / "m.safetensors").layers
    assert first is again
    assert block is other


def test_names_of_classes(tmp_path: Path) -> None:
    names = [*map(str, range(40_000)), "x" * 100_000]
    model = stoop.Model([stoop.Dense(len(names), use_bias=False)], 1)
    model.classes = np.array(names, object)
    model.output = "softmax"
    model.save(tmp_path / "m.safetensors")
    again = stoop.load_model(tmp_path / "m.safetensors")
    assert again.classes is not None
    assert again.classes.tolist() == names
    assert again.predict_labels([[1.0]]).tolist() == model.predict_labels([[1.0]]).tolist()


def test_texts_without_room_for_the_longest_in_each_place() -> None:
    """An array of text has the room of the longest for each: that is left out where it is many times what they need."""
    kept = stoop._class_names.names_from_text  # type: ignore[attr-defined]
    assert kept(["a", "b" * 1000], "str").dtype == "<U1000"
    assert kept(["a"] * 1000 + ["b" * 1000], "str").dtype == object


def test_ensembles_of_many_members(tmp_path: Path) -> None:
    ensemble = stoop.Ensemble([stoop.Model([DENSE], 1, seed=seed) for seed in range(300)])
    ensemble.save(tmp_path / "e.safetensors")
    again = stoop.load_ensemble(tmp_path / "e.safetensors")
    np.testing.assert_array_equal(again.predict([[1.0]]), ensemble.predict([[1.0]]))


@pytest.mark.parametrize("text", ["[" + "{}," * 50_000, "\U0001f600" * 200_000, '"' * 1_000_001, "{[" * 20_000])
def test_metadata(text: str, tmp_path: Path) -> None:
    model = stoop.Model([DENSE], 1)
    model.metadata = {"a": text, "b": text}
    model.save(tmp_path / "m.safetensors")
    assert stoop.load_model(tmp_path / "m.safetensors").metadata == model.metadata


class Keeper(stoop.callbacks.Callback):
    """Keeps many values in a checkpoint."""

    def state_dict(self) -> dict[str, Any]:
        return {"kept": [{} for _ in range(10_000)]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.kept = state["kept"]


def test_checkpoints(tmp_path: Path) -> None:
    path, X, y = tmp_path / "c.safetensors", np.zeros((4, 1)), np.zeros((4, 1))
    trainer = stoop.Trainer(stoop.Model([*[stoop.ReLU()] * 1500, DENSE], 1), "mse")
    trainer.fit(X, y, epochs=3, callbacks=[Keeper()])
    trainer.save_checkpoint(path)
    keeper = Keeper()
    again = stoop.load_checkpoint(path)
    again.fit(X, y, epochs=4, callbacks=[keeper], resume=path)
    assert len(keeper.kept) == 10_000
    assert again.history["loss"][:3] == trainer.history["loss"]
