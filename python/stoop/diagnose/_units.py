"""Hidden units that do nothing: dead, saturated and symmetric ones."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stoop._checks import features
from stoop._diagnosis_figures import draw_units
from stoop._errors import message
from stoop.activations import Activation, Sigmoid, Tanh
from stoop.diagnose._layers import Step, activated, walk
from stoop.layers import Dense
from stoop.model import Model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[Any]

ROWS = 2000  # that are looked at
_END = 0.05  # of the steepest slope: beyond |tanh| = 0.975
_MOST = 0.5  # of the samples
_FLAT = 1e-3  # slope of a unit that is never active
_ALIKE = 1e-4  # of their norm, by which weights of symmetric units may differ
_STEPS = (1e3, 2e3)  # far to the left, where an activation with a dead end is flat


@dataclass(frozen=True)
class LayerUnits:
    """The units of a hidden layer.

    Attributes
    ----------
    name : str
        Of the layer's parameters, such as "0" or "2.1".
    activation : str
        Its type.
    units : int
        Of a `stoop.MemberDense` that is not shared those of all members.
    dead : int
        Units that are not active for any sample: the slope of relu is 0 for all of them, so that they learn nothing. Of
        units that members share, for any member of any sample.
    saturated : int
        Units of tanh and sigmoid that are near an end (a slope below 5 % of the steepest) for most samples.
    symmetric : int
        Units whose weights and bias another unit of the layer has too.
    saturation : float
        Share of all values of the layer that are near an end.
    """

    name: str
    activation: str
    units: int
    dead: int
    saturated: int
    symmetric: int
    saturation: float


@dataclass(frozen=True)
class Units:
    """The result of `units`.

    Attributes
    ----------
    layers : list of LayerUnits
        The hidden layers in order.
    samples : int
        Rows that were looked at.
    """

    layers: list[LayerUnits]
    samples: int

    def worst(self, kind: str) -> tuple[float, LayerUnits | None]:
        """Return the largest share of "dead", "saturated" or "symmetric" units of a layer, and that layer."""
        found = [(getattr(layer, kind) / layer.units, layer) for layer in self.layers]
        return max(found, key=lambda pair: pair[0], default=(0.0, None))

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw the shares of dead, saturated and symmetric units of each layer; PNG, PDF or SVG by the suffix.

        Raises
        ------
        ImportError
            If matplotlib is not installed; the extra ``stoop[plot]`` brings it.
        """
        return draw_units([(f"{layer.name} {layer.activation}", _shares(layer)) for layer in self.layers], path)

    def __str__(self) -> str:
        lines = ["layer       activation    units   dead  saturated  symmetric"]
        lines += [
            f"{layer.name:<12}{layer.activation:<12}{layer.units:>7}{layer.dead:>7}{layer.saturated:>11}"
            f"{layer.symmetric:>11}"
            for layer in self.layers
        ]
        return "\n".join(lines)


def units(model: Model, X: npt.ArrayLike) -> Units:
    """Count dead, saturated and symmetric units of each hidden layer.

    A relu that is 0 for every sample gets no gradient and is dead (Lu et al. 2019, "Dying ReLU and initialization"); a
    tanh or sigmoid near its ends gets hardly any (Glorot & Bengio 2010, section 3); units with the same weights get the
    same gradient and stay alike (Goodfellow, Bengio & Courville 2016, section 8.4).

    Parameters
    ----------
    model : Model
    X : array_like, (n_samples, input_dim)
        As in `Model.predict`; of more than 2000 rows every so many are looked at.

    Returns
    -------
    Units
        A row for each hidden layer; ``str`` shows a table.

    Raises
    ------
    ValueError, TypeError
        For data that cannot be used.
    """
    where = "diagnose.units"
    if not isinstance(model, Model):
        raise TypeError(message(where, f"model is {model!r}", "expected a stoop.Model", "give trainer.model"))
    return units_of(model, np.asarray(features(where, X, model.dtype, model.input_dim)))


def units_of(model: Model, x: Array) -> Units:
    """Return the counts for checked samples."""
    x = some_rows(x, ROWS)
    steps = list(walk(model, x))
    dense = [i for i, step in enumerate(steps) if isinstance(step.layer, Dense)]
    found = []
    for place, start in enumerate(dense[:-1]):
        stop = dense[place + 1]
        active = next((step for step in steps[start + 1 : stop] if isinstance(step.layer, Activation)), None)
        found.append(_layer_units(model, steps[start], active))
    return Units(found, len(x))


def some_rows(x: Array, most: int) -> Array:
    """Return at most so many rows, spread evenly over all."""
    return x if len(x) <= most else x[np.linspace(0, len(x) - 1, most).astype(np.int64)]


def _layer_units(model: Model, dense: Step, active: Step | None) -> LayerUnits:
    dead, ends = (0, np.zeros((1, 1))) if active is None else _activity(active)
    name = "identity" if active is None else str(active.layer.type_name)
    saturated = int((ends.mean(axis=0) > _MOST).sum())
    width = dense.outputs.shape[1]
    # What ends a block is added to its input, and may begin with zeros: its units are not alike.
    ends_block = "." in dense.name and active is None
    symmetric = 0 if ends_block else _symmetric(model, dense.name)
    return LayerUnits(dense.name, name, width, dead, saturated, symmetric, float(ends.mean()))


def _activity(step: Step) -> tuple[int, Array]:
    """Return the number of dead units, and for each sample and unit whether it is near an end."""
    activation: Any = step.layer
    if isinstance(activation, Tanh | Sigmoid):
        low = -1.0 if isinstance(activation, Tanh) else 0.0
        part = (step.outputs.astype(np.float64) - low) / (1.0 - low)  # from 0 to 1
        return 0, 4.0 * part * (1.0 - part) < _END
    z = step.inputs.astype(np.float64)
    far = activated(activation, -np.array(_STEPS)[:, None], "float64")
    none = np.zeros(z.shape, bool)
    if abs(far[0] - far[1]).item() > _FLAT:
        return 0, none  # it never ends, as leaky_relu
    width = 1e-4 * np.maximum(np.abs(z), 1e-30)
    slope = (activated(activation, z + width, "float64") - activated(activation, z - width, "float64")) / (2 * width)
    return int((np.abs(slope) < _FLAT).all(axis=0).sum()), none


def _symmetric(model: Model, name: str) -> int:
    """Return how many units of a layer have the weights of another."""
    parameters = model.parameters()
    weight = parameters[f"{name}.weight"].astype(np.float64)
    units = int(weight.size / weight.shape[-2])  # of all members that have a weight of their own
    rows = [weight.reshape(-1, *weight.shape[-2:]).transpose(1, 0, 2).reshape(-1, units)]
    others = [parameters[key] for key in (f"{name}.bias", f"{name}.output_scale") if key in parameters]
    rows += [array.astype(np.float64).reshape(-1, units) for array in others]  # a row for each member that shares it
    columns = np.concatenate(rows).T
    order = np.lexsort(columns.T[::-1])
    ordered = columns[order]
    apart = np.linalg.norm(np.diff(ordered, axis=0), axis=1)
    alike = apart <= _ALIKE * np.linalg.norm(ordered[1:], axis=1)
    return int((np.append(alike, False) | np.insert(alike, 0, False)).sum())


def _shares(layer: LayerUnits) -> tuple[float, float, float]:
    return layer.dead / layer.units, layer.saturated / layer.units, layer.symmetric / layer.units
