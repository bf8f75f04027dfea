"""stoop.tabular: what a cell is, whatever library or file it comes from and whatever the other cells are."""

from __future__ import annotations

import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import run_python

pytest.importorskip("sklearn")
pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")

from stoop.tabular import TabularClassifier, TabularRegressor  # noqa: E402

ROWS = 120
SMALL: dict[str, Any] = {"hidden": (8,), "members": 2, "epochs": 40, "random_state": 0, "num_threads": 1}
NUMBER = np.random.default_rng(0).normal(size=ROWS)
PLACE = np.random.default_rng(1).integers(0, 4, ROWS)  # of one of four categories


def fitted(categories: Any, **options: Any) -> tuple[TabularRegressor, Any]:
    """Return an estimator that has learnt 5 for each place of a category, and its table."""
    frame = pd.DataFrame({"c": pd.Series(categories).iloc[PLACE].to_numpy(), "x": NUMBER})
    return TabularRegressor(**SMALL, **options).fit(frame, 5.0 * PLACE), frame


def codes_of(model: TabularRegressor, table: Any) -> Any:
    return model.encode(table)[:, 0]


@pytest.mark.parametrize("names", [["1", "1.0", "1.1", "2"], ["1", "1.0", "beta", "2.0"]])
def test_a_name_does_not_depend_on_the_rows_beside_it(names: list[str]) -> None:
    model, frame = fitted(names, categorical=["c"])
    assert len(np.unique(codes_of(model, frame))) == 4
    whole = frame[frame.c.isin(["1", "1.0", "2.0"])]
    np.testing.assert_array_equal(codes_of(model, whole), codes_of(model, frame)[whole.index])


def test_whole_numbers_of_floats_are_those_of_text() -> None:
    model, frame = fitted(["1.0", "2.0", "3.0", "10.0"], categorical=["c"])
    wanted = codes_of(model, frame)
    numbers = frame.c.astype(float)
    for other in (numbers, numbers.astype(int), numbers.astype(int).astype(str)):
        np.testing.assert_array_equal(codes_of(model, frame.assign(c=other)), wanted)


@pytest.mark.parametrize("outlier", [0.0, -1.0])
def test_an_outlier_does_not_hide_what_float32_cannot_hold(outlier: float) -> None:
    x = 1e9 + NUMBER
    x[:40] = outlier
    for X in (x[:, np.newaxis], pd.DataFrame({"x": x}), pd.DataFrame({"x": x, "c": "a"})):
        model = TabularRegressor(**SMALL).fit(X, np.where(x > 0, NUMBER, 0.0))
        assert model.encode(X).dtype == np.float64
        np.testing.assert_array_equal(np.unique(model.encode(X)[:, 0]), np.unique(x))


def test_numbers_that_float32_tells_apart_stay_float32() -> None:
    for x in (NUMBER, 1e9 * NUMBER, np.exp(20.0 * NUMBER), np.round(NUMBER), np.arange(ROWS) % 2 * 1.1):
        X = x[:, np.newaxis]
        assert TabularRegressor(**{**SMALL, "epochs": 1}).fit(X, NUMBER).encode(X).dtype == np.float32


def test_long_whole_numbers_are_categories_digit_by_digit() -> None:
    ids = 10**18 + np.arange(4)
    model, frame = fitted(ids, categorical=["c"])
    wanted = codes_of(model, frame)
    assert len(np.unique(wanted)) == 4
    others: list[Any] = [frame.astype({"c": object}), frame.astype({"c": "Int64"}), frame.astype({"c": str})]
    for other in [*others, pa.Table.from_pandas(frame)]:
        np.testing.assert_array_equal(codes_of(model, other), wanted)
    column = pa.array([None, *frame.c[1:]], pa.int64())
    np.testing.assert_array_equal(codes_of(model, pa.table({"c": column, "x": NUMBER})), [-1, *wanted[1:]])
    unknown = frame.assign(c=10**18 + 7)
    assert (codes_of(model, unknown) == 4).all()


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, object])
def test_a_matrix_of_long_whole_numbers(dtype: Any) -> None:
    X = np.column_stack([2**60 + PLACE, PLACE]).astype(dtype)
    model = TabularRegressor(**SMALL, categorical=[0]).fit(X, PLACE)
    assert len(np.unique(codes_of(model, X))) == 4


def test_a_large_float_is_the_whole_number() -> None:
    model, frame = fitted([1e17, 2e17, 3e17, 4e17], categorical=["c"])
    np.testing.assert_array_equal(codes_of(model, frame.astype({"c": "int64"})), codes_of(model, frame))


def test_dictionaries_of_arrow_are_categories_in_any_library() -> None:
    codes = pa.array([5, 6, 7, 9]).take(pa.array(PLACE)).dictionary_encode()
    table = pa.table({"c": codes, "x": NUMBER})
    frame = table.to_pandas(types_mapper=pd.ArrowDtype)
    model = TabularRegressor(**SMALL).fit(frame, PLACE)
    assert model._features.encoder.columns[0].kind == "code"
    for other in (table, table.to_pandas()):
        np.testing.assert_array_equal(codes_of(model, other), codes_of(model, frame))


TIMES = pd.to_datetime(["2020-01-01 05:00", "2020-01-02 06:30", "2020-03-01 00:00", "2021-01-01 12:00"])


