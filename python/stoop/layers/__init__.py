"""Layers as plain data: what a network is made of. A `Model` turns them into parameters, a `Trainer` into steps.

Everything is checked when a layer is made, so a typing error shows on the line where it is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import field
from itertools import chain
from typing import Any, ClassVar

from stoop import _core, activations
from stoop._columns import Columns
from stoop._config import class_named, dataclass
from stoop._errors import message
from stoop.activations import *  # noqa: F403  all of its classes are layers
from stoop.activations import Activation, Layer
from stoop.layers._dense import Dense, Product
from stoop.layers._members import FeatureScale, MemberDense, Members

__all__ = [
    "Activation",
    "BatchNorm",
    "Columns",
    "Dense",
    "Dropout",
    "FeatureScale",
    "Layer",
    "LayerNorm",
    "MemberDense",
    "Members",
    "Normalization",
    "Residual",
]
__all__ += activations.__all__


@dataclass(frozen=True)
class BatchNorm(Layer):
    """``gamma * (input - mean) / sqrt(variance + eps) + beta`` for each column. Ioffe & Szegedy 2015, algorithms 1, 2.

    In training, mean and (biased) variance are those of the batch, of at least two samples, and the running ones
    follow: ``running = momentum*running + (1-momentum)*batch``. Inference uses the running ones. Parameters ``gamma``
    and ``beta``, buffers ``running_mean`` and ``running_var``, each ``(features,)``.

    Parameters
    ----------
    momentum : float, default 0.9
        In [0, 1].
    eps : float, default 1e-5
        Added to the variance, > 0.
    trainable : bool, default True
        False: gamma and beta stay as they are; the running statistics still follow.
    lr_scale : float, default 1.0
        Factor of the learning rate of gamma and beta, >= 0.
    decay_scale : float, default 1.0
        Accepted like in every layer with parameters; gamma and beta do not decay.

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "batch_norm"
    momentum: float = 0.9
    eps: float = 1e-5
    trainable: bool = True
    lr_scale: float = field(default=1.0, kw_only=True)
    decay_scale: float = field(default=1.0, kw_only=True)


