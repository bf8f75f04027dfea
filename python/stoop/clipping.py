"""clip_grad_norm: one limit for the gradients of several trainers."""

from collections.abc import Iterable

from stoop import _core
from stoop._checks import POSITIVE, real
from stoop._errors import message
from stoop.trainer import Trainer


def clip_grad_norm(trainers: Trainer | Iterable[Trainer], max_norm: float) -> float:
    """Scale the gradients of all trainers down so that their L2 norm together is at most `max_norm`.

    Between `Trainer.backward` and `Trainer.apply`, on `Trainer.gradients`, which have no l1 and l2 yet; what each
    trainer has for `clip_norm` still holds in its `apply`. Pascanu, Mikolov & Bengio 2013, algorithm 1.

    Parameters
    ----------
    trainers : Trainer or iterable of Trainer
        Each once.
    max_norm : float
        > 0.

    Returns
    -------
    float
        The norm before.

    Raises
    ------
    ValueError, TypeError
        For what is no trainer, one that is given twice, or a `max_norm` outside its range.
    NonFiniteLossError
        If a gradient is not finite; nothing is changed then.
    """
    where = "clip_grad_norm"
    given = [trainers] if isinstance(trainers, Trainer) else list(trainers)
    for trainer in given:
        if not isinstance(trainer, Trainer):
            raise TypeError(message(where, f"trainers has {trainer!r}", "expected stoop.Trainers", "give a list"))
    limit = real(where, "max_norm", max_norm, POSITIVE, hint="0.5 and 1 are usual")
    return _core.clip_grad_norm([trainer._core for trainer in given], limit)
