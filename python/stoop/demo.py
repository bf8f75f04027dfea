"""``stoop demo``: trains a classifier of handwritten digits, measures it, draws it and saves it."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop import _core, plotting
from stoop._errors import message
from stoop.config import get_num_threads, machine_line
from stoop.data import load_idx, standardize, train_test_split
from stoop.history import History
from stoop.layers import Dense
from stoop.model import Model
from stoop.optimizers import Adam
from stoop.trainer import Trainer


@dataclass(frozen=True)
class Task:
    """Standardised data in three parts, and how to learn it."""

    name: str
    train: tuple[npt.NDArray[Any], npt.NDArray[Any]]
    validation: tuple[npt.NDArray[Any], npt.NDArray[Any]]
    test: tuple[npt.NDArray[Any], npt.NDArray[Any]]
    hidden: tuple[int, ...]
    epochs: int
    batch_size: int
    learning_rate: float
    l2: float


_FEW_IMAGES = 10_000  # training parts up to this size gain from shifted copies


def run(folder: Path | None, epochs: int | None, out: Path) -> float:
    """Train, report to the standard output, write two figures and the model to `out`; return the test accuracy.

    Parameters
    ----------
    folder : Path, optional
        IDX files in the layout of MNIST. None: the digits that come with scikit-learn.
    epochs : int, optional
        None: as many as the task needs.
    out : Path
        Folder for ``learning_curve.png``, ``confusion_matrix.png`` and ``digits.safetensors``; made if missing.

    Raises
    ------
    OSError, ValueError
        If the files are missing or damaged, or `out` cannot be written.
    ImportError
        If scikit-learn or matplotlib is missing.
    """
    started = time.perf_counter()
    _say(machine_line())
    task = _digits_task() if folder is None else _idx_task(folder)
    n_classes = int(task.train[1].max()) + 1
    layers = [*(Dense(units, activation="relu") for units in task.hidden), Dense(n_classes)]
    model = Model(layers, input_dim=task.train[0].shape[1], seed=0)
    trainer = Trainer(model, optimizer=Adam(task.learning_rate), l2=task.l2)
    parts = ", ".join(f"{len(y):,} {part}" for part, (_, y) in _parts(task).items())
    _say(f"{task.name}: {parts}\n{model}, Adam, batch {task.batch_size}\n")
    history = trainer.fit(
        *task.train, epochs=epochs or task.epochs, batch_size=task.batch_size, validation_data=task.validation
    )
    X_test, y_test = task.test
    test = trainer.evaluate(X_test, y_test)
    _say(f"\ntest accuracy     {test['accuracy']:.2%} of {len(y_test):,} samples (loss {test['loss']:.4f})")
    _report_speed(model, history)
    _write_results(out, model, history, task)
    _say(f"total time        {time.perf_counter() - started:.2f} s")
    return test["accuracy"]


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _parts(task: Task) -> dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    return {"training": task.train, "validation": task.validation, "test": task.test}


def _report_speed(model: Model, history: History) -> None:
    """Samples per second over all training passes, and what share of the FMA peak their matrix products are."""
    speeds = history["samples_per_second"]
    speed = len(speeds) / sum(1.0 / value for value in speeds)
    achieved = speed * training_flops_per_sample(model) / 1e9
    threads = get_num_threads()
    peak = _core.measure_fma_peak("float32", threads)
    _say(f"training speed    {speed:,.0f} samples/s")
    share = f"{achieved / peak:.1%} of the FMA peak of {threads} threads, {peak:.0f}"
    _say(f"arithmetic        {achieved:.1f} GFLOP/s, {share}")


def training_flops_per_sample(model: Model) -> int:
    """FLOPs of the products of one training step, per sample: forward, weight gradient and input gradient.

    The first layer needs no input gradient. A multiply-add counts as two.
    """
    products = [2 * rows * columns for rows, columns in model.matrix_products]
    return 3 * sum(products) - products[0]


def _write_results(out: Path, model: Model, history: History, task: Task) -> None:
    out.mkdir(parents=True, exist_ok=True)
    X_test, y_test = task.test
    model.save(out / "digits.safetensors")
    plotting.learning_curve(history, out / "learning_curve.png", f"Learning curve: {task.name}")
    plotting.confusion_matrix(
        y_test, model.predict_classes(X_test), out / "confusion_matrix.png", title=f"Confusion matrix: {task.name}"
    )
    _say(f"written           {out}/learning_curve.png, confusion_matrix.png, digits.safetensors")


def _digits_task() -> Task:
    """1,797 scans of 8 x 8 pixels (Alpaydin & Kaynak 1998): a fifth to test, a fifth of the rest to validate."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        hint = "install it with `pip install scikit-learn matplotlib`, or give --data"
        raise ImportError(message("demo", "scikit-learn is missing", "expected it for its digits", hint)) from error
    X, y = load_digits(return_X_y=True)
    X_rest, X_test, y_rest, y_test = train_test_split(X.astype(np.float32), y, test_size=0.2, stratify=True)
    X_train, X_val, y_train, y_val = train_test_split(X_rest, y_rest, test_size=0.2, stratify=True)
    X_train, X_val, X_test = standardize(X_train, X_val, X_test)
    parts = (X_train, y_train), (X_val, y_val), (X_test, y_test)
    return Task("scikit-learn digits", *parts, hidden=(128, 64), epochs=30, batch_size=32, learning_rate=1e-3, l2=1e-4)


