"""What Python adds to a checkpoint of the core: the history and the states of the callbacks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from stoop import _core
from stoop._errors import message
from stoop.history import History

_ARRAY = "__array__"  # the key of an object that stands for an array


def extras_of(history: History, loop: Any) -> tuple[str, dict[str, Any]]:
    """Return the history and the states of the callbacks as JSON, and the arrays among these by name."""
    arrays: dict[str, Any] = {}
    kept: dict[str, Any] = {"history": _history_to_json(history)}
    if loop is not None:
        kept["loop"] = loop.state_dict()
        kept["callbacks"] = [
            {**_told_of(callback), "state": _encoded(callback, _state_of(callback), arrays)}
            for callback in loop.callbacks
        ]
    return json.dumps(kept), arrays


def read_extras(text: str) -> tuple[History, dict[str, Any]]:
    """Return the history, and what else `extras_of` wrote.

    Raises
    ------
    CheckpointError
        For another text: a file may hold any.
    """
    try:
        kept = json.loads(text)
        told = kept["history"]
        history = History._of(told["epochs"], told["columns"], told["stop_reason"], told["changes"])
        _check_kinds(history, kept)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        given = f"what it says of the fit cannot be read ({type(error).__name__}: {error})"
        hint = "save the checkpoint again"
        raise _core.CheckpointError(message("load_checkpoint", given, "expected what Trainer wrote", hint)) from error
    return history, kept


def _check_kinds(history: History, kept: dict[str, Any]) -> None:
    columns: list[list[Any]] = [history.epochs, *history.values()]
    numbers = all(isinstance(value, int | float) for values in columns for value in values)
    callbacks = all(callback.keys() == {"type", "of", "state"} for callback in kept.get("callbacks", ()))
    if not numbers or not callbacks or not isinstance(kept.get("loop", {}), dict):
        raise TypeError("a part is of another kind")


def history_of(text: str, core: _core._Trainer[Any]) -> History:
    """Return the history of a checkpoint: that of the core where the file was written by C++."""
    if text:
        return read_extras(text)[0]
    columns = core.history()
    epochs = columns.pop("epoch")
    return History._of(epochs, {name: values for name, values in columns.items() if values})


def restore_loop(loop: Any, text: str, arrays: Mapping[str, Any]) -> None:
    """Put what a checkpoint holds into a fit and its callbacks: each by type and monitor or path, else by its place."""
    restored = history_of(text, loop.trainer._core)
    loop.history._become(restored)
    kept = read_extras(text)[1] if text else {}
    if "loop" in kept:
        loop.load_state_dict(kept["loop"])
    states = list(kept.get("callbacks", []))
    fitting = {id(callback): _take_fitting(callback, states, ("type", "of")) for callback in loop.callbacks}
    for callback in loop.callbacks:
        found = fitting[id(callback)] or _take_fitting(callback, states, ("type",))
        load = getattr(callback, "load_state_dict", None)
        if found is not None and load is not None:
            load(_decoded(found["state"], arrays))


def _history_to_json(history: History) -> dict[str, Any]:
    return {
        "epochs": history.epochs,
        "columns": dict(history),
        "stop_reason": history.stop_reason,
        "changes": history.changes,
    }


def _told_of(callback: Any) -> dict[str, Any]:
    """Return the name of its class, and what tells it from others of that class."""
    told = getattr(callback, "monitor", None) or getattr(callback, "path", None)
    return {"type": type(callback).__name__, "of": told if isinstance(told, str) else None}


def _take_fitting(callback: Any, states: list[dict[str, Any]], keys: tuple[str, ...]) -> dict[str, Any] | None:
    """Take the first state out of the list that agrees with the callback in these keys."""
    told = _told_of(callback)
    found = next((state for state in states if all(state[key] == told[key] for key in keys)), None)
    if found is not None:
        states.remove(found)
    return found


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
            arrays[name] = np.asarray(value, order="C")
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
