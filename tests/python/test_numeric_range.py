"""Numbers at the ends of what the element type holds: weights of any size, rows that a LayerNorm cannot square,
gradients whose squares overflow or vanish, logits that span more than the type."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import crossed
import stoop
from helpers import refused

FLOAT = ["float32", "float64"]
HUGE = {"float32": 1e20, "float64": 1e160}  # whose square overflows
TINY = {"float32": 1e-25, "float64": 1e-170}  # whose square is 0


def linear(dtype: str, inputs: int = 1, weight: float = 0.0, **settings: Any) -> stoop.Trainer:
    model = stoop.Model([stoop.Dense(1)], input_dim=inputs, dtype=dtype)
    model.parameters()["0.weight"][...] = weight
    return stoop.Trainer(model, **{"loss": "mae", **settings})


# ---- weights ----

SCALES = [1.0, 3.0, 1e30, 1e-30, 1e-40, 1e-45, 1e-50, 1e-300, 1e40, 1e300]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("dtype", FLOAT)
def test_sample_weights_of_any_size(dtype: str, scale: float) -> None:
    X, y, weight = np.array([[1.0], [2.0]]), np.zeros(2), np.array([1.0, 2.0]) * scale
    exact = 0.0 if dtype == "float32" else 1e-15
    want = pytest.approx((1 * 1.0 + 2 * 4.0) / 3, rel=exact, abs=0.0)

    def make() -> stoop.Trainer:
        return linear(dtype, weight=1.0, loss="mse", optimizer=stoop.optimizers.SGD(0.01))

    assert make().evaluate(X, y, weight)["loss"] == want
    assert make().loss_and_grad(X, y, sample_weight=weight)[0] == want
    assert make().step(X, y, weight) == want
    assert make().evaluate(X, y, [int(1e3), int(2e3)])["loss"] == want
    history = make().fit(X, y, epochs=1, verbose=0, sample_weight=weight, validation_data=(X, y, weight))
    assert history["loss"] == [want]
    usual = make().fit(X, y, epochs=1, verbose=0, sample_weight=[1, 2], validation_data=(X, y, [1, 2]))
    assert history["val_loss"] == pytest.approx(usual["val_loss"], rel=1e-6)
    one = {"0.weight": np.ones((1, 1)), "0.bias": np.zeros(1)}
    product = make().hessian_vector_product(X, y, one, sample_weight=weight)
    assert product["0.weight"][0, 0] == pytest.approx(2 * (1 + 2 * 4) / 3, rel=1e-6)
    assert stoop.diagnose.critical_point(make(), X, y, sample_weight=weight).loss == want


@pytest.mark.parametrize("scale", SCALES)
def test_gradcheck_with_weights_of_any_size(scale: float) -> None:
    X, y = np.random.default_rng(0).standard_normal((5, 3)), np.array([0, 1, 1, 0, 1])
    model = stoop.Model([stoop.Dense(2)], input_dim=3, dtype="float64")
    assert stoop.gradcheck(model, "softmax_cross_entropy", X, y, sample_weight=scale * np.arange(1.0, 6.0)).passed


@pytest.mark.parametrize("dtype", FLOAT)
def test_class_weights_times_sample_weights_of_any_size(dtype: str) -> None:
    rng = np.random.default_rng(1)
    X, y, weight = rng.standard_normal((20, 3)), np.arange(20) % 3, rng.random(20) + 0.5
    table = np.array([1.0, 2.0, 4.0])

    def losses(by_sample: Any, by_class: Any) -> Any:
        model = stoop.Model([stoop.Dense(3)], input_dim=3, dtype=dtype)
        trainer = stoop.Trainer(model, optimizer=stoop.optimizers.SGD(0.1))
        weights: dict[str, Any] = {"sample_weight": by_sample, "class_weight": by_class}
        return trainer.fit(X, y, epochs=3, batch_size=7, verbose=0, **weights)["loss"]

    want = losses(weight, table)
    for factor in (2.0**300, 2.0**-300, 2.0**1000, 2.0**-1000):
        assert losses(factor * weight, factor * table) == want
        assert losses(factor * weight, table / factor) == want


def test_small_weights_vanish_beside_large_ones() -> None:
    X, y = np.array([[1.0], [2.0], [3.0]]), np.zeros(3)
    trainer = linear("float32", weight=1.0, loss="mse")
    assert trainer.evaluate(X, y, [1e-300, 1e300, 1e-300])["loss"] == 4.0
    assert trainer.evaluate(X, y, np.array([1e308, 1e308, 1.7e308]))["loss"] == pytest.approx((1 + 4 + 1.7 * 9) / 3.7)
    assert trainer.evaluate(X, y, np.array([5e-324, 5e-324, 1e-323]))["loss"] == pytest.approx((1 + 4 + 2 * 9) / 4)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8"])
@pytest.mark.parametrize(("bad", "text"), [(-1, "-1"), (np.nan, "nan"), (np.inf, "inf"), (-1e300, r"-1e\+300")])
def test_weights_that_are_none_are_refused(dtype: str, bad: float, text: str) -> None:
    if (dtype == "i8" and bad != -1) or (dtype == "f4" and bad == -1e300):
        return
    weight = np.array([1, bad, 1], dtype)
    with refused(ValueError, rf"sample_weight is {text} at row 1", "leaves a sample out"):
        linear("float32").evaluate(np.ones((3, 1)), np.zeros(3), weight)


# ---- layer normalisation ----


def normalised(X: Any) -> Any:
    wide = np.asarray(X, np.longdouble)
    wide = wide - wide[:, :1]  # without a digit lost where all are nearly equal
    centred = wide - wide.mean(axis=1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + np.longdouble(1e-5))


def norm_model(dtype: str, columns: int, *, residual: bool = False) -> stoop.Model:
    inner: Any = [stoop.Residual([stoop.LayerNorm()])] if residual else [stoop.LayerNorm()]
    model = stoop.Model([*inner, stoop.Dense(columns, use_bias=False)], input_dim=columns, dtype=dtype)
    model.parameters()["1.weight"][...] = np.eye(columns)
    return model


def rows(dtype: str, columns: int) -> dict[str, Any]:
    rng = np.random.default_rng(columns)
    largest, huge, plain = np.finfo(dtype).max, HUGE[dtype], np.array(3e9, dtype)
    unit = rng.uniform(-1, 1, (9, columns))
    made = {
        "huge": unit * huge,
        "largest": np.sign(unit) * largest,
        "tiny": unit * 1e-30,
        "equal": np.repeat(10 ** rng.uniform(-3, 30, (9, 1)) / 3, columns, axis=1),
        "mixed": np.where(unit > 0.5, huge, unit),
        "neighbours": np.where(unit > 0, np.nextafter(plain, 2 * plain), plain),
    }
    return {what: values.astype(dtype) for what, values in made.items()}


@pytest.mark.parametrize("columns", [2, 7, 12, 100, 700])
@pytest.mark.parametrize("dtype", FLOAT)
def test_layer_norm_of_rows_of_any_size(dtype: str, columns: int) -> None:
    model = norm_model(dtype, columns)
    tolerance = 100 * np.sqrt(columns) * np.finfo(dtype).eps
    for what, X in rows(dtype, columns).items():
        for batch in (X, X[:1]):
            np.testing.assert_allclose(model.predict(batch), normalised(batch), atol=tolerance, err_msg=what)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_through_a_layer_norm_of_huge_and_equal_rows(precision: str) -> None:
    X = np.array([[1e20, 3e20, 0.0], [5e20, 1e20, 1.0], [3333.3333] * 3, [1e38, -3e38, 2e38]], "f4")
    y = np.array([0, 1, 2, 1])
    try:
        trainer = stoop.Trainer(norm_model("float32", 3), precision=precision)
    except ValueError as error:
        pytest.skip(str(error))
    exact = stoop.Trainer(norm_model("float64", 3))
    loss, gradient = trainer.loss_and_grad(X, y)
    want_loss, want = exact.loss_and_grad(X.astype("f8"), y)
    tolerance = 1e-5 if precision == "float32" else 2e-2
    assert loss == pytest.approx(want_loss, rel=tolerance)
    for name in want:
        np.testing.assert_allclose(gradient[name], want[name], atol=tolerance, err_msg=name)
    history = trainer.fit(X, y, epochs=100, batch_size=2, verbose=0)
    assert history["loss"][-1] < 0.95 * history["loss"][0]


@pytest.mark.parametrize("eps", [1e-5, 1e-30])
@pytest.mark.parametrize("dtype", FLOAT)
def test_second_derivatives_through_a_layer_norm_of_extreme_rows(dtype: str, eps: float) -> None:
    """On float32 rows, whose squares float64 holds, against the same in float64, and in float64 against differences."""
    X = np.array([[1e20, 3e20, 0.0], [5e20, 1e20, 1.0], [3333.3333] * 3, [1e-3, 2e-3, 5e-3]], "f4").astype(dtype)
    y, rng = np.array([0, 1, 2, 1]), np.random.default_rng(3)
    layers = [stoop.LayerNorm(eps=eps), stoop.Dense(3, "tanh"), stoop.LayerNorm(), stoop.Dense(3)]
    trainer = stoop.Trainer(stoop.Model(layers, input_dim=3, dtype=dtype))
    exact = stoop.Trainer(stoop.Model(layers, input_dim=3, dtype="float64"))
    exact.model.load_state_dict({name: value.astype("f8") for name, value in trainer.model.state_dict().items()})
    direction = {name: rng.standard_normal(value.shape) for name, value in exact.model.parameters().items()}
    product = trainer.hessian_vector_product(X, y, direction)
    step, wide = 1e-6, X.astype("f8")
    sides = []
    for sign in (1, -1):
        for name, value in exact.model.parameters().items():
            value += sign * (step if sign > 0 else 2 * step) * direction[name]
        sides.append(exact.loss_and_grad(wide, y)[1])
    for name in product:
        want = (sides[0][name] - sides[1][name]) / (2 * step)
        np.testing.assert_allclose(product[name], want, atol=1e-6 * np.abs(want).max() + 2e-4, err_msg=name)


# ---- gradients ----


@pytest.mark.parametrize("call", ["step", "fit"])
@pytest.mark.parametrize("size", ["huge", "tiny", "largest"])
@pytest.mark.parametrize("dtype", FLOAT)
def test_clip_norm_of_gradients_of_any_size(dtype: str, size: str, call: str) -> None:
    value = {"huge": HUGE, "tiny": TINY, "largest": {"float32": 3e38, "float64": 1e308}}[size][dtype]
    limit = value if size == "tiny" else 1.0
    trainer = linear(dtype, inputs=2, optimizer=stoop.optimizers.SGD(0.1), clip_norm=limit)
    X, y = np.array([[value, value]], dtype), np.array([1.0], dtype)
    trainer.model.parameters()["0.bias"][...] = 0
    if size == "tiny":  # the bias would have a gradient of 1
        model = stoop.Model([stoop.Dense(1, use_bias=False)], input_dim=2, dtype=dtype)
        model.parameters()["0.weight"][...] = 0
        trainer = stoop.Trainer(model, "mae", stoop.optimizers.SGD(0.1), clip_norm=limit)
    trainer.step(X, y) if call == "step" else trainer.fit(X, y, epochs=1, verbose=0)
    np.testing.assert_allclose(trainer.model.parameters()["0.weight"], 0.1 * limit / np.sqrt(2), rtol=1e-5)


@pytest.mark.parametrize(
    "settings", [{}, {"l2": 1e-3}, {"l1": 1e-3}, {"accumulate": 2}, {"clip_norm": 0.5}, {"max_norm": 2.0}]
)
@pytest.mark.parametrize("size", [1.0, "huge", "tiny"])
@pytest.mark.parametrize("dtype", FLOAT)
def test_the_norm_in_the_history_and_the_update(dtype: str, size: Any, settings: dict[str, Any]) -> None:
    value = {"huge": HUGE, "tiny": TINY}.get(size, {dtype: 1.0})[dtype]
    model = stoop.Model([stoop.Dense(1, use_bias=False)], input_dim=300, dtype=dtype)
    model.parameters()["0.weight"][...] = 0
    trainer = stoop.Trainer(model, "mae", stoop.optimizers.SGD(1e-3), **settings)
    X, y = np.full((2, 300), value, dtype), np.full(2, np.finfo(dtype).max / 4, dtype)
    norm = value * np.sqrt(300)
    history = trainer.fit(X, y, epochs=1, batch_size=1 if "accumulate" in settings else 2, verbose=0)
    assert history["grad_norm"] == [pytest.approx(norm, rel=1e-5)]
    rate = 1e-3 * min(1.0, settings.get("clip_norm", np.inf) / norm)
    want = min(rate * value, settings.get("max_norm", np.inf) / np.sqrt(300))
    np.testing.assert_allclose(model.parameters()["0.weight"], want, rtol=1e-5)


def test_l2_of_huge_weights() -> None:
    trainer = linear("float32", inputs=3, weight=1e20, l2=1e-30, optimizer=stoop.optimizers.SGD(0.1))
    X, y = np.zeros((2, 3), "f4"), np.ones(2, "f4")
    want = 1.0 + 0.5e-30 * 3 * 1e40
    assert trainer.evaluate(X, y)["loss"] == pytest.approx(want, rel=1e-6)
    assert trainer.fit(X, y, epochs=3, verbose=0)["loss"][0] == pytest.approx(want, rel=1e-6)


SQUARING = {name: case for name, case in crossed.optimizer_cases().items() if case.case.squares}


@pytest.mark.parametrize("call", ["step", "fit", "clipped", "accumulated"])
@pytest.mark.parametrize("name", SQUARING)
@pytest.mark.parametrize("dtype", FLOAT)
def test_a_gradient_that_would_freeze_the_optimizer_is_named(dtype: str, name: str, call: str) -> None:
    optimizer = SQUARING[name].make(0.1)
    settings_of: dict[str, Any] = {"clipped": {"clip_norm": HUGE[dtype] / 2}, "accumulated": {"accumulate": 2}}
    settings = settings_of.get(call, {})
    trainer = linear(dtype, inputs=2, optimizer=optimizer, **settings)
    X, y = np.full((4, 2), HUGE[dtype], dtype), np.full(4, np.finfo(dtype).max / 1e6, dtype)
    words = rf"square is beyond {dtype}.*(X, y|learning rate).*clip_norm"
    with pytest.raises(stoop.NonFiniteLossError, match=words) as caught:
        trainer.step(X, y) if call == "step" else trainer.fit(X, y, epochs=2, batch_size=2, verbose=0)
    assert caught.value.step == 0
    assert not trainer.model.parameters()["0.weight"].any(), "the last good parameters are kept"
    trainer.fit(np.ones((4, 2)), np.ones(4), epochs=5, verbose=0)
    assert np.all(trainer.model.parameters()["0.weight"] > 1e-4), "and nothing is left in the optimizer's state"
    clipped = linear(dtype, inputs=2, optimizer=type(optimizer)(0.1), clip_norm=1.0)
    clipped.step(X, y)
    assert np.all(clipped.model.parameters()["0.weight"] > 1e-4)


@pytest.mark.parametrize("name", SQUARING)
@pytest.mark.parametrize("dtype", FLOAT)
def test_bare_arrays_with_a_gradient_that_would_freeze_them(dtype: str, name: str) -> None:
    optimizer = SQUARING[name].make(0.1)
    w, g = np.ones(5, dtype), np.full(5, 1, dtype)
    optimizer.step([w], [g])
    before = w.copy()
    g[3] = HUGE[dtype]
    with pytest.raises(stoop.NonFiniteLossError, match=rf"\[optimizer.step\].*square is beyond {dtype}"):
        optimizer.step([w], [g])
    assert np.array_equal(w, before)
    g[3] = 1e-3 * np.sqrt(np.finfo(dtype).max)  # large, but its square is a number
    optimizer.step([w], [g])
    assert np.all(w < before)


def test_minimize_names_a_gradient_that_would_freeze() -> None:
    def cost(w: Any) -> Any:
        return 1.0, np.full_like(w, 1e160)

    with pytest.raises(stoop.NonFiniteLossError, match="square is beyond float64"):
        stoop.minimize(cost, np.zeros(3), optimizer=stoop.optimizers.Adam(0.1), steps=3)


# ---- losses ----


@pytest.mark.parametrize("dtype", FLOAT)
def test_one_hot_rows_and_classes_agree_on_huge_logits(dtype: str) -> None:
    largest = np.finfo(dtype).max * 0.9
    for logits in ([largest, -largest], [largest, -largest, 0.0], [largest, largest, -largest]):
        model = stoop.Model([stoop.Dense(len(logits))], input_dim=1, dtype=dtype)
        model.parameters()["0.weight"][...] = [logits]
        trainer, X = stoop.Trainer(model), np.ones((1, 1), dtype)
        hot = np.eye(len(logits), dtype=dtype)[:1]
        one = {name: np.ones_like(value) for name, value in model.parameters().items()}
        for a, b in zip(trainer.loss_and_grad(X, np.array([0])), trainer.loss_and_grad(X, hot)):
            assert str(a) == str(b)
        assert trainer.evaluate(X, hot) == trainer.evaluate(X, np.array([0]))
        products = [trainer.hessian_vector_product(X, y, one) for y in (np.array([0]), hot)]
        assert str(products[0]) == str(products[1])
        assert np.isfinite(products[0]["0.weight"]).all()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            proba = model.predict_proba(X)[0]
        np.testing.assert_allclose(proba, np.equal(logits, largest) / np.equal(logits, largest).sum())


def test_losses_beyond_float32_that_float64_holds() -> None:
    X, y = np.full((3, 1), 1, "f4"), np.full(3, -3e38, "f4")
    for loss, want in (("mae", 6e38), ("huber", 6e38)):
        trainer = linear("float32", weight=3e38, loss=loss)
        assert trainer.evaluate(X, y)["loss"] == pytest.approx(want, rel=1e-6)
