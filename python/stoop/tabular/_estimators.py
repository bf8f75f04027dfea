"""TabularClassifier and TabularRegressor."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from stoop._arrays import refuse_masked
from stoop._attributes import keep_arguments
from stoop._class_weights import weights_by_class
from stoop._errors import message, refuse_name
from stoop.tabular._base import Tabular
from stoop.tabular._training import Rows

_ARGUMENTS = """hidden : sequence of int, default (256, 256)
        Units of the hidden layers, with ReLU; ``()`` for none.
    members : int, default 16
        Networks that share all weights but a scale for each input and their last layer, and whose predictions are
        averaged: TabM-mini of Gorishniy, Kotelnikov & Babenko 2025. 1 is a plain network.
    encoding : {"ple", "periodic", "none", "ple_linear"}, default "ple"
        Of the numbers: piecewise linear by quantiles of the training rows, or periodic (Gorishniy, Rubachev & Babenko
        2022), or scaled alone, by median and quartiles with a smooth clip (Holzmüller, Grinsztajn & Steinwart 2024).
        "ple_linear": piecewise linear, then a linear layer of each column, as in the example of the package `tabm`.
    bins : int, default 48
        Of "ple" and "ple_linear", at most; a column has no more than its quantiles differ, and no more than let all
        columns become 16,384 numbers together, which bounds memory and time. Above 8,192 columns numbers are scaled
        alone, as "none".
    embedding_dim : int, default 8
        Of categories in columns of more than 100, which become a row of a table that is learnt; others become a column
        of 0 and 1 for each. Where the columns would become more than 16,384 numbers that way, those of more than 9.
        With "periodic" and "ple_linear" also of each column of numbers.
    categorical : "auto" or list, default "auto"
        Names or positions of columns that are categories even if their cells are numbers, or a mask of booleans. Text,
        booleans and the category types of the libraries are always.
    dropout : float, default 0.1
        After each hidden layer, in [0, 1).
    learning_rate, weight_decay : float, default 2e-3 and 3e-4
        Of AdamW.
    batch_size : int, default 256
        Rows of an update, at most: fewer where an epoch would have less than 16 updates, but 32 or more.
    epochs : int, default 200
        At most.
    patience : int, default 16
        Epochs without a better loss of the rows that choose, after which the training ends. The best epoch is kept.
    validation_fraction : float, default 0.15
        Of the rows, drawn at random and with the classes in proportion: they do not train but choose the epoch.
        At most 2,000 rows with fewer than 100 different ones all train, in one batch and for all epochs; 0 lets all
        train in any case.
    max_time : float, str or timedelta, optional
        Seconds, or text such as "1m30s", after which the training ends, with the best epoch so far; before the end of
        the first, with what was learnt until then and a warning.
    random_state : int, RandomState or None
        Of initial parameters, dropout, and order and choice of rows. An int gives the same bits for any number of
        threads.
    num_threads : int, optional
        For training and, at most, for each prediction. None: as `stoop.set_num_threads` says."""

_MORE = """dtype : {"float32", "float64"}, default "float32"
        Of the network.
    precision : {"float32", "bfloat16"}, default "float32"
        Of the products in training, as for `stoop.Trainer`. "bfloat16" makes training faster on CPUs that have
        AVX512-BF16 or AMX-BF16, and is an error on others; predictions are computed in `dtype`.
    verbose : {0, 1, 2}, default 0
        As in `stoop.Trainer.fit`: 1 shows a table of epochs."""

_ATTRIBUTES = """n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of str
        Their names, if X was a data frame.
    model_ : stoop.Model
        The network; it takes what `encode` returns. Its outputs are in the unit of y, but where float32 cannot hold
        these: then they have mean 0 and deviation 1.
    history_ : stoop.History
        Losses by epoch; not after `load`.
    best_epoch_ : int
        The epoch whose parameters `model_` has; 0 if `max_time` was over before the first."""

_NOTES = """Data frames may have their columns in any order for `predict`; one that is missing, and one that training
    did not have, is an error. A category that training has not seen, or in columns of more than 9 only once, is one of
    its own, and so is a missing one. Columns that were the same, or missing, in all rows are left out of account. Dates
    are refused: make numbers or categories of what matters in them."""


def _documented(cls: Any) -> Any:
    parts = {"ARGUMENTS": _ARGUMENTS, "MORE": _MORE, "ATTRIBUTES": _ATTRIBUTES, "NOTES": _NOTES}
    for name, text in parts.items():
        cls.__doc__ = cls.__doc__ and cls.__doc__.replace(f"%{name}%", text)
    return cls


@_documented
class TabularClassifier(ClassifierMixin, Tabular):  # type: ignore[misc]
    """A network that predicts classes from the columns of a table.

    Parameters
    ----------
    %ARGUMENTS%
    class_weight : dict or "balanced", optional
        Weight of each class, by its label, multiplied with `sample_weight`; "balanced" is
        ``n_samples / (n_classes * count)``.
    %MORE%

    Attributes
    ----------
    classes_ : ndarray, (n_classes,)
        The labels, sorted.
    %ATTRIBUTES%
    feature_importances_ : ndarray, (n_features,)
        By permutation, computed when first asked for.

    Notes
    -----
    %NOTES%
    """

    _loss = "softmax_cross_entropy"
    _are_classes = True

    def __init__(
        self,
        hidden: Any = (256, 256),
        members: int = 16,
        encoding: str = "ple",
        bins: int = 48,
        embedding_dim: int = 8,
        categorical: Any = "auto",
        dropout: float = 0.1,
        learning_rate: float = 2e-3,
        weight_decay: float = 3e-4,
        batch_size: int = 256,
        epochs: int = 200,
        patience: int = 16,
        validation_fraction: float = 0.15,
        max_time: Any = None,
        random_state: Any = None,
        num_threads: int | None = None,
        *,
        class_weight: Any = None,
        dtype: str = "float32",
        precision: str = "float32",
        verbose: int = 0,
    ) -> None:
        keep_arguments(self, locals())

    def __sklearn_tags__(self) -> Any:
        return _tagged(super().__sklearn_tags__())

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the most probable class of each row, (n_samples,)."""
        outputs = self._outputs("predict", X)
        labels: npt.NDArray[Any] = self.classes_[outputs.argmax(axis=1)]
        return labels

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Return the probabilities, (n_samples, n_classes) in the order of `classes_`; rows add up to 1."""
        return np.exp(_log_softmax(self._outputs("predict_proba", X)))

    def predict_log_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Return the logarithms of `predict_proba`."""
        return _log_softmax(self._outputs("predict_log_proba", X))

    def _checked_target(self, y: Any) -> Any:
        refuse_masked(type(self).__name__, y, "y")
        cells = y if isinstance(y, list | tuple) else np.asarray(y)
        may_miss = not isinstance(cells, np.ndarray) or (cells.dtype == object and cells.ndim == 1)
        if may_miss and any(map(_is_missing, cells)):
            given = "y has missing labels"
            raise ValueError(message(type(self).__name__, given, "expected one for each row", "leave these rows out"))
        y = check_array(y, ensure_2d=False, dtype=None, input_name="y", estimator=self)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        return y

    def _learn_target(self, where: str, target: npt.NDArray[Any]) -> None:
        self.classes_ = np.unique(target)
        if len(self.classes_) < 2:
            given = f"y has the single class {self.classes_.tolist()[0]!r}"
            raise ValueError(message(where, given, "expected at least 2 classes", "give rows of another class"))

    def _encode_target(self, target: Any) -> Any:
        places = np.searchsorted(self.classes_, target).clip(0, len(self.classes_) - 1)
        other = np.flatnonzero(self.classes_[places] != target)
        if len(other):
            refuse_name("validation_data", "class", str(target[other[0]]), [str(name) for name in self.classes_])
        return places

    def _with_class_weights(self, target: npt.NDArray[Any], weights: Any) -> Any:
        if self.class_weight is None:
            return weights
        of_class = weights_by_class("TabularClassifier.fit", self.class_weight, target)
        return of_class if weights is None else of_class * weights

    def _output_count(self) -> int:
        return len(self.classes_)

    def _score_of(self, rows: Rows) -> float:
        is_right = self._predict(rows.X).argmax(axis=1) == rows.y
        return float(np.average(is_right, weights=rows.weights))


