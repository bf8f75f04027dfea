"""What a C++ project meets: stoop as a part of it or installed, other copies of nlohmann/json around, C++17.

The library is compiled twice in build/, without optimisation, and again only where a source has changed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import REPOSITORY

HEADERS = sorted((REPOSITORY / "cpp" / "include" / "stoop").glob("*.hpp"))
C_HEADER = HEADERS[0].with_name("stoop.h")
VERSION = re.search(
    r"^version = .(\d+)\.(\d+)", (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE
)
NAMESPACE = "stoop::v{}_{}".format(*VERSION.groups()) if VERSION else ""  # a minor version has a name of its own
EMBEDDED = REPOSITORY / "tests" / "cpp" / "embedded"
BUILD = REPOSITORY / "build"

TOOLS = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
CMAKE, NINJA = shutil.which("cmake", path=TOOLS), shutil.which("ninja", path=TOOLS)
COMPILER = shutil.which(os.environ.get("CXX") or "c++", path=TOOLS)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CMAKE and NINJA and COMPILER), reason="needs CMake, Ninja and a C++ compiler"),
]

# As Debian's nlohmann-json3-dev 3.11.2 says it: the folder of all system headers, twice.
DEBIAN_PACKAGE = """
add_library(nlohmann_json::nlohmann_json INTERFACE IMPORTED)
set_target_properties(nlohmann_json::nlohmann_json PROPERTIES
  INTERFACE_INCLUDE_DIRECTORIES "/usr/include;/usr/include")
"""


def run(*command: str | Path, **environment: str) -> str:
    """The output; an exit status other than 0 fails the test with it."""
    settings = {**os.environ, "PATH": TOOLS, "CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count() or 2), **environment}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=settings, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-8000:]}{done.stderr[-8000:]}"
    return done.stdout + done.stderr


def configure(folder: Path, mode: str, *options: str) -> str:
    """Forgets what an earlier run has found, but not what it has compiled."""
    fixed = (f"-DSTOOP_MODE={mode}", f"-DSTOOP_SOURCE={REPOSITORY}", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON")
    return run(CMAKE or "", "--fresh", "-G", "Ninja", "-S", EMBEDDED, "-B", folder, *fixed, *options)


def compile_commands(folder: Path) -> dict[str, str]:
    """The command of each file, by its path from the repository or, of the other project's, from there."""
    entries = json.loads((folder / "compile_commands.json").read_text(encoding="utf-8"))
    return {os.path.relpath(entry["file"], REPOSITORY): entry["command"] for entry in entries}


UNOPTIMISED = ("-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=-O0", "-DSTOOP_UNITY_BUILD=ON")


