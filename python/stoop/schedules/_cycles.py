"""Schedules that come back to where they were."""

from dataclasses import dataclass
from typing import ClassVar

from stoop.schedules._base import Schedule


@dataclass(frozen=True)
class CosineRestarts(Schedule):
    """Half a cosine from `lr` to `end`, again and again; Loshchilov & Hutter 2017, eq. 5.

    ``end + (lr - end) * (1 + cos(pi * s/T)) / 2``, s counted from the last restart. T is T_0 at first, and T_mult times
    as long after each restart. T_0 and T_mult are the names of the paper and of PyTorch.

    Parameters
    ----------
    lr : float
        >= 0.
    T_0 : int
        Length of the first cycle, >= 1.
    T_mult : int, default 1
        >= 1.
    end : float, default 0.0
        >= 0.
    per : {"step", "epoch"}, default "step"

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "cosine_restarts"
    lr: float
    T_0: int
    T_mult: int = 1
    end: float = 0.0
    per: str = "step"

    def __post_init__(self) -> None:
        self._check(["lr", "end"], ["T_0", "T_mult"])
