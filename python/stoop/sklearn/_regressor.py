"""MLPRegressor."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy.special import xlogy
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from stoop._attributes import keep_arguments
from stoop._config import as_config
from stoop._errors import message
from stoop.losses import Loss, MeanSquaredError, Poisson
from stoop.optimizers import Optimizer
from stoop.sklearn._base import BaseMLP
from stoop.sklearn._network import Objective
from stoop.sklearn._stochastic import Samples

Array = npt.NDArray[Any]


class MLPRegressor(RegressorMixin, BaseMLP):
    """A multi-layer perceptron that predicts values: scikit-learn's, trained by Stoop.

    All arguments up to `max_fun`, attributes and methods are those of `sklearn.neural_network.MLPRegressor` of
    scikit-learn 1.9, with the same defaults and meaning; the arguments after it are Stoop's.

    Parameters
    ----------
    loss : str or stoop.losses.Loss, default "squared_error"
        "squared_error", half of it; "poisson", half of the Poisson deviance of y >= 0, with predictions that are
        exponentials of the outputs; or a loss of Stoop for values, such as "mae", "huber", "log_cosh" and
        ``stoop.losses.Quantile(0.9)``, the mean over the columns of y.
    hidden_layer_sizes : array_like (n_layers - 2,) or int, default (100,)
        Units of each hidden layer, > 0.
    activation : {"identity", "logistic", "tanh", "relu"}, default "relu"
        Of the hidden layers.
    solver : {"lbfgs", "sgd", "adam"}, default "adam"
        "sgd" and "adam" take mini-batches; "lbfgs" takes all samples at once, by SciPy's L-BFGS-B on loss and gradient
        from the core, in float64 whatever `dtype` says.
    alpha : float, default 0.0001
        ``alpha/2 * sum(coefs**2)`` divided by the samples of the batch (by the sum of their weights) is added to the
        loss, >= 0.
    batch_size : int or "auto", default "auto"
        Samples per update; "auto" is ``min(200, n_samples)``.
    learning_rate : {"constant", "invscaling", "adaptive"}, default "constant"
        For "sgd". "invscaling": ``learning_rate_init / (t_ + 1)**power_t``, changed after each epoch. "adaptive":
        divided by 5 where training would stop, down to 1e-6.
    learning_rate_init : float, default 0.001
        > 0.
    power_t : float, default 0.5
        Exponent of "invscaling", >= 0.
    max_iter : int, default 200
        Epochs, or iterations of "lbfgs", >= 1.
    shuffle : bool, default True
        A new order each epoch.
    random_state : int, RandomState instance or None, default None
        Of the first weights, the split of `early_stopping`, the order of the samples and dropout.
    tol : float, default 1e-4
        Training stops once the loss (with `early_stopping` the score) has not improved by `tol` for more than
        `n_iter_no_change` epochs. For "lbfgs" the largest element of the gradient at which it stops.
    verbose : bool or int, default False
        Prints the loss of each epoch.
    warm_start : bool, default False
        `fit` goes on from the weights that are there, with a new optimizer.
    momentum : float, default 0.9
        For "sgd", in [0, 1).
    nesterovs_momentum : bool, default True
        For "sgd" with a momentum.
    early_stopping : bool, default False
        Sets `validation_fraction` of the samples aside, as scikit-learn does, unless `fit` gets `validation_data`, and
        stops when their score no longer improves. The weights of the best epoch are restored, see `restore_best`.
    validation_fraction : float, default 0.1
        In [0, 1).
    beta_1, beta_2 : float, default 0.9 and 0.999
        For "adam", in [0, 1).
    epsilon : float, default 1e-8
        For "adam", > 0; beside the root of the running mean before its bias is corrected, as in scikit-learn.
    n_iter_no_change : int, default 10
        >= 1, or infinity.
    max_fun : int, default 15000
        Evaluations of loss and gradient that "lbfgs" makes at most.
    dropout : float, default 0.0
        Share of the hidden units that an update leaves out, in [0, 1). Not with "lbfgs".
    batch_norm, layer_norm : bool, default False
        A `stoop.BatchNorm` or `stoop.LayerNorm` between each hidden layer and its activation. "lbfgs" takes no
        `batch_norm`.
    optimizer : str or stoop.optimizers.Optimizer, optional
        In place of `solver` and the arguments of its updates; `stoop.optimizers.LBFGS` and `NewtonCG` take all samples
        at once.
    callbacks : callback or iterable of callbacks, default ()
        Objects of `stoop.callbacks`, for "sgd", "adam" and `optimizer`. They see the loss of each epoch
        (``monitor="loss"``), but not the validation score, which comes after them.
    restore_best : bool, default True
        With `early_stopping` or `validation_data`, `fit` ends with the weights of the epoch with the best score. False:
        with those of the last epoch.
    ema : float, optional
        Decay of a moving average of the weights, in [0, 1). Validation and predictions use the average.
    precision : {"float32", "bfloat16"}, default "float32"
        As for `stoop.Trainer`.
    dtype : {"float32", "float64"}, default "float32"
        Of weights and arithmetic, whatever the dtype of X.
    num_threads : int, optional
        Of training; None: as many as pay off.

    Attributes
    ----------
    coefs_ : list of ndarray, (n_in, n_out) each
        The weights of `model_`, in the dtype of the X of `fit` or in `dtype`, whichever is wider. What is written into
        them, or put in their place with the same shape, is what predicts and what `partial_fit` and `warm_start` go on
        from.
    intercepts_ : list of ndarray, (n_out,) each
        The biases, likewise.
    loss_, best_loss_ : float
        The newest loss, the penalty included, and the lowest: None with `early_stopping`, not for "lbfgs".
    loss_curve_ : list of float
        The loss of each epoch. Not for "lbfgs".
    validation_scores_ : list of float or None
        R2 after each epoch, with `early_stopping` or `validation_data`.
    best_validation_score_ : float or None
        The best of them.
    n_iter_, t_ : int
        Epochs or iterations of the newest `fit`; samples that were trained on.
    n_layers_, n_outputs_ : int
        Layers, inputs and outputs included; units of the last layer.
    out_activation_ : str
        "identity", or "exp" for "poisson".
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray, (n_features,)
        Names of the columns, where X had them.
    model_ : stoop.Model
        The network, which `Model.save` writes; not in scikit-learn.

    Raises
    ------
    InvalidParameterError, ValueError
        By `fit`, for an argument outside its range, for NaN and infinities in the data, and where the loss becomes one.

    Warns
    -----
    ConvergenceWarning, UserWarning
        If `max_iter` epochs did not suffice; on Ctrl-C, after which what was reached stays.

    Notes
    -----
    Loss: the mean over samples and columns of the loss, and the penalty. As in scikit-learn, the gradient of
    "squared_error" is that of the sum over the columns.

    What differs: Stoop draws the order of the samples and the masks of dropout; first weights and split are
    scikit-learn's for the same `random_state`, and so is the loss curve with ``shuffle=False`` and ``dtype="float64"``,
    but it weighs batches by the sum of `sample_weight`. A sparse X becomes dense in parts of 32 MiB.

    Examples
    --------
    >>> import numpy as np
    >>> from stoop.sklearn import MLPRegressor
    >>> X = np.linspace(-1, 1, 200)[:, None]
    >>> regressor = MLPRegressor(hidden_layer_sizes=20, activation="tanh", solver="lbfgs", random_state=0)
    >>> bool(regressor.fit(X, np.sin(3 * X[:, 0])).score(X, np.sin(3 * X[:, 0])) > 0.999)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {**BaseMLP._parameter_constraints, "loss": [str, Loss]}

    def __init__(
        self,
        loss: str | Loss = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: float = 0.0,
        batch_norm: bool = False,
        layer_norm: bool = False,
        optimizer: str | Optimizer | None = None,
        callbacks: Any = (),
        restore_best: bool = True,
        ema: float | None = None,
        precision: str = "float32",
        dtype: str = "float32",
        num_threads: int | None = None,
    ) -> None:
        keep_arguments(self, locals())

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, validation_data: Any = None) -> Any:
        """Train anew, or with `warm_start` from the weights that are there.

        Parameters
        ----------
        X : array_like or sparse, (n_samples, n_features)
        y : array_like, (n_samples,) or (n_samples, n_outputs)
        sample_weight : array_like, (n_samples,), optional
            >= 0.
        validation_data : (X, y) or (X, y, sample_weight), optional
            What `validation_scores_` are measured on, in place of a split. Without `early_stopping` it does not end the
            training. Not in scikit-learn.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, validation_data=validation_data, incremental=False)

    @available_if(lambda estimator: estimator._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train one epoch, with the optimizer as the last call left it.

        Parameters
        ----------
        X : array_like or sparse, (n_samples, n_features)
        y : array_like, (n_samples,) or (n_samples, n_outputs)
        sample_weight : array_like, (n_samples,), optional
            >= 0.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> Array:
        """Return ``(n_samples,)`` or ``(n_samples, n_outputs)`` values, float64 for X of float64."""
        check_is_fitted(self)
        values = self._values(self._wide_outputs(X))
        return values.ravel() if values.shape[1] == 1 else values

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    # ---- what the base asks for ----

    def _validate_input(self, X: Any, y: Any, *, incremental: bool, reset: bool) -> tuple[Any, Array]:  # noqa: ARG002
        X, y = self._arrays(X, y, reset=reset)
        self.n_outputs_ = 1 if y.ndim == 1 else y.shape[1]
        return X, y

    def _validate_held_out(self, X: Any, y: Any) -> tuple[Any, Array]:
        X, y = self._arrays(X, y, reset=False)
        columns = 1 if y.ndim == 1 else y.shape[1]
        if columns != self.n_outputs_:
            given = f"y of validation_data has {columns} columns"
            raise ValueError(message("MLPRegressor.fit", given, f"expected {self.n_outputs_}", "give columns like y"))
        return X, y

    def _make_objective(self) -> Objective:
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

    def _targets(self, y: Array) -> Array:
        return y.reshape(len(y), -1)

    def _constant_loss(self, samples: Samples) -> float:
        """scikit-learn's Poisson deviance has terms of y alone."""
        if self.loss != "poisson":
            return 0.0
        y = samples.y.astype(np.float64)
        return float(np.average((xlogy(y, y) - y).sum(axis=1), weights=samples.weights))

    def _values(self, outputs: Array) -> Array:
        return np.exp(outputs) if self.out_activation_ == "exp" else outputs

    def _score_outputs(self, outputs: Array, held_out: Samples) -> float:
        values = self._values(outputs)
        if not np.isfinite(values).all():
            return np.nan
        with np.errstate(over="ignore"):  # of what is about to diverge
            return float(r2_score(held_out.y, values, sample_weight=held_out.weights))
