"""Networks and data sets that are made to fail in one way each, and healthy ones, for the tests of `stoop.diagnose`.

``FAULTS[name](seed)`` and ``HEALTHY[name](seed)`` draw data, sizes and layers by the seed, train by `Trainer.fit` and
return a `Case`. Which kinds of data, activation and optimizer a fault meets is part of the draw.

``python tests/python/faults.py --seeds 40`` prints how often each fault is named first, and each healthy run passed.
"""

from __future__ import annotations

import argparse
import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn import datasets

import stoop
from stoop import Dense, initializers, optimizers

Part = tuple[Any, Any]


@dataclass
class Case:
    """A trainer after its fit, and what is given to `check`."""

    trainer: stoop.Trainer
    train: Part
    dev: Part
    options: dict[str, Any] = field(default_factory=dict)

    def check(self) -> stoop.diagnose.Report:
        return stoop.diagnose.check(self.trainer, *self.train, *self.dev, **self.options)


# ---- data ----


def rings(rng: Any, n: int) -> Part:
    X = rng.standard_normal((n, 2)) * 0.9
    return X, np.digitize(np.hypot(*X.T), (0.75, 1.3))


def circles(rng: Any, n: int) -> Part:
    return datasets.make_circles(n, noise=0.05, factor=0.45, random_state=int(rng.integers(2**31)))


def moons(rng: Any, n: int) -> Part:
    return datasets.make_moons(n, noise=0.12, random_state=int(rng.integers(2**31)))


def xor(rng: Any, n: int) -> Part:
    X = rng.uniform(-1.7, 1.7, (n, 2))
    return X, (X[:, 0] * X[:, 1] > 0).astype(int)


def clusters(rng: Any, n: int) -> Part:
    """Eight bunches in ten columns, of four classes that no plane divides."""
    centers = 2.2 * rng.standard_normal((8, 10))
    which = rng.integers(8, size=n)
    X = centers[which] + rng.standard_normal((n, 10))
    return X / X.std(axis=0), which % 4


