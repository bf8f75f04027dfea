"""A Normalization in a model: who sets its statistics and when, files and copies, derivatives, many models at once."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop
from helpers import bits, refused

Array = npt.NDArray[Any]
ROWS, COLUMNS, CLASSES = 240, 7, 3
STORED = ("uint8", "float32", "float64")


def draw(stored: str = "float32", seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    X = rng.integers(256, size=(ROWS, COLUMNS)) if stored == "uint8" else rng.normal(50, 9, (ROWS, COLUMNS))
    return X.astype(stored), rng.integers(CLASSES, size=ROWS)


def make(layer: Any = None, dtype: str = "float32", seed: int = 1) -> stoop.Model:
    layers = [layer or stoop.Normalization(), stoop.Dense(9, activation="tanh"), stoop.Dropout(0.2)]
    return stoop.Model([*layers, stoop.Dense(CLASSES)], COLUMNS, seed=seed, dtype=dtype)


def adapted(X: Array, layer: Any = None, dtype: str = "float32", seed: int = 1) -> stoop.Model:
    model = make(layer, dtype, seed)
    model.adapt(X)
    return model


def statistics(model: stoop.Model) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in model.buffers().items()}


def fit(model: stoop.Model, X: Array, y: Array, **options: Any) -> stoop.Trainer:
    trainer = stoop.Trainer(model, optimizer=options.pop("optimizer", "sgd"), seed=3)
    trainer.fit(X, y, **{"epochs": 2, "batch_size": 32, "verbose": 0} | options)
    return trainer


# ---- what a model may look like ----


@pytest.mark.parametrize(
    "layers",
    [
        [stoop.Dense(3), stoop.Normalization()],
        [stoop.Residual([stoop.Normalization(), stoop.Dense(COLUMNS)]), stoop.Dense(3)],
        [stoop.Normalization(), stoop.Normalization(), stoop.Dense(3)],
    ],
)
def test_it_is_the_first_layer(layers: list[Any]) -> None:
    with refused(ValueError, "is a Normalization", "first layer"):
        stoop.Model(layers, COLUMNS)


@pytest.mark.parametrize("scaling", [{"input_scale": 0.5}, {"input_shift": 1.0}])
def test_it_does_not_go_with_input_scale(scaling: dict[str, float]) -> None:
    with refused(ValueError, "input_scale or input_shift with a Normalization"):
        stoop.Model([stoop.Normalization(), stoop.Dense(3)], COLUMNS, **scaling)


@pytest.mark.parametrize("clip", [0, -1, 1e7, float("nan"), "3"])
def test_clips_are_checked(clip: Any) -> None:
    with refused((ValueError, TypeError), "clip"):
        stoop.Normalization(clip=clip)


@pytest.mark.parametrize("name", ["kind", "missing"])
def test_names_are_checked(name: str) -> None:
    with refused(ValueError, "minimax"):
        stoop.Normalization(**{name: "minimax"})


def test_it_has_no_parameters() -> None:
    model = make(stoop.Normalization(missing="mean"))
    assert set(model.parameters()) == {"1.weight", "1.bias", "3.weight", "3.bias"}
    shapes = {name: value.shape for name, value in model.buffers().items()}
    assert shapes == {
        "0.shift": (COLUMNS,),
        "0.scale": (COLUMNS,),
        "0.shift_rest": (2, COLUMNS),
        "0.missing": (COLUMNS,),
    }
    assert "Normalization(kind=standard" in model.summary()


def test_a_model_without_one_has_nothing_to_adapt() -> None:
    model = stoop.Model([stoop.Dense(3)], COLUMNS)
    assert model.is_adapted
    with refused(ValueError, r"Model.adapt\] the model has no Normalization"):
        model.adapt(draw()[0])


# ---- before it is adapted ----


def test_calls_that_need_statistics_say_so() -> None:
    X, y = draw()
    model = make()
    trainer = stoop.Trainer(model, optimizer="sgd")
    ensemble = stoop.Ensemble([adapted(X), model])
    calls: dict[str, Callable[[], Any]] = {
        "Model.predict": lambda: model.predict(X),
        "Model.jacobian": lambda: model.jacobian(X),
        "Model.input_gradient": lambda: model.input_gradient(X, np.ones((ROWS, CLASSES))),
        "Trainer.step": lambda: trainer.step(X, y),
        "Trainer.evaluate": lambda: trainer.evaluate(X, y),
        "Trainer.losses": lambda: trainer.losses(X, y),
        "Trainer.loss_and_grad": lambda: trainer.loss_and_grad(X, y),
        "Trainer.hessian_vector_product": lambda: trainer.hessian_vector_product(X, y, model.parameters()),
        "Trainer.forward": lambda: trainer.forward(X),
        "Ensemble.predict": lambda: ensemble.predict(X),
        "Ensemble.predict_mean": lambda: ensemble.predict_mean(X),
    }
    for where, call in calls.items():
        with refused(ValueError, rf"\[{where}\] the Normalization of the model has no statistics", "adapt the model"):
            call()


def test_a_refused_fit_leaves_it_as_it_was() -> None:
    X, y = draw()
    model = make()
    trainer = stoop.Trainer(model)
    before = bits(model)
    for bad in (
        {"batch_size": 0},
        {"epochs": 0},
        {"validation_data": (X[:, 1:], y)},
        {"sample_weight": -np.ones(ROWS)},
    ):
        with refused(ValueError, ""):
            trainer.fit(X, y, **{"verbose": 0} | bad)
        assert not model.is_adapted
    assert bits(model) == before


# ---- fit adapts from its training rows, once ----


@pytest.mark.parametrize("kind", ["standard", "robust", "minmax"])
@pytest.mark.parametrize("stored", STORED)
def test_fit_is_adapt_and_fit(stored: str, kind: str) -> None:
    X, y = draw(stored)
    by_hand, by_fit = adapted(X, stoop.Normalization(kind)), make(stoop.Normalization(kind))
    fit(by_hand, X, y)
    fit(by_fit, X, y)
    assert statistics(by_fit) == statistics(by_hand)
    assert bits(by_fit) == bits(by_hand)


def test_validation_rows_do_not_count() -> None:
    X, y = draw()
    X[200:] += 1000
    for options in ({"validation_split": 0.17}, {"overfit_batches": 200, "batch_size": 1}):
        model = make()
        fit(model, X, y, **options)
        assert statistics(model) == statistics(adapted(X[:200]))
    model = make()
    fit(model, X[:200], y[:200], validation_data=(X[200:], y[200:]))
    assert statistics(model) == statistics(adapted(X[:200]))


def test_it_stays_as_it_is_in_further_fits() -> None:
    X, y = draw()
    model = make()
    trainer = fit(model, X, y)
    trainer.fit(X * 3 + 1, y, verbose=0)
    trainer.step(X * 3 + 1, y)
    assert statistics(model) == statistics(adapted(X))


def test_adapt_takes_other_rows_anew() -> None:
    X, _ = draw()
    model = adapted(X * 2)
    model.adapt(X)
    assert statistics(model) == statistics(adapted(X))


def test_training_on_normalised_rows_is_the_same() -> None:
    X, y = draw("float64")
    model, plain = make(dtype="float64"), stoop.Model(make().layers[1:], COLUMNS, seed=1, dtype="float64")
    plain.load_state_dict({f"{int(name[0]) - 1}{name[1:]}": value for name, value in model.parameters().items()})
    z = (X - X.mean(0)) / X.std(0)
    model_loss = fit(model, X, y, shuffle=False).history["loss"]
    # a dropout draws by the number of its layer, which is the same: a Normalization is no node
    np.testing.assert_allclose(model_loss, fit(plain, z, y, shuffle=False).history["loss"], rtol=1e-9)


def test_dry_runs_and_searches_leave_nothing() -> None:
    X, y = draw()
    model = make()
    trainer = stoop.Trainer(model)
    trainer.fit(X, y, dry_run=True, verbose=0)
    trainer.find_learning_rate(X, y, steps=10)
    trainer.profile(X, y)
    assert not model.is_adapted


@pytest.mark.parametrize("optimizer", [stoop.optimizers.LBFGS(), stoop.optimizers.NewtonCG()])
def test_full_batch_optimizers_adapt_too(optimizer: Any) -> None:
    X, y = draw()
    layers = [stoop.Normalization(), stoop.Dense(5, activation="tanh"), stoop.Dense(CLASSES)]
    model = stoop.Model(layers, COLUMNS)
    history = stoop.Trainer(model, optimizer=optimizer).fit(X, y, epochs=5, batch_size=ROWS, verbose=0)
    assert history["loss"][-1] < history["loss"][0]
    assert statistics(model) == statistics(adapted(X))


@pytest.mark.parametrize("rows", ["bootstrap", "listed"])
def test_many_fits_take_their_own_rows(rows: str) -> None:
    X, y = draw()
    models = [make(seed=seed) for seed in range(3)]
    chosen: Any = "bootstrap" if rows == "bootstrap" else [np.arange(seed, ROWS, 2 + seed) for seed in range(3)]
    histories = stoop.fit_many(
        [stoop.Trainer(model, seed=seed) for seed, model in enumerate(models)],
        X,
        y,
        epochs=1,
        batch_size=16,
        rows=chosen,
        verbose=0,
    )
    assert len(histories) == 3
    assert len({tuple(sorted(statistics(model).items())) for model in models}) == 3
    if rows == "listed":
        for model, own in zip(models, chosen):
            assert statistics(model) == statistics(adapted(X[own]))


def test_many_fits_check_each_for_what_it_takes() -> None:
    X, y = draw()
    X[5, 2] = np.nan
    takes, refuses = make(stoop.Normalization(missing="mean")), make()
    for models in ([takes, refuses], [refuses, takes]):
        with refused(ValueError, "NaN at row 5, column 2"):
            stoop.fit_many([stoop.Trainer(model) for model in models], X, y, epochs=1, verbose=0)
        assert not takes.is_adapted


def test_a_resumed_fit_keeps_the_statistics(tmp_path: Path) -> None:
    X, y = draw()
    whole = make()
    fit(whole, X, y, epochs=4, optimizer="adam")
    path = tmp_path / "run.safetensors"
    first = make()
    fit(first, X, y, epochs=2, optimizer="adam").save_checkpoint(path)
    again = make()
    trainer = stoop.Trainer(again, optimizer="adam", seed=3)
    trainer.fit(X, y, epochs=4, batch_size=32, verbose=0, resume=path)
    assert statistics(again) == statistics(whole)
    assert bits(again) == bits(whole)


# ---- files and copies ----


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_files_copies_and_pickles_keep_it(dtype: str, tmp_path: Path) -> None:
    X, _ = draw("float64")
    X[:, 0] += 1e9
    model = adapted(X, stoop.Normalization("robust", clip=3, missing="mean"), dtype)
    model.save(tmp_path / "m.safetensors")
    loaded = make(stoop.Normalization("robust", clip=3, missing="mean"), dtype)
    loaded.load_state_dict(model.state_dict())
    for same in (stoop.load_model(tmp_path / "m.safetensors"), model.copy(), pickle.loads(pickle.dumps(model)), loaded):
        assert statistics(same) == statistics(model)
        assert same.layers == model.layers
        assert same.predict(X).tobytes() == model.predict(X).tobytes()
    assert not stoop.load_model(saved(make(), tmp_path)).is_adapted
    assert not copy.deepcopy(make()).is_adapted


def saved(model: stoop.Model, folder: Path) -> Path:
    model.save(folder / "other.safetensors")
    return folder / "other.safetensors"


def test_a_state_of_float64_keeps_its_digits_in_float32() -> None:
    X, _ = draw("float64")
    X += 1e9
    wide, narrow = adapted(X, dtype="float64"), make()
    narrow.load_state_dict(wide.state_dict())
    np.testing.assert_allclose(narrow.predict(X), wide.predict(X), atol=1e-5)
    back = make(dtype="float64")
    back.load_state_dict(narrow.state_dict())
    np.testing.assert_allclose(back.predict(X), wide.predict(X), atol=1e-5)


@pytest.mark.parametrize("before", [False, True])
def test_statistics_may_be_written_by_hand(before: bool) -> None:
    X, _ = draw("float64")
    X += 1e9
    model = stoop.Model([stoop.Normalization(), stoop.Dense(COLUMNS, kernel_init="zeros")], COLUMNS)
    np.fill_diagonal(model.parameters()["1.weight"], 1)
    if before:
        model.adapt(X)  # whose rest is not that of the shift that follows
    model.buffers()["0.shift"][:] = 2
    model.buffers()["0.scale"][:] = 0.5
    for stored in STORED:
        np.testing.assert_array_equal(model.predict(np.full((1, COLUMNS), 7, stored)), np.full((1, COLUMNS), 2.5))


def test_a_target_network_takes_the_statistics_over() -> None:
    X, _ = draw()
    online, target = adapted(X), make(seed=2)
    before = bits(target)
    target.soft_update(online, 0.0)
    assert not target.is_adapted
    target.soft_update(online, 0.25)
    assert statistics(target) == statistics(online)
    assert bits(target) != before
    with refused(ValueError, "other layers"):
        target.soft_update(stoop.Model(make().layers[1:], COLUMNS), 0.5)


def test_batch_norm_is_folded_behind_it() -> None:
    X, y = draw()
    model = stoop.Model(
        [stoop.Normalization(clip=2), stoop.Dense(6), stoop.BatchNorm(), stoop.ReLU(), stoop.Dense(CLASSES)], COLUMNS
    )
    fit(model, X, y)
    np.testing.assert_allclose(model.fold_batch_norm().predict(X), model.predict(X), atol=1e-5)


# ---- derivatives with respect to what was given ----


@pytest.mark.parametrize("clip", [None, 0.8])
@pytest.mark.parametrize("first", ["dense", "relu", "dropout", "residual", "norm"])
def test_gradients_of_raw_inputs(first: str, clip: float | None) -> None:
    X, _ = draw("float64")
    X = X[:19]
    before = {
        "dense": [],
        "relu": [stoop.Tanh()],
        "dropout": [stoop.Dropout(0.3)],
        "residual": [stoop.Residual([stoop.Dense(4, activation="tanh"), stoop.Dense(COLUMNS)])],
        "norm": [stoop.LayerNorm()],
    }
    layers = [stoop.Normalization("robust", clip=clip), *before[first], stoop.Dense(5, activation="tanh")]
    model = stoop.Model([*layers, stoop.Dense(CLASSES)], COLUMNS, dtype="float64")
    model.adapt(draw("float64", 1)[0])
    factors = np.random.default_rng(0).normal(size=(19, CLASSES))
    found, jacobian = model.input_gradient(X, factors), model.jacobian(X)
    trainer = stoop.Trainer(model, optimizer="sgd")
    trainer.forward(X, training=False)
    np.testing.assert_allclose(trainer.backward(factors, input_gradient=True), found, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.einsum("no,noi->ni", factors, jacobian), found, rtol=1e-9, atol=1e-12)
    for column in range(COLUMNS):
        step = np.zeros(COLUMNS)
        step[column] = 1e-5
        rise = ((model.predict(X + step) - model.predict(X - step)) / 2e-5 * factors).sum(1)
        np.testing.assert_allclose(found[:, column], rise, rtol=1e-6, atol=1e-8)


def test_the_gradient_of_a_training_pass_is_of_raw_inputs_too() -> None:
    X, _ = draw()
    layers = [stoop.Dropout(0.5), stoop.Dense(CLASSES)]
    model = stoop.Model([stoop.Normalization(clip=0.5), *layers], COLUMNS, dtype="float64")
    model.adapt(X)
    trainer = stoop.Trainer(model, optimizer="sgd")
    out = trainer.forward(X)
    found = trainer.backward(np.ones_like(out), input_gradient=True)
    z = (X.astype(float) - X.mean(0, dtype=float)) / X.std(0, dtype=float)
    slope = (1 + (z / 0.5) ** 2) ** -1.5 / X.std(0, dtype=float)
    kept = found != 0
    assert 0.3 < kept.mean() < 0.7
    whole = 2 * slope * model.parameters()["2.weight"].sum(1)
    np.testing.assert_allclose(found[kept], whole[kept], rtol=1e-6)


def test_gradcheck_passes() -> None:
    X, y = draw("float64")
    for model in (adapted(X, stoop.Normalization(clip=2)), make(stoop.Normalization(clip=2))):
        before = model.is_adapted
        assert stoop.gradcheck(model, "softmax_cross_entropy", X[:20], y[:20]).passed
        assert model.is_adapted == before


# ---- many models ----


@pytest.mark.parametrize("rows", [3, 8, 200])
@pytest.mark.parametrize("stored", STORED)
def test_members_have_statistics_of_their_own(stored: str, rows: int) -> None:
    X, _ = draw(stored)
    kinds = [None, stoop.Normalization("minmax"), stoop.Normalization(clip=0.5), None, stoop.Normalization("robust")]
    members = [adapted(X[: 100 + i], layer, seed=i) for i, layer in enumerate(kinds)]
    members.append(stoop.Model([stoop.Dense(CLASSES)], COLUMNS))
    members.append(adapted(X[:100], seed=9))  # its statistics are those of the first
    members.append(members[-1].copy())
    found = stoop.Ensemble(members).predict(X[:rows])
    for i, member in enumerate(members):
        assert found[i].tobytes() == member.predict(X[:rows]).tobytes(), i


def test_an_ensemble_takes_missing_values_if_all_members_do() -> None:
    X, _ = draw()
    takes = [adapted(X, stoop.Normalization(missing="mean"), seed=seed) for seed in (1, 2)]
    X[4, 1] = np.nan
    assert np.isfinite(stoop.Ensemble(takes).predict(X)).all()
    with refused(ValueError, "NaN at row 4, column 1"):
        stoop.Ensemble([*takes, adapted(draw()[0])]).predict(X)


# ---- files larger than memory ----


@pytest.mark.parametrize("stored", STORED)
def test_a_memory_map_is_the_same(stored: str, tmp_path: Path) -> None:
    X, y = draw(stored)
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for kind in ("standard", "robust", "minmax"):
        layer = stoop.Normalization(kind)
        assert statistics(adapted(mapped, layer)) == statistics(adapted(X, layer))
        a, b = make(layer), make(layer)
        fit(a, X, y, validation_data=(X, y))
        fit(b, mapped, y, validation_data=(mapped, y))
        assert bits(a) == bits(b)
        assert a.predict(mapped).tobytes() == a.predict(X).tobytes()
