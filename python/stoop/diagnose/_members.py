"""The members of a model as plain models, by which its layers are looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop.layers import BatchNorm, Dense, Layer, MemberDense, Members, Residual, output_members
from stoop.model import Model

Array = npt.NDArray[Any]


def plain_models(model: Model) -> list[Model]:
    """Return a model without members for each member, whose outputs in inference mode are those of that member.

    Layers have the same places. A `Members` becomes a scale and a shift of the columns, a `MemberDense` the Dense of
    the member, with the scales of a shared one within its weight.
    """
    members = model._core.members
    if members == 1 and not any(isinstance(layer, Members | MemberDense) for layer in model.layers):
        return [model]
    state = {**model.parameters(), **model.buffers()}
    found = []
    for member in range(members):
        values: dict[str, Array] = {}
        layers = [_plain(layer, f"{place}.", member, state, values) for place, layer in enumerate(model.layers)]
        one = Model(
            layers, model.input_dim, dtype=model.dtype, input_scale=model.input_scale, input_shift=model.input_shift
        )
        one._assign(values)
        found.append(one)
    return found


def first_with_members(model: Model) -> int:
    """Return the place of the layer that makes the members; the number of layers where none does."""
    places = (place for place, layer in enumerate(model.layers) if output_members(layer, 0) > 0)
    return next(places, len(model.layers))


def own_weights(model: Model) -> Iterator[str]:
    """Yield the names of layers with a weight for each member."""
    for name, array in model.parameters().items():
        if name.endswith(".weight") and array.ndim == 3:
            yield name.removesuffix(".weight")


def _plain(layer: Layer, name: str, member: int, state: Mapping[str, Array], values: dict[str, Array]) -> Layer:
    """Return the layer for one member, and put its parameters and buffers into `values`."""
    own = {key.removeprefix(name): array for key, array in state.items() if key.startswith(name)}
    if isinstance(layer, Residual):
        inside = [_plain(part, f"{name}{place}.", member, state, values) for place, part in enumerate(layer.layers)]
        return Residual(inside)
    if isinstance(layer, Members):
        scale = own["scale"][member]
        norm = BatchNorm()
        shift = own["bias"][member] if "bias" in own else np.zeros_like(scale)
        own = {
            "gamma": scale * np.sqrt(1.0 + norm.eps).astype(scale.dtype),
            "beta": shift,
            "running_mean": np.zeros_like(scale),
            "running_var": np.ones_like(scale),
        }
        layer = norm
    elif isinstance(layer, MemberDense):
        weight = own["weight"] if layer.shared else own["weight"][member]
        if layer.shared:
            weight = own["input_scale"][member][:, np.newaxis] * weight * own["output_scale"][member]
        bias = {"bias": own["bias"][member]} if "bias" in own else {}
        own = {"weight": weight, **bias}
        layer = Dense(layer.units, layer.activation, use_bias=bool(bias), kernel_init="zeros")
    elif isinstance(layer, Dense):  # whether it has a bias may be told by what follows, which is another layer now
        layer = Dense(layer.units, layer.activation, use_bias="bias" in own, kernel_init="zeros")
    values.update({f"{name}{key}": array for key, array in own.items()})
    return layer
