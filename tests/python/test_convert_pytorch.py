"""Networks of PyTorch and Keras become models that predict the same, by their weights and by ONNX files.

`make test-pytorch` installs them.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop
from stoop import convert
from stoop.export import from_onnx

torch = pytest.importorskip("torch")
nn = torch.nn

Array = npt.NDArray[Any]


class Block(nn.Module):  # type: ignore[misc]
    def __init__(self, inner: Any, projection: Any = None) -> None:
        super().__init__()
        self.inner, self.projection = inner, projection

    def forward(self, x: Any) -> Any:
        return (x if self.projection is None else self.projection(x)) + self.inner(x)


def network(dtype: Any) -> Any:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(6, 8),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Dropout(0.3),
        Block(nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8), nn.GELU())),
        Block(nn.Linear(8, 5), nn.Linear(8, 5, bias=False)),
        nn.Linear(5, 4, bias=False),
        nn.BatchNorm1d(4, affine=False),
        nn.SiLU(),
        nn.Linear(4, 3),
    ).to(dtype)
    with torch.no_grad():
        for _ in range(20):
            module(torch.randn(32, 6, dtype=dtype) * 2 + 1)
    return module.eval()


LAYERS = [
    stoop.Dense(8),
    stoop.BatchNorm(),
    stoop.ReLU(),
    stoop.Dropout(0.3),
    stoop.Residual([stoop.LayerNorm(), stoop.Dense(8, "gelu")]),
    stoop.Residual([stoop.Dense(5)]),
    stoop.Dense(4),
    stoop.BatchNorm(),
    stoop.SiLU(),
    stoop.Dense(3),
]


def is_close(a: Array, b: Any, tolerance: float = 1e-6) -> bool:
    expected = b.detach().numpy()
    assert a.shape == expected.shape
    return bool(np.abs(a - expected).max() <= tolerance * max(1.0, np.abs(expected).max()))


@pytest.fixture(autouse=True)
def _default_of_pytorch() -> Iterator[None]:
    """Give layers and numbers PyTorch's own default dtype, which other files change."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_state_dict(dtype: str) -> None:
    module = network(getattr(torch, dtype))
    model = convert.from_torch(module.state_dict(), LAYERS)
    X = torch.randn(50, 6, dtype=getattr(torch, dtype))
    assert model.dtype == dtype
    assert is_close(model.predict(X.numpy()), module(X))


def test_norms_without_parameters_and_a_file(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    torch.manual_seed(0)
    parts: list[Any] = []
    for _ in range(6):
        parts += [nn.Linear(5, 5), nn.LayerNorm(5, elementwise_affine=False), nn.Dropout(0.1), nn.Tanh()]
    parts += [nn.Linear(5, 5), nn.LayerNorm(5, bias=False)]
    with torch.no_grad():
        parts[-1].weight.uniform_(0.5, 2.0)
    module = nn.Sequential(*parts, nn.Linear(5, 2)).eval()
    safetensors.save_file(module.state_dict(), tmp_path / "m.safetensors")
    layers = [layer for _ in range(6) for layer in (stoop.Dense(5), stoop.LayerNorm(), stoop.Tanh())]
    layers += [stoop.Dense(5), stoop.LayerNorm(), stoop.Dense(2)]
    X = torch.randn(20, 5)
    for state in (module.state_dict(), safetensors.load_file(tmp_path / "m.safetensors")):
        assert is_close(convert.from_torch(state, layers).predict(X.numpy()), module(X))


def test_ones_and_zeros_for_a_norm_without_parameters() -> None:
    """Of two norms nothing tells which has the parameters; ones and zeros say that the other has none."""
    module = nn.Sequential(nn.Linear(5, 5), nn.LayerNorm(5, elementwise_affine=False), nn.Tanh(), nn.LayerNorm(5))
    with torch.no_grad():
        module[3].weight.uniform_(0.5, 2.0)
    layers, X = [stoop.Dense(5), stoop.LayerNorm(), stoop.Tanh(), stoop.LayerNorm()], torch.randn(20, 5)
    with pytest.raises(ValueError, match="give those that have none a weight of ones and a bias of zeros"):
        convert.from_torch(module.state_dict(), layers)
    state = module.state_dict()
    norm = {"1.weight": torch.ones(5), "1.bias": torch.zeros(5)}
    state = {name: state.get(name, norm.get(name)) for name in sorted([*state, *norm])}
    assert is_close(convert.from_torch(state, layers).predict(X.numpy()), module(X))


def test_half_precision() -> None:
    linear = nn.Linear(3, 2).to(torch.bfloat16)
    model = convert.from_torch(linear.state_dict(), [stoop.Dense(2)])
    np.testing.assert_array_equal(model.parameters()["0.weight"], linear.weight.detach().float().numpy().T)


def test_embeddings() -> None:
    table, last = nn.Embedding(12, 4), nn.Linear(4, 2)
    state = {"table.weight": table.weight, "last.weight": last.weight, "last.bias": last.bias}
    model = convert.from_torch(state, [stoop.Columns({0: 12}, embedding_dim=4), stoop.Dense(2)])
    codes = torch.arange(12)
    assert is_close(model.predict(codes.numpy()[:, None]), last(table(codes)))


# ---- files of its exporters ----


def exported(module: Any, X: Any, path: Path, *, dynamo: bool) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            shapes = ({0: torch.export.Dim("n")},)
            torch.onnx.export(
                module, (X,), path, dynamo=True, dynamic_shapes=shapes, external_data=False, verbose=False
            )
        else:
            torch.onnx.export(module, (X,), path, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}})
    return path


