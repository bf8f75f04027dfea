"""Random configurations of models and trainers for test_differential.py.

Each is a function of its number alone, and of the lists below, which do not grow: what is added to the package is
compared with its twin in test_pytorch.py. They stay clear of what no two implementations can agree on: a gradient that
is zero but for rounding, whose sign or relative size an optimizer then asks for. Remarks say where.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

import cases
import stoop

SEED = 20
COUNT = 360
UPDATES = 5
OPTIMIZERS = ("SGD", "AdaGrad", "RMSProp", "Adam", "AdamW", "Nadam", "Lion", "SGD", "Adam")
LOSSES = (
    "classes",
    "mse",
    "smoothed classes",
    "binary labels",
    "huber",
    "rows",
    "mae",
    "smoothed rows",
    "binary probabilities",
)
SCHEDULES = (
    "constant",
    "Constant",
    "Step",
    "Piecewise",
    "Exponential",
    "InverseTime",
    "Power",
    "InverseSqrt",
    "Linear",
    "Polynomial",
    "Cosine",
    "Warmup",
    "OneCycle",
    "callable",
)
ACTIVATIONS = ("identity", "relu", "leaky_relu", "elu", "gelu", "silu", "sigmoid", "tanh", "softplus")
SMOOTH = {"elu", "gelu", "silu", "sigmoid", "tanh", "softplus"}


@dataclass(frozen=True)
class Configuration:
    number: int
    dtype: str
    input_dim: int
    layers: list[Any]
    loss: Any
    targets: str
    optimizer: Any
    arguments: dict[str, float]  # of Trainer: l1, l2, clip_norm, clip_value, max_norm, ema
    batch: int
    last: int  # rows of the last batch
    weighted: bool
    how: str  # "step" or "fit"
    accumulate: int
    name: str = field(repr=False)

    @property
    def outputs(self) -> int:
        return self.layers[-1].units


def has_batch_norm(layers: Any) -> bool:
    return any(isinstance(layer, stoop.BatchNorm) or has_batch_norm(getattr(layer, "layers", ())) for layer in layers)


def has_norm(layers: Any) -> bool:
    return has_batch_norm(layers) or any(
        isinstance(layer, stoop.LayerNorm) or has_norm(getattr(layer, "layers", ())) for layer in layers
    )


def with_factors(layers: Any, rng: np.random.Generator) -> list[Any]:
    """The layers, a few of them with factors of the learning rate and of the decay."""
    out = []
    for layer in layers:
        if isinstance(layer, stoop.Residual):
            layer = replace(layer, layers=with_factors(layer.layers, rng))
        if hasattr(layer, "lr_scale") and rng.random() < 0.15:
            layer = replace(layer, lr_scale=rng.choice([0.0, 0.25, 0.6]), decay_scale=rng.choice([0.0, 0.3, 2.0]))
        out.append(layer)
    return out


class Draw:
    """Draws one configuration."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.rng = np.random.default_rng([SEED, number])
        self.bends = True  # whether what came before ends in something that is not linear in a shift

    def one(self, *choices: Any) -> Any:
        return choices[self.rng.integers(len(choices))]

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def between(self, low: float, high: float) -> float:
        """Uniform in the logarithm, two digits."""
        return float(f"{np.exp(self.rng.uniform(np.log(low), np.log(high))):.2g}")

    def width(self) -> int:
        return int(self.rng.integers(1, 71))

    # ---- layers ----

    def activation(self) -> Any:
        name = self.one(*ACTIVATIONS)
        self.bends = name in SMOOTH
        if name == "leaky_relu" and self.chance(0.5):
            return stoop.LeakyReLU(self.between(0.05, 0.5))
        if name == "elu" and self.chance(0.5):
            return stoop.ELU(self.between(0.3, 2.0))
        return name

    def as_layer(self, activation: Any) -> Any:
        return cases.registry("activation")[activation]() if isinstance(activation, str) else activation

    def dense(self, units: int, activation: Any = None, **arguments: Any) -> Any:
        if activation is None:
            self.bends = False
        initializers = stoop.initializers
        bias = self.one("zeros", initializers.normal(0.3), initializers.constant(0.1))
        if self.chance(0.1):
            arguments.setdefault("trainable", False)
        if self.chance(0.1):
            arguments["l2"] = self.between(1e-3, 1e-1)
        if self.chance(0.1):
            arguments["l1"] = self.between(1e-4, 1e-2)
        return stoop.Dense(units, activation=activation, bias_init=bias, **arguments)

    def norm_eps(self, values: int) -> float:
        # Few values come out as +1 and -1 whatever they were unless eps is large: the gradient is rounding then.
        return self.between(0.05, 0.5) if values < 5 else self.one(1e-5, 1e-3, 0.1)

    def batch_norm(self) -> Any:
        return stoop.BatchNorm(momentum=self.one(0.9, 0.5, 0.99), eps=self.norm_eps(min(self.batch, self.last)))

    def batch_norm_block(self) -> Iterator[Any]:
        # A shift that reaches a BatchNorm through linear layers has a gradient of zero.
        if not self.bends:
            yield stoop.Tanh()
        units = self.width()
        if self.chance(0.5):
            yield self.dense(units)
            yield self.batch_norm()
            yield self.as_layer(self.activation())
        else:
            # relu can leave one sample of a column, which is then normalised to the same whatever it is.
            self.bends = True
            yield self.dense(units, self.one("tanh", "sigmoid", "gelu", "silu", "softplus"))
            yield self.batch_norm()
            self.bends = False

    def layer_norm_block(self) -> Iterator[Any]:
        units = max(self.width(), 2)  # one column is its own mean: no gradient but rounding
        yield self.dense(units)
        yield stoop.LayerNorm(eps=self.norm_eps(units))
        yield self.as_layer(self.activation())

    def residual_block(self, width: int, *, normalised: bool) -> Iterator[Any]:
        out = width if self.chance(0.5) else self.width()
        inner = [self.dense(self.width(), self.activation())]
        if normalised:
            inner += list(self.layer_norm_block())
        yield stoop.Residual([*inner, self.dense(out)])
        self.bends = False

    def hidden(self, depth: int, norms: str) -> list[Any]:
        layers: list[Any] = []
        width = self.input_dim
        for _ in range(depth):
            kind = self.one("dense", "dense", "separate", "residual", norms, norms)
            if kind == "batch_norm":
                layers += self.batch_norm_block()
            elif kind == "layer_norm":
                layers += self.layer_norm_block()
            elif kind == "residual":
                layers += self.residual_block(width, normalised=norms == "layer_norm" and self.chance(0.5))
            elif kind == "separate":
                layers += [self.dense(self.width()), self.as_layer(self.activation())]
            else:
                layers.append(self.dense(self.width(), self.activation()))
            width = output_width(layers, width)
        return layers

    # ---- training ----

    def loss(self) -> tuple[Any, str]:
        losses = stoop.losses
        kind = LOSSES[self.number % len(LOSSES)]
        if kind.startswith("smoothed"):
            return losses.SoftmaxCrossEntropy(label_smoothing=self.between(0.02, 0.5)), kind.split()[1]
        if kind.startswith("binary"):
            return losses.BinaryCrossEntropy(), kind.split()[1]
        objects = {
            "classes": losses.SoftmaxCrossEntropy,
            "rows": losses.SoftmaxCrossEntropy,
            "mse": losses.MeanSquaredError,
            "mae": losses.MeanAbsoluteError,
            "huber": lambda: losses.Huber(delta=self.between(0.2, 3.0)),
        }
        return objects[kind](), kind if kind in ("classes", "rows") else "values"

    def schedule(self, lr: float) -> Any:
        s = stoop.schedules
        kind = SCHEDULES[int(self.rng.integers(len(SCHEDULES)))]
        half = lr / 2.0
        schedules = {
            "constant": lambda: lr,
            "Constant": lambda: s.Constant(lr),
            "Step": lambda: s.Step(lr, factor=self.between(0.3, 0.9), every=self.one(1, 2, 3)),
            "Piecewise": lambda: s.Piecewise(self.one([1, 3], [2, 4]), [half, lr, half]),
            "Exponential": lambda: s.Exponential(lr, self.between(0.5, 0.99), every=self.one(1, 3)),
            "InverseTime": lambda: s.InverseTime(lr, self.between(0.1, 2.0)),
            "Power": lambda: s.Power(lr, self.between(0.2, 1.5)),
            "InverseSqrt": lambda: s.InverseSqrt(lr),
            "Linear": lambda: s.Linear(lr, half, self.one(1, 3, 10)),
            "Polynomial": lambda: s.Polynomial(lr, end=half, steps=self.one(2, 4, 9), power=self.between(0.5, 3.0)),
            "Cosine": lambda: s.Cosine(lr, self.one(2, 5, 8), end=self.one(0.0, half)),
            "Warmup": lambda: s.Warmup(self.one(lr, s.InverseSqrt(lr), s.Cosine(lr, 4)), self.one(1, 2, 3)),
            "OneCycle": lambda: s.OneCycle(lr, self.one(5, 10, 20)),
            "callable": lambda: falling(lr),
        }
        return schedules[kind]()

    def optimizer(self, *, dtype: str, layers: list[Any]) -> Any:
        kind = OPTIMIZERS[self.number // 2 % len(OPTIMIZERS)]
        if kind == "Lion" and has_batch_norm(layers):
            kind = "SGD"  # a shift of a unit that every sample activates has a gradient of zero, but a sign
        # Where a gradient can be zero but for rounding, eps is above the rounding.
        eps = self.one(1e-3, 1e-2) if dtype == "float32" else self.one(1e-6, 1e-3)
        eps = {"eps": eps} if has_norm(layers) or self.chance(0.3) else {}
        betas = {"beta1": self.one(0.9, 0.8, 0.0), "beta2": self.one(0.999, 0.9)} if self.chance(0.5) else {}
        o = stoop.optimizers
        if kind == "SGD":
            momentum = self.one(0.0, 0.5, 0.9)
            dampening = self.one(0.0, 0.0, momentum, 0.3)
            nesterov = momentum > 0.0 and dampening == 0.0 and self.chance(0.5)
            lr = self.schedule(self.between(0.005, 0.05))
            return o.SGD(lr, momentum=momentum, dampening=dampening, nesterov=nesterov)
        if kind == "AdaGrad":
            return o.AdaGrad(self.schedule(self.between(0.002, 0.02)), **eps)
        if kind == "RMSProp":
            lr = self.schedule(self.between(0.0005, 0.005))
            rho, momentum = self.one(0.9, 0.99, 0.5), self.one(0.0, 0.5, 0.9)
            return o.RMSProp(lr, rho=rho, momentum=momentum, centered=self.chance(0.5), **eps)
        lr = self.schedule(self.between(0.0005, 0.01))
        if kind == "Lion":
            return o.Lion(lr, **betas, weight_decay=self.one(0.0, 0.1))
        if kind == "Nadam":
            return o.Nadam(lr, **betas, **eps)
        decay = {"weight_decay": self.between(0.001, 0.3)} if kind == "AdamW" else {}
        return getattr(o, kind)(lr, **betas, **eps, **decay, amsgrad=self.chance(0.4))

    def arguments(self) -> dict[str, float]:
        drawn = {
            "l1": (0.25, 1e-4, 1e-2),
            "l2": (0.4, 1e-4, 1e-1),
            "clip_norm": (0.3, 0.05, 2.0),
            "clip_value": (0.2, 0.003, 0.3),
            "max_norm": (0.2, 0.5, 3.0),
            "ema": (0.2, 0.5, 0.99),
        }
        return {name: self.between(low, high) for name, (p, low, high) in drawn.items() if self.chance(p)}

    def configuration(self) -> Configuration:
        dtype = ("float32", "float64")[self.number % 2]
        norms = self.one("batch_norm", "layer_norm", "dense")
        least = 2 if norms == "batch_norm" else 1
        self.batch = int(self.rng.integers(least, 66))
        self.last = int(self.rng.integers(least, self.batch + 1)) if self.chance(0.5) else self.batch
        self.input_dim = self.width()
        loss, targets = self.loss()
        outputs = max(self.width() // self.one(1, 4, 16), 2 if targets in ("classes", "rows") else 1)
        layers = [*self.hidden(int(self.rng.integers(0, 4)), norms), self.dense(outputs, trainable=True)]
        optimizer = self.optimizer(dtype=dtype, layers=layers)
        layers = with_factors(layers, np.random.default_rng([SEED, self.number, 1]))
        kinds = "-".join(sorted({type(layer).__name__ for layer in layers if not isinstance(layer, stoop.Dense)}))
        weighted = self.chance(0.4)
        how = "fit" if weighted or self.chance(0.5) else "step"
        # BatchNorm has statistics of each batch, so that the batches of an update are not one large batch.
        accumulates = how == "fit" and not has_batch_norm(layers) and self.chance(0.3)
        name = f"{self.number:03}-{dtype}-{type(loss).__name__}-{type(optimizer).__name__}-{kinds or 'Dense'}"
        return Configuration(
            number=self.number,
            dtype=dtype,
            input_dim=self.input_dim,
            layers=layers,
            loss=loss,
            targets=targets,
            optimizer=optimizer,
            arguments=self.arguments(),
            batch=self.batch,
            last=self.last,
            weighted=weighted,
            how=how,
            accumulate=self.one(2, 3) if accumulates else 1,
            name=name,
        )


def falling(lr: float) -> Any:
    def rate(t: int) -> float:
        return lr / (1.0 + 0.1 * t * t)

    return rate


def output_width(layers: list[Any], width: int) -> int:
    for layer in layers:
        width = (
            output_width(layer.layers, width) if isinstance(layer, stoop.Residual) else getattr(layer, "units", width)
        )
    return width


# ---- what a configuration is trained on ----


def make_data(configuration: Configuration) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray | None]:
    """Inputs, targets and weights of all batches, one after another."""
    c = configuration
    rng = np.random.default_rng([SEED, c.number, 1])
    rows = (UPDATES - 1) * c.batch + c.last
    X = rng.standard_normal((rows, c.input_dim)).astype(c.dtype)
    draws = {
        "classes": lambda: rng.integers(c.outputs, size=rows),
        "rows": lambda: rng.dirichlet(np.ones(c.outputs), size=rows),
        "labels": lambda: rng.integers(2, size=(rows, c.outputs)).astype(c.dtype),
        "probabilities": lambda: rng.random((rows, c.outputs)),
        "values": lambda: rng.standard_normal((rows, c.outputs)),
    }
    y = draws[c.targets]()
    weights = None
    if c.weighted:
        weights = rng.uniform(0.2, 2.0, rows)
        weights[rng.random(rows) < 0.1] = 0.0
        weights[:: c.batch] = 1.0  # no batch without weight
        weights = weights.astype(c.dtype)
    return X, y if c.targets == "classes" else y.astype(c.dtype), weights


def make_model(configuration: Configuration) -> Any:
    c = configuration
    model = stoop.Model(c.layers, input_dim=c.input_dim, seed=c.number, dtype=c.dtype)
    rng = np.random.default_rng([SEED, c.number, 2])
    for name, value in model.parameters().items():
        if name.endswith(("gamma", "beta")):
            value += 0.3 * rng.standard_normal(value.shape).astype(c.dtype)
    return model


CONFIGURATIONS = [Draw(number).configuration() for number in range(COUNT)]
