"""Stoop: fast training of dense neural networks on a CPU.

The classes and functions here are the public interface; see each docstring. Arrays are NumPy, ``X`` is
``(n_samples, n_features)``, a weight is ``(in_features, out_features)``, losses are means over the samples.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

try:
    from stoop import _core
except ImportError as error:
    if isinstance(error.__cause__, KeyboardInterrupt):  # Ctrl-C within the import
        raise error.__cause__ from None
    raise ImportError(
        f"[stoop] the compiled module stoop._core cannot be imported ({error}); expected it next to the package; "
        "install it with `pip install .` in the source folder, and do not import from inside that folder."
    ) from error

from stoop import (
    activations,
    augment,
    callbacks,
    data,
    initializers,
    inspection,
    layers,
    losses,
    many,
    metrics,
    optimizers,
    plotting,
    schedules,
)
from stoop._core import CheckpointError, NonFiniteLossError
from stoop._fit_many import fit_many
from stoop._loading import load_checkpoint
from stoop.activations import *  # noqa: F403
from stoop.averages import ewa
from stoop.clipping import clip_grad_norm
from stoop.config import get_num_threads, num_threads, set_num_threads, show_config
from stoop.ensemble import Ensemble, load_ensemble
from stoop.gradcheck import GradcheckResult, ParameterCheck, gradcheck
from stoop.history import History
from stoop.layers import (
    BatchNorm,
    Columns,
    Dense,
    Dropout,
    FeatureScale,
    LayerNorm,
    MemberDense,
    Members,
    Normalization,
    Residual,
)
from stoop.minimization import minimize
from stoop.model import Model, load_model
from stoop.predictor import Predictor
from stoop.trainer import Trainer

if TYPE_CHECKING:
    from stoop import convert, diagnose, export, search, sklearn, tabular

__version__: str = _core.build_info()["version"]

__all__ = [
    "BatchNorm",
    "CheckpointError",
    "Columns",
    "Dense",
    "Dropout",
    "Ensemble",
    "FeatureScale",
    "GradcheckResult",
    "History",
    "LayerNorm",
    "MemberDense",
    "Members",
    "Model",
    "NonFiniteLossError",
    "Normalization",
    "ParameterCheck",
    "Predictor",
    "Residual",
    "Trainer",
    "augment",
    "callbacks",
    "clip_grad_norm",
    "convert",
    "data",
    "diagnose",
    "ewa",
    "export",
    "fit_many",
    "get_num_threads",
    "gradcheck",
    "initializers",
    "inspection",
    "layers",
    "load_checkpoint",
    "load_ensemble",
    "load_model",
    "losses",
    "many",
    "metrics",
    "minimize",
    "num_threads",
    "optimizers",
    "plotting",
    "schedules",
    "search",
    "set_num_threads",
    "show_config",
    "sklearn",
    "tabular",
]
__all__ += activations.__all__

# They are large or need an extra, and no training needs them.
_WHEN_USED = ("convert", "diagnose", "export", "search", "sklearn", "tabular")


def __getattr__(name: str) -> Any:
    if name in _WHEN_USED:
        return import_module(f"stoop.{name}")
    raise AttributeError(f"module 'stoop' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHEN_USED})
