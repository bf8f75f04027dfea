"""The moving average of an estimator that is trained with `ema`: it predicts, while other parameters are trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stoop.sklearn._weights import Weights


class Average(Weights):
    """Puts the average into the model for the user, and takes it out for the training."""

    _shows_average = False
    _averages: list[npt.NDArray[Any]] = []  # noqa: RUF012  replaced as a whole
    _kept_ema: float | None = None  # that of the trainer

    def _show_average(self) -> None:
        """Put the moving average into the model, if there is one."""
        if self._kept_ema is not None and not self._shows_average and self._trainer is not None:
            self._trainer.swap_ema()
            self._shows_average = True

    def _hide_average(self) -> None:
        """Put the trained parameters back; where others took the place of the average, training goes on from these."""
        if self._kept_ema is None or not self._shows_average or self._trainer is None:
            return
        given = [
            None if np.array_equal(view, known) else view.copy()
            for view, known in zip(self._model.parameters().values(), self._averages)
        ]
        self._trainer.swap_ema()
        self._shows_average, self._averages = False, []
        for view, values in zip(self._model.parameters().values(), given):
            if values is not None:
                view[...] = values

    def _remember_average(self) -> None:
        """Keep what the model has, to see later what has changed."""
        if self._shows_average:
            self._averages = [view.copy() for view in self._model.parameters().values()]
