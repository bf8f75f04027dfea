"""The compiled core. Private: use the classes of the package, which check, convert and document.

Arrays must be row-major and of the exact dtype; nothing is converted here but int64 classes.
"""

from collections.abc import Callable
from os import PathLike
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

F = TypeVar("F", np.float32, np.float64)
Path = str | PathLike[str]
Classes = npt.NDArray[np.int32] | npt.NDArray[np.int64]  # (n)

class NonFiniteLossError(ArithmeticError):
    step: int  # updates made before the one that failed
    epoch: int  # epochs completed before it
    cause: str

class CheckpointError(ValueError): ...

class _Model(Generic[F]):  # stands for both classes below; does not exist at run time
    def __init__(self, config: str) -> None: ...  # JSON, see config_json.hpp
    @property
    def input_dim(self) -> int: ...
    @property
    def output_dim(self) -> int: ...
    @property
    def num_parameters(self) -> int: ...
    def config(self) -> str: ...
    def parameters(self) -> dict[str, npt.NDArray[F]]: ...  # writable views that keep the model alive
    def predict(self, x: npt.NDArray[F]) -> npt.NDArray[F]: ...  # GIL released
    def save(self, path: Path) -> None: ...
    @staticmethod
    def load(path: Path) -> _Model[F]: ...
    def copy(self) -> _Model[F]: ...

class ModelFloat32(_Model[np.float32]): ...
class ModelFloat64(_Model[np.float64]): ...

class _Trainer(Generic[F]):  # RuntimeError when entered again while it runs
    def __init__(self, model: _Model[F], config: str) -> None: ...  # JSON; keeps the model alive
    def fit(
        self,
        x: npt.NDArray[F],
        y: npt.NDArray[F] | Classes,  # classes, or (n, n_outputs) values of the model's dtype
        epochs: int,
        batch_size: int,
        shuffle: bool,
        validation: tuple[npt.NDArray[F], npt.NDArray[F] | Classes] | None,
        on_epoch: Callable[[dict[str, Any]], bool] | None,  # the fields of EpochResult; False ends the fit
        on_progress: Callable[[int, int, int], object] | None,  # epoch, samples done, samples
    ) -> None: ...  # raises what a callback raised, or KeyboardInterrupt, after the running step
    def step(self, x: npt.NDArray[F], y: npt.NDArray[F] | Classes) -> float: ...
    def loss_and_grad(
        self, x: npt.NDArray[F], y: npt.NDArray[F] | Classes
    ) -> tuple[float, dict[str, npt.NDArray[F]]]: ...
    def evaluate(
        self, x: npt.NDArray[F], y: npt.NDArray[F] | Classes
    ) -> dict[str, float]: ...  # loss, accuracy (NaN where the loss has none)
    @property
    def epoch(self) -> int: ...
    @property
    def steps(self) -> int: ...
    def config(self) -> str: ...

class TrainerFloat32(_Trainer[np.float32]): ...
class TrainerFloat64(_Trainer[np.float64]): ...

def file_dtype(path: Path) -> str: ...
def check_name(
    kind: str, name: str
) -> str: ...  # kind: activation | initializer | loss | optimizer; suggests the nearest
def loss_takes_classes(loss: str) -> bool: ...  # JSON
def gradcheck(
    model: ModelFloat64,
    loss: str,  # JSON
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64] | Classes,
    l2: float,
    eps: float,
) -> dict[str, Any]: ...  # relative_error, passed, per_parameter: name -> the fields of ParameterCheck
def set_num_threads(n: int) -> None: ...
def get_num_threads() -> int: ...
def usable_cores() -> int: ...
def available_isas() -> list[str]: ...
def active_isa() -> str: ...
def set_blas_path(path: str) -> None: ...
def blas_info() -> dict[str, Any]: ...  # loaded, path, config, error
def build_info() -> dict[str, Any]: ...  # version, compiler, flags, build_type, openmp, cuda
def measure_fma_peak(dtype: str, threads: int) -> float: ...  # GFLOP/s
