"""The interface behind which every library is measured, and the list of those that are.

An engine may shuffle, gather and update in whichever way its own documentation advises, through its public API only.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod

from workloads import Array, Workload

# name -> module and class; a module is imported only in the process that measures it.
ENGINES = {
    "stoop": ("engine_stoop", "StoopEngine"),
    "pytorch": ("engine_pytorch", "EagerEngine"),
    "pytorch-compile": ("engine_pytorch", "CompiledEngine"),
    "jax": ("engine_jax", "StepEngine"),
    "jax-scan": ("engine_jax", "ScanEngine"),
    "sklearn": ("engine_sklearn", "SklearnEngine"),
}


class Engine(ABC):
    """One network in training. The constructor builds it on X (samples, inputs) float32 and y as made by make_data."""

    @staticmethod
    @abstractmethod
    def version() -> str:
        """Name and version of what is measured."""

    @staticmethod
    def missing(workload: Workload) -> str | None:
        """What the library lacks to run this workload, in words; None if nothing."""
        del workload
        return None

    @abstractmethod
    def __init__(self, workload: Workload, x: Array, y: Array, threads: int) -> None: ...

    @abstractmethod
    def run(self, epochs: int) -> None:
        """Trains for whole epochs of shuffled batches and returns when all work is done."""

    @abstractmethod
    def predict(self, x: Array) -> Array:
        """Outputs (n, outputs) in inference mode: logits (up to a constant per row) or values."""

    def fma_peak(self) -> float | None:
        """The FMA peak of the threads in use in GFLOP/s, from engines that can measure it."""
        return None


def load_engine(name: str) -> type[Engine]:
    """The class of an engine; ImportError where its library is not installed."""
    module, class_name = ENGINES[name]
    engine: type[Engine] = getattr(importlib.import_module(module), class_name)
    return engine
