"""An oracle in plain NumPy: one textbook formula a line; `reference_training.py` trains dense networks with them.

It shares nothing with the package under test and computes in float64. The derivative of an activation is a function
of its *input* here, while the package works from its output, so that a common mistake is unlikely.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from reference_schedules import INITIALIZERS, SCHEDULES, rate_at  # noqa: F401  # for the tests

Array = npt.NDArray[np.float64]


# ---- activations: a = f(z) and its derivative f'(z), by name and arguments ----


class Activation(NamedTuple):
    f: Callable[[Array], Array]
    derivative: Callable[[Array], Array]


def leaky_relu(negative_slope: float = 0.01) -> Activation:
    return Activation(
        lambda z: np.where(z > 0, z, negative_slope * z),
        lambda z: np.where(z > 0, 1.0, negative_slope),
    )


def elu(alpha: float = 1.0) -> Activation:
    return Activation(
        lambda z: np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0.0))),
        lambda z: np.where(z > 0, 1.0, alpha * np.exp(np.minimum(z, 0.0))),
    )


def sigmoid(z: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-z))


def normal_cdf(z: Array) -> Array:
    return np.vectorize(math.erfc)(-z / math.sqrt(2.0)) / 2.0


def normal_pdf(z: Array) -> Array:
    return np.exp(-(z**2) / 2.0) / math.sqrt(2.0 * math.pi)


SELU_ALPHA, SELU_SCALE = 1.6732632423543772848, 1.0507009873554804934  # Klambauer et al. 2017, appendix A


def gelu(approximate: str = "none") -> Activation:
    if approximate == "none":
        return Activation(lambda z: z * normal_cdf(z), lambda z: normal_cdf(z) + z * normal_pdf(z))

    def inner(z: Array) -> Array:
        return np.tanh(math.sqrt(2.0 / math.pi) * (z + 0.044715 * z**3))

    def slope(z: Array) -> Array:
        return (1.0 - inner(z) ** 2) * math.sqrt(2.0 / math.pi) * (1.0 + 3.0 * 0.044715 * z**2)

    return Activation(lambda z: z / 2.0 * (1.0 + inner(z)), lambda z: (1.0 + inner(z) + z * slope(z)) / 2.0)


ACTIVATIONS: dict[str, Callable[..., Activation]] = {
    "identity": lambda: Activation(lambda z: z, np.ones_like),
    "relu": lambda: Activation(lambda z: np.maximum(z, 0.0), lambda z: np.where(z > 0, 1.0, 0.0)),
    "leaky_relu": leaky_relu,
    "tanh": lambda: Activation(np.tanh, lambda z: 1.0 / np.cosh(z) ** 2),
    "sigmoid": lambda: Activation(sigmoid, lambda z: sigmoid(z) * sigmoid(-z)),
    "elu": elu,
    "gelu": gelu,
    "silu": lambda: Activation(lambda z: z * sigmoid(z), lambda z: sigmoid(z) * (1.0 + z * sigmoid(-z))),
    "softplus": lambda: Activation(lambda z: np.logaddexp(0.0, z), sigmoid),
    "selu": lambda: Activation(
        lambda z: SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * np.expm1(np.minimum(z, 0.0))),
        lambda z: SELU_SCALE * np.where(z > 0, 1.0, SELU_ALPHA * np.exp(np.minimum(z, 0.0))),
    ),
    "mish": lambda: Activation(
        lambda z: z * np.tanh(np.logaddexp(0.0, z)),
        lambda z: np.tanh(np.logaddexp(0.0, z)) + z * sigmoid(z) / np.cosh(np.logaddexp(0.0, z)) ** 2,
    ),
    "hard_swish": lambda: Activation(
        lambda z: z * np.clip(z + 3.0, 0.0, 6.0) / 6.0,
        lambda z: np.where(z <= -3.0, 0.0, np.where(z >= 3.0, 1.0, (2.0 * z + 3.0) / 6.0)),
    ),
    "relu6": lambda: Activation(lambda z: np.clip(z, 0.0, 6.0), lambda z: np.where((z > 0) & (z < 6), 1.0, 0.0)),
}


def activation(layer: Any) -> Activation:
    """The formula of a name or of a layer with its arguments."""
    if isinstance(layer, str):
        return ACTIVATIONS[layer]()
    arguments = {f.name: getattr(layer, f.name) for f in fields(layer) if f.name != "trainable"}
    return ACTIVATIONS[layer.type_name](**arguments)


# ---- losses: (value of each sample, its gradient with respect to the output), by name and arguments ----

Loss = Callable[..., tuple[Array, Array]]


def log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def softmax_cross_entropy(output: Array, target: npt.NDArray, label_smoothing: float = 0.0) -> tuple[Array, Array]:
    """-sum(t log p), of classes or of rows of probabilities t; its gradient is p - t."""
    log_p, n_classes = log_softmax(output), output.shape[1]
    t = np.eye(n_classes)[target] if target.ndim == 1 else target
    t = (1.0 - label_smoothing) * t + label_smoothing / n_classes
    return -np.sum(t * log_p, axis=1), np.exp(log_p) - t


def binary_cross_entropy(output: Array, target: Array) -> tuple[Array, Array]:
    """-t log p - (1-t) log(1-p), mean over the columns; p is the sigmoid of the output."""
    values = -target * np.log(sigmoid(output)) - (1.0 - target) * np.log(sigmoid(-output))
    return values.mean(axis=1), (sigmoid(output) - target) / output.shape[1]


def by_difference(value: Callable[..., Array], derivative: Callable[..., Array]) -> Loss:
    """The mean over the columns of a function of output - target."""

    def loss(output: Array, target: Array, **arguments: float) -> tuple[Array, Array]:
        d = output - target.reshape(output.shape)
        return value(d, **arguments).mean(axis=1), derivative(d, **arguments) / output.shape[1]

    return loss


def poisson(output: Array, target: Array, log_input: bool = True) -> tuple[Array, Array]:
    """exp(z) - t z of logs of rates, z - t log(z) of rates, mean over the columns."""
    if log_input:
        return (np.exp(output) - target * output).mean(axis=1), (np.exp(output) - target) / output.shape[1]
    rate = output + 1e-8
    return (output - target * np.log(rate)).mean(axis=1), (1.0 - target / rate) / output.shape[1]


def focal(output: Array, target: Array, gamma: float = 2.0) -> tuple[Array, Array]:
    """The binary cross-entropy times (1 - p)^gamma, p the probability of the label; mean over the columns."""
    p, rest = sigmoid(output), sigmoid(-output)
    entropy = -target * np.log(p) - (1.0 - target) * np.log(rest)
    wrong = p * (1.0 - target) + rest * target
    slope = (p - target) * wrong**gamma + entropy * gamma * wrong ** (gamma - 1.0) * (1.0 - 2.0 * target) * p * rest
    return (entropy * wrong**gamma).mean(axis=1), slope / output.shape[1]


def hinge(output: Array, target: Array) -> tuple[Array, Array]:
    """max(0, 1 - s z), s = -1 or 1 for the labels 0 and 1; mean over the columns."""
    s = 2.0 * target - 1.0
    margin = 1.0 - s * output
    return np.maximum(margin, 0.0).mean(axis=1), np.where(margin > 0, -s, 0.0) / output.shape[1]


def gaussian_nll(output: Array, target: Array) -> tuple[Array, Array]:
    """(v + (m - t)^2 exp(-v)) / 2 of means m and log variances v, the halves of the outputs; mean over the means."""
    m, v = np.split(output, 2, axis=1)
    d = m - target.reshape(m.shape)
    values = (v + d**2 * np.exp(-v)) / 2.0
    grad = np.concatenate([d * np.exp(-v), (1.0 - d**2 * np.exp(-v)) / 2.0], axis=1)
    return values.mean(axis=1), grad / m.shape[1]


LOSSES: dict[str, Loss] = {
    "softmax_cross_entropy": softmax_cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "mse": by_difference(lambda d: d**2, lambda d: 2.0 * d),
    "mae": by_difference(abs, np.sign),
    "huber": by_difference(
        lambda d, delta=1.0: np.where(abs(d) <= delta, d**2 / 2.0, delta * (abs(d) - delta / 2.0)),
        lambda d, delta=1.0: np.clip(d, -delta, delta),
    ),
    "quantile": by_difference(
        lambda d, q=0.5: np.maximum(-q * d, (1.0 - q) * d), lambda d, q=0.5: np.where(d < 0, -q, (1.0 - q) * np.sign(d))
    ),
    "poisson": poisson,
    "log_cosh": by_difference(lambda d: np.logaddexp(d, -d) - math.log(2.0), np.tanh),
    "focal": focal,
    "hinge": hinge,
    "gaussian_nll": gaussian_nll,
}


def by_sample(loss: Any, output: Array, target: npt.NDArray) -> tuple[Array, Array]:
    """The loss of each sample and its gradient, of a name or of a loss with its arguments."""
    if isinstance(loss, str):
        return LOSSES[loss](output, target)
    return LOSSES[loss.type_name](output, target, **asdict(loss))


def by_element(loss: Any, output: Array, target: Array) -> tuple[Array, Array]:
    """The loss of each target, and its gradient with respect to the outputs, which are as many or twice as many."""
    columns = target.shape[1]
    values, grad = np.empty(target.shape), np.empty(output.shape)
    for j in range(columns):
        own = list(range(j, output.shape[1], columns))
        values[:, j], grad[:, own] = by_sample(loss, output[:, own], target[:, [j]])
    return values, grad


def mean_loss(loss: Any, output: Array, target: npt.NDArray) -> tuple[float, Array]:
    """The mean over the samples of the batch, and its gradient."""
    values, grad = by_sample(loss, output, target)
    return float(np.mean(values)), grad / len(output)


# ---- optimizers: (w, g, t from 1, state, learning rate, arguments) -> new w; the state starts as an empty dict ----

State = dict[str, Any]


def sgd(
    w: Any,
    g: Any,
    _: int,
    s: State,
    lr: float,
    momentum: float = 0.0,
    nesterov: bool = False,
    dampening: float = 0.0,
    rate_in_velocity: bool = False,
) -> Any:
    """v = momentum*v + (1-dampening)*g; w -= lr*v, with nesterov w -= lr*(g + momentum*v)."""
    if rate_in_velocity:
        g, lr = lr * g, 1.0
    s["v"] = momentum * s.get("v", 0.0) + (1.0 - dampening) * g
    return w - lr * (g + momentum * s["v"] if nesterov else s["v"])


def adagrad(w: Any, g: Any, _: int, s: State, lr: float, eps: float = 1e-10) -> Any:
    s["s"] = s.get("s", 0.0) + g**2
    return w - lr * g / (np.sqrt(s["s"]) + eps)


def rmsprop(w: Any, g: Any, _: int, s: State, lr: float, rho: float = 0.9, eps: float = 1e-8, **more: Any) -> Any:
    s["v"] = rho * s.get("v", 0.0) + (1.0 - rho) * g**2
    s["a"] = rho * s.get("a", 0.0) + (1.0 - rho) * g
    step = g / (np.sqrt(s["v"] - s["a"] ** 2 if more.get("centered") else s["v"]) + eps)
    s["b"] = more.get("momentum", 0.0) * s.get("b", 0.0) + step
    return w - lr * s["b"]


def moments(g: Any, s: State, beta1: float, beta2: float) -> tuple[Any, Any]:
    s["m"] = beta1 * s.get("m", 0.0) + (1.0 - beta1) * g
    s["v"] = beta2 * s.get("v", 0.0) + (1.0 - beta2) * g**2
    return s["m"], s["v"]


def adam(
    w: Any,
    g: Any,
    t: int,
    s: State,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    **more: Any,
) -> Any:
    """Kingma & Ba 2015, algorithm 1: eps is outside the square root, both moments are bias-corrected."""
    m, v = moments(g, s, beta1, beta2)
    s["top"] = np.maximum(s.get("top", 0.0), v) if more.get("amsgrad") else v
    m_hat, v_hat = m / (1.0 - beta1**t), s["top"] / (1.0 - beta2**t)
    if more.get("eps_hat"):
        eps /= np.sqrt(1.0 - beta2**t)
    return w - lr * more.get("weight_decay", 0.0) * w - lr * m_hat / (np.sqrt(v_hat) + eps)


def adamw(*state: Any, weight_decay: float = 0.01, **arguments: Any) -> Any:
    return adam(*state, weight_decay=weight_decay, **arguments)


def nadam(w: Any, g: Any, t: int, s: State, lr: float, beta1: float = 0.9, beta2: float = 0.999, **more: Any) -> Any:
    def mu(i: int) -> float:
        return beta1 * (1.0 - 0.5 * 0.96 ** (i * more.get("momentum_decay", 0.004)))

    m, v = moments(g, s, beta1, beta2)
    s["p"] = s.get("p", 1.0) * mu(t)
    m_hat = (1.0 - mu(t)) / (1.0 - s["p"]) * g + mu(t + 1) / (1.0 - s["p"] * mu(t + 1)) * m
    return w - lr * m_hat / (np.sqrt(v / (1.0 - beta2**t)) + more.get("eps", 1e-8))


def lion(
    w: Any, g: Any, _: int, s: State, lr: float, beta1: float = 0.9, beta2: float = 0.99, weight_decay: float = 0.0
) -> Any:
    m = s.get("m", 0.0)
    s["m"] = beta2 * m + (1.0 - beta2) * g
    return w - lr * (np.sign(beta1 * m + (1.0 - beta1) * g) + weight_decay * w)


def adadelta(w: Any, g: Any, _: int, s: State, lr: float, rho: float = 0.9, eps: float = 1e-6) -> Any:
    s["v"] = rho * s.get("v", 0.0) + (1.0 - rho) * g**2
    d = np.sqrt(s.get("u", 0.0) + eps) / np.sqrt(s["v"] + eps) * g
    s["u"] = rho * s.get("u", 0.0) + (1.0 - rho) * d**2
    return w - lr * d


def adamax(
    w: Any, g: Any, t: int, s: State, lr: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8
) -> Any:
    s["m"] = beta1 * s.get("m", 0.0) + (1.0 - beta1) * g
    s["u"] = np.maximum(beta2 * s.get("u", 0.0), np.abs(g) + eps)
    return w - lr / (1.0 - beta1**t) * s["m"] / s["u"]


def radam(
    w: Any, g: Any, t: int, s: State, lr: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8
) -> Any:
    m, v = moments(g, s, beta1, beta2)
    longest = 2.0 / (1.0 - beta2) - 1.0
    length = longest - 2.0 * t * beta2**t / (1.0 - beta2**t)
    if length <= 5.0:
        return w - lr * m / (1.0 - beta1**t)
    rectified = (length - 4.0) * (length - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * length)
    return w - lr * np.sqrt(rectified * (1.0 - beta2**t)) * m / (1.0 - beta1**t) / (np.sqrt(v) + eps)


def rprop(
    w: Any, g: Any, _: int, s: State, lr: float, eta_minus: float = 0.5, eta_plus: float = 1.2, **more: Any
) -> Any:
    agrees = np.sign(g) * np.sign(s.get("g", np.zeros_like(g)))
    factor = np.where(agrees > 0, eta_plus, np.where(agrees < 0, eta_minus, 1.0))
    limits = more.get("min_step_size", 1e-6), more.get("max_step_size", 50.0)
    s["d"] = np.clip(s.get("d", lr) * factor, *limits)
    s["g"] = np.where(agrees < 0, 0.0, g)
    return w - np.sign(s["g"]) * s["d"]


def lamb(w: Any, g: Any, t: int, s: State, lr: float, *, weight_decay: float = 0.01, **more: Any) -> Any:
    beta1, beta2 = more.get("beta1", 0.9), more.get("beta2", 0.999)
    m, v = moments(g, s, beta1, beta2)
    u = m / (1.0 - beta1**t) / (np.sqrt(v / (1.0 - beta2**t)) + more.get("eps", 1e-6))
    u = u + weight_decay * w
    norms = np.linalg.norm(np.ravel(w)), np.linalg.norm(np.ravel(u))
    return w - lr * (norms[0] / norms[1] if min(norms) > 0.0 else 1.0) * u


# Those of the full batch are judged by what they find, not by their path.
OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "sgd": sgd,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adamw,
    "nadam": nadam,
    "lion": lion,
    "adadelta": adadelta,
    "adamax": adamax,
    "radam": radam,
    "rprop": rprop,
    "lamb": lamb,
}