@pytest.fixture(scope="module")
def strange_json(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prefix with Debian's CMake file and, in include/, headers of another version, which must not be met."""
    prefix = tmp_path_factory.mktemp("prefix")
    package = prefix / "share" / "cmake" / "nlohmann_json"
    package.mkdir(parents=True)
    (package / "nlohmann_jsonConfig.cmake").write_text(DEBIAN_PACKAGE)
    (package / "nlohmann_jsonConfigVersion.cmake").write_text(
        "set(PACKAGE_VERSION 3.11.2)\nset(PACKAGE_VERSION_COMPATIBLE TRUE)\n"
    )
    header = prefix / "include" / "nlohmann" / "json.hpp"
    header.parent.mkdir(parents=True)
    header.write_text("#error a foreign nlohmann/json was included\n")
    return prefix


@pytest.fixture(scope="module")
def shared(strange_json: Path) -> Path:
    """The build folder of a project that fetched stoop as a shared library, on a machine with other JSON headers."""
    folder = BUILD / "embedded-shared"
    options = (f"-DCMAKE_PREFIX_PATH={strange_json}", "-DBUILD_SHARED_LIBS=ON", "-DSTOOP_INSTALL=ON")
    configure(folder, "FetchContent", *UNOPTIMISED, *options)
    run(CMAKE or "", "--build", folder, CPATH=str(strange_json / "include"))
    return folder


def test_fetch_content_beside_other_json_headers(shared: Path) -> None:
    assert run(shared / "embedding") == "ok\n"


def test_add_subdirectory() -> None:
    folder = BUILD / "embedded-static"
    configure(folder, "add_subdirectory", *UNOPTIMISED, "-DSTOOP_VECTOR_KERNELS=")  # `shared` has them all
    run(CMAKE or "", "--build", folder)
    assert run(folder / "embedding") == "ok\n"
    # What links the static library exports nothing of it.
    assert " stoop::" not in run("nm", "-D", "--defined-only", "-C", folder / "embedding")
    installed = folder / "installed"
    shutil.rmtree(installed, ignore_errors=True)
    run(CMAKE or "", "--install", folder, "--prefix", installed)
    files = [path.relative_to(installed).as_posix() for path in installed.rglob("*") if path.is_file()]
    assert files == ["bin/embedding"], "stoop installs nothing from within another project unless asked to"


def test_find_package_of_the_shared_library(shared: Path, tmp_path: Path) -> None:
    prefix, folder = tmp_path / "prefix", tmp_path / "build"
    run(CMAKE or "", "--install", shared, "--prefix", prefix, "--component", "development")
    configure(folder, "find_package", *UNOPTIMISED, f"-DCMAKE_PREFIX_PATH={prefix}")
    run(CMAKE or "", "--build", folder)
    assert run(folder / "embedding") == "ok\n"
    assert not list(prefix.rglob("nlohmann/*")), "the JSON headers are nobody else's"
    licences = {path.name for path in prefix.rglob("LICENSE*")}
    assert licences == {"LICENSE", "LICENSE.nlohmann_json"}


@pytest.mark.skipif(not shutil.which("pkg-config"), reason="needs pkg-config")
def test_pkg_config_of_the_shared_library(shared: Path, tmp_path: Path) -> None:
    prefix, program = tmp_path / "prefix", tmp_path / "train"
    run(CMAKE or "", "--install", shared, "--prefix", prefix, "--component", "development")
    (folder,) = [path.parent for path in prefix.rglob("stoop.pc")]
    flags = run("pkg-config", "--cflags", "--libs", "stoop", PKG_CONFIG_PATH=str(folder)).split()
    assert "-DSTOOP_STATIC" not in flags
    run("cc", "-std=c99", REPOSITORY / "examples" / "c" / "train.c", *flags, "-lm", "-o", program)
    assert "ring 0" in run(program, tmp_path / "model", LD_LIBRARY_PATH=str(folder.parent))


def test_the_shared_library_exports_public_names_only(shared: Path) -> None:
    (library,) = [path for path in shared.rglob("libstoop.so*") if not path.is_symlink()]
    listing = run("nm", "-D", "--defined-only", "-C", library).splitlines()
    symbols = {re.sub(r"^(\S+ )?. ", "", line) for line in listing}
    # nm shows the result of function templates first.
    name = re.compile(rf"(?:(?:typeinfo|typeinfo name|vtable) for |\w[\w:]* )?{NAMESPACE}::(?:schedules::)?(\w+)")
    public = set(re.findall(r"\b[A-Za-z]\w*\b", "\n".join(path.read_text(encoding="utf-8") for path in HEADERS)))
    of_c = {s for s in symbols if s.startswith("stoop_")}
    assert of_c == set(re.findall(r"^STOOP_C_API .*?(stoop_\w+)\(", C_HEADER.read_text(encoding="utf-8"), re.MULTILINE))
    private = sorted(s for s in symbols - of_c if not (match := name.match(s)) or match[1] not in public or "Impl" in s)
    assert not private, "\n".join(private)
    assert 100 < len(symbols) < 400
    for needed in (f"typeinfo for {NAMESPACE}::NonFiniteLossError", f"{NAMESPACE}::Trainer<float>::swap_ema()"):
        assert needed in symbols


def test_every_public_function_is_exported() -> None:
    """A function that a header declares, and does not define, is marked; so is each class with functions elsewhere."""
    for path in HEADERS:
        text = re.sub(r"//[^\n]*", "", path.read_text(encoding="utf-8"))
        # Outside of classes, declarations begin in the first column.
        for declaration in re.findall(r"^(?:\[\[noreturn\]\] )?\w[\w:<>&, ]*? \w+\([^;{}]*\);", text, re.MULTILINE):
            if not declaration.startswith(("constexpr", "inline", "extern template")):
                assert "STOOP_API" in declaration, f"{path.name}: {declaration}"
        for name in re.findall(r"extern template class (\w+)<", text):
            assert re.search(rf"class STOOP_API {name} ", text), f"{path.name}: {name}"
        for name in re.findall(r"^struct (\w+) : std::", text, re.MULTILINE):
            pytest.fail(f"{path.name}: {name} can be thrown and has no STOOP_API")


def test_a_parent_without_a_build_type_keeps_none(tmp_path: Path) -> None:
    """The project fails to configure where stoop changes one of its variables."""
    configure(tmp_path, "add_subdirectory", "-DCMAKE_BUILD_TYPE=")
    cache = (tmp_path / "CMakeCache.txt").read_text(encoding="utf-8")
    assert re.search(r"^CMAKE_BUILD_TYPE:\w+=$", cache, re.MULTILINE)
    assert re.search(r"^STOOP_INSTALL:BOOL=OFF$", cache, re.MULTILINE)
    commands = compile_commands(tmp_path)
    # A library for speed is optimised all the same, what is the parent's is as the parent says.
    assert " -O3 " in commands["cpp/src/run/team_executor.cpp"]
    assert " -O3 " in commands["cpp/src/cpu/isa_scalar.cpp"]
    assert " -O" not in next(command for file, command in commands.items() if "embedding.dir" in file)
    json_folder = f"-I{REPOSITORY / 'third_party'}"
    assert [file for file, command in commands.items() if json_folder in command] == ["cpp/src/io/config_json.cpp"]


def test_json_headers_come_before_those_a_parent_names(tmp_path: Path, strange_json: Path) -> None:
    flags = f"-I{strange_json / 'include'}"
    configure(tmp_path, "add_subdirectory", f"-DCMAKE_CXX_FLAGS={flags}", f"-DCMAKE_PREFIX_PATH={strange_json}")
    command = compile_commands(tmp_path)["cpp/src/io/config_json.cpp"]
    assert command.index("third_party/nlohmann_json/include") < command.index(flags)
    assert "/usr/include" not in command


@pytest.mark.parametrize("header", HEADERS, ids=lambda path: path.name)
def test_cxx17_is_told_of_cxx20(header: Path) -> None:
    command = [COMPILER or "", "-std=c++17", "-fsyntax-only", f"-I{header.parents[1]}", "-x", "c++", "-"]
    source = f"#include <stoop/{header.name}>\n"
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    first = next(line for line in done.stderr.splitlines() if "error:" in line)
    assert "C++20" in first, first
