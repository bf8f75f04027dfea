"""The models that golden_bits.py hashes: descriptions drawn from a fixed seed, and objects made of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

MODELS = 60

Spec = tuple[str, dict[str, Any]]  # the name of a class of stoop, and its arguments

ACTIVATIONS: tuple[Spec, ...] = (
    ("Identity", {}),
    ("ReLU", {}),
    ("LeakyReLU", {"negative_slope": 0.15}),
    ("Tanh", {}),
    ("Sigmoid", {}),
    ("ELU", {"alpha": 0.8}),
    ("GELU", {}),
    ("SiLU", {}),
    ("Softplus", {}),
)
LOSSES: tuple[Spec, ...] = (
    ("SoftmaxCrossEntropy", {}),
    ("SoftmaxCrossEntropy", {"label_smoothing": 0.1}),
    ("BinaryCrossEntropy", {}),
    ("MeanSquaredError", {}),
    ("MeanAbsoluteError", {}),
    ("Huber", {"delta": 0.4}),
)
OPTIMIZERS: tuple[Spec, ...] = (
    ("SGD", {}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.8, "nesterov": True}),
    ("SGD", {"momentum": 0.9, "dampening": 0.9}),
    ("AdaGrad", {}),
    ("RMSProp", {}),
    ("RMSProp", {"rho": 0.8, "momentum": 0.5, "centered": True}),
    ("Adam", {}),
    ("Adam", {"beta1": 0.8, "beta2": 0.95, "eps": 1e-4, "amsgrad": True}),
    ("AdamW", {"weight_decay": 0.1}),
    ("AdamW", {"amsgrad": True}),
    ("Nadam", {}),
    ("Lion", {"weight_decay": 0.2}),
    ("LBFGS", {"history_size": 4}),
    ("NewtonCG", {"cg_iterations": 5}),
)
FULL_BATCH = ("LBFGS", "NewtonCG")
SCHEDULES: tuple[Spec, ...] = (
    ("Constant", {}),
    ("Step", {"factor": 0.5, "every": 3}),
    ("Piecewise", {"boundaries": [4, 9]}),
    ("Exponential", {"decay": 0.9, "every": 2}),
    ("InverseTime", {"decay": 0.1}),
    ("Power", {"exponent": 0.3}),
    ("InverseSqrt", {}),
    ("Linear", {"end": 1e-4, "steps": 15}),
    ("Polynomial", {"end": 1e-4, "steps": 15, "power": 2.0}),
    ("Cosine", {"steps": 15}),
    ("OneCycle", {"steps": 18}),
    ("Custom", {}),
    ("Warmup", {"steps": 5}),
)
INITIALIZERS: tuple[Any, ...] = (
    None,
    "glorot_uniform",
    "glorot_normal",
    "he_uniform",
    "he_normal",
    "lecun_uniform",
    "lecun_normal",
    ("normal", 0.3),
    ("uniform", 0.4),
    ("orthogonal", 1.1),
    None,
)
BIASES: tuple[Any, ...] = ("zeros", "ones", ("constant", 0.1), ("normal", 0.2), "zeros", "zeros")


# ---- the draws ----


class Draw:
    """Choices from numbers that Python has frozen: those of ``random.Random(seed).random()``."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._decks: dict[str, list[Any]] = {}

    def integer(self, low: int, high: int) -> int:
        """Return one of low .. high."""
        return low + int(self._random.random() * (high - low + 1))

    def chance(self, share: float) -> bool:
        return self._random.random() < share

    def one_of(self, values: Sequence[Any]) -> Any:
        return values[self.integer(0, len(values) - 1)]

    def deal(self, name: str, values: Sequence[Any]) -> Any:
        """Return one of `values`, each as often as the others: a deck of cards that is shuffled when it is empty."""
        deck = self._decks.setdefault(name, [])
        if not deck:
            deck.extend(values)
            for last in range(len(deck) - 1, 0, -1):
                other = self.integer(0, last)
                deck[last], deck[other] = deck[other], deck[last]
        return deck.pop()


def draw_models() -> list[dict[str, Any]]:
    """The descriptions of all models, as plain data."""
    draw = Draw(20240613)
    return [draw_model(draw, index) for index in range(MODELS)]


