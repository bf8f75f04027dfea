"""``stoop demo``: trains a classifier of handwritten digits, measures it, draws it and saves it."""

import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop import _core, plotting
from stoop._console import say
from stoop._errors import message
from stoop.config import get_num_threads, machine_line
from stoop.data import load_idx, standardize, train_test_split
from stoop.history import History
from stoop.layers import Dense
from stoop.model import Model
from stoop.optimizers import Adam
from stoop.trainer import Trainer

Part = tuple[npt.NDArray[Any], npt.NDArray[Any]]  # images or rows, labels

_FEW_IMAGES = 10_000  # training parts up to this size gain from shifted copies
_RARE = 0.001  # share of the training images


@dataclass(frozen=True)
class Task:
    """Standardised data in three parts, and how to learn it."""

    name: str
    n_images: int  # training images before shifted copies were added
    train: Part
    validation: Part
    test: Part
    hidden: tuple[int, ...]
    epochs: int
    batch_size: int
    learning_rate: float = 1e-3
    l2: float = 1e-3


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
    say(machine_line())
    task = _digits_task() if folder is None else _idx_task(folder)
    n_classes = int(task.train[1].max()) + 1
    layers = [*(Dense(units, activation="relu") for units in task.hidden), Dense(n_classes)]
    model = Model(layers, input_dim=task.train[0].shape[1], seed=0)
    trainer = Trainer(model, optimizer=Adam(task.learning_rate), l2=task.l2)
    say(f"{task.name}: {_describe_parts(task)}\n{model}, Adam, batch {task.batch_size}\n")
    history = trainer.fit(
        *task.train, epochs=epochs or task.epochs, batch_size=task.batch_size, validation_data=task.validation
    )
    X_test, y_test = task.test
    test = trainer.evaluate(X_test, y_test)
    say(f"\ntest accuracy     {test['accuracy']:.2%} of {len(y_test):,} samples (loss {test['loss']:.4f})")
    _report_speed(model, history)
    _write_results(out, model, history, task)
    say(f"total time        {time.perf_counter() - started:.2f} s")
    return float(test["accuracy"])


def _describe_parts(task: Task) -> str:
    train, validation, test = (len(labels) for _, labels in (task.train, task.validation, task.test))
    shifted = f" ({task.n_images:,} images, each also shifted by a pixel to 4 sides)" if train > task.n_images else ""
    return f"{train:,} training{shifted}, {validation:,} validation, {test:,} test"


def _report_speed(model: Model, history: History) -> None:
    """Samples per second over all training passes, and what share of the FMA peak their matrix products are."""
    speeds = history["samples_per_second"]
    speed = len(speeds) / sum(1.0 / value for value in speeds)
    achieved = speed * training_flops_per_sample(model) / 1e9
    threads = get_num_threads()
    peak = _core.measure_fma_peak("float32", threads)
    say(f"training speed    {speed:,.0f} samples/s")
    share = f"{achieved / peak:.1%} of the FMA peak of {threads} threads, {peak:.0f} GFLOP/s"
    say(f"arithmetic        {achieved:.1f} GFLOP/s, {share}")


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
    say(f"written           {out}/learning_curve.png, confusion_matrix.png, digits.safetensors")


def _digits_task() -> Task:
    """1,797 scans of 8 x 8 pixels (Alpaydin & Kaynak 1998): a fifth to test, a tenth of the rest to validate."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        hint = "install it with `pip install scikit-learn matplotlib`, or give --data"
        raise ImportError(message("demo", "scikit-learn is missing", "expected it for its digits", hint)) from error
    X, y = load_digits(return_X_y=True)
    X_rest, X_test, y_rest, y_test = train_test_split(X.astype(np.float32), y, test_size=0.2, stratify=True)
    X_train, X_val, y_train, y_val = train_test_split(X_rest, y_rest, test_size=0.1, stratify=True)
    copies = _shifted(X_train.reshape(-1, 8, 8))
    enlarged = np.concatenate([X_train, *copies])
    X_all, X_val, X_test = standardize(enlarged, X_val, X_test)
    y_all = np.tile(y_train, 1 + len(copies))
    parts = (X_all, y_all), (X_val, y_val), (X_test, y_test)
    return Task("scikit-learn digits", len(X_train), *parts, hidden=(128, 64), epochs=30, batch_size=64)


def _idx_task(folder: Path) -> Task:
    """The training files split 5 : 1 with t10k as the test, or t10k alone split 8 : 1 : 1, all in file order.

    The statistics are those of the images as they are in the file, before shifted copies are added. The customary
    division of the pixels by 255 is left out: standardisation cancels it.
    """
    X, y = _load_pair(folder, "t10k")
    if _find(folder, "train-images-idx3-ubyte") is not None:
        X_more, y_more = _load_pair(folder, "train")
        cut = len(X_more) * 5 // 6
        parts = [(X_more[:cut], y_more[:cut]), (X_more[cut:], y_more[cut:]), (X, y)]
    else:
        cuts = len(X) * 8 // 10, len(X) * 9 // 10
        parts = list(zip(np.split(X, cuts), np.split(y, cuts)))
    (train_images, y_train), (val_images, y_val), (test_images, y_test) = parts
    shifted = _shifted(train_images) if len(train_images) <= _FEW_IMAGES else []
    images = (train_images, val_images, test_images, *shifted)
    with warnings.catch_warnings():  # of pixels at the border that have ink in a few test images alone
        warnings.simplefilter("ignore", UserWarning)
        X_train, X_val, X_test, *copies = standardize(*(array.reshape(len(array), -1) for array in images))
    train = np.concatenate([X_train, *copies])
    # Where hardly any image has ink, the deviation is so tiny that a stroke is thousands of deviations. The model must
    # learn to ignore it.
    inked = np.count_nonzero(train_images, axis=0).ravel()
    train[:, inked < _RARE * len(train_images)] = 0.0
    return Task(
        f"IDX images in {folder.name}",
        len(train_images),
        (train, np.tile(y_train, 1 + len(copies))),
        (X_val, y_val),
        (X_test, y_test),
        hidden=(256, 128),
        epochs=12,
        batch_size=256,
    )


def _shifted(images: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """Copies (n, height * width) of images, shifted by one pixel: up, down, left, right. Simard et al. 2003."""
    n, height, width = images.shape
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    corners = ((2, 1), (0, 1), (1, 2), (1, 0))
    return [padded[:, top : top + height, left : left + width].reshape(n, -1) for top, left in corners]


def _find(folder: Path, stem: str) -> Path | None:
    return next((path for path in (folder / stem, folder / f"{stem}.gz") if path.exists()), None)


def _load_pair(folder: Path, prefix: str) -> Part:
    images_file = _find(folder, f"{prefix}-images-idx3-ubyte")
    labels_file = _find(folder, f"{prefix}-labels-idx1-ubyte")
    if images_file is None or labels_file is None:
        expected = f"expected {prefix}-images-idx3-ubyte and {prefix}-labels-idx1-ubyte, gzipped or not"
        raise ValueError(message("demo", f"{folder} lacks IDX files", expected, "check --data"))
    images, labels = load_idx(images_file), load_idx(labels_file)
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        given = f"images have shape {images.shape}, labels {labels.shape} in {folder}"
        raise ValueError(message("demo", given, "expected (n, height, width) and (n,)", "check the files"))
    return images, labels.astype(np.int64)
