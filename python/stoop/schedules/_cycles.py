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


@dataclass(frozen=True)
class Cyclic(Schedule):
    """Straight lines from `base_lr` up to `max_lr` and back, again and again; Smith 2017, section 3.

    The arguments are those of PyTorch's ``CyclicLR``.

    Parameters
    ----------
    base_lr, max_lr : float
        >= 0.
    step_size_up : int, default 2000
        Steps or epochs from `base_lr` to `max_lr`, >= 1.
    step_size_down : int, optional
        From there back, >= 1; without one, as many as up.
    mode : {"triangular", "triangular2", "exp_range"}, default "triangular"
        How the height above `base_lr` changes: not at all, halved after each cycle, or times ``gamma**t``.
    gamma : float, default 1.0
        > 0.
    per : {"step", "epoch"}, default "step"

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "cyclic"
    base_lr: float
    max_lr: float
    step_size_up: int = 2000
    step_size_down: int | None = None
    mode: str = "triangular"
    gamma: float = 1.0
    per: str = "step"
