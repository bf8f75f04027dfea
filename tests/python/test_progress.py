"""The table of epochs on a terminal with rich and without it, in files, in a notebook."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import threading
import types
from typing import Any

import numpy as np
import pytest

import stoop
from helpers import run_python
from stoop.progress import EpochTable

FIT = """
import sys, threading
import numpy as np, stoop
{}
X = np.random.default_rng(0).standard_normal((200_000, 8)).astype(np.float32)
before = threading.active_count()
trainer = stoop.Trainer(stoop.Model([stoop.Dense(256, activation="relu"), stoop.Dense(2)], input_dim=8))
trainer.fit(X, (X[:, 0] > 0).astype(int), epochs=3, validation_split=0.01, verbose={})
assert threading.active_count() == before
"""
HEADING = "epoch       loss   accuracy   val loss  val accuracy  samples/s"
ROW = re.compile(r"^ +\d/3( +[\d.,e-]+){5}( \*)?$")
STYLE = re.compile(r"\x1b\[[\d;]*m")
WITHOUT_RICH = 'sys.modules["rich"] = sys.modules["rich.console"] = None'


def on_terminal(code: str, **environment: str) -> str:
    """What a program writes to a terminal of 100 columns."""
    ours, its = pty.openpty()
    settings = {"TERM": "xterm-256color", "COLUMNS": "100", "LANG": "C.UTF-8"} | environment
    with subprocess.Popen([sys.executable, "-c", code], stdout=its, stdin=its, env=os.environ | settings) as program:
        os.close(its)
        parts = []
        try:
            while part := os.read(ours, 4096):
                parts.append(part)
        except OSError:  # the other end is closed
            pass
        os.close(ours)
        assert program.wait(60) == 0
    return b"".join(parts).decode().replace("\r\n", "\n")


@pytest.mark.parametrize("rich", [True, False])
def test_on_a_terminal(rich: bool) -> None:
    shown = on_terminal(FIT.format("" if rich else WITHOUT_RICH, 1))
    assert bool(STYLE.search(shown)) == rich
    plain = STYLE.sub("", shown)
    drawn = re.findall(r"\r(\d/3 [━─]{24} [\d,]+/198,000 samples, \d:\d\d left[^\x1b]*)\x1b\[K", plain)
    assert drawn
    assert any("best epoch 1" in line for line in drawn)
    assert all(len(line) < 100 for line in drawn)
    lines = [line.rsplit("\x1b[K", 1)[-1] for line in plain.splitlines()]
    assert lines[0].strip() == HEADING
    rows = [line for line in lines[1:] if line]
    assert len(rows) == 3
    assert all(ROW.match(row) for row in rows), rows
    assert rows[0].endswith(" *"), "the first is the best so far"
    assert plain.endswith(("\x1b[K", "\n"))


def test_the_table_alone() -> None:
    shown = STYLE.sub("", on_terminal(FIT.format("", 2)))
    assert "\r" not in shown
    assert len(shown.splitlines()) == 4


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_files_and_pipes_get_one_line_an_epoch(verbose: int) -> None:
    lines = run_python("-c", FIT.format("", verbose)).stdout.splitlines()
    assert len(lines) == (4 if verbose else 0)
    if verbose:
        assert lines[0].strip() == HEADING
        assert all(ROW.match(line) and "*" not in line for line in lines[1:])


def test_no_colours_where_none_are_wanted() -> None:
    shown = on_terminal(FIT.format("", 1), NO_COLOR="1")
    assert not re.search(r"\x1b\[[\d;]*3\dm", shown)


# ---- rows by hand ----


class Terminal(io.StringIO):
    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


def add(history: Any, **row: float) -> None:
    history.epochs.append(len(history.epochs) + 1)
    history._amend(row)


def test_only_rows_that_are_better_are_marked() -> None:
    history, stream = stoop.History(("loss", "val_loss", "val_auc")), Terminal()
    table = EpochTable(history, 0, 5, stream=stream)
    for value in (1.0, 0.5, 0.7, float("nan"), 0.4):
        add(history, loss=0.0, val_loss=value, val_auc=0.9)
        table.row()
    table.close()
    heading, *rows = STYLE.sub("", stream.getvalue()).splitlines()
    assert heading.split() == ["epoch", "loss", "val", "loss", "val", "auc"]
    assert [row.endswith("*") for row in rows] == [True, True, False, False, True]


def test_without_validation_nothing_is_marked() -> None:
    history, stream = stoop.History(("loss",)), Terminal()
    table = EpochTable(history, 0, 2, stream=stream)
    for value in (1.0, 0.5):
        add(history, loss=value)
        table.row()
        table.update(1, 5, 10)
    assert "*" not in stream.getvalue()
    assert "best" not in stream.getvalue()


@pytest.mark.parametrize("columns", [30, 60, 80, 100, 200])
def test_what_does_not_fit_a_line_is_left_out(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    history, stream = stoop.History(("loss", "val_loss")), Terminal()
    table = EpochTable(history, 0, 2, stream=stream)
    add(history, loss=1.0, val_loss=1.0)
    table.row()
    table.update(1, 5_000_000, 10_000_000)
    line = STYLE.sub("", stream.getvalue()).split("\r")[-1].removesuffix("\x1b[K")
    assert len(line) < columns
    assert line.endswith("best epoch 1") == (columns >= 100)


# ---- notebooks ----


class Handle:
    def __init__(self, drawn: list[Any]) -> None:
        self._drawn = drawn

    def update(self, what: Any) -> None:
        self._drawn.append(what)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What a kernel of IPython is given to display; the thread that gives it must be the one that trains."""
    shown: list[Any] = []
    thread = threading.get_ident()

    def display(what: Any, display_id: bool = False) -> Any:
        assert display_id
        assert threading.get_ident() == thread
        shown.append(what)
        return Handle(shown)

    ipython, displaying = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    displaying.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", displaying)
    return shown


