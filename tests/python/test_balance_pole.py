"""The deep Q-network of the examples balances its pole, whichever seed it starts from."""

from __future__ import annotations

import importlib.util
import time
from typing import Any

import numpy as np
import pytest

from helpers import REPOSITORY


@pytest.fixture(scope="module")
def example() -> Any:
    spec = importlib.util.spec_from_file_location("balance_pole", REPOSITORY / "examples" / "balance_pole.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_pole_falls_by_itself(example: Any) -> None:
    states = example.push(np.array([[0.0, 0.0, 0.02, 0.0]] * 2), np.array([0, 1]))
    expected = [[0.0, -0.1954, 0.02, 0.2989], [0.0, 0.1948, 0.02, -0.2861]]  # by hand, from the equations
    assert np.abs(states - expected).max() < 5e-4


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_the_pole_is_balanced(example: Any, seed: int) -> None:
    start = time.process_time()
    model, _ = example.learn(seed)
    assert time.process_time() - start < 120.0  # 60 s on two cores
    assert example.mean_return(model, np.random.default_rng(100 + seed), episodes=20) >= 475
