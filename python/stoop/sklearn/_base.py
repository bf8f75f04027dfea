"""What both estimators have in common: scikit-learn's rules of `fit` and `partial_fit` around a model and a trainer."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, validate_data

from stoop._core import NonFiniteLossError
from stoop._errors import message
from stoop.model import Model
from stoop.optimizers import Optimizer
from stoop.sklearn._lbfgs import fit_lbfgs
from stoop.sklearn._network import Objective, build_model, draw_weights, units_of, weights_of
from stoop.sklearn._rows import dense, is_in_parts, part_rows, parts, prepared
from stoop.sklearn._stochastic import Rate, Samples, Stochastic, make_trainer
from stoop.trainer import Trainer

Array = npt.NDArray[Any]

_STOCHASTIC = ("sgd", "adam")
_NON_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
    "preprocessed."
)
_NOT_PICKLED = ("coefs_", "intercepts_", "_views")  # they are the model's


class BaseMLP(BaseEstimator, ABC):
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

    def _fit(self, X: Any, y: Any, sample_weight: Any, *, validation_data: Any = None, incremental: bool) -> Any:
        sizes = self._hidden_sizes()
        first_pass = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        X, y = self._validate_input(X, y, incremental=incremental, reset=first_pass)
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, X)
        weights = self._with_class_weights(weights, y, incremental=incremental)
        self._random_state = check_random_state(self.random_state)
        self._take_up(first_pass, [X.shape[1], *sizes, self.n_outputs_])
        dtype = np.float64 if self.solver == "lbfgs" else self.model_.dtype
        samples = Samples(prepared(X, dtype), y, weights)
        try:
            if self.solver == "lbfgs" and self.optimizer is None:
                self._fit_lbfgs(samples)
            else:
                self._fit_stochastic(samples, validation_data, incremental=incremental)
        except NonFiniteLossError as error:
            raise ValueError(f"{_NON_FINITE} {error}") from error
        return self

    def _hidden_sizes(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        if np.any(np.array(sizes) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return [int(size) for size in sizes]

    def _with_class_weights(self, weights: Array | None, y: Array, *, incremental: bool) -> Array | None:  # noqa: ARG002
        return weights

    def _take_up(self, first_pass: bool, units: list[int]) -> None:
        """Begin anew, or go on from `coefs_` and `intercepts_`, whoever has set them."""
        if first_pass:
            self.n_layers_ = len(units)
            self.n_iter_ = 0
            self.t_ = 0
            self.out_activation_ = self._make_objective().out_activation
            self._adopt(build_model(self, units, self.dtype))
            draw_weights(self.model_, self.activation, self._random_state)
            self._trainer = None
            self._begin_curves()
        else:
            self._take_in_weights()
            if units != units_of(self.coefs_):
                raise ValueError(
                    message(
                        type(self).__name__,
                        f"the layers have the sizes {units}",
                        f"expected {units_of(self.coefs_)}, those of coefs_",
                        "fit without warm_start to train another network",
                    )
                )

    def _begin_curves(self) -> None:
        if self.solver not in _STOCHASTIC and self.optimizer is None:
            return
        self.loss_curve_: list[float] = []
        self._no_improvement_count = 0
        self.best_loss_ = None if self.early_stopping else np.inf
        self.validation_scores_: list[float] | None = [] if self.early_stopping else None
        self.best_validation_score_ = -np.inf if self.early_stopping else None

    def _fit_lbfgs(self, samples: Samples) -> None:
        if self.dropout > 0 or self.batch_norm:
            given = "solver='lbfgs' with dropout or batch_norm"
            hint = "use layer_norm, or the solver 'adam'"
            raise ValueError(message(type(self).__name__, given, "expected a loss without chance", hint))
        model = self.model_
        exact = model if self.dtype == "float64" else build_model(self, units_of(self.coefs_), "float64")
        if exact is not model:
            exact.load_state_dict(model.state_dict())
        targets = Samples(samples.X, self._float64(self._targets(samples.y)), samples.weights)
        fit_lbfgs(self, exact, self._make_objective(), targets)
        if exact is not model:
            model.load_state_dict(exact.state_dict())

    @staticmethod
    def _float64(targets: Array) -> Array:
        return targets if targets.dtype.kind == "i" else targets.astype(np.float64)

    def _fit_stochastic(self, samples: Samples, validation_data: Any, *, incremental: bool) -> None:
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        samples, held_out = self._split(samples, validation_data)
        total = len(samples)
        if self.batch_size == "auto":
            batch_size = min(200, total)
        else:
            if self.batch_size > total:
                warnings.warn(
                    "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=2
                )
            batch_size = int(np.clip(self.batch_size, 1, total))
        if held_out is not None and self.validation_scores_ is None:
            self.validation_scores_, self.best_validation_score_ = [], -np.inf
        objective = self._make_objective()
        if self._trainer is None or not incremental:
            self._optimizer = Rate(self)
            seed = int(self._random_state.randint(np.iinfo(np.int32).max))
            self._trainer = make_trainer(self, self.model_, objective, seed)
        self._hide_average()
        run = Stochastic(self, self._trainer, objective, self._for_core(samples), self._for_core(held_out), once=incremental)
        run.run(batch_size)

    def _for_core(self, samples: Samples | None) -> Samples | None:
        if samples is None:
            return None
        dtype = self.model_.dtype
        weights = None if samples.weights is None else samples.weights.astype(dtype)
        targets = self._targets(samples.y)
        if targets.dtype.kind == "f":
            targets = np.ascontiguousarray(targets, dtype=dtype)
        return Samples(samples.X, targets, weights)

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
        X, y = self._validate_held_out(X, y)
        weights = None if weights is None else _check_sample_weight(weights, X)
        return Samples(prepared(X, self.model_.dtype), y, weights)

    @abstractmethod
    def _validate_held_out(self, X: Any, y: Any) -> tuple[Any, Array]: ...

    # ---- the model and its weights ----

    def _adopt(self, model: Model) -> None:
        """Make the weights of this model those of the estimator."""
        self.model_ = model
        self.coefs_, self.intercepts_ = weights_of(model)
        self._views = (*self.coefs_, *self.intercepts_)

    def _take_in_weights(self) -> None:
        """Copy arrays that were put into `coefs_` and `intercepts_` into the model, which uses its own."""
        given = [*self.coefs_, *self.intercepts_]
        if not hasattr(self, "model_"):
            self._trainer = None
            self._adopt(build_model(self, units_of(given[: len(self.coefs_)]), self.dtype))
        elif len(given) == len(self._views) and all(own is view for own, view in zip(given, self._views)):
            return
        else:
            self.coefs_, self.intercepts_ = weights_of(self.model_)
            self._views = (*self.coefs_, *self.intercepts_)
        shapes = [np.shape(array) for array in given], [view.shape for view in self._views]
        if shapes[0] != shapes[1]:
            raise ValueError(
                message(
                    type(self).__name__,
                    f"coefs_ and intercepts_ have the shapes {shapes[0]}",
                    f"expected {shapes[1]}, those of the network",
                    "set arrays of the same shapes",
                )
            )
        for view, array in zip(self._views, given):
            view[...] = array

    def _show_average(self) -> None:
        """Put the moving average into the model, if there is one."""
        if self.ema is not None and not self._shows_average:
            self._trainer.swap_ema()
            self._shows_average = True

    def _hide_average(self) -> None:
        if self.ema is not None and self._shows_average:
            self._trainer.swap_ema()
            self._shows_average = False

    _shows_average = False

    def __getstate__(self) -> dict[str, Any]:
        if "model_" in vars(self):
            self._take_in_weights()
        return {name: value for name, value in super().__getstate__().items() if name not in _NOT_PICKLED}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "model_" in vars(self):
            self._adopt(self.model_)

    # ---- prediction ----

    def _checked(self, X: Any) -> Any:
        X = validate_data(self, X, accept_sparse=["csr", "csc"], dtype=(np.float64, np.float32), reset=False)
        return prepared(X, np.float64)

    def _outputs(self, X: Any) -> Array:
        """Return the model's outputs, before the last activation, for X as `prepared` returns it."""
        self._take_in_weights()
        return self._in_parts(self.model_.predict, X)

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
