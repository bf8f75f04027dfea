"""`register_skl2onnx`: pipelines with estimators of Stoop become ONNX files as those of scikit-learn do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from stoop._errors import message
from stoop._tables import NumberColumn
from stoop._tables._messages import quoted
from stoop.export.onnx._endings import emit_ending
from stoop.export.onnx._graph import OPSET, Graph, tensor_type
from stoop.export.onnx._models import emit_model, norms_folded
from stoop.export.onnx._to_onnx import imported

_WHERE = "export.register_skl2onnx"


def register_skl2onnx() -> None:
    """Teach skl2onnx the estimators of `stoop.sklearn` and `stoop.tabular`, alone or within pipelines.

    After it ``skl2onnx.to_onnx(pipeline, X[:1], target_opset=17)`` converts them as its own: labels and probabilities
    of classifiers, with the option "zipmap", values of regressors. The opset must be at least 17. An estimator of
    `stoop.tabular` must have been fitted to an array of numbers: categories and text have no such form. A classifier
    with an X of float64 needs the option "zipmap" False or "columns": ZipMap takes float32 alone. Calling it again
    changes nothing.

    Raises
    ------
    ImportError
        Without onnx or skl2onnx.
    """
    imported(_WHERE)
    try:
        skl2onnx = import_module("skl2onnx")
        shapes = import_module("skl2onnx.common.shape_calculator")
    except ImportError as error:
        given, hint = f"the package skl2onnx cannot be imported ({error})", "pip install skl2onnx"
        raise ImportError(message(_WHERE, given, "expected it for pipelines", hint)) from error
    from stoop.sklearn import MLPClassifier, MLPRegressor

    classifiers: list[Any] = [MLPClassifier]
    regressors: list[Any] = [MLPRegressor]
    try:
        tabular = import_module("stoop.tabular")
    except ImportError:  # it needs narwhals as well
        pass
    else:
        classifiers.append(tabular.TabularClassifier)
        regressors.append(tabular.TabularRegressor)
    options = {"zipmap": [True, False, "columns"], "output_class_labels": [False, True], "nocl": [True, False]}
    for kind in classifiers:
        calculate = partial(_classifier_shapes, shapes.calculate_linear_classifier_output_shapes)
        skl2onnx.update_registered_converter(kind, f"Stoop{kind.__name__}", calculate, _convert, options=options)
    for kind in regressors:
        calculate = partial(_regressor_shapes, shapes.calculate_linear_regressor_output_shapes)
        skl2onnx.update_registered_converter(kind, f"Stoop{kind.__name__}", calculate, _convert)


def _classifier_shapes(calculate: Callable[[Any], None], operator: Any) -> None:
    """Set the types of labels and probabilities; each of several labels that do not exclude each other has a column."""
    calculate(operator)
    if _has_labels(operator.raw_operator):
        for output in operator.outputs:
            output.type = type(output.type)([None, operator.raw_operator.model_.output_dim])


def _regressor_shapes(calculate: Callable[[Any], None], operator: Any) -> None:
    """Set the type of the values: double, whatever X is, where float32 cannot hold them."""
    calculate(operator)
    (output,) = operator.outputs
    kind = type(output.type)
    if _wide_scale(operator.raw_operator) is not None:
        kind = import_module("skl2onnx.common.data_types").DoubleTensorType
    output.type = kind([None, operator.raw_operator.model_.output_dim])


def _has_labels(estimator: Any) -> bool:
    """Return whether a classifier predicts several labels that do not exclude each other."""
    return getattr(estimator, "out_activation_", "softmax") == "logistic" and estimator.model_.output_dim > 1


def _wide_scale(estimator: Any) -> Any:
    """Return the unit of values that float32 cannot hold, which is no part of the network; None for others."""
    scale = getattr(estimator, "_scale", None)
    return scale if scale is not None and scale.is_wide else None


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Write the nodes of one estimator, as skl2onnx asks for them."""
    estimator = operator.raw_operator
    where = f"skl2onnx of {type(estimator).__name__}"
    if container.target_opset < OPSET:
        given = f"the opset is {container.target_opset}"
        raise ValueError(message(where, given, f"expected at least {OPSET}", f"give target_opset={OPSET}"))
    model = estimator.model_
    graph = Graph(model.dtype, container.target_opset)
    x = graph.node("Cast", operator.inputs[0].full_name, to=tensor_type(model.dtype))
    if hasattr(estimator, "encode"):
        x = _encoded(graph, where, estimator, x)
    outputs = emit_model(graph, norms_folded(model), x)
    kind = tensor_type(np.float64 if "Double" in type(operator.outputs[-1].type).__name__ else np.float32)
    names = [output.full_name for output in operator.outputs]
    if hasattr(estimator, "classes_"):
        _classes(graph, estimator, outputs, kind, names)
    else:
        graph.node("Cast", _values(graph, estimator, outputs), to=kind)
        graph.rename_last(names[0])
    _hand_over(graph, scope, container, [operator.inputs[0].full_name, *names])


