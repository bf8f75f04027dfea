"""What the crossed tests try of every activation, loss, optimizer, schedule, layer and initialiser, by registry name.

Whoever adds one writes an entry here, and its formula in `reference.py`, which is kept by hand. `test_registry.py`
fails until the names here are those of the package. What the entry says of arguments and defaults is a promise to
users.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import numpy as np
import numpy.typing as npt

import stoop
from cases_base import (
    REQUIRED,
    WRITTEN,
    Arguments,
    Case,
    Draw,
    registry,  # noqa: F401  # for the tests
)
from stoop import initializers, schedules

# ---- activations ----


@dataclass(frozen=True)
class Activation(Case):
    smooth: bool = True  # without a kink, near which differences are no derivatives
    start: str = "glorot_uniform"  # of the weights before it


ACTIVATIONS = {
    "identity": Activation(twin=lambda _, x, layer: x),
    "relu": Activation(smooth=False, start="he_normal", twin="relu"),
    "leaky_relu": Activation(
        {"negative_slope": 0.01},
        others=({"negative_slope": 0.2},),
        smooth=False,
        start="he_normal",
        twin="leaky_relu",
    ),
    "tanh": Activation(twin="tanh"),
    "sigmoid": Activation(twin="sigmoid"),
    "elu": Activation({"alpha": 1.0}, others=({"alpha": 0.7},), start="he_normal", twin="elu"),
    "gelu": Activation({"approximate": "none"}, others=({"approximate": "tanh"},), start="he_normal", twin="gelu"),
    "silu": Activation(start="he_normal", twin="silu"),
    "softplus": Activation(twin="softplus"),
    "selu": Activation(smooth=False, twin="selu"),
    "mish": Activation(start="he_normal", twin="mish"),
    "hard_swish": Activation(smooth=False, start="he_normal", twin="hardswish"),
    "relu6": Activation(smooth=False, start="he_normal", twin="relu6"),
}


def draw_classes(rng: np.random.Generator, samples: int, outputs: int) -> npt.NDArray:
    return rng.integers(outputs, size=samples)


def draw_rows(rng: np.random.Generator, samples: int, outputs: int) -> npt.NDArray:
    return rng.dirichlet(np.ones(outputs), size=samples)


def draw_labels(rng: np.random.Generator, samples: int, outputs: int) -> npt.NDArray:
    return rng.integers(2, size=(samples, outputs)).astype(np.float64)


def draw_probabilities(rng: np.random.Generator, samples: int, outputs: int) -> npt.NDArray:
    return rng.random((samples, outputs))


def draw_values(rng: np.random.Generator, samples: int, outputs: int) -> npt.NDArray:
    return 2.0 * rng.standard_normal((samples, outputs))


def draw_counts(rng: np.random.Generator, samples: int, outputs: int) -> npt.NDArray:
    return rng.poisson(2.0, size=(samples, outputs)).astype(np.float64)


def draw_means(rng: np.random.Generator, samples: int, outputs: int) -> npt.NDArray:
    return draw_values(rng, samples, outputs // 2)


@dataclass(frozen=True)
class Loss(Case):
    targets: dict[str, Draw] = field(default_factory=lambda: {"values": draw_values})
    output: str = "identity"  # what training makes the outputs mean
    multiple: int = 1  # outputs come in multiples of this
    clip_norm: float | None = None  # with which gradient descent stays finite, of those that grow like exp

    def outputs(self, about: int) -> int:
        """A number of outputs that it takes."""
        return -(-about // self.multiple) * self.multiple


def focal(F: Any, loss: Any, output: Any, target: Any) -> Any:
    p = F.sigmoid(output)
    wrong = p * (1.0 - target) + (1.0 - p) * target
    return F.binary_cross_entropy_with_logits(output, target, reduction="none") * wrong**loss.gamma


def gaussian_nll(F: Any, _: Any, output: Any, target: Any) -> Any:
    mean, log_variance = output.tensor_split(2, 1)
    return F.gaussian_nll_loss(mean, target, log_variance.exp(), eps=1e-30, reduction="none")


LOSSES = {
    "softmax_cross_entropy": Loss(
        {"label_smoothing": 0.0},
        others=({"label_smoothing": 0.2},),
        targets={"classes": draw_classes, "rows": draw_rows},
        output="softmax",
        twin="cross_entropy",
    ),
    "binary_cross_entropy": Loss(
        targets={"labels": draw_labels, "probabilities": draw_probabilities},
        output="sigmoid",
        twin="binary_cross_entropy_with_logits",
    ),
    "mse": Loss(twin="mse_loss"),
    "mae": Loss(twin="l1_loss"),
    "huber": Loss({"delta": 1.0}, others=({"delta": 0.7},), twin="huber_loss"),
    "quantile": Loss({"q": 0.5}, others=({"q": 0.9},)),
    "poisson": Loss({"log_input": True}, targets={"counts": draw_counts}, clip_norm=1.0, twin="poisson_nll_loss"),
    "log_cosh": Loss(),
    "focal": Loss(
        {"gamma": 2.0},
        others=({"gamma": 3.5}, {"gamma": 1.0}),  # below 1 the slope is infinite where a label is certain
        targets={"labels": draw_labels, "probabilities": draw_probabilities},
        output="sigmoid",
        twin=focal,
    ),
    "hinge": Loss(targets={"labels": draw_labels}, output="sigmoid"),
    "gaussian_nll": Loss(multiple=2, targets={"values": draw_means}, clip_norm=1.0, twin=gaussian_nll),
}


SLOWER = schedules.Exponential(0.5, 0.99)


@dataclass(frozen=True)
class Optimizer(Case):
    """`arguments` without the learning rate."""

    default_rate: float = 0.001
    rate: float = 0.002  # with which a small network learns in a few updates
    solving: Any = SLOWER  # the rate with which 1000 updates find the least of a parabola
    squares: bool = False  # whether it needs the square of a gradient to be finite
    full_batch: bool = False


def like_adam(kind: str, *names: str) -> Callable[[Any], tuple[str, Arguments]]:
    """The twin that takes betas, eps and arguments of the same names."""
    more = {"betas": lambda o: (o.beta1, o.beta2), "eps": lambda o: o.eps}
    more |= {name: attrgetter(name) for name in names}
    return lambda o: (kind, {name: value(o) for name, value in more.items()})


def like_rmsprop(o: Any) -> tuple[str, Arguments]:
    return "RMSprop", {"alpha": o.rho, "eps": o.eps, "momentum": o.momentum, "centered": o.centered}


_ADAM = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
OPTIMIZERS = {
    "sgd": Optimizer(
        {"momentum": 0.0, "nesterov": False, "dampening": 0.0, "rate_in_velocity": False},
        others=(
            {"momentum": 0.9},
            {"momentum": 0.9, "nesterov": True},
            {"momentum": 0.9, "dampening": 0.9},
        ),
        default_rate=0.01,
        rate=0.05,
        solving=0.05,
        twin=WRITTEN,
    ),
    "adagrad": Optimizer(
        {"eps": 1e-10},
        others=({"eps": 1e-3},),
        default_rate=0.01,
        rate=0.01,
        solving=4.0,
        squares=True,
        twin="Adagrad",
    ),
    "rmsprop": Optimizer(
        {"rho": 0.9, "eps": 1e-8, "momentum": 0.0, "centered": False},
        others=(
            {"momentum": 0.8, "rho": 0.8},
            {"centered": True, "eps": 1e-3},
            {"centered": True, "momentum": 0.5, "eps": 1e-3},
        ),
        solving=schedules.Exponential(0.3, 0.98),
        squares=True,
        twin=like_rmsprop,
    ),
    "adam": Optimizer(
        {**_ADAM, "amsgrad": False, "eps_hat": False},
        others=({"beta1": 0.8, "beta2": 0.99, "eps": 1e-3}, {"amsgrad": True, "beta2": 0.5}),
        squares=True,
        twin=like_adam("Adam", "amsgrad"),
    ),
    "adamw": Optimizer(
        {**_ADAM, "amsgrad": False, "weight_decay": 0.01},
        others=({"weight_decay": 0.1}, {"weight_decay": 0.1, "amsgrad": True, "beta2": 0.5}),
        squares=True,
        twin=like_adam("AdamW", "amsgrad"),
    ),
    "nadam": Optimizer(
        {**_ADAM, "momentum_decay": 0.004}, others=({"momentum_decay": 0.5},), squares=True, twin=WRITTEN
    ),
    "lion": Optimizer(
        {"beta1": 0.9, "beta2": 0.99, "weight_decay": 0.0},
        others=({"weight_decay": 0.1},),
        default_rate=1e-4,
        solving=schedules.Exponential(0.3, 0.99),
        twin=WRITTEN,
    ),
    "adadelta": Optimizer(
        {"rho": 0.9, "eps": 1e-6},
        others=({"rho": 0.5, "eps": 1e-3},),
        default_rate=1.0,
        rate=1.0,
        solving=schedules.Exponential(50.0, 0.99),
        squares=True,
        twin=lambda o: ("Adadelta", {"rho": o.rho, "eps": o.eps}),
    ),
    "adamax": Optimizer(
        {**_ADAM},
        others=({"beta1": 0.8, "beta2": 0.9, "eps": 1e-3},),
        default_rate=0.002,
        twin=like_adam("Adamax"),
    ),
    "radam": Optimizer(
        {**_ADAM},
        others=({"beta1": 0.8, "beta2": 0.9, "eps": 1e-3},),
        solving=0.05,
        squares=True,
        twin=like_adam("RAdam"),
    ),
    "rprop": Optimizer(
        {"eta_minus": 0.5, "eta_plus": 1.2, "min_step_size": 1e-6, "max_step_size": 50.0},
        others=({"eta_minus": 0.3, "eta_plus": 1.5, "min_step_size": 1e-4, "max_step_size": 0.05},),
        default_rate=0.01,
        rate=2e-4,  # where a gradient is near 0, its sign and with it the whole step is a matter of rounding
        solving=0.01,
        twin=lambda o: ("Rprop", {"etas": (o.eta_minus, o.eta_plus), "step_sizes": (o.min_step_size, o.max_step_size)}),
    ),
    "lamb": Optimizer(
        {"beta1": 0.9, "beta2": 0.999, "eps": 1e-6, "weight_decay": 0.01},
        others=({"weight_decay": 0.1, "beta2": 0.9}, {"weight_decay": 0.0, "eps": 1e-3}),
        squares=True,
    ),
    "lbfgs": Optimizer(
        {"history_size": 10, "max_evaluations": 25},
        others=({"history_size": 3},),
        default_rate=1.0,
        rate=1.0,
        full_batch=True,
    ),
    "newton_cg": Optimizer(
        {"cg_iterations": 50, "max_evaluations": 25, "saddle_tolerance": 1e-6},
        others=({"cg_iterations": 5},),
        default_rate=1.0,
        rate=1.0,
        full_batch=True,
    ),
}


def falling(t: int) -> float:
    return 0.4 / (1 + t)


SCHEDULES = {
    "constant": Case({"lr": REQUIRED}, ({"lr": 0.3},)),
    "step": Case({"lr": REQUIRED, "factor": 0.5, "every": 0}, ({"lr": 0.4, "every": 7},)),
    "piecewise": Case(
        {"boundaries": REQUIRED, "values": REQUIRED}, ({"boundaries": [5, 20], "values": [0.1, 0.2, 0.05]},)
    ),
    "exponential": Case(
        {"lr": REQUIRED, "decay": REQUIRED, "every": 1},
        ({"lr": 0.4, "decay": 0.9}, {"lr": 0.4, "decay": 0.5, "every": 8}),
    ),
    "inverse_time": Case({"lr": REQUIRED, "decay": REQUIRED}, ({"lr": 0.4, "decay": 0.1},)),
    "power": Case({"lr": REQUIRED, "exponent": REQUIRED}, ({"lr": 0.4, "exponent": 0.7},)),
    "inverse_sqrt": Case({"lr": REQUIRED}, ({"lr": 0.4},)),
    "linear": Case({"lr": REQUIRED, "end": REQUIRED, "steps": REQUIRED}, ({"lr": 0.4, "end": 0.1, "steps": 25},)),
    "polynomial": Case(
        {"lr": REQUIRED, "end": REQUIRED, "steps": REQUIRED, "power": 1.0},
        ({"lr": 0.4, "end": 0.1, "steps": 25, "power": 2.0}, {"lr": 0.4, "end": 0.0, "steps": 25, "power": 0.5}),
    ),
    "cosine": Case(
        {"lr": REQUIRED, "steps": REQUIRED, "end": 0.0},
        ({"lr": 0.4, "steps": 25}, {"lr": 0.4, "steps": 25, "end": 0.1}),
    ),
    "one_cycle": Case(
        {"max_lr": REQUIRED, "steps": REQUIRED, "pct_start": 0.3, "div_factor": 25.0, "final_div_factor": 1e4},
        ({"max_lr": 0.4, "steps": 30}, {"max_lr": 0.4, "steps": 30, "pct_start": 0.5, "div_factor": 4.0}),
    ),
    "cos_log4": Case({"lr": REQUIRED, "steps": REQUIRED}, ({"lr": 0.4, "steps": 30},)),
    "flat_cosine": Case(
        {"lr": REQUIRED, "steps": REQUIRED, "pct_start": 0.75, "end": 0.0},
        ({"lr": 0.4, "steps": 30}, {"lr": 0.4, "steps": 25, "pct_start": 0.3, "end": 0.1}),
    ),
    "sequential": Case(
        {"schedules": REQUIRED, "milestones": REQUIRED},
        (
            {"schedules": [schedules.Linear(0.1, 0.4, 8), 0.3, schedules.Exponential(0.3, 0.9)], "milestones": [8, 20]},
            {"schedules": [schedules.Warmup(0.3, 5), 0.1, schedules.Cosine(0.2, 9)], "milestones": [12, 25]},
        ),
    ),
    "cosine_restarts": Case(
        {"lr": REQUIRED, "T_0": REQUIRED, "T_mult": 1, "end": 0.0},
        ({"lr": 0.4, "T_0": 9}, {"lr": 0.4, "T_0": 4, "T_mult": 3, "end": 0.1}),
    ),
    "cyclic": Case(
        {
            "base_lr": REQUIRED,
            "max_lr": REQUIRED,
            "step_size_up": 2000,
            "step_size_down": None,
            "mode": "triangular",
            "gamma": 1.0,
        },
        (
            {"base_lr": 0.1, "max_lr": 0.4, "step_size_up": 6},
            {"base_lr": 0.1, "max_lr": 0.4, "step_size_up": 6, "step_size_down": 3, "mode": "triangular2"},
            {"base_lr": 0.1, "max_lr": 0.4, "step_size_up": 5, "mode": "exp_range", "gamma": 0.95},
        ),
    ),
    "custom": Case({"function": REQUIRED}, ({"function": falling},)),
    "warmup": Case(
        {"schedule": REQUIRED, "steps": REQUIRED},
        (
            {"schedule": 0.4, "steps": 10},
            {"schedule": schedules.Exponential(0.4, 0.9), "steps": 10},
            {"schedule": falling, "steps": 10},
        ),
    ),
}

# Calls of the layers that are no activations; `trainable` is an argument of all.
LAYERS = {
    "dense": Case(
        {"units": REQUIRED, "activation": None, "use_bias": None, "kernel_init": None, "bias_init": "zeros"},
        (
            {"units": 3},
            {"units": 3, "activation": "relu", "kernel_init": "he_normal", "l2": 0.1},
            {"units": 2, "activation": stoop.LeakyReLU(0.3), "kernel_init": initializers.orthogonal(2), "l1": 0.5},
        ),
    ),
    "batch_norm": Case({"momentum": 0.9, "eps": 1e-5}, ({"momentum": 0.5, "eps": 1e-2},)),
    "layer_norm": Case({"eps": 1e-5}, ({"eps": 1e-2},)),
    "dropout": Case({"rate": REQUIRED}, ({"rate": 0.25},)),
    "normalization": Case(
        {"kind": "standard", "clip": None, "missing": "error"},
        (
            {"kind": "standard"},
            {"kind": "robust", "clip": 3.0},
            {"kind": "minmax", "clip": 0.5, "missing": "mean"},
        ),
    ),
    "columns": Case(
        {
            "categories": None,
            "encoding": "ple",
            "bins": 48,
            "frequencies": 48,
            "frequency_scale": 0.01,
            "embedding_dim": 8,
            "one_hot": 9,
            "kind": "robust",
            "clip": 3.0,
            "lazy": False,
        },
        (
            {"categories": {1: 4, 2: 20}, "bins": 5},
            {"categories": {2: 20}, "bins": (4, 0), "lazy": True, "embedding_dim": 3},
            {"encoding": "periodic", "frequencies": 5, "frequency_scale": 0.5, "kind": "standard", "clip": None},
            {"categories": {0: 3}, "encoding": "none", "kind": "minmax"},
            {"encoding": "ple_linear", "bins": 6, "embedding_dim": 4},
        ),
    ),
    "members": Case(
        {"k": REQUIRED, "init": None, "bias": False},
        ({"k": 3}, {"k": 2, "init": "normal", "bias": True}, {"k": 4, "init": "ones"}),
    ),
    "member_dense": Case(
        {
            "units": REQUIRED,
            "activation": None,
            "shared": False,
            "members": None,
            "use_bias": None,
            "kernel_init": None,
            "bias_init": "zeros",
            "scale_init": None,
        },
        (
            {"units": 3, "members": 2},
            {"units": 3, "activation": "relu", "shared": True, "members": 4, "scale_init": "normal", "l2": 0.1},
            {"units": 2, "activation": stoop.LeakyReLU(0.3), "members": 3, "kernel_init": "he_normal", "l1": 0.5},
        ),
    ),
    "feature_scale": Case(),
    "residual": Case(
        {"layers": REQUIRED},
        ({"layers": (stoop.Dense(3, activation=stoop.ELU(0.5)), stoop.Residual([stoop.LayerNorm()]))},),
    ),
}

# The value that an initialiser is called with, if it takes one.
INITIALIZERS: dict[str, float | None] = {
    "zeros": None,
    "ones": None,
    "constant": 0.3,
    "normal": 0.5,
    "uniform": 0.4,
    "glorot_uniform": None,
    "glorot_normal": None,
    "he_uniform": None,
    "he_normal": None,
    "lecun_uniform": None,
    "lecun_normal": None,
    "orthogonal": 1.5,
}

KINDS: dict[str, dict[str, Any]] = {
    "activation": ACTIVATIONS,
    "layer": LAYERS,
    "loss": LOSSES,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "initializer": INITIALIZERS,
}
