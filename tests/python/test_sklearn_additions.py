"""What stoop.sklearn has beside scikit-learn's arguments, and how its fits end."""

from __future__ import annotations

import os
import signal
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.class_weight import compute_sample_weight

import stoop
from helpers import refused
from stoop.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

Array = npt.NDArray[Any]


def digits(rows: int = 500) -> tuple[Array, Array]:
    X, y = load_digits(return_X_y=True)
    return X[:rows] / 16, y[:rows]


def same(a: Any, b: Any) -> bool:
    return all(np.array_equal(x, y) for x, y in zip([*a.coefs_, *a.intercepts_], [*b.coefs_, *b.intercepts_]))


# ---- the network ----


@pytest.mark.parametrize(
    ("arguments", "layers"),
    [
        ({}, "Dense Dense"),
        ({"dropout": 0.2}, "Dense Dropout Dense"),
        ({"batch_norm": True}, "Dense BatchNorm ReLU Dense"),
        ({"layer_norm": True, "dropout": 0.1}, "Dense LayerNorm ReLU Dropout Dense"),
        ({"batch_norm": True, "activation": "identity"}, "Dense BatchNorm Dense"),
    ],
)
def test_layers(arguments: dict[str, Any], layers: str) -> None:
    X, y = digits()
    classifier = MLPClassifier((30,), max_iter=30, random_state=0, learning_rate_init=0.01, **arguments).fit(X, y)
    assert " ".join(type(layer).__name__ for layer in classifier.model_.layers) == layers
    assert [weight.shape for weight in classifier.coefs_] == [(64, 30), (30, 10)]
    assert classifier.score(X, y) > 0.9


def test_lbfgs_trains_the_parameters_of_a_layer_norm_and_takes_no_chance() -> None:
    X, y = digits(200)
    classifier = MLPClassifier((10,), solver="lbfgs", layer_norm=True, max_iter=20, random_state=0).fit(X, y)
    assert not np.array_equal(classifier.model_.parameters()["1.gamma"], np.ones(10))
    for arguments in ({"dropout": 0.1}, {"batch_norm": True}):
        with refused(ValueError, "solver='lbfgs' with dropout or batch_norm"):
            MLPClassifier(solver="lbfgs", **arguments).fit(X, y)


def test_element_types() -> None:
    X, y = digits(100)
    for dtype in ("float32", "float64"):
        for of_X in (np.float32, np.float64):
            regressor = MLPRegressor(max_iter=2, dtype=dtype).fit(X.astype(of_X), y)
            wider = np.result_type(dtype, of_X)
            assert {weight.dtype for weight in [*regressor.coefs_, *regressor.intercepts_]} == {wider}
            assert regressor.model_.dtype == dtype
            assert regressor.predict(X).dtype == np.float64
            assert regressor.predict(X.astype(np.float32)).dtype == dtype


# ---- losses and weights ----


def test_class_weights_are_weights_of_samples() -> None:
    X, y = digits(300)
    names = np.array(["few", "many"])[(y > 2).astype(int)]
    for weight in ({"few": 3.0, "many": 1.0}, {"few": 3.0}, "balanced"):
        classifier = MLPClassifier(class_weight=weight, max_iter=5, random_state=0).fit(X, names)
        other = clone(classifier).set_params(class_weight=None)
        assert same(classifier, other.fit(X, names, sample_weight=compute_sample_weight(weight, names)))
    with refused(ValueError, "class_weight is 'balanced'"):
        clone(classifier).partial_fit(X, names, classes=["few", "many"])


def test_equal_weights_are_none() -> None:
    X, y = digits(200)
    classifier = MLPClassifier(max_iter=5, random_state=0, early_stopping=True).fit(X, y)
    assert same(classifier, clone(classifier).fit(X, y, sample_weight=np.ones(200)))
    heavy = clone(classifier).set_params(alpha=3e-4).fit(X, y, sample_weight=np.full(200, 3.0))
    assert same(classifier, heavy)  # alpha is divided by their sum


