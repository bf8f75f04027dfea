"""Headers of integers compute what NumPy does with the same integers, to the bit, and nearly what the model does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.datasets import load_digits

import export_cases
import int_reference
import stoop
from c_programs import Library
from helpers import refused, relative_error
from stoop import Dense
from stoop.export._steps import Folding, Step, steps_of
from stoop.export.c._int_steps import Grid, IntAffine, Lookup, multipliers, whole_factors
from stoop.export.c._quantize import quantize

# One product alone is the same whatever activation follows it in float.
CASES = [case for case in export_cases.CASES if not case.startswith("dense with")]
NAMES = {case: f"case_{index}" for index, case in enumerate(CASES)}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    folder, columns = tmp_path_factory.mktemp("headers"), {}
    for case, name in NAMES.items():
        model = export_cases.model_of(case)
        rows = export_cases.rows_of(case, 300)
        stoop.export.to_c(model, folder / f"{name}.h", name, dtype="int8", calibration=rows)
        columns[name] = model.output_dim
    return Library(folder, columns)


def int_steps(model: stoop.Model, rows: npt.NDArray) -> tuple[Step, ...]:
    return quantize(steps_of(model, Folding.UNIFORM), rows, "test")


@pytest.mark.parametrize("case", CASES)
def test_integers_are_those_of_numpy(case: str, library: Library) -> None:
    X, model = export_cases.rows_of(case), export_cases.model_of(case)
    steps = int_steps(model, export_cases.rows_of(case, 300))
    out, want = library(NAMES[case], X), int_reference.predict(steps, X)
    if int_reference.is_exact(steps):
        np.testing.assert_array_equal(out, want)
    else:  # a float of other digits may be rounded to the next integer
        assert relative_error(out, want) < 1e-2


@pytest.mark.parametrize("case", CASES)
def test_they_are_near_the_model(case: str, library: Library) -> None:
    X = export_cases.rows_of(case)
    # The grids have 255 steps; random networks of few units have nothing to average the errors with.
    assert relative_error(library(NAMES[case], X), export_cases.model_of(case).predict(X)) < 0.08


def test_most_cases_are_integers_throughout() -> None:
    exact = [
        case
        for case in CASES
        if int_reference.is_exact(int_steps(export_cases.model_of(case), export_cases.rows_of(case, 300)))
    ]
    assert {"batch norm", "residual", "residual first", "activation gelu", "odd sizes", "residual of nothing"} <= set(
        exact
    )


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_digits_lose_less_than_a_hundredth(activation: str, tmp_path: Path) -> None:
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = stoop.data.train_test_split(X.astype(np.float32), y, test_size=0.4, seed=0)
    layers = [Dense(64), stoop.BatchNorm(), stoop.ReLU(), stoop.Residual([Dense(64, activation), Dense(64)]), Dense(10)]
    model = stoop.Model(layers, 64, input_scale=1 / 16)
    trainer = stoop.Trainer(model, optimizer=stoop.optimizers.Adam(3e-3))
    trainer.fit(X_train, y_train, epochs=10, batch_size=64, verbose=0)
    stoop.export.to_c(model, tmp_path / "digits.h", "digits", dtype="int8", calibration=X_train[:300])
    found = Library(tmp_path, {"digits": 10})("digits", X_test).argmax(axis=1)
    accuracy = np.mean(model.predict_classes(X_test) == y_test)
    assert accuracy > 0.95
    assert np.mean(found == y_test) > accuracy - 0.01


def test_a_clip_costs_nothing_and_other_functions_a_table() -> None:
    rows = np.random.default_rng(0).standard_normal((100, 4)).astype(np.float32)

    def kinds(activation: str) -> list[type]:
        model = stoop.Model([Dense(6, activation), Dense(2)], 4)
        return [type(step) for step in int_steps(model, rows)][1:-1]

    assert kinds("relu") == kinds("relu6") == [IntAffine]
    assert kinds("silu") == [IntAffine, Lookup]


@pytest.mark.parametrize("factor", [1e-12, 3.7e-3, 0.5, 1.0 - 2.0**-40, 1.0, 700.0])
def test_multipliers_have_31_bits(factor: float) -> None:
    multiplier, shift = multipliers(np.array([factor]))
    assert multiplier[0] < 2**31
    assert 1 <= shift[0] <= 62
    assert multiplier[0] / 2.0 ** shift[0] == pytest.approx(factor, rel=2.0**-30, abs=2.0**-31)  # of sums below 2^31


def test_a_grid_holds_zero() -> None:
    for low, high in ((0.0, 3.0), (-2.0, -1.0), (1.0, 5.0), (-1.0, 2.0), (0.0, 0.0)):
        grid = Grid.between(low, high)
        assert grid.real(grid.zero) == 0.0
        assert -128 <= grid.zero <= 127
        np.testing.assert_allclose(grid.real(grid.nearest(np.array([low, high]))), [low, high], atol=grid.scale)


def test_a_bias_larger_than_its_weights(tmp_path: Path) -> None:
    model = stoop.Model([Dense(2, "relu"), Dense(2)], 3)
    model.parameters()["0.weight"][...] = [[0.0, 1e-9]] * 3
    model.parameters()["0.bias"][...] = [1.0, 2.0]
    rows = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    stoop.export.to_c(model, tmp_path / "model.h", dtype="int8", calibration=rows)
    assert relative_error(Library(tmp_path, {"model": 2})("model", rows), model.predict(rows)) < 0.02


@pytest.mark.parametrize(("activation", "error"), [("tanh", 0.024), ("sigmoid", 0.0135)])
def test_where_a_function_is_flat_the_grid_ends(activation: str, error: float, tmp_path: Path) -> None:
    model = stoop.Model([Dense(16, activation), Dense(2)], 4)
    model.parameters()["0.weight"][...] *= 20.0  # with the whole range it would be 0.029 and 0.016
    rows = np.random.default_rng(0).standard_normal((200, 4)).astype(np.float32)
    stoop.export.to_c(model, tmp_path / "model.h", dtype="int8", calibration=rows)
    assert relative_error(Library(tmp_path, {"model": 2})("model", rows), model.predict(rows)) < error


def test_rows_out_of_the_range_are_clipped(tmp_path: Path) -> None:
    model = stoop.Model([Dense(2)], 1)
    stoop.export.to_c(model, tmp_path / "model.h", dtype="int8", calibration=[[0.0], [1.0]])
    predict = Library(tmp_path, {"model": 2})
    np.testing.assert_array_equal(predict("model", [[1e30], [np.inf], [-5.0]]), predict("model", [[1.0], [1.0], [0.0]]))


def test_what_calibration_must_be(tmp_path: Path) -> None:
    model, path = stoop.Model([Dense(2)], 3), tmp_path / "model.h"
    with refused(ValueError, "calibration is missing", "X_train"):
        stoop.export.to_c(model, path, dtype="int8")
    with refused(ValueError, "calibration is given for float32"):
        stoop.export.to_c(model, path, calibration=np.zeros((3, 3)))
    with refused(ValueError, "calibration has shape", "3 columns"):
        stoop.export.to_c(model, path, dtype="int8", calibration=np.zeros((3, 2)))
    with refused(ValueError, "NaN"):
        stoop.export.to_c(model, path, dtype="int8", calibration=np.full((3, 3), np.nan))
    with refused(ValueError, r"\[export.to_c\] calibration has NaN at row 0, column 0; expected finite"):
        stoop.export.to_c(model, path, dtype="int8", calibration=np.full((3, 3), np.nan))
    with refused(ValueError, "int16", "int8"):
        stoop.export.to_c(model, path, dtype="int16")
    assert not path.exists()


def test_sums_that_leave_32_bits(tmp_path: Path) -> None:
    model = stoop.Model([Dense(1, kernel_init="ones")], 200_000)
    rows = np.ones((2, 200_000), np.float32)
    with refused(ValueError, r"layer 0 \(Dense\) has 200,000 inputs", "float32"):
        stoop.export.to_c(model, tmp_path / "model.h", dtype="int8", calibration=rows)


def headers_of(model: stoop.Model, rows: npt.NDArray, tmp_path: Path) -> npt.NDArray:
    stoop.export.to_c(model, tmp_path / "model.h", dtype="int8", calibration=rows)
    return Library(tmp_path, {"model": model.output_dim})("model", rows)


def test_factors_that_leave_32_bits(tmp_path: Path) -> None:
    model = stoop.Model([Dense(6), stoop.ReLU(), stoop.BatchNorm(), Dense(2)], 4)
    model.parameters()["0.bias"][:2] = -100.0  # so that the two columns are 0 for all rows
    model.parameters()["2.gamma"][0] = 1e12
    rows = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    with refused(ValueError, r"layer 2 \(BatchNorm\)", "32 bits", "float32"):
        stoop.export.to_c(model, tmp_path / "model.h", dtype="int8", calibration=rows)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [1.0, 1e3, 2.0**28, 2.0**29, 2.0**30 - 1.0, 2.0**30, 2.0**31, 1e30, np.inf, np.nan])
@pytest.mark.parametrize("is_bias", [True, False])
def test_whole_factors_have_32_bits(size: float, is_bias: bool) -> None:
    for sign in (1.0, -1.0):
        factor, bias = (1.0, sign * size) if is_bias else (sign * size, 1.0)
        found = whole_factors([np.array(factor)], np.array(bias))
        assert (found is None) == (not size < 2.0**30)
        if found is not None:
            (whole,), rest, shift = found
            assert max(abs(int(whole)), abs(int(rest))) < 2**31
            assert whole / 2.0**shift == pytest.approx(factor)


@pytest.mark.parametrize("size", [1e-30, 1e-37, 1e-39, 1e-44])
def test_ranges_as_small_as_float32_allows(size: float, tmp_path: Path) -> None:
    model = stoop.Model([Dense(3, "relu"), stoop.BatchNorm(), Dense(2)], 3)
    model.parameters()["2.bias"][...] = [1.0, 2.0]
    rows = (np.random.default_rng(0).standard_normal((50, 3)) * size).astype(np.float32)
    got = headers_of(model, rows, tmp_path)
    assert relative_error(got, model.predict(rows)) < 0.02
    text = (tmp_path / "model.h").read_text()
    assert "inf" not in text.replace("infin", "")
    assert "nan" not in text


def test_ranges_beyond_float32(tmp_path: Path) -> None:
    model = stoop.Model([Dense(3, kernel_init="ones"), Dense(2)], 3, dtype="float64")
    with refused(ValueError, "calibration reaches 1e.300", "expected values below"):
        stoop.export.to_c(model, tmp_path / "m.h", dtype="int8", calibration=np.full((3, 3), 1e300))
    with refused(ValueError, r"layer 0 \(Dense\), for the calibration, reaches 3e.38", "expected values below"):
        stoop.export.to_c(model, tmp_path / "m.h", dtype="int8", calibration=np.full((3, 3), 1e38))
    assert not list(tmp_path.iterdir())
