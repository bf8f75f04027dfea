"""The weights of an estimator: the parameters of its model, and `coefs_` and `intercepts_` as scikit-learn has them."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._errors import message
from stoop.model import Model
from stoop.sklearn._network import build_model, units_of, weights_of

Array = npt.NDArray[Any]
Arrays = list[Array]

OF_THE_MODEL = ("coefs_", "intercepts_", "_own", "_known")  # arrays that are made anew from it


class Weights:
    """Gives out the weights of `model_`, which predicts, and takes in what becomes of them.

    The arrays are made when somebody asks for them; until then `vars` has views of the parameters. Their dtype is that
    of the first X or of the model, whichever is wider: views where it is the model's, else copies. Of a copy and its
    parameter the one that was changed counts.
    """

    dtype: str
    _trainer: Any

    @property
    def model_(self) -> Model:
        """The network, with what was put into `coefs_` and `intercepts_` or in their place."""
        if "model_" not in vars(self):
            raise AttributeError(f"{type(self).__name__} has no model_ before it is fitted")
        self._take_in_weights()
        return self._model

    @property
    def _model(self) -> Model:
        model: Model = vars(self)["model_"]
        return model

    @property
    def coefs_(self) -> Arrays:
        """The weights of each layer."""
        return self._shown("coefs_")

    @coefs_.setter
    def coefs_(self, arrays: Arrays) -> None:
        self._show_if_fitted()
        vars(self)["coefs_"] = arrays

    @property
    def intercepts_(self) -> Arrays:
        """The biases of each layer."""
        return self._shown("intercepts_")

    @intercepts_.setter
    def intercepts_(self, arrays: Arrays) -> None:
        self._show_if_fitted()
        vars(self)["intercepts_"] = arrays

    def _shown(self, name: str) -> Any:
        self._show_if_fitted()
        if name not in vars(self):
            raise AttributeError(f"{type(self).__name__} has no {name} before it is fitted")
        if "_known" in vars(self):
            self._reconcile()
        return vars(self)[name]

    def _show_if_fitted(self) -> None:
        if "model_" in vars(self) and "_own" not in vars(self):
            self._show()

    def _show(self) -> None:
        arrays = [[view.astype(self._width, copy=False) for view in views] for views in weights_of(self._model)]
        vars(self)["coefs_"], vars(self)["intercepts_"] = arrays
        self._own = list(chain(*arrays))
        if self._width != self._model.dtype:
            self._known = [array.copy() for array in self._own]

    def _reconcile(self) -> None:
        """Bring the copies that were given out and the parameters together."""
        for array, known, view in zip(self._own, self._known, chain(*weights_of(self._model))):
            if not np.array_equal(array, known):
                view[...] = array
            array[...] = known[...] = view

    def _has_weights(self) -> bool:
        return {"coefs_", "intercepts_"} <= vars(self).keys()

    def _adopt(self, model: Model, dtype: npt.DTypeLike) -> None:
        """Make the weights of this model those of an estimator that is fitted with an X of this dtype."""
        vars(self)["model_"] = model
        self._width = np.result_type(dtype, model.dtype)
        for name in OF_THE_MODEL:
            vars(self).pop(name, None)
        vars(self)["coefs_"], vars(self)["intercepts_"] = weights_of(model)

    def _units(self) -> list[int]:
        """Return the sizes of all layers of the model."""
        return units_of(weights_of(self._model)[0])

    _built: dict[str, Any] | None = None

    def _architecture(self) -> dict[str, Any]:
        """Return the arguments that a model is built by, beside the sizes of its layers."""
        return {name: getattr(self, name) for name in ("activation", "batch_norm", "layer_norm", "dropout", "dtype")}

    def _rebuild(self, units: list[int]) -> None:
        """Go on with the weights in a model that follows arguments which have changed since it was built."""
        before = self._built or self._architecture()
        changed = [name for name, value in self._architecture().items() if value != before[name]]
        if not changed:
            self._built = before
            return
        normalised = [
            source[name] for source in (before, self._architecture()) for name in ("batch_norm", "layer_norm")
        ]
        if any(normalised):
            raise ValueError(
                message(
                    type(self).__name__,
                    f"{changed[0]} has changed since the network was built",
                    "expected the same normalisation, whose parameters are trained on",
                    "fit without warm_start to train another network",
                )
            )
        old, fresh = self._model, build_model(self, units, self.dtype)
        for new, array in zip(chain(*weights_of(fresh)), chain(*weights_of(old))):
            new[...] = array
        self._adopt(fresh, self._width)
        self._trainer = None
        self._built = self._architecture()

    def _take_in_weights(self) -> None:
        """Copy into the model what was put into the arrays, or in their place."""
        kept = vars(self)
        if not self._has_weights() or ("model_" in kept and "_own" not in kept):
            return
        given, own = [*kept["coefs_"], *kept["intercepts_"]], kept.get("_own", [])
        if "model_" not in kept:
            self._trainer = None
            self._adopt(build_model(self, units_of(kept["coefs_"]), self.dtype), np.result_type(*given))
        if "_known" in vars(self):
            self._reconcile()
        if len(given) == len(own) and all(array is one for array, one in zip(given, own)):
            return
        if any(map(np.iscomplexobj, given)):
            where, given_words = type(self).__name__, "coefs_ and intercepts_ hold complex numbers"
            raise TypeError(message(where, given_words, "expected real numbers", "set their real parts"))
        views = list(chain(*weights_of(self._model)))
        shapes = [np.shape(array) for array in given], [view.shape for view in views]
        if shapes[0] != shapes[1]:
            raise ValueError(
                message(
                    type(self).__name__,
                    f"coefs_ and intercepts_ have the shapes {shapes[0]}",
                    f"expected {shapes[1]}, those of the network",
                    "set arrays of the same shapes",
                )
            )
        for view, array in zip(views, given):
            view[...] = array
        self._show()
