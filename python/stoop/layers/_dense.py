"""The layers that are a matrix product with an activation, and `Dense`, the usual one."""

from dataclasses import field
from typing import Any, ClassVar

from stoop._config import class_named, dataclass
from stoop._errors import message
from stoop.activations import Activation, Layer, activation_from_config
from stoop.initializers import Initializer, as_initializer


class Product(Layer):
    """Base of the layers that have a weight, an activation, and initialisers of both parameters."""

    units: int
    activation: str | Activation | None
    kernel_init: str | Initializer | None
    bias_init: str | Initializer

    def __post_init__(self) -> None:
        super().__post_init__()
        where = type(self).__name__
        _check_activation(where, self.activation)
        if self.kernel_init is not None:
            as_initializer(where, self.kernel_init)
        as_initializer(where, self.bias_init)

    def to_config(self) -> dict[str, Any]:
        """Return the form that is stored in a model file."""
        config: dict[str, Any] = super().to_config()
        config["activation"] = config["activation"] or "identity"
        for name in ("kernel_init", "bias_init"):
            if config[name] is not None:
                config[name] = as_initializer(type(self).__name__, getattr(self, name)).to_config()
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Product":
        """Rebuild a layer from `to_config`."""
        arguments = {key: value for key, value in config.items() if key != "type"}
        activation = arguments.get("activation", "identity")
        if isinstance(activation, dict):
            activation = activation_from_config(activation)
        arguments["activation"] = None if activation == "identity" else activation
        for name in ("kernel_init", "bias_init"):
            if isinstance(arguments.get(name), dict):
                arguments[name] = Initializer.from_config(arguments[name])
        return cls(**arguments)


@dataclass(frozen=True)
class Dense(Product):
    """``output = activation(input @ weight + bias)``; weight ``(in_features, units)``, bias ``(units,)``.

    Parameters
    ----------
    units : int
        Number of outputs, >= 1.
    activation : str or activation layer, optional
        A name, ``"relu"``, ``"tanh"`` or that of any other activation, or an object such as ``LeakyReLU(0.2)``. None:
        identity.
    use_bias : bool, optional
        None: True, but False directly before a `BatchNorm`, where a bias has no effect.
    kernel_init : str or Initializer, optional
        None: ``he_normal`` where the activation that follows is ReLU-like, else ``glorot_uniform``.
    bias_init : str or Initializer, default "zeros"
    trainable : bool, default True
        False: weight and bias stay as they are.
    l1, l2 : float, optional
        Of this weight, >= 0; ``l1 * sum(abs(weight))`` and ``l2/2 * sum(weight**2)`` are added to the loss. None:
        those of the `Trainer`.
    lr_scale : float, default 1.0
        Factor of the learning rate of weight and bias, >= 0. With 0 they stay, as with a learning rate of 0.
    decay_scale : float, default 1.0
        Factor of the weight decay of the optimizer, >= 0, and of the trainer's l1 and l2 where the layer has none.

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
    trainable: bool = True
    l1: float | None = None
    l2: float | None = None
    lr_scale: float = field(default=1.0, kw_only=True)
    decay_scale: float = field(default=1.0, kw_only=True)


def _check_activation(where: str, activation: object) -> None:
    if isinstance(activation, str):
        class_named(Activation, activation)
    elif not (activation is None or isinstance(activation, Activation)):
        expected = "expected a name or an activation layer"
        raise TypeError(message(where, f"activation is {activation!r}", expected, 'for example "relu"'))
