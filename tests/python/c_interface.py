"""The C interface through ctypes, as a program in Python without the package would use it."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

STATUSES = {1: ValueError, 2: ArithmeticError, 3: RuntimeError, 4: OSError, 5: MemoryError}
_FLOATS, _CLASSES = ctypes.POINTER(ctypes.c_float), ctypes.POINTER(ctypes.c_int32)
_DOUBLES, _TEXT, _HANDLE = ctypes.POINTER(ctypes.c_double), ctypes.c_char_p, ctypes.c_void_p
_DATA = (_FLOATS, ctypes.c_int64, _CLASSES, _FLOATS)
_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "stoop_version": (_TEXT, ()),
    "stoop_last_error": (_TEXT, ()),
    "stoop_last_status": (ctypes.c_int, ()),
    "stoop_model_create": (_HANDLE, (_TEXT,)),
    "stoop_model_load": (_HANDLE, (_TEXT,)),
    "stoop_model_save": (ctypes.c_int, (_HANDLE, _TEXT)),
    "stoop_model_input_dim": (ctypes.c_int64, (_HANDLE,)),
    "stoop_model_output_dim": (ctypes.c_int64, (_HANDLE,)),
    "stoop_model_predict": (ctypes.c_int, (_HANDLE, _FLOATS, ctypes.c_int64, _FLOATS)),
    "stoop_model_free": (None, (_HANDLE,)),
    "stoop_predictor_create": (_HANDLE, (_HANDLE,)),
    "stoop_predictor_predict": (ctypes.c_int, (_HANDLE, _FLOATS, ctypes.c_int64, _FLOATS)),
    "stoop_predictor_free": (None, (_HANDLE,)),
    "stoop_trainer_create": (_HANDLE, (_HANDLE, _TEXT)),
    "stoop_trainer_fit": (ctypes.c_int, (_HANDLE, *_DATA, _TEXT)),
    "stoop_trainer_step": (ctypes.c_int, (_HANDLE, *_DATA, _DOUBLES)),
    "stoop_trainer_evaluate": (ctypes.c_int, (_HANDLE, *_DATA, _DOUBLES, _DOUBLES)),
    "stoop_trainer_save_checkpoint": (ctypes.c_int, (_HANDLE, _TEXT)),
    "stoop_trainer_load_checkpoint": (ctypes.c_int, (_HANDLE, _TEXT)),
    "stoop_trainer_free": (None, (_HANDLE,)),
}


def load(path: str) -> Any:
    """The library, with the types of its functions."""
    library = ctypes.CDLL(path)
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _floats(array: npt.NDArray[Any] | None) -> Any:
    return None if array is None else array.ctypes.data_as(_FLOATS)


def _text(config: Any) -> bytes | None:
    return None if config is None else config if isinstance(config, bytes) else json.dumps(config).encode()


class CModel:
    """A model of the library."""

    def __init__(self, library: Any, handle: int | None) -> None:
        self.library, self.handle = library, check_handle(library, handle)

    @classmethod
    def create(cls, library: Any, config: Any) -> CModel:
        return cls(library, library.stoop_model_create(_text(config)))

    @classmethod
    def load(cls, library: Any, path: Path) -> CModel:
        return cls(library, library.stoop_model_load(str(path).encode()))

    def save(self, path: Path) -> None:
        check(self.library, self.library.stoop_model_save(self.handle, str(path).encode()))

    def predict(self, X: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        out = np.empty((len(X), self.library.stoop_model_output_dim(self.handle)), np.float32)
        check(self.library, self.library.stoop_model_predict(self.handle, _floats(X), len(X), _floats(out)))
        return out

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            self.library.stoop_model_free(self.handle)


class CPredictor:
    """A predictor of the library."""

    def __init__(self, model: CModel) -> None:
        self.library = model.library
        self.columns = self.library.stoop_model_output_dim(model.handle)
        self.handle = check_handle(self.library, self.library.stoop_predictor_create(model.handle))

    def predict(self, X: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        out = np.empty((len(X), self.columns), np.float32)
        check(self.library, self.library.stoop_predictor_predict(self.handle, _floats(X), len(X), _floats(out)))
        return out

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            self.library.stoop_predictor_free(self.handle)


class CTrainer:
    """A trainer of the library; y are int32 classes or float32 values."""

    def __init__(self, model: CModel, config: Any = None) -> None:
        self.library = model.library
        self.handle = check_handle(self.library, self.library.stoop_trainer_create(model.handle, _text(config)))

    def fit(self, X: npt.NDArray[Any], y: npt.NDArray[Any], options: Any = None) -> None:
        check(self.library, self.library.stoop_trainer_fit(self.handle, *_data(X, y), _text(options)))

    def step(self, X: npt.NDArray[Any], y: npt.NDArray[Any]) -> float:
        loss = ctypes.c_double()
        check(self.library, self.library.stoop_trainer_step(self.handle, *_data(X, y), loss))
        return loss.value

    def evaluate(self, X: npt.NDArray[Any], y: npt.NDArray[Any]) -> tuple[float, float]:
        loss, accuracy = ctypes.c_double(), ctypes.c_double()
        check(self.library, self.library.stoop_trainer_evaluate(self.handle, *_data(X, y), loss, accuracy))
        return loss.value, accuracy.value

    def save_checkpoint(self, path: Path) -> None:
        check(self.library, self.library.stoop_trainer_save_checkpoint(self.handle, str(path).encode()))

    def load_checkpoint(self, path: Path) -> None:
        check(self.library, self.library.stoop_trainer_load_checkpoint(self.handle, str(path).encode()))

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            self.library.stoop_trainer_free(self.handle)


def _data(X: npt.NDArray[Any], y: npt.NDArray[Any]) -> tuple[Any, ...]:
    classes = y.ctypes.data_as(_CLASSES) if y.dtype == np.int32 else None
    return _floats(X), len(X), classes, None if classes is not None else _floats(y)


def check(library: Any, status: int) -> None:
    """Raise an exception for a status other than 0."""
    if status != 0:
        raise STATUSES.get(status, SystemError)(library.stoop_last_error().decode())


def check_handle(library: Any, handle: int | None) -> int:
    if handle is None:
        check(library, library.stoop_last_status())
    assert handle is not None
    return handle
