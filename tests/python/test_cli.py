"""The command line: python -m stoop ..."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import stoop
from helpers import run_python

PNG = b"\x89PNG\r\n\x1a\n"


def test_info() -> None:
    shown = run_python("-m", "stoop", "info").stdout
    for word in (stoop.__version__, stoop._core.active_isa(), "BLAS", "threads"):
        assert word.lower() in shown.lower()


def test_help_and_mistakes() -> None:
    assert "demo" in run_python("-m", "stoop", "--help").stdout
    for arguments in (["dmeo"], ["demo", "--no-such-option"], ["demo", "--epochs", "many"]):
        done = run_python("-m", "stoop", *arguments, check=False)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert "usage" in done.stderr


def check_files(folder: Path) -> Path:
    for name in ("learning_curve.png", "confusion_matrix.png"):
        content = (folder / name).read_bytes()
        assert content.startswith(PNG), name
        assert len(content) > 5000, name
    [model_file] = folder.glob("*.safetensors")
    return model_file


def test_demo(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    pytest.importorskip("matplotlib", reason="Matplotlib is not installed")
    shown = run_python("-m", "stoop", "demo", "--epochs", "3", "--out", tmp_path / "out", cwd=tmp_path).stdout
    for word in (stoop._core.active_isa(), "BLAS", "thread", "loss", "accuracy", "samples/s", "peak"):
        assert word.lower() in shown.lower(), f"{word} not in\n{shown}"
    model = stoop.load_model(check_files(tmp_path / "out"))
    assert [p.shape for p in model.parameters().values()] == [(64, 128), (128,), (128, 64), (64,), (64, 10), (10,)]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_demo_reaches_its_accuracy(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    pytest.importorskip("matplotlib", reason="Matplotlib is not installed")
    shown = run_python("-m", "stoop", "demo", "--out", tmp_path).stdout
    [accuracy] = re.findall(r"test accuracy\D*([\d.]+) ?%", shown)
    assert float(accuracy) >= 97


def test_demo_on_idx_files(tmp_path: Path, digits_folder: Path) -> None:
    """Of t10k alone, 8 in 10 rows train and the last 1 in 10 tests, scaled as the training rows are."""
    pytest.importorskip("matplotlib", reason="Matplotlib is not installed")
    run_python("-m", "stoop", "demo", "--data", digits_folder, "--out", tmp_path)
    model = stoop.load_model(check_files(tmp_path))
    X = stoop.data.load_idx(digits_folder / "t10k-images-idx3-ubyte.gz").reshape(2000, 784) / 255.0
    y = stoop.data.load_idx(digits_folder / "t10k-labels-idx1-ubyte.gz")
    mean, std = X[:1600].mean(axis=0), X[:1600].std(axis=0)
    X = (X - mean) / np.where(std > 0, std, 1)
    assert np.mean(model.predict_classes(X[1800:]) == y[1800:]) >= 0.955


def test_demo_on_training_and_test_files(tmp_path: Path, digits_folder: Path) -> None:
    pytest.importorskip("matplotlib", reason="Matplotlib is not installed")
    for source in digits_folder.iterdir():
        for prefix in ("t10k", "train"):
            (tmp_path / source.name.replace("t10k", prefix)).write_bytes(source.read_bytes())
    shown = run_python("-m", "stoop", "demo", "--data", tmp_path, "--epochs", "2", "--out", tmp_path / "out").stdout
    assert re.search(r"8,330 training \(1,666 images.*, 334 validation, 2,000 test", shown), shown
    check_files(tmp_path / "out")


def test_demo_with_bad_data(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        done = run_python("-m", "stoop", "demo", "--data", folder, "--out", tmp_path / "out", check=False)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        assert folder.name in done.stderr
