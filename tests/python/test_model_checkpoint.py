"""ModelCheckpoint: which files are there after a fit, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import stoop
from fits import FIT, Scripted, X, Y, assert_same, trainer, values
from stoop.callbacks import Lambda, ModelCheckpoint


def test_the_best_models_are_kept(tmp_path: Path) -> None:
    scripted = Scripted(5, 3, 4, 1, 2)
    saving = ModelCheckpoint(
        tmp_path / "sub" / "m-{epoch:02}-{score:.1f}.safetensors", "score", "min", top_k=2, weights_only=True
    )
    trainer().fit(X, Y, epochs=5, callbacks=[saving, scripted], **FIT)  # it is called after the others
    assert sorted(entry.name for entry in (tmp_path / "sub").iterdir()) == [
        "m-04-1.0.safetensors",
        "m-05-2.0.safetensors",
    ]
    assert [Path(path).name for path in saving.paths] == ["m-04-1.0.safetensors", "m-05-2.0.safetensors"]
    assert_same(stoop.load_model(saving.paths[0]).state_dict(), scripted.parameters[3])


def test_the_newest_and_all(tmp_path: Path) -> None:
    last = ModelCheckpoint(tmp_path / "last-{step}.safetensors", save="last", every_n_steps=3)
    every = ModelCheckpoint(tmp_path / "all-{epoch}.safetensors", save="all", every_n_epochs=2)
    one = trainer()
    one.fit(X, Y, epochs=5, callbacks=[last, every], **FIT)
    assert sorted(entry.name for entry in (tmp_path).iterdir()) == [
        "all-2.safetensors",
        "all-4.safetensors",
        "last-40.safetensors",
    ]
    again = stoop.load_checkpoint(last.paths[0])
    assert (again.epoch, again.steps) == (5, 40)
    assert_same(values(again), values(one))


def test_saves_by_the_clock(tmp_path: Path) -> None:
    saving = ModelCheckpoint(tmp_path / "m-{step}.safetensors", save="all", every_minutes=1e-3, every_n_epochs=10**6)
    trainer().fit(X, Y, epochs=10**6, max_time=0.6, callbacks=saving, **FIT)
    assert 2 <= len(saving.paths) <= 12


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"save": "each"}, "save"),
        ({"top_k": 0}, "top_k"),
        ({"top_k": 2}, "field"),
        ({"save": "all"}, "field"),
        ({"every_n_steps": 3}, "every_n_epochs"),
        ({"every_minutes": 0.0, "save": "last"}, "every_minutes"),
        ({"path": "m-{loss}.safetensors", "save": "last", "every_n_steps": 3}, "columns"),
        ({"path": "m-{epoch.safetensors"}, "brace"),
    ],
)
def test_wrong_options_of_a_checkpoint(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        ModelCheckpoint(**{"path": "m.safetensors", **options})


def test_an_unknown_field_is_found_before_training(tmp_path: Path) -> None:
    one = trainer()
    with pytest.raises(ValueError, match="val_loss"):
        one.fit(
            X, Y, callbacks=ModelCheckpoint(tmp_path / "{val_los}.safetensors", "loss"), validation_split=0.2, **FIT
        )
    assert one.steps == 0


def test_a_failed_save_warns_and_the_fit_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    saving = ModelCheckpoint(path, save="last")

    def block(_: stoop.Trainer, logs: dict[str, float]) -> None:
        if logs["epoch"] == 2:
            path.rename(tmp_path / "old")
            path.mkdir()

    with pytest.warns(UserWarning, match=r"\[ModelCheckpoint\] .*m.safetensors could not be written"):
        history = trainer().fit(X, Y, epochs=3, callbacks=[Lambda(on_epoch_end=block), saving], **FIT)
    assert history.epochs == [1, 2, 3]
    assert stoop.load_checkpoint(tmp_path / "old").epoch == 1


def test_a_folder_with_fields_and_columns_that_were_not_measured(tmp_path: Path) -> None:
    saving = ModelCheckpoint(tmp_path / "run-{epoch}" / "m-{val_loss:.2f}.safetensors", save="all")
    trainer().fit(X, Y, epochs=2, validation_data=(X, Y), validation_freq=2, callbacks=saving, **FIT)
    assert [Path(path).parent.name for path in saving.paths] == ["run-2", "run-1"]
    assert Path(saving.paths[1]).name == "m-nan.safetensors"


def test_a_checkpoint_is_not_loaded_within_a_fit(tmp_path: Path) -> None:
    one = trainer()
    one.save_checkpoint(tmp_path / "c")
    load = Lambda(every_n_steps=2, on_steps_end=lambda of, _: of.load_checkpoint(tmp_path / "c"))
    with pytest.raises(ValueError, match=r"\[Trainer.load_checkpoint\] a fit of this trainer is running"):
        one.fit(X, Y, callbacks=load, **FIT)
    assert one.history.stop_reason == "error"
