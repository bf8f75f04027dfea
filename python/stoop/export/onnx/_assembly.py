"""A `stoop.Model` of the values that a graph makes one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from stoop import _core
from stoop.activations import Activation
from stoop.export.onnx._terms import Array, UnknownError, Value
from stoop.layers import BatchNorm, Dense, FeatureScale, Layer, LayerNorm, Normalization, Residual
from stoop.model import Model

_MOST_SHIFT = 4.0  # a number that is added to the scaled X, up to which the digits that it takes away do not matter
_EPS = 1e-5  # of a BatchNorm that stands for x * scale + shift


@dataclass
class _Part:
    """A layer with its arrays, or a pseudo layer as of `Value`."""

    layer: Any
    arrays: dict[str, Array]
    inner: list[_Part] = field(default_factory=list)


def assembled(outputs: Value, most_bytes: int) -> Model:
    """Return a model that computes a value from X; its arrays have at most `most_bytes` in all.

    Raises
    ------
    UnknownError
        If layers of Stoop do not compute it.
    """
    parts = _parts(outputs, None, 0)
    width = _first_width(parts)
    if width is None:
        raise UnknownError("no weights")
    scalars, parts = _scalars(parts)
    layers, state, _ = _Builder(most_bytes).build(parts, "", width)
    if not layers:
        raise UnknownError("no layers")
    kinds = [array.dtype for name, array in state.items() if name.endswith("weight")]
    dtype = "float64" if kinds and np.result_type(*kinds) == np.float64 else "float32"
    scale, shift = scalars
    model = Model(layers, width, dtype=dtype, input_scale=scale, input_shift=shift)
    own = {**model.parameters(), **model.buffers()}
    model.load_state_dict({**own, **state})
    return model


def _parts(end: Value, start: Value | None, depth: int) -> list[_Part]:
    """Return what makes `end` of `start`, or of X, in order."""
    if depth > _core.MOST_NESTED_RESIDUALS:
        raise UnknownError("residual connections within one another, deeper than Stoop takes them")
    out: list[_Part] = []
    value: Value | None = end
    while value is not None and value is not start:
        if value.layer == "residual" and value.branch is not None:
            arrays = {} if value.skip is None else {"projection.weight": value.skip}
            out.append(_Part("residual", arrays, _parts(value.branch, value.parent, depth + 1)))
        elif value.layer is not None:
            out.append(_Part(value.layer, dict(value.arrays)))
        value = value.parent
    return out[::-1]


def _first_width(parts: Sequence[_Part]) -> int | None:
    for part in parts:
        if isinstance(part.layer, Dense):
            return len(part.arrays["weight"])
        if part.layer == "residual":
            width = _first_width(part.inner)
        else:
            width = next((array.size for array in part.arrays.values() if array.size > 1), None)
        if width is not None:
            return width
    return None


def _scalars(parts: list[_Part]) -> tuple[tuple[float, float], list[_Part]]:
    """Return the numbers that X is multiplied with and that are added, and the parts after that."""
    is_plain = parts[0].layer == "affine" and all(array.size == 1 for array in parts[0].arrays.values())
    if not is_plain or (len(parts) > 1 and parts[1].layer in ("missing", "clip")):
        return (1.0, 0.0), parts
    scale, shift = (float(parts[0].arrays[name].reshape(())) for name in ("scale", "shift"))
    if scale == 0.0 or abs(shift) > _MOST_SHIFT:  # a Normalization subtracts first
        return (1.0, 0.0), parts
    return (scale, shift), parts[1:]


class _Builder:
    def __init__(self, most_bytes: int) -> None:
        self._left = most_bytes

    def build(self, parts: Sequence[_Part], prefix: str, width: int) -> tuple[list[Layer], dict[str, Array], int]:
        """Return layers, their arrays by name, and the columns of what they make."""
        done: list[_Part] = []
        for part in parts:
            width = self._add(done, part, prefix, width)
        state = {f"{prefix}{i}.{name}": array for i, part in enumerate(done) for name, array in part.arrays.items()}
        return [part.layer for part in done], state, width

    def _add(self, done: list[_Part], part: _Part, prefix: str, width: int) -> int:
        layer, last = part.layer, done[-1] if done else None
        is_first = not done and prefix == ""
        if layer == "affine":
            self._affine(done, part, width, is_first)
        elif layer in ("missing", "clip"):
            first = last if len(done) == 1 else None
            if first is None or not isinstance(first.layer, Normalization) or first.layer.clip is not None:
                raise UnknownError("a clip or a number for NaN that is not at the beginning")
            if layer == "missing":
                first.layer = replace(first.layer, missing="mean")
                first.arrays["missing"] = _whole(part.arrays["missing"], width)
            else:
                first.layer = replace(first.layer, clip=float(part.arrays["clip"]))
        elif layer == "residual":
            return self._residual(done, part, f"{prefix}{len(done)}.", width)
        elif isinstance(layer, Activation) and last is not None and _is_linear(last.layer):
            last.layer = replace(last.layer, activation=layer)
        else:
            self._spend(part.arrays)
            if isinstance(layer, BatchNorm | LayerNorm):
                part.arrays = {name: _whole(array, width) for name, array in part.arrays.items()}
            elif isinstance(layer, Dense) and len(part.arrays["weight"]) != width:
                raise UnknownError(f"a weight of {len(part.arrays['weight'])} rows after {width} columns")
            done.append(_Part(layer, part.arrays))
            return layer.units if isinstance(layer, Dense) else width
        return width

    def _affine(self, done: list[_Part], part: _Part, width: int, is_first: bool) -> None:
        scale, shift = (_whole(part.arrays[name], width) for name in ("scale", "shift"))
        last = done[-1] if done else None
        if last is not None and _is_linear(last.layer):
            weight = last.arrays["weight"]
            bias = last.arrays.get("bias", np.zeros(width)) * scale + shift
            last.arrays = {"weight": weight if (scale == 1.0).all() else (weight * scale).astype(weight.dtype)}
            last.layer = replace(last.layer, use_bias=bool(bias.any()))
            if bias.any():
                last.arrays["bias"] = bias
        elif is_first and scale.all():
            done.append(_Part(Normalization(), {"shift": -shift / scale, "scale": scale}))
        elif shift.any():
            arrays = {"gamma": scale, "beta": shift}
            arrays |= {"running_mean": np.zeros(width), "running_var": np.full(width, 1.0 - _EPS)}
            done.append(_Part(BatchNorm(eps=_EPS), arrays))
        else:
            done.append(_Part(FeatureScale(), {"scale": scale}))
        self._spend(done[-1].arrays)

    def _residual(self, done: list[_Part], part: _Part, prefix: str, width: int) -> int:
        layers, state, after = self.build(part.inner, prefix, width)
        if not layers or (after != width) != bool(part.arrays):
            raise UnknownError(f"a sum of {width} and {after} columns")
        self._spend(part.arrays)
        inner = {name.removeprefix(prefix): array for name, array in state.items()}
        done.append(_Part(Residual(layers), {**inner, **part.arrays}))
        return after

    def _spend(self, arrays: dict[str, Array]) -> None:
        self._left -= sum(8 * array.size for array in arrays.values())
        if self._left < 0:
            raise UnknownError("more parameters than the file has numbers: some are used more than once")


def _is_linear(layer: Any) -> bool:
    return isinstance(layer, Dense) and layer.activation is None


def _whole(array: Array, width: int) -> Array:
    """Return a number for each column."""
    if array.size not in (1, width):
        raise UnknownError(f"{array.size} numbers for {width} columns")
    return np.broadcast_to(array.reshape(-1), (width,)).astype(np.float64)
