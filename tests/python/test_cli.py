"""The command line: python -m stoop ..."""

from __future__ import annotations

import importlib.util
import json
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
    mistakes = [["dmeo"], ["demo", "--no-such-option"], ["demo", "--epochs", "many"]]
    mistakes += [["bench", "--workloads", "rl_tinny"], ["bench", "--engines", "torch"], ["bench", "--seconds", "-1"]]
    for arguments in mistakes:
        done = run_python("-m", "stoop", *arguments, check=False)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert "usage" in done.stderr


def test_an_unknown_option_shows_the_usage_of_its_command() -> None:
    for arguments in (["bench", "--minutez", "1"], ["demo", "--seed", "1"], ["info", "--all"]):
        done = run_python("-m", "stoop", *arguments, check=False)
        assert done.returncode == 2
        assert done.stderr.startswith(f"usage: stoop {arguments[0]} ")
        assert f"unrecognized arguments: {' '.join(arguments[1:])}" in done.stderr


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
    """With t10k alone, 8 in 10 rows train and the last 1 in 10 tests, scaled as the training rows are."""
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


QUICK_BENCH = ("-m", "stoop", "bench", "--workloads", "rl_tiny", "--seconds", "0.2", "--rounds", "1")


def test_bench(tmp_path: Path) -> None:
    file = tmp_path / "new" / "out.json"
    shown = run_python(
        *QUICK_BENCH, "--engines", "stoop", "--json", file, timeout=120, OPENBLAS_CORETYPE="Haswell"
    ).stdout
    for word in ("FMA peak", "GB/s", f"stoop {stoop.__version__}", "| rl_tiny", "out.json"):
        assert word in shown, f"{word} not in\n{shown}"
    assert re.search("warning: OPENBLAS_CORETYPE", shown)
    content = json.loads(file.read_text(encoding="utf-8"))
    assert content["fma_peak"] > 0
    assert content["memory_bandwidth"] > 0
    assert content["environment"]["OPENBLAS_CORETYPE"] == "Haswell"
    [case] = content["cases"]
    assert case["status"] == "measured"
    assert case["trained_loss"] < 0.8 * case["constant_loss"]
    assert len(case["microseconds"]) == 1
    assert case["median"] > 0
    assert case["times_slower_than_reference"] == 1


def test_bench_draws(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="Matplotlib is not installed")
    run_python(*QUICK_BENCH, "--engines", "stoop", "--plot", tmp_path / "plots", timeout=120)
    [figure] = (tmp_path / "plots").iterdir()
    assert figure.name == "rl_tiny.png"
    assert figure.read_bytes().startswith(PNG)


def test_bench_refuses_what_it_cannot_run(tmp_path: Path) -> None:
    cases = [(("--threads", "1000"), "usable cores")]
    if importlib.util.find_spec("torch") is None:
        cases.append((("--engines", "stoop", "pytorch"), "pip install torch"))
    occupied = tmp_path / "file"
    occupied.touch()
    cases.append((("--json", str(occupied / "out.json")), f"[bench] --json is {occupied / 'out.json'}, which cannot"))
    cases.append(
        (("--json", str(tmp_path)), f"[bench] --json is the folder {tmp_path}; expected a file to write; name")
    )
    if importlib.util.find_spec("matplotlib") is not None:
        cases.append((("--plot", str(occupied)), f"[bench] --plot is {occupied}, which cannot be made a folder"))
    for arguments, expected in cases:
        done = run_python(*QUICK_BENCH, *arguments, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith("stoop: ")
        assert expected in done.stderr
        assert "Traceback" not in done.stderr
