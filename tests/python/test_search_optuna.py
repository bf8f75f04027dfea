"""`stoop.search.run` with Optuna: samplers, pruners, and studies that several processes share."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import studies
from helpers import refused, run_python
from searches import FIXED, SPACE, alone, build, facts, run
from stoop import search
from stoop.search import _optuna, _owner
from stoop.search._methods import Plan
from stoop.search._trial import Goal, Trial

optuna = pytest.importorskip("optuna")


def journal(path: Path) -> Any:
    return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))


def load(path: Path) -> Any:
    return optuna.load_study(study_name="stoop", storage=journal(path))


# ---- samplers and pruners ----


def test_tpe_is_the_default_and_learns() -> None:
    space = {"rate": search.log_uniform(1e-6, 1.0), "units": search.integers(3, 12)}

    def build_one(params: dict[str, Any]) -> Any:
        return build({"beta1": 0.9, "activation": "tanh", **params})

    result = run(build=build_one, space=space, method="optuna", trials=60, pruner=optuna.pruners.NopPruner())
    places = [space["rate"].coordinate(trial["params"]["rate"]) for trial in result.trials]
    best = space["rate"].coordinate(result.best_params["rate"])
    early, late = (sum(abs(place - best) < 0.2 for place in part) / len(part) for part in (places[:20], places[30:]))
    assert late > 1.3 * early


def test_a_sampler_of_ones_own() -> None:
    grid = {"rate": [1e-3, 1e-2], "units": [3, 4]}
    space = {"rate": search.log_uniform(1e-4, 1e-1), "units": search.integers(3, 12)}

    def build_one(params: dict[str, Any]) -> Any:
        return build({"beta1": 0.9, "activation": "tanh", **params})

    result = run(
        build=build_one, space=space, method="optuna", trials=9, at_once=2, sampler=optuna.samplers.GridSampler(grid)
    )
    tried = sorted((trial["params"]["rate"], trial["params"]["units"]) for trial in result.trials)
    assert tried == [(1e-3, 3), (1e-3, 4), (1e-2, 3), (1e-2, 4)]


def test_every_kind_of_parameter_is_within_its_range() -> None:
    space = {
        **SPACE,
        "layers": search.choice([(3,), (3, 3), None]),
        "width": search.log_integers(2, 300),
        "p": search.uniform(-1, 2),
    }
    result = run(space=space, method="optuna", trials=40, epochs=1)
    for trial in result.trials:
        params = trial["params"]
        assert list(params) == list(space)
        assert params["layers"] in [(3,), (3, 3), None]
        assert 0.8 <= params["beta1"] <= 0.99
        assert 2 <= params["width"] <= 300
        assert -1 <= params["p"] <= 2
    assert len({trial["params"]["layers"] for trial in result.trials}) == 3


def test_the_median_pruner_prunes_those_that_the_definition_prunes() -> None:
    result = run(method="optuna", trials=32, epochs=6, at_once=8)
    columns = [alone(trial["params"], 6)["val_loss"] for trial in result.trials]
    ended: dict[int, int] = {}
    for first in range(0, 32, 8):
        complete = [columns[i] for i in range(first) if i not in ended]
        for i in range(first, first + 8):
            for epoch in range(1, 7):
                if len(complete) >= 5 and min(columns[i][:epoch]) > sorted_median(complete, epoch):
                    ended[i] = epoch
                    break
    assert len(ended) > 3
    assert [trial["epochs"] for trial in result.trials] == [ended.get(i, 6) for i in range(32)]
    assert [trial["state"] == "pruned" for trial in result.trials] == [i in ended for i in range(32)]


def sorted_median(columns: list[list[float]], epoch: int) -> float:
    return float(np.median([column[epoch - 1] for column in columns]))


def test_no_pruner_ends_none() -> None:
    result = run(method="optuna", trials=20, pruner=optuna.pruners.NopPruner())
    assert {trial["state"] for trial in result.trials} == {"complete"}


def test_trials_that_fail_are_failures_of_the_study(tmp_path: Path) -> None:
    def faulty(params: dict[str, Any]) -> Any:
        if params["units"] < 7:
            raise ZeroDivisionError("too few units")
        return build(params)

    result = run(build=faulty, method="optuna", trials=20, storage=tmp_path / "study.log")
    states = [trial["state"] for trial in result.trials]
    assert "failed" in states
    kept = load(tmp_path / "study.log")
    assert [trial.state.name == "FAIL" for trial in kept.trials] == [state == "failed" for state in states]
    again = run(build=faulty, method="optuna", trials=20, storage=tmp_path / "study.log")
    assert facts(again) == facts(result)


def test_optuna_is_imported_only_when_it_is_used() -> None:
    code = """
