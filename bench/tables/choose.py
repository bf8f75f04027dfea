"""Variants of what is inside stoop.tabular, on the tables for choosing, paired by table and seed.

    .venv/bin/python bench/tables/choose.py run base clip --rows 1000 --seeds 0 1    # goes on where it was cut
    .venv/bin/python bench/tables/choose.py table --rows 1000

So that many can be tried, networks are smaller than the defaults, train on --rows rows and are tested on at most 4,000
others. "base" is what the estimators do; "trees" and "mlp" are scikit-learn's.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import engine_sklearn
import numpy as np
from engines import Request, predict
from scores import MAIN, scores
from sets import CHOOSING

import stoop
from stoop.tabular import TabularClassifier, TabularRegressor, _base
from stoop.tabular._training import Rows

SMALL = {"hidden": (128, 128), "members": 8, "num_threads": 1}
WIDE = ("leaves", "cells")  # of 56 columns and more: they take as long as all others together
TEST_ROWS = 4000
Layers = list[Any]


@dataclass(frozen=True)
class Variant:
    """What is changed: arguments of the estimator, layers, the rows of an update, optimizer, trainer and training.

    `averaged` epochs of updates make a moving average of the parameters, which then chooses the epoch and predicts;
    `all_rows` trains anew for as many epochs as were best, with the rows that chose them.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    layers: Callable[[Layers, int], Layers] | None = None
    batch: int | None = None
    optimizer: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    averaged: int = 0
    all_rows: bool = False


# ---- layers ----


def changed(kind: str, **values: Any) -> Callable[[Layers, int], Layers]:
    """Return what gives these fields of the layers of a kind other values."""

    def change(layers: Layers, _: int) -> Layers:
        return [_with(layer, **values) if type(layer).__name__ == kind else layer for layer in layers]

    return change


def _with(layer: Any, **values: Any) -> Any:
    names = [name for name in type(layer).__dataclass_fields__ if name != "type_name"]
    return type(layer)(**{**{name: getattr(layer, name) for name in names}, **values})


def small_weights(layers: Layers, columns: int) -> Layers:
    """Start weights and biases as U(-a, a), a = 1/sqrt(fan_in), as PyTorch does."""
    found, width = [], 0
    for layer in layers:
        each = layer
        if type(layer).__name__ == "Columns":
            width = layer.output_width(columns)
        elif type(layer).__name__ in ("Dense", "MemberDense"):
            start = stoop.initializers.Initializer("uniform", width**-0.5)
            each, width = _with(layer, kernel_init=start, bias_init=start), layer.units
        found.append(each)
    return found


def scaled_features(layers: Layers, _: int) -> Layers:
    """Put a FeatureScale after the encoding."""
    return [layers[0], stoop.FeatureScale(), *layers[1:]]


VARIANTS = {
    "base": Variant(),
    "plain": Variant({"members": 1, "encoding": "none"}),
    "ple_linear": Variant({"encoding": "ple_linear"}),
    "ple_linear_16": Variant({"encoding": "ple_linear", "embedding_dim": 16}),
    "batch_256": Variant(batch=256),
    "small_weights": Variant(layers=small_weights),
    "heads_from_zero": Variant(layers=changed("MemberDense", kernel_init="zeros")),
    "one_hot_100": Variant(layers=changed("Columns", one_hot=100)),
    "feature_scale": Variant(layers=scaled_features),
    "random_signs": Variant(layers=changed("Members", init="random_signs")),
    "gelu": Variant(layers=changed("Dense", activation="gelu")),
    "clip_norm_1": Variant(trainer={"clip_norm": 1.0}),
    "beta2_0.99": Variant(optimizer={"beta2": 0.99}),
    "averaged_2": Variant(averaged=2),
    "all_rows": Variant(all_rows=True),
}
TREES = {"trees": engine_sklearn.trees, "mlp": engine_sklearn.mlp}


# ---- training ----


class Averaged(stoop.callbacks.Callback):
    """Ends the training when the average of the parameters has not become better, and keeps the best one."""

    def __init__(self, rows: Rows, patience: int) -> None:
        self.rows, self.patience, self.best, self.best_epoch = rows, patience, float("inf"), 0
        self.kept: dict[str, Any] = {}

    def on_epoch_end(self, trainer: Any, logs: Any) -> None:
        """Measure."""
        del logs
        trainer.swap_ema()
        loss = trainer.evaluate(self.rows.X, self.rows.y, metrics=())["loss"]
        if loss < self.best:
            self.best, self.best_epoch = loss, trainer.epoch
            self.kept = {name: array.copy() for name, array in trainer.model.parameters().items()}
        trainer.swap_ema()
        if trainer.epoch - self.best_epoch >= self.patience:
            trainer.stop("averaged")

    def on_fit_end(self, trainer: Any, reason: str) -> None:
        """Put the best average into the model."""
        del reason
        for name, array in trainer.model.parameters().items():
            np.copyto(array, self.kept[name])


