"""The `stoop` command keeps what it reads, keeps digits, and ends with one line where a user is mistaken."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

import stoop
from commands import Command, mixed_table

pd = pytest.importorskip("pandas")

FEW = ("--epochs", "3")


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    mixed_table().to_csv("data.csv", index=False)
    return tmp_path


def write(**columns: object) -> None:
    pd.DataFrame(columns).to_csv("data.csv", index=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "data.csv", "--target", "size", "-o", "data.csv"),
        ("train", "data.csv", "--target", "size", "-o", "link.csv"),
        ("train", "data.csv", "--target", "size", "-o", "new", "--report", "./new"),
        ("train", "data.csv", "--target", "size", "--model", "recipe.json", "-o", "recipe.json"),
        ("train", "data.csv", "--target", "size", "-o", "/dev/null"),
        ("predict", "m", "data.csv", "-o", "data.csv"),
        ("predict", "m", "data.csv", "-o", "m"),
        ("diagnose", "m", "data.csv", "--report", "data.csv"),
        ("search", "data.csv", "--target", "size", "-o", "new", "--csv", "data.csv"),
    ],
)
def test_no_output_overwrites_an_input_or_another_output(
    command: Command, folder: Path, arguments: tuple[str, ...]
) -> None:
    Path("recipe.json").write_text('{"epochs": 1}')
    Path("link.csv").symlink_to("data.csv")
    command("train", "data.csv", "--target", "size", "-o", "m", *FEW)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert "name another" in command.refused(*arguments)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(("mean", "deviation"), [(1.7e9, 100.0), (1.7e9, 5.0), (1e7, 5.0), (0.0, 1e20)])
def test_values_far_from_zero_keep_what_tells_them_apart(
    command: Command, folder: Path, mean: float, deviation: float
) -> None:
    a = np.random.default_rng(0).normal(size=300)
    t = mean + deviation * a
    write(a=a, b=a[::-1], t=t)
    options = ("--epochs", "30", "--learning-rate", "0.01", "--json")
    scores = command("train", "data.csv", "--target", "t", "-o", "m", *options).result["scores"]
    command("predict", "m", "data.csv", "-o", "p.csv")
    found = command("predict", "m", "data.csv", "--json").result
    written = pd.read_csv("p.csv").prediction.to_numpy()
    assert written.tolist() == pytest.approx(found["predictions"], rel=1e-9 if mean < 1e8 else 1e-15)
    rmse = float(np.sqrt(np.mean((written - t) ** 2)))
    assert 0.0 < rmse < 0.3 * deviation
    assert found["scores"]["rmse"] == pytest.approx(rmse, rel=1e-3)
    assert min(part["rmse"] for part in scores.values()) <= rmse <= max(part["rmse"] for part in scores.values())


@pytest.mark.parametrize("factor", [1e40, 1e300])
def test_target_that_is_too_large(command: Command, folder: Path, factor: float) -> None:
    a = np.random.default_rng(0).normal(size=60)
    write(a=a, t=a * factor)
    text = command.refused("train", "data.csv", "--target", "t", "-o", "m")
    assert 'target "t" is ' in text
    assert "another unit" in text


@pytest.mark.parametrize(
    "recipe",
    [
        {"trainer": {"loss": "hinge"}},
        {"trainer": {"loss": "focal"}},
        {"trainer": {"loss": "binary_cross_entropy"}},
        {"trainer": {"loss": "mse"}},
    ],
)
def test_loss_that_cannot_learn_the_classes(command: Command, folder: Path, recipe: dict[str, object]) -> None:
    write(a=np.arange(60.0), b=np.arange(60) % 7, y=["u", "v", "w"] * 20)
    Path("r.json").write_text(json.dumps(recipe))
    assert "softmax_cross_entropy" in command.refused(
        "train", "data.csv", "--target", "y", "-o", "m", "--model", "r.json"
    )


def test_loss_that_is_not_scaled_refuses_values_far_from_zero(command: Command, folder: Path) -> None:
    a = np.random.default_rng(0).normal(size=60)
    write(a=a, b=a[::-1], t=1.7e9 + a)
    Path("r.json").write_text('{"trainer": {"loss": "huber"}}')
    assert "mse" in command.refused("train", "data.csv", "--target", "t", "-o", "m", "--model", "r.json")


def test_rows_in_messages_are_those_of_the_file(command: Command, folder: Path) -> None:
    a = np.arange(60.0)
    a[5] = np.inf
    write(a=a, b=np.arange(60) % 7, y=[None, *["u", "v"] * 29, "u"])
    assert "at row 6" in command.refused("train", "data.csv", "--target", "y", "-o", "m", "--drop", "b")


def test_gaussian_nll_is_scored(command: Command, folder: Path) -> None:
    Path("r.json").write_text('{"trainer": {"loss": "gaussian_nll"}}')
    command("train", "data.csv", "--target", "value", "-o", "m", "--model", "r.json", *FEW)
    assert set(command("predict", "m", "data.csv", "--json").result["scores"]) == {"rmse", "mae", "r2"}


def test_mistakes_are_one_line(command: Command, folder: Path) -> None:
    def line(*arguments: str) -> str:
        text = command(*arguments, status=1).err.splitlines()[-1]
        assert text.startswith("stoop: ")
        return text

    target = ("--target", "size", "-o", "m")
    assert "loss" in line("train", "data.csv", *target, "--learning-rate", "1e30")
    line("train", "data.csv", *target, "--hidden", "1000000000")
    Path("s.json").write_text('{"activation": "foo"}')
    line("search", "data.csv", *target, "--space", "s.json", "--trials", "2", *FEW)
    whole = gzip.compress(Path("data.csv").read_bytes())
    for damaged in (whole[:200], whole[:60] + bytes(40) + whole[100:]):
        Path("data.csv.gz").write_bytes(damaged)
        assert "damaged gzip" in line("train", "data.csv.gz", *target)


def test_undefined_r2_is_null(command: Command, folder: Path) -> None:
    command("train", "data.csv", "--target", "value", "-o", "m", *FEW)
    pd.read_csv("data.csv").head(1).to_csv("one.csv", index=False)
    done = command("predict", "m", "one.csv", "--json")
    assert json.loads(done.out, parse_constant=pytest.fail)["scores"]["r2"] is None
    assert "-" in command("predict", "m", "one.csv").err


def test_diagnose_knows_the_table_by_its_inputs(command: Command, folder: Path) -> None:
    command("train", "data.csv", "--target", "size", "-o", "m", *FEW)
    assert set(command("diagnose", "m", "data.csv", "--json").result["rows"]) == {"train", "dev", "test"}
    frame = pd.read_csv("data.csv")
    frame.assign(length=frame["length"] + 3).to_csv("other.csv", index=False)
    assert set(command("diagnose", "m", "other.csv", "--json").result["rows"]) == {"test"}


def test_categories_of_other_parts_are_unknown(command: Command, folder: Path) -> None:
    columns = {"a": np.arange(200.0), "c": ["p", "q"] * 100, "y": ["u", "v"] * 100}
    write(**columns)
    trained = ("train", "data.csv", "--target", "y", "-o", "m", *FEW, "--json")
    first = command(*trained).result
    pd.DataFrame(columns).assign(c=[f"only {i}" if i % 10 == 3 else "pq"[i % 2] for i in range(200)]).to_csv("data.csv")
    second = command(*trained).result
    assert first["notes"] != second["notes"]
    assert any("in no row of the training part" in note for note in second["notes"])
    assert set(command("diagnose", "m", "data.csv", "--json").result["rows"]) == {"train", "dev", "test"}
    assert "which training has not seen" in command.refused("predict", "m", "data.csv")


def test_whole_numbers_and_truth_values_in_other_spellings(command: Command, folder: Path) -> None:
    write(k=["1.0", "2.0", "3.0", ""] * 20, f=["true", "false"] * 40, y=[1.0, 2.0, 3.0, np.nan] * 20)
    trained = command("train", "data.csv", "--target", "y", "--category", "k", "-o", "m", *FEW, "--json").result
    assert trained["classes"] == [1, 2, 3]
    write(k=[1, 2, 3], f=[True, False, True], y=[1, 2, 3])
    assert command("predict", "m", "data.csv", "--json").result["scores"] is not None
    write(a=np.arange(80) % 9, flag=["true", "false"] * 40)
    command("train", "data.csv", "--target", "flag", "-o", "m", *FEW)
    write(a=[1, 2], flag=[True, False])
    assert command("predict", "m", "data.csv", "--json").result["scores"] is not None


def test_index_of_a_data_frame_is_left_out(command: Command, folder: Path) -> None:
    frame = mixed_table(200)
    frame[frame["mass"] > 45].to_csv("data.csv")
    result = command("train", "data.csv", "--target", "size", "-o", "m", *FEW, "--json").result
    assert "Unnamed: 0" not in result["columns"]
    frame.tail(1).to_csv("one.csv")
    command("predict", "m", "one.csv")


@pytest.mark.parametrize("drop", [("weight, kg,a",), ("a", "weight, kg"), (" a , weight, kg",)])
def test_names_with_commas_are_dropped(command: Command, folder: Path, drop: tuple[str, ...]) -> None:
    write(**{"a": np.arange(60), "weight, kg": np.arange(60), "b": np.arange(60) % 7, "y": ["u", "v"] * 30})
    options = [part for name in drop for part in ("--drop", name)]
    result = command("train", "data.csv", "--target", "y", "-o", "m", *options, *FEW, "--json").result
    assert list(result["columns"]) == ["b"]


def test_parquet_is_read_as_csv_is(command: Command, folder: Path) -> None:
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"c": [" p", "q ", "NA", "q"] * 20, "f": [True, None, False, True] * 20, "y": ["u", "v"] * 40})
    frame.index.name = "id"
    frame.to_parquet("data.parquet")
    frame.to_csv("data.csv")
    options = ("--target", "y", *FEW, "--json", "-o")
    typed = command("train", "data.parquet", *options, "m").result
    text = command("train", "data.csv", *options, "n").result
    assert typed["columns"] == text["columns"]
    assert "id" in typed["columns"]
    assert Path("m").read_bytes() == Path("n").read_bytes()
    command("predict", "m", "data.csv")
    pd.DataFrame({"a": [[1], [2]] * 20, "y": ["u", "v"] * 20}).to_parquet("data.parquet")
    assert "has cells of type" in command.refused("train", "data.parquet", *options, "m")


def test_search_speaks_in_the_unit_of_the_target(command: Command, folder: Path) -> None:
    frame = pd.read_csv("data.csv")
    frame.assign(value=frame["value"] * 1000).to_csv("data.csv", index=False)
    Path("s.json").write_text('{"depth": {"choice": [3]}}')
    options = ("--target", "value", "--space", "s.json", "--trials", "2", "--csv", "t.csv", *FEW, "--json", "-o", "m")
    result = command("search", "data.csv", *options).result
    assert result["best_value"] == pytest.approx(result["scores"]["dev"]["rmse"], rel=1e-4)
    assert pd.read_csv("t.csv").value.min() == pytest.approx(result["best_value"])
    import stoop

    assert len([layer for layer in stoop.load_model("m").layers if isinstance(layer, stoop.Dense)]) == 4


def test_header_that_begins_with_a_bracket(command: Command, folder: Path) -> None:
    for header in ("[mm] width", "<length>", "{a}"):
        write(**{header: np.arange(60) % 7, "y": ["u", "v"] * 30})
        assert header in command("train", "data.csv", "--target", "y", "-o", "m", *FEW, "--json").result["columns"]


def test_empty_widths_are_refused(command: Command, folder: Path) -> None:
    assert "--hidden" in command("train", "data.csv", "--target", "size", "-o", "m", "--hidden", "", status=2).err


# ---- truth values in other spellings ----

TRUTHS = [["1", "0"], ["1.0", "0.0"], ["TRUE", "False"]]


@pytest.mark.parametrize("later", TRUTHS)
@pytest.mark.parametrize("options", [(), ("--category", "f")], ids=["truth", "category"])
def test_one_and_zero_are_true_and_false(
    command: Command, folder: Path, options: tuple[str, ...], later: list[str]
) -> None:
    write(f=["true", "false"] * 40, y=[1.5, 2.0] * 40)
    command("train", "data.csv", "--target", "y", *options, "-o", "m", *FEW)
    expected = command("predict", "m", "data.csv", "--json").result["predictions"][:2]
    write(f=later)
    assert command("predict", "m", "data.csv", "--json").result["predictions"] == expected
    write(f=["2", "0"])
    assert ('column "f" has "2" at row 1' if not options else '"2"') in command.refused("predict", "m", "data.csv")


@pytest.mark.parametrize("options", [(), ("--category", "f")], ids=["number", "category"])
def test_true_and_false_are_one_and_zero(command: Command, folder: Path, options: tuple[str, ...]) -> None:
    write(f=[1, 0] * 40, y=[1.5, 2.0] * 40)
    command("train", "data.csv", "--target", "y", *options, "-o", "m", *FEW)
    expected = command("predict", "m", "data.csv", "--json").result["predictions"][:2]
    for later in ([True, False], ["true", "false"]):
        write(f=later)
        assert command("predict", "m", "data.csv", "--json").result["predictions"] == expected
    write(f=["true", "yes"])
    assert '"' in command.refused("predict", "m", "data.csv")


def test_truth_values_may_be_written_in_both_ways(command: Command, folder: Path) -> None:
    write(f=["true", "0", "1", "false"] * 20, y=[1.5, 2.0] * 40)
    command("train", "data.csv", "--target", "y", "-o", "m", *FEW)
    assert stoop.load_model("m").input_dim == 1
    predictions = command("predict", "m", "data.csv", "--json").result["predictions"]
    assert predictions[0] == predictions[2]
    assert predictions[1] == predictions[3]


def test_a_target_of_truth_values_may_be_one_and_zero(command: Command, folder: Path) -> None:
    write(a=np.arange(80) % 9, flag=["true", "false"] * 40)
    command("train", "data.csv", "--target", "flag", "-o", "m", *FEW)
    expected = command("predict", "m", "data.csv", "--json").result["scores"]
    write(a=np.arange(80) % 9, flag=[1, 0] * 40)
    assert command("predict", "m", "data.csv", "--json").result["scores"] == expected
