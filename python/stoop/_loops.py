"""The part of a `stoop.Model` for loops of one's own: derivatives with respect to inputs, and target networks."""

from __future__ import annotations  # the stub's _core._Model does not exist at run time

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stoop._checks import FRACTION, FloatArray, features, integer, real, thread_count, value_targets
from stoop._errors import message
from stoop._outputs import OutputMeaning

if TYPE_CHECKING:
    from stoop import _core


class InLoops(OutputMeaning):
    """The methods of a `stoop.Model` that loops of one's own call."""

    _core: _core._Model[Any]
    _dtype: np.dtype[Any]
    _copy_dtype: np.dtype[Any]  # of an X that has to be copied
    _input_dim: int

    def predict(
        self,
        X: npt.ArrayLike,
        batch_size: int | None = None,
        out: FloatArray | None = None,
        *,
        num_threads: int | None = None,
    ) -> FloatArray:
        """Return the outputs of the last layer, in inference mode.

        Parameters
        ----------
        X : array_like, (n_samples, input_dim)
            Read only. float32, float64 and uint8 whose rows are contiguous are read where they lie and converted a
            few rows at a time; everything else is copied once.
        batch_size : int, optional
            Rows per pass, to bound the memory for activations. None: as the core sees fit.
        out : ndarray, (n_samples, output_dim), optional
            Gets the outputs, so that nothing is allocated, and is returned. Of the model's dtype, with contiguous rows
            (a slice of rows or columns of a larger array will do), and apart from X in memory.
        num_threads : int, optional
            At most so many threads for this call; fewer where they do not pay off. None: `stoop.get_num_threads`. The
            outputs do not depend on it.

        Returns
        -------
        ndarray, (n_samples, output_dim)
            Of the model's dtype, two dimensions for one output as well: compare it with y of shape (n_samples,) as
            ``model.predict(X).ravel()``. For a classifier these are logits.

        Raises
        ------
        ValueError, TypeError
            For the wrong rank, dtype, column count, or an empty X, for an `out` that does not fit, and for a number of
            threads that is no integer in [1, 1024].
        """
        most = 0 if num_threads is None else thread_count("Model.predict", "num_threads", num_threads)
        x: Any = X if self._core.takes(X) else features("Model.predict", X, self._copy_dtype, self._input_dim)
        if batch_size is None:
            if out is None:
                return self._core.predict(x, most)
            self._core.predict_into(x, out, most)
            return out
        rows = integer("Model.predict", "batch_size", batch_size, 1)
        result: FloatArray = np.empty((x.shape[0], self._core.output_dim), self._dtype) if out is None else out
        self._core.check_out(x, result)
        for begin in range(0, x.shape[0], rows):
            self._core.predict_into(x[begin : begin + rows], result[begin : begin + rows], most)
        return result

    def input_gradient(self, X: npt.ArrayLike, grad_output: npt.ArrayLike) -> FloatArray:
        """Return the derivative of ``(grad_output * outputs).sum()`` with respect to X, in inference mode.

        Simonyan, Vedaldi & Zisserman 2014, section 3. BatchNorm uses its running statistics, Dropout does nothing.

        Parameters
        ----------
        X : array_like, (n_samples, input_dim)
            As in `predict`.
        grad_output : array_like, (n_samples, output_dim)
            Factors of the outputs, such as the derivative of a loss with respect to them.

        Returns
        -------
        ndarray, (n_samples, input_dim)
            With respect to X as it was given, so that `input_scale`, or the scale of a `Normalization`, is a factor.

        Raises
        ------
        ValueError, TypeError
            For data that cannot be used, NaN and infinities included.
        """
        where = "Model.input_gradient"
        x: Any = X if self._core.takes(X) else features(where, X, self._copy_dtype, self._input_dim)
        columns = self._core.output_dim
        return self._core.input_gradient(
            x, value_targets(where, grad_output, self._dtype, x.shape[0], columns, "grad_output")
        )

    def jacobian(self, X: npt.ArrayLike) -> FloatArray:
        """Return the derivative of every output with respect to every input, in inference mode.

        One forward pass, and a backward pass for each output.

        Parameters
        ----------
        X : array_like, (n_samples, input_dim)
            As in `predict`.

        Returns
        -------
        ndarray, (n_samples, output_dim, input_dim)
            With respect to X as it was given, so that `input_scale`, or the scale of a `Normalization`, is a factor.

        Raises
        ------
        ValueError, TypeError
            For data that cannot be used, NaN and infinities included.
        """
        x: Any = X if self._core.takes(X) else features("Model.jacobian", X, self._copy_dtype, self._input_dim)
        return self._core.jacobian(x)

    def soft_update(self, source: InLoops, tau: float) -> None:
        """Move all parameters and running statistics towards those of `source`: ``(1 - tau)*own + tau*source``.

        The statistics of a `Normalization` become those of the source, unless tau is 0.

        For target networks; Lillicrap et al. 2015, algorithm 1.

        Parameters
        ----------
        source : Model
            With the same layers and dtype; it does not change.
        tau : float
            In [0, 1]; 0.005 is usual, 1 copies.

        Raises
        ------
        ValueError, TypeError
            For a model with other layers or of another dtype, or a tau outside its range; nothing is changed then.
        """
        where = "Model.soft_update"
        if not isinstance(source, InLoops):
            raise TypeError(message(where, f"source is {source!r}", "expected a stoop.Model", "give another model"))
        if source._dtype != self._dtype:
            given, expected = f"source is of {source._dtype}", f"expected {self._dtype}"
            raise TypeError(message(where, given, expected, "make one as a copy of the other"))
        self._core.soft_update(source._core, real(where, "tau", tau, FRACTION, hint="0.005 is usual, 1 copies"))
