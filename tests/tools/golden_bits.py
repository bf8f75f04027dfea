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
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from golden_models import FULL_BATCH, MODELS, build, build_schedule, class_names, draw_models, make_data

THREADS = (1, 2, 3)
ISAS = ("scalar", "avx2", "avx512", "neon")


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
