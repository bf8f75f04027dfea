"""Models of every layer and activation with random parameters, and rows for them: what exports are tested with."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

import crossed
import stoop
from stoop import Dense

Layers = list[Any]

CATEGORIES = {1: 4, 3: 20}
MEMBERS = [Dense(5, "relu"), stoop.MemberDense(3, members=4, shared=True), stoop.MemberDense(2)]

# name -> (layers, columns of X, further arguments of the model)
CASES: dict[str, tuple[Layers, int, dict[str, Any]]] = {
    "one layer": ([Dense(3)], 4, {}),
    "one column, one unit": ([Dense(1)], 1, {}),
    "no bias": ([Dense(4, "relu", use_bias=False), Dense(2, use_bias=False)], 3, {}),
    "odd sizes": ([Dense(17, "tanh"), Dense(1, "relu"), Dense(5)], 13, {}),
    "an activation first": ([stoop.Tanh(), Dense(2)], 5, {}),
    "an activation of a large shift": ([stoop.Sigmoid(), Dense(2)], 6, {"input_scale": 0.25, "input_shift": 100.0}),
    "scale of the input": ([Dense(4, "relu"), Dense(2)], 6, {"input_scale": 0.25, "input_shift": -0.5}),
    "batch norm": ([Dense(6), stoop.BatchNorm(), stoop.ReLU(), Dense(3)], 4, {}),
    "batch norm after a bias": ([Dense(6, use_bias=True), stoop.BatchNorm(), stoop.Tanh(), Dense(3)], 4, {}),
    "batch norm elsewhere": ([stoop.BatchNorm(), Dense(6, "relu"), stoop.BatchNorm(eps=1e-2), Dense(3)], 4, {}),
    "layer norm": ([Dense(6), stoop.LayerNorm(), stoop.SiLU(), stoop.LayerNorm(1e-2)], 4, {}),
    "dropout": ([Dense(6), stoop.Dropout(0.5), Dense(3), stoop.Dropout(0.1)], 4, {}),
    "feature scale": ([stoop.FeatureScale(), Dense(6, "relu"), stoop.FeatureScale(), Dense(2)], 4, {}),
    "residual": ([Dense(6, "relu"), stoop.Residual([Dense(6, "relu"), Dense(6)]), Dense(2)], 4, {}),
    "residual first": ([stoop.Residual([Dense(4, "tanh")]), stoop.BatchNorm(), Dense(2)], 4, {}),
    "residual with projection": ([Dense(5), stoop.Residual([stoop.BatchNorm(), stoop.ReLU(), Dense(3)])], 4, {}),
    "residual of nothing": ([Dense(5), stoop.Residual([stoop.Dropout(0.5)]), Dense(2)], 4, {}),
    "nested residuals": (
        [stoop.Residual([Dense(4), stoop.Residual([Dense(7, "relu"), stoop.Residual([stoop.ReLU()])]), Dense(4)])],
        4,
        {},
    ),
    "normalization": ([stoop.Normalization(), Dense(3)], 4, {}),
    "normalization with clip": ([stoop.Normalization("robust", clip=3.0), Dense(3)], 4, {}),
    "normalization with gaps": ([stoop.Normalization(missing="mean"), Dense(3, "relu"), Dense(2)], 4, {}),
    "columns": ([stoop.Columns(CATEGORIES, bins=(5, 0, 3), embedding_dim=3), Dense(4, "relu"), Dense(2)], 5, {}),
    "columns of waves": ([stoop.Columns(CATEGORIES, encoding="periodic", frequencies=5), Dense(2)], 5, {}),
    "columns of linear layers": (
        [stoop.Columns(CATEGORIES, encoding="ple_linear", bins=(5, 0, 3), embedding_dim=3), Dense(2)],
        5,
        {},
    ),
    "columns of linear layers, as many bins": (
        [stoop.Columns(encoding="ple_linear", bins=4, clip=None), Dense(2)],
        3,
        {},
    ),
    "columns of linear layers without bins": ([stoop.Columns({1: 3}, encoding="ple_linear", bins=0), Dense(2)], 4, {}),
    "columns as they are": ([stoop.Columns(CATEGORIES, encoding="none", clip=None), Dense(2)], 5, {}),
    "columns of codes": ([stoop.Columns({0: 2, 1: 20}), Dense(2)], 2, {}),
    "members": ([stoop.Members(3, bias=True), Dense(6, "relu"), stoop.MemberDense(2)], 4, {}),
    "one member": ([stoop.Members(1), Dense(6, "relu"), stoop.MemberDense(2)], 4, {"output": "softmax"}),
    "member dense": (MEMBERS, 4, {"output": "softmax"}),
    "member dense of labels": (MEMBERS, 4, {"output": "sigmoid"}),
    "members with norms": (
        [
            stoop.Members(3),
            Dense(4),
            stoop.BatchNorm(),
            stoop.Residual([Dense(4), stoop.LayerNorm(), stoop.ReLU()]),
            stoop.Members(3),
            Dense(2),
        ],
        3,
        {"output": "softmax"},
    ),
}
CASES |= {
    f"activation {key}": ([Dense(7), layer, Dense(3)], 4, {}) for key, layer in crossed.activation_layers().items()
}
CASES |= {f"dense with {key}": ([Dense(3, layer)], 4, {}) for key, layer in crossed.activation_layers().items()}


def rows_of(case: str, samples: int = 50) -> npt.NDArray[np.float32]:
    """Rows with gaps where the model takes them, and codes: known ones, missing and unknown ones."""
    layers, columns, _ = CASES[case]
    rng = np.random.default_rng(1)
    X = rng.standard_normal((samples, columns)).astype(np.float32)
    first = layers[0]
    has_columns = isinstance(first, stoop.Columns)
    if has_columns or (isinstance(first, stoop.Normalization) and first.missing == "mean"):
        X[rng.random(X.shape) < 0.1] = np.nan
    if isinstance(first, stoop.Normalization):
        X = (X * np.geomspace(0.1, 10.0, columns) + 0.2).astype(np.float32)
    if has_columns:
        for column, known in first.categories:
            X[:, column] = rng.integers(-1, known + 2, samples)
            X[0, column] = np.nan
    return X


def model_of(case: str, dtype: str = "float32") -> stoop.Model:
    """The model of a case, adapted, with random values in all parameters and running statistics."""
    layers, columns, more = CASES[case]
    model = stoop.Model(layers, columns, dtype=dtype, **more)
    rng = np.random.default_rng(2)
    for name, value in {**model.parameters(), **model.buffers()}.items():
        last = name.rpartition(".")[2]
        if last in ("weight", "bias", "beta", "running_mean", "embedding", "frequencies", "linear"):
            value[...] = rng.standard_normal(value.shape) / np.sqrt(value.shape[0] if last == "weight" else 2.0)
        elif last in ("gamma", "running_var", "input_scale", "output_scale") or name.endswith("scale"):
            value[...] = rng.uniform(0.5, 1.5, value.shape)
    if not model.is_adapted or isinstance(layers[0], stoop.Columns | stoop.Normalization):
        model.adapt(rows_of(case, 200))
    return model
