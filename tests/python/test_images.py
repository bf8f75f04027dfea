"""`plotting.images` draws each image as it is, at its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stoop
from helpers import MESSAGE
from stoop.plotting import images

pytest.importorskip("matplotlib")
RNG = np.random.default_rng(0)


def drawn(figure: Any) -> list[np.ndarray]:
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes]


@pytest.mark.parametrize("shape", [(7, 784), (7, 28, 28), (7, 28, 28, 1)])
def test_images_of_one_channel(shape: tuple[int, ...]) -> None:
    X = RNG.normal(size=shape)
    figure = images(X, titles=range(7), title="Digits")
    assert [axes.get_title() for axes in figure.axes] == [str(i) for i in range(7)]
    for own, picture in zip(X.reshape(7, 28, 28), drawn(figure)):
        np.testing.assert_array_equal(picture, own)
    limits = {axes.images[0].get_clim() for axes in figure.axes}
    assert limits == {(X.min(), X.max())}  # so that they compare


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_in_colour_are_shown_as_they_are(dtype: Any) -> None:
    X = (RNG.random((3, 5, 4, 3)) * (255 if dtype == np.uint8 else 1)).astype(dtype)
    figure = images(X.reshape(3, -1), (5, 4, 3))
    for own, picture in zip(X, drawn(figure)):
        np.testing.assert_allclose(picture, own / (255 if dtype == np.uint8 else 1), atol=1e-12)
    for picture in drawn(images(10.0 * X.astype(float) - 5.0, title="any range")):
        assert picture.min() >= 0.0
        assert picture.max() <= 1.0


def test_files_columns_and_squares(tmp_path: Path) -> None:
    X = RNG.random((5, 3 * 16))
    figure = images(X, path=tmp_path / "five.png", columns=2)
    assert (tmp_path / "five.png").stat().st_size > 1000
    assert len(figure.axes) == 5
    assert drawn(figure)[0].shape == (4, 4, 3)
    grid = figure.axes[0].get_subplotspec().get_gridspec()
    assert (grid.nrows, grid.ncols) == (3, 2)
    assert len(images(np.zeros((1, 9))).axes) == 1
    assert len(images(RNG.random((2, 100, 3)), titles=["a", "b"]).axes) == 2


@pytest.mark.parametrize(
    ("X", "options", "words"),
    [
        (np.zeros((2, 7)), {}, "shape"),
        (np.zeros((2, 784)), {"image_shape": (27, 28)}, "image_shape"),
        (np.zeros((2, 4, 4, 2)), {}, "channels"),
        (np.zeros(784), {}, "shape"),
        (np.zeros((0, 784)), {}, "shape"),
        (np.zeros((401, 4)), {}, "400"),
        (np.full((2, 4), np.nan), {}, "NaN"),
        (np.zeros((2, 4)), {"titles": ["one"]}, "titles"),
        (np.zeros((2, 4)), {"columns": 0}, "columns"),
    ],
)
def test_what_is_no_image(X: np.ndarray, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as raised:
        images(X, **options)
    assert MESSAGE.fullmatch(str(raised.value))


def test_what_training_sees_can_be_drawn() -> None:
    augment = stoop.augment.Augment(rotate=20.0)
    assert len(images(augment(RNG.random((9, 784)))).axes) == 9
