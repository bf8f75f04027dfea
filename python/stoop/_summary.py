"""The table that `Model.summary` returns."""

from collections import Counter
from dataclasses import fields
from typing import TYPE_CHECKING

from stoop.activations import Activation
from stoop.layers import Dense, Layer, Residual, matrix_products, output_width

if TYPE_CHECKING:
    from stoop.model import Model

_HEADINGS = ("layer", "output shape", "parameters", "FLOPs per sample")


def summarize(model: "Model") -> str:
    """Return one row per layer and the totals; a multiply-add counts as two FLOPs."""
    rows = [_HEADINGS]
    width, flops_total = model.input_dim, 0
    counts: Counter[str] = Counter()
    for name, array in model.parameters().items():
        counts[name.partition(".")[0]] += array.size
    for index, layer in enumerate(model.layers):
        flops = sum(2 * rows * cols for rows, cols in matrix_products(layer, width))
        width = output_width(layer, width)
        rows.append((f"{index} {_label(layer)}", f"(n, {width})", f"{counts[str(index)]:,}", f"{flops:,}"))
        flops_total += flops
    rows.append(("total", "", f"{model.num_parameters:,}", f"{flops_total:,}"))
    return "\n".join(
        [
            f"Model with input (n, {model.input_dim}){_scaling(model)}, {model.dtype}",
            *_aligned(rows),
            "FLOPs: matrix products of one forward pass; a multiply-add counts as two.",
        ]
    )


def _scaling(model: "Model") -> str:
    scale = "" if model.input_scale == 1.0 else f" * {model.input_scale:g}"
    return scale if model.input_shift == 0.0 else f"{scale} + {model.input_shift:g}"


def _label(layer: Layer) -> str:
    if isinstance(layer, Residual):
        parts = [_label(inner) for inner in layer.layers]
    elif isinstance(layer, Dense):
        activation = _label(layer.activation) if isinstance(layer.activation, Activation) else layer.activation
        parts = [str(layer.units)] + ([] if activation is None else [activation])
    else:
        parts = [f"{f.name}={getattr(layer, f.name)}" for f in fields(layer) if f.name != "trainable"]
    if not layer.trainable:
        parts.append("trainable=False")
    return f"{type(layer).__name__}({', '.join(parts)})"


def _aligned(rows: list[tuple[str, str, str, str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = [
        "  ".join((f"{a:<{widths[0]}}", f"{b:<{widths[1]}}", f"{c:>{widths[2]}}", f"{d:>{widths[3]}}"))
        for a, b, c, d in rows
    ]
    rule = "-" * len(lines[0])
    return [lines[0], rule, *lines[1:-1], rule, lines[-1]]
