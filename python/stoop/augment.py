"""Augmentation: samples that are changed at random, another way in every epoch, while they are trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop import _core
from stoop._arrays import real_numbers
from stoop._checks import features, integer, real
from stoop._checks import seed as checked_seed
from stoop._errors import message

__all__ = ["Augment"]

_WHERE = "Augment"
_FLIPS = {False: (False, False), True: (True, False), "horizontal": (True, False), "vertical": (False, True)}
_FLIPS["both"] = (True, True)
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))

Pair = float | tuple[float, float]


@dataclass(frozen=True)
class Augment:
    """Changes each sample at random as it is gathered into a batch: ``trainer.fit(X, y, augment=Augment(...))``.

    What a sample becomes is a function of the seed, the epoch and its position in the training data, and of nothing
    else: not of threads, batches or the order of the samples, so a fit has the same bits on any number of threads and
    after a resume. `evaluate`, validation, `step` and `predict` see the samples as they are.

    Each row of X is an image for whatever moves pixels. These changes are one map from a pixel of the result to a place
    in the image, about the image's centre, where it is sampled once, linearly between four pixels (what
    `scipy.ndimage.map_coordinates` with ``order=1`` does). In this order the image is cropped, flipped, zoomed,
    sheared, rotated and shifted, and elastic displacements are added to the places. Noise comes next, and mixup last;
    both take rows of any kind. All of it works on X as it is given, before `Model.input_scale`.

    Parameters
    ----------
    image_shape : (height, width) or (height, width, channels) or None, default (28, 28)
        Of the image that a row of X holds, row by row, channels last. It does not count where nothing moves pixels:
        rows of a table can have noise and mixup.
    flip : bool or {"horizontal", "vertical", "both"}, default False
        Left and right (True or "horizontal") change places with probability 1/2, or top and bottom, or both, each by
        itself.
    shift : int, float or (down, across), default 0
        The most pixels, >= 0. An int, or two: by a whole number of pixels between ``-shift`` and ``shift``, which
        leaves the values of pixels as they are. A float, or one of two: by any number between these, uniform.
    rotate : float, default 0.0
        The most degrees, 0 to 360: uniform between ``-rotate`` and ``rotate``.
    zoom : float or (low, high), default 0.0
        The image is enlarged by a factor that is uniform between ``1 - zoom`` and ``1 + zoom``, or low and high, > 0.
    shear : float, default 0.0
        The most degrees, 0 to 89: columns lean by an angle that is uniform between ``-shear`` and ``shear``.
    crop : (height, width), optional
        A window of this size, anywhere in the image, is enlarged to the whole image.
    elastic : (alpha, sigma), optional
        Each pixel is displaced down and across by numbers uniform in [-1, 1), smoothed by a Gaussian of deviation
        sigma pixels (whose weights add up to 1, cut at four deviations, zero beyond the image) and multiplied by alpha:
        ``alpha * scipy.ndimage.gaussian_filter(u, sigma, mode="constant")``; (34, 4) is usual for handwritten digits.
        Simard, Steinkraus & Platt 2003, section 2.
    noise : float, default 0.0
        Standard deviation of Gaussian noise that is added to each number, in units of X.
    mixup : float, default 0.0
        ``x = share*x + (1-share)*x'`` and ``y = share*y + (1-share)*y'`` with the share from Beta(mixup, mixup) and x'
        any sample of the training data, augmented as in this epoch; Zhang et al. 2018. Class labels become rows of
        shares. A prediction counts as right for the accuracy of the training if its class has the largest share (binary
        labels: if it is on the side of 1/2 where the mixed label is). Not with weights of samples or classes, nor with
        `Hinge`, which takes labels alone.
    seed : int, optional
        None: that of the trainer.
    fill : "nearest" or float, default "nearest"
        The value beyond the image: that of the nearest pixel of its edge, or a number in units of X.

    Raises
    ------
    ValueError, TypeError
        For a value outside its range or of another kind, and if nothing would change.

    Examples
    --------
    >>> augment = stoop.augment.Augment(shift=2, rotate=10.0)
    >>> trainer.fit(X, y, augment=augment)
    >>> stoop.plotting.images(augment(X[:16]))
    """

    image_shape: Sequence[int] | None = (28, 28)
    flip: bool | str = False
    shift: Pair = 0
    rotate: float = 0.0
    zoom: Pair = 0.0
    shear: float = 0.0
    crop: tuple[int, int] | None = None
    elastic: tuple[float, float] | None = None
    noise: float = 0.0
    mixup: float = 0.0
    seed: int | None = None
    fill: str | float = "nearest"

    def __post_init__(self) -> None:
        for name in ("image_shape", "shift", "zoom", "crop", "elastic"):  # so that settings are equal and have a hash
            value = getattr(self, name)
            if isinstance(value, list | np.ndarray) and np.ndim(value) == 1:
                object.__setattr__(self, name, tuple(np.asarray(value).tolist()))
        self._settings  # noqa: B018  which checks all values

    def __call__(self, X: npt.ArrayLike, epoch: int = 0, y: npt.ArrayLike | None = None) -> Any:
        """Return what training sees of these samples in an epoch.

        Parameters
        ----------
        X : array_like, (n_samples, features) or (n_samples, height, width) or (n_samples, height, width, channels)
            All training data, since partners of mixup are drawn from them, and draws go by the position in them.
        epoch : int, default 0
            0 is the first epoch of a trainer.
        y : array_like, (n_samples,) or (n_samples, n_outputs), optional
            Targets, which mixup mixes: class labels (integers, strings or booleans) or numbers.

        Returns
        -------
        ndarray, or (ndarray, ndarray) where y is given
            X in its shape, float64 if it is float64 and else float32, not scaled; without a seed that of seed 0. The
            targets are those of y, or with mixup the mixed ones: numbers in the shape of y, or for labels
            (n_samples, n_classes), a column for each different label in their order.

        Raises
        ------
        ValueError, TypeError
            For X that does not hold images of this shape, is empty or not finite, and for targets of another length.
        """
        array = real_numbers("augment", X, "X")
        if array.ndim < 2 or array.size == 0:
            given, expected = f"X has shape {array.shape}", "expected one image or row per sample"
            raise ValueError(message("augment", given, expected, "give (n_samples, height * width), for example"))
        moves = any(np.any(value) for value in (self.shift, self.zoom, self.crop or 0, self.elastic or 0))
        moves = moves or bool(self.flip) or self.rotate > 0.0 or self.shear > 0.0
        if moves and self.image_shape is not None and array.shape == tuple(self.image_shape):
            given, expected = f"X has shape {array.shape}, that of one image", "expected several, or several rows"
            raise ValueError(message("augment", given, expected, "give X[None] for a single image"))
        dtype = np.dtype(np.float64 if array.dtype == np.float64 else np.float32)
        rows = features("augment", array.reshape(len(array), -1), dtype, array.size // len(array))
        epoch = integer("augment", "epoch", epoch, 0)
        targets = None if y is None else _targets("augment", y, len(array), dtype)
        out = np.empty(rows.shape, dtype)
        if targets is None or self.mixup == 0.0:
            _core.augment(self._settings, rows, out, epoch, None, None)
            return out.reshape(array.shape) if y is None else (out.reshape(array.shape), np.asarray(y))
        values, columns, shape = targets
        mixed = np.empty((len(array), columns), dtype)
        _core.augment(self._settings, rows, out, epoch, values, mixed)
        return out.reshape(array.shape), mixed.reshape(shape)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_settings"}

    @cached_property
    def _settings(self) -> Any:
        """What the core takes."""
        height, width, channels = _image_shape(self.image_shape)
        down, across, whole = _shift(self.shift)
        low, high = _zoom(self.zoom)
        crop = (0, 0) if self.crop is None else _integers("crop", self.crop, (2,), "(height, width)")
        alpha, sigma = (0.0, 4.0) if self.elastic is None else _reals("elastic", self.elastic, "(alpha, sigma)")
        flip_across, flip_down = _flip(self.flip)
        return _core.Augment(
            height=height,
            width=width,
            channels=channels,
            flip_across=flip_across,
            flip_down=flip_down,
            shift=(down, across),
            whole_pixels=whole,
            rotate=real(_WHERE, "rotate", self.rotate),
            zoom=(low, high),
            shear=real(_WHERE, "shear", self.shear),
            crop=crop,
            elastic=alpha,
            elastic_sigma=sigma,
            noise=real(_WHERE, "noise", self.noise),
            mixup=real(_WHERE, "mixup", self.mixup),
            seed=None if self.seed is None else checked_seed(_WHERE, self.seed),
            fill=_fill(self.fill),
        )


def checked_augment(where: str, augment: Any) -> Augment | None:
    """Return an Augment or None; TypeError for anything else."""
    if augment is None or isinstance(augment, Augment):
        return augment
    hint = "give stoop.augment.Augment(shift=2), for example"
    raise TypeError(message(where, f"augment is a {type(augment).__name__}", "expected a stoop.augment.Augment", hint))


def _image_shape(shape: Any) -> tuple[int, ...]:
    if shape is None:
        return 0, 0, 1
    sizes = _integers("image_shape", shape, (2, 3), "(height, width) or (height, width, channels)")
    return (*sizes, 1)[:3]


def _flip(flip: Any) -> tuple[bool, bool]:
    is_known = isinstance(flip, bool | np.bool_ | str) and flip in _FLIPS
    if not is_known:
        kind = ValueError if isinstance(flip, str) else TypeError
        expected = 'expected False, True, "horizontal", "vertical" or "both"'
        raise kind(message(_WHERE, f"flip is {flip!r}", expected, "True flips left and right"))
    return _FLIPS[flip]


def _shift(shift: Any) -> tuple[float, float, bool]:
    pair = (shift, shift) if np.ndim(shift) == 0 else _sequence("shift", shift, (2,), "a number or (down, across)")
    whole = all(isinstance(value, int | np.integer) for value in pair)
    down, across = (real(_WHERE, "shift", value) for value in pair)
    return down, across, whole


def _zoom(zoom: Any) -> tuple[float, float]:
    if np.ndim(zoom) > 0:
        low, high = _reals("zoom", zoom, "a number or (low, high)")
        return low, high
    by = real(_WHERE, "zoom", zoom)
    return 1.0 - by, 1.0 + by


def _fill(fill: Any) -> float | None:
    if isinstance(fill, str):
        if fill == "nearest":
            return None
        raise ValueError(message(_WHERE, f"fill is {fill!r}", 'expected "nearest" or a number', 'give "nearest"'))
    return real(_WHERE, "fill", fill)


def _sequence(name: str, values: Any, lengths: tuple[int, ...], expected: str) -> list[Any]:
    try:
        items = list(values)
    except TypeError:
        items = []
    if len(items) not in lengths:
        raise TypeError(message(_WHERE, f"{name} is {values!r}", f"expected {expected}", f"change {name}"))
    return items


def _integers(name: str, values: Any, lengths: tuple[int, ...], expected: str) -> tuple[int, ...]:
    return tuple(integer(_WHERE, name, value, 1) for value in _sequence(name, values, lengths, expected))


def _reals(name: str, values: Any, expected: str) -> tuple[float, ...]:
    return tuple(real(_WHERE, name, value) for value in _sequence(name, values, (2,), expected))


def _targets(where: str, y: Any, samples: int, dtype: np.dtype[Any]) -> tuple[Any, int, tuple[int, ...]]:
    """Return targets as the core takes them, their columns, and the shape of what is made of them."""
    array = np.asarray(y)
    if array.ndim not in (1, 2) or len(array) != samples:
        given, expected = f"y has shape {array.shape} and X {samples} samples", "expected one target per sample"
        raise ValueError(message(where, given, expected, "give y as for fit"))
    if array.ndim == 1 and array.dtype.kind != "f":
        names, classes = np.unique(array, return_inverse=True)
        return np.ascontiguousarray(classes, np.int64), len(names), (samples, len(names))
    values = np.ascontiguousarray(real_numbers(where, y, "y"), dtype)
    return values.reshape(samples, -1), values.size // samples, values.shape
