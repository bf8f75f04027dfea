"""What loops of one's own call besides the pieces of an update: Jacobians, target networks, one norm."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop
from helpers import DTYPES, bits, refused, relative_error

FEATURES, OUTPUTS = 5, 3


def stack() -> list[Any]:
    block = stoop.Residual([stoop.BatchNorm(), stoop.Dense(11), stoop.SiLU()])
    return [
        stoop.Dense(17, activation="tanh"),
        stoop.BatchNorm(),
        stoop.Dropout(0.5),
        block,
        stoop.LayerNorm(),
        stoop.Dense(OUTPUTS),
    ]


def model_of(dtype: str = "float32", layers: list[Any] | None = None, seed: int = 1, **settings: Any) -> stoop.Model:
    layers = stack() if layers is None else layers
    model = stoop.Model(layers, input_dim=FEATURES, seed=seed, dtype=dtype, **settings)
    rng = np.random.default_rng(seed)
    for value in model.buffers().values():
        value[...] = rng.uniform(0.5, 2.0, value.shape)
    return model


def samples(rows: int, dtype: str = "float32", seed: int = 0) -> npt.NDArray:
    return np.random.default_rng(seed).standard_normal((rows, FEATURES)).astype(dtype)


# ---- derivatives with respect to inputs ----

STACKS: dict[str, list[Any]] = {
    "all kinds": stack(),
    "one dense": [stoop.Dense(OUTPUTS)],
    "normalised first": [stoop.BatchNorm(), stoop.Dense(9), stoop.GELU(), stoop.Dense(OUTPUTS), stoop.Softplus()],
    "block first": [stoop.Residual([stoop.Dense(FEATURES), stoop.Tanh()]), stoop.Dense(OUTPUTS)],
    "frozen": [stoop.Dense(9, activation="sigmoid", trainable=False), stoop.Dense(OUTPUTS, trainable=False)],
    "wide": [stoop.Dense(300, activation="tanh"), stoop.Dense(300, activation="elu"), stoop.Dense(OUTPUTS)],
}


def differences(model: stoop.Model, X: npt.NDArray) -> npt.NDArray:
    """Return the Jacobian by central differences."""
    step = 1e-5
    columns = []
    for j in range(X.shape[1]):
        moved = np.zeros(X.shape[1])
        moved[j] = step
        columns.append((model.predict(X + moved) - model.predict(X - moved)) / (2 * step))
    return np.stack(columns, axis=2)


@pytest.mark.parametrize("rows", [1, 7, 300])
@pytest.mark.parametrize("name", STACKS)
def test_derivatives_agree_with_differences(name: str, rows: int) -> None:
    model = model_of("float64", STACKS[name], input_scale=0.7, input_shift=-0.1)
    X = samples(rows, "float64")
    before = bits(model)
    jacobian = model.jacobian(X)
    expected = differences(model, X)
    assert jacobian.shape == (rows, model.output_dim, FEATURES)
    assert np.abs(jacobian - expected).max() < 1e-7 * np.abs(expected).max()
    g = np.random.default_rng(4).standard_normal((rows, model.output_dim))
    gradient = model.input_gradient(X, g)
    assert gradient.shape == (rows, FEATURES)
    assert relative_error(gradient, np.einsum("nk,nkj->nj", g, jacobian)) < 1e-13
    assert bits(model) == before


def test_derivatives_are_those_of_the_trainer_in_inference() -> None:
    model = model_of("float64")
    trainer = stoop.Trainer(model, loss="mse")
    X, g = samples(20, "float64"), np.random.default_rng(4).standard_normal((20, OUTPUTS))
    trainer.forward(X, training=False)
    dX = trainer.backward(g, input_gradient=True)
    assert dX is not None
    assert dX.tobytes() == model.input_gradient(X, g).tobytes()


def test_derivatives_of_bytes() -> None:
    model = model_of(layers=[stoop.Dense(OUTPUTS)], input_scale=1 / 255)
    X = np.random.default_rng(0).integers(256, size=(4, FEATURES)).astype(np.uint8)
    weight = model.parameters()["0.weight"]
    assert relative_error(model.jacobian(X), np.broadcast_to(weight.T / 255, (4, OUTPUTS, FEATURES))) < 1e-6


def test_derivatives_in_several_threads() -> None:
    model = model_of("float64")
    X = samples(300, "float64")
    expected = model.jacobian(X).tobytes()
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(model.jacobian(X).tobytes())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4
    assert model.copy().jacobian(X).tobytes() == expected


def test_derivatives_that_are_refused() -> None:
    model = model_of()
    X = samples(4)
    with refused(ValueError, "Model.jacobian", "column"):
        model.jacobian(X[:, :2])
    X[2, 1] = np.inf
    for call in (lambda: model.jacobian(X), lambda: model.input_gradient(X, np.ones((4, OUTPUTS)))):
        with refused(ValueError, "row 2, column 1"):
            call()
    X[2, 1] = 0.0
    g = np.ones((4, OUTPUTS), np.float32)
    for wrong, pattern in ((g[:3], "4"), (g[:, :2], "grad_output"), (g * np.float32(np.nan), "grad_output has NaN")):
        with refused(ValueError, "Model.input_gradient", pattern):
            model.input_gradient(X, wrong)
    with refused(TypeError, "grad_output"):
        model.input_gradient(X, [["a"] * OUTPUTS] * 4)


# ---- target networks ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tau", [0.0, 0.005, 0.3, 1.0])
def test_soft_update(tau: float, dtype: str) -> None:
    model, source = model_of(dtype, seed=1), model_of(dtype, seed=2)
    before, goal = model.state_dict(), source.state_dict()
    model.soft_update(source, tau)
    for name, value in model.state_dict().items():
        expected = (1 - tau) * before[name].astype(np.float64) + tau * goal[name]
        tolerance = 4 * np.finfo(dtype).eps * (np.abs(before[name]) + np.abs(goal[name]))
        assert (np.abs(value - expected) <= tolerance).all(), name
        if tau in (0.0, 1.0):
            assert value.tobytes() == (goal if tau else before)[name].tobytes()
    assert {name: value.tobytes() for name, value in source.state_dict().items()} == {
        name: value.tobytes() for name, value in goal.items()
    }
    same = bits(model)
    model.soft_update(model.copy(), tau)
    for name, value in model.parameters().items():
        assert relative_error(value, np.frombuffer(same[name], dtype).reshape(value.shape)) < np.finfo(dtype).eps


def test_soft_updates_that_are_refused() -> None:
    model = model_of()
    before = bits(model)
    with refused(ValueError, "Model.soft_update", "layers"):
        model.soft_update(model_of(layers=[stoop.Dense(OUTPUTS)]), 0.5)
    with refused(TypeError, "float64"):
        model.soft_update(model_of("float64"), 0.5)
    for tau, error in ((-0.1, ValueError), (1.5, ValueError), (np.nan, ValueError), ("x", TypeError)):
        with refused(error, "tau"):
            model.soft_update(model_of(seed=2), tau)
    with refused(TypeError, "source"):
        model.soft_update(model.state_dict(), 0.5)  # type: ignore[arg-type]
    assert bits(model) == before


# ---- outputs into an array of the caller's ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [None, 7])
@pytest.mark.parametrize("rows", [1, 5, 200])
def test_predict_into_an_array(rows: int, batch_size: int | None, dtype: str) -> None:
    model = model_of(dtype)
    X = samples(rows, dtype)
    expected = model.predict(X)
    large = np.full((rows + 2, OUTPUTS + 4), 7, dtype)
    strided = np.full((2 * rows, OUTPUTS), 7, dtype)[::2]
    for out in (np.empty((rows, OUTPUTS), dtype), large[1:-1, 2:-2], strided):
        assert model.predict(X, batch_size, out) is out
        assert out.tobytes() == expected.tobytes()
    large[1:-1, 2:-2] = 7
    assert (large == 7).all()


@pytest.mark.parametrize("batch_size", [None, 2])
def test_arrays_that_outputs_do_not_go_into(batch_size: int | None) -> None:
    model = model_of()
    X = samples(6)
    read_only = np.empty((6, OUTPUTS), np.float32)
    read_only.flags.writeable = False
    own = X.copy()
    cases: list[tuple[Any, type[Exception], str]] = [
        (np.empty((6, OUTPUTS)), TypeError, "float64.+float32"),
        (np.empty((6, OUTPUTS), ">f4"), TypeError, "float32"),
        ([[0.0] * OUTPUTS] * 6, TypeError, "list"),
        (np.empty((5, OUTPUTS), np.float32), ValueError, r"\(5, 3\).+\(6, 3\)"),
        (np.empty((6, OUTPUTS + 1), np.float32), ValueError, r"\(6, 4\)"),
        (np.empty(6 * OUTPUTS, np.float32), ValueError, "shape"),
        (np.empty((OUTPUTS, 6), np.float32).T, ValueError, "contiguous"),
        (np.empty((6, 2 * OUTPUTS), np.float32)[:, ::2], ValueError, "contiguous"),
        (np.empty((6, OUTPUTS), np.float32)[::-1], ValueError, "contiguous"),
        (np.broadcast_to(np.empty((1, OUTPUTS), np.float32), (6, OUTPUTS)), ValueError, "contiguous"),
        (read_only, ValueError, "read-only"),
        (own[:, :OUTPUTS], ValueError, "shares memory"),
        (model.parameters()["0.weight"][:, :OUTPUTS], ValueError, "shape|shares"),
    ]
    for out, error, pattern in cases:
        with refused(error, "Model.predict", pattern):
            model.predict(own, batch_size, out=out)
    assert (own == X).all()
    square = stoop.Model([stoop.Dense(6, use_bias=False)], input_dim=6)
    with refused(ValueError, "shares memory"):
        square.predict(np.zeros((6, 6), np.float32), out=square.parameters()["0.weight"])


# ---- one norm over several trainers ----


def gradients_of(trainers: list[stoop.Trainer], scale: float = 1.0) -> list[npt.NDArray]:
    """Give each trainer a gradient, and return all of them as they are."""
    rng = np.random.default_rng(5)
    for trainer in trainers:
        trainer.forward(samples(16, trainer.model.dtype.name))
        trainer.backward(scale * rng.standard_normal((16, OUTPUTS)))
    return [value.copy() for trainer in trainers for value in trainer.gradients().values()]


@pytest.mark.parametrize("dtypes", [("float32", "float32"), ("float64", "float64"), ("float32", "float64")])
@pytest.mark.parametrize("max_norm", [0.5, 1e6])
def test_one_norm_over_several_trainers(dtypes: tuple[str, str], max_norm: float) -> None:
    trainers = [stoop.Trainer(model_of(dtype, seed=i), loss="mse") for i, dtype in enumerate(dtypes)]
    before = gradients_of(trainers)
    norm = np.sqrt(sum(np.sum(np.square(value, dtype=np.float64)) for value in before))
    tolerance = 1e-6 if "float32" in dtypes else 1e-13
    assert stoop.clip_grad_norm(trainers, max_norm) == pytest.approx(norm, rel=tolerance)
    after = [value for trainer in trainers for value in trainer.gradients().values()]
    for one, other in zip(after, before, strict=True):
        assert relative_error(one, other * min(1.0, max_norm / norm)) < tolerance
        if max_norm > norm:
            assert one.tobytes() == other.tobytes()
    norms = [trainer.apply() for trainer in trainers]
    assert np.hypot(*norms) == pytest.approx(min(norm, max_norm), rel=10 * tolerance)


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_the_norm_of_extreme_gradients(scale: float) -> None:
    trainer = stoop.Trainer(model_of(layers=[stoop.Dense(OUTPUTS)]), loss="mse")
    before = gradients_of([trainer], scale)
    norm = float(np.sqrt(sum(np.sum(np.square(value, dtype=np.float64)) for value in before)))
    assert stoop.clip_grad_norm(trainer, norm / 2) == pytest.approx(norm, rel=1e-6)
    assert stoop.clip_grad_norm(trainer, norm) == pytest.approx(norm / 2, rel=1e-6)


def test_norms_that_are_refused() -> None:
    trainers = [stoop.Trainer(model_of(seed=i), loss="mse") for i in range(2)]
    assert stoop.clip_grad_norm(trainers, 1.0) == 0.0  # no gradient yet
    assert stoop.clip_grad_norm([], 1.0) == 0.0
    before = gradients_of(trainers)
    for wrong, error, pattern in (
        ([trainers[0], trainers[0]], ValueError, "twice"),
        ([trainers[0], trainers[1].model], TypeError, "Model"),
    ):
        with refused(error, "clip_grad_norm", pattern):
            stoop.clip_grad_norm(wrong, 1e-3)  # type: ignore[arg-type]
    for limit, error in ((0.0, ValueError), (-1.0, ValueError), (np.inf, ValueError), ("x", TypeError)):
        with refused(error, "max_norm"):
            stoop.clip_grad_norm(trainers, limit)  # type: ignore[arg-type]
    trainers[1].gradients()["0.weight"][0, 0] = np.nan
    before[len(before) // 2][0, 0] = np.nan
    with pytest.raises(stoop.NonFiniteLossError, match="clip_grad_norm"):
        stoop.clip_grad_norm(trainers, 1e-3)
    after = [value for trainer in trainers for value in trainer.gradients().values()]
    assert [value.tobytes() for value in after] == [value.tobytes() for value in before]