def _idx_task(folder: Path) -> Task:
    """The training files split 5 : 1 with t10k as the test, or t10k alone split 8 : 1 : 1, all in file order.

    Pixels are divided by 255, then standardised. A small training part is enlarged by shifted copies.
    """
    X, y = _load_pair(folder, "t10k")
    if _find(folder, "train-images-idx3-ubyte") is not None:
        X_more, y_more = _load_pair(folder, "train")
        cut = len(X_more) * 5 // 6
        parts = [(X_more[:cut], y_more[:cut]), (X_more[cut:], y_more[cut:]), (X, y)]
    else:
        cuts = len(X) * 8 // 10, len(X) * 9 // 10
        parts = list(zip(np.split(X, cuts), np.split(y, cuts)))
    if len(parts[0][0]) <= _FEW_IMAGES:
        parts[0] = _with_shifts(*parts[0])
    scaled = standardize(*(images.reshape(len(images), -1) for images, _ in parts))
    train, validation, test = zip(scaled, (labels for _, labels in parts))
    return Task(
        "IDX images", train, validation, test, hidden=(256, 128), epochs=6, batch_size=128, learning_rate=1e-3, l2=1e-3
    )


def _with_shifts(images: npt.NDArray[Any], labels: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Add four copies of each image, shifted by one pixel: up, down, left, right. Simard et al. 2003."""
    _, height, width = images.shape
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    corners = ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))
    copies = [padded[:, top : top + height, left : left + width] for top, left in corners]
    return np.concatenate(copies), np.tile(labels, len(corners))


def _find(folder: Path, stem: str) -> Path | None:
    return next((path for path in (folder / stem, folder / f"{stem}.gz") if path.exists()), None)


def _load_pair(folder: Path, prefix: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    files = [_find(folder, f"{prefix}-{stem}") for stem in ("images-idx3-ubyte", "labels-idx1-ubyte")]
    images_file, labels_file = files
    if images_file is None or labels_file is None:
        expected = f"expected {prefix}-images-idx3-ubyte and {prefix}-labels-idx1-ubyte, gzipped or not"
        raise ValueError(message("demo", f"{folder} lacks IDX files", expected, "check --data"))
    images, labels = load_idx(images_file), load_idx(labels_file)
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        given = f"images have shape {images.shape}, labels {labels.shape} in {folder}"
        raise ValueError(message("demo", given, "expected (n, height, width) and (n,)", "check the files"))
    return images / np.float32(255), labels.astype(np.int64)
