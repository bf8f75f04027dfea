"""Training by mini-batches: scikit-learn's epochs, its rates and the ways in which they end, in the core's fit."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning

from stoop._config import as_config
from stoop._console import say
from stoop._core import NonFiniteLossError
from stoop._errors import message
from stoop._fit import FitOptions
from stoop._loop import FitLoop, checked_callbacks
from stoop._repeats import different_rows
from stoop.history import History
from stoop.model import Model
from stoop.optimizers import SGD, Adam, FullBatchOptimizer, Optimizer
from stoop.schedules import Custom
from stoop.sklearn._network import Objective, weights_of
from stoop.sklearn._rows import dense, is_in_parts, part_rows, parts
from stoop.trainer import Trainer

Array = npt.NDArray[Any]

_MOST_DENSE = 1 << 31  # bytes of a sparse X that becomes dense at once
CALLER = 6  # frames from here to the line that called `fit`, scikit-learn's wrapper of it among them


@dataclass
class Samples:
    """What is trained on, or validated with: rows of X, targets as the core takes them, weights or None."""

    X: Any
    y: Array
    weights: Array | None = None
    scale: float = 1.0  # what the weights were divided by
    repeats: int = 0  # rows that were left out because they repeat others

    def __len__(self) -> int:
        return int(self.X.shape[0])

    @property
    def mean_weight(self) -> float:
        """The mean of the weights, or 1: divided by it, they are numbers that float32 holds."""
        return 1.0 if self.weights is None else float(self.weights.mean()) or 1.0

    def merged(self) -> Samples:
        """Return each different row once, with the sum of its weights, if weights differ or rows are repeated.

        For samples that are one batch the objective is the same, and a weight of 2 is the same as the row twice, to
        the last bit.
        """
        first, weights = different_rows(self.X, self.y, self.weights)
        if len(first) == len(self) and (weights == weights[0]).all():
            return self
        return Samples(self.X[first], self.y[first], weights, repeats=len(self) - len(first))


class Rate:
    """The learning rate of scikit-learn's optimizers from epoch to epoch, asked by the core at the start of each."""

    def __init__(self, estimator: Any) -> None:
        self.learning_rate = float(estimator.learning_rate_init)
        self.first = self.learning_rate
        is_sgd = estimator.solver == "sgd" and estimator.optimizer is None
        self.schedule = estimator.learning_rate if is_sgd else "constant"
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


def arguments_of_trainer(estimator: Any) -> dict[str, Any]:
    """Return the arguments that a trainer keeps, though scikit-learn's rules let them change between calls."""
    names = ("ema", "loss", "label_smoothing", "optimizer", "precision")
    return {name: getattr(estimator, name) for name in names if hasattr(estimator, name)}


def refuse_other_arguments(estimator: Any, before: Mapping[str, Any]) -> None:
    """Refuse arguments that partial_fit cannot follow, since its trainer goes on with those of before."""
    for name, value in arguments_of_trainer(estimator).items():
        if name in before and value is not before[name] and value != before[name]:
            given = f"{name}={value!r} for a network that is trained with {name}={before[name]!r}"
            hint = "set it back, or call fit to train another network"
            raise ValueError(message(f"{type(estimator).__name__}.partial_fit", given, "expected the same", hint))


def _optimizer(estimator: Any, scale: float) -> Optimizer:
    if estimator.optimizer is not None:
        return as_config(Optimizer, type(estimator).__name__, estimator.optimizer)
    rate = estimator._optimizer
    if estimator.solver == "adam":  # its steps do not depend on the scale of the gradient
        eps = estimator.epsilon / scale
        return Adam(rate.learning_rate, beta1=estimator.beta_1, beta2=estimator.beta_2, eps=eps, eps_hat=True)
    rate.scale = scale
    changes = rate.schedule != "constant"
    momentum = float(estimator.momentum)
    return SGD(
        Custom(rate, per="epoch") if changes else rate(0),
        momentum=momentum,
        nesterov=bool(estimator.nesterovs_momentum) and momentum > 0,
        rate_in_velocity=True,
    )


class _EpochLoop(FitLoop):
    """Tells the estimator of each epoch after the callbacks."""

    after: Callable[[float], bool] | None

    def epoch(self) -> bool:
        goes_on = super().epoch()
        return (self.after is None or self.after(self.history["loss"][-1])) and goes_on


