"""The table that `Model.summary` returns."""

from collections import Counter
from collections.abc import Mapping, Sequence

from stoop.activations import Activation
from stoop.layers import Dense, Layer, MemberDense, Residual, matrix_products, output_members, output_width

_COMMON = {"trainable": True, "lr_scale": 1.0, "decay_scale": 1.0}  # options that are shown where they are not as usual
_HEADINGS = ("layer", "output shape", "parameters", "FLOPs per sample")


def summarize(title: str, layers: Sequence[Layer], input_dim: int, sizes: Mapping[str, int]) -> str:
    """Return the title, one row per layer and the totals; `sizes` are those of the parameters by name."""
    rows = [_HEADINGS]
    width, members, flops_total = input_dim, 1, 0
    counts: Counter[str] = Counter()
    for name, size in sizes.items():
        counts[name.partition(".")[0]] += size
    for index, layer in enumerate(layers):
        flops = sum(2 * rows * cols for rows, cols in matrix_products(layer, width, members))
        width, members = output_width(layer, width), output_members(layer, members)
        shape = f"(n, {width})" if members == 1 else f"(n, {members}, {width})"
        rows.append((f"{index} {_label(layer)}", shape, f"{counts[str(index)]:,}", f"{flops:,}"))
        flops_total += flops
    rows.append(("total", "", f"{counts.total():,}", f"{flops_total:,}"))
    return "\n".join(
        [
            title,
            *_aligned(rows),
            "FLOPs: matrix products of one forward pass; a multiply-add counts as two.",
        ]
    )


def _label(layer: Layer) -> str:
    if isinstance(layer, Residual):
        parts = [_label(inner) for inner in layer.layers]
    elif isinstance(layer, Dense | MemberDense):
        activation = _label(layer.activation) if isinstance(layer.activation, Activation) else layer.activation
        parts = [str(layer.units)] + ([] if activation is None else [activation])
    else:
        parts = [f"{name}={value}" for name, value in vars(layer).items() if name not in _COMMON]
    given = {name: getattr(layer, name, usual) for name, usual in _COMMON.items()}
    parts += [f"{name}={value}" for name, value in given.items() if value != _COMMON[name]]
    return f"{type(layer).__name__}({', '.join(parts)})"


def _aligned(rows: list[tuple[str, str, str, str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = [
        "  ".join((f"{a:<{widths[0]}}", f"{b:<{widths[1]}}", f"{c:>{widths[2]}}", f"{d:>{widths[3]}}"))
        for a, b, c, d in rows
    ]
    rule = "-" * len(lines[0])
    return [lines[0], rule, *lines[1:-1], rule, lines[-1]]
