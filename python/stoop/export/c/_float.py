"""Steps as C statements that compute with float."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stoop.activations import Activation
from stoop.export._encodings import Column, Embedding, Indicator, Ladder, LinearLadder, Number, Wave
from stoop.export._steps import Activate, Add, Affine, Combine, Encode, Normalize, NormalizeRow, Scale, Step, two_parts
from stoop.export.c._code import Code
from stoop.export.c._text import literal


def write_step(
    code: Code, step: Step, place: int, sources: Sequence[str], target: str, source_members: int = 1
) -> None:
    """Add the statements of a step, which has that place in the list.

    `sources` are the pointers to what it reads, `target` the one to its value; `source_members` are those of the first.
    """
    size = step.members * step.width
    if isinstance(step, Affine):
        _affine(code, step, place, sources[0], target, source_members)
    elif isinstance(step, Scale):
        _scale(code, step, place, sources[0], target, source_members)
    elif isinstance(step, Activate):
        call = code.expression(*function_of(step.function, f"{_element(sources[0])}"))
        code.lines.append(f"  for (size_t i = 0; i < {size}; ++i) {_element(target)} = {call};")
    elif isinstance(step, NormalizeRow):
        gamma, beta = code.table("float", f"gamma{place}", step.gamma), code.table("float", f"beta{place}", step.beta)
        moved = [(pointer, step.width) for pointer in (sources[0], target)]
        code.members(step.members, "layer_norm", *moved, gamma, beta, step.eps, step.width)
    elif isinstance(step, Add):
        code.call("add", sources[0], sources[1], target, size)
    elif isinstance(step, Normalize):
        _normalize(code, step, place, sources[0], target)
    elif isinstance(step, Encode):
        _encode(code, step, place, sources[0], target)
    else:
        assert isinstance(step, Combine), step
        _combine(code, step, sources, target, source_members)


def function_of(function: Activation, z: str) -> tuple[Any, ...]:
    """Return the name of the C function of an activation, and its arguments."""
    kind, values = function.type_name, {k: v for k, v in vars(function).items() if k != "trainable"}
    if kind == "gelu":
        return ("gelu" if values["approximate"] == "none" else "gelu_tanh"), z
    return kind, z, *values.values()


def _element(pointer: str) -> str:
    return f"{pointer}[i]" if "+" not in pointer else f"({pointer})[i]"


def _affine(code: Code, step: Affine, place: int, source: str, target: str, source_members: int) -> None:
    inputs, width = step.weight.shape[-2:]
    weight = code.table("float", f"weight{place}", np.swapaxes(step.weight, -1, -2))
    bias = code.table("float", f"bias{place}", step.bias)
    of_weight, of_bias = (inputs * width if step.weight.ndim == 3 else 0), (width if step.bias.ndim == 2 else 0)
    of_source = inputs if source_members > 1 else 0
    pointers = (source, of_source), (target, width), (weight, of_weight), (bias, of_bias)
    code.members(step.members, "dense", *pointers, inputs, width)


def _scale(code: Code, step: Scale, place: int, source: str, target: str, source_members: int) -> None:
    per_member = step.width if step.scale.ndim == 2 else 0
    scale = code.table("float", f"scale{place}", step.scale)
    pointers: list[Any] = [(source, step.width if source_members > 1 else 0), (target, step.width), (scale, per_member)]
    if step.bias is not None:
        pointers.append((code.table("float", f"shift{place}", step.bias), per_member))
    code.members(step.members, "scale" if step.bias is None else "scale_shift", *pointers, step.width)


def _normalize(code: Code, step: Normalize, place: int, source: str, target: str) -> None:
    parts = zip(("shift", "rest"), two_parts(step.shift, np.float32))
    shift, rest = (code.table("float", f"{which}{place}", part) for which, part in parts)
    scale = code.table("float", f"scale{place}", step.scale)
    z = code.expression("scaled", f"{source}[i]", f"{shift}[i]", f"{rest}[i]", f"{scale}[i]")
    if step.missing is not None:
        missing = code.table("float", f"missing{place}", step.missing)
        z = f"{source}[i] != {source}[i] ? {missing}[i] : {z}"
    if step.clip is not None:
        z = code.expression("clipped", z, step.clip)
    code.lines.append(f"  for (size_t i = 0; i < {step.width}; ++i) {_element(target)} = {z};")


def _encode(code: Code, step: Encode, place: int, source: str, target: str) -> None:
    for index, column in enumerate(step.columns):
        x, y = f"{source}[{index}]", _moved(target, column.first)
        if isinstance(column, Indicator):
            code.call("indicator", x, y, column.width)
        elif isinstance(column, Embedding):
            table = code.table("float", f"table{place}_{index}", column.table)
            code.call("embedding", x, table, len(column.table) - 2, y, column.width)
        else:
            _number(code, step, column, (place, index), x, y)


def _number(code: Code, step: Encode, column: Column, place: tuple[int, int], x: str, y: str) -> None:
    index, which = place[1], f"{place[0]}_{place[1]}"
    shift, rest = two_parts(step.shift[index], np.float32)
    scaled = code.expression("scaled", x, float(shift), float(rest), float(step.scale[index]))
    z = f"{x} != {x} ? {literal(step.missing[index])} : {scaled}"
    if isinstance(column, LinearLadder):
        _linear_ladder(code, column, which, z, y)
        return
    clip = column.clip if isinstance(column, Number | Wave) else None
    if clip is not None:
        z = code.expression("clipped", z, clip)
    if isinstance(column, Number):
        code.lines.append(f"  *({y}) = {z};")
    elif isinstance(column, Wave):
        frequencies = code.table("float", f"frequencies{which}", column.frequencies)
        weight, bias = (
            code.table("float", f"weight{which}", column.weight),
            code.table("float", f"bias{which}", column.bias),
        )
        code.call("wave", z, frequencies, len(column.frequencies), weight, bias, y, column.width)
    else:
        assert isinstance(column, Ladder), column
        left, slope = (
            code.table("float", f"left{which}", column.left),
            code.table("float", f"slope{which}", column.slope),
        )
        code.call("ladder", z, left, slope, len(column.left), y, column.width)


def _linear_ladder(code: Code, column: LinearLadder, which: str, z: str, y: str) -> None:
    number = z if column.clip is None else code.expression("clipped", z, column.clip)
    bins = len(column.left)
    tables = {"left": column.left, "slope": column.slope, "weight": column.weight[:bins]}
    left, slope, weight = (code.table("float", f"{name}{which}", t) if bins else "0" for name, t in tables.items())
    linear, bias = (code.table("float", f"{name}{which}", getattr(column, name)) for name in ("linear", "bias"))
    code.call("linear_ladder", z, number, left, slope, bins, linear, weight, bias, y, column.width)


def _moved(pointer: str, by: int) -> str:
    return pointer if by == 0 else f"{pointer} + {by}"


def _combine(code: Code, step: Combine, sources: Sequence[str], target: str, source_members: int) -> None:
    """Add what the members say together; for a softmax the second source is memory for a number of each."""
    sizes = source_members, step.width
    calls: dict[str, Callable[[], None]] = {
        "identity": lambda: code.call("mean", sources[0], target, *sizes),
        "sigmoid": lambda: code.call("logit_mean_sigmoid", sources[0], target, *sizes),
        "softmax": lambda: code.call("log_mean_softmax", sources[0], target, sources[1], *sizes),
    }
    calls[step.output]()
