"""PyTorch on the CPU, eager and with torch.compile, tuned as its performance guide advises.

Fused optimizers, gradients set to None, denormal numbers flushed to zero, batches of one shape drawn by index_select
from a shuffled permutation (a DataLoader is slower for arrays that fit in memory).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from stoop.bench.engine import Engine
from stoop.bench.workloads import MOMENTUM, Array, Workload


class EagerEngine(Engine):
    """One kernel after the other, as written."""

    @staticmethod
    def version() -> str:
        return f"PyTorch {torch.__version__}"

    def __init__(self, workload: Workload, x: Array, y: Array, threads: int) -> None:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)
        torch.manual_seed(0)
        self._x, self._y = torch.from_numpy(x), torch.from_numpy(y)
        self._batch_size = workload.batch_size
        self._model = _build_model(workload)
        self._criterion = nn.CrossEntropyLoss() if workload.is_classification else nn.MSELoss()
        self._optimizer: torch.optim.Optimizer = (
            torch.optim.Adam(self._model.parameters(), workload.learning_rate, fused=True)
            if workload.optimizer == "adam"
            else torch.optim.SGD(self._model.parameters(), workload.learning_rate, momentum=MOMENTUM, fused=True)
        )
        self._objective = self._make_objective()

    def run(self, epochs: int) -> None:
        self._model.train()
        for _ in range(epochs):
            for batch in torch.randperm(len(self._x)).view(-1, self._batch_size):
                loss = self._objective(self._x.index_select(0, batch), self._y.index_select(0, batch))
                self._optimizer.zero_grad(set_to_none=True)
                loss.backward()
                self._optimizer.step()

    def predict(self, x: Array) -> Array:
        self._model.eval()
        with torch.inference_mode():
            outputs: Array = self._model(torch.from_numpy(x)).numpy()
        return outputs

    def _make_objective(self) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda x, y: self._criterion(self._model(x), y)


class AutocastEngine(EagerEngine):
    """Products of bfloat16 in training, by autocast; predictions in float32."""

    @staticmethod
    def version() -> str:
        return f"PyTorch {torch.__version__} bf16 autocast"

    def _make_objective(self) -> Callable[[Tensor, Tensor], Tensor]:
        objective = super()._make_objective()

        def rounded(x: Tensor, y: Tensor) -> Tensor:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return objective(x, y)

        return rounded


class CompiledEngine(EagerEngine):
    """torch.compile generates and compiles C++ for the network."""

    @staticmethod
    def version() -> str:
        return f"PyTorch {torch.__version__} compiled"

    @staticmethod
    def missing(workload: Workload) -> str | None:
        del workload
        compiler = os.environ.get("CXX", "g++")
        return None if shutil.which(compiler) else f"torch.compile needs a C++ compiler, {compiler} is not there"

    def __init__(self, workload: Workload, x: Array, y: Array, threads: int) -> None:
        torch.compiler.reset()  # what was compiled for another workload in this process
        super().__init__(workload, x, y, threads)

    def _make_objective(self) -> Callable[[Tensor, Tensor], Tensor]:
        # Network and loss in one graph, so that the compiler may fuse across them.
        objective: Callable[[Tensor, Tensor], Tensor] = torch.compile(super()._make_objective(), dynamic=False)
        return objective


def _build_model(workload: Workload) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, units in zip(workload.widths[:-2], workload.widths[1:-1], strict=True):
        layers.append(_linear(inputs, units, workload.activation, bias=not workload.batch_norm))
        if workload.batch_norm:
            layers.append(nn.BatchNorm1d(units))
        layers.append(nn.ReLU() if workload.activation == "relu" else nn.Tanh())
        if workload.dropout > 0:
            layers.append(nn.Dropout(workload.dropout))
    return nn.Sequential(*layers, _linear(workload.widths[-2], workload.widths[-1], "linear", bias=True))


def _linear(inputs: int, units: int, nonlinearity: Literal["relu", "tanh", "linear"], *, bias: bool) -> nn.Linear:
    """He or Glorot weights: with PyTorch's default ones the task `wide` would need many more epochs to learn."""
    layer = nn.Linear(inputs, units, bias=bias)
    if nonlinearity == "relu":
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    else:
        nn.init.xavier_uniform_(layer.weight)
    return layer
