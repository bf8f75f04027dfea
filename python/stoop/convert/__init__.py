"""Weights of PyTorch, scikit-learn and Keras as a `stoop.Model`.

None of these libraries is imported: arrays, or what can become arrays, will do.
"""

from stoop.convert._listed import from_keras, from_torch
from stoop.convert._sklearn import from_sklearn

__all__ = ["from_keras", "from_sklearn", "from_torch"]
