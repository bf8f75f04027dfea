"""Programs of C on emulated processors of Arm: Cortex-M4 and M3 on a board without a system, and Cortex-A7.

Debian has what they need: `tests/tools/system_packages.sh arm`.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from c_programs import WARNINGS

FOLDER = Path(__file__).resolve().parents[1] / "cortex"
PROGRAMS = ("arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-arm", "qemu-system-arm")
NANOSECONDS = 2**6  # of an instruction, as the emulator counts: the 24 bits of the timer last for 10 million


class Processor(NamedTuple):
    options: tuple[str, ...]  # of the compiler
    board: str | None  # None: a process of an emulated Linux


PROCESSORS = {
    "cortex-m4": Processor(("-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"), "mps2-an386"),
    "cortex-m3": Processor(("-mcpu=cortex-m3", "-mfloat-abi=soft"), "mps2-an385"),  # without floating point
    "cortex-a7": Processor(("-mcpu=cortex-a7", "-mfloat-abi=soft"), None),
}


def is_there() -> bool:
    return all(map(shutil.which, PROGRAMS))


def printed(processor: str, source: Path) -> str:
    """Compile a program and return what it prints."""
    program = source.with_suffix(f".{processor}")
    board = PROCESSORS[processor].board
    own = [] if board is None else ["-T", FOLDER / "memory.ld", FOLDER / "start.c"]
    compile_for(processor, "--specs=rdimon.specs", *own, source, "-lm", "-o", program)
    if board is None:
        return run("qemu-arm", "-cpu", processor, program)
    count = ("-icount", f"shift={NANOSECONDS.bit_length() - 1}")
    return run("qemu-system-arm", "-M", board, "-nographic", "-semihosting", *count, "-kernel", program)


def compile_for(processor: str, *arguments: str | Path) -> None:
    options = (*PROCESSORS[processor].options, "-mthumb", "-std=c99", "-O2")
    run("arm-none-eabi-gcc", *options, *WARNINGS, *arguments)


def sizes(processor: str, source: Path) -> tuple[int, int]:
    """Return the bytes of the instructions and of the constants that a source becomes, without the C library."""
    object_file = source.with_suffix(".o")
    compile_for(processor, "-c", source, "-o", object_file)
    lines = [line.split() for line in run("arm-none-eabi-size", "-A", object_file).splitlines()]
    sections = {line[0]: int(line[1]) for line in lines if len(line) == 3 and line[1].isdigit()}

    def total(name: str) -> int:
        return sum(size for section, size in sections.items() if section.startswith(name))

    return total(".text"), total(".rodata")


def run(*command: str | Path) -> str:
    done = subprocess.run(
        [*map(str, command)], check=False, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
