"""The common look of pictures: colours that can be told apart on any page, named axes, a card, an inline form."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import stoop
from stoop import _figures

pytest.importorskip("matplotlib", reason="Matplotlib is not installed")

DARK_PAGE, LIGHT_PAGE = "#14181d", "#ffffff"


def luminance(color: str) -> float:
    """Relative luminance, WCAG 2.2."""
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("color", _figures.SERIES)
def test_colours_of_data_stand_out_from_light_and_dark_pages(color: str) -> None:
    assert contrast(color, LIGHT_PAGE) >= 3.0
    assert contrast(color, DARK_PAGE) >= 3.0


def test_text_on_its_card_and_on_cells() -> None:
    assert contrast(_figures.TEXT, "#ffffff") >= 7.0
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    for share in np.linspace(0.0, 1.0, 21):
        text = _figures.text_on(float(share))
        assert contrast({"white": "#ffffff"}.get(text, text), to_hex(colormaps[_figures.SHADES](share))) >= 4.0


def curve() -> stoop.History:
    X = np.random.default_rng(0).standard_normal((64, 4)).astype(np.float32)
    trainer = stoop.Trainer(stoop.Model([stoop.Dense(3)], input_dim=4))
    trainer.fit(X, np.arange(64) % 3, epochs=2, validation_data=(X, np.arange(64) % 3), verbose=0)
    return trainer.history


def test_axes_are_named() -> None:
    search = stoop.Trainer(stoop.Model([stoop.Dense(3)], input_dim=4)).find_learning_rate(
        np.random.default_rng(0).standard_normal((64, 4)), np.arange(64) % 3, batch_size=16
    )
    for figure in (curve().plot(), search.plot(), stoop.plotting.confusion_matrix([0, 1], [1, 1])):
        for axes in figure.axes:
            assert axes.get_xlabel()
            assert axes.get_ylabel()


def test_text_has_one_colour_on_logarithmic_axes_too() -> None:
    """Labels of minor ticks were black, and so not to be read on a dark page."""
    figure = _figures.new_figure(4.0, 3.0)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0.02, 0.1])
    axes.set_yscale("log")
    _figures.style(axes, grid=True)
    figure.draw_without_rendering()
    labels = [*axes.get_yticklabels(which="minor"), *axes.get_yticklabels()]
    assert {label.get_color() for label in labels if label.get_text()} == {_figures.TEXT}


def test_changes_are_marked() -> None:
    history = curve()
    history.changes.append({"epoch": 2, "step": 1, "learning_rate": 0.01})
    history.changes.append({"epoch": 2, "step": 1, "l2": 0.5})
    history.changes.append({"epoch": 3, "step": 2, "clip_norm": None})
    axes = history.plot().axes[0]
    assert [line.get_xdata()[0] for line in axes.get_lines() if line.get_linestyle() == ":"] == [1.5, 2.5]
    assert [text.get_text() for text in axes.texts] == ["learning_rate 0.01, l2 0.5", "clip_norm None"]
    assert {text.get_rotation() for text in axes.texts} == {90.0}


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_pictures_are_cards_of_the_kind_of_their_suffix(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"curve.{suffix}"
    curve().plot(path)
    start = path.read_bytes()[:400]
    assert {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix] in start
    if suffix == "svg":
        assert "fill: #ffffff" in path.read_text()


def test_inline_pictures_follow_the_page_and_do_not_share_ids() -> None:
    first, second = (_figures.inline_svg(curve().plot(), name) for name in ("a", "b"))
    for text in (first, second):
        ET.fromstring(text)
        assert text.startswith("<svg")
        assert "var(--figure-text)" in text
        assert _figures.TEXT not in text
        assert "fill: #ffffff" not in text  # the card
    ids = [set(re.findall(r'\bid="([^"]+)"', text)) for text in (first, second)]
    assert not ids[0] & ids[1]
    used = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', first)
    assert used
    assert {a or b for a, b in used} <= ids[0]


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    history = curve()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"stoop\[plot\]"):
        history.plot()
