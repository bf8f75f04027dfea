"""Search of hyper-parameters: many networks at once, on the scales that parameters have.

A space is a dict of parameters by name, and ``build(params)`` makes a trainer of their values::

    space = {
        "learning_rate": search.log_uniform(1e-4, 1e-1),
        "beta1": search.one_minus_log_uniform(0.9, 0.999),
        "units": search.choice([32, 64]),
        "depth": search.integers(1, 3),
        "rate": search.uniform(0, 0.5),
    }
    result = search.run(build, space, X, y, validation_data=(X_dev, y_dev), trials=64)
"""

from stoop.search._result import SearchResult
from stoop.search._run import run
from stoop.search._spaces import (
    Parameter,
    choice,
    integers,
    log_integers,
    log_uniform,
    one_minus_log_uniform,
    uniform,
)

__all__ = [
    "Parameter",
    "SearchResult",
    "choice",
    "integers",
    "log_integers",
    "log_uniform",
    "one_minus_log_uniform",
    "run",
    "uniform",
]
