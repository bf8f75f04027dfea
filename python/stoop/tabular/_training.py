"""Which rows train and which choose the epoch, and the training itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._repeats import different_rows
from stoop._split import train_test_split
from stoop.callbacks import EarlyStopping
from stoop.model import Model
from stoop.optimizers import AdamW
from stoop.trainer import Trainer

FEW_ROWS = 100  # with fewer different rows all of them train, in one batch
MANY_ROWS = 2000  # with more nobody looks whether they are different
_UPDATES, _SMALLEST = 16, 32  # of an epoch; of a batch


@dataclass(frozen=True)
class Rows:
    """Encoded rows with targets and weights; None: each weighs 1."""

    X: npt.NDArray[Any]
    y: npt.NDArray[Any]
    weights: npt.NDArray[Any] | None

    def __len__(self) -> int:
        return len(self.X)

    def part(self, rows: Any) -> Rows:
        """Return some of them."""
        return Rows(self.X[rows], self.y[rows], None if self.weights is None else self.weights[rows])

    def merged(self) -> Rows | None:
        """Return each different row once, with the sum of its weights and in an order of their own; None if they are
        many.

        A row of weight 2 is then the same as the row twice, to the last bit.
        """
        first, weights = different_rows(self.X, self.y, self.weights)
        if len(first) >= FEW_ROWS:
            return None
        same = bool((weights == weights[0]).all())
        return Rows(self.X[first], self.y[first], None if same else weights)


def split(y: npt.NDArray[Any], fraction: float, seed: int, *, are_classes: bool) -> tuple[Any, Any]:
    """Return the numbers of the rows that train, and of those that choose the epoch, sorted.

    Classes are in proportion, unless there are more of them than rows that choose. A row that is alone in its class
    trains.
    """
    rows = np.arange(len(y))
    if fraction == 0.0:
        return rows, rows[:0]
    size = min(max(round(fraction * len(y)), 1), len(y) - 1)
    alone, stratify = rows[:0], None
    if are_classes:
        sizes = np.bincount(y)
        is_alone = sizes[y] == 1
        if (sizes > 1).sum() <= min(size, (~is_alone).sum() - size):
            alone, rows, stratify = rows[is_alone], rows[~is_alone], y[~is_alone]
    first, second, *_ = train_test_split(rows, rows, test_size=size, seed=seed, stratify=stratify)
    return np.sort(np.concatenate([first, alone])), np.sort(second)


@dataclass(frozen=True)
class Recipe:
    """How the network is trained, as the arguments of the estimators say."""

    learning_rate: float
    weight_decay: float
    batch_size: int
    epochs: int
    patience: int
    max_time: Any
    precision: str
    num_threads: int | None
    verbose: int

    def batch(self, rows: int) -> int:
        """Return the rows of an update: where there are few, an epoch has some updates all the same."""
        if rows < FEW_ROWS:
            return rows
        few: int = 2 ** int(np.log2(max(rows / _UPDATES, 1.0)))
        return min(self.batch_size, max(few, _SMALLEST))


def train(model: Model, loss: str, train: Rows, valid: Rows | None, recipe: Recipe, seed: int) -> tuple[Trainer, int]:
    """Train the model; return what did so, and the epoch whose parameters the model has."""
    optimizer = AdamW(recipe.learning_rate, weight_decay=recipe.weight_decay)
    precision, threads = recipe.precision, recipe.num_threads
    trainer = Trainer(model, loss, optimizer, seed=seed, precision=precision, num_threads=threads)
    stopping = EarlyStopping(patience=recipe.patience)
    validation: Any = None if valid is None else (valid.X, valid.y, valid.weights)
    trainer.fit(
        train.X,
        train.y,
        epochs=recipe.epochs,
        batch_size=recipe.batch(len(train)),
        validation_data=validation,
        sample_weight=train.weights,
        shuffle=len(train) >= FEW_ROWS,
        metrics=(),
        callbacks=() if valid is None else [stopping],
        verbose=recipe.verbose,
        max_time=recipe.max_time,
    )
    return trainer, stopping.best_epoch if stopping.best_epoch is not None else trainer.epoch
