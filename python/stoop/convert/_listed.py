"""`from_torch` and `from_keras`: weights in the order of the layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from stoop._errors import message
from stoop.convert._slots import Given, Slot, as_array, refuse, tables_of
from stoop.convert._sources import KerasArrays, TorchModules
from stoop.layers import (
    BatchNorm,
    Columns,
    Dense,
    FeatureScale,
    Layer,
    LayerNorm,
    MemberDense,
    Members,
    Residual,
    check_layers,
    output_width,
)
from stoop.model import Model


def from_torch(state_dict: Mapping[str, Any], layers: Iterable[Layer]) -> Model:
    """Return a model with the weights of a PyTorch module.

    Modules are taken in the order of the state dict, one for each layer that has parameters: `torch.nn.Linear` for a
    `Dense`, whose weight is transposed, `BatchNorm1d` and `LayerNorm`, with or without weight and bias, and
    `torch.nn.Embedding` for each table of a `Columns`, with a row for each known code, and perhaps two more for missing
    and unknown codes. Those of the layers within a `Residual` come first, then its projection, a Linear without bias.
    `eps` is an argument of the layers: no state dict has it.

    Parameters
    ----------
    state_dict : mapping of str to tensor or array_like
        Of ``module.state_dict()``, or read from a file of safetensors, which sorts the names: modules of a Sequential
        are put into the order of their numbers, and so are names that end in one, such as fc1, fc2, fc10, if all names
        are sorted; others have to sort as they compute. It is not changed.
    layers : iterable of layer specs
        What the module computes. A Dense with ``use_bias=None`` has a bias if its Linear has one.

    Returns
    -------
    Model
        float64 if a weight is, else float32. A `Normalization`, and a `Columns` with numbers, has no statistics yet:
        call `Model.adapt`.

    Raises
    ------
    ValueError, TypeError
        For a shape or a number of modules that does not fit the layers; the message names the key.
    """
    where = "convert.from_torch"
    given: object = state_dict
    if not isinstance(given, Mapping):
        hint = "give module.state_dict()"
        raise TypeError(message(where, f"state_dict is {state_dict!r:.80}", "expected a mapping", hint))
    modules: dict[str, dict[str, Given]] = {}
    for key, value in state_dict.items():
        prefix, _, name = str(key).rpartition(".")
        if name != "num_batches_tracked":
            modules.setdefault(prefix, {})[name] = Given(str(key), as_array(where, str(key), value))
    return _Conversion(where, layers).model(TorchModules(where, modules))


def from_keras(weights: Sequence[Any], layers: Iterable[Layer]) -> Model:
    """Return a model with the weights of a Keras model.

    Arrays are taken in order: kernel and bias for a `Dense`; gamma, beta, moving mean and moving variance for a
    `BatchNorm` (without ``scale`` and ``center`` the last two alone); gamma and beta for a `LayerNorm`; a table for
    each `keras.layers.Embedding`. Those of the layers within a `Residual` come first, then its projection. `eps` is an
    argument of the layers, and 1e-3 in Keras.

    Parameters
    ----------
    weights : sequence of array_like
        ``model.weights``, whose names tell what each is, or ``model.get_weights()``. Arrays without names do not tell
        a bias from scale and center of a norm: where their number leaves it open, they are refused. Four vectors
        between a Dense and the next are no bias and a whole `BatchNorm` only with ``Dense(use_bias=False)``.
    layers : iterable of layer specs
        What the model computes. A Dense with ``use_bias=None`` has a bias if the arrays tell that there is one.

    Returns
    -------
    Model
        As of `from_torch`.

    Raises
    ------
    ValueError, TypeError
        For a shape or a number of arrays that does not fit the layers; the message names the array.
    """
    where = "convert.from_keras"
    if isinstance(weights, Mapping) or not isinstance(weights, Sequence):
        hint = "give model.get_weights()"
        raise TypeError(message(where, f"weights is {weights!r:.80}", "expected a list of arrays", hint))
    names = [str(getattr(each, "path", getattr(each, "name", f"weights[{i}]"))) for i, each in enumerate(weights)]
    given = [Given(name, as_array(where, name, each)) for name, each in zip(names, weights)]
    return _Conversion(where, layers).model(KerasArrays(where, given))


class _Conversion:
    """Layers that get weights: the slots in order, and the model that they make."""

    def __init__(self, where: str, layers: Iterable[Layer]) -> None:
        self.where = where
        self.layers = check_layers(where, layers)

    def model(self, source: TorchModules | KerasArrays) -> Model:
        slots, _ = self._slots(self.layers, "", None if isinstance(self.layers[0], Columns) else source.first_width())
        given = source.fill(slots)
        if not given:
            refuse(self.where, "no layer has parameters", "expected at least one", "give the layers of the network")
        layers = self._with_biases(self.layers, "", given)
        dtype = np.result_type(np.float32, *(each.array.dtype for each in given.values()))
        model = Model(layers, self._input_dim(slots, given), dtype="float64" if dtype == np.float64 else "float32")
        own = {**model.parameters(), **model.buffers()}
        for name, each in given.items():
            if name not in own or own[name].shape != each.array.shape:
                expected = f"expected {own[name].shape}" if name in own else "expected no such parameter"
                text = f"{each.name}, for {name}, has shape {each.array.shape}"
                refuse(self.where, text, expected, "compare the layers, in their order")
            if name.endswith("running_var") and (each.array < 0).any():
                refuse(self.where, f"{each.name} has a negative variance", "expected at least 0", "compare the arrays")
        state: dict[str, Any] = {**own, **{name: each.array for name, each in given.items()}}
        model.load_state_dict(state)
        return model

    def _slots(self, layers: Sequence[Layer], prefix: str, width: int | None) -> tuple[list[Slot], int | None]:
        slots: list[Slot] = []
        for index, layer in enumerate(layers):
            path = f"{prefix}{index}."
            if isinstance(layer, Members | MemberDense) or (
                isinstance(layer, Columns) and layer.encoding in ("periodic", "ple_linear")
            ):
                given = f"layer {path.rstrip('.')} is {type(layer).__name__}"
                refuse(self.where, given, "expected layers that others have too", "load its state with load_state_dict")
            if isinstance(layer, Residual):
                inner, after = self._slots(layer.layers, path, width)
                slots += inner
                if after != width and not (width is None and after is None):
                    slots.append(Slot(f"{path}projection.", None, width))
                width = after
                continue
            if isinstance(layer, Dense | BatchNorm | LayerNorm | FeatureScale) or tables_of(layer):
                slots.append(Slot(path, layer, width))
            width = layer.units if isinstance(layer, Dense) else None if isinstance(layer, Columns) else width
        return slots, width

    def _with_biases(self, layers: Sequence[Layer], prefix: str, given: Mapping[str, Given]) -> list[Layer]:
        out: list[Layer] = []
        for index, layer in enumerate(layers):
            path = f"{prefix}{index}."
            if isinstance(layer, Residual):
                layer = replace(layer, layers=tuple(self._with_biases(layer.layers, path, given)))
            elif isinstance(layer, Dense):
                layer = replace(layer, use_bias=f"{path}bias" in given)
            out.append(layer)
        return out

    def _input_dim(self, slots: Sequence[Slot], given: Mapping[str, Given]) -> int:
        """Return the columns of X, which the first weights of known width tell."""
        others = [slot for slot in slots if slot.layer is None or not tables_of(slot.layer)]
        of_each = ([n for n in given if n.startswith(slot.path)] for slot in others)
        names = next((names for names in of_each if names), [])  # a LayerNorm may have none
        kernel = next((n for n in names if n.endswith(".weight")), names[0] if names else "")
        width = len(given[kernel].array) if kernel else 0
        columns = self.layers[0]
        if not isinstance(columns, Columns):
            return width
        least = max(dict(columns.categories or ()), default=-1) + 1
        for count in range(max(least, 1), width + least + 1):
            fits = isinstance(columns.bins, int) or len(columns.bins) == count - len(dict(columns.categories or ()))
            if fits and output_width(columns, count) == width:
                return count
        return refuse(self.where, f"the first Dense has {width} rows", "expected those of the Columns", "compare them")
