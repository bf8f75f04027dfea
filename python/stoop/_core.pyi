"""The compiled core. Private: use the classes of the package, which check, convert and document.

Arrays must be row-major and of the exact dtype; nothing is converted here but samples and int64 classes.
"""

from collections.abc import Callable
from os import PathLike
from typing import Any, Generic, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

from stoop._fit import FitOptions

F = TypeVar("F", np.float32, np.float64)
Path = str | PathLike[str]
# (n, input_dim), rows contiguous, read in place; a numpy.memmap page by page
Samples = npt.NDArray[np.float32] | npt.NDArray[np.float64] | npt.NDArray[np.uint8]
Classes = npt.NDArray[np.int32] | npt.NDArray[np.int64]  # (n)
# For each schedule that holds no other: the Python function of t in its place and what t counts, or None. The JSON
# holds a placeholder where there is a function.
PythonRates = list[tuple[Callable[[int], float], str] | None]

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
    def input_scale(self) -> float: ...
    @property
    def input_shift(self) -> float: ...
    @property
    def output_dim(self) -> int: ...
    @property
    def members(self) -> int: ...
    @property
    def num_parameters(self) -> int: ...
    output: str | None
    classes: tuple[list[str], str] | None  # names as text and their dtype, see ClassNames
    metadata: dict[str, str]  # a copy
    @property
    def output_is_given(self) -> bool: ...
    def set_output_by_training(self, name: str) -> None: ...
    def config(self) -> str: ...
    @property
    def takes_exact_input(self) -> bool: ...  # X goes to a Normalization or Columns: a copy of it is float64
    # A path is the place of a layer in the model, then, in a Residual, its place among those within, and so on.
    def layer_count(self, path: tuple[int, ...]) -> int: ...  # of the model, (), or of a Residual
    def layer_config(self, path: tuple[int, ...]) -> str: ...  # JSON of one layer; a Residual without those within
    def parameters(self) -> dict[str, npt.NDArray[F]]: ...  # writable views that keep the model alive
    def buffers(self) -> dict[str, npt.NDArray[F]]: ...  # likewise
    def takes(self, x: object) -> bool: ...  # whether predict takes it without a check or a conversion before
    def predict(self, x: Samples, most_threads: int = 0) -> npt.NDArray[F]: ...  # GIL released; 0: get_num_threads()
    def predict_into(self, x: Samples, out: object, most_threads: int = 0) -> None: ...  # makes the checks of check_out
    def check_out(self, x: Samples, out: object) -> None: ...  # whether `out` can get the outputs for x
    def adapt(self, x: Samples) -> None: ...  # GIL released
    @property
    def is_adapted(self) -> bool: ...
    def input_gradient(self, x: Samples, grad_output: npt.NDArray[F]) -> npt.NDArray[F]: ...
    def jacobian(self, x: Samples) -> npt.NDArray[F]: ...  # (n, output_dim, input_dim)
    def soft_update(self, source: _Model[F], tau: float) -> None: ...
    def save(self, path: Path) -> None: ...
    def copy(self) -> _Model[F]: ...

class ModelFloat32(_Model[np.float32]): ...
class ModelFloat64(_Model[np.float64]): ...

class _Predictor(Generic[F]):  # stands for both classes below; has a copy of the model
    def __init__(self, model: _Model[F]) -> None: ...  # GIL released
    def takes(self, x: object) -> bool: ...  # as _Model.takes
    def predict(self, x: Samples) -> npt.NDArray[F]: ...
    def predict_into(self, x: Samples, out: object) -> None: ...
    def model(self) -> _Model[F]: ...  # a copy

class PredictorFloat32(_Predictor[np.float32]): ...
class PredictorFloat64(_Predictor[np.float64]): ...

class World:  # the processes of a training; the functions take two buffers
    def __init__(
        self,
        shards: int,
        rank: int,
        size: int,
        allgather: Callable[[Any, Any], object],
        alltoall: Callable[[Any, Any], object],
    ) -> None: ...
    @property
    def calls(self) -> int: ...  # of these functions so far
    def check_alike(self, where: str, state: int) -> None: ...  # ValueError where not all processes have the same
    def decline(self, where: str, reason: str) -> None: ...  # tells the others that this one cannot make their call

class _Ensemble(Generic[F]):  # stands for both classes below; keeps the models alive
    def __init__(self, models: list[_Model[Any]]) -> None: ...  # of its dtype
    def takes(self, x: object) -> bool: ...  # as _Model.takes
    def predict(self, x: Samples) -> npt.NDArray[F]: ...  # (n_members, n, output_dim)
    def predict_into(self, x: Samples, out: object) -> None: ...
    # Means and, if asked for, standard deviations.
    def predict_mean(self, x: Samples, with_deviation: bool) -> tuple[npt.NDArray[F], npt.NDArray[F] | None]: ...
    def predict_proba(self, x: Samples, with_deviation: bool) -> tuple[npt.NDArray[F], npt.NDArray[F] | None]: ...
    def predict_gaussian(self, x: Samples) -> tuple[npt.NDArray[F], npt.NDArray[F] | None]: ...  # means and variances
    def save(self, path: Path) -> None: ...

