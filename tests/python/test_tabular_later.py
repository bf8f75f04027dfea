"""Later rows whose cells are of another type than those of the training: truth values, dates, numbers, no names."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands import Command
from helpers import refused

pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")

from stoop.tabular import TabularRegressor, load  # noqa: E402
from test_tabular_frames import SMALL, frame_of, target_of  # noqa: E402


@pytest.fixture(scope="module")
def fitted() -> Any:
    frame = frame_of()
    return TabularRegressor(**SMALL).fit(frame, target_of(frame))


def column_of(column: Any, **arguments: Any) -> Any:
    """Return an estimator that was trained with this column alone."""
    frame = pd.DataFrame({"x": column})
    return TabularRegressor(**{**SMALL, **arguments}).fit(frame, np.arange(len(frame)))


# ---- truth values ----


@pytest.mark.parametrize("later", [[0, 1], [0.0, 1.0], ["0", "1"], ["0.0", "1.0"], ["FALSE", "TRUE"], [False, True]])
@pytest.mark.parametrize("cells", [[False, True], ["no", False, True], ["false", "true"]], ids=["bool", "3", "text"])
def test_one_and_zero_are_true_and_false(cells: list[Any], later: list[Any]) -> None:
    model = column_of(cells * 60)
    known = model.encode(pd.DataFrame({"x": cells[-2:]})).tolist()
    found = model.encode(pd.DataFrame({"x": later})).tolist()
    if len(cells) == 2 or not {"0", "1", "0.0", "1.0"} & set(map(str, later)):
        assert found == known
    else:  # these are other texts
        assert found == [[3.0], [3.0]]


def test_truth_values_as_numbers_may_be_missing() -> None:
    model = column_of([False, True, None] * 50)
    assert model.encode(pd.DataFrame({"x": [np.nan, 1.0]})).tolist() == [[-1.0], [1.0]]
    assert model.encode(pd.DataFrame({"x": [0, 2]})).tolist() == [[0.0], [2.0]]


@pytest.mark.parametrize("later", [[False, True], [False, None, True], ["False", "true"]])
def test_true_and_false_are_one_and_zero(later: list[Any]) -> None:
    model = column_of([1, 0, 2] * 50, categorical=["x"])
    codes = {False: 0.0, True: 1.0, "False": 0.0, "true": 1.0, None: -1.0}
    assert model.encode(pd.DataFrame({"x": later})).tolist() == [[codes[cell]] for cell in later]
    other = column_of(["1", "0", "a"] * 50)
    assert other.encode(pd.DataFrame({"x": [True]})).tolist() == [[3.0]]


def test_truth_values_may_be_written_in_both_ways() -> None:
    model = column_of(["true", "0", "1", "False"] * 40)
    assert model._features.codes == {0: 2}
    assert model.encode(pd.DataFrame({"x": ["TRUE", "1", "false", "0.0"]})).tolist() == [[1.0], [1.0], [0.0], [0.0]]


@pytest.mark.parametrize("later", [[False, True], ["False", "true"], ["0", "true"]])
def test_numbers_may_be_truth_values_later(later: list[Any]) -> None:
    model = column_of([0.0, 1.0] * 60)
    assert model.encode(pd.DataFrame({"x": later})).tolist() == [[0.0], [1.0]]
    with refused(ValueError, 'column "x" has "true" at row 2'):
        model.encode(pd.DataFrame({"x": ["3", "true"]}))


def test_the_command_takes_one_and_zero_too(fitted: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = frame_of(30, 5)
    fitted.save(tmp_path / "m.safetensors")
    rows.assign(alive=rows["alive"].astype(int)).to_csv(tmp_path / "rows.csv", index=False)
    done = Command(capsys)("predict", tmp_path / "m.safetensors", tmp_path / "rows.csv")
    np.testing.assert_allclose(np.array(done.out.split()[1:], float), fitted.predict(rows), rtol=1e-6)


# ---- numbers and types ----


@pytest.mark.parametrize("first", ["float32", "float64"])
@pytest.mark.parametrize("then", ["float32", "float64"])
def test_categories_of_another_precision(first: str, then: str) -> None:
    values = np.array([0.1, 0.2, 0.3, 1e-9, 2.0])
    model = column_of(np.tile(values, 40).astype(first), categorical=["x"])
    codes = model.encode(pd.DataFrame({"x": np.append(values, 0.4).astype(first)}))
    assert sorted(codes[:, 0]) == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(model.encode(pd.DataFrame({"x": np.append(values, 0.4).astype(then)})), codes)
    near = model.encode(pd.DataFrame({"x": values + np.array([1e-10, -1e-10, 1e-10, 1e-18, 1e-9])}))
    assert set(near[:, 0]) == {5.0}


def test_truth_values_of_arrow() -> None:
    pytest.importorskip("pyarrow")
    cells = [True, None, False] * 40
    expected = column_of(pd.array(cells, "boolean"))
    model = column_of(pd.array(cells, "bool[pyarrow]"))
    for dtype in ("boolean", "bool[pyarrow]", object):
        rows = pd.DataFrame({"x": pd.Series(cells[:3], dtype=dtype)})
        np.testing.assert_array_equal(model.encode(rows), [[1.0], [-1.0], [0.0]])
        np.testing.assert_array_equal(model.predict(rows), expected.predict(rows))


@pytest.mark.parametrize("container", [list, tuple])
def test_lists_with_text_keep_what_is_missing(container: type) -> None:
    rows = [container([0.5 * place, "abc"[place % 3]]) for place in range(120)]
    rows[3], rows[4], rows[5] = container([np.nan, "a"]), container([2.0, np.nan]), container([2.5, None])
    model = TabularRegressor(**SMALL).fit(container(rows), np.arange(120))
    assert model._features.codes == {1: 2, 2: 3}  # the mark of missing numbers, the texts
    found = model.encode(container(rows[3:7]))
    np.testing.assert_array_equal(found, [[np.nan, 1, 0], [2, 0, -1], [2.5, 0, -1], [3, 0, 0]])
    frame = pd.DataFrame(rows, columns=["x0", "x1"])
    named = TabularRegressor(**SMALL).fit(frame, np.arange(120))
    np.testing.assert_array_equal(named.predict(frame), model.predict(container(rows)))


def test_category_types_of_other_libraries_are_categories() -> None:
    pl, pa = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    cells = [5, 6, None, 8] * 30
    frame = pd.DataFrame({"x": pd.Categorical(cells)})
    texts = [None if cell is None else str(cell) for cell in cells]
    others = [
        pa.table({"x": pa.array(cells).dictionary_encode()}),
        pl.DataFrame({"x": pl.Series(texts, dtype=pl.Categorical)}),
        pl.DataFrame({"x": pl.Series(texts, dtype=pl.Enum(["5", "6", "7", "8"]))}),
    ]
    expected = TabularRegressor(**SMALL).fit(frame, np.arange(120))
    for other in others:
        model = TabularRegressor(**SMALL).fit(other, np.arange(120))
        np.testing.assert_array_equal(model.encode(other), expected.encode(frame))
        np.testing.assert_array_equal(model.predict(frame), expected.predict(frame))


# ---- columns without names ----


def test_arrays_after_a_frame_count_the_columns(fitted: Any) -> None:
    frame = frame_of()
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        found = fitted.predict(frame.to_numpy())
    np.testing.assert_array_equal(found, fitted.predict(frame))
    with pytest.raises(ValueError, match="X has 4 features"), pytest.warns(UserWarning, match="names"):
        fitted.predict(frame.to_numpy()[:, :4])


def test_a_frame_after_arrays_counts_the_columns() -> None:
    frame = frame_of()
    model = TabularRegressor(**SMALL).fit(frame.to_numpy(), target_of(frame))
    with pytest.warns(UserWarning, match="X has feature names"):
        found = model.predict(frame)
    np.testing.assert_array_equal(found, model.predict(frame.to_numpy()))


@pytest.mark.parametrize("labels", [[3, 5], [("a", "x"), ("a", "y")]], ids=["numbers", "levels"])
def test_labels_that_are_no_text_find_their_columns(labels: list[Any], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(120, 2)) * [1.0, 100.0])
    columns = pd.MultiIndex.from_tuples(labels) if isinstance(labels[0], tuple) else labels
    frame = frame.set_axis(columns, axis=1)
    model = TabularRegressor(**SMALL).fit(frame, frame.iloc[:, 0])
    model.save(tmp_path / "m.safetensors")
    for each in (model, load(tmp_path / "m.safetensors")):
        np.testing.assert_array_equal(each.predict(frame.iloc[:, ::-1]), model.predict(frame))
        np.testing.assert_array_equal(each.predict(pd.DataFrame(frame.to_numpy())), model.predict(frame))
        np.testing.assert_array_equal(each.predict(frame.to_numpy()), model.predict(frame))


def test_batches_of_arrow_have_names(fitted: Any) -> None:
    pa = pytest.importorskip("pyarrow")
    frame = frame_of(30)
    batch = pa.RecordBatch.from_pandas(frame[frame.columns[::-1]], preserve_index=False)
    np.testing.assert_array_equal(fitted.predict(batch), fitted.predict(frame))


# ---- cells that training would refuse ----

TIMES = [
    pd.to_datetime(["2026-11-30", None]),
    pd.to_datetime(["2026-11-30", None], utc=True),
    pd.to_timedelta([None, "3 days"]),
    pd.Series([dt.date(2026, 11, 30), None], dtype=object),
    pd.Series([None, dt.timedelta(3)], dtype=object),
]


@pytest.mark.parametrize("name", ["mass", "legs", "color", "kind", "alive"])
@pytest.mark.parametrize("cells", TIMES, ids=["dates", "with a zone", "times", "objects", "times as objects"])
def test_dates_are_refused_as_in_training(fitted: Any, cells: Any, name: str) -> None:
    with refused(ValueError, "TabularRegressor.predict", f'column "{name}" holds dates', "numbers"):
        fitted.predict(frame_of(2).assign(**{name: cells}))


@pytest.mark.parametrize("name", ["mass", "color", "alive"])
@pytest.mark.parametrize("cell", [[1, 2], {"a": 1}, 1j], ids=["list", "dict", "complex"])
def test_cells_of_other_types_are_refused_as_in_training(fitted: Any, cell: Any, name: str) -> None:
    rows = frame_of(2).assign(**{name: pd.Series([None, cell], dtype=object)})
    with refused(ValueError, f'column "{name}" has cells of type {type(cell).__name__}'):
        fitted.predict(rows)


@pytest.mark.parametrize(
    "cells", [pd.to_datetime(["2026-11-30", "2026-12-01"]), pd.to_timedelta(["1 day", "2 days"]), [(1, 2), (3,)]]
)
def test_dates_that_are_named_as_categories_stay_so(cells: Any) -> None:
    model = column_of(list(cells) * 60, categorical=["x"])
    assert model.encode(pd.DataFrame({"x": cells})).tolist() == [[0.0], [1.0]]


def test_columns_that_are_left_out_may_hold_anything() -> None:
    frame = frame_of().assign(empty=np.nan)
    model = TabularRegressor(**SMALL).fit(frame, target_of(frame))
    later = frame.assign(empty=pd.Timestamp("2026-11-30"))
    np.testing.assert_array_equal(model.predict(later), model.predict(frame))
