"""Settings as attributes: those that can be set take effect, the others are refused; mistakes that were silent."""

from __future__ import annotations

import copy
import dataclasses
import gc
import pickle
import weakref
from typing import Any

import numpy as np
import pytest

import crossed
import stoop
from helpers import bits, refused
from stoop._config import class_named

FEATURES = 4
RNG = np.random.default_rng(0)
X = RNG.standard_normal((48, FEATURES)).astype("float32")
Y = np.arange(48) % 3


def make_trainer(**options: Any) -> Any:
    model = stoop.Model([stoop.Dense(8, activation="tanh"), stoop.Dense(3)], input_dim=FEATURES)
    return stoop.Trainer(model, **{"optimizer": stoop.optimizers.SGD(0.1), **options})


SETTINGS: dict[str, tuple[Any, Any]] = {
    "learning_rate": (0.1, 0.5),
    "l1": (0.0, 0.01),
    "l2": (0.0, 0.1),
    "clip_norm": (None, 0.01),
    "clip_value": (None, 0.001),
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("call", ["fit", "step"])
def test_a_setting_holds_from_the_next_update_on(name: str, call: str) -> None:
    old, new = SETTINGS[name]

    def train(trainer: Any) -> None:
        trainer.fit(X, Y, epochs=1, batch_size=16, verbose=0) if call == "fit" else trainer.step(X, Y)

    changed, start, end = make_trainer(), make_trainer(), None
    train(changed)
    train(start)
    assert getattr(changed, name) == old
    setattr(changed, name, new)
    assert getattr(changed, name) == new
    options = {"optimizer": stoop.optimizers.SGD(new)} if name == "learning_rate" else {name: new}
    end = stoop.Trainer(start.model, **{"optimizer": stoop.optimizers.SGD(0.1), **options})
    if call == "fit":  # the shuffling goes on from the epoch: make it known by the state
        state = start._core.state()
        end._core.set_state(**state)
    train(changed)
    train(end)
    assert bits(changed.model) == bits(end.model)
    setattr(changed, name, old)
    train(changed)
    assert bits(changed.model) != bits(end.model)


def test_a_schedule_goes_on_counting() -> None:
    trainer = make_trainer()
    trainer.fit(X, Y, epochs=2, batch_size=48, verbose=0)
    trainer.learning_rate = stoop.schedules.Exponential(1.0, 0.5)
    trainer.fit(X, Y, epochs=2, batch_size=48, verbose=0)
    assert trainer.history["learning_rate"] == [0.25, 0.125]
    assert trainer.learning_rate == stoop.schedules.Exponential(1.0, 0.5)
    assert trainer.optimizer.learning_rate == trainer.learning_rate
    trainer.learning_rate = lambda t: 0.1 / (1 + t)
    trainer.fit(X, Y, epochs=1, batch_size=48, verbose=0)
    assert trainer.history["learning_rate"] == [0.1 / 5]


@pytest.mark.parametrize(
    ("name", "value", "exception"),
    [
        ("learning_rate", -1.0, ValueError),
        ("learning_rate", 0.0, ValueError),
        ("learning_rate", "0.1", TypeError),
        ("learning_rate", None, TypeError),
        ("learning_rate", stoop.schedules.Cosine, TypeError),
        ("l1", -0.1, ValueError),
        ("l1", None, TypeError),
        ("l2", float("nan"), ValueError),
        ("l2", "a", TypeError),
        ("clip_norm", 0.0, ValueError),
        ("clip_norm", True, TypeError),
        ("clip_value", -1.0, ValueError),
        ("clip_value", "1", TypeError),
    ],
)
def test_a_bad_value_changes_nothing(name: str, value: Any, exception: Any) -> None:
    trainer, before = make_trainer(), make_trainer()
    with refused(exception, name):
        setattr(trainer, name, value)
    assert getattr(trainer, name) == SETTINGS[name][0]
    trainer.step(X, Y)
    before.step(X, Y)
    assert bits(trainer.model) == bits(before.model)


def test_clipping_of_a_full_batch_optimizer_is_refused() -> None:
    trainer = make_trainer(optimizer="lbfgs")
    with refused(ValueError, "clip_norm", "lbfgs"):
        trainer.clip_norm = 1.0
    assert trainer.clip_norm is None


def test_a_trainer_that_runs_is_not_set() -> None:
    caught: list[str] = []

    def rate(_: int) -> float:
        for name, value in (("learning_rate", 1.0), ("l1", 1.0), ("l2", 1.0), ("clip_norm", 1.0), ("clip_value", 1.0)):
            before = getattr(trainer, name)
            with refused(RuntimeError, "already running"):
                setattr(trainer, name, value)
            assert getattr(trainer, name) is before
            caught.append(name)
        return 0.1

    trainer = make_trainer(optimizer=stoop.optimizers.SGD(rate))
    trainer.step(X, Y)
    assert caught == list(SETTINGS)


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("l3", "l1"),
        ("learning_rte", '"learning_rate"'),
        ("lr", "learning_rate"),
        ("clipnorm", '"clip_norm"'),
        ("epochs", "fit"),
        ("batch_size", "fit"),
        ("weight_decay", "optimizer"),
        ("momentum", "optimizer"),
        ("loss", "new Trainer"),
        ("optimizer", "new Trainer"),
        ("model", "new Trainer"),
        ("seed", "new Trainer"),
        ("accumulate", "new Trainer"),
        ("num_threads", "new Trainer"),
        ("epoch", "new Trainer"),
        ("history", "fit"),
        ("fit", "new Trainer"),
    ],
)
def test_other_attributes_of_a_trainer_are_refused(name: str, pattern: str) -> None:
    trainer = make_trainer()
    with refused(AttributeError, r"^\[Trainer\]", name, pattern):
        setattr(trainer, name, 1)
    assert name not in vars(trainer)


