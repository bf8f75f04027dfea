"""Networks for tables, as scikit-learn estimators: numbers, categories and missing values, in data frames or arrays."""

try:
    import narwhals as _narwhals  # noqa: F401
    import sklearn as _sklearn  # noqa: F401
except ImportError as error:
    from stoop._errors import message as _message

    _given, _hint = f"{error.name} is not installed", "pip install 'stoop[tabular]' brings it"
    raise ImportError(_message("stoop.tabular", _given, "expected scikit-learn and narwhals", _hint)) from error

from stoop.tabular._estimators import TabularClassifier, TabularRegressor
from stoop.tabular._files import load

__all__ = ["TabularClassifier", "TabularRegressor", "load"]