class OutStream(io.StringIO):
    __module__ = "ipykernel.iostream"


def fit(verbose: int = 1) -> Any:
    X = np.random.default_rng(0).standard_normal((200, 4))
    trainer = stoop.Trainer(stoop.Model([stoop.Dense(2)], input_dim=4))
    return trainer.fit(X, (X[:, 0] > 0).astype(int), epochs=40, validation_split=0.2, verbose=verbose)


def test_in_a_notebook(drawn: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    stream = OutStream()
    monkeypatch.setattr(sys, "stdout", stream)
    history = fit()
    assert stream.getvalue() == ""
    html, text = drawn[-1]._repr_html_(), repr(drawn[-1])
    assert html.count("<tr") == 31, "a heading and the newest 30, the best among them"
    assert html.count("best so far") == 1
    assert "<small>" not in html
    best = 1 + int(np.argmin(history["val_loss"]))
    assert re.search(rf"^ +{best}/40 .*\*$", text, re.MULTILINE)
    assert len(text.splitlines()) == 31


def test_a_notebook_shows_how_far_it_is(drawn: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", OutStream())
    history = stoop.History(("loss", "val_loss"))
    for live in (True, False):
        drawn.clear()
        table = EpochTable(history, 0, 40, live=live)
        table.update(0, 5, 10)
        assert len(drawn) == live
        if live:
            assert "width:50.0%" in drawn[0]._repr_html_()
            assert "5/10 samples" in repr(drawn[0])
        table.update(0, 6, 10)
        assert len(drawn) == live, "not so soon"
        table.close()
    for epoch in range(1, 41):
        history.epochs.append(epoch)
        history._amend({"loss": 1.0, "val_loss": abs(epoch - 3.0)})
        table.row()
    table.close()
    assert drawn[-1]._repr_html_().count("<tr") == 32, "the best, which is not among the newest"


def test_what_a_notebook_sends_elsewhere(drawn: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (io.StringIO(), Terminal()):
        monkeypatch.setattr(sys, "stdout", stream)
        fit()
        assert "40/40" in stream.getvalue()
    monkeypatch.setattr(sys, "stdout", OutStream())
    fit(verbose=0)
    assert not drawn


def test_plain_ipython_is_a_terminal(drawn: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for shell in (None, object()):
        monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda shell=shell: shell, raising=False)
        stream = OutStream()
        monkeypatch.setattr(sys, "stdout", stream)
        fit()
        assert "40/40" in stream.getvalue()
    assert not drawn
