"""The error of groups of samples: by a column, an array of labels, or a function of the inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._arrays import column_labels, is_table, to_numpy
from stoop._errors import message
from stoop.diagnose._statistics import limits_of

Array = npt.NDArray[Any]

_WHERE = "diagnose.errors"
_MOST_VALUES = 10  # different numbers, above which they are cut at their quartiles
_MOST_GROUPS = 20  # shown, the largest


@dataclass(frozen=True)
class SliceError:
    """The error of a group of samples.

    Attributes
    ----------
    name : str
    samples : int
    error : float
        As in `check`.
    low, high : float
        Limits between which it lies with 95 % confidence.
    share : float
        Of all errors, how much is of this group: what curing it would bring at most.
    """

    name: str
    samples: int
    error: float
    low: float
    high: float
    share: float


def slices_of(X: Any, given: Any, errors: Array) -> dict[str, list[SliceError]]:
    """Return the errors by each slice: `given` is one, a list, or a dict of them by name."""
    if given is None:
        return {}
    named = given if isinstance(given, Mapping) else {_name(X, one): one for one in _listed(given, len(errors))}
    return {str(name): groups_of(_labels(X, one, len(errors)), errors) for name, one in named.items()}


def groups_of(labels: Array, errors: Array, names: Sequence[str] | None = None) -> list[SliceError]:
    """Return the error for each label, the largest groups, in the order of the labels."""
    cuts = None
    if names is None and labels.dtype.kind in "fiu" and len(np.unique(labels)) > _MOST_VALUES:
        cuts = np.unique(np.quantile(labels[np.isfinite(labels)], (0.25, 0.5, 0.75)))
        labels = np.searchsorted(cuts, labels, side="left")
    values, places, counts = np.unique(labels, return_inverse=True, return_counts=True)
    total = float(errors.sum())
    found = []
    for place in sorted(np.argsort(-counts, kind="stable")[:_MOST_GROUPS]):
        own = errors[places == place]
        shown = str(values[place]) if names is None else names[values[place]]
        if cuts is not None:
            shown = _between(cuts, int(values[place]))
        low, high = limits_of(own)
        found.append(
            SliceError(shown, len(own), float(own.mean()), low, high, float(own.sum()) / total if total else 0.0)
        )
    return found


def _between(cuts: Array, place: int) -> str:
    if place == 0:
        return f"up to {cuts[0]:.4g}"
    return f"above {cuts[-1]:.4g}" if place == len(cuts) else f"{cuts[place - 1]:.4g} to {cuts[place]:.4g}"


def _listed(given: Any, samples: int) -> list[Any]:
    """Return several slices as a list; a list with a value for each sample is one slice."""
    several = isinstance(given, list | tuple) and len(given) != samples
    return list(given) if several else [given]


def _name(X: Any, one: Any) -> str:
    if callable(one):
        return str(getattr(one, "__name__", "function"))
    if isinstance(one, int | np.integer) and not isinstance(one, bool):
        names = column_labels(X) if is_table(X) else None
        return f"column {one}" if names is None else str(names[int(one)])
    return one if isinstance(one, str) else str(getattr(one, "name", None) or "slice")


def _labels(X: Any, one: Any, samples: int) -> Array:
    """Return a label for each sample."""
    if callable(one):
        labels = one(X)
    elif isinstance(one, str):
        names = column_labels(X) if is_table(X) else None
        if names is None or one not in names:
            has = "no named columns" if names is None else f"columns {', '.join(map(str, names))}"
            raise ValueError(
                message(
                    _WHERE,
                    f"slice {one!r} and X with {has}",
                    "expected a column of X",
                    "give an index, an array or a function",
                )
            )
        labels = X[one]
    elif isinstance(one, int | np.integer) and not isinstance(one, bool):
        columns = np.shape(X)[1]
        if not -columns <= one < columns:
            raise ValueError(
                message(_WHERE, f"slice {one} of {columns} columns", "expected a column of X", "columns count from 0")
            )
        labels = to_numpy(_WHERE, X, "X")[:, one]
    else:
        labels = one
    array = to_numpy(_WHERE, labels, "slice")
    array = array.astype(str) if array.dtype.kind == "O" else array
    if array.shape != (samples,):
        given = f"a slice has shape {array.shape}"
        raise ValueError(message(_WHERE, given, f"expected ({samples},), a label for each sample", "check the slice"))
    return array
