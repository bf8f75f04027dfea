"""Checks on the text of the sources which file may include or import which: the rooms of docs/architecture.md.

    python/stoop -> stoop._core (python/bindings) -> cpp/include/stoop
    a folder of cpp/src -> those above it in ROOMS that it names

Needs no build and no import of the package.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PUBLIC = REPOSITORY / "cpp" / "include"
SOURCES = REPOSITORY / "cpp" / "src"
BINDINGS = REPOSITORY / "python" / "bindings"
PACKAGE = REPOSITORY / "python" / "stoop"

# The folders of cpp/src, from the bottom up, with those that each may include beside itself and the public interface.
ROOMS: dict[str, tuple[str, ...]] = {
    "base": (),
    "team": ("base",),
    "spec": ("base",),
    "io": ("base", "spec"),
    "graph": ("base", "spec"),
    "data": ("base", "team", "spec"),
    "ops": ("base", "spec"),
    "cpu": ("base", "spec", "ops"),
    "plan": ("base", "spec", "graph", "ops"),
    "run": ("base", "team", "spec", "data", "ops", "cpu", "plan"),
    "model": ("base", "team", "spec", "io", "graph", "data", "ops", "plan", "run"),
    "train": ("base", "team", "spec", "io", "graph", "data", "ops", "plan", "run", "model"),
    "c": ("base", "io"),
}
# The kernel text itself, compiled once per instruction set.
KERNEL_TEXT = re.compile(r"^(isa_\w+\.[ch]pp|tables\.hpp|\w+\.inl\.hpp)$")
KERNEL_INCLUDES = ("ops/ops.hpp", "spec/", "cpu/", "stoop/types.hpp", "<stddef.h>", "<stdint.h>")
KERNEL_INCLUDES += ("<immintrin.h>", "<arm_neon.h>", "<utility>")
# From std only types that leave nothing behind in an object file.
KERNEL_STD = {"integer_sequence", "make_integer_sequence", "index_sequence", "make_index_sequence"}
KERNEL_STD |= {"is_same_v", "conditional_t", "size_t", "int32_t", "int64_t", "uint32_t", "uint64_t"}

# Each engine of the benchmark imports its library, in a process of its own.
ENGINES = PACKAGE / "bench" / "engine_*.py"
# Third-party modules that `import stoop` may load: it has to stay light.
LIGHT_MODULES = {"stoop", "numpy"} | sys.stdlib_module_names
# Packages that derive from classes of scikit-learn, and are imported when they are used.
OF_SCIKIT_LEARN = {"sklearn": {"sklearn", "scipy"}, "tabular": {"sklearn", "narwhals"}}


def files(folder: Path, *patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in folder.rglob(pattern))


def code_of(path: Path) -> str:
    """The text without comments."""
    text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.sub(r"(?<!:)//[^\n]*", "", text)


def includes(path: Path) -> Iterator[str]:
    """What `path` includes: `folder/file` inside cpp/src, `stoop/file` for public headers, `<header>` for the rest."""
    for opening, name in re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', code_of(path), flags=re.MULTILINE):
        if name.startswith("stoop/"):
            yield name
        elif opening == "<":
            yield f"<{name}>"
        else:
            beside = (path.parent / name).resolve()
            target = beside if beside.exists() else SOURCES / name
            yield target.relative_to(SOURCES).as_posix() if target.is_relative_to(SOURCES) else name


def identify(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


CPP_FILES = files(SOURCES, "*.cpp", "*.hpp")
KERNEL_FILES = [path for path in CPP_FILES if path.parent.name == "cpu" and KERNEL_TEXT.match(path.name)]


def test_something_is_scanned() -> None:
    assert len(CPP_FILES) > 10
    assert KERNEL_FILES
    assert files(PACKAGE, "*.py")


@pytest.mark.parametrize("path", files(PUBLIC, "*.hpp"), ids=identify)
def test_public_headers_include_only_public_and_standard_ones(path: Path) -> None:
    for name in includes(path):
        assert name.startswith("stoop/") or re.fullmatch(r"<[a-z_]+>", name), name


@pytest.mark.parametrize("path", CPP_FILES, ids=identify)
def test_sources_include_only_what_their_folder_may(path: Path) -> None:
    room = path.relative_to(SOURCES).parts[0]
    allowed = (room, *ROOMS[room])
    for name in includes(path):
        assert name.startswith(("<", "stoop/", *(f"{other}/" for other in allowed))), f"{name} is in none of {allowed}"


def test_rooms_are_listed_from_the_bottom_up() -> None:
    assert set(ROOMS) == {path.name for path in SOURCES.iterdir() if path.is_dir()}
    order = list(ROOMS)
    for room, others in ROOMS.items():
        assert all(order.index(other) < order.index(room) for other in others), room


def test_no_file_includes_itself_through_others() -> None:
    graph = {path.relative_to(SOURCES).as_posix(): list(includes(path)) for path in CPP_FILES}
    graph |= {f"stoop/{path.name}": list(includes(path)) for path in files(PUBLIC, "*.hpp")}
    assert not cycle_in(graph)


def cycle_in(graph: dict[str, list[str]]) -> list[str]:
    """A path that comes back to its start, or nothing."""
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for other in graph.get(name, ()):
            if found := walk(other, [*path, name]):
                return found
        done.add(name)
        return []

    return next((found for name in graph if (found := walk(name, []))), [])


def test_cycles_are_found() -> None:
    assert cycle_in({"a": ["b"], "b": ["c"], "c": ["b"], "d": ["d"]}) == ["b", "c", "b"]
    assert cycle_in({"a": ["b", "c"], "b": ["c"], "c": []}) == []


def module_name(path: Path) -> str:
    parts = ("stoop", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def all_imports(path: Path, modules: set[str]) -> Iterator[str]:
    """Every module of the package that `path` names: inside functions and under `if TYPE_CHECKING` too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in modules else node.module or "" for name in names)


