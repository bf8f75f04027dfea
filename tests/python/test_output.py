"""Training prints where it can and trains where it cannot: no stdout, loggers, closed files, broken pipes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import stoop
from helpers import run_python
from stoop.progress import EpochTable

X, Y = np.zeros((9, 4)), np.arange(9) % 3


class Logger:
    """What redirectors and GUI consoles put in the place of stdout: write alone."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text


class Terminal(Logger):
    encoding: Any = "utf-8"

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        pass


class BadIsatty(Logger):
    def isatty(self) -> bool:
        raise ValueError("I/O operation on closed file")


class NoFlush(Terminal):
    flush = None  # type: ignore[assignment]


class Broken(Logger):
    def write(self, text: str) -> None:
        raise BrokenPipeError(32, "Broken pipe")


class BrokenLater(Terminal):
    def write(self, text: str) -> None:
        super().write(text)
        if len(self.text) > 60:
            raise OSError(28, "No space left on device")

    def flush(self) -> None:
        if len(self.text) > 60:
            raise BrokenPipeError(32, "Broken pipe")


class OddEncoding(Terminal):
    encoding = None


def closed() -> Any:
    stream = io.StringIO()
    stream.close()
    return stream


def ascii_file() -> Any:
    return io.TextIOWrapper(io.BytesIO(), encoding="ascii")


STREAMS: dict[str, Any] = {
    "None": lambda: None,
    "write alone": Logger,
    "isatty raises": BadIsatty,
    "terminal": Terminal,
    "no flush": NoFlush,
    "broken pipe": Broken,
    "full disk": BrokenLater,
    "no encoding": OddEncoding,
    "closed": closed,
    "ascii": ascii_file,
    "bytes": io.BytesIO,
    "no write": object,
}


@pytest.mark.parametrize("verbose", [1, 2])
@pytest.mark.parametrize("kind", STREAMS)
def test_fit_trains_whatever_stdout_is(monkeypatch: pytest.MonkeyPatch, kind: str, verbose: int) -> None:
    trainer = stoop.Trainer(stoop.Model([stoop.Dense(3)], input_dim=4))
    stream = STREAMS[kind]()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        history = trainer.fit(X, Y, epochs=2, verbose=verbose)
        stoop.show_config() if kind in ("None", "write alone", "ascii") else None
    assert trainer.epoch == len(history["loss"]) == 2
    if isinstance(stream, Logger) and kind not in ("broken pipe", "full disk"):
        assert "accuracy" in stream.text
        assert "2/2" in stream.text


@pytest.mark.parametrize("columns", ["0", "-3", "1", "2", "80"])
def test_a_terminal_of_any_width(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    stream = Terminal()
    history = stoop.History(("loss",))
    table = EpochTable(history, 0, 1, stream=stream)
    table.update(0, 5, 10)
    table.close()
    assert "\r" in stream.text


def test_a_dumb_terminal_gets_no_live_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    table = EpochTable(stoop.History(("loss",)), 0, 1, stream=stream)
    table.update(0, 5, 10)
    assert "\r" not in stream.text


def test_a_stream_whose_encoding_lacks_a_character() -> None:
    stream = ascii_file()
    table = EpochTable(stoop.History(("loss",)), 0, 1, stream=stream)
    table._console.write("Größe ━\n")
    table.close()
    assert stream.buffer.getvalue() == b"Gr\\xf6\\xdfe \\u2501\n"


def test_an_error_of_the_stream_itself_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    class Faulty(Logger):
        def write(self, text: str) -> None:
            raise KeyError("a fault of its own")

    monkeypatch.setattr(sys, "stdout", Faulty())
    with pytest.raises(KeyError, match="of its own"):
        stoop.Trainer(stoop.Model([stoop.Dense(3)], input_dim=4)).fit(X, Y, epochs=1)


FIT = (
    "import numpy as np, stoop, sys; t = stoop.Trainer(stoop.Model([stoop.Dense(3)], input_dim=4));"
    "t.fit(np.zeros((9, 4)), np.arange(9) % 3, epochs=2); sys.exit(0 if t.epoch == 2 else 3)"
)


@pytest.mark.parametrize("descriptors", [(1,), (2,), (0, 1, 2)])
def test_a_process_without_its_standard_streams(descriptors: tuple[int, ...]) -> None:
    closing = " ".join(f"{number}>&-" for number in descriptors)
    for program in (f"-c '{FIT}'", "-m stoop info"):
        done = subprocess.run(["/bin/sh", "-c", f"'{sys.executable}' {program} {closing}"], timeout=60, check=False)
        assert done.returncode == 0, program


@pytest.mark.parametrize("program", [["-m", "stoop", "info"], ["-c", FIT]], ids=["info", "fit"])
def test_a_reader_that_went_away(program: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-u", *program], stdout=pipe, stderr=subprocess.PIPE, timeout=60, check=False
        )
    assert done.returncode == (1 if "info" in program else 0), done.stderr
    assert not done.stderr


def test_ascii_output_of_the_command_line() -> None:
    assert "isa" in run_python("-m", "stoop", "info", PYTHONIOENCODING="ascii").stdout
