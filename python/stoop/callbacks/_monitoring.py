"""Callbacks that watch one quantity from epoch to epoch: EarlyStopping and ReduceLROnPlateau."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from stoop._checks import NOT_NEGATIVE, Bounds, FloatArray, flag, integer, real
from stoop._errors import message
from stoop.callbacks._base import Callback, Monitor, set_state
from stoop.schedules import Schedule

if TYPE_CHECKING:
    from stoop.trainer import Trainer

_FRACTION = Bounds(0.0, 1.0, without_low=True, without_high=True)


class Kept:
    """A copy of the parameters, running statistics and average of a trainer, in memory that is used again."""

    def __init__(self) -> None:
        self._arrays: dict[str, dict[str, FloatArray]] = {}
        self.is_whole = False

    @staticmethod
    def _views(trainer: Trainer) -> dict[str, dict[str, FloatArray]]:
        return {
            "parameters": trainer.model.parameters(),
            "buffers": trainer.model.buffers(),
            "average": trainer.ema_parameters(),
        }

    def take(self, trainer: Trainer) -> None:
        """Copy what the trainer holds now. While it is interrupted, the trainer itself holds what was to be kept."""
        self.is_whole = False
        for kind, views in self._views(trainer).items():
            arrays = self._arrays.setdefault(kind, {})
            for name, view in views.items():
                if name not in arrays or arrays[name].shape != view.shape:
                    arrays[name] = np.empty_like(view)
                np.copyto(arrays[name], view)
        self.is_whole = True

    def put_back(self, trainer: Trainer) -> None:
        """Write the copy into the trainer and its model, to the end also if Ctrl-C comes."""
        if not self.is_whole:
            return
        if trainer.ema is not None and trainer._core.state()["swapped"]:
            trainer.swap_ema()  # the copy was taken with the parameters in the model
        try:
            self._write(trainer)
        except KeyboardInterrupt:
            self._write(trainer)
            raise

    def _write(self, trainer: Trainer) -> None:
        for kind, views in self._views(trainer).items():
            for name, view in views.items():
                np.copyto(view, self._arrays[kind][name])

    def state_dict(self) -> dict[str, Any]:
        """Return the arrays themselves, without a copy."""
        return self._arrays

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take arrays that `state_dict` returned."""
        self._arrays = {kind: dict(arrays) for kind, arrays in state.items()}
        self.is_whole = bool(self._arrays)


