"""What a fit leaves behind holds none of its data: neither as a reference, nor in a pickle."""

from __future__ import annotations

import gc
import pickle
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop
from stoop import callbacks

ROWS, COLUMNS = 20_000, 16
LIMIT = 200_000  # bytes; the samples alone are 1,280,000


class Data:
    """Arrays of which it can be told whether anybody else still holds them."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.arrays: list[npt.NDArray[Any]] = [
            rng.standard_normal((ROWS, COLUMNS), np.float32),
            rng.integers(2, size=ROWS),
            rng.uniform(0.5, 1.0, ROWS),
            rng.standard_normal((ROWS, COLUMNS)),
            rng.choice(["no", "yes"], ROWS),
        ]
        self.watched = [weakref.ref(array) for array in self.arrays]

    def release(self) -> int:
        """Return how many are held by others."""
        self.arrays.clear()
        gc.collect()
        return sum(watched() is not None for watched in self.watched)


def all_callbacks(folder: Path) -> list[Any]:
    return [
        callbacks.EarlyStopping("val_loss", patience=5),
        callbacks.ModelCheckpoint(folder / "best.safetensors"),
        callbacks.ReduceLROnPlateau(),
        callbacks.CSVLogger(folder / "log.csv"),
        callbacks.JSONLLogger(folder / "log.jsonl"),
        callbacks.Callback(),
    ]


def a_metric(y: Any, outputs: Any) -> float:
    return float(np.mean(outputs[:, 0]))


def fitted(data: Data, folder: Path, *, wrong: bool = False) -> tuple[stoop.Trainer, list[Any]]:
    x, y, weight, wide, labels = data.arrays
    trainer = stoop.Trainer(stoop.Model([stoop.Dense(8, "relu"), stoop.Dense(2)], COLUMNS), ema=0.9)
    called = all_callbacks(folder)
    options: dict[str, Any] = {"epochs": 2, "verbose": 0, "metrics": ["accuracy", a_metric], "callbacks": called}
    trainer.fit(x, y, sample_weight=weight, validation_data=(wide, y), class_weight="balanced", **options)
    trainer.evaluate(wide, y, metrics=["auc"])
    trainer.model.predict(x)
    named = stoop.Trainer(stoop.Model([stoop.Dense(2)], COLUMNS))
    named.fit(x, labels, epochs=1, validation_split=0.3, verbose=0)
    if wrong:
        trainer.model.parameters()["0.weight"][...] = 1e30
        with pytest.raises(stoop.NonFiniteLossError):
            trainer.fit(x * np.float32(1e30), y, validation_data=(wide, y), **options)
    return trainer, [*called, named, trainer.history, named.history]


@pytest.mark.parametrize("wrong", [False, True])
def test_nothing_that_a_fit_leaves_holds_the_data(tmp_path: Path, wrong: bool) -> None:
    data = Data()
    trainer, others = fitted(data, tmp_path, wrong=wrong)
    assert data.release() == 0
    assert len(others) == 9
    for thing in (trainer, *others, stoop.Ensemble([trainer.model])):
        assert len(pickle.dumps(thing)) < LIMIT, thing


def test_a_trainer_that_is_pickled_within_a_fit_holds_no_data() -> None:
    data, sizes = Data(), []
    trainer = stoop.Trainer(stoop.Model([stoop.Dense(2)], COLUMNS))
    watch = callbacks.Lambda(on_epoch_end=lambda trainer, _: sizes.append(len(pickle.dumps(trainer))))
    trainer.fit(*data.arrays[:2], epochs=2, verbose=0, callbacks=watch, validation_data=data.arrays[:2])
    assert len(sizes) == 2
    assert max(sizes) < LIMIT
    assert data.release() == 0


class Failing(callbacks.Callback):
    def on_epoch_end(self, trainer: Any, logs: Any) -> None:
        raise LookupError("no luck")


def test_nothing_that_many_fits_leave_holds_the_data() -> None:
    data = Data()
    x, y, weight, wide = data.arrays[:4]
    layers, rates = [stoop.Dense(8, "relu"), stoop.Dense(2)], [1e-3, 1e-3, 1e30, 1e-3]
    trainers = [
        stoop.Trainer(stoop.Model(layers, COLUMNS, seed=i), optimizer=stoop.optimizers.Adam(rate), seed=i)
        for i, rate in enumerate(rates)
    ]
    rows = [np.arange(ROWS - i) for i in range(4)]
    watched = [weakref.ref(of_trainer) for of_trainer in rows]
    options: dict[str, Any] = {"epochs": 2, "metrics": ["accuracy", a_metric], "sample_weight": weight, "verbose": 0}
    histories = stoop.fit_many(
        trainers,
        x,
        y,
        rows=rows,
        validation_rows=[np.arange(100)] * 4,
        callbacks=lambda i: [Failing()] if i == 1 else [callbacks.EarlyStopping("val_loss")],
        **options,
    )
    assert [history.error is None for history in histories] == [True, False, False, True]
    histories += stoop.fit_many(trainers[3:], x, y, validation_data=(wide, y), **options)
    del x, y, weight, wide, rows, options
    assert data.release() == 0
    assert sum(array() is not None for array in watched) == 0
    assert len(pickle.dumps((trainers, histories))) < LIMIT
    restored = pickle.loads(pickle.dumps(histories[1]))
    assert restored.stop_reason == "error"
    assert isinstance(restored.error, LookupError)
