"""scikit-learn's multi-layer perceptrons, trained by Stoop: the same arguments, attributes and methods.

``from stoop.sklearn import MLPClassifier`` takes the place of ``from sklearn.neural_network import MLPClassifier``. It
needs scikit-learn, which the extra ``stoop[sklearn]`` brings.
"""

from stoop._errors import message

try:
    import sklearn as _sklearn  # noqa: F401
except ImportError as error:
    hint = "install it with `pip install 'stoop[sklearn]'`"
    raise ImportError(
        message("stoop.sklearn", "scikit-learn is missing", "expected it for the estimators", hint)
    ) from error

from stoop.sklearn._classifier import MLPClassifier
from stoop.sklearn._regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
