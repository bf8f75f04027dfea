"""The profile of a training step: its rows, their sum, and that nothing remains of the measurement."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stoop
from helpers import refused
from test_find_learning_rate import CASES, X, Y, everything, make


@pytest.mark.parametrize("case", CASES)
def test_nothing_remains(case: str) -> None:
    trainer = CASES[case]()
    trainer.fit(X, Y, epochs=1, verbose=0)
    before = everything(trainer)
    found = trainer.profile(X, Y, batch_size=64)
    assert everything(trainer) == before
    assert found.batch_size == 64
    assert found.threads >= 1


def test_rows_of_a_small_network() -> None:
    layers = [stoop.Dense(8, activation="tanh"), stoop.BatchNorm(), stoop.Dense(3)]
    found = stoop.Trainer(stoop.Model(layers, input_dim=6)).profile(X, Y)
    names = [row.name for row in found.rows]
    assert names[:2] == ["gather", "dense 0.weight 6x8 tanh + batch_moments"]
    assert {"loss", "check_loss", "waiting", "weight_gradient 2.weight 8x3 then update"} <= set(names)
    assert names[-1] == "waiting"
    for row in found.rows:
        is_product = row.name.startswith(("dense", "weight_gradient", "input_gradient"))
        assert (row.gflops is not None) == is_product
        assert (row.peak_share is not None) == is_product
        if row.gflops is not None and row.peak_share is not None:
            assert row.peak_share == pytest.approx(row.gflops / found.peak_gflops)


SIZES = {"small": (6, 16, 3), "middle": (6, 256, 128, 3), "large": (6, 1024, 1024, 3)}


@pytest.mark.parametrize("num_threads", [1, None])
@pytest.mark.parametrize("size", SIZES)
def test_the_times_add_up_to_the_step(size: str, num_threads: int | None) -> None:
    inputs, *hidden, outputs = SIZES[size]
    layers = [*(stoop.Dense(units, activation="relu") for units in hidden), stoop.Dense(outputs)]
    trainer = stoop.Trainer(stoop.Model(layers, input_dim=inputs), num_threads=num_threads)
    ratios = []
    for _ in range(5):  # another program may take the core in the middle
        found = trainer.profile(X, Y, batch_size=64)
        ratios.append(sum(row.microseconds for row in found.rows) / found.microseconds)
        if 0.9 <= ratios[-1] <= 1.1:
            return
    pytest.fail(f"ratios {ratios}")


def test_what_a_dropout_and_accumulation_add() -> None:
    layers = [stoop.Dense(16), stoop.Dropout(0.5), stoop.Dense(3)]
    trainer = stoop.Trainer(stoop.Model(layers, input_dim=6), accumulate=4, clip_norm=1.0)
    names = [row.name for row in trainer.profile(X, Y, batch_size=32).rows]
    assert "dense 0.weight 6x16 + dropout" in names
    assert "check_gradient" in names
    assert any(name.startswith("update_parameter") for name in names)


def test_text_and_figure(tmp_path: Path) -> None:
    found = make().profile(X, Y, batch_size=32)
    lines = str(found).splitlines()
    assert len(lines) == 2 + len(found.rows)
    assert "microseconds for a batch of 32 on" in lines[0]
    assert lines[1].split() == ["step", "microseconds", "GFLOP/s", "of", "peak", "GB/s"]
    axes = found.plot(tmp_path / "profile.png").axes[0]
    assert len(axes.patches) == len(found.rows)
    assert (tmp_path / "profile.png").stat().st_size > 1000
    assert pickle.loads(pickle.dumps(found)) == found


def test_names_of_classes_are_no_obstacle() -> None:
    trainer = make()
    trainer.profile(X, np.array(["a", "b", "c"])[Y])
    assert trainer.model.classes is None
    assert trainer.model.output is None


def test_a_mapped_file(tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert make().profile(mapped, Y, batch_size=100).batch_size == 100
    assert make().profile(mapped[:30], Y[:30]).batch_size == 30


def test_ctrl_c() -> None:
    trainer = make()
    before = everything(trainer)

    def press() -> None:
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        for _ in range(100):
            trainer.profile(X, Y)
    presser.join()
    assert everything(trainer) == before


BAD_X = X.copy()
BAD_X[5, 1] = np.nan
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "batch": ({"batch_size": 0}, "batch_size is 0"),
    "NaN": ({"X": BAD_X}, "nan"),
    "y": ({"y": Y[:7]}, "y has shape"),
    "columns": ({"X": X[:, :2]}, "6 columns"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_refused(case: str) -> None:
    given, pattern = WRONG[case]
    with refused((ValueError, TypeError), r"\[Trainer.profile\]", pattern):
        make().profile(**{"X": X, "y": Y, **given})


def test_full_batch_optimizers_have_no_batches() -> None:
    trainer = stoop.Trainer(stoop.Model([stoop.Dense(3)], input_dim=6), optimizer=stoop.optimizers.LBFGS())
    with refused(ValueError, "LBFGS", "mini-batches"):
        trainer.profile(X, Y)


def test_a_loss_that_is_not_finite() -> None:
    trainer = stoop.Trainer(stoop.Model([stoop.Dense(1)], input_dim=6), "mse")
    with pytest.raises(stoop.NonFiniteLossError):
        trainer.profile(X, np.full(600, 1e30, np.float32))
