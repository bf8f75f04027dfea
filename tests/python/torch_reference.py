"""The same networks, losses, optimizers and schedules in PyTorch, for the differential test.

Parameters are kept as PyTorch keeps them (a weight is (out_features, in_features)) under the names that stoop gives
them. Gradients come from autograd, updates from torch.optim wherever its convention is ours. Where it is not, the
update is written out: SGD with dampening, which torch.optim leaves out of the very first step; Nadam, of which it
keeps the product of momenta in float32; and Lion, which it does not have. The running variance of BatchNorm is written
out for the same reason: PyTorch takes the unbiased one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch.optim import lr_scheduler as schedulers

import cases
import reference

torch.set_num_threads(1)  # these models are tiny

Tensors = dict[str, torch.Tensor]


def arguments_of(spec: Any) -> dict[str, Any]:
    return {field.name: getattr(spec, field.name) for field in fields(spec) if field.name != "trainable"}


def activate(x: torch.Tensor, layer: Any) -> torch.Tensor:
    twin = cases.ACTIVATIONS[layer.type_name].twin
    return getattr(F, twin)(x, **arguments_of(layer)) if isinstance(twin, str) else twin(F, x, layer)


class Network:
    """A twin of a stoop.Model with copies of its parameters, and its frozen layers."""

    def __init__(self, model: Any) -> None:
        self.layers = model.layers
        self.parameters: Tensors = {
            name: torch.tensor(np.array(value.T)).requires_grad_() for name, value in model.parameters().items()
        }
        self.buffers: Tensors = {name: torch.tensor(np.array(value)) for name, value in model.buffers().items()}
        self.frozen = {
            name for name in self.parameters if not getattr(self._layer_of(name.split(".")), "trainable", True)
        }

    def _path(self, path: Sequence[str], layers: Any = None) -> list[Any]:
        """The layers around ["2", "0", "weight"], the outermost first; the Residual is the last for its projection."""
        layer = (self.layers if layers is None else layers)[int(path[0])]
        return [layer, *(self._path(path[1:], layer.layers) if path[1].isdigit() else [])]

    def _layer_of(self, path: Sequence[str]) -> Any:
        return self._path(path)[-1]

    def factors(self, name: str) -> tuple[float, float]:
        """Those of the learning rate and of the decay that a parameter has."""
        around = self._path(name.split("."))
        return math.prod(layer.lr_scale for layer in around), math.prod(layer.decay_scale for layer in around)

    @property
    def trainable(self) -> Tensors:
        return {name: value for name, value in self.parameters.items() if name not in self.frozen}

    @property
    def weights(self) -> Tensors:
        """What is regularised: the weights of Dense, a projection's among them."""
        return {name: value for name, value in self.parameters.items() if name.endswith(".weight")}

    def penalty(self, l1: float, l2: float) -> torch.Tensor:
        total = torch.zeros(())
        for name, weight in self.weights.items():
            layer = self._layer_of(name.split("."))
            decay = self.factors(name)[1]
            here = {"l1": l1 * decay, "l2": l2 * decay}
            for key in here:
                if getattr(layer, key, None) is not None:
                    here[key] = getattr(layer, key)
            total = total + here["l1"] * weight.abs().sum() + here["l2"] / 2.0 * (weight**2).sum()
        return total

    def forward(self, x: torch.Tensor, *, training: bool) -> torch.Tensor:
        return self._chain(self.layers, "", x, training)

    def _chain(self, layers: Any, prefix: str, x: torch.Tensor, training: bool) -> torch.Tensor:
        for i, layer in enumerate(layers):
            x = self._apply(layer, f"{prefix}{i}", x, training)
        return x

    def _apply(self, layer: Any, path: str, x: torch.Tensor, training: bool) -> torch.Tensor:
        kind = layer.type_name
        if kind == "dense":
            x = F.linear(x, self.parameters[f"{path}.weight"], self.parameters.get(f"{path}.bias"))
            activation = layer.activation
            if activation is None:
                return x
            activation = cases.registry("activation")[activation]() if isinstance(activation, str) else activation
            return activate(x, activation)
        if kind == "batch_norm":
            return self._batch_norm(layer, path, x, training)
        if kind == "layer_norm":
            gamma, beta = self.parameters[f"{path}.gamma"], self.parameters[f"{path}.beta"]
            return F.layer_norm(x, x.shape[1:], gamma, beta, layer.eps)
        if kind == "residual":
            branch = self._chain(layer.layers, f"{path}.", x, training)
            projection = self.parameters.get(f"{path}.projection.weight")
            return branch + (x if projection is None else F.linear(x, projection))
        return activate(x, layer)

    def _batch_norm(self, layer: Any, path: str, x: torch.Tensor, training: bool) -> torch.Tensor:
        gamma, beta = self.parameters[f"{path}.gamma"], self.parameters[f"{path}.beta"]
        mean, variance = self.buffers[f"{path}.running_mean"], self.buffers[f"{path}.running_var"]
        if not training:
            return F.batch_norm(x, mean, variance, gamma, beta, training=False, eps=layer.eps)
        with torch.no_grad():
            mean.lerp_(x.mean(dim=0), 1.0 - layer.momentum)
            variance.lerp_(x.var(dim=0, correction=0), 1.0 - layer.momentum)
        return F.batch_norm(x, None, None, gamma, beta, training=True, eps=layer.eps)


