"""The meaning of a model's outputs: softmax, sigmoid or values, and the names of the classes."""

from __future__ import annotations  # the stub's _core._Model does not exist at run time

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import numpy.typing as npt

from stoop._attributes import Guarded
from stoop._checks import FloatArray, thread_count
from stoop._class_names import names_from_text, names_to_text
from stoop._errors import message

if TYPE_CHECKING:
    from stoop import _core


class OutputMeaning(Guarded):
    """The part of a `stoop.Model` that turns outputs into probabilities, classes and labels."""

    _settable: ClassVar[tuple[str, ...]] = ("output", "classes", "metadata")
    _hints: ClassVar[dict[str, str]] = {
        "training": "predict is inference, fit is training: there is no mode to set",
        "trainable": "give trainable=False to layers",
        "weights": "write into the arrays of model.parameters()",
        "loss": "give it to the Trainer",
        "optimizer": "give it to the Trainer",
    }

    _core: _core._Model[Any]
    _known_classes: (
        tuple[npt.NDArray[Any] | None] | None
    )  # None: nobody has asked for them yet, a file may have very many
    _known_places: dict[Any, int] | None

    @property
    @abstractmethod
    def output_dim(self) -> int:
        """Columns of the output."""

    @abstractmethod
    def predict(
        self,
        X: npt.ArrayLike,
        batch_size: int | None = None,
        out: FloatArray | None = None,
        *,
        num_threads: int | None = None,
    ) -> FloatArray:
        """Return the outputs of the last layer."""

    def predict_proba(self, X: npt.ArrayLike, *, num_threads: int | None = None) -> FloatArray:
        """Return probabilities, (n_samples, n_classes), by what `output` says.

        "softmax": the softmax of each row. "sigmoid": of one output the probabilities of the first and the second
        class, (n_samples, 2); of several the sigmoid of each column, (n_samples, output_dim). None, before any
        training: the softmax, or for one column its sigmoid, (n_samples, 1).

        Parameters
        ----------
        X : array_like, (n_samples, input_dim)
            As in `predict`.
        num_threads : int, optional
            At most so many threads for this call, as in `predict`.

        Raises
        ------
        ValueError, TypeError
            As `predict`, and for an output of "identity": values have no probabilities.
        """
        where = "Model.predict_proba"
        output = self._output_for(where)
        outputs: Any = self._outputs_of(where, X, num_threads)
        if output == "sigmoid":
            if self.output is not None and outputs.shape[1] == 1:
                outputs = np.concatenate([-outputs, outputs], axis=1)
            return cast("FloatArray", np.exp(-np.logaddexp(outputs.dtype.type(0), -outputs)))
        with np.errstate(over="ignore"):  # a difference beyond the dtype is -inf, and its exponential 0
            outputs -= outputs.max(axis=1, keepdims=True)  # the largest exponent becomes 0: nothing else can overflow
        np.exp(outputs, out=outputs)
        outputs /= outputs.sum(axis=1, keepdims=True)
        return cast("FloatArray", outputs)

    def predict_classes(self, X: npt.ArrayLike, *, num_threads: int | None = None) -> npt.NDArray[np.int64]:
        """Return class indices, by what `output` says.

        "softmax", or None for several columns: the largest output of each row, (n_samples,). "sigmoid", or None for one
        column: ``output > 0``, (n_samples,) of one output, (n_samples, output_dim) of several.

        Parameters
        ----------
        X : array_like, (n_samples, input_dim)
            As in `predict`.
        num_threads : int, optional
            At most so many threads for this call, as in `predict`.

        Raises
        ------
        ValueError, TypeError
            As `predict`, and for an output of "identity": values are no classes.
        """
        return self._classes_of("Model.predict_classes", X, num_threads)

    def _classes_of(self, where: str, X: npt.ArrayLike, num_threads: int | None) -> npt.NDArray[np.int64]:
        output = self._output_for(where)
        outputs = self._outputs_of(where, X, num_threads)
        if output == "softmax":
            return np.asarray(outputs.argmax(axis=1), np.int64)
        classes: npt.NDArray[np.int64] = (outputs > 0).astype(np.int64)
        return classes[:, 0] if classes.shape[1] == 1 else classes

    def predict_labels(self, X: npt.ArrayLike, *, num_threads: int | None = None) -> npt.NDArray[Any]:
        """Return the name of each sample's class, (n_samples,), of the dtype of `classes`.

        Without names the class indices, as `predict_classes`.

        Parameters
        ----------
        X : array_like, (n_samples, input_dim)
            As in `predict`.
        num_threads : int, optional
            At most so many threads for this call, as in `predict`.

        Raises
        ------
        ValueError, TypeError
            As `predict_classes`, and for names of labels that do not exclude each other.
        """
        where = "Model.predict_labels"
        return labels_of(where, self._classes_of(where, X, num_threads), self._classes)

    def _outputs_of(self, where: str, X: npt.ArrayLike, num_threads: int | None) -> FloatArray:
        most = None if num_threads is None else thread_count(where, "num_threads", num_threads)
        return self.predict(X, num_threads=most)

    def _output_for(self, where: str) -> str:
        output = self.output
        refuse_values(where, output, "predict")
        return output or ("sigmoid" if self.output_dim == 1 else "softmax")

    @property
    def output(self) -> str | None:
        """The meaning of the outputs: "softmax", "sigmoid", "identity", or None as long as it is not known.

        A model with `Members` puts together what they say by it; None: as "identity", by the mean. It is no part of
        `state_dict`.
        """
        return self._core.output

    @output.setter
    def output(self, value: object) -> None:
        if not (value is None or isinstance(value, str)):
            expected = 'expected "softmax", "sigmoid", "identity" or None'
            raise TypeError(message("Model", f"output is {value!r}", expected, "give one of them"))
        self._core.output = value

    @property
    def classes(self) -> npt.NDArray[Any] | None:
        """Names of the classes in the order of the outputs, read-only, or None where they are 0 .. n-1."""
        return self._classes

    @classes.setter
    def classes(self, names: npt.ArrayLike | None) -> None:
        self._core.classes = None if names is None else names_to_text("Model", names)
        self._read_classes()

    def _read_classes(self) -> None:
        """Take those of the core from now on."""
        self._known_classes = self._known_places = None

    @property
    def _classes(self) -> npt.NDArray[Any] | None:
        known = self._known_classes
        if known is None:
            kept = self._core.classes
            self._known_classes = known = (None if kept is None else names_from_text(*kept),)
        return known[0]

    @property
    def _class_places(self) -> dict[Any, int] | None:
        classes, places = self._classes, self._known_places
        if classes is not None and places is None:
            self._known_places = places = {name: place for place, name in enumerate(classes.tolist())}
        return places

    def _set_output(self, output: str | None, *, given: bool) -> None:
        if given:
            self._core.output = output
        elif output is not None:
            self._core.set_output_by_training(output)


def refuse_values(where: str, output: str | None, instead: str) -> None:
    """Refuse outputs that are values and no logits; `instead` names the method for these.

    Raises
    ------
    ValueError
        For "identity".
    """
    if output == "identity":
        given = "the outputs are values, by the loss of the training or as set"
        hint = f'use {instead}, or set model.output = "softmax" or "sigmoid" if they are logits'
        raise ValueError(message(where, given, "expected logits of classes", hint))


def labels_of(where: str, indices: npt.NDArray[np.int64], names: npt.NDArray[Any] | None) -> npt.NDArray[Any]:
    """Return the names of the classes with these indices; without names the indices.

    Raises
    ------
    ValueError
        For a row of indices per sample: these are labels that do not exclude each other.
    """
    if names is None:
        return indices
    if indices.ndim == 2:
        given = f"{indices.shape[1]} labels that do not exclude each other"
        hint = "use predict_classes: a column of 0 and 1 for each of the classes"
        raise ValueError(message(where, given, "expected one class per sample", hint))
    return names[indices]
