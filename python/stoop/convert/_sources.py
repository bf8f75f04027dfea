"""Weights as PyTorch and Keras list them, taken slot by slot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stoop.convert._slots import Given, Slot, joined, refuse, tables_of
from stoop.layers import BatchNorm, Dense, FeatureScale, LayerNorm

_NORM = ("gamma", "beta", "running_mean", "running_var")
_TORCH = {"weight": "gamma", "bias": "beta", "running_mean": "running_mean", "running_var": "running_var"}


class TorchModules:
    """The modules of a state dict, in order."""

    def __init__(self, where: str, modules: list[tuple[str, dict[str, Given]]]) -> None:
        self._where, self._modules = where, modules

    def first_width(self) -> int | None:
        """Return the columns of the input of the first module."""
        shapes = [each.array.shape for _, arrays in self._modules[:1] for each in list(arrays.values())[:1]]
        return int(shapes[0][-1]) if shapes and shapes[0] else None

    def fill(self, slots: Sequence[Slot]) -> dict[str, Given]:
        """Return the array of each parameter."""
        left: Iterator[tuple[str, dict[str, Given]]] = iter(self._modules)
        found: dict[str, Given] = {}
        for slot in slots:
            if codes := tables_of(slot.layer):
                tables = [self._of("weight", slot, *self._next(left, slot)) for _ in codes]
                found[f"{slot.path}embedding"] = joined(self._where, slot, codes, tables)
                continue
            prefix, arrays = self._next(left, slot)
            found |= {slot.path + name: each for name, each in self._arrays(slot, prefix, arrays).items()}
        more = [prefix for prefix, _ in left]
        if more:
            given = f"no layer is left for {', '.join(more[:5])}"
            refuse(self._where, given, "expected one for each module that has weights", "add the layers")
        return found

    def _next(self, left: Iterator[tuple[str, Any]], slot: Slot) -> tuple[str, dict[str, Given]]:
        found = next(left, None)
        if found is None:
            refuse(self._where, f"no weights are left for the {slot.name}", "expected some", "leave out the layer")
        return found

    def _of(self, name: str, slot: Slot, prefix: str, arrays: Mapping[str, Given]) -> Given:
        if set(arrays) != {name}:
            given = f"{prefix or 'the module'} has {', '.join(arrays)} where the {slot.name} comes"
            refuse(self._where, given, f"expected {name}", "compare the layers, in their order")
        return arrays[name]

    def _arrays(self, slot: Slot, prefix: str, arrays: Mapping[str, Given]) -> dict[str, Given]:
        layer = slot.layer
        if isinstance(layer, FeatureScale):
            return {"scale": self._of(next(iter(arrays)), slot, prefix, arrays)}
        if isinstance(layer, BatchNorm | LayerNorm):
            known = _TORCH if isinstance(layer, BatchNorm) else dict(list(_TORCH.items())[:2])
            needed = {name for name in known if name.startswith("running")}
        else:
            known = {"weight": "weight"} if layer is None else {"weight": "weight", "bias": "bias"}
            needed = {"weight"}
            if isinstance(layer, Dense) and layer.use_bias is not None:
                needed, known = (set(known), known) if layer.use_bias else (needed, {"weight": "weight"})
        if not needed <= set(arrays) <= set(known):
            given = f"{prefix or 'the module'} has {', '.join(arrays)} where the {slot.name} comes"
            refuse(self._where, given, f"expected {', '.join(known)}", "compare the layers, in their order")
        out = {known[name]: each for name, each in arrays.items()}
        if "weight" in out:
            weight = out["weight"]
            if weight.array.ndim != 2:
                given = f"{weight.name} has shape {weight.array.shape}"
                refuse(self._where, given, "expected (out_features, in_features)", "compare the layers")
            out["weight"] = Given(weight.name, weight.array.T)
        return out


class KerasArrays:
    """Arrays in order. Whether a Dense has a bias shows in how many vectors follow its kernel."""

    def __init__(self, where: str, arrays: list[Given]) -> None:
        self._where, self._arrays = where, arrays

    def first_width(self) -> int | None:
        """Return the columns of the input of the first layer."""
        shapes = [each.array.shape for each in self._arrays[:1]]
        return int(shapes[0][0]) if shapes and shapes[0] else None

    def fill(self, slots: Sequence[Slot]) -> dict[str, Given]:
        """Return the array of each parameter."""
        found: dict[str, Given] = {}
        place = 0

        def take(slot: Slot) -> Given:
            nonlocal place
            if place >= len(self._arrays):
                refuse(self._where, f"no array is left for the {slot.name}", "expected one", "leave out the layer")
            place += 1
            return self._arrays[place - 1]

        for index, slot in enumerate(slots):
            layer = slot.layer
            if codes := tables_of(layer):
                found[f"{slot.path}embedding"] = joined(self._where, slot, codes, [take(slot) for _ in codes])
            elif isinstance(layer, FeatureScale):
                found[f"{slot.path}scale"] = take(slot)
            elif isinstance(layer, BatchNorm | LayerNorm):
                names = _NORM if isinstance(layer, BatchNorm) else _NORM[:2]
                if self._vectors(place) == 2 and len(names) == 4:
                    names = names[2:]
                found |= {slot.path + name: take(slot) for name in names}
            else:
                found[f"{slot.path}weight"] = take(slot)
                if isinstance(layer, Dense) and self._has_bias(layer, slots[index + 1 :], place):
                    found[f"{slot.path}bias"] = take(slot)
        if place < len(self._arrays):
            given = f"no layer is left for {self._arrays[place].name}, {self._arrays[place].array.shape}"
            refuse(self._where, given, "expected a layer for each array", "add the layers")
        return found

    def _vectors(self, place: int) -> int:
        """Return how many vectors follow."""
        count = 0
        while place + count < len(self._arrays) and self._arrays[place + count].array.ndim == 1:
            count += 1
        return count

    def _has_bias(self, layer: Dense, others: Sequence[Slot], place: int) -> bool:
        if layer.use_bias is not None:
            return layer.use_bias
        needed = 0
        for slot in others:
            if not isinstance(slot.layer, BatchNorm | LayerNorm | FeatureScale):
                break
            needed += 4 if isinstance(slot.layer, BatchNorm) else 2 if isinstance(slot.layer, LayerNorm) else 1
        return (self._vectors(place) - needed) % 2 == 1