@pytest.mark.parametrize(
    "name", ["layers", "input_dim", "dtype", "training", "weights", "outputs", "class_names", "predict"]
)
def test_other_attributes_of_a_model_are_refused(name: str) -> None:
    model = make_trainer().model
    with refused(AttributeError, r"^\[Model\]", name):
        setattr(model, name, 1)
    assert name not in vars(model)


def test_a_subclass_may_have_attributes_of_its_own() -> None:
    class Mine(stoop.Trainer):
        pass

    trainer = Mine(make_trainer().model)
    trainer.note = "mine"
    assert trainer.note == "mine"
    with pytest.raises(AttributeError):
        trainer.loss = "mse"


def test_what_a_trainer_is_set_to_can_be_read() -> None:
    options = {"l1": 0.1, "l2": 0.2, "clip_norm": 1.0, "clip_value": 2.0, "accumulate": 3, "ema": 0.5, "max_norm": 4.0}
    trainer = make_trainer(**options, seed=5, num_threads=2)
    assert {name: getattr(trainer, name) for name in options} == options
    assert (trainer.seed, trainer.num_threads, trainer.precision) == (5, 2, "float32")
    assert make_trainer().num_threads is None


# ---- one output, logits, values ----


def test_one_output_is_refused_for_softmax_cross_entropy() -> None:
    model = stoop.Model([stoop.Dense(1)], input_dim=FEATURES, dtype="float64")
    with refused(ValueError, "one output", "binary_cross_entropy", "mse"):
        stoop.Trainer(model)
    with refused(ValueError, "binary_cross_entropy"):
        stoop.gradcheck(model, "softmax_cross_entropy", X, np.zeros(48, int))


