"""Networks with members in plain NumPy and float64: values are (n, k, features) throughout.

Gorishniy, Kotelnikov & Babenko 2025, section 3.3; Wen, Tran & Ba 2020, eq. 5. It shares nothing with the package under
test, which keeps the rows of all members in one matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import reference
from reference import Array

Parameters = dict[str, Array]
Backward = Callable[[Array, Parameters], Array]  # of the output, those of parameters to add to -> of the input


class Network:
    """The layers of a stoop.Model, of those that are named here, with float64 copies of its parameters."""

    def __init__(self, layers: Sequence[Any], parameters: Any) -> None:
        self.layers = layers
        self.parameters: Parameters = {name: np.array(value, np.float64) for name, value in parameters.items()}

    def forward(self, x: Array) -> tuple[Array, list[Backward]]:
        """What each member says, (n, k, outputs), and the backward passes of the layers in turn."""
        value, tape = np.asarray(x, np.float64)[:, None, :], []
        for index, layer in enumerate(self.layers):
            for step in self._steps(layer, f"{index}."):
                value, backward = step(value)
                tape.append(backward)
        return value, tape

    def loss_and_grad(self, loss: Any, x: Array, y: npt.NDArray) -> tuple[float, Parameters]:
        """The mean over the members of the mean over the samples."""
        outputs, tape = self.forward(x)
        grad, total = np.empty_like(outputs), 0.0
        for member in range(outputs.shape[1]):
            value, own = reference.mean_loss(loss, outputs[:, member], y)
            total += value / outputs.shape[1]
            grad[:, member] = own / outputs.shape[1]
        grads = {name: np.zeros_like(value) for name, value in self.parameters.items()}
        for backward in reversed(tape):
            grad = backward(grad, grads)
        return total, grads

    def predict(self, x: Array, output: str) -> Array:
        return together(self.forward(x)[0], output)

    # ---- the layers ----

    def _steps(self, layer: Any, name: str) -> list[Callable[[Array], tuple[Array, Backward]]]:
        kind, own = layer.type_name, self.parameters
        if kind in ("members", "feature_scale"):
            return [self._scale(f"{name}scale"), *self._bias(name)]
        if kind == "dense":
            return [self._product(f"{name}weight"), *self._bias(name), *self._activation(layer)]
        if kind == "member_dense" and layer.shared:
            scales = self._scale(f"{name}input_scale"), self._scale(f"{name}output_scale")
            return [scales[0], self._product(f"{name}weight"), scales[1], *self._bias(name), *self._activation(layer)]
        if kind == "member_dense":
            assert own[f"{name}weight"].ndim == 3
            return [self._products(f"{name}weight"), *self._bias(name), *self._activation(layer)]
        raise NotImplementedError(kind)

    def _scale(self, name: str) -> Callable[[Array], tuple[Array, Backward]]:
        def step(x: Array) -> tuple[Array, Backward]:
            scale = np.atleast_2d(self.parameters[name])

            def backward(grad: Array, grads: Parameters) -> Array:
                grads[name] += (grad * x).sum(axis=0).reshape(grads[name].shape)
                back = grad * scale
                return back if x.shape[1] == len(scale) else back.sum(axis=1, keepdims=True)

            return x * scale, backward

        return step

    def _bias(self, name: str) -> list[Callable[[Array], tuple[Array, Backward]]]:
        if f"{name}bias" not in self.parameters:
            return []

        def step(x: Array) -> tuple[Array, Backward]:
            bias = self.parameters[f"{name}bias"]

            def backward(grad: Array, grads: Parameters) -> Array:
                grads[f"{name}bias"] += grad.sum(axis=0) if bias.ndim == 2 else grad.sum(axis=(0, 1))
                return grad

            return x + bias, backward

        return [step]

    def _product(self, name: str) -> Callable[[Array], tuple[Array, Backward]]:
        def step(x: Array) -> tuple[Array, Backward]:
            def backward(grad: Array, grads: Parameters) -> Array:
                grads[name] += np.einsum("nki,nko->io", x, grad)
                return grad @ self.parameters[name].T

            return x @ self.parameters[name], backward

        return step

    def _products(self, name: str) -> Callable[[Array], tuple[Array, Backward]]:
        def step(x: Array) -> tuple[Array, Backward]:
            weight = self.parameters[name]
            each = np.broadcast_to(x, (len(x), len(weight), x.shape[2]))

            def backward(grad: Array, grads: Parameters) -> Array:
                grads[name] += np.einsum("nki,nko->kio", each, grad)
                back = np.einsum("nko,kio->nki", grad, weight)
                return back if x.shape[1] == len(weight) else back.sum(axis=1, keepdims=True)

            return np.einsum("nki,kio->nko", each, weight), backward

        return step

    def _activation(self, layer: Any) -> list[Callable[[Array], tuple[Array, Backward]]]:
        if layer.activation is None:
            return []
        formula = reference.activation(layer.activation)
        return [lambda z: (formula.f(z), lambda grad, _: grad * formula.derivative(z))]


def together(outputs: Array, output: str) -> Array:
    """What members say together, from (n, k, outputs)."""
    if output == "identity" or outputs.shape[1] == 1:  # one alone says what it says
        return outputs.mean(axis=1)
    if output == "sigmoid":
        p = 1.0 / (1.0 + np.exp(-outputs))
        return np.log(p.mean(axis=1)) - np.log((1.0 - p).mean(axis=1))
    log_p = outputs - np.log(np.exp(outputs).sum(axis=2, keepdims=True))
    return np.log(np.exp(log_p).mean(axis=1))