# ---- losses: one value per sample, then the weighted mean ----


def per_element(loss: Any, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """By sample where the loss is one of whole rows, else by target."""
    twin = cases.LOSSES[loss.type_name].twin
    if isinstance(twin, str):
        values: torch.Tensor = getattr(F, twin)(output, target, **arguments_of(loss), reduction="none")
        return values
    return twin(F, loss, output, target)  # type: ignore[no-any-return]


def per_sample(loss: Any, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    values = per_element(loss, output, target)
    return values if values.ndim == 1 else values.mean(dim=1)


def weighted_mean(values: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    return values.mean() if weights is None else (values * weights).sum() / weights.sum()


# ---- optimizers: a function of the learning rate that makes one update from the gradients ----

Update = Callable[[float], None]


def make_update(optimizer: Any, network: Network) -> Update:
    weight_decay = getattr(optimizer, "weight_decay", 0.0)
    members: dict[tuple[float, float], list[torch.Tensor]] = {}
    for name, value in network.trainable.items():
        rate, decay = network.factors(name)
        members.setdefault((rate, weight_decay * decay if name in network.weights else 0.0), []).append(value)
    groups = [{"params": values, "rate": rate, "weight_decay": decay} for (rate, decay), values in members.items()]
    twin = cases.OPTIMIZERS[optimizer.type_name].twin
    if twin == cases.WRITTEN:
        return OPTIMIZERS[optimizer.type_name](optimizer, groups)
    if isinstance(twin, str):
        names = [name for name in arguments_of(optimizer) if name not in ("learning_rate", "weight_decay")]
        return _torch_update(twin, {name: getattr(optimizer, name) for name in names}, groups)
    return _torch_update(*twin(optimizer), groups)


def _torch_update(kind: str, arguments: dict[str, Any], groups: list[dict[str, Any]]) -> Update:
    """An update by a class of torch.optim."""
    twin = getattr(torch.optim, kind)(groups, lr=1.0, **arguments)

    def update(lr: float) -> None:
        for group in twin.param_groups:
            group["lr"] = lr * group["rate"]
        twin.step()

    return update


def _each(groups: list[dict[str, Any]]) -> Iterator[tuple[torch.Tensor, float, float]]:
    """Each parameter with the factor of its learning rate and its decay."""
    for group in groups:
        for parameter in group["params"]:
            yield parameter, group["rate"], group["weight_decay"]


def _dampened_sgd(ours: Any, groups: list[dict[str, Any]]) -> Update:
    velocities = [torch.zeros_like(parameter) for parameter, *_ in _each(groups)]

    @torch.no_grad()
    def update(lr: float) -> None:
        for (parameter, rate, _), v in zip(_each(groups), velocities):
            g = parameter.grad
            v.mul_(ours.momentum).add_(g, alpha=1.0 - ours.dampening)
            parameter.sub_(lr * rate * (g + ours.momentum * v if ours.nesterov else v))

    return update


def _sgd(ours: Any, groups: list[dict[str, Any]]) -> Update:
    if ours.dampening:
        return _dampened_sgd(ours, groups)
    return _torch_update("SGD", {"momentum": ours.momentum, "nesterov": ours.nesterov}, groups)


def _nadam(ours: Any, groups: list[dict[str, Any]]) -> Update:
    """Dozat 2016, algorithm 2, as in torch.optim.NAdam."""
    means = [torch.zeros_like(parameter) for parameter, *_ in _each(groups)]
    squares = [torch.zeros_like(parameter) for parameter, *_ in _each(groups)]
    t, product = 0, 1.0

    def momentum_at(t: int) -> float:
        return ours.beta1 * (1.0 - 0.5 * 0.96 ** (t * ours.momentum_decay))

    @torch.no_grad()
    def update(lr: float) -> None:
        nonlocal t, product
        t += 1
        now, following = momentum_at(t), momentum_at(t + 1)
        product *= now
        for (parameter, rate, _), m, v in zip(_each(groups), means, squares):
            g = parameter.grad
            m.mul_(ours.beta1).add_(g, alpha=1.0 - ours.beta1)
            v.mul_(ours.beta2).addcmul_(g, g, value=1.0 - ours.beta2)
            denominator = (v / (1.0 - ours.beta2**t)).sqrt() + ours.eps
            step = (1.0 - now) / (1.0 - product) * g + following / (1.0 - product * following) * m
            parameter.sub_(lr * rate * step / denominator)

    return update


def _lion(ours: Any, groups: list[dict[str, Any]]) -> Update:
    """Chen et al. 2023, algorithm 2."""
    means = [torch.zeros_like(parameter) for parameter, *_ in _each(groups)]

    @torch.no_grad()
    def update(lr: float) -> None:
        for (parameter, rate, decay), m in zip(_each(groups), means):
            g = parameter.grad
            direction = torch.sign(ours.beta1 * m + (1.0 - ours.beta1) * g)
            parameter.sub_(lr * rate * (direction + decay * parameter))
            m.mul_(ours.beta2).add_(g, alpha=1.0 - ours.beta2)

    return update


# Those that cases.py calls WRITTEN.
OPTIMIZERS: dict[str, Callable[[Any, list[dict[str, Any]]], Update]] = {"sgd": _sgd, "nadam": _nadam, "lion": _lion}


# ---- schedules: the learning rate of update t = 0, 1, 2, ... ----


def rate_at(schedule: Any, t: int) -> float:
    """PyTorch's own where its convention is ours, else that of `reference`."""
    return torch_rates(schedule, t + 1)[t] if has_scheduler(schedule) else reference.rate_at(schedule, t)


def has_scheduler(schedule: Any) -> bool:
    """Whether torch.optim.lr_scheduler has it; some only with certain arguments."""
    name = getattr(schedule, "type_name", "")
    return name in SCHEDULERS and not (name == "polynomial" and schedule.end)


def torch_rates(schedule: Any, count: int) -> list[float]:
    """The first rates by a class of torch.optim.lr_scheduler."""
    scheduler, rates = SCHEDULERS[schedule.type_name](schedule), []
    ends = {"one_cycle": -1, "cosine": 0}.get(schedule.type_name)  # after which theirs stop or rise again
    last = count if ends is None else schedule.steps + ends
    for t in range(count):
        rates.append(scheduler.get_last_lr()[0])
        if t < last:
            scheduler.optimizer.step()
            scheduler.step()
    return rates


def _optimizer(lr: float = 1.0) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1)], lr=lr)


