"""Learning rates that change, given as ``learning_rate=`` of an optimizer.

A schedule is a function of t: the count of updates 0, 1, 2, ... (``per="step"``) or of epochs (``per="epoch"``). It
goes on counting over all calls of ``Trainer.fit``. ``schedule(t)`` is one rate, ``schedule.values(n)`` the first n, to
be plotted. Any Python callable ``t -> float`` may stand in for a schedule; it is asked for all updates of an epoch
before the epoch starts. A function of the epoch, ``Custom(function, per="epoch")``, is asked once for each epoch of
``Trainer.fit``; ``Trainer.step``, which knows no end of an epoch, asks it in each call.
"""

from stoop.schedules._base import PythonRates, Schedule, python_rates
from stoop.schedules._composed import Custom, Sequential, Warmup, as_learning_rate
from stoop.schedules._cycles import CosineRestarts, Cyclic
from stoop.schedules._decays import Constant, Exponential, InverseSqrt, InverseTime, Piecewise, Power, Step
from stoop.schedules._spans import Cosine, CosLog4, FlatCosine, Linear, OneCycle, Polynomial

__all__ = [
    "Constant",
    "CosLog4",
    "Cosine",
    "CosineRestarts",
    "Custom",
    "Cyclic",
    "Exponential",
    "FlatCosine",
    "InverseSqrt",
    "InverseTime",
    "Linear",
    "OneCycle",
    "Piecewise",
    "Polynomial",
    "Power",
    "PythonRates",
    "Schedule",
    "Sequential",
    "Step",
    "Warmup",
    "as_learning_rate",
    "python_rates",
]
