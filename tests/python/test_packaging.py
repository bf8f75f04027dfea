"""What a package holds: a source archive all that a build needs, a wheel the licences of what is compiled into it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from helpers import REPOSITORY

VENDORED = REPOSITORY / "third_party" / "nlohmann_json"


@pytest.mark.skipif(not importlib.util.find_spec("scikit_build_core"), reason="needs scikit-build-core")
def test_a_source_archive_builds_without_another_package(tmp_path: Path) -> None:
    program = f"from scikit_build_core.build import build_sdist; print(build_sdist({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    wanted = [path for folder in ("cpp", "cmake", "third_party") for path in (REPOSITORY / folder).rglob("*")]
    missing = {path.relative_to(REPOSITORY).as_posix() for path in wanted if path.is_file()} - names
    assert not missing
    assert {"CMakeLists.txt", "pyproject.toml", "LICENSE"} <= names
    assert not [name for name in names if name.startswith(("tests/", "bench/", "build/"))]


def test_a_wheel_has_the_licence_of_the_json_headers() -> None:
    texts = [file.read_text() for file in importlib.metadata.files("stoop") or [] if "LICENSE" in file.name]
    assert (VENDORED / "LICENSE.MIT").read_text(encoding="utf-8") in texts
    assert len(texts) == 2


def test_no_build_requirement_brings_json() -> None:
    for file in ("pyproject.toml", "Makefile", "CMakeLists.txt"):
        text = (REPOSITORY / file).read_text(encoding="utf-8")
        assert "nlohmann_json>" not in text
        assert "find_package(nlohmann" not in text
