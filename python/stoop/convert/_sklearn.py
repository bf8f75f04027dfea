"""`from_sklearn`: the network of an estimator."""

from __future__ import annotations

from typing import Any

import numpy as np

from stoop._errors import message
from stoop.layers import Dense
from stoop.model import Model

_ACTIVATIONS = {"identity": None, "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}
_OUTPUTS = {"softmax": "softmax", "logistic": "sigmoid", "identity": "identity"}


def from_sklearn(mlp: Any) -> Model:
    """Return the network of a fitted `MLPClassifier` or `MLPRegressor` of scikit-learn, or of `stoop.sklearn`.

    `Model.output` is "softmax" for several classes, "sigmoid" for two classes or labels, "identity" for a regressor,
    and `Model.classes` are those of the estimator, so that `Model.predict_proba` and `Model.predict_labels` give what
    its `predict_proba` and `predict` give.

    Parameters
    ----------
    mlp : estimator
        Fitted. Of a pipeline give the last step, and put what comes before into X or a `Normalization`.

    Returns
    -------
    Model
        Of the dtype of ``coefs_``.

    Raises
    ------
    ValueError, TypeError
        For what is not fitted, fitted to one class alone, or no such estimator, and for outputs that a `Model` does not
        have, such as the exponentials of ``loss="poisson"``.
    """
    where = "convert.from_sklearn"
    if not all(hasattr(mlp, name) for name in ("hidden_layer_sizes", "activation", "get_params")):
        hint = "of a pipeline give the last step, of a search best_estimator_"
        given = f"mlp is a {type(mlp).__name__}"
        raise TypeError(message(where, given, "expected an MLPClassifier or MLPRegressor", hint))
    if not hasattr(mlp, "coefs_"):
        raise ValueError(message(where, f"{type(mlp).__name__} is not fitted", "expected coefs_", "call fit first"))
    ending = mlp.out_activation_
    if ending not in _OUTPUTS:
        given, hint = f"the outputs of {type(mlp).__name__} go through {ending!r}", "use its own predict"
        raise ValueError(message(where, given, f"expected one of {', '.join(_OUTPUTS)}", hint))
    classes = getattr(mlp, "classes_", None)
    if classes is not None and len(classes) == 1:
        given, hint = f"{type(mlp).__name__} was fitted to one class", "its predict gives that class for every row"
        raise ValueError(message(where, given, "expected two or more", hint))
    if hasattr(mlp, "model_"):
        model: Model = mlp.model_.copy()
    else:
        model = _mlp(mlp, _OUTPUTS[ending])
    if classes is not None and not (classes.dtype.kind in "iu" and np.array_equal(classes, np.arange(len(classes)))):
        model.classes = classes
    return model


def _mlp(mlp: Any, output: str) -> Model:
    coefs = [np.asarray(coef) for coef in mlp.coefs_]
    activation = _ACTIVATIONS[mlp.activation]
    layers = [Dense(coef.shape[1], activation) for coef in coefs[:-1]] + [Dense(coefs[-1].shape[1])]
    model = Model(layers, coefs[0].shape[0], dtype=coefs[0].dtype, output=output)
    state = {f"{i}.weight": coef for i, coef in enumerate(coefs)}
    model.load_state_dict(state | {f"{i}.bias": bias for i, bias in enumerate(mlp.intercepts_)})
    return model