def draw_model(draw: Draw, index: int) -> dict[str, Any]:
    optimizer = draw.deal("optimizer", OPTIMIZERS)
    full_batch = optimizer[0] in FULL_BATCH
    size = draw.deal("size", ("tiny", "small", "small", "middle", "middle", "wide"))
    loss = draw.deal("loss", LOSSES)
    outputs = draw.integer(2, 11) if loss[0] == "SoftmaxCrossEntropy" else draw.integer(1, 7)
    batch = draw.one_of({"tiny": (1, 3, 8), "small": (5, 17, 32), "middle": (64, 100, 257), "wide": (16, 33)}[size])
    norm = draw.deal("norm", ("none", "batch", "layer", "both", "none"))
    if norm in ("batch", "both"):
        batch = max(batch, 3)
    dropout = not full_batch and draw.chance(0.4)
    return {
        "seed": 1000 + index,
        "dtype": draw.deal("dtype", ("float32", "float64", "float32")),
        "inputs": draw.one_of({"tiny": (1, 2, 5), "small": (7, 13, 20), "middle": (31, 64), "wide": (300, 513)}[size]),
        "outputs": outputs,
        "layers": [*draw_layers(draw, size, norm, dropout), ("Dense", {"units": outputs})],
        "loss": loss,
        "targets": draw_targets(draw, loss[0]),
        "optimizer": optimizer,
        "schedule": draw_schedule(draw),
        "rate": {"SGD": 0.05, "AdaGrad": 0.05, "Lion": 1e-3, "LBFGS": 1.0, "NewtonCG": 1.0}.get(optimizer[0], 4e-3),
        "batch_size": batch,
        "trainer": draw_settings(draw, full_batch),
        "fit": draw_fit(draw, full_batch),
        "input": draw.deal("input", ("same", "float64", "uint8", "same")),
        "dropout": dropout,
        "batch_norm": norm in ("batch", "both"),
    }


def draw_layers(draw: Draw, size: str, norm: str, dropout: bool) -> list[Any]:
    widths = {"tiny": (1, 3, 8), "small": (9, 16, 30), "middle": (48, 65, 127), "wide": (400, 530)}[size]
    layers: list[Any] = []
    for place in range(draw.integer(0 if size == "tiny" else 1, 2 if size == "wide" else 3)):
        block = [draw_dense(draw, draw.one_of(widths))]
        if norm == "batch" or (norm == "both" and place % 2 == 0):
            block.append(("BatchNorm", {"momentum": draw.one_of((0.9, 0.5)), "trainable": not draw.chance(0.1)}))
        elif norm != "none":
            block.append(("LayerNorm", {"eps": draw.one_of((1e-5, 1e-3))}))
        if draw.chance(0.5):
            block.append(draw.deal("layer", ACTIVATIONS))
        if dropout:
            block.append(("Dropout", {"rate": draw.one_of((0.2, 0.5))}))
        if size != "wide" and draw.chance(0.35):
            block = [("Residual", {"layers": block + ([draw_dense(draw, 6)] if draw.chance(0.5) else [])})]
            if draw.chance(0.3):
                block = [("Residual", {"layers": [draw.deal("layer", ACTIVATIONS), *block]})]
        layers += block
    return layers


def draw_dense(draw: Draw, units: int) -> Spec:
    arguments: dict[str, Any] = {"units": units}
    if draw.chance(0.75):
        arguments["activation"] = draw.deal("activation", ACTIVATIONS)
    initializer = draw.deal("initializer", INITIALIZERS)
    if initializer is not None:
        arguments["kernel_init"] = initializer
    arguments["bias_init"] = draw.deal("bias", BIASES)
    arguments["use_bias"] = draw.deal("use_bias", (None, True, False, None))
    arguments["l2"] = draw.deal("l2 of a layer", (None, None, None, 0.05))
    arguments["l1"] = draw.deal("l1 of a layer", (None, None, None, None, 0.01))
    arguments["trainable"] = not draw.chance(0.06)
    return "Dense", arguments


def draw_targets(draw: Draw, loss: str) -> str:
    if loss == "SoftmaxCrossEntropy":
        return draw.deal("targets", ("labels", "labels", "names", "probabilities"))
    return "probabilities" if loss == "BinaryCrossEntropy" and draw.chance(0.5) else "values"


