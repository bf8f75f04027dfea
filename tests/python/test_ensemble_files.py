"""Files of ensembles: the same bits again, damaged files, and files that hold something else."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stoop
from helpers import DTYPES, bits, refused
from test_ensemble import heads_of, models_of, samples


@pytest.fixture
def ensemble_file(tmp_path: Path) -> Path:
    path = tmp_path / "ensemble.safetensors"
    stoop.Ensemble(models_of(classes=["a", "b", "c"], output="softmax")).save(path)
    return path


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_file_gives_the_same_ensemble(tmp_path: Path, dtype: str) -> None:
    saved = stoop.Ensemble(models_of(dtype, classes=["a", "b", "c"], output="softmax"))
    path = tmp_path / "e.safetensors"
    saved.save(path)
    loaded = stoop.load_ensemble(os.fspath(path))
    assert isinstance(loaded, stoop.Ensemble)
    assert loaded.predict(samples(20)).tobytes() == saved.predict(samples(20)).tobytes()
    for before, after in zip(saved, loaded, strict=True):
        assert before.layers == after.layers
        assert (before.input_scale, before.dtype, before.output) == (after.input_scale, after.dtype, after.output)
        assert after.classes is not None
        assert after.classes.tolist() == ["a", "b", "c"]
        state = before.state_dict()
        assert {name: value.tobytes() for name, value in after.state_dict().items()} == {
            name: value.tobytes() for name, value in state.items()
        }
    assert [path] == list(tmp_path.iterdir())


def test_training_sets_the_output_of_loaded_members(tmp_path: Path) -> None:
    """As that of a model that was loaded."""
    stoop.Ensemble(heads_of(2, None)).save(tmp_path / "e.safetensors")
    ensemble = stoop.load_ensemble(tmp_path / "e.safetensors")
    for model in ensemble:
        stoop.Trainer(model).fit(samples(8), np.arange(8) % 2, epochs=1, verbose=0)
    assert ensemble.output == "softmax"


def test_a_failed_save_leaves_the_old_file(ensemble_file: Path) -> None:
    before = ensemble_file.read_bytes()
    ensemble_file.chmod(0o444)
    with pytest.raises(PermissionError):
        stoop.Ensemble(heads_of(2, None)).save(ensemble_file)
    assert ensemble_file.read_bytes() == before
    assert list(ensemble_file.parent.iterdir()) == [ensemble_file]


def test_files_that_hold_something_else(ensemble_file: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    trainer = stoop.Trainer(heads_of(2, None)[0])
    trainer.model.save(model)
    with refused(stoop.CheckpointError, "load_ensemble", "holds one model", "load_model"):
        stoop.load_ensemble(model)
    trainer.save_checkpoint(model)
    with refused(stoop.CheckpointError, "load_ensemble", "holds one model", "load_model"):
        stoop.load_ensemble(model)
    with refused(stoop.CheckpointError, "load_model", "holds an ensemble", "load_ensemble"):
        stoop.load_model(ensemble_file)
    with refused(stoop.CheckpointError):
        stoop.load_checkpoint(ensemble_file)
    (tmp_path / "text").write_text("no file of ours")
    with refused(stoop.CheckpointError, "text"):
        stoop.load_ensemble(tmp_path / "text")
    with pytest.raises(FileNotFoundError):
        stoop.load_ensemble(tmp_path / "none")
    with refused(TypeError):
        stoop.load_ensemble(7)  # type: ignore[arg-type]


def parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 64 + 56)
    return struct.pack("<Q", len(text)) + text + data


def rename(header: dict[str, Any], old: str, new: str) -> None:
    header[new] = header.pop(old)


def with_member(header: dict[str, Any], number: int, **changes: Any) -> None:
    config = json.loads(header["__metadata__"][f"stoop.member.{number}"])
    header["__metadata__"][f"stoop.member.{number}"] = json.dumps(config | changes)


CHANGES: list[tuple[str, Callable[[dict[str, Any]], Any], str]] = [
    ("no format", lambda header: header["__metadata__"].pop("stoop.format"), "no stoop architecture"),
    ("later format", lambda header: header["__metadata__"].update({"stoop.format": "2"}), "format \"2\""),
    ("no ensemble", lambda header: header["__metadata__"].pop("stoop.ensemble"), "no stoop ensemble"),
    ("no number", lambda header: header["__metadata__"].update({"stoop.ensemble": "many"}), "\"many\" members"),
    ("no members", lambda header: header["__metadata__"].update({"stoop.ensemble": "0"}), "\"0\" members"),
    ("fewer members", lambda header: header["__metadata__"].update({"stoop.ensemble": "4"}), "tensors"),
    ("more members", lambda header: header["__metadata__"].update({"stoop.ensemble": "9" * 11}), "expected at most"),
    ("a member more", lambda header: header["__metadata__"].update({"stoop.ensemble": "6"}), "no stoop arch"),
    ("a member less", lambda header: header["__metadata__"].pop("stoop.member.3"), "no stoop architecture"),
    ("no layers", lambda header: with_member(header, 2, layers=[]), "cannot be built"),
    ("other input", lambda header: with_member(header, 1, input_dim=7), "1.0.weight of another shape"),
    ("other output", lambda header: with_member(header, 1, output="identity"), "fit together.*member 1"),
    ("a tensor less", lambda header: rename(header, "2.0.weight", "2.1.weight"), "no tensor \"2.0.weight\""),
]  # fmt: skip


@pytest.mark.parametrize(("change", "pattern"), [case[1:] for case in CHANGES], ids=[case[0] for case in CHANGES])
def test_headers_that_do_not_fit(ensemble_file: Path, change: Callable[[dict[str, Any]], Any], pattern: str) -> None:
    header, data = parts(ensemble_file.read_bytes())
    change(header)
    ensemble_file.write_bytes(joined(header, data))
    with refused(stoop.CheckpointError, "ensemble.safetensors", pattern):
        stoop.load_ensemble(ensemble_file)


def test_a_truncated_file(ensemble_file: Path) -> None:
    content = ensemble_file.read_bytes()
    for length in (*range(0, len(content), 101), len(content) - 1):
        ensemble_file.write_bytes(content[:length])
        with refused(stoop.CheckpointError, "ensemble.safetensors"):
            stoop.load_ensemble(ensemble_file)


def test_a_flipped_bit_in_the_header_is_refused_or_harmless(ensemble_file: Path) -> None:
    content = ensemble_file.read_bytes()
    header = struct.unpack("<Q", content[:8])[0]
    messages = []
    for position in range(0, 8 + len(content[8 : 8 + header].rstrip()), 7):
        damaged = bytearray(content)
        damaged[position] ^= 1 << (position % 8)
        ensemble_file.write_bytes(damaged)
        try:
            stoop.load_ensemble(ensemble_file)
        except stoop.CheckpointError as error:
            messages.append(str(error))
    assert len(messages) > 100
    assert all("ensemble.safetensors" in message for message in messages)


def test_a_member_is_no_copy_in_the_file_of_another(ensemble_file: Path) -> None:
    """The members' tensors stand under their numbers."""
    header, _ = parts(ensemble_file.read_bytes())
    loaded = stoop.load_ensemble(ensemble_file)
    names = [f"{i}.{name}" for i, model in enumerate(loaded) for name in model.state_dict()]
    assert sorted(names) == sorted(set(header) - {"__metadata__"})
    assert bits(loaded[0]) != bits(loaded[1])
