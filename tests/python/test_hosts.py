"""Work over processes and hosts: joblib, Dask, Ray, jobs of an array.

Every result is there once, with the bits of fit alone.
"""

from __future__ import annotations

import importlib.util
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop
from helpers import REPOSITORY, bits, run_python

SCRIPT = REPOSITORY / "examples" / "array_job.py"
OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop", "lion")


def data() -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    X = np.random.default_rng(0).standard_normal((2000, 8)).astype(np.float32)
    return X, (X[:, 0] * X[:, 1] > 0).astype(np.int32)


def build(i: int) -> stoop.Trainer:
    layers = [stoop.Dense(8 + i % 5, "relu"), stoop.BatchNorm(), stoop.Dropout(0.1), stoop.Dense(2)]
    optimizer = OPTIMIZERS[i % len(OPTIMIZERS)]
    return stoop.Trainer(stoop.Model(layers, 8, seed=i), optimizer=optimizer, seed=i, num_threads=1)


def fit(trainer: stoop.Trainer, X: Any, y: Any) -> stoop.Trainer:
    trainer.fit(X, y, epochs=2, batch_size=50, verbose=0)
    return trainer


def check(trained: list[stoop.Trainer], X: Any, y: Any) -> None:
    for i, trainer in enumerate(trained):
        alone = fit(build(i), X, y)
        assert bits(trainer.model) == bits(alone.model), i
        assert trainer.history["loss"] == alone.history["loss"]
        assert (trainer.epoch, trainer.steps) == (2, 80)
        assert len(pickle.dumps(trainer)) < 20_000


def test_joblib() -> None:
    joblib = pytest.importorskip("joblib")
    X, y = data()
    parallel = joblib.Parallel(n_jobs=2)
    check(parallel(joblib.delayed(fit)(build(i), X, y) for i in range(10)), X, y)
    # Large arrays go to the workers as memory maps.
    parallel = joblib.Parallel(n_jobs=2, max_nbytes=1000)
    check(parallel(joblib.delayed(fit)(build(i), X, y) for i in range(4)), X, y)


# ---- Dask ----


def slowly(trainer: stoop.Trainer, X: Any, y: Any) -> tuple[int, stoop.Trainer]:
    """Take long enough that a worker can be killed in the midst of it."""
    time.sleep(0.01)
    return os.getpid(), fit(trainer, X, y)


@pytest.mark.slow
def test_dask_with_a_worker_that_is_killed() -> None:
    distributed = pytest.importorskip("distributed")
    X, y = data()
    settings = {"distributed.scheduler.allowed-failures": 10, "distributed.scheduler.work-stealing": True}
    import dask

    with (
        dask.config.set(settings),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        workers = client.run(os.getpid)
        shared = client.scatter([X, y], broadcast=True)
        futures = client.map(slowly, [build(i) for i in range(200)], X=shared[0], y=shared[1], pure=False)
        while sum(future.done() for future in futures) < 40:
            time.sleep(0.01)
        assert sum(future.done() for future in futures) < 200
        victim = next(iter(workers.values()))
        os.kill(victim, 9)
        results = client.gather(futures)
    assert len(results) == 200
    assert victim not in {pid for pid, _ in results}  # what it had done was done again
    check([trainer for _, trainer in results], X, y)


@pytest.mark.slow
def test_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # else it writes a file to the home folder
    ray = pytest.importorskip("ray")
    X, y = data()
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        task, shared = ray.remote(num_cpus=1)(fit), (ray.put(X), ray.put(y))
        check(ray.get([task.remote(build(i), *shared) for i in range(20)]), X, y)
    finally:
        ray.shutdown()
        ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


# ---- jobs of an array ----

VARIABLES = (
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
)


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("array_job", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("names", VARIABLES)
def test_a_job_knows_its_part(script: Any, names: tuple[str, str]) -> None:
    number, count = names
    assert script.part_of({number: "3", count: "16"}) == (3, 16)
    assert script.part_of({number: "0", count: "1", "HOME": "/"}) == (0, 1)
    with pytest.raises(SystemExit, match="--array=0-15"):
        script.part_of({number: "16", count: "16"})
    assert script.part_of({}) == (0, 1)


def test_jobs_of_an_array(script: Any, tmp_path: Path) -> None:
    folder, target = tmp_path / "results", tmp_path / "ensemble.safetensors"

    def job(part: int) -> None:
        run_python(SCRIPT, folder, SLURM_ARRAY_TASK_ID=str(part), SLURM_ARRAY_TASK_COUNT="3", STOOP_NUM_THREADS="1")

    def merge() -> subprocess.CompletedProcess[str]:
        return run_python(SCRIPT, folder, "--merge", target, check=False)

    job(2)
    job(0)
    assert "1 of 3 parts are missing: run again with --array=1" in merge().stderr
    assert not target.exists()
    before = (folder / "part-0-of-3.safetensors").stat().st_mtime_ns
    job(1)
    job(0)  # has nothing to do
    assert (folder / "part-0-of-3.safetensors").stat().st_mtime_ns == before
    assert merge().stdout.startswith("64 networks, accuracy of all together 0.")
    ensemble = stoop.load_ensemble(target)
    X, y = script.data()
    assert len(ensemble) == script.NETWORKS
    for i in (0, 1, 2, 31, 63):
        alone = script.build(i)
        alone.fit(X, y, epochs=5, batch_size=64, verbose=0)
        assert bits(ensemble[i]) == bits(alone.model)
    (folder / "part-0-of-2.safetensors").write_bytes(b"")
    assert "the parts of 2 divisions" in merge().stderr


def test_a_job_that_is_killed_leaves_no_part(tmp_path: Path) -> None:
    code = f"""
import runpy, sys, os, signal, threading, stoop
stoop.Ensemble.save = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
sys.argv = [{str(SCRIPT)!r}, {str(tmp_path)!r}]
runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert done.returncode == -9
    assert not list(tmp_path.iterdir())