class EnsembleFloat32(_Ensemble[np.float32]): ...
class EnsembleFloat64(_Ensemble[np.float64]): ...

class _Trainer(Generic[F]):  # RuntimeError when entered again while it runs
    # JSON; keeps the model and the world
    def __init__(self, model: _Model[F], config: str, rates: PythonRates, world: World | None = None) -> None: ...
    def fit(
        self,
        x: Samples,
        y: npt.NDArray[F] | Classes,  # classes, or (n, n_outputs) values of the model's dtype
        weights: npt.NDArray[F] | None,  # (n)
        validation: tuple[Samples, npt.NDArray[F] | Classes, npt.NDArray[F] | None] | None,
        options: FitOptions,  # whose history gets a row after each epoch
    ) -> str: ...  # why it ended; raises what a callback raised, or KeyboardInterrupt, after the running step
    # Whether the methods below take them without a check or a conversion before.
    def takes(self, x: object, y: object) -> bool: ...
    def step(self, x: Samples, y: npt.NDArray[F] | Classes, weights: npt.NDArray[F] | None = None) -> float: ...
    def loss_and_grad(
        self,
        x: Samples,
        y: npt.NDArray[F] | Classes,
        weights: npt.NDArray[F] | None,
        training: bool,
        dropout: bool,
    ) -> tuple[float, dict[str, npt.NDArray[F]]]: ...
    def hessian_vector_product(
        self,
        x: Samples,
        y: npt.NDArray[F] | Classes,
        weights: npt.NDArray[F] | None,
        direction: dict[str, npt.NDArray[F]],  # an array for each parameter
        *,
        training: bool,
        dropout: bool,
    ) -> dict[str, npt.NDArray[F]]: ...
    def profile(
        self, x: Samples, y: npt.NDArray[F] | Classes, batch_size: int
    ) -> dict[str, Any]: ...  # "steps": (name, seconds, flops, bytes); "seconds" of a batch; "threads"
    def evaluate(
        self, x: Samples, y: npt.NDArray[F] | Classes, weights: npt.NDArray[F] | None = None, keeps_losses: bool = False
    ) -> dict[str, Any]: ...  # loss, with keeps_losses of each sample; accuracy (NaN where the loss has none)
    def losses(
        self, x: Samples, y: npt.NDArray[F] | Classes, weights: npt.NDArray[F] | None = None
    ) -> npt.NDArray[np.float64]: ...  # (n_samples,)
    def critical_point(
        self,
        x: Samples,
        y: npt.NDArray[F] | Classes,
        weights: npt.NDArray[F] | None,
        *,
        training: bool,
        iterations: int,
        gradient_tolerance: float,
        curvature_tolerance: float,
        plateau_tolerance: float,
    ) -> dict[str, Any]: ...  # the fields of CriticalPoint
    # An update in pieces, for arrays that a Trainer has checked.
    def forward(self, x: Samples, training: bool, dropout: bool) -> npt.NDArray[F]: ...
    def takes_gradient(self, gradient: object) -> bool: ...  # whether backward takes it without a conversion before
    def backward(self, grad_output: npt.NDArray[F], input_gradient: bool) -> npt.NDArray[F] | None: ...
    def gradients(self) -> dict[str, npt.NDArray[F]]: ...  # writable views that keep the trainer alive
    def apply(self) -> float: ...
    def zero_grad(self) -> None: ...
    def try_step_rows(
        self, x: object, y: object, weights: npt.NDArray[F] | None, rows: object
    ) -> float | None: ...  # None: they need a conversion before; weights are of the batch
    def ema_parameters(self) -> dict[str, npt.NDArray[F]]: ...  # writable views that keep the trainer alive
    def swap_ema(self) -> None: ...
    def work_alone(self, alone: bool) -> None: ...  # without the other processes of the world
    def fingerprint(self) -> int: ...  # of all that training carries on
    def set_learning_rate(self, rate: str, rates: PythonRates) -> None: ...  # JSON
    def set_penalties(self, l1: float, l2: float) -> None: ...
    def set_clipping(self, norm: float | None, value: float | None) -> None: ...
    def state(self) -> dict[str, Any]: ...  # the arguments of set_state; parameters and buffers are the model's
    def set_state(self, **state: Any) -> None: ...  # pickles of earlier versions have neither place nor fit
    def save_checkpoint(self, path: str, text: str, arrays: dict[str, Any]) -> None: ...
    # Text and arrays, as they were given. `check` gets the text before anything is changed.
    def load_checkpoint(self, path: str, check: Callable[[str], Any]) -> tuple[str, dict[str, Any]]: ...
    def history(self) -> dict[str, list[Any]]: ...  # the columns of the core
    def settings(self) -> dict[str, Any]: ...  # those that can be set; a learning rate as JSON, None for a function
    @property
    def epoch(self) -> int: ...
    @property
    def steps(self) -> int: ...
    def config(self) -> str: ...

