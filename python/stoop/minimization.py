"""Minimising any cost of NumPy arrays with the optimizers that train networks."""

import json
import math
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from stoop import _core
from stoop._array_checks import Extents, check_gradients, check_parameters
from stoop._arrays import to_numpy
from stoop._checks import integer
from stoop._config import as_config
from stoop._core import NonFiniteLossError
from stoop._errors import message
from stoop.optimizers import FullBatchOptimizer, Optimizer
from stoop.schedules import python_rates

_WHERE = "minimize"
Parameters = npt.NDArray[Any] | Sequence[npt.NDArray[Any]]


def minimize(cost: Any, params: Parameters, optimizer: str | Optimizer, steps: int) -> npt.NDArray[np.float64]:
    """Make `steps` updates of `params`, in place, by the gradient that `cost` returns.

    Parameters
    ----------
    cost : callable
        ``cost(params) -> (value, gradients)``: a number, and one gradient for each array of params, of its shape.
    params : list of ndarray, or one ndarray
        Writable, contiguous, float32 or float64, no two sharing memory. Handed to `cost` as they are given; for a
        single array `cost` may return the gradient itself in place of a list.
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
        If the cost or its gradient becomes NaN or infinite. The params are those of that cost, without an update by
        it; LBFGS has not gone there, unless they were the first.

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
    chosen = as_config(Optimizer, _WHERE, optimizer)
    if not callable(cost):
        expected = "expected a function of params"
        raise TypeError(message(_WHERE, f"cost is {cost!r}", expected, "return (value, [gradients]) from it"))
    count = integer(_WHERE, "steps", steps, 1)
    views = check_parameters(_WHERE, [params] if isinstance(params, np.ndarray) else params)
    if isinstance(chosen, FullBatchOptimizer):
        return _iterate(cost, params, views, chosen, count)
    arrays = _listed(params)
    updater = chosen._updater_of(_WHERE, arrays, views)
    values = np.empty(count)
    for step in range(count):
        values[step], gradients = _evaluate(cost, params)
        if not math.isfinite(values[step]):
            _refuse(f"the cost is {float(values[step])}", step)
        checked = check_gradients(_WHERE, arrays, gradients)
        for position, gradient in enumerate(checked):
            if not np.isfinite(gradient).all():
                _refuse(f"gradient {position} is not finite", step)
        updater.update(_WHERE, views, checked)
    return values


def _listed(params: Any) -> list[npt.NDArray[Any]]:
    """Return the arrays in a list of its own, which stays as it is whatever `cost` does to that of the caller."""
    return [params] if isinstance(params, np.ndarray) else list(params)


def _iterate(
    cost: Any, params: Any, views: list[npt.NDArray[Any]], optimizer: Optimizer, steps: int
) -> npt.NDArray[np.float64]:
    """Minimise over all arrays as one float64 vector; `params`, whose memory the views share, follow it."""
    arrays = _listed(params)
    Extents(_WHERE, views)
    point = np.concatenate([view.ravel() for view in views], dtype=np.float64)
    cuts = np.cumsum([view.size for view in views])[:-1]

    def put() -> None:
        for view, part in zip(views, np.split(point, cuts)):
            view[...] = part.reshape(view.shape)

    def flat_cost(gradient: npt.NDArray[np.float64]) -> float:
        put()
        value, gradients = _evaluate(cost, params)
        gradient[...] = np.concatenate([grad.ravel() for grad in check_gradients(_WHERE, arrays, gradients)])
        return value

    try:
        values = _core.minimize(
            json.dumps(optimizer.to_config()), python_rates(optimizer.learning_rate), point, flat_cost, steps
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
        raise TypeError(message(_WHERE, given, "expected (value, [gradients])", "return both")) from None
    if isinstance(params, np.ndarray) and not isinstance(gradients, list | tuple):
        gradients = [gradients]
    return value, gradients


def _scalar(value: Any) -> float:
    array = to_numpy(_WHERE, value, "the cost")
    if array.size != 1:
        raise ValueError(message(_WHERE, f"value of shape {array.shape}", "expected one number", "sum it"))
    return float(array.reshape(()))


def _refuse(given: str, step: int) -> NoReturn:
    cause = "the learning rate is probably too large: lower it" if step else "the cost of the first params: change them"
    error = NonFiniteLossError(message(_WHERE, f"{given} at step {step}", "expected finite numbers", cause))
    error.step = step
    error.epoch = 0
    error.cause = cause
    raise error