def test_label_smoothing_lowers_confidence() -> None:
    X, y = digits(300)
    for kind in (y, y % 2):
        sure, less = (
            MLPClassifier(label_smoothing=s, max_iter=150, random_state=0, tol=0).fit(X, kind).predict_proba(X)
            for s in (0.0, 0.2)
        )
        assert less.max(axis=1).mean() < 0.93 * sure.max(axis=1).mean()


def test_losses_of_stoop() -> None:
    X, y = digits(400)
    for loss in ("focal", stoop.losses.Hinge()):
        assert (
            MLPClassifier(loss=loss, max_iter=40, random_state=0, learning_rate_init=0.01).fit(X, y > 4).score(X, y > 4)
            > 0.9
        )
    with refused(ValueError, "loss is focal for 10 classes"):
        MLPClassifier(loss="focal").fit(X, y)
    with refused(ValueError, "label_smoothing=0.1 with loss='hinge'"):
        MLPClassifier(loss="hinge", label_smoothing=0.1).fit(X, y > 4)
    with refused(ValueError, "loss is gaussian_nll"):
        MLPRegressor(loss="gaussian_nll").fit(X, y)
    low, high = (
        MLPRegressor(loss=stoop.losses.Quantile(q), max_iter=50, random_state=0, learning_rate_init=0.01).fit(X, y)
        for q in (0.1, 0.9)
    )
    assert np.mean(y < low.predict(X)) < 0.3
    assert np.mean(y < high.predict(X)) > 0.7


def test_an_optimizer_of_stoop() -> None:
    X, y = digits(300)
    given = stoop.optimizers.AdamW(3e-3)
    assert MLPClassifier(optimizer=given, max_iter=30, random_state=0).fit(X, y).score(X, y) > 0.95
    classifier = MLPClassifier(optimizer="lbfgs", max_iter=30, random_state=0, dtype="float64").fit(X, y)
    other = clone(classifier).set_params(optimizer=None, solver="lbfgs").fit(X, y)
    assert classifier.loss_curve_[-1] < 2 * other.loss_ + 0.01
    assert classifier.n_iter_ == len(classifier.loss_curve_)


# ---- epochs ----


class Stopper(stoop.callbacks.Callback):
    def on_epoch_end(self, trainer: Any, logs: dict[str, float]) -> None:
        if logs["epoch"] == 3:
            trainer.stop("enough")


def test_callbacks() -> None:
    X, y = digits(200)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert MLPClassifier(callbacks=[Stopper()]).fit(X, y).n_iter_ == 3
    with pytest.raises(TypeError, match="callbacks"):
        MLPClassifier(callbacks=[3]).fit(X, y)


def test_validation_data() -> None:
    X, y = digits(600)
    held_out = (X[400:], y[400:])
    classifier = MLPClassifier(max_iter=15, random_state=0).fit(X[:400], y[:400], validation_data=held_out)
    assert classifier.n_iter_ == len(classifier.validation_scores_) == 15
    assert classifier.best_validation_score_ == max(classifier.validation_scores_)
    assert classifier.score(*held_out) == classifier.best_validation_score_
    stopped = clone(classifier).set_params(early_stopping=True, n_iter_no_change=2, max_iter=200)
    stopped.fit(X[:400], y[:400], validation_data=(*held_out, np.ones(200)))
    assert stopped.n_iter_ < 200
    assert stopped.loss_curve_[:5] == classifier.loss_curve_[:5]  # nothing was split off
    with pytest.raises(ValueError, match="validation_data has classes"):
        clone(classifier).fit(X[y > 1], y[y > 1], validation_data=held_out)
    with refused(TypeError, "validation_data is a int"):
        clone(classifier).fit(X, y, validation_data=3)
    with refused(ValueError, "has 1 columns"):
        MLPRegressor().fit(X, np.c_[y, y], validation_data=held_out)


