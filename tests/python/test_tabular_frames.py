"""What the estimators of stoop.tabular take for X: frames of other libraries, arrays, and columns that are odd."""

from __future__ import annotations

import datetime as dt
import warnings
from typing import Any

import numpy as np
import pytest

from helpers import refused

pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")

import stoop.tabular._base as base  # noqa: E402
from stoop.tabular import TabularClassifier, TabularRegressor  # noqa: E402
from stoop.tabular._features import Features  # noqa: E402
from stoop.tabular._input import Table  # noqa: E402
from stoop.tabular._network import MOST_INPUTS, Shape, layers_for  # noqa: E402

BAD = (ValueError, TypeError)
SMALL: dict[str, Any] = {"hidden": (16,), "members": 2, "epochs": 12, "random_state": 0}


def frame_of(rows: int = 150, seed: int = 0) -> Any:
    """Numbers, whole numbers, text, a category type, truth values; missing cells in all but the whole numbers."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "mass": rng.normal(50, 10, rows),
            "legs": rng.integers(0, 5, rows),
            "color": rng.choice(["red", "green", "blue"], rows),
            "kind": pd.Categorical(rng.choice(["a", "b"], rows)),
            "alive": rng.random(rows) < 0.5,
        }
    )
    frame.loc[::17, "mass"] = np.nan
    frame["color"] = frame["color"].astype(object)
    frame.loc[::13, "color"] = None
    frame.loc[::11, "kind"] = None
    return frame


def target_of(frame: Any) -> Any:
    return frame["mass"].fillna(40) + 20 * (frame["color"] == "red") + 10 * frame["alive"] + frame["legs"]


@pytest.fixture(scope="module")
def fitted() -> Any:
    frame = frame_of()
    return TabularRegressor(**{**SMALL, "epochs": 60}).fit(frame, target_of(frame))


# ---- the matrix ----


def test_columns_become_numbers_marks_and_codes(fitted: Any) -> None:
    rows = pd.DataFrame(
        {
            "mass": [50.5, None, 3],
            "legs": [3, 2, 9],
            "color": ["red", None, "violet"],
            "kind": ["b", "c", None],
            "alive": [True, False, None],
        }
    )
    expected = [[50.5, 0, 3, 2, 1, 1], [np.nan, 1, 2, -1, 2, 0], [3, 0, 9, 3, -1, -1]]
    matrix = fitted.encode(rows)
    np.testing.assert_array_equal(matrix, np.array(expected, np.float32))
    assert matrix.dtype == np.float32


def test_truth_values_among_objects_are_no_numbers() -> None:
    frame = frame_of()
    frame["alive"] = frame["alive"].astype(object)
    frame.loc[::8, "alive"] = None
    model = TabularRegressor(**SMALL).fit(frame, np.arange(150))
    np.testing.assert_array_equal(model.encode(frame)[:9:8, -1], [-1, -1])
    assert model.model_.layers[0].categories[-1] == (5, 2)


def test_what_is_learnt_is_good(fitted: Any) -> None:
    frame = frame_of(200, 1)
    assert fitted.score(frame, target_of(frame)) > 0.7


def test_numbers_are_categories_if_named() -> None:
    frame = frame_of()
    by_name = TabularRegressor(**SMALL, categorical=["legs"]).fit(frame, target_of(frame))
    array = frame[["mass", "legs"]].to_numpy()
    by_place = TabularRegressor(**SMALL, categorical=[1]).fit(array, target_of(frame))
    by_mask = TabularRegressor(**SMALL, categorical=[False, True]).fit(array, target_of(frame))
    codes = by_name.encode(frame.head(6))[:, 2]
    np.testing.assert_array_equal(codes, frame["legs"].head(6))
    np.testing.assert_array_equal(by_place.encode([[1.0, 4.0], [1.0, 7.0], [1.0, np.nan]])[:, 2], [4, 5, -1])
    np.testing.assert_array_equal(by_place.predict(array), by_mask.predict(array))


@pytest.mark.parametrize("categorical", [["leg"], [7], "legs", [1.5], [True, False]])
def test_a_wrong_list_of_categories_is_refused(categorical: Any) -> None:
    frame = frame_of()
    with refused(BAD):
        TabularRegressor(**SMALL, categorical=categorical).fit(frame, target_of(frame))


@pytest.mark.parametrize(("codes", "has_table"), [(100, False), (101, True)])
def test_a_column_of_many_codes_has_a_table(codes: int, has_table: bool) -> None:
    frame = pd.DataFrame({"street": [f"{number}. street" for number in range(codes)] * 10})
    model = TabularRegressor(**{**SMALL, "epochs": 1}).fit(frame, np.arange(10.0 * codes))
    assert ("0.embedding" in model.model_.parameters()) == has_table


def test_a_category_of_a_single_row_is_as_one_that_training_has_not_seen() -> None:
    rng = np.random.default_rng(0)
    names = np.append(rng.choice([f"n{i}" for i in range(20)], 299), "alone").astype(object)
    model = TabularRegressor(**SMALL).fit(
        pd.DataFrame({"name": names, "x": rng.normal(size=300)}), rng.normal(size=300)
    )
    codes = model.encode(pd.DataFrame({"name": ["n3", "alone", "never", None], "x": 0.0}))[:, 0]
    assert codes[1] == codes[2] == 20
    assert codes[0] < 20
    assert codes[3] == -1


# ---- frames of other libraries ----


def test_polars_is_the_same_as_pandas(fitted: Any) -> None:
    pl = pytest.importorskip("polars")
    frame = frame_of(40, 3)
    other = pl.DataFrame({name: frame[name].astype(object).where(frame[name].notna(), None).tolist() for name in frame})
    other = other.with_columns(pl.col("kind").cast(pl.Categorical))
    np.testing.assert_array_equal(fitted.predict(other), fitted.predict(frame))
    model = TabularRegressor(**SMALL).fit(other, pl.Series(target_of(frame).tolist()))
    assert model.feature_names_in_.tolist() == frame.columns.tolist()
    np.testing.assert_array_equal(
        model.predict(frame), TabularRegressor(**SMALL).fit(frame, target_of(frame)).predict(frame)
    )


def test_arrow_is_the_same_as_pandas(fitted: Any) -> None:
    pa = pytest.importorskip("pyarrow")
    frame = frame_of(40, 3)
    np.testing.assert_array_equal(fitted.predict(pa.Table.from_pandas(frame)), fitted.predict(frame))


def test_lazy_frames_are_refused(fitted: Any) -> None:
    pl = pytest.importorskip("polars")
    with refused(BAD, "lazy", "collect"):
        fitted.predict(pl.LazyFrame({"mass": [1.0]}))


def test_types_that_may_be_missing(fitted: Any) -> None:
    frame = frame_of(40, 3)
    other = frame.convert_dtypes()
    assert other["mass"].dtype == "Float64"
    assert other["alive"].dtype == "boolean"
    np.testing.assert_array_equal(fitted.predict(other), fitted.predict(frame))


# ---- arrays ----


def test_arrays_of_objects_and_of_text() -> None:
    rng = np.random.default_rng(0)
    cells = np.empty((120, 3), object)
    cells[:, 0], cells[:, 1] = rng.normal(size=120).round(3), rng.choice(["u", "v", "w"], 120)
    cells[:, 2] = rng.integers(0, 9, 120)
    cells[5, 1] = cells[7, 0] = None
    y = (cells[:, 1] == "u").astype(int)
    model = TabularClassifier(**{**SMALL, "epochs": 60}).fit(cells, y)
    assert model.score(cells, y) > 0.9
    np.testing.assert_array_equal(model.encode(cells[5:8])[:, 2], [-1, *model.encode(cells[6:8])[:, 2]])
    text = np.array([["1.5", "u"], ["2.5", "v"]] * 60)
    words = TabularClassifier(**SMALL).fit(text, np.arange(120) % 2)
    np.testing.assert_array_equal(words.encode(text[:2]), [[1.5, 0], [2.5, 1]])


def test_structured_arrays() -> None:
    rng = np.random.default_rng(0)
    cells = np.array(list(zip(rng.normal(size=50), rng.choice(["u", "v"], 50))), [("x", "f8"), ("name", "U1")])
    model = TabularClassifier(**SMALL).fit(cells, (cells["x"] > 0).astype(int))
    assert model.feature_names_in_.tolist() == ["x", "name"]
    swapped = pd.DataFrame({"name": cells["name"], "x": cells["x"]})
    np.testing.assert_array_equal(model.predict_proba(swapped), model.predict_proba(cells))


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint16", "bool"])
def test_arrays_of_other_numbers(dtype: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2 if dtype == "bool" else 50, (150, 4)).astype(dtype)
    y = X[:, 0].astype(float)
    model = TabularRegressor(**SMALL).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), TabularRegressor(**SMALL).fit(X.astype(float), y).predict(X))


def test_numbers_that_float32_cannot_tell_apart() -> None:
    X = 1.7e9 + np.arange(200.0)[:, np.newaxis]
    y = (np.arange(200) % 200 < 100).astype(int)
    model = TabularClassifier(**{**SMALL, "epochs": 80}).fit(X, y)
    assert model.encode(X).dtype == np.float64
    assert model.score(X, y) > 0.95


# ---- names ----


def test_columns_may_be_in_any_order(fitted: Any) -> None:
    frame = frame_of(40, 3)
    np.testing.assert_array_equal(fitted.predict(frame[frame.columns[::-1]]), fitted.predict(frame))


def test_a_column_that_is_missing_is_named(fitted: Any) -> None:
    frame = frame_of(40, 3)
    with refused(BAD, 'no column "color"', "all columns"):
        fitted.predict(frame.drop(columns="color"))
    with refused(BAD, 'no column "color"', 'rename "colour"'):
        fitted.predict(frame.rename(columns={"color": "colour"}))


def test_a_column_that_training_did_not_have_is_named(fitted: Any) -> None:
    with refused(BAD, '"weight"', "leave it out"):
        fitted.predict(frame_of(40, 3).assign(weight=1))


def test_names_that_are_not_text_count_the_columns() -> None:
    X = np.random.default_rng(0).normal(size=(150, 3))
    y = X[:, 0]
    model = TabularRegressor(**SMALL).fit(pd.DataFrame(X), y)
    assert not hasattr(model, "feature_names_in_")
    np.testing.assert_array_equal(model.predict(X), TabularRegressor(**SMALL).fit(X, y).predict(pd.DataFrame(X)))


def test_two_columns_of_one_name_are_refused() -> None:
    frame = pd.DataFrame(np.ones((30, 2)), columns=["x", "x"])
    with refused(BAD, '"x"', "rename"):
        TabularRegressor(**SMALL).fit(frame, np.arange(30))


# ---- odd columns ----


def test_columns_that_tell_nothing_change_nothing() -> None:
    frame = frame_of()
    y = target_of(frame)
    plain = TabularRegressor(**SMALL).fit(frame, y)
    odd = frame.assign(one=7, none=np.nan, never=None, word="w")
    model = TabularRegressor(**SMALL).fit(odd, y)
    assert model.encode(odd).shape == plain.encode(frame).shape
    np.testing.assert_array_equal(model.predict(odd.assign(one=3, none=1.0, word="other")), plain.predict(frame))
    assert model.feature_importances_[5:].tolist() == [0, 0, 0, 0]


def test_one_value_that_is_missing_at_times_tells_something() -> None:
    X = np.where(np.arange(200) % 2, 5.0, np.nan)[:, np.newaxis]
    for given in (X, pd.DataFrame(X.astype(object))):
        model = TabularClassifier(**{**SMALL, "epochs": 60}).fit(given, np.arange(200) % 2)
        np.testing.assert_array_equal(model.encode(given[:2]), [[-1], [0]])
        assert model.score(given, np.arange(200) % 2) == 1.0


@pytest.mark.parametrize("value", [np.nan, 4.0])
def test_a_table_that_tells_nothing_gives_the_mean(value: float) -> None:
    y = np.arange(150.0)
    model = TabularRegressor(hidden=(8,), members=2, epochs=100, patience=100, random_state=0)
    predictions = model.fit(np.full((150, 2), value), y).predict(np.full((3, 2), value))
    np.testing.assert_allclose(predictions, y.mean(), atol=12)


def test_values_that_are_missing_in_prediction_alone_count_as_the_mean() -> None:
    X = np.random.default_rng(0).normal(size=(150, 2))
    model = TabularRegressor(**SMALL).fit(X, X[:, 0])
    assert np.isfinite(model.predict([[np.nan, np.nan]])).all()


@pytest.mark.parametrize("column", [[dt.date(2026, 11, 30)] * 30, ["2026-11-30"] * 15 + ["2026-12-01"] * 15])
def test_dates_are_refused(column: list[Any]) -> None:
    with refused(BAD, 'column "when" holds dates', "year, month"):
        TabularRegressor(**SMALL).fit(pd.DataFrame({"when": column}), np.arange(30))
    with refused(BAD, 'column "when" holds dates'):
        when = pd.to_datetime(pd.Series(column))
        TabularRegressor(**SMALL).fit(pd.DataFrame({"when": when}), np.arange(30))


def test_cells_that_are_no_numbers_are_named(fitted: Any) -> None:
    frame = frame_of(40, 3)
    frame["mass"] = frame["mass"].astype(object)
    frame.loc[4, "mass"] = "heavy"
    with refused(BAD, 'column "mass" has "heavy" at row 5', "leave the column out"):
        fitted.predict(frame.set_index(frame.index + 100))


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e35])
def test_numbers_without_end_are_refused(value: float) -> None:
    X = np.random.default_rng(0).normal(size=(150, 2))
    model = TabularRegressor(**SMALL).fit(X, X[:, 0])
    X[3, 1] = value
    for given in (X, pd.DataFrame({"x0": X[:, 0], "x1": X[:, 1], "c": "u"})):
        with refused(BAD, 'column "x1"', "at row 4"):
            TabularRegressor(**SMALL).fit(given, X[:, 0])
    with refused(BAD, 'column "x1"', "at row 4"):
        model.predict(X)


HINTS = {
    "mixed": ([*map(str, range(40)), "oops"], "make them missing, or name the column in categorical"),
    "infinite": ([*map(float, range(40)), np.inf], "correct it, or make it missing: NaN"),
    "large": ([*map(float, range(40)), 1e35], "write them in another unit"),
    "thousands": ([f"{i},100" for i in range(41)], "remove them"),
    "comma": ([f"{i},5" for i in range(41)], "write the numbers with a point"),
    "lists": ([[i] for i in range(41)], ""),
}


@pytest.mark.parametrize("name", HINTS)
def test_hints_are_for_estimators(name: str) -> None:
    cells, hint = HINTS[name]
    words = f"{hint}, or leave the column out." if hint else "; leave the column out."
    with refused(BAD, 'column "x"', words) as caught:
        TabularRegressor(**SMALL).fit(pd.DataFrame({"x": cells, "c": ["a", "b", "c"] * 13 + ["a", "b"]}), np.arange(41))
    assert "--" not in str(caught.value)


def test_a_matrix_is_learnt_as_a_frame_is() -> None:
    X = np.random.default_rng(0).normal(size=(300, 6))
    X[:, 1] = np.where(np.arange(300) % 7, 0.1, np.nan)  # a single value, missing at times
    X[:, 2], X[:, 3], X[::5, 4] = 3.0, np.nan, np.nan
    X[:, 5] = 1e9 + np.arange(300.0)
    for dtype in ("float64", "float32"):
        rows = X.astype(dtype)
        if dtype == "float32":
            rows[:, 5] = 1.0
        frame = pd.DataFrame(rows, columns=[f"x{place}" for place in range(6)])
        for part in (slice(None), np.arange(0, 300, 3), np.arange(20)):
            of_matrix = Features.fit("fit", Table(rows), (), part)
            of_frame = Features.fit("fit", Table(frame.assign(c="u")), (), part)
            assert of_matrix.encoder.columns == of_frame.encoder.columns[:-1]
            found = of_matrix.transform("fit", Table(rows))
            expected = of_frame.transform("fit", Table(frame.assign(c="u")))
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)


def test_what_float32_can_hold_is_told_by_all_rows() -> None:
    column = np.arange(300.0)
    column[250:] += 1e9
    few = Features.fit("fit", Table(column[:, np.newaxis]), (), np.arange(300))
    [known] = Features.fit("fit", Table(column[:, np.newaxis]), (), np.arange(250, 300)).encoder.columns
    assert not known.is_wide
    assert few.encoder.columns == (known,)


def test_ten_thousand_columns() -> None:
    X = np.random.default_rng(0).normal(size=(60, 10_000))
    X[::7, 5] = np.nan
    y = (X[:, 3] > 0).astype(int)
    model = TabularClassifier(hidden=(8,), members=2, epochs=3, random_state=0).fit(X, y)
    assert model.encode(X).shape == (60, 10_001)
    assert model.predict(X).shape == (60,)
    assert model.model_.parameters()["2.weight"].shape == (10_002, 8)  # each number as it is, and the mark as two


def test_ten_thousand_columns_are_learnt() -> None:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=200)
    X = rng.normal(size=(200, 10_000)).astype(np.float32)
    X[:, :500] += 0.7 * hidden[:, np.newaxis]
    model = TabularClassifier(hidden=(16,), members=2, epochs=6, random_state=0)
    model.fit(np.exp(X[:150]), hidden[:150] > 0)
    assert model.score(np.exp(X[150:]), hidden[150:] > 0) > 0.8
    assert model.model_.num_parameters < 200_000


@pytest.mark.parametrize(
    ("columns", "bins", "expected"),
    [(10, 48, 48), (341, 48, 48), (342, 48, 47), (4096, 48, 4), (8192, 48, 2), (8193, 48, 0), (8193, 1, 1), (9, 0, 0)],
)
def test_many_columns_have_fewer_bins(columns: int, bins: int, expected: int) -> None:
    shape = Shape((8,), 2, "ple", bins, 8, 0.0)
    X = np.tile(np.arange(60.0)[:, np.newaxis], columns)
    [encoding, *_] = layers_for(shape, X, {}, 2)
    assert set(np.ravel(encoding.bins)) == {expected}
    assert encoding.output_width(columns) <= max(MOST_INPUTS, columns)


@pytest.mark.parametrize(("columns", "has_table"), [(163, False), (164, True)])
def test_many_columns_of_codes_have_tables(columns: int, has_table: bool) -> None:
    codes = dict.fromkeys(range(columns), 100)
    shape = Shape((8,), 2, "ple", 48, 8, 0.0)
    [encoding, *_] = layers_for(shape, np.zeros((9, columns + 1)), codes, 2)
    assert encoding.output_width(columns + 1) == (8 if has_table else 100) * columns + 1


def test_a_table_that_takes_much_memory_is_told_before(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(base, "Model", stop)
    X = np.random.default_rng(0).normal(size=(4, 20_000)).astype(np.float32)
    large = TabularRegressor(hidden=(6_000,), random_state=0)
    words = r"20,000 encoded columns, which become 20,000 numbers of each row for 16 members; expected .* 2\.3 GiB"
    with pytest.warns(UserWarning, match=words) as caught, pytest.raises(KeyboardInterrupt):
        large.fit(X, np.arange(4.0))
    assert caught[0].filename == __file__
    with warnings.catch_warnings(), pytest.raises(KeyboardInterrupt):
        warnings.simplefilter("error")
        TabularRegressor(random_state=0).fit(X, np.arange(4.0))


@pytest.mark.parametrize("rows", [2, 3, 12])
def test_few_rows(rows: int) -> None:
    frame = frame_of(rows)
    y = np.arange(float(rows))
    predictions = TabularRegressor(random_state=0).fit(frame, y).predict(frame)
    np.testing.assert_allclose(predictions, y, atol=0.25 * rows)
    labels = np.where(y < 1.5, "low", "high") if rows > 2 else np.array(["low", "high"])
    assert TabularClassifier(random_state=0).fit(frame, labels).score(frame, labels) == 1.0
