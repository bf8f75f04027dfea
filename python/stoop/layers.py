"""Layers as plain data: what a network is made of. A `Model` turns them into parameters, a `Trainer` into steps.

Everything is checked when a layer is made, so a typing error shows on the line where it is.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from stoop import _core
from stoop._checks import integer, real
from stoop._errors import message
from stoop.initializers import Initializer, as_initializer


@dataclass(frozen=True)
class Activation:
    """Base of the element-wise layers, which are also what ``Dense(activation=...)`` takes. Use a subclass."""

    type_name: ClassVar[str]

    def to_config(self) -> str | dict[str, Any]:
        """Return the form that is stored in a model file."""
        return self.type_name


@dataclass(frozen=True)
class Identity(Activation):
    """``output = input``."""

    type_name: ClassVar[str] = "identity"


@dataclass(frozen=True)
class ReLU(Activation):
    """``output = max(0, input)``. Nair & Hinton 2010. The gradient at 0 is 0."""

    type_name: ClassVar[str] = "relu"


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """``output = input`` where positive, else ``negative_slope * input``. Maas et al. 2013.

    Parameters
    ----------
    negative_slope : float, default 0.01
        Slope for negative inputs, >= 0.
    """

    type_name: ClassVar[str] = "leaky_relu"
    negative_slope: float = 0.01

    def __post_init__(self) -> None:
        object.__setattr__(self, "negative_slope", real("LeakyReLU", "negative_slope", self.negative_slope, 0.0))

    def to_config(self) -> str | dict[str, Any]:
        """Return the form that is stored in a model file."""
        return {"type": self.type_name, "negative_slope": self.negative_slope}


@dataclass(frozen=True)
class Tanh(Activation):
    """``output = tanh(input)``."""

    type_name: ClassVar[str] = "tanh"


@dataclass(frozen=True)
class Sigmoid(Activation):
    """``output = 1 / (1 + exp(-input))``."""

    type_name: ClassVar[str] = "sigmoid"


@dataclass(frozen=True)
class Dense:
    """``output = activation(input @ weight + bias)``; weight ``(in_features, units)``, bias ``(units,)``.

    Parameters
    ----------
    units : int
        Number of outputs, >= 1.
    activation : str or activation layer, optional
        ``"relu"``, ``"leaky_relu"``, ``"tanh"``, ``"sigmoid"``, ``"identity"`` or an object such as
        ``LeakyReLU(0.2)``. None: identity.
    use_bias : bool, optional
        None: True.
    kernel_init : str or Initializer, optional
        None: ``he_normal`` where the activation that follows is ReLU-like, else ``glorot_uniform``.
    bias_init : str or Initializer, default "zeros"

    Raises
    ------
    ValueError
        For units < 1 or an unknown name; the nearest valid name is suggested.
    TypeError
        For an argument of another kind.
    """

    type_name: ClassVar[str] = "dense"
    units: int
    activation: str | Activation | None = None
    use_bias: bool | None = None
    kernel_init: str | Initializer | None = None
    bias_init: str | Initializer = field(default="zeros")

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", integer("Dense", "units", self.units, 1))
        _check_activation(self.activation)
        _check_use_bias(self.use_bias)
        if self.kernel_init is not None:
            as_initializer("Dense", self.kernel_init)
        as_initializer("Dense", self.bias_init)

    def to_config(self) -> dict[str, Any]:
        """Return the form that is stored in a model file."""
        activation = self.activation
        kernel_init = None if self.kernel_init is None else as_initializer("Dense", self.kernel_init).to_config()
        return {
            "type": self.type_name,
            "units": self.units,
            "activation": activation.to_config() if isinstance(activation, Activation) else activation or "identity",
            "use_bias": self.use_bias,
            "kernel_init": kernel_init,
            "bias_init": as_initializer("Dense", self.bias_init).to_config(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Dense":
        """Rebuild a layer from `to_config`."""
        activation, kernel_init, bias_init = config["activation"], config["kernel_init"], config["bias_init"]
        if isinstance(activation, dict):
            activation = activation_from_config(activation)
        return cls(
            units=config["units"],
            activation=None if activation == "identity" else activation,
            use_bias=config["use_bias"],
            kernel_init=Initializer.from_config(kernel_init) if isinstance(kernel_init, dict) else kernel_init,
            bias_init=Initializer.from_config(bias_init) if isinstance(bias_init, dict) else bias_init,
        )


def _check_activation(activation: object) -> None:
    if isinstance(activation, str):
        _core.check_name("activation", activation)
    elif not (activation is None or isinstance(activation, Activation)):
        expected = "expected a name or an activation layer"
        raise TypeError(message("Dense", f"activation is {activation!r}", expected, 'for example "relu"'))


def _check_use_bias(use_bias: object) -> None:
    if not (use_bias is None or isinstance(use_bias, bool)):
        raise TypeError(
            message("Dense", f"use_bias is {use_bias!r}", "expected True, False or None", "use one of them")
        )


Layer = Dense | Activation

_ACTIVATIONS: dict[str, type[Activation]] = {c.type_name: c for c in (Identity, ReLU, LeakyReLU, Tanh, Sigmoid)}


def activation_from_config(config: dict[str, Any]) -> Activation:
    """Rebuild an activation layer from ``{"type": name, ...}``."""
    arguments = {key: value for key, value in config.items() if key != "type"}
    return _ACTIVATIONS[_core.check_name("activation", config["type"])](**arguments)


def layer_to_config(layer: Layer) -> dict[str, Any]:
    """Return ``{"type": name, ...}``, the form that is stored in a model file and handed to the core."""
    config = layer.to_config()
    return {"type": config} if isinstance(config, str) else config


def layer_from_config(config: dict[str, Any]) -> Layer:
    """Rebuild a layer from `layer_to_config`."""
    return Dense.from_config(config) if config["type"] == Dense.type_name else activation_from_config(config)
