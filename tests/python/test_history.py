"""Histories as tables, sums of them, and the curves that are drawn of each."""

from __future__ import annotations

import copy
import json
import math
import pickle
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import stoop
from helpers import refused

X, Y = np.random.default_rng(0).standard_normal((40, 3)), np.arange(40) % 2


def make_trainer(loss: str = "softmax_cross_entropy") -> Any:
    return stoop.Trainer(stoop.Model([stoop.Dense(2)], input_dim=3), loss)


def fits(*, validated: tuple[bool, ...] = (False, True, False)) -> list[Any]:
    trainer = make_trainer()
    data = [(X, Y) if wanted else None for wanted in validated]
    return [trainer.fit(X, Y, epochs=2, validation_data=pair, verbose=0) for pair in data]


def test_a_history_is_a_table() -> None:
    history = fits()[1]
    for frame in (pd.DataFrame(history), pl.DataFrame(history).to_pandas()):
        assert list(frame.columns) == list(history)
        assert frame["val_loss"].tolist() == history["val_loss"]
        assert len(frame) == 2
    assert json.loads(json.dumps(history)) == history
    assert isinstance(history, Mapping)
    assert dict(history) == history


def test_a_sum_has_the_columns_of_both() -> None:
    first, second, third = fits()
    both = first + second
    assert list(both) == list(second)  # the order of a history with validation
    assert both.epochs == [1, 2, 3, 4]
    assert both["loss"] == first["loss"] + second["loss"]
    assert all(math.isnan(value) for value in both["val_loss"][:2])
    assert both["val_loss"][2:] == second["val_loss"]
    everything = sum([first, second, third])
    assert everything.epochs == [1, 2, 3, 4, 5, 6]
    assert {len(values) for values in everything.values()} == {6}
    assert (len(first["loss"]), first.epochs) == (2, [1, 2]), "the parts stay as they are"
    total = first
    total += second
    assert total.epochs == both.epochs
    assert first.epochs == [1, 2]


def test_the_sum_of_fits_is_one_fit() -> None:
    trainer, twin = make_trainer(), make_trainer()
    total = trainer.fit(X, Y, epochs=2, verbose=0) + trainer.fit(X, Y, epochs=3, verbose=0)
    once = twin.fit(X, Y, epochs=5, verbose=0)
    assert total.epochs == once.epochs
    assert [total[key] for key in ("loss", "accuracy", "grad_norm")] == [
        once[key] for key in ("loss", "accuracy", "grad_norm")
    ]


def test_another_trainer_counts_on() -> None:
    (first, *_), (other, *_) = fits(), fits()
    assert (first + other).epochs == [1, 2, 3, 4]
    assert (first + other + other).epochs == [1, 2, 3, 4, 5, 6]
    assert (first + stoop.History(("loss",))).epochs == [1, 2]


@pytest.mark.parametrize("other", [1, None, {"loss": [1.0]}, [1.0], "loss"])
def test_what_cannot_be_added(other: Any) -> None:
    history = fits()[0]
    with pytest.raises(TypeError):
        history + other
    with pytest.raises(TypeError):
        other + history


def test_why_a_fit_ended_goes_with_the_history() -> None:
    first, second, third = fits()
    assert stoop.History(("loss",)).stop_reason is None
    assert first.stop_reason == "epochs"
    second.stop_reason, third.stop_reason = "max_time", None
    assert (first + second).stop_reason == "max_time"
    assert (second + third).stop_reason is None
    assert sum([third, first]).stop_reason == "epochs"


def test_what_a_callback_adds_to_a_row() -> None:
    history = stoop.History(("loss", "val_loss"))
    rows: list[dict[str, float]] = [{"loss": 1.0}, {"loss": 2.0, "mine": 5}, {"loss": 3.0, "val_loss": 0.5}]
    for epoch, row in enumerate(rows, 1):
        history.epochs.append(epoch)
        history["loss"].append(0.0)
        history._amend({"epoch": 77.0, **row})
    assert history.epochs == [1, 2, 3]
    assert str(dict(history)) == str(
        {"loss": [1.0, 2.0, 3.0], "val_loss": [math.nan, math.nan, 0.5], "mine": [math.nan, 5.0, math.nan]}
    )
    assert str(history._newest()) == str({"epoch": 3, "loss": 3.0, "val_loss": 0.5, "mine": math.nan})
    assert type(history["mine"][1]) is float


def test_to_pandas() -> None:
    history = sum(fits())
    frame = history.to_pandas()
    assert list(frame.columns) == ["epoch", *history]
    assert frame["epoch"].tolist() == history.epochs
    pd.testing.assert_series_equal(frame["val_loss"], pd.Series(history["val_loss"], name="val_loss"))
    assert len(stoop.History(("loss",)).to_pandas()) == 0


def test_to_pandas_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    history = fits()[0]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with refused(ImportError, "History.to_pandas", r"stoop\[pandas\]"):
        history.to_pandas()


