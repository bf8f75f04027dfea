"""The statements of the function that computes the outputs, and the memory that they work in."""

from __future__ import annotations

from collections.abc import Sequence

from stoop.export._steps import INPUT, Combine, Step
from stoop.export.c._arena import inputs_of, lay_out
from stoop.export.c._code import Code
from stoop.export.c._float import write_step
from stoop.export.c._int import MAKES_INTEGERS, OF_INTEGERS, write_int_step


def body_of(steps: Sequence[Step], name: str) -> tuple[Code, int]:
    """Return the statements that take a row through the steps, and how many floats of scratch memory they need."""
    code = Code(name)
    counts = [step.members * step.width for step in steps]
    of_integers = [isinstance(step, MAKES_INTEGERS) for step in steps]
    layout = lay_out(steps, [-(-count // 4) if is_int else count for count, is_int in zip(counts, of_integers)])
    scratch = layout.size

    def pointer(place: int) -> str:
        if place == INPUT:
            return "x"
        offset = layout.offsets[place]
        if offset is None:
            return "out"
        base, by = ("bytes", 4 * offset) if of_integers[place] else ("scratch", offset)
        return f"{base} + {by}" if by else base

    if any(of_integers):
        code.lines.append("  int8_t* const bytes = (int8_t*)scratch;")
    for place, step in enumerate(steps):
        members = 1 if step.source == INPUT else steps[step.source].members
        sources = [pointer(read) for read in inputs_of(step)]
        if isinstance(step, Combine) and step.output == "softmax":
            sources.append(f"scratch + {scratch}")
            scratch += members
        write = write_int_step if isinstance(step, OF_INTEGERS) else write_step
        write(code, step, place, sources, pointer(place), members)
    return code, scratch
