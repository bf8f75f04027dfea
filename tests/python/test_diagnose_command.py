"""`stoop diagnose`, `stoop search` and reports: what is wrong with a network of a table, and which would be better."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

import stoop
from commands import Command, mixed_table
from test_error_analysis import check_in_browser

pd = pytest.importorskip("pandas")

QUICK = ("--epochs", "40", "--learning-rate", "0.01")


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


def train(command: Command, folder: Path, target: str = "size", *options: str | Path) -> tuple[Path, Path, dict]:
    """A model of a table, the table, and what `stoop train` said."""
    table, model = folder / "data.csv", folder / f"{target}.safetensors"
    mixed_table(200).drop(columns="value" if target == "size" else "size").to_csv(table, index=False)
    return model, table, command("train", table, "--target", target, "-o", model, *QUICK, *options, "--json").result


@pytest.mark.parametrize("target", ["size", "value"])
def test_the_table_of_training_is_split_as_it_was(command: Command, tmp_path: Path, target: str) -> None:
    model, table, trained = train(command, tmp_path, target)
    found = command("diagnose", model, table, "--json").result
    assert found["rows"] == trained["rows"]
    for part, scores in trained["scores"].items():
        assert found["scores"][part] == pytest.approx(scores, rel=1e-5)
    assert found["summary"]
    assert "best epoch" not in command("diagnose", model, table).out


def test_another_table_is_evaluated(command: Command, tmp_path: Path) -> None:
    model, table, _ = train(command, tmp_path)
    other = tmp_path / "other.csv"
    mixed_table(60, seed=1).drop(columns="value").to_csv(other, index=False)
    found = command("diagnose", model, other, "--json").result
    assert found["rows"] == {"test": 60}
    assert found["scores"]["test"]["accuracy"] > 0.7
    assert found["findings"] is None
    assert "worst mistakes" in command("diagnose", model, other).out
    assert "--train" in command.refused("diagnose", model, other, "--report", tmp_path / "r.html")
    assert "other.csv is not the table" in command.refused("diagnose", model, table, "--train", other)
    both = command("diagnose", model, other, "--train", table, "--json").result
    assert both["rows"] == {"train": 130, "dev": 30, "test": 60}
    assert both["scores"]["test"] == found["scores"]["test"]
    assert both["summary"]


def test_what_is_wrong_is_found(command: Command, tmp_path: Path) -> None:
    frame = mixed_table(200).drop(columns="value")
    frame.to_csv(tmp_path / "t.csv", index=False)
    arguments = (tmp_path / "t.csv", "--target", "size", "-o", tmp_path / "m", "--epochs", "1")
    command("train", *arguments)
    found = command("diagnose", tmp_path / "m", tmp_path / "t.csv", "--json").result
    faults = [finding["fault"] for finding in found["findings"]]
    assert "high bias" in faults
    assert set(found["findings"][0]) == {"fault", "evidence", "advice"}
    assert faults[0] in found["summary"]
    none = command("diagnose", tmp_path / "m", tmp_path / "t.csv", "--target-error", "0.6", "--json").result
    assert "high bias" not in [finding["fault"] for finding in none["findings"]]


@pytest.mark.parametrize("target", ["size", "value"])
def test_a_report_of_the_training(command: Command, tmp_path: Path, target: str) -> None:
    pytest.importorskip("matplotlib", reason="Matplotlib is not installed")
    report = tmp_path / "report.html"
    *_, trained = train(command, tmp_path, target, "--report", report)
    assert trained["report"] == str(report)
    text = report.read_text(encoding="utf-8")
    assert f"{target} by data.csv" in text
    assert text.count("<svg") >= 3
    assert trained["summary"] in re.sub("<[^>]*>", "", text)
    for column in ("color", "alive"):  # the error by category
        assert column in text
    model, table, same = train(command, tmp_path, target)
    assert same["scores"] == trained["scores"]  # the diagnosis changes nothing
    later = tmp_path / "later.html"
    command("diagnose", model, table, "--report", later)
    assert "<svg" in later.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("target", ["size", "value"])
def test_the_report_in_a_browser(command: Command, tmp_path: Path, target: str) -> None:
    pytest.importorskip("matplotlib", reason="Matplotlib is not installed")
    train(command, tmp_path, target, "--report", tmp_path / "report.html")
    check_in_browser(tmp_path / "report.html")


def test_the_target_must_be_there(command: Command, tmp_path: Path) -> None:
    model, table, _ = train(command, tmp_path)
    other = tmp_path / "other.csv"
    frame = pd.read_csv(table)
    frame.drop(columns="size").to_csv(other, index=False)
    assert 'unknown column "size"' in command.refused("diagnose", model, other)
    frame.assign(size=None).to_csv(other, index=False)
    assert "no values" in command.refused("diagnose", model, other)
    frame.assign(size="huge").to_csv(other, index=False)
    assert '"huge" at row 1' in command.refused("diagnose", model, other)


# ---- search ----


def search(command: Command, folder: Path, *options: str | Path, target: str = "size") -> dict:
    table = folder / "data.csv"
    mixed_table().drop(columns="value" if target == "size" else "size").to_csv(table, index=False)
    arguments = ("--target", target, "-o", folder / "best.safetensors", "--epochs", "10")
    return command("search", table, *arguments, *options, "--json").result


@pytest.mark.parametrize("target", ["size", "value"])
def test_the_best_of_several(command: Command, tmp_path: Path, target: str) -> None:
    found = search(command, tmp_path, "--trials", "6", "--csv", tmp_path / "trials.csv", target=target)
    with (tmp_path / "trials.csv").open(encoding="utf-8", newline="") as file:
        trials = list(csv.DictReader(file))
    assert len(trials) == found["trials"] == 6
    values = [float(trial["value"]) for trial in trials]
    assert found["best_value"] == min(values)
    model = stoop.load_model(tmp_path / "best.safetensors")
    assert model.layers[-2].rate == found["best_params"]["dropout"]
    assert found["epochs"] <= 10
    scores = found["scores"]["dev"]
    if target == "size":
        assert scores["log_loss"] == pytest.approx(found["best_value"], rel=1e-5)
    again = command("diagnose", tmp_path / "best.safetensors", tmp_path / "data.csv", "--json").result
    assert again["scores"]["dev"] == pytest.approx(scores, rel=1e-5)


def test_a_space_of_ones_own(command: Command, tmp_path: Path) -> None:
    space = {
        "units": {"choice": [5, 6]},
        "depth": 2,
        "activation": "tanh",
        "learning_rate": {"log_uniform": [0.01, 0.1]},
    }
    file = tmp_path / "space.json"
    file.write_text(json.dumps(space))
    found = search(command, tmp_path, "--trials", "3", "--space", file)
    assert found["best_params"]["units"] in (5, 6)
    layers = stoop.load_model(tmp_path / "best.safetensors").layers
    assert [layer.activation for layer in layers if isinstance(layer, stoop.Dense)] == ["tanh", "tanh", None]
    arguments = ("--target", "size", "-o", tmp_path / "best.safetensors", "--space", file)
    for content, words in (
        ("{}", "no parameters"),
        ("[", "no JSON"),
        ('{"unit": 5}', 'did you mean "units"'),
        ('{"units": {"choise": [5]}}', 'did you mean "choice"'),
        ('{"units": {"uniform": [1, 2], "choice": [5]}}', "one kind"),
        ('{"units": {"integers": [5]}}', "units"),
        ('{"units": {"integers": 5}}', "units"),
        ('{"l2": {"log_uniform": [0, 1]}}', "above 0"),
    ):
        file.write_text(content)
        assert words in command.refused("search", tmp_path / "data.csv", *arguments)


def test_a_search_goes_on_from_its_storage(command: Command, tmp_path: Path) -> None:
    first = search(command, tmp_path, "--trials", "2", "--storage", tmp_path / "trials.log")
    second = search(command, tmp_path, "--trials", "4", "--storage", tmp_path / "trials.log")
    alone = search(command, tmp_path, "--trials", "4")
    assert second["best_params"] == alone["best_params"]
    assert first["trials"] == 2
