"""What all optimizers have in common."""

import json
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy.typing as npt

from stoop import _core
from stoop._array_checks import check_gradients, check_parameters
from stoop._config import Config
from stoop.optimizers._updater import ArrayUpdater, ArrayUpdaters, Updater
from stoop.schedules import as_learning_rate

LearningRate = Any  # float | Schedule | Callable[[int], float]; kept as a float or a Schedule


class Optimizer(Config, kind="optimizer"):
    """Base of all optimizers. Use a subclass."""

    _example: ClassVar[str] = "stoop.optimizers.Adam(1e-3)"

    learning_rate: LearningRate

    def __post_init__(self) -> None:
        self._set("learning_rate", as_learning_rate(type(self).__name__, "learning_rate", self.learning_rate))
        super().__post_init__()
        if self._spec["has_rules"]:
            _core.check_optimizer(json.dumps(self.to_config()))

    def step(self, parameters: Sequence[npt.NDArray[Any]], gradients: Sequence[npt.ArrayLike]) -> None:
        """Update bare arrays in place, one gradient for each.

        State and the count of updates are kept in this object for this list of arrays, as long as the arrays live;
        another list starts anew. Views of an array are found by that array and by their place in it. A schedule counts
        updates, also one by epochs. Weight decay is for all arrays. `updater` hands you the state.
        A copy (by `copy` or `pickle`) has a copy of the state, and goes on from it with the first list of arrays of the
        same dtype and sizes that it is given; ``dataclasses.replace(optimizer)`` starts anew.

        Parameters
        ----------
        parameters : sequence of ndarray
            Writable, contiguous, all float32 or all float64, of any shape; views will do. No two share memory.
        gradients : sequence of array_like
            Of the same shapes; copied where of another dtype or layout. One may be its own parameter, as for a cost of
            ``w**2 / 2``, and is copied then; it shares no memory with a parameter otherwise.

        Raises
        ------
        TypeError
            For a parameter that is no array of float32 or float64.
        ValueError
            For one that is read-only or strided, arrays that share memory, shapes or lengths that do not fit, or an
            invalid learning rate. Nothing is changed then.
        RuntimeError
            While another thread updates these arrays with this optimizer.
        """
        where = "optimizer.step"
        views = check_parameters(where, parameters)
        checked = check_gradients(where, parameters, gradients)
        self._updater_of(where, parameters, views).update(where, views, checked)

    def updater(self, parameters: Sequence[npt.NDArray[Any]]) -> Updater:
        """Return an object that updates these arrays and holds the state for them, which starts anew.

        Unlike `step` it finds nothing by the arrays: it keeps them, and its state can be saved.

        Parameters
        ----------
        parameters : sequence of ndarray
            As in `step`.

        Raises
        ------
        TypeError, ValueError
            As `step`.
        """
        return Updater(self, parameters)

    def _updater_of(self, where: str, parameters: Sequence[npt.NDArray[Any]], views: list[Any]) -> ArrayUpdater:
        """Return the updater that `step` uses for these arrays, of which `check_parameters` made the views."""
        if "_updaters" not in self.__dict__:  # not a field: equality and repr leave it out
            self.__dict__.setdefault("_updaters", ArrayUpdaters(self.__dict__.pop("_copied", [])))
        updaters: ArrayUpdaters = self.__dict__["_updaters"]
        return updaters.find(where, self, parameters, views)

    def __getstate__(self) -> dict[str, Any]:
        updaters: ArrayUpdaters | None = self.__dict__.get("_updaters")
        copied = self.__dict__.get("_copied", []) if updaters is None else updaters.snapshots()
        settings = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return settings | ({"_copied": copied} if copied else {})
