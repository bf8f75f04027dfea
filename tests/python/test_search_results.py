"""What a search returns: its trials as a table, in files, as a figure."""

from __future__ import annotations

import csv
import pickle
from pathlib import Path
from typing import Any

import pytest

import stoop
from helpers import bits
from searches import SPACE, build, run
from stoop import search

METHODS = ("random", "grid", "coarse_to_fine", "halving", "optuna")


def options_of(method: str) -> dict[str, Any]:
    if method == "optuna":
        pytest.importorskip("optuna")
    return {"method": method, "trials": 20}


def test_csv_comes_back(tmp_path: Path) -> None:
    space = {**SPACE, "layers": search.choice([(3,), (3, 3)])}
    result = run(space=space, trials=6)
    result.to_csv(tmp_path / "trials.csv")
    with (tmp_path / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    for row, trial in zip(rows, result.trials):
        assert int(row["number"]) == trial["number"]
        assert float(row["value"]) == trial["value"]
        assert float(row["rate"]) == trial["params"]["rate"]
        assert int(row["units"]) == trial["params"]["units"]
        assert row["activation"] == trial["params"]["activation"]
        assert eval(row["layers"]) == trial["params"]["layers"]
        assert float(row["best_epoch.val_accuracy"]) == trial["metrics"]["val_accuracy"]
        assert row["error"] == ""


def test_a_parameter_may_have_the_name_of_a_column(tmp_path: Path) -> None:
    result = run(space={**SPACE, "epochs": search.choice([7])}, trials=2)
    result.to_csv(tmp_path / "trials.csv")
    with (tmp_path / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["epochs"], row["params.epochs"]) for row in rows] == [("4", "7")] * 2


def test_pandas_has_the_same() -> None:
    pd = pytest.importorskip("pandas")
    result = run(trials=5)
    table = result.to_pandas()
    assert isinstance(table, pd.DataFrame)
    assert table["value"].tolist() == [trial["value"] for trial in result.trials]
    assert table["units"].tolist() == [trial["params"]["units"] for trial in result.trials]
    assert list(table.columns[:6]) == ["number", "state", "value", "epochs", "best_epoch", "seconds"]


def test_a_range_that_ends_where_the_best_trials_lie_is_told() -> None:
    def build_one(params: dict[str, Any]) -> stoop.Trainer:
        return build({"beta1": 0.9, "units": 12, "activation": "tanh", **params})

    too_low = {"rate": search.log_uniform(1e-8, 1e-2), "layers": search.choice([1, 2])}
    result = run(build=build_one, space=too_low, trials=60, epochs=20)
    assert result.advice == [
        "rate: the best trials lie at the upper end of log_uniform(1e-08, 0.01); a wider range may be better"
    ]
    assert str(result).endswith(result.advice[0])
    too_high = run(build=build_one, space={"rate": search.log_uniform(2.0, 1e4)}, trials=40)
    assert "lower end" in too_high.advice[0]
    assert run(build=build_one, space={"rate": search.log_uniform(1e-5, 10.0)}, trials=40).advice == []
    assert run(build=build_one, space=too_low, trials=9).advice == []
    assert run(build=build_one, space=too_low, trials=4, method="grid").advice == []


def test_table_and_pickle() -> None:
    result = run(trials=11)
    lines = str(result).splitlines()
    assert lines[0] == "11 trials (11 complete), the best 10 by val_loss"
    assert lines[1].split() == ["trial", "val_loss", "epochs", *SPACE]
    assert int(lines[2].split()[0]) == result.best_trial["number"]
    assert len(lines) == 12
    assert "best val_loss" in repr(result)
    again = pickle.loads(pickle.dumps(result))
    assert again.best_value == result.best_value
    assert bits(again.trainer.model) == bits(result.trainer.model)


def test_equal_values_share_their_place_and_colour(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    result = run(trials=9)
    for number, trial in enumerate(result.trials):
        trial["value"] = (0.25, 0.5, 0.75)[number // 3]
    result.best_trial = result.trials[0]
    axes = result.plot().axes[0]
    lines = [line for line in axes.lines if len(line.get_xdata()) == len(SPACE) + 1]
    assert sorted(float(line.get_ydata()[-1]) for line in lines) == [0.0] * 3 + [0.5] * 3 + [1.0] * 3
    assert len({line.get_color() for line in lines}) == 4  # with that of the best
    labels = [text.get_text() for text in axes.texts if text.get_position()[0] > len(SPACE)]
    assert labels == ["0.25", "0.5", "0.75"]


@pytest.mark.parametrize("metric", ["val_loss", "val_accuracy"])
def test_parallel_coordinates(metric: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    space = {**SPACE, "big": search.choice([f"choice {i}" for i in range(30)]), "p": search.uniform(0, 0.5)}
    result = run(space=space, trials=8, metric=metric)
    figure = result.plot(tmp_path / "trials.png")
    assert (tmp_path / "trials.png").stat().st_size > 10_000
    axes = figure.axes[0]
    lines = [line for line in axes.lines if len(line.get_xdata()) == len(space) + 1]
    assert len(lines) == 8
    best = max(lines, key=lambda line: line.get_zorder())
    params = result.best_params
    heights = [parameter.coordinate(params[name]) for name, parameter in space.items()]
    assert list(best.get_ydata()) == [*heights, 1.0]
    labels = [label.get_text().splitlines()[0] for label in axes.get_xticklabels()]
    assert labels[: len(space)] == list(space)
    assert metric in labels[-1]
