"""Reads the file of an estimator: a model file whose metadata say what the table and the estimator were."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from stoop._checks import thread_count
from stoop._errors import message, refuse_name
from stoop._tables import TableEncoder, TableState, TargetScale
from stoop.layers import Columns
from stoop.model import Model, load_model
from stoop.tabular._base import Tabular
from stoop.tabular._estimators import TabularClassifier, TabularRegressor
from stoop.tabular._features import Features

_CLASSES: dict[str, type[Any]] = {"TabularClassifier": TabularClassifier, "TabularRegressor": TabularRegressor}
_WHERE = "tabular.load"


def load(path: str | os.PathLike[str]) -> Any:
    """Read an estimator that its `save` wrote.

    It predicts the same bits. It has no `history_`, and `feature_importances_` only if they were asked for before it
    was saved. Nothing in the file is run as a program.

    Returns
    -------
    TabularClassifier or TabularRegressor

    Raises
    ------
    OSError
        If the file cannot be read.
    CheckpointError, ValueError
        If it is damaged, or no file of an estimator.
    """
    model = load_model(path)
    state = TableState.of_model(_WHERE, model.metadata)
    if "estimator" not in state.training:
        given, hint = "a model that stoop train made", "use stoop predict, or stoop.load_model"
        raise ValueError(message(_WHERE, given, "expected one that the save of an estimator wrote", hint))
    try:
        estimator = _restored(model, state)
        _check(estimator, model, state)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        given, hint = f"what it says of the estimator cannot be read ({error!r})", "save it again"
        raise ValueError(message(_WHERE, given, "expected what the save of an estimator wrote", hint)) from error
    return estimator


def _restored(model: Model, state: TableState) -> Tabular:
    known = state.training["estimator"]
    if known["class"] not in _CLASSES:
        refuse_name(_WHERE, "estimator", str(known["class"]), tuple(_CLASSES))
    parameters = dict(known["parameters"])
    parameters["hidden"] = (
        tuple(parameters["hidden"]) if isinstance(parameters["hidden"], list) else parameters["hidden"]
    )
    if isinstance(parameters.get("class_weight"), list):
        parameters["class_weight"] = dict(parameters["class_weight"])
    estimator: Tabular = _CLASSES[known["class"]](**parameters)
    if estimator.num_threads is not None:  # prediction uses it too, without asking again
        thread_count(_WHERE, "num_threads", estimator.num_threads)
    columns = len(state.encoder.columns)
    estimator.n_features_in_ = columns
    if known["features"] is not None:
        estimator.feature_names_in_ = np.array(known["features"], object)
    labels = known.get("labels")
    estimator._labels = None if labels is None else [str(label) for label in labels]
    estimator.model_ = model
    estimator.best_epoch_ = int(known["best_epoch"])
    estimator._features = Features(state.encoder)
    estimator._scale = TargetScale.from_state(state.training["target_scale"])
    estimator._target_name = state.target.name
    estimator._measured = None
    importances = known["importances"]
    estimator._importances = None if importances is None else np.array(importances, np.float64)
    if estimator._are_classes:
        estimator.classes_ = np.arange(model.output_dim) if model.classes is None else np.array(model.classes)
    else:
        estimator._is_flat = bool(known["is_flat"])
        estimator._outputs_count = model.output_dim
    return estimator


def _check(estimator: Tabular, model: Model, state: TableState) -> None:
    """Raise ValueError where table, target and model do not fit each other."""
    encoder, columns = state.encoder, len(state.encoder.columns)
    task, importances = state.target.task, estimator._importances
    first = model.layers[0]
    codes = first.categories if isinstance(first, Columns) else None
    fits = {
        "inputs": encoder.width == model.input_dim,
        "codes": codes == tuple(sorted(encoder.codes.items())),
        "features": list(getattr(estimator, "feature_names_in_", _names(encoder))) == _names(encoder),
        "labels": estimator._labels is None or len(estimator._labels) == columns,
        "importances": importances is None or importances.shape == (columns,),
        "task": task == ("classification" if estimator._are_classes else "regression"),
        "classes": not estimator._are_classes or len(estimator.classes_) == model.output_dim,
        "scale": np.shape(estimator._scale.mean) in ((), (model.output_dim,)),
    }
    if wrong := [name for name, fit in fits.items() if not fit]:
        raise ValueError(f"the {wrong[0]} do not fit the model")


def _names(encoder: TableEncoder) -> list[str]:
    return [column.name for column in encoder.columns]
