"""The wheel for AArch64, as `make wheel-aarch64` has cross-compiled it, under Debian's Python for AArch64 and QEMU.

A child of an emulated process is not emulated, so the tests that run there start none.
"""

from __future__ import annotations

import functools
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers import REPOSITORY, relative_error
from wheels import PROGRAM, TAG, VERSION, check_contents, check_symbols, result_of, run, the_only, unpack_module

FOLDER = REPOSITORY / "build" / "aarch64-python"
ROOT = FOLDER / "root"

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="looks into ELF files")]


@pytest.fixture(scope="module")
def wheel() -> Path:
    return the_only(f"stoop-*-{TAG}-{TAG}-*_aarch64.whl", "make wheel-aarch64")


def emulated(*arguments: str | Path, **environment: str) -> str:
    """What the Python for AArch64 prints."""
    emulator = shutil.which("qemu-aarch64")
    assert emulator, "QEMU is missing: apt-get install qemu-user"
    return run(emulator, "-L", ROOT, ROOT / "usr" / "bin" / f"python{VERSION}", *arguments, **environment)


@pytest.fixture(scope="module")
def packages(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and what the tests need, as pip chooses them for AArch64 and the C library there."""
    minor = int(emulated("-c", "import platform; print(platform.libc_ver()[1])").split(".")[1])
    folder = tmp_path_factory.mktemp("packages")
    platforms = [f"--platform=manylinux_2_{older}_aarch64" for older in range(17, minor + 1)]
    target = ("--platform=manylinux2014_aarch64", *platforms, "--implementation=cp", f"--python-version={VERSION}")
    options = ("-qq", "--disable-pip-version-check", "--no-compile", "--only-binary", ":all:", "--target", folder)
    run(sys.executable, "-m", "pip", "install", *options, *target, wheel, "numpy", "pytest>=8", "hypothesis")
    return folder


@pytest.fixture(scope="module")
def trained(packages: Path) -> Callable[[str], dict[str, Any]]:
    """What try_package.py prints for an instruction set, or for the one that is chosen where none is named."""

    def train(isa: str) -> dict[str, Any]:
        return result_of(emulated(PROGRAM, PYTHONPATH=str(packages), **{"STOOP_ISA": isa} if isa else {}))

    return functools.cache(train)


# ---- what it holds ----


def test_the_wheel_is_small_and_holds_the_package_alone(wheel: Path) -> None:
    check_contents(wheel, f"_core.cpython-{VERSION.replace('.', '')}-aarch64-linux-gnu.so")


def test_the_module_exports_one_name_and_needs_system_libraries_only(wheel: Path, tmp_path: Path) -> None:
    module = unpack_module(wheel, tmp_path)
    assert re.search(r"Machine:\s+AArch64", run("readelf", "-h", module))
    check_symbols(module)


# ---- what it computes ----


def test_it_trains(trained: Callable[[str], dict[str, Any]], packages: Path) -> None:
    result = trained("")
    assert Path(result["file"]).is_relative_to(packages)
    assert result["isa"] == "neon"
    assert result["available"] == ["neon", "scalar"]


# The same bits are not promised: AArch64 fuses products and sums where the scalar kernels of x86-64 do not. Differences
# of rounding grow over 160 updates; 1e-7 and 2e-16 were seen.
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-13)])
@pytest.mark.parametrize("isa", ["neon", "scalar"])
def test_it_computes_what_this_processor_does(
    isa: str, dtype: str, tolerance: float, trained: Callable[[str], dict[str, Any]]
) -> None:
    there = trained(isa)
    assert there["isa"] == isa
    here = result_of(run(sys.executable, PROGRAM, STOOP_ISA="scalar"))
    assert relative_error(there[dtype]["outputs"], here[dtype]["outputs"]) < tolerance


# Files of the fast tests that start no process and need no other package than pytest and Hypothesis.
FILES = ["test_threads.py", "test_updater.py", "test_fit_many.py"]


@pytest.mark.parametrize("isa", ["neon", "scalar"])
def test_a_part_of_the_fast_tests_passes(isa: str, packages: Path, tmp_path: Path) -> None:
    options = ("-q", "-m", "not slow", "-p", "no:cacheprovider", "-c", REPOSITORY / "pyproject.toml")
    files = [REPOSITORY / "tests" / "python" / name for name in FILES]
    environment = {"PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": "1", "STOOP_ISA": isa}
    printed = emulated("-m", "pytest", *options, *files, **environment)
    assert re.search(r"^\d+ passed", printed, re.MULTILINE), printed
