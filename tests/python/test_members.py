"""Layers of members: against NumPy, as whole models, and what they say together."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import reference_members
import reference_training
import stoop
from helpers import DTYPES, bits, make_data, refused

FEATURES, OUTPUTS, K = 7, 3, 4

MODELS: dict[str, list[Any]] = {
    "mini": [stoop.Members(K), stoop.Dense(9, "relu"), stoop.Dense(8, "relu"), stoop.MemberDense(OUTPUTS)],
    "full": [
        stoop.MemberDense(9, "relu", shared=True, members=K),
        stoop.MemberDense(8, "relu", shared=True),
        stoop.MemberDense(OUTPUTS),
    ],
    "packed": [stoop.MemberDense(9, "tanh", members=K), stoop.MemberDense(8, "tanh"), stoop.MemberDense(OUTPUTS)],
    "shared head": [stoop.FeatureScale(), stoop.Members(K, init="normal", bias=True), stoop.Dense(OUTPUTS)],
    "late": [
        stoop.Dense(6, "tanh"),
        stoop.Members(K, bias=True),
        stoop.Dense(5, "relu"),
        stoop.Members(K, init="normal"),
        stoop.MemberDense(70, "relu", use_bias=False),
        stoop.Dense(OUTPUTS),
    ],
    "one": [stoop.Members(1), stoop.Dense(5, "tanh"), stoop.MemberDense(OUTPUTS)],
}
# What NumPy does not know here.
OTHERS: dict[str, list[Any]] = {
    "norms": [
        stoop.Members(K),
        stoop.Dense(9),
        stoop.BatchNorm(),
        stoop.ReLU(),
        stoop.MemberDense(8, "gelu"),
        stoop.LayerNorm(),
        stoop.MemberDense(OUTPUTS),
    ],
    "residual": [
        stoop.Members(K),
        stoop.Residual([stoop.Dense(8, "tanh"), stoop.MemberDense(FEATURES, shared=True)]),
        stoop.Residual([stoop.MemberDense(9, "silu"), stoop.Dense(5)]),
        stoop.MemberDense(OUTPUTS),
    ],
    "dropout": [stoop.Members(K), stoop.Dropout(0.2), stoop.Dense(9, "relu"), stoop.Dropout(0.3), stoop.MemberDense(3)],
}
EVERY = {**MODELS, **OTHERS}
LOSS_OF = {"softmax": "softmax_cross_entropy", "sigmoid": "binary_cross_entropy", "identity": "mse"}


def make_model(name: str, dtype: str = "float64", **settings: Any) -> stoop.Model:
    """A model whose biases are no zeros."""
    model = stoop.Model(EVERY[name], FEATURES, dtype=dtype, seed=3, **settings)
    rng = np.random.default_rng(5)
    for key, value in model.parameters().items():
        if key.endswith(("bias", "scale")):
            value[...] += 0.3 * rng.standard_normal(value.shape)
    return model


def data(loss: str = "softmax_cross_entropy", n: int = 37, dtype: str = "float64") -> tuple[npt.NDArray, npt.NDArray]:
    X, y = make_data(loss, n, FEATURES, OUTPUTS, dtype, seed=3)
    if loss == "binary_cross_entropy":
        y = np.random.default_rng(4).integers(2, size=(n, OUTPUTS)).astype(dtype)
    return X, y


def close(a: Any, b: Any, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


# ---- against NumPy ----


@pytest.mark.parametrize("output", LOSS_OF)
@pytest.mark.parametrize("name", MODELS)
def test_forward_and_gradients(name: str, output: str) -> None:
    loss = LOSS_OF[output]
    model, (X, y) = make_model(name, output=output), data(loss)
    twin = reference_members.Network(EVERY[name], model.parameters())
    close(model(X), twin.predict(X, output))
    value, grads = stoop.Trainer(model, loss=loss).loss_and_grad(X, y)
    expected, expected_grads = twin.loss_and_grad(loss, X, y)
    close(value, expected)
    assert set(grads) == set(expected_grads)
    for key, grad in expected_grads.items():
        assert grads[key].shape == grad.shape
        close(grads[key], grad)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", ["mini", "full", "packed"])
def test_twenty_steps(name: str, optimizer: str) -> None:
    """The curve of the loss follows that of NumPy."""
    model, (X, y) = make_model(name), data()
    rate = 0.05 if optimizer == "sgd" else 0.01
    ours = {"sgd": stoop.optimizers.SGD, "adam": stoop.optimizers.Adam}[optimizer](rate)
    trainer = stoop.Trainer(model, optimizer=ours)
    twin = reference_members.Network(EVERY[name], model.parameters())
    theirs = reference_training.Optimizer(optimizer, rate)
    for _ in range(20):
        expected, grads = twin.loss_and_grad("softmax_cross_entropy", X, y)
        theirs.step(twin.parameters, grads)
        close(trainer.step(X, y), expected, 1e-10)
    for key, value in model.parameters().items():
        close(value, twin.parameters[key], 1e-9)


def test_weights_decay_but_scales_do_not() -> None:
    model, (X, y) = make_model("full"), data()
    value, grads = stoop.Trainer(model, l2=0.5, l1=0.1).loss_and_grad(X, y)
    plain, plain_grads = stoop.Trainer(model).loss_and_grad(X, y)
    weights = {key: w for key, w in model.parameters().items() if key.endswith("weight")}
    close(value - plain, sum(0.25 * np.sum(w**2) + 0.1 * np.sum(abs(w)) for w in weights.values()))
    for key, grad in grads.items():
        added = 0.5 * weights[key] + 0.1 * np.sign(weights[key]) if key in weights else 0.0
        close(grad - plain_grads[key], added)


# ---- gradients, second order ----


@pytest.mark.parametrize("output", LOSS_OF)
@pytest.mark.parametrize("name", EVERY)
def test_gradcheck(name: str, output: str) -> None:
    loss = LOSS_OF[output]
    model, (X, y) = make_model(name), data(loss)
    result = stoop.gradcheck(model, loss, X, y)
    assert result.passed, result


@pytest.mark.parametrize("output", LOSS_OF)
@pytest.mark.parametrize("name", EVERY)
def test_gradient_of_the_input(name: str, output: str) -> None:
    """It is that of what the members say together, which is what differences of predictions give."""
    model, (X, _) = make_model(name, output=output), data(n=11)
    weights = np.random.default_rng(0).standard_normal((11, OUTPUTS))
    grad, eps = model.input_gradient(X, weights), 1e-6
    for column in range(FEATURES):
        step = eps * np.eye(FEATURES)[column]
        expected = ((model(X + step) - model(X - step)) * weights).sum(axis=1) / (2 * eps)
        np.testing.assert_allclose(grad[:, column], expected, rtol=1e-5, atol=1e-8)
    close(np.einsum("no,noi->ni", weights, model.jacobian(X)), grad)


@pytest.mark.parametrize("name", [name for name in EVERY if name != "dropout"])
def test_hessian_vector_product(name: str) -> None:
    model, (X, y) = make_model(name), data()
    trainer = stoop.Trainer(model)
    rng = np.random.default_rng(1)
    direction = {key: rng.standard_normal(value.shape) for key, value in model.parameters().items()}
    product, eps = trainer.hessian_vector_product(X, y, direction), 1e-6
    grads = []
    for sign in (1.0, -1.0):
        for key, value in model.parameters().items():
            value[...] += sign * eps * direction[key]
        grads.append(trainer.loss_and_grad(X, y)[1])
        for key, value in model.parameters().items():
            value[...] -= sign * eps * direction[key]
    for key, value in product.items():
        np.testing.assert_allclose(value, (grads[0][key] - grads[1][key]) / (2 * eps), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("optimizer", [stoop.optimizers.LBFGS(), stoop.optimizers.NewtonCG()])
def test_full_batch(optimizer: Any) -> None:
    model, (X, y) = make_model("full"), data()
    trainer = stoop.Trainer(model, optimizer=optimizer, l2=1e-3)
    history = trainer.fit(X, y, epochs=30)
    assert history["loss"][-1] < 0.6 * history["loss"][0]


# ---- what they say together ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output", LOSS_OF)
def test_extreme_logits(output: str, dtype: str) -> None:
    """Logits of 1e4 and beyond give finite outputs; the members are the columns of a matrix here."""
    logits = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -2.0], [-1e4, 1e4, 1e4], [30.0, -30.0, 1e30]], dtype)
    model = stoop.Model([stoop.Members(4), stoop.MemberDense(3, use_bias=True)], 1, dtype=dtype, output=output)
    for value in model.parameters().values():
        value[...] = 0.0
    model.parameters()["1.bias"][...] = logits
    got = model(np.zeros((1, 1), dtype))[0].astype(np.float64)
    wide = logits.astype(np.longdouble)
    if output == "identity":
        expected = wide.mean(axis=0)
    else:
        yes = -np.logaddexp(0, -wide)
        no = -np.logaddexp(0, wide)
        if output == "softmax":
            shifted = wide - wide.max(axis=1, keepdims=True)
            yes = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        expected = np.logaddexp.reduce(yes, axis=0) - np.log(np.longdouble(4))
        if output == "sigmoid":
            expected = np.logaddexp.reduce(yes, axis=0) - np.logaddexp.reduce(no, axis=0)
    np.testing.assert_allclose(got, expected.astype(np.float64), rtol=2e-6 if dtype == "float32" else 1e-14, atol=1e-6)


@pytest.mark.parametrize("output", LOSS_OF)
def test_evaluation_sees_what_they_say_together(output: str) -> None:
    loss = LOSS_OF[output]
    model, (X, y) = make_model("mini", output=output), data(loss)
    trainer = stoop.Trainer(model, loss=loss)
    import reference

    expected = reference.mean_loss(loss, model(X), y)[0]
    assert trainer.evaluate(X, y)["loss"] == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(trainer.losses(X, y).mean(), expected, rtol=1e-12)
    assert trainer.loss_and_grad(X, y)[0] != pytest.approx(expected, rel=1e-3)  # that of each of them


def test_probabilities_are_the_mean_of_theirs() -> None:
    model, (X, y) = make_model("mini"), data()
    stoop.Trainer(model).fit(X, y, epochs=1)
    assert model.output == "softmax"
    outputs = reference_members.Network(MODELS["mini"], model.parameters()).forward(X)[0]
    p = np.exp(outputs) / np.exp(outputs).sum(axis=2, keepdims=True)
    close(model.predict_proba(X), p.mean(axis=1))


def test_the_output_decides_at_any_time() -> None:
    model, (X, _) = make_model("mini"), data()
    twin = reference_members.Network(MODELS["mini"], model.parameters())
    for output in ("softmax", "identity", "sigmoid", "softmax"):
        model.output = output
        close(model(X), twin.predict(X, output))


# ---- bits ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EVERY)
def test_same_bits_for_any_number_of_threads(name: str, dtype: str) -> None:
    X, y = data(n=260, dtype=dtype)
    results = []
    for threads in (1, 2, 3):
        model = make_model(name, dtype)
        trainer = stoop.Trainer(model, optimizer=stoop.optimizers.Adam(0.01), num_threads=threads, seed=1)
        history = trainer.fit(X, y, epochs=2, batch_size=101, validation_data=(X, y))
        results.append((bits(model), history["loss"], history["val_loss"]))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output", LOSS_OF)
@pytest.mark.parametrize("name", EVERY)
def test_same_bits_for_any_number_of_rows(name: str, output: str, dtype: str) -> None:
    model = make_model(name, dtype, output=output)
    X = data(n=1000, dtype=dtype)[0]
    whole = model(X)
    for rows in (1, 3, 8, 9):
        for threads in (1, 2, 3):
            with stoop.num_threads(threads):
                for _ in range(3):  # the team is awake by then
                    assert model(X[5 : 5 + rows]).tobytes() == whole[5 : 5 + rows].tobytes()


# ---- models as a whole ----


@pytest.mark.parametrize("name", EVERY)
def test_files_and_copies(name: str, tmp_path: Path) -> None:
    model, (X, y) = make_model(name), data()
    stoop.Trainer(model).fit(X, y, epochs=1)
    model.save(tmp_path / "m.safetensors")
    for again in (stoop.load_model(tmp_path / "m.safetensors"), model.copy(), pickle.loads(pickle.dumps(model))):
        assert again.layers == model.layers
        assert again(X).tobytes() == model(X).tobytes()


def test_checkpoint(tmp_path: Path) -> None:
    X, y = data()
    trainers = []
    for _ in range(2):
        trainers.append(stoop.Trainer(make_model("full"), optimizer="adam", seed=4))
    trainers[0].fit(X, y, epochs=4, batch_size=8)
    trainers[1].fit(X, y, epochs=2, batch_size=8)
    trainers[1].save_checkpoint(tmp_path / "c.safetensors")
    again = stoop.load_checkpoint(tmp_path / "c.safetensors")
    again.fit(X, y, epochs=2, batch_size=8)
    assert bits(again.model) == bits(trainers[0].model)


def test_fit_many_and_ensemble() -> None:
    X, y = data()
    alone = [stoop.Trainer(make_model(name), seed=2) for name in ("mini", "full")]
    many = [stoop.Trainer(make_model(name), seed=2) for name in ("mini", "full")]
    for trainer in alone:
        trainer.fit(X, y, epochs=3)
    stoop.fit_many(many, X, y, epochs=3)
    assert [bits(t.model) for t in many] == [bits(t.model) for t in alone]
    ensemble = stoop.Ensemble([trainer.model for trainer in alone])
    close(ensemble.predict_proba(X), np.mean([t.model.predict_proba(X) for t in alone], axis=0))


def test_pieces_come_to_step() -> None:
    """`forward` gives what each member says, `backward` takes the gradient of each."""
    X, y = data()
    whole, parts = (stoop.Trainer(make_model("mini"), optimizer="adam") for _ in range(2))
    whole.step(X, y)
    outputs = parts.forward(X)
    assert outputs.shape == (len(X), K, OUTPUTS)
    p = np.exp(outputs) / np.exp(outputs).sum(axis=2, keepdims=True)
    gradient = (p - np.eye(OUTPUTS)[y][:, None]) / (len(X) * K)
    assert parts.backward(gradient, input_gradient=True).shape == X.shape
    parts.apply()
    for key, value in whole.model.parameters().items():
        close(value, parts.model.parameters()[key], 1e-6)
    parts.forward(X)
    with refused(ValueError, "Trainer.backward", "shape", "4, 3"):
        parts.backward(gradient[:, 0])


def test_each_member_drops_others() -> None:
    model = stoop.Model([stoop.Members(K, init="ones"), stoop.Dropout(0.5), stoop.Dense(OUTPUTS)], FEATURES)
    outputs = stoop.Trainer(model).forward(data(dtype="float32")[0])
    assert all(not np.array_equal(outputs[:, 0], outputs[:, member]) for member in range(1, K))


def test_max_norm_limits_each_member() -> None:
    model, (X, y) = make_model("packed"), data()
    stoop.Trainer(model, max_norm=0.5).fit(X, y, epochs=2)
    for key, value in model.parameters().items():
        if key.endswith("weight"):
            norms = np.linalg.norm(value, axis=1)
            assert norms.shape[0] == K
            assert norms.max() <= 0.5 + 1e-12


def test_first_values() -> None:
    signs = stoop.Model([stoop.Members(64), stoop.Dense(2)], 50, seed=1).parameters()["0.scale"]
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert abs(signs.mean()) < 0.1
    normal = stoop.Model([stoop.Members(64, init="normal"), stoop.Dense(2)], 50).parameters()["0.scale"]
    assert normal.std() == pytest.approx(1.0, abs=0.05)
    assert abs(normal.mean()) < 0.05
    own = stoop.Model([stoop.MemberDense(30, "relu", members=8)], 40).parameters()["0.weight"]
    assert own.shape == (8, 40, 30)
    assert own.std(axis=(1, 2)) == pytest.approx(np.sqrt(2 / 40), rel=0.1)
    assert len({member.tobytes() for member in own}) == 8
    full = stoop.Model(MODELS["full"], FEATURES).parameters()
    assert set(np.unique(full["0.input_scale"])) == {-1.0, 1.0}
    assert np.all(full["0.output_scale"] == 1.0)
    assert np.all(full["1.input_scale"] == 1.0)


def test_frozen() -> None:
    model, (X, y) = make_model("full"), data()
    layers = [
        stoop.Members(K, bias=True, trainable=False),
        stoop.MemberDense(5, "relu", shared=True, trainable=False),
        stoop.MemberDense(6, trainable=False),
        stoop.MemberDense(OUTPUTS),
    ]
    model = stoop.Model(layers, FEATURES, dtype="float64")
    before = model.state_dict()
    stoop.Trainer(model, l2=0.1).fit(X, y, epochs=2)
    changed = {key for key, value in model.state_dict().items() if not np.array_equal(value, before[key])}
    assert changed == {"3.weight", "3.bias"}


def test_summary() -> None:
    text = make_model("mini").summary()
    assert f"(n, {K}, 9)" in text
    assert f"{2 * K * FEATURES * 9:,}" in text
    assert len(make_model("mini").matrix_products) == 3 * K


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([stoop.MemberDense(3)], ["MemberDense", "layer 0", "without members", "Members"]),
        ([stoop.Members(4), stoop.Members(5), stoop.Dense(1)], ["Members", "layer 1", "k=5", "4"]),
        ([stoop.Members(4), stoop.MemberDense(3, members=4)], ["MemberDense", "members=4", "leave it out"]),
        ([stoop.Members(4), stoop.MemberDense(3, scale_init="ones")], ["MemberDense", "scale_init", "shared"]),
        ([stoop.Residual([stoop.Members(4), stoop.Dense(7)]), stoop.Dense(1)], ["Residual", "layer 0", "members"]),
        ([stoop.Members(4), stoop.FeatureScale(), stoop.Dense(1)], ["FeatureScale", "layer 1", "Members"]),
        ([stoop.Members(4)], ["Dense"]),
    ],
)
def test_models_that_cannot_be(layers: list[Any], words: list[str]) -> None:
    with refused(ValueError, *words):
        stoop.Model(layers, FEATURES)


@pytest.mark.parametrize("k", [0, 1025, -3])
def test_limits(k: int) -> None:
    with refused(ValueError, "Members", "k", "1024"):
        stoop.Members(k)
    with refused(ValueError, "MemberDense", "members", "1024"):
        stoop.MemberDense(2, members=k)


def test_unknown_start() -> None:
    with refused(ValueError, "Members", "init", "random_signs"):
        stoop.Members(2, init="random_sign")


def test_fold_batch_norm() -> None:
    layers = [stoop.Members(K), stoop.Dense(9), stoop.BatchNorm(), stoop.ReLU(), stoop.MemberDense(OUTPUTS)]
    model, (X, y) = stoop.Model(layers, FEATURES, dtype="float64"), data()
    stoop.Trainer(model).fit(X, y, epochs=2, batch_size=10)
    folded = model.fold_batch_norm()
    assert len(folded.layers) == 4
    close(folded(X), model(X))


# ---- after Columns ----


def after_columns(*more: Any) -> stoop.Model:
    """Two columns of numbers in 4 bins around a category of 12 codes, whose embedding has 5 columns."""
    first = stoop.Columns({1: 12}, bins=4, embedding_dim=5)
    return stoop.Model([first, *more], 3, dtype="float64", seed=2)


@pytest.mark.parametrize("layer", [stoop.Members(K), stoop.MemberDense(6, shared=True, members=K)])
def test_columns_of_one_source_begin_with_the_same_number(layer: Any) -> None:
    model = after_columns(layer, stoop.Dense(2))
    scale = model.parameters()["1.scale" if isinstance(layer, stoop.Members) else "1.input_scale"]
    assert scale.shape == (K, 13)
    for chunk in np.split(scale, [4, 9], axis=1):
        assert np.all(chunk == chunk[:, :1])
    assert len(np.unique(scale)) == 3 * K
    signs = after_columns(stoop.Members(K, init="random_signs"), stoop.Dense(2)).parameters()["1.scale"]
    assert set(np.unique(signs)) == {-1.0, 1.0}


def test_gradcheck_after_columns() -> None:
    model = after_columns(stoop.Members(K), stoop.Dense(6, "tanh"), stoop.MemberDense(2))
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 3))
    X[:, 1] = rng.integers(12, size=30)
    model.adapt(X)
    assert stoop.gradcheck(model, "softmax_cross_entropy", X, rng.integers(2, size=30)).passed
