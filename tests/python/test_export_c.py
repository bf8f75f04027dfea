"""Headers that to_c writes: compiled by a compiler of C, they compute what the model computes."""

from __future__ import annotations

from pathlib import Path

import pytest

import export_cases
import stoop
from c_programs import Library, clang, compile_with
from helpers import relative_error

NAMES = {case: f"case_{index}" for index, case in enumerate(export_cases.CASES)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a header of each case."""
    made = tmp_path_factory.mktemp("headers")
    for case, name in NAMES.items():
        stoop.export.to_c(export_cases.model_of(case), made / f"{name}.h", name)
    return made


@pytest.fixture(scope="module")
def library(folder: Path) -> Library:
    return Library(folder, {name: export_cases.model_of(case).output_dim for case, name in NAMES.items()})


@pytest.mark.parametrize("case", export_cases.CASES)
def test_it_computes_what_the_model_computes(case: str, library: Library) -> None:
    X = export_cases.rows_of(case)
    assert relative_error(library(NAMES[case], X), export_cases.model_of(case).predict(X)) < 1e-5


@pytest.mark.parametrize("command", ["cc -std=c99", "c++ -std=c++11", "clang -std=c99", "clang -std=c++11 -x c++"])
def test_it_compiles_without_warnings(command: str, folder: Path) -> None:
    compiler, *options = command.split()
    if compiler == "clang":
        found = clang()
        if found is None:
            pytest.skip("there is no clang")
        compiler = found
    suffix = ".cpp" if "++" in command else ".c"
    source = folder / f"all{suffix}"
    source.write_text("".join(f'#include "{name}.h"\n' for name in NAMES.values()) + "int main(void) { return 0; }\n")
    compile_with([compiler, *options, "-fsyntax-only", source])
