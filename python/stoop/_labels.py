"""Class labels of any kind: which names they have, and the class indices that training needs.

Integers 0 .. n-1 are indices and need no names. Other integers, booleans and strings do: the names are sorted, those
of a categorical column in its own order, and the model keeps them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stoop._arrays import to_numpy
from stoop._checks import class_targets, softmax_targets, value_targets
from stoop._class_names import with_plain_text
from stoop._errors import message, warn
from stoop.losses import Loss

if TYPE_CHECKING:
    from stoop.model import Model

Array = npt.NDArray[Any]
_SHOWN = 5  # names in a message


class TargetReader:
    """Turns y into what the core takes, by the loss and by the names that the model's classes have."""

    def __init__(self, model: Model, loss: Loss) -> None:
        self._model = model
        spec = loss._spec
        self._softmax = spec["takes_classes"]
        self._columns = model.output_dim // spec["outputs_per_target"]  # of rows of targets
        binary = spec["takes_labels"] and model.output_dim == 1
        self._n_classes = model.output_dim if self._softmax else 2 if binary else 0  # 0: values, or labels by column
        self._noted = False

    @property
    def kind(self) -> tuple[object, ...]:
        """What it makes of y is the same for readers of one kind, if their models name their classes alike."""
        return self._model.dtype.str, self._softmax, self._columns, self._n_classes

    def read(self, where: str, y: Any, samples: int, *, may_name: bool) -> tuple[Any, Array | None]:
        """Return targets for the core, and the names of their classes if it was `y` that told them.

        Raises
        ------
        ValueError
            For the wrong rank or length, a label that is none of the model's classes, or another number of classes
            than the model has outputs.
        TypeError
            For what is no label or value, or names where `may_name` says that there can be none.
        """
        if self._n_classes == 0:
            return self._plain(where, y, samples), None
        if self._are_rows(y):
            _refuse_columns_of_text(where, y)
            return self._plain(where, y, samples), None
        labels = self._labels(where, y)
        _refuse_columns_of_text(where, labels)
        places = self._model._class_places
        if places is not None:
            return self._targets(_encode(where, labels, places), where, samples), None
        if _are_indices(y, labels, self._n_classes):
            return self._plain(where, labels, samples), None
        labels = labels.copy()  # names are read more than once, and another thread or process may write to y meanwhile
        names = _names(where, y, labels, self._n_classes, indices_only=self._softmax)
        if names is None or (not may_name and labels.dtype.kind in "biuf"):
            return self._plain(where, labels, samples), None
        if not may_name:
            given = f"y holds names, {_shown(names)}, and the model has none for its classes"
            hint = "set model.classes to the names in the order of the outputs"
            raise TypeError(
                message(where, given, "expected class indices, or the names that it was trained with", hint)
            )
        _check_count(where, labels, names, self._n_classes, self._model.output_dim)
        indices = _encode(where, labels, {name: i for i, name in enumerate(names.tolist())})
        return self._targets(indices, where, samples), names

    def indices(self, targets: Array) -> Array:
        """Return the class index of each sample, for weights by class: from what `read` made of y.

        Raises
        ------
        ValueError
            For targets that are no classes, such as probabilities.
        """
        if self._n_classes == 0 or (self._softmax and targets.ndim != 1):
            given = f"class_weight with y of shape {targets.shape}"
            expected = "expected class labels, one per sample"
            raise ValueError(message("Trainer.fit", given, expected, "use sample_weight"))
        if self._softmax:
            return targets
        classes = targets.reshape(-1)
        other = np.flatnonzero((classes != 0) & (classes != 1))
        if len(other):
            given = f"class_weight with y of {classes[other[0]]:g} at row {other[0]}"
            raise ValueError(message("Trainer.fit", given, "expected classes, 0 or 1", "use sample_weight"))
        return classes.astype(np.int64)

    @property
    def weight_columns(self) -> int:
        """Number of columns of weights by target, 0 where the loss compares whole rows."""
        return 0 if self._softmax else self._columns

    @property
    def n_classes(self) -> int:
        """Number of classes, 0 where the targets are values."""
        return self._n_classes

    def _are_rows(self, y: Any) -> bool:
        """Return whether y has a column for each of several classes: rows of probabilities."""
        shape: tuple[int, ...] = tuple(getattr(y, "shape", ()))
        if isinstance(y, list | tuple) and len(y) and isinstance(y[0], list | tuple | np.ndarray):
            shape = (len(y), *np.shape(y[0]))
        return self._softmax and len(shape) == 2 and shape[1] != 1

    def _plain(self, where: str, y: Any, samples: int) -> Any:
        check = softmax_targets if self._softmax else value_targets
        return check(where, y, self._model.dtype, samples, self._columns)

    def _targets(self, indices: Array, where: str, samples: int) -> Any:
        if self._softmax:
            return class_targets(where, indices, samples)
        return value_targets(where, indices, self._model.dtype, samples, 1)

    def _labels(self, where: str, y: Any) -> Array:
        """Return y as an array; a column as one dimension, with a note where that is not how classes are given."""
        labels = with_plain_text(y, to_numpy(where, y, "y"))
        if labels.ndim != 2 or labels.shape[1] != 1:
            return labels
        if self._softmax and not self._noted and labels.dtype.kind != "f":
            self._noted = True
            given, expected = f"y has shape {labels.shape}", "expected (n_samples,) classes"
            warn(message(where, given, expected, "it is taken as y.ravel(); give that to be clear"))
        return labels[:, 0]


def _refuse_columns_of_text(where: str, y: Any) -> None:
    array = to_numpy(where, y, "y")
    if array.ndim < 2:
        return
    if array.dtype.kind in "UST" or (array.dtype.kind == "O" and any(isinstance(value, str) for value in array.flat)):
        given, expected = f"y has shape {array.shape} and holds text", "expected (n_samples,) labels, one per sample"
        raise ValueError(message(where, given, expected, "give one column of y"))


