"""Optimizers. `g` is the gradient with the l1 and l2 terms in it, `w` a parameter, `t` counts updates from 1.

``learning_rate`` is a float > 0, an object of `stoop.schedules`, or any callable ``t -> float`` of the updates made
before, t = 0, 1, 2, ... All that is accumulated starts at 0; eps is added outside the square root, except in
`Adadelta` and `Adamax`. An optimizer given
to a `Trainer` is a description, the state is the trainer's; ``optimizer.step`` updates bare arrays and keeps state of
its own for them.
"""

from stoop.optimizers import _first_order
from stoop.optimizers._base import LearningRate, Optimizer
from stoop.optimizers._first_order import *  # noqa: F403
from stoop.optimizers._full_batch import LBFGS, FullBatchOptimizer, NewtonCG
from stoop.optimizers._updater import Updater

__all__ = ["LBFGS", "FullBatchOptimizer", "LearningRate", "NewtonCG", "Optimizer", "Updater"]
__all__ += _first_order.__all__
