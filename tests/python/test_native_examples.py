"""The programs of examples/ in C, C++, Fortran and Rust are built against an installed library and run.

The tree is the one that `make test` installs and names in STOOP_INSTALLED; `make test-all` installs the compilers.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import stoop
from helpers import REPOSITORY

INSTALLED = os.environ.get("STOOP_INSTALLED", "")
EXAMPLES = REPOSITORY / "examples"
LIBRARIES = ["-lstoop", "-lstdc++", "-lm", "-pthread", "-ldl"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not INSTALLED, reason="STOOP_INSTALLED does not name an install tree"),
]


def build(command: list[str | Path], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def run(folder: Path) -> str:
    """What the program prints; it ends with 1 where it has not learned."""
    done = subprocess.run([folder / "program", folder / "model"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def library_folder() -> Path:
    return next(Path(INSTALLED).rglob("libstoop.a")).parent


@pytest.mark.skipif(not shutil.which("gfortran"), reason="needs gfortran")
def test_fortran(tmp_path: Path) -> None:
    source = EXAMPLES / "fortran" / "train.f90"
    flags = ["-std=f2008", "-Wall", "-Wextra", "-Werror"]
    build(["gfortran", *flags, source, "-o", "program", f"-L{library_folder()}", *LIBRARIES], tmp_path)
    assert "the centre is in ring 0" in run(tmp_path)
    assert stoop.load_model(tmp_path / "model").predict_classes([[0.0, 0.0]]) == [0]


@pytest.mark.skipif(not shutil.which("rustc"), reason="needs rustc")
def test_rust(tmp_path: Path) -> None:
    source = EXAMPLES / "rust" / "train.rs"
    libraries = ["-l", "static=stoop", "-l", "dylib=stdc++", "-l", "dylib=m"]
    search = ["-L", f"native={library_folder()}"]
    build(["rustc", "-D", "warnings", *search, *libraries, source, "-o", tmp_path / "program"], tmp_path)
    assert "the centre is in ring 0" in run(tmp_path)
    assert stoop.load_model(tmp_path / "model").predict_classes([[0.0, 0.0]]) == [0]


def test_cpp_for_tables(tmp_path: Path) -> None:
    source = EXAMPLES / "cpp" / "tables.cpp"
    strict = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wpedantic", "-Werror"]
    include = ["-DSTOOP_STATIC", f"-I{Path(INSTALLED) / 'include'}", f"-L{library_folder()}"]
    compiler = os.environ.get("CXX") or "c++"
    build([compiler, "-std=c++20", "-O1", *strict, *include, source, "-o", "program", *LIBRARIES], tmp_path)
    assert "of the loaded model" in run(tmp_path)
    model = stoop.load_model(tmp_path / "model")
    assert model.predict(np.array([[50.0, np.nan, 1.0]])).shape == (1, 1)


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shared object that contains the static library."""
    folder = tmp_path_factory.mktemp("plugin")
    source = [REPOSITORY / "tests" / "c" / "plugin.c", "-DSTOOP_STATIC", f"-I{Path(INSTALLED) / 'include'}"]
    command = ["cc", "-shared", "-fPIC", "-fvisibility=hidden", *source, "-o", "plugin.so"]
    build([*command, f"-L{library_folder()}", *LIBRARIES, "-Wl,-z,defs"], folder)
    return folder / "plugin.so"


def test_a_plugin_exports_its_own_function_alone(plugin: Path) -> None:
    listing = subprocess.run(["nm", "-D", "--defined-only", plugin], capture_output=True, text=True, check=True).stdout
    names = [line.split()[-1] for line in listing.splitlines()]
    assert "plugin_train" in names
    # Templates of std:: made of types of Stoop count: with a second plug-in one of them would get those of the other.
    assert not [name for name in names if "stoop" in name]


OPENMP = [("gcc", "libgomp"), ("clang", "libomp"), ("clang-14", "libomp")]


@pytest.mark.parametrize(("compiler", "runtime"), [pair for pair in OPENMP if shutil.which(pair[0])])
def test_a_plugin_beside_an_openmp_runtime(compiler: str, runtime: str, plugin: Path, tmp_path: Path) -> None:
    source = REPOSITORY / "tests" / "c" / "openmp_program.c"
    build([compiler, "-fopenmp", "-O1", source, "-o", tmp_path / "program", "-ldl"], tmp_path)
    linked = subprocess.run(["ldd", tmp_path / "program"], capture_output=True, text=True, check=True).stdout
    assert runtime in linked
    done = subprocess.run([tmp_path / "program", plugin], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, "4 threads\n"), done.stderr
