"""The C interface beside the package: the same bits from the same configurations, the same files, the same arguments.

The library is one that `make test` builds and names in STOOP_C_LIBRARY; tests/cpp/test_c_interface.cpp has the errors.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cases
import stoop
from c_interface import CModel, CPredictor, CTrainer, load
from cases_base import registry
from helpers import REPOSITORY, make_data, refused
from stoop.layers import layer_to_config

LIBRARY = os.environ.get("STOOP_C_LIBRARY", "")
HEADER = REPOSITORY / "cpp" / "include" / "stoop" / "stoop.h"

needs_library = pytest.mark.skipif(not LIBRARY, reason="STOOP_C_LIBRARY does not name the library of the C interface")


def script(name: str) -> Any:
    """A script of the documentation, as a module."""
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


configurations = script("configurations")
NOT_OF_C = configurations.NOT_OF_C


@pytest.fixture(scope="module")
def library() -> Any:
    return load(LIBRARY)


def functions_of_header() -> set[str]:
    return set(re.findall(r"\b(stoop_\w+)\(", re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)))


@needs_library
def test_version(library: Any) -> None:
    assert library.stoop_version().decode() == stoop.__version__


LAYERS = [
    stoop.Normalization(),
    stoop.Dense(16, activation=stoop.LeakyReLU(0.2), kernel_init="orthogonal", l2=1e-3),
    stoop.BatchNorm(),
    stoop.Residual([stoop.Dense(16, activation="gelu"), stoop.LayerNorm()]),
    stoop.Dropout(0.1),
    stoop.Dense(3),
]


def configs_of(layers: list[Any], **others: Any) -> dict[str, Any]:
    return {"layers": [layer_to_config(layer) for layer in layers], "input_dim": 5, **others}


@needs_library
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "mse"])
def test_the_same_bits_as_python(library: Any, loss: str, tmp_path: Path) -> None:
    X, y = make_data(loss, 150, 5, 3)
    y = y.astype(np.int32) if loss != "mse" else y
    optimizer = stoop.optimizers.AdamW(stoop.schedules.Cosine(3e-3, steps=50), weight_decay=0.02)
    settings = {
        "l1": 1e-4,
        "clip_norm": 1.0,
        "ema": 0.9,
        "seed": 7,
        "accumulate": 2,
        "num_threads": None,
        "rollback": True,
    }
    options = {"epochs": 4, "batch_size": 32, "validation_split": 0.2, "shuffle": True, "last_batch": "merge"}
    model = stoop.Model(LAYERS, 5, seed=3)
    trainer = stoop.Trainer(model, loss=loss, optimizer=optimizer, **settings)
    trainer.fit(X, y, verbose=0, **options)
    theirs = CModel.create(library, configs_of(LAYERS, seed=3, dtype="float32"))
    c_trainer = CTrainer(theirs, {"loss": loss, "optimizer": optimizer.to_config(), **settings})
    c_trainer.fit(X, y, options)
    np.testing.assert_array_equal(theirs.predict(X), model.predict(X))
    loss_now, accuracy = c_trainer.evaluate(X, y)
    expected = trainer.evaluate(X, y)
    assert loss_now == expected["loss"]
    assert accuracy == expected["accuracy"] if loss != "mse" else np.isnan(accuracy)
    theirs.save(tmp_path / "c.safetensors")
    model.save(tmp_path / "python.safetensors")
    assert (tmp_path / "c.safetensors").read_bytes() == (tmp_path / "python.safetensors").read_bytes()


@needs_library
@pytest.mark.parametrize("rows", [1, 8, 9])
def test_a_predictor_gives_the_bits_of_its_model(library: Any, rows: int) -> None:
    X, y = make_data("mse", 60, 5, 3)
    model = CModel.create(library, configs_of([stoop.Dense(512, "relu"), stoop.Dense(512, "relu"), stoop.Dense(3)]))
    predictor, expected = CPredictor(model), model.predict(X[:rows])
    CTrainer(model, {"loss": "mse"}).fit(X, y, {"epochs": 1})
    assert not np.array_equal(model.predict(X[:rows]), expected)
    del model
    for _ in range(3):
        np.testing.assert_array_equal(predictor.predict(X[:rows]), expected)


@needs_library
def test_defaults_are_those_of_python(library: Any) -> None:
    X, y = make_data("softmax_cross_entropy", 300, 5, 3)
    model = stoop.Model([stoop.Dense(8, "relu"), stoop.Dense(3)], 5)
    trainer = stoop.Trainer(model)
    trainer.fit(X, y, verbose=0)
    theirs = CModel.create(library, configs_of([stoop.Dense(8, "relu"), stoop.Dense(3)]))
    CTrainer(theirs).fit(X, y.astype(np.int32))
    np.testing.assert_array_equal(theirs.predict(X), model.predict(X))


@needs_library
@pytest.mark.parametrize("classes", [["bird", "cat", "dog"], [-1, 5, 7], [2**40, 1, 0]])
def test_class_names_and_scales(library: Any, classes: list[Any], tmp_path: Path) -> None:
    arguments = {"input_scale": 1 / 255, "input_shift": -0.5, "output": "softmax", "seed": 2}
    theirs = CModel.create(library, configs_of([stoop.Dense(3)], classes=classes, **arguments))
    theirs.save(tmp_path / "c.safetensors")
    stoop.Model([stoop.Dense(3)], 5, classes=classes, **arguments).save(tmp_path / "python.safetensors")
    assert (tmp_path / "c.safetensors").read_bytes() == (tmp_path / "python.safetensors").read_bytes()
    assert list(stoop.load_model(tmp_path / "c.safetensors").classes) == classes


@needs_library
def test_truth_values_are_names_too(library: Any, tmp_path: Path) -> None:
    CModel.create(library, configs_of([stoop.Dense(1)], classes=[False, True])).save(tmp_path / "c")
    assert stoop.load_model(tmp_path / "c").classes.tolist() == [False, True]
    with refused(ValueError, "expected a string"):
        CModel.create(library, configs_of([stoop.Dense(3)], classes=["a", 1, True]))


@needs_library
def test_checkpoints_go_both_ways(library: Any, tmp_path: Path) -> None:
    X, y = make_data("mse", 120, 5, 3)
    layers = [stoop.Dense(12, "tanh"), stoop.Dense(3)]
    optimizer = stoop.optimizers.SGD(0.05, momentum=0.9)
    model = stoop.Model(layers, 5)
    trainer = stoop.Trainer(model, loss="mse", optimizer=optimizer)
    theirs = CModel.create(library, configs_of(layers, seed=9))
    c_trainer = CTrainer(theirs, {"loss": "mse", "optimizer": optimizer.to_config()})
    trainer.fit(X, y, epochs=2, verbose=0)
    trainer.save_checkpoint(tmp_path / "python")
    c_trainer.load_checkpoint(tmp_path / "python")
    c_trainer.fit(X, y, {"epochs": 2})
    c_trainer.save_checkpoint(tmp_path / "c")
    loaded = stoop.load_checkpoint(tmp_path / "c")
    assert (loaded.epoch, loaded.steps) == (4, 4)
    trainer.fit(X, y, epochs=2, verbose=0)
    np.testing.assert_array_equal(theirs.predict(X), model.predict(X))
    loss = c_trainer.step(X, y)
    assert loss == trainer.step(X, y) == loaded.step(X, y)
    np.testing.assert_array_equal(theirs.predict(X), loaded.model.predict(X))


@needs_library
def test_a_fit_resumes(library: Any, tmp_path: Path) -> None:
    X, y = make_data("mse", 120, 5, 3)
    whole, half, rest = (CModel.create(library, configs_of([stoop.Dense(3)])) for _ in range(3))
    CTrainer(whole, {"loss": "mse"}).fit(X, y, {"epochs": 6})
    first = CTrainer(half, {"loss": "mse"})
    first.fit(X, y, {"epochs": 3, "resume": str(tmp_path / "absent")})
    first.save_checkpoint(tmp_path / "half")
    CTrainer(rest, {"loss": "mse"}).fit(X, y, {"epochs": 6, "resume": str(tmp_path / "half")})
    np.testing.assert_array_equal(whole.predict(X), rest.predict(X))


@needs_library
@pytest.mark.parametrize("kind", ["loss", "optimizer"])
def test_every_loss_and_optimizer_is_read(library: Any, kind: str) -> None:
    model = CModel.create(library, configs_of([stoop.Dense(2)]))
    for name, found in registry(kind).items():
        for arguments in cases.KINDS[kind][name].variants():
            CTrainer(model, {kind: found(**arguments).to_config()})


@needs_library
def test_threads_of_python_predict_at_once(library: Any) -> None:
    X, _ = make_data("mse", 64, 5, 3)
    model = CModel.create(library, configs_of([stoop.Dense(64, "relu"), stoop.Dense(3)]))
    expected = model.predict(X)
    same: list[bool] = []

    def work() -> None:
        same.append(all(np.array_equal(model.predict(X), expected) for _ in range(200)))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert same == [True] * 6


def keys_of_c(library: Any, kind: str) -> set[str]:
    """The keys that a configuration may have, as the message about another one lists them."""
    model = CModel.create(library, configs_of([stoop.Dense(2)]))
    X, y = np.zeros((4, 5), np.float32), np.zeros(4, np.int32)
    wrong = {"no such key": 1}
    with pytest.raises(ValueError, match="unknown key") as caught:
        if kind == "Model":
            CModel.create(library, wrong)
        elif kind == "Trainer":
            CTrainer(model, wrong)
        else:
            CTrainer(model).fit(X, y, wrong)
    listed = re.search(r"expected one of (.*);", str(caught.value))
    assert listed is not None
    return set(re.split(r", | or ", listed[1]))


@needs_library
@pytest.mark.parametrize("kind", NOT_OF_C)
def test_c_takes_what_python_takes(library: Any, kind: str) -> None:
    of_python = set(inspect.signature(configurations.CALLS[kind][1]).parameters) - {"self"}
    keys = keys_of_c(library, kind)
    if kind == "Model":
        keys -= {"metadata"}  # Python sets it as an attribute
    assert keys | set(NOT_OF_C[kind]) == of_python
    assert not keys & set(NOT_OF_C[kind])


@pytest.mark.parametrize("name", ["configurations", "c_interface"])
def test_pages_are_what_their_scripts_make(name: str) -> None:
    module = script(name)
    assert module.PAGE.read_text(encoding="utf-8") == module.page(), f"run python docs/{name}.py"


def test_the_page_of_the_c_interface_has_every_function() -> None:
    page = script("c_interface").page()
    assert all(f"{name}(" in page for name in functions_of_header())


# ---- the header ----

COMPILERS = [
    (name, arguments)
    for name in ("gcc", "clang", "clang-14")
    if shutil.which(name)
    for arguments in (["-std=c99", "-x", "c"], ["-std=c++11", "-x", "c++"])
]


@pytest.mark.parametrize(("compiler", "arguments"), COMPILERS, ids=str)
def test_the_header_is_strict_c99_and_cpp(compiler: str, arguments: list[str]) -> None:
    strict = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror", "-fsyntax-only"]
    command = [compiler, *arguments, *strict, f"-I{HEADER.parents[1]}", "-"]
    source = "#include <stoop/stoop.h>\n#include <stoop/stoop.h>\nint main(void) { return stoop_last_status(); }\n"
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@needs_library
def test_every_function_of_the_header_is_exported_and_nothing_else() -> None:
    listing = subprocess.run(["nm", "-D", "--defined-only", LIBRARY], capture_output=True, text=True, check=True).stdout
    assert {line.split()[-1] for line in listing.splitlines()} == functions_of_header()
