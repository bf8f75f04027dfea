"""Trainer: gradient descent on mini-batches. Whole epochs run in the core with the GIL released."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import numpy.typing as npt

from stoop import _core
from stoop._checks import FloatArray, class_targets, features, integer, real, thread_count, value_targets
from stoop._checks import seed as checked_seed
from stoop._errors import message, unknown_name
from stoop.history import History
from stoop.losses import Loss, as_loss, loss_to_json
from stoop.model import Model
from stoop.optimizers import Adam, Optimizer, as_optimizer, optimizer_to_config
from stoop.progress import EpochTable

_METRICS = ("accuracy",)
_DEFAULT_OPTIMIZER = Adam(learning_rate=1e-3)


class Trainer:
    """Trains one model.

    Parameters
    ----------
    model : Model
        Its parameters are updated in place.
    loss : str or loss, default "softmax_cross_entropy"
        A name or an object of `stoop.losses`.
    optimizer : str or optimizer, default ``Adam(learning_rate=1e-3)``
        A name or an object of `stoop.optimizers`.
    l2 : float, default 0.0
        Adds ``l2/2 * sum(weight**2)`` to the loss, weights of Dense only, >= 0.
    num_threads : int, optional
        None: chosen from the work of a step, at most `stoop.get_num_threads`.
    seed : int, default 0
        Of the shuffling, which is a function of the seed and the epoch alone.

    Attributes
    ----------
    history : History
        Of the newest `fit`, also when that was interrupted.

    Raises
    ------
    ValueError, TypeError
        For an unknown name (the nearest is suggested) or a value outside its range.
    """

    def __init__(
        self,
        model: Model,
        loss: str | Loss = "softmax_cross_entropy",
        optimizer: str | Optimizer = _DEFAULT_OPTIMIZER,
        *,
        l2: float = 0.0,
        num_threads: int | None = None,
        seed: int = 0,
    ) -> None:
        if not isinstance(model, Model):
            raise TypeError(message("Trainer", f"model is {model!r}", "expected a stoop.Model", "build one first"))
        self.model = model
        self.loss = as_loss("Trainer", loss)
        self.optimizer = as_optimizer("Trainer", optimizer)
        self.history = History(())
        loss_json = loss_to_json(self.loss)
        config = {
            "loss": json.loads(loss_json),
            "optimizer": optimizer_to_config(self.optimizer),
            "l2": real("Trainer", "l2", l2, 0.0),
            "num_threads": 0 if num_threads is None else thread_count("Trainer", "num_threads", num_threads),
            "seed": checked_seed("Trainer", seed),
        }
        make: Any = _core.TrainerFloat64 if model.dtype.itemsize == 8 else _core.TrainerFloat32
        self._core: _core._Trainer[Any] = make(model._core, json.dumps(config))
        self._takes_classes = _core.loss_takes_classes(loss_json)
        self._dtype = model.dtype
        self._input_dim = model.input_dim
        self._output_dim = model.output_dim

    def fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        epochs: int = 10,
        batch_size: int = 128,
        validation_data: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
        *,
        shuffle: bool = True,
        metrics: Iterable[str] = _METRICS,
        verbose: int = 1,
    ) -> History:
        """Train on mini-batches of X and y; called again, it goes on from where it is.

        Parameters
        ----------
        X : array_like, (n_samples, input_dim)
            Read only, never copied where it is row-major and of the model's dtype.
        y : array_like, (n_samples,) or (n_samples, n_outputs)
            Integer classes, or values for a regression loss; ``(n_samples,)`` values will do for one output.
        epochs : int, default 10
            Passes over X, >= 1.
        batch_size : int, default 128
            Samples per update, >= 1; the last batch of an epoch may be smaller.
        validation_data : (X, y), optional
            Evaluated after each epoch.
        shuffle : bool, default True
            A new order each epoch.
        metrics : iterable of str, default ("accuracy",)
            What is recorded beside the loss; "accuracy" is left out for losses that do not take classes.
        verbose : {0, 1, 2}, default 1
            0: silent. 1: a table of epochs, with a live line on a terminal. 2: the table alone.

        Returns
        -------
        History
            The quantities by epoch. Also kept as `history`, with the epochs so far if the fit was interrupted.

        Raises
        ------
        ValueError, TypeError
            For data that cannot be used; nothing is changed then.
        NonFiniteLossError
            If the loss became NaN or infinite; the model keeps its last good parameters.
        KeyboardInterrupt
            On Ctrl-C, after the running step; the model is usable and `fit` can be called again.
        """
        epochs = integer("fit", "epochs", epochs, 1)
        batch_size = integer("fit", "batch_size", batch_size, 1)
        x, targets = self._batch("fit", X, y)
        validation = None if validation_data is None else self._validation(validation_data)
        history = History(self._history_keys(metrics, validated=validation is not None))
        self.history = history
        table = EpochTable(history, self.epoch, epochs, live=verbose == 1) if verbose else None
        try:
            self._core.fit(
                x,
                targets,
                epochs,
                batch_size,
                bool(shuffle),
                validation,
                _record(history, table),
                None if table is None else table.update,
            )
        finally:
            if table is not None:
                table.close()
        return history

    def step(self, X: npt.ArrayLike, y: npt.ArrayLike) -> float:
        """Make one update on this batch and return the loss before it, regularisation included.

        Raises
        ------
        ValueError, TypeError, NonFiniteLossError
            As `fit`; nothing is changed then.
        """
        x, targets = self._batch("step", X, y)
        return self._core.step(x, targets)

    def loss_and_grad(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        training: bool = True,  # noqa: ARG002
    ) -> tuple[float, dict[str, FloatArray]]:
        """Return the loss of this batch and its gradient; nothing is updated.

        Parameters
        ----------
        X, y : array_like
            As in `fit`.
        training : bool, default True
            Without effect for the layers there are: none behaves differently in training.

        Returns
        -------
        loss : float
            Regularisation included.
        gradient : dict of str to ndarray
            Names and shapes of `Model.parameters`; the arrays share one block.

        Raises
        ------
        ValueError, TypeError
            For data that cannot be used.
        """
        x, targets = self._batch("loss_and_grad", X, y)
        return self._core.loss_and_grad(x, targets)

    def evaluate(self, X: npt.ArrayLike, y: npt.ArrayLike) -> dict[str, float]:
        """Return ``{"loss": ..., "accuracy": ...}`` in inference mode; accuracy for losses that take classes only.

        Raises
        ------
        ValueError, TypeError
            For data that cannot be used.
        """
        x, targets = self._batch("evaluate", X, y)
        values = self._core.evaluate(x, targets)
        if not self._takes_classes:
            del values["accuracy"]
        return values

    @property
    def epoch(self) -> int:
        """Epochs completed, over all calls of `fit`."""
        return self._core.epoch

    @property
    def steps(self) -> int:
        """Updates made."""
        return self._core.steps

    def __repr__(self) -> str:
        return f"Trainer({self.model!r}, {self.loss!r}, {self.optimizer!r}, epoch={self.epoch}, steps={self.steps})"

    def _batch(self, where: str, X: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Any, Any]:
        x = features(where, X, self._dtype, self._input_dim)
        if self._takes_classes:
            return x, class_targets(where, y, x.shape[0])
        return x, value_targets(where, y, self._dtype, x.shape[0], self._output_dim)

    def _validation(self, validation_data: Any) -> tuple[Any, Any]:
        try:
            X, y = validation_data
        except (TypeError, ValueError):
            given = f"validation_data is a {type(validation_data).__name__}"
            raise TypeError(message("fit", given, "expected a pair (X, y)", "give validation_data=(X, y)")) from None
        return self._batch("fit, validation_data", X, y)

    def _history_keys(self, metrics: Iterable[str], *, validated: bool) -> list[str]:
        names = (metrics,) if isinstance(metrics, str) else tuple(metrics)
        for name in names:
            if name not in _METRICS:
                raise ValueError(unknown_name("fit", "metric", str(name), _METRICS))
        measured = ["loss", "accuracy"] if "accuracy" in names and self._takes_classes else ["loss"]
        if validated:
            measured += [f"val_{key}" for key in measured]
        return [*measured, "learning_rate", "grad_norm", "samples_per_second"]


def _record(history: History, table: EpochTable | None) -> Callable[[dict[str, Any]], bool]:
    def on_epoch(result: dict[str, Any]) -> bool:
        history.append(result)
        if table is not None:
            table.row()
        return True

    return on_epoch
