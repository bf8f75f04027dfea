"""The part of a `stoop.Trainer` that runs a fit, alone or with other processes."""

from __future__ import annotations

from typing import Any

from stoop._fit import FitOptions
from stoop._loop import FitLoop
from stoop._saving import Checkpointing
from stoop._shared_loop import SharedLoop
from stoop.history import History


class Fitting(Checkpointing):
    """The methods of a `stoop.Trainer` that `fit` is made of."""

    def _make_loop(self, history: History, callbacks: Any, metrics: Any, validation: Any, freq: int) -> FitLoop:
        processes = self._processes
        if processes is None or processes.size == 1:
            return FitLoop(self, history, callbacks, metrics, validation, freq)
        if processes.rank > 0:
            callbacks, metrics = (), ()
        return SharedLoop(processes, self, history, callbacks, metrics, validation, freq)

    def _run(self, batch: tuple[Any, ...], validation: tuple[Any, ...] | None, options: FitOptions) -> History:
        loop: FitLoop = options.loop
        outer = self._history, self._loop
        self._history, self._loop = options.history, loop
        loop.is_running = True
        self._note_between(options.history)
        reason, raised = "error", True
        try:
            x, targets, weights = batch
            reason = self._core.fit(x, targets, weights, validation, options)
            reason, raised = loop.stop_reason or reason, False
        except KeyboardInterrupt:
            reason = "interrupted"
            raise
        finally:
            try:
                loop.end(reason, quietly=raised)
            finally:
                refused = raised and not loop.has_begun  # nothing has changed, the history included
                if not refused:
                    self._between = {}
                if refused or (outer[1] is not None and outer[1].is_running):  # or within a callback of another fit
                    self._history, self._loop = outer
        return options.history

    def _try(self, batch: Any, validation: Any, options: FitOptions, names: Any) -> History:
        """Make one update and one validation on these rows, and take everything back, `names` included."""
        classes, output, given = names
        state = self._core.state()
        kept = {name: array.copy() for name, array in self._model.state_dict().items()}
        x, targets, weights = batch
        try:
            self._core.fit(x, targets, weights, validation, options)
        finally:
            self._model.load_state_dict(kept)
            self._core.set_state(**state)
            self._model.classes = classes
            if not given:
                self._model.output = None
                self._model._set_output(output, given=False)
        return options.history
