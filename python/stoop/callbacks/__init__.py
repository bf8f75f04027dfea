"""Callbacks of `Trainer.fit`."""

from stoop.callbacks._base import Callback
from stoop.callbacks._loggers import CSVLogger, JSONLLogger, TensorBoard

__all__ = ["CSVLogger", "Callback", "JSONLLogger", "TensorBoard"]
