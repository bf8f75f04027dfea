"""The example of a deep ensemble shows what it claims, which it asserts itself."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from helpers import REPOSITORY


def test_the_example_shows_what_it_claims(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("deep_ensemble", REPOSITORY / "examples" / "deep_ensemble.py")
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    pytest.importorskip("matplotlib").use("svg")
    example.main(tmp_path / "bands.svg")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert lines[0].split()[2:] == ["50%", "80%", "90%", "95%"]
    assert (tmp_path / "bands.svg").stat().st_size > 1000
