"""A random search of 200 networks: `stoop.search.run` beside scikit-learn's RandomizedSearchCV over MLPClassifier.

    python bench/search.py [--trials 200] [--batch-size 64] [--rounds 3] [--json out.json]

Both search the same space (learning rate and penalty on a log scale, two hidden layers of 8 to 64 units) on the same
5,000 x 20 samples in float32, with one and the same split: 4,000 to train on, 1,000 to score by accuracy. Each trial
has 10 epochs of Adam with the same batch size. scikit-learn is set up as its documentation advises for one split:
PredefinedSplit, n_jobs=2, refit=False (with it a further network would be trained on all samples), tol=0 so that no
trial ends early; its workers are started before. Its default batch size is 200, that of `stoop.search.run` 64: give
either with --batch-size.

Engines take turns, and the median of the rounds counts. scikit-learn scores each network once, at its end. Stoop does
so too ("scored once"), and as it is by default, where it validates after every epoch. The best accuracy is told for the
last epoch, which all have, and for the best one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import stoop
from stoop import _latency, search

ROWS, COLUMNS, CLASSES, TRAIN, EPOCHS = 5000, 20, 3, 4000, 10
WIDTHS = (8, 16, 32, 64)
PAUSE = 1.0  # seconds before each engine
Array = npt.NDArray[Any]


def make_data() -> tuple[Array, Array]:
    """Return samples of three classes, which a curved border divides."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((ROWS, COLUMNS)).astype(np.float32)
    score = X[:, :4].sum(axis=1) + 2.0 * X[:, 4] * X[:, 5] + np.abs(X[:, 6]) + 0.5 * rng.standard_normal(ROWS)
    return X, np.digitize(score, np.quantile(score, [1 / 3, 2 / 3]))


def build(params: dict[str, Any]) -> stoop.Trainer:
    """Return a trainer of these parameters."""
    layers = [stoop.Dense(params[name], activation="relu") for name in ("first", "second")]
    model = stoop.Model([*layers, stoop.Dense(CLASSES)], input_dim=COLUMNS)
    adam = stoop.optimizers.Adam(params["learning_rate"])
    return stoop.Trainer(model, optimizer=adam, l2=params["l2"])


def run_stoop(X: Array, y: Array, trials: int, batch_size: int, every: int = 1) -> dict[str, float]:
    """Return the seconds, and the best accuracies; `every` so many epochs are validated."""
    space = {
        "learning_rate": search.log_uniform(1e-4, 1e-1),
        "l2": search.log_uniform(1e-8, 1e-4),
        "first": search.choice(WIDTHS),
        "second": search.choice(WIDTHS),
    }
    start = time.perf_counter()
    result = search.run(
        build,
        space,
        X[:TRAIN],
        y[:TRAIN],
        validation_data=(X[TRAIN:], y[TRAIN:]),
        trials=trials,
        metric="val_accuracy",
        epochs=EPOCHS,
        batch_size=batch_size,
        num_threads=2,
        validation_freq=every,
        verbose=0,
    )
    seconds = time.perf_counter() - start
    assert [trial["epochs"] for trial in result.trials] == [EPOCHS] * trials
    last = max(history["val_accuracy"][-1] for history in result.histories if history is not None)
    return {"seconds": seconds, "last epoch": last, "best epoch": result.best_value}


def run_once(X: Array, y: Array, trials: int, batch_size: int) -> dict[str, float]:
    """Return the same of trials that are scored at their end."""
    return run_stoop(X, y, trials, batch_size, EPOCHS)


def run_sklearn(X: Array, y: Array, trials: int, batch_size: int) -> dict[str, float]:
    """Return the seconds, and the best accuracy."""
    from scipy.stats import loguniform
    from sklearn.model_selection import PredefinedSplit, RandomizedSearchCV
    from sklearn.neural_network import MLPClassifier

    space = {
        "learning_rate_init": loguniform(1e-4, 1e-1),
        "alpha": loguniform(1e-8 * batch_size, 1e-4 * batch_size),  # it is divided by the size of the batch
        "hidden_layer_sizes": [(first, second) for first in WIDTHS for second in WIDTHS],
    }
    split = PredefinedSplit(np.where(np.arange(len(X)) < TRAIN, -1, 0))
    network = MLPClassifier(
        batch_size=batch_size, max_iter=EPOCHS, tol=0.0, n_iter_no_change=EPOCHS + 1, random_state=0
    )
    searched = RandomizedSearchCV(network, space, n_iter=trials, cv=split, n_jobs=2, refit=False, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        start = time.perf_counter()
        searched.fit(X, y)
        seconds = time.perf_counter() - start
        one = network.fit(X[:TRAIN], y[:TRAIN])
    assert one.n_iter_ == EPOCHS
    assert one.t_ == EPOCHS * TRAIN
    scores = searched.cv_results_["mean_test_score"]
    assert len(scores) == trials
    assert np.isfinite(scores).all()
    return {"seconds": seconds, "last epoch": float(max(scores))}


def main() -> None:
    """Print what each takes, and the best that it finds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    X, y = make_data()
    engines = {"stoop": run_stoop, "stoop, scored once": run_once, "scikit-learn": run_sklearn}
    for engine in engines.values():
        engine(X, y, 4, options.batch_size)
    latency = _latency.measure()
    distance = "core to core unknown" if latency is None else f"core to core and back {latency:.0f} ns"
    print(f"{options.trials} trials, {EPOCHS} epochs, batches of {options.batch_size}; {distance}")
    found: dict[str, list[dict[str, float]]] = {name: [] for name in engines}
    for _ in range(options.rounds):
        for name, engine in engines.items():
            time.sleep(PAUSE)
            found[name].append(engine(X, y, options.trials, options.batch_size))
    for name, rounds in found.items():
        seconds = statistics.median(each["seconds"] for each in rounds)
        scores = ", ".join(f"{key} {value:.4f}" for key, value in rounds[0].items() if key != "seconds")
        print(f"{name:>18}: {seconds:7.2f} s; best accuracy: {scores}")
        ratios = [other["seconds"] / own["seconds"] for own, other in zip(rounds, found["scikit-learn"])]
        if name != "scikit-learn":
            each = ", ".join(f"{ratio:.1f}" for ratio in ratios)
            print(f"{'':>20}scikit-learn takes {statistics.median(ratios):.1f} times as long ({each})")
    if options.json is not None:
        options.json.write_text(json.dumps({"core_latency": latency, **found}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
