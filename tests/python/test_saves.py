"""Saving: what becomes of the file that is replaced, and which paths can be given."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stoop
from helpers import bits, refused, run_python


def make_model(seed: int = 0) -> stoop.Model:
    return stoop.Model([stoop.Dense(5, "relu"), stoop.BatchNorm(), stoop.Dense(3)], input_dim=4, seed=seed)


# ---- what a save does to the file it replaces ----

posix = pytest.mark.skipif(os.name != "posix", reason="modes and owners")
root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, as containers have it")
SAVE = "import stoop, sys\nmodel = stoop.Model([stoop.Dense(3)], input_dim=4, seed=int(sys.argv[2]))\n"


@posix
def test_a_read_only_file_is_not_replaced(tmp_path: Path) -> None:
    path, link = tmp_path / "m.safetensors", tmp_path / "link"
    make_model(seed=1).save(path)
    link.symlink_to(path.name)
    for mode in (0o444, 0o400, 0o555):
        path.chmod(mode)
        for name in (path, link):
            with pytest.raises(PermissionError) as caught:
                make_model(seed=2).save(name)
            assert caught.value.filename == str(name)
    assert bits(stoop.load_model(path)) == bits(make_model(seed=1))
    assert sorted(tmp_path.iterdir()) == [link, path]


@root
def test_a_file_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    """As open(path, "wb") refuses it, though the folder may be written to."""
    path = tmp_path / "m.safetensors"
    make_model(seed=1).save(path)
    tmp_path.chmod(0o777)
    path.chmod(0o644)
    code = SAVE + "import os; os.seteuid(65534)\ntry: model.save(sys.argv[1])\nexcept PermissionError: print('refused')"
    subprocess_path = Path("/proc/self/cwd/m.safetensors")  # the folders above may be closed to others
    assert run_python("-c", code, subprocess_path, "2", cwd=tmp_path).stdout == "refused\n"
    assert bits(stoop.load_model(path)) == bits(make_model(seed=1))


@root
def test_root_leaves_a_file_to_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    make_model(seed=1).save(path)
    os.chown(path, 1234, 5678)
    path.chmod(0o640)
    make_model(seed=2).save(path)
    status = path.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (1234, 5678, 0o640)
    assert bits(stoop.load_model(path)) == bits(make_model(seed=2))


def can_mount() -> bool:
    probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return bool(shutil.which("unshare")) and subprocess.run(probe, check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(sys.platform != "linux" or not can_mount(), reason="needs mounts in a namespace of its own")
@pytest.mark.parametrize("old", ["shorter", "longer"])
def test_a_file_that_is_mounted_by_itself_is_overwritten(tmp_path: Path, old: str) -> None:
    """As a container does with a single file: nothing can be renamed over it."""
    outside, inside = tmp_path / "outside", tmp_path / "m.safetensors"
    outside.write_bytes(b"old" * (3 if old == "shorter" else 10_000))
    inside.touch()
    code = SAVE + "model.save(sys.argv[1])"
    mounted = 'mount --bind "$1" "$2" && exec "$3" -c "$4" "$2" 2'
    command = ["unshare", "-rm", "sh", "-c", mounted, "sh", outside, inside, sys.executable, code]
    subprocess.run(command, check=True, timeout=60)
    expected = stoop.Model([stoop.Dense(3)], input_dim=4, seed=2)
    assert bits(stoop.load_model(outside)) == bits(expected)
    assert sorted(tmp_path.iterdir()) == [inside, outside]


def listed(names: Iterable[Path]) -> set[str]:
    return {path.name for path in names}


@posix
def test_many_saves_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    code = SAVE + "for _ in range(200): model.save(sys.argv[1])"
    command = [sys.executable, "-c", code, path]
    writers = [subprocess.Popen([*map(str, command), str(seed)]) for seed in range(3)]
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            stoop.load_model(path)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert listed(tmp_path.iterdir()) == {"m.safetensors"}


@posix
def test_a_killed_save_leaves_the_old_file_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    make_model(seed=1).save(path)
    code = "import stoop, sys\nmodel = stoop.Model([stoop.Dense(2000)], 2000)\nprint(flush=True)\n"
    code += "while True: model.save(sys.argv[1])"
    rng = random.Random(0)
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.05))
        writer.kill()
        writer.communicate()
        stoop.load_model(path)
    make_model(seed=2).save(path)
    assert listed(tmp_path.iterdir()) == {"m.safetensors"}
    assert bits(stoop.load_model(path)) == bits(make_model(seed=2))


# ---- paths ----


def calls_that_take_a_path() -> dict[str, Callable[[Any], Any]]:
    history = stoop.Trainer(make_model()).fit(np.ones((8, 4)), np.arange(8) % 3, epochs=1, verbose=0)
    return {
        "load_model": stoop.load_model,
        "save": make_model().save,
        "load_idx": stoop.data.load_idx,
        "to_csv": history.to_csv,
        "learning_curve": lambda path: stoop.plotting.learning_curve(history, path),
        "confusion_matrix": lambda path: stoop.plotting.confusion_matrix([0, 1], [0, 1], path),
    }


@pytest.mark.parametrize("name", calls_that_take_a_path())
def test_a_path_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    if name in ("learning_curve", "confusion_matrix"):
        pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    for path in (f"{tmp_path}/\ud800.png", Path(f"{tmp_path}/a\udfffb.png"), f"{tmp_path}/nul\0.png"):
        with refused(ValueError, r"path '.*(\\ud800|\\udfff|\\x00)", "expected a path"):
            calls_that_take_a_path()[name](path)
    assert list(tmp_path.iterdir()) == []
