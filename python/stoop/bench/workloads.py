"""The training tasks of the comparison as plain data, and the synthetic data they train on.

Every task is easy, so that proving that an engine learns it takes a fraction of the time to measure it. Part of the
labels is noise, so that the loss stays away from zero and no engine ends up computing with denormal gradients.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MOMENTUM = 0.9  # of every workload trained with SGD
LABEL_NOISE = 0.1  # share of the class labels drawn at random; standard deviation of the noise on regression targets
TEACHER_WIDTH = 32  # of the network that makes the regression targets
CLASS_DISTANCE = 6.0  # of the centres of two classes, typically, in standard deviations of the inputs around them
SHORT_EPOCH_FLOPS = 4e10  # of a shortened epoch: a few tenths of a second
SHORT_EPOCH_STEPS = 8  # of a shortened epoch, at least


@dataclass(frozen=True)
class Workload:
    """One network, loss and optimizer; a step is one update on `batch_size` samples."""

    name: str
    widths: tuple[int, ...]  # input, hidden layers, output
    batch_size: int
    steps_per_epoch: int
    activation: Literal["relu", "tanh"]
    loss: Literal["softmax_cross_entropy", "mse"]
    optimizer: Literal["sgd", "adam"]
    learning_rate: float
    batch_norm: bool = False
    dropout: float = 0.0
    check_epochs: int = 1  # at most this many until the loss has fallen by the margin that is asked for

    @property
    def samples(self) -> int:
        """The number of samples of an epoch."""
        return self.batch_size * self.steps_per_epoch

    @property
    def is_classification(self) -> bool:
        """Return whether the targets are classes."""
        return self.loss == "softmax_cross_entropy"

    @property
    def flops_per_step(self) -> int:
        """FLOPs of the matrix products alone: forward, weight gradient and, but for the first layer, input gradient."""
        layers = list(zip(self.widths[:-1], self.widths[1:], strict=True))
        products = 3 * sum(a * b for a, b in layers) - layers[0][0] * layers[0][1]
        return 2 * self.batch_size * products

    def shortened(self) -> Workload:
        """Return the same steps on fewer samples: an epoch, the least that can be timed, takes a shorter time."""
        enough = max(SHORT_EPOCH_STEPS, round(SHORT_EPOCH_FLOPS / self.flops_per_step))
        steps = min(self.steps_per_epoch, enough)
        return replace(self, steps_per_epoch=steps, check_epochs=self.check_epochs * -(-self.steps_per_epoch // steps))


_WORKLOADS = (
    Workload("rl_tiny", (8, 64, 64, 4), 64, 512, "tanh", "mse", "adam", 1e-3, check_epochs=2),
    Workload(
        "letter", (16, 128, 128, 26), 128, 156, "relu", "softmax_cross_entropy", "adam", 1e-3,
        batch_norm=True, check_epochs=3,
    ),
    Workload(
        "mnist", (784, 512, 256, 10), 128, 468, "relu", "softmax_cross_entropy", "adam", 1e-3,
        batch_norm=True, dropout=0.2, check_epochs=2,
    ),
    Workload("mnist_plain", (784, 512, 256, 10), 128, 468, "relu", "softmax_cross_entropy", "sgd", 0.02),
    Workload(
        "wide", (1024, 2048, 2048, 2048, 10), 512, 16, "relu", "softmax_cross_entropy", "sgd", 0.01, check_epochs=4
    ),
    Workload(
        "deep", (64, *[128] * 20, 10), 256, 128, "relu", "softmax_cross_entropy", "adam", 4e-3,
        batch_norm=True, check_epochs=4,
    ),
)  # fmt: skip
WORKLOADS = {workload.name: workload for workload in _WORKLOADS}


def make_data(workload: Workload) -> tuple[Array, Array]:
    """Make X (samples, inputs) float32 and y: (samples,) int64 classes or (samples, outputs) float32 values.

    The same arrays on every call: the seed is made from the name of the workload.
    """
    rng = np.random.default_rng(zlib.crc32(workload.name.encode()))
    inputs, outputs = workload.widths[0], workload.widths[-1]
    x = rng.standard_normal((workload.samples, inputs), dtype=np.float32)
    if not workload.is_classification:
        hidden = np.tanh(x @ (rng.standard_normal((inputs, TEACHER_WIDTH), dtype=np.float32) * inputs**-0.5))
        values = hidden @ (rng.standard_normal((TEACHER_WIDTH, outputs), dtype=np.float32) * TEACHER_WIDTH**-0.5)
        return x, values + LABEL_NOISE * rng.standard_normal(values.shape, dtype=np.float32)
    centres = rng.standard_normal((outputs, inputs), dtype=np.float32) * CLASS_DISTANCE * (2 * inputs) ** -0.5
    classes = rng.integers(outputs, size=workload.samples)
    x += centres[classes]
    noisy = rng.random(workload.samples) < LABEL_NOISE
    labels = np.where(noisy, rng.integers(outputs, size=workload.samples), classes)
    return x, labels.astype(np.int64)


def mean_loss(workload: Workload, outputs: Array, y: Array) -> float:
    """Return the loss of `outputs` (n, outputs) as defined in the conventions of the library, in float64."""
    values = outputs.astype(np.float64)
    if not workload.is_classification:
        return float(np.mean((values - y) ** 2))
    values = values - values.max(axis=1, keepdims=True)  # exp cannot overflow
    log_sum = np.log(np.exp(values).sum(axis=1))
    return float(np.mean(log_sum - values[np.arange(len(y)), y]))


def constant_loss(workload: Workload, y: Array) -> float:
    """Return the loss of the best prediction that ignores X: entropy of the classes or variance of the values."""
    if not workload.is_classification:
        return float(np.var(y, axis=0, dtype=np.float64).mean())
    frequency = np.bincount(y, minlength=workload.widths[-1]) / len(y)
    return float(-np.sum(frequency * np.log(np.maximum(frequency, 1e-300))))
