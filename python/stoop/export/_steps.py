"""What a model computes for a row, as a list of plain steps: what exports are made from.

A step has the arrays that it needs. Layers that do nothing at inference are gone, and what is linear and follows one
another becomes one step, as far as the export wants that and it loses no digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stoop.activations import Activation, Identity
from stoop.export._encodings import Column, columns_of
from stoop.layers import (
    BatchNorm,
    Columns,
    Dropout,
    FeatureScale,
    Layer,
    LayerNorm,
    MemberDense,
    Members,
    Normalization,
    Residual,
)
from stoop.layers._dense import Product
from stoop.model import Model

Array = npt.NDArray[Any]

INPUT = -1  # the place of X
_MOST_FOLDED = 4.0  # a scaled shift up to which the digits it takes away do not matter


class Origin(NamedTuple):
    """Which layer a step comes from."""

    path: str  # what the names of its parameters begin with, "2.0"; empty for what is no layer
    kind: str

    def __str__(self) -> str:
        return f"layer {self.path} ({self.kind})" if self.path else self.kind


NOWHERE = Origin("", "")


@dataclass(frozen=True, eq=False)
class Step:
    """What makes a value, ``(members, width)`` for each row, from the one at `source`, a place in the list or INPUT."""

    source: int
    members: int
    width: int
    layer: Origin


@dataclass(frozen=True, eq=False)
class Normalize(Step):
    """``z = (x - shift) * scale`` of each column; with a clip ``z / sqrt(1 + (z / clip)**2)``."""

    shift: Array  # (width,)
    scale: Array  # (width,)
    clip: float | None
    missing: Array | None  # (width,), the z of NaN


@dataclass(frozen=True, eq=False)
class Scale(Step):
    """``x * scale + bias``. With more members than the source has, each of them reads the same row."""

    scale: Array  # (width,) or (members, width)
    bias: Array | None  # the same shape
    which: str = "scale"  # what the layer calls the scale


@dataclass(frozen=True, eq=False)
class BatchScale(Scale):
    """The Scale that a BatchNorm is."""

    statistics: tuple[Array, ...] = field(kw_only=True)  # gamma, beta, running mean and variance
    eps: float = field(kw_only=True)


@dataclass(frozen=True, eq=False)
class Affine(Step):
    """``x @ weight + bias``. With more members than the source has, each of them reads the same row."""

    weight: Array  # (source width, width) or (members, source width, width)
    bias: Array  # (width,) or (members, width)


@dataclass(frozen=True, eq=False)
class Activate(Step):
    """An element-wise function."""

    function: Activation


@dataclass(frozen=True, eq=False)
class NormalizeRow(Step):
    """``gamma * (x - mean) / sqrt(variance + eps) + beta`` of each row."""

    gamma: Array  # (width,)
    beta: Array  # (width,)
    eps: float


@dataclass(frozen=True, eq=False)
class Add(Step):
    """The sum of the values at `source` and at `other`."""

    other: int


@dataclass(frozen=True, eq=False)
class Combine(Step):
    """What the members of the source say together, by the meaning of the outputs."""

    output: str


@dataclass(frozen=True, eq=False)
class Encode(Step):
    """Each column of X encoded by itself. Numbers are ``z = (x - shift) * scale``, and `missing` where they are NaN."""

    columns: tuple[Column, ...]
    shift: Array  # (columns of X,)
    scale: Array
    missing: Array


class Folding(Enum):
    """What may become part of the weights beside it."""

    NOTHING = auto()  # each layer is steps of its own, with arrays of the model's dtype
    UNIFORM = auto()  # a BatchNorm, and scales that are the same for all columns; arrays are of float64
    COLUMNS = auto()  # scales that differ from column to column as well


def steps_of(model: Model, folding: Folding = Folding.COLUMNS) -> tuple[Step, ...]:
    """Return what the model computes; the last step makes the outputs."""
    return _Lowering(model, folding).lower()


class _Lowering:
    def __init__(self, model: Model, folding: Folding) -> None:
        self._model = model
        self._folding = folding
        self._arrays: dict[str, Array] = {**model.parameters(), **model.buffers()}
        if folding is not Folding.NOTHING:
            self._arrays = {name: array.astype(np.float64) for name, array in self._arrays.items()}
        self._steps: list[Step] = []
        self._kept = {INPUT}  # values that are read again later
        self._place, self._members, self._width = INPUT, 1, model.input_dim

    def lower(self) -> tuple[Step, ...]:
        model = self._model
        if (model.input_scale, model.input_shift) != (1.0, 0.0):
            scale, shift = (np.broadcast_to(value, self._width) for value in (model.input_scale, model.input_shift))
            self._scale(Origin("", "input_scale"), scale, shift)
        for index, layer in enumerate(model.layers):
            self._lower(layer, str(index))
        if self._members > 1:
            self._put(Combine, Origin("", "the members"), members=1, output=model.output or "identity")
        return tuple(self._steps)

    # ---- layers ----

    def _lower(self, layer: Layer, path: str) -> None:
        def array(which: str) -> Array:
            return self._arrays[f"{path}.{which}"]

        name = Origin(path, type(layer).__name__)
        bias = self._arrays.get(f"{path}.bias")
        if isinstance(layer, Residual):
            self._residual(layer, path, name)
        elif isinstance(layer, MemberDense):
            self._member_dense(layer, path, name)
        elif isinstance(layer, Product):
            self._affine(name, array("weight"), bias)
            self._activate(name, layer.activation)
        elif isinstance(layer, Activation):
            self._activate(name, layer)
        elif isinstance(layer, BatchNorm):
            self._batch_norm(name, layer.eps, *(array(w) for w in ("gamma", "beta", "running_mean", "running_var")))
        elif isinstance(layer, LayerNorm):
            self._put(NormalizeRow, name, gamma=array("gamma"), beta=array("beta"), eps=layer.eps)
        elif isinstance(layer, Members):
            self._members = layer.k
            self._scale(name, array("scale"), bias)
        elif isinstance(layer, FeatureScale):
            self._scale(name, array("scale"), None)
        elif isinstance(layer, Normalization):
            missing = array("missing") if layer.missing == "mean" else None
            shift, scale = self._statistics()
            self._put(Normalize, name, shift=shift, scale=scale, clip=layer.clip, missing=missing)
        elif isinstance(layer, Columns):
            self._encode(name, layer)
        else:
            assert isinstance(layer, Dropout), layer

    def _statistics(self) -> tuple[Array, Array]:
        shift, rest = self._arrays["0.shift"].astype(np.float64), self._arrays["0.shift_rest"].astype(np.float64)
        belongs = np.abs(rest[0]) <= np.abs(shift) * 2.0**-24  # another shift may have been written
        return shift + np.where(belongs, rest.sum(axis=0), 0.0), self._arrays["0.scale"]

    def _residual(self, layer: Residual, path: str, name: Origin) -> None:
        start, width = self._place, self._width
        is_kept = start in self._kept
        self._kept.add(start)
        for index, inner in enumerate(layer.layers):
            self._lower(inner, f"{path}.{index}")
        if self._place == start:  # nothing within does anything
            self._scale(name, np.broadcast_to(2.0, width), None)
            return
        end, self._place = self._place, start
        if self._width != width:
            self._affine(Origin(f"{path}.projection", name.kind), self._arrays[f"{path}.projection.weight"], None)
        other, self._place = self._place, end
        self._put(Add, name, other=other)
        if not is_kept:
            self._kept.discard(start)

    def _member_dense(self, layer: MemberDense, path: str, name: Origin) -> None:
        members = layer.members or self._members
        bias = self._arrays.get(f"{path}.bias")
        if layer.shared:
            self._members = members
            self._scale(name, self._arrays[f"{path}.input_scale"], None, "input_scale")
            self._affine(name, self._arrays[f"{path}.weight"], None)
            self._scale(name, self._arrays[f"{path}.output_scale"], bias, "output_scale")
        else:
            self._affine(name, self._arrays[f"{path}.weight"], bias, members)
        self._activate(name, layer.activation)

    def _batch_norm(self, name: Origin, eps: float, *statistics: Array) -> None:
        gamma, beta, mean, var = (array.astype(np.float64) for array in statistics)
        scale = gamma / np.sqrt(var + eps)
        bias = beta - mean * scale
        last = self._last()
        if isinstance(last, Affine) and self._folding is not Folding.NOTHING:  # Jacob et al. 2018, section 3.2
            self._steps[-1] = replace(last, weight=last.weight * scale, bias=last.bias * scale + bias)
        else:
            self._put(BatchScale, name, scale=scale, bias=bias, statistics=statistics, eps=eps)

    # ---- steps ----

    def _last(self) -> Step | None:
        """Return the step of the newest value, if nothing else will read that."""
        newest = self._place == len(self._steps) - 1 and self._place not in self._kept
        return self._steps[-1] if newest else None

    def _put(self, kind: type[Step], name: Origin, members: int | None = None, **more: Any) -> None:
        self._members = self._members if members is None else members
        self._steps.append(kind(self._place, self._members, self._width, name, **more))
        self._place = len(self._steps) - 1

    def _scale(self, name: Origin, scale: Array, bias: Array | None, which: str = "scale") -> None:
        self._put(Scale, name, scale=scale, bias=bias, which=which)

    def _activate(self, name: Origin, activation: str | Activation | None) -> None:
        function = as_activation(activation)
        if not isinstance(function, Identity):
            self._put(Activate, name, function=function)

    def _affine(self, name: Origin, weight: Array, bias: Array | None, members: int | None = None) -> None:
        width = weight.shape[-1]
        if bias is None:
            bias = np.zeros((*weight.shape[:-2], width), weight.dtype)
        last = self._last()
        before = self._foldable(last)
        if before is not None and last is not None:
            scale, shift = before
            weight, bias = weight * scale[:, None], bias + shift @ weight
            self._steps.pop()
            self._place = last.source
        self._width = width
        self._put(Affine, name, members, weight=weight, bias=bias)

    def _foldable(self, step: Step | None) -> tuple[Array, Array] | None:
        """Return the scale and the bias of a step that may become part of the weight after it."""
        if self._folding is Folding.NOTHING:
            return None
        if isinstance(step, Normalize) and step.clip is None and step.missing is None:
            scale, bias = step.scale, -step.shift * step.scale
        elif isinstance(step, Scale) and step.scale.ndim == 1:
            scale, bias = step.scale, np.zeros(step.width) if step.bias is None else step.bias
            if step.source != INPUT and step.bias is not None:
                return None
        else:
            return None
        same = bool((scale == scale[0]).all() and (bias == bias[0]).all())
        is_small = bool((np.abs(bias) <= _MOST_FOLDED).all())
        return (scale, bias) if is_small and (same or self._folding is Folding.COLUMNS) else None

    # ---- columns ----

    def _encode(self, name: Origin, layer: Columns) -> None:
        columns = columns_of(layer, self._width, self._arrays)
        zeros = np.zeros(self._width)
        shift, scale = self._statistics() if "0.shift" in self._arrays else (zeros, zeros)
        missing = self._arrays.get("0.missing", zeros)
        self._width = columns[-1].first + columns[-1].width
        self._put(Encode, name, columns=columns, shift=shift, scale=scale, missing=missing)


def as_activation(activation: str | Activation | None) -> Activation:
    """Return the layer that a name, or None, means."""
    from stoop._config import class_named

    if activation is None:
        return Identity()
    return class_named(Activation, activation)() if isinstance(activation, str) else activation


def two_parts(shift: Array, dtype: npt.DTypeLike) -> tuple[Array, Array]:
    """Return a shift of float64 in this dtype, and what that leaves of it."""
    first = shift.astype(dtype)
    return first, (shift - first).astype(dtype)


def arrays_of(step: Step) -> Sequence[Array]:
    """Return all arrays of a step."""
    parts = [step, *(step.columns if isinstance(step, Encode) else ())]
    return [value for part in parts for value in vars(part).values() if isinstance(value, np.ndarray)]
