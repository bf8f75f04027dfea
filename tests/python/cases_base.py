"""What an entry of cases.py is made of, and where the package keeps its own lists."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

import stoop
from stoop import activations, initializers, layers, losses, optimizers, schedules

REQUIRED = inspect.Parameter.empty
Arguments = dict[str, Any]
Draw = Callable[[np.random.Generator, int, int], npt.NDArray]  # (rng, samples, outputs) -> targets

# ---- the package's own lists ----

INITIALIZER_NAMES = set(stoop._core.specs()["initializers"])


def registry(kind: str) -> dict[str, Any]:
    """What the package has of a kind, by name: the only place here that knows where it keeps them."""
    if kind == "initializer":
        return {name: getattr(initializers, name) for name in vars(initializers) if name in INITIALIZER_NAMES}
    modules = {"activation": activations, "layer": layers, "loss": losses, "optimizer": optimizers}
    module = modules.get(kind, schedules)
    own = [c for c in vars(module).values() if inspect.isclass(c) and c.__module__ == module.__name__]
    return {c.type_name: c for c in own if "type_name" in vars(c)}


# ---- what is tried of each ----

# What PyTorch has of the same: the name of a function of torch.nn.functional or of a class of torch.optim that takes
# the same arguments by the same names, or a function that calls it: of (F, input, layer), (F, loss, output, target) or
# (optimizer) -> (class, arguments). WRITTEN: PyTorch's convention is another, torch_reference.py has the formula.
Twin = str | Callable[..., Any] | None
WRITTEN = "torch_reference"


@dataclass(frozen=True)
class Case:
    """`arguments` are the constructor's own, with their defaults; the calls `others` are tried too."""

    arguments: Arguments = field(default_factory=dict)
    others: tuple[Arguments, ...] = ()
    twin: Twin = None

    def variants(self) -> tuple[Arguments, ...]:
        """All arguments to try: first none at all, where it can be made like that."""
        return self.others if REQUIRED in self.arguments.values() else ({}, *self.others)
