"""Tables as numbers: what columns become, how files are read, and that the state of it all goes through JSON."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands import mixed_table, table
from helpers import refused

pd = pytest.importorskip("pandas")

from stoop._tables import TableEncoder, TableState, Target, TextFormat, read_table  # noqa: E402

PLAIN = TextFormat()


def frame_of(tmp_path: Path, text: str, form: TextFormat = PLAIN, name: str = "t.csv") -> Any:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return read_table(tmp_path / name, form)


# ---- reading ----


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found(separator: str, tmp_path: Path) -> None:
    frame = frame_of(tmp_path, 'x,"a, b; c|d",y\n1,"u, v",w\n'.replace(",", separator).replace('"a', '"a,'))
    assert frame.shape == (1, 3)


def test_a_separator_can_be_given(tmp_path: Path) -> None:
    assert frame_of(tmp_path, "x:y\n1:2\n", TextFormat(separator=":")).columns.tolist() == ["x", "y"]


def test_text_is_stripped_and_marks_are_missing(tmp_path: Path) -> None:
    frame = frame_of(tmp_path, 'x , y\n a ,NA\n" b",\nnull, ?\n', TextFormat(missing=("?",)))
    assert frame["x"].fillna("-").tolist() == ["a", "b", "-"]
    assert frame["y"].isna().all()


def test_quoted_newlines_blank_lines_and_marks_of_byte_order(tmp_path: Path) -> None:
    frame = frame_of(tmp_path, '\ufeffx,y\n\n"one\ntwo",1\n\n')
    assert frame["x"].tolist() == ["one\ntwo"]


def test_other_encodings_and_gzip(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("x,y\né,1\n".encode("cp1252"))
    assert read_table(tmp_path / "t.csv", TextFormat(encoding="cp1252"))["x"].tolist() == ["é"]
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"x,y\n1,2\n"))
    assert read_table(tmp_path / "t.csv.gz")["y"].tolist() == ["2"]


def test_an_index_is_left_out(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [3, 4]})
    frame.to_csv(tmp_path / "t.csv")
    assert read_table(tmp_path / "t.csv").columns.tolist() == ["x"]
    assert frame_of(tmp_path, ",x\n1,3\n2,4\n").columns.tolist() == ["x"]
    assert frame_of(tmp_path, ",x\n1,3\n1,4\n").columns.tolist() == ["Unnamed: 0", "x"]


def test_parquet_is_the_same_as_csv(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    frame = mixed_table()
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    text, typed = read_table(tmp_path / "t.csv"), read_table(tmp_path / "t.parquet")
    encoders = [TableEncoder().fit(each) for each in (text, typed)]
    assert encoders[0].to_state() == encoders[1].to_state()
    np.testing.assert_array_equal(encoders[0].transform(typed), encoders[1].transform(text))


# ---- columns ----


def encoded(cells: Any, form: TextFormat = PLAIN, **arguments: Any) -> dict[str, list[float]]:
    frame = pd.DataFrame({"x": cells})
    encoder = TableEncoder(form, **arguments).fit(frame)
    matrix = encoder.transform(frame)
    numbers = [name for name, is_number in zip(encoder.names, encoder.are_numbers, strict=True) if is_number]
    assert numbers == (["x"] if "x" in encoder.names else [])
    return {name: column.tolist() for name, column in zip(encoder.names, matrix.T, strict=True)}


def test_numbers_stay_numbers() -> None:
    for cells in ([1.0, 2.0, 6.5], ["1", " 2", "6.5"], ["1e0", "2.0", "+6.5"]):
        assert encoded(cells) == {"x": [1.0, 2.0, 6.5]}
    assert encoded([1, 2, 6]) == {"x": [1.0, 2.0, 6.0]}


def test_numbers_that_float32_cannot_tell_apart_are_float64() -> None:
    for values, dtype in (([1e9 + 1, 1e9 + 2], np.float64), ([1e9, 2e9], np.float32), ([5.0, 5.0], np.float32)):
        frame = pd.DataFrame({"x": values, "y": ["a", "b"]})
        matrix = TableEncoder().fit(frame).transform(frame)
        assert matrix.dtype == dtype
        assert matrix[:, 0].tolist() == values


def test_a_missing_number_is_marked() -> None:
    found = encoded([1.0, np.nan, 3.0])
    assert found["x is missing"] == [0.0, 1.0, 0.0]
    np.testing.assert_array_equal(found["x"], [1.0, np.nan, 3.0])


def test_truth_values() -> None:
    for cells in ([True, False, True, False], ["true", "False", "TRUE", "false"]):
        assert encoded(cells) == {"x": [1.0, 0.0, 1.0, 0.0]}
    found = encoded(["true", None, "false"])
    np.testing.assert_array_equal(found["x"], [1.0, np.nan, 0.0])
    assert found["x is missing"] == [0.0, 1.0, 0.0]


def test_categories_become_a_column_each() -> None:
    assert encoded(["b", "a", None, "b"]) == {
        "x=a": [0.0, 1.0, 0.0, 0.0],
        "x=b": [1.0, 0.0, 0.0, 1.0],
        "x is missing": [0.0, 0.0, 1.0, 0.0],
    }
    assert list(encoded(pd.Categorical(["b", "a"], ["c", "b", "a"]))) == ["x=a", "x=b"]


def test_codes_and_few_numbers_beside_text_are_categories() -> None:
    assert list(encoded(["01234", "12345"])) == ["x=01234", "x=12345"]
    assert list(encoded(["0", "1", "3+"])) == ["x=0", "x=1", "x=3+"]
    assert list(encoded([2, 1, 2], categories=["x"])) == ["x=1", "x=2"]
    assert list(encoded([2.0, 1.0, np.nan], categories=["x"])) == ["x=1", "x=2", "x is missing"]


def test_rare_categories_become_one() -> None:
    cells = ["a", "a", "b", "b", "c", "d"]
    found = encoded(cells, max_categories=2)
    assert list(found) == ["x=a", "x=b", "x=<other>"]
    assert found["x=<other>"] == [0, 0, 0, 0, 1, 1]
    frame = pd.DataFrame({"x": cells})
    encoder = TableEncoder(max_categories=2).fit(frame)
    assert encoder.transform(pd.DataFrame({"x": ["new"]})).tolist() == [[0, 0, 1]]


def test_numbers_in_another_form() -> None:
    found = encoded(["1.000,5", "2.000,5"], TextFormat(decimal=",", thousands="."))
    assert found["x"] == [1000.5, 2000.5]


# ---- other tables ----


def test_columns_may_come_in_another_order_with_known_ones() -> None:
    frame = mixed_table()
    encoder = TableEncoder().fit(frame[["mass", "color", "alive"]])
    first = encoder.transform(frame[["mass", "color", "alive"]])
    other = encoder.transform(frame[["size", "alive", "mass", "color"]], known=["size"])
    np.testing.assert_array_equal(first, other)


def test_what_training_has_not_seen_is_named() -> None:
    encoder = TableEncoder().fit(pd.DataFrame({"mass": [1.0, 2.0], "color": ["a", "b"], "ok": [True, False]}))
    good = {"mass": [1.0], "color": ["a"], "ok": [True]}
    with refused(ValueError, "1 column missing", '"color"', r'rename "colour"\?'):
        encoder.transform(pd.DataFrame({**{k: good[k] for k in ("mass", "ok")}, "colour": ["a"]}))
    with refused(ValueError, '"new"', "--unknown ignore"):
        encoder.transform(pd.DataFrame({**good, "new": [1]}))
    with refused(ValueError, 'column "color" has the category "c" at row 2', '"a", "b"', "--unknown ignore"):
        encoder.transform(pd.DataFrame({"mass": [1.0, 1.0], "color": ["a", "c"], "ok": [True, True]}))
    with refused(ValueError, "and 1 more"):
        encoder.transform(pd.DataFrame({"mass": [1.0] * 3, "color": ["c", "d", "d"], "ok": [True] * 3}))
    for cell in ("heavy", "inf", "1e31"):
        with refused(ValueError, f'column "mass" has "{cell}" at row 1'):
            encoder.transform(pd.DataFrame({**good, "mass": [cell]}))
    with refused(ValueError, 'column "ok" has "maybe" at row 1'):
        encoder.transform(pd.DataFrame({**good, "ok": ["maybe"]}))
    bad = pd.DataFrame({"mass": ["heavy"], "color": ["c"], "ok": ["maybe"], "new": [0]})
    np.testing.assert_array_equal(encoder.transform(bad, ignore=True), [[np.nan, 0.0, 0.0, np.nan]])


def test_values_that_are_newly_missing_are_told() -> None:
    frame = pd.DataFrame({"mass": [1.0, 3.0], "color": ["a", "b"]})
    encoder = TableEncoder().fit(frame)
    holes = pd.DataFrame({"mass": [None, "1"], "color": ["a", None]})
    assert encoder.newly_missing(frame) == []
    assert encoder.newly_missing(holes) == ["mass", "color"]
    np.testing.assert_array_equal(encoder.transform(holes), [[np.nan, 1.0, 0.0], [1.0, 0.0, 0.0]])


# ---- targets ----


@pytest.mark.parametrize(
    ("cells", "task", "classes", "dtype"),
    [
        (["b", "a", "b", "a"], "classification", ["a", "b"], "U"),
        (["10", "9", "10", "9"], "classification", [9, 10], "i"),
        ([2.0, 1.0, 2.0, 1.0], "classification", [1, 2], "i"),
        ([True, False, True, False], "classification", ["False", "True"], "U"),
        (["01", "02", "01", "02"], "classification", ["01", "02"], "U"),
        (["0.5", "1.5", "0.5"], "regression", [], "f"),
        (list(range(11)), "regression", [], "f"),
    ],
)
def test_what_a_target_is(cells: Any, task: str, classes: Any, dtype: str) -> None:
    column = pd.Series(cells, name="y")
    target = Target.fit(column, "t")
    assert (target.task, target.class_names.tolist()) == (task, classes)
    y = target.encode(column, "t", TextFormat())
    if classes:
        assert target.class_names.dtype.kind == dtype
        assert [str(target.class_names[i]) for i in y] == [str(int(c)) if type(c) is float else str(c) for c in cells]
    else:
        assert y.tolist() == [float(c) for c in cells]


def test_a_task_can_be_asked_for() -> None:
    column = pd.Series([1, 2, 3, 1, 2, 3], name="y")
    assert Target.fit(column, "t", "regression").task == "regression"
    assert Target.fit(pd.Series([0.5, 1.5, 0.5, 1.5], name="y"), "t", "classification").classes == ("0.5", "1.5")


def test_a_new_class_is_named() -> None:
    target = Target.fit(pd.Series(["a", "b", "a", "b"], name="y"), "t")
    with refused(ValueError, '"c" at row 2', '"a", "b"'):
        target.encode(pd.Series(["a", "c"], name="y"), "t", TextFormat())


# ---- state ----


def test_the_state_goes_through_json() -> None:
    frame = mixed_table()
    features = frame[["mass", "length", "color", "alive"]]
    form = TextFormat(decimal=",", thousands=".", missing=("?",))
    state = TableState(TableEncoder(form).fit(features), Target.fit(frame["size"], "t"), ("a",), {"seed": 3})
    again = TableState.of_model("t", {"stoop.table": state.to_text()})
    assert again.to_text() == state.to_text()
    assert (again.target, again.dropped, again.training) == (state.target, ("a",), {"seed": 3})
    assert again.encoder.form == form
    np.testing.assert_array_equal(again.encoder.transform(features), state.encoder.transform(features))


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "knows no table"), ("{", "cannot be read"), ("{}", "cannot be read"), ('{"version": 9}', "later version")],
)
def test_a_state_that_cannot_be_read(text: str | None, words: str) -> None:
    with refused(ValueError, words):
        TableState.of_model("m", {} if text is None else {"stoop.table": text})


def test_pandas_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(table("x,y", lambda i: "1,2"))
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with refused(ImportError, r"stoop\[tables\]"):
        read_table(tmp_path / "t.csv")


def test_the_state_is_plain_json() -> None:
    encoder = TableEncoder().fit(pd.DataFrame({"x": [0.1, 0.2], "y": ["a", "b"]}))
    assert json.loads(json.dumps(encoder.to_state())) == encoder.to_state()
