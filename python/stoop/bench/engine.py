"""The interface through which every library is measured, and the list of these libraries.

An engine may shuffle, gather and update in whichever way its own documentation advises, through its public API only.
"""

from __future__ import annotations

import importlib
import importlib.util
from abc import ABC, abstractmethod
from typing import NamedTuple

from stoop.bench.workloads import Array, Workload


class Entry(NamedTuple):
    """The place and the needs of an engine. Its module is imported only in the process that measures it."""

    module: str
    class_name: str
    packages: dict[str, str]  # name to import -> name to install


_TORCH = {"torch": "torch"}
_JAX = {"jax": "jax", "optax": "optax"}

ENGINES = {
    "stoop": Entry("engine_stoop", "StoopEngine", {}),
    "stoop-bf16": Entry("engine_stoop", "Bfloat16Engine", {}),
    "pytorch": Entry("engine_pytorch", "EagerEngine", _TORCH),
    "pytorch-bf16": Entry("engine_pytorch", "AutocastEngine", _TORCH),
    "pytorch-compile": Entry("engine_pytorch", "CompiledEngine", _TORCH),
    "jax": Entry("engine_jax", "StepEngine", _JAX),
    "jax-scan": Entry("engine_jax", "ScanEngine", _JAX),
    "sklearn": Entry("engine_sklearn", "SklearnEngine", {"sklearn": "scikit-learn"}),
}


class Engine(ABC):
    """One network in training. The constructor builds it on X (samples, inputs) float32 and y as made by make_data."""

    @staticmethod
    @abstractmethod
    def version() -> str:
        """Name and version of what is measured."""

    @staticmethod
    def missing(workload: Workload) -> str | None:
        """Say in words what is missing to run this workload; None if nothing is."""
        del workload
        return None

    @abstractmethod
    def __init__(self, workload: Workload, x: Array, y: Array, threads: int) -> None: ...

    @abstractmethod
    def run(self, epochs: int) -> None:
        """Train for whole epochs of shuffled batches and return when all work is done."""

    @abstractmethod
    def predict(self, x: Array) -> Array:
        """Outputs (n, outputs) in inference mode: logits (up to a constant per row) or values."""


def packages_to_install(name: str) -> list[str]:
    """Return the packages to install before this engine can be measured. Imports nothing."""
    return [package for module, package in ENGINES[name].packages.items() if importlib.util.find_spec(module) is None]


def load_engine(name: str) -> type[Engine]:
    """Import an engine; ImportError where its library does not load."""
    entry = ENGINES[name]
    engine: type[Engine] = getattr(importlib.import_module(f"stoop.bench.{entry.module}"), entry.class_name)
    return engine
