"""Weights as PyTorch and Keras list them, taken slot by slot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product, takewhile
from typing import Any

from stoop.convert._slots import Given, Slot, joined, refuse, tables_of
from stoop.layers import BatchNorm, Dense, FeatureScale, LayerNorm

_DIGITS = "0123456789"
_NORM = ("gamma", "beta", "running_mean", "running_var")
_PRODUCT = ("weight", "bias")
_KERAS = {"kernel": "weight", "bias": "bias", "gamma": "gamma", "beta": "beta"}
_KERAS |= {"moving_mean": "running_mean", "moving_variance": "running_var"}
_TORCH = {"weight": "gamma", "bias": "beta", "running_mean": "running_mean", "running_var": "running_var"}


class TorchModules:
    """The modules of a state dict, in order; those of a Sequential, which have numbers, by these.

    A file of safetensors has the names sorted as text, "10" before "2".
    """

    def __init__(self, where: str, modules: Mapping[str, dict[str, Given]]) -> None:
        self._where = where
        self._modules = [(prefix, modules[prefix]) for prefix in _in_order(list(modules))]

    def first_width(self) -> int | None:
        """Return the columns of the input of the first module."""
        shapes = [each.array.shape for _, arrays in self._modules[:1] for each in arrays.values()]
        longest = max(shapes, key=len, default=())  # that of a weight, wherever it stands
        return int(longest[-1]) if longest else None

    def fill(self, slots: Sequence[Slot]) -> dict[str, Given]:
        """Return the array of each parameter."""
        left = self._modules[::-1]
        found: dict[str, Given] = {}
        for index, slot in enumerate(slots):
            if codes := tables_of(slot.layer):
                tables = [self._of("weight", slot, *self._next(left, slot)) for _ in codes]
                found[f"{slot.path}embedding"] = joined(self._where, slot, codes, tables)
                continue
            if isinstance(slot.layer, LayerNorm):
                vectors = takewhile(lambda each: _are_of_row(each[1]), left[::-1])
                if not _has_own(self._where, slots[index:], [prefix for prefix, _ in vectors]):
                    continue  # elementwise_affine=False
            prefix, arrays = self._next(left, slot)
            found |= {slot.path + name: each for name, each in self._arrays(slot, prefix, arrays).items()}
        more = [prefix for prefix, _ in left[::-1]]
        if more:
            given = f"no layer is left for {', '.join(more[:5])}"
            refuse(self._where, given, "expected one for each module that has weights", "add the layers")
        return found

    def _next(self, left: list[tuple[str, dict[str, Given]]], slot: Slot) -> tuple[str, dict[str, Given]]:
        if not left:
            refuse(self._where, f"no weights are left for the {slot.name}", "expected some", "leave out the layer")
        return left.pop()

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
            is_made = any("parametrizations" in each for each, _ in self._modules) or "weight_g" in arrays
            hint = "compare the layers, in their order"
            if is_made:
                hint = "remove the parametrization of the weight in PyTorch before, which leaves the weight itself"
            refuse(self._where, given, f"expected {', '.join(known)}", hint)
        out = {known[name]: each for name, each in arrays.items()}
        if "weight" in out:
            weight = out["weight"]
            if weight.array.ndim != 2:
                given = f"{weight.name} has shape {weight.array.shape}"
                is_slope = weight.array.shape == (1,)
                hint = "a PReLU has no counterpart" if is_slope else "compare the layers"
                refuse(self._where, given, "expected (out_features, in_features)", hint)
            out["weight"] = Given(weight.name, weight.array.T)
        return out


def _in_order(prefixes: Sequence[str]) -> list[str]:
    """Return the names of modules with numbers within one module in the order of the numbers, others as they come.

    Where all names are sorted as text, "fc10" before "fc2", numbers at the end of a name count too.
    """
    are_sorted = list(prefixes) == sorted(prefixes)
    first: dict[tuple[str, ...], int] = {}  # where each part of a name, or the first number within it, comes

    def key(prefix: str) -> list[tuple[int, int]]:
        parts = prefix.split(".")
        places = []
        for depth, part in enumerate(parts):
            stem = part.rstrip(_DIGITS) if are_sorted or part.isdecimal() else part
            digits = part[len(stem) :]
            group = (*parts[:depth], f"{stem}0" if digits else part)
            places.append((first.setdefault(group, len(first)), int(digits or 0)))
        return places

    keys = {prefix: key(prefix) for prefix in prefixes}
    return sorted(prefixes, key=keys.__getitem__)


def _are_of_row(arrays: Mapping[str, Given]) -> bool:
    """Return whether they may be those of a LayerNorm."""
    return all(each.array.ndim == 1 for each in arrays.values()) and "running_mean" not in arrays


def _has_own(where: str, slots: Sequence[Slot], vectors: Sequence[str]) -> bool:
    """Return whether the LayerNorm that comes first has arrays, where modules of these names have vectors alone.

    No name tells which of several norms has none.
    """
    row = list(takewhile(lambda slot: isinstance(slot.layer, LayerNorm | FeatureScale), slots))
    norms = sum(isinstance(slot.layer, LayerNorm) for slot in row)
    count = len(vectors) - (len(row) - norms)
    if 0 < count < norms:
        others = "1 other come" if norms == 2 else f"{norms - 1} others come"
        given = f"{', '.join(vectors[:5])} comes where the {slots[0].name} and {others}"
        hint = "give those that have none a weight of ones and a bias of zeros"
        refuse(where, given, "expected arrays for one for each of them, or for none", hint)
    return count > 0


class KerasArrays:
    """Arrays in order. What they are is told by their names, or by how many vectors follow each kernel."""

    def __init__(self, where: str, arrays: list[Given]) -> None:
        self._where, self._arrays = where, arrays
        # "model/dense_1/kernel", and in older versions "dense_1/kernel:0"
        parts = [each.name.rpartition("/") for each in arrays]
        self._roles = [_KERAS.get(name.partition(":")[0]) if path else None for path, _, name in parts]

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
            if codes := tables_of(slot.layer):
                found[f"{slot.path}embedding"] = joined(self._where, slot, codes, [take(slot) for _ in codes])
                continue
            for name in self._names(slots[index:], place):
                found[slot.path + name] = take(slot)
        if place < len(self._arrays):
            given = f"no layer is left for {self._arrays[place].name}, {self._arrays[place].array.shape}"
            refuse(self._where, given, "expected a layer for each array", "add the layers")
        return found

    def _names(self, slots: Sequence[Slot], place: int) -> Sequence[str]:
        """Return which parameters of the first layer the arrays from this place on are."""
        slot, others = slots[0], slots[1:]
        layer = slot.layer
        if isinstance(layer, FeatureScale):
            return ("scale",)
        is_norm = isinstance(layer, BatchNorm | LayerNorm)
        if self._roles[place : place + 1] not in ([], [None]):
            return self._named(slots, place)
        start = place if is_norm else place + 1  # after the kernel
        names = self._read(slot, others, start)
        return names if is_norm else (*_PRODUCT[:1], *names)

    def _read(self, slot: Slot, others: Sequence[Slot], start: int) -> Sequence[str]:
        """Return which vectors from `start` on are those of the slot, where their number tells it."""
        count = self._vectors(start)
        ways = [_ways(each.layer) for each in (slot, *_norms(others))]
        fitting = {tuple(way[0]) for way in product(*ways) if sum(map(len, way)) == count}
        if len(fitting) > 1:
            is_norm = isinstance(slot.layer, BatchNorm | LayerNorm)
            kernel = f"{count} vectors follow {self._arrays[start - 1].name}"
            given = f"there are {count} vectors for the {slot.name}" if is_norm else kernel
            hint = (
                "give model.weights, whose names tell, or Dense(use_bias=True or False) for norms with both or neither"
            )
            refuse(self._where, given, "expected a number that tells a bias, scale and center apart", hint)
        return fitting.pop() if fitting else ways[0][0]

    def _named(self, slots: Sequence[Slot], place: int) -> list[str]:
        """Return what the names of the next layer of Keras say."""
        layer, (path, roles) = slots[0].layer, self._next(place)
        if isinstance(layer, LayerNorm):
            own = takewhile(lambda each: set(each[1]) <= set(_NORM[:2]), self._layers(place))
            return roles if _has_own(self._where, slots, [name for name, _ in own]) else []
        if isinstance(layer, BatchNorm) and not set(_NORM[2:]) <= set(roles) <= set(_NORM):
            names = ", ".join(name for role in roles for name, known in _KERAS.items() if known == role)
            given = f"{path or 'an array'} has {names} where the {slots[0].name} comes"
            refuse(self._where, given, "expected moving_mean and moving_variance", "compare the layers, in their order")
        return [role for role in roles if role in (_NORM if isinstance(layer, BatchNorm) else _PRODUCT)]

    def _next(self, place: int) -> tuple[str, list[str]]:
        """Return the path of the layer of Keras whose arrays begin here, and what they are."""
        path, roles = self._path(place), list[str]()
        order = list(_KERAS.values())
        while place < len(self._roles) and (role := self._roles[place]) is not None and self._path(place) == path:
            if roles and order.index(role) <= order.index(roles[-1]):
                break  # another layer of the same name
            roles.append(role)
            place += 1
        return path, roles

    def _layers(self, place: int) -> Iterator[tuple[str, list[str]]]:
        while (found := self._next(place))[1]:
            yield found
            place += len(found[1])

    def _path(self, place: int) -> str:
        return self._arrays[place].name.rpartition("/")[0]

    def _vectors(self, place: int) -> int:
        """Return how many vectors follow."""
        count = 0
        while place + count < len(self._arrays) and self._arrays[place + count].array.ndim == 1:
            count += 1
        return count


def _ways(layer: Any) -> Sequence[Sequence[str]]:
    """Return which vectors a layer may have, all of them first."""
    if isinstance(layer, FeatureScale):
        return (("scale",),)
    if isinstance(layer, BatchNorm | LayerNorm):
        more = _NORM[2:] if isinstance(layer, BatchNorm) else ()
        return [(*own, *more) for own in (_NORM[:2], _NORM[:1], _NORM[1:2], ())]
    bias = _PRODUCT[1:] if isinstance(layer, Dense) else ()
    use_bias = layer.use_bias if isinstance(layer, Dense) else False
    return [bias, ()] if use_bias is None else [bias] if use_bias else [()]


def _norms(slots: Sequence[Slot]) -> Iterator[Slot]:
    """Yield those that come before the next kernel."""
    for slot in slots:
        if not isinstance(slot.layer, BatchNorm | LayerNorm | FeatureScale):
            break
        yield slot
