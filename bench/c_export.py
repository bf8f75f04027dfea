"""Size and instructions of networks that `stoop.export.to_c` writes, for small processors of Arm.

    python bench/c_export.py

Needs what `tests/tools/system_packages.sh arm` installs. Sizes are those of the object file with -O2: the code of the
network without the C library, and its constants. Instructions are those that the emulator has executed for one row,
counted by the timer of the board; a Cortex-M4 takes between one and two cycles for most of them.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import numpy as np

import stoop

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "python"))
import cortex  # of the tests

NETWORKS = {"sensor": (6, 16, 16, 4), "digits": (64, 64, 32, 10), "images": (784, 128, 64, 10)}
TICK = 40  # nanoseconds of the boards' timer

MAIN = """#include <stdint.h>
#include <stdio.h>
#include "model.h"
#define CONTROL (*(volatile uint32_t*)0xE000E010)
#define RELOAD (*(volatile uint32_t*)0xE000E014)
#define CURRENT (*(volatile uint32_t*)0xE000E018)

void predict(const float* x, float* out);
void predict(const float* x, float* out) { model_predict(x, out); }

#ifdef COUNTS
int main(void) {
  static float x[MODEL_INPUT_DIM];
  float out[MODEL_OUTPUT_DIM];
  for (int i = 0; i < MODEL_INPUT_DIM; ++i) x[i] = (float)(i % 7) * 0.25f - 0.7f;
  RELOAD = 0xFFFFFF;
  CURRENT = 0;
  CONTROL = 5;
  const uint32_t before = CURRENT;
  predict(x, out);
  const uint32_t ticks = (before - CURRENT) & 0xFFFFFF;
  printf("ticks %lu of %d\\n", (unsigned long)ticks, out[0] > 0.0f);
  return 0;
}
#endif
"""


def main() -> None:
    print("| network | numbers | code | constants | scratch | Cortex-M4 | Cortex-M3 |\n|---|---|--:|--:|--:|--:|--:|")
    for name, widths in NETWORKS.items():
        for dtype in ("float32", "int8"):
            print(f"| {name}, {'-'.join(map(str, widths))} | {dtype} | {' | '.join(row_of(widths, dtype))} |")


def row_of(widths: tuple[int, ...], dtype: str) -> list[str]:
    layers = [*(stoop.Dense(units, "relu") for units in widths[1:-1]), stoop.Dense(widths[-1])]
    rows = np.random.default_rng(0).standard_normal((200, widths[0])).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        header, source = Path(folder) / "model.h", Path(folder) / "main.c"
        model = stoop.Model(layers, widths[0])
        stoop.export.to_c(model, header, dtype=dtype, calibration=rows if dtype == "int8" else None)
        scratch = int(re.findall(r"STACK_BYTES (\d+)", header.read_text())[0])
        source.write_text(MAIN)
        code, constants = cortex.sizes("cortex-m4", source)
        source.write_text("#define COUNTS\n" + MAIN)
        counts = [instructions(processor, source) for processor in ("cortex-m4", "cortex-m3")]
    return [f"{number:,}" for number in (code, constants, scratch, *counts)]


def instructions(processor: str, source: Path) -> int:
    ticks = int(re.findall(r"ticks (\d+)", cortex.printed(processor, source))[0])
    return round(ticks * TICK / cortex.NANOSECONDS)


if __name__ == "__main__":
    main()
