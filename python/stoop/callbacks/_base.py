"""The base of all callbacks of `Trainer.fit`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from stoop.trainer import Trainer


class Callback:
    """What `Trainer.fit` calls between updates, on the thread that called it. Every method is optional.

    Attributes
    ----------
    every_n_steps : int or None
        `on_steps_end` is called after so many updates; None: never.
    """

    every_n_steps: ClassVar[int | None] = None

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Run before the first update."""

    def on_steps_end(self, trainer: Trainer, logs: dict[str, Any]) -> None:
        """Run after every `every_n_steps` updates."""

    def on_epoch_end(self, trainer: Trainer, logs: dict[str, Any]) -> None:
        """Run after each epoch; `logs` is the newest row of the history with "epoch", and may be added to."""

    def on_fit_end(self, trainer: Trainer, reason: str) -> None:
        """Run when the fit ends, for whatever reason."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of this callback."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""
