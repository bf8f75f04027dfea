"""How the gradient flows through the layers, and how large the next update is beside the weights."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stoop._core import NonFiniteLossError
from stoop._diagnosis_figures import draw_gradients
from stoop._errors import message
from stoop.diagnose._layers import tail_of, walk
from stoop.diagnose._members import first_with_members, plain_models
from stoop.diagnose._units import some_rows
from stoop.layers import Dense, Residual
from stoop.model import Model
from stoop.optimizers import FullBatchOptimizer
from stoop.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[Any]

ROWS = 1000  # for norms
_SIGNAL_ROWS = 256  # for the gradient that reaches each layer


@dataclass(frozen=True)
class LayerGradient:
    """The gradient at a layer with a weight.

    Attributes
    ----------
    name : str
        Of the layer's parameters, such as "0" or "2.1".
    gradient_norm, weight_norm : float
        L2 norms of the weight's gradient and of the weight.
    update_ratio : float or None
        Norm of the next update of the weight over that of the weight; about 1e-3 is usual. None for optimizers of the
        full batch, and where the update is not finite.
    signal : float or None
        Root mean square, over the samples, of the norm of the gradient with respect to the layer's output; of the
        layers of a Residual that of the block, of those that `stoop.Members` share over its members too.
    """

    name: str
    gradient_norm: float
    weight_norm: float
    update_ratio: float | None
    signal: float | None


@dataclass(frozen=True)
class GradientFlow:
    """The result of `gradients`.

    Attributes
    ----------
    layers : list of LayerGradient
        The layers with weights in order.
    loss : float
        Of these samples, regularisation included.
    ratio : float or None
        The signal at the first hidden layer over that at the last: far below 1 gradients vanish, far above they
        explode. None with fewer than two hidden layers, or without a signal.
    growth : float or None
        Root mean square of the outputs over that of the inputs of the first layer. None if one is 0 or not finite.
    """

    layers: list[LayerGradient]
    loss: float
    ratio: float | None
    growth: float | None

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw gradient norms, signals and update ratios by layer; PNG, PDF or SVG by the suffix.

        Raises
        ------
        ImportError
            If matplotlib is not installed; the extra ``stoop[plot]`` brings it.
        """
        rows = [(layer.name, layer.gradient_norm, layer.signal, layer.update_ratio) for layer in self.layers]
        return draw_gradients(rows, path)

    def __str__(self) -> str:
        lines = ["layer       gradient     weight   update/weight      signal"]
        for layer in self.layers:
            ratio, signal = (_shown(value) for value in (layer.update_ratio, layer.signal))
            lines.append(
                f"{layer.name:<10}{layer.gradient_norm:>10.3g}{layer.weight_norm:>11.3g}{ratio:>16}{signal:>12}"
            )
        if self.ratio is not None:
            lines.append(f"signal at the first hidden layer over that at the last: {self.ratio:.3g}")
        return "\n".join(lines)


def gradients(trainer: Trainer, X: npt.ArrayLike, y: npt.ArrayLike) -> GradientFlow:
    """Measure the gradient at each layer, and the next update beside the weight. Nothing is changed.

    The gradient that reaches a layer is a product over all later ones; with a factor away from 1 at each it vanishes or
    explodes with depth (Bengio, Simard & Frasconi 1994; Glorot & Bengio 2010, section 4.2). The update is that which
    `Trainer.step` would make of these samples, made on a copy. Members each have a loss of their own, and what comes
    before them the mean of these.

    Parameters
    ----------
    trainer : Trainer
    X, y : array_like
        As in `Trainer.fit`. Of more than 1000 rows every so many are used.

    Returns
    -------
    GradientFlow
        A row for each layer with a weight; ``str`` shows a table.

    Raises
    ------
    ValueError, TypeError
        For data that cannot be used.
    """
    where = "diagnose.gradients"
    if not isinstance(trainer, Trainer):
        raise TypeError(message(where, f"trainer is {trainer!r}", "expected a stoop.Trainer", "make one for the model"))
    x, targets, _ = trainer._batch(where, X, y, None)
    return gradients_of(trainer, np.asarray(x), np.asarray(targets))


def gradients_of(trainer: Trainer, x: Array, targets: Array) -> GradientFlow:
    """Return the flow for checked samples."""
    x, targets = some_rows(x, ROWS), some_rows(targets, ROWS)
    weights = {name: array for name, array in trainer.model.parameters().items() if name.endswith(".weight")}
    loss, gradient = trainer._core.loss_and_grad(x, targets, None, len(x) > 1, False)
    ratios = _update_ratios(trainer, x, targets, weights)
    signals = _signals(trainer, some_rows(x, _SIGNAL_ROWS), some_rows(targets, _SIGNAL_ROWS))
    layers = []
    for name, weight in weights.items():
        layer = name.removesuffix(".weight")
        norms = _norm(gradient[name]), _norm(weight)
        layers.append(LayerGradient(layer, *norms, ratios.get(name), signals.get(layer.partition(".")[0])))
    return GradientFlow(layers, float(loss), _flow(signals), _growth(trainer.model, x))