def fit_epochs(
    trainer: Trainer,
    samples: Samples,
    options: Mapping[str, Any],
    callbacks: list[Any],
    after: Callable[[float], bool] | None = None,
) -> History:
    """Train in the core; `after` gets the loss of each epoch and says whether to go on."""
    history = History(trainer._history_keys((), validated=False))
    given: dict[str, Any] = {"last_batch": "keep", "validation_freq": 1, "max_time": None, "resume": None}
    settings = FitOptions(**options, **given, verbose=0, rollback=True, history=history, loop=None)
    loop = _EpochLoop(trainer, history, callbacks)
    loop.after = after
    settings.attach(loop)
    return trainer._run((samples.X, samples.y, samples.weights), None, settings)


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
        self._best: dict[str, Array] | None = None  # what predicts best, by the held-out samples
        if held_out is not None and not once and np.isfinite(estimator.best_validation_score_):
            self._best = trainer.model.state_dict()  # an earlier fit has ended with it
        self._constant = estimator._constant_loss(samples)
        weights = samples.weights
        self._weight = float(len(samples) if weights is None else weights.sum())
        self._is_full = isinstance(trainer.optimizer, FullBatchOptimizer)
        self.stopped = False

    def run(self, batch_size: int) -> None:
        """Train until scikit-learn's rules end it; Ctrl-C keeps what was reached."""
        estimator = self._estimator
        estimator.n_iter_ = 0
        self._trainer.l2 = estimator.alpha / (self._objective.gradient * self._samples.scale)
        if self._is_full:
            batch_size = len(self._samples)
            self._trainer.l2 /= self._weight
        self._batch_size = batch_size
        self._penalty = self._mean_penalty()
        try:
            self._train(batch_size)
            if not (self._once or self.stopped) and estimator.n_iter_ == estimator.max_iter:
                warnings.warn(
                    f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter}) reached and the optimization "
                    "hasn't converged yet.",
                    ConvergenceWarning,
                    stacklevel=CALLER,
                )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=CALLER)
        except NonFiniteLossError as error:
            if self._held_out is None:
                raise
            estimator.validation_scores_.append(np.nan)
            text = f"Training diverged and ended; what was best until then is kept. {error}"
            warnings.warn(text, ConvergenceWarning, stacklevel=CALLER)
        finally:
            estimator._show_average()
            estimator._remember_average()
            if self._best is not None and estimator.restore_best:
                self._trainer.model.load_state_dict(self._best)

    def _train(self, batch_size: int) -> None:
        estimator, samples = self._estimator, self._samples
        epochs = 1 if self._once else estimator.max_iter
        callbacks = checked_callbacks(estimator.callbacks)
        if is_in_parts(samples.X) and (self._is_full or self._counts_epochs(callbacks)):
            samples = replace(samples, X=dense(samples.X))  # which takes all of them at once
        if not is_in_parts(samples.X):
            options = self._options(epochs, batch_size, shuffle=bool(estimator.shuffle))
            fit_epochs(self._trainer, samples, options, callbacks, self._end_epoch)
            return
        for _ in range(epochs):
            if not self._end_epoch(self._train_parts(batch_size)):
                break

    def _counts_epochs(self, callbacks: list[Any]) -> bool:
        """Return whether somebody is told of each epoch, or counts them, for whom a part must not be one."""
        estimator, X = self._estimator, self._samples.X
        rate = self._trainer.optimizer.learning_rate
        if not callbacks and (estimator.optimizer is None or isinstance(rate, int | float)):
            return False
        size = X.shape[0] * X.shape[1] * self._trainer.model.dtype.itemsize
        if size > _MOST_DENSE:
            given = f"a sparse X that takes {size / 2**30:.1f} GiB as an array, with callbacks or a schedule"
            expected = f"expected at most {_MOST_DENSE / 2**30:g} GiB, since a part of it is no epoch"
            hint = "leave callbacks and the schedule out, or fit fewer rows"
            raise ValueError(message(f"{type(estimator).__name__}.fit", given, expected, hint))
        return True

    def _train_parts(self, batch_size: int) -> float:
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
            if weights is not None and not weights.any() and self._weight > 0.0:
                continue  # there is nothing to learn from
            dense_part = Samples(dense(samples.X, chosen), samples.y[chosen], weights)
            options = self._options(1, batch_size, shuffle=False)
            history = fit_epochs(self._trainer, dense_part, options, [])
            weight = float(len(chosen) if weights is None else weights.sum())
            loss_sum += history["loss"][0] * weight
            weight_sum += weight
        return loss_sum / weight_sum

    def _options(self, epochs: int, batch_size: int, *, shuffle: bool) -> dict[str, Any]:
        return {
            "epochs": epochs,
            "batch_size": batch_size,
            "shuffle": shuffle,
            "penalty_per_sample": not self._is_full,
        }

    def _end_epoch(self, loss: float) -> bool:
        """Take in the loss of an epoch, and return whether to go on."""
        estimator = self._estimator
        estimator.n_iter_ += 1
        estimator.loss_ = loss * self._objective.value + self._constant + self._missing_penalty()
        estimator.t_ += len(self._samples) + self._samples.repeats
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

    def _missing_penalty(self) -> float:
        """Return the part of the penalty that the value of the objective leaves out, a mean of the epoch's ends."""
        part = 1.0 - self._objective.value / self._objective.gradient
        if part == 0.0:
            return 0.0
        before, self._penalty = self._penalty, self._mean_penalty()
        return part * 0.5 * (before + self._penalty)

    def _mean_penalty(self) -> float:
        """Return the penalty that the weights have, as the mean over the batches of an epoch."""
        samples, model = self._samples, self._trainer.model
        squares = sum(float(np.vdot(weight, weight)) for weight in weights_of(model)[0])
        batches = -(-len(samples) // self._batch_size)
        return 0.5 * self._estimator.alpha * squares * batches / (self._weight * samples.scale)

    def _count(self) -> None:
        """Count the epochs without a better score, or without a lower loss."""
        estimator = self._estimator
        if estimator.best_loss_ is not None:  # without early stopping
            worse = estimator.loss_ > estimator.best_loss_ - estimator.tol
            estimator.best_loss_ = min(estimator.best_loss_, estimator.loss_)
        if self._held_out is not None:
            best = estimator.best_validation_score_
            score = self._validate(self._held_out)
            if estimator.early_stopping:
                worse = score < best + estimator.tol
        estimator._no_improvement_count = estimator._no_improvement_count + 1 if worse else 0

    def _validate(self, held_out: Samples) -> float:
        estimator = self._estimator
        estimator._show_average()
        score: float = estimator._score_outputs(estimator._outputs(held_out.X), held_out)
        if score > estimator.best_validation_score_:
            estimator.best_validation_score_ = score
            self._keep_best()
        estimator._hide_average()
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
