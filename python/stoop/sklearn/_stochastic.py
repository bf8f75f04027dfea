"""Training by mini-batches: scikit-learn's epochs, its rates and the ways in which they end, in the core's fit."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning

from stoop._config import as_config
from stoop._console import say
from stoop._fit import FitOptions
from stoop._loop import FitLoop, checked_callbacks
from stoop.history import History
from stoop.model import Model
from stoop.optimizers import SGD, Adam, Optimizer
from stoop.schedules import Custom
from stoop.sklearn._network import Objective
from stoop.sklearn._rows import dense, is_in_parts, part_rows, parts
from stoop.trainer import Trainer

Array = npt.NDArray[Any]


@dataclass
class Samples:
    """What is trained on, or validated with: rows of X, targets as the core takes them, weights or None."""

    X: Any
    y: Array
    weights: Array | None = None

    def __len__(self) -> int:
        return int(self.X.shape[0])


class Rate:
    """The learning rate of scikit-learn's optimizers from epoch to epoch, asked by the core at the start of each."""

    def __init__(self, estimator: Any) -> None:
        self.learning_rate = float(estimator.learning_rate_init)
        self.first = self.learning_rate
        self.schedule = estimator.learning_rate if estimator.solver == "sgd" else "constant"
        self.power = estimator.power_t
        self.scale = 1.0  # the core's rate divided by scikit-learn's

    def __call__(self, epoch: int) -> float:  # noqa: ARG002  the rate follows what was trained, not the count
        return self.learning_rate * self.scale

    def end_epoch(self, samples: int) -> None:
        """Follow the samples that were seen."""
        if self.schedule == "invscaling":
            self.learning_rate = self.first / (samples + 1) ** self.power

    def stops(self, reason: str, verbose: Any) -> bool:
        """Return whether training ends where nothing gets better; if not, the rate is lower from now on."""
        if self.schedule != "adaptive":
            end = "Stopping."
        elif self.learning_rate <= 1e-6:
            end = "Learning rate too small. Stopping."
        else:
            self.learning_rate /= 5.0
            end = f"Setting learning rate to {self.learning_rate:f}"
        if verbose:
            say(f"{reason} {end}")
        return not end.startswith("Setting")


def make_trainer(estimator: Any, model: Model, objective: Objective, seed: int) -> Trainer:
    """Return a trainer whose updates are those of scikit-learn's solver, or of the estimator's own optimizer."""
    return Trainer(
        model,
        loss=objective.loss,
        optimizer=_optimizer(estimator, objective.gradient),
        ema=estimator.ema,
        precision=estimator.precision,
        num_threads=estimator.num_threads,
        seed=seed,
    )


def _optimizer(estimator: Any, scale: float) -> Optimizer:
    if estimator.optimizer is not None:
        optimizer: Optimizer = as_config(Optimizer, type(estimator).__name__, estimator.optimizer)
        return replace(optimizer)  # type: ignore[type-var]  a new one, without state
    rate = estimator._optimizer
    if estimator.solver == "adam":  # its steps do not depend on the scale of the gradient
        eps = estimator.epsilon / scale
        return Adam(rate.learning_rate, beta1=estimator.beta_1, beta2=estimator.beta_2, eps=eps)
    rate.scale = scale
    changes = rate.schedule != "constant"
    momentum = float(estimator.momentum)
    return SGD(
        Custom(rate, per="epoch") if changes else rate(0),
        momentum=momentum,
        nesterov=bool(estimator.nesterovs_momentum) and momentum > 0,
    )


class _EpochLoop(FitLoop):
    """Tells the estimator of each epoch after the callbacks."""

    after: Callable[[float], bool]

    def epoch(self) -> bool:
        goes_on = super().epoch()
        return self.after(self.history["loss"][-1]) and goes_on


def fit_epochs(
    trainer: Trainer,
    samples: Samples,
    options: dict[str, Any],
    callbacks: list[Any],
    after: Callable[[float], bool],
) -> None:
    """Train in the core; `after` gets the loss of each epoch and says whether to go on."""
    history = History(trainer._history_keys((), validated=False))
    given = {"last_batch": "keep", "verbose": 0, "validation_freq": 1, "max_time": None, "resume": None}
    settings = FitOptions(**options, **given, rollback=True, history=history, loop=None)
    loop = _EpochLoop(trainer, history, callbacks)
    loop.after = after
    settings.attach(loop)
    trainer._run((samples.X, samples.y, samples.weights), None, settings)


