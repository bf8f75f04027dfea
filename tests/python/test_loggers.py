"""The loggers: each row can be read at once, files go on after a resume, and a full disk is told."""

from __future__ import annotations

import copy
import csv
import json
import math
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import stoop
from helpers import refused
from stoop.callbacks import Callback, CSVLogger, JSONLLogger, TensorBoard

Row = dict[str, float]


@pytest.fixture(autouse=True)
def _close(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close what is open where a test stops as a process does that is killed."""
    opened: list[Any] = []
    begin = TensorBoard.on_fit_begin
    monkeypatch.setattr(TensorBoard, "on_fit_begin", lambda self, trainer: (opened.append(self), begin(self, trainer)))
    yield
    for logger in opened:
        logger._close()


class Fit:
    """Stands for a trainer: what loggers ask of one."""

    def __init__(self, epoch: int = 0, rows: list[Row] | None = None) -> None:
        self.epoch = epoch
        self.history = stoop.History(("loss",))
        for row in rows or []:
            self.history.epochs.append(int(row["epoch"]))
            self.history._amend(row)


def row_of(epoch: int, **more: float) -> Row:
    return {"epoch": epoch, "loss": 1.0 / epoch, **more}


def log(logger: Any, first: int, last: int, *, end: bool = True, fit: Fit | None = None) -> None:
    trainer = fit or Fit(first - 1)
    logger.on_fit_begin(trainer)
    for epoch in range(first, last + 1):
        trainer.epoch = epoch
        logger.on_epoch_end(trainer, row_of(epoch))
    if end:
        logger.on_fit_end(trainer, "epochs")


def read_csv(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]


def read_jsonl(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def read_events(folder: Path) -> list[Row]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), purge_orphaned_data=True)
    events.Reload()
    rows: dict[int, Row] = {}
    for tag in events.Tags()["scalars"]:
        for event in events.Scalars(tag):
            assert tag not in rows.get(event.step, {}), "twice"
            rows.setdefault(event.step, {"epoch": event.step})[tag] = event.value
    return [rows[step] for step in sorted(rows)]


KINDS: dict[str, tuple[Callable[[Path], Any], Callable[[Path], list[Row]]]] = {
    "csv": (CSVLogger, read_csv),
    "jsonl": (JSONLLogger, read_jsonl),
    "tensorboard": (TensorBoard, read_events),
}
TEXT = ("csv", "jsonl")


def same(found: list[Row], expected: list[Row]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_each_row_can_be_read_while_training_runs(kind: str, tmp_path: Path) -> None:
    make, read = KINDS[kind]
    logger, trainer = make(tmp_path / "log"), Fit()
    assert isinstance(logger, Callback)
    logger.on_fit_begin(trainer)
    for epoch in range(1, 4):
        logger.on_epoch_end(trainer, row_of(epoch))
        same(read(tmp_path / "log"), [row_of(done) for done in range(1, epoch + 1)])
    logger.on_fit_end(trainer, "epochs")
    same(read(tmp_path / "log"), [row_of(epoch) for epoch in (1, 2, 3)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("resumed", [0, 1, 3, 5])
def test_a_resumed_fit_goes_on_without_doubled_rows(kind: str, resumed: int, tmp_path: Path) -> None:
    make, read = KINDS[kind]
    first = make(tmp_path / "log")
    log(first, 1, resumed, end=False)
    state = json.loads(json.dumps(first.state_dict()))
    for epoch in range(resumed + 1, 6):  # trained after the checkpoint, and lost
        first.on_epoch_end(Fit(epoch), row_of(epoch, loss=77.0))
    second = make(tmp_path / "log")
    second.load_state_dict(state)
    log(second, resumed + 1, 7, fit=Fit(resumed, [row_of(epoch) for epoch in range(1, resumed + 1)]))
    same(read(tmp_path / "log"), [row_of(epoch) for epoch in range(1, 8)])
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_that_came_after_the_checkpoint_is_written_again(kind: str, tmp_path: Path) -> None:
    make, read = KINDS[kind]
    first = make(tmp_path / "log")
    log(first, 1, 2, end=False)
    state = first.state_dict()  # of a checkpoint that another callback writes, before the row of epoch 3 is
    second = make(tmp_path / "log")
    second.load_state_dict(state)
    log(second, 4, 5, fit=Fit(3, [row_of(epoch) for epoch in (1, 2, 3)]))
    same(read(tmp_path / "log"), [row_of(epoch) for epoch in range(1, 6)])


@pytest.mark.parametrize("kind", TEXT)
def test_a_line_that_a_crash_cut_off_is_no_row(kind: str, tmp_path: Path) -> None:
    make, read = KINDS[kind]
    first = make(tmp_path / "log")
    log(first, 1, 3)
    text = (tmp_path / "log").read_bytes()
    (tmp_path / "log").write_bytes(text[:-4])
    second = make(tmp_path / "log")
    second.load_state_dict(first.state_dict())
    log(second, 4, 4, fit=Fit(3, [row_of(epoch) for epoch in (1, 2, 3)]))
    same(read(tmp_path / "log"), [row_of(epoch) for epoch in range(1, 5)])


@pytest.mark.parametrize("kind", TEXT)
def test_the_file_that_is_gone_is_made_again(kind: str, tmp_path: Path) -> None:
    make, read = KINDS[kind]
    logger = make(tmp_path / "log")
    logger.load_state_dict({"begun": True, "epoch": 2})
    log(logger, 3, 3, fit=Fit(2, [row_of(1), row_of(2)]))
    same(read(tmp_path / "log"), [row_of(epoch) for epoch in (1, 2, 3)])


@pytest.mark.parametrize("kind", KINDS)
def test_another_fit_of_one_object_goes_on_and_another_object_begins(kind: str, tmp_path: Path) -> None:
    make, read = KINDS[kind]
    logger = make(tmp_path / "log")
    log(logger, 1, 2)
    log(logger, 3, 4)
    same(read(tmp_path / "log"), [row_of(epoch) for epoch in (1, 2, 3, 4)])
    log(make(tmp_path / "log"), 1, 1)
    same(read(tmp_path / "log"), [row_of(1)])


@pytest.mark.parametrize("kind", KINDS)
def test_columns_that_come_later(kind: str, tmp_path: Path) -> None:
    make, read = KINDS[kind]
    logger = make(tmp_path / "log")
    logger.on_fit_begin(Fit())
    rows = [row_of(1), row_of(2, mine=5.0), row_of(3), row_of(4, mine=1.0, other=2.0)]
    for row in rows:
        logger.on_epoch_end(Fit(), row)
    same(read(tmp_path / "log"), rows)
    second = make(tmp_path / "log")
    second.load_state_dict(logger.state_dict())
    log(second, 5, 5, fit=Fit(4))
    same(read(tmp_path / "log"), [*rows, row_of(5)])


def test_numbers_that_are_none(tmp_path: Path) -> None:
    row = {"epoch": 1, "loss": math.inf, "val_loss": math.nan}
    for make in (CSVLogger, JSONLLogger):
        logger = make(tmp_path / make.__name__)
        logger.on_fit_begin(Fit())  # type: ignore[arg-type]
        logger.on_epoch_end(Fit(), row)  # type: ignore[arg-type]
    frame = pd.read_csv(tmp_path / "CSVLogger")
    assert frame["loss"][0] == math.inf
    assert math.isnan(frame["val_loss"][0])
    assert read_jsonl(tmp_path / "JSONLLogger") == [{"epoch": 1, "loss": None, "val_loss": None}]


def test_csv_is_what_a_history_writes(tmp_path: Path) -> None:
    history = stoop.History(("loss", "val_loss"))
    logger = CSVLogger(tmp_path / "log.csv")
    logger.on_fit_begin(Fit())  # type: ignore[arg-type]
    for epoch in (1, 2):
        history.epochs.append(epoch)
        history._amend({"loss": 1 / 3 / epoch, "val_loss": 1e-17})
        logger.on_epoch_end(Fit(), history._newest())  # type: ignore[arg-type]
    history.to_csv(tmp_path / "history.csv")
    assert (tmp_path / "log.csv").read_bytes() == (tmp_path / "history.csv").read_bytes()


# ---- what goes wrong ----


@pytest.mark.parametrize("kind", TEXT)
def test_a_full_disk(kind: str) -> None:
    logger = KINDS[kind][0](Path("/dev/full"))
    logger.on_fit_begin(Fit())
    with refused(OSError, rf"\[{type(logger).__name__}\] /dev/full cannot be written, No space left", "make room"):
        logger.on_epoch_end(Fit(), row_of(1))
    logger.on_fit_end(Fit(), "error")


@pytest.mark.parametrize("kind", TEXT)
def test_a_folder_that_is_not_there(kind: str, tmp_path: Path) -> None:
    logger = KINDS[kind][0](tmp_path / "gone" / "log")
    with refused(FileNotFoundError, "gone.log cannot be written, No such file"):
        logger.on_fit_begin(Fit())
    logger.on_fit_end(Fit(), "error")


def test_a_folder_of_events_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    logger = TensorBoard(tmp_path / "file" / "log")
    with refused(OSError, r"\[TensorBoard\]", "cannot be written"):
        logger.on_fit_begin(Fit())  # type: ignore[arg-type]
    logger.on_fit_end(Fit(), "error")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", TEXT)
@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"epoch,loss\nx,2\n", b"\xff\xfe\n", b"[1]\n", b'{"a": 1}\n'])
def test_another_file_is_not_overwritten(kind: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    logger = KINDS[kind][0](path)
    logger.load_state_dict({"begun": True, "epoch": 3})
    with refused(ValueError, "is another file", "remove this file"):
        logger.on_fit_begin(Fit(3))
    assert path.read_bytes() == content


def test_a_cut_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    log(CSVLogger(path), 1, 4)
    before = path.read_bytes()

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    logger = CSVLogger(path)
    logger.load_state_dict({"begun": True, "epoch": 2})
    monkeypatch.setattr(os, "fsync", fail)
    with refused(OSError, "No space left"):
        logger.on_fit_begin(Fit(2))  # type: ignore[arg-type]
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_another_file_beside_it_stays(tmp_path: Path) -> None:
    log(CSVLogger(tmp_path / "log"), 1, 3)
    (tmp_path / "log.new").write_text("of another")
    logger = CSVLogger(tmp_path / "log")
    logger.load_state_dict({"begun": True, "epoch": 2})
    logger.on_fit_begin(Fit(2))  # type: ignore[arg-type]
    assert (tmp_path / "log.new").read_text() == "of another"


def test_links_and_modes_are_kept(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    link.symlink_to(real)
    log(CSVLogger(link), 1, 2)
    real.chmod(0o640)
    logger = CSVLogger(link)
    logger.load_state_dict({"begun": True, "epoch": 1})
    log(logger, 2, 2, fit=Fit(1))
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    same(read_csv(real), [row_of(1), row_of(2)])


@pytest.mark.parametrize("make", [CSVLogger, JSONLLogger, TensorBoard])
@pytest.mark.parametrize("path", [3, None, "a\0b"])
def test_what_is_no_path(make: Any, path: Any) -> None:
    with refused((TypeError, ValueError), make.__name__, "path"):
        make(path)


@pytest.mark.parametrize("kind", KINDS)
def test_copies(kind: str, tmp_path: Path) -> None:
    make, read = KINDS[kind]
    logger = make(tmp_path / "log")
    for twin in (copy.deepcopy(logger), pickle.loads(pickle.dumps(logger))):
        log(twin, 1, 2)
        assert twin.state_dict() == {"begun": True, "epoch": 2}
    same(read(tmp_path / "log"), [row_of(1), row_of(2)])


def test_tensorboardx_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
        log(TensorBoard(tmp_path / "log"), 1, 3)
        patch.setitem(sys.modules, "tensorboardX.proto.event_pb2", None)
        with refused(ImportError, r"\[TensorBoard\] tensorboard is missing", r"stoop\[tensorboard\]"):
            TensorBoard(tmp_path / "log")
    same(read_events(tmp_path / "log"), [row_of(epoch) for epoch in (1, 2, 3)])