class EarlyStopping(Callback):
    """Ends a fit when a quantity has stopped getting better, and puts the best epoch back.

    Goodfellow, Bengio & Courville 2016, algorithm 7.1: patience counts epochs without an improvement.

    The best parameters, running statistics and averages (`ema`) are put back on every way out of the fit: after the
    last epoch, when patience or `max_time` is over, on Ctrl-C, and after an error. What the optimizer holds stays that
    of the last epoch. Their copy takes the memory of the parameters once; in exchange, a fit with it keeps no other
    copy to go back to, so that after `NonFiniteLossError` the best epoch is put back, or the start of the fit.

    Parameters
    ----------
    monitor : str, default "val_loss"
        A column of the history. Epochs in which it was not measured do not count.
    patience : int, default 10
        Epochs without an improvement after which the fit ends, >= 1.
    min_delta : float, default 0.0
        An improvement is more than this, >= 0.
    mode : {"auto", "min", "max"}, default "auto"
        Whether smaller or larger values are better; "auto" knows it from the name.
    baseline : float, optional
        Improvements that are not better than this do not count against patience.
    start_from_epoch : int, default 0
        So many epochs of the fit are not looked at, >= 0.
    restore_best : bool, default True
        False: the parameters stay those of the last epoch, and no copy is made.

    Attributes
    ----------
    best : float or None
        The best value so far.
    best_epoch : int or None
        Its epoch, as in ``history.epochs``.

    Raises
    ------
    ValueError, TypeError
        For a value outside its range; during the fit, where the history has no such column.

    Notes
    -----
    ``history.stop_reason`` becomes "early_stopping".
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "auto",
        baseline: float | None = None,
        start_from_epoch: int = 0,
        restore_best: bool = True,
    ) -> None:
        where = "EarlyStopping"
        self._monitor = Monitor(where, monitor, mode)
        self.patience = integer(where, "patience", patience, 1, hint="10 is usual")
        self.min_delta = real(where, "min_delta", min_delta, NOT_NEGATIVE, "0 counts every improvement")
        self.baseline = None if baseline is None else real(where, "baseline", baseline)
        self.start_from_epoch = integer(where, "start_from_epoch", start_from_epoch, 0)
        self.restore_best = flag(where, "restore_best", restore_best)
        self._kept = Kept()
        self._is_resumed = False
        self._start()

    def _start(self) -> None:
        self.best: float | None = None
        self.best_epoch: int | None = None
        self._waited = 0
        self._seen = 0

    @property
    def monitor(self) -> str:
        """The column that is watched."""
        return self._monitor.name

    @property
    def keeps_copy(self) -> bool:
        """Whether it can put parameters back, so that the fit itself need not keep a copy."""
        return self.restore_best

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Start anew, unless the fit is resumed."""
        if not self._is_resumed:
            self._start()
        if self.restore_best and not (self._is_resumed and self._kept.is_whole):
            self._kept.take(trainer)
        if self._is_resumed and self._waited >= self.patience:
            trainer.stop("early_stopping")
        self._is_resumed = False

    def on_epoch_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        """Keep the best epoch, and stop the fit when patience is over."""
        self._seen += 1
        value = self._monitor.value(trainer, logs)
        if value is None or self._seen <= self.start_from_epoch:
            return
        self._waited += 1
        if self._monitor.is_better(value, self.best, self.min_delta):
            self.best, self.best_epoch = value, int(logs["epoch"])
            if self.restore_best:
                self._kept.take(trainer)
            if self.baseline is None or self._monitor.is_better(value, self.baseline):
                self._waited = 0
        if self._waited >= self.patience:
            trainer.stop("early_stopping")

    def on_fit_end(self, trainer: Trainer, reason: str) -> None:
        """Put the best epoch back, or after an error without one what the fit began with."""
        is_broken = reason == "error" and not _is_finite(trainer)
        if self.restore_best and (self.best is not None or is_broken):
            self._kept.put_back(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Return the best value, its epoch, the counts, and the copy."""
        names = ("best", "best_epoch", "_waited", "_seen")
        return {**{name: getattr(self, name) for name in names}, "kept": self._kept.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        set_state(self, state, ("best", "best_epoch", "_waited", "_seen"))
        self._kept.load_state_dict(state["kept"])
        self._is_resumed = True


def _is_finite(trainer: Trainer) -> bool:
    return all(np.isfinite(view).all() for view in trainer.model.state_dict().values())


class ReduceLROnPlateau(Callback):
    """Lowers the learning rate when a quantity has stopped getting better.

    As `torch.optim.lr_scheduler.ReduceLROnPlateau` with a relative threshold. The learning rate of the trainer must be
    a number.

    Parameters
    ----------
    monitor : str, default "val_loss"
        A column of the history. Epochs in which it was not measured do not count.
    factor : float, default 0.1
        The learning rate is multiplied by it, in (0, 1).
    patience : int, default 10
        So many epochs without an improvement are let pass, >= 0; the next lowers the rate.
    threshold : float, default 1e-4
        An improvement is more than this share of the best value, >= 0.
    cooldown : int, default 0
        So many epochs after a reduction are not counted, >= 0.
    min_lr : float, default 0.0
        The rate goes no lower, >= 0.
    mode : {"auto", "min", "max"}, default "auto"
        Whether smaller or larger values are better; "auto" knows it from the name.

    Raises
    ------
    ValueError, TypeError
        For a value outside its range; at the start of a fit, where the learning rate is a schedule.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        *,
        mode: str = "auto",
    ) -> None:
        where = "ReduceLROnPlateau"
        self._monitor = Monitor(where, monitor, mode)
        self.factor = real(where, "factor", factor, _FRACTION, "0.1 is usual")
        self.patience = integer(where, "patience", patience, 0, hint="10 is usual")
        self.threshold = real(where, "threshold", threshold, NOT_NEGATIVE, "1e-4 is usual")
        self.cooldown = integer(where, "cooldown", cooldown, 0)
        self.min_lr = real(where, "min_lr", min_lr, NOT_NEGATIVE, "0 sets no limit")
        self._is_resumed = False
        self._start()

    def _start(self) -> None:
        self.best: float | None = None
        self._bad = 0
        self._cooling = 0

    @property
    def monitor(self) -> str:
        """The column that is watched."""
        return self._monitor.name

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Start anew, unless the fit is resumed."""
        _constant_rate(trainer)
        if not self._is_resumed:
            self._start()
        self._is_resumed = False

    def on_epoch_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        """Count the epochs without an improvement, and lower the rate."""
        value = self._monitor.value(trainer, logs)
        if value is None:
            return
        margin = self.threshold * abs(self.best) if self.best is not None else 0.0
        if self._monitor.is_better(value, self.best, margin):
            self.best, self._bad = value, 0
        else:
            self._bad += 1
        if self._cooling > 0:
            self._cooling -= 1
            self._bad = 0
        if self._bad > self.patience:
            self._lower(trainer)
            self._cooling, self._bad = self.cooldown, 0

    def _lower(self, trainer: Trainer) -> None:
        rate = _constant_rate(trainer)
        lower = max(rate * self.factor, self.min_lr)
        if 0.0 < lower < rate:
            trainer.set(learning_rate=lower)

    def state_dict(self) -> dict[str, Any]:
        """Return the best value and the counts; the learning rate is the trainer's."""
        return {name: getattr(self, name) for name in ("best", "_bad", "_cooling")}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        set_state(self, state, ("best", "_bad", "_cooling"))
        self._is_resumed = True


def _constant_rate(trainer: Trainer) -> float:
    rate: float | Schedule = trainer.learning_rate
    if isinstance(rate, Schedule):
        hint = "give the optimizer a number, or leave this callback out"
        given = f"the learning rate is {rate!r}"
        raise ValueError(  # noqa: TRY004  the trainer is a right one, its setting is not
            message("ReduceLROnPlateau", given, "expected a number", hint)
        )
    return rate
