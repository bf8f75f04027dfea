"""Mixed precision: training with products of bfloat16, and its refusal where the CPU has none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import stoop
from helpers import bits, make_data, refused, relative_error, run_python
from stoop import _core

WAYS = _core.available_bfloat16()
LACKING = "this CPU, or STOOP_ISA, has no products of bfloat16"
needs_bfloat16 = pytest.mark.skipif(not WAYS, reason=LACKING)
each_way = pytest.mark.parametrize("way", WAYS or [pytest.param("", marks=pytest.mark.skip(reason=LACKING))])


def make_trainer(
    precision: str, widths: tuple[int, ...] = (19, 64, 48, 5), activation: str = "relu", **arguments: Any
) -> stoop.Trainer:
    layers = [stoop.Dense(n, activation=activation) for n in widths[1:-1]] + [stoop.Dense(widths[-1])]
    model = stoop.Model(layers, input_dim=widths[0], seed=arguments.get("seed", 0))
    return stoop.Trainer(model, precision=precision, **arguments)


@each_way
def test_digits_are_learnt_as_well_as_in_float32(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    monkeypatch.setenv("STOOP_BFLOAT16", way)
    X, y = datasets.load_digits(return_X_y=True)
    X = np.asarray(X / 16.0, np.float32)
    accuracy: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(X))
        train, test = order[:1000], order[1000:]
        for precision, values in accuracy.items():
            trainer = make_trainer(precision, (64, 128, 64, 10), seed=seed)
            trainer.fit(X[train], y[train], epochs=30, batch_size=64, verbose=0)
            values.append(trainer.evaluate(X[test], y[test])["accuracy"])
    assert np.mean(accuracy["float32"]) > 0.95
    assert abs(np.mean(accuracy["bfloat16"]) - np.mean(accuracy["float32"])) <= 0.003, accuracy
    assert accuracy["bfloat16"] != accuracy["float32"], "nothing was rounded"


@each_way
def test_same_bits_for_any_number_of_threads(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOOP_BFLOAT16", way)
    X, y = make_data("softmax_cross_entropy", 700, 256, 10)

    def train(threads: int) -> tuple[Any, ...]:
        trainer = make_trainer("bfloat16", (256, 600, 530, 10), num_threads=threads)
        history = trainer.fit(X, y, epochs=2, batch_size=300, verbose=0)
        loss = trainer.step(X[:128], y[:128])
        return bits(trainer.model), history["loss"], loss, trainer.loss_and_grad(X, y)[0]

    alone = train(1)
    assert train(1) == alone
    for threads in (2, 3):
        assert train(threads) == alone, threads


@each_way
def test_gradients_are_rounded_a_little(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOOP_BFLOAT16", way)
    X, y = make_data("softmax_cross_entropy", 300, 19, 5)
    # Without a kink, where rounding may change which side a value is on.
    rounded = make_trainer("bfloat16", activation="tanh").loss_and_grad(X, y)
    exact = make_trainer("float32", activation="tanh").loss_and_grad(X, y)
    assert 0 < abs(rounded[0] - exact[0]) < 2**-8 * exact[0]
    for name, gradient in exact[1].items():
        # Each operand is within 2**-9, and a gradient comes through at most five products, two operands each.
        assert 0 < relative_error(rounded[1][name], gradient) < 10 * 2**-9, name


@needs_bfloat16
def test_what_is_not_training_stays_float32() -> None:
    X, y = make_data("softmax_cross_entropy", 300, 19, 5)
    half, full = make_trainer("bfloat16"), make_trainer("float32")
    assert half.evaluate(X, y) == full.evaluate(X, y)
    direction = {name: np.ones_like(value) for name, value in full.model.parameters().items()}
    products = [trainer.hessian_vector_product(X, y, direction) for trainer in (half, full)]
    for name, product in products[1].items():
        np.testing.assert_array_equal(products[0][name], product)
    assert all(value.dtype == np.float32 for value in half.loss_and_grad(X, y)[1].values())
    history = half.fit(X, y, epochs=1, validation_data=(X, y), verbose=0)
    assert history["val_loss"][-1] == half.evaluate(X, y)["loss"]


@needs_bfloat16
def test_what_needs_an_exact_gradient_is_refused() -> None:
    X, y = make_data("softmax_cross_entropy", 30, 19, 5)
    with refused(ValueError, "bfloat16"):
        make_trainer("bfloat16", optimizer=stoop.optimizers.LBFGS())
    with refused(ValueError, "bfloat16"):
        stoop.diagnose.critical_point(make_trainer("bfloat16"), X, y)


def test_float64_models_are_refused() -> None:
    model = stoop.Model([stoop.Dense(2)], input_dim=3, dtype="float64")
    with refused(ValueError, "bfloat16", "float64"):
        stoop.Trainer(model, precision="bfloat16")
    stoop.Trainer(model, precision="float64")
    stoop.Trainer(model, precision="float32")


# On any CPU: where it has the instructions the reason is the instruction set that was forced, else the CPU.
@pytest.mark.parametrize("isa", [isa for isa in _core.available_isas() if isa != "avx512"])
def test_other_instruction_sets_have_no_bfloat16(isa: str) -> None:
    code = (
        "import stoop; print(stoop.show_config('dicts')['cpu']['bfloat16']); "
        "stoop.Trainer(stoop.Model([stoop.Dense(2)], input_dim=3), precision='bfloat16')"
    )
    done = run_python("-c", code, check=False, STOOP_ISA=isa)
    assert done.stdout.strip() == "not available"
    assert done.returncode == 1
    assert "ValueError: [precision bfloat16] " in done.stderr
    assert ("STOOP_ISA" if WAYS else "AVX512-BF16") in done.stderr


def test_show_config_says_by_what() -> None:
    config = stoop.show_config("dicts")
    assert config is not None
    assert config["cpu"]["bfloat16_available"] == WAYS
    assert config["cpu"]["bfloat16"] == (_core.active_bfloat16() if WAYS else "not available")
    assert set(WAYS) <= {"amx_bf16", "avx512_bf16"}


def test_an_unknown_way_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOOP_BFLOAT16", "amx")
    with refused(ValueError, "amx_bf16" if "amx_bf16" in WAYS else "bfloat16"):
        make_trainer("bfloat16")
