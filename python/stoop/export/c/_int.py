"""Steps of integers as C statements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stoop.export._steps import Step
from stoop.export.c._code import Code
from stoop.export.c._int_steps import (
    Dequantize,
    IntAdd,
    IntAffine,
    Integers,
    IntScale,
    LastAffine,
    Lookup,
    Quantize,
)

MAKES_INTEGERS = (Quantize, IntAffine, Lookup, IntScale, IntAdd)
OF_INTEGERS = (*MAKES_INTEGERS, Dequantize, LastAffine)


def write_int_step(
    code: Code, step: Step, place: int, sources: Sequence[str], target: str, source_members: int = 1
) -> None:
    """Add the statements of a step; the arguments are as those of `write_step` for float."""
    size, source = step.members * step.width, sources[0]
    if isinstance(step, Quantize):
        code.call("quantize", source, target, float(1.0 / step.grid.scale), step.grid.zero, size)
    elif isinstance(step, Dequantize):
        code.call("dequantize", source, target, step.grid.scale, step.grid.zero, size)
    elif isinstance(step, Lookup):
        code.call("lookup", source, target, code.table("int8_t", f"lookup{place}", step.table), size)
    elif isinstance(step, IntAdd):
        numbers = step.factor, step.other_factor, step.bias, step.shift
        code.call("int_add", source, sources[1], target, *numbers, size)
    elif isinstance(step, IntScale):
        per_member = step.width if step.factor.ndim == 2 else 0
        tables = code.table("int32_t", f"factor{place}", step.factor), code.table("int32_t", f"bias{place}", step.bias)
        pointers = [(source, step.width if source_members > 1 else 0), (target, step.width)]
        pointers += [(table, per_member) for table in tables]
        code.members(step.members, "int_scale", *pointers, step.shift, step.width)
    else:
        assert isinstance(step, IntAffine | LastAffine), step
        _affine(code, step, place, source, target, source_members)


def _affine(
    code: Code, step: IntAffine | LastAffine, place: int, source: str, target: str, source_members: int
) -> None:
    inputs, width = step.weight.shape[-2:]
    pointers: list[Any] = [(source, inputs if source_members > 1 else 0), (target, width)]
    weight = code.table("int8_t", f"weight{place}", np.swapaxes(step.weight, -1, -2))
    pointers.append((weight, inputs * width if step.weight.ndim == 3 else 0))

    def add(kind: str, what: str, values: Integers | Any) -> None:
        pointers.append((code.table(kind, f"{what}{place}", values), width if values.ndim == 2 else 0))

    add("int32_t", "bias", step.bias)
    if isinstance(step, LastAffine):
        add("float", "scale", step.scale)
        code.members(step.members, "last_dense", *pointers, inputs, width)
    else:
        add("int32_t", "multiplier", step.multiplier)
        add("uint8_t", "shift", step.shift)
        code.members(step.members, "int_dense", *pointers, inputs, width, step.zero)
