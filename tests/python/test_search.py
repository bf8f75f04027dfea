"""`stoop.search.run`: which trials the methods make, what is returned, the same for any number of threads."""

from __future__ import annotations

import io
import itertools
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import stoop
from helpers import bits, refused
from searches import SPACE, TRAIN, VALIDATION, X, Y, alone, build, facts, run
from stoop import search
from stoop.search._methods import _windows
from stoop.search._trial import COMPLETE, Goal, Trial

METHODS = ("random", "grid", "coarse_to_fine", "halving", "optuna")


def options_of(method: str) -> dict[str, Any]:
    if method == "optuna":
        pytest.importorskip("optuna")
    return {"method": method, "trials": 20}


# ---- values ----


@pytest.mark.parametrize("method", METHODS)
def test_trials_are_those_of_fit_on_any_number_of_threads(method: str) -> None:
    results = [run(**options_of(method), num_threads=threads) for threads in (1, 2, 3)]
    assert facts(results[0]) == facts(results[1]) == facts(results[2])
    for one, other in itertools.pairwise(results):
        assert bits(one.trainer.model) == bits(other.trainer.model)
    for trial, history in zip(results[0].trials, results[0].histories):
        assert history is not None
        expected = alone(trial["params"], trial["epochs"])
        for key in ("loss", "accuracy", "val_loss", "val_accuracy"):
            assert history[key] == expected[key]
        assert trial["value"] == min(expected["val_loss"])
        assert trial["best_epoch"] == 1 + int(np.argmin(expected["val_loss"]))
        assert trial["metrics"]["val_accuracy"] == expected["val_accuracy"][trial["best_epoch"] - 1]


@pytest.mark.parametrize("method", METHODS)
def test_the_trainer_is_that_of_the_best_epoch(method: str) -> None:
    result = run(**options_of(method), metric="val_accuracy", epochs=6)
    values = [trial["value"] for trial in result.trials if trial["state"] == "complete"]
    assert result.best_value == max(values)
    assert result.mode == "max"
    assert result.trainer.evaluate(*VALIDATION)["accuracy"] == result.best_value
    again = build(result.best_params)
    again.fit(*TRAIN, epochs=result.best_trial["best_epoch"], batch_size=30, verbose=0)
    assert bits(again.model) == bits(result.trainer.model)
    assert result.best_trial in result.trials


def test_more_trials_begin_with_the_same() -> None:
    few, many = run(trials=5), run(trials=9)
    assert facts(many)[:5] == facts(few)
    first = [run(trials=1, seed=seed).trials[0]["params"]["rate"] for seed in (0, 1, 2**63, 2**64 - 2, 2**64 - 1)]
    assert len(set(first)) == 5
    assert first[0] == few.trials[0]["params"]["rate"]


def test_values_are_drawn_from_the_space() -> None:
    result = run(trials=30)
    for trial in result.trials:
        params = trial["params"]
        assert list(params) == list(SPACE)
        assert 1e-4 <= params["rate"] <= 1e-1
        assert 0.8 <= params["beta1"] <= 0.99
        assert params["units"] in range(3, 13)
        assert params["activation"] in ("relu", "tanh")
    assert len({trial["params"]["rate"] for trial in result.trials}) == 30


# ---- methods ----


def test_grid_is_every_combination() -> None:
    result = run(method="grid", points=2, trials=16)
    expected = itertools.product(*(parameter.grid(2) for parameter in SPACE.values()))
    assert [tuple(trial["params"].values()) for trial in result.trials] == list(expected)
    with refused(ValueError, "24 points", "trials=24"):
        run(method="grid", points={"units": 3, "rate": 2, "beta1": 2}, trials=20)


def test_coarse_to_fine_narrows_around_the_best() -> None:
    result = run(method="coarse_to_fine", trials=30, rounds=3, shrink=0.4)
    for first, last, width in [(10, 20, 0.4), (20, 30, 0.16)]:
        before = min(result.trials[:first], key=lambda trial: (trial["value"], trial["number"]))
        drawn = result.trials[first:last]
        for name in ("rate", "beta1"):
            parameter = SPACE[name]
            places = [parameter.coordinate(trial["params"][name]) for trial in drawn]
            center = parameter.coordinate(before["params"][name])
            start = min(max(center - width / 2, 0.0), 1.0 - width)
            assert start - 1e-9 <= min(places)
            assert max(places) <= start + width + 1e-9
            assert max(places) - min(places) > width / 3
        assert {trial["params"]["activation"] for trial in drawn} == {before["params"]["activation"]}
    assert all(3 <= trial["params"]["units"] <= 12 for trial in result.trials)


