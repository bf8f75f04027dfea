"""What a file that is made to do harm can cost: memory by its size, and little time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stoop
from hostile import CHECKPOINT, HOSTILE, changed_metadata, metadata_of, with_right_sum

# Bytes beside a multiple of those of the file: what the 1000 layers take that every file may have.
ALLOWANCE = 2 << 20
MOST_TIMES = 10  # those of the file
MOST_SECONDS = (
    10.0  # of the processor; a fraction of one where nothing else runs, but machines of tests are busy and slow
)
# Loads every file in a child of its own, whose memory is that of a program that has loaded none; prints what each took.
SCRIPT = """
import ctypes, json, os, sys, time
from pathlib import Path
import stoop, stoop.tabular
from hostile import HOSTILE, with_right_sum

READERS = {"ensemble": stoop.load_ensemble, "table": stoop.tabular.load, "checkpoint": stoop.load_checkpoint}

def reader(name):
    return next((READERS[word] for word in name.split() if word in READERS), stoop.load_model)

def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(key))

def warm_up():
    for name in "a table of many objects", "a checkpoint of many numbers":  # what is imported when it is needed
        try:
            reader(name)(folder / name)
        except (stoop.CheckpointError, ValueError):
            pass
    ctypes.CDLL(None).malloc_trim(0)

def cost(name):
    warm_up()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew, from what is in use
    before, text, start = status("RssAnon"), "", time.process_time()
    try:
        reader(name)(path)
    except (stoop.CheckpointError, ValueError) as error:
        text = str(error)
    # A child has no pages of libraries yet; those that it comes to need are none of the file's.
    return status("VmHWM") - status("RssFile") - before, text, time.process_time() - start

folder, found = Path(sys.argv[1]), {}
path = folder / "hostile.safetensors"
for name in "a table of many objects", "a checkpoint of many numbers":
    (folder / name).write_bytes(HOSTILE[name]()[:-1])
stoop.set_num_threads(1)  # a child of a fork has no other threads
PR_SET_THP_DISABLE = 41
ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)  # pages of 2 MB are in use as a whole
stoop.Model([stoop.Dense(1)], 1).predict([[0.0]])
warm_up()
for name, make in HOSTILE.items():
    size = path.write_bytes(make())
    if "checkpoint" in name:
        with_right_sum(path, path.read_bytes())
    ends = os.pipe()
    if os.fork() == 0:
        os.write(ends[1], json.dumps(cost(name)).encode())
        os._exit(0)
    os.close(ends[1])
    with open(ends[0], "rb") as answer:
        found[name] = size, *json.loads(answer.read())
    os.wait()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path_factory.mktemp("hostile"))]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=Path(__file__).parent)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read as Linux tells it")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_costs_memory_by_its_size(name: str, found: Any) -> None:
    size, used, text, seconds = found[name]
    assert used <= MOST_TIMES * size + ALLOWANCE, f"{used >> 10} kB for a file of {size >> 10} kB"
    assert len(text) < 2000
    assert seconds < MOST_SECONDS


# ---- predictions with layers that are very wide ----

PREDICTION = """
import sys
from pathlib import Path
import numpy as np
import stoop

def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(key))

model = stoop.load_model(sys.argv[1])
X = np.ones((100, model.input_dim), np.float32)
grad = np.ones((100, model.output_dim), np.float32)
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
model.predict(X) if sys.argv[2] == "predict" else model.input_gradient(X, grad)
print(status("VmHWM") - before, stoop.get_num_threads())
"""
WIDE = {
    "a million columns": [stoop.Dense(10**6, "tanh"), stoop.Dense(1)],
    "a thousand members": [stoop.Members(1024), stoop.Dense(1000, "relu"), stoop.Dense(1)],
}


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read as Linux tells it")
@pytest.mark.parametrize("what", ["predict", "input_gradient"])
@pytest.mark.parametrize("name", WIDE)
def test_a_prediction_takes_a_limited_number_of_rows_at_a_time(name: str, what: str, tmp_path: Path) -> None:
    path = tmp_path / "wide.safetensors"
    stoop.Model(WIDE[name], 1).save(path)
    command = [sys.executable, "-c", PREDICTION, str(path), what]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    used, threads = map(int, done.stdout.split())
    of_thread = max(32 << 20, 2 * path.stat().st_size)
    # All threads share the arena of a gradient, which has room for the values and the gradients.
    assert used <= of_thread * (min(threads, 4) if what == "predict" else 2) + (16 << 20), f"{used >> 20} MB"


# ---- checkpoints that say what no training has ----

TRAINING: dict[str, dict[str, Any]] = {
    "many epochs": {"epoch": 2**63 - 1},
    "many steps": {"steps": 2**62},
    "negative steps": {"steps": -1},
    "a row beyond the samples": {"place.row": 10**6},
    "many samples": {"fit.samples": 2**60, "place.row": 2**60},
    "more arrays than there are": {"optimizer_arrays": 10**15},
    "another optimizer's arrays": {"optimizer_arrays": 1},
    "a rate that is none": {"trainer.optimizer.learning_rate": -1.0},
    "a penalty that is none": {"trainer.l2": -1e300},
    "a limit that is none": {"trainer.clip_norm": 0.0},
}
EXTRAS = {
    "no object": "[]",
    "no JSON": "{",
    "nested without end": "[" * 100_000,
    "no history": '{"loop":{}}',
    "a history of texts": '{"history":{"epochs":["x"],"columns":{},"stop_reason":null,"changes":[]}}',
    "columns that are numbers": '{"history":{"epochs":[1],"columns":{"loss":3},"stop_reason":null,"changes":[]}}',
    "callbacks that are none": '{"history":{"epochs":[],"columns":{},"stop_reason":null,"changes":[]},"callbacks":[3]}',
}


def refused_and_unchanged(path: Path) -> None:
    """Neither a new trainer nor one that exists takes it, and the latter is as it was."""
    with pytest.raises(stoop.CheckpointError, match=r"^\["):
        stoop.load_checkpoint(path)
    trainer = stoop.load_checkpoint(CHECKPOINT)
    rng = np.random.default_rng(0)
    trainer.step(rng.standard_normal((4, 4)), np.zeros(4, int))
    before = [values.copy() for values in trainer.model.parameters().values()]
    history, steps = str(trainer.history), trainer.steps
    with pytest.raises(stoop.CheckpointError, match=r"^\["):
        trainer.load_checkpoint(path)
    for old, new in zip(before, trainer.model.parameters().values()):
        np.testing.assert_array_equal(old, new)
    assert (str(trainer.history), trainer.steps) == (history, steps)


@pytest.mark.parametrize("name", TRAINING)
def test_a_checkpoint_of_no_training(name: str, tmp_path: Path) -> None:
    content, path = CHECKPOINT.read_bytes(), tmp_path / "hostile.safetensors"
    training = json.loads(metadata_of(content, "stoop.training"))
    for keys, value in TRAINING[name].items():
        *outer, last = keys.split(".")
        place = training
        for key in outer:
            place = place[key]
        assert last in place
        place[last] = value
    with_right_sum(path, changed_metadata(content, "stoop.training", json.dumps(training)))
    refused_and_unchanged(path)


@pytest.mark.parametrize("name", EXTRAS)
def test_a_checkpoint_with_another_history(name: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.safetensors"
    with_right_sum(path, changed_metadata(CHECKPOINT.read_bytes(), "stoop.extras", EXTRAS[name]))
    refused_and_unchanged(path)