def _are_indices(y: Any, labels: Array, n_classes: int) -> bool:
    """Return whether the labels are class indices, which need no names."""
    plain = labels.dtype.kind in "iu" and labels.ndim == 1 and labels.size > 0 and _categories_of(y) is None
    return plain and bool(labels.min() >= 0 and labels.max() < n_classes)


def _categories_of(y: Any) -> Any:
    return getattr(getattr(y, "dtype", None), "categories", None)


def _names(where: str, y: Any, labels: Array, n_classes: int, *, indices_only: bool) -> Array | None:
    """Return the names of the classes in y, or None where they are indices, probabilities or no labels at all."""
    kind = labels.dtype.kind
    if labels.ndim != 1 or labels.size == 0:
        return None
    categories = _categories_of(y)
    if categories is not None:
        return _categories(where, with_plain_text(None, np.asarray(categories)), labels, n_classes)
    if kind == "b":
        return np.array([False, True]) if n_classes == 2 else None
    if kind in "iu":
        return None if _are_indices(y, labels, n_classes) else np.unique(labels)
    if kind == "f":
        whole = not indices_only and bool(np.isfinite(labels).all() and (labels == np.floor(labels)).all())
        return np.unique(labels) if whole and (labels.min() < 0 or labels.max() > 1) else None
    if kind in "UT":
        return np.unique(labels)
    return _names_of_objects(where, labels) if kind == "O" else None


def _categories(where: str, categories: Array, labels: Array, n_classes: int) -> Array | None:
    """Return the categories in their order, without those that do not occur where the model has no output for them."""
    if labels.dtype.kind == "O":
        _refuse_missing(where, labels)
    if categories.dtype.kind in "iu" and categories.min() >= 0 and categories.max() < n_classes:
        return None
    if len(categories) == n_classes:
        return categories
    present = set(labels.tolist())
    return categories[[value in present for value in categories.tolist()]]


def _names_of_objects(where: str, labels: Array) -> Array:
    _refuse_missing(where, labels)
    kinds = {type(value) for value in labels}
    if all(issubclass(kind, str) for kind in kinds):
        return np.array(sorted(set(labels.tolist())), object)
    if all(issubclass(kind, bool | np.bool_) for kind in kinds):
        return np.array([False, True])
    if all(issubclass(kind, int | np.integer) and kind is not bool for kind in kinds):
        return np.unique(labels.astype(np.int64))
    shown = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise TypeError(
        message(where, f"y holds objects of {shown}", "expected labels of one kind: strings, integers or booleans",
                "use y.astype(str)")
    )  # fmt: skip


def _refuse_missing(where: str, labels: Array) -> None:
    """Refuse None, NaN and pandas.NA, which equal nothing, not even themselves."""
    for row, value in enumerate(labels):
        if (
            value is None
            or type(value).__name__ in ("NAType", "NaTType")
            or (isinstance(value, float) and value != value)
        ):
            given = f"y holds {value!r} at row {row}"
            raise TypeError(
                message(where, given, "expected a label for each sample", "leave such rows out, or name them")
            )


def _encode(where: str, labels: Array, places: dict[Any, int]) -> Array:
    """Return the place of each label among the names."""
    if labels.ndim != 1:
        given, expected = f"y has shape {labels.shape}", "expected (n_samples,) labels"
        raise ValueError(message(where, given, expected, "give one label per sample"))
    if labels.dtype.kind == "O":
        values, inverse = labels.tolist(), None
    else:
        unique, inverse = np.unique(labels, return_inverse=True)
        values = unique.tolist()
    try:
        found = [places.get(value, -1) for value in values]
    except TypeError:  # a list within an array of objects cannot be looked up
        raise TypeError(message(where, "y holds lists", "expected labels", "give one label per sample")) from None
    indices = np.array(found, np.int64)
    if inverse is not None:
        indices = indices[inverse]
    unknown = np.flatnonzero(indices < 0)
    if len(unknown):
        row = int(unknown[0])
        given = f"y holds {values[row if inverse is None else int(inverse[row])]!r} at row {row}"
        expected = f"expected one of the model's classes, {_shown(list(places))}"
        raise ValueError(message(where, given, expected, "check y, or rename the outputs, model.classes = [...]"))
    return indices


def _check_count(where: str, labels: Array, names: Array, n_classes: int, outputs: int) -> None:
    if len(names) == n_classes:
        return
    given = f"y holds {len(names)} class{'es' * (len(names) > 1)}, {_shown(names)}"
    if labels.dtype.kind in "iu":
        rows = np.flatnonzero((labels < 0) | (labels >= n_classes))
        if rows.size:  # a categorical column may have such a class without a row
            given += f", and class {labels[rows[0]]} at row {rows[0]} is not within 0 to {n_classes - 1}"
    expected = (
        f"expected {n_classes} classes for {outputs} output{'s' * (outputs > 1)}, as labels or as 0 to {n_classes - 1}"
    )
    if len(names) < n_classes:
        hint = "name those that are missing too: model.classes = [...], in the order of the outputs"
    elif outputs == 1:
        hint = f"use softmax_cross_entropy and stoop.Dense({len(names)}) as the last layer"
    else:
        hint = f"give the last Dense {len(names)} units, or check y"
    raise ValueError(message(where, given, expected, hint))


def _shown(names: Any) -> str:
    values = names if isinstance(names, list) else names.tolist()
    return ", ".join(repr(value) for value in values[:_SHOWN]) + (", ..." if len(values) > _SHOWN else "")
