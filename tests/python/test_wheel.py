"""The wheel and the source archive in dist/, as `make wheel` has made them: what they hold, where they run.

Each environment is empty but for the wheel and a NumPy. Processors that this machine is not are those of QEMU.
"""

from __future__ import annotations

import json
import platform
import shutil
import sys
import sysconfig
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers import REPOSITORY
from wheels import PROGRAM, TAG, check_contents, check_symbols, result_of, run, the_only, unpack_module

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="looks into ELF files")]


@pytest.fixture(scope="module")
def wheel() -> Path:
    # "t" where there is no GIL. `make wheel-aarch64` leaves one of another processor there.
    return the_only(f"stoop-*-{TAG}-{TAG}{sys.abiflags}-*_{platform.machine()}.whl", "make wheel")


@pytest.fixture(scope="module")
def module(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The extension module, unpacked."""
    return unpack_module(wheel, tmp_path_factory.mktemp("wheel"))


def make_environment(folder: Path, *packages: str | Path) -> Path:
    """The interpreter of a new environment that holds these packages and no pip."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    options = ("-qq", "--disable-pip-version-check", "--no-compile", "--only-binary", ":all:")
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, *packages)
    return python


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The interpreter of an environment with the wheel and this NumPy."""
    made: dict[str, Path] = {}

    def make(numpy: str) -> Path:
        if numpy not in made:
            made[numpy] = make_environment(tmp_path_factory.mktemp("environment") / "venv", wheel, numpy)
        return made[numpy]

    return make


@pytest.fixture(scope="module")
def python(environment: Callable[[str], Path]) -> Path:
    return environment("numpy")


# ---- what they hold ----


def test_the_wheel_is_small_and_holds_the_package_alone(wheel: Path) -> None:
    check_contents(wheel, f"_core{sysconfig.get_config_var('EXT_SUFFIX')}")


def test_the_module_exports_one_name_and_needs_system_libraries_only(module: Path) -> None:
    check_symbols(module)
    assert "not found" not in run("ldd", module)


# Without optimisation and kernels for vectors, since what they compile to is that of the wheel.
QUICKLY = (
    *("-C", "cmake.build-type=Debug", "-C", "cmake.define.CMAKE_CXX_FLAGS_DEBUG=-O0"),
    *("-C", "cmake.define.STOOP_VECTOR_KERNELS=", "-C", "cmake.define.STOOP_UNITY_BUILD=ON"),
)


def test_a_wheel_of_the_source_archive_trains(tmp_path: Path) -> None:
    with tarfile.open(the_only("stoop-*.tar.gz", "make wheel")) as archive:
        safe: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python 3.10 and 3.11 of before 2023
        archive.extractall(tmp_path / "sources", **safe)
    (sources,) = (tmp_path / "sources").iterdir()
    options = ("--no-deps", "-qq", "--disable-pip-version-check", "-w", tmp_path, *QUICKLY)
    run(sys.executable, "-m", "pip", "wheel", *options, sources)
    (built,) = tmp_path.glob("*.whl")
    result = result_of(run(make_environment(tmp_path / "venv", built), PROGRAM))
    assert result["available"] == ["scalar"]


# ---- where they run ----

# NumPy 1 has wheels for Python up to 3.12.
NUMPYS = ["numpy>=2", *["numpy==1.26.*"] * (sys.version_info < (3, 13))]


@pytest.mark.parametrize("numpy", NUMPYS)
def test_it_trains_with_numpy_alone(numpy: str, environment: Callable[[str], Path]) -> None:
    python = environment(numpy)
    result = result_of(run(python, PROGRAM))
    assert Path(result["file"]).is_relative_to(python.parents[1])
    assert result["numpy"].startswith("1.26." if "1.26" in numpy else "2.")
    installed = run(sys.executable, "-m", "pip", "--python", python, "list", "--format", "json")
    assert {package["name"] for package in json.loads(installed)} == {"numpy", "stoop"}


def test_a_blas_that_is_not_there_is_asked_for_by_its_extra(python: Path) -> None:
    predict = "stoop.Model([stoop.Dense(2)], input_dim=2).predict([[1, 2]])"
    code = f"import stoop\ntry: {predict}\nexcept ValueError as error: print(error)"
    assert "stoop[blas]" in run(python, "-c", code, STOOP_GEMM="blas", STOOP_BLAS="/nowhere/libcblas.so")


# The kernels of a model of processor, as it is and as they are chosen by hand here.
MODELS = [("Nehalem", "scalar"), ("Haswell", "avx2")]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="emulates x86-64 processors")
@pytest.mark.parametrize(("model", "isa"), MODELS)
def test_older_processors_compute_the_same_bits(model: str, isa: str, python: Path) -> None:
    emulator = shutil.which("qemu-x86_64")
    assert emulator, "QEMU is missing: apt-get install qemu-user"
    emulated = result_of(run(emulator, "-cpu", model, python, PROGRAM))
    assert emulated["isa"] == emulated["available"][0] == isa
    native = result_of(run(python, PROGRAM, STOOP_ISA=isa))
    assert native["isa"] == isa
    for key in ("float32", "float64"):
        assert emulated[key] == native[key]


# Children start after the parent has trained on threads, which they do not have.
CHILDREN = """
import multiprocessing, sys
sys.path.insert(0, {folder!r})
from try_package import train_and_predict

if __name__ == "__main__":
    expected = train_and_predict("float32")
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        found = pool.map(train_and_predict, ["float32"] * 2)
    print(found == [expected] * 2)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_train(method: str, python: Path, tmp_path: Path) -> None:
    script = tmp_path / "children.py"
    script.write_text(CHILDREN.format(folder=str(PROGRAM.parent), method=method), encoding="utf-8")
    assert run(python, "-W", "ignore::DeprecationWarning", script) == "True\n"


# ---- the machines that make a release ----


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        ("linux", "cp{0}-manylinux_x86_64"),
        ("macos", "cp{0}-macosx_arm64"),
        ("windows", "cp{0}-win_amd64"),
    ],
)
def test_the_release_covers_every_python(system: str, expected: str) -> None:
    architecture = {"linux": "x86_64", "macos": "arm64", "windows": "AMD64"}[system]
    options = ("--print-build-identifiers", "--platform", system, "--archs", architecture)
    found = run(sys.executable, "-m", "cibuildwheel", *options, REPOSITORY).split()
    assert found == [expected.format(version) for version in ("310", "311", "312", "313", "314", "314t")]
