"""Weights by class, and the part of the samples that is kept for validation."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._arrays import to_numpy
from stoop._checks import NOT_NEGATIVE, by_power_of_two, integer, real
from stoop._errors import message, refuse_name

_WHERE = "Trainer.fit"
Batch = tuple[Any, ...]  # X, y, weights or None


def class_weights(
    class_weight: Any,
    classes: npt.NDArray[Any],
    names: list[Any] | int,
    weights: Any,
    dtype: np.dtype[Any],
    rows: npt.NDArray[Any] | None = None,
) -> npt.NDArray[Any]:
    """Return ``weights * table[classes]``, with the table that `class_weight` means, divided by a power of two.

    `classes` are indices; `names` are those of the classes, or how many classes there are where they have none.
    "balanced" counts the classes of these `rows`.

    Only ratios count; the largest is brought to between 1 and 2, where every dtype holds it. So are both factors, whose
    product could otherwise be too large or too small for float64.

    Raises
    ------
    ValueError
        For a class that does not exist, a table of another length or a negative weight.
    TypeError
        For weights that are no numbers.
    """
    n_classes = names if isinstance(names, int) else len(names)
    if classes.size and not 0 <= classes.min() <= classes.max() < n_classes:
        given = f"y holds classes from {classes.min()} to {classes.max()}"
        expected = f"expected 0 <= class < {n_classes}"
        raise ValueError(message(_WHERE, given, expected, "number the classes from 0"))
    if isinstance(class_weight, str):
        table = _balanced(class_weight, classes if rows is None else classes[rows], n_classes)
    else:
        table = _table(class_weight, names, n_classes)
    by_sample = by_power_of_two(table[classes])
    if weights is not None:
        by_sample = by_power_of_two(by_sample * by_power_of_two(weights.astype(np.float64)))
    return by_sample.astype(dtype, copy=False)


def _balanced(name: str, classes: npt.NDArray[Any], n_classes: int) -> npt.NDArray[np.float64]:
    """Return a weight that makes the classes that occur count alike, as in scikit-learn."""
    if name != "balanced":
        refuse_name(_WHERE, "class_weight", name, ("balanced",))
    counts = np.bincount(classes, minlength=n_classes)
    table: npt.NDArray[np.float64] = len(classes) / (n_classes * np.maximum(counts, 1.0))
    return table


def _table(class_weight: Any, names: list[Any] | int, n_classes: int) -> npt.NDArray[np.float64]:
    table = np.ones(n_classes)
    if _is_labelled(class_weight):
        class_weight = _by_label(class_weight)
    if isinstance(class_weight, Mapping):
        for key, value in class_weight.items():
            table[_place(key, names)] = real(_WHERE, f"class_weight[{key!r}]", value, NOT_NEGATIVE)
        return table
    values: npt.NDArray[Any] = to_numpy(_WHERE, class_weight, "class_weight")
    if values.shape != (n_classes,):
        given = f"class_weight has shape {values.shape}"
        hint = "give a dict {class: weight} or one weight per class"
        raise ValueError(message(_WHERE, given, f"expected ({n_classes},), one weight per class", hint))
    for index in range(n_classes):
        table[index] = real(_WHERE, f"class_weight[{index}]", values[index], NOT_NEGATIVE)
    return table


def _is_labelled(class_weight: Any) -> bool:
    """Return whether it is a pandas Series with an index of its own, not one that numbers its rows from 0."""
    index: Any = getattr(class_weight, "index", None)
    if not hasattr(class_weight, "to_dict") or not hasattr(index, "is_unique"):
        return False
    return type(index).__name__ != "RangeIndex" or (index.start, index.step) != (0, 1)


def _by_label(series: Any) -> Any:
    if not series.index.is_unique:
        given = "class_weight is a Series with a label twice in its index"
        raise ValueError(message(_WHERE, given, "expected one weight per class", "look at class_weight.index"))
    return series.to_dict()


def _place(key: Any, names: list[Any] | int) -> int:
    if isinstance(names, int):
        return integer(_WHERE, "a class of class_weight", key, 0, names - 1)
    if key in names:
        return names.index(key)
    shown = ", ".join(repr(name) for name in names[:5]) + (", ..." if len(names) > 5 else "")
    given, expected = f"class_weight has a class {key!r}", f"expected classes among {shown}"
    raise ValueError(message(_WHERE, given, expected, "name them as in y"))


def split_off(share: float, batch: Batch, validation: Batch | None) -> tuple[Batch, Batch]:
    """Return all samples but the last `share` of them, and those.

    Raises
    ------
    ValueError
        If validation data are there already, or one of the parts would be empty.
    """
    if validation is not None:
        given = "validation_data and validation_split are both given"
        raise ValueError(message(_WHERE, given, "expected one of them", "leave one out"))
    samples = batch[0].shape[0]
    kept = samples - int(samples * share)
    if not 0 < kept < samples:
        given = f"validation_split is {share:g} for {samples} samples"
        raise ValueError(message(_WHERE, given, "expected at least one sample in both parts", "change it"))

    return rows_of(batch, slice(kept)), rows_of(batch, slice(kept, None))


def first_rows(batch: Batch, rows: int) -> Batch:
    """Return the first samples, targets and weights."""
    return rows_of(batch, slice(rows))


def rows_of(batch: Batch, rows: slice) -> Batch:
    """Return these samples, targets and weights; views."""
    return tuple(None if array is None else array[rows] for array in batch)
