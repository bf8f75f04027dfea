"""A model saved by Python loads in C++ and predicts the same, and back.

The other side is the program of tests/cpp/consumer, which `make test` builds and names in STOOP_CONSUMER.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

import stoop

CONSUMER = os.environ.get("STOOP_CONSUMER", "")
TOLERANCE = 1e-6

pytestmark = pytest.mark.skipif(not CONSUMER, reason="STOOP_CONSUMER does not name the C++ consumer program")


def run_consumer(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([CONSUMER, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)


def write_io(path: Path, inputs: np.ndarray, outputs: np.ndarray) -> None:
    digits = 9 if inputs.dtype == np.float32 else 17
    rows = [",".join(f"{v:.{digits}g}" for v in row) for row in np.hstack([inputs, outputs])]
    path.write_text(f"{len(inputs)},{inputs.shape[1]},{outputs.shape[1]}\n" + "\n".join(rows) + "\n")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_python_model_predicts_in_cpp(dtype: str, tmp_path: Path, rng: np.random.Generator) -> None:
    model = stoop.Model(
        [stoop.Dense(17, activation="tanh"), stoop.Dense(9), stoop.LeakyReLU(0.2), stoop.Dense(4, use_bias=False)],
        input_dim=6,
        seed=5,
        dtype=dtype,
    )
    x = rng.normal(size=(23, 6)).astype(dtype)
    trainer = stoop.Trainer(model, loss="mse", optimizer=stoop.optimizers.Adam(1e-2))
    trainer.step(x, rng.normal(size=(23, 4)).astype(dtype))
    model.save(tmp_path / "model.safetensors")
    write_io(tmp_path / "io.csv", x, model.predict(x))
    result = run_consumer("check-model", tmp_path / "model.safetensors", tmp_path / "io.csv")
    assert result.returncode == 0, result.stdout + result.stderr


# The statistics of the inputs are in the file, so that C++ takes the same raw rows.
@pytest.mark.parametrize("layer", [stoop.Normalization(), stoop.Normalization("robust", clip=3, missing="mean")])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cpp_takes_raw_rows(dtype: str, layer: stoop.Normalization, tmp_path: Path, rng: np.random.Generator) -> None:
    x = (rng.normal(size=(40, 5)) * [1, 1e-20, 1e5, 1, 0] + [1e6, 0, -3, 1e-3, 7]).astype(dtype)
    if layer.missing == "mean":
        x[3, 1] = x[11, 4] = np.nan
    model = stoop.Model([layer, stoop.Dense(9, activation="tanh"), stoop.Dense(3)], 5, dtype=dtype)
    stoop.Trainer(model, loss="mse").fit(x, rng.normal(size=(40, 3)), epochs=3, verbose=0)
    model.save(tmp_path / "model.safetensors")
    x = x[12:]  # without NaN, which streams of C++ do not read
    write_io(tmp_path / "io.csv", x, model.predict(x))
    result = run_consumer("check-model", tmp_path / "model.safetensors", tmp_path / "io.csv", "exactly")
    assert result.returncode == 0, result.stdout + result.stderr


# Numbers, codes of categories, unknown ones and missing ones: all that an estimator for tables knows is in its file.
@pytest.mark.parametrize("name", ["TabularClassifier", "TabularRegressor"])
def test_cpp_predicts_from_the_file_of_an_estimator(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("sklearn")
    frame = pd.DataFrame({"x": rng.normal(size=200), "few": rng.choice(["a", "b"], 200), "n": rng.integers(0, 5, 200)})
    frame["many"] = rng.choice([f"c{number}" for number in range(20)], 200).astype(object)
    frame.loc[::7, "x"], frame.loc[::9, "many"] = np.nan, None
    y = frame["x"].fillna(1) + 3 * (frame["few"] == "a")
    estimator = getattr(stoop.tabular, name)(hidden=(16,), members=4, epochs=5, random_state=0)
    estimator.fit(frame, y > 1 if name == "TabularClassifier" else y).save(tmp_path / "model.safetensors")
    rows = frame[frame["x"].notna()].head(60)  # without NaN, which streams of C++ do not read
    rows.loc[[1, 2], "few"] = rows.loc[[3, 4], "many"] = "another"
    matrix = estimator.encode(rows)
    assert {-1.0, 20.0} <= set(matrix[:, 4])
    outputs = estimator.model_.predict(matrix)
    write_io(tmp_path / "io.csv", matrix, outputs)
    result = run_consumer("check-model", tmp_path / "model.safetensors", tmp_path / "io.csv", "exactly")
    assert result.returncode == 0, result.stdout + result.stderr
    if name == "TabularRegressor":
        np.testing.assert_array_equal(estimator.predict(rows), outputs[:, 0])


def test_cpp_model_predicts_in_python(tmp_path: Path) -> None:
    result = run_consumer("write-model", tmp_path / "model.safetensors", tmp_path / "io.csv")
    assert result.returncode == 0, result.stdout + result.stderr
    text = (tmp_path / "io.csv").read_text().splitlines()
    rows, inputs, outputs = map(int, text[0].split(","))
    table = np.array([line.split(",") for line in text[1:]], dtype=np.float32)
    assert table.shape == (rows, inputs + outputs)
    model = stoop.load_model(tmp_path / "model.safetensors")
    np.testing.assert_allclose(model.predict(table[:, :inputs]), table[:, inputs:], rtol=TOLERANCE, atol=TOLERANCE)


def test_a_difference_is_noticed(tmp_path: Path, rng: np.random.Generator) -> None:
    model = stoop.Model([stoop.Dense(3)], input_dim=2, seed=1)
    x = rng.normal(size=(5, 2)).astype(np.float32)
    model.save(tmp_path / "model.safetensors")
    write_io(tmp_path / "io.csv", x, model.predict(x) + np.float32(1e-4))
    result = run_consumer("check-model", tmp_path / "model.safetensors", tmp_path / "io.csv")
    assert result.returncode == 1
    assert "agree within 1e-6" in result.stderr


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    model = stoop.Model([stoop.Dense(3)], input_dim=2, seed=1)
    path = tmp_path / "model.safetensors"
    model.save(path)
    path.write_bytes(path.read_bytes()[:-4])
    (tmp_path / "io.csv").write_text("1,2,3\n0,0,0,0,0\n")
    result = run_consumer("check-model", path, tmp_path / "io.csv")
    assert result.returncode == 1
    assert "model.safetensors" in result.stderr
