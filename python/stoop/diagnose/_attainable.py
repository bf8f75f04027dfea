"""What fits of other models come to on data that they were not trained on.

A usual network and a linear model estimate what is attainable where nobody has given a target; copies of the model that
are trained on a part of the training rows tell variance from mismatch where nobody has given a train-dev part.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._core import NonFiniteLossError
from stoop.diagnose._layers import batch_size_of, fresh
from stoop.diagnose._scores import Scored, filled, scored, spread_of
from stoop.diagnose._statistics import Level
from stoop.layers import Dense
from stoop.model import Model
from stoop.optimizers import Adam, FullBatchOptimizer
from stoop.trainer import Trainer

REFERENCE_UNITS = 64
_UPDATES, _BATCH = 2000, 64
_PARTS = 5  # of the training rows, one of which is held out
_FEWEST_ROWS = 20
_WORK = 2e11  # floating-point operations of all copies: some seconds


def attainable(trainer: Trainer, train: Scored, dev: Scored) -> Level:
    """Return the lower dev error of a network of two layers and of a linear model, trained for a moment.

    Both get standardised inputs. The linear one is there for few and noisy samples, which the network learns by heart.
    """
    of_train = filled(train.x)
    mean, deviation = of_train.mean(axis=0), of_train.std(axis=0)
    x, x_dev = (_standardised(part, mean, deviation) for part in (of_train, filled(dev.x)))
    epochs = max(round(_UPDATES * _BATCH / len(x)), 1)
    spread = spread_of(train.true) if train.kind == "values" else None
    levels = []
    for hidden in ([REFERENCE_UNITS, REFERENCE_UNITS], []):
        layers = [Dense(width, activation="relu") for width in hidden]
        model = Model([*layers, Dense(trainer.model.output_dim)], x.shape[1])
        other = Trainer(model, loss=trainer.loss, optimizer=Adam(3e-3), l2=1e-4)
        other.fit(x, train.targets, epochs=epochs, batch_size=min(_BATCH, len(x)), last_batch="merge", verbose=0)
        levels.append(scored(other, x_dev, dev.targets, "diagnose.check", spread).level)
    return min(levels, key=lambda level: level.error)


def held_out(trainer: Trainer, train: Scored) -> Level | None:
    """Return the error of training rows that copies of the model were trained without.

    A fifth of the rows is held out, and a copy with fresh weights and the settings of the trainer is trained on the
    others for as many epochs as the trainer was, or for what takes some seconds. Where that is short, each fifth is
    held out in turn. None without a fit, with few rows, in several processes, and where copies fail.
    """
    epochs, rows = trainer.epoch, len(train.x)
    if epochs == 0 or rows < _FEWEST_ROWS or trainer._processes is not None:
        return None
    work = 6.0 * trainer.model.num_parameters * rows
    epochs = int(np.clip(_WORK / work, 1, epochs))
    copies = int(np.clip(_WORK / (work * epochs), 1, _PARTS))
    part = np.random.default_rng(0).permutation(rows) % _PARTS
    spread = spread_of(train.true) if train.kind == "values" else None
    errors = []
    for k in range(copies):
        own = part != k
        x, targets = train.x[own], train.targets[own]
        twin = fresh(trainer, x)
        full = isinstance(trainer.optimizer, FullBatchOptimizer)
        size = len(x) if full else min(batch_size_of(trainer, rows), len(x))
        try:
            twin.fit(x, targets, epochs=epochs, batch_size=size, last_batch="merge", verbose=0)
        except NonFiniteLossError:
            return None
        errors.append(scored(twin, train.x[~own], train.targets[~own], "diagnose.check", spread).errors)
    return Level.mean(np.concatenate(errors))


def _standardised(x: npt.NDArray[Any], mean: npt.NDArray[Any], deviation: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.asarray((x - mean) / np.where(deviation > 0.0, deviation, 1.0), np.float32)
