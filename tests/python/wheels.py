"""What the tests of wheels share: the files in dist/, programs that run outside this environment."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from helpers import REPOSITORY

DIST = REPOSITORY / "dist"
PROGRAM = REPOSITORY / "tests" / "tools" / "try_package.py"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
TAG = f"cp{sys.version_info.major}{sys.version_info.minor}"
MEGABYTE = 1_000_000

# What every Linux has that a manylinux wheel may run on.
SYSTEM_LIBRARIES = {"libstdc++.so.6", "libm.so.6", "libgcc_s.so.1", "libc.so.6", "libpthread.so.0", "libdl.so.2"}
LOADER = re.compile(r"ld-linux-[\w-]+\.so\.\d")


def the_only(pattern: str, made_by: str) -> Path:
    """Return the file in dist/ that a command of the Makefile makes."""
    found = sorted(DIST.glob(pattern))
    assert len(found) == 1, f"dist/ has {len(found)} files {pattern}: run `{made_by}`"
    return found[0]


def unpack_module(wheel: Path, folder: Path) -> Path:
    """Return the extension module of a wheel, which is unpacked into the folder."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    (found,) = folder.rglob("*.so")
    return found


def run(*command: str | Path, **environment: str) -> str:
    """Return the output of a program that sees nothing of this environment, from another folder than this."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "STOOP_", "PIP_"))}
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, cwd="/", env=clean | environment, check=False
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


def result_of(output: str) -> dict[str, Any]:
    """Return what try_package.py has printed."""
    result: dict[str, Any] = json.loads(output)
    return result


def check_contents(wheel: Path, module: str) -> None:
    """Check that a wheel is small, holds the package alone, with this extension module, and needs NumPy alone."""
    assert "manylinux" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        tops = {name.split("/")[0] for name in names}
        (metadata,) = [archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA")]
    assert tops == {"stoop", next(top for top in tops if re.fullmatch(r"stoop-[\d.]+\.dist-info", top))}
    assert [name for name in names if ".so" in name] == [f"stoop/{module}"]
    kinds = {Path(name).suffix for name in names if name.startswith("stoop/")}
    assert kinds <= {"", ".py", ".pyi", ".so", ".typed", ".html", ".c"}
    assert wheel.stat().st_size < 5 * MEGABYTE
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra ==" not in line]
    assert required == ["Requires-Dist: numpy>=1.23"]


def check_symbols(module: Path) -> None:
    """Check that a module exports one name and needs nothing but libraries of the system."""
    symbols = {line.split()[-1] for line in run("nm", "-D", "--defined-only", module).splitlines()}
    assert symbols == {"PyInit__core"}
    dynamic = run("readelf", "-d", module)
    assert not re.search(r"\((RPATH|RUNPATH|TEXTREL)\)", dynamic)
    needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic))
    assert not {name for name in needed if not LOADER.fullmatch(name)} - SYSTEM_LIBRARIES
