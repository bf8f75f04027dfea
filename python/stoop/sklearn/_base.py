"""What both estimators have in common: scikit-learn's rules of `fit` and `partial_fit` around a model and a trainer."""

from __future__ import annotations

import inspect
import warnings
from abc import ABC, abstractmethod
from functools import cache
from numbers import Integral, Real
from operator import index
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, is_regressor
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, Options, StrOptions, validate_parameter_constraints
from sklearn.utils.validation import _check_sample_weight, validate_data

from stoop._arrays import refuse_masked
from stoop._core import NonFiniteLossError
from stoop._errors import message
from stoop.model import Model
from stoop.optimizers import Optimizer
from stoop.sklearn._average import Average
from stoop.sklearn._lbfgs import fit_lbfgs
from stoop.sklearn._network import Objective, build_model, draw_weights
from stoop.sklearn._rows import dense, is_in_parts, part_rows, parts, prepared
from stoop.sklearn._stochastic import (
    CALLER,
    Rate,
    Samples,
    Stochastic,
    arguments_of_trainer,
    make_trainer,
    refuse_other_arguments,
)
from stoop.sklearn._weights import OF_THE_MODEL
from stoop.trainer import Trainer

Array = npt.NDArray[Any]

_STOCHASTIC = ("sgd", "adam")
_FEW_ROWS = 2000  # with more nobody looks whether they repeat one another
_NON_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)
_NOTHING = object()


@cache
def _defaults(kind: type) -> dict[str, Any]:
    """Return the defaults of the arguments of the class that has the rules for them."""
    owner = next(one for one in kind.__mro__ if "_parameter_constraints" in vars(one))
    return {name: one.default for name, one in inspect.signature(owner).parameters.items()}


