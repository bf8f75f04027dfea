"""Network, trainer and fit for a table: what a file asks for, or what suits its size."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stoop._config import from_config
from stoop._errors import message
from stoop._tables import METADATA_KEY, TableEncoder, TargetScale
from stoop.callbacks import EarlyStopping, ReduceLROnPlateau
from stoop.cli._recipe_file import read_recipe
from stoop.cli._table_data import TableData
from stoop.layers import Dense, Dropout, Layer, Normalization, layer_from_config, output_width
from stoop.losses import Loss
from stoop.model import Model
from stoop.optimizers import Optimizer
from stoop.trainer import Trainer

_SIZES = (  # up to so many rows: hidden units, batch size
    (1_000, (32,), 16),
    (5_000, (64, 64), 32),
    (50_000, (128, 64), 64),
    (np.inf, (256, 128), 256),
)
_EPOCHS, _PATIENCE, _WAIT = 300, 30, 10
_L2_ROWS, _MOST_L2 = 5.0, 1e-2  # the penalty counts like so many rows; chosen with bench/tables.py
_SCALED_LOSSES = ("mse", "mae")  # whose minimum is the same in any unit


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; what is None is left to the size of the table."""

    layers: tuple[dict[str, Any] | str, ...] | None = None  # as `Layer.to_config`
    hidden: tuple[int, ...] | None = None
    dropout: float = 0.0
    activation: str = "relu"
    trainer: dict[str, Any] | None = None  # as the arguments of Trainer; loss and optimizer as `to_config`
    learning_rate: float | None = None
    epochs: int | None = None
    batch_size: int | None = None

    @classmethod
    def of(cls, options: argparse.Namespace) -> Recipe:
        """Return what the options and the file of ``--model`` ask for; options go before the file."""
        file = {} if options.model is None else read_recipe(options.model)
        if options.hidden is not None and "layers" in file:
            given = f"--hidden, and layers in {options.model}"
            raise ValueError(message("train", given, "expected one of the two", "leave --hidden out"))
        return cls(
            layers=tuple(file["layers"]) if "layers" in file else None,
            hidden=options.hidden,
            trainer=file.get("trainer"),
            learning_rate=options.learning_rate,
            epochs=options.epochs or file.get("epochs"),
            batch_size=options.batch_size or file.get("batch_size"),
        )

    def batch(self, rows: int) -> int:
        """Return the batch size."""
        return self.batch_size or next(batch for most, _, batch in _SIZES if rows <= most)


def make_trainer(data: TableData, recipe: Recipe, seed: int, threads: int | None) -> Trainer:
    """Return a trainer whose model knows the table.

    Raises
    ------
    ValueError
        For layers or settings that cannot be, or do not fit the table.
    """
    try:
        return _make(data, recipe, seed, threads)
    except (TypeError, KeyError, AttributeError) as error:  # a file may hold anything
        given = f"layers or settings that cannot be: {error}"
        expected = "expected them as to_config writes them"
        raise ValueError(message("--model", given, expected, "correct the file")) from error


def _make(data: TableData, recipe: Recipe, seed: int, threads: int | None) -> Trainer:
    rows = len(data.parts["train"][0])
    settings = {"l2": min(_L2_ROWS / rows, _MOST_L2), "seed": seed, "num_threads": threads, **(recipe.trainer or {})}
    loss = from_config(Loss, settings.pop("loss", "softmax_cross_entropy" if data.is_classification else "mse"))
    optimizer = from_config(Optimizer, settings.pop("optimizer", "adam"))
    if recipe.learning_rate is not None:
        optimizer = replace(optimizer, learning_rate=recipe.learning_rate)  # type: ignore[type-var]
    layers = _layers(rows, _outputs(data, loss), recipe)
    model = Model(layers, input_dim=data.parts["train"][0].shape[1], seed=seed)
    if data.is_classification:
        model.classes = data.state.target.class_names
    adapt(model, data.state.encoder, data.parts["train"][0])
    trainer = Trainer(model, loss, optimizer, **settings)
    scale = target_scale(data, trainer)
    if not data.is_classification and scale == TargetScale() and TargetScale.of_values(data.parts["train"][1]).is_wide:
        given = f'target "{data.state.target.name}" is too far from zero, or too large, for the loss {loss.type_name}'
        hint = "leave the loss out, or subtract a number from the target"
        raise ValueError(message("--model", given, f"expected one of {', '.join(_SCALED_LOSSES)}", hint))
    remember(trainer, data, scale)
    return trainer


def remember(trainer: Trainer, data: TableData, scale: TargetScale) -> None:
    """Write into the model's metadata what it must know of the table, and how it is trained."""
    settings = {
        "loss": trainer.loss.to_config(),
        "optimizer": trainer.optimizer.to_config(),
        "l2": trainer.l2,
        "target_scale": scale.to_state(),
    }
    state = replace(data.state, training={**data.state.training, **settings})
    trainer.model.metadata[METADATA_KEY] = state.to_text()