@_documented
class TabularRegressor(RegressorMixin, Tabular):  # type: ignore[misc]
    """A network that predicts values from the columns of a table.

    Parameters
    ----------
    %ARGUMENTS%
    %MORE%

    Attributes
    ----------
    %ATTRIBUTES%
    feature_importances_ : ndarray, (n_features,)
        By permutation, computed when first asked for.

    Notes
    -----
    The target is learnt with mean 0 and deviation 1, and so are the losses in `history_`; predictions are in its unit.
    %NOTES%
    """

    _loss = "mse"
    _are_classes = False

    def __init__(
        self,
        hidden: Any = (256, 256),
        members: int = 16,
        encoding: str = "ple",
        bins: int = 48,
        embedding_dim: int = 8,
        categorical: Any = "auto",
        dropout: float = 0.1,
        learning_rate: float = 2e-3,
        weight_decay: float = 3e-4,
        batch_size: int = 256,
        epochs: int = 200,
        patience: int = 16,
        validation_fraction: float = 0.15,
        max_time: Any = None,
        random_state: Any = None,
        num_threads: int | None = None,
        *,
        dtype: str = "float32",
        precision: str = "float32",
        verbose: int = 0,
    ) -> None:
        keep_arguments(self, locals())

    def __sklearn_tags__(self) -> Any:
        tags = _tagged(super().__sklearn_tags__())
        tags.target_tags.multi_output = True
        return tags

    def predict(self, X: Any) -> npt.NDArray[np.float64]:
        """Return the values in the unit of the target, (n_samples,) or (n_samples, n_outputs) as in training."""
        outputs = self._outputs("predict", X)
        return outputs[:, 0] if self._is_flat else outputs

    def _checked_target(self, y: Any) -> Any:
        refuse_masked(type(self).__name__, y, "y")
        if not isinstance(y, list | tuple) and np.asarray(y).dtype.kind in "mM":
            given, hint = f"y has dtype {np.asarray(y).dtype}", "give the days or seconds from a date on"
            raise TypeError(message(type(self).__name__, given, "expected numbers", hint))
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y", estimator=self)
        return column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _learn_target(self, where: str, target: npt.NDArray[Any]) -> None:
        if target.ndim > 2:
            given = f"y has the shape {target.shape}"
            raise ValueError(message(where, given, "expected (n_samples,) or (n_samples, n_outputs)", "reshape it"))
        self._is_flat = target.ndim == 1
        self._outputs_count = 1 if self._is_flat else target.shape[1]

    def _encode_target(self, target: Any) -> Any:
        return target

    def _output_count(self) -> int:
        return self._outputs_count

    def _score_of(self, rows: Rows) -> float:
        return float(r2_score(rows.y, self._predict(rows.X), sample_weight=rows.weights))


def _tagged(tags: Any) -> Any:
    """Say what X may be."""
    tags.input_tags.allow_nan = True
    tags.input_tags.categorical = True
    tags.input_tags.string = True
    return tags


def _is_missing(cell: Any) -> bool:
    """Return whether it is None, NaN or the NA of pandas, which compares with nothing."""
    if cell is None or type(cell).__name__ == "NAType":
        return True
    return isinstance(cell, float) and cell != cell


def _log_softmax(outputs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shifted: npt.NDArray[np.float64] = outputs - outputs.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted
