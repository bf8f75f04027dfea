"""Schedules of a given length: `steps` updates or epochs."""

from dataclasses import dataclass
from typing import ClassVar

from stoop.schedules._base import Schedule


@dataclass(frozen=True)
class Linear(Schedule):
    """A straight line from `lr` at t = 0 to `end` at t = steps, and `end` from there on.

    Goodfellow, Bengio & Courville 2016, eq. 8.14.

    Parameters
    ----------
    lr, end : float
        >= 0.
    steps : int
        >= 1.
    per : {"step", "epoch"}, default "step"

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "linear"
    lr: float
    end: float
    steps: int
    per: str = "step"


@dataclass(frozen=True)
class Polynomial(Schedule):
    """``end + (lr - end) * (1 - t/steps)**power``, and `end` from t = steps on; by definition.

    Parameters
    ----------
    lr, end : float
        >= 0.
    steps : int
        >= 1.
    power : float, default 1.0
        > 0.
    per : {"step", "epoch"}, default "step"

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "polynomial"
    lr: float
    end: float
    steps: int
    power: float = 1.0
    per: str = "step"


@dataclass(frozen=True)
class Cosine(Schedule):
    """``end + (lr - end) * (1 + cos(pi * t/steps)) / 2``, and `end` from t = steps on.

    Loshchilov & Hutter 2017, eq. 5, without restarts.

    Parameters
    ----------
    lr : float
        >= 0.
    steps : int
        >= 1.
    end : float, default 0.0
        >= 0.
    per : {"step", "epoch"}, default "step"

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "cosine"
    lr: float
    steps: int
    end: float = 0.0
    per: str = "step"


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up from ``max_lr/div_factor`` to `max_lr`, then down to ``max_lr/div_factor/final_div_factor``.

    Smith & Topin 2018 in two phases, each half a cosine. The top is at ``t = pct_start*steps - 1``, the end at
    ``t = steps - 1``; the last rate holds from there on.

    Parameters
    ----------
    max_lr : float
        >= 0.
    steps : int
        >= 1.
    pct_start : float, default 0.3
        Share of the steps in which the rate rises, in [0, 1].
    div_factor, final_div_factor : float, default 25.0 and 1e4
        > 0.
    per : {"step", "epoch"}, default "step"

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "one_cycle"
    max_lr: float
    steps: int
    pct_start: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    per: str = "step"


@dataclass(frozen=True)
class CosLog4(Schedule):
    """``lr * (1 - cos(2*pi * log2(1 + 15*t/steps))) / 2``: four cycles, each about twice as long as the one before.

    It begins with 0, and is 0 from t = steps on. Holzmüller, Grinsztajn & Steinwart 2024 (RealMLP), section 3.

    Parameters
    ----------
    lr : float
        >= 0.
    steps : int
        >= 1.
    per : {"step", "epoch"}, default "step"

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "cos_log4"
    lr: float
    steps: int
    per: str = "step"


@dataclass(frozen=True)
class FlatCosine(Schedule):
    """`lr` until t = pct_start*steps, then half a cosine to `end` at t = steps, and `end` from there on.

    As ``fit_flat_cos`` of fastai, whose name `pct_start` is.

    Parameters
    ----------
    lr : float
        >= 0.
    steps : int
        >= 1.
    pct_start : float, default 0.75
        Share of the steps before the rate falls, in [0, 1].
    end : float, default 0.0
        >= 0.
    per : {"step", "epoch"}, default "step"

    Raises
    ------
    ValueError, TypeError
        For a value outside its range, or of another kind.
    """

    type_name: ClassVar[str] = "flat_cosine"
    lr: float
    steps: int
    pct_start: float = 0.75
    end: float = 0.0
    per: str = "step"