def draw_schedule(draw: Draw) -> Spec | None:
    if not draw.chance(0.7):
        return None
    name, arguments = draw.deal("schedule", SCHEDULES)
    if name == "Warmup":
        arguments = {**arguments, "schedule": draw.deal("within", SCHEDULES[:-1])}
    return name, {**arguments, "per": draw.one_of(("step", "step", "epoch"))}


def draw_settings(draw: Draw, full_batch: bool) -> dict[str, Any]:
    settings: dict[str, Any] = {"seed": draw.integer(0, 999)}
    if draw.chance(0.3):
        settings["l1"] = draw.one_of((1e-3, 1e-2))
    if draw.chance(0.4):
        settings["l2"] = draw.one_of((1e-3, 1e-1))
    if full_batch:
        return settings
    for name, share, values in (
        ("clip_norm", 0.3, (0.05, 1.0)),
        ("clip_value", 0.25, (0.01, 0.1)),
        ("max_norm", 0.25, (0.5, 1.0)),
        ("ema", 0.3, (0.9, 0.99)),
        ("accumulate", 0.25, (2, 3)),
    ):
        if draw.chance(share):
            settings[name] = draw.one_of(values)
    return settings


def draw_fit(draw: Draw, full_batch: bool) -> dict[str, Any]:
    return {
        "shuffle": not full_batch and draw.chance(0.8),
        "sample_weight": draw.chance(0.35),
        "class_weight": draw.chance(0.2),
        "validation": draw.deal("validation", ("none", "data", "split")),
        "last_batch": draw.deal("last_batch", ("keep", "drop", "merge")),
    }


# ---- from a description to objects ----


def build(stoop: Any, spec: Any) -> Any:
    """A layer from its name and arguments."""
    name, arguments = spec
    values = dict(arguments)
    if "activation" in values:
        values["activation"] = build(stoop, values["activation"])
    for key in ("kernel_init", "bias_init"):
        if isinstance(values.get(key), tuple):
            kind, value = values[key]
            values[key] = getattr(stoop.initializers, kind)(value)
    if name == "Residual":
        values["layers"] = [build(stoop, inner) for inner in values["layers"]]
    return getattr(stoop, name)(**values)


def build_schedule(stoop: Any, spec: Any, rate: float) -> Any:
    if spec is None:
        return rate
    name, arguments = spec
    values = dict(arguments)
    if name == "Warmup":
        values["schedule"] = build_schedule(stoop, values["schedule"], rate)
    elif name == "Piecewise":
        values["values"] = [rate, rate / 2, rate / 8]
    elif name == "Custom":
        values["function"] = FallingRate(rate)
    else:
        values["max_lr" if name == "OneCycle" else "lr"] = rate
    return getattr(stoop.schedules, name)(**values)


class FallingRate:
    """A learning rate by a Python function."""

    def __init__(self, rate: float) -> None:
        self._rate = rate

    def __call__(self, t: int) -> float:
        return self._rate / (1 + t % 4)


def make_data(model: dict[str, Any], samples: int, seed: int) -> tuple[Any, Any, Any]:
    """X, y and weights of the samples, from numbers that NumPy has frozen."""
    draws = np.random.RandomState(seed)
    X: Any = 3.4 * draws.random_sample((samples, model["inputs"])) - 1.7
    if model["input"] == "uint8":
        X = np.floor(75 * (X + 1.7)).astype(np.uint8)
    elif model["input"] == "same":
        X = X.astype(model["dtype"])
    outputs = model["outputs"]
    values = draws.random_sample((samples, outputs))
    y: Any = 2 * values - 1
    if model["loss"][0] == "SoftmaxCrossEntropy":
        labels = np.arange(samples) * 7 % outputs
        y = {
            "labels": labels,
            "names": np.array(class_names(model))[labels],
            "probabilities": (values + 0.1) / (values + 0.1).sum(axis=1, keepdims=True),
        }[model["targets"]]
    elif model["loss"][0] == "BinaryCrossEntropy":
        y = values if model["targets"] == "probabilities" else np.floor(2 * values)
    weights = np.floor(5 * draws.random_sample(samples)) / 2
    weights[0] = 1.0
    return X, y, weights


def class_names(model: dict[str, Any]) -> list[str]:
    return [f"class {label:02}" for label in range(model["outputs"])]
