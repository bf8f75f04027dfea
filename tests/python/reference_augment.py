"""Augmentation written down once more, with NumPy and SciPy and no thought of speed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from stoop import _core
from stoop.augment import Augment

SHUFFLE, AUGMENT = 2, 5
NOISE, DOWN, ACROSS = 1, 2, 3  # uses of draws


def philox(seed: int, counters: npt.NDArray) -> npt.NDArray:
    """Philox4x32-10 of Salmon et al. 2011: (n, 4) counters to (n, 4) words, all 32 bits in uint64."""
    mask = np.uint64(0xFFFFFFFF)
    x = counters.astype(np.uint64).T.copy()
    key = [np.uint64(seed & 0xFFFFFFFF), np.uint64(seed >> 32)]
    for _ in range(10):
        first, second = np.uint64(0xD2511F53) * x[0], np.uint64(0xCD9E8D57) * x[2]
        shift = np.uint64(32)
        x = np.stack([(second >> shift) ^ x[1] ^ key[0], second & mask, (first >> shift) ^ x[3] ^ key[1], first & mask])
        key = [(key[0] + np.uint64(0x9E3779B9)) & mask, (key[1] + np.uint64(0xBB67AE85)) & mask]
    return x.T


def shuffled(seed: int, epoch: int, samples: int) -> npt.NDArray:
    """The order of an epoch."""
    order = np.arange(samples)

    def swap(i: int, which: int) -> None:
        words = [int(word) for word in philox(seed, np.array([[i // 2, 0, epoch, SHUFFLE]]))[0]]
        j = ((words[2 * which] | words[2 * which + 1] << 32) * (i + 1)) >> 64
        order[[i, j]] = order[[j, i]]

    for i in range(samples - 1, 0, -1):
        swap(i, i % 2)
    return order


def words_of(seed: int, use: int, epoch: int, position: int, n: int) -> npt.NDArray:
    """(ceil(n/64), 4, 16): word, counter of each group of 64 elements."""
    counters = np.arange(-(-n // 64) * 16)
    rest = np.broadcast_to([position, epoch, AUGMENT | use << 8], (len(counters), 3))
    return philox(seed, np.column_stack([counters, rest])).reshape(-1, 16, 4).transpose(0, 2, 1)


def uniform(seed: int, use: int, epoch: int, position: int, n: int) -> npt.NDArray:
    words = words_of(seed, use, epoch, position, n).reshape(-1)[:n]
    return ((words.astype(np.int64) - 2**31).astype(np.float32) / 2.0**31).astype(np.float64)


def normal(seed: int, epoch: int, position: int, n: int) -> npt.NDArray:
    words = (words_of(seed, NOISE, epoch, position, n) >> np.uint64(9)).astype(np.float64)
    u, v = (words[:, 0::2] + 0.5) / 2**23, words[:, 1::2] / 2**23
    radius = np.sqrt(-2.0 * np.log(u))
    both = np.stack([radius * np.cos(2 * np.pi * v), radius * np.sin(2 * np.pi * v)], axis=2)
    return both.reshape(-1)[:n]


def places(of: Augment, draw: dict[str, Any]) -> npt.NDArray:
    """(2, height, width): row and column in the image of each pixel of the result, without elastic displacements."""
    height, width = of.image_shape[:2]
    window = np.array(of.crop if of.crop is not None else (height, width), float)
    size = np.array([height, width], float)
    cosine, sine = np.cos(draw["angle"]), np.sin(draw["angle"])
    crop = np.diag(size / window)
    flip = np.diag([-1.0 if draw["flip_down"] else 1.0, -1.0 if draw["flip_across"] else 1.0])
    shear = np.array([[1.0, 0.0], [np.tan(draw["shear"]), 1.0]])
    rotation = np.array([[cosine, -sine], [sine, cosine]])  # counter-clockwise, rows count downwards
    forward = rotation @ shear @ (draw["zoom"] * np.eye(2)) @ flip @ crop
    pixels = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij")).reshape(2, -1)
    from_centre = pixels - ((size - 1) / 2 + draw["shift"])[:, None]
    inside = np.linalg.solve(forward, from_centre) + (np.array(draw["corner"]) + (window - 1) / 2)[:, None]
    return inside.reshape(2, height, width)


def one_sample(of: Augment, row: npt.NDArray, seed: int, epoch: int, position: int, samples: int) -> npt.NDArray:
    """A row (features) after everything but mixup, in float64."""
    draw = _core.augment_draws(of._settings, seed, epoch, position, samples)
    seed = seed if of.seed is None else of.seed
    out = row.astype(np.float64)
    if of.image_shape is not None and out.size == np.prod(of.image_shape):
        image = out.reshape(*of.image_shape[:2], -1)
        at = places(of, draw)
        if of.elastic is not None:
            alpha, sigma = of.elastic
            for axis, use in enumerate((DOWN, ACROSS)):
                field = uniform(seed, use, epoch, position, at[0].size).reshape(at[0].shape)
                at[axis] += alpha * ndimage.gaussian_filter(field, sigma, mode="constant")
        mode, value = ("nearest", 0.0) if of.fill == "nearest" else ("grid-constant", float(of.fill))
        planes = [
            ndimage.map_coordinates(image[..., k], at, order=1, mode=mode, cval=value) for k in range(image.shape[2])
        ]
        out = np.stack(planes, axis=-1).reshape(-1)
    if of.noise > 0.0:
        out = out + of.noise * normal(seed, epoch, position, out.size)
    return out


def augmented(of: Augment, X: npt.NDArray, epoch: int = 0, seed: int = 0) -> npt.NDArray:
    """What training sees of X (n, features), in float64."""
    alone = np.stack([one_sample(of, row, seed, epoch, i, len(X)) for i, row in enumerate(X)])
    if of.mixup == 0.0:
        return alone
    share, partner = mixes(of, len(X), epoch, seed)
    return share[:, None] * alone + (1.0 - share[:, None]) * alone[partner]


def mixes(of: Augment, samples: int, epoch: int = 0, seed: int = 0) -> tuple[npt.NDArray, npt.NDArray]:
    """Share and partner of each sample."""
    draws = [_core.augment_draws(of._settings, seed, epoch, i, samples) for i in range(samples)]
    return np.array([draw["share"] for draw in draws]), np.array([draw["partner"] for draw in draws])