def apply(variant: Variant) -> None:
    """Make the estimators build and train as the variant says."""
    make = variant.layers
    if make is None:
        _base.layers_for = _layers_for
    else:
        _base.layers_for = lambda *given: make(_layers_for(*given), given[1].shape[1])

    def train(model: Any, loss: str, first: Rows, second: Rows, recipe: Any, seed: int) -> tuple[Any, int]:
        trained, best = _train(variant, (model, loss, first, second), recipe, seed)
        if variant.all_rows:
            rows = Rows(np.concatenate([first.X, second.X]), np.concatenate([first.y, second.y]), None)
            fresh = stoop.Model(model.layers, rows.X.shape[1], seed=seed, dtype=model.dtype)
            _train(variant, (fresh, loss, rows, None), recipe, seed, best)
            for own, its in ((model.parameters(), fresh.parameters()), (model.buffers(), fresh.buffers())):
                for name in own:
                    np.copyto(own[name], its[name])
        return trained, best

    _base.train = train


_layers_for = _base.layers_for


def _train(
    variant: Variant, given: tuple[Any, str, Rows, Rows | None], recipe: Any, seed: int, epochs: int = 0
) -> tuple[Any, int]:
    model, loss, first, second = given
    batch = variant.batch or recipe.batch(len(first))
    optimizer = stoop.optimizers.AdamW(recipe.learning_rate, weight_decay=recipe.weight_decay, **variant.optimizer)
    updates = variant.averaged * -(-len(first) // batch)
    ema = 1.0 - 1.0 / max(updates, 2) if variant.averaged else None
    trainer = stoop.Trainer(model, loss, optimizer, seed=seed, num_threads=1, ema=ema, **variant.trainer)
    stopping: Any = stoop.callbacks.EarlyStopping(patience=recipe.patience)
    if variant.averaged and second is not None:
        stopping = Averaged(second, recipe.patience)
    trainer.fit(
        first.X, first.y, epochs or recipe.epochs, batch, None if second is None else (second.X, second.y),
        metrics=(), callbacks=[] if second is None else [stopping], verbose=0,
    )  # fmt: skip
    return trainer, stopping.best_epoch or trainer.epoch


# ---- measuring ----


def fitted(name: str, table: str, rows: int, seed: int) -> dict[str, float]:
    """Return the scores of a variant, and the seconds of its processor."""
    task = CHOOSING[table].task
    X, y = CHOOSING[table].read()
    order = np.random.default_rng(100 + seed).permutation(len(y))
    count = min(rows, int(0.75 * len(y)))
    train, test = order[:count], order[count : count + TEST_ROWS]
    request = Request(task, seed=seed, threads=1)
    if name in TREES:
        model = TREES[name](request)
    else:
        apply(VARIANTS[name])
        kind = TabularRegressor if request.regression else TabularClassifier
        model = kind(random_state=seed, **{**SMALL, **VARIANTS[name].settings})
    started = time.process_time()
    model.fit(X.iloc[train].reset_index(drop=True), y[train])
    seconds = time.process_time() - started
    classes = getattr(model, "classes_", None)
    known = test if classes is None else test[np.isin(y[test], classes)]
    found = scores(task, y[known], predict(model, X.iloc[known].reset_index(drop=True), request), classes)
    return {**found, "seconds": seconds}


def line(results: dict[str, Any], name: str, rows: int) -> str:
    """Return a line of Markdown: mean changes from "base" over the tables, with standard errors."""
    errors, mains, times = [], [], []
    for table, kind in ((each, CHOOSING[each].task) for each in CHOOSING):
        second = "rmse" if kind == "regression" else "log_loss"
        own_keys = [key for key in results if key.startswith(f"{rows}/{name}/{table}/")]
        keys = [(key, key.replace(f"/{name}/", "/base/")) for key in own_keys]
        pairs = [(results[own], results[base]) for own, base in keys if base in results]
        if pairs:
            errors.append(100 * np.mean([np.log(own[second] / base[second]) for own, base in pairs]))
            mains.append(100 * np.mean([own[MAIN[kind]] - base[MAIN[kind]] for own, base in pairs]))
            times.append(np.mean([np.log(own["seconds"] / base["seconds"]) for own, base in pairs]))
    if len(errors) < 2:
        return ""
    cells = [f"{np.mean(each):+.2f} ± {np.std(each, ddof=1) / len(each) ** 0.5:.2f}" for each in (errors, mains)]
    medians = [f"{np.median(each):+.2f}" for each in (errors, mains)]
    better = f"{sum(each < 0 for each in errors)} of {len(errors)}"
    return (
        f"| {name} | {cells[0]} | {medians[0]} | {better} | {cells[1]} | {medians[1]} | {np.exp(np.mean(times)):.2f} |"
    )


def main() -> None:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser("choose.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("action", choices=("run", "table"))
    parser.add_argument("names", nargs="*", choices=[*VARIANTS, *TREES], default=[*VARIANTS, *TREES])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    narrow = [table for table in CHOOSING if table not in WIDE]
    parser.add_argument("--tables", nargs="+", choices=CHOOSING, default=narrow)
    parser.add_argument("--record", type=Path, default=Path("build/choosing.json"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    results: dict[str, Any] = json.loads(options.record.read_text()) if options.record.exists() else {}
    if options.action == "run":
        keys = [(name, table, seed) for seed in options.seeds for name in options.names for table in options.tables]
        for name, table, seed in keys:
            key = f"{options.rows}/{name}/{table}/{seed}"
            if key not in results:
                results[key] = fitted(name, table, options.rows, seed)
                options.record.write_text(json.dumps(results))
    print("| variant | log loss or RMSE, % | median | better on | 100 x main score | median | seconds |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    print("\n".join(filter(None, (line(results, name, options.rows) for name in options.names))))


if __name__ == "__main__":
    main()
