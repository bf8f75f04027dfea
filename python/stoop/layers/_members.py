"""Layers of members: networks that share most of their weights, are trained together and predict together.

Gorishniy, Kotelnikov & Babenko 2025, "TabM"; Wen, Tran & Ba 2020, "BatchEnsemble".
"""

from dataclasses import KW_ONLY, field
from typing import ClassVar

from stoop._config import dataclass
from stoop.activations import Activation, Layer
from stoop.initializers import Initializer
from stoop.layers._dense import Product


@dataclass(frozen=True)
class Members(Layer):
    """Make k members of the value: ``x`` becomes ``x * scale[m] + bias[m]`` for each member m, ``scale`` ``(k, d)``.

    All layers that follow work on the rows of every member, with shared weights but for `MemberDense`; a BatchNorm
    takes its statistics over all of them, and a Dropout draws a mask for each. Training minimises the mean of the
    members' losses, and its accuracy is the mean of theirs. `Model.predict`, `evaluate` and validation see what the
    members say together, with `Model.output_dim` columns: the mean for the output "identity", the log of the mean
    softmax for "softmax", the logit of the mean sigmoid for "sigmoid", so that `predict_proba` is the mean of their
    probabilities.

    With a `MemberDense` as the last layer this is TabM-mini (Gorishniy, Kotelnikov & Babenko 2025, section 3.3). On a
    value that has k members already it scales each of them.

    Parameters
    ----------
    k : int
        Number of members, 1 to 1024.
    init : {"random_signs", "normal", "ones"}, optional
        First values of the scales: 1 or -1, draws from N(0, 1), or 1. None: "random_signs", but "normal" right after an
        encoding of columns, where the columns of one source begin with the same number.
    bias : bool, default False
        Whether each member has a ``bias`` ``(k, d)`` as well, zeros at first.
    trainable : bool, default True
        False: scale and bias stay as they are.
    lr_scale : float, default 1.0
        Factor of their learning rate, >= 0.
    decay_scale : float, default 1.0
        Accepted like in every layer with parameters; scales and biases do not decay.

    Raises
    ------
    ValueError, TypeError
        For a k outside its range, an unknown name, or another kind of argument. A `Model` refuses one within a
        `Residual`, and members of different numbers.
    """

    type_name: ClassVar[str] = "members"
    k: int
    _: KW_ONLY
    init: str | None = None
    bias: bool = False
    trainable: bool = True
    lr_scale: float = 1.0
    decay_scale: float = 1.0


@dataclass(frozen=True)
class MemberDense(Product):
    """A Dense of its own for each member: ``weight`` ``(k, in_features, units)``, ``bias`` ``(k, units)``.

    With `shared` there is one weight, and each member has scales on both sides of it:
    ``activation((x * input_scale[m]) @ weight * output_scale[m] + bias[m])``, ``weight`` ``(in_features, units)``,
    ``input_scale`` ``(k, in_features)``, ``output_scale`` and ``bias`` ``(k, units)``: BatchEnsemble (Wen, Tran & Ba
    2020, eq. 5), and each layer of the full TabM.

    Parameters
    ----------
    units : int
        Number of outputs of each member, >= 1.
    activation : str or activation layer, optional
        As in `Dense`.
    shared : bool, default False
        Whether the members share the weight.
    members : int, optional
        Number of members, 1 to 1024, where the value has none yet: all of them then read the same value. None: those
        that the value has.
    use_bias : bool, optional
        As in `Dense`.
    kernel_init, bias_init : str or Initializer, optional
        As in `Dense`, for the weight of each member.
    scale_init : {"random_signs", "normal", "ones"}, optional
        First values of ``input_scale``; ``output_scale`` begins with ones. Only with `shared`. None: as for `Members`
        where `members` is given, so that the members differ, else "ones".
    trainable : bool, default True
        False: all of its parameters stay as they are.
    l1, l2 : float, optional
        Of the weight, as in `Dense`; scales have no penalty.
    lr_scale, decay_scale : float, default 1.0
        Factors of the learning rate of all of its parameters, and of the decay of the weight, as in `Dense`.

    Raises
    ------
    ValueError, TypeError
        For a number outside its range, an unknown name, or another kind of argument.
    """

    type_name: ClassVar[str] = "member_dense"
    units: int
    activation: str | Activation | None = None
    _: KW_ONLY
    shared: bool = False
    members: int | None = None
    use_bias: bool | None = None
    kernel_init: str | Initializer | None = None
    bias_init: str | Initializer = field(default="zeros")
    scale_init: str | None = None
    trainable: bool = True
    l1: float | None = None
    l2: float | None = None
    lr_scale: float = 1.0
    decay_scale: float = 1.0


@dataclass(frozen=True)
class FeatureScale(Layer):
    """``output = input * scale``, one trained ``scale`` ``(features,)``, ones at first.

    In front of the first Dense it lets training weigh the columns of X (Holzmüller, Grinsztajn & Steinwart 2024,
    section 3).

    Parameters
    ----------
    trainable : bool, default True
        False: the scale stays as it is.
    lr_scale : float, default 1.0
        Factor of its learning rate, >= 0.
    decay_scale : float, default 1.0
        Accepted like in every layer with parameters; a scale does not decay.

    Raises
    ------
    ValueError, TypeError
        For a factor outside its range, or another kind of argument.
    """

    type_name: ClassVar[str] = "feature_scale"
    trainable: bool = True
    lr_scale: float = field(default=1.0, kw_only=True)
    decay_scale: float = field(default=1.0, kw_only=True)
