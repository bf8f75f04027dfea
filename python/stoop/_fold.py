"""Batch normalisation with fixed statistics is a linear map: it becomes part of the Dense before it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from stoop._checks import FloatArray
from stoop._errors import message
from stoop.activations import Identity
from stoop.layers import BatchNorm, Columns, Dense, Layer, Normalization, Residual

Arrays = dict[str, npt.NDArray[Any]]


def folded(
    layers: Sequence[Layer],
    parameters: Mapping[str, FloatArray],
    buffers: Mapping[str, FloatArray],
    prefix: str = "",
    *,
    keeps_others: bool = False,
) -> tuple[list[Layer], Arrays]:
    """Return layers and parameters without BatchNorm; `prefix` is what a message puts before the names given.

    With `keeps_others` a BatchNorm that is no part of a Dense stays, and the arrays have its running statistics too.

    Raises
    ------
    ValueError
        For a BatchNorm that does not directly follow a Dense without activation; an Identity between them is none.
    """
    out: list[Layer] = []
    values: Arrays = {}
    owned, statistics = arrays_by_layer(parameters), arrays_by_layer(buffers)
    for index, layer in enumerate(layers):
        own, running, new = owned.get(str(index), {}), statistics.get(str(index), {}), f"{len(out)}."
        position = _dense_before(out) if isinstance(layer, BatchNorm) else None
        if isinstance(layer, BatchNorm) and position is not None:
            out[position] = replace(out[position], use_bias=True)  # type: ignore[type-var]
            _fold(values, f"{position}.", own | running, layer.eps)
            continue
        if isinstance(layer, BatchNorm) and not keeps_others:
            _refuse(f"{prefix}{index}", out)
        if isinstance(layer, Residual):
            inner, arrays = folded(layer.layers, own, running, f"{prefix}{index}.", keeps_others=keeps_others)
            own = arrays | {name: array for name, array in own.items() if name.startswith("projection.")}
            layer = replace(layer, layers=tuple(inner))
        if isinstance(layer, BatchNorm | Columns | Normalization):
            own = own | running
        out.append(layer)
        values |= {new + name: array for name, array in own.items()}
    return out, values


def arrays_by_layer(arrays: Mapping[str, FloatArray]) -> dict[str, Arrays]:
    """Return the arrays of each layer by what follows its index in their names."""
    layers: dict[str, Arrays] = {}
    for name, array in arrays.items():
        index, _, rest = name.partition(".")
        layers.setdefault(index, {})[rest] = array
    return layers


def _dense_before(before: Sequence[Layer]) -> int | None:
    """Return the place of the Dense without activation that a BatchNorm after these layers follows, if there is one."""
    position = len(before) - 1
    while position >= 0 and isinstance(before[position], Identity):
        position -= 1
    last = before[position] if position >= 0 else None
    is_plain = isinstance(last, Dense) and (
        last.activation in (None, "identity") or isinstance(last.activation, Identity)
    )
    return position if is_plain else None


def _refuse(name: str, before: Sequence[Layer]) -> NoReturn:
    last = next((layer for layer in reversed(before) if not isinstance(layer, Identity)), "nothing")
    given = f"the BatchNorm of layer {name} follows {last}"
    expected = "expected a Dense without activation directly before it"
    hint = "only then is it part of a weight: put it there, or keep this model as it is"
    raise ValueError(message("fold_batch_norm", given, expected, hint))


def _fold(values: Arrays, dense: str, norm: Arrays, eps: float) -> None:
    weight = values[dense + "weight"]
    mean, var, gamma, beta = (
        norm[name].astype(np.float64) for name in ("running_mean", "running_var", "gamma", "beta")
    )
    scale = gamma / np.sqrt(var + eps)
    bias = values.get(dense + "bias", np.zeros_like(mean))
    values[dense + "weight"] = (weight * scale).astype(weight.dtype)
    values[dense + "bias"] = ((bias - mean) * scale + beta).astype(weight.dtype)
