"""A grid of images. Matplotlib is imported when one is drawn."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stoop._arrays import real_numbers
from stoop._checks import check_finite, integer
from stoop._errors import message
from stoop._figures import TEXT, finished, new_figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WHERE = "images"
_MOST = 400
_MOST_COLUMNS = 10


def images(
    X: npt.ArrayLike,
    image_shape: Sequence[int] | None = None,
    path: str | os.PathLike[str] | None = None,
    titles: Sequence[Any] | None = None,
    columns: int | None = None,
    *,
    title: str | None = None,
    cmap: str = "gray",
) -> Figure:
    """Draw images side by side, all on one scale from the least to the largest number in X.

    Parameters
    ----------
    X : array_like, (n_images, features) or (n_images, height, width) or (n_images, height, width, channels)
        One channel, or red, green and blue; at most 400 images. Numbers of any range, bytes too: colours of floats
        from 0 to 1, and of bytes, are shown as they are.
    image_shape : (height, width) or (height, width, channels), optional
        Of the images in rows of features, channels last. None: the rows hold squares, of one channel or three.
    path : path, optional
        Where to write it as PNG (or PDF, SVG by the suffix).
    titles : sequence, optional
        What stands above each image.
    columns : int, optional
        Images in a row, >= 1. None: about as many as rows, at most 10.
    title : str, optional
        Of the whole figure.
    cmap : str, default "gray"
        Colour map of images of one channel; with "gray_r" a large number is dark.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError, TypeError
        For X that holds no images of this shape, or numbers that are not finite, and for another number of titles.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> stoop.plotting.images(augment(X[:16]), titles=y[:16])
    """
    pictures = _as_images(X, image_shape)
    count, height, width, channels = pictures.shape
    names = None if titles is None else [str(name) for name in titles]
    if names is not None and len(names) != count:
        given = f"{len(names)} titles for {count} images"
        raise ValueError(message(_WHERE, given, "expected one for each", "give titles=y[:len(X)]"))
    across = columns if columns is not None else min(max(math.isqrt(count - 1) + 1, 1), _MOST_COLUMNS)
    across = min(integer(_WHERE, "columns", across, 1), count)
    down = -(-count // across)
    tall = min(max(height / width, 0.2), 5.0)
    inches = (1.05 * tall + (0.22 if names else 0.0)) * down + (0.4 if title else 0.0)
    figure = new_figure(max(1.05 * across, 2.0), inches, title)
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    low, high = _limits(pictures)
    for i, picture in enumerate(pictures):
        axes = figure.add_subplot(down, across, i + 1)
        if channels == 1:
            axes.imshow(picture[..., 0], cmap=cmap, vmin=low, vmax=high, interpolation="nearest")
        else:
            axes.imshow((picture - low) / (high - low), interpolation="nearest")
        style(axes, grid=False)
        axes.set_xticks([])
        axes.set_yticks([])
        if names is not None:
            axes.set_title(names[i], fontsize=9, color=TEXT, pad=2)
    return finished(figure, path)


def _as_images(X: Any, image_shape: Any) -> npt.NDArray[np.float64]:
    """Return (n, height, width, channels)."""
    given = real_numbers(_WHERE, X, "X")
    array = np.asarray(given, np.float64)
    hint = "give image_shape=(height, width), or (height, width, 3)"
    if array.ndim not in (2, 3, 4) or array.size == 0 or len(array) > _MOST:
        expected = f"expected 1 to {_MOST} images, one per row"
        raise ValueError(message(_WHERE, f"X has shape {array.shape}", expected, "give X[:16], for example"))
    check_finite(_WHERE, "X", array, "draw what is finite")
    shape = array.shape[1:] if array.ndim > 2 else _square(array.shape[1])
    if image_shape is not None:
        shape = tuple(integer(_WHERE, "image_shape", size, 1) for size in image_shape)
    if shape is None or len(shape) not in (2, 3) or math.prod(shape) != array.size // len(array):
        what = "X has shape" if image_shape is None else f"image_shape is {tuple(image_shape)} and X has shape"
        raise ValueError(message(_WHERE, f"{what} {array.shape}", "expected images", hint))
    channels = shape[2] if len(shape) == 3 else 1
    if channels not in (1, 3):
        raise ValueError(message(_WHERE, f"images of {channels} channels", "expected 1 or 3", "draw some of them"))
    scale = 255.0 if given.dtype == np.uint8 else 1.0
    return array.reshape(len(array), shape[0], shape[1], channels) / scale


def _square(features: int) -> tuple[int, ...] | None:
    for channels in (1, 3):
        side = math.isqrt(features // channels)
        if side * side * channels == features:
            return side, side, channels
    return None


def _limits(pictures: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return what is shown as black and as white."""
    low, high = float(pictures.min()), float(pictures.max())
    if pictures.shape[3] == 3 and low >= 0.0 and high <= 1.0:
        return 0.0, 1.0
    return (low, high) if high > low else (low - 0.5, high + 0.5)
