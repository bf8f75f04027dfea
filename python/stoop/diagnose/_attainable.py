"""What error a usual network would come to: an estimate of what is attainable where nobody has given a target."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stoop.diagnose._scores import Scored, filled, scored, spread_of
from stoop.diagnose._statistics import Level
from stoop.layers import Dense
from stoop.model import Model
from stoop.optimizers import Adam
from stoop.trainer import Trainer

REFERENCE_UNITS = 64
_UPDATES, _BATCH = 2000, 64


def attainable(trainer: Trainer, train: Scored, dev: Scored) -> Level:
    """Return the dev error of a network of two layers with standardised inputs, trained for a moment."""
    of_train = filled(train.x)
    mean, deviation = of_train.mean(axis=0), of_train.std(axis=0)
    x, x_dev = (_standardised(part, mean, deviation) for part in (of_train, filled(dev.x)))
    layers = [Dense(REFERENCE_UNITS, activation="relu"), Dense(REFERENCE_UNITS, activation="relu")]
    model = Model([*layers, Dense(trainer.model.output_dim)], x.shape[1])
    other = Trainer(model, loss=trainer.loss, optimizer=Adam(3e-3), l2=1e-4)
    epochs = max(round(_UPDATES * _BATCH / len(x)), 1)
    other.fit(x, train.targets, epochs=epochs, batch_size=min(_BATCH, len(x)), last_batch="merge", verbose=0)
    spread = spread_of(train.true) if train.kind == "values" else None
    return scored(other, x_dev, dev.targets, "diagnose.check", spread).level


def _standardised(x: npt.NDArray[Any], mean: npt.NDArray[Any], deviation: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.asarray((x - mean) / np.where(deviation > 0.0, deviation, 1.0), np.float32)
