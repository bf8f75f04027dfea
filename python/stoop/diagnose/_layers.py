"""Walks samples through a model layer by layer, so that what each one does can be looked at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop.activations import Activation, Identity, activation_from_config
from stoop.diagnose._members import first_with_members, own_weights, plain_models
from stoop.layers import Dense, Layer, Residual, output_width
from stoop.model import Model
from stoop.trainer import Trainer

Array = npt.NDArray[Any]
Scaling = tuple[float, float]  # input_scale and input_shift, of the first layer

_UNSCALED = 1.0, 0.0

_SETTLING = 60  # passes after which a running mean with momentum 0.9 has forgotten 99.8 % of its start


@dataclass(frozen=True, eq=False)
class Step:
    """A layer with what goes in and comes out; the activation of a Dense is a step of its own.

    Attributes
    ----------
    name : str
        Of its parameters: "0", or "2.1" within a Residual.
    layer : Layer
    inputs, outputs : ndarray, (n_samples, width)
    """

    name: str
    layer: Layer
    inputs: Array
    outputs: Array


def walk(model: Model, X: Array) -> Iterator[Step]:
    """Yield the steps for X in inference mode, those inside a Residual before its own.

    It ends before a later layer whose input is not finite; the first may replace missing values.

    Of a model with members the layers are those of `plain_models`. The values after what makes the members have a row
    for each member of each sample, and from a layer with a weight for each member to the next one with a weight that
    they share, columns for the units of each member instead.
    """
    walks = [_walk_plain(one, X) for one in plain_models(model)]
    if len(walks) == 1:
        yield from walks[0]
        return
    begin, own = first_with_members(model), set(own_weights(model))
    axis = 0
    for steps in zip(*walks):  # each ends where the first of them does
        step = steps[0]
        if isinstance(step.layer, Dense):
            axis = 1 if step.name in own else 0
        if int(step.name.partition(".")[0]) < begin:
            yield step
            continue
        inputs, outputs = (np.concatenate(parts, axis) for parts in zip(*((s.inputs, s.outputs) for s in steps)))
        yield Step(step.name, step.layer, inputs, outputs)


def _walk_plain(model: Model, X: Array) -> Iterator[Step]:
    first = model.input_scale, model.input_shift
    return _through(model, enumerate_layers(model.layers), X, first)


def enumerate_layers(layers: tuple[Layer, ...], prefix: str = "") -> list[tuple[str, Layer]]:
    """Return layers with the names that begin those of their parameters."""
    return [(f"{prefix}{i}", layer) for i, layer in enumerate(layers)]


def _through(model: Model, layers: list[tuple[str, Layer]], x: Array, first: Scaling | None) -> Iterator[Step]:
    state = {**model.parameters(), **model.buffers()}
    for name, layer in layers:
        if first is None and not np.isfinite(x).all():
            return
        if isinstance(layer, Residual):
            before = _apply(Identity(), name, x, state, model.dtype, first) if first else x
            yield from _through(model, enumerate_layers(layer.layers, f"{name}."), before, None)
        plain, activation = _split(layer)
        out = _apply(plain, name, x, state, model.dtype, first)
        yield Step(name, plain, x, out)
        x, first = out, None
        if activation is not None and np.isfinite(x).all():
            out = _apply(activation, name, x, state, model.dtype, first)
            yield Step(name, activation, x, out)
            x = out


def _split(layer: Layer) -> tuple[Layer, Activation | None]:
    if not isinstance(layer, Dense) or layer.activation is None:
        return layer, None
    activation = layer.activation
    if isinstance(activation, str):
        activation = activation_from_config({"type": activation})
    return replace(layer, activation=None), None if isinstance(activation, Identity) else activation


def _apply(layer: Layer, name: str, x: Array, state: dict[str, Any], dtype: Any, first: Scaling | None) -> Array:
    """Return what a layer makes of x, by a model of this layer alone."""
    if isinstance(layer, Activation):
        return activated(layer, x, dtype, first)
    own = {f"0{key.removeprefix(name)}": array for key, array in state.items() if key.startswith(f"{name}.")}
    if isinstance(layer, Dense):
        layer = replace(layer, use_bias="0.bias" in own, kernel_init="zeros", bias_init="zeros")
        scale, shift = first or _UNSCALED
        model = Model([layer], x.shape[1], dtype=dtype, input_scale=scale, input_shift=shift)
    else:
        model = _followed_by_identity(layer, x.shape[1], dtype, first)
        own["1.weight"] = np.eye(model.output_dim, dtype=dtype)
    model._assign(own)
    return model.predict(x)


def activated(activation: Activation, x: Array, dtype: Any, first: Scaling | None = None) -> Array:
    """Return the activation of each element of x."""
    model = _followed_by_identity(activation, 1, dtype, first)
    model._assign({"1.weight": np.ones((1, 1), dtype)})
    return model.predict(x.reshape(-1, 1)).reshape(x.shape)


def _followed_by_identity(layer: Layer, width: int, dtype: Any, first: Scaling | None) -> Model:
    """Return a model of this layer and of a Dense, without which there is no model, that copies its output."""
    copying = Dense(output_width(layer, width), use_bias=False, kernel_init="zeros")
    scale, shift = first or _UNSCALED
    return Model([layer, copying], width, dtype=dtype, input_scale=scale, input_shift=shift)


def tail_of(model: Model, index: int, width: int) -> Model:
    """Return a model of the activation of layer `index`, whose input has `width` columns, and the layers after it."""
    parameters, buffers = model.parameters(), model.buffers()
    _, activation = _split(model.layers[index])
    layers: list[Layer] = [Identity() if activation is None else activation]
    for place, layer in enumerate(model.layers[index + 1 :], index + 1):
        biased = f"{place}.bias" in parameters
        layers.append(replace(layer, use_bias=biased) if isinstance(layer, Dense) else layer)
    tail = Model(layers, width, dtype=model.dtype)
    values = {}
    for key, array in {**parameters, **buffers}.items():
        place_of, _, rest = key.partition(".")
        if int(place_of) > index:
            values[f"{int(place_of) - index}.{rest}"] = array
    tail._assign(values)
    return tail


def batch_size_of(trainer: Trainer, rows: int) -> int:
    """Return the batch size of the fits of a trainer, of which it keeps the numbers of updates and epochs."""
    per_epoch = trainer.steps / trainer.epoch if trainer.epoch else rows / 128
    return int(np.clip(round(rows / max(per_epoch, 1.0)), 1, rows))


def fresh(trainer: Trainer, X: Array, seed: int | None = None, **settings: Any) -> Trainer:
    """Return a trainer of a new model as this one's was before training, with the same data-dependent statistics.

    Running statistics of batch normalisations are those of X; other buffers, such as those of an input normalisation,
    are the model's. `seed`: of the initial parameters; None: the model's own. `settings` replace those of the trainer.
    """
    old = trainer.model
    own_seed = json.loads(old._core.config()).get("seed", 0)
    model = Model(
        old.layers,
        old.input_dim,
        own_seed if seed is None else seed,
        old.dtype,
        input_scale=old.input_scale,
        input_shift=old.input_shift,
    )
    for name, array in old.buffers().items():
        if "running" not in name:
            model.buffers()[name][...] = array
    options = {**trainer._config, "num_threads": None, "loss": trainer.loss, "optimizer": trainer.optimizer, **settings}
    new = Trainer(model, **options)
    if any("running" in name for name in model.buffers()) and len(X) > 1:
        for _ in range(_SETTLING):
            new.forward(X, training=True, dropout=False)
    return new