@dataclass(frozen=True)
class LayerNorm(Layer):
    """``gamma * (input - mean) / sqrt(variance + eps) + beta``, mean and variance of each row.

    Ba, Kiros & Hinton 2016, eq. 3 and 4; the biased variance. The same in training and inference, for any number of
    samples. Parameters ``gamma`` and ``beta``, each ``(features,)``.

    Parameters
    ----------
    eps : float, default 1e-5
        Added to the variance, > 0.
    trainable : bool, default True
        False: gamma and beta stay as they are.
    lr_scale : float, default 1.0
        Factor of the learning rate of gamma and beta, >= 0.
    decay_scale : float, default 1.0
        Accepted like in every layer with parameters; gamma and beta do not decay.

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "layer_norm"
    eps: float = 1e-5
    trainable: bool = True
    lr_scale: float = field(default=1.0, kw_only=True)
    decay_scale: float = field(default=1.0, kw_only=True)


@dataclass(frozen=True)
class Dropout(Layer):
    """Zeroes each element with probability `rate` in training and divides the others by ``1 - rate``.

    Srivastava et al. 2014, section 10 (inverted): the expectation stays. The identity at inference. The mask is a
    function of the trainer's seed, the layer, the update and the element, never of the number of threads.

    Parameters
    ----------
    rate : float
        Fraction dropped, in [0, 1); keep_prob is ``1 - rate``.
    trainable : bool, default True
        Accepted like in every layer; there is nothing to train.

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or no number.
    """

    type_name: ClassVar[str] = "dropout"
    rate: float
    trainable: bool = True

    def __post_init__(self) -> None:
        if type(self.rate) in (int, float) and 1 < self.rate <= 100:
            given = f"rate is {self.rate:g}"
            hint = f"give the fraction that is dropped: {self.rate / 100:g} for {self.rate:g} percent"
            raise ValueError(message("Dropout", given, "expected a number in [0, 1)", hint))
        super().__post_init__()


@dataclass(frozen=True)
class Normalization(Layer):
    """``z = (x - shift) * scale`` for each column of X, by statistics of the training rows. The first layer of a model.

    `Model.adapt`, or the first `fit` of a model that was not adapted, sets the statistics from its training rows. They
    are part of the model's file, so that a loaded model takes the same raw rows, in C++ too. Nothing is copied: it is
    applied as rows are gathered into a batch. Buffers ``0.shift`` and ``0.scale``, each ``(features,)``, which may be
    written as well; ``0.shift_rest`` ``(2, features)``, the digits of the shift that the dtype does not hold; with
    ``missing="mean"`` also ``0.missing`` ``(features,)``, the z of a missing value.

    Parameters
    ----------
    kind : {"standard", "robust", "minmax"}, default "standard"
        "standard": the mean, and 1 / the biased standard deviation. "robust": the median, and 1 / the distance of the
        quartiles; where these are equal, 2 / (maximum - minimum). "minmax": the minimum, and 1 / (maximum - minimum). A
        constant column has the scale 1.
    clip : float, optional
        Then ``z / sqrt(1 + (z / clip)**2)``, between -clip and clip, for any kind; in [1e-6, 1e6]. 3 is usual with
        "robust" (Holzmüller, Grinsztajn & Steinwart 2024, section 3). None: no clip.
    missing : {"error", "mean"}, default "error"
        What becomes of NaN in X: "error" refuses it; "mean" lets the mean of what is there stand for it.
    trainable : bool, default True
        Accepted like in every layer; there is nothing to train.

    Raises
    ------
    ValueError, TypeError
        For an unknown name, a clip outside its range, or another kind of argument.
    """

    type_name: ClassVar[str] = "normalization"
    kind: str = "standard"
    clip: float | None = None
    missing: str = "error"
    trainable: bool = True


@dataclass(frozen=True)
class Residual(Layer):
    """``output = input + f(input)``, f the layers in order. He et al. 2016, eq. 1 and 2.

    Where the widths differ, the input goes through a projection ``(in_features, out_features)`` without bias, eq. 2,
    initialised by ``glorot_uniform``. Parameters are named ``"<block>.<layer>.weight"`` and
    ``"<block>.projection.weight"``. Blocks may hold blocks; a `Model` takes them nested up to 6 deep.

    Parameters
    ----------
    layers : iterable of layer specs
        At least one.
    trainable : bool, default True
        False: all parameters within stay as they are, those of the projection and of inner blocks too.
    lr_scale, decay_scale : float, default 1.0
        Factors, >= 0, of all within, those of the projection and of inner blocks too, beside the factors that these
        layers have themselves.

    Raises
    ------
    ValueError, TypeError
        For an empty list, something that is no layer, or another kind of argument.
    """

    type_name: ClassVar[str] = "residual"
    layers: "tuple[Layer, ...]"
    trainable: bool = True
    lr_scale: float = field(default=1.0, kw_only=True)
    decay_scale: float = field(default=1.0, kw_only=True)

    def __init__(
        self, layers: "Iterable[Layer]", trainable: bool = True, *, lr_scale: float = 1.0, decay_scale: float = 1.0
    ) -> None:
        self._set("layers", check_layers("Residual", layers))
        self._set("trainable", trainable)
        self._set("lr_scale", lr_scale)
        self._set("decay_scale", decay_scale)
        self.__post_init__()

    def to_config(self) -> dict[str, Any]:
        """Return the form that is stored in a model file."""
        inner = [layer_to_config(layer) for layer in self.layers]
        return {**{name: getattr(self, name) for name in self._names}, "type": self.type_name, "layers": inner}

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle what a model can hold: beyond that, the recursion over the blocks would have no limit."""
        check_nesting("Residual", (self,))
        factors = {"lr_scale": self.lr_scale, "decay_scale": self.decay_scale}
        return Residual, (self.layers, self.trainable), factors


