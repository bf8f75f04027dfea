"""The labels of a classifier, by scikit-learn's rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.multiclass import unique_labels


def fitted_binarizer(y: Any) -> LabelBinarizer:
    """Return a LabelBinarizer that is fitted to y; of a column of few integers or truth values without its checks."""
    binarizer = LabelBinarizer()
    if y.ndim == 1 and y.dtype.kind in "iub":
        classes = np.unique(y)
        if len(classes) <= max(2, len(y) // 4):  # of more, releases of scikit-learn warn
            binarizer.y_type_ = "multiclass" if len(classes) > 2 else "binary"
            binarizer.classes_, binarizer.sparse_input_ = classes, False
            return binarizer
    return binarizer.fit(y)


def refuse_other_classes(what: str, y: Any, known: npt.NDArray[Any]) -> None:
    """Raise if y has classes that are not known."""
    classes = unique_labels(y)
    if len(np.setdiff1d(classes, known, assume_unique=True)):
        raise ValueError(f"{what} has classes not in `self.classes_`. `self.classes_` has {known}. 'y' has {classes}.")
