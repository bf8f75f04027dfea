"""Losses. Each is the mean over the samples of a batch; give the name or an object as ``loss``."""

import json
from dataclasses import dataclass
from typing import ClassVar

from stoop import _core
from stoop._errors import message


@dataclass(frozen=True)
class SoftmaxCrossEntropy:
    """``mean(logsumexp(logits) - logits[class])``, for integer classes; Bridle 1990.

    Logits ``(n, n_classes)``, targets ``(n,)`` integers in ``[0, n_classes)``. Value and gradient
    ``(softmax(logits) - one_hot) / n`` come from one pass that shifts each row by its maximum, so logits of 1e4
    are safe. The model must end without a softmax. Name: ``"softmax_cross_entropy"``.
    """

    type_name: ClassVar[str] = "softmax_cross_entropy"


@dataclass(frozen=True)
class MeanSquaredError:
    """``mean((output - target)**2)`` over samples and output columns; targets ``(n, n_outputs)``. Name: ``"mse"``."""

    type_name: ClassVar[str] = "mse"


Loss = SoftmaxCrossEntropy | MeanSquaredError

_LOSSES: dict[str, type[SoftmaxCrossEntropy] | type[MeanSquaredError]] = {
    "softmax_cross_entropy": SoftmaxCrossEntropy,
    "mse": MeanSquaredError,
}


def as_loss(where: str, loss: object) -> Loss:
    """Return the loss that a name or object means.

    Raises
    ------
    ValueError
        For an unknown name; the nearest is suggested.
    TypeError
        For anything else.
    """
    if isinstance(loss, str):
        return _LOSSES[_core.check_name("loss", loss)]()
    if isinstance(loss, Loss):
        return loss
    expected = "expected a name or an object of stoop.losses"
    raise TypeError(message(where, f"loss is {loss!r}", expected, 'for example "softmax_cross_entropy"'))


def loss_to_json(loss: Loss) -> str:
    """Return the form that the core reads."""
    return json.dumps({"type": loss.type_name})
