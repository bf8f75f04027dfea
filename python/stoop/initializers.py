"""The first values of parameters. Give the name or one of these objects as ``kernel_init`` or ``bias_init``.

With ``fan_in`` the rows and ``fan_out`` the columns of a weight ``(fan_in, fan_out)``:

=================================  ==========================  =================================
name                               variance                    source
=================================  ==========================  =================================
glorot_uniform, glorot_normal      2 / (fan_in + fan_out)      Glorot & Bengio 2010, eq. 16
he_uniform, he_normal              2 / fan_in                  He et al. 2015, eq. 10
lecun_uniform, lecun_normal        1 / fan_in                  LeCun et al. 1998, section 4.6
orthogonal                         1 / max(fan_in, fan_out)    Saxe, McClelland & Ganguli 2014
=================================  ==========================  =================================

The draws depend on the seed of the model and on the position only, never on the number of threads.
"""

from dataclasses import dataclass
from typing import Any

from stoop._checks import real
from stoop._config import SPECS, Config, bounds_of, checked
from stoop._errors import message, refuse_name

_VALUES = {name: spec["fields"].get("value") for name, spec in SPECS["initializers"].items()}


@dataclass(frozen=True)
class Initializer(Config, kind="initializer"):
    """An initialiser by name, with its value where it has one.

    Parameters
    ----------
    name : str
        One of the names of this module.
    value : float, optional
        The value of ``constant``, the standard deviation of ``normal``, the limit of ``uniform``, the gain of
        ``orthogonal`` (None: 1); no others take one.

    Raises
    ------
    ValueError, TypeError
        For an unknown name, a value where none belongs or is missing, or one that cannot be.
    """

    name: str
    value: float | None = None

    def __post_init__(self) -> None:
        if self.name not in _VALUES:
            refuse_name("initializer", "initializer", str(self.name), list(_VALUES))
        spec = _VALUES[self.name]
        if self.value is None and spec is not None and not spec["required"]:
            self._set("value", spec["default"])
        if (self.value is None) != (spec is None):
            given = f"{self.name} with value {self.value}"
            expected = f"expected a value for {', '.join(name for name in _VALUES if _VALUES[name])} and for no other"
            raise ValueError(message("Initializer", given, expected, f"use stoop.initializers.{self.name}"))
        if spec is not None:
            self._set("value", checked("Initializer", "value", self.value, spec))

    def __call__(self) -> "Initializer":
        """Return itself, so that ``he_normal()`` and ``he_normal`` mean the same."""
        return self

    def to_config(self) -> str | dict[str, Any]:
        """Return the form that is stored in a model file."""
        return self.name if self.value is None else {"type": self.name, "value": self.value}

    @classmethod
    def from_config(cls, config: str | dict[str, Any]) -> "Initializer":
        """Rebuild an initialiser from `to_config`."""
        if isinstance(config, str):
            return cls(config)
        return cls(config["type"], config.get("value"))


zeros = Initializer("zeros")
ones = Initializer("ones")
glorot_uniform = Initializer("glorot_uniform")
glorot_normal = Initializer("glorot_normal")
he_uniform = Initializer("he_uniform")
he_normal = Initializer("he_normal")
lecun_uniform = Initializer("lecun_uniform")
lecun_normal = Initializer("lecun_normal")


def constant(value: float) -> Initializer:
    """Every element is `value`."""
    return _with_value("constant", "value", value)


def normal(std: float) -> Initializer:
    """Draws from N(0, std**2), std >= 0."""
    return _with_value("normal", "std", std)


def uniform(limit: float) -> Initializer:
    """Draws from U(-limit, limit), limit >= 0."""
    return _with_value("uniform", "limit", limit)


def orthogonal(gain: float = 1.0) -> Initializer:
    """Orthogonal rows or columns, whichever are fewer, each of length `gain`, >= 0.

    Uniform over all such matrices. A product with a square one keeps the length of every input: the start that
    Saxe, McClelland & Ganguli 2014 advise for deep networks, with ``gain=2**0.5`` before a ReLU.
    """
    return _with_value("orthogonal", "gain", gain)


def _with_value(name: str, argument: str, value: float) -> Initializer:
    return Initializer(name, real(name, argument, value, bounds_of(_VALUES[name])))


def as_initializer(where: str, value: object) -> Initializer:
    """Return the initialiser that a name or object means; TypeError for anything else."""
    if isinstance(value, Initializer):
        return value
    if isinstance(value, str):
        return Initializer(value)
    expected = "expected a name or an object of stoop.initializers"
    hint = f"write {value.__name__}(...)" if callable(value) and hasattr(value, "__name__") else 'try "he_normal"'
    raise TypeError(message(where, f"initialiser {value!r}", expected, hint))
