"""The state that an optimizer keeps for bare arrays: in the hands of the user, or found by the arrays themselves."""

import json
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from stoop import _core
from stoop._array_checks import Array, Extents, check_gradients, check_parameters
from stoop._arrays import real_numbers
from stoop._checks import check_finite, integer
from stoop._errors import message
from stoop.schedules import python_rates

State = tuple[list[list[Array]], list[int], int]  # by state and by array; sizes of the arrays; updates made
Snapshot = tuple[str, State]  # dtype character first
Key = tuple[str | tuple[int, int, int], ...]  # dtype; of each array its owner's id, its address and its size


class Description(Protocol):
    """What is asked of an optimizer."""

    type_name: ClassVar[str]
    learning_rate: Any

    def to_config(self) -> dict[str, Any]:
        """Return the form that the core reads."""
        ...


class ArrayUpdater:
    """The state for one list of arrays, which somebody else holds, and the updates that it makes."""

    def __init__(self, where: str, optimizer: Description, views: Sequence[Array]) -> None:
        self._extents = Extents(where, views)
        make: Any = _core.ParameterUpdaterFloat64 if views[0].dtype.itemsize == 8 else _core.ParameterUpdaterFloat32
        self.core: _core._ParameterUpdater[Any] = make(
            json.dumps(optimizer.to_config()), python_rates(optimizer.learning_rate), where
        )

    def update(self, where: str, views: list[Array], gradients: list[Array]) -> None:
        """Update the arrays by what `check_parameters` and `check_gradients` returned."""
        self.core.step(views, self._extents.apart(where, gradients), where)