@pytest.mark.parametrize(
    "cells",
    [
        pd.Categorical(TIMES),
        pd.Categorical(TIMES.tz_localize("Europe/Berlin")),
        pd.Categorical(TIMES - TIMES[0]),
        pd.Series([decimal.Decimal(text) for text in ("1.50", "0.10", "2.00", "3.25")], dtype=object),
    ],
    ids=["times", "times with a zone", "spans", "decimals"],
)
def test_cells_of_arrow_have_the_names_of_those_of_pandas(cells: Any) -> None:
    column = pd.Series(cells).iloc[PLACE].reset_index(drop=True)
    frame = pd.DataFrame({"c": column, "x": NUMBER})
    model = TabularRegressor(**{**SMALL, "epochs": 1}, categorical=["c"]).fit(frame, PLACE)
    np.testing.assert_array_equal(np.unique(codes_of(model, frame)), range(4))
    np.testing.assert_array_equal(codes_of(model, pa.Table.from_pandas(frame)), codes_of(model, frame))


def test_categories_of_arrow_that_are_no_text_are_refused() -> None:
    frame = pd.DataFrame({"c": pd.cut(NUMBER, 3), "x": NUMBER})
    TabularRegressor(**{**SMALL, "epochs": 1}).fit(frame, NUMBER)
    with pytest.raises(TypeError, match=r'column "c" has categories of type .*interval.*; write them as text'):
        TabularRegressor(**SMALL).fit(pa.Table.from_pandas(frame), NUMBER)


def test_lists_named_as_categories() -> None:
    lists = pd.Series([[1], [2, 3], [4], []]).iloc[PLACE].reset_index(drop=True)
    frame = pd.DataFrame({"c": lists.astype(pd.ArrowDtype(pa.list_(pa.int64()))), "x": NUMBER})
    model = TabularRegressor(**{**SMALL, "epochs": 1}, categorical=["c"]).fit(frame, NUMBER)
    assert len(np.unique(codes_of(model, frame))) == 4


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_category_that_looks_like_a_missing_cell(tmp_path: Path, suffix: str) -> None:
    frame = pd.DataFrame({"c": np.array(["NA", "DE", "FR", "None"])[PLACE], "x": NUMBER})
    model = TabularRegressor(**SMALL).fit(frame, pd.Series(5.0 * PLACE, name="t"))
    model.save(tmp_path / "m.safetensors")
    table, out = tmp_path / f"t.{suffix}", tmp_path / "out.csv"
    frame.to_csv(table, index=False) if suffix == "csv" else frame.to_parquet(table)
    done = run_python("-m", "stoop", "predict", tmp_path / "m.safetensors", table, "-o", out)
    assert "missing" not in done.stderr
    np.testing.assert_allclose(pd.read_csv(out).iloc[:, 0], model.predict(frame), rtol=1e-5, atol=1e-5)


def test_empty_text_is_missing_where_training_had_missing_cells(tmp_path: Path) -> None:
    frame = pd.DataFrame({"c": np.array(["", "DE", "FR", None], object)[PLACE], "x": NUMBER})
    model = TabularRegressor(**SMALL).fit(frame, 5.0 * PLACE)
    model.save(tmp_path / "m.safetensors")
    frame.to_csv(tmp_path / "t.csv", index=False)
    run_python("-m", "stoop", "predict", tmp_path / "m.safetensors", tmp_path / "t.csv", "-o", tmp_path / "out.csv")
    wanted = model.predict(frame.replace({"c": {"": None}}))
    np.testing.assert_allclose(pd.read_csv(tmp_path / "out.csv").iloc[:, 0], wanted, rtol=1e-5, atol=1e-5)


def test_masked_cells_are_missing() -> None:
    X = np.column_stack([NUMBER, np.where(PLACE == 0, 1e20, NUMBER), PLACE])
    masked, missing = np.ma.masked_greater(X, 1e10), np.where(X > 1e10, np.nan, X)
    model = TabularRegressor(**{**SMALL, "epochs": 2}).fit(masked, NUMBER)
    other = TabularRegressor(**{**SMALL, "epochs": 2}).fit(missing, NUMBER)
    np.testing.assert_array_equal(model.encode(masked), other.encode(missing))
    np.testing.assert_array_equal(model.predict(masked), other.predict(missing))
    text = np.ma.masked_array(X.astype(object), X > 1e10)
    np.testing.assert_array_equal(model.encode(text), other.encode(missing))


@pytest.mark.parametrize("kind", [TabularClassifier, TabularRegressor])
def test_masked_targets_and_weights_are_refused(kind: Any) -> None:
    X, masked = NUMBER[:, np.newaxis], np.ma.masked_equal(PLACE, 0)
    with pytest.raises(ValueError, match="y is a masked array"):
        kind(**SMALL).fit(X, masked)
    with pytest.raises(ValueError, match="sample_weight is a masked array"):
        kind(**SMALL).fit(X, PLACE, sample_weight=masked)


@pytest.mark.parametrize("categories", [5, 60])
def test_weights_are_rows_repeated_with_any_number_of_categories(categories: int) -> None:
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"a": NUMBER[:90].round(1), "b": [f"c{i}" for i in rng.integers(0, categories, 90)]})
    weights = rng.integers(1, 3, 90)
    rows = np.repeat(np.arange(90), weights)
    y = frame.a + rng.normal(size=90).round(1)
    short = {**SMALL, "epochs": 3}
    once = TabularRegressor(**short).fit(frame, y, sample_weight=weights.astype(float))
    twice = TabularRegressor(**short).fit(frame.iloc[rows], y.iloc[rows])
    np.testing.assert_array_equal(once.predict(frame), twice.predict(frame))
