"""An update in pieces, `forward`, `backward` and `apply`, comes to `step` by bits and to PyTorch to rounding."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from typing import Any

import numpy as np
import pytest

import crossed
import stoop
from helpers import DTYPES, refused, relative_error
from pieces import FEATURES, OUTPUTS, ROWS, assert_same, batch, slope, trainer_of, update

OPTIMIZERS = crossed.optimizer_cases()
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "l1, l2": {"l1": 0.01, "l2": 0.1},
    "clip_norm": {"clip_norm": 0.1},
    "clip_value": {"clip_value": 0.02},
    "max_norm": {"max_norm": 0.7},
    "ema": {"ema": 0.9},
    "all": {"l1": 0.01, "l2": 0.1, "clip_norm": 0.1, "clip_value": 0.02, "max_norm": 0.7, "ema": 0.9},
}


# ---- the bits of step ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_comes_to_the_bits_of_step(optimizer: str, dtype: str) -> None:
    whole, pieces = (trainer_of(dtype, optimizer=OPTIMIZERS[optimizer].make()) for _ in range(2))
    for seed in range(4):
        X, y = batch(dtype=dtype, seed=seed)
        whole.step(X, y)
        update(pieces, X, y)
    assert_same(whole, pieces)


@pytest.mark.parametrize("optimizer", ["adam", "lamb", "sgd"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_every_setting_comes_to_the_bits_of_step(settings: str, optimizer: str) -> None:
    rate = stoop.schedules.Exponential(0.02, 0.9)
    made = [trainer_of(optimizer=OPTIMIZERS[optimizer].make(rate), **SETTINGS[settings]) for _ in range(2)]
    for seed in range(4):
        X, y = batch(seed=seed)
        made[0].step(X, y)
        update(made[1], X, y)
    assert_same(*made)


@pytest.mark.skipif(not stoop._core.available_bfloat16(), reason="the CPU has no products of bfloat16")
def test_bfloat16_comes_to_the_bits_of_step() -> None:
    whole, pieces = trainer_of(precision="bfloat16"), trainer_of(precision="bfloat16")
    for seed in range(3):
        X, y = batch(seed=seed)
        whole.step(X, y)
        update(pieces, X, y)
    assert_same(whole, pieces)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("rows", [2, 8, 64, 512])
def test_rows_and_threads(rows: int, threads: int) -> None:
    whole, pieces = trainer_of(num_threads=1), trainer_of(num_threads=threads)
    for many in (rows, 2, rows):  # an executor for more rows serves fewer too
        X, y = batch(many)
        whole.step(X, y)
        update(pieces, X, y)
    assert_same(whole, pieces)


@pytest.mark.parametrize(
    "stack",
    [
        [stoop.BatchNorm(), stoop.Dense(OUTPUTS)],
        [stoop.Dense(300), stoop.Dense(300), stoop.BatchNorm(), stoop.Tanh(), stoop.Dense(OUTPUTS)],
        [stoop.Residual([stoop.Dense(FEATURES), stoop.BatchNorm()]), stoop.Dense(OUTPUTS)],
        [stoop.Dense(9, trainable=False), stoop.BatchNorm(trainable=False), stoop.Dense(OUTPUTS)],
        [stoop.Dense(OUTPUTS), stoop.Softplus()],
    ],
)
@pytest.mark.parametrize("input_gradient", [False, True])
def test_other_stacks(stack: list[Any], input_gradient: bool) -> None:
    whole, pieces = trainer_of(stack=stack), trainer_of(stack=stack)
    for seed in range(3):
        X, y = batch(seed=seed)
        whole.step(X, y)
        dX = pieces.backward(slope(pieces.forward(X), y), input_gradient=input_gradient)
        assert (dX is not None) == input_gradient
        pieces.apply()
    assert_same(whole, pieces)


def test_the_views_of_the_gradient_change_no_bit() -> None:
    whole, pieces = trainer_of(), trainer_of()
    views = pieces.gradients()
    assert all(not view.any() for view in views.values())
    for seed in range(3):
        X, y = batch(seed=seed)
        whole.step(X, y)
        update(pieces, X, y)
        assert all(not view.any() for view in views.values())
    assert_same(whole, pieces)


def test_other_calls_between_the_pieces_change_no_bit() -> None:
    whole, pieces = trainer_of(l2=0.1), trainer_of(l2=0.1)
    X, y = batch()
    others = batch(100, seed=9)
    for _ in range(3):
        whole.step(X, y)
        out = pieces.forward(X)
        pieces.loss_and_grad(*others)
        pieces.evaluate(*others)
        pieces.model.predict(others[0])
        pieces.backward(slope(out, y))
        pieces.loss_and_grad(*others, training=False)
        pieces.hessian_vector_product(*others, pieces.model.parameters())
        pieces.apply()
    assert_same(whole, pieces)


def test_parts_of_a_batch_are_those_of_accumulate() -> None:
    """The masks go on from row to row, whichever way the rows are cut into passes."""
    whole, pieces = trainer_of(accumulate=4, l2=0.01), trainer_of(l2=0.01)
    X, y = batch(4 * ROWS)
    whole.fit(X, y, epochs=1, batch_size=ROWS, shuffle=False, verbose=0)
    for start in range(0, 4 * ROWS, ROWS):
        rows = slice(start, start + ROWS)
        pieces.backward(slope(pieces.forward(X[rows]), y[rows]) / 4)
    pieces.apply()
    assert_same(whole, pieces)


def test_a_forward_again_has_the_same_mask() -> None:
    trainer = trainer_of(stack=[stoop.Dropout(0.5), stoop.Dense(OUTPUTS)])
    X, y = batch()
    first = trainer.forward(X)
    assert (trainer.forward(X) == first).all()
    trainer.backward(slope(first, y))
    assert (trainer.forward(X) != first).any()  # the rows that come next
    trainer.zero_grad()
    assert (trainer.forward(X) == first).all()
    trainer.backward(slope(first, y))
    trainer.apply()
    trainer.model.load_state_dict(trainer_of(stack=[stoop.Dropout(0.5), stoop.Dense(OUTPUTS)]).model.state_dict())
    assert (trainer.forward(X) != first).any()  # another update


def test_modes_of_forward() -> None:
    trainer = trainer_of("float64")
    X, _ = batch(dtype="float64")
    before = {name: value.copy() for name, value in trainer.model.buffers().items()}
    still = trainer.forward(X, training=False)
    assert relative_error(still, trainer.model.predict(X)) < 1e-14
    assert all((value == before[name]).all() for name, value in trainer.model.buffers().items())
    trainer.forward(X, dropout=False)
    assert all((value != before[name]).any() for name, value in trainer.model.buffers().items())
    for flags in ({"training": 1}, {"dropout": "no"}):
        with refused(TypeError, "forward"):
            trainer.forward(X, **flags)


def test_the_norm_is_that_before_clipping() -> None:
    trainer = trainer_of(l2=0.1, clip_norm=1e-3, stack=[stoop.Dense(OUTPUTS)])
    X, y = batch()
    _, gradient = trainer.loss_and_grad(X, y)
    expected = np.sqrt(sum(np.sum(np.square(g, dtype=np.float64)) for g in gradient.values()))
    assert update(trainer, X, y) == pytest.approx(expected, rel=1e-6)


def test_gradients_are_a_plain_sum_that_may_be_written_to() -> None:
    trainer = trainer_of("float64", stack=[stoop.Dense(OUTPUTS)], l2=0.3, optimizer=stoop.optimizers.SGD(0.5))
    X, _ = batch(dtype="float64")
    g = np.random.default_rng(1).standard_normal((ROWS, OUTPUTS))
    trainer.forward(X)
    trainer.backward(g)
    trainer.forward(X)
    trainer.backward(g)
    views = trainer.gradients()
    assert relative_error(views["0.weight"], 2 * X.T @ g) < 1e-14
    assert relative_error(views["0.bias"], 2 * g.sum(axis=0)) < 1e-14
    views["0.bias"] *= 3
    weight, bias = (value.copy() for value in trainer.model.parameters().values())
    trainer.apply()
    after = trainer.model.parameters()
    assert relative_error(after["0.weight"], weight - 0.5 * (2 * X.T @ g + 0.3 * weight)) < 1e-14
    assert relative_error(after["0.bias"], bias - 0.5 * 6 * g.sum(axis=0)) < 1e-14
    views["0.weight"][...] = 1.0  # an update by a gradient that is written alone
    weight = after["0.weight"].copy()
    trainer.apply()
    assert relative_error(after["0.weight"], weight - 0.5 * (1.0 + 0.3 * weight)) < 1e-14


def test_the_views_keep_the_trainer_alive() -> None:
    trainer = trainer_of()
    core, views = weakref.ref(trainer), trainer.gradients()
    with refused(TypeError, "parameters"):
        views["1.weight"] = np.zeros(3)
    del trainer
    gc.collect()
    assert core() is None
    views["1.weight"][...] = 1.0


def test_the_meaning_of_the_outputs_is_not_set() -> None:
    trainer = trainer_of()
    update(trainer, *batch())
    assert trainer.model.output is None


def test_the_input_gradient_counts_the_scale_of_the_input() -> None:
    model = stoop.Model([stoop.Dense(OUTPUTS)], input_dim=FEATURES, input_scale=1 / 255, input_shift=-0.5)
    trainer = stoop.Trainer(model, loss="mse")
    X = np.random.default_rng(0).integers(256, size=(5, FEATURES)).astype(np.uint8)
    g = np.ones((5, OUTPUTS), np.float32)
    trainer.forward(X)
    dX = trainer.backward(g, input_gradient=True)
    assert dX is not None
    assert dX.dtype == np.float32
    assert relative_error(dX, g @ model.parameters()["0.weight"].T / 255) < 1e-6


# ---- what is carried ----


def test_a_copy_has_neither_the_pass_nor_the_gradient() -> None:
    trainer = trainer_of()
    X, y = batch()
    update(trainer, X, y)
    g = slope(trainer.forward(X), y)
    trainer.backward(g)
    trainer.forward(X)
    for again in (copy.deepcopy(trainer), pickle.loads(pickle.dumps(trainer))):
        with refused(ValueError, "no forward"):
            again.backward(g)
        with refused(ValueError, "no gradient"):
            again.apply()
        assert all(not view.any() for view in again.gradients().values())
        update(again, X, y)


# ---- PyTorch ----


def random_stack(rng: np.random.Generator) -> list[Any]:
    smooth = [stoop.Tanh(), stoop.GELU(), stoop.SiLU(), stoop.Softplus(), stoop.ELU(), stoop.Sigmoid()]
    stack: list[Any] = [stoop.BatchNorm()] if rng.random() < 0.3 else []
    for _ in range(rng.integers(1, 4)):
        units = int(rng.integers(2, 40))
        stack.append(stoop.Dense(units, activation=smooth[rng.integers(len(smooth))]))
        if rng.random() < 0.6:
            stack.append(stoop.BatchNorm())
        if rng.random() < 0.3:
            stack.append(stoop.Residual([stoop.Dense(units), stoop.BatchNorm(), smooth[rng.integers(len(smooth))]]))
        if rng.random() < 0.3:
            stack.append(stoop.LayerNorm())
    return [*stack, stoop.Dense(OUTPUTS)]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("seed", range(12))
def test_passes_agree_with_pytorch(seed: int, training: bool) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    import torch_reference

    rng = np.random.default_rng(seed)
    trainer = trainer_of("float64", stack=random_stack(rng))
    for value in trainer.model.buffers().values():
        value[...] = rng.uniform(0.5, 2.0, value.shape)
    network = torch_reference.Network(trainer.model)
    rows = int(rng.integers(2, 60))
    for _ in range(2):  # the gradients of both are summed
        X, g = rng.standard_normal((rows, FEATURES)), rng.standard_normal((rows, OUTPUTS))
        x = torch.tensor(X, requires_grad=True)
        expected = network.forward(x, training=training)
        expected.backward(torch.tensor(g))
        out = trainer.forward(X, training=training)
        assert relative_error(out, expected.detach().numpy()) < 1e-12
        assert relative_error(trainer.backward(g, input_gradient=True), x.grad.numpy()) < 1e-12
    scale = max(float(value.grad.norm()) for value in network.parameters.values())
    for name, value in trainer.gradients().items():  # some are zero but for rounding: a bias before a BatchNorm
        assert np.abs(value - network.parameters[name].grad.numpy().T).max() < 1e-12 * scale, name
    for name, value in trainer.model.buffers().items():
        assert relative_error(value, network.buffers[name].numpy()) < 1e-12, name
