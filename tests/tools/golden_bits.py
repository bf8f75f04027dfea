"""Hash what training computes, to see whether a change of the sources changed any bit.

60 models are drawn from a fixed seed, from all layers, activations, initialisers, losses, optimizers, schedules and
regularisers of version 0.1, in float32 and float64. Each is trained for about 20 updates through the public interface
of whichever package Python finds (``PYTHONPATH`` decides), for each instruction set of this CPU and with 1, 2 and 3
threads, which must agree. What is hashed: gradients, Hessian-vector products, parameters, buffers, averages, outputs
and the history but for its times, schedules, and updates of bare arrays.

Everything to draw from is written out here, and the random numbers are those that Python and NumPy have frozen, so
that what is added to the package changes no draw.

Usage: golden_bits.py [--write FILE | --check FILE] [--isa ISA ...]
       golden_bits.py --show MODEL [--isa ISA]     what a model is, and a hash of each of its results

FILE holds ``{isa: [hash of each model]}`` and what it was made with; ``golden_bits.json`` beside this script is one.
With --check the exit status is 1 if a hash differs. Every compiler contracts a*b + c in places of its own where the
instruction set has a fused operation, so that the hashes of avx2 and avx512 are those of one compiler (GCC 12 and
Clang 14 differ in 55 of the 60 models). Those of scalar are the same for both, as long as the C library computes its
powers and cosines alike. ``tests/python/test_golden_bits.py`` checks what can be compared on a machine. After a change
that is meant to change bits, write the file anew and say why.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

MODELS = 60
THREADS = (1, 2, 3)
ISAS = ("scalar", "avx2", "avx512", "neon")

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


# ---- what is computed ----


def results(stoop: Any, model: dict[str, Any], threads: int) -> Iterator[tuple[str, Any]]:
    """Names and values of all that is hashed of a model."""
    stoop.set_num_threads(threads)
    options: dict[str, Any] = {"input_scale": 1 / 75, "input_shift": -1.7} if model["input"] == "uint8" else {}
    if model["targets"] == "names":
        options["classes"] = class_names(model)
    layers = [build(stoop, layer) for layer in model["layers"]]
    net = stoop.Model(layers, model["inputs"], seed=model["seed"], dtype=model["dtype"], **options)
    yield "first parameters", net.parameters()
    name, arguments = model["optimizer"]
    rate = build_schedule(stoop, model["schedule"], model["rate"])
    optimizer = getattr(stoop.optimizers, name)(learning_rate=rate, **arguments)
    loss = getattr(stoop.losses, model["loss"][0])(**model["loss"][1])
    trainer = stoop.Trainer(net, loss, optimizer, num_threads=threads, **model["trainer"])
    if model["schedule"] is not None:
        yield "rates", rate.values(25)
    batch = model["batch_size"]
    part = make_data(model, batch, model["seed"] + 1)
    train = fit(trainer, model)
    yield from second_order(trainer, model, part, training=True, dropout=model["dropout"])
    yield "history", next(train)
    if name not in FULL_BATCH:
        yield "step", [trainer.step(*part[:2]), trainer.step(*part)]
    yield from second_order(trainer, model, part, training=False, dropout=False)
    yield "evaluation", trainer.evaluate(*part)
    yield "second history", next(train)
    yield "parameters", net.parameters()
    yield "buffers", net.buffers() if hasattr(net, "buffers") else {}
    yield "outputs", [net.predict(part[0]), net.predict(part[0][:1]), net.predict(part[0][:2])]
    yield "average", trainer.ema_parameters()
    yield "counts", [trainer.steps, trainer.epoch]
    if name not in FULL_BATCH:
        yield "bare arrays", bare_updates(optimizer, model)


def fit(trainer: Any, model: dict[str, Any]) -> Iterator[Any]:
    """Train for about 15 updates, then for some 5 more; yield the history of each."""
    batch, options = model["batch_size"], dict(model["fit"])
    full_batch = model["optimizer"][0] in FULL_BATCH
    rest = 0 if full_batch else min(batch - 1, 1 + batch // 3)
    samples = batch if full_batch else 5 * batch + rest
    samples = max(samples, 3 * model["outputs"])
    X, y, weights = make_data(model, samples, model["seed"])
    arguments: dict[str, Any] = {"shuffle": options["shuffle"], "last_batch": options["last_batch"], "verbose": 0}
    if options["sample_weight"]:
        arguments["sample_weight"] = weights
    if options["class_weight"] and model["targets"] in ("labels", "names"):
        arguments["class_weight"] = "balanced"
    if options["validation"] == "data":
        arguments["validation_data"] = make_data(model, 2 * samples, model["seed"] + 2)
    elif options["validation"] == "split" and not full_batch:
        arguments["validation_split"] = 0.2
    size = samples if full_batch else batch
    for epochs in (8, 3) if full_batch else (3, 1):
        history = trainer.fit(X, y, epochs=epochs, batch_size=size, **arguments)
        yield {key: values for key, values in history.items() if key != "samples_per_second"}


def second_order(trainer: Any, model: dict[str, Any], part: Any, **how: Any) -> Iterator[tuple[str, Any]]:
    X, y, weights = part
    weighted = {"sample_weight": weights} if model["fit"]["sample_weight"] else {}
    yield "gradient", trainer.loss_and_grad(X, y, **how, **weighted)
    draws = np.random.RandomState(model["seed"] + 3)
    direction = {name: draws.random_sample(value.shape) - 0.5 for name, value in trainer.model.parameters().items()}
    yield "hessian", trainer.hessian_vector_product(X, y, direction, **how, **weighted)


def bare_updates(optimizer: Any, model: dict[str, Any]) -> list[Any]:
    draws = np.random.RandomState(model["seed"] + 4)
    arrays = [draws.random_sample(shape).astype(model["dtype"]) for shape in ((37, 5), (300,), ())]
    for _ in range(6):
        gradients = [(draws.random_sample(array.shape) - 0.5).astype(model["dtype"]) for array in arrays]
        optimizer.step(arrays, gradients)
    return arrays


# ---- hashes ----


def feed(digest: Any, value: Any) -> None:
    """Hash numbers by their bits, with their names, types and shapes."""
    if isinstance(value, dict):
        for key in value:
            digest.update(f"{key}:".encode())
            feed(digest, value[key])
    elif isinstance(value, list | tuple):
        for item in value:
            feed(digest, item)
    else:
        array = np.ascontiguousarray(value)
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())


def hash_of(values: Any) -> str:
    digest = hashlib.sha256()
    feed(digest, values)
    return digest.hexdigest()[:16]


def parts(stoop: Any, model: dict[str, Any], threads: int) -> list[tuple[str, str]]:
    return [(name, hash_of(value)) for name, value in results(stoop, model, threads)]


def hash_models(models: Sequence[dict[str, Any]], threads: Sequence[int], told: Callable[[str], None]) -> list[str]:
    """A hash for each model; a line to `told` where numbers of threads disagree."""
    import stoop

    hashes = []
    for index, model in enumerate(models):
        by_threads = [parts(stoop, model, count) for count in threads]
        for count, found in zip(threads[1:], by_threads[1:], strict=True):
            for (name, ours), (_, theirs) in zip(by_threads[0], found, strict=True):
                if ours != theirs:
                    told(f"model {index}: {name} differs between {threads[0]} and {count} threads")
        hashes.append(hashlib.sha256(repr(by_threads[0]).encode()).hexdigest()[:16])
    return hashes


# ---- one process per instruction set ----


def run_isa(isa: str, *arguments: str) -> str:
    """Standard output of this script in a process with this instruction set and no other STOOP_* variable."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STOOP_")}
    environment = {**kept, "STOOP_ISA": isa, "STOOP_GEMM": "native", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def golden(isas: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """The hashes by instruction set, and lines about numbers of threads that disagree."""
    hashes, complaints = {}, []
    for isa in isas:
        found = json.loads(run_isa(isa, "--worker"))
        hashes[isa] = found["hashes"]
        complaints += [f"{isa}: {line}" for line in found["complaints"]]
    return hashes, complaints


def compare(actual: dict[str, list[str]], expected: dict[str, Any]) -> list[str]:
    """A line for each instruction set whose hashes are not the expected ones."""
    lines = []
    for isa, hashes in actual.items():
        if isa not in expected:
            lines.append(f"{isa}: the file has no hashes of it")
            continue
        differ = [
            str(index) for index, pair in enumerate(zip(hashes, expected[isa], strict=True)) if pair[0] != pair[1]
        ]
        if differ:
            lines.append(f"{isa}: {len(differ)} of {len(hashes)} models differ: {', '.join(differ)}")
    return lines


def made_with() -> dict[str, str]:
    """What the bits of a fixed program depend on."""
    import stoop

    build = stoop._core.build_info()
    points = [0.001 + 0.37 * i for i in range(500)]
    functions = (math.exp, math.log, math.cos, math.sin, math.sqrt, lambda x: math.pow(0.96, x))
    libm = hash_of([f(x) for f in functions for x in points])
    return {"machine": platform.machine(), "compiler": build["compiler"], "flags": build["flags"], "libm": libm}


def available_isas() -> list[str]:
    import stoop

    return [isa for isa in ISAS if isa in stoop._core.available_isas()]


def show(index: int) -> None:
    """Print a model and the hash of each of its results on one thread."""
    import stoop

    model = draw_models()[index]
    for key, value in model.items():
        print(f"{key}: {value}")
    for name, value in parts(stoop, model, 1):
        print(f"{value}  {name}")


def work() -> None:
    """Print the hashes of all models with the instruction set of this process, as JSON."""
    complaints: list[str] = []
    hashes = hash_models(draw_models(), THREADS, complaints.append)
    print(json.dumps({"hashes": hashes, "complaints": complaints}))


def main() -> int:
    """The exit status is 1 if numbers of threads disagree or hashes are not those of the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, metavar="FILE")
    parser.add_argument("--check", type=Path, metavar="FILE")
    parser.add_argument("--isa", nargs="+", choices=ISAS, help="default: all that this CPU has")
    parser.add_argument("--show", type=int, metavar="MODEL")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work() if options.show is None else show(options.show)
        return 0
    isas = options.isa or available_isas()
    if options.show is not None:
        print(run_isa(isas[-1], "--worker", "--show", str(options.show)), end="")
        return 0
    hashes, lines = golden(isas)
    if options.write:
        rows = {"made with": made_with(), **hashes}
        text = ",\n".join(f'  "{key}": {json.dumps(values)}' for key, values in rows.items())
        options.write.write_text(f"{{\n{text}\n}}\n")
    if options.check:
        lines += compare(hashes, json.loads(options.check.read_text()))
    print("\n".join(lines) or f"{', '.join(isas)}: {MODELS} models each, the same bits with {THREADS} threads")
    return 1 if lines else 0


if __name__ == "__main__":
    raise SystemExit(main())
