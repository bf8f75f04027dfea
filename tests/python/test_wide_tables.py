"""Tables of very many columns, or very long names: the work grows with their number, counted and not timed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pd = pytest.importorskip("pandas")

from stoop._tables import TableEncoder, _messages, read_table  # noqa: E402
from stoop.tabular._input import in_order  # noqa: E402


class Counted(str):
    """A name that counts how often it is looked up."""

    __slots__ = ()
    times = 0

    def __hash__(self) -> int:
        Counted.times += 1
        return super().__hash__()

    __eq__ = str.__eq__


@pytest.fixture
def names() -> list[Counted]:
    found = [Counted(f"c{i}") for i in range(300)]
    Counted.times = 0
    return found


def test_names_of_columns_are_compared_by_sets(names: list[Counted]) -> None:
    encoder = TableEncoder().fit(pd.DataFrame(np.eye(3, 300), columns=[f"c{i}" for i in range(300)]))
    encoder._check_names("table", list(names), list(names), ignore=True)
    assert Counted.times <= 5 * len(names)


def test_columns_of_a_data_frame_are_compared_by_sets(names: list[Counted]) -> None:
    class Frame:
        columns = names

    frame: Any = Frame()
    assert in_order("fit", frame, names) is frame
    assert Counted.times <= 5 * len(names)


def test_a_near_name_is_looked_for_among_few_and_short_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(_messages, "get_close_matches", lambda name, near, _: compared.append((name, near)) or [])
    assert _messages.nearest("x" * 10**6, ["a"]) is None
    assert compared == []
    _messages.nearest("abc", ["y" * 10**6, *map(str, range(10_000))])
    assert len(compared[0][1]) < 1000
    monkeypatch.undo()
    assert _messages.nearest("wieght", ["height", "weight"]) == "weight"


def test_cells_of_all_columns_are_read_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls = []
    mask = pd.Series.mask
    monkeypatch.setattr(pd.Series, "mask", lambda *given, **more: calls.append(1) or mask(*given, **more))
    names = [f"c{i}" for i in range(200)]
    rows = [[" 1" if i % 3 else "NA " for i in range(200)], ["x y " if i % 5 else "" for i in range(200)]]
    (tmp_path / "t.csv").write_text("\n".join(",".join(row) for row in [names, *rows]))
    frame = read_table(tmp_path / "t.csv")
    assert len(calls) == 1
    assert list(frame.columns) == names
    for place, name in enumerate(names):
        want = ["1" if place % 3 else None, "x y" if place % 5 else None]
        assert [None if pd.isna(cell) else cell for cell in frame[name]] == want
