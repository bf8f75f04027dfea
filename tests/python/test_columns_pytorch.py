"""The Columns layer against PyTorch: nn.Embedding with SGD, SparseAdam and Adam, encodings of rtdl_num_embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop
from stoop import optimizers

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
rtdl = pytest.importorskip("rtdl_num_embeddings", reason="rtdl_num_embeddings is not installed")

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)  # that of the package's buffers
Array = npt.NDArray[Any]
CODES, DIM, BATCH = 40, 6, 32
EPS = 1e-20  # SparseAdam adds it before the bias of the second moment is corrected


def draw(rows: int, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.standard_normal(rows), rng.gamma(2.0, 3.0, rows), rng.integers(0, 5, rows) / 4])


def looking(layer: stoop.Columns, train: Array, columns: int) -> stoop.Model:
    """A model whose outputs are the encoded columns."""
    width = layer.output_width(columns)
    model = stoop.Model([layer, stoop.Dense(width, kernel_init="zeros")], columns, seed=2, dtype="float64")
    np.fill_diagonal(model.parameters()["1.weight"], 1)
    model.adapt(train)
    return model


@pytest.mark.parametrize("bins", [2, 7, 48])
def test_bins_and_encoding_are_those_of_the_package(bins: int) -> None:
    train, X = draw(400, 0), draw(100, 1) * 1.5 - 0.2
    edges = rtdl.compute_bins(torch.from_numpy(train), bins)
    expected = rtdl.PiecewiseLinearEncoding(edges)(torch.from_numpy(X)).numpy()
    found = looking(stoop.Columns(bins=bins), train, 3).predict(X)
    used = np.concatenate([np.arange(bins) < len(each) - 1 for each in edges])
    assert not found[:, ~used].any()
    np.testing.assert_allclose(found[:, used], expected, rtol=1e-10, atol=1e-10)


def test_periodic_columns_are_those_of_the_package() -> None:
    X = draw(100, 0)
    layer = stoop.Columns(encoding="periodic", frequencies=9, frequency_scale=0.7, embedding_dim=DIM, clip=None)
    model = looking(layer, X, 3)
    twin = rtdl.PeriodicEmbeddings(3, DIM, n_frequencies=9, frequency_init_scale=0.7, lite=False).double()
    parameters = model.parameters()
    with torch.no_grad():
        twin.periodic.weight.copy_(torch.from_numpy(parameters["0.frequencies"].copy()))
        twin.linear.weight.copy_(torch.from_numpy(parameters["0.weight"].reshape(3, 18, DIM).copy()))
        twin.linear.bias.copy_(torch.from_numpy(parameters["0.bias"].copy()))
    z = torch.from_numpy((X - model.buffers()["0.shift"]) * model.buffers()["0.scale"])
    out = twin(z).flatten(1)
    np.testing.assert_allclose(model.predict(X), out.detach().numpy(), rtol=1e-12, atol=1e-12)
    y = np.random.default_rng(3).standard_normal(out.shape)
    ((out - torch.from_numpy(y)) ** 2).mean().backward()
    found = stoop.Trainer(model, loss="mse").loss_and_grad(X, y)[1]
    for name, gradient in (
        ("0.frequencies", twin.periodic.weight.grad),
        ("0.weight", twin.linear.weight.grad.flatten(0, 1)),
        ("0.bias", twin.linear.bias.grad),
    ):
        np.testing.assert_allclose(found[name], gradient.numpy(), rtol=1e-9, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("bins", [2, 7, 48])
def test_linear_ladders_are_those_of_the_package(bins: int) -> None:
    train, X = draw(400, 0), draw(100, 1) * 1.5 - 0.2  # the last column has fewer bins
    layer = stoop.Columns(encoding="ple_linear", bins=bins, embedding_dim=DIM, clip=None)
    model = looking(layer, train, 3)
    parameters, buffers = model.parameters(), model.buffers()
    parameters["0.weight"][:] = np.random.default_rng(2).standard_normal((3 * bins, DIM))
    edges = rtdl.compute_bins(torch.from_numpy((train - buffers["0.shift"]) * buffers["0.scale"]), bins)
    twin = rtdl.PiecewiseLinearEmbeddings(edges, DIM, activation=False, version="B").double()
    own = parameters["0.weight"].reshape(3, bins, DIM)
    most = twin.linear.weight.shape[1]  # the last bin of each column is at the end, and zeros are before it
    with torch.no_grad():
        twin.linear0.weight.copy_(torch.from_numpy(parameters["0.linear"].copy()))
        twin.linear0.bias.copy_(torch.from_numpy(parameters["0.bias"].copy()))
        for column, each in enumerate(edges):
            twin.linear.weight[column, : len(each) - 2] = torch.from_numpy(own[column, : len(each) - 2].copy())
            twin.linear.weight[column, -1] = torch.from_numpy(own[column, len(each) - 2].copy())
    z = torch.from_numpy((X - buffers["0.shift"]) * buffers["0.scale"])
    out = twin(z).flatten(1)
    np.testing.assert_allclose(model.predict(X), out.detach().numpy(), rtol=1e-10, atol=1e-10)
    y = np.random.default_rng(3).standard_normal(out.shape)
    ((out - torch.from_numpy(y)) ** 2).mean().backward()
    found = stoop.Trainer(model, loss="mse").loss_and_grad(X, y)[1]
    close = {"rtol": 1e-10, "atol": 1e-10}
    np.testing.assert_allclose(found["0.linear"], twin.linear0.weight.grad.numpy(), **close)
    np.testing.assert_allclose(found["0.bias"], twin.linear0.bias.grad.numpy(), **close)
    of_weight = found["0.weight"].reshape(3, bins, DIM)
    for column, each in enumerate(edges):
        gradient = twin.linear.weight.grad[column].numpy()
        last = len(each) - 2
        np.testing.assert_allclose(of_weight[column, :last], gradient[:last], **close)
        np.testing.assert_allclose(of_weight[column, last], gradient[most - 1], **close)
        assert not of_weight[column, last + 1 :].any()


class Twin(torch.nn.Module):
    """The network of a table and two products, with the parameters of a model."""

    def __init__(self, model: stoop.Model, *, sparse: bool) -> None:
        super().__init__()
        values = {name: torch.from_numpy(array.copy()) for name, array in model.parameters().items()}
        self.table = torch.nn.Embedding.from_pretrained(values.pop("0.embedding"), freeze=False, sparse=sparse)
        self.rest = torch.nn.ParameterDict({name.replace(".", "_"): value for name, value in values.items()})

    def forward(self, codes: Any) -> Any:
        h = torch.tanh(self.table(codes) @ self.rest["1_weight"] + self.rest["1_bias"])
        return h @ self.rest["2_weight"] + self.rest["2_bias"]


@pytest.mark.parametrize("name", ["sgd", "lazy sgd", "adam", "lazy adam"])
def test_tables_are_trained_as_those_of_pytorch(name: str) -> None:
    lazy, adam = name.startswith("lazy"), name.endswith("adam")
    layer = stoop.Columns({0: CODES - 2}, embedding_dim=DIM, lazy=lazy)
    model = stoop.Model([layer, stoop.Dense(8, activation="tanh"), stoop.Dense(3)], 1, seed=4, dtype="float64")
    twin = Twin(model, sparse=lazy)
    table, rest = [twin.table.weight], list(twin.rest.values())
    if adam:
        sparse = torch.optim.SparseAdam if lazy else torch.optim.Adam
        steps = [sparse(table, lr=0.05, eps=EPS), torch.optim.Adam(rest, lr=0.05, eps=EPS)]
    else:
        steps = [torch.optim.SGD(table, lr=0.2), torch.optim.SGD(rest, lr=0.2)]
    rng = np.random.default_rng(0)
    codes, y = rng.integers(0, CODES - 2, 12 * BATCH), rng.integers(0, 3, 12 * BATCH)
    optimizer = optimizers.Adam(0.05, eps=EPS) if adam else optimizers.SGD(0.2)
    trainer = stoop.Trainer(model, optimizer=optimizer)
    trainer.fit(codes[:, None].astype(np.float64), y, epochs=1, batch_size=BATCH, shuffle=False, verbose=0)
    for start in range(0, len(codes), BATCH):
        rows = slice(start, start + BATCH)
        for step in steps:
            step.zero_grad()
        outputs = twin(torch.from_numpy(codes[rows]))
        torch.nn.functional.cross_entropy(outputs, torch.from_numpy(y[rows])).backward()
        for step in steps:
            step.step()
    found = model.parameters()
    np.testing.assert_allclose(found["0.embedding"], twin.table.weight.detach().numpy(), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(found["1.weight"], twin.rest["1_weight"].detach().numpy(), rtol=1e-9, atol=1e-11)
