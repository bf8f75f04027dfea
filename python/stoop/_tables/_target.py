"""The column that a network learns: classes or values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._class_names import names_from_text
from stoop._tables._kinds import kind_of
from stoop._tables._messages import Problem, first_of, quoted, refuse, ways
from stoop._tables._text import TextFormat, missing_in, names_of, names_to_learn, numbers_of, places_of

_MANY_CLASSES = 1000
_FEW_NUMBERS = 10  # so many different whole numbers are classes


@dataclass(frozen=True)
class Target:
    """What is remembered of it."""

    name: str
    task: str  # "classification" or "regression"
    classes: tuple[str, ...] = ()  # sorted; whole numbers by their value
    are_numbers: bool = False  # whether the classes are whole numbers

    @classmethod
    def fit(cls, column: Any, where: str, task: str = "auto", form: TextFormat = TextFormat()) -> Target:  # noqa: B008
        """Find out what the column is, of a table whose rows without a target were dropped.

        Raises
        ------
        ValueError
            For one that nothing can be learnt of: constant, a class with one row, infinite values, dates.
        """
        name = str(column.name)
        if missing_in(column).all():
            refuse(where, f'target "{name}" has no values', "expected some", "name another column with --target")
        kind = kind_of(column, form)
        if isinstance(kind, Problem) and (task == "regression" or kind.given.startswith(("holds dates", "is "))):
            hint = ways(kind.hint, kind.option.replace("--category " + name, "--task classification"))
            refuse(where, f'target "{name}" {kind.given}', kind.expected, hint or "name another column with --target")
        if task == "auto":
            task = "classification" if kind != "number" or _are_classes(numbers_of(column, form)[0]) else "regression"
        if task == "regression":
            return cls._of_values(column, where, str(kind), form)
        return cls._of_classes(column, where)

    @classmethod
    def _of_values(cls, column: Any, where: str, kind: str, form: TextFormat) -> Target:
        name = str(column.name)
        if kind != "number":
            given = f'target "{name}" holds "{column.iloc[0]}", which is no number'
            refuse(where, given, "expected numbers for a regression", "give --task classification")
        values, _ = numbers_of(column, form)
        if values.min() == values.max():
            hint = "name another column with --target"
            refuse(where, f'target "{name}" is {values[0]:g} in every row', "expected values that differ", hint)
        return cls(name, "regression")

    @classmethod
    def _of_classes(cls, column: Any, where: str) -> Target:
        name = str(column.name)
        counts = names_to_learn(column).value_counts()
        are_numbers = all(_is_whole(text) for text in counts.index)
        classes = tuple(sorted(counts.index, key=int if are_numbers else None))
        if len(classes) == 1:
            given = f'target "{name}" is "{classes[0]}" in every row'
            refuse(where, given, "expected at least two classes", "name another column with --target")
        if len(classes) > _MANY_CLASSES:
            given = f'target "{name}" has {len(classes):,} classes'
            refuse(where, given, f"expected at most {_MANY_CLASSES}", "give --task regression, or join the rare ones")
        alone = sorted(str(text) for text, times in counts.items() if times == 1)
        if alone:
            words = "class" if len(alone) == 1 else "each of the classes"
            given = f'target "{name}" has a single row of {words} {quoted(alone)}'
            hint = "join rare classes with others, or remove these rows"
            if are_numbers:
                hint += "; give --task regression if they are values"
            refuse(where, given, "expected at least two rows of each, to train and to test with", hint)
        return cls(name, "classification", classes, are_numbers)

    @property
    def class_names(self) -> npt.NDArray[Any]:
        """For `Model.classes`: int64 or text."""
        if self.are_numbers:
            return np.array([int(text) for text in self.classes])
        return names_from_text(list(self.classes), "str")

    def encode(self, column: Any, where: str, form: TextFormat) -> npt.NDArray[Any]:
        """Return class indices (n_rows,), or values as float64; of a column without missing cells.

        Raises
        ------
        ValueError
            For a class or value that cannot be one.
        """
        values: npt.NDArray[Any]
        if self.task == "regression":
            values, bad = numbers_of(column, form)
            bad |= ~np.isfinite(values)
        else:
            values = places_of(names_of(column), self.classes)
            bad = values < 0
        if bad.any():
            cell, row = first_of(bad, column)
            given = f'target "{self.name}" is "{cell}" at row {row}'
            expected = f"expected one of {quoted(self.classes)}" if self.classes else "expected a finite number"
            refuse(where, given, expected, "correct it, or remove the column")
        return values

    def to_state(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Target:
        """Return the target of `to_state`."""
        return cls(**{**state, "classes": tuple(state["classes"])})


def _are_classes(values: npt.NDArray[np.float64]) -> bool:
    """Return whether numbers are few and whole."""
    different = np.unique(values[~np.isnan(values)])
    return len(different) <= _FEW_NUMBERS and bool((different == np.floor(different)).all())


def _is_whole(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 19 and str(int(text)) == text