def _encoded(graph: Graph, where: str, estimator: Any, x: str) -> str:
    """Add the matrix of `stoop.tabular`: numbers, each with a mark after it where training has seen missing ones."""
    columns = estimator._features.encoder.columns
    kinds = [type(column).__name__ for column in columns]
    if hasattr(estimator, "feature_names_in_") or not {*kinds} <= {"NumberColumn", "IgnoredColumn"}:
        given = f"the columns of the training are {', '.join(sorted({*kinds}))}"
        hint = "fit an array of numbers, or convert estimator.model_ by stoop.export.to_onnx, which takes encoded rows"
        raise ValueError(message(where, given, "expected an array of numbers alone", hint))
    wide = [column.name for column in columns if isinstance(column, NumberColumn) and column.is_wide]
    if wide and graph.dtype == np.float32:
        given = f"float32 cannot tell the numbers of {quoted(wide)} apart, such as seconds since 1970"
        hint = "subtract a number near their mean before fit, or give the estimator dtype='float64'"
        if hasattr(estimator, "classes_"):
            hint += " and skl2onnx.to_onnx an X of float64 and options={'zipmap': False}"
        raise ValueError(message(where, given, "expected numbers for a network of float32", hint))
    order, numbers, marked = [], [], []
    for place, column in enumerate(columns):
        if isinstance(column, NumberColumn):
            numbers.append(place)
            order.append((0, len(numbers) - 1))
            if column.has_missing:
                marked.append(place)
                order.append((1, len(marked) - 1))
    parts = [graph.node("Gather", x, graph.array("numbers", numbers, np.int64), axis=1)]
    if marked:
        of_marked = graph.node("Gather", x, graph.array("marked", marked, np.int64), axis=1)
        parts.append(graph.node("Cast", graph.node("IsNaN", of_marked), to=tensor_type(graph.dtype)))
    both = graph.node("Concat", *parts, axis=1)
    places = [place + kind * len(numbers) for kind, place in order]
    return graph.node("Gather", both, graph.array("matrix", places, np.int64), axis=1)


def _values(graph: Graph, estimator: Any, outputs: str) -> str:
    """Add what makes predictions of a regressor's outputs."""
    if getattr(estimator, "out_activation_", "identity") == "exp":
        return graph.node("Exp", outputs)
    if (scale := _wide_scale(estimator)) is None:
        return outputs
    wide = graph.node("Cast", outputs, to=tensor_type(np.float64))
    scaled = graph.node("Mul", wide, graph.array("deviation", scale.deviation, np.float64))
    return graph.node("Add", scaled, graph.array("mean", scale.mean, np.float64))


def _classes(graph: Graph, estimator: Any, outputs: str, kind: int, names: list[str]) -> None:
    """Add labels and probabilities."""
    ending = "sigmoid" if getattr(estimator, "out_activation_", "softmax") == "logistic" else "softmax"
    probabilities = emit_ending(graph, outputs, ending)
    has_labels = _has_labels(estimator)
    if (
        ending == "sigmoid" and not has_labels and len(estimator.classes_) > 1
    ):  # of a single class skl2onnx has a column
        rest = graph.node("Sub", graph.scalar(1.0), probabilities)
        probabilities = graph.node("Concat", rest, probabilities, axis=1)
    if has_labels:
        over = graph.node("Greater", probabilities, graph.scalar(0.5))
        graph.node("Cast", over, to=tensor_type(np.int64))
    else:
        place = graph.node("ArgMax", probabilities, axis=1, keepdims=0)
        classes = np.asarray(estimator.classes_)
        known = classes.astype(np.int64 if classes.dtype.kind in "biuf" else object)
        if not np.array_equal(known, classes):
            given, hint = f"the classes are {classes[:3].tolist()}, ...", "fit text, or whole numbers below 2**63"
            raise ValueError(message(_WHERE, given, "expected text or int64, the labels of ONNX", hint))
        graph.node("Gather", graph.array("classes", known, known.dtype), place, axis=0)
    graph.rename_last(names[0])
    graph.node("Cast", probabilities, to=kind)
    graph.rename_last(names[1])


def _hand_over(graph: Graph, scope: Any, container: Any, outer: list[str]) -> None:
    """Give nodes and arrays to skl2onnx, under names that no other operator has."""
    from onnx import TensorProto, numpy_helper

    names = {name: name for name in outer}
    for name, array in graph.arrays.items():
        names[name] = scope.get_unique_variable_name(name)
        if array.dtype == object:
            texts = [text.encode() for text in array]
            container.add_initializer(names[name], TensorProto.STRING, [len(texts)], texts)
        else:
            container.add_initializer(names[name], None, None, numpy_helper.from_array(array, names[name]))
    for node in graph.nodes:
        for name in node.outputs:
            names.setdefault(name, scope.get_unique_variable_name(name))
        inputs, results = ([names[name] for name in part] for part in (node.inputs, node.outputs))
        unique = scope.get_unique_operator_name(node.name)
        container.add_node(node.operator, inputs, results, name=unique, **node.attributes)
