"""docs/command-line.md has the options that the commands have, and the keys that they print."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from pathlib import Path

import pytest

from commands import Command, mixed_table
from helpers import REPOSITORY, run_python
from stoop.cli import parser

PAGE = (REPOSITORY / "docs" / "command-line.md").read_text(encoding="utf-8")
COMMANDS = ("train", "predict", "diagnose", "search")


def section(name: str) -> str:
    """The text below a heading, up to the next of the same level."""
    return re.split(r"^## ", PAGE.split(f"\n## {name}\n")[1], flags=re.MULTILINE)[0]


def options_of(command: str) -> set[str]:
    [commands] = [action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]
    actions = commands.choices[command]._actions
    return {option for action in actions for option in action.option_strings if action.dest != "help"}


def named_in(text: str) -> set[str]:
    return set(re.findall(r"`(--?[a-z][a-z-]*)", text))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_on_the_page(command: str) -> None:
    text = section(command.capitalize())
    if command == "search":
        text += section("Train")
    assert options_of(command) - named_in(text) == set()


def test_the_page_names_no_other_options() -> None:
    known = set().union(*map(options_of, COMMANDS))
    assert named_in(PAGE) - known == set()


@pytest.mark.parametrize("block", re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))
def test_files_on_the_page_are_taken(block: str, tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    pd.DataFrame({"x": range(40), "z": [i * i % 7 for i in range(40)], "y": ["a", "b"] * 20}).to_csv(
        tmp_path / "t.csv", index=False
    )
    (tmp_path / "file.json").write_text(block)
    is_model = "layers" in json.loads(block)
    command = ("train", "--model") if is_model else ("search", "--trials=2", "--space")
    options = ("file.json", "t.csv", "--target", "y", "--epochs", "2", "-o", "m", "--json")
    found = json.loads(run_python("-m", "stoop", *command, *options, cwd=tmp_path).stdout)
    assert found["epochs"] == 2


def test_the_commands_of_the_readme_run(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    [block] = re.findall(r"^## From the command line\n.*?^```sh\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    for line in block.splitlines():
        program, *arguments = shlex.split(line, comments=True)
        assert program in ("python", "stoop")
        start = () if program == "python" else ("-m", "stoop")
        done = run_python(*start, *arguments, cwd=tmp_path, timeout=120)
        if arguments[0] == "train":
            assert float(done.stdout.split("test ")[1].split()[0]) > 0.9
    assert {"wine.csv", "wine.safetensors", "predictions.csv"} <= {path.name for path in tmp_path.iterdir()}


def keys_for(command: str) -> set[str]:
    """The keys that the table has for a command."""
    found = set()
    for keys, of, *_ in (line.strip("|").split("|") for line in section("JSON").splitlines() if line.startswith("| `")):
        if of.strip() == "all" or command in of:
            found |= set(re.findall(r"`(\w+)`", keys))
    return found


def test_the_keys_of_the_result_are_on_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pandas")
    table, model = tmp_path / "t.csv", tmp_path / "m"
    mixed_table().drop(columns="value").to_csv(table, index=False)
    of_training = (table, "--target", "size", "--learning-rate", "0.01", "--epochs", "40", "-o", model)
    runs = {
        "train": of_training,
        "predict": (model, table, "--proba"),
        "diagnose": (model, table),
        "search": (table, "--target", "size", "--trials", "2", "--epochs", "2", "-o", model),
    }
    for command, arguments in runs.items():
        assert set(Command(capsys)(command, *arguments, "--json").result) == keys_for(command)
