"""Callbacks of `stoop.Trainer.fit`: what is done between two updates or epochs."""

from stoop.callbacks._base import Callback
from stoop.callbacks._checkpoint import ModelCheckpoint
from stoop.callbacks._functions import Lambda, OptunaPruning
from stoop.callbacks._loggers import CSVLogger, JSONLLogger, TensorBoard
from stoop.callbacks._monitoring import EarlyStopping, ReduceLROnPlateau

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "JSONLLogger",
    "Lambda",
    "ModelCheckpoint",
    "OptunaPruning",
    "ReduceLROnPlateau",
    "TensorBoard",
]
