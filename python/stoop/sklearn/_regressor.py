"""MLPRegressor."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy.special import xlogy
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from stoop._config import as_config
from stoop._errors import message
from stoop.losses import Loss, MeanSquaredError, Poisson
from stoop.sklearn._base import BaseMLP
from stoop.sklearn._network import Objective
from stoop.sklearn._stochastic import Samples

Array = npt.NDArray[Any]


class MLPRegressor(RegressorMixin, BaseMLP):
    """DOC."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {**BaseMLP._parameter_constraints, "loss": [str, Loss]}

    def __init__(
        self,
        loss="squared_error",
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        dropout=0.0,
        batch_norm=False,
        layer_norm=False,
        optimizer=None,
        callbacks=(),
        restore_best=True,
        ema=None,
        precision="float32",
        dtype="float32",
        num_threads=None,
    ):
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.layer_norm = layer_norm
        self.optimizer = optimizer
        self.callbacks = callbacks
        self.restore_best = restore_best
        self.ema = ema
        self.precision = precision
        self.dtype = dtype
        self.num_threads = num_threads

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, validation_data=None):
        return self._fit(X, y, sample_weight, validation_data=validation_data, incremental=False)

    @available_if(lambda estimator: estimator._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X):
        check_is_fitted(self)
        values = self._values(self._outputs(self._checked(X)))
        return values.ravel() if values.shape[1] == 1 else values

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    # ---- what the base asks for ----

    def _validate_input(self, X, y, *, incremental, reset):
        X, y = self._arrays(X, y, reset=reset)
        self.n_outputs_ = 1 if y.ndim == 1 else y.shape[1]
        return X, y

    def _validate_held_out(self, X, y):
        X, y = self._arrays(X, y, reset=False)
        columns = 1 if y.ndim == 1 else y.shape[1]
        if columns != self.n_outputs_:
            given = f"y of validation_data has {columns} columns"
            raise ValueError(message("MLPRegressor.fit", given, f"expected {self.n_outputs_}", "give columns like y"))
        return X, y

    def _arrays(self, X, y, *, reset):
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            y_numeric=True,
            dtype=(np.float64, np.float32),
            reset=reset,
        )
        return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _make_objective(self):
        columns = float(self.n_outputs_)
        if self.loss == "squared_error":
            return Objective(MeanSquaredError(), "identity", 0.5 * columns, 0.5)
        if self.loss == "poisson":
            return Objective(Poisson(), "exp", columns, columns)
        loss = as_config(Loss, "MLPRegressor", self.loss)
        spec = loss._spec
        if spec["takes_classes"] or spec["takes_labels"] or spec["outputs_per_target"] != 1:
            given = f"loss is {loss.type_name}"
            expected = "expected a loss of values with one output for each target"
            hint = "use squared_error, poisson, mae, huber, quantile or log_cosh"
            raise ValueError(message("MLPRegressor", given, expected, hint))
        return Objective(loss, "exp" if isinstance(loss, Poisson) and loss.log_input else "identity")

    def _targets(self, y):
        return y.reshape(len(y), -1)

    def _constant_loss(self, samples):
        """scikit-learn's Poisson deviance has terms of y alone."""
        if self.loss != "poisson":
            return 0.0
        y = samples.y.astype(np.float64)
        return float(np.average((xlogy(y, y) - y).sum(axis=1), weights=samples.weights))

    def _values(self, outputs):
        return np.exp(outputs) if self.out_activation_ == "exp" else outputs

    def _score_outputs(self, outputs, held_out):
        values = self._values(outputs)
        if not np.isfinite(values).all():
            return np.nan
        return r2_score(held_out.y, values, sample_weight=held_out.weights)
