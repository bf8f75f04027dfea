"""Model: layers and their parameters, and what can be done with them without training."""

from __future__ import annotations  # the stub's _core._Model does not exist at run time

import json
import os
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop import _core
from stoop._arrays import real_numbers
from stoop._attributes import Views
from stoop._blas import register_blas
from stoop._checks import FloatArray, check_finite, features, file_path, integer, real
from stoop._checks import seed as checked_seed
from stoop._errors import message, refuse_name
from stoop._known_layers import KnownLayers
from stoop._loops import InLoops
from stoop._metadata import Metadata
from stoop.layers import (
    Layer,
    check_layers,
    check_nesting,
    layer_to_config,
    matrix_products,
    output_members,
    output_width,
)

_CORES: dict[str, type[_core._Model[Any]]] = {"float32": _core.ModelFloat32, "float64": _core.ModelFloat64}


class Model(InLoops):
    """A stack of layers with its parameters.

    Parameters
    ----------
    layers : iterable of layer specs
        At least one, for example ``[stoop.Dense(128, activation="relu"), stoop.Dense(10)]``. At most 100,000, those
        within a `Residual` included.
    input_dim : int
        Columns of the input, >= 1.
    input_scale, input_shift : float, default 1.0 and 0.0
        The first layer sees ``X * input_scale + input_shift``, in training and prediction alike, whatever the dtype of
        X; rounded once. ``input_scale=1/255`` turns uint8 images into numbers from 0 to 1 without a copy of them. Both
        are part of the model's file; the scale is not 0.
    seed : int, default 0
        Of the initial parameters; the same seed gives the same bits on any number of threads.
    dtype : {"float32", "float64"}, default "float32"
        Of parameters, inputs and outputs.
    output : {"softmax", "sigmoid", "identity"}, optional
        What the outputs mean, for `predict_proba` and `predict_classes`: logits of classes that exclude each other,
        logits of labels by themselves (of one label: of the second of two classes), or values. None: training sets it
        by its loss. One that is given stays.
    classes : array_like, (n_classes,), optional
        Names of the classes in the order of the outputs, two for one output: strings, integers or booleans. None: the
        labels of the first training, sorted, if they are not the integers 0 .. n-1.

    Raises
    ------
    ValueError, TypeError
        For an empty or ill-formed list of layers, a size < 1, another dtype, an output of softmax with one column, or
        names that do not fit the outputs.
    AttributeError
        When an attribute is set that does not exist or is fixed; `output`, `classes` and `metadata` can be set.
    """

    _layers: tuple[Layer, ...] | None

    def __init__(
        self,
        layers: Iterable[Layer],
        input_dim: int,
        seed: int = 0,
        dtype: npt.DTypeLike = "float32",
        *,
        input_scale: float = 1.0,
        input_shift: float = 0.0,
        output: str | None = None,
        classes: npt.ArrayLike | None = None,
    ) -> None:
        self._layers = given = check_layers("Model", layers)
        check_nesting("Model", given)
        config = {
            "input_dim": integer("Model", "input_dim", input_dim, 1),
            "seed": checked_seed("Model", seed),
            "layers": [layer_to_config(layer) for layer in given],
            "input_scale": real("Model", "input_scale", input_scale),
            "input_shift": real("Model", "input_shift", input_shift),
        }
        self._adopt(_new_core(_check_dtype(dtype), json.dumps(config)))
        self.output = output
        self.classes = classes

    def _adopt(self, core: _core._Model[Any]) -> None:
        self._core = core
        self._dtype = np.dtype(np.float64 if isinstance(core, _core.ModelFloat64) else np.float32)
        self._copy_dtype = np.dtype(np.float64) if core.takes_exact_input else self._dtype
        self._input_dim = core.input_dim
        self._read_classes()

    @classmethod
    def _from_core(cls, core: _core._Model[Any], layers: tuple[Layer, ...] | None = None) -> Model:
        model = cls.__new__(cls)
        model._layers = layers  # None: they are made when somebody asks for them, for a file may have very many
        model._adopt(core)
        return model

    def __call__(self, X: npt.ArrayLike) -> FloatArray:
        """Return the outputs for X, the same as `predict`."""
        return self.predict(X)

    def parameters(self) -> dict[str, FloatArray]:
        """Return ``{"0.weight": view, "1.gamma": view, ...}``: writable views of the live parameters, not copies.

        A weight is ``(in_features, units)``; bias, gamma and beta are ``(units,)``. Inside a `Residual` names are
        ``"<block>.<layer>.weight"``. Writing into a view changes the model, training
        changes the view. The views keep the parameters alive.
        """
        return Views(self._core.parameters())

    def buffers(self) -> dict[str, FloatArray]:
        """Return ``{"1.running_mean": view, "1.running_var": view, ...}`` of the BatchNorm layers, each ``(units,)``.

        Writable views of the live statistics, as `parameters`; inference uses them, training changes them. Those of a
        `Normalization`, ``0.shift``, ``0.scale`` and the rest that the layer names, are here too.
        """
        return Views(self._core.buffers())

    def adapt(self, X: npt.ArrayLike) -> None:
        """Set the statistics of the `Normalization` from the columns of X, which should be training rows alone.

        `fit` does so from its training rows, once, for a model whose scales are all 0, as they are at first; so call
        this to take other rows, or before `step` and `predict`. Calling it again replaces the statistics. They are
        computed in float64 and do not depend on the number of threads. A memory map may be larger than memory: it is
        read two or three times, with the robust kind four to eight times.

        Parameters
        ----------
        X : array_like, (n_samples, input_dim)
            As in `predict`.

        Raises
        ------
        ValueError, TypeError
            For a model without a `Normalization`, data that cannot be used, a column without numbers, and one whose
            numbers are too far apart or too close for the dtype. Nothing is changed then.
        """
        x: Any = X if self._core.takes(X) else features("Model.adapt", X, self._copy_dtype, self._input_dim)
        self._core.adapt(x)

    @property
    def is_adapted(self) -> bool:
        """Whether the `Normalization` has statistics, by `adapt`, `fit` or a file. True for a model without one."""
        return self._core.is_adapted

    @property
    def num_parameters(self) -> int:
        """Number of trained values."""
        return self._core.num_parameters

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layer specs, as given."""
        if self._layers is None:
            self._layers = KnownLayers(self._core).all()
        return self._layers

    @property
    def input_dim(self) -> int:
        """Columns of the input."""
        return self._input_dim

    @property
    def input_scale(self) -> float:
        """The number that inputs are multiplied with."""
        return self._core.input_scale

    @property
    def input_shift(self) -> float:
        """The number that is then added to the inputs."""
        return self._core.input_shift

    @property
    def output_dim(self) -> int:
        """Columns of the output."""
        return self._core.output_dim

    @property
    def metadata(self) -> MutableMapping[str, str]:
        """Texts by name that the file keeps, and that Stoop uses for nothing; at most 4 MiB, names included.

        ``model.metadata["units"] = "metres"`` adds one, ``model.metadata = {...}`` sets all. Files, checkpoints, copies
        and pickles have them; the C++ library keeps them too.

        Raises
        ------
        ValueError, TypeError
            When it is set, for more than 4 MiB, half of a character, or what is no text.
        """
        return Metadata(self._core)

    @metadata.setter
    def metadata(self, texts: Mapping[str, str]) -> None:
        Metadata(self._core).set(texts)

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self._dtype

    @property
    def matrix_products(self) -> list[tuple[int, int]]:
        """``(in_features, units)`` of each Dense, projections included: what the arithmetic of a pass consists of."""
        shapes, width, members = [], self._input_dim, 1
        for layer in self.layers:
            shapes += matrix_products(layer, width, members)
            width, members = output_width(layer, width), output_members(layer, members)
        return shapes

    def summary(self) -> str:
        """Return a table: layer, output shape, parameters, FLOPs per sample of a forward pass."""
        from stoop._summary import summarize

        scale = "" if self.input_scale == 1.0 else f" * {self.input_scale:g}"
        shift = "" if self.input_shift == 0.0 else f" + {self.input_shift:g}"
        title = f"Model with input (n, {self.input_dim}){scale}{shift}, {self.dtype}"
        sizes = {name: array.size for name, array in self.parameters().items()}
        return summarize(title, self.layers, self.input_dim, sizes)

    def state_dict(self) -> dict[str, FloatArray]:
        """Return copies of all parameters and buffers by name."""
        return {name: array.copy() for name, array in {**self.parameters(), **self.buffers()}.items()}

    def load_state_dict(self, state: Mapping[str, npt.ArrayLike]) -> None:
        """Set all parameters from `state`, made by `state_dict` of a model with the same layers.

        Raises
        ------
        ValueError, TypeError
            For a missing or unexpected name, another shape, or values that are not finite real numbers. Nothing is
            changed then.
        """
        values = self._fitting(state)
        for name, array in values.items():
            check_finite("Model.load_state_dict", name, array, "take a state from before it went wrong")
        self._assign(values)

    def _fitting(self, state: Mapping[str, npt.ArrayLike]) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays of `state` in this model's dtype."""
        own = {**self.parameters(), **self.buffers()}
        if set(own) != set(state):
            missing = ", ".join(sorted(set(own) - set(state))) or "none"
            extra = ", ".join(sorted(set(state) - set(own))) or "none"
            given = f"names differ (missing: {missing}; unexpected: {extra})"
            expected, hint = "expected those of this model", "compare the layers"
            raise ValueError(message("Model.load_state_dict", given, expected, hint))
        values = {name: _check_state(name, state[name], own[name]) for name in own}
        if "0.shift_rest" in own and np.asarray(state["0.shift"]).dtype != self._dtype:
            _split_shift(state, values)
        return values

    def _assign(self, values: Mapping[str, npt.NDArray[Any]]) -> None:
        for name, view in {**self.parameters(), **self.buffers()}.items():
            view[...] = values[name]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write layers and parameters to a safetensors file.

        A failed save leaves an old file as it was, and so does one that is killed. A link is followed. A file that is
        replaced keeps its mode and, where the process may give files away, its owner. A file that is mounted by itself
        cannot be replaced as a whole: it is overwritten, once all of the new content is on the disk.

        Raises
        ------
        OSError
            If the file cannot be written; PermissionError if it is read-only, to root as well.
        ValueError, TypeError
            For what is no path.
        """
        self._core.save(file_path("Model.save", path))

    def fold_batch_norm(self) -> Model:
        """Return a new model with every BatchNorm folded into the Dense before it, for faster inference.

        With the running statistics, ``scale = gamma / sqrt(running_var + eps)``: the weight becomes
        ``weight * scale``, the bias ``(bias - running_mean) * scale + beta``; Jacob et al. 2018, section 3.2. The
        outputs agree to rounding. Layers keep their order, later ones move up.

        Raises
        ------
        ValueError
            For a BatchNorm that is not directly after a Dense without activation: it cannot be folded. An Identity
            between them does not matter.
        """
        from stoop._fold import folded

        layers, parameters = folded(self.layers, self.parameters(), self.buffers())
        model = self._with_layers(layers, self._dtype)
        model._assign(model._fitting(parameters))
        return model

    def _with_layers(self, layers: Iterable[Layer], dtype: npt.DTypeLike) -> Model:
        """Return a new model that takes the same inputs."""
        model = Model(layers, self._input_dim, dtype=dtype, input_scale=self.input_scale, input_shift=self.input_shift)
        model._core.classes = self._core.classes
        model._core.metadata = self._core.metadata
        model._set_output(self.output, given=self._core.output_is_given)
        model._read_classes()
        return model

    def copy(self) -> Model:
        """Return a model of its own with the same layers and parameters."""
        return Model._from_core(self._core.copy(), self._layers)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._core.config(), self._dtype.name, self.state_dict(), self._core.output_is_given)

    def __repr__(self) -> str:
        units = [output_width(layer, 0) for layer in self.layers]
        widths = "-".join(str(width) for width in (self._input_dim, *(width for width in units if width)))
        return f"Model({widths}, {self._dtype}, {self.num_parameters:,} parameters)"


def load_model(path: str | os.PathLike[str]) -> Model:
    """Read a model that `Model.save`, or the C++ library, wrote.

    The file is opened once, and its header is checked as a whole before any parameter is read into its place.

    Raises
    ------
    OSError
        If the file cannot be read (FileNotFoundError, PermissionError, ...).
    CheckpointError
        If it is damaged or no model file.
    ValueError, TypeError
        For what is no path.
    """
    register_blas()
    return Model._from_core(_core.load_model(file_path("load_model", path)))


def _restore(config: str, dtype: str, state: dict[str, FloatArray], output_is_given: bool = True) -> Model:
    settings = json.loads(config)
    output = settings.pop("output", None)
    model = Model._from_core(_new_core(dtype, json.dumps(settings)))
    model._set_output(output, given=output_is_given)
    model._assign(model._fitting(state))
    return model


def _new_core(dtype: str, config: str) -> _core._Model[Any]:
    register_blas()  # before the first plan is made, which may want it
    return _CORES[dtype](config)


def _check_dtype(dtype: npt.DTypeLike) -> str:
    try:
        name = str(np.dtype(dtype).name)
    except TypeError:
        name = str(dtype)
    if name not in _CORES:
        refuse_name("Model", "dtype", name, tuple(_CORES))
    return name


def _split_shift(state: Mapping[str, npt.ArrayLike], values: dict[str, npt.NDArray[Any]]) -> None:
    """Give the rest of a Normalization the digits of a shift of another dtype that its own does not hold."""
    shift, rest = values["0.shift"], values["0.shift_rest"]
    left = np.asarray(state["0.shift"], np.float64) - shift
    left += np.asarray(state["0.shift_rest"], np.float64).sum(axis=0)
    shift[...], left = shift + left, (shift + left) - (shift + left).astype(shift.dtype)
    for part in rest:
        part[...] = left
        left = left - part


def _check_state(name: str, value: npt.ArrayLike, own: FloatArray) -> npt.NDArray[Any]:
    array = real_numbers("Model.load_state_dict", value, name)
    if array.shape != own.shape:
        given = f"{name} has shape {array.shape}"
        raise ValueError(message("Model.load_state_dict", given, f"expected {own.shape}", "compare the layers"))
    with np.errstate(over="ignore"):  # becomes an infinity, which is then refused
        return array.astype(own.dtype)
