"""Training on all samples at once, by SciPy's L-BFGS-B as in scikit-learn, with loss and gradient from the core."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from sklearn.utils.optimize import _check_optimize_result

from stoop._console import say
from stoop.model import Model
from stoop.sklearn._network import Objective, weight_names
from stoop.sklearn._rows import dense, is_in_parts, part_rows, parts
from stoop.sklearn._stochastic import CALLER, Samples
from stoop.trainer import Trainer

Array = npt.NDArray[Any]


class FullBatch:
    """Loss and gradient of all samples as functions of one vector: first the weights of all layers, then the rest.

    Parameters
    ----------
    estimator : estimator
    model : Model
        Of float64. Its parameters are those of the newest vector.
    objective : Objective
    samples : Samples
    """

    def __init__(self, estimator: Any, model: Model, objective: Objective, samples: Samples) -> None:
        self._samples = samples
        self._objective = objective
        self._weight = float(len(samples) if samples.weights is None else samples.weights.sum())
        self._alpha = float(estimator.alpha) / (self._weight * samples.scale)
        self._trainer = Trainer(model, loss=objective.loss, num_threads=estimator.num_threads)
        self._constant = estimator._constant_loss(samples)
        views, weights = model.parameters(), weight_names(model)
        self._names = [*weights, *(name for name in views if name not in weights)]
        self._views = [views[name] for name in self._names]
        self._weights = sum(views[name].size for name in weights)  # elements with a penalty, which come first

    def vector(self) -> Array:
        """Return the parameters."""
        return np.concatenate([view.ravel() for view in self._views])

    def set_vector(self, vector: Array) -> None:
        """Set the parameters."""
        start = 0
        for view in self._views:
            view[...] = vector[start : start + view.size].reshape(view.shape)
            start += view.size

    def __call__(self, vector: Array) -> tuple[float, Array]:
        """Return loss and gradient, both as scikit-learn computes them."""
        self.set_vector(vector)
        loss, gradients = self._data()
        gradient = self._objective.gradient * np.concatenate([gradient.ravel() for gradient in gradients])
        weights = vector[: self._weights]
        gradient[: self._weights] += self._alpha * weights
        penalty = 0.5 * self._alpha * float(weights @ weights)
        return self._objective.value * loss + self._constant + penalty, gradient

    def _data(self) -> tuple[float, list[Array]]:
        """Return the mean loss and its gradients, without the penalty."""
        samples = self._samples
        if not is_in_parts(samples.X):
            loss, gradients = self._trainer.loss_and_grad(samples.X, samples.y, sample_weight=samples.weights)
            return loss, [gradients[name] for name in self._names]
        total, sums = 0.0, [np.zeros_like(view) for view in self._views]
        for part in parts(len(samples), part_rows(samples.X, np.float64)):
            weights = None if samples.weights is None else samples.weights[part]
            share = float(part.stop - part.start if weights is None else weights.sum()) / self._weight
            if share == 0:
                continue
            loss, gradients = self._trainer.loss_and_grad(
                dense(samples.X, part), samples.y[part], sample_weight=weights
            )
            total += share * loss
            for into, name in zip(sums, self._names):
                into += share * gradients[name]
        return total, sums


def fit_lbfgs(estimator: Any, model: Model, objective: Objective, samples: Samples) -> None:
    """Minimise, and set `n_iter_` and `loss_`; Ctrl-C keeps the newest iteration."""
    problem = FullBatch(estimator, model, objective, samples)
    start = newest = problem.vector()
    estimator.n_iter_ = 0

    def note(intermediate_result: Any) -> None:
        nonlocal newest
        newest, estimator.loss_ = np.array(intermediate_result.x), float(intermediate_result.fun)
        estimator.n_iter_ += 1
        if estimator.verbose:
            say(f"Iteration {estimator.n_iter_}, loss = {estimator.loss_:.8f}")

    options = {"maxfun": estimator.max_fun, "maxiter": estimator.max_iter, "gtol": estimator.tol}
    try:
        result = minimize(problem, start, method="L-BFGS-B", jac=True, callback=note, options=options)
        estimator.n_iter_ = _check_optimize_result("lbfgs", result, estimator.max_iter)
        newest, estimator.loss_ = result.x, float(result.fun)
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=CALLER)
    problem.set_vector(newest)
