"""Weights of classes as scikit-learn has them, for the estimators."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._errors import message


def weights_by_class(where: str, class_weight: Any, y: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the weight that each sample has by its class, or by its labels, (n_samples,).

    Raises
    ------
    ValueError
        For weights below 0 or that are not finite, where all are 0, and for what scikit-learn refuses.
    """
    from sklearn.utils.class_weight import compute_sample_weight

    weights: npt.NDArray[np.float64] = np.asarray(compute_sample_weight(class_weight, y), np.float64)
    bad = ~((weights >= 0.0) & np.isfinite(weights))
    if bad.any() or not weights.any():
        given = f"class_weight gives a sample the weight {weights[bad][0] if bad.any() else 0.0:g}"
        expected = "expected finite weights from 0 on, and some above 0"
        raise ValueError(message(where, given, expected, "0 leaves the samples of a class out"))
    return weights
