"""What is the same for all trials of a search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stoop._fit import FitOptions
from stoop._many_data import SharedArrays
from stoop.search._fingerprint import plain_functions


@dataclass(frozen=True)
class Fitting:
    """How trials are made and trained."""

    build: Callable[[dict[str, Any]], Any]
    arrays: SharedArrays
    validation: SharedArrays | None
    rows: tuple[Any, Any]  # trained on and validated with, None for all
    options: FitOptions
    batch_size: int
    metrics: tuple[Any, ...]
    augment: Any  # an Augment, a function of the parameters, or None
    callbacks: Callable[[int], Any] | None
    threads: int
    deadline: float  # on the clock of time.perf_counter

    def about(self) -> dict[str, Any]:
        """Return the options of training that the values of trials depend on."""
        options = self.options
        return {
            "metrics": plain_functions(self.metrics),
            "augment": plain_functions(() if self.augment is None else (self.augment,)),
            "shuffle": options.shuffle,
            "last_batch": options.last_batch,
            "validation_freq": options.validation_freq,
        }
