"""Stoop's engines."""

from __future__ import annotations

from typing import Any

import numpy as np
from engine_sklearn import columns
from engines import Request
from sklearn.model_selection import train_test_split

import stoop


class Plain:
    """A network of two hidden layers of 256 with dropout on scaled numbers and one column per category."""

    def __init__(self, request: Request) -> None:
        self.request = request

    def fit(self, X: Any, y: Any) -> Plain:
        """Train until the loss of 15 % of the rows has not fallen for 16 epochs, and take the best epoch."""
        self.columns = columns()
        regression = self.request.regression
        rows = _dense(self.columns.fit_transform(X))
        if regression:
            self.middle, self.scale = y.mean(), y.std() or 1.0
            outputs, targets = 1, ((y - self.middle) / self.scale).astype(np.float32)
        else:
            self.classes_, targets = np.unique(y, return_inverse=True)
            outputs = len(self.classes_)
        split = {"test_size": 0.15, "random_state": self.request.seed, "stratify": None if regression else targets}
        X_train, X_dev, y_train, y_dev = train_test_split(rows, targets, **split)
        layers: list[Any] = []
        for _ in range(2):
            layers += [stoop.Dense(256, activation="relu"), stoop.Dropout(0.1)]
        self.model = stoop.Model([*layers, stoop.Dense(outputs)], input_dim=rows.shape[1], seed=self.request.seed)
        trainer = stoop.Trainer(
            self.model,
            "mse" if regression else "softmax_cross_entropy",
            stoop.optimizers.AdamW(2e-3, weight_decay=3e-4),
            num_threads=self.request.threads,
            seed=self.request.seed,
        )
        stop = stoop.callbacks.EarlyStopping(patience=16)
        trainer.fit(
            X_train, y_train, 200, 256, (X_dev, y_dev), callbacks=[stop], verbose=0, metrics=(),
            max_time=self.request.limit,
        )  # fmt: skip
        return self

    def predict(self, X: Any) -> Any:
        """Return values."""
        return self.model.predict(_dense(self.columns.transform(X)))[:, 0] * self.scale + self.middle

    def predict_proba(self, X: Any) -> Any:
        """Return probabilities."""
        return self.model.predict_proba(_dense(self.columns.transform(X)))


def _dense(rows: Any) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(rows.toarray() if hasattr(rows, "toarray") else rows, np.float32)
