"""Ten steps of training agree with PyTorch. Its weights are (out_features, in_features), ours the transpose."""

from __future__ import annotations

import numpy as np
import pytest

import cases
import crossed
import stoop
from helpers import DTYPES, make_data, relative_error

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import torch_reference  # noqa: E402

torch.set_num_threads(1)  # these models are tiny

FEATURES, HIDDEN, OUTPUTS, BATCH = 9, 21, 4, 40
L2 = 0.01
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def has_twin(kind: str, name: str) -> bool:
    return cases.KINDS[kind][name.split(maxsplit=1)[0]].twin


ACTIVATIONS = {name: layer for name, layer in crossed.activation_layers().items() if has_twin("activation", name)}
LOSSES = {name: case for name, case in crossed.loss_cases().items() if has_twin("loss", name)}
OPTIMIZERS = {name: case for name, case in crossed.optimizer_cases().items() if has_twin("optimizer", name)}
CLASSES = "softmax_cross_entropy of classes"


# Each with each of the others, the third being that which every network has.
COMBINATIONS = list(
    dict.fromkeys(
        [
            *((activation, loss, "sgd momentum=0.9") for activation in ACTIVATIONS for loss in LOSSES),
            *((activation, CLASSES, optimizer) for activation in ACTIVATIONS for optimizer in OPTIMIZERS),
            *(
                ("tanh", loss, optimizer)
                for loss in LOSSES
                for optimizer in OPTIMIZERS
                if crossed.is_steady(loss, optimizer)
            ),
        ]
    )
)


def test_what_is_written_out_is_what_the_cases_say() -> None:
    written = {name for name, case in cases.OPTIMIZERS.items() if case.twin == cases.WRITTEN}
    assert set(torch_reference.OPTIMIZERS) == written


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("activation", "loss", "optimizer"), COMBINATIONS)
def test_ten_steps(activation: str, loss: str, optimizer: str, dtype: str) -> None:
    case = LOSSES[loss]
    outputs = case.outputs(OUTPUTS)
    layers = [stoop.Dense(HIDDEN, activation=ACTIVATIONS[activation]), stoop.Dense(outputs)]
    model = stoop.Model(layers, input_dim=FEATURES, seed=5, dtype=dtype)
    network = torch_reference.Network(model)
    ours = OPTIMIZERS[optimizer].make()
    trainer = stoop.Trainer(model, loss=case.loss, optimizer=ours, l2=L2)
    twin = torch_reference.Trainer(network, case.loss, ours, l2=L2)

    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((10 * BATCH, FEATURES)).astype(dtype), case.draw(rng, 10 * BATCH, outputs)
    y = y if y.dtype.kind == "i" else y.astype(dtype)
    for start in range(0, len(X), BATCH):
        rows = slice(start, start + BATCH)
        assert relative_error(trainer.step(X[rows], y[rows]), twin.step(X[rows], y[rows])) < TOLERANCE[dtype]
    for name, value in model.parameters().items():
        assert relative_error(value, network.parameters[name].detach().numpy().T) < TOLERANCE[dtype], name


