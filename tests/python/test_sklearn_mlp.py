"""scikit-learn's own tests of its MLP, from the installed package, with the classes replaced by those of Stoop.

The module is loaded anew with `sklearn.neural_network.MLPClassifier` and `MLPRegressor` replaced while its imports run.
All of its tests are collected here and must pass, but for those of EXPECTED, which must fail as the table says.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest
import sklearn.neural_network

from stoop.sklearn import MLPClassifier, MLPRegressor

# As in scikit-learn's settings of pytest, where tests pass although training is not done.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# Name of a test, or of one of its cases: what it raises, and why it cannot pass.
EXPECTED: dict[str, tuple[type[BaseException], str]] = {
    "test_gradient": (AttributeError, "calls _loss_grad_lbfgs, a private method"),
}


def load(classifier: type, regressor: type) -> ModuleType:
    """Return scikit-learn's module of tests, whose MLPs are these."""
    folder = Path(sklearn.neural_network.__file__).parent
    spec = importlib.util.spec_from_file_location("sklearn_tests_of_mlp", folder / "tests" / "test_mlp.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with mock.patch.multiple(sklearn.neural_network, MLPClassifier=classifier, MLPRegressor=regressor):
        spec.loader.exec_module(module)
    return module


MODULE = load(MLPClassifier, MLPRegressor)
THEIRS = {name: test for name, test in vars(MODULE).items() if name.startswith("test_")}
globals().update(THEIRS)


@pytest.fixture
def global_random_seed() -> int:
    """The fixture of scikit-learn's conftest, with its default."""
    return 42


@pytest.fixture(autouse=True)
def _expected_to_fail(request: pytest.FixtureRequest) -> None:
    if request.node.name in EXPECTED:
        error, reason = EXPECTED[request.node.name]
        request.applymarker(pytest.mark.xfail(raises=error, reason=reason, strict=True))


def test_the_classes_are_those_of_stoop() -> None:
    assert (MODULE.MLPClassifier, MODULE.MLPRegressor) == (MLPClassifier, MLPRegressor)
    assert len(THEIRS) > 40
    assert {name.split("[")[0] for name in EXPECTED} <= THEIRS.keys()