def waves(rng: Any, n: int) -> Part:
    """Values: a smooth function of four columns."""
    X = rng.uniform(-1.7, 1.7, (n, 4))
    y = np.sin(2.0 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.5 * np.abs(X[:, 3])
    return X, (y + 0.05 * rng.standard_normal(n))[:, None]


def digits(rng: Any, n: int) -> Part:
    X, y = datasets.load_digits(return_X_y=True)
    rows = rng.permutation(len(X))[:n]
    return X[rows] / 8.0 - 0.6, y[rows]


CURVED = (rings, circles, xor, waves, clusters)
WOUND = (rings, circles, xor, waves)  # of which a linear model learns little


def draw(rng: Any, kinds: tuple[Callable[..., Part], ...], n: int, n_dev: int) -> tuple[Part, Part, bool]:
    kind = kinds[rng.integers(len(kinds))]
    X, y = kind(rng, n + n_dev)
    X, y = np.asarray(X, np.float32), np.asarray(y)
    return (X[:n], y[:n]), (X[n:], y[n:]), y.ndim == 2


def pick(rng: Any, *options: Any) -> Any:
    return options[rng.integers(len(options))]


# ---- networks ----


def network(rng: Any, train: Part, widths: list[int], activation: str | None, **dense: Any) -> stoop.Model:
    X, y = train
    outputs = 1 if y.ndim == 2 else int(y.max()) + 1
    layers = [Dense(width, activation=activation, **dense) for width in widths]
    return stoop.Model([*layers, Dense(outputs)], X.shape[1], seed=int(rng.integers(2**31)))


def fitted(
    model: stoop.Model, train: Part, dev: Part, optimizer: Any, epochs: int, batch: int = 32, **options: Any
) -> Case:
    loss = "mse" if train[1].ndim == 2 else "softmax_cross_entropy"
    trainer = stoop.Trainer(model, loss=loss, optimizer=optimizer, **options)
    with contextlib.suppress(stoop.NonFiniteLossError):
        trainer.fit(*train, epochs=epochs, batch_size=batch, validation_data=dev, verbose=0)
    return Case(trainer, train, dev)


# ---- one function for each fault ----


def high_bias(seed: int) -> Case:
    """A linear model, or one of two units, on what neither can tell."""
    rng = np.random.default_rng(seed)
    train, dev, _ = draw(rng, WOUND, int(rng.integers(400, 1500)), 300)
    widths: list[int] = pick(rng, [], [], [2])
    return fitted(network(rng, train, widths, "tanh"), train, dev, optimizers.Adam(1e-2), 60)


def high_variance(seed: int) -> Case:
    """A large network learns few samples with many columns by heart."""
    rng = np.random.default_rng(seed)
    n, columns = int(rng.integers(40, 150)), int(rng.integers(15, 40))
    X = rng.standard_normal((n + 500, columns)).astype(np.float32)
    y = (X[:, 0] * X[:, 1] + X[:, 2] + 0.5 * rng.standard_normal(n + 500) > 0).astype(int)
    train, dev = (X[:n], y[:n]), (X[n:], y[n:])
    model = network(rng, train, [int(rng.integers(64, 256))] * 2, pick(rng, "relu", "tanh"))
    return fitted(model, train, dev, optimizers.Adam(3e-3), 100, batch=16)


def data_mismatch(seed: int) -> Case:
    """Dev inputs are shifted, scaled or noisy."""
    rng = np.random.default_rng(seed)
    train, dev, _ = draw(rng, (rings, waves, moons), 1200, 400)
    X = dev[0]
    way = rng.integers(3)
    if way == 0:
        X = X + 2.0 * rng.choice([-1.0, 1.0], X.shape[1])
    elif way == 1:
        X = X + 2.0 * rng.standard_normal(X.shape)
    else:
        X = 2.5 * X + 1.0
    dev = X.astype(np.float32), dev[1]
    return fitted(network(rng, train, [64, 64], "relu"), train, dev, optimizers.Adam(5e-3), 40)


def dev_overfitting(seed: int) -> Case:
    """The dev rows were trained on too."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((1400, 20)).astype(np.float32)
    y = (X[:, 0] * X[:, 1] + X[:, 2] + 0.5 * rng.standard_normal(1400) > 0).astype(int)
    dev, test = (X[200:400], y[200:400]), (X[400:], y[400:])
    train = X[:400], y[:400]
    model = network(rng, train, [int(rng.integers(64, 256))], "relu")
    case = fitted(model, train, dev, optimizers.Adam(5e-3), 150)
    case.train = X[:200], y[:200]
    case.options = {"X_test": test[0], "y_test": test[1]}
    return case


def rate_too_high(seed: int) -> Case:
    rng = np.random.default_rng(seed)
    train, dev, values = draw(rng, WOUND, int(rng.integers(500, 1500)), 300)
    activation = pick(rng, "relu", "tanh")
    optimizer = pick(
        rng, optimizers.SGD(3.0 if values else 30.0), optimizers.Adam(1.0), optimizers.SGD(3.0, momentum=0.9)
    )
    return fitted(network(rng, train, [32, 32], activation), train, dev, optimizer, 25)


def rate_too_low(seed: int) -> Case:
    rng = np.random.default_rng(seed)
    train, dev, _ = draw(rng, CURVED, int(rng.integers(500, 1500)), 300)
    optimizer = pick(rng, optimizers.SGD(1e-5), optimizers.Adam(1e-6), optimizers.SGD(1e-4), optimizers.Adam(5e-6))
    return fitted(network(rng, train, [32, 32], pick(rng, "relu", "tanh")), train, dev, optimizer, 25)


def vanishing(seed: int) -> Case:
    """Many layers of sigmoids, or of tanh with small weights."""
    rng = np.random.default_rng(seed)
    train, dev, _ = draw(rng, CURVED, 800, 300)
    depth = int(rng.integers(6, 12))
    if rng.integers(2):
        model = network(rng, train, [32] * depth, "sigmoid")
    else:
        model = network(
            rng, train, [32] * depth, "tanh", kernel_init=initializers.normal(float(rng.uniform(0.02, 0.06)))
        )
    return fitted(model, train, dev, pick(rng, optimizers.SGD(0.05), optimizers.SGD(0.01, momentum=0.9)), 25)


def exploding(seed: int) -> Case:
    """Many layers with large weights."""
    rng = np.random.default_rng(seed)
    train, dev, _ = draw(rng, CURVED, 800, 300)
    depth, width = int(rng.integers(6, 12)), int(rng.integers(32, 96))
    init = initializers.normal(float(rng.uniform(0.8, 2.0)))
    model = network(rng, train, [width] * depth, pick(rng, "relu", "leaky_relu"), kernel_init=init)
    return fitted(model, train, dev, pick(rng, optimizers.SGD(1e-2), optimizers.Adam(1e-3)), 15)


def dead(seed: int) -> Case:
    rng = np.random.default_rng(seed)
    train, dev, _ = draw(rng, CURVED, 800, 300)
    bias = initializers.constant(-float(rng.uniform(8.0, 50.0)))
    layers = int(rng.integers(1, 4))
    model = network(rng, train, [int(rng.integers(16, 96))] * layers, "relu", bias_init=bias)
    return fitted(model, train, dev, pick(rng, optimizers.Adam(1e-3), optimizers.SGD(0.1)), 25)


def saturated(seed: int) -> Case:
    rng = np.random.default_rng(seed)
    train, dev, _ = draw(rng, CURVED, 800, 300)
    init = initializers.normal(float(rng.uniform(10.0, 40.0)))
    activation = pick(rng, "tanh", "sigmoid")
    model = network(rng, train, [32] * int(rng.integers(1, 4)), activation, kernel_init=init)
    return fitted(model, train, dev, pick(rng, optimizers.SGD(0.01), optimizers.Adam(1e-3)), 25)


def symmetric(seed: int) -> Case:
    rng = np.random.default_rng(seed)
    train, dev, _ = draw(rng, CURVED, 800, 300)
    init = pick(rng, "zeros", initializers.constant(float(rng.uniform(0.05, 0.5))))
    widths = [int(rng.integers(8, 64))] * int(rng.integers(1, 4))
    model = network(rng, train, widths, pick(rng, "relu", "tanh", "sigmoid"), kernel_init=init)
    return fitted(model, train, dev, pick(rng, optimizers.Adam(1e-2), optimizers.SGD(0.1)), 25)


def inputs_raw(seed: int) -> Case:
    """Columns of very different scales, or pixels from 0 to 255."""
    rng = np.random.default_rng(seed)
    way = rng.integers(3)
    if way == 0:
        X, y = datasets.load_digits(return_X_y=True)
        X, rows = X * 255.0 / 16.0, rng.permutation(len(X))
        X, y = X[rows].astype(np.uint8), y[rows]
        train, dev = (X[:1200], y[:1200]), (X[1200:], y[1200:])
    elif way == 1:
        train, dev, _ = draw(rng, (clusters, waves), 900, 300)
        scales = 10.0 ** rng.permutation(np.linspace(0.0, 6.0, train[0].shape[1]))
        train, dev = [((part[0] * scales).astype(np.float32), part[1]) for part in (train, dev)]
    else:
        X, y = pick(rng, datasets.load_wine, datasets.load_breast_cancer)(return_X_y=True)
        rows = rng.permutation(len(X))
        X, y, cut = X[rows].astype(np.float32), y[rows], len(X) * 2 // 3
        train, dev = (X[:cut], y[:cut]), (X[cut:], y[cut:])
    model = network(rng, train, [32, 32], pick(rng, "relu", "tanh"))
    return fitted(model, train, dev, pick(rng, optimizers.Adam(1e-3), optimizers.SGD(1e-2)), 25)


def imbalance(seed: int) -> Case:
    """One sample of twenty is of the second class, which overlaps the first."""
    rng = np.random.default_rng(seed)
    n, share, columns = 2500, float(rng.uniform(0.03, 0.06)), int(rng.integers(2, 8))
    y = (rng.random(n) < share).astype(int)
    X = (rng.standard_normal((n, columns)) + 1.2 / np.sqrt(columns) * y[:, None]).astype(np.float32)
    train, dev = (X[:1700], y[:1700]), (X[1700:], y[1700:])
    model = network(rng, train, [16], pick(rng, "relu", "tanh"))
    return fitted(model, train, dev, optimizers.Adam(5e-3), 20)


FAULTS: dict[str, Callable[[int], Case]] = {
    "high bias": high_bias,
    "high variance": high_variance,
    "data mismatch": data_mismatch,
    "overfitting to the dev set": dev_overfitting,
    "learning rate too high": rate_too_high,
    "learning rate too low": rate_too_low,
    "vanishing gradients": vanishing,
    "exploding gradients": exploding,
    "dead units": dead,
    "saturated units": saturated,
    "symmetric units": symmetric,
    "inputs not normalised": inputs_raw,
    "class imbalance": imbalance,
}


# ---- healthy runs ----


def table(load: Callable[..., Any], seed: int) -> tuple[Part, Part]:
    X, y = load(return_X_y=True)
    X_train, X_dev, y_train, y_dev = stoop.data.train_test_split(X, y, test_size=0.3, seed=seed, stratify=y)
    X_train, X_dev = stoop.data.standardize(X_train.astype(np.float32), X_dev.astype(np.float32))
    return (X_train, y_train), (X_dev, y_dev)


def healthy(
    data: Any, layers: Callable[[], list[Any]], optimizer: Any, epochs: int, **options: Any
) -> Callable[[int], Case]:
    def make(seed: int) -> Case:
        rng = np.random.default_rng(seed)
        train, dev = data(rng, seed)
        outputs = 1 if train[1].ndim == 2 else int(train[1].max()) + 1
        model = stoop.Model([*layers(), Dense(outputs)], train[0].shape[1], seed=seed)
        return fitted(model, train, dev, optimizer, epochs, **options)

    return make


def drawn(kind: Callable[..., Part], n: int, n_dev: int) -> Callable[..., tuple[Part, Part]]:
    return lambda rng, _: draw(rng, (kind,), n, n_dev)[:2]


def uneven(rng: Any, _: int) -> tuple[Part, Part]:
    """Classes of which one is rare and as easily told as the others."""
    y = rng.choice(3, 2000, p=[0.6, 0.33, 0.07])
    X = (rng.standard_normal((2000, 6)) + 3.0 * np.eye(3, 6)[y] * 1.6).astype(np.float32)
    return (X[:1400], y[:1400]), (X[1400:], y[1400:])


HEALTHY: dict[str, Callable[[int], Case]] = {
    "rings": healthy(
        drawn(rings, 1500, 500), lambda: [Dense(64, "relu"), Dense(64, "relu")], optimizers.Adam(5e-3), 40
    ),
    "moons, tanh, momentum": healthy(
        drawn(moons, 800, 300), lambda: [Dense(32, "tanh"), Dense(32, "tanh")], optimizers.SGD(0.1, momentum=0.9), 60
    ),
    "digits, dropout": healthy(
        lambda rng, _: split(digits(rng, 1797), 1300),
        lambda: [Dense(128, "relu"), stoop.Dropout(0.2)],
        optimizers.Adam(2e-3),
        30,
    ),
    "digits, batch norm": healthy(
        lambda rng, _: split(digits(rng, 1797), 1300),
        lambda: [Dense(64), stoop.BatchNorm(), stoop.ReLU(), Dense(64), stoop.BatchNorm(), stoop.ReLU()],
        optimizers.Adam(3e-3),
        30,
    ),
    "breast cancer": healthy(
        lambda _, seed: table(datasets.load_breast_cancer, seed),
        lambda: [Dense(16, "relu")],
        optimizers.Adam(3e-3),
        40,
        l2=1e-2,
    ),
    "wine, sgd": healthy(
        lambda _, seed: table(datasets.load_wine, seed), lambda: [Dense(16, "tanh")], optimizers.SGD(0.05), 60, batch=16
    ),
    "iris": healthy(
        lambda _, seed: table(datasets.load_iris, seed),
        lambda: [Dense(16, "relu")],
        optimizers.Adam(5e-3),
        80,
        batch=16,
    ),
    "waves": healthy(
        drawn(waves, 2000, 500), lambda: [Dense(64, "relu"), Dense(64, "relu")], optimizers.Adam(3e-3), 60
    ),
    "waves, tanh": healthy(
        drawn(waves, 2000, 500), lambda: [Dense(48, "tanh"), Dense(48, "tanh")], optimizers.Adam(5e-3), 60
    ),
    "clusters, gelu": healthy(
        drawn(clusters, 2000, 600), lambda: [Dense(64, "gelu"), Dense(32, "gelu")], optimizers.AdamW(2e-3), 25
    ),
    "xor, sigmoid": healthy(drawn(xor, 2000, 500), lambda: [Dense(32, "sigmoid")], optimizers.Adam(2e-2), 80),
    "uneven classes": healthy(uneven, lambda: [Dense(32, "relu")], optimizers.Adam(3e-3), 25, l2=1e-3),
}


def split(part: Part, n: int) -> tuple[Part, Part]:
    X, y = np.asarray(part[0], np.float32), part[1]
    return (X[:n], y[:n]), (X[n:], y[n:])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    for cases, wanted in ((FAULTS, True), (HEALTHY, False)):
        for name, make in cases.items():
            if arguments.only not in name:
                continue
            first = Counter((found[0].fault if (found := make(seed).check().findings) else "nothing") for seed in seeds)
            hits = first[name if wanted else "nothing"]
            others = {key: count for key, count in first.items() if key != (name if wanted else "nothing")}
            print(f"{'fault' if wanted else 'healthy':<8} {name:<28} {hits}/{len(seeds)}  {others or ''}", flush=True)


if __name__ == "__main__":
    main()
