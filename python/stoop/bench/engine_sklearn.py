"""scikit-learn's MLP: each call of partial_fit on the full array is one epoch of shuffled mini-batches."""

from __future__ import annotations

import numpy as np
import sklearn
from sklearn.neural_network import MLPClassifier, MLPRegressor

from stoop.bench.engine import Engine
from stoop.bench.workloads import MOMENTUM, Array, Workload


class SklearnEngine(Engine):
    """MLPClassifier or MLPRegressor."""

    @staticmethod
    def version() -> str:
        return f"scikit-learn {sklearn.__version__}"

    @staticmethod
    def missing(workload: Workload) -> str | None:
        if workload.batch_norm or workload.dropout > 0:
            return "scikit-learn has no batch-norm and no dropout"
        return None

    def __init__(self, workload: Workload, x: Array, y: Array, threads: int) -> None:
        del threads  # NumPy's BLAS follows the CPU affinity and OMP_NUM_THREADS
        self._x, self._y = x, y
        kind = MLPClassifier if workload.is_classification else MLPRegressor
        self._model = kind(
            hidden_layer_sizes=workload.widths[1:-1],
            activation=workload.activation,
            solver=workload.optimizer,
            alpha=0.0,
            batch_size=workload.batch_size,
            learning_rate_init=workload.learning_rate,
            momentum=MOMENTUM,
            nesterovs_momentum=False,
            random_state=0,
        )
        self._classes = {"classes": np.arange(workload.widths[-1])} if workload.is_classification else {}

    def run(self, epochs: int) -> None:
        for _ in range(epochs):
            self._model.partial_fit(self._x, self._y, **self._classes)

    def predict(self, x: Array) -> Array:
        if not self._classes:
            return np.asarray(self._model.predict(x))
        smallest = np.finfo(np.float32).tiny  # a probability that underflowed has no logarithm
        return np.asarray(np.log(np.maximum(self._model.predict_proba(x), smallest)))
