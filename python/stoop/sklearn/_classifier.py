"""MLPClassifier."""

from __future__ import annotations

from dataclasses import replace
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
from sklearn.utils.validation import check_is_fitted, validate_data

from stoop._config import as_config
from stoop._errors import message
from stoop.losses import BinaryCrossEntropy, Loss, SoftmaxCrossEntropy
from stoop.sklearn._base import BaseMLP
from stoop.sklearn._network import Objective
from stoop.sklearn._stochastic import Samples

Array = npt.NDArray[Any]


class MLPClassifier(ClassifierMixin, BaseMLP):
    """DOC."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMLP._parameter_constraints,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "loss": [str, Loss, None],
    }

    def __init__(
        self,
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
        class_weight=None,
        label_smoothing=0.0,
        loss=None,
        optimizer=None,
        callbacks=(),
        restore_best=True,
        ema=None,
        precision="float32",
        dtype="float32",
        num_threads=None,
    ):
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
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.loss = loss
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
    def partial_fit(self, X, y, sample_weight=None, classes=None):
        if _check_partial_fit_first_call(self, classes):
            self._label_binarizer = LabelBinarizer()
            self._label_binarizer.fit(y if type_of_target(y).startswith("multilabel") else classes)
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X):
        check_is_fitted(self)
        outputs = self._outputs(self._checked(X))
        decisions = self._decisions(outputs)
        if decisions.ndim == 2:
            return self._label_binarizer.inverse_transform(decisions.astype(np.int64))
        return self.classes_[np.minimum(decisions, len(self.classes_) - 1)]

    def predict_proba(self, X):
        check_is_fitted(self)
        X = self._checked(X)
        self._take_in_weights()
        return self._in_parts(self.model_.predict_proba, X)

    def predict_log_proba(self, X):
        probabilities = self.predict_proba(X)
        with np.errstate(divide="ignore"):
            return np.log(probabilities, out=probabilities)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    # ---- what the base asks for ----

    def _validate_input(self, X, y, *, incremental, reset):
        X, y = self._arrays(X, y, reset=reset)
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            self._check_classes(y)
        y = self._encode(y)
        self.n_outputs_ = len(self.classes_) if self._kind == "multiclass" else 1 if y.ndim == 1 else y.shape[1]
        return X, y

    def _check_classes(self, y):
        classes = unique_labels(y)
        if self.warm_start:
            if set(classes) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                    f"Previously got {self.classes_}, `y` has {classes}"
                )
        elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
            )

    def _arrays(self, X, y, *, reset):
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            dtype=(np.float64, np.float32),
            reset=reset,
        )
        return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _validate_held_out(self, X, y):
        X, y = self._arrays(X, y, reset=False)
        classes = unique_labels(y)
        if len(np.setdiff1d(classes, self.classes_)):
            raise ValueError(
                f"`y` of validation_data has classes not in `self.classes_`. `self.classes_` has {self.classes_}. "
                f"'y' has {classes}."
            )
        return X, self._encode(y)

    @property
    def _kind(self):
        """"binary", "multiclass" or "multilabel-indicator"."""
        return self._label_binarizer.y_type_

    def _encode(self, y):
        """Return the index of the class of each sample, or a column of 0 and 1 for each label."""
        if self._kind.startswith("multilabel"):
            return self._label_binarizer.transform(y)
        return np.searchsorted(self.classes_, y).astype(np.int32)

    def _with_class_weights(self, weights, y, *, incremental):
        if self.class_weight is None:
            return weights
        if incremental and self.class_weight == "balanced":
            raise ValueError(
                message(
                    "MLPClassifier.partial_fit",
                    "class_weight is 'balanced'",
                    "expected weights that do not depend on what comes later",
                    "give the weights as a dict, from sklearn.utils.class_weight.compute_class_weight",
                )
            )
        of_classes = compute_sample_weight(self.class_weight, y if y.ndim == 2 else self.classes_[y])
        return of_classes if weights is None else weights * of_classes

    def _stratify(self, y):
        return y if self._kind == "binary" else None  # as scikit-learn, which does not stratify several classes

    def _make_objective(self):
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
        if multiclass and self.label_smoothing:
            loss = replace(loss, label_smoothing=float(self.label_smoothing))
        return Objective(loss, "softmax" if multiclass else "logistic")

    def _targets(self, y):
        if self._kind == "multiclass":
            return y
        smoothing = float(self.label_smoothing)
        return (y.reshape(len(y), -1) * (1.0 - smoothing)) + 0.5 * smoothing

    def _decisions(self, outputs):
        """Return the index of the class of each row, or 0 and 1 for each label."""
        if self._kind == "multiclass":
            return outputs.argmax(axis=1)
        return (outputs > 0).astype(np.intp) if self._kind != "binary" else (outputs[:, 0] > 0).astype(np.intp)

    def _score_outputs(self, outputs, held_out):
        right = self._decisions(outputs) == (held_out.y if self._kind != "binary" else held_out.y[:, 0] > 0.5)
        return float(np.average(right if right.ndim == 1 else right.all(axis=1), weights=held_out.weights))