import sys
sys.modules["optuna"] = None
import searches
searches.run(trials=2)
try:
    searches.run(trials=2, method="optuna")
except ImportError as error:
    print(error)
"""
    done = run_python("-c", code, PYTHONPATH=str(studies.SCRIPT.parent))
    assert "stoop[optuna]" in done.stdout
    assert "[search.run]" in done.stdout


# ---- storages ----


@pytest.mark.parametrize("kind", ["journal", "object", pytest.param("database", marks=pytest.mark.slow)])
def test_a_study_goes_on(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "study"
    storage: Any = path if kind != "database" else f"sqlite:///{path}"
    trials = 8 if kind == "database" else 14
    first = run(method="optuna", trials=trials - 3, storage=journal(path) if kind == "object" else storage, epochs=2)
    more = run(method="optuna", trials=trials, storage=storage, epochs=2)
    assert facts(more)[: trials - 3] == facts(first)
    assert len(more.trials) == trials
    assert [len(history) > 4 for history in more.histories if history is not None] == [True] * trials
    assert more.best_value == min(trial["value"] for trial in more.trials)
    with refused(ValueError, "epochs 2, and it is 3", "same search"):
        run(method="optuna", trials=trials, storage=storage, epochs=3)
    other = run(method="optuna", trials=2, storage=storage, epochs=3, study_name="other")
    assert len(other.trials) == 2


def test_a_study_of_the_other_direction_is_refused(tmp_path: Path) -> None:
    run(method="optuna", trials=1, storage=tmp_path / "study.log")
    with refused(ValueError, "makes its values min", "another storage"):
        run(method="optuna", trials=1, storage=tmp_path / "study.log", metric="val_accuracy")


def test_of_a_long_history_a_study_keeps_the_best_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(method="optuna", trials=4)
    monkeypatch.setattr(_optuna, "_LONGEST", 100)
    run(method="optuna", trials=4, storage=tmp_path / "study.log")
    again = run(method="optuna", trials=4, storage=tmp_path / "study.log")
    for trial, other in zip(again.trials, whole.trials):
        assert (trial["value"], trial["best_epoch"]) == (other["value"], other["best_epoch"])
        assert len(str(load(tmp_path / "study.log").trials[0].user_attrs["stoop:ended"])) < 300


def test_what_ctrl_c_cuts_off_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "study.log"
    built: list[dict[str, Any]] = []

    def breaking(params: dict[str, Any]) -> Any:
        built.append(params)
        if len(built) == 12:
            raise KeyboardInterrupt
        return build(params)

    first = run(build=breaking, method="optuna", trials=16, storage=path, at_once=4)
    assert first.stop_reason == "interrupted"
    assert [trial["state"] for trial in first.trials] == ["complete"] * 8
    rest = run(method="optuna", trials=16, storage=path, at_once=4)
    assert len(rest.trials) == 16
    params = [trial["params"] for trial in rest.trials]
    assert all(params.count(given) == 1 for given in built)


def test_two_processes_share_a_journal_and_one_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "study.log"
    studies.check_kill(str(path), tmp_path, lambda: load(path))


def test_two_processes_make_as_many_trials_as_one(tmp_path: Path) -> None:
    path = tmp_path / "study.log"
    studies.check_share(str(path), tmp_path, lambda: load(path))


def test_of_two_that_ask_for_the_last_trial_at_once_one_gives_it_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"sampler": None, "pruner": None, "study_name": "stoop", "at_once": 3}
    plan = Plan(trials=3, epochs=1, seed=0, median=False, options=options)
    goal = Goal("val_loss", "min")
    pool: Any = SimpleNamespace(trial=Trial)
    one, other = (_optuna.Study(str(tmp_path / "study.log"), {}, goal, plan) for _ in range(2))
    assert [trial.number for trial in one._ask(pool, SPACE)] == [0, 1, 2]
    counted, calls = _optuna._counted, []

    def late(trials: list[Any]) -> list[Any]:
        calls.append(trials)
        return [] if len(calls) == 1 else counted(trials)  # what it saw before the other asked

    monkeypatch.setattr(_optuna, "_counted", late)
    assert other._ask(pool, SPACE) == []
    trials = load(tmp_path / "study.log").trials
    assert [trial.state.name for trial in trials] == ["RUNNING"] * 3 + ["FAIL"]
    assert [trial.number for trial in counted(trials)] == [0, 1, 2]
    one._give_back_own()
    assert other._ask(pool, SPACE) != []
    again = [trial.user_attrs.get("stoop:again") for trial in load(tmp_path / "study.log").trials]
    assert again == [None, None, None, None, 0, 1, 2]


# ---- who is alive ----


def owner_of(pid: int, place: str | None = None) -> str:
    return "|".join([place or _owner._place(), str(pid), _owner._start_of(pid), "x"])


class OneTrial:
    """A running trial of an owner."""

    number = 3
    state = optuna.trial.TrialState.RUNNING

    def __init__(self, owner: str | None) -> None:
        self.user_attrs = {} if owner is None else {"owner": owner}


def test_a_process_of_this_machine_is_dead_when_it_is_gone() -> None:
    study = optuna.create_study()
    watchman = _owner.Watchman(_owner.Owner())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        trial = OneTrial(owner_of(process.pid))
        assert not watchman.is_dead(study, trial, "owner")
        reborn = OneTrial(trial.user_attrs["owner"].replace(_owner._start_of(process.pid), "1"))
        assert watchman.is_dead(study, reborn, "owner")  # another process has its number
        process.kill()
        time.sleep(0.1)
        assert watchman.is_dead(study, trial, "owner")  # though nobody has waited for it yet
    assert watchman.is_dead(study, trial, "owner")


def test_a_process_elsewhere_is_dead_when_its_pulse_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(_owner.time, "monotonic", lambda: now[0])
    study = optuna.create_study()
    here, there = _owner.Owner(), _owner.Owner()
    there.name = there.name.replace(_owner._place(), "another machine")
    ours, theirs = _owner.Watchman(here), _owner.Watchman(there)
    trial, orphan = OneTrial(there.name), OneTrial(None)
    for _ in range(30):
        theirs.beat(study)
        assert not ours.is_dead(study, trial, "owner")
        now[0] += 10
    assert not ours.is_dead(study, orphan, "owner")
    assert not ours.is_dead(study, OneTrial(here.name), "owner")
    now[0] += 50
    assert not ours.is_dead(study, trial, "owner")
    now[0] += 11
    assert ours.is_dead(study, trial, "owner")
    assert ours.is_dead(study, orphan, "owner")  # a process that died before it wrote its name
    theirs.beat(study)
    assert not ours.is_dead(study, trial, "owner")


@pytest.mark.parametrize("values", [[1, True], [False, 0, 0.0], [1, 1.0, "1"]])
def test_choices_that_are_equal_stay_what_they_are(values: list[Any]) -> None:
    result = run(space={"kind": search.choice(values)}, build=lambda _: build(FIXED), trials=16, epochs=1,
                 method="optuna")  # fmt: skip
    types = {type(trial["params"]["kind"]) for trial in result.trials}
    assert types == {type(value) for value in values}
