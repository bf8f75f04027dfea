"""The network of an estimator: its layers, its first weights, and how its loss and scikit-learn's are related."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop.activations import Activation, Layer, activation_from_config
from stoop.layers import BatchNorm, Dense, Dropout, LayerNorm
from stoop.losses import Loss
from stoop.model import Model

Array = npt.NDArray[Any]

_ACTIVATIONS = {"identity": "identity", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}
_MEANINGS = {"softmax": "softmax", "logistic": "sigmoid"}  # of outputs, by the name of scikit-learn's last activation


@dataclass(frozen=True)
class Objective:
    """What is minimised: a loss of Stoop, times numbers that make it scikit-learn's.

    Parameters
    ----------
    loss : Loss
    out_activation : str
        scikit-learn's name of the function that makes predictions of outputs.
    gradient : float
        scikit-learn's gradient divided by that of `loss`: it adds up the columns of y, Stoop takes their mean.
    value : float
        The same of the losses that are reported, which for several columns of a squared error is another number.
    """

    loss: Loss
    out_activation: str
    gradient: float = 1.0
    value: float = 1.0


def build_model(estimator: Any, units: Sequence[int], dtype: str) -> Model:
    """Return a model for an estimator: layers of `units`, from the columns of X to the outputs."""
    *hidden, outputs = units[1:]
    layers: list[Layer] = []
    for size in hidden:
        layers += hidden_layer(estimator, size)
    layers.append(Dense(outputs))
    return Model(layers, units[0], dtype=dtype, output=_MEANINGS.get(estimator.out_activation_, "identity"))


def hidden_layer(estimator: Any, units: int) -> Iterator[Layer]:
    """Yield a dense layer, then normalisation, activation and dropout as the estimator has them."""
    activation = _ACTIVATIONS[estimator.activation]
    normalised = estimator.batch_norm or estimator.layer_norm
    yield Dense(units, activation=None if normalised else activation, use_bias=True)
    if estimator.batch_norm:
        yield BatchNorm()
    if estimator.layer_norm:
        yield LayerNorm()
    if normalised and activation != "identity":
        yield _layer(activation)
    if estimator.dropout > 0:
        yield Dropout(float(estimator.dropout))


def _layer(activation: str) -> Activation:
    return activation_from_config({"type": activation})


def draw_weights(model: Model, activation: str, random: np.random.RandomState) -> None:
    """Set the first weights to those that scikit-learn draws: Glorot & Bengio 2010, of biases as well."""
    coefs, intercepts = weights_of(model)
    for weight, bias in zip(coefs, intercepts):
        bound = np.sqrt((2.0 if activation == "logistic" else 6.0) / sum(weight.shape))
        weight[...] = random.uniform(-bound, bound, weight.shape)
        bias[...] = random.uniform(-bound, bound, bias.shape)


def weights_of(model: Model) -> tuple[list[Array], list[Array]]:
    """Return views of the weights and of the biases of all dense layers."""
    views = model.parameters()
    names = weight_names(model)
    return [views[name] for name in names], [views[name.replace("weight", "bias")] for name in names]


def weight_names(model: Model) -> list[str]:
    """Return the names of the weights of all dense layers."""
    return [f"{i}.weight" for i, layer in enumerate(model.layers) if isinstance(layer, Dense)]


def units_of(coefs: Sequence[Array]) -> list[int]:
    """Return the sizes of all layers, from the columns of X to the outputs."""
    shapes = [np.shape(weight) for weight in coefs]
    if any(len(shape) != 2 for shape in shapes) or any(a[1] != b[0] for a, b in pairwise(shapes)):
        raise ValueError(f"coefs_ has the shapes {shapes}, which are no layers")
    return [shapes[0][0], *(shape[1] for shape in shapes)]
