"""The function that computes the outputs, in float32."""

from __future__ import annotations

from collections.abc import Sequence

from stoop.export._arena import inputs_of, lay_out
from stoop.export._c_code import Code
from stoop.export._c_float import write_step
from stoop.export._c_header import Body
from stoop.export._steps import INPUT, Combine, Step


def float_body(steps: Sequence[Step], name: str) -> Body:
    """Return the statements that take a row through the steps, with their tables."""
    code = Code(name)
    layout = lay_out(steps, [step.members * step.width for step in steps])
    scratch = layout.size

    def pointer(place: int) -> str:
        if place == INPUT:
            return "x"
        offset = layout.offsets[place]
        return "out" if offset is None else "scratch" if offset == 0 else f"scratch + {offset}"

    for place, step in enumerate(steps):
        members = 1 if step.source == INPUT else steps[step.source].members
        sources = [pointer(read) for read in inputs_of(step)]
        if isinstance(step, Combine) and step.output == "softmax":
            sources.append(f"scratch + {scratch}")
            scratch += members
        write_step(code, step, place, sources, pointer(place), members)
    return Body(code, scratch, "float32")
