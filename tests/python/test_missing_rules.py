"""A Spec, a formula or a rule that is missing stops the compiler: a copy of the sources without it is compiled."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import REPOSITORY

COMPILER = shutil.which(os.environ.get("CXX", "c++"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler"),
    pytest.mark.skipif(not (REPOSITORY / "cpp/src").exists(), reason="the sources are not here"),
]

Edit = Callable[[str], str]


def without(start: str) -> Edit:
    """Takes out the struct that begins with `start`, to its closing brace, with its template line."""

    def edit(text: str) -> str:
        at = text.index(start)
        begin = text.rindex("template <", 0, at)
        end = text.index("\n};\n", at) if "{\n" in text[at : text.index("\n", at) + 1] else text.index("\n", at) - 3
        return text[:begin] + text[end + 4 :]

    return edit


def replaced(pattern: str, new: str) -> Edit:
    def edit(text: str) -> str:
        changed, count = re.subn(pattern, new, text, count=1)
        assert count == 1, f"{pattern} is not in the text"
        return changed

    return edit


# name -> (file, edit, the file that is compiled, what the compiler must say)
MISSING: dict[str, tuple[str, Edit, str, str]] = {
    "the Spec of an activation": (
        "spec/activations.hpp",
        without("struct Spec<Softplus>"),
        "spec/names.cpp",
        r"Spec<stoop::v0_1::Softplus>",
    ),
    "the Spec of an optimizer": (
        "spec/optimizers.hpp",
        without("struct Spec<Nadam>"),
        "spec/optimizers.cpp",
        r"Spec<(stoop::v0_1::)?Nadam>",
    ),
    "the formula of an activation": (
        "cpu/activation.inl.hpp",
        without("struct Formula<Softplus, T>"),
        "cpu/isa_scalar.cpp",
        r"Formula<(stoop::v0_1::)?Softplus, (float|double)>",
    ),
    "the second derivative of an activation": (
        "cpu/activation.inl.hpp",
        replaced(r"static Vec<T> curvature\(Vec<T>, Vec<T> y, const Tanh&\)[^\n]*\n", ""),
        "cpu/isa_scalar.cpp",
        r"curvature.* is not a member of .*Formula<(stoop::v0_1::)?Tanh",
    ),
    "the formula of a loss": (
        "cpu/loss.inl.hpp",
        without("struct Formula<LogCosh, T>"),
        "cpu/isa_scalar.cpp",
        r"Formula<(stoop::v0_1::)?LogCosh, (float|double)>",
    ),
    "the formula of an optimizer": (
        "cpu/optimizer.inl.hpp",
        without("struct Formula<Lion"),
        "cpu/isa_scalar.cpp",
        r"Formula<(stoop::v0_1::)?Lion",
    ),
    "the rule of a step": (
        "plan/rules.hpp",
        replaced(r"template <>\ninline constexpr StepRule kRule<StepKind::add>\{[^;]*;\n", ""),
        "plan/tangent.cpp",
        r"each kind of step has a rule",
    ),
    "the tangent of a rule": (
        "plan/rules.hpp",
        replaced(r'("add", by_elements), tangent::sum,', r"\1,"),
        "plan/tangent.cpp",
        r"StepRule",
    ),
    "how a step is run": (
        "run/steps.hpp",
        replaced(r"void run\(Kind<StepKind::add>", "void other(Kind<StepKind::add>"),
        "run/team_executor.cpp",
        r"each kind of step has an overload of `run`",
    ),
    "the rates of an optimizer": (
        "spec/optimizers.hpp",
        without("struct Rates<Nadam>"),
        "cpu/isa_scalar.cpp",
        r"Rates<(stoop::v0_1::)?Nadam>",
    ),
    "the rule of a kind of step": (
        "plan/rules.hpp",
        replaced(r"template <>\ninline constexpr StepRule kRule<StepKind::gather>[^;]*;\n", ""),
        "plan/tangent.cpp",
        r"kind = stoop::v0_1::StepKind::gather\][^$]*each kind of step has a rule",
    ),
    "the tangent of a kind of step": (
        "plan/rules.hpp",
        replaced(r'"gather", by_rows, tangent::constant', '"gather", by_rows'),
        "plan/tangent.cpp",
        r"no matching function for call to .*StepRule",
    ),
    "the operands of a kind of step": (
        "plan/rules.hpp",
        replaced(r'"gather", by_rows, tangent::constant, \{writes\(out\)\}', '"gather", by_rows, tangent::constant'),
        "plan/tangent.cpp",
        r"no matching function for call to .*StepRule",
    ),
    "the run of a kind of step": (
        "run/steps.hpp",
        replaced(r"template <class T>\nvoid run\(Kind<StepKind::copy_gradient>[^}]*\}\n", ""),
        "run/team_executor.cpp",
        r"kind = stoop::v0_1::StepKind::copy_gradient[^$]*each kind of step has an overload of `run`",
    ),
}


def compile_text(folder: Path, source: str) -> subprocess.CompletedProcess[str]:
    assert COMPILER is not None
    includes = ["-I", folder / "include", "-I", folder / "src", "-I", REPOSITORY / "third_party/nlohmann_json"]
    flags = ["-std=c++20", "-fsyntax-only", "-Wno-psabi"]
    command = [COMPILER, *flags, *includes, folder / "src" / source]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=600)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    shutil.copytree(REPOSITORY / "cpp", tmp_path / "cpp")
    return tmp_path / "cpp"


@pytest.mark.parametrize("what", MISSING)
def test_the_compiler_stops_where_it_is_missing(what: str, sources: Path) -> None:
    name, edit, source, expected = MISSING[what]
    path = sources / "src" / name
    path.write_text(edit(path.read_text()))
    done = compile_text(sources, source)
    assert done.returncode != 0, "it compiles"
    first = next(line for line in done.stderr.splitlines() if "error:" in line)
    assert re.search(expected, done.stderr), f"{first}\n{done.stderr[:2000]}"


@pytest.mark.parametrize("source", sorted({source for _, _, source, _ in MISSING.values()}))
def test_nothing_is_missing_as_it_is(source: str) -> None:
    done = compile_text(REPOSITORY / "cpp", source)
    assert done.returncode == 0, done.stderr[:2000]
