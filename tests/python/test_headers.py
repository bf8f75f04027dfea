"""Each public header compiles alone and without a warning: it includes all that it uses."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from helpers import REPOSITORY

INCLUDE = REPOSITORY / "cpp" / "include"
HEADERS = sorted((INCLUDE / "stoop").glob("*.hpp"))
STRICT = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wpedantic", "-Werror", "-fsyntax-only"]
GCC = shutil.which(os.environ.get("CXX") or "g++")
CLANGS = ["clang++", *(f"clang++-{version}" for version in range(22, 13, -1))]
CLANG = next(filter(None, map(shutil.which, CLANGS)), None)


def complaints(compiler: str, header: Path) -> str:
    command = [compiler, "-std=c++20", *STRICT, f"-I{INCLUDE}", "-x", "c++", "-"]
    source = f"#include <stoop/{header.name}>\n#include <stoop/{header.name}>\n"
    return subprocess.run(command, input=source, capture_output=True, text=True, check=False).stderr


def test_headers_are_found() -> None:
    assert len(HEADERS) > 20


@pytest.mark.skipif(GCC is None, reason="needs g++")
@pytest.mark.parametrize("header", HEADERS, ids=lambda path: path.name)
def test_with_gcc(header: Path) -> None:
    assert complaints(GCC or "", header) == ""


@pytest.mark.slow
@pytest.mark.skipif(CLANG is None, reason="needs clang")
@pytest.mark.parametrize("header", HEADERS, ids=lambda path: path.name)
def test_with_clang(header: Path) -> None:
    assert complaints(CLANG or "", header) == ""


def test_what_is_missing_is_noticed(tmp_path: Path) -> None:
    header = tmp_path / "lacking.hpp"
    header.write_text("#pragma once\nstd::string text();\n")
    command = [GCC or "c++", "-std=c++20", *STRICT, "-x", "c++", str(header)]
    assert subprocess.run(command, capture_output=True, text=True, check=False).returncode != 0
