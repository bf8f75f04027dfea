"""What is left of an estimator of stoop.tabular after an error, of the process after a prediction, and what is told."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from helpers import bits, refused, run_python

pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")

from sklearn.exceptions import ConvergenceWarning, NotFittedError  # noqa: E402

import stoop  # noqa: E402
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
    path = tmp_path / "m.safetensors"
    for use in (model.predict, model.encode, lambda _: model.feature_importances_, lambda _: model.save(path)):
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


# ---- threads ----


def with_threads(model: Any, threads: int) -> Any:
    """Return the fitted estimator with another limit of threads."""
    again = TabularRegressor(**{**SMALL, "num_threads": threads})
    vars(again).update({name: value for name, value in vars(model).items() if name not in again.get_params()})
    return again


def test_predictions_at_the_same_time_have_limits_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = frame_of()
    model = TabularRegressor(**SMALL).fit(frame, target_of(frame))
    expected, before = model.predict(frame), stoop.get_num_threads()
    core_predict, all_are_in, found = stoop.Model.predict, threading.Barrier(4, timeout=60), []

    def predict(self: Any, X: Any, **options: Any) -> Any:
        all_are_in.wait()  # none waits for another to end
        found.append((options["num_threads"], stoop.get_num_threads()))
        return core_predict(self, X, **options)

    monkeypatch.setattr(stoop.Model, "predict", predict)
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(lambda threads: with_threads(model, threads).predict(frame), [1, 2, 3, 4]):
            np.testing.assert_array_equal(result, expected)
    assert sorted(found) == [(threads, before) for threads in (1, 2, 3, 4)]


FORK = """
import os, signal, threading
import numpy as np
import stoop
from stoop.tabular import TabularRegressor

X = np.random.default_rng(0).normal(size=(200, 3))
model = TabularRegressor(hidden=(8,), members=2, epochs=1, num_threads=2, random_state=0).fit(X, X[:, 0])
expected, plain, is_in, may_go = model.predict(X), stoop.Model.predict, threading.Event(), threading.Event()

def waiting(self, X, **options):
    is_in.set()
    may_go.wait()
    return plain(self, X, **options)

stoop.Model.predict = waiting
thread = threading.Thread(target=model.predict, args=(X,))
thread.start()
is_in.wait()
stoop.Model.predict = plain
child = os.fork()
if child == 0:
    signal.alarm(60)  # it ends even if it waits for ever
    os._exit(0 if (model.predict(X) == expected).all() and stoop.get_num_threads() == 3 else 1)
status = os.waitpid(child, 0)[1]
may_go.set()
thread.join()
print(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_that_is_forked_in_a_prediction_can_predict() -> None:
    done = run_python("-W", "ignore", "-c", FORK, timeout=120, STOOP_NUM_THREADS="3")
    assert done.stdout.split() == ["0"]


# ---- time ----


def test_a_time_without_an_epoch_is_told_and_what_was_learnt_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = frame_of(3000)
    fit, first = stoop.Trainer.fit, []

    def fit_from(self: Any, *args: Any, **kwargs: Any) -> Any:
        first.append(bits(self.model))
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(stoop.Trainer, "fit", fit_from)
    model = TabularRegressor(max_time=0.0, random_state=0)
    with pytest.warns(ConvergenceWarning, match=r"max_time=0.0 was over after \d+ updates?, before") as caught:
        model.fit(frame, target_of(frame))
    assert caught[0].filename == __file__
    assert model.best_epoch_ == 0
    assert np.isfinite(model.predict(frame)).all()
    assert bits(model.model_) != first[0]
    kept, place = model.model_.parameters(), f"{len(model.model_.layers) - 3}.weight"
    assert kept[place].tobytes() != first[0][place]  # the last layer is in the unit of the target
