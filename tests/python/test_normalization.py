"""The Normalization layer against scikit-learn and NumPy: every kind, every stored type, and difficult columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

import stoop
from helpers import refused

Array = npt.NDArray[Any]
KINDS = ("standard", "robust", "minmax")
STORED = ("uint8", "float32", "float64")
DTYPES = ("float32", "float64")
SCALERS = {"standard": StandardScaler, "robust": RobustScaler, "minmax": MinMaxScaler}


def seen(layer: stoop.Normalization, dtype: str, X: Any, new: Any = None, columns: int | None = None) -> Array:
    """What the layers after a Normalization see of `new`, by a Dense that changes nothing."""
    model = looking(layer, dtype, X.shape[1] if columns is None else columns)
    model.adapt(X)
    return model.predict(X if new is None else new)


def looking(layer: stoop.Normalization, dtype: str, columns: int) -> stoop.Model:
    model = stoop.Model([layer, stoop.Dense(columns, kernel_init="zeros")], columns, dtype=dtype)
    np.fill_diagonal(model.parameters()["1.weight"], 1)
    return model


def draw(stored: str, rows: int = 211, columns: int = 19, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    if stored == "uint8":
        return rng.integers(256, size=(rows, columns), dtype=np.uint8)
    return (rng.gamma(2.0, 3.0, (rows, columns)) * rng.uniform(0.1, 90.0, columns) - 40.0).astype(stored)


def smooth(z: Array, clip: float) -> Array:
    return z / np.sqrt(1 + (z / clip) ** 2)


# ---- the formulas ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_scaler_of_scikit_learn(kind: str, stored: str, dtype: str) -> None:
    X, new = draw(stored), draw(stored, 60, seed=1)
    expected = SCALERS[kind]().fit(X.astype(np.float64)).transform(new.astype(np.float64))
    found = seen(stoop.Normalization(kind), dtype, X, new)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=1e-6 if dtype == "float32" else 1e-12, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("kind", KINDS)
def test_the_smooth_clip(kind: str, stored: str, dtype: str) -> None:
    X, new = draw(stored), draw(stored, 60, seed=1)
    expected = smooth(SCALERS[kind]().fit(X.astype(np.float64)).transform(new.astype(np.float64)), 0.75)
    found = seen(stoop.Normalization(kind, clip=0.75), dtype, X, new)
    np.testing.assert_allclose(found, expected, rtol=1e-6 if dtype == "float32" else 1e-12, atol=1e-6)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 8, 9])
@pytest.mark.parametrize("stored", STORED)
def test_few_rows(rows: int, stored: str) -> None:
    X = draw(stored, rows)
    quartiles = np.percentile(X.astype(np.float64), [25, 50, 75], axis=0)
    model = looking(stoop.Normalization("robust"), "float64", X.shape[1])
    model.adapt(X)
    np.testing.assert_array_equal(model.buffers()["0.shift"], quartiles[1])
    spread = quartiles[2] - quartiles[0]
    np.testing.assert_array_equal(model.buffers()["0.scale"], 1 / np.where(spread == 0, 1, spread))


def hard_columns(rows: int = 400) -> Array:
    """Columns that float32 does not tell apart, tiny, huge and constant ones; the last is rounding and nothing else."""
    rng = np.random.default_rng(5)
    one = rng.standard_normal((rows, 9))
    one[:, 0] += 1e9
    one[:, 1] = one[:, 1] * 1e-3 - 123456.789
    one[:, 2] *= 1e-30
    one[:, 3] *= 1e30
    one[:, 4] = 7.3
    one[:, 5] = 0.0
    one[:, 6] = 1e-30
    one[:, 7] = 3.0 + 1e-3 * one[:, 7]
    one[:, 8] = 0.1 + rng.integers(2, size=rows) * 2e-17
    return one


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_hard_columns(kind: str, dtype: str) -> None:
    X = hard_columns()
    exact = X.astype(np.longdouble)
    quartiles = np.percentile(X, [25, 50, 75], axis=0)
    shift = {"standard": exact.mean(0), "robust": quartiles[1], "minmax": exact.min(0)}[kind]
    spread = {"standard": exact.std(0), "robust": quartiles[2] - quartiles[0], "minmax": exact.max(0) - exact.min(0)}
    divisor = np.where(np.isin(np.arange(9), (4, 5, 6, 8)), 1, spread[kind])
    found = seen(stoop.Normalization(kind), dtype, X)
    np.testing.assert_allclose(found, ((exact - shift) / divisor).astype(float), rtol=1e-6, atol=1e-6)
    assert (found[:, [4, 5, 6]] == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_standard_agrees_with_scikit_learn_on_columns_far_from_0(dtype: str) -> None:
    X = hard_columns(60)[:, [0, 1, 7]]
    np.testing.assert_allclose(
        seen(stoop.Normalization(), dtype, X), StandardScaler().fit_transform(X), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("stored", ["Fortran", "every other", "frame", "list", "integers"])
def test_copies_keep_the_digits(stored: str) -> None:
    X = hard_columns(60)[:, [0, 1, 7]].copy() if stored != "integers" else np.arange(10**9, 10**9 + 180).reshape(60, 3)
    given: dict[str, Any] = {
        "Fortran": np.asfortranarray(X),
        "every other": np.repeat(X, 2, axis=1)[:, ::2],
        "frame": pd.DataFrame(X),
        "list": X.tolist(),
        "integers": X,
    }
    model = looking(stoop.Normalization(), "float32", 3)
    model.adapt(given[stored])
    expected = StandardScaler().fit_transform(X.astype(np.float64))
    np.testing.assert_allclose(model.predict(given[stored]), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(stoop.Ensemble([model]).predict(given[stored])[0], expected, rtol=1e-6, atol=1e-6)
    trainers = [stoop.Trainer(stoop.Model([stoop.Normalization(), stoop.Dense(2)], 3)) for _ in range(2)]
    trainers[0].fit(given[stored], np.arange(60) % 2, verbose=0)
    stoop.fit_many(trainers[1:], given[stored], np.arange(60) % 2, verbose=0)
    for trainer in trainers:
        for name, value in model.buffers().items():
            np.testing.assert_array_equal(trainer.model.buffers()[name], value)


@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_quartiles_take_half_of_the_range(dtype: str) -> None:
    X = np.full((101, 2), 5.0)
    X[:3, 0] = 1.0, 9.0, 7.0
    np.testing.assert_allclose(seen(stoop.Normalization("robust"), dtype, X)[:3, 0], [-1, 1, 0.5], rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_far_out_become_the_clip(dtype: str) -> None:
    layer = stoop.Normalization("robust", clip=3)
    X = draw("float64", columns=2).astype(dtype)
    far = np.array([[3e38, -3e38], [1e30, -1e25]], dtype)
    np.testing.assert_array_equal(seen(layer, dtype, X, far), np.array([[3, -3], [3, -3]], dtype))


@pytest.mark.parametrize("scale", [1e-200, 1e200, 1e300])
def test_squares_do_not_leave_float64(scale: float) -> None:
    X = draw("float64")
    found = seen(stoop.Normalization(), "float64", X * scale)
    np.testing.assert_allclose(found, seen(stoop.Normalization(), "float64", X), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "scale"),
    [*((kind, scale) for kind in KINDS for scale in (1e-36, 3e-44)), ("minmax", 2e37), ("standard", 2e37)],
)
def test_spreads_that_float32_does_not_hold_are_refused(kind: str, scale: float) -> None:
    X = draw("float64").astype(np.float64)
    X = (X - X.mean(0)) / abs(X).max(0) * scale * 8
    model = looking(stoop.Normalization(kind), "float32", X.shape[1])
    with refused(ValueError, r"Model.adapt\].*column 0", "float32", "float64"):
        model.adapt(X.astype(np.float32))
    assert not model.is_adapted
    found = seen(stoop.Normalization(kind), "float64", X)
    assert abs(found).max(0).min() > 0.3


def test_results_beyond_float32_are_refused_without_a_clip() -> None:
    X = np.linspace(0, 1e-20, 101, dtype=np.float32).reshape(-1, 1)
    X[0] = 1e30
    with refused(ValueError, r"column 0 of X goes from", "clip"):
        looking(stoop.Normalization("robust"), "float32", 1).adapt(X)
    assert seen(stoop.Normalization("robust", clip=2), "float32", X)[0] == 2


# ---- the same bits everywhere ----


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("kind", KINDS)
def test_statistics_have_the_same_bits_for_any_number_of_threads(kind: str, stored: str) -> None:
    X = draw(stored, 9_000, 67)
    states = []
    for threads in (1, 2, 3, 8):
        with stoop.num_threads(threads):
            model = looking(stoop.Normalization(kind, missing="mean"), "float32", 67)
            model.adapt(X)
            states.append({name: value.tobytes() for name, value in model.buffers().items()})
    assert all(state == states[0] for state in states)


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_instruction_set_sees_the_same_bits(dtype: str, stored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    X = draw(stored)
    found = []
    for isa in stoop._core.available_isas():
        monkeypatch.setenv("STOOP_ISA", isa)
        found.append(seen(stoop.Normalization(), dtype, X).tobytes())
    assert len(set(found)) == 1


@pytest.mark.parametrize("columns", [1, 3, 8, 15, 16, 17, 33])
@pytest.mark.parametrize("stored", STORED)
def test_every_width(stored: str, columns: int) -> None:
    X = draw(stored, 50, columns)
    expected = StandardScaler().fit_transform(X.astype(np.float64))
    np.testing.assert_allclose(seen(stoop.Normalization(), "float32", X), expected, rtol=1e-6, atol=1e-6)


# ---- missing values ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stored", ["float32", "float64"])
@pytest.mark.parametrize("clip", [None, 2.0])
@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_stands_for_what_is_missing(kind: str, clip: float | None, stored: str, dtype: str) -> None:
    X = draw(stored)
    X[np.random.default_rng(3).random(X.shape) < 0.2] = np.nan
    wide = X.astype(np.float64)
    z = SCALERS[kind]().fit(wide).transform(np.where(np.isnan(wide), np.nanmean(wide, 0), wide))
    expected = z if clip is None else smooth(z, clip)
    found = seen(stoop.Normalization(kind, clip=clip, missing="mean"), dtype, X)
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-6)


def test_bytes_have_no_missing_values() -> None:
    X = draw("uint8")
    np.testing.assert_array_equal(
        seen(stoop.Normalization(missing="mean"), "float32", X), seen(stoop.Normalization(), "float32", X)
    )


def with_one(value: float) -> Array:
    X = draw("float32")
    X[17, 5] = value
    return X


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize(
    ("missing", "value", "name"),
    [("error", np.nan, "NaN"), ("error", np.inf, "an infinity"), ("mean", -np.inf, "an infinity")],
)
def test_what_is_refused_is_named_by_row_and_column(
    missing: str, value: float, name: str, mapped: bool, tmp_path: Any
) -> None:
    X = with_one(value)
    if mapped:
        np.save(tmp_path / "x.npy", X)
        X = np.load(tmp_path / "x.npy", mmap_mode="r")
    y = np.zeros(len(X), int)
    model = stoop.Model([stoop.Normalization(missing=missing), stoop.Dense(19)], 19)
    trainer = stoop.Trainer(model)
    expected = f"X has {name} at row 17, column 5"
    for call in (lambda: model.adapt(X), lambda: trainer.fit(X, y, verbose=0)):
        with refused(ValueError, expected):
            call()
        assert not model.is_adapted
    model.adapt(draw("float32"))
    for call in (
        lambda: model.predict(X),
        lambda: trainer.evaluate(X, y),
        lambda: trainer.step(X, y),
        lambda: trainer.fit(X, y, verbose=0),
        lambda: model.jacobian(X),
        lambda: stoop.Trainer(model, loss="mse").step(X, np.zeros((len(X), 19), np.float32), rows=np.arange(10, 20)),
        lambda: trainer.loss_and_grad(X, y),
        lambda: stoop.Ensemble([model]).predict(X),
        lambda: trainer.forward(X),
    ):
        with refused(ValueError, expected):
            call()


def test_a_column_without_numbers_is_refused() -> None:
    X = draw("float64")
    X[:, 4] = np.nan
    model = stoop.Model([stoop.Normalization(missing="mean"), stoop.Dense(2)], 19)
    with refused(ValueError, r"column 4 of X has no number"):
        model.adapt(X)
    with refused(ValueError, r"Trainer.fit\].*column 4"):
        stoop.Trainer(model).fit(X, np.zeros(len(X), int), verbose=0)
    assert not model.is_adapted


def test_without_a_normalization_missing_values_stay_refused() -> None:
    model = stoop.Model([stoop.Dense(2)], 19)
    with refused(ValueError, "NaN at row 17, column 5"):
        model.predict(with_one(np.nan))


def test_rows_with_missing_values_train_and_evaluate() -> None:
    X = draw("float32")
    y = (X[:, 0] > np.median(X[:, 0])).astype(int)
    X[np.random.default_rng(3).random(X.shape) < 0.1] = np.nan
    model = stoop.Model([stoop.Normalization(missing="mean"), stoop.Dense(16, activation="relu"), stoop.Dense(2)], 19)
    trainer = stoop.Trainer(model, optimizer=stoop.optimizers.Adam(1e-2))
    history = trainer.fit(X, y, epochs=40, validation_data=(X, y), verbose=0)
    assert history["val_accuracy"][-1] > 0.85
    filled = np.where(np.isnan(X), np.nanmean(X.astype(np.float64), 0).astype(np.float32), X)
    np.testing.assert_allclose(model.predict(X), model.predict(filled), atol=1e-5)