@pytest.mark.parametrize("shape", [(48,), (48, 1)])
def test_values_with_the_default_loss_name_mse(shape: tuple[int, ...]) -> None:
    trainer = make_trainer()
    for call in (trainer.fit, trainer.step, trainer.evaluate, trainer.loss_and_grad):
        with refused(TypeError, "float64", 'loss="mse"'):
            call(X, RNG.standard_normal(shape))


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "binary_cross_entropy", "hinge"])
@pytest.mark.parametrize(
    ("last", "limits"),
    [
        ("sigmoid", "0 and 1"),
        ("tanh", "-1 and 1"),
        ("relu", "0 and inf"),
        ("relu6", "0 and 6"),
        ("softplus", "0 and inf"),
    ],
)
def test_a_bounded_output_before_a_loss_on_logits_warns(last: str, limits: str, loss: str) -> None:
    layer = class_named(stoop.layers.Activation, last)()
    for layers in (
        [stoop.Dense(3, activation=last)],
        [stoop.Dense(3), layer],
        [stoop.Dense(3), layer, stoop.Identity()],
    ):
        model = stoop.Model(layers, input_dim=FEATURES)
        with pytest.warns(UserWarning, match=rf"\[Trainer\] the last layer is a {last}.*{limits}.*logits") as record:
            stoop.Trainer(model, loss=loss)
        assert record[0].filename == __file__
        stoop.Trainer(model, loss="mse")  # without a warning
    stoop.Trainer(stoop.Model([stoop.Dense(4, activation=last), stoop.Dense(3)], input_dim=FEATURES), loss=loss)


def test_a_class_in_place_of_an_object_is_named() -> None:
    model = make_trainer().model
    with refused(TypeError, r"Adam\("):
        stoop.Trainer(model, optimizer=stoop.optimizers.Adam)  # type: ignore[arg-type]
    with refused(TypeError, r"Huber\(\)"):
        stoop.Trainer(model, loss=stoop.losses.Huber)  # type: ignore[arg-type]


def test_a_metric_of_a_column_says_ravel() -> None:
    with refused(ValueError, r"\(3, 1\)", r"predict\(X\)\.ravel\(\)"):
        stoop.metrics.accuracy([1, 2, 3], [[1], [2], [3]])


@pytest.mark.parametrize("total", [0.5, 0.998, 1.002, 2.0])
def test_rows_of_probabilities_add_up_to_one(total: float) -> None:
    trainer = make_trainer()
    rows = np.full((48, 3), 1 / 3)
    rows[7] *= total
    for call in (trainer.fit, trainer.step, trainer.evaluate, trainer.loss_and_grad):
        with refused(ValueError, "row 7", "sums to", "normalise"):
            call(X, rows)


def test_rows_that_add_up_to_one_but_for_rounding_are_taken_as_they_are() -> None:
    rows = np.full((48, 3), 1 / 3)
    rows *= 1.0005
    model = stoop.Model([stoop.Dense(3)], input_dim=FEATURES, dtype="float64")
    trainer = stoop.Trainer(model)
    outputs = model(X)
    expected = (rows.sum(axis=1) * np.log(np.exp(outputs).sum(axis=1)) - (rows * outputs).sum(axis=1)).mean()
    assert trainer.evaluate(X, rows)["loss"] == pytest.approx(expected, rel=1e-12)


def test_a_trainer_whose_learning_rate_refers_to_it_is_freed() -> None:
    class Rate:
        trainer: Any = None

        def __call__(self, t: int) -> float:
            return 0.1 if self.trainer.epoch == 0 else 0.05

    def make(wrap: Any) -> tuple[Any, Any]:
        rate = Rate()
        trainer = make_trainer(optimizer=stoop.optimizers.SGD(wrap(rate)))
        rate.trainer = trainer
        trainer.fit(X, Y, epochs=1, verbose=0)
        gc.collect()
        trainer.step(X, Y)  # the function is still there
        return weakref.ref(trainer), weakref.ref(trainer.model)

    for wrap in (lambda rate: rate, lambda rate: stoop.schedules.Warmup(rate, 1)):
        dead = make(wrap)
        gc.collect()
        assert [reference() for reference in dead] == [None, None]


