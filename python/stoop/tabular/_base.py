"""What the two estimators have in common: from a table to a trained model, and from another to its outputs."""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from stoop._arrays import refuse_masked
from stoop._checks import BELOW_ONE, NOT_NEGATIVE, POSITIVE, integer, real, thread_count
from stoop._errors import message, refuse_name
from stoop._tables import METADATA_KEY, TargetScale
from stoop._tables._messages import count
from stoop.model import Model
from stoop.tabular._features import Features
from stoop.tabular._importance import permutation_importances
from stoop.tabular._input import Table, by_labels, check_unique, has_names, in_order, labels_of, native_of
from stoop.tabular._network import ENCODINGS, Shape, layers_for, memory_of
from stoop.tabular._state import state_of
from stoop.tabular._training import MANY_ROWS, Recipe, Rows, split, train

_IMPORTANCE_ROWS = 1000
_MUCH_MEMORY = 2 * 2**30  # bytes, of which a warning tells before the training


class Tabular(BaseEstimator, ABC):  # type: ignore[misc]
    """The part of `TabularClassifier` and `TabularRegressor` that does not depend on the target."""

    _loss: str
    _are_classes: bool
    _labels: list[str] | None = None  # of columns without names

    def fit(self, X: Any, y: Any, sample_weight: Any = None, validation_data: Any = None) -> Any:
        """Train a network.

        Parameters
        ----------
        X : data frame or array_like, (n_samples, n_features)
            A data frame of pandas, polars, pyarrow or another library that narwhals reads, or an array. Numbers are
            numbers; text, categories and booleans are categories, but text that is all numbers counts as numbers; dates
            are refused. NaN, None, null and masked cells are missing. At least 2 rows.
        y : array_like, (n_samples,), or for the regressor (n_samples, n_outputs)
            The target.
        sample_weight : array_like, (n_samples,), optional
            >= 0. A row of weight 0 is left out. Where at most 2,000 rows have fewer than 100
            different ones, a weight of 2 is the same as the row twice, to the last bit; with more, rows are drawn into
            batches, and it is so on average.
        validation_data : (X, y) or (X, y, sample_weight), optional
            Rows that choose the epoch, in place of `validation_fraction` of X.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For what cannot be learnt from; the message names the column.
        NonFiniteLossError
            If the training diverged: give a smaller `learning_rate`.
        KeyboardInterrupt
            On Ctrl-C. After this and any other error the estimator is what it was before: not fitted, or fitted as it
            was. To keep what was learnt in a given time, set `max_time`.

        Warns
        -----
        ConvergenceWarning
            If `max_time` was over before the first epoch.
        UserWarning
            Before a training that takes more than about 2 GiB of memory, as with 100,000 columns.
        """
        state: dict[str, Any] = self.__dict__
        before = state.copy()
        try:
            self._fit(X, y, sample_weight, validation_data)
        except BaseException:
            state.clear()
            state.update(before)
            raise
        return self

    def _fit(self, X: Any, y: Any, sample_weight: Any, validation_data: Any) -> None:
        where = f"{type(self).__name__}.fit"
        shape, recipe = self._shape(where), self._recipe(where)
        fraction = real(where, "validation_fraction", self.validation_fraction, BELOW_ONE, "0.15 is usual")
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        native = native_of(where, X, self)
        if not isinstance(native, np.ndarray):
            check_unique(where, list(native.columns))
        validate_data(self, native, y, skip_check_array=True)
        check_consistent_length(native, y)
        self._check_shape(where, native)
        self._labels = labels_of(native)
        self._target_name = y.name if isinstance(getattr(y, "name", None), str) else "target"
        table, target, weights = Table(native), self._checked_target(y), None
        if sample_weight is not None:
            refuse_masked(where, sample_weight, "sample_weight")
            weights = _check_sample_weight(sample_weight, native, dtype=np.float64, ensure_non_negative=True)
        kept = np.arange(len(table)) if weights is None else np.flatnonzero(weights)
        target, weights = target[kept], None if weights is None else weights[kept]
        self._learn_target(where, target)
        rows = kept, self._encode_target(target), self._with_class_weights(target, weights)
        parts = self._parts(where, table, rows, fraction if validation_data is None else 0.0, seed)
        if validation_data is not None:
            parts = parts[0], self._given_rows(f"{where}: validation_data", validation_data)
        self._train(parts, shape, recipe, seed)

    def _parts(
        self, where: str, table: Table, given: tuple[Any, Any, Any], fraction: float, seed: int
    ) -> tuple[Rows, Rows | None]:
        """Learn the columns; return the rows that train, and those that choose the epoch."""
        kept, y, weights = given
        categorical = self._categorical_names(where, table.names)

        def encoded(learning: Any, *, joins_rare: bool = True) -> Rows:
            self._features = Features.fit(where, table, categorical, learning, joins_rare=joins_rare)
            return Rows(self._features.transform(where, table)[kept], y, weights)

        if len(kept) <= MANY_ROWS and (few := encoded(kept, joins_rare=False).merged()) is not None:
            return few, None
        first, second = split(y, fraction, seed, are_classes=self._are_classes)
        rows = encoded(kept[first])
        return (rows, None) if len(second) == 0 else (rows.part(first), rows.part(second))

    def _given_rows(self, where: str, data: Any) -> Rows:
        """Return the rows of ``(X, y)`` or ``(X, y, sample_weight)``."""
        if not (isinstance(data, tuple | list) and len(data) in (2, 3)):
            given = f"validation_data is {type(data).__name__}"
            raise TypeError(message(where, given, "expected (X, y) or (X, y, sample_weight)", "give a tuple"))
        X, y, *more = data
        matrix = self._matrix(where, X)
        check_consistent_length(matrix, y)
        target = self._checked_target(y)
        if target.shape[1:] != (() if self._are_classes or self._is_flat else (self._output_count(),)):
            expected = "expected as many values in a row as the y of the training has"
            hint = "give validation_data the columns of y"
            raise ValueError(message(f"{where}: validation_data", f"y has the shape {target.shape}", expected, hint))
        weights = None
        if more and more[0] is not None:
            weights = _check_sample_weight(more[0], matrix, dtype=np.float64, ensure_non_negative=True)
        return Rows(matrix, self._encode_target(target), self._with_class_weights(target, weights))

    def _train(self, parts: tuple[Rows, Rows | None], shape: Shape, recipe: Recipe, seed: int) -> None:
        first, second = parts
        self._scale = TargetScale() if self._are_classes else TargetScale.of_values(first.y, first.weights)
        scaled = replace(first, y=self._scale.scaled(first.y))
        choosing = None if second is None else replace(second, y=self._scale.scaled(second.y))
        outputs = self._output_count()
        layers = layers_for(shape, first.X, self._features.codes, outputs)
        self._warn_of_memory(layers, first.X)
        self.model_ = Model(layers, first.X.shape[1], seed=seed, dtype=self.dtype)
        trainer, self.best_epoch_ = train(self.model_, self._loss, scaled, choosing, recipe, seed)
        self.history_ = trainer.history
        if self.best_epoch_ == 0:
            updates = count(trainer.steps, "update")
            given = f"max_time={self.max_time!r} was over after {updates}, before the end of the first epoch"
            text = message(f"{type(self).__name__}.fit", given, "expected an epoch at least", "give more time")
            warnings.warn(text, ConvergenceWarning, stacklevel=4)
        self._scale.undo(self.model_)
        if self._are_classes:
            self.model_.classes = self.classes_
        measured = first if second is None else second
        self._measured: Rows | None = measured.part(slice(0, _IMPORTANCE_ROWS))
        self._importances: npt.NDArray[Any] | None = None

    def _warn_of_memory(self, layers: list[Any], X: npt.NDArray[Any]) -> None:
        columns, width = X.shape[1], layers[0].output_width(X.shape[1])
        size = memory_of(layers, columns, len(X), np.dtype(self.dtype).itemsize)
        if size <= _MUCH_MEMORY:
            return
        given = f"{columns:,} encoded columns, which become {width:,} numbers of each row for {self.members} members"
        hint = "leave columns out, or give smaller hidden or fewer members"
        text = f"expected less than the {size / 2**30:.1f} GiB that the training takes"
        warnings.warn(message(f"{type(self).__name__}.fit", given, text, hint), UserWarning, stacklevel=5)

    # ---- use ----

    def encode(self, X: Any) -> npt.NDArray[Any]:
        """Return the rows of X as `model_` takes them, in Python and in C++.

        Returns
        -------
        ndarray, (n_samples, n_encoded)
            float32; float64 where a column holds numbers that float32 cannot tell apart. For each column of X, but for
            those that were the same in all rows of the training: a number, with NaN for a missing one, and a mark of 0
            or 1 after it where training has seen missing ones; or the code of a category: -1 for a missing one, and for
            one that training has not seen the number of codes.
        """
        return self._matrix(f"{type(self).__name__}.encode", X)

    def _matrix(self, where: str, X: Any) -> npt.NDArray[Any]:
        check_is_fitted(self, "_features")
        native = native_of(where, X, self)
        if hasattr(self, "feature_names_in_") and has_names(native):
            native = in_order(where, native, self.feature_names_in_)
        elif self._labels is not None:
            native = by_labels(native, self._labels)
        validate_data(self, native, reset=False, skip_check_array=True)
        names = [column.name for column in self._features.encoder.columns]  # the columns have their order by now
        return self._features.transform(where, Table(native, names))

    def _outputs(self, method: str, X: Any) -> npt.NDArray[np.float64]:
        """Return the outputs of the model in float64, (n_samples, n_outputs)."""
        return self._predict(self._matrix(f"{type(self).__name__}.{method}", X))

    def _predict(self, matrix: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        outputs = self.model_.predict(matrix, num_threads=self.num_threads)
        return np.asarray(self._scale.values(outputs), np.float64)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network and all that is known of the table to one safetensors file, for `stoop.tabular.load`.

        That of a subclass is read as an estimator of `stoop.tabular`. `stoop predict`, `stoop.load_model` and the C++
        library read the file too. A failed save leaves an old file as it was.

        Raises
        ------
        OSError
            If the file cannot be written.
        ValueError
            For names of columns and categories of more than 4 MiB in all.
        """
        check_is_fitted(self)
        model = self.model_.copy()
        model.metadata[METADATA_KEY] = state_of(self).to_text()
        model.save(path)

    @property
    def feature_importances_(self) -> npt.NDArray[np.float64]:
        """How much worse the score gets when one feature's cells change places, (n_features,); Breiman 2001.

        The mean of three orders, by the rows that chose the epoch, at most 1,000 (of the training where none did); the
        score is the accuracy, or R2. Computed when it is first asked for. A pickle and a file have it only if it was
        asked for before, because they hold no rows.
        """
        check_is_fitted(self)
        if self._importances is None:
            if self._measured is None:
                given, hint = "no rows to measure with", "ask for it before it is pickled or saved, or fit again"
                raise AttributeError(message("feature_importances_", given, "expected those of the fit", hint))
            encoder = self._features.encoder
            self._importances = permutation_importances(self._score_of, self._measured, encoder.columns)
            self._measured = None
        return self._importances

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "_measured" in state:
            state["_measured"] = None
        return state

    # ---- checks ----

    def _check_shape(self, where: str, native: Any) -> None:
        rows, columns = native.shape
        if columns == 0:
            raise ValueError(f"Found array with 0 feature(s) (shape={native.shape}) while a minimum of 1 is required.")
        if rows < 2:
            given = f"X has n_samples={rows}"
            raise ValueError(message(where, given, "expected at least 2 rows", "give more"))

    def _categorical_names(self, where: str, names: Sequence[str]) -> list[str]:
        """Return the names of the columns that `categorical` names or counts."""
        given = self.categorical
        if isinstance(given, str):
            if given == "auto":
                return []
            expected = 'expected "auto", or a list of names or positions'
            raise ValueError(message(where, f"categorical is {given!r}", expected, f"write [{given!r}]"))
        array = np.asarray(given)
        if array.dtype == bool and array.shape == (len(names),):
            return [name for name, chosen in zip(names, array) if chosen]
        if not isinstance(given, Iterable):
            expected = 'expected "auto", or a list of names or positions'
            raise TypeError(message(where, f"categorical is {given!r}", expected, "[] names none"))
        found = []
        for item in list(given):
            if isinstance(item, str):
                if item not in names:
                    refuse_name(where, "column of categorical", item, list(names))
                found.append(item)
            else:
                found.append(names[integer(where, "categorical", item, 0, len(names) - 1, hint="positions begin at 0")])
        return found

    def _shape(self, where: str) -> Shape:
        if self.encoding not in ENCODINGS:
            refuse_name(where, "encoding", str(self.encoding), ENCODINGS)
        units = self.hidden if isinstance(self.hidden, Sequence | np.ndarray) else (self.hidden,)
        return Shape(
            tuple(integer(where, "hidden", width, 1, hint="for example (256, 256)") for width in units),
            integer(where, "members", self.members, 1, hint="16 is usual"),
            self.encoding,
            integer(where, "bins", self.bins, 0, hint="48 is usual"),
            integer(where, "embedding_dim", self.embedding_dim, 1, hint="8 is usual"),
            real(where, "dropout", self.dropout, BELOW_ONE, "0.1 is usual"),
        )

    def _recipe(self, where: str) -> Recipe:
        threads = None if self.num_threads is None else thread_count(where, "num_threads", self.num_threads)
        return Recipe(
            real(where, "learning_rate", self.learning_rate, POSITIVE, "0.002 is usual"),
            real(where, "weight_decay", self.weight_decay, NOT_NEGATIVE, "0.0003 is usual"),
            integer(where, "batch_size", self.batch_size, 1, hint="256 is usual"),
            integer(where, "epochs", self.epochs, 1, hint="200 is usual"),
            integer(where, "patience", self.patience, 1, hint="16 is usual"),
            self.max_time,
            self.precision,
            threads,
            self.verbose,
        )

    # ---- what depends on the target ----

    @abstractmethod
    def _checked_target(self, y: Any) -> Any:
        """Return y as an array, or raise what scikit-learn raises."""

    @abstractmethod
    def _learn_target(self, where: str, target: npt.NDArray[Any]) -> None:
        """Note what the targets of the training are like."""

    @abstractmethod
    def _encode_target(self, target: Any) -> Any:
        """Return the targets as the core takes them."""

    def _with_class_weights(self, target: npt.NDArray[Any], weights: Any) -> Any:  # noqa: ARG002
        """Return the weights of the rows."""
        return weights

    @abstractmethod
    def _output_count(self) -> int:
        """Return the columns that predictions have."""

    @abstractmethod
    def _score_of(self, rows: Rows) -> float:
        """Return accuracy or R2 of the model for rows."""
