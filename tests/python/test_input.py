"""X as it is stored: bytes and floats of either width, strided rows, memory maps. What is trained has the bits that
converting with NumPy first gives."""

from __future__ import annotations

import ctypes
import math
import mmap
import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop
from helpers import bits, refused

SAMPLES, OUTPUTS = 300, 4
SCALINGS = {"none": (1.0, 0.0), "to 1": (1 / 255, 0.0), "around 0": (2 / 255, -1.0)}
STORED = ("uint8", "float32", "float64")
LAYERS = [stoop.Dense(11), stoop.BatchNorm(), stoop.ReLU(), stoop.Dropout(0.3), stoop.Dense(OUTPUTS)]


def make_images(columns: int = 37, stored: str = "uint8") -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    rng = np.random.default_rng(columns)
    images = rng.integers(256, size=(SAMPLES, columns))
    return (images if stored == "uint8" else images + rng.random(images.shape)).astype(stored), images[:, 0] % OUTPUTS


def fused(X: npt.NDArray[Any], dtype: str, scale: float, shift: float) -> npt.NDArray[Any]:
    """T(X) * T(scale) + T(shift) with one rounding, by the C library."""
    number = ctypes.c_float if dtype == "float32" else ctypes.c_double
    fma = ctypes.CDLL(None)["fmaf" if dtype == "float32" else "fma"]
    fma.restype, fma.argtypes = number, [number] * 3
    return np.frompyfunc(lambda x: fma(x, scale, shift), 1, 1)(X.astype(dtype)).astype(dtype)


def make_model(columns: int = 37, dtype: str = "float32", scaling: tuple[float, float] = (1.0, 0.0)) -> stoop.Model:
    scale, shift = scaling
    return stoop.Model(LAYERS, columns, seed=1, dtype=dtype, input_scale=scale, input_shift=shift)


def everything(model: stoop.Model, X: Any, y: Any, shuffle: bool = True, validation: Any = None) -> list[Any]:
    """What all public calls give for these samples, as bits or floats that are equal only if all bits are."""
    trainer = stoop.Trainer(model, seed=3)
    fit = {"epochs": 2, "batch_size": 32, "shuffle": shuffle, "verbose": 0, "validation_data": validation or (X, y)}
    history = trainer.fit(X, y, **fit)
    loss, gradient = trainer.loss_and_grad(X, y)
    direction = {name: np.ones_like(value) for name, value in gradient.items()}
    product = trainer.hessian_vector_product(X[:64], y[:64], direction)
    return [
        bits(model),
        [history[key] for key in ("loss", "val_loss", "grad_norm", "accuracy")],
        (loss, {name: value.tobytes() for name, value in gradient.items()}),
        {name: value.tobytes() for name, value in product.items()},
        trainer.step(X[:50], y[:50]),
        trainer.evaluate(X, y),
        model.predict(X).tobytes(),
        model.predict(X[:1]).tobytes(),
        model.predict_proba(X).tobytes(),
    ]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_stored_types_give_the_bits_of_converting_first(dtype: str, stored: str, scaling: str, shuffle: bool) -> None:
    X, y = make_images(stored=stored)
    scale, shift = SCALINGS[scaling]
    got = everything(make_model(dtype=dtype, scaling=(scale, shift)), X, y, shuffle)
    assert got == everything(make_model(dtype=dtype), fused(X, dtype, scale, shift), y, shuffle)


@pytest.mark.parametrize("columns", [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 70])
def test_bytes_of_every_width(columns: int) -> None:
    X, y = make_images(columns)
    got = everything(make_model(columns, scaling=(1 / 255, 0.25)), X, y)
    assert got == everything(make_model(columns), fused(X, "float32", 1 / 255, 0.25), y)


def misaligned(X: npt.NDArray[Any]) -> npt.NDArray[Any]:
    memory = np.empty(X.nbytes + 1, np.uint8)
    view = memory[1:].view(X.dtype).reshape(X.shape)
    view[...] = X
    return view


STRIDED: dict[str, Callable[[npt.NDArray[Any]], npt.NDArray[Any]]] = {
    "columns of a wider array": lambda X: np.hstack([X, X, X])[:, 37:74],
    "every second row": lambda X: np.repeat(X, 2, axis=0)[::2],
    "rows backwards": lambda X: X[::-1].copy()[::-1],
    "Fortran order": np.asfortranarray,
    "every second column": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "big-endian": lambda X: X.astype(X.dtype.newbyteorder(">")),
    "off its alignment": misaligned,
    "one row for all": lambda X: np.broadcast_to(X[:1], X.shape),
}


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("layout", STRIDED)
def test_every_layout_gives_the_same_bits(layout: str, stored: str) -> None:
    X, y = make_images(stored=stored)
    strided = STRIDED[layout](X)
    plain = np.ascontiguousarray(strided).astype(stored)
    assert everything(make_model(), strided, y) == everything(make_model(), plain, y)


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("layout", ["columns of a wider array", "every second row"])
def test_rows_that_are_apart_are_read_in_place(layout: str, stored: str) -> None:
    X = STRIDED[layout](make_images(stored=stored)[0])
    assert stoop._checks.features("fit", X, np.dtype("float32"), 37) is X


