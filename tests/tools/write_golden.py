"""Write small files of every kind with what they must give: later versions of Stoop have to read them for ever.

``tests/golden/VERSION/KIND/NAME.safetensors`` are written with ``expected.json`` beside them:
``{"KIND/NAME": {"X": ..., "outputs": ..., ...}}``. A file that is there is never written anew; what a version adds gets
files of its own, in the folder of that version: the script adds what is missing there.
``tests/python/test_golden_files.py`` reads them all, and the fuzzers of ``tests/fuzz`` begin with them.

Usage: write_golden.py [FOLDER]      the default is the folder of the version that is installed
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import stoop
from stoop import Columns, Dense, MemberDense, Members, Model, Residual, Trainer, optimizers

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
ROWS = 5
DTYPES = ("float32", "float64")


def numbers(rows: int = ROWS, columns: int = 4, seed: int = 0) -> Any:
    """Eighths from -2 to 2, which every element type holds."""
    return np.random.default_rng(seed).integers(-16, 17, (rows, columns)) / 8


def table(rows: int = ROWS, seed: int = 0) -> Any:
    """Numbers in columns 0 and 2, codes in columns 1 and 3."""
    rng = np.random.default_rng(seed)
    X = numbers(rows, 4, seed)
    X[:, 1], X[:, 3] = rng.integers(0, 3, rows), rng.integers(0, 12, rows)
    return X


def seeded(layers: list[Any], dtype: str, **options: Any) -> Model:
    """A model with parameters that are no first values."""
    model = Model(layers, 4, seed=3, dtype=dtype, **options)
    rng = np.random.default_rng(1)
    for values in model.parameters().values():
        values += rng.integers(-4, 5, values.shape) / 64
    return model


# ---- models: by layers, and whether X is a table ----


def activations() -> list[Any]:
    classes = (getattr(stoop, name) for name in stoop.activations.__all__)
    inside = [Dense(2, activation=kind()) for kind in classes if kind is not stoop.Identity]
    return [*inside, stoop.LeakyReLU(0.25), Dense(2, "tanh", use_bias=False), stoop.Identity(), Dense(3)]


def normalisations() -> list[Any]:
    return [
        stoop.Normalization("robust", clip=3.0, missing="mean"),
        Dense(3),
        stoop.BatchNorm(),
        stoop.ReLU(),
        Residual([Dense(2, "relu"), stoop.LayerNorm(), Dense(4)], lr_scale=0.5),
        Residual([Residual([Dense(4, "tanh", trainable=False)])]),
        stoop.Dropout(0.25),
        Dense(2, kernel_init="orthogonal", bias_init=stoop.initializers.constant(0.5), l2=0.1),
    ]


MODELS: dict[str, tuple[Callable[[], list[Any]], dict[str, Any]]] = {
    "activations": (activations, {}),
    "normalisations": (normalisations, {}),
    "members": (lambda: [Members(2, bias=True), MemberDense(3, "relu"), MemberDense(2)], {}),
    "shared": (
        lambda: [stoop.FeatureScale(), MemberDense(3, "silu", members=2, shared=True), MemberDense(2, shared=True)],
        {"output": "softmax"},
    ),
    "ple": (lambda: [Columns({1: 3, 3: 12}, bins=3, embedding_dim=2), Dense(1)], {}),
    "linear": (lambda: [Columns({1: 3}, encoding="ple_linear", bins=(2, 0, 3), embedding_dim=2), Dense(2)], {}),
    "bins": (lambda: [Columns({1: 3}, bins=(2, 0, 3), one_hot=0, embedding_dim=1), Dense(1)], {}),
    "periodic": (lambda: [Columns({3: 12}, encoding="periodic", frequencies=2, embedding_dim=2), Dense(2)], {}),
    "plain": (lambda: [Columns({1: 3}, encoding="none", kind="minmax", clip=None), Dense(2)], {}),
    "named": (
        lambda: [Dense(3)],
        {
            "input_scale": 1 / 255,
            "input_shift": -0.5,
            "output": "softmax",
            "classes": ["ä", "b", "c"],
            "metadata": {"author": "somebody"},
        },
    ),
}


def model_of(name: str, dtype: str) -> tuple[Model, Any]:
    """Return the model and X of `MODELS`."""
    layers, options = MODELS[name]
    options = dict(options)
    metadata = options.pop("metadata", {})
    model = seeded(layers(), dtype, **options)
    model.metadata.update(metadata)
    is_table = isinstance(layers()[0], Columns)
    if is_table or isinstance(layers()[0], stoop.Normalization):
        model.adapt(table(40, 1) if is_table else numbers(40, 4, 1))
    return model, table() if is_table else numbers()


# ---- the files: each function saves and yields the name and what is expected ----


def state_hash(model: Model) -> str:
    """A hash of the bits of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, values in {**model.parameters(), **model.buffers()}.items():
        digest.update(name.encode() + np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def models(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in MODELS:
        for dtype in DTYPES:
            model, X = model_of(name, dtype)
            file = f"model/{name}-{dtype}"
            model.save(folder / f"{file}.safetensors")
            yield file, {"X": X.tolist(), "outputs": model.predict(X).tolist(), "state": state_hash(model)}


def ensembles(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for dtype in DTYPES:
        members = [seeded([Dense(width, "tanh"), Dense(2)], dtype, output="softmax") for width in (2, 3)]
        ensemble, X = stoop.Ensemble(members), numbers()
        file = f"ensemble/two-{dtype}"
        ensemble.save(folder / f"{file}.safetensors")
        states = [state_hash(model) for model in members]
        yield file, {"X": X.tolist(), "outputs": ensemble.predict_proba(X).tolist(), "states": states}


SCHEDULE = stoop.schedules.Warmup(stoop.schedules.Cosine(0.01, steps=50), steps=3)
TRAINERS: dict[str, dict[str, Any]] = {
    "adam": {"optimizer": optimizers.Adam(SCHEDULE), "ema": 0.9, "l2": 0.01, "clip_norm": 1.0},
    "sgd": {"optimizer": optimizers.SGD(0.05, momentum=0.9), "max_norm": 2.0},
    "rmsprop": {"optimizer": optimizers.RMSProp(0.01, momentum=0.5, centered=True), "loss": "mse"},
    "lbfgs": {"optimizer": optimizers.LBFGS(history_size=3), "loss": "mse"},
}


def checkpoints(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The update after the checkpoint is expected too, from the state of the optimizer."""
    for name, options in TRAINERS.items():
        for dtype in DTYPES:
            X, labels = numbers(20), np.arange(20) % 3
            y = np.eye(3)[labels] if options.get("loss") == "mse" else labels
            layers = [Dense(3, "tanh"), stoop.BatchNorm(), Dense(3)]
            if name != "lbfgs":  # which minimises what stays the same
                layers.insert(2, stoop.Dropout(0.1))
            trainer = Trainer(seeded(layers, dtype), **options)
            batch = 20 if name == "lbfgs" else 7
            trainer.fit(X, y, epochs=3, batch_size=batch, verbose=0)
            file = f"checkpoint/{name}-{dtype}"
            trainer.save_checkpoint(folder / f"{file}.safetensors")
            expected = {"X": X.tolist(), "y": y.tolist(), "batch_size": batch, "steps": trainer.steps}
            expected |= {"outputs": trainer.model.predict(X).tolist(), "state": state_hash(trainer.model)}
            trainer.fit(X, y, epochs=1, batch_size=batch, verbose=0)
            yield file, {**expected, "later": trainer.model.predict(X).tolist()}


def tables(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pandas as pd

    from stoop.tabular import TabularClassifier, TabularRegressor

    rng = np.random.default_rng(0)
    columns = {"mass": rng.integers(0, 80, 60) / 8, "legs": rng.integers(0, 4, 60)}
    columns["color"] = rng.choice(["red", "green", "blue"], 60)
    frame = pd.DataFrame(columns)
    small = {"hidden": (4,), "members": 2, "epochs": 2, "bins": 4, "random_state": 0}
    labels = np.where(frame["mass"] > 5, "heavy", "light")
    values = frame["mass"] + frame["legs"]
    for name, kind, y in (("classifier", TabularClassifier, labels), ("regressor", TabularRegressor, values)):
        model = kind(**small).fit(frame, y)
        file = f"tabular/{name}"
        model.save(folder / f"{file}.safetensors")
        X = {column: values[:ROWS].tolist() for column, values in columns.items()}
        outputs = model.predict_proba(frame[:ROWS]) if name == "classifier" else model.predict(frame[:ROWS])
        yield file, {"X": X, "outputs": outputs.tolist()}


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else GOLDEN / ".".join(stoop.__version__.split(".")[:2])
    texts = folder / "expected.json"
    expected: dict[str, Any] = json.loads(texts.read_text(encoding="utf-8")) if texts.exists() else {}
    kinds = (("model", models), ("ensemble", ensembles), ("checkpoint", checkpoints), ("tabular", tables))
    with tempfile.TemporaryDirectory() as scratch:
        for kind, write in kinds:
            (folder / kind).mkdir(parents=True, exist_ok=True)
            (Path(scratch) / kind).mkdir()
            for name, values in write(Path(scratch)):
                if name not in expected:
                    expected[name] = values
                    shutil.copy(Path(scratch) / f"{name}.safetensors", folder / kind)
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in expected.items()]
    texts.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