def check_layers(where: str, layers: Any) -> tuple[Layer, ...]:
    """Return `layers` as a tuple of layer specs.

    Raises
    ------
    ValueError
        For an empty list.
    TypeError
        For anything that is no layer.
    """
    if isinstance(layers, Layer):
        layers = [layers]
    try:
        specs = tuple(layers)
    except TypeError:
        given = f"layers is {layers!r}"
        raise TypeError(message(where, given, "expected a list of layers", "give [stoop.Dense(...), ...]")) from None
    if not specs:
        raise ValueError(message(where, "layers is empty", "expected at least one layer", "give [stoop.Dense(...)]"))
    for index, layer in enumerate(specs):
        if not isinstance(layer, Layer):
            given = f"layer {index} is {layer!r}"
            hint = f"write {layer.__name__}(...)" if isinstance(layer, type) else "replace it"
            raise TypeError(message(where, given, "expected a layer such as stoop.Dense(8)", hint))
    return specs


def check_nesting(where: str, layers: Sequence[Layer]) -> None:
    """Refuse layers that nest `Residual` deeper than the core and model files take it, with ValueError."""
    for index, layer in enumerate(layers):
        depth, inner = 0, _blocks((layer,))
        while inner:
            depth += 1
            inner = _blocks(tuple(chain.from_iterable(block.layers for block in inner)))
        if depth > _core.MOST_NESTED_RESIDUALS:
            given = f"layer {index} nests Residual {depth} deep"
            expected = f"expected at most {_core.MOST_NESTED_RESIDUALS}"
            raise ValueError(message(where, given, expected, "put the inner layers one after another"))


def _blocks(layers: Iterable[Layer]) -> list[Residual]:
    return [layer for layer in layers if isinstance(layer, Residual)]


def layer_to_config(layer: Layer) -> dict[str, Any]:
    """Return ``{"type": name, ...}``, the form that is stored in a model file and handed to the core."""
    config = layer.to_config()
    return {"type": config} if isinstance(config, str) else config


def layer_from_config(config: dict[str, Any]) -> Layer:
    """Rebuild a layer from `layer_to_config`. What a `Residual` holds may be layers already."""
    kind = class_named(Layer, config["type"])
    if issubclass(kind, Product):
        return kind.from_config(config)
    arguments = {key: value for key, value in config.items() if key != "type"}
    if kind is Residual:
        inner = arguments["layers"]
        arguments["layers"] = [layer if isinstance(layer, Layer) else layer_from_config(layer) for layer in inner]
    return kind(**arguments)


def output_width(layer: Layer, width: int) -> int:
    """Return the columns of the output for `width` columns of input."""
    if isinstance(layer, Product):
        return layer.units
    if isinstance(layer, Columns):
        return layer.output_width(width)
    if isinstance(layer, Residual):
        for inner in layer.layers:
            width = output_width(inner, width)
    return width


def output_members(layer: Layer, members: int) -> int:
    """Return how many members the output has where the input has `members`."""
    if isinstance(layer, Members):
        return layer.k
    if isinstance(layer, MemberDense):
        return layer.members or members
    return members


def matrix_products(layer: Layer, width: int, members: int = 1) -> list[tuple[int, int]]:
    """Return ``(in_features, units)`` of each matrix product of a layer, for `members` of `width` columns of input."""
    if isinstance(layer, Product):
        return [(width, layer.units)] * output_members(layer, members)
    if not isinstance(layer, Residual):
        return []
    products, inside = [], width
    for inner in layer.layers:
        products += matrix_products(inner, inside, members)
        inside = output_width(inner, inside)
    return [*products, *[(width, inside)] * members] if inside != width else products