def test_plot_draws_every_metric(tmp_path: Path) -> None:
    history = fits()[1]
    history.epochs.append(3)
    history._amend({"val_auc": 0.7, "val_r2": -3.0})
    figure = history.plot(tmp_path / "curve.png")
    assert [axes.get_title("left") for axes in figure.axes] == ["loss", "accuracy", "auc", "r2"]
    assert [len(axes.get_lines()) for axes in figure.axes] == [2, 2, 1, 1]
    assert (tmp_path / "curve.png").stat().st_size > 1000
    with refused(ValueError, "empty"):
        stoop.History(("loss",)).plot()


def test_a_loss_below_zero_is_not_cut_off() -> None:
    lowest = stoop.plotting.learning_curve({"loss": [1.0, -2.0]}).axes[0].get_ylim()[0]
    assert lowest < -2.0
    assert stoop.plotting.learning_curve({"loss": [2.0, 1.0]}).axes[0].get_ylim()[0] == 0.0


def test_copies_are_equal_and_of_their_own() -> None:
    history = sum(fits()[1:])
    history.stop_reason = "epochs"
    for twin in (history.copy(), copy.copy(history), copy.deepcopy(history), pickle.loads(pickle.dumps(history))):
        assert type(twin) is stoop.History
        assert str(dict(twin)) == str(dict(history))
        assert twin.epochs == history.epochs
        assert list(twin) == list(history)
        assert twin.stop_reason == "epochs"
        twin["loss"].append(0.0)
        assert len(history["loss"]) == 4


CHANGES: dict[str, Callable[[Any], Any]] = {
    "set": lambda h: h.__setitem__("loss", []),
    "delete": lambda h: h.__delitem__("loss"),
    "update": lambda h: h.update(loss=[]),
    "pop": lambda h: h.pop("loss"),
    "clear": lambda h: h.clear(),
    "setdefault": lambda h: h.setdefault("a", []),
    "or": lambda h: h.__ior__({"a": []}),
    "popitem": lambda h: h.popitem(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_history_is_read_only(change: str) -> None:
    history = fits()[0]
    before = dict(history)
    with refused(TypeError, "History", r"dict\(history\)"):
        CHANGES[change](history)
    assert history == before
    with pytest.raises(KeyError, match="'val_loss' was not recorded; this history has loss"):
        history["val_loss"]


def from_csv(folder: Path, history: Any) -> pd.DataFrame:
    history.to_csv(folder / "history.csv")
    return pd.read_csv(folder / "history.csv")


FORMS: dict[str, Callable[[Path], Any]] = {
    "history": lambda _: fits(validated=(True,))[0],
    "sum": lambda _: sum(fits()),
    "list": lambda _: fits(),
    "tuple of dicts": lambda _: tuple(map(dict, fits())),
    "dict": lambda _: dict(fits()[1]),
    "dict of arrays": lambda _: {key: np.array(values) for key, values in fits()[1].items()},
    "pandas": lambda _: pd.DataFrame(sum(fits())),
    "with a column of names": lambda _: pd.DataFrame(fits()[0]).assign(run="first"),
    "polars": lambda _: pl.DataFrame(fits()[1]),
    "of a file": lambda folder: from_csv(folder, sum(fits())),
    "loss alone": lambda _: {"loss": [3, 2, 1]},
}


@pytest.mark.parametrize("form", FORMS)
def test_learning_curves_of_every_form(tmp_path: Path, form: str) -> None:
    figure = stoop.plotting.learning_curve(FORMS[form](tmp_path), tmp_path / "curve.png")
    line = figure.axes[0].get_lines()[0]
    epochs = line.get_xdata().tolist() if hasattr(line.get_xdata(), "tolist") else list(line.get_xdata())
    assert epochs == list(range(1, len(epochs) + 1))
    assert len(epochs) == {"sum": 6, "list": 6, "tuple of dicts": 6, "pandas": 6, "of a file": 6, "loss alone": 3}.get(
        form, 2
    )
    assert (tmp_path / "curve.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("given", "pattern"),
    [
        ({}, "nothing"),
        ([], "empty"),
        ({"loss": []}, "empty"),
        (stoop.History(("loss",)), "empty"),
        ({"accuracy": [1.0]}, 'expected "loss"'),
        ({"loss": [1.0, 2.0], "val_loss": [1.0]}, r"val_loss \(1,\)"),
        ({"loss": ["a"]}, "loss"),
        ({"loss": np.ma.masked_equal([1.0, 2.0], 2.0)}, "masked"),
        (3, "history is a int"),
        ("loss", "history is a str"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_history(given: Any, pattern: str) -> None:
    with refused((ValueError, TypeError), r"\[learning_curve\]", pattern):
        stoop.plotting.learning_curve(given)


@pytest.mark.parametrize(
    "change", [lambda h: h["loss"].clear(), lambda h: h.epochs.append(9)], ids=["values", "epochs"]
)
def test_a_list_that_was_changed_is_named_where_it_would_mislead(change: Callable[[Any], Any], tmp_path: Path) -> None:
    changed, other = fits()[:2]
    change(changed)
    for add in (lambda: changed + other, lambda: other + changed, lambda: sum([changed])):
        with refused(ValueError, "History", r"loss has \d values and epochs \d", "each epoch"):
            add()
    with refused(ValueError, "to_csv", "loss has"):
        changed.to_csv(tmp_path / "history.csv")
