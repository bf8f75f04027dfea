"""The formulas of schedules and the variances of initialisers, for `reference.py`, which hands them on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

# ---- schedules: the learning rate of update t = 0, 1, 2, ... ----


def half_cosine(start: float, end: float, x: float) -> float:
    return end + (start - end) * (1.0 + math.cos(math.pi * x)) / 2.0


def one_cycle(s: Any, t: int) -> float:
    peak, start, end = (
        s.pct_start * s.steps - 1.0,
        s.max_lr / s.div_factor,
        s.max_lr / s.div_factor / s.final_div_factor,
    )
    if t >= s.steps - 1:
        return end
    return (
        half_cosine(start, s.max_lr, t / peak)
        if t <= peak
        else half_cosine(s.max_lr, end, (t - peak) / (s.steps - 1 - peak))
    )


def cyclic(s: Any, t: int) -> float:
    down = s.step_size_down or s.step_size_up
    cycle, x = divmod(t, s.step_size_up + down)
    share = x / s.step_size_up if x <= s.step_size_up else 1.0 - (x - s.step_size_up) / down
    height = {"triangular": 1.0, "triangular2": 0.5**cycle, "exp_range": s.gamma**t}[s.mode]
    return s.base_lr + (s.max_lr - s.base_lr) * share * height


SCHEDULES: dict[str, Callable[[Any, int], float]] = {
    "constant": lambda s, _: s.lr,
    "step": lambda s, t: s.lr * s.factor ** (t // s.every),
    "piecewise": lambda s, t: s.rates[sum(t >= boundary for boundary in s.boundaries)],
    "exponential": lambda s, t: s.lr * s.decay ** (t / s.every),
    "inverse_time": lambda s, t: s.lr / (1.0 + s.decay * t),
    "power": lambda s, t: s.lr / (t + 1) ** s.exponent,
    "inverse_sqrt": lambda s, t: s.lr / math.sqrt(t + 1),
    "linear": lambda s, t: s.lr + (s.end - s.lr) * min(t / s.steps, 1.0),
    "polynomial": lambda s, t: s.end + (s.lr - s.end) * (1.0 - min(t / s.steps, 1.0)) ** s.power,
    "cosine": lambda s, t: half_cosine(s.lr, s.end, min(t / s.steps, 1.0)),
    "one_cycle": one_cycle,
    "cos_log4": lambda s, t: (
        s.lr * (1.0 - math.cos(2.0 * math.pi * math.log2(1.0 + 15.0 * min(t / s.steps, 1.0)))) / 2.0
    ),
    "flat_cosine": lambda s, t: half_cosine(
        s.lr, s.end, min(max(t / s.steps - s.pct_start, 0.0) / (1.0 - s.pct_start), 1.0)
    ),
    "sequential": lambda s, t: rate_at(
        s.schedules[sum(t >= start for start in s.milestones)],
        t - max((start for start in s.milestones if t >= start), default=0),
    ),
    "cosine_restarts": lambda s, t: (
        half_cosine(s.lr, s.end, t / s.T_0) if t < s.T_0 else rate_at(replace(s, T_0=s.T_0 * s.T_mult), t - s.T_0)
    ),
    "cyclic": cyclic,
    "custom": lambda s, t: s.function(t),
    "warmup": lambda s, t: (
        rate_at(s.schedule, 0) * (t + 1) / s.steps if t < s.steps else rate_at(s.schedule, t - s.steps)
    ),
}


def rate_at(schedule: Any, t: int) -> float:
    """The rate of a number or a schedule."""
    return float(schedule if isinstance(schedule, int | float) else SCHEDULES[schedule.type_name](schedule, t))


# ---- initialisers: the variance of a weight (fan_in, fan_out) that starts with the name and value ----

INITIALIZERS: dict[str, Callable[[int, int, float], float]] = {
    "zeros": lambda _in, _out, _: 0.0,
    "ones": lambda _in, _out, _: 0.0,
    "constant": lambda _in, _out, _: 0.0,
    "normal": lambda _in, _out, std: std**2,
    "uniform": lambda _in, _out, limit: limit**2 / 3.0,
    "glorot_uniform": lambda fan_in, fan_out, _: 2.0 / (fan_in + fan_out),
    "glorot_normal": lambda fan_in, fan_out, _: 2.0 / (fan_in + fan_out),
    "he_uniform": lambda fan_in, _out, _: 2.0 / fan_in,
    "he_normal": lambda fan_in, _out, _: 2.0 / fan_in,
    "lecun_uniform": lambda fan_in, _out, _: 1.0 / fan_in,
    "lecun_normal": lambda fan_in, _out, _: 1.0 / fan_in,
    "orthogonal": lambda fan_in, fan_out, gain: gain**2 / max(fan_in, fan_out),
}
