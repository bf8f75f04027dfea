"""Programs without CMake find the installed library by pkg-config, wherever its tree was moved to.

The tree is the one that `make test` installs and names in STOOP_INSTALLED: a static library.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

import stoop
from helpers import REPOSITORY

INSTALLED = os.environ.get("STOOP_INSTALLED", "")
STRICT = ["-Wall", "-Wextra", "-pedantic", "-Wconversion", "-Wshadow", "-Werror"]

pytestmark = [
    pytest.mark.skipif(not INSTALLED, reason="STOOP_INSTALLED does not name an install tree"),
    pytest.mark.skipif(not shutil.which("pkg-config"), reason="needs pkg-config"),
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The install tree at another place, whose name has a blank."""
    moved = tmp_path_factory.mktemp("prefix") / "moved there"
    shutil.copytree(INSTALLED, moved)
    return moved


def pkg_config(tree: Path, *options: str) -> str:
    settings = {**os.environ, "PKG_CONFIG_PATH": str(next(tree.rglob("pkgconfig")))}
    command = ["pkg-config", *options, "stoop"]
    return subprocess.run(command, capture_output=True, text=True, env=settings, check=True).stdout.strip()


def test_version_and_flags(tree: Path) -> None:
    assert pkg_config(tree, "--modversion") == stoop.__version__
    assert "-DSTOOP_STATIC" in pkg_config(tree, "--cflags")
    assert "stdc++" not in pkg_config(tree, "--libs")
    assert "-lstdc++" in pkg_config(tree, "--static", "--libs")


@pytest.mark.parametrize(
    ("compiler", "standard", "source"),
    [
        (os.environ.get("CC") or "cc", "-std=c99", "examples/c/train.c"),
    ],
)
def test_a_program_is_built_by_pkg_config(
    compiler: str, standard: str, source: str, tree: Path, tmp_path: Path
) -> None:
    flags = pkg_config(tree, "--static", "--cflags", "--libs")
    command = f'{compiler} {standard} {" ".join(STRICT)} "{REPOSITORY / source}" {flags} -lm -o "{tmp_path}/program"'
    built = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    done = subprocess.run([tmp_path / "program", tmp_path / "model"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"stoop {stoop.__version__}" in done.stdout
    assert stoop.load_model(tmp_path / "model").predict_classes([[0.0, 0.0]]) == [0]
    command = ["nm", "-D", "--defined-only", str(tmp_path / "program")]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "stoop" not in names, "a program with the static library exports nothing of it"
    # It gets what it calls: the C interface computes in float32.
    names = subprocess.run(["nm", "-C", tmp_path / "program"], capture_output=True, text=True, check=True).stdout
    assert "op_table<float>(" in names
    assert "op_table<double>(" not in names
    subprocess.run(["strip", tmp_path / "program"], check=True)
    if platform.machine() == "x86_64":
        assert (tmp_path / "program").stat().st_size < 4_000_000