@pytest.mark.parametrize("between", [np.nan, 1.0])
@pytest.mark.parametrize("stored", ["float32", "float64"])
def test_a_nan_counts_in_rows_that_are_apart_but_not_between_them(stored: str, between: float) -> None:
    wide = np.ones((SAMPLES, 60), stored)
    wide[:, 37:] = between
    X = wide[:, :37]
    assert np.isfinite(make_model().predict(X)).all()
    X[-1, 36] = np.nan
    with refused(ValueError, "nan", rf"row {SAMPLES - 1}\b", r"column 36\b"):
        make_model().predict(X)


# ---- the scale and the shift ----


def test_the_scaling_belongs_to_the_model(tmp_path: Path) -> None:
    X, y = make_images()
    model = make_model(scaling=(1 / 255, -0.5))
    stoop.Trainer(model).fit(X, y, epochs=1, verbose=0)
    outputs = model.predict(X)
    assert (model.input_scale, model.input_shift) == (1 / 255, -0.5)
    model.save(tmp_path / "m.safetensors")
    for same in (stoop.load_model(tmp_path / "m.safetensors"), model.copy(), pickle.loads(pickle.dumps(model))):
        assert (same.input_scale, same.input_shift) == (1 / 255, -0.5)
        assert same.predict(X).tobytes() == outputs.tobytes()
    np.testing.assert_allclose(model.fold_batch_norm().predict(X), outputs, rtol=1e-4, atol=1e-4)
    assert "0.0039" in model.summary()
    assert "0.0039" not in make_model().summary()


def test_floats_are_scaled_like_bytes() -> None:
    X, _ = make_images()
    model = make_model(scaling=(1 / 255, 0.0))
    assert model.predict(X).tobytes() == model.predict(X.astype("float32")).tobytes()


def test_a_file_without_scaling_is_as_it_was(tmp_path: Path) -> None:
    make_model().save(tmp_path / "m.safetensors")
    assert b"input_scale" not in (tmp_path / "m.safetensors").read_bytes()


@pytest.mark.parametrize("scale", [0.0, math.nan, math.inf, -math.inf, 1e300, 1e-300, "1", None, True])
def test_a_scale_that_cannot_be_used(scale: Any) -> None:
    with refused((ValueError, TypeError), "input_scale"):
        stoop.Model(LAYERS, 37, input_scale=scale)


@pytest.mark.parametrize("shift", [math.nan, math.inf, 1e300, "1", None])
def test_a_shift_that_cannot_be_used(shift: Any) -> None:
    with refused((ValueError, TypeError), "input_shift"):
        stoop.Model(LAYERS, 37, input_shift=shift)


def test_gradcheck_scales_too() -> None:
    X, y = make_images()
    layers = [stoop.Dense(5, activation="tanh"), stoop.Dense(OUTPUTS)]
    model = stoop.Model(layers, 37, dtype="float64", input_scale=1 / 255, input_shift=0.1)
    result = stoop.gradcheck(model, "softmax_cross_entropy", X[:20], y[:20])
    gradient = stoop.Trainer(model).loss_and_grad(X[:20], y[:20])[1]
    assert result.passed
    for name, check in result.per_parameter.items():
        assert check.worst_analytic == gradient[name][check.worst_index]


# ---- memory maps ----


def mapped(path: Path, X: npt.NDArray[Any]) -> np.memmap[Any, Any]:
    X.tofile(path)
    return np.memmap(path, X.dtype, "r", shape=X.shape)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_memory_map_gives_the_bits_of_an_array(tmp_path: Path, dtype: str, stored: str, shuffle: bool) -> None:
    X, y = make_images(stored=stored)
    from_file = everything(make_model(dtype=dtype), mapped(tmp_path / "x", X), y, shuffle)
    assert from_file == everything(make_model(dtype=dtype), X, y, shuffle)


def test_rows_larger_than_pages_and_many_of_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(256, size=(6000, 6000), dtype=np.uint8)  # 36 MB: more than is asked for at a time
    y = rng.integers(OUTPUTS, size=6000)
    runs = []
    for source in (X, mapped(tmp_path / "x", X)):
        for shuffle in (True, False):
            model = stoop.Model([stoop.Dense(OUTPUTS)], 6000, input_scale=1 / 255)
            trainer = stoop.Trainer(model)
            history = trainer.fit(source, y, epochs=2, batch_size=100, shuffle=shuffle, verbose=0)
            runs.append((shuffle, bits(model), history["loss"], trainer.evaluate(source, y)))
    assert runs[:2] == runs[2:]


def saved(path: Path, X: npt.NDArray[Any]) -> Path:
    np.save(path.with_suffix(".npy"), X)
    return path.with_suffix(".npy")


def from_mmap(path: Path, X: npt.NDArray[Any]) -> npt.NDArray[Any]:
    X.tofile(path)
    with path.open("rb") as file:
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(memory, X.dtype).reshape(X.shape)