class TrainerFloat32(_Trainer[np.float32]): ...
class TrainerFloat64(_Trainer[np.float64]): ...

def clip_grad_norm(trainers: list[Any], max_norm: float) -> float: ...  # of cores of trainers

class _ParameterUpdater(Generic[F]):
    def __init__(self, config: str, rates: PythonRates, where: str) -> None: ...  # JSON of the optimizer
    def state(self) -> tuple[list[list[npt.NDArray[F]]], list[int], int]: ...  # the arguments of set_state
    def set_state(self, arrays: list[list[npt.NDArray[F]]], sizes: list[int], steps: int, where: str) -> None: ...
    def step(
        self, parameters: list[npt.NDArray[F]], gradients: list[npt.NDArray[F]], where: str
    ) -> None: ...  # in place; row-major; RuntimeError while another thread is in it
    @property
    def steps(self) -> int: ...

class ParameterUpdaterFloat32(_ParameterUpdater[np.float32]): ...
class ParameterUpdaterFloat64(_ParameterUpdater[np.float64]): ...

# Updates `point` in place; `cost` writes the gradient at `point` into its argument and returns the value.
def minimize(
    config: str,  # JSON of the optimizer
    rates: PythonRates,
    point: npt.NDArray[np.float64],
    cost: Callable[[npt.NDArray[np.float64]], float],
    steps: int,
) -> list[float]: ...  # the cost before each
def check_optimizer(config: str) -> None: ...  # JSON; rules between several fields
def check_schedule(schedule: str, rates: PythonRates) -> None: ...
def schedule_rates(schedule: str, rates: PythonRates, first: int, count: int) -> npt.NDArray[np.float64]: ...  # JSON
def ewa(
    x: npt.NDArray[np.float64], beta: float, bias_correction: bool
) -> npt.NDArray[np.float64]: ...  # (n, columns), each column by itself
def checkpoint_config(path: str) -> tuple[str, bool]: ...  # JSON; whether the learning rate is a function
def load_model(path: Path) -> ModelFloat32 | ModelFloat64: ...  # GIL released
def load_ensemble(path: Path) -> list[ModelFloat32 | ModelFloat64]: ...  # GIL released

MOST_NESTED_RESIDUALS: int

def memory_of_values(text: str) -> int: ...  # what JSON takes beside its text, as the readers of files count it

# By kind in the plural, then by name: {"class": name, "fields": {key: {"type", "required", "default", "hint"}}}, and of
# numbers "low", "high", "without_low", "without_high", "expected" as well, of names "choices". None: no bound. Beside
# "class" and "fields" a loss has "has_accuracy".
def specs() -> dict[str, dict[str, Any]]: ...

# Each job is (trainer, x, y, weights, validation, rows, validation_rows, options), as of _Trainer.fit; rows are int32.
# Returns what ended all.
class Augment:
    def __init__(self, **settings: Any) -> None: ...

def augment(
    settings: Augment,
    x: Samples,
    out: npt.NDArray[Any],  # (n, features)
    epoch: int,
    y: npt.NDArray[Any] | None,  # classes, or values (n, columns) of the dtype of out
    targets: npt.NDArray[Any] | None,  # (n, columns), is written
) -> None: ...
def augment_draws(settings: Augment, seed: int, epoch: int, position: int, samples: int) -> dict[str, Any]: ...
def fit_many(
    jobs: list[tuple[Any, ...]],
    num_threads: int,
    max_seconds: float,
    progress: Callable[[int, int, int, float], bool],  # running, done, failed, part of the work
    finish: Callable[[int, str, BaseException | None, bool], None],  # job, why it ended, error, whether it began
) -> BaseException | None: ...
def refuse_name(where: str, what: str, name: str, valid: list[str]) -> NoReturn: ...  # ValueError, suggests the nearest
def gradcheck(
    model: ModelFloat64,
    loss: str,  # JSON
    x: Samples,
    y: npt.NDArray[np.float64] | Classes,
    weights: npt.NDArray[np.float64] | None,
    *,
    l1: float,
    l2: float,
    eps: float,
    sample: int,  # elements of each parameter, 0: all
) -> dict[str, Any]: ...  # relative_error, passed, per_parameter: name -> the fields of ParameterCheck
def set_num_threads(n: int) -> None: ...
def get_num_threads() -> int: ...
def usable_cores() -> int: ...
def available_isas() -> list[str]: ...
def active_isa() -> str: ...
def available_bfloat16() -> list[str]: ...
def active_bfloat16() -> str: ...  # empty: there is none
def active_gemm() -> str: ...
def set_blas_path(path: str) -> None: ...
def blas_info() -> dict[str, Any]: ...  # loaded, path, config, error
def build_info() -> dict[str, Any]: ...  # version, compiler, flags, build_type, cuda
def measure_fma_peak(dtype: str, threads: int) -> float: ...  # GFLOP/s
def measure_memory_bandwidth(threads: int) -> float: ...  # GB/s, reads and writes
def measure_core_latency() -> float: ...  # nanoseconds from core to core and back, NaN if unknown