def test_an_optimizer_whose_learning_rate_refers_to_it_is_freed() -> None:
    class Rate:
        optimizer: Any = None

        def __call__(self, t: int) -> float:
            return 0.1 / (1 + t)

    w = np.zeros(3)  # outlives the optimizer, which keeps state for it

    def make() -> tuple[Any, Any]:
        rate = Rate()
        rate.optimizer = optimizer = stoop.optimizers.Adam(rate)
        optimizer.step([w], [np.ones(3)])
        optimizer.step([w], [np.ones(3)])
        return weakref.ref(rate), weakref.ref(optimizer)

    dead = make()
    gc.collect()
    assert [reference() for reference in dead] == [None, None]


# ---- other mistakes that were silent, or answered badly ----


def test_an_array_put_in_place_of_a_view_is_refused() -> None:
    trainer = make_trainer(ema=0.5)
    trainer.step(X, Y)
    for views in (trainer.model.parameters(), trainer.ema_parameters()):
        before = {name: array.copy() for name, array in views.items()}
        with refused(TypeError, "0.weight", r"\[\.\.\.\]"):
            views["0.weight"] = np.zeros((FEATURES, 8), "float32")
        with refused(TypeError, "0.wieght"):
            views["0.wieght"] = before["0.weight"]
        with refused(TypeError, "update"):
            views.update(before)
        with refused(TypeError, "load_state_dict"):
            views |= before
        views["0.weight"] += 1.0
        np.testing.assert_array_equal(views["0.weight"], before["0.weight"] + 1)
        assert type(copy.deepcopy(views)) is type(pickle.loads(pickle.dumps(views))) is dict


def test_buffers_are_views_too() -> None:
    model = stoop.Model([stoop.Dense(3), stoop.BatchNorm()], input_dim=FEATURES)
    with refused(TypeError, "running_mean"):
        model.buffers()["1.running_mean"] = np.ones(3)
    state = model.state_dict()  # copies: a plain dict
    state["1.running_mean"] = np.ones(3)
    model.load_state_dict(state)
    assert model.buffers()["1.running_mean"].tolist() == [1, 1, 1]


def test_piecewise_is_copied_and_written_like_the_others() -> None:
    piecewise = stoop.schedules.Piecewise([10, 20], [0.1, 0.01, 0.001])
    by_epoch = dataclasses.replace(piecewise, per="epoch")
    assert by_epoch == stoop.schedules.Piecewise([10, 20], [0.1, 0.01, 0.001], per="epoch")
    other = dataclasses.replace(piecewise, boundaries=[5], values=[1.0, 0.5])
    assert other.values(6).tolist() == [1.0] * 5 + [0.5]
    assert copy.deepcopy(piecewise) == pickle.loads(pickle.dumps(piecewise)) == piecewise
    assert hash(copy.copy(piecewise)) == hash(piecewise)


# A function is no text that can be evaluated.
SPECS = {name: spec for name, spec in crossed.everything().items() if "falling" not in name}


@pytest.mark.parametrize("name", SPECS)
def test_what_is_written_can_be_evaluated_and_replaced(name: str) -> None:
    spec = SPECS[name]
    names = {**vars(stoop), **vars(stoop.layers), **vars(stoop.losses), **vars(stoop.initializers)}
    names |= vars(stoop.optimizers) | vars(stoop.schedules)
    assert eval(repr(spec), names) == spec
    assert dataclasses.replace(spec) == spec
    assert copy.deepcopy(spec) == pickle.loads(pickle.dumps(spec)) == spec


def test_a_rate_of_percent_is_named() -> None:
    with refused(ValueError, "50", r"0\.5 for 50 percent"):
        stoop.Dropout(50)


def test_validation_data_the_wrong_way_round() -> None:
    with refused(ValueError, r"\(48,\) and \(48, 4\)", r"\(X, y\)"):
        make_trainer().fit(X, Y, validation_data=(Y, X), verbose=0)