class BaseMLP(Average, BaseEstimator, ABC):
    """Base of the estimators. Use a subclass."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({"identity", "logistic", "tanh", "relu"})],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "batch_norm": ["boolean"],
        "layer_norm": ["boolean"],
        "optimizer": [str, Optimizer, None],
        "callbacks": "no_validation",  # by the trainer
        "restore_best": ["boolean"],
        "ema": [Interval(Real, 0, 1, closed="left"), None],
        "precision": [StrOptions({"float32", "bfloat16"})],
        "dtype": [StrOptions({"float32", "float64"})],
        "num_threads": [Interval(Integral, 1, None, closed="left"), None],
    }

    @classmethod
    @cache  # for to look at the signature takes as long as tens of epochs of a small fit
    def _get_param_names(cls) -> list[str]:
        names: list[str] = super()._get_param_names()
        return names

    def _validate_params(self) -> None:
        """Check the arguments that are not left at their defaults."""
        defaults = _defaults(type(self))
        given = {name: getattr(self, name) for name in self._get_param_names()}
        changed = {name: value for name, value in given.items() if value is not defaults.get(name, _NOTHING)}
        validate_parameter_constraints(self._parameter_constraints, changed, type(self).__name__)

    @abstractmethod
    def _validate_input(self, X: Any, y: Any, *, incremental: bool, reset: bool) -> tuple[Any, Array]:
        """Return X as an array or sparse, and y as ``(n_samples,)`` or ``(n_samples, n_outputs)``."""

    @abstractmethod
    def _make_objective(self) -> Objective: ...

    @abstractmethod
    def _targets(self, y: Array) -> Array:
        """Return what the core is trained with; `y` is as `_validate_input` returns it."""

    @abstractmethod
    def _score_outputs(self, outputs: Array, held_out: Samples) -> float:
        """Return accuracy or R2 of the model's outputs, NaN where they are not finite."""

    def _constant_loss(self, samples: Samples) -> float:  # noqa: ARG002
        """Return what scikit-learn's loss has beside the core's."""
        return 0.0

    # ---- fitting ----

    def _arrays(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, Array]:
        """Return X and y as scikit-learn checks them; y of one column as ``(n_samples,)``."""
        if self._needs_no_check(X, reset=reset) and _are_plain_targets(y, len(X)):
            self.n_features_in_ = X.shape[1]
            return X, y
        options = {"accept_sparse": ["csr", "csc"], "multi_output": True, "y_numeric": is_regressor(self)}
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32), reset=reset, **options)
        return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _fit(self, X: Any, y: Any, sample_weight: Any, *, validation_data: Any = None, incremental: bool) -> Any:
        for name, part in (("X", X), ("y", y), ("sample_weight", sample_weight)):
            refuse_masked(f"{type(self).__name__}.fit", part, name)
        sizes = self._hidden_sizes()
        first_pass = not (self._has_weights() and (self.warm_start or incremental))
        X, y = self._validate_input(X, y, incremental=incremental, reset=first_pass)
        weights = None if sample_weight is None else _checked_weights(sample_weight, X)
        weights = self._with_class_weights(weights, y, incremental=incremental)
        self._random_state = check_random_state(self.random_state)
        self._take_up(first_pass, [X.shape[1], *sizes, self.n_outputs_], X.dtype)
        dtype = np.float64 if self.solver == "lbfgs" else self._model.dtype
        samples = Samples(prepared(X, dtype), y, weights)
        try:
            if self.solver == "lbfgs" and self.optimizer is None:
                self._fit_lbfgs(samples)
            else:
                self._fit_stochastic(samples, validation_data, incremental=incremental)
        except NonFiniteLossError as error:
            raise ValueError(f"{_NON_FINITE} {error}") from error
        except ValueError as error:
            if not _leaves_range(samples.X, self._model.dtype):
                raise
            raise ValueError(
                f"{_NON_FINITE} X has numbers that float32 does not hold; dtype='float64' does."
            ) from error
        finally:
            self._take_in_weights()  # so that arrays given out before show what was learned
        return self

    def _hidden_sizes(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        if np.any(np.array(sizes) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return [index(size) for size in sizes]

    def _with_class_weights(self, weights: Array | None, y: Array, *, incremental: bool) -> Array | None:  # noqa: ARG002
        return weights

    def _take_up(self, first_pass: bool, units: list[int], dtype: npt.DTypeLike) -> None:
        """Begin anew, or go on from `coefs_` and `intercepts_`, whoever has set them."""
        if first_pass:
            self.n_layers_ = len(units)
            self.n_iter_ = 0
            self.t_ = 0
            self.out_activation_ = self._make_objective().out_activation
            self._adopt(build_model(self, units, self.dtype), dtype)
            self._built = self._architecture()
            draw_weights(self._model, self.activation, self._random_state)
            self._trainer: Trainer | None = None
            self._begin_curves()
        else:
            self._take_in_weights()
            if units != self._units():
                given, expected = f"the layers have the sizes {units}", f"expected {self._units()}, those of coefs_"
                hint = "fit without warm_start to train another network"
                raise ValueError(message(type(self).__name__, given, expected, hint))
            if self._built != self._architecture():
                self._rebuild(units)
            if self._make_objective().out_activation != self.out_activation_:
                given = f"loss={self.loss!r} for a network whose outputs go through {self.out_activation_}"
                hint = "fit without warm_start to train another network"
                raise ValueError(message(type(self).__name__, given, "expected a loss of such outputs", hint))

    def _begin_curves(self) -> None:
        if self.solver not in _STOCHASTIC and self.optimizer is None:
            return
        self.loss_curve_: list[float] = []
        self._no_improvement_count = 0
        self.best_loss_ = None if self.early_stopping else np.inf
        self.validation_scores_: list[float] | None = [] if self.early_stopping else None
        self.best_validation_score_ = -np.inf if self.early_stopping else None

    def _go_on_with_curves(self, held_out: Samples | None) -> None:
        """Add what is missing where an earlier fit had other arguments."""
        if not hasattr(self, "loss_curve_"):
            self._begin_curves()
        if self.best_loss_ is None and not self.early_stopping:
            self.best_loss_ = np.inf
        if held_out is not None and self.validation_scores_ is None:
            self.validation_scores_, self.best_validation_score_ = [], -np.inf

    def _fit_lbfgs(self, samples: Samples) -> None:
        if self.dropout > 0 or self.batch_norm:
            given = "solver='lbfgs' with dropout or batch_norm"
            hint = "use layer_norm, or the solver 'adam'"
            raise ValueError(message(type(self).__name__, given, "expected a loss without chance", hint))
        model = self._model
        exact = model if self.dtype == "float64" else build_model(self, self._units(), "float64")
        if exact is not model:
            exact.load_state_dict(model.state_dict())
        fit_lbfgs(self, exact, self._make_objective(), self._for_core(samples, exact))
        if exact is not model:
            model.load_state_dict(exact.state_dict())

    def _fit_stochastic(self, samples: Samples, validation_data: Any, *, incremental: bool) -> None:
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        samples, held_out = self._split(samples, validation_data)
        total = len(samples)
        if self.batch_size == "auto":
            batch_size = min(200, total)
        else:
            if self.batch_size > total:
                text = "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped"
                warnings.warn(text, stacklevel=CALLER - 1)
            batch_size = int(np.clip(self.batch_size, 1, total))
        self._go_on_with_curves(held_out)
        objective = self._make_objective()
        if self._trainer is None or not incremental:
            self._optimizer = Rate(self)
            seed = int(self._random_state.randint(np.iinfo(np.int32).max))
            self._trainer = make_trainer(self, self._model, objective, seed)
            self._shows_average, self._averages, self._kept_ema = False, [], self.ema
            self._trained_with = arguments_of_trainer(self)
        else:
            refuse_other_arguments(self, getattr(self, "_trained_with", {}))
        self._hide_average()
        draws_by_row = self.batch_norm or self.dropout > 0 or is_in_parts(samples.X)
        if batch_size == total <= _FEW_ROWS and not (incremental or draws_by_row):
            samples = samples.merged()
            batch_size = len(samples)
        samples = self._for_core(samples, self._model)
        held_out = held_out and self._for_core(held_out, self._model)
        Stochastic(self, self._trainer, objective, samples, held_out, once=incremental).run(batch_size)

    def _for_core(self, samples: Samples, model: Model) -> Samples:
        scale = samples.mean_weight
        weights = None if samples.weights is None else (samples.weights / scale).astype(model.dtype)
        if weights is not None and (weights == 1).all():
            weights = None  # which takes less time, and comes to the bits of no weights
        targets = self._targets(samples.y)
        if targets.ndim == 2:  # values, not classes
            targets = np.ascontiguousarray(targets, dtype=model.dtype)
        return Samples(samples.X, targets, weights, scale, samples.repeats)

    def _split(self, samples: Samples, validation_data: Any) -> tuple[Samples, Samples | None]:
        """Return what is trained on and what is validated with, by scikit-learn's split or as given."""
        if validation_data is not None:
            return samples, self._given_validation(validation_data)
        if not self.early_stopping:
            return samples, None
        arrays = [samples.X, samples.y] + ([] if samples.weights is None else [samples.weights])
        parts = train_test_split(
            *arrays,
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=self._stratify(samples.y),
        )
        if parts[1].shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        return Samples(*parts[0::2]), Samples(*parts[1::2])

    def _stratify(self, y: Array) -> Array | None:  # noqa: ARG002
        return None

    def _given_validation(self, validation_data: Any) -> Samples:
        try:
            X, y, *weights = validation_data
            (weights,) = weights or (None,)
        except (TypeError, ValueError):
            given = f"validation_data is a {type(validation_data).__name__}"
            expected = "expected a pair (X, y) or (X, y, sample_weight)"
            where = f"{type(self).__name__}.fit"
            raise TypeError(message(where, given, expected, "give validation_data=(X, y)")) from None
        for name, part in (("X", X), ("y", y), ("sample_weight", weights)):
            refuse_masked(f"{type(self).__name__}.fit: validation_data", part, name)
        X, y = self._validate_held_out(X, y)
        weights = None if weights is None else _checked_weights(weights, X)
        weights = self._with_class_weights(weights, y, incremental=False)
        return Samples(prepared(X, self._model.dtype), y, weights)

    @abstractmethod
    def _validate_held_out(self, X: Any, y: Any) -> tuple[Any, Array]: ...

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        if "model_" not in state:
            return state
        self._take_in_weights()
        return {name: value for name, value in state.items() if name not in OF_THE_MODEL}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "model_" in vars(self):
            self._adopt(self._model, self._width)

    # ---- prediction ----

    def _checked(self, X: Any) -> Any:
        if self._needs_no_check(X, reset=False):
            return np.ascontiguousarray(X)
        refuse_masked(f"{type(self).__name__}.predict", X, "X")
        X = validate_data(self, X, accept_sparse=["csr", "csc"], dtype=(np.float64, np.float32), reset=False)
        return prepared(X, np.float64)

    def _needs_no_check(self, X: Any, *, reset: bool) -> bool:
        """Return whether `validate_data` would return X as it is, which takes it longer than a small prediction."""
        if type(X) is not np.ndarray or X.ndim != 2 or X.dtype not in (np.float64, np.float32):
            return False
        if X.size == 0 or hasattr(self, "feature_names_in_") or not (reset or X.shape[1] == self.n_features_in_):
            return False
        return _is_finite(X)

    def _outputs(self, X: Any) -> Array:
        """Return the model's outputs, before the last activation, for X as `prepared` returns it."""
        self._take_in_weights()
        return self._in_parts(self._model.predict, X)

    def _wide_outputs(self, X: Any) -> Array:
        """Return the outputs for any X, float64 unless both X and the weights are float32."""
        X = self._checked(X)
        return self._outputs(X).astype(np.result_type(X.dtype, self._model.dtype), copy=False)

    def _in_parts(self, function: Any, X: Any) -> Array:
        if not is_in_parts(X):
            result: Array = function(X)
            return result
        rows = part_rows(X, np.float64)
        return np.concatenate([function(dense(X, part)) for part in parts(X.shape[0], rows)])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _check_solver(self) -> bool:
        if self.solver not in _STOCHASTIC:
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True


def _are_plain_targets(y: Any, samples: int) -> bool:
    """Return whether scikit-learn would take y as it is."""
    if type(y) is not np.ndarray or y.shape != (samples,):
        return False
    return y.dtype.kind in "iub" or (y.dtype in (np.float64, np.float32) and _is_finite(y))


def _is_finite(array: Array) -> bool:
    """Return whether the sum is finite, and so all elements are."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(array.sum()))


def _checked_weights(weights: Any, X: Any) -> Array:
    checked: Array = _check_sample_weight(weights, X)
    if (checked < 0).any():
        raise ValueError("Negative values in data passed to `sample_weight`.")
    return checked


def _leaves_range(X: Any, dtype: Any) -> bool:
    """Return whether a finite X has numbers that become infinite in `dtype`."""
    values = X.data if is_in_parts(X) else X
    return values.dtype != dtype and bool(np.abs(values).max() > np.finfo(dtype).max)
