"""What is given for all trainers of `stoop.fit_many`: X, y and weights, read once for each kind of trainer, rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._arrays import to_numpy
from stoop._checks import features, integer, sample_weights
from stoop._errors import message, warn
from stoop.augment import Augment, checked_augment

WHERE = "fit_many"
Array = npt.NDArray[Any]


class SharedArrays:
    """X, y and weights in the forms that trainers need, each made once.

    Parameters
    ----------
    where : str
        For messages.
    X, y, weight : array_like, weight may be None
        As `Trainer.fit` takes them.
    class_weight : dict, array_like, "balanced" or None
        Likewise.
    """

    def __init__(self, where: str, X: Any, y: Any, weight: Any, class_weight: Any = None) -> None:
        self._where = where
        self._X, self._y, self._weight = X, y, weight
        self._class_weight = class_weight
        self._made: dict[tuple[object, ...], Any] = {}

    def samples_for(self, trainer: Any) -> Any:
        """Return the samples alone."""
        dtype, inputs = trainer.model._copy_dtype, trainer._input_dim
        return self._once(("x", dtype.str, inputs), lambda: features(self._where, self._X, dtype, inputs))

    def for_trainer(self, trainer: Any, rows: Array | None = None, *, learn: bool = False) -> tuple[Any, ...]:
        """Return samples, targets and weights for the core.

        With `learn` the trainer's model gets the names of classes that y tells. `rows` are those that weigh "balanced".
        """
        x = self.samples_for(trainer)
        key, targets = self._targets(trainer, len(x), learn=learn)
        return x, targets, self._weights(trainer, len(x), (key, targets), rows)

    def _once(self, key: tuple[object, ...], make: Callable[[], Any]) -> Any:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _targets(self, trainer: Any, samples: int, *, learn: bool) -> tuple[object, Any]:
        model, reader = trainer.model, trainer._targets
        names = None if model.classes is None else (model.classes.dtype.str, tuple(model.classes.tolist()))
        may_name = learn and trainer._may_name()
        key = ("y", reader.kind, names, may_name)
        targets, learned = self._once(key, lambda: reader.read(self._where, self._y, samples, may_name=may_name))
        if learn and learned is not None:
            model.classes = learned
        return key, targets

    def _weights(self, trainer: Any, samples: int, of_targets: tuple[object, Any], rows: Array | None) -> Any:
        dtype, columns = trainer._dtype, trainer._targets.weight_columns
        key, targets = of_targets
        weights = None
        if self._weight is not None:
            weights = self._once(
                ("weight", dtype.str, columns),
                lambda: sample_weights(self._where, self._weight, dtype, samples, columns),
            )
        if self._class_weight is None:
            return weights
        counted = rows if isinstance(self._class_weight, str) else None
        return self._once(
            ("class_weight", key, columns, id(counted)),  # rows live as long as the call
            lambda: trainer._class_weights(self._class_weight, targets, weights, counted),
        )


class Selected:
    """Rows of samples, targets and weights, which are copied whenever they are looked at."""

    def __init__(self, arrays: tuple[Any, ...], rows: Array) -> None:
        self._arrays = arrays
        self._rows = rows

    def __iter__(self) -> Iterator[Any]:
        return (None if array is None else array[self._rows] for array in self._arrays)


def rows_of_all(rows: Any, seeds: list[int], samples: int) -> list[Array | None]:
    """Return the rows of each trainer as the core takes them, None for all.

    Raises
    ------
    ValueError, TypeError
        For what is neither None, "bootstrap" nor a list with rows for each trainer.
    """
    if rows is None:
        return [None] * len(seeds)
    if isinstance(rows, str):
        if rows != "bootstrap":
            hint = 'give a list with an index array for each trainer, or "bootstrap"'
            raise ValueError(message(WHERE, f"rows is {rows!r}", 'expected None, "bootstrap" or a list', hint))
        return _bootstrap(seeds, samples)
    return _listed("rows", rows, len(seeds), samples)


def validation_rows_of_all(rows: Any, count: int, samples: int) -> list[Array | None]:
    """Return the rows that each trainer is validated with, None for none."""
    return [None] * count if rows is None else _listed("validation_rows", rows, count, samples)


def bootstrap_rows(seed: int, samples: int) -> npt.NDArray[np.int32]:
    """Return `samples` rows drawn with replacement: ``np.random.default_rng(seed).integers(samples, size=samples)``."""
    return np.random.default_rng(seed).integers(samples, size=samples).astype(np.int32)


def _bootstrap(seeds: list[int], samples: int) -> list[Array | None]:
    if len(seeds) > 1 and len(set(seeds)) == 1:
        given = f"all trainers have the seed {seeds[0]}"
        warn(message(WHERE, given, "expected seeds that differ for bootstrap", "make them with Trainer(seed=i)"))
    drawn = {seed: bootstrap_rows(seed, samples) for seed in set(seeds)}
    return [drawn[seed] for seed in seeds]


def _listed(name: str, rows: Any, count: int, samples: int) -> list[Array | None]:
    if not isinstance(rows, Iterable) or getattr(rows, "ndim", 2) < 2:
        given = f"{name} is a {type(rows).__name__}"
        hint = "give a list with an index array for each trainer"
        raise TypeError(message(WHERE, given, f"expected rows for each of {count} trainers", hint))
    given_rows = list(rows)
    if len(given_rows) != count:
        given, expected = f"{name} has {len(given_rows)} elements", f"expected one for each of {count} trainers"
        raise ValueError(message(WHERE, given, expected, "give None for a trainer that takes all rows"))
    read: dict[int, Array | None] = {}
    for number, of_trainer in enumerate(given_rows):
        if id(of_trainer) not in read:
            read[id(of_trainer)] = _row_numbers(f"{name}[{number}]", of_trainer, samples)
    return [read[id(of_trainer)] for of_trainer in given_rows]


def _row_numbers(name: str, rows: Any, samples: int) -> Array | None:
    """Return row numbers as contiguous int32, from numbers or from a mask."""
    if rows is None:
        return None
    array = to_numpy(WHERE, rows, name)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "biu"):
        given = f"{name} has dtype {array.dtype} and shape {array.shape}"
        raise TypeError(message(WHERE, given, "expected row numbers in one dimension, or a mask", "use np.flatnonzero"))
    if array.dtype.kind == "b":
        if len(array) != samples:
            given, expected = f"{name} is a mask of {len(array)} rows", f"expected {samples}, as X has"
            raise ValueError(message(WHERE, given, expected, "check what it was made from"))
        array = np.flatnonzero(array)
    if array.size == 0:
        raise ValueError(message(WHERE, f"{name} is empty", "expected at least one row", "give None for all rows"))
    outside = np.flatnonzero((array < 0) | (array >= samples))
    if len(outside):
        given = f"{name}[{outside[0]}] is {array[outside[0]]} and X has {samples} rows"
        raise ValueError(message(WHERE, given, f"expected 0 <= row < {samples}", "number the rows from 0"))
    return np.ascontiguousarray(array, np.int32)


def each_of(name: str, value: Any, count: int) -> list[Any]:
    """Return a value for each trainer; the one for all is checked here, for there may be no trainer."""
    if getattr(value, "ndim", 1) == 0:  # iterable only by its type
        value = value[()]
    if isinstance(value, str | np.generic) or not isinstance(value, Iterable):
        return [integer(WHERE, name, value, 1)] * count
    values = list(value)
    if len(values) != count:
        given = f"{name} has {len(values)} elements"
        raise ValueError(message(WHERE, given, f"expected one for each of {count} trainers", "or give one for all"))
    return values


def augment_of_each(augment: Any, count: int) -> list[Augment | None]:
    """Return one or None for each trainer."""
    if not isinstance(augment, Sequence):
        return [checked_augment(WHERE, augment)] * count
    if len(augment) != count:
        given = f"augment has {len(augment)} elements"
        raise ValueError(message(WHERE, given, f"expected one for each of {count} trainers", "or give one for all"))
    return [checked_augment(WHERE, one) for one in augment]