def _outputs(data: TableData, loss: Loss) -> int:
    """Return how many outputs the loss needs for the target; ValueError for one that cannot learn it."""
    for_classes = loss._spec["takes_classes"] or loss._spec["takes_labels"]
    two = len(data.state.target.classes) == 2
    good = (
        ("softmax_cross_entropy", *(("binary_cross_entropy", "focal") if two else ())) if data.is_classification else ()
    )
    if loss.type_name not in good if data.is_classification else for_classes:
        expected = f"expected {' or '.join(good)}" if good else "expected a loss of values, such as mse"
        given = f'the loss {loss.type_name} for target "{data.state.target.name}" ({data.state.target.task})'
        raise ValueError(message("--model", given, expected, "correct the file, or give --task"))
    classes = len(data.state.target.classes)
    if loss._spec["takes_labels"] and classes == 2:
        return 1
    return classes or int(loss._spec["outputs_per_target"])


def hidden_units(rows: int) -> tuple[int, ...]:
    """Return the widths of the hidden layers for a training part of so many rows."""
    return next(units for most, units, _ in _SIZES if rows <= most)


def _layers(rows: int, outputs: int, recipe: Recipe) -> list[Layer]:
    if recipe.layers is None:
        hidden = recipe.hidden or hidden_units(rows)
        layers: list[Layer] = [Normalization(missing="mean")]
        for units in hidden:
            layers.append(Dense(units, activation=recipe.activation))
            if recipe.dropout:
                layers.append(Dropout(recipe.dropout))
        return [*layers, Dense(outputs)]
    named = ({"type": config} if isinstance(config, str) else config for config in recipe.layers)
    configs: list[dict[str, Any]] = [dict(config) for config in named]
    if configs and configs[-1].get("type") == "dense":
        configs[-1].setdefault("units", outputs)
    layers = [layer_from_config(config) for config in configs]
    if layers and isinstance(layers[0], Normalization):
        layers[0] = replace(layers[0], missing="mean")
    else:
        layers.insert(0, Normalization(missing="mean"))
    width = 0
    for layer in layers:
        width = output_width(layer, width)
    if width != outputs:
        given = f"layers with {width} outputs"
        hint = "leave units out of the last dense layer, which then gets them"
        raise ValueError(message("layers", given, f"expected {outputs} for this target", hint))
    return layers


def callbacks() -> list[Any]:
    """Return those of every fit: the best epoch by the dev part is kept, and the rate falls where nothing improves."""
    return [EarlyStopping(patience=_PATIENCE), ReduceLROnPlateau(factor=0.3, patience=_WAIT)]


EPOCHS = _EPOCHS


# ---- targets ----


def target_scale(data: TableData, trainer: Trainer) -> TargetScale:
    """Return that of the training part; none where the last layer or the loss does not allow it."""
    model = trainer.model
    last = model.layers[-1]
    is_plain = isinstance(last, Dense) and last.activation in (None, "identity")
    has_bias = f"{len(model.layers) - 1}.bias" in model.parameters()
    if not (is_plain and has_bias and trainer.loss.type_name in _SCALED_LOSSES):
        return TargetScale()
    return TargetScale.of_values(data.parts["train"][1])


# ---- inputs ----


def adapt(model: Model, encoder: TableEncoder, X: Any) -> None:
    """Set the scales of numbers by the training rows; marks of 0 and 1 stay what they are."""
    numbers = np.isnan(X).all(axis=0)
    model.adapt(np.where(numbers, X.dtype.type(0), X) if numbers.any() else X)
    buffers, marks = model.buffers(), ~encoder.are_numbers
    buffers["0.shift"][marks], buffers["0.shift_rest"][:, marks], buffers["0.scale"][marks] = 0.0, 0.0, 1.0


def silence_unseen(model: Model, encoder: TableEncoder, X: Any) -> None:
    """Let numbers that were the same in all training rows change no output."""
    if not isinstance(model.layers[1], Dense):
        return
    known = np.where(np.isnan(X), np.nanmax(X, axis=0, initial=-np.inf), X)
    same = known.max(axis=0) == known.min(axis=0)
    model.parameters()["1.weight"][same & encoder.are_numbers] = 0.0


def filled(model: Model, X: Any) -> Any:
    """Return X with means in place of missing numbers: the outputs are the same."""
    buffers = model.buffers()
    mean = buffers["0.shift"].astype(np.float64) + buffers["0.shift_rest"].sum(axis=0, dtype=np.float64)
    return np.where(np.isnan(X), mean.astype(X.dtype), X)
