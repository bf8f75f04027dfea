"""What 60 models compute is, bit by bit, what it was; tests/tools/golden_bits.py says what that depends on."""

from __future__ import annotations

import importlib.util
import json
import sys
from typing import Any

import pytest

import stoop
from helpers import REPOSITORY, run_python

SCRIPT = REPOSITORY / "tests/tools/golden_bits.py"
GOLDEN = json.loads(SCRIPT.with_suffix(".json").read_text())


def load() -> Any:
    sys.path.insert(0, str(SCRIPT.parent))  # for golden_models
    spec = importlib.util.spec_from_file_location("golden_bits", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("isa", [isa for isa in GOLDEN if isa != "made with"])
def test_the_bits_are_what_they_were(isa: str) -> None:
    """For 1, 2 and 3 threads."""
    if isa not in stoop._core.available_isas():
        pytest.skip(f"this CPU has no {isa}")
    before, here = GOLDEN["made with"], load().made_with()
    needed = ("machine", "libm") if isa == "scalar" else tuple(before)
    other = [key for key in needed if here[key] != before[key]]
    if other:
        pytest.skip(f"the bits of {isa} depend on {', '.join(other)}, here {', '.join(here[key] for key in other)}")
    done = run_python(SCRIPT, "--check", SCRIPT.with_suffix(".json"), "--isa", isa, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_models_are_drawn_as_ever() -> None:
    script = load()
    models = script.draw_models()
    assert len(models) == script.MODELS == len(GOLDEN["scalar"])
    assert script.hash_of(repr(models)) == "28be2db579b70464"
