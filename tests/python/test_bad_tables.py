"""Tables that nothing can be learnt of, and what `stoop train` says of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from commands import Command, table
from helpers import run_python

pytest.importorskip("pandas")

CLASSES = "ab"


def simple(i: int) -> str:
    return f"{i * 0.5},{CLASSES[i % 2]}"


def with_cell(cell: str) -> str:
    """A table whose column x has this cell once."""
    return table("x,y", lambda i: f"{cell if i == 7 else i * 1.5},{CLASSES[i % 2]}")


def each(cell: str, name: str = "x") -> str:
    """A table with the column z, and one that is made from the row number i and k = i % 28 + 1."""
    return table(f"z,{name},y", lambda i: f"{i},{cell.format(i=i, k=i % 28 + 1)},{CLASSES[i % 2]}")


# name: content, options, what the message says
CASES: dict[str, tuple[str | bytes, list[str], list[str]]] = {
    "empty": ("", [], ["an empty file", "a header and rows"]),
    "blank": ("\n \n", [], ["an empty file"]),
    "header": ("x,y\n", [], ["a header of 2 columns and no rows"]),
    "one column": ("y\n1\n2\n", [], ['one column, "y"', "--separator"]),
    "another separator": ("x:y\n1:a\n", [], ['one column, "x:y"', "--separator"]),
    "wrong separator": (
        "x;y\n1;a\n",
        ["--separator", ","],
        ['one column, "x;y"', "semicolon", "leave --separator out"],
    ),
    "unknown target": (table("species,mass", simple), ["--target", "spezies"], ['did you mean "species"']),
    "no target": (table("x,y", lambda i: f"{i},"), [], ['target "y" has no values']),
    "nothing at all": (table("x,z,y", lambda i: ",,"), [], ["has no values"]),
    "class with one row": (
        table("x,y", lambda i: f"{i},{'c' if i == 3 else CLASSES[i % 2]}"),
        [],
        ['a single row of class "c"', "two rows"],
    ),
    "number with one row": (
        table("x,y", lambda i: f"{i % 3},{7 if i == 3 else i % 2}"),
        [],
        ['"7"', "--task regression"],
    ),
    "constant target": (table("x,y", lambda i: f"{i},a"), [], ['target "y" is "a" in every row']),
    "constant value": (table("x,y", lambda i: f"{i},0.5"), [], ["is 0.5 in every row"]),
    "text as values": (table("x,y", simple), ["--task", "regression"], ['"a", which is no number', "classification"]),
    "dates as target": (table("x,y", lambda i: f"{i},2026-11-{i % 28 + 1:02d}"), [], ['target "y" holds dates']),
    "column without values": (each(""), [], ['column "x" has no values', "--drop x"]),
    "10,000 categories": (
        table("z,x,y", lambda i: f"{i},c{i // 2},{CLASSES[i % 2]}", 20_000),
        [],
        ['"x" has 10,000 categories', "at most 255", "--max-categories", "--drop x"],
    ),
    "names": (each("name {i}"), [], ["another text in each of 40 rows", "--drop x"]),
    "ISO dates": (each("2026-11-{k:02d}"), [], ['"x" holds dates, such as 2026-11-01', "weekday", "--drop x"]),
    "dates with time": (each("2026-11-{k:02d} 10:00:00"), [], ["holds dates"]),
    "German dates": (each("{k}.11.2026"), [], ["holds dates, such as 1.11.2026"]),
    "American dates": (each("11/{k}/26"), [], ["holds dates"]),
    "same names": (table("x,x,y", lambda i: "1,2,a"), [], ['same name: "x"', "rename"]),
    "no name": (table("x,,y", lambda i: "1,2,a"), [], ["column 2 has no name"]),
    "Latin-1": (
        table("x,y", lambda i: f"{i},{'aé'[i % 2]}").encode("latin-1"),
        [],
        ["line 3", "0xe9", "--encoding"],
    ),
    "unknown encoding": (table("x,y", simple), ["--encoding", "utf-99"], ["utf-99"]),
    "infinity": (with_cell("inf"), [], ['"x" is infinite at row 8', "--missing inf"]),
    "beyond float32": (with_cell("1e300"), [], ['"x" is 1e+300 at row 8', "another unit"]),
    "thousands": (each('"{i},100"'), [], ['"0,100" at row 1', '--thousands ","']),
    "some thousands": (
        table("z,x,y", lambda i: f"{i},{i if i % 2 else chr(34) + '1,500' + chr(34)},{CLASSES[i % 2]}"),
        [],
        ["1,500"],
    ),
    "decimal comma": (table("x;y", lambda i: f"{i},5;{CLASSES[i % 2]}"), [], ["decimal point", '--decimal ","']),
    "currency": (each("${i}.50"), [], ["sign of a unit"]),
    "percent": (each("{i} %"), [], ["sign of a unit"]),
    "mixed": (with_cell("oops"), [], ["39 numbers and 1 text", '"oops" at row 8', "--missing 'oops'", "--category x"]),
    "dropped target": (table("x,y", simple), ["--drop", "y"], ['target "y" is among the columns of --drop']),
    "unknown in drop": (table("mass,y", simple), ["--drop", "mas"], ['did you mean "mass"']),
    "unknown in category": (table("mass,y", simple), ["--category", "mas"], ['did you mean "mass"']),
    "nothing left": (table("x,y", simple), ["--drop", "x"], ["no column is left"]),
    "Excel": (b"PK\x03\x04rest", [], ["an Excel file", "save the sheet as CSV"]),
    "JSON": ('[{"x": 1}]', [], ["JSON"]),
    "binary": (b"x,y\n\x00\x01", [], ["zero bytes"]),
    "damaged Parquet": (b"PAR1rest", [], ["a damaged Parquet file"]),
    "long row": (table("x,y", lambda i: simple(i) + ",3" * (i == 5)), [], ["line 7 has 3 cells", "quotes"]),
    "long rows": (table("x,y", lambda i: simple(i) + ",3"), [], ["line 2 has 3 cells"]),
    "short row": (table("x,z,y", lambda i: "1,b" if i == 5 else "1,2,"), [], ["line 7 has 2 cells", "empty cells"]),
    "open quote": ('x,y\n"1,a\n2,b\n', [], ["a quote that is not closed"]),
    "few rows": (table("x,y", simple, 6), [], ["6 rows", "at least 10"]),
    "no rows left": (table("x,y", simple), ["--test-size", "0.5", "--dev-size", "0.5"], ["smaller shares"]),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_in_words(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, options, expected = CASES[name]
    file, model = tmp_path / "data.csv", tmp_path / "model.safetensors"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    target = [] if "--target" in options else ["--target", "y"]
    text = Command(capsys).refused("train", file, "-o", model, *target, *options)
    for part in expected:
        assert part in text, text
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]


def test_all_columns_that_cannot_be_used_are_named_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "data.csv"
    file.write_text(table("x,when,my name,z,y", lambda i: f"{i % 5},2026-11-{i % 28 + 1},n{i},,{CLASSES[i % 2]}"))
    train = ("train", file, "--target", "y", "--epochs", "1", "-o", tmp_path / "m.safetensors")
    command = Command(capsys)
    text = command.refused(*train)
    assert "3 columns" in text
    [dropped] = re.findall(r'--drop "(.*)"', text)
    assert dropped == "when,my name,z"
    command(*train, "--drop", dropped)


def test_paths_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command, file = Command(capsys), tmp_path / "data.csv"
    file.write_text(table("x,y", simple))
    model = tmp_path / "m.safetensors"
    assert "not there" in command.refused("train", tmp_path / "nope.csv", "--target", "y", "-o", model)
    assert "a folder" in command.refused("train", tmp_path, "--target", "y", "-o", model)
    for output in (tmp_path, tmp_path / "none" / "m"):
        assert "-o is" in command.refused("train", file, "--target", "y", "-o", output)
    assert "--report is" in command.refused("train", file, "--target", "y", "-o", model, "--report", tmp_path)
    assert "safetensors" in command.refused("predict", file, file)
    assert "No such file" in command("predict", model, file, status=1).err


def test_mistakes_on_the_real_command_line(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text(table("x,when,y", lambda i: f"{i},2026-11-{i % 28 + 1},{CLASSES[i % 2]}"))
    train = ("-m", "stoop", "train", file, "-o", tmp_path / "m.safetensors")
    for arguments, status, words in (
        ((), 2, "--target"),
        (("--target", "y", "--test-size", "20"), 2, "share"),
        (("--target", "y", "--separator", "ab"), 2, "one character"),
        (("--target", "y"), 1, "holds dates"),
        (("--target", "y", "--json"), 1, "holds dates"),
    ):
        done = run_python(*train, *arguments, check=False)
        assert done.returncode == status
        assert words in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