FACTORS = [
    stoop.Residual([stoop.Dense(12, "tanh", lr_scale=0.3, decay_scale=0.4), stoop.LayerNorm(lr_scale=2)], lr_scale=0.5),
    stoop.Dense(HIDDEN, "tanh", lr_scale=0, decay_scale=2),
    stoop.Dense(OUTPUTS, decay_scale=0),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_parameter_groups(optimizer: str, dtype: str) -> None:
    model = stoop.Model(FACTORS, input_dim=FEATURES, seed=5, dtype=dtype)
    ours, network = OPTIMIZERS[optimizer].make(), torch_reference.Network(model)
    trainer = stoop.Trainer(model, optimizer=ours, l2=L2)
    twin = torch_reference.Trainer(network, stoop.losses.SoftmaxCrossEntropy(), ours, l2=L2)
    X, y = make_data("softmax_cross_entropy", 10 * BATCH, FEATURES, OUTPUTS, dtype)
    for start in range(0, len(X), BATCH):
        rows = slice(start, start + BATCH)
        assert relative_error(trainer.step(X[rows], y[rows]), twin.step(X[rows], y[rows])) < TOLERANCE[dtype]
    for name, value in model.parameters().items():
        assert relative_error(value, network.parameters[name].detach().numpy().T) < TOLERANCE[dtype], name


BATCH_NORMS = {
    "first": [stoop.BatchNorm(), stoop.Dense(33), stoop.Dense(OUTPUTS)],
    "twice": [stoop.Dense(17), stoop.BatchNorm(), stoop.BatchNorm(), stoop.Dense(OUTPUTS)],
    "around an activation": [stoop.Dense(50, activation="tanh"), stoop.BatchNorm(), stoop.GELU(), stoop.Dense(OUTPUTS)],
    "in a residual block": [
        stoop.Dense(20),
        stoop.Residual([stoop.BatchNorm(), stoop.ReLU(), stoop.Dense(20), stoop.BatchNorm()]),
        stoop.BatchNorm(),
        stoop.LeakyReLU(0.1),
        stoop.Dense(OUTPUTS),
    ],
    "between large weights": [
        stoop.Dense(300),
        stoop.BatchNorm(),
        stoop.ReLU(),
        stoop.Dense(300, activation="tanh"),
        stoop.BatchNorm(),
        stoop.Dense(OUTPUTS),
    ],
}


@pytest.mark.parametrize("batch", [9, 128, 129, 300, 1025])  # around where groups of rows change in size
@pytest.mark.parametrize("place", BATCH_NORMS)
def test_batch_norm(place: str, batch: int) -> None:
    model = stoop.Model(BATCH_NORMS[place], input_dim=FEATURES, seed=5, dtype="float64")
    network = torch_reference.Network(model)
    loss, optimizer = stoop.losses.SoftmaxCrossEntropy(), stoop.optimizers.SGD(0.02, momentum=0.9)
    twin = torch_reference.Trainer(network, loss, optimizer, l2=L2)
    X, y = make_data("softmax_cross_entropy", 3 * batch, FEATURES, OUTPUTS, "float64")
    X += 100.0  # of which the statistics must lose nothing
    expected = [twin.step(X[i : i + batch], y[i : i + batch]) for i in range(0, len(X), batch)]
    trainer = stoop.Trainer(model, loss=loss, optimizer=optimizer, l2=L2)
    history = trainer.fit(X, y, epochs=1, batch_size=batch, shuffle=False, verbose=0)
    assert relative_error(history["loss"][0], np.mean(expected)) < 1e-9
    for name, value in model.parameters().items():
        want = network.parameters[name].detach().numpy()
        # Not relative: the shift of a batch norm before another has no gradient but rounding.
        np.testing.assert_allclose(value, want.T if value.ndim == 2 else want, rtol=0, atol=1e-10, err_msg=name)
    outputs = network.forward(torch.from_numpy(X), training=False).detach().numpy()
    assert relative_error(model.predict(X), outputs) < 1e-9


SCHEDULES = {name: each for name, each in crossed.calls("schedule").items() if torch_reference.has_scheduler(each)}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name: str) -> None:
    expected = torch_reference.torch_rates(SCHEDULES[name], 60)
    np.testing.assert_allclose(SCHEDULES[name].values(60), expected, rtol=1e-10, atol=1e-14)


def test_tensors_are_accepted() -> None:
    model = stoop.Model([stoop.Dense(3)], input_dim=4)
    X = torch.linspace(-1, 1, 20).reshape(5, 4)
    np.testing.assert_array_equal(model(X), model(X.numpy()))
    assert stoop.Trainer(model).step(X, torch.tensor([0, 1, 2, 0, 1])) > 0