@pytest.mark.parametrize(("best", "low", "high"), [(0.0, 0.0, 0.5), (0.9, 0.5, 1.0), (0.4, 0.15, 0.65)])
def test_coarse_to_fine_never_leaves_the_space(best: float, low: float, high: float) -> None:
    space = {"a": search.uniform(0, 1), "n": search.integers(0, 9)}
    pool: Any = SimpleNamespace(goal=Goal("val_loss", "min"), trials={})
    for number, (place, value) in enumerate([(0.5, 2.0), (best, 1.0), (0.7, 3.0)]):
        history = stoop.History._of([1], {"val_loss": [value]}, "epochs")
        pool.trials[number] = Trial(number, {"a": place, "n": round(9 * place)}, COMPLETE, history)
    windows = _windows(pool, space, 0.5)
    assert [windows["a"].value(u) for u in (0.0, 1.0)] == pytest.approx([low, high])
    assert 0 <= windows["n"].value(0.0) < windows["n"].value(1.0) <= 9


def test_coarse_to_fine_drops_the_worst_choices() -> None:
    widths = search.choice([2, 3, 4, 5])
    space = {"units": widths, "rate": search.log_uniform(1e-3, 1e-1)}

    def build_one(params: dict[str, Any]) -> stoop.Trainer:
        return build({"beta1": 0.9, "activation": "tanh", **params})

    result = run(build=build_one, space=space, method="coarse_to_fine", trials=24, rounds=2)
    best = {}
    for trial in result.trials[:12]:
        units = trial["params"]["units"]
        best[units] = min(best.get(units, math.inf), trial["value"])
    kept = sorted(best, key=best.__getitem__)[:2]
    assert {trial["params"]["units"] for trial in result.trials[12:]} == set(kept)


def test_halving_keeps_those_that_a_plain_program_keeps() -> None:
    result = run(method="halving", trials=20, epochs=18, factor=3)
    trials = list(range(20))
    lengths = {}
    for keep, epochs in [(6, 2), (2, 6), (0, 18)]:
        values = {i: min(alone(result.trials[i]["params"], epochs)["val_loss"]) for i in trials}
        lengths |= dict.fromkeys(trials, epochs)
        trials = sorted(sorted(trials, key=lambda i: (values[i], i))[:keep])
    assert [trial["epochs"] for trial in result.trials] == [lengths[i] for i in range(20)]
    states = ["complete" if lengths[i] == 18 else "pruned" for i in range(20)]
    assert [trial["state"] for trial in result.trials] == states
    assert result.best_trial["state"] == "complete"


def test_median_stopping_ends_those_that_the_definition_ends() -> None:
    result = run(trials=48, epochs=6, median_stopping=True)
    columns = [alone(trial["params"], 6)["val_loss"] for trial in result.trials]
    ended: dict[int, int] = {}  # epochs of those that were stopped
    for group in (range(16), range(16, 32), range(32, 48)):
        complete = [columns[i] for i in range(group[0]) if i not in ended]
        for i in group:
            for epoch in range(1, 7):
                medians = (
                    np.median([np.mean(column[:epoch]) for column in complete]) if len(complete) >= 5 else math.inf
                )
                if min(columns[i][:epoch]) > medians:
                    ended[i] = epoch
                    break
    assert len(ended) > 5
    assert [trial["epochs"] for trial in result.trials] == [ended.get(i, 6) for i in range(48)]
    assert [trial["state"] == "pruned" for trial in result.trials] == [i in ended for i in range(48)]
    assert facts(run(trials=48, epochs=6, median_stopping=True, num_threads=2)) == facts(result)


# ---- what is measured ----


def test_batch_size_of_the_space_is_that_of_the_fit() -> None:
    space = {**SPACE, "batch_size": search.choice([10, 60])}
    result = run(space=space, trials=4)
    sizes = {trial["params"]["batch_size"] for trial in result.trials}
    assert sizes == {10, 60}
    for trial, history in zip(result.trials, result.histories):
        size = trial["params"]["batch_size"]
        own = build(trial["params"]).fit(*TRAIN, epochs=4, batch_size=size, validation_data=VALIDATION, verbose=0)
        assert history is not None
        assert history["val_loss"] == own["val_loss"]


def test_the_metric_is_recorded_and_ranked() -> None:
    labels = (Y > 0).astype(int)
    options: dict[str, Any] = {"y": labels[:180], "validation_data": (X[180:], labels[180:]), "trials": 4}
    result = run(**options, metric="val_f1")
    assert result.mode == "max"
    assert result.best_value == max(trial["metrics"]["val_f1"] for trial in result.trials)
    assert "val_accuracy" in result.trials[0]["metrics"]
    assert run(**options, metric="val_f1", mode="min").best_value <= result.best_value

    def spread(y_true: Any, outputs: Any) -> float:
        return float(np.std(outputs))

    own = run(metric="val_spread", mode="max", metrics=[spread], trials=4)
    assert own.best_value == max(trial["metrics"]["val_spread"] for trial in own.trials)
    with refused(ValueError, "val_spread", "mode="):
        run(metric="val_spread", metrics=[spread])


def test_validation_split_is_the_last_rows() -> None:
    split = run(X=X, y=Y, validation_data=None, validation_split=0.25)
    assert facts(split) == facts(run())
    with refused(ValueError, "validation_split"):
        run(validation_split=0.2)


def test_loss_without_validation() -> None:
    result = run(validation_data=None, metric="loss", trials=3)
    assert result.best_value == min(trial["metrics"]["loss"] for trial in result.trials)


