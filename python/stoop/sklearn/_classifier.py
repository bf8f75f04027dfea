"""MLPClassifier."""

from __future__ import annotations

from dataclasses import replace
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
from sklearn.utils.validation import check_is_fitted

from stoop._attributes import keep_arguments
from stoop._class_weights import weights_by_class
from stoop._config import as_config
from stoop._errors import message
from stoop.losses import BinaryCrossEntropy, Loss, SoftmaxCrossEntropy
from stoop.optimizers import Optimizer
from stoop.sklearn._base import BaseMLP
from stoop.sklearn._labels import fitted_binarizer, refuse_other_classes
from stoop.sklearn._network import Objective
from stoop.sklearn._stochastic import Samples

Array = npt.NDArray[Any]


class MLPClassifier(ClassifierMixin, BaseMLP):
    """A multi-layer perceptron that predicts classes: scikit-learn's, trained by Stoop.

    All arguments up to `max_fun`, attributes and methods are those of `sklearn.neural_network.MLPClassifier` of
    scikit-learn 1.9, with the same defaults and meaning; the arguments after it are Stoop's.

    Parameters
    ----------
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
    class_weight : dict, list of dict or "balanced", optional
        Weight by class, multiplied with `sample_weight`; "balanced": ``n_samples / (n_classes * count)``, not for
        `partial_fit`. A list has a dict for each label of a multi-label y.
    label_smoothing : float, default 0.0
        Share of each target that all classes (of a label: both of its values) get alike, in [0, 1).
    loss : str or stoop.losses.Loss, optional
        None: the log loss. Two classes and labels take "focal" and "hinge" as well.
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
    classes_ : ndarray, (n_classes,)
        The labels, sorted; of a multi-label y the numbers of its columns.
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
        The accuracy after each epoch, with `early_stopping` or `validation_data`.
    best_validation_score_ : float or None
        The best of them.
    n_iter_, t_ : int
        Epochs or iterations of the newest `fit`; samples that were trained on.
    n_layers_, n_outputs_ : int
        Layers, inputs and outputs included; units of the last layer.
    out_activation_ : str
        "softmax", or "logistic" for two classes and for labels.
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
    Loss: the mean over the samples of the log loss (of labels: of its sum over them) and of the penalty; Hinton 1989;
    Glorot & Bengio 2010 for the first weights; Kingma & Ba 2015 for "adam".

    What differs: Stoop draws the order of the samples and the masks of dropout; first weights and split are
    scikit-learn's for the same `random_state`, and so is the loss curve with ``shuffle=False`` and ``dtype="float64"``,
    but it weighs batches by the sum of `sample_weight`. A sparse X becomes dense in parts of 32 MiB.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from stoop.sklearn import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> pipeline = make_pipeline(StandardScaler(), MLPClassifier(solver="lbfgs", random_state=0))
    >>> pipeline.fit(X, y).predict(X[::50])
    array([0, 1, 2])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMLP._parameter_constraints,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "loss": [str, Loss, None],
    }

    def __init__(
        self,
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
        class_weight: Any = None,
        label_smoothing: float = 0.0,
        loss: str | Loss | None = None,
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
        y : array_like, (n_samples,) or (n_samples, n_labels)
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
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Any:
        """Train one epoch, with the optimizer as the last call left it.

        Parameters
        ----------
        X : array_like or sparse, (n_samples, n_features)
        y : array_like, (n_samples,) or (n_samples, n_labels)
        sample_weight : array_like, (n_samples,), optional
            >= 0.
        classes : array_like, (n_classes,), optional
            All classes that will come; needed by the first call.

        Returns
        -------
        self
        """
        if _check_partial_fit_first_call(self, classes):
            self._label_binarizer = LabelBinarizer()
            self._label_binarizer.fit(y if type_of_target(y).startswith("multilabel") else classes)
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> Array:
        """Return the class of each row, or 0 and 1 for each label."""
        check_is_fitted(self)
        outputs = self._outputs(self._checked(X))
        decisions = self._decisions(outputs)
        if decisions.ndim == 2:
            return self._label_binarizer.inverse_transform(decisions.astype(np.int64))
        return self.classes_[np.minimum(decisions, len(self.classes_) - 1)]

    def predict_proba(self, X: Any) -> Array:
        """Return ``(n_samples, n_classes)`` probabilities in the order of `classes_`; of labels, each by itself.

        They are float64, of a float32 X float32. One class alone has two columns, as in scikit-learn.
        """
        check_is_fitted(self)
        outputs = self._wide_outputs(X)
        if self._kind == "multiclass":
            outputs -= outputs.max(axis=1, keepdims=True)
            np.exp(outputs, out=outputs)
            outputs /= outputs.sum(axis=1, keepdims=True)
            return outputs
        probabilities = expit(outputs, out=outputs)
        return probabilities if self._kind != "binary" else np.hstack([1 - probabilities, probabilities])

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithms of `predict_proba`."""
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    # ---- what the base asks for ----

    def _validate_input(self, X: Any, y: Any, *, incremental: bool, reset: bool) -> tuple[Any, Array]:
        X, y = self._arrays(X, y, reset=reset)
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = fitted_binarizer(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            self._check_classes(y)
        y = self._encode(y)
        self.n_outputs_ = len(self.classes_) if self._kind == "multiclass" else 1 if y.ndim == 1 else y.shape[1]
        return X, y

    def _check_classes(self, y: Array) -> None:
        if not self.warm_start:
            refuse_other_classes("`y`", y, self.classes_)
        elif set(classes := unique_labels(y)) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                f"Previously got {self.classes_}, `y` has {classes}"
            )

    def _validate_held_out(self, X: Any, y: Any) -> tuple[Any, Array]:
        X, y = self._arrays(X, y, reset=False)
        labels = self.n_outputs_ if self._kind.startswith("multilabel") else 1
        if labels != (1 if y.ndim == 1 else y.shape[1]):
            given = f"y of validation_data has the shape {y.shape}"
            expected = f"expected (n_samples, {labels})" if labels > 1 else "expected (n_samples,)"
            raise ValueError(message("MLPClassifier.fit", given, expected, "give it labels like those of y"))
        refuse_other_classes("`y` of validation_data", y, self.classes_)
        return X, self._encode(y)

    @property
    def _kind(self) -> str:
        return self._label_binarizer.y_type_  # "binary", "multiclass" or "multilabel-indicator"

    def _encode(self, y: Array) -> Array:
        """Return the index of the class of each sample, or a column of 0 and 1 for each label."""
        if self._kind.startswith("multilabel"):
            return self._label_binarizer.transform(y)
        return np.searchsorted(self.classes_, y).astype(np.int32)

    def _with_class_weights(self, weights: Array | None, y: Array, *, incremental: bool) -> Array | None:
        if self.class_weight is None:
            return weights
        if incremental and self.class_weight == "balanced":
            given, expected = "class_weight is 'balanced'", "expected weights that do not depend on what comes later"
            hint = "give the weights as a dict, from sklearn.utils.class_weight.compute_class_weight"
            raise ValueError(message("MLPClassifier.partial_fit", given, expected, hint))
        where = f"MLPClassifier.{'partial_fit' if incremental else 'fit'}"
        of_classes = weights_by_class(where, self.class_weight, y if y.ndim == 2 else self.classes_[y])
        return of_classes if weights is None else weights * of_classes

    def _stratify(self, y: Array) -> Array | None:
        if self._kind != "binary":
            return None  # as scikit-learn, which does not stratify several classes
        return np.array(["False", "True"])[y]  # its names, in messages

    def _make_objective(self) -> Objective:
        multiclass = self._kind == "multiclass"
        if self.loss is None:
            if multiclass:
                return Objective(SoftmaxCrossEntropy(float(self.label_smoothing)), "softmax")
            return Objective(BinaryCrossEntropy(), "logistic", float(self.n_outputs_), float(self.n_outputs_))
        loss = as_config(Loss, "MLPClassifier", self.loss)
        if not loss._spec["takes_classes" if multiclass else "takes_labels"]:
            expected = "softmax_cross_entropy" if multiclass else "binary_cross_entropy, focal or hinge"
            hint = "leave loss out"
            given = f"loss is {loss.type_name} for {len(self.classes_)} classes or labels"
            raise ValueError(message("MLPClassifier", given, f"expected {expected}", hint))
        if self.label_smoothing and loss.type_name == "hinge":
            given = f"label_smoothing={self.label_smoothing!r} with loss='hinge'"
            raise ValueError(message("MLPClassifier", given, "expected labels of 0 and 1", "leave label_smoothing out"))
        if multiclass and self.label_smoothing:
            loss = replace(loss, label_smoothing=float(self.label_smoothing))  # type: ignore[type-var]
        return Objective(loss, "softmax" if multiclass else "logistic")

    def _targets(self, y: Array) -> Array:
        if self._kind == "multiclass":
            return y
        smoothing = float(self.label_smoothing)
        return (y.reshape(len(y), -1) * (1.0 - smoothing)) + 0.5 * smoothing

    def _decisions(self, outputs: Array) -> Array:
        """Return the index of the class of each row, or 0 and 1 for each label."""
        if self._kind == "multiclass":
            return outputs.argmax(axis=1)
        return (outputs > 0).astype(np.intp) if self._kind != "binary" else (outputs[:, 0] > 0).astype(np.intp)

    def _score_outputs(self, outputs: Array, held_out: Samples) -> float:
        true = held_out.y if self._kind == "multiclass" else held_out.y > 0.5  # smoothed labels are neither 0 nor 1
        right = self._decisions(outputs) == (true[:, 0] if self._kind == "binary" else true)
        return float(np.average(right if right.ndim == 1 else right.all(axis=1), weights=held_out.weights))