class Updater:
    """Updates a list of arrays in place, and holds what the optimizer accumulates for them.

    ``optimizer.updater(parameters)`` makes one. A copy, by `copy.deepcopy` or `pickle`, has copies of arrays and state.

    Parameters
    ----------
    optimizer : Optimizer
        One of single updates, not of the full batch.
    parameters : sequence of ndarray
        As in ``optimizer.step``. The updater keeps them alive.

    Raises
    ------
    TypeError, ValueError
        As ``optimizer.step``.

    Examples
    --------
    >>> import numpy as np
    >>> import stoop
    >>> w = np.zeros(2)
    >>> updater = stoop.optimizers.SGD(0.1, momentum=0.9).updater([w])
    >>> updater.step([np.ones(2)])
    >>> w, updater.steps
    (array([-0.1, -0.1]), 1)
    """

    __module__ = "stoop.optimizers"

    def __init__(self, optimizer: Description, parameters: Sequence[Array]) -> None:
        self._optimizer = optimizer
        self._views = check_parameters("Updater", parameters)
        self._parameters = list(parameters)
        self._updater = ArrayUpdater("Updater", optimizer, self._views)

    @property
    def optimizer(self) -> Any:
        """The optimizer that made it."""
        return self._optimizer

    @property
    def parameters(self) -> list[Array]:
        """The arrays that it updates."""
        return list(self._parameters)

    @property
    def steps(self) -> int:
        """Updates made."""
        return self._updater.core.steps

    def step(self, gradients: Sequence[npt.ArrayLike]) -> None:
        """Make one update, by a gradient for each array.

        Parameters
        ----------
        gradients : sequence of array_like
            As in ``optimizer.step``.

        Raises
        ------
        TypeError, ValueError, RuntimeError
            As ``optimizer.step``; nothing is changed then.
        """
        where = "Updater.step"
        self._updater.update(where, self._views, check_gradients(where, self._parameters, gradients))

    def state_dict(self) -> dict[str, Any]:
        """Return ``{"optimizer": name, "steps": updates made, "arrays": copies}``, ``arrays[s][i]`` of parameter i.

        Each state s has the shape of its parameter: the momentum of SGD, for example, or the two averages of Adam.
        There are none before the first update.
        """
        arrays, _, steps = self._updater.core.state()
        name = self._optimizer.type_name
        return {
            "optimizer": name,
            "steps": steps,
            "arrays": [list(map(_like, state, self._parameters)) for state in arrays],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned; the next update is the one that would have come then.

        Raises
        ------
        TypeError, ValueError
            For the state of another optimizer or of other arrays, and for what is not finite; nothing is changed then.
        RuntimeError
            While another thread updates the arrays.
        """
        where, hint = "Updater.load_state_dict", "give what state_dict returned"
        given: Any = state
        if not isinstance(given, Mapping) or set(given) != {"optimizer", "steps", "arrays"}:
            shown = list(given) if isinstance(given, Mapping) else type(given).__name__
            expected = 'expected a mapping of "optimizer", "steps" and "arrays"'
            raise TypeError(message(where, f"state is {shown}", expected, hint))
        if given["optimizer"] != self._optimizer.type_name:
            shown = f"the state of {given['optimizer']!r}, another optimizer"
            raise ValueError(message(where, shown, f"expected that of {self._optimizer.type_name!r}", hint))
        if not isinstance(given["arrays"], list | tuple) or not all(
            isinstance(s, list | tuple) for s in given["arrays"]
        ):
            raise TypeError(
                message(where, "arrays is no list of lists", "expected a list of arrays for each state", hint)
            )
        steps = integer(where, "steps", state["steps"], 0)
        flat = [self._flat(where, arrays) for arrays in state["arrays"]]
        self._updater.core.set_state(flat, [view.size for view in self._views] if steps else [], steps, where)

    def _flat(self, where: str, arrays: Sequence[npt.ArrayLike]) -> list[Array]:
        values = [real_numbers(where, array, "a state") for array in arrays]
        shapes, expected = [value.shape for value in values], [array.shape for array in self._parameters]
        if shapes != expected:
            given = f"states of shapes {shapes}"
            raise ValueError(message(where, given, f"expected those of the parameters, {expected}", "check the arrays"))
        for value in values:
            check_finite(where, "a state", value, "give what state_dict returned")
        turned = (value if view is own else value.T for value, view, own in zip(values, self._views, self._parameters))
        return [np.require(value, view.dtype, ["C", "A"]).ravel() for value, view in zip(turned, self._views)]

    def __getstate__(self) -> dict[str, Any]:
        return {"optimizer": self._optimizer, "parameters": self._parameters, "state": self.state_dict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Updater.__init__(self, state["optimizer"], state["parameters"])
        self.load_state_dict(state["state"])

    def __repr__(self) -> str:
        return f"Updater({self._optimizer!r}, {len(self._parameters)} arrays, steps={self.steps})"


def _like(flat: Array, parameter: Array) -> Array:
    """Return the elements, which are in the order of the parameter's memory, in its shape."""
    return flat.reshape(parameter.shape) if parameter.flags.c_contiguous else flat.reshape(parameter.T.shape).T


class _Entry(NamedTuple):
    updater: ArrayUpdater
    owners: list[Any]  # weak references


class ArrayUpdaters:
    """The updaters of ``optimizer.step``: found by the arrays themselves, and forgotten when one of these is."""

    def __init__(self, copied: Sequence[Snapshot]) -> None:
        self._copied = list(copied)  # which no arrays have claimed yet
        self._entries: dict[Key, _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, where: str, optimizer: Description, parameters: Sequence[Array], views: list[Array]) -> ArrayUpdater:
        """Return the updater of these arrays, a new one where there is none.

        An array is known by the object whose memory it is: addresses tell the parts of that object apart, no more.
        """
        owners = [_owner(array) for array in parameters]
        places = ((id(owner), *_place(view)) for owner, view in zip(owners, views))
        key: Key = (parameters[0].dtype.char, *places)
        entry = self._entries.get(key)
        if entry is not None and all(known() is owner for known, owner in zip(entry.owners, owners)):
            return entry.updater
        entries = self._entries

        def forget(dead: Any) -> None:
            entry = entries.get(key)
            if entry is not None and any(known is dead for known in entry.owners):
                entries.pop(key, None)

        updater = ArrayUpdater(where, optimizer, views)
        self._claim(updater, views)
        new = _Entry(updater, [weakref.ref(owner, forget) for owner in owners])
        if entry is not None:
            entries.pop(key, None)
        return entries.setdefault(key, new).updater

    def _claim(self, updater: ArrayUpdater, views: list[Array]) -> None:
        sizes = [view.size for view in views]
        for place, (dtype, (arrays, known, steps)) in enumerate(self._copied):
            if dtype == views[0].dtype.char and known == sizes:
                updater.core.set_state(arrays, known, steps, "optimizer.step")
                del self._copied[place]
                return

    def snapshots(self) -> list[Snapshot]:
        """Return copies of the state of all lists of arrays, the oldest first, for a copy of the optimizer."""
        living = [(str(key[0]), entry.updater.core.state()) for key, entry in list(self._entries.items())]
        return self._copied + [(dtype, state) for dtype, state in living if state[2] > 0]


def _place(view: Array) -> tuple[int, int]:
    return view.__array_interface__["data"][0], view.size


def _owner(array: Array) -> Any:
    """Return what the memory of an array lives by: the last of its bases to which a weak reference is possible."""
    owner: Any = array
    while isinstance(owner, np.ndarray) and owner.base is not None and type(owner.base).__weakrefoffset__:
        owner = owner.base
    return owner