def test_names_and_weights_go_to_the_fit() -> None:
    names = np.array(["a", "b", "c"])
    weight = np.linspace(0.5, 2.0, 180)
    result = run(y=names[TRAIN[1]], validation_data=(VALIDATION[0], names[VALIDATION[1]]), trials=3,
                 sample_weight=weight, shuffle=False, metrics=("accuracy", "log_loss"))  # fmt: skip
    assert list(result.trainer.model.classes) == ["a", "b", "c"]
    own = build(result.best_params)
    history = own.fit(*TRAIN, epochs=4, batch_size=30, sample_weight=weight, shuffle=False, verbose=0,
                      validation_data=VALIDATION)  # fmt: skip
    assert result.best_value == min(history["val_loss"])
    assert "val_log_loss" in result.trials[0]["metrics"]


def test_augmentation_is_that_of_fit_and_may_be_searched() -> None:
    augment = stoop.augment.Augment(image_shape=(2, 2), noise=0.5, seed=3)
    result = run(trials=3, augment=augment)
    own = build(result.best_params)
    history = own.fit(*TRAIN, epochs=4, batch_size=30, validation_data=VALIDATION, augment=augment, verbose=0)
    assert result.best_value == min(history["val_loss"])
    space = {**SPACE, "noise": search.choice([0.0, 0.5])}
    made = run(space=space, trials=6, augment=lambda params: augment if params["noise"] else None)
    assert {trial["params"]["noise"] for trial in made.trials} == {0.0, 0.5}
    for trial in made.trials:
        given = {"augment": augment} if trial["params"]["noise"] else {}
        again = build(trial["params"]).fit(
            *TRAIN, epochs=4, batch_size=30, validation_data=VALIDATION, verbose=0, **given
        )
        assert trial["value"] == min(again["val_loss"])


def test_callbacks_of_each_trial() -> None:
    made = {}

    def callbacks(number: int) -> list[Any]:
        made[number] = stoop.callbacks.EarlyStopping("val_loss", patience=1, restore_best=False)
        return [made[number]]

    result = run(epochs=30, trials=6, callbacks=callbacks)
    assert sorted(made) == list(range(6))
    assert any(trial["epochs"] < 30 for trial in result.trials)
    for trial in result.trials:
        assert trial["state"] == "complete"
        assert (trial["value"], trial["best_epoch"]) == (made[trial["number"]].best, made[trial["number"]].best_epoch)


# ---- what it shows ----


def test_output(capsys: pytest.CaptureFixture[str]) -> None:
    run(trials=4)
    assert capsys.readouterr().out == ""
    result = run(trials=4, verbose=1)
    out = capsys.readouterr().out
    assert out.startswith("4/4 trials in 0:0")
    assert f"best val_loss {result.best_value:.5g} (trial {result.best_trial['number']})" in out


def test_the_live_line_shows_the_best_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setitem(__import__("os").environ, "TERM", "xterm")
    monkeypatch.setitem(__import__("os").environ, "COLUMNS", "120")
    import time

    slow: Any = lambda number: [stoop.callbacks.Lambda(on_epoch_end=lambda *_: time.sleep(0.02))]  # noqa: E731
    run(trials=9, epochs=3, method="halving", callbacks=slow, verbose=1, num_threads=1)
    shown = screen.getvalue()
    assert "rung 1 of 2" in shown
    assert "best val_loss" in shown.split("in 0:0")[0]


# ---- arguments ----


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"build": 3}, ["build", "expected a function"]),
        ({"space": {}}, ["space is empty"]),
        ({"space": [1]}, ["space is a list"]),
        ({"space": {"a": [1, 2]}}, ["space.'a'", "search.choice"]),
        ({"space": {"a": 3}}, ["space.'a'", "expected a parameter"]),
        ({"trials": 0}, ["trials is 0"]),
        ({"epochs": 0}, ["epochs is 0"]),
        ({"method": "randem"}, ["method", "random"]),
        ({"metric": 3}, ["metric is 3"]),
        ({"metric": "val_loss", "validation_data": None}, ["without validation data"]),
        ({"validation_data": X}, ["validation_data"]),
        ({"callbacks": []}, ["callbacks", "number of a trial"]),
        ({"points": 3}, ["points", "grid"]),
        ({"factr": 3}, ["factr", "factor"]),
        ({"method": "halving", "factor": 1}, ["factor is 1"]),
        ({"method": "coarse_to_fine", "shrink": 0.0}, ["shrink is 0"]),
        ({"method": "optuna", "median_stopping": True}, ["pruner"]),
        ({"max_time": "soon"}, ["max_time"]),
        ({"num_threads": 0}, ["num_threads"]),
        ({"seed": -1}, ["seed"]),
        ({"verbose": 3}, ["verbose"]),
    ],
)
def test_bad_arguments_are_refused(options: dict[str, Any], words: list[str]) -> None:
    with refused((ValueError, TypeError), *words):
        run(**options)


def test_results_are_json(tmp_path: Path) -> None:
    assert json.loads(json.dumps(run(trials=2).trials))[0]["number"] == 0