def _linear(s: Any) -> Any:
    return schedulers.LinearLR(_optimizer(s.lr), 1.0, s.end / s.lr, s.steps)


def _one_cycle(s: Any) -> Any:
    factors = {"pct_start": s.pct_start, "div_factor": s.div_factor, "final_div_factor": s.final_div_factor}
    return schedulers.OneCycleLR(_optimizer(), s.max_lr, total_steps=s.steps, cycle_momentum=False, **factors)


def _cyclic(s: Any) -> Any:
    sizes = {"step_size_up": s.step_size_up, "step_size_down": s.step_size_down}
    return schedulers.CyclicLR(
        _optimizer(), s.base_lr, s.max_lr, **sizes, mode=s.mode, gamma=s.gamma, cycle_momentum=False
    )


def _own(optimizer: torch.optim.Optimizer, schedule: Any) -> Any:
    """A schedule of ours as one of theirs, on a base rate of 1."""
    return schedulers.LambdaLR(optimizer, lambda t: reference.rate_at(schedule, t))


def _sequential(s: Any) -> Any:
    optimizer = _optimizer()
    return schedulers.SequentialLR(optimizer, [_own(optimizer, each) for each in s.schedules], list(s.milestones))


def _warmup(s: Any) -> Any:
    first = reference.rate_at(s.schedule, 0)
    optimizer = _optimizer(first)
    rise = schedulers.LinearLR(optimizer, 1.0 / s.steps, 1.0, s.steps - 1)
    after = schedulers.LambdaLR(optimizer, lambda t: reference.rate_at(s.schedule, t) / first)
    return schedulers.SequentialLR(optimizer, [rise, after], [s.steps])


SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "constant": lambda s: schedulers.ConstantLR(_optimizer(s.lr), 1.0),
    "step": lambda s: schedulers.StepLR(_optimizer(s.lr), s.every, s.factor),
    "exponential": lambda s: schedulers.ExponentialLR(_optimizer(s.lr), s.decay ** (1.0 / s.every)),
    "linear": _linear,
    "polynomial": lambda s: schedulers.PolynomialLR(_optimizer(s.lr), s.steps, s.power),
    "cosine": lambda s: schedulers.CosineAnnealingLR(_optimizer(s.lr), s.steps, s.end),
    "one_cycle": _one_cycle,
    "sequential": _sequential,
    "cosine_restarts": lambda s: schedulers.CosineAnnealingWarmRestarts(_optimizer(s.lr), s.T_0, s.T_mult, s.end),
    "cyclic": _cyclic,
    "custom": lambda s: _own(_optimizer(), s),
    "warmup": _warmup,
}


# ---- training ----


class Trainer:
    """An update in the order of stoop: penalties, clip_value, clip_norm, optimizer, max_norm, average."""

    def __init__(
        self,
        network: Network,
        loss: Any,
        optimizer: Any,
        *,
        l1: float = 0.0,
        l2: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        max_norm: float | None = None,
        ema: float | None = None,
    ) -> None:
        self.network, self.loss, self.l1, self.l2 = network, loss, l1, l2
        self.clip_norm, self.clip_value, self.max_norm, self.ema = clip_norm, clip_value, max_norm, ema
        self.average = {name: value.detach().clone() for name, value in network.parameters.items()}
        self.schedule = optimizer.learning_rate
        self.update = make_update(optimizer, network)
        self.t = 0
        self.grad_norms: list[float] = []  # of each update, before clip_norm

    def step(self, X: npt.NDArray, y: npt.NDArray, weights: npt.NDArray | None = None) -> float:
        """One update; returns the objective before it."""
        output = self.network.forward(torch.from_numpy(X), training=True)
        values = per_sample(self.loss, output, torch.from_numpy(y))
        objective = weighted_mean(values, None if weights is None else torch.from_numpy(weights))
        objective = objective + self.network.penalty(self.l1, self.l2)
        trainable = list(self.network.trainable.values())
        for parameter, grad in zip(trainable, torch.autograd.grad(objective, trainable, allow_unused=True)):
            parameter.grad = torch.zeros_like(parameter) if grad is None else grad
        if self.clip_value is not None:
            torch.nn.utils.clip_grad_value_(trainable, self.clip_value)
        norm = math.sqrt(sum(float((p.grad.double() ** 2).sum()) for p in trainable))
        if self.clip_norm is not None and norm > self.clip_norm:
            for parameter in trainable:  # clip_grad_norm_ adds 1e-6 to the norm that it divides by
                parameter.grad.mul_(self.clip_norm / norm)
        self.grad_norms.append(norm)
        self.update(rate_at(self.schedule, self.t))
        self._after_update()
        self.t += 1
        return objective.item()

    @torch.no_grad()
    def _after_update(self) -> None:
        if self.max_norm is not None:
            for name, weight in self.network.weights.items():
                if name not in self.network.frozen:  # torch.renorm adds 1e-7 to the norm that it divides by
                    norm = weight.norm(dim=1, keepdim=True)
                    weight.mul_(torch.where(norm > self.max_norm, self.max_norm / norm, torch.ones_like(norm)))
        if self.ema is not None:
            for name, value in self.network.parameters.items():
                self.average[name].lerp_(value, 1.0 - self.ema)
