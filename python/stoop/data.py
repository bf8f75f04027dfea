"""Reading and preparing data: IDX files, splits, standardisation."""

import os
from typing import Any

import numpy.typing as npt

from stoop._checks import file_path
from stoop._scaling import Statistics, standardize
from stoop._split import split_indices, train_dev_test_split, train_test_split

__all__ = [
    "Statistics",
    "load_idx",
    "split_indices",
    "standardize",
    "train_dev_test_split",
    "train_test_split",
]


def load_idx(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """Read an IDX file (the format of MNIST, LeCun et al. 1998), gzipped or not; the content decides, not the name.

    Returns
    -------
    ndarray
        Of the file's shape and element type (``(10000, 28, 28)`` uint8 for MNIST test images), in native byte order.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If its magic number, dimensions or length are wrong.
    """
    from stoop._idx import read_idx

    return read_idx(file_path("load_idx", path))
