"""The element-wise layers, each also what ``Dense(activation=...)`` takes by name or as an object."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

from stoop._config import Config, class_named

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "HardSwish",
    "Identity",
    "LeakyReLU",
    "Mish",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Tanh",
]


class Layer(Config, kind="layer"):
    """Base of all layers. Use a subclass, such as `stoop.Dense`."""

    __module__ = "stoop.layers"
    _example: ClassVar[str] = "stoop.Dense(8)"
    trainable: bool


@dataclass(frozen=True, repr=False)
class Activation(Layer, kind="activation"):
    """Base of the element-wise layers, which are also what ``Dense(activation=...)`` takes. Use a subclass.

    Each takes ``trainable=True`` by keyword, like every layer; there is nothing to train in them.
    """

    _example: ClassVar[str] = '"relu"'
    trainable: bool = field(default=True, kw_only=True)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self._arguments().items())})"

    def _arguments(self) -> dict[str, Any]:
        """What is worth mentioning: numbers, and what else is not as usual."""
        usual = {f.name: f.default for f in fields(self) if isinstance(f.default, bool | str)}
        return {name: value for name, value in asdict(self).items() if name not in usual or value != usual[name]}

    def to_config(self) -> str | dict[str, Any]:
        """Return the form that is stored in a model file: the name alone where there is nothing else to say."""
        arguments = self._arguments()
        return {"type": self.type_name, **arguments} if arguments else self.type_name


@dataclass(frozen=True, repr=False)
class Identity(Activation):
    """``output = input``, by definition."""

    type_name: ClassVar[str] = "identity"


@dataclass(frozen=True, repr=False)
class ReLU(Activation):
    """``output = max(0, input)``. Nair & Hinton 2010. The gradient at 0 is 0."""

    type_name: ClassVar[str] = "relu"


@dataclass(frozen=True, repr=False)
class LeakyReLU(Activation):
    """``output = input`` where positive, else ``negative_slope * input``. Maas et al. 2013.

    Parameters
    ----------
    negative_slope : float, default 0.01
        Slope for negative inputs, >= 0.
    """

    type_name: ClassVar[str] = "leaky_relu"
    negative_slope: float = 0.01


@dataclass(frozen=True, repr=False)
class ELU(Activation):
    """``output = input`` where positive, else ``alpha * (exp(input) - 1)``. Clevert et al. 2016, section 3.

    Parameters
    ----------
    alpha : float, default 1.0
        The limit for very negative inputs is -alpha; >= 0.
    """

    type_name: ClassVar[str] = "elu"
    alpha: float = 1.0


@dataclass(frozen=True, repr=False)
class GELU(Activation):
    """``output = input/2 * (1 + erf(input / sqrt(2)))``. Hendrycks & Gimpel 2016, section 2.

    Parameters
    ----------
    approximate : {"none", "tanh"}, default "none"
        "tanh": ``input/2 * (1 + tanh(sqrt(2/pi) * (input + 0.044715 * input**3)))``, which is within 5e-4 of it.
    """

    type_name: ClassVar[str] = "gelu"
    approximate: str = "none"


@dataclass(frozen=True, repr=False)
class SiLU(Activation):
    """``output = input / (1 + exp(-input))``, also called swish. Elfwing et al. 2018, eq. 6."""

    type_name: ClassVar[str] = "silu"


@dataclass(frozen=True, repr=False)
class Softplus(Activation):
    """``output = log(1 + exp(input))``, without overflow. Dugas et al. 2001."""

    type_name: ClassVar[str] = "softplus"


@dataclass(frozen=True, repr=False)
class Tanh(Activation):
    """``output = tanh(input)``. LeCun et al. 1998, section 4.4."""

    type_name: ClassVar[str] = "tanh"


@dataclass(frozen=True, repr=False)
class Sigmoid(Activation):
    """``output = 1 / (1 + exp(-input))``. Rumelhart, Hinton & Williams 1986, eq. 2."""

    type_name: ClassVar[str] = "sigmoid"


@dataclass(frozen=True, repr=False)
class SELU(Activation):
    """``output = 1.0507 * input`` where positive, else ``1.7581 * (exp(input) - 1)``. Klambauer et al. 2017, eq. 2.

    The constants keep mean 0 and variance 1 from layer to layer if the weights start with ``"lecun_normal"`` and X is
    standardised: ``Dense(64, "selu", kernel_init="lecun_normal")``.
    """

    type_name: ClassVar[str] = "selu"


@dataclass(frozen=True, repr=False)
class Mish(Activation):
    """``output = input * tanh(log(1 + exp(input)))``. Misra 2019, eq. 2."""

    type_name: ClassVar[str] = "mish"


@dataclass(frozen=True, repr=False)
class HardSwish(Activation):
    """``output = input * min(max(input + 3, 0), 6) / 6``; gradient 0 at -3 and 1 at 3. Howard et al. 2019."""

    type_name: ClassVar[str] = "hard_swish"


@dataclass(frozen=True, repr=False)
class ReLU6(Activation):
    """``output = min(max(0, input), 6)``; the gradient is 0 at 0 and at 6. Krizhevsky 2010, section 2.2."""

    type_name: ClassVar[str] = "relu6"


def activation_from_config(config: dict[str, Any]) -> Activation:
    """Rebuild an activation layer from ``{"type": name, ...}``."""
    arguments = {key: value for key, value in config.items() if key != "type"}
    return class_named(Activation, config["type"])(**arguments)