MAPS: dict[str, Callable[[Path, npt.NDArray[Any]], npt.NDArray[Any]]] = {
    "memmap": mapped,
    "rows of one": lambda path, X: mapped(path, np.vstack([X, X]))[len(X) :],
    "columns of one": lambda path, X: mapped(path, np.hstack([X, X]))[:, X.shape[1] :],
    "as an ndarray": lambda path, X: np.asarray(mapped(path, X)),
    "numpy.load": lambda path, X: np.load(saved(path, X), mmap_mode="r"),
    "mmap": from_mmap,
}


@pytest.mark.parametrize("kind", MAPS)
def test_a_nan_in_a_file_is_found_when_its_row_is_read(tmp_path: Path, kind: str) -> None:
    """What an ordinary array is refused for before it starts: only a map is trained on up to there."""
    X, y = make_images(stored="float32")
    X[200, 5] = np.nan
    layers = [stoop.Dense(OUTPUTS)]
    model, twin = stoop.Model(layers, 37), stoop.Model(layers, 37)
    trainer = stoop.Trainer(model)
    with refused(ValueError, "nan", r"row 200\b", r"column 5\b"):
        trainer.fit(MAPS[kind](tmp_path / "x", X), y, epochs=2, batch_size=32, shuffle=False, verbose=0)
    stoop.Trainer(twin).fit(X[:192], y[:192], epochs=1, batch_size=32, shuffle=False, verbose=0)
    assert (trainer.steps, trainer.epoch) == (6, 0)
    assert bits(model) == bits(twin)


def test_what_stays_of_an_epoch_that_met_a_nan(tmp_path: Path) -> None:
    """The updates before its batch, running statistics included, which have not seen it."""
    X, y = make_images(stored="float32")
    X[200, 5] = np.nan
    model, twin = make_model(), make_model()
    trainer, stepwise = stoop.Trainer(model, num_threads=2), stoop.Trainer(twin)
    with refused(ValueError, r"row 200\b"):
        trainer.fit(mapped(tmp_path / "x", X), y, epochs=2, batch_size=32, shuffle=False, verbose=0)
    for first in range(0, 192, 32):
        stepwise.step(X[first : first + 32], y[first : first + 32])
    assert trainer.steps == 6
    assert bits(model) == bits(twin)
    assert {name: value.tobytes() for name, value in model.buffers().items()} == {
        name: value.tobytes() for name, value in twin.buffers().items()
    }


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("stored", ["float32", "float64"])
def test_every_call_refuses_a_file_with_a_bad_value(tmp_path: Path, stored: str, value: float) -> None:
    X, y = make_images(stored=stored)
    with np.errstate(over="ignore"):
        X[77, 3] = value
    good, bad = X[:64], mapped(tmp_path / "x", X)
    model = make_model()
    trainer = stoop.Trainer(model, num_threads=2)
    trainer.fit(good, y[:64], epochs=1, verbose=0)
    before = bits(model), {name: value.tobytes() for name, value in model.buffers().items()}
    calls: tuple[Callable[[], Any], ...] = (
        lambda: trainer.fit(bad, y, epochs=2, batch_size=len(X), verbose=0),
        lambda: trainer.step(bad, y),
        lambda: trainer.loss_and_grad(bad, y),
        lambda: trainer.hessian_vector_product(bad, y, {}),
        lambda: trainer.evaluate(bad, y),
        lambda: model.predict(bad),
    )
    for call in calls:
        with refused(ValueError, r"row 77\b", r"column 3\b"):
            call()
        assert (bits(model), {name: value.tobytes() for name, value in model.buffers().items()}) == before
    full = stoop.Trainer(stoop.Model([stoop.Dense(OUTPUTS)], 37), optimizer=stoop.optimizers.LBFGS())
    start = bits(full.model)
    with refused(ValueError, r"row 77\b"):
        full.fit(bad, y, epochs=1, batch_size=len(X), shuffle=False, verbose=0)
    assert bits(full.model) == start


def test_validation_on_a_file_with_a_bad_value(tmp_path: Path) -> None:
    X, y = make_images(stored="float32")
    bad = X.copy()
    bad[9, 9] = np.inf
    trainer = stoop.Trainer(make_model())
    with refused(ValueError, "validation_data", r"row 9\b"):
        trainer.fit(X, y, epochs=2, verbose=0, validation_data=(mapped(tmp_path / "x", bad), y))
    assert (trainer.epoch, trainer.steps) == (0, 0)


def test_a_map_is_not_copied(tmp_path: Path) -> None:
    rows, columns = 50_000, 784
    path = tmp_path / "x"
    with path.open("wb") as file:
        file.truncate(rows * columns * 8)  # 314 MB of float64 zeros that take no disk
    X = np.memmap(path, np.float64, "r", shape=(rows, columns))
    y = np.zeros(rows, np.int64)
    model = stoop.Model([stoop.Dense(2)], columns)
    tracemalloc.start()
    try:
        stoop.Trainer(model).fit(X[1:], y[1:], epochs=1, batch_size=5000, verbose=0)
        model.predict(X)
        assert tracemalloc.get_traced_memory()[1] < 10e6  # the most at a time
    finally:
        tracemalloc.stop()
