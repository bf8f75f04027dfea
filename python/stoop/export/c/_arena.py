"""Where each value of a list of steps lies in the scratch memory of the exported function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stoop.export._steps import INPUT, Activate, Add, NormalizeRow, Scale, Step
from stoop.export.c._int_steps import IntAdd, IntScale, Lookup

IN_PLACE = (Activate, Add, NormalizeRow, Scale, IntAdd, IntScale, Lookup)


@dataclass(frozen=True)
class Layout:
    """The place of the value of each step: an offset in the scratch memory, or None for the array of the outputs."""

    offsets: tuple[int | None, ...]
    size: int


def inputs_of(step: Step) -> tuple[int, ...]:
    """Return the places of the values that a step reads."""
    return (step.source, step.other) if isinstance(step, Add | IntAdd) else (step.source,)


def lay_out(steps: Sequence[Step], sizes: Sequence[int]) -> Layout:
    """Return where the values go, of as many elements as `sizes` says; the last is the outputs.

    A step writes over the value that it reads where it can: nothing else reads that, and each element of the result
    depends on the same element alone, or on its row as a whole.
    """
    last_use = [
        max((later for later, step in enumerate(steps) if place in inputs_of(step)), default=len(steps))
        for place in range(len(steps))
    ]
    root = list(range(len(steps)))  # the value whose memory it shares
    for place, step in enumerate(steps):
        over = next(
            (
                read
                for read in inputs_of(step)
                if read != INPUT and last_use[read] == place and sizes[read] == sizes[place]
            ),
            None,
        )
        if isinstance(step, IN_PLACE) and over is not None:
            root[place] = root[over]
    end = {own: max(last_use[place] for place in range(len(steps)) if root[place] == own) for own in set(root)}
    offsets: dict[int, int | None] = {}
    taken: list[tuple[int, int, int]] = []  # first and end element, last use
    size = 0
    for own in sorted(end):
        if own == root[-1]:
            offsets[own] = None
            continue
        taken = sorted(part for part in taken if part[2] >= own)
        offset = 0
        for first, stop, _ in taken:
            if offset + sizes[own] <= first:
                break
            offset = max(offset, stop)
        offsets[own] = offset
        taken.append((offset, offset + sizes[own], end[own]))
        size = max(size, offset + sizes[own])
    return Layout(tuple(offsets[own] for own in root), size)
