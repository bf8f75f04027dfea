"""The layers of a model of the core as objects of Python."""

from __future__ import annotations  # the stub's _core._Model does not exist at run time

import json
from typing import TYPE_CHECKING, Any

from stoop.layers import Layer, layer_from_config

if TYPE_CHECKING:
    from stoop import _core

_MOST_KNOWN = 1000


class KnownLayers:
    """The layers of one model. Equal ones are one object, as long as not too many different ones lie between them."""

    def __init__(self, core: _core._Model[Any]) -> None:
        self._core = core
        self._known: dict[Any, Layer] = {}

    def all(self, path: tuple[int, ...] = ()) -> tuple[Layer, ...]:
        """Return those of the model, or those of the `Residual` at a place."""
        return tuple(self._layer((*path, place)) for place in range(self._core.layer_count(path)))

    def _layer(self, path: tuple[int, ...]) -> Layer:
        text = self._core.layer_config(path)
        config = json.loads(text)
        if config["type"] == "residual":
            config["layers"] = self.all(path)
        key = text, *map(id, config.get("layers", ()))
        if key not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = layer_from_config(config)
        return self._known[key]
