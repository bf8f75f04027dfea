"""Checkpoints: what Python adds to the file of the core, and `stoop.load_checkpoint`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from stoop import _core
from stoop._checks import file_path
from stoop._config import from_config
from stoop._errors import message
from stoop.history import History
from stoop.losses import Loss
from stoop.model import load_model
from stoop.optimizers import Optimizer

if TYPE_CHECKING:
    from stoop._loop import FitLoop
    from stoop.trainer import Trainer

_ARRAY = "__array__"  # the key of an object that stands for an array


def load_checkpoint(path: str | os.PathLike[str]) -> Trainer:
    """Return a trainer, with its `model`, as it was when `Trainer.save_checkpoint` wrote the file.

    `Trainer.fit` with ``resume=path`` goes on with the fit that wrote it; `fit` without starts another from there.

    Raises
    ------
    OSError
        If the file cannot be read (FileNotFoundError, PermissionError, ...).
    CheckpointError
        If it is damaged, no checkpoint, or written by a later version of Stoop. Also if its learning rate is a
        function, which no file can hold: make the trainer as it was made then, and call its `load_checkpoint`.
    """
    from stoop.trainer import Trainer

    where = "load_checkpoint"
    name = file_path(where, path)
    model = load_model(name)
    text, has_custom_rate = _core.checkpoint_config(name)
    if has_custom_rate:
        given, expected = f"the learning rate of {name} is a function", "expected one that a file can hold"
        hint = "make the trainer as it was made then, and call its load_checkpoint"
        raise _core.CheckpointError(message(where, given, expected, hint))
    config = json.loads(text)
    loss, optimizer = from_config(Loss, config.pop("loss")), from_config(Optimizer, config.pop("optimizer"))
    config["num_threads"] = config["num_threads"] or None
    trainer = Trainer(model, loss, optimizer, **config)
    trainer.load_checkpoint(name)
    return trainer


def extras_of(history: History, loop: FitLoop | None) -> tuple[str, dict[str, Any]]:
    """Return the history and the states of the callbacks as JSON, and the arrays among these by name."""
    arrays: dict[str, Any] = {}
    kept: dict[str, Any] = {"history": _history_to_json(history)}
    if loop is not None:
        kept["loop"] = loop.state_dict()
        kept["callbacks"] = [
            {"type": type(callback).__name__, "state": _encoded(callback, _state_of(callback), arrays)}
            for callback in loop.callbacks
        ]
    return json.dumps(kept), arrays


def history_of(text: str, core: _core._Trainer[Any]) -> History:
    """Return the history of a checkpoint: that of the core where the file was written by C++."""
    if text:
        kept = json.loads(text)["history"]
        return History._of(kept["epochs"], kept["columns"], kept["stop_reason"], kept["changes"])
    columns = core.history()
    epochs = columns.pop("epoch")
    return History._of(epochs, {name: values for name, values in columns.items() if values})


def restore_loop(loop: FitLoop, text: str, arrays: Mapping[str, Any]) -> None:
    """Put what a checkpoint holds into a fit and its callbacks, each by its type and place among those of that type."""
    restored = history_of(text, loop.trainer._core)
    loop.history._become(restored)
    kept = json.loads(text) if text else {}
    if "loop" in kept:
        loop.load_state_dict(kept["loop"])
    states = list(kept.get("callbacks", []))
    for callback in loop.callbacks:
        found = next((state for state in states if state["type"] == type(callback).__name__), None)
        if found is None:
            continue
        states.remove(found)
        load = getattr(callback, "load_state_dict", None)
        if load is not None:
            load(_decoded(found["state"], arrays))


def _history_to_json(history: History) -> dict[str, Any]:
    return {
        "epochs": history.epochs,
        "columns": dict(history),
        "stop_reason": history.stop_reason,
        "changes": history.changes,
    }


def _state_of(callback: Any) -> Any:
    state_dict = getattr(callback, "state_dict", None)
    return {} if state_dict is None else state_dict()


def _encoded(callback: Any, value: Any, arrays: dict[str, Any]) -> Any:
    """Return `value` as JSON has it; arrays of floats go into `arrays`, others become lists."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _encoded(callback, element, arrays) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return [_encoded(callback, element, arrays) for element in value]
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        if value.dtype in (np.float32, np.float64) and value.size:
            name = str(len(arrays))
            arrays[name] = np.ascontiguousarray(value)
            return {_ARRAY: name}
        return {_ARRAY: value.tolist(), "dtype": value.dtype.str, "shape": value.shape}
    where, given = f"{type(callback).__name__}.state_dict", f"it holds a {type(value).__name__}"
    expected = "expected dicts, lists, text, numbers, None and arrays of numbers"
    raise TypeError(message(where, given, expected, "turn it into these"))


def _decoded(value: Any, arrays: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_decoded(element, arrays) for element in value]
    if not isinstance(value, dict):
        return value
    if _ARRAY not in value:
        return {key: _decoded(element, arrays) for key, element in value.items()}
    if "dtype" in value:
        return np.array(value[_ARRAY], np.dtype(value["dtype"])).reshape(value["shape"])
    return arrays[value[_ARRAY]]
