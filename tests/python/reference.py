"""An oracle in plain NumPy: dense networks and their training, one textbook formula a line.

It shares nothing with the package under test and computes in float64. The derivative of an activation is a function
of its *input* here, while the package works from its output, so that a common mistake is unlikely.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Parameters = dict[str, Array]  # "0.weight" (in_features, out_features), "0.bias" (out_features,)


# ---- activations: a = f(z) and its derivative f'(z) ----


class Activation(NamedTuple):
    f: Callable[[Array], Array]
    derivative: Callable[[Array], Array]


def leaky_relu(negative_slope: float) -> Activation:
    return Activation(
        lambda z: np.where(z > 0, z, negative_slope * z),
        lambda z: np.where(z > 0, 1.0, negative_slope),
    )


def sigmoid(z: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-z))


ACTIVATIONS = {
    "identity": Activation(lambda z: z, np.ones_like),
    "relu": Activation(lambda z: np.maximum(z, 0.0), lambda z: np.where(z > 0, 1.0, 0.0)),
    "leaky_relu": leaky_relu(0.01),
    "tanh": Activation(np.tanh, lambda z: 1.0 / np.cosh(z) ** 2),
    "sigmoid": Activation(sigmoid, lambda z: sigmoid(z) * sigmoid(-z)),
}


# ---- losses: (value, gradient with respect to the output), means over the samples of the batch ----


def log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def softmax_cross_entropy(output: Array, classes: npt.NDArray[np.integer]) -> tuple[float, Array]:
    """-log p[class]; its gradient is p - onehot(class)."""
    log_p = log_softmax(output)
    onehot = np.eye(output.shape[1])[classes]
    value = -np.mean(np.sum(onehot * log_p, axis=1))
    return float(value), (np.exp(log_p) - onehot) / len(output)


def mse(output: Array, targets: Array) -> tuple[float, Array]:
    """(output - target)^2, mean over the columns as well."""
    difference = output - targets.reshape(output.shape)
    return float(np.mean(difference**2)), 2.0 * difference / difference.size


LOSSES = {"softmax_cross_entropy": softmax_cross_entropy, "mse": mse}


# ---- the network ----


@dataclass
class Network:
    """Dense layers, the i-th followed by `activations[i]`. Parameters are float64 copies of what is given."""

    parameters: Parameters
    activations: Sequence[Activation]
    prefixes: list[str] = field(init=False)  # names of the Dense layers, first to last

    def __post_init__(self) -> None:
        self.parameters = {name: np.array(value, np.float64) for name, value in self.parameters.items()}
        self.prefixes = sorted({name.split(".")[0] for name in self.parameters}, key=int)

    def forward(self, x: Array) -> tuple[Array, list[tuple[Array, Array]]]:
        """The output, and (input, pre-activation) of each layer."""
        a, trace = np.asarray(x, np.float64), []
        for prefix, activation in zip(self.prefixes, self.activations, strict=True):
            z = a @ self.parameters[f"{prefix}.weight"] + self.parameters.get(f"{prefix}.bias", 0.0)
            trace.append((a, z))
            a = activation.f(z)
        return a, trace

    def penalty(self, l2: float) -> float:
        """l2/2 * sum(weight^2), of weights only."""
        return l2 / 2.0 * sum(float(np.sum(p**2)) for name, p in self.parameters.items() if name.endswith("weight"))

    def loss(self, loss: str, x: Array, y: npt.NDArray, l2: float = 0.0) -> float:
        return LOSSES[loss](self.forward(x)[0], y)[0] + self.penalty(l2)

    def loss_and_grad(self, loss: str, x: Array, y: npt.NDArray, l2: float = 0.0) -> tuple[float, Parameters]:
        output, trace = self.forward(x)
        value, grad = LOSSES[loss](output, y)
        grads: Parameters = {}
        for prefix, activation, (a, z) in reversed(list(zip(self.prefixes, self.activations, trace, strict=True))):
            weight = self.parameters[f"{prefix}.weight"]
            delta = grad * activation.derivative(z)
            grads[f"{prefix}.weight"] = a.T @ delta + l2 * weight
            if f"{prefix}.bias" in self.parameters:
                grads[f"{prefix}.bias"] = delta.sum(axis=0)
            grad = delta @ weight.T
        return value + self.penalty(l2), grads

    def numeric_grad(self, loss: str, x: Array, y: npt.NDArray, l2: float = 0.0, eps: float = 1e-6) -> Parameters:
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


# ---- optimizers: one update of every parameter, in place ----


class Optimizer(Protocol):
    def step(self, parameters: Parameters, grads: Parameters) -> None: ...


@dataclass
class SGD:
    """v = momentum*v + (1-dampening)*g; w -= lr*v, with nesterov w -= lr*(g + momentum*v)."""

    learning_rate: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    dampening: float = 0.0
    velocity: Parameters = field(default_factory=dict)

    def step(self, parameters: Parameters, grads: Parameters) -> None:
        for name, g in grads.items():
            v = self.momentum * self.velocity.get(name, 0.0) + (1.0 - self.dampening) * g
            self.velocity[name] = v
            parameters[name] -= self.learning_rate * (g + self.momentum * v if self.nesterov else v)


@dataclass
class Adam:
    """Kingma & Ba 2015, algorithm 1: eps is outside the square root, both moments are bias-corrected."""

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    t: int = 0
    m: Parameters = field(default_factory=dict)
    v: Parameters = field(default_factory=dict)

    def step(self, parameters: Parameters, grads: Parameters) -> None:
        self.t += 1
        for name, g in grads.items():
            self.m[name] = self.beta1 * self.m.get(name, 0.0) + (1.0 - self.beta1) * g
            self.v[name] = self.beta2 * self.v.get(name, 0.0) + (1.0 - self.beta2) * g**2
            m_hat = self.m[name] / (1.0 - self.beta1**self.t)
            v_hat = self.v[name] / (1.0 - self.beta2**self.t)
            parameters[name] -= self.learning_rate * m_hat / (np.sqrt(v_hat) + self.eps)


# ---- training ----


class Epoch(NamedTuple):
    loss: float  # sample-weighted mean of the objective seen by each update, before it
    accuracy: float  # of the same outputs
    grad_norm: float  # mean over the updates of the global L2 norm of the gradient


def step(network: Network, optimizer: Optimizer, loss: str, x: Array, y: npt.NDArray, l2: float = 0.0) -> float:
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
    loss: str,
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
            if loss == "softmax_cross_entropy":
                correct += np.sum(network.forward(x[rows])[0].argmax(axis=1) == y[rows])
            value, grads = network.loss_and_grad(loss, x[rows], y[rows], l2)
            optimizer.step(network.parameters, grads)
            total += value * len(x[rows])
            norms.append(np.sqrt(sum(np.sum(g**2) for g in grads.values())))
        history.append(Epoch(total / seen, correct / seen, float(np.mean(norms))))
    return history
