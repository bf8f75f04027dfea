"""Tells how near two cores are: what a line of cache takes from one to the other and back, in numbers and in words."""

from __future__ import annotations

import math
from typing import Literal

from stoop import _core

Distance = Literal["near", "far", "one core", "unknown"]

FAR_FROM = 180.0  # nanoseconds: cores with a common cache take about 90, others 250 and more


def measure() -> float | None:
    """Return nanoseconds from core to core and back; None where one core is usable or others keep the cores busy."""
    latency = _core.measure_core_latency()
    return latency if math.isfinite(latency) else None


def distance(latency: float | None) -> Distance:
    """Return which kind of machine a latency stands for, as a run of it shows: near and far cores are two kinds."""
    if latency is not None:
        return "near" if latency < FAR_FROM else "far"
    return "one core" if _core.usable_cores() < 2 else "unknown"


MEANING = {
    "near": "near: the cores share a cache, so a second thread helps small networks too",
    "far": "far: the cores share no cache, so a second thread helps large networks only",
    "one core": "one core: there is no other to measure",
    "unknown": "unknown: other processes keep the cores busy",
}
