"""Exported headers on emulated processors of Arm give what they give here."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

import cortex
import export_cases
import int_reference
import stoop
from c_programs import compile_with
from helpers import relative_error
from stoop.export._steps import Folding, steps_of
from stoop.export.c._quantize import quantize

pytestmark = pytest.mark.slow

ROWS = 4
CASES = [case for case in export_cases.CASES if not case.startswith("dense with")]
NAMES = {case: f"case_{index}" for index, case in enumerate(CASES)}

CALL = """
static void run_{name}(void) {{
  static const float rows[{count}] = {{{numbers}}};
  float out[{upper}_OUTPUT_DIM];
  for (int row = 0; row < {rows}; ++row) {{
    {name}_predict(rows + row * {upper}_INPUT_DIM, out);
    for (int i = 0; i < {upper}_OUTPUT_DIM; ++i) printf("{name} %.9g\\n", (double)out[i]);
  }}
}}
"""


@pytest.fixture(scope="module", params=["float32", "int8"])
def dtype(request: pytest.FixtureRequest) -> str:
    if not cortex.is_there():
        pytest.skip("no compiler or emulator of Arm: tests/tools/system_packages.sh arm")
    return str(request.param)


@pytest.fixture(scope="module")
def program(dtype: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that prints the outputs of every case."""
    folder = tmp_path_factory.mktemp(dtype)
    parts = ["#include <stdio.h>\n"]
    for case, name in NAMES.items():
        rows = export_cases.rows_of(case, 300) if dtype == "int8" else None
        stoop.export.to_c(export_cases.model_of(case), folder / f"{name}.h", name, dtype, rows)
        X = export_cases.rows_of(case)[:ROWS]
        numbers = ", ".join("NAN" if np.isnan(x) else f"{x:.9e}f" for x in X.ravel())
        call = CALL.format(name=name, upper=name.upper(), rows=len(X), count=X.size, numbers=numbers)
        parts.append(f'#include "{name}.h"\n{call}')
    calls = "".join(f"  run_{name}();\n" for name in NAMES.values())
    source = folder / "main.c"
    source.write_text("".join([*parts, "int main(void) {\n", calls, "  return 0;\n}\n"]))
    return source


@pytest.mark.parametrize("processor", cortex.PROCESSORS)
def test_outputs_are_those_of_this_machine(processor: str, program: Path, dtype: str) -> None:
    here = program.with_suffix(".here")
    compile_with(["cc", "-std=c99", "-O1", "-o", here, program, "-lm"], warnings=())
    want = outputs(subprocess.run([here], check=True, capture_output=True, text=True, timeout=60).stdout)
    found = outputs(cortex.printed(processor, program))
    assert set(found) == set(NAMES.values())
    for case, name in NAMES.items():
        if dtype == "int8" and int_reference.is_exact(int_steps(case)):
            np.testing.assert_array_equal(found[name], want[name], case)
        else:
            assert relative_error(found[name], want[name]) < 1e-6, case


def int_steps(case: str) -> tuple[object, ...]:
    steps = steps_of(export_cases.model_of(case), Folding.UNIFORM)
    return quantize(steps, export_cases.rows_of(case, 300), "test")


def outputs(text: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for name, number in re.findall(r"^(case_\d+) (\S+)$", text, re.MULTILINE):
        found.setdefault(name, []).append(float(number))
    return found
