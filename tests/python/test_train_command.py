"""`stoop train` and `stoop predict`: from a table to a model, and from the model to predictions."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stoop
from commands import Command, mixed_table, table
from helpers import run_python

pd = pytest.importorskip("pandas")

QUICK = ("--epochs", "40", "--learning-rate", "0.01")


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table and a model of each task."""
    folder = tmp_path_factory.mktemp("trained")
    mixed_table().to_csv(folder / "data.csv", index=False)
    for target, other in (("size", "value"), ("value", "size")):
        options = ("--target", target, "--drop", other, "-o", f"{target}.safetensors", *QUICK)
        run_python("-m", "stoop", "train", "data.csv", *options, cwd=folder)
    return folder


def predictions(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# ---- train ----


def test_classes(command: Command, tmp_path: Path) -> None:
    mixed_table(200).to_csv(tmp_path / "data.csv", index=False)
    model = tmp_path / "m.safetensors"
    train = ("train", tmp_path / "data.csv", "--target", "size", "--drop", "value", "-o", model)
    result = command(*train, *QUICK, "--json").result
    assert result["columns"] == {"mass": "number", "length": "number", "color": "category", "alive": "number"}
    assert (result["task"], result["classes"]) == ("classification", ["big", "small"])
    assert result["rows"] == {"train": 130, "dev": 30, "test": 40}
    assert result["scores"]["test"]["accuracy"] > 0.8
    assert set(result["scores"]["dev"]) == {"accuracy", "log_loss"}
    assert result["best_epoch"] <= result["epochs"] <= 40
    loaded = stoop.load_model(model)
    assert loaded.classes.tolist() == ["big", "small"]
    assert loaded.input_dim == 8  # mass, its mark, length, three colours, their mark, alive


def test_values(command: Command, tmp_path: Path) -> None:
    frame = mixed_table(200)
    frame["value"] = frame["value"] * 1000 + 5e5
    frame.to_csv(tmp_path / "data.csv", index=False)
    model = tmp_path / "m.safetensors"
    train = ("train", tmp_path / "data.csv", "--target", "value", "--drop", "size", "-o", model)
    result = command(*train, *QUICK, "--json").result
    assert (result["task"], result["classes"]) == ("regression", None)
    assert result["scores"]["test"]["r2"] > 0.8
    found = command("predict", model, tmp_path / "data.csv", "--json").result  # in the unit of the target
    assert found["scores"]["r2"] > 0.8
    assert found["scores"]["rmse"] == pytest.approx(
        float(np.sqrt(np.mean((frame["value"] - found["predictions"]) ** 2))), rel=1e-4
    )


def test_progress_and_results_are_apart(command: Command, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(table("x,y", lambda i: f"{i % 9},{'ab'[i % 9 > 4]}"))
    done = command("train", tmp_path / "data.csv", "--target", "y", "--epochs", "2", "-o", tmp_path / "m")
    assert "val loss" in done.err
    assert "40 rows" in done.err
    assert "val loss" not in done.out
    assert f"written {tmp_path / 'm'}" in done.out
    assert "accuracy" in done.out


def test_the_same_seed_gives_the_same_file(command: Command, tmp_path: Path) -> None:
    mixed_table().to_csv(tmp_path / "data.csv", index=False)
    train = ("train", tmp_path / "data.csv", "--target", "size", "--drop", "value", "--epochs", "3")
    for name, seed, threads in (("a", "1", "1"), ("b", "1", "2"), ("c", "2", "1")):
        command(*train, "--seed", seed, "--threads", threads, "-o", tmp_path / name)
    one, two, three = ((tmp_path / name).read_bytes() for name in "abc")
    assert one == two != three


def test_notes_of_what_is_odd(command: Command, tmp_path: Path) -> None:
    text = table("number,same,x,y", lambda i: f"{i},5,{i % 9},{'' if i == 3 else 'ab'[i % 2]}")
    (tmp_path / "data.csv").write_text(text)
    train = ("train", tmp_path / "data.csv", "--target", "y", "--epochs", "1", "-o", tmp_path / "m")
    done = command(*train, "--json")
    left_out, *notes = done.result["notes"]
    assert "1 of 40 rows are left out" in left_out
    assert any('"same" is the same in every row' in note for note in notes)
    assert left_out in done.err
    text = table("number,x,y", lambda i: f"{i},{i % 9},{'ab'[i % 2]}")
    (tmp_path / "data.csv").write_text(text)
    [note] = command(*train, "--json").result["notes"]
    assert "counts the rows" in note


def test_layers_and_settings_from_a_file(command: Command, tmp_path: Path) -> None:
    mixed_table().to_csv(tmp_path / "data.csv", index=False)
    file, model = tmp_path / "mlp.json", tmp_path / "m.safetensors"
    layers = [stoop.Dense(7, activation="tanh"), stoop.LayerNorm(), stoop.Dropout(0.1)]
    trainer = {"optimizer": stoop.optimizers.SGD(0.05, momentum=0.9).to_config(), "l2": 0.01}
    recipe: dict[str, Any] = {"layers": [*(layer.to_config() for layer in layers), {"type": "dense"}]}
    file.write_text(json.dumps({**recipe, "trainer": trainer, "epochs": 3, "batch_size": 10}))
    train = ("train", tmp_path / "data.csv", "--target", "size", "--drop", "value", "-o", model, "--model", file)
    assert command(*train, "--json").result["epochs"] == 3
    assert stoop.load_model(model).layers == (stoop.Normalization(missing="mean"), *layers, stoop.Dense(2))
    assert command(*train, "--json", "--epochs", "2").result["epochs"] == 2
    for content, words in (
        ("[]", '"layers"'),
        ("{", "no JSON"),
        ('{"layer": []}', 'did you mean "layers"'),
        ('{"epochs": 0}', "epochs is 0"),
        ('{"layers": [{"type": "dens"}]}', 'did you mean "dense"'),
        ('{"layers": [{"type": "dense"}, {"type": "dense"}]}', "units"),
        ('{"layers": [{"type": "dense", "units": 5}]}', "5 outputs"),
        ('{"layers": [{"type": "dense", "unit": 5}]}', "unit"),
        ('{"layers": [{"type": "dense", "units": "5"}]}', "units"),
        ('{"layers": [{"units": 5}]}', "type"),
        ('{"layers": [5]}', "layer"),
        ('{"trainer": {"loss": "mce"}}', "mse"),
        ('{"trainer": {"l3": 1}}', "l3"),
        ('{"trainer": {"optimizer": {"type": "adam", "rate": 1}}}', "rate"),
    ):
        file.write_text(content)
        assert words in command.refused(*train)
    file.write_text(json.dumps(recipe))
    assert "--hidden" in command.refused(*train, "--hidden", "8")
    file.write_text('{"trainer": {"loss": "binary_cross_entropy"}}')
    command(*train, "--epochs", "1")
    assert stoop.load_model(model).output_dim == 1
    assert command("predict", model, tmp_path / "data.csv", "--json").result["scores"]["log_loss"] > 0


def test_no_test_part(command: Command, tmp_path: Path) -> None:
    mixed_table().to_csv(tmp_path / "data.csv", index=False)
    train = ("train", tmp_path / "data.csv", "--target", "size", "--drop", "value", "--test-size", "0")
    result = command(*train, "--epochs", "1", "-o", tmp_path / "m", "--json").result
    assert list(result["scores"]) == ["train", "dev"]


def test_inputs_that_told_nothing_in_training_change_no_output(command: Command, tmp_path: Path) -> None:
    text = table(
        "x,rare,same,y", lambda i: f"{i % 9},{'rare' if i == 59 else 'usual'},{5 + (i == 59)},{'ab'[i % 9 > 4]}", 60
    )
    (tmp_path / "data.csv").write_text(text)
    train = ("train", tmp_path / "data.csv", "--target", "y", "--epochs", "1", "-o", tmp_path / "m")
    for seed in range(20):  # of which some do not train with the last row
        command(*train, "--seed", str(seed))
        weight = stoop.load_model(tmp_path / "m").parameters()["1.weight"]  # x, rare if it has seen it, usual, same
        assert weight[0].any()
        assert weight[-2].any()
        assert weight[-1].any() == (len(weight) == 4)
        if len(weight) == 3:
            return
    raise AssertionError


def test_the_file_has_the_statistics_once_and_takes_raw_numbers(command: Command, tmp_path: Path) -> None:
    frame = mixed_table(200)
    frame["mass"] = frame["mass"] * 1e-3 + 1e5  # float32 would round it
    frame.to_csv(tmp_path / "data.csv", index=False)
    train = ("train", tmp_path / "data.csv", "--target", "size", "--drop", "value", *QUICK)
    command(*train, "-o", tmp_path / "m")
    model = stoop.load_model(tmp_path / "m")
    assert isinstance(model.layers[0], stoop.Normalization)
    found = command("predict", tmp_path / "m", tmp_path / "data.csv", "--proba", "--json").result
    encode = {"red": [0, 0, 1], "green": [0, 1, 0], "blue": [1, 0, 0]}
    rows = [
        [mass, mass != mass, length, *encode.get(color, [0, 0, 0]), color not in encode, alive]
        for mass, length, color, alive in frame[["mass", "length", "color", "alive"]].itertuples(index=False)
    ]
    np.testing.assert_allclose(model.predict_proba(np.array(rows, np.float64)), found["probabilities"], rtol=1e-4)
    shift, scale = (model.buffers()[name] for name in ("0.shift", "0.scale"))
    assert shift[0] == pytest.approx(1e5, rel=1e-5)
    assert shift[[1, 3, 4, 5, 6]].tolist() == [0.0] * 5  # marks of 0 and 1 stay what they are
    assert scale[[1, 3, 4, 5, 6]].tolist() == [1.0] * 5
    assert "e5" not in model.metadata["stoop.table"]
    assert found["scores"]["accuracy"] > 0.8


# ---- Ctrl-C ----

SLOW = ("--epochs", "1000000", "--hidden", "256,256", "--learning-rate", "1e-6")


def interrupt(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Train for ever, and press Ctrl-C as soon as some epochs are complete."""
    arguments = ["train", "data.csv", "--target", "size", "--drop", "value", *SLOW, *options]
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "stoop", *arguments],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    seen = ""
    while " 3/1000000" not in seen:
        seen = process.stderr.readline()
        assert seen, "it has ended by itself"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def test_ctrl_c_keeps_the_best_model(tmp_path: Path) -> None:
    mixed_table().to_csv(tmp_path / "data.csv", index=False)
    done = interrupt(tmp_path, "-o", "m.safetensors", "--json")
    assert done.returncode == 130
    assert "the best model so far is in m.safetensors" in done.stderr
    result = json.loads(done.stdout)
    assert (result["stop_reason"], result["model"]) == ("interrupted", "m.safetensors")
    assert 1 <= result["best_epoch"] <= result["epochs"]
    run_python("-m", "stoop", "predict", "m.safetensors", "data.csv", cwd=tmp_path)
    whole = (tmp_path / "m.safetensors").read_bytes()
    assert "m.interrupted.safetensors" in interrupt(tmp_path, "-o", "m.safetensors").stderr
    assert (tmp_path / "m.safetensors").read_bytes() == whole  # one that is there already stays
    assert stoop.load_model(tmp_path / "m.interrupted.safetensors").input_dim == 8


# ---- predict ----


def test_predictions_as_csv(command: Command, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.csv"
    done = command("predict", trained / "size.safetensors", trained / "data.csv", "-o", out)
    rows = predictions(out)
    assert [list(row) for row in rows[:1]] == [["prediction"]]
    frame = pd.read_csv(trained / "data.csv")
    share = np.mean(frame["size"] == [row["prediction"] for row in rows])
    assert f"{share:.5g}" in done.out
    shown = command("predict", trained / "size.safetensors", trained / "data.csv")
    assert shown.out == out.read_text()
    assert f"{share:.5g}" in shown.err
    command("predict", trained / "value.safetensors", trained / "data.csv", "-o", out)
    values = [float(row["prediction"]) for row in predictions(out)]
    assert np.corrcoef(values, frame["value"])[0, 1] > 0.9


def test_probabilities(command: Command, trained: Path, tmp_path: Path) -> None:
    predict = ("predict", trained / "size.safetensors", trained / "data.csv", "--proba")
    command(*predict, "-o", tmp_path / "p.csv")
    for row in predictions(tmp_path / "p.csv"):
        big, small = float(row["probability of big"]), float(row["probability of small"])
        assert big + small == pytest.approx(1, abs=1e-5)
        assert row["prediction"] == ("big" if big > small else "small")
    result = command(*predict, "--json").result
    assert np.shape(result["probabilities"]) == (result["rows"], 2)
    assert len(result["predictions"]) == result["rows"]
    assert "--proba" in command.refused("predict", trained / "value.safetensors", trained / "data.csv", "--proba")


def test_another_order_of_columns_and_none_of_the_target(command: Command, trained: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(trained / "data.csv")
    frame[["alive", "color", "mass", "length"]].to_csv(tmp_path / "new.csv", index=False, sep=";")
    first = command("predict", trained / "size.safetensors", trained / "data.csv").out
    done = command("predict", trained / "size.safetensors", tmp_path / "new.csv")
    assert done.out == first
    assert "accuracy" not in done.err
    frame.to_parquet(tmp_path / "new.parquet")
    assert command("predict", trained / "size.safetensors", tmp_path / "new.parquet").out == first


def test_what_is_new_is_refused_or_ignored(command: Command, trained: Path, tmp_path: Path) -> None:
    model, new = trained / "size.safetensors", tmp_path / "new.csv"
    frame = pd.read_csv(trained / "data.csv").head(3)
    frame.assign(weight=1).to_csv(new, index=False)
    assert '"weight"' in command.refused("predict", model, new)
    command("predict", model, new, "--unknown", "ignore")
    frame.assign(color=["red", "pink", "blue"]).to_csv(new, index=False)
    assert '"color" has the category "pink" at row 2' in command.refused("predict", model, new)
    command("predict", model, new, "--unknown", "ignore")
    frame.drop(columns="mass").to_csv(new, index=False)
    for options in ((), ("--unknown", "ignore")):
        assert '1 column missing: "mass"' in command.refused("predict", model, new, *options)
    frame.assign(length=None).to_csv(new, index=False)
    assert 'had in every row: "length"' in command("predict", model, new).err
    frame.assign(size=["big", "huge", "small"]).to_csv(new, index=False)
    assert '"huge" at row 2' in command("predict", model, new).err


def test_classes_come_back_as_they_were(command: Command, tmp_path: Path) -> None:
    new = tmp_path / "new.csv"
    for classes in (["yes", "no"], ["1", "2"], ["-1", "1"], ["01", "02"], ["True", "False"], ["é", "a b"]):
        text = table("x,y", lambda i, classes=classes: f"{i % 9},{classes[i % 9 > 4]}")
        new.write_text(text, encoding="utf-8")
        command("train", new, "--target", "y", *QUICK, "-o", tmp_path / "m")
        out = command("predict", tmp_path / "m", new).out.split("\n")
        assert out[1:10] == [classes[i % 9 > 4] for i in range(9)]


def test_a_failed_run_changes_no_file(command: Command, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("x,y\n1,a\n")
    for name in ("m.safetensors", "p.csv"):
        (tmp_path / name).write_text("kept")
    command.refused("train", tmp_path / "bad.csv", "--target", "y", "-o", tmp_path / "m.safetensors")
    command.refused("predict", trained / "size.safetensors", tmp_path / "bad.csv", "-o", tmp_path / "p.csv")
    for name in ("m.safetensors", "p.csv"):
        assert (tmp_path / name).read_text() == "kept"
    assert len(list(tmp_path.iterdir())) == 3


def test_a_model_without_a_table(command: Command, trained: Path, tmp_path: Path) -> None:
    stoop.Model([stoop.Dense(2)], input_dim=3).save(tmp_path / "m")
    assert "knows no table" in command.refused("predict", tmp_path / "m", trained / "data.csv")
    model = stoop.load_model(trained / "size.safetensors")
    other = stoop.Model([stoop.Dense(2)], input_dim=3)
    other.metadata = dict(model.metadata)
    other.save(tmp_path / "m")
    assert "8 encoded columns for 3 inputs" in command.refused("predict", tmp_path / "m", trained / "data.csv")


def test_the_file_is_read_by_load_model_too(trained: Path) -> None:
    model = stoop.load_model(trained / "size.safetensors")
    state = json.loads(model.metadata["stoop.table"])
    assert state["target"]["classes"] == ["big", "small"]
    assert [column["name"] for column in state["columns"]] == ["mass", "length", "color", "alive"]
