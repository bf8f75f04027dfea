"""The part of a `stoop.Trainer` that measures and changes nothing: loss, gradient, curvature."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._checks import FloatArray, flag, like_parameters
from stoop._errors import refuse_name
from stoop._training import Training
from stoop.metrics import resolve

_REDUCTIONS = ("mean", "sum", "none")


class Measuring(Training):
    """The methods of a `stoop.Trainer` that update nothing."""

    def loss_and_grad(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        training: bool = True,
        dropout: bool = False,
        sample_weight: npt.ArrayLike | None = None,
    ) -> tuple[float, dict[str, FloatArray]]:
        """Return the loss of this batch and its gradient; nothing is updated, running statistics included.

        Parameters
        ----------
        X, y : array_like
            As in `fit`.
        training : bool, default True
            BatchNorm normalises with the statistics of this batch. False: with the running ones.
        dropout : bool, default False
            Dropout drops, with the mask of the update that would come next. False: it does nothing.
        sample_weight : array_like, (n_samples,) or (n_samples, n_outputs), optional
            As in `fit`.

        Returns
        -------
        loss : float
            Regularisation included. A loss that is infinite is returned as it is, with a gradient of NaN.
        gradient : dict of str to ndarray
            Names and shapes of `Model.parameters`; the arrays share one block. Zero for layers with
            ``trainable=False``.

        Raises
        ------
        ValueError, TypeError
            For data that cannot be used.
        """
        x, targets, weights = self._batch("Trainer.loss_and_grad", X, y, sample_weight)
        training = flag("Trainer.loss_and_grad", "training", training)
        dropout = flag("Trainer.loss_and_grad", "dropout", dropout)
        return self._core.loss_and_grad(x, targets, weights, training, dropout)

    def hessian_vector_product(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        direction: Mapping[str, npt.ArrayLike],
        training: bool = True,
        dropout: bool = False,
        sample_weight: npt.ArrayLike | None = None,
    ) -> dict[str, FloatArray]:
        """Return the Hessian of the loss of this batch times a vector, exact but for rounding.

        Forward over reverse, Pearlmutter 1994, section 3: the cost of two to three and a half gradients.
        The loss is that of `loss_and_grad`, l2 included; what has no second derivative (relu at 0, mae, l1) counts as
        straight.

        Parameters
        ----------
        X, y, training, dropout, sample_weight
            As in `loss_and_grad`.
        direction : mapping of str to array_like
            The vector: names and shapes of `Model.parameters`. Names that are left out are zero, and so is what it
            holds of layers with ``trainable=False``.

        Returns
        -------
        dict of str to ndarray
            Names and shapes of `Model.parameters`; the arrays share one block. Zero for layers with
            ``trainable=False``.

        Raises
        ------
        ValueError, TypeError
            For data that cannot be used, an unknown name or another shape.
        """
        x, targets, weights = self._batch("Trainer.hessian_vector_product", X, y, sample_weight)
        where = "Trainer.hessian_vector_product"
        along = like_parameters(where, "direction", direction, self.model.parameters())
        mode = {"training": flag(where, "training", training), "dropout": flag(where, "dropout", dropout)}
        return self._core.hessian_vector_product(x, targets, weights, along, **mode)

    def losses(
        self, X: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> npt.NDArray[np.float64]:
        """Return the loss of each sample in inference mode, without regularisation.

        Parameters
        ----------
        X, y : array_like
            As in `fit`.
        sample_weight : array_like, (n_samples,) or (n_samples, n_outputs), optional
            >= 0, as in `fit`, but not divided by their sum: each loss is multiplied by the weight of its sample, or is
            the mean over the targets of their losses times their weights.

        Returns
        -------
        ndarray of float64, (n_samples,)
            Their mean, without weights, is the loss of `evaluate` but for l1, l2 and rounding.

        Raises
        ------
        ValueError, TypeError
            For data that cannot be used.
        """
        where = "Trainer.losses"
        with self._with_others(where):
            return self._core.losses(*self._batch(where, X, y, sample_weight, relative=False))

    def evaluate(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        metrics: str | Callable[..., Any] | Iterable[str | Callable[..., Any]] = ("accuracy",),
        *,
        reduction: str = "mean",
    ) -> dict[str, Any]:
        """Return ``{"loss": ..., "accuracy": ...}`` in inference mode; accuracy for losses of classes only.

        The loss is the weighted mean with regularisation; accuracy, the share of samples (for labels by column: of
        labels) predicted right, counts all samples alike, but for those that `fit` says it leaves out. Other metrics
        weigh the samples as the loss does; with weights of targets each column by its own, then their mean.

        Parameters
        ----------
        X, y, sample_weight : array_like
            As in `fit`.
        metrics : str, callable, or iterable of these, default ("accuracy",)
            What is measured beside the loss, see `stoop.metrics`: names, or functions ``(y_true, outputs) -> float``
            of the targets and the outputs of the last layer, recorded under their ``__name__``.
        reduction : {"mean", "sum", "none"}, default "mean"
            Of the loss. "none": an array (n_samples,), that of `losses`. "sum": their sum. These two are without
            regularisation, and their weights are not divided by their sum.

        Raises
        ------
        ValueError, TypeError
            For data that cannot be used, an unknown metric or reduction (the nearest is suggested) or a metric that
            does not fit the loss.
        """
        where = "Trainer.evaluate"
        with self._with_others(where):
            if reduction not in _REDUCTIONS:
                refuse_name(where, "reduction", str(reduction), _REDUCTIONS)
            measured = resolve(metrics, self._loss, self._model.output_dim, where)
            is_mean = reduction == "mean"
            x, targets, weights = self._batch(where, X, y, sample_weight, relative=is_mean)
            found = self._core.evaluate(x, targets, weights, not is_mean)
        if reduction == "sum":
            found["loss"] = float(found["loss"].sum())
        if any(metric.needs_outputs for metric in measured):
            outputs = self._model.predict(x)
            found |= {metric.name: metric(targets, outputs, weights) for metric in measured if metric.needs_outputs}
        return {name: found[name] for name in ("loss", *(metric.name for metric in measured))}
