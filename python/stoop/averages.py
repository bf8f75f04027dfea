"""The exponentially weighted average of a sequence."""

import numpy as np
import numpy.typing as npt

from stoop import _core
from stoop._arrays import real_numbers
from stoop._checks import BELOW_ONE, flag, real
from stoop._errors import message


def ewa(x: npt.ArrayLike, beta: float, bias_correction: bool = True) -> npt.NDArray[np.float64]:
    """Return the exponentially weighted average ``v_t = beta*v_{t-1} + (1-beta)*x_t``, v_0 = 0, t = 1, 2, ...

    It averages over about ``1 / (1-beta)`` values. The bias correction divides v_t by ``1 - beta**t``; Kingma & Ba
    2015, section 3. It is computed so that a constant sequence stays exactly as it is.

    Parameters
    ----------
    x : array_like, (n,) or (n, ...)
        The sequence along the first axis.
    beta : float
        In [0, 1).
    bias_correction : bool, default True

    Returns
    -------
    ndarray
        Of the shape of x, float64.

    Raises
    ------
    ValueError, TypeError
        For values that are no real numbers, a single number, or beta outside its range.
    """
    array = real_numbers("ewa", x, "x")
    if array.ndim == 0:
        raise ValueError(message("ewa", "x is a single number", "expected a sequence", "give an array (n,)"))
    columns = int(np.prod(array.shape[1:]))
    rows = np.ascontiguousarray(array, np.float64).reshape(array.shape[0], columns)
    beta = real("ewa", "beta", beta, BELOW_ONE)
    return _core.ewa(rows, beta, flag("ewa", "bias_correction", bias_correction)).reshape(array.shape)
