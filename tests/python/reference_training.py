"""Training of dense networks with the formulas of `reference.py`, in plain NumPy and float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import reference
from reference import Array

Parameters = dict[str, Array]  # "0.weight" (in_features, out_features), "0.bias" (out_features,)


# ---- the network ----


@dataclass
class Network:
    """Dense layers, the i-th followed by `activations[i]`, a name or layer. Parameters are float64 copies."""

    parameters: Parameters
    activations: Sequence[Any]
    prefixes: list[str] = field(init=False)  # names of the Dense layers, first to last
    formulas: list[reference.Activation] = field(init=False)

    def __post_init__(self) -> None:
        self.parameters = {name: np.array(value, np.float64) for name, value in self.parameters.items()}
        self.formulas = [reference.activation(each) for each in self.activations]
        self.prefixes = sorted({name.split(".")[0] for name in self.parameters}, key=int)

    def forward(self, x: Array) -> tuple[Array, list[tuple[Array, Array]]]:
        """The output, and (input, pre-activation) of each layer."""
        a, trace = np.asarray(x, np.float64), []
        for prefix, activation in zip(self.prefixes, self.formulas, strict=True):
            z = a @ self.parameters[f"{prefix}.weight"] + self.parameters.get(f"{prefix}.bias", 0.0)
            trace.append((a, z))
            a = activation.f(z)
        return a, trace

    def penalty(self, l2: float) -> float:
        """l2/2 * sum(weight^2), of weights only."""
        return l2 / 2.0 * sum(float(np.sum(p**2)) for name, p in self.parameters.items() if name.endswith("weight"))

    def loss(self, loss: Any, x: Array, y: npt.NDArray, l2: float = 0.0) -> float:
        return reference.mean_loss(loss, self.forward(x)[0], y)[0] + self.penalty(l2)

    def loss_and_grad(self, loss: Any, x: Array, y: npt.NDArray, l2: float = 0.0) -> tuple[float, Parameters]:
        output, trace = self.forward(x)
        value, grad = reference.mean_loss(loss, output, y)
        grads: Parameters = {}
        for prefix, activation, (a, z) in reversed(list(zip(self.prefixes, self.formulas, trace, strict=True))):
            weight = self.parameters[f"{prefix}.weight"]
            delta = grad * activation.derivative(z)
            grads[f"{prefix}.weight"] = a.T @ delta + l2 * weight
            if f"{prefix}.bias" in self.parameters:
                grads[f"{prefix}.bias"] = delta.sum(axis=0)
            grad = delta @ weight.T
        return value + self.penalty(l2), grads

    def numeric_grad(self, loss: Any, x: Array, y: npt.NDArray, l2: float = 0.0, eps: float = 1e-6) -> Parameters:
        """(loss(w + eps) - loss(w - eps)) / (2 eps), element by element."""
        grads: Parameters = {}
        for name, parameter in self.parameters.items():
            grads[name] = np.empty_like(parameter)
            for index in np.ndindex(parameter.shape):
                kept = parameter[index]
                parameter[index] = kept + eps
                above = self.loss(loss, x, y, l2)
                parameter[index] = kept - eps
                below = self.loss(loss, x, y, l2)
                parameter[index] = kept
                grads[name][index] = (above - below) / (2.0 * eps)
        return grads


class Optimizer:
    """Updates every parameter by name; weights alone decay."""

    def __init__(self, name: str, learning_rate: float, **arguments: Any) -> None:
        self._name, self._rate, self._arguments = name, learning_rate, arguments
        self._undecayed = {**arguments, "weight_decay": 0.0}
        self._states: dict[str, reference.State] = {}
        self._t = 0

    def step(self, parameters: Parameters, grads: Parameters) -> None:
        self._t += 1
        rule = reference.OPTIMIZERS[self._name]
        decays = "weight_decay" in signature(rule).parameters
        for name, g in grads.items():
            arguments = self._undecayed if decays and not name.endswith("weight") else self._arguments
            state = self._states.setdefault(name, {})
            parameters[name] = rule(parameters[name], g, self._t, state, self._rate, **arguments)


# ---- training ----


class Epoch(NamedTuple):
    loss: float  # sample-weighted mean of the objective seen by each update, before it
    accuracy: float  # of the same outputs
    grad_norm: float  # mean over the updates of the global L2 norm of the gradient


def step(network: Network, optimizer: Optimizer, loss: Any, x: Array, y: npt.NDArray, l2: float = 0.0) -> float:
    value, grads = network.loss_and_grad(loss, x, y, l2)
    optimizer.step(network.parameters, grads)
    return value


def batches(samples: int, batch_size: int, last_batch: str) -> list[slice]:
    """The rows of each batch of an epoch: whole ones, then what `last_batch` does with the rest."""
    whole, rest = divmod(samples, batch_size)
    ends = [batch_size * (i + 1) for i in range(whole)]
    if rest and last_batch == "keep":
        ends.append(samples)
    if rest and last_batch == "merge":
        ends[-1:] = [samples]
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def fit(
    network: Network,
    optimizer: Optimizer,
    loss: Any,
    x: Array,
    y: npt.NDArray,
    *,
    epochs: int,
    batch_size: int,
    l2: float = 0.0,
    last_batch: str = "keep",
) -> list[Epoch]:
    """Mini-batches in the order of the rows."""
    history = []
    for _ in range(epochs):
        total = correct = 0.0
        norms = []
        seen = 0
        for rows in batches(len(x), batch_size, last_batch):
            seen += len(x[rows])
            if y.ndim == 1 and y.dtype.kind == "i":  # classes
                correct += np.sum(network.forward(x[rows])[0].argmax(axis=1) == y[rows])
            value, grads = network.loss_and_grad(loss, x[rows], y[rows], l2)
            optimizer.step(network.parameters, grads)
            total += value * len(x[rows])
            norms.append(np.sqrt(sum(np.sum(g**2) for g in grads.values())))
        history.append(Epoch(total / seen, correct / seen, float(np.mean(norms))))
    return history
