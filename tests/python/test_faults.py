"""The system fails: full disks, signals, files cut off under a map. Each in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and maps are those of Linux")

SETUP = """
import os, resource, sys
from pathlib import Path
import numpy as np
import stoop

rng = np.random.default_rng(0)
X, y = rng.standard_normal((400, 8)).astype(np.float32), rng.integers(0, 3, 400)

def trained(epochs=1, **options):
    model = stoop.Model([stoop.Dense(64, "relu"), stoop.Dense(3)], 8, seed=0)
    trainer = stoop.Trainer(model, **options)
    trainer.fit(X, y, epochs=epochs, batch_size=32, verbose=0)
    return trainer
"""


def run(script: str, folder: Path, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
    text = SETUP + textwrap.dedent(script)
    command = [sys.executable, "-c", text]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=timeout)


SAVES = {
    "model": "trainer.model.save(path)",
    "checkpoint": "trainer.save_checkpoint(path)",
    "ensemble": "stoop.Ensemble([trainer.model, trainer.model]).save(path)",
}


@pytest.mark.parametrize("kind", SAVES)
def test_a_full_disk_leaves_the_old_file(kind: str, tmp_path: Path) -> None:
    """A limit of the file size fails as a full disk does: some bytes are written, then no more."""
    script = f"""
        trainer, path = trained(), Path("kept.safetensors")
        def save():
            {SAVES[kind]}
        save()
        before = path.read_bytes()
        trainer.fit(X, y, epochs=1, batch_size=32, verbose=0)
        for limit in (0, 1, 100, len(before) - 1):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
            try:
                save()
            except OSError as error:
                assert "kept.safetensors" in str(error), error
            else:
                raise AssertionError(limit)
            assert path.read_bytes() == before and os.listdir() == ["kept.safetensors"], os.listdir()
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        save()
        assert path.read_bytes() != before
    """
    done = run(script, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", ["model", "checkpoint"])
def test_a_file_that_was_loaded_may_be_cut_off(kind: str, tmp_path: Path) -> None:
    """Files are read, not mapped."""
    script = f"""
        trainer, path = trained(), Path("kept.safetensors")
        {SAVES[kind]}
        wanted = trainer.model.predict(X)
        model = stoop.load_model(path) if "{kind}" == "model" else stoop.load_checkpoint(path).model
        os.truncate(path, 0)
        assert (model.predict(X) == wanted).all()
        assert "kept.safetensors" not in Path("/proc/self/maps").read_text()
    """
    done = run(script, tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_map_that_is_cut_off_ends_the_process_and_nothing_else(tmp_path: Path) -> None:
    """docs/security.md says so. What was saved before is whole."""
    script = """
        X[:].tofile("X.bin")
        mapped = np.memmap("X.bin", np.float32, "r", shape=X.shape)
        trainer = trained()
        trainer.save_checkpoint("kept.safetensors")
        os.truncate("X.bin", 0)
        trainer.fit(mapped, y, epochs=1, batch_size=32, verbose=0)
    """
    done = run(script, tmp_path)
    assert done.returncode == -signal.SIGBUS, (done.returncode, done.stderr)
    check = """
        assert stoop.load_checkpoint("kept.safetensors").steps == 13
    """
    done = run(check, tmp_path)
    assert done.returncode == 0, done.stderr


def test_sigterm_ends_a_fit_and_leaves_whole_files(tmp_path: Path) -> None:
    script = """
        import signal
        class Kill:
            def on_epoch_end(self, trainer, logs):
                trainer.save_checkpoint("kept.safetensors")
                if trainer.epoch == 3:
                    os.kill(os.getpid(), signal.SIGTERM)
        trainer = trained()
        trainer.fit(X, y, epochs=10**6, batch_size=32, verbose=0, callbacks=[Kill()])
    """
    done = run(script, tmp_path)
    assert done.returncode == -signal.SIGTERM, (done.returncode, done.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.safetensors"]
    done = run('assert stoop.load_checkpoint("kept.safetensors").epoch == 3', tmp_path)
    assert done.returncode == 0, done.stderr
