"""Runs commands of stoop within this process, and small tables to give them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from helpers import MESSAGE
from stoop.cli import main


class Done(NamedTuple):
    """How a command ended, and what it wrote."""

    status: int
    out: str
    err: str

    @property
    def result(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return json.loads(self.out)


class Command:
    """Runs ``stoop ...`` by its function."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str | Path, status: int = 0) -> Done:
        self._capsys.readouterr()
        try:
            found = main([str(argument) for argument in arguments])
        except SystemExit as error:
            found = int(error.code or 0)
        done = Done(found, *self._capsys.readouterr())
        assert done.status == status, f"{done.out}\n{done.err}"
        return done

    def refused(self, *arguments: str | Path) -> str:
        """Return the message of a command that must end with status 1."""
        text = self(*arguments, status=1).err.rpartition("stoop: [")[2].strip()
        text = f"[{text}"
        assert MESSAGE.fullmatch(text), text
        return text


def table(header: str, row: Callable[[int], str], rows: int = 40) -> str:
    """CSV text."""
    return "".join(f"{line}\n" for line in (header, *map(row, range(rows))))


def mixed_table(rows: int = 120, seed: int = 0) -> Any:
    """A data frame with numbers, categories, truth values and missing cells, and two targets that follow from them."""
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(seed)
    mass, length = rng.normal(50, 10, rows).round(2), rng.normal(5, 1, rows).round(3)
    color, alive = rng.choice(["red", "green", "blue"], rows), rng.random(rows) < 0.5
    sum_of_all = mass + 7 * length + 15 * (color == "red") + 10 * alive
    frame = pd.DataFrame({"mass": mass, "length": length, "color": color, "alive": alive})
    frame.loc[::17, "mass"] = np.nan
    frame.loc[::13, "color"] = None
    frame["size"] = np.where(sum_of_all > np.median(sum_of_all), "big", "small")
    frame["value"] = sum_of_all.round(3)
    return frame
