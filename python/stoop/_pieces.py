"""The part of a `stoop.Trainer` that takes an update apart, for loops of one's own."""

from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._arrays import side_by_side, to_numpy
from stoop._attributes import Views
from stoop._checks import FloatArray, check_rows, features, flag, row_indices, sample_weights, value_targets
from stoop._errors import message
from stoop._measuring import Measuring
from stoop.layers import Columns, Normalization


class InPieces(Measuring):
    """The methods of a `stoop.Trainer` that are pieces of an update."""

    def forward(self, X: npt.ArrayLike, training: bool = True, dropout: bool = True) -> FloatArray:
        """Return the outputs for X, and keep what `backward` needs, until the next call.

        `forward`, the gradient of a loss by hand, `backward` and `apply` come to the bits of `step` where that gradient
        has its bits.

        Parameters
        ----------
        X : array_like, (n_samples, input_dim)
            As in `fit`; one batch, all of it at once.
        training : bool, default True
            BatchNorm normalises with the statistics of this batch, and the running ones follow them, once for each
            call. False: it uses the running ones, as `Model.predict` does, and `dropout` is off.
        dropout : bool, default True
            Dropout drops, with the mask of the update that would come next. After a `backward` it is the mask of the
            rows that follow in that update, so that passes over parts of a batch come to those over all of it.

        Returns
        -------
        ndarray, (n_samples, output_dim), or (n_samples, k, output_dim) of a model with k members
            Of the model's dtype; what the last layer gives, whatever the loss. It may hold infinities.

        Raises
        ------
        ValueError, TypeError
            For data that cannot be used, for LBFGS and NewtonCG, and while the model holds the average (`swap_ema`).
        NonFiniteLossError
            If the statistics of the batch are not finite; nothing is changed then.
        """
        where = "Trainer.forward"
        x: Any = X if self._model._core.takes(X) else features(where, X, self._model._copy_dtype, self._input_dim)
        if training is not True:
            training = flag(where, "training", training)
        if dropout is not True:
            dropout = flag(where, "dropout", dropout)
        return self._core.forward(x, training, training and dropout)

    def backward(self, grad_output: npt.ArrayLike, input_gradient: bool = False) -> FloatArray | None:
        """Add the gradient that follows from that of the outputs to `gradients`.

        It is a plain sum over all calls since the last `apply` or `zero_grad`: a mean over samples is in
        `grad_output`, where the loss has it.

        Parameters
        ----------
        grad_output : array_like, (n_samples, output_dim), or (n_samples, k, output_dim) of a model with k members
            Derivative of the loss with respect to each element that the last `forward` returned.
        input_gradient : bool, default False
            Whether the derivative with respect to X is returned too.

        Returns
        -------
        ndarray, (n_samples, input_dim), or None
            With respect to X as it was given, so that `Model.input_scale` counts as a factor.

        Raises
        ------
        ValueError, TypeError
            Without a `forward` of its own, or after an update since, and for another shape than that of the outputs.
        NonFiniteLossError
            If `grad_output` holds NaN or an infinity; nothing is changed then.
        """
        where = "Trainer.backward"
        gradient: Any = grad_output
        if self._model._core.members > 1:
            gradient = self._rows_of_members(where, gradient)
        if not self._core.takes_gradient(gradient):
            gradient = value_targets(where, gradient, self._dtype, None, self._model.output_dim, "grad_output")
        if input_gradient is not False:
            input_gradient = flag(where, "input_gradient", input_gradient)
        return self._core.backward(gradient, input_gradient)

    def _rows_of_members(self, where: str, gradient: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return the gradient with the rows of the members one after the other."""
        each, outputs = to_numpy(where, gradient, "grad_output"), self._model.output_dim
        members = self._model._core.members
        if each.ndim != 3 or each.shape[1:] != (members, outputs):
            given, expected = f"grad_output has shape {each.shape}", f"expected (n_samples, {members}, {outputs})"
            raise ValueError(message(where, given, expected, "give the gradient of what forward returned"))
        return each.reshape(-1, outputs)

    def gradients(self) -> dict[str, FloatArray]:
        """Return the gradient that `apply` will use by name: writable views of the live arrays, not copies.

        Names and shapes are those of `Model.parameters`. It is the sum since the last update, without l1 and l2, which
        `apply` adds. `backward` and `apply` change the views, and what is written into them counts. `apply` leaves out
        layers with ``trainable=False``.
        """
        return Views(self._core.gradients())

    def apply(self) -> float:
        """Make one update by the gradient in `gradients`, which is zero again afterwards.

        As in `step`: l1 and l2 are added, clip_value and clip_norm limit the gradient, the optimizer makes one step
        with the learning rate of this update, then max_norm and ema. `accumulate` does not count here: one call is one
        update. What the outputs mean (`Model.output`) is not set by the loss, which has no part in this.

        Returns
        -------
        float
            L2 norm of the gradient with its penalties, before clip_norm, over all parameters.

        Raises
        ------
        ValueError
            Without a gradient: neither `backward` nor `gradients` was called since the last update.
        NonFiniteLossError
            If the gradient is not finite, or the update would be too long; nothing is changed then, the gradient
            included: call `zero_grad` to go on.
        """
        return self._core.apply()

    def _step_with_others(self, *batch: Any) -> float:
        """Make an update with the other processes of this training."""
        processes, self._processes = self._processes, None  # `step` then does the rest
        assert processes is not None
        try:
            with processes.call("Trainer.step"):
                return self.step(*batch)
        finally:
            self._processes = processes

    def step(self, *batch: Any) -> float:
        """See `stoop.Trainer.step`."""
        raise NotImplementedError

    def _step_rows(
        self, X: npt.ArrayLike, y: npt.ArrayLike, weight: npt.ArrayLike | None, rows: npt.ArrayLike
    ) -> float:
        where = "Trainer.step"
        names = self._model._classes is not None or (self._targets.n_classes > 0 and self._may_name())
        if not names and weight is None:
            loss = self._core.try_step_rows(X, y, None, rows)
            if loss is not None:
                return loss
        indices = row_indices(where, rows)
        if not names:
            weights = None
            if weight is not None:
                columns = self._targets.weight_columns
                weights = sample_weights(where, weight, self._dtype, len(indices), columns)
            loss = self._core.try_step_rows(X, y, weights, indices)
            if loss is not None:
                return loss
        return self._step_converted(where, X, y, weight, indices)

    def _step_converted(self, where: str, X: Any, y: Any, weight: Any, indices: npt.NDArray[Any]) -> float:
        """Gather the rows first, and convert no others. The first labels of all are read whole, for their names."""
        with self._names_kept():
            x, targets = to_numpy(where, side_by_side(where, X, "X"), "X"), to_numpy(where, y, "y")
            check_rows(where, indices, x, targets)
            if self._model._classes is None and self._may_name():
                _, names = self._targets.read(where, y, len(targets), may_name=True)
                if names is not None:
                    self._model.classes = names
            batch = self._batch(where, x[indices], targets[indices], weight, learn=True)
            try:
                return self._core.step(*batch)
            except ValueError:
                self._refuse_in_place(where, batch[0], indices)
                raise

    def _refuse_in_place(self, where: str, x: npt.NDArray[Any], indices: npt.NDArray[Any]) -> None:
        """Refuse the first number of a batch that is not finite, by its row in X."""
        layer = self._model.layers[0]
        bad = ~np.isfinite(x)
        if isinstance(layer, Columns) or (isinstance(layer, Normalization) and layer.missing == "mean"):
            bad = np.isinf(x)
        for row, column in np.argwhere(bad)[:1]:
            what = "NaN" if np.isnan(x[row, column]) else "an infinity"
            given = f"X has {what} at row {indices[row]}, column {column}"
            raise ValueError(message(where, given, "expected finite numbers", "remove or replace it"))

    def zero_grad(self) -> None:
        """Forget the gradient that was summed since the last update."""
        self._core.zero_grad()