class Stochastic:
    """One call of `fit` or `partial_fit` of an estimator with mini-batches.

    Parameters
    ----------
    estimator : estimator
        Gets `loss_curve_` and its kin epoch by epoch.
    trainer : Trainer
    objective : Objective
    samples : Samples
    held_out : Samples or None
        What is validated with after each epoch.
    once : bool
        One epoch, as in `partial_fit`.
    """

    def __init__(
        self,
        estimator: Any,
        trainer: Trainer,
        objective: Objective,
        samples: Samples,
        held_out: Samples | None,
        *,
        once: bool,
    ) -> None:
        self._estimator = estimator
        self._trainer = trainer
        self._objective = objective
        self._samples = samples
        self._held_out = held_out
        self._once = once
        self._best: dict[str, Array] | None = None
        self._constant = estimator._constant_loss(samples)
        self._penalty = 0.0
        self.stopped = False

    def run(self, batch_size: int) -> None:
        """Train until scikit-learn's rules end it; Ctrl-C keeps what was reached."""
        estimator = self._estimator
        estimator.n_iter_ = 0
        self._set_penalty(batch_size)
        try:
            self._train(batch_size)
            if not (self._once or self.stopped) and estimator.n_iter_ == estimator.max_iter:
                warnings.warn(
                    f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter}) reached and the optimization "
                    "hasn't converged yet.",
                    ConvergenceWarning,
                    stacklevel=5,
                )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=5)
        finally:
            estimator._show_average()
            if self._best is not None and estimator.restore_best:
                self._trainer.model.load_state_dict(self._best)

    def _train(self, batch_size: int) -> None:
        estimator, samples = self._estimator, self._samples
        epochs = 1 if self._once else estimator.max_iter
        callbacks = checked_callbacks(estimator.callbacks)
        if not is_in_parts(samples.X):
            options = {"epochs": epochs, "batch_size": batch_size, "shuffle": bool(estimator.shuffle)}
            fit_epochs(self._trainer, samples, options, callbacks, self._end_epoch)
            return
        for _ in range(epochs):
            if not self._end_epoch(self._train_parts(batch_size, callbacks)):
                break

    def _train_parts(self, batch_size: int, callbacks: list[Any]) -> float:
        """Train on all rows of a sparse X once, part by part, and return the mean loss."""
        estimator, samples = self._estimator, self._samples
        total = len(samples)
        order = np.arange(total)
        if estimator.shuffle:
            estimator._random_state.shuffle(order)
        rows = part_rows(samples.X, self._trainer.model.dtype, batch_size)
        loss_sum = weight_sum = 0.0
        for part in parts(total, rows, least=2 if estimator.batch_norm else 1):
            chosen = order[part]
            weights = None if samples.weights is None else samples.weights[chosen]
            dense_part = Samples(dense(samples.X, chosen), samples.y[chosen], weights)
            losses: list[float] = []
            options = {"epochs": 1, "batch_size": batch_size, "shuffle": False}
            fit_epochs(self._trainer, dense_part, options, callbacks, lambda loss: not losses.append(loss))
            weight = float(len(chosen) if weights is None else weights.sum())
            loss_sum += losses[0] * weight
            weight_sum += weight
        return loss_sum / weight_sum

    def _set_penalty(self, batch_size: int) -> None:
        """scikit-learn divides alpha by the weight of the batch."""
        weights = self._samples.weights
        mean = 1.0 if weights is None else float(weights.mean())
        self._trainer.l2 = self._estimator.alpha / (self._objective.gradient * batch_size * (mean or 1.0))

    def _end_epoch(self, loss: float) -> bool:
        """Take in the loss of an epoch, and return whether to go on."""
        estimator = self._estimator
        estimator.n_iter_ += 1
        estimator.loss_ = loss * self._objective.value + self._constant
        estimator.t_ += len(self._samples)
        estimator.loss_curve_.append(estimator.loss_)
        if estimator.verbose:
            say(f"Iteration {estimator.n_iter_}, loss = {estimator.loss_:.8f}")
        self._count()
        estimator._optimizer.end_epoch(estimator.t_)
        if estimator._no_improvement_count > estimator.n_iter_no_change:
            what = "Validation score" if estimator.early_stopping else "Training loss"
            reason = (
                f"{what} did not improve more than tol={estimator.tol:f} for {estimator.n_iter_no_change} "
                "consecutive epochs."
            )
            if estimator._optimizer.stops(reason, estimator.verbose):
                self.stopped = True
                return False
            estimator._no_improvement_count = 0
        return True

    def _count(self) -> None:
        """Count the epochs without a better score, or without a lower loss."""
        estimator = self._estimator
        if estimator.best_loss_ is not None:  # without early stopping
            worse = estimator.loss_ > estimator.best_loss_ - estimator.tol
            estimator.best_loss_ = min(estimator.best_loss_, estimator.loss_)
        if self._held_out is not None:
            score = self._validate(self._held_out)
            if estimator.early_stopping:
                worse = score < estimator.best_validation_score_ + estimator.tol
            if score > estimator.best_validation_score_:
                estimator.best_validation_score_ = score
                self._keep_best()
        estimator._no_improvement_count = estimator._no_improvement_count + 1 if worse else 0

    def _validate(self, held_out: Samples) -> float:
        estimator = self._estimator
        estimator._show_average()
        score: float = estimator._score_outputs(estimator._outputs(held_out.X), held_out)
        estimator.validation_scores_.append(score)
        if estimator.verbose:
            say(f"Validation score: {score:f}")
        return score

    def _keep_best(self) -> None:
        """Copy all that predicts, into the arrays that are there."""
        model = self._trainer.model
        if self._best is None:
            self._best = model.state_dict()
        else:
            for name, view in {**model.parameters(), **model.buffers()}.items():
                self._best[name][...] = view