def _norm(array: Array) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.linalg.norm(array.astype(np.float64)))


def _update_ratios(trainer: Trainer, x: Array, targets: Array, weights: dict[str, Array]) -> dict[str, float | None]:
    if isinstance(trainer.optimizer, FullBatchOptimizer):
        return {}
    twin = copy.deepcopy(trainer)
    try:
        for _ in range(int(trainer._config["accumulate"])):  # of which the last makes the update
            twin._core.step(x, targets, None)
    except (NonFiniteLossError, ValueError):
        return {}
    after = twin.model.parameters()
    found: dict[str, float | None] = {}
    for name, weight in weights.items():
        norm = _norm(weight)
        found[name] = _norm(after[name].astype(np.float64) - weight) / norm if norm > 0.0 else None
    return found


def _signals(trainer: Trainer, x: Array, targets: Array) -> dict[str, float]:
    """Return the size of the gradient with respect to the output of each layer, before its activation.

    With members it is that of each one's loss, and before them that of the mean of their losses.
    """
    of_members = [_gradients_at_layers(trainer, one, x, targets) for one in plain_models(trainer.model)]
    begin = first_with_members(trainer.model)
    found = {}
    for name in of_members[0]:
        each = [gradients.get(name) for gradients in of_members]
        parts = [gradient for gradient in each if gradient is not None]
        if len(parts) < len(each):
            found[name] = float("inf")
        else:
            found[name] = _signal(np.mean(parts, axis=0) if int(name) < begin else np.concatenate(parts))
    return found


def _gradients_at_layers(trainer: Trainer, model: Model, x: Array, targets: Array) -> dict[str, Array | None]:
    """Return the gradient of each sample's loss with respect to the output of each layer; None if it is not finite."""
    gradient = _output_gradient(trainer, model.predict(x), targets)
    if gradient is None:
        return {}
    found: dict[str, Array | None] = {}
    for step in walk(model, x):
        if "." in step.name or not isinstance(step.layer, Dense | Residual) or step.name in found:
            continue
        index = int(step.name)
        if index == len(model.layers) - 1:
            found[step.name] = gradient
        elif np.isfinite(step.outputs).all():
            found[step.name] = _gradient_of_tail(model, index, step.outputs, gradient)
    return found


def _gradient_of_tail(model: Model, index: int, h: Array, gradient: Array) -> Array | None:
    """Return the gradient with respect to h, the output of layer `index` before its activation."""
    tail = tail_of(model, index, h.shape[1])
    try:
        return tail.input_gradient(h, gradient)
    except (ValueError, NonFiniteLossError):
        return None


def _signal(gradient: Array) -> float:
    with np.errstate(over="ignore"):
        return float(np.sqrt((gradient.astype(np.float64) ** 2).sum(axis=1).mean()))


def _output_gradient(trainer: Trainer, outputs: Array, targets: Array) -> Array | None:
    """Return the derivative of the loss of each sample with respect to its outputs, (n_samples, n_outputs).

    For any loss: the outputs are made the weight of a layer whose inputs are the rows of the identity.
    """
    if not np.isfinite(outputs).all():
        return None
    n = len(outputs)
    model = Model([Dense(outputs.shape[1], use_bias=False, kernel_init="zeros")], n, dtype=outputs.dtype)
    model.parameters()["0.weight"][...] = outputs
    found = Trainer(model, loss=trainer.loss)._core.loss_and_grad(
        np.eye(n, dtype=outputs.dtype), targets, None, False, False
    )
    gradient: Array = n * found[1]["0.weight"]
    return gradient if np.isfinite(gradient).all() else None


def _flow(signals: dict[str, float]) -> float | None:
    """Return the signal at the first hidden layer over that at the last."""
    hidden = [signals[key] for key in sorted(signals, key=int)][:-1]
    if len(hidden) < 2 or not hidden[-1] > 0.0 or not np.isfinite(hidden[-1]):
        return None
    return hidden[0] / hidden[-1]


def _growth(model: Model, x: Array) -> float | None:
    inputs = next((step.inputs for step in walk(model, x) if isinstance(step.layer, Dense)), x)
    with np.errstate(over="ignore", invalid="ignore"):
        outputs = np.stack([one.predict(x) for one in plain_models(model)])
        before, after = (np.sqrt(np.mean(array.astype(np.float64) ** 2)) for array in (inputs, outputs))
    return float(after / before) if before > 0.0 and after > 0.0 and np.isfinite(after) else None


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
