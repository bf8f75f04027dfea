"""What is left of an estimator of stoop.tabular after an error, of the process after a prediction, and what is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from helpers import refused

pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")

from sklearn.exceptions import NotFittedError  # noqa: E402

import stoop.tabular._base as base  # noqa: E402
from stoop import NonFiniteLossError  # noqa: E402
from stoop._tables import TargetScale  # noqa: E402
from stoop.tabular import TabularClassifier, TabularRegressor  # noqa: E402
from test_tabular_frames import SMALL, frame_of, target_of  # noqa: E402

# ---- a fit that fails ----


def interrupt(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def interrupted_in_training(model: Any, patch: pytest.MonkeyPatch, X: Any, y: Any) -> None:
    patch.setattr(base, "train", interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)


def interrupted_after_training(model: Any, patch: pytest.MonkeyPatch, X: Any, y: Any) -> None:
    patch.setattr(TargetScale, "undo", interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)


def diverged(model: Any, patch: pytest.MonkeyPatch, X: Any, y: Any) -> None:
    del patch
    rate = model.learning_rate
    with pytest.raises(NonFiniteLossError):
        model.set_params(learning_rate=1e30).fit(X, y)
    model.set_params(learning_rate=rate)


def refused_column(model: Any, patch: pytest.MonkeyPatch, X: Any, y: Any) -> None:
    del patch
    with refused(ValueError, "dates"):
        model.fit(X.assign(when=pd.Timestamp("2026-11-30")), y)


def refused_argument(model: Any, patch: pytest.MonkeyPatch, X: Any, y: Any) -> None:
    del patch
    with refused(ValueError, "dtype"):
        model.set_params(dtype="float16").fit(X, y)
    model.set_params(dtype="float32")


FAULTS = [interrupted_in_training, interrupted_after_training, diverged, refused_column, refused_argument]


@pytest.mark.parametrize("fail", FAULTS)
@pytest.mark.parametrize("are_classes", [False, True])
def test_a_first_fit_that_fails_leaves_nothing(
    fail: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Any, *, are_classes: bool
) -> None:
    frame = frame_of()
    y = target_of(frame)
    model = TabularClassifier(**SMALL) if are_classes else TabularRegressor(**SMALL)
    before = dict(vars(model))
    fail(model, monkeypatch, frame, y > 70 if are_classes else y)
    assert vars(model) == before
    for use in (model.predict, model.encode, lambda _: model.feature_importances_, lambda _: model.save(tmp_path / "m")):
        with pytest.raises(NotFittedError):
            use(frame)


@pytest.mark.parametrize("fail", FAULTS)
def test_a_later_fit_that_fails_leaves_the_model(fail: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    frame = frame_of()
    model = TabularRegressor(**SMALL).fit(frame, target_of(frame))
    expected = model.predict(frame)
    other = frame.rename(columns={"mass": "weight"}).assign(more=np.arange(len(frame)))
    fail(model, monkeypatch, other, 1e9 * target_of(frame))
    monkeypatch.undo()
    np.testing.assert_array_equal(model.predict(frame), expected)
    assert model.feature_names_in_.tolist() == list(frame.columns)
    assert model.feature_importances_.shape == (5,)
