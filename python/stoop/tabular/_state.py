"""What the file of an estimator says beside its network: the table, the arguments, what was found out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from stoop._fit import seconds
from stoop._tables import TableState, Target
from stoop.losses import MeanSquaredError, SoftmaxCrossEntropy


def state_of(estimator: Any) -> TableState:
    """Return it for a fitted estimator."""
    are_classes = estimator._are_classes
    classes = tuple(map(str, estimator.model_.classes)) if are_classes else ()
    target = Target(
        estimator._target_name,
        "classification" if are_classes else "regression",
        classes,
        are_classes and estimator.model_.classes.dtype.kind in "iuf",
    )
    importances = estimator._importances
    kind: Any = next(each for each in type(estimator).__mro__ if each.__module__.startswith("stoop.tabular."))
    given = {name: getattr(estimator, name) for name in kind._get_param_names()}  # a subclass may have others
    known = {
        "class": kind.__name__,
        "parameters": {name: _plain(name, value) for name, value in given.items()},
        "labels": estimator._labels,
        "features": list(map(str, getattr(estimator, "feature_names_in_", ()))) or None,
        "is_flat": are_classes or estimator._is_flat,
        "best_epoch": estimator.best_epoch_,
        "importances": None if importances is None else [None if value != value else value for value in importances],
    }
    loss = SoftmaxCrossEntropy() if are_classes else MeanSquaredError()
    training = {
        "estimator": known,
        "loss": loss.to_config(),
        "target_scale": estimator._scale.to_state(),
    }
    return TableState(estimator._features.encoder, target, training=training)


def _plain(name: str, value: Any) -> Any:
    """Return an argument as JSON can hold it: a state of random numbers becomes None, what is many a list."""
    if name == "max_time":
        return None if value is None else seconds(value)
    if name == "dtype":
        return np.dtype(value).name
    if isinstance(value, dict):
        return [[_plain("", key), float(weight)] for key, weight in value.items()]
    if isinstance(value, np.random.RandomState):
        return None
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_plain("", item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
