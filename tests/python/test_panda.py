"""The example that babysits one model shows what it claims, which it asserts itself."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from helpers import REPOSITORY


def test_the_example_shows_what_it_claims(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location("panda", REPOSITORY / "examples" / "panda.py")
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    history = example.main(tmp_path / "panda.svg")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[: example.DAYS]] == [f"day {day}" for day in range(1, 9)]
    assert len(lines) == example.DAYS + len(history.changes)
    assert all(change["epoch"] % example.EPOCHS == 1 for change in history.changes)
    assert len(history.epochs) == example.DAYS * example.EPOCHS
    assert (tmp_path / "panda.svg").stat().st_size > 1000
