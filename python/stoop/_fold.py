"""Batch normalisation with fixed statistics is a linear map: it becomes part of the Dense before it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._checks import FloatArray
from stoop._errors import message
from stoop.activations import Identity
from stoop.layers import BatchNorm, Columns, Dense, Layer, Normalization, Residual

Arrays = dict[str, npt.NDArray[Any]]


def folded(
    layers: Sequence[Layer], parameters: Mapping[str, FloatArray], buffers: Mapping[str, FloatArray], prefix: str = ""
) -> tuple[list[Layer], Arrays]:
    """Return layers and parameters without BatchNorm; `prefix` is what a message puts before the names given.

    Raises
    ------
    ValueError
        For a BatchNorm that does not directly follow a Dense without activation; an Identity between them is none.
    """
    out: list[Layer] = []
    values: Arrays = {}
    owned, statistics = _by_layer(parameters), _by_layer(buffers)
    for index, layer in enumerate(layers):
        own, running, new = owned.get(str(index), {}), statistics.get(str(index), {}), f"{len(out)}."
        if isinstance(layer, BatchNorm):
            dense, position = _foldable(f"{prefix}{index}", out)
            out[position] = replace(dense, use_bias=True)
            _fold(values, f"{position}.", own | running, layer.eps)
            continue
        if isinstance(layer, Residual):
            inner, arrays = folded(layer.layers, own, running, f"{prefix}{index}.")
            own = arrays | {name: array for name, array in own.items() if name.startswith("projection.")}
            layer = replace(layer, layers=tuple(inner))
        if isinstance(layer, Columns | Normalization):
            own = own | running
        out.append(layer)
        values |= {new + name: array for name, array in own.items()}
    return out, values


def _by_layer(arrays: Mapping[str, FloatArray]) -> dict[str, Arrays]:
    """Return the arrays of each layer by what follows its index in their names."""
    layers: dict[str, Arrays] = {}
    for name, array in arrays.items():
        index, _, rest = name.partition(".")
        layers.setdefault(index, {})[rest] = array
    return layers


def _foldable(name: str, before: Sequence[Layer]) -> tuple[Dense, int]:
    position = len(before) - 1
    while position >= 0 and isinstance(before[position], Identity):
        position -= 1
    last = before[position] if position >= 0 else None
    if isinstance(last, Dense) and (last.activation in (None, "identity") or isinstance(last.activation, Identity)):
        return last, position
    given = f"the BatchNorm of layer {name} follows {'nothing' if last is None else last}"
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
