"""Members are those of the `tabm` package (Gorishniy, Kotelnikov & Babenko 2025) on PyTorch, with the same weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
tabm = pytest.importorskip("tabm", reason="the tabm package is not installed")

FEATURES, OUTPUTS, K, WIDTH, SAMPLES = 7, 3, 5, 12, 40

LAYERS: dict[str, list[Any]] = {
    "tabm-mini": [
        stoop.Members(K),
        stoop.Dense(WIDTH, "relu"),
        stoop.Dense(WIDTH, "relu"),
        stoop.MemberDense(OUTPUTS),
    ],
    "tabm": [
        stoop.MemberDense(WIDTH, "relu", shared=True, members=K),
        stoop.MemberDense(WIDTH, "relu", shared=True),
        stoop.MemberDense(OUTPUTS),
    ],
    "tabm-packed": [
        stoop.MemberDense(WIDTH, "relu", members=K),
        stoop.MemberDense(WIDTH, "relu"),
        stoop.MemberDense(OUTPUTS),
    ],
}


def make_pair(arch: str) -> tuple[stoop.Model, Any]:
    """A model and its twin with the same weights."""
    torch.manual_seed(0)
    start = {} if arch == "tabm-packed" else {"start_scaling_init": "normal"}
    twin = tabm.TabM.make(
        n_num_features=FEATURES, d_out=OUTPUTS, k=K, n_blocks=2, d_block=WIDTH, dropout=0.0, arch_type=arch, **start
    ).double()
    with torch.no_grad():
        for name, value in twin.named_parameters():
            if name.endswith((".s", ".bias")):  # no ones, no members that are alike
                value.add_(0.3 * torch.randn_like(value))
    model = stoop.Model(LAYERS[arch], FEATURES, dtype="float64")
    parameters = by_our_names(arch, dict(twin.named_parameters()))
    assert set(parameters) == set(model.parameters())
    for name, value in model.parameters().items():
        value[...] = parameters[name].detach().numpy()
    return model, twin


def by_our_names(arch: str, theirs: dict[str, Any]) -> dict[str, Any]:
    names = {"weight": "weight", "bias": "bias", "r": "input_scale", "s": "output_scale"}
    first = 1 if arch == "tabm-mini" else 0
    ours = {}
    for name, value in theirs.items():
        part, *rest = name.removeprefix("backbone.").split(".")
        is_transposed = value.ndim == 2 and rest[-1] == "weight" and part == "blocks"
        if part == "affine":
            ours["0.scale"] = value
        elif part == "output":
            ours[f"{first + 2}.{rest[0]}"] = value
        else:  # blocks.<index>.0.<name>
            ours[f"{first + int(rest[0])}.{names[rest[2]]}"] = value.T if is_transposed else value
    return ours


def data() -> tuple[npt.NDArray, npt.NDArray]:
    rng = np.random.default_rng(3)
    return rng.standard_normal((SAMPLES, FEATURES)), rng.integers(OUTPUTS, size=SAMPLES)


def mean_loss(twin: Any, X: Any, y: Any) -> Any:
    outputs = twin(X)
    return torch.nn.functional.cross_entropy(outputs.flatten(0, 1), y.repeat_interleave(K))


@pytest.mark.parametrize("arch", LAYERS)
def test_forward_and_gradients(arch: str) -> None:
    model, twin = make_pair(arch)
    X, y = data()
    outputs = twin(torch.tensor(X)).detach().numpy()
    trainer = stoop.Trainer(model)
    np.testing.assert_allclose(trainer.forward(X), outputs, rtol=1e-10, atol=1e-10)
    model.output = "softmax"
    p = np.exp(outputs) / np.exp(outputs).sum(axis=2, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(X), p.mean(axis=1), rtol=1e-10)
    model.output = "identity"
    np.testing.assert_allclose(model.predict(X), outputs.mean(axis=1), rtol=1e-10, atol=1e-10)
    loss = mean_loss(twin, torch.tensor(X), torch.tensor(y))
    loss.backward()
    value, grads = trainer.loss_and_grad(X, y)
    assert value == pytest.approx(loss.item(), rel=1e-12)
    theirs = by_our_names(arch, {name: parameter.grad for name, parameter in twin.named_parameters()})
    for name, grad in grads.items():
        np.testing.assert_allclose(grad, theirs[name].numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("arch", LAYERS)
def test_twenty_steps(arch: str, optimizer: str) -> None:
    model, twin = make_pair(arch)
    X, y = data()
    rate = 0.05 if optimizer == "SGD" else 0.01
    theirs = getattr(torch.optim, optimizer)(twin.parameters(), lr=rate)
    trainer = stoop.Trainer(model, optimizer=getattr(stoop.optimizers, optimizer)(rate))
    for _ in range(20):
        theirs.zero_grad()
        loss = mean_loss(twin, torch.tensor(X), torch.tensor(y))
        loss.backward()
        theirs.step()
        assert trainer.step(X, y) == pytest.approx(loss.item(), rel=1e-8)


# ---- with the piecewise-linear embeddings of the package's example ----

BINS, EMBEDDING = 6, 4


def make_example() -> tuple[stoop.Model, Any, Any]:
    """A model that begins with Columns, its twin, and the function from X to the numbers that the twin reads."""
    rtdl = pytest.importorskip("rtdl_num_embeddings", reason="rtdl_num_embeddings is not installed")
    layers = [stoop.Columns(encoding="ple_linear", bins=BINS, embedding_dim=EMBEDDING, clip=None), *LAYERS["tabm-mini"]]
    model = stoop.Model(layers, FEATURES, dtype="float64")
    model.adapt(data()[0])
    shift, scale = model.buffers()["0.shift"], model.buffers()["0.scale"]

    def scaled(X: Any) -> Any:
        return torch.tensor((X - shift) * scale)

    torch.manual_seed(0)
    embeddings = rtdl.PiecewiseLinearEmbeddings(
        rtdl.compute_bins(scaled(data()[0]), BINS), EMBEDDING, activation=False, version="B"
    )
    twin = tabm.TabM.make(
        n_num_features=FEATURES, d_out=OUTPUTS, num_embeddings=embeddings, k=K, n_blocks=2, d_block=WIDTH, dropout=0.0,
        arch_type="tabm-mini",
    ).double()  # fmt: skip
    for name, value in example_names(twin, {name: value.detach() for name, value in twin.named_parameters()}).items():
        if name == "0.weight":
            value = 0.3 * torch.randn_like(value)
            twin.num_module.linear.weight.data[...] = value.reshape(FEATURES, BINS, EMBEDDING)
        model.parameters()[name][...] = value.numpy()
    return model, twin, scaled


def example_names(twin: Any, theirs: dict[str, Any]) -> dict[str, Any]:
    """Values of the twin by the names of the model, whose layers are one further than without Columns."""
    own = {"linear0.weight": "linear", "linear0.bias": "bias", "linear.weight": "weight"}
    embeddings = {key: theirs.pop(f"num_module.{key}") for key in own}
    ours = {f"0.{own[key]}": value.flatten(0, -2) for key, value in embeddings.items()}
    for name, value in by_our_names("tabm-mini", theirs).items():
        place, _, which = name.partition(".")
        ours[f"{int(place) + 1}.{which}"] = value
    return ours


def test_the_example_forward_gradients_and_twenty_steps() -> None:
    model, twin, scaled = make_example()
    X, y = data()
    x, labels = scaled(X), torch.tensor(y)
    trainer = stoop.Trainer(model, optimizer=stoop.optimizers.Adam(0.01))
    np.testing.assert_allclose(trainer.forward(X), twin(x).detach().numpy(), rtol=1e-10, atol=1e-10)
    mean_loss(twin, x, labels).backward()
    grads = trainer.loss_and_grad(X, y)[1]
    theirs = example_names(twin, {name: parameter.grad for name, parameter in twin.named_parameters()})
    assert set(theirs) == set(grads)
    for name, grad in grads.items():
        np.testing.assert_allclose(grad, theirs[name].numpy(), rtol=1e-10, atol=1e-10, err_msg=name)
    optimizer = torch.optim.Adam(twin.parameters(), lr=0.01)
    for _ in range(20):
        optimizer.zero_grad()
        loss = mean_loss(twin, x, labels)
        loss.backward()
        optimizer.step()
        assert trainer.step(X, y) == pytest.approx(loss.item(), rel=1e-8)