def test_no_module_imports_itself_through_others() -> None:
    modules = {module_name(path): path for path in files(PACKAGE, "*.py")}
    known = {*modules, "stoop._core"}
    assert not cycle_in({name: list(all_imports(path, known)) for name, path in modules.items()})


@pytest.mark.parametrize("path", KERNEL_FILES, ids=identify)
def test_kernel_text_is_bare(path: Path) -> None:
    for name in includes(path):
        assert name.startswith(KERNEL_INCLUDES), name
    used = set(re.findall(r"\bstd::(\w+)", code_of(path)))
    assert used <= KERNEL_STD, f"a std:: function could be kept by the linker for every CPU: {used - KERNEL_STD}"
    assert not re.search(r"\bomp_|#\s*pragma\s+omp|\bnew\s|\bmalloc\b|\bthread\b", code_of(path))


def test_one_file_names_the_backends() -> None:
    users = {path.relative_to(SOURCES).as_posix() for path in CPP_FILES if "cpu/tables.hpp" in includes(path)}
    assert {user for user in users if not user.startswith("cpu/isa_")} == {"cpu/select.cpp"}


def test_one_file_starts_threads() -> None:
    started = r"#\s*pragma\s+omp\s+parallel|std::j?thread\b(?!::)|\bpthread_create\b|\b_beginthreadex\b"
    # Measurements of the machine run on threads of their own, outside any training.
    users = {path.relative_to(SOURCES).as_posix() for path in CPP_FILES if re.search(started, code_of(path))}
    assert users - {"run/core_latency.cpp", "run/runtime.cpp"} == {"team/thread.hpp", "team/thread_windows.cpp"}


def test_no_process_wide_openmp_setting() -> None:
    for path in CPP_FILES + files(BINDINGS, "*.cpp", "*.hpp"):
        assert not re.search(r"\bomp_set_\w+", code_of(path)), identify(path)


def test_one_file_knows_json() -> None:
    users = {identify(path) for path in CPP_FILES if any("nlohmann" in name for name in includes(path))}
    assert users == {"cpp/src/io/config_json.cpp"}


def test_the_core_knows_no_python() -> None:
    for path in CPP_FILES + files(PUBLIC, "*.hpp"):
        assert not [name for name in includes(path) if "pybind11" in name or "Python.h" in name], identify(path)


def test_bindings_use_the_public_interface() -> None:
    # Configurations cross the boundary as JSON text, and Python reads the Spec of each kind: hence the private headers.
    own = {path.name for path in files(BINDINGS, "*.hpp")}
    for path in files(BINDINGS, "*.cpp", "*.hpp"):
        for name in includes(path):
            known = name.startswith(("<", "stoop/", "spec/")) or name in own | {"io/config_json.hpp"}
            assert known, f"{identify(path)}: {name}"


def test_one_header_knows_numpy() -> None:
    users = {path.name for path in files(BINDINGS, "*.cpp", "*.hpp") if "<pybind11/numpy.h>" in includes(path)}
    assert users == {"numpy_view.hpp"}


def imported_modules(nodes: list[ast.stmt]) -> Iterator[str]:
    """Modules imported when the file is: functions are not entered, `if TYPE_CHECKING` neither."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "stoop"
        elif isinstance(node, ast.If):
            if "TYPE_CHECKING" not in ast.unparse(node.test):
                yield from imported_modules(node.body)
            yield from imported_modules(node.orelse)
        elif isinstance(node, ast.Try):
            yield from imported_modules(node.body + [s for h in node.handlers for s in h.body] + node.orelse)
        elif isinstance(node, (ast.ClassDef, ast.With)):
            yield from imported_modules(node.body)


@pytest.mark.parametrize("path", files(PACKAGE, "*.py"), ids=identify)
def test_importing_the_package_is_light(path: Path) -> None:
    modules = list(imported_modules(ast.parse(path.read_text(encoding="utf-8")).body))
    engine = path.match(str(ENGINES))
    light = LIGHT_MODULES | OF_SCIKIT_LEARN.get(path.relative_to(PACKAGE).parts[0], set())
    heavy = {name for name in modules if name.split(".")[0] not in light and not engine}
    assert not heavy, f"import inside the function that needs it: {heavy}"
    if path.relative_to(PACKAGE).parts[0] not in OF_SCIKIT_LEARN:
        others = tuple(f"stoop.{name}" for name in OF_SCIKIT_LEARN)
        assert not [name for name in modules if name.startswith(others)], "it needs an extra"
    if path.parent != ENGINES.parent:
        assert not [name for name in modules if name.startswith("stoop.bench")], "import it where it is run"
    assert not [name for name in modules if name.startswith("stoop.bench.engine_")], "load_engine does it"


@pytest.mark.parametrize("path", files(PACKAGE, "*.py"), ids=identify)
def test_the_blas_package_is_never_imported(path: Path) -> None:
    # Importing scipy_openblas32 loads the library before its kernel set can be chosen.
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not [name for name in names if name.split(".")[0] == "scipy_openblas32"]
