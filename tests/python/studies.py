"""Two processes share a study and one is killed, for the tests of `stoop.search` with Optuna."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from helpers import REPOSITORY
from searches import alone

TRIALS = 20
SCRIPT = REPOSITORY / "tests" / "python" / "share_study.py"


@contextmanager
def start(storage: str, folder: Path, name: str, *task: str) -> Iterator[subprocess.Popen[str]]:
    """A process that takes part, and is gone in the end."""
    command = [sys.executable, str(SCRIPT), storage, str(TRIALS), str(folder / f"{name}.json"), *task]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def result_of(process: subprocess.Popen[str], folder: Path, name: str) -> dict[str, Any]:
    """What a process found."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    result: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return result


def check_kill(storage: str, folder: Path, load: Callable[[], Any]) -> None:
    """Kill one of two processes within a trial, and check that no trial is lost or doubled.

    `load` returns the study.
    """
    mark = folder / "mark"
    with start(storage, folder, "killed", "hang", str(mark), "4") as victim:
        while not mark.exists():
            assert victim.poll() is None, victim.communicate()
            time.sleep(0.01)
        with start(storage, folder, "other") as other:
            while len(load().trials) < 10:  # while it is at work
                assert other.poll() is None, other.communicate()
                time.sleep(0.05)
            time.sleep(0.2)
            victim.send_signal(signal.SIGKILL)
            found = result_of(other, folder, "other")
    check_study(found, load(), int(mark.read_text()))


def check_share(storage: str, folder: Path, load: Callable[[], Any]) -> None:
    """Let two processes begin at once, and check that they make as many trials as one, and find the same best."""
    marks = [str(folder / name) for name in ("a.met", "b.met")]
    one, other = start(storage, folder, "a", "meet", *marks), start(storage, folder, "b", "meet", *marks[::-1])
    with one as a, other as b:
        results = [result_of(a, folder, "a"), result_of(b, folder, "b")]
    for found in results:
        assert [trial["value"] for trial in found["trials"]] == [trial["value"] for trial in results[0]["trials"]]
        assert found["best"] == found["value"]
        assert len(found["trials"]) == TRIALS
    done = [trial for trial in load().trials if trial.state.name != "FAIL"]
    assert len(done) == TRIALS
    assert len({json.dumps(trial.params) for trial in done}) == TRIALS
    assert len({trial.user_attrs["stoop:owner"] for trial in done}) == 2  # both took part


def check_study(found: dict[str, Any], study: Any, hung: int) -> None:
    """Check the trials that the other process found, and the study itself."""
    trials = found["trials"]
    assert len(trials) == TRIALS
    assert {trial["state"] for trial in trials} <= {"complete", "pruned"}
    params = [json.dumps(trial["params"]) for trial in trials]
    assert len(set(params)) == TRIALS  # none is doubled
    assert found["best"] == found["value"] == min(trial["value"] for trial in trials)
    for trial in trials:
        assert trial["value"] == min(alone(trial["params"], trial["epochs"])["val_loss"])
    given_back = [trial for trial in study.trials if trial.state.name == "FAIL"]
    assert hung in [trial.number for trial in given_back]
    assert len(given_back) <= 3  # the group that was killed
    done = {trial.number: trial for trial in study.trials if trial.state.name in ("COMPLETE", "PRUNED")}
    assert sorted(done) == [trial["number"] for trial in trials]
    for lost in given_back:  # each is tried again, once
        again = [trial for trial in done.values() if trial.params == lost.params]
        assert [trial.user_attrs["stoop:again"] for trial in again] == [lost.number]
    assert len(study.trials) == TRIALS + len(given_back)