def test_the_best_epoch_is_restored() -> None:
    X, y = digits(400)
    noisy = np.where(np.random.default_rng(0).random(400) < 0.4, 0, y)
    arguments: dict[str, Any] = {"max_iter": 60, "random_state": 0, "learning_rate_init": 0.01}
    held_out = digits(700)[0][400:], digits(700)[1][400:]
    best = MLPClassifier(**arguments).fit(X, noisy, validation_data=held_out)
    last = MLPClassifier(**arguments, restore_best=False).fit(X, noisy, validation_data=held_out)
    assert best.validation_scores_ == last.validation_scores_
    assert best.score(*held_out) == max(best.validation_scores_)
    assert last.score(*held_out) == last.validation_scores_[-1] < max(last.validation_scores_)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_ema(early_stopping: bool) -> None:
    X, y = digits(400)
    arguments: dict[str, Any] = {"ema": 0.9, "random_state": 0, "max_iter": 20, "early_stopping": early_stopping}
    classifier = MLPClassifier(**arguments).fit(X, y)
    plain = clone(classifier).set_params(ema=None).fit(X, y)
    assert not same(classifier, plain)
    assert classifier.loss_curve_ == plain.loss_curve_
    if early_stopping:
        return
    in_steps = clone(classifier).set_params(shuffle=False, max_iter=2)
    whole = clone(in_steps).fit(X, y)
    for _ in range(2):
        in_steps.partial_fit(X, y, classes=np.arange(10))
    assert same(in_steps, whole)


@pytest.mark.parametrize(("first", "then"), [(0.9, None), (None, 0.9), (0.9, 0.5)])
def test_another_ema_is_refused_before_anything_is_trained(first: float | None, then: float | None) -> None:
    X, y = digits(100)
    classifier = MLPClassifier(ema=first, max_iter=2, random_state=0).fit(X, y).set_params(ema=then)
    before = classifier.predict_proba(X)
    with refused(ValueError, "MLPClassifier.partial_fit", f"ema={then!r}", f"ema={first!r}"):
        classifier.partial_fit(X, y)
    np.testing.assert_array_equal(classifier.predict_proba(X), before)
    assert (classifier.n_iter_, len(classifier.loss_curve_)) == (2, 2)
    classifier.fit(X, y)  # which begins anew


def test_ctrl_c_keeps_what_was_reached() -> None:
    class Interrupt(stoop.callbacks.Callback):
        def on_epoch_end(self, trainer: Any, logs: dict[str, float]) -> None:
            if logs["epoch"] == 4:
                os.kill(os.getpid(), signal.SIGINT)

    X, y = digits(300)
    classifier = MLPClassifier(random_state=0, callbacks=[Interrupt()], learning_rate_init=0.01)
    with pytest.warns(UserWarning, match="interrupted by user"):
        classifier.fit(X, y)
    assert classifier.n_iter_ == len(classifier.loss_curve_) == 3  # the epochs that callbacks saw to their end
    assert classifier.score(X, y) > 0.3


def test_training_that_diverges() -> None:
    X, y = digits(300)
    regressor = MLPRegressor(solver="sgd", learning_rate_init=100.0, random_state=0)
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        regressor.fit(X * 100, y)
    with pytest.warns(ConvergenceWarning, match="diverged"):
        regressor.set_params(early_stopping=True).fit(X * 100, y)
    assert np.isnan(regressor.validation_scores_[-1])
    assert np.isfinite(regressor.predict(X)).all()


def test_it_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = digits(200)
    MLPClassifier(solver="sgd", verbose=True, max_iter=2, early_stopping=True).fit(X, y)
    MLPClassifier(solver="lbfgs", verbose=True, max_iter=2).fit(X, y)
    printed = capsys.readouterr().out
    assert printed.count("Iteration 1, loss = ") == 2
    assert printed.count("Validation score: ") == 2
