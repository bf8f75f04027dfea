"""The public names, arguments and defaults that programs rely on."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from typing import Any

import pytest

import cases
import crossed
import stoop
from helpers import run_python

REQUIRED = cases.REQUIRED

# name -> arguments in order with their defaults; None: any attribute. What cases.py lists comes below.
CONTRACT: dict[str, dict[str, Any] | None] = {
    "Model": {"layers": REQUIRED, "input_dim": REQUIRED, "seed": 0, "dtype": "float32"},
    "Model.__call__": {"X": REQUIRED},
    "Model.predict": {"X": REQUIRED, "batch_size": None, "out": None, "num_threads": None},
    "Model.predict_proba": {"X": REQUIRED, "num_threads": None},
    "Model.predict_classes": {"X": REQUIRED, "num_threads": None},
    "Model.predict_labels": {"X": REQUIRED, "num_threads": None},
    "Model.output": None,
    "Model.classes": None,
    "Model.parameters": {},
    "Model.buffers": {},
    "Model.num_parameters": None,
    "Model.layers": None,
    "Model.summary": {},
    "Model.state_dict": {},
    "Model.load_state_dict": None,
    "Model.save": None,
    "Model.copy": {},
    "load_model": None,
    "Predictor": {"model": REQUIRED},
    "Predictor.predict": {"X": REQUIRED, "out": None},
    "Model.fold_batch_norm": {},
    "optimizers.Adam.step": {"parameters": REQUIRED, "gradients": REQUIRED},
    "schedules.Constant.values": {"n": REQUIRED},
    "export.to_c": {
        "model": REQUIRED,
        "path": REQUIRED,
        "name": "model",
        "dtype": "float32",
        "calibration": None,
    },
    "minimize": {"cost": REQUIRED, "params": REQUIRED, "optimizer": REQUIRED, "steps": REQUIRED},
    "ewa": {"x": REQUIRED, "beta": REQUIRED, "bias_correction": True},
    "Trainer": {
        "model": REQUIRED,
        "loss": "softmax_cross_entropy",
        "l1": 0.0,
        "l2": 0.0,
        "clip_norm": None,
        "clip_value": None,
        "accumulate": 1,
        "ema": None,
        "precision": "float32",
        "num_threads": None,
        "seed": 0,
    },
    "Trainer.fit": {
        "X": REQUIRED,
        "y": REQUIRED,
        "epochs": 10,
        "batch_size": 128,
        "validation_data": None,
        "validation_split": 0.0,
        "validation_freq": 1,
        "shuffle": True,
        "augment": None,
        "sample_weight": None,
        "class_weight": None,
        "metrics": ("accuracy",),
        "callbacks": (),
        "verbose": 1,
        "last_batch": "keep",
        "max_time": None,
        "resume": None,
        "dry_run": False,
        "overfit_batches": None,
    },
    "Trainer.step": {"X": REQUIRED, "y": REQUIRED, "rows": None},
    "Trainer.loss_and_grad": {"X": REQUIRED, "y": REQUIRED, "training": True, "dropout": False},
    "Trainer.evaluate": {"X": REQUIRED, "y": REQUIRED, "sample_weight": None, "metrics": ("accuracy",)},
    "metrics.TopK": {"k": 5},
    "metrics.auc": {"y_true": REQUIRED, "y_score": REQUIRED, "sample_weight": None},
    "metrics.average_precision": {"y_true": REQUIRED, "y_score": REQUIRED, "sample_weight": None},
    "metrics.log_loss": {"y_true": REQUIRED, "y_prob": REQUIRED, "sample_weight": None},
    "metrics.top_k_accuracy": {"y_true": REQUIRED, "y_score": REQUIRED, "sample_weight": None, "k": 5},
    **{
        f"metrics.{name}": {"y_true": REQUIRED, "y_pred": REQUIRED, "sample_weight": None}
        for name in ("accuracy", "precision", "recall", "f1", "mse", "rmse", "mae", "r2")
    },
    "Trainer.learning_rate": None,
    "Trainer.l1": None,
    "Trainer.l2": None,
    "Trainer.clip_norm": None,
    "Trainer.clip_value": None,
    "Trainer.epoch": None,
    "Trainer.steps": None,
    "gradcheck": {"model": REQUIRED, "loss": REQUIRED, "X": REQUIRED, "y": REQUIRED, "l2": 0.0, "eps": 1e-6},
    "set_num_threads": None,
    "get_num_threads": {},
    "num_threads": None,
    "show_config": {},
    "data.load_idx": None,
    "data.train_test_split": {
        "X": REQUIRED,
        "y": REQUIRED,
        "test_size": 0.25,
        "train_size": None,
        "seed": None,
        "stratify": None,
        "random_state": None,
    },
    "data.standardize": {"train": REQUIRED, "eps": 1e-12, "stats": False},
    "augment.Augment": {
        "image_shape": (28, 28),
        "flip": False,
        "shift": 0,
        "rotate": 0.0,
        "zoom": 0.0,
        "shear": 0.0,
        "crop": None,
        "elastic": None,
        "noise": 0.0,
        "mixup": 0.0,
        "seed": None,
        "fill": "nearest",
    },
    "augment.Augment.__call__": {"X": REQUIRED, "epoch": 0, "y": None},
    "plotting.images": {"X": REQUIRED, "image_shape": None, "path": None, "titles": None, "columns": None},
    "NonFiniteLossError": None,
    "CheckpointError": None,
    "__version__": None,
}


LISTED = {
    f"{crossed.place(kind)}{cases.registry(kind)[name].__name__}": (kind, name) for kind, name in crossed.listed()
}
CONTRACT |= {path: crossed.contract(*which) for path, which in LISTED.items()}
LAYERS = {path: crossed.call(*which) for path, which in LISTED.items() if which[0] in ("activation", "layer")}


def find(path: str) -> Any:
    found: Any = stoop
    for part in path.split("."):
        if inspect.ismodule(found) and not hasattr(found, part):
            importlib.import_module(f"{found.__name__}.{part}")
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("path", CONTRACT)
def test_names_and_arguments(path: str) -> None:
    found, expected = find(path), CONTRACT[path]
    if expected is None:
        return
    parameters = dict(inspect.signature(found).parameters)
    parameters.pop("self", None)
    assert {name: parameters[name].default for name in expected if name in parameters} == expected
    assert [name for name in parameters if name in expected] == list(expected), "the order of the arguments"


@pytest.mark.parametrize("path", [path for path in CONTRACT if path not in ("__version__",)])
def test_docstrings(path: str) -> None:
    assert (inspect.getdoc(find(path)) or "").strip(), f"{path} has no docstring"


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_frozen_dataclasses(name: str) -> None:
    layer = getattr(stoop, name)(**LAYERS[name])
    assert dataclasses.is_dataclass(layer)
    assert layer == type(layer)(**{f.name: getattr(layer, f.name) for f in dataclasses.fields(layer)})
    hash(layer)
    with pytest.raises(dataclasses.FrozenInstanceError):
        layer.units = 4


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_takes_trainable(name: str) -> None:
    make = getattr(stoop, name)
    assert make(**LAYERS[name]).trainable is True
    frozen = make(**LAYERS[name], trainable=False)
    assert frozen.trainable is False
    assert frozen != make(**LAYERS[name])
    assert "trainable=False" in repr(frozen)
    with pytest.raises(TypeError, match=rf"\[{name}\] trainable is 1; expected True or False; "):
        make(**LAYERS[name], trainable=1)
    model = stoop.Model([frozen, stoop.Dense(3, activation=stoop.ReLU(trainable=False))], input_dim=2)
    assert model.copy().layers == model.layers
    assert "trainable=False" in model.summary().splitlines()[3]


def test_errors() -> None:
    assert issubclass(stoop.NonFiniteLossError, ArithmeticError)
    assert issubclass(stoop.CheckpointError, ValueError)


def test_all_lists_what_is_there() -> None:
    for name in stoop.__all__:
        assert hasattr(stoop, name)
    expected = {"Model", "Trainer", "Dense", "gradcheck", "load_model"}
    assert expected | {"Ensemble", "load_ensemble", "fit_many", "many"} <= set(stoop.__all__)
    assert "search" in stoop.__all__
    assert set(stoop.search.__all__) >= {"run", "uniform", "log_uniform", "one_minus_log_uniform", "integers", "choice"}
    assert set(stoop.many.__all__) == {"Trained", "bag", "folds", "seeds"}


def test_what_no_training_needs_is_imported_when_it_is_used() -> None:
    listed = "print([f'stoop.{name}' in sys.modules for name in ('diagnose', 'search')])"
    shown = run_python("-c", f"import stoop, sys; {listed}; print(stoop.search.run.__name__)").stdout
    assert shown.split("\n")[:2] == ["[False, False]", "run"]
    assert {"diagnose", "search"} <= set(dir(stoop))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        stoop.nothing  # noqa: B018
