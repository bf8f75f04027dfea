"""Minimising any cost of NumPy arrays with the optimizers that train networks."""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop import _core
from stoop._array_step import check_gradients, check_parameters
from stoop._checks import integer
from stoop._core import NonFiniteLossError
from stoop._errors import message
from stoop.optimizers import FullBatchOptimizer, Optimizer, as_optimizer
from stoop.schedules import python_rate

Parameters = npt.NDArray[Any] | Sequence[npt.NDArray[Any]]


def minimize(cost: Any, params: Parameters, optimizer: str | Optimizer, steps: int) -> npt.NDArray[np.float64]:
    """Make `steps` updates of `params`, in place, by the gradient that `cost` returns.

    Parameters
    ----------
    cost : callable
        ``cost(params) -> (value, gradients)``: a number, and one gradient for each array of params, of its shape.
    params : list of ndarray, or one ndarray
        Writable, contiguous, float32 or float64. Handed to `cost` as they are given; for a single array `cost` may
        return the gradient itself in place of a list.
    optimizer : str or optimizer
        A name or an object of `stoop.optimizers`; its state for these arrays goes on in another call. With LBFGS,
        which starts anew in every call, a step is an iteration with several calls of `cost`. NewtonCG is refused: it
        needs Hessian-vector products.
    steps : int
        Number of updates, >= 1.

    Returns
    -------
    ndarray, (steps,)
        The cost before each update, float64.

    Raises
    ------
    ValueError, TypeError
        For arrays or gradients that cannot be used, see ``optimizer.step``.
    NonFiniteLossError
        If the cost becomes NaN or infinite; the params are those of that cost.

    Examples
    --------
    The minimum of ``w**2 - 10*w + 25`` is at w = 5:

    >>> import numpy as np
    >>> import stoop
    >>> coefficients = np.array([1.0, -10.0, 25.0])
    >>> def cost(params):
    ...     (w,) = params
    ...     a, b, c = coefficients
    ...     return a * w**2 + b * w + c, [2 * a * w + b]
    >>> w = np.array(0.0)
    >>> history = stoop.minimize(cost, [w], stoop.optimizers.SGD(learning_rate=0.1), steps=200)
    >>> round(float(w), 6)
    5.0
    """
    chosen = as_optimizer("minimize", optimizer)
    if not callable(cost):
        expected = "expected a function of params"
        raise TypeError(message("minimize", f"cost is {cost!r}", expected, "return (value, [gradients]) from it"))
    count = integer("minimize", "steps", steps, 1)
    arrays = [params] if isinstance(params, np.ndarray) else params
    views = check_parameters(arrays)
    if isinstance(chosen, FullBatchOptimizer):
        return _iterate(cost, params, views, chosen, count)
    values = np.empty(count)
    for step in range(count):
        values[step], gradients = _evaluate(cost, params)
        if not math.isfinite(values[step]):
            _refuse_value(float(values[step]), step)
        chosen.step(arrays, gradients)
    return values


def _iterate(
    cost: Any, params: Any, views: list[npt.NDArray[Any]], optimizer: Optimizer, steps: int
) -> npt.NDArray[np.float64]:
    """Minimise over all arrays as one float64 vector; `params`, whose memory the views share, follow it."""
    arrays = [params] if isinstance(params, np.ndarray) else params
    point = np.concatenate([view.ravel() for view in views], dtype=np.float64)
    cuts = np.cumsum([view.size for view in views])[:-1]

    def put() -> None:
        for view, part in zip(views, np.split(point, cuts)):
            view[...] = part.reshape(view.shape)

    def flat_cost(gradient: npt.NDArray[np.float64]) -> float:
        put()
        value, gradients = _evaluate(cost, params)
        gradient[...] = np.concatenate([grad.ravel() for grad in check_gradients(arrays, gradients)])
        return value

    try:
        values = _core.minimize(
            json.dumps(optimizer.to_config()), python_rate(optimizer.learning_rate), point, flat_cost, steps
        )
    finally:
        put()
    return np.array(values)


def _evaluate(cost: Any, params: Any) -> tuple[float, Any]:
    result = cost(params)
    try:
        value, gradients = result
        value = _scalar(value)
    except (TypeError, ValueError):
        given = f"cost returned {result!r}"
        raise TypeError(message("minimize", given, "expected (value, [gradients])", "return both")) from None
    if isinstance(params, np.ndarray) and not isinstance(gradients, list | tuple):
        gradients = [gradients]
    return value, gradients


def _scalar(value: Any) -> float:
    array = np.asarray(value)
    if array.size != 1:
        raise ValueError(message("minimize", f"value of shape {array.shape}", "expected one number", "sum it"))
    return float(array.reshape(()))


def _refuse_value(value: float, step: int) -> None:
    cause = "the learning rate is probably too large: lower it" if step else "the cost of the first params: change them"
    error = NonFiniteLossError(message("minimize", f"the cost is {value} at step {step}", "expected a number", cause))
    error.step = step
    error.cause = cause
    raise error