@pytest.mark.parametrize("dynamo", [False, True])
def test_an_exported_network(dynamo: bool, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    module, X = network(torch.float32), torch.randn(50, 6)
    model = from_onnx(exported(module, X, tmp_path / "m.onnx", dynamo=dynamo))
    assert is_close(model.predict(X.numpy()), module(X))
    assert any(isinstance(layer, stoop.Residual) for layer in model.layers)


@pytest.mark.parametrize("dynamo", [False, True])
def test_every_activation(dynamo: bool, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    kinds = [
        nn.ReLU(),
        nn.LeakyReLU(0.2),
        nn.PReLU(),
        nn.Tanh(),
        nn.Sigmoid(),
        nn.ELU(0.7),
        nn.SELU(),
        nn.GELU(),
        nn.GELU("tanh"),
        nn.SiLU(),
        nn.Softplus(),
        nn.Mish(),
        nn.Hardswish(),
        nn.ReLU6(),
    ]
    layers = [part for kind in kinds for part in (nn.Linear(4, 4), kind)]
    module = nn.Sequential(nn.Flatten(), *layers, nn.Tanh(), nn.Linear(4, 3), nn.Softmax(1)).eval()
    X = torch.randn(50, 4)
    model = from_onnx(exported(module, X, tmp_path / "m.onnx", dynamo=dynamo))
    assert model.output == "softmax"
    assert is_close(model.predict_proba(X.numpy()), module(X))
    found = [type(layer.activation).__name__ for layer in model.layers if isinstance(layer, stoop.Dense)]
    assert found[:-1] == [{"Hardswish": "HardSwish", "PReLU": "LeakyReLU"}.get(n, n) for n in map(name_of, kinds)]


def name_of(kind: Any) -> str:
    return str(type(kind).__name__)


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Softsign(), nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"the node '.*' \(\w+\) has "):
        from_onnx(exported(module, torch.randn(3, 4), tmp_path / "m.onnx", dynamo=False))


# ---- Keras ----


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("scale", [True, False])
def test_keras(scale: bool, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    layers = keras.layers
    inputs = keras.Input((6,))
    x = layers.Dense(8, use_bias=False)(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Add()([x, layers.Dense(8, activation="tanh")(layers.LayerNormalization()(x))])
    x = layers.BatchNormalization(scale=False, center=False)(layers.Dense(5)(x))
    x = layers.BatchNormalization(scale=scale)(layers.Dense(4)(x))
    net = keras.Model(inputs, layers.Dense(3)(layers.Dropout(0.2)(x)))
    weights = [rng.random(weight.shape).astype(np.float32) + 0.1 for weight in net.get_weights()]
    net.set_weights(weights)
    specs = [
        stoop.Dense(8, use_bias=False),
        stoop.BatchNorm(eps=1e-3),
        stoop.ReLU(),
        stoop.Residual([stoop.LayerNorm(eps=1e-3), stoop.Dense(8, "tanh")]),
        stoop.Dense(5, use_bias=True),
        stoop.BatchNorm(eps=1e-3),
        stoop.Dense(4),
        stoop.BatchNorm(eps=1e-3),
        stoop.Dropout(0.2),
        stoop.Dense(3),
    ]
    X = rng.standard_normal((40, 6)).astype(np.float32)
    expected = net.predict(X, verbose=0)
    for given in (net.weights, net.get_weights()) if scale else (net.weights,):
        model = convert.from_keras(given, specs)
        assert np.abs(model.predict(X) - expected).max() <= 1e-6 * np.abs(expected).max()
