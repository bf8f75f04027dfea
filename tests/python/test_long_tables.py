"""Long CSV files: read in parts, as codes of different texts, they give what they give as one data frame of text."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import run_python

pd = pytest.importorskip("pandas")

from stoop._tables import TableEncoder, Target, TextFormat, _compact, _reading, _text, read_table  # noqa: E402
from stoop._tables._text import names_of, numbers_of, truths_of  # noqa: E402

NAMES = ["number", "float", "code", "color", "truth", "gaps", "whole", "large", "every", "none in the first part"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = [",".join(f'"{name}"' for name in NAMES)]
    for row in range(600):
        late = ["", "a", " b "][row % 3] if row > 400 else ""
        gap = ["NA", "", " 1.50 ", "-7", "1e3"][rng.integers(5)]
        color = ['"red, or\n so"', "green", "bl\u00fce", "<NA>"][rng.integers(4)]
        large = [2**53 + 1, 2**53 + 3][rng.integers(2)]
        cells = [rng.integers(10), f"{rng.normal():.9f}", f"0{rng.integers(9)}", color, ["True", "false"][row % 2], gap]
        rows.append(",".join(map(str, [*cells, ["1.0", "2.0"][row % 2], large, f"t{row}", late])))
        if row % 100 == 7:
            rows.append("")
    (tmp_path / "t.csv").write_text("\r\n".join(rows), encoding="utf-8")
    return tmp_path / "t.csv"


def in_parts(monkeypatch: pytest.MonkeyPatch, rows: int = 7) -> None:
    monkeypatch.setattr(_compact, "_CELLS_TOGETHER", 20)
    monkeypatch.setattr(_reading, "_ROWS_OF_PART", rows)
    monkeypatch.setattr(_reading, "_CELLS_OF_PART", 1)
    monkeypatch.setattr(_reading, "_FEW_CELLS", 1)
    monkeypatch.setattr(_reading, "_PIECE", 3)


def as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_reading, "_ROWS_OF_PART", 10**6)


def test_columns_are_those_of_a_data_frame(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_one(monkeypatch)
    frame = read_table(path)
    in_parts(monkeypatch)
    table = read_table(path)
    assert isinstance(frame, pd.DataFrame)
    assert isinstance(table, _compact.TextTable)
    assert (table.columns, len(table)) == (list(frame.columns), len(frame)) == (NAMES, 600)
    mask = np.arange(600) % 3 > 0
    for name in NAMES:
        pd.testing.assert_series_equal(table[name], frame[name], check_index_type=False)
        pd.testing.assert_series_equal(table[mask][name], frame[mask][name], check_index_type=False)
    again = table[mask].drop(columns=["number", "gaps"])[mask[mask] & (np.arange(400) > 9)]
    assert again.columns == [name for name in NAMES if name not in ("number", "gaps")]
    assert again["every"].index.tolist() == [row for row in range(600) if mask[row]][10:]


def test_marks_that_are_categories(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    categories = {"color": ["<NA>", "green"], "gaps": ["NA"], "truth": ["True"], "none": ["NA"]}
    as_one(monkeypatch)
    frame = read_table(path, TextFormat(), categories)
    in_parts(monkeypatch)
    table = read_table(path, TextFormat(), categories)
    assert isinstance(table, _compact.TextTable)
    assert (table["color"] == "<NA>").any()
    assert (table["gaps"] == "NA").any()
    for name in NAMES:
        pd.testing.assert_series_equal(table[name], frame[name], check_index_type=False)


@pytest.mark.parametrize("codes", [False, True])
def test_the_matrix_is_the_same(codes: bool, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for prepare in (as_one, in_parts):
        with monkeypatch.context() as patch:
            prepare(patch)
            if prepare is as_one:
                patch.setattr(_text, "_different", lambda column: None)
            table = read_table(path)
            target = Target.fit(table["color"][~np.asarray(table["color"].isna(), bool)], "t")
            features = table.drop(columns=["every", "color"])
            encoder = TableEncoder(codes=codes, categories=["gaps"]).fit(features, "t", np.arange(200))
            found.append(
                (encoder.to_state(), encoder.transform(features, "t", ignore=True).tobytes(), target.to_state())
            )
    assert found[0] == found[1]


def test_an_index_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_parts(monkeypatch, 3)
    (tmp_path / "t.csv").write_text(",a\n" + "".join(f"{i},{i % 3}\n" for i in range(20)))
    assert read_table(tmp_path / "t.csv").columns == ["a"]
    (tmp_path / "t.csv").write_text(",a\n" + "".join(f"{i % 3},{i % 3}\n" for i in range(20)))
    assert read_table(tmp_path / "t.csv").columns == ["Unnamed: 0", "a"]


LINES = "a,b\n" + "1,2\n" * 30
DAMAGED: dict[str, tuple[bytes, str, str]] = {
    "a long row": ((LINES + "1,2,3\n" + LINES[4:]).encode(), "utf-8", "line 32 has 3 cells"),
    "a short row": ((LINES + "1\n" + LINES[4:]).encode(), "utf-8", "line 32 has 1 cell"),
    "an open quote": ((LINES + '1,"2\n' + LINES[4:]).encode(), "utf-8", "a quote that is not closed"),
    "no rows": (b"a,b\n", "utf-8", "a header of 2 columns and no rows"),
    "a bad byte": (LINES.encode() + b"1,\xff\n", "utf-8", "line 32 is no text in utf-8: it has the byte 0xff"),
    "half a character": ("a,b\n1,\u00fc".encode()[:-1], "utf-8", "line 2 is no text in utf-8: it has the byte 0xc3"),
    "half of UTF-16": (LINES.encode("utf-16")[:-1], "utf-16", "is no text in utf-16"),
    "zeros": (LINES.encode() + b"1,\0\n", "utf-8", "zero bytes"),
    "no encoding": (LINES.encode(), "klingon", "--encoding klingon"),
    "no encoding of text": (LINES.encode(), "hex", "--encoding hex"),
    "a lone half": (LINES.encode() + b"1,+2AA-\n", "utf-7", "text that is none in utf-7|no text in utf-7"),
}


@pytest.mark.parametrize("parts", [True, False])
@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files(name: str, parts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (in_parts if parts else as_one)(monkeypatch)
    content, encoding, text = DAMAGED[name]
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match=text):
        read_table(tmp_path / "t.csv", TextFormat(encoding=encoding))


@pytest.mark.parametrize("encoding", ["utf-8", "UTF_8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings(encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_parts(monkeypatch)
    (tmp_path / "t.csv").write_bytes("caf\u00e9,b\n\u00fc,1\n".encode(encoding))
    frame = read_table(tmp_path / "t.csv", TextFormat(encoding=encoding))
    assert (list(frame.columns), frame["caf\u00e9"].tolist()) == (["caf\u00e9", "b"], ["\u00fc"])
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfa,b\n1,2\n")
    assert list(read_table(tmp_path / "t.csv").columns) == ["a", "b"]


CELLS: dict[str, list[Any]] = {
    "whole numbers beyond float64": ["9007199254740993", "9007199254740995"],
    "such and a missing one": ["9007199254740993", None],
    "such and a fraction": ["9007199254740993", "0.1"],
    "very large ones": ["18446744073709551615", "-9223372036854775808", "1"],
    "numbers": ["1", "-0.0", "1e-400", "0.1", " 2 ", "1_0", "inf", "True", None],
    "text": ["a", "1", "True", "x y", None],
    "truths": ["True", "false", "TRUE", None],
    "whole ones with points": ["1.0", "2.0", "-3.000"],
    "such and text": ["1.0", "b"],
    "days": ["2026-01-01 00:00:00", "2026-01-02", None],
    "nothing": [None, None],
}


@pytest.mark.parametrize("form", [TextFormat(), TextFormat(decimal=",", thousands=".")])
@pytest.mark.parametrize("dtype", ["str", "string", "object"])
@pytest.mark.parametrize("name", CELLS)
def test_few_different_texts(name: str, dtype: str, form: TextFormat, monkeypatch: pytest.MonkeyPatch) -> None:
    column = pd.Series(CELLS[name] * 9, dtype=dtype, name="x").iloc[3:]
    found: list[Any] = []
    for few in (True, False):
        if not few:
            monkeypatch.setattr(_text, "_different", lambda column: None)
        arrays = [*numbers_of(column, form), *truths_of(column)]
        names = names_of(column).astype(object)
        found.append(([a.tobytes() for a in arrays], list(names.index), ["-" if pd.isna(x) else x for x in names]))
    assert found[0] == found[1]


MEMORY = """
import ctypes, sys
from pathlib import Path
from stoop._tables import read_table

def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(key))

small, large = map(Path, sys.argv[1:])
read_table(small)
ctypes.CDLL(None).malloc_trim(0)
Path("/proc/self/clear_refs").write_text("5")
before = status("RssAnon")
table = read_table(large)
print(status("VmHWM") - status("RssFile") - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_what_a_long_table_takes(tmp_path: Path) -> None:
    digits = np.random.default_rng(0).integers(10, size=(200_000, 30)).astype(np.uint8) + 48
    lines = np.full((len(digits), 60), ord(","), np.uint8)
    lines[:, ::2], lines[:, -1] = digits, ord("\n")
    header = ",".join(f"c{i}" for i in range(30)) + "\n"
    (tmp_path / "small.csv").write_bytes(header.encode() + lines[:20_000].tobytes())
    (tmp_path / "large.csv").write_bytes(header.encode() + lines.tobytes())
    taken = int(run_python("-c", MEMORY, str(tmp_path / "small.csv"), str(tmp_path / "large.csv")).stdout)
    assert taken <= 5 * lines.nbytes
